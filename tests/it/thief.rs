//! A gateway in the wrong hands: it has the real one's address, certificate authority and word, and
//! says whatever a test wants.

use std::fs;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_core::domain::id::{BootId, ServerId};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::capability::Capabilities;
use adit_core::protocol::control::{Rule, ToAgent, ToGateway, VERSION};
use adit_core::protocol::relay::Relay;
use adit_core::protocol::rules::RuleBook;
use adit_gateway::authority::Authority;
use adit_net::host::folder::Folder;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::random;
use adit_net::identity::time::{HostClock, TimeSource};
use adit_net::transport::endpoint::{GatewayEndpoint, Incoming, TransportError};
use adit_net::transport::link::{self, LinkReceiver, LinkSender};
use adit_net::transport::relay::RelayThread;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::interval_at;

use super::lab::{Lab, Part, eventually};

const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);

/// What is said to an agent once it has said hello, in this order, given the rules that it holds.
pub(crate) type Words = Box<dyn Fn(ServerId, Vec<Rule>, &Authority) -> Vec<Value> + Send + Sync>;

pub(crate) struct Script {
    pub words: Words,
    /// How far its clock is ahead.
    pub ahead_millis: i64,
    /// When it signs leaves, if not now.
    pub signs_at: Option<Timestamp>,
    /// Says that every leaf has expired.
    pub only_renews: bool,
}

impl Script {
    pub(crate) fn saying(
        words: impl Fn(ServerId, Vec<Rule>, &Authority) -> Vec<ToAgent> + Send + Sync + 'static,
    ) -> Self {
        Self::saying_anything(move |server, rules, authority| {
            let words = words(server, rules, authority);
            words.iter().map(|word| serde_json::to_value(word).unwrap()).collect()
        })
    }

    /// The same of a gateway whose words this build may not know.
    pub(crate) fn saying_anything(
        words: impl Fn(ServerId, Vec<Rule>, &Authority) -> Vec<Value> + Send + Sync + 'static,
    ) -> Self {
        Self { words: Box::new(words), ahead_millis: 0, signs_at: None, only_renews: false }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(HostClock.now().as_millis() + self.ahead_millis)
    }
}

/// The whole view as an agent holds it already.
pub(crate) fn snapshot(rules: Vec<Rule>) -> ToAgent {
    ToAgent::Snapshot { revision: 1, rules: rules.into(), revoked: Vec::new() }
}

/// Serves until dropped.
pub(crate) struct Thief {
    serving: JoinSet<()>,
    shared: Arc<Shared>,
    _relay: RelayThread,
}

struct Shared {
    authority: Authority,
    script: Script,
    rules: Vec<(ServerId, Vec<Rule>)>,
    links: Mutex<Vec<ServerId>>,
    renewals: AtomicUsize,
}

impl Thief {
    /// Kills the real gateway and takes its place. Both agents must have been linked.
    pub(crate) fn take(lab: &mut Lab, script: Script) -> Self {
        lab.kill(Part::Gateway);
        let folder = Folder::open(&lab.state(Part::Gateway)).unwrap();
        let written = fs::read_to_string(lab.config(Part::Gateway)).unwrap();
        let domain = written.lines().find_map(|line| line.strip_prefix("trust_domain")).unwrap();
        let domain = domain.trim_matches([' ', '=', '"']).parse().unwrap();
        let authority = Authority::open(&folder, &domain, HostClock.now()).unwrap();
        let rules = [Part::A, Part::B].map(|part| (server(lab, part), rules(lab, part))).to_vec();

        let udp = UdpSocket::bind(lab.gateway_address()).unwrap();
        let boot = BootId::from_bytes(random::bytes());
        let relay = Relay::new(authority.route(), boot, random::bytes(), Instant::now());
        let (relay, socket) = RelayThread::start(udp, relay).unwrap();
        let reset_key = authority.reset_key();
        let (identity, trust) = (authority.identity(), authority.trust().clone());
        let endpoint =
            GatewayEndpoint::new(socket, authority.route(), &reset_key, &identity, &trust).unwrap();
        let (links, renewals) = (Mutex::default(), AtomicUsize::new(0));
        let shared = Arc::new(Shared { authority, script, rules, links, renewals });
        let mut serving = JoinSet::new();
        serving.spawn(serve(endpoint, Arc::clone(&shared)));
        Self { serving, shared, _relay: relay }
    }

    /// Waits until every word of the script was said to `part`.
    pub(crate) async fn is_heard_by(&self, lab: &Lab, part: Part) {
        let server = server(lab, part);
        eventually(&format!("{part:?} hears the thief"), async || {
            self.shared.links.lock().contains(&server).then_some(())
        })
        .await;
    }

    pub(crate) fn renewals(&self) -> usize {
        self.shared.renewals.load(Ordering::Relaxed)
    }

    /// Gives the place back to the real gateway.
    pub(crate) async fn give_back(mut self, lab: &mut Lab) {
        self.serving.shutdown().await;
        drop(self);
        // QUIC keeps its socket until the links that it has closed are drained.
        eventually("the thief's port is free", async || UdpSocket::bind(lab.gateway_address()).ok()).await;
        lab.start(Part::Gateway);
        lab.gateway_serves().await;
        // What an agent shows may be its link to the thief.
        for part in [Part::A, Part::B] {
            let server = format!("server={}", server(lab, part));
            eventually(&format!("{part:?} is linked to the honest gateway"), async || {
                let log = lab.log(Part::Gateway);
                let mut lines = log.lines();
                lines.any(|line| line.contains(&server) && line.contains("agent connected")).then_some(())
            })
            .await;
        }
        lab.linked().await;
    }
}

fn server(lab: &Lab, part: Part) -> ServerId {
    let enrolment = fs::read(lab.state(part).join("enrolment.json")).unwrap();
    let enrolment: adit_agent::state::Enrolment = serde_json::from_slice(&enrolment).unwrap();
    enrolment.server
}

fn rules(lab: &Lab, part: Part) -> Vec<Rule> {
    let book = fs::read(lab.state(part).join("rules.json")).unwrap();
    let book: RuleBook = serde_json::from_slice(&book).unwrap();
    book.rules().cloned().collect()
}

async fn serve(endpoint: GatewayEndpoint, shared: Arc<Shared>) {
    let mut links = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let shared = Arc::clone(&shared);
        links.spawn(async move {
            // An agent that goes away is none of a thief's business.
            let _ = converse(incoming, &shared).await;
        });
    }
}

async fn converse(incoming: Incoming, shared: &Shared) -> Result<(), TransportError> {
    let Shared { authority, script, rules, .. } = shared;
    let connection = incoming.accept().await?;
    let server = connection.peer(authority.trust())?.server().unwrap();
    let (mut sender, mut receiver) = link::accept(&connection).await?;
    let _: ToGateway = receiver.receive().await?;
    if script.only_renews {
        sender.send(&ToAgent::RenewOnly { now: script.now() }).await?;
    } else {
        let capabilities = Capabilities::own();
        sender.send(&ToAgent::Welcome { version: VERSION, now: script.now(), capabilities }).await?;
        let held = rules.iter().find(|(of, _)| *of == server).map(|(_, rules)| rules.clone());
        for word in (script.words)(server, held.unwrap_or_default(), authority) {
            sender.send(&word).await?;
        }
    }
    shared.links.lock().push(server);
    go_on(&mut sender, &mut receiver, server, shared).await
}

async fn go_on(
    sender: &mut LinkSender,
    receiver: &mut LinkReceiver,
    server: ServerId,
    shared: &Shared,
) -> Result<(), TransportError> {
    let mut beats = interval_at(tokio::time::Instant::now() + HEARTBEAT_EVERY, HEARTBEAT_EVERY);
    loop {
        let word = tokio::select! {
            _ = beats.tick() => ToAgent::Heartbeat { number: 1, now: shared.script.now() },
            heard = receiver.receive() => match heard? {
                ToGateway::Renew { csr } => {
                    shared.renewals.fetch_add(1, Ordering::Relaxed);
                    let at = shared.script.signs_at.unwrap_or_else(|| shared.script.now());
                    ToAgent::Renewed { leaf: leaf(&shared.authority, &csr, server, at) }
                }
                _ => continue,
            },
        };
        sender.send(&word).await?;
    }
}

fn leaf(authority: &Authority, csr: &str, server: ServerId, at: Timestamp) -> String {
    let csr = VerifiedCsr::from_der(&hex::decode(csr).unwrap()).unwrap();
    hex::encode(authority.sign_server(&csr, server, at).unwrap())
}
