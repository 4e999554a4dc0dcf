//! Networks as hospitals have them, made of namespaces, nftables, and real proxies: whatever they block,
//! messages and a bulk transfer pass whole, and no connection breaks.
//!
//! Times are printed; only a hang fails. The stall limit of the messages is raised to a minute: on a machine
//! whose processors are taken a path may be silent for longer than the usual four seconds.

#![expect(clippy::print_stdout, reason = "what is measured is for people")]

mod exchange;
mod proxies;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use adit_core::domain::path::PathKind;
use adit_lab::messages::Generator;
use adit_lab::mirth::Mirth;
use adit_lab::sender::Sender;

use self::exchange::{Amount, BULK_AT, Exchange, MESSAGES_AT};
use self::proxies::Proxy;
use crate::lab::{HANG_LIMIT, eventually, is_long};
use crate::two_hosts::host::Firewall;
use crate::two_hosts::{HOSTS, World, first_connection};

/// Only outgoing TCP 443.
const HTTPS_ALONE: Firewall = Firewall { lets_in: "", lets_out: "tcp dport 443 accept;", never: ["", ""] };
const NO_UDP_OUT: Firewall = HOSTS[1].2.without_udp();
const NO_UDP_IN: Firewall = Firewall { never: ["meta l4proto udp drop;", ""], ..Firewall::HTTPS_AND_UDP };
const STMARY: Firewall = HOSTS[2].2;
/// All that leaves the network goes to the proxy.
const PROXY_ALONE: Firewall =
    Firewall { lets_in: "", lets_out: "ip daddr 198.51.100.10 tcp dport 3128 accept;", never: ["", ""] };
const PROXYS_OWN: Firewall =
    Firewall { lets_in: "tcp dport 3128 accept;", lets_out: "tcp dport 443 accept;", never: ["", ""] };
/// What README types last on an agent's host.
const ENABLE_AGENT: &str = "systemctl enable --now adit-agent";
/// A second connection, for the bulk transfer.
const BULK: [(&str, &str); 3] = [
    (
        "gateway",
        "adit admin channel add BULK --server stmary-mirth --protocol tcp
         adit admin grant request --channel BULK --source lakeside-mirth
         adit admin grant approve BULK
         adit admin connection activate BULK --as 'St Mary Hospital'
         adit admin connection entry BULK --side source | sed -E 's/127.0.0.1:[0-9]+/127.0.0.1:6672/' > lakeside-bulk.toml
         adit admin connection entry BULK --side target | sed -E 's/127.0.0.1:[0-9]+/127.0.0.1:6671/' > stmary-bulk.toml
         scp lakeside-bulk.toml lakeside:
         scp stmary-bulk.toml stmary:",
    ),
    (
        "lakeside",
        "sed -i 's/^\\[\\[p2p_source]]/&\\nstall_limit_seconds = 60/' /etc/adit/agent.toml
         cat lakeside-bulk.toml >> /etc/adit/agent.toml",
    ),
    (
        "stmary",
        "sed -i 's/^\\[\\[p2p_target]]/&\\nstall_limit_seconds = 60/' /etc/adit/agent.toml
         cat stmary-bulk.toml >> /etc/adit/agent.toml",
    ),
];

/// Two hospitals and what is exchanged between them.
struct Hospitals {
    world: World,
    mirth: Mirth,
    /// What takes the bulk transfer at St Mary.
    bulk: TcpListener,
    seed: u64,
}

impl Hospitals {
    /// Both joined as README says, behind these firewalls.
    async fn joined(lakeside: Firewall, stmary: Firewall) -> Self {
        Self::join(world(lakeside, stmary), None).await
    }

    /// Both joined behind a proxy, from the first packet on.
    async fn behind(proxy: &Proxy) -> Self {
        let world = world(PROXY_ALONE, PROXY_ALONE);
        proxy.start(world.host("proxy"));
        Self::join(world, Some(proxy)).await
    }

    async fn join(mut world: World, proxy: Option<&Proxy>) -> Self {
        let mirth = world.host("stmary").mirth(MESSAGES_AT);
        for block in first_connection() {
            match (proxy, block.commands.split_once(ENABLE_AGENT)) {
                // The one thing more that hospitals behind a proxy type.
                (Some(proxy), Some((before, after))) => {
                    world.types(block.host, before).await;
                    world.types(block.host, &proxy.setting()).await;
                    world.types(block.host, &format!("{ENABLE_AGENT}{after}")).await;
                }
                _ => world.types(block.host, block.commands).await,
            }
        }
        for (host, commands) in BULK {
            world.types(host, commands).await;
        }
        let bulk = world.host("stmary").begins(|| TcpListener::bind(BULK_AT).unwrap()).join().unwrap();
        let mut hospitals = Self { world, mirth, bulk, seed: 0 };
        hospitals.restarts().await;
        hospitals
    }

    /// From now on both have a proxy in their files.
    async fn use_proxy(&mut self, proxy: &Proxy) {
        proxy.start(self.world.host("proxy"));
        for host in ["lakeside", "stmary"] {
            self.world.types(host, &proxy.setting()).await;
        }
    }

    async fn restarts(&mut self) {
        for host in ["stmary", "lakeside"] {
            self.world.types(host, "systemctl restart adit-agent").await;
        }
    }

    fn stand_behind(&self, lakeside: Firewall, stmary: Firewall) {
        self.world.host("lakeside").stands_behind(lakeside);
        self.world.host("stmary").stands_behind(stmary);
    }

    /// Waits until both ends take these kinds of path.
    async fn take(&self, lakeside: PathKind, stmary: PathKind) -> Duration {
        let started = Instant::now();
        eventually(&format!("Lakeside takes {lakeside}, St Mary {stmary}"), async || {
            let takes = |host: &str, path| {
                self.world.host(host).status().entries.iter().all(|entry| entry.path == Some(path))
            };
            (takes("lakeside", lakeside) && takes("stmary", stmary)).then_some(())
        })
        .await;
        started.elapsed()
    }

    /// Both agents start in this network, and exchange.
    async fn begin_cold(&mut self, what: &str, lakeside: (Firewall, PathKind), stmary: (Firewall, PathKind)) {
        self.stand_behind(lakeside.0, stmary.0);
        self.restarts().await;
        let first = self.first_message().await;
        println!(
            "{what}: first message acknowledged {:.1} s after both agents ran (aim 5 s)",
            first.as_secs_f64()
        );
        self.exchanges(what).await;
        self.take(lakeside.1, stmary.1).await;
    }

    /// Sends until one message is acknowledged.
    async fn first_message(&mut self) -> Duration {
        let started = Instant::now();
        self.seed += 1;
        let seed = self.seed;
        let lakeside = self.world.host("lakeside");
        eventually("the first message is acknowledged", async || {
            let sender = Sender { response_timeout: HANG_LIMIT, ..Sender::to(MESSAGES_AT.parse().unwrap()) };
            let report = lakeside.sends(sender, Generator::new(900 + seed).take(1));
            (report.accepted() == 1).then_some(())
        })
        .await;
        started.elapsed()
    }

    /// Begins to exchange, for at least so long.
    async fn begin_exchange(&mut self, at_least: Duration) -> (Exchange, usize) {
        self.seed += 1;
        let lakeside = self.world.host("lakeside");
        eventually("both ports are open", async || {
            lakeside.status().entries.iter().all(|entry| entry.port_open).then_some(())
        })
        .await;
        let before = self.mirth.journal().received().len();
        (Exchange::begin(lakeside, &self.bulk, Amount::of_run(), self.seed, at_least), before)
    }

    /// Waits until the exchange is in its midst.
    async fn is_under_way(&self, before: usize) {
        eventually("a tenth of the messages has come", async || {
            let came = self.mirth.journal().received().len() - before;
            (came >= Amount::of_run().messages / 10).then_some(())
        })
        .await;
    }

    async fn exchanges(&mut self, what: &str) {
        let (exchange, before) = self.begin_exchange(Duration::ZERO).await;
        exchange.ends_whole(what, &self.mirth, before).await;
    }
}

/// The hosts of README with a proxy's, behind these firewalls.
fn world(lakeside: Firewall, stmary: Firewall) -> World {
    let [gateway, (lakesides, at, _), (stmarys, there, _)] = HOSTS;
    let proxy = ("proxy", [198, 51, 100, 10], PROXYS_OWN);
    World::of(&[gateway, (lakesides, at, lakeside), (stmarys, there, stmary), proxy])
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_all_passes_over_tcp_443() {
    let mut hospitals = Hospitals::joined(HTTPS_ALONE, HTTPS_ALONE).await;
    hospitals
        .begin_cold("TCP 443 alone on both sides", (HTTPS_ALONE, PathKind::Tcp), (HTTPS_ALONE, PathKind::Tcp))
        .await;
    hospitals.begin_cold("no UDP at Lakeside", (NO_UDP_OUT, PathKind::Tcp), (STMARY, PathKind::Relay)).await;
    hospitals
        .begin_cold("UDP does not come in at Lakeside", (NO_UDP_IN, PathKind::Tcp), (STMARY, PathKind::Relay))
        .await;
    hospitals
        .begin_cold("no UDP at St Mary", (HOSTS[1].2, PathKind::Relay), (STMARY.without_udp(), PathKind::Tcp))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_that_is_lost_in_mid_transfer_and_comes_back_breaks_no_connection() {
    let mut hospitals = Hospitals::joined(HOSTS[1].2, STMARY).await;
    hospitals.take(PathKind::Direct, PathKind::Direct).await;
    let (exchange, before) = hospitals.begin_exchange(Duration::from_secs(50)).await;
    hospitals.is_under_way(before).await;
    hospitals.stand_behind(NO_UDP_OUT, STMARY);
    let took = hospitals.take(PathKind::Tcp, PathKind::Relay).await;
    println!("UDP lost at Lakeside: on tcp after {:.1} s", took.as_secs_f64());
    hospitals.stand_behind(HOSTS[1].2, STMARY);
    let took = hospitals.take(PathKind::Direct, PathKind::Direct).await;
    println!("UDP is back at Lakeside: direct again after {:.1} s (aim 35 s)", took.as_secs_f64());
    exchange.ends_whole("UDP lost and back", &hospitals.mirth, before).await;

    let (exchange, before) = hospitals.begin_exchange(Duration::from_secs(15)).await;
    hospitals.is_under_way(before).await;
    hospitals.stand_behind(NO_UDP_IN, STMARY);
    let took = hospitals.take(PathKind::Tcp, PathKind::Relay).await;
    println!("UDP lost one way: on tcp after {:.1} s", took.as_secs_f64());
    exchange.ends_whole("UDP lost one way", &hospitals.mirth, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_proxy_alone_leads_out_all_passes_through_it() {
    for proxy in [Proxy::SQUID, Proxy::SQUID_BASIC, Proxy::TINYPROXY, Proxy::TINYPROXY_BASIC] {
        // What leaves the gateway's host is not behind the proxy; both hospitals are.
        let mut hospitals = Hospitals::behind(&proxy).await;
        hospitals.begin_cold(proxy.name, (PROXY_ALONE, PathKind::Tcp), (PROXY_ALONE, PathKind::Tcp)).await;
        hospitals.world.host("proxy").types(proxy.has_carried, &[]);
    }
}

/// The proxy ends what is idle for so long; nothing is.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cuts_what_is_idle_finds_nothing_idle() {
    let seconds = if is_long() { 60 } else { 10 };
    let mut hospitals = Hospitals::behind(&Proxy::cutting_after(seconds)).await;
    hospitals.take(PathKind::Tcp, PathKind::Tcp).await;
    let connected = |hospitals: &Hospitals| hospitals.world.host("lakeside").status().gateway.since;
    let before = connected(&hospitals);
    // Twice the time in which it cuts: nothing can be awaited where nothing happens.
    tokio::time::sleep(Duration::from_secs(2 * seconds)).await;
    assert_eq!(connected(&hospitals), before, "the control link was never lost");
    let status = hospitals.world.host("lakeside").status();
    assert!(status.entries.iter().all(|entry| entry.path_changes == 0), "{status:?}");
    hospitals.exchanges("after a rest behind a proxy that cuts").await;
}

/// What adit does not speak is named, so that whoever runs the proxy can be asked for an exception.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_asks_for_more_than_a_password_is_named_with_what_it_asks_for() {
    let mut hospitals = Hospitals::joined(HOSTS[1].2, STMARY).await;
    hospitals.use_proxy(&Proxy::SQUID_NTLM).await;
    hospitals.stand_behind(PROXY_ALONE.without_udp(), PROXY_ALONE.without_udp());
    hospitals.restarts().await;
    let lakeside = hospitals.world.host("lakeside");
    for command in ["adit status", "adit check || true"] {
        eventually(&format!("`{command}` names the proxy and NTLM"), async || {
            let said = lakeside.types(command, &[]).split_whitespace().collect::<Vec<_>>().join(" ");
            (said.contains("NTLM") && said.contains("proxy.example.org:3128")).then_some(())
        })
        .await;
    }
}

/// An appliance that opens TLS sees what it cannot read; it is named, and nothing enrols through it.
#[tokio::test(flavor = "multi_thread")]
async fn an_appliance_that_opens_tls_is_named_and_carries_all_the_same() {
    let mut hospitals = Hospitals::joined(HTTPS_ALONE, HTTPS_ALONE).await;
    hospitals.use_proxy(&Proxy::OPENING_TLS).await;
    let network = (PROXY_ALONE, PathKind::Tcp);
    hospitals.begin_cold("TLS is opened on the way", network, network).await;
    for host in ["lakeside", "stmary"] {
        for command in ["adit status", "adit check || true"] {
            let said = hospitals.world.host(host).types(command, &[]);
            assert!(said.contains(proxies::APPLIANCE), "`{command}` names the appliance: {said}");
        }
    }
    // A host that is new, and behind it.
    hospitals.world.types("gateway", NEW_TOKEN).await;
    let refused = hospitals.world.host("lakeside").types(ENROL_ANEW, &[]);
    assert!(refused.contains(proxies::APPLIANCE) && refused.contains("exempt"), "{refused}");
}

const NEW_TOKEN: &str = "adit admin token issue --server lakeside-mirth --life 24h --out anew.toml
    scp anew.toml lakeside:";
const ENROL_ANEW: &str = "install -d -m 0700 /var/lib/anew
    printf 'connector = \"anew.toml\"\nstate = \"/var/lib/anew/state\"\n[gateway]\nproxy = \"http://proxy.example.org:3128\"\n' > anew-agent.toml
    timeout 15 adit agent --config anew-agent.toml 2>&1 || true";
