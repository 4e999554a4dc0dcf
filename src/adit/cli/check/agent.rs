//! What can be wrong with an agent before, and while, it runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::finding::Findings;
use super::gateways::{Known, check_gateways};
use super::network::{Host, check_hosts, check_tcp_port, check_udp_port};
use super::state::{self, State};
use crate::cli::files;
use crate::cli::shown::ask_shown;
use adit_agent::better_paths::BetterPath;
use adit_agent::carrier::CarrierStatus;
use adit_agent::diagnosis::{diagnose, diagnose_agent};
use adit_agent::enrol::{EnrolError, ask_about_token};
use adit_agent::health::HealthProblem;
use adit_agent::state::{AgentState, Enrolment, StateError};
use adit_agent::stats::{AgentStatus, EntryStatus};
use adit_agent::status::{Answer, Request, StatusError};
use adit_core::config::HostPort;
use adit_core::config::agent::AgentConfig;
use adit_core::config::connector::Connector;
use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{KeyFingerprint, RouteId};
use adit_core::domain::path::PathKind;
use adit_core::domain::secret::RegistrationToken;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::DatabaseAway;
use adit_net::identity::outer::GatewayKey;
use adit_net::identity::time::{HostClock, LearntClock, TimeSource};
use adit_net::identity::tls::Trust;
use adit_net::transport::carrier::proxy::Proxies;

/// Renewed daily, a leaf this close to its end was not renewed for a week.
const LEAF_LEFT_MIN: Duration = Duration::from_hours(7 * 24);
/// An agent just started dials the gateway, hears its rules, and dials its peers.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

pub(super) async fn check(config: &AgentConfig, findings: &mut Findings) {
    check_entries(config, findings);
    let proxies = Arc::new(Proxies::of_host(&config.proxies));
    let enrolment =
        AgentState::open_if_made(&config.state).and_then(|state| state.enrolment().ok().flatten());
    let connector =
        config.connector.as_deref().and_then(|path| read_connector(path, enrolment.as_ref(), findings));
    let gateway = match state::check(&config.state, findings) {
        State::Unusable => Gateways::of_connector(connector.as_ref(), None),
        // It dials the Mirths of its entries by itself, as often as they bear.
        State::InUse(_) => return check_running(config, connector.as_ref(), &proxies, findings).await,
        State::Absent => check_first_start(config, connector.as_ref(), &proxies, findings).await,
        State::Free(_) => check_state(config, connector.as_ref(), &proxies, findings).await,
    };
    check_ports(config, findings);
    gateway.check(&proxies, findings).await;
    check_targets(config, findings).await;
}

/// Where the gateway is, as far as this host knows.
struct Gateways {
    addresses: Vec<HostPort>,
    known: Known,
}

impl Gateways {
    fn of_connector(connector: Option<&Connector>, route: Option<RouteId>) -> Self {
        let addresses = connector.map(|connector| connector.addresses.clone()).unwrap_or_default();
        let key = connector.map(|connector| GatewayKey {
            ca_key: connector.key,
            trust_domain: connector.trust_domain.clone(),
        });
        Self { addresses, known: Known { route, key, needs_tcp: true } }
    }

    fn of_enrolment(enrolment: Enrolment) -> Self {
        let trust = Trust::new(&enrolment.ca, enrolment.trust_domain.clone());
        let key = trust
            .ok()
            .map(|trust| GatewayKey { ca_key: trust.ca_key(), trust_domain: enrolment.trust_domain });
        let known = Known { route: Some(enrolment.gateway_route), key, needs_tcp: false };
        Self { addresses: enrolment.gateway_addresses, known }
    }

    async fn check(self, proxies: &Arc<Proxies>, findings: &mut Findings) {
        check_gateways(self.addresses, &self.known, proxies, findings).await;
    }
}

fn check_entries(config: &AgentConfig, findings: &mut Findings) {
    let (sources, targets) = (config.sources.len(), config.targets.len());
    let (managing, managed) = (config.managing.len(), config.managed.len());
    if sources + targets + managing + managed == 0 {
        findings.warning("configuration: no connection is listed; paste the entry that `adit admin connection entry` prints");
    } else {
        findings.fine(format!(
            "configuration: {sources} p2p_source, {targets} p2p_target, {managing} admin_managing and {managed} admin_managed"
        ));
    }
    for source in config.sources.iter().filter(|source| !source.listen.ip().is_loopback()) {
        findings.warning(format!(
            "{}: whoever reaches {} can send on this connection; listen on loopback unless Mirth runs on another host",
            source.entry.name, source.listen
        ));
    }
    for managed in config.managed.iter().filter(|managed| managed.max_access() == Access::ReadWrite) {
        findings.warning(format!(
            "{}: max_access is read-write: the partner may change everything on {} once the connection is Admin RW",
            managed.entry.name, managed.mirth
        ));
    }
    for (_, entry) in config.entries() {
        let wanted = entry.service.stall_limit();
        if entry.service.protocol() == Some(Protocol::Mllp) && entry.stall_limit > wanted {
            findings.warning(format!(
                "{}: stall_limit_seconds is {}; above {} an acknowledgement that comes late may be matched to the next \
                 message, unless Mirth's response timeout is longer",
                entry.name,
                entry.stall_limit.as_secs(),
                wanted.as_secs()
            ));
        }
    }
}

fn read_connector(path: &Path, enrolment: Option<&Enrolment>, findings: &mut Findings) -> Option<Connector> {
    let written = match files::read(path) {
        Ok(written) => written,
        // Whether it is needed is known once the state was looked at.
        Err(files::FileError::Missing { .. }) => return None,
        Err(error) => {
            findings.error(&error);
            return None;
        }
    };
    match Connector::parse(&written.text) {
        Ok(connector) => {
            // Spent, it is of no use to anybody.
            let unspent = |token| enrolment.is_none_or(|enrolment| !enrolment.has_spent(token));
            if connector.token.as_ref().is_some_and(unspent) && written.is_open() {
                findings.problem(format!(
                    "connector: `{0}` holds a token and others may read it, so the agent does not enrol with it; run \
                     `chmod 600 {0}`",
                    path.display()
                ));
            }
            Some(connector)
        }
        Err(problems) => {
            for problem in problems.iter() {
                findings.problem(format!("connector: {}: {problem}", path.display()));
            }
            None
        }
    }
}

/// Checks what a host that is not enrolled needs for it.
async fn check_first_start(
    config: &AgentConfig,
    connector: Option<&Connector>,
    proxies: &Proxies,
    findings: &mut Findings,
) -> Gateways {
    let token = connector.and_then(|connector| Some((connector, connector.token.as_ref()?)));
    let mut route = None;
    match (&config.connector, connector) {
        (_, Some(connector)) if connector.token.is_some() => {
            findings.fine(format!("identity: server {} enrols at the first start", connector.server));
        }
        (Some(path), Some(_)) => findings.problem(format!(
            "identity: none yet, and the token in `{}` is used up; make a new one with `adit admin token issue` on the \
             gateway's host, and put its connector file there",
            path.display()
        )),
        (Some(path), None) => findings.problem(format!(
            "identity: none yet, and `{}` cannot be used; put the connector file there that `adit admin token issue` \
             writes on the gateway's host",
            path.display()
        )),
        (None, _) => findings.problem(
            "identity: none yet; `adit admin token issue` on the gateway's host writes a connector file: put it here and \
             name it with `connector` in the agent's file",
        ),
    }
    if let Some((connector, token)) = token {
        let key = AgentState::open_if_made(&config.state).and_then(|state| state.own_key().ok().flatten());
        route = check_token(connector, token, key, proxies, findings).await;
    }
    Gateways::of_connector(connector, route)
}

/// Checks whether the gateway would take the token; returns its route where it would.
async fn check_token(
    connector: &Connector,
    token: &RegistrationToken,
    key: Option<KeyFingerprint>,
    proxies: &Proxies,
    findings: &mut Findings,
) -> Option<RouteId> {
    match ask_about_token(connector, proxies, token, key).await {
        Ok(good) => {
            findings.fine(format!("token: the gateway takes it until {}", good.expires));
            return Some(good.gateway_route);
        }
        // Said of the gateway's addresses.
        Err(EnrolError::Unreachable { .. } | EnrolError::Intercepted { .. }) => {}
        Err(EnrolError::Refused { answer, .. }) => findings.problem(format!("token: {answer}")),
        Err(EnrolError::NotNow { answer, .. }) => {
            findings
                .warning(format!("token: the gateway does not say at present whether it takes it: {answer}"));
        }
        // An older one answers to no such question.
        Err(EnrolError::Nonsense { .. }) => {
            findings.warning("token: this gateway does not say whether it takes it; update it");
        }
        Err(error) => findings.error(&error),
    }
    None
}

/// Checks what is in a folder that no agent uses now.
async fn check_state(
    config: &AgentConfig,
    connector: Option<&Connector>,
    proxies: &Proxies,
    findings: &mut Findings,
) -> Gateways {
    match read_state(&config.state, connector, findings) {
        Ok(Some(enrolment)) => {
            check_rules(config, findings);
            Gateways::of_enrolment(enrolment)
        }
        Ok(None) => check_first_start(config, connector, proxies, findings).await,
        Err(error) => {
            findings.error(&error);
            Gateways::of_connector(connector, None)
        }
    }
}

fn read_state(
    path: &Path,
    connector: Option<&Connector>,
    findings: &mut Findings,
) -> Result<Option<Enrolment>, StateError> {
    let state = AgentState::open_read_only(path)?;
    let Some(enrolment) = state.enrolment()? else { return Ok(None) };
    let (identity, trust) = state.identity(&enrolment)?;
    // Damage to this stops the agent too.
    state.known_keys()?;
    state.rule_book()?;
    for error in state.damaged_losses() {
        findings.error(&error);
    }
    for damaged in state.damaged_caches() {
        findings.warning(format!(
            "state: `{}` is damaged; the agent sets it aside at its start and makes it anew",
            damaged.display()
        ));
    }
    let now = LearntClock::new(HostClock, state.clock_offset_millis()?).now();
    match identity.validity(&trust) {
        Ok((_, expires)) => check_leaf(now, expires, findings),
        Err(error) => findings.error(&error),
    }
    if let Some(connector) = connector.filter(|connector| connector.server != enrolment.server) {
        findings.problem(format!(
            "identity: the state is server {}'s, the connector file server {}'s; name another `state` or `connector`",
            enrolment.server, connector.server
        ));
    }
    Ok(Some(enrolment))
}

/// Of the rules kept from the gateway, those that this build cannot use.
fn check_rules(config: &AgentConfig, findings: &mut Findings) {
    let Ok(rules) = AgentState::open_read_only(&config.state).and_then(|state| state.rule_book()) else {
        return;
    };
    for (_, entry) in config.entries() {
        if let Some(unusable) = rules.unusable(entry.id) {
            findings.problem(format!("{}: {}", entry.name, unusable.why()));
        }
    }
}

fn check_leaf(now: Timestamp, expires: Timestamp, findings: &mut Findings) {
    if now > expires {
        findings.problem(format!(
            "certificate: expired {expires}; the agent renews it once it reaches the gateway, unless it was revoked: \
             then enrol anew with a new token"
        ));
    } else if expires.since(now) < LEAF_LEFT_MIN {
        findings.warning(format!(
            "certificate: good until {expires} and not renewed for days; see why the gateway was not reached"
        ));
    } else {
        findings.fine(format!("certificate: good until {expires}"));
    }
}

/// Checks by its status: a running agent knows best, once its first attempts have come to something.
async fn check_running(
    config: &AgentConfig,
    connector: Option<&Connector>,
    proxies: &Arc<Proxies>,
    findings: &mut Findings,
) {
    let enrolment =
        || AgentState::open_read_only(&config.state).and_then(|state| state.enrolment()).ok().flatten();
    match settled(config).await {
        Ok(Answer::Status(status)) => {
            check_status(config, &status, findings);
            if status.gateway.on != Some(true)
                && let Some(enrolment) = enrolment()
            {
                Gateways::of_enrolment(enrolment).check(proxies, findings).await;
            }
        }
        Ok(Answer::Failed { what }) => findings.problem(format!("agent: it answered: {what}")),
        Ok(
            Answer::Trusted { .. }
            | Answer::PathChosen
            | Answer::Explained(_)
            | Answer::Forgotten { .. }
            | Answer::Waits { .. },
        ) => {
            findings.problem("agent: it gave an answer to another question; compare versions");
        }
        // It serves nobody until it is enrolled, and says in its log what it waits for.
        Err(StatusError::NotRunning { .. }) if enrolment().is_none() => {
            findings
                .problem("agent: it runs and is not enrolled yet; what follows says why, else its log does");
            check_first_start(config, connector, proxies, findings).await.check(proxies, findings).await;
        }
        Err(error) => findings.error(&error),
    }
}

/// Returns the agent's status when everything works, or when it has had the time to.
async fn settled(config: &AgentConfig) -> Result<Answer, StatusError> {
    let give_up = Instant::now() + SETTLES_WITHIN;
    loop {
        let answer = ask_shown(&config.state, &Request::Status).await;
        let may_settle = match &answer {
            Ok(Answer::Status(status)) => is_settling(status),
            // It holds its state before it answers, and asks the gateway before it serves.
            Err(StatusError::NotRunning { .. } | StatusError::Waits { what: None }) => true,
            _ => false,
        };
        if !may_settle || Instant::now() >= give_up {
            return answer;
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Returns whether something does not work yet that an agent just started may be about to do.
fn is_settling(status: &AgentStatus) -> bool {
    let has_link = status.gateway.on == Some(true);
    let waits = |entry: &EntryStatus| {
        let is_decided = |problem: HealthProblem| problem.is_decided() || entry.path_conflict.is_some();
        let problem = entry.health().problem();
        problem.is_some_and(|problem| !(problem.lets_pass() || has_link && is_decided(problem)))
    };
    status.uptime_seconds < SETTLES_WITHIN.as_secs() && (!has_link || status.entries.iter().any(waits))
}

fn check_status(config: &AgentConfig, status: &AgentStatus, findings: &mut Findings) {
    findings.fine(format!("agent: running, UDP {}", status.listen));
    check_leaf(HostClock.now(), status.leaf_expires, findings);
    let has_link = status.gateway.on == Some(true);
    if has_link {
        let path = status.gateway_path.as_ref();
        let over = path.map(|link| over(link.path, &link.better)).unwrap_or_default();
        findings.fine(format!("gateway: the control link is up{over}"));
        if let Some(since) = status.gateway_database_away_since {
            findings.warning(format!("gateway: {}", DatabaseAway { since }));
        }
    } else {
        let why =
            status.gateway_error.as_ref().map_or("no attempt has ended yet", |fault| fault.what.as_str());
        findings.problem(format!("gateway: the control link is down: {why}"));
    }
    if let Some(carrier) = &status.carrier {
        check_carrier(carrier, findings);
    }
    if let Some(what) = diagnose_agent(status) {
        findings.problem(format!("agent: {what}"));
    }
    for fault in &status.not_taken {
        findings.warning(format!("gateway: not taken, {}: {}", fault.at, fault.what));
    }
    for (_, entry) in config.entries() {
        if !status.entries.iter().any(|running| running.id == entry.id) {
            findings
                .problem(format!("{}: the running agent does not have it; restart the agent", entry.name));
        }
    }
    for entry in &status.entries {
        if let Some(what) = diagnose(entry, has_link) {
            findings.problem(format!("{}: {what}", called(entry)));
        } else {
            let over = entry.path.map(|path| over(path, &entry.better_paths)).unwrap_or_default();
            findings.fine(format!("{}: works{over}", called(entry)));
        }
    }
}

/// Of the tcp path, what the running agent has made of it.
fn check_carrier(carrier: &CarrierStatus, findings: &mut Findings) {
    let is_up = carrier.up.on == Some(true);
    match (&carrier.foreign_issuer, &carrier.last_error) {
        (Some(issuer), _) if is_up => findings.warning(format!(
            "gateway: somebody breaks TLS open with a certificate of {issuer}: the tcp path works and stays encrypted \
             end to end, but enrolling anew needs the gateway's name exempted from TLS inspection"
        )),
        (_, Some(fault)) if carrier.is_wanted && !is_up => {
            findings.warning(format!("gateway: without UDP this host could not reach its peers: {}", fault.what));
        }
        _ => findings.fine(format!("gateway: the tcp path is {carrier}")),
    }
}

/// Returns `, over tcp (direct: it has not answered for 12 seconds)`, or nothing where that is what the owner
/// wants most or has left.
fn over(path: PathKind, better: &[BetterPath]) -> String {
    let better: Vec<_> =
        better.iter().filter(|better| !better.is_owners_word()).map(BetterPath::to_string).collect();
    if better.is_empty() { String::new() } else { format!(", over {path} ({})", better.join("; ")) }
}

/// Returns `adt (Lakeside → St Mary)`, once the gateway has said whose it is.
fn called(entry: &EntryStatus) -> String {
    if entry.route.is_empty() { entry.name.clone() } else { format!("{} ({})", entry.name, entry.route) }
}

fn check_ports(config: &AgentConfig, findings: &mut Findings) {
    check_udp_port("listen", config.listen, findings);
    if let Some(metrics) = config.metrics {
        check_tcp_port("metrics", metrics, findings);
    }
    for source in &config.sources {
        check_tcp_port(source.entry.name.as_str(), source.listen, findings);
    }
    for managing in &config.managing {
        check_tcp_port(managing.entry.name.as_str(), managing.listen, findings);
    }
}

async fn check_targets(config: &AgentConfig, findings: &mut Findings) {
    let (asked, left) = config.targets.iter().partition::<Vec<_>, _>(|target| target.probe);
    for target in left {
        findings.fine(format!(
            "{}: {} is not asked, because `probe` is false",
            target.entry.name, target.forward_to
        ));
    }
    let hosts = asked.into_iter().map(|target| Host {
        what: target.entry.name.to_string(),
        at: target.forward_to.clone(),
        remedy: "start the channel in Mirth, or correct `forward_to`",
    });
    let mirths = config.managed.iter().map(|managed| Host {
        what: managed.entry.name.to_string(),
        at: managed.mirth.host.clone(),
        remedy: "start Mirth, or correct `mirth`",
    });
    check_hosts(hosts.chain(mirths).collect(), findings).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_on_a_lesser_path_says_what_is_wrong_with_the_better_ones() {
        let better =
            |path, why_not: &str, what: &str| BetterPath { path, why_not: why_not.into(), what: what.into() };
        let silent = better(PathKind::Direct, "silent", "it has not answered for 12 seconds");
        let unregistered = better(PathKind::Relay, "not-registered", "this agent is not registered");
        let unwanted = better(PathKind::Direct, "not-allowed", "this agent's file does not allow it");
        assert_eq!(over(PathKind::Direct, &[]), "");
        assert_eq!(over(PathKind::Relay, std::slice::from_ref(&unwanted)), "", "its owner wants no other");
        assert_eq!(
            over(PathKind::Tcp, &[silent, unregistered.clone()]),
            ", over tcp (direct: it has not answered for 12 seconds; relay: this agent is not registered)"
        );
        let over_tcp = over(PathKind::Tcp, &[unwanted, unregistered]);
        assert_eq!(over_tcp, ", over tcp (relay: this agent is not registered)");
    }
}
