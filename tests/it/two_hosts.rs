//! README's walk-through, typed as it stands there, on three hosts: the gateway's and two hospitals'.
//!
//! What a person does besides typing is done here: look again until something is so, and read a key
//! out over the telephone. Firewalls let in only what README says, and Lakeside is behind NAT.

#![expect(clippy::print_stdout, reason = "what is typed and printed is the story of a failure")]

pub(crate) mod host;

use adit_core::domain::connection::Protocol;
use adit_core::domain::path::PathKind;
use adit_lab::measure::Differences;
use adit_lab::messages::Generator;
use adit_lab::mirth::Mirth;
use adit_lab::sender::Sender;
use tempfile::TempDir;

use self::host::{Firewall, Host, Router};
use super::lab::{HANG_LIMIT, eventually};

const README: &str = include_str!("../../README.md");
const SECTION: &str = "\n## Connecting two real hosts\n";
const BY_CURL: &str = "\n## Two organizations, each for itself\n";
const MESSAGES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_of_the_readme_joins_two_hosts() {
    joins_two_hosts(World::new(), &[PathKind::Direct, PathKind::Relay]).await;
}

/// The same commands, the same result.
#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_of_the_readme_joins_two_hosts_where_no_udp_passes() {
    let hosts = HOSTS.map(|(name, address, firewall)| (name, address, firewall.without_udp()));
    joins_two_hosts(World::of(&hosts), &[PathKind::Tcp]).await;
}

/// Types all of the walk-through; the tunnels then take one of these kinds of path.
async fn joins_two_hosts(mut world: World, paths: &[PathKind]) {
    // The Mirth that is there before adit.
    let mirth = world.host("stmary").mirth("127.0.0.1:6661");
    let managed = world.host("stmary").admin_mirth("127.0.0.1:8443");
    for Block { host, commands } in walk_through() {
        world.types(host, commands).await;
    }
    // The admin tunnel was opened anew by the last key that was compared.
    eventually(&format!("all tunnels take one of {paths:?}"), async || {
        let takes = |name: &str| {
            let entries = world.host(name).status().entries;
            entries.iter().all(|entry| entry.path.is_some_and(|path| paths.contains(&path)))
        };
        (takes("lakeside") && takes("stmary")).then_some(())
    })
    .await;
    for name in ["lakeside", "stmary"] {
        let status = world.host(name).status();
        assert_eq!(status.entries.len(), 2);
        for entry in &status.entries {
            let protocol = if entry.admin.is_some() { "https" } else { Protocol::Mllp.as_str() };
            assert_eq!((entry.status.as_str(), entry.protocol.as_str()), ("Active", protocol));
            assert!(entry.peer_key.is_some_and(|key| key.verified), "{name} heard its peer's key");
        }
    }
    let came = managed.journal().arrived();
    let by_partner = came.iter().filter(|one| one.header("x-forwarded-for").is_some()).count();
    assert_eq!(by_partner, 1, "{came:?}");
    world.carries_messages_to(&mirth).await;
}

/// Each organization by its own users and requests, from the first start to the end.
#[tokio::test(flavor = "multi_thread")]
async fn two_organizations_run_their_partnership_by_curl_alone() {
    let mut world = World::new();
    let mirth = world.host("stmary").mirth("127.0.0.1:6661");
    let (_, section) = README.split_once(BY_CURL).expect("README has it by curl");
    let (begin, end) = section.split("\n## ").next().unwrap().split_once("**7.").expect("it ends");
    for Block { host, commands } in blocks(begin) {
        world.types(host, commands).await;
    }
    world.carries_messages_to(&mirth).await;
    for Block { host, commands } in blocks(end) {
        world.types(host, commands).await;
    }
    for name in ["lakeside", "stmary"] {
        eventually(&format!("{name} hears that the connection is terminated"), async || {
            let entries = world.host(name).status().entries;
            entries.iter().all(|entry| entry.status == "Terminated").then_some(())
        })
        .await;
    }
    let shown = world.host("lakeside").types("./api GET /peerings | jq -r '.rows[].status'", &[]);
    assert_eq!(shown.trim(), "ended");
}

/// A provider's new address, a moved VM: nothing is restarted and no file names the address.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_whose_address_changes_is_reached_directly_again() {
    let mut world = World::new();
    let mirth = world.host("stmary").mirth("127.0.0.1:6661");
    for Block { host, commands } in first_connection() {
        world.types(host, commands).await;
    }
    world.goes_directly(0).await;
    let changes = world.host("lakeside").status().entries[0].path_changes;
    world.host("stmary").moves([203, 0, 113, 10], [203, 0, 113, 77]);
    world.goes_directly(changes + 1).await;
    world.carries_messages_to(&mirth).await;
    world.types("lakeside", "systemctl restart adit-agent").await;
    world.goes_directly(0).await;
}

/// What is typed on one host, in the order of the page.
pub(crate) struct Block {
    pub host: &'static str,
    pub commands: &'static str,
}

pub(crate) fn walk_through() -> Vec<Block> {
    blocks(section())
}

/// Up to the comparison of keys.
pub(crate) fn first_connection() -> Vec<Block> {
    blocks(section().split("\n### ").next().unwrap())
}

fn section() -> &'static str {
    let (_, section) = README.split_once(SECTION).expect("README has the walk-through");
    section.split("\n## ").next().unwrap()
}

/// The fenced blocks of the form "sh HOST".
fn blocks(section: &'static str) -> Vec<Block> {
    let fenced = section.split("\n```").filter_map(|block| block.strip_prefix("sh "));
    fenced
        .map(|block| block.split_once('\n').expect("commands follow"))
        .map(|(host, commands)| Block { host, commands })
        .collect()
}

pub(crate) struct World {
    hosts: Vec<Host>,
    /// Holds the cables.
    router: Router,
    folder: TempDir,
    /// What people told each other, as the commands call it.
    heard: Vec<(&'static str, String)>,
}

/// An address each, and its firewall: as README asks for.
pub(crate) const HOSTS: [(&str, [u8; 4], Firewall); 3] = [
    ("gateway", [192, 0, 2, 10], GATEWAY),
    ("lakeside", [10, 1, 0, 10], Firewall::HTTPS_AND_UDP),
    ("stmary", [203, 0, 113, 10], Firewall { lets_in: "udp dport 4433 accept;", ..Firewall::HTTPS_AND_UDP }),
];
pub(crate) const GATEWAY: Firewall =
    Firewall { lets_in: "tcp dport 443 accept; udp dport 443 accept;", ..Firewall::HTTPS_AND_UDP };
const KEYS: [(&str, &str); 2] = [("KEY_OF_LAKESIDE", "lakeside"), ("KEY_OF_STMARY", "stmary")];

impl World {
    fn new() -> Self {
        Self::of(&HOSTS)
    }

    /// Hosts with an address and a firewall each.
    pub(crate) fn of(hosts: &[(&'static str, [u8; 4], Firewall)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { hosts: Vec::new(), router: Router::start(), folder, heard: Vec::new() };
        for (name, address, firewall) in hosts {
            let host = Host::start(world.folder.path(), name);
            world.router.connect(&host, *address, *firewall);
            world.hosts.push(host);
        }
        world
    }

    pub(crate) fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).expect("README names a host of this test")
    }

    pub(crate) async fn types(&mut self, host: &str, commands: &str) {
        for (name, owner) in KEYS {
            if commands.contains(name) {
                let key = self.host(owner).status().key.to_string();
                self.heard.push((name, key));
            }
        }
        let host = self.host(host);
        if commands == "adit status" {
            eventually("`adit status` says that the tunnel is up", async || {
                host.types(commands, &[]).contains("tunnel  ● up").then_some(())
            })
            .await;
        } else {
            println!("{}", host.types(commands, &self.heard));
        }
    }

    /// Waits until Lakeside reaches St Mary directly, its path having changed so often.
    async fn goes_directly(&self, changes: u64) {
        eventually("the path is direct", async || {
            let status = self.host("lakeside").status();
            let entry = status.entries.first()?;
            (entry.path == Some(PathKind::Direct) && entry.path_changes >= changes).then_some(())
        })
        .await;
    }

    /// Messages from one hospital's Mirth reach the other's, and are acknowledged.
    async fn carries_messages_to(&self, mirth: &Mirth) {
        let lakeside = self.host("lakeside");
        eventually("the port for Lakeside's Mirth opens", async || {
            lakeside.status().entries[0].port_open.then_some(())
        })
        .await;
        let sender = Sender {
            connect_timeout: HANG_LIMIT,
            response_timeout: HANG_LIMIT,
            ..Sender::to(([127, 0, 0, 1], 6661).into())
        };
        let sent = lakeside.sends(sender, Generator::new(7).take(MESSAGES));
        let received = mirth.journal().received();
        let differences = Differences::between(&sent.sent, &received);
        assert!(differences.none(), "{differences}");
        assert_eq!((sent.accepted(), received.len()), (MESSAGES, MESSAGES));
    }
}
