//! What the API says, as far as pages show it. A field that a newer API adds is nothing to them.

use serde::Deserialize;

use super::ask::segment;
use super::filters::{ARROW, isolated};

/// Some rows of a list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Rows<T> {
    pub(super) rows: Vec<T>,
    pub(super) next: Option<String>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), next: None }
    }
}

/// The first few of a kind, and how many there are.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Group<T> {
    pub(super) rows: Vec<T>,
    pub(super) count: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Overview {
    pub(super) servers: ServerCounts,
    pub(super) channels: u32,
    pub(super) peers: u32,
    pub(super) connections: ConnectionCounts,
    pub(super) needs: Needs,
    pub(super) flows: Group<Connection>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct ServerCounts {
    pub(super) all: u32,
    pub(super) online: u32,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct ConnectionCounts {
    pub(super) active: u32,
    pub(super) connected: u32,
    pub(super) p2p: u32,
    pub(super) p2p_active: u32,
    pub(super) acknowledged: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Needs {
    pub(super) peerings: Group<Peering>,
    pub(super) grants: Group<Grant>,
    pub(super) offers: Group<Connection>,
    pub(super) failed: Group<Connection>,
    pub(super) broken: Group<Connection>,
    pub(super) ready: Group<Connection>,
    pub(super) certificates: Group<Server>,
    pub(super) connectors: Group<Server>,
    pub(super) invitations: Group<Invitation>,
    pub(super) api_tokens: Group<ApiToken>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Session {
    csrf_token: String,
    pub(super) stage: String,
    pub(super) user: User,
}

impl Session {
    /// Returns what a form holds to show that a page of ours was made for this user in this session.
    pub(super) fn proof(&self) -> String {
        format!("{}{PROOF_OF}{}", self.csrf_token, self.user.id)
    }
}

/// What stands between the two parts of a form's proof: the session's token, and whose form it is.
pub(super) const PROOF_OF: char = '.';

#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) organization: String,
    pub(super) organization_name: String,
    pub(super) disabled_at: Option<String>,
    pub(super) signed_in_at: Option<String>,
    pub(super) has_password: bool,
    pub(super) has_second_factor: bool,
    pub(super) has_single_sign_on: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Organization {
    pub(super) name: String,
    pub(super) tier: Option<String>,
    #[serde(default)]
    pub(super) needs_second_factor: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Server {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) version: String,
    pub(super) online: bool,
    pub(super) online_since: Option<String>,
    /// Of adit.
    pub(super) agent_version: Option<String>,
    pub(super) enrolled_at: Option<String>,
    pub(super) certificate_expires_at: Option<String>,
    pub(super) key: Option<String>,
}

impl Server {
    /// Returns how its agent is, and the class of the dot that shows it.
    pub(super) fn agent(&self) -> (&'static str, &'static str) {
        match (self.online, &self.enrolled_at, &self.key) {
            (true, ..) => ("Linked", "up"),
            (_, None, _) => ("Not enrolled", "never"),
            (_, _, None) => ("Key revoked", "down"),
            _ => ("Not linked", "down"),
        }
    }
}

/// How far a connector configuration has come.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Progress {
    pub(super) stage: String,
    pub(super) expires_at: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Channel {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) protocol: String,
    pub(super) organization: Named,
    /// Of one's own alone.
    pub(super) published: Option<bool>,
    pub(super) server: Option<Named>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Peering {
    pub(super) id: String,
    pub(super) peer: String,
    pub(super) requester: Named,
    pub(super) recipient: Named,
    pub(super) status: String,
    pub(super) requested_at: String,
}

impl Peering {
    /// Returns the other organization, as `own` sees it.
    pub(super) fn other(&self, own: &str) -> &Named {
        if self.requester.id == own { &self.recipient } else { &self.requester }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Grant {
    pub(super) id: String,
    pub(super) channel: GrantedChannel,
    pub(super) owner: Named,
    pub(super) holder: Named,
    pub(super) origin: String,
    pub(super) status: String,
    pub(super) decider: Option<String>,
    pub(super) connection: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct GrantedChannel {
    pub(super) name: Option<String>,
    pub(super) protocol: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Connections {
    pub(super) rows: Vec<Connection>,
    pub(super) next: Option<String>,
    pub(super) ended: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Connection {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) source: End,
    pub(super) target: End,
    pub(super) channel: Option<CarriedChannel>,
    pub(super) administration: Option<Administration>,
    pub(super) status: String,
    #[serde(default)]
    pub(super) held_by: Vec<String>,
    pub(super) failure: Option<String>,
    pub(super) connectivity: String,
    pub(super) pulses: bool,
    pub(super) last_acknowledged_at: Option<String>,
    pub(super) created_at: String,
    pub(super) changed_at: String,
    pub(super) connector: Option<Progress>,
    /// What its viewer would find of its secret.
    #[serde(default)]
    pub(super) secret_view: Option<String>,
    /// Messages of each of the last 60 minutes, where they were asked for.
    #[serde(default)]
    pub(super) last_hour: Vec<u64>,
}

/// A session over an admin connection.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AdminSession {
    pub(super) connection: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) managing: SessionEnd,
    pub(super) managed: SessionEnd,
    pub(super) local_peer: String,
    pub(super) state: String,
    pub(super) started_at: String,
    pub(super) heard_at: String,
    pub(super) ended_at: Option<String>,
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) changes: u64,
    pub(super) audits: u64,
}

/// One end of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SessionEnd {
    pub(super) organization: Named,
    pub(super) server: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct End {
    pub(super) organization: Named,
    pub(super) server: Option<Named>,
    pub(super) link: State,
    pub(super) tunnel: State,
    pub(super) mirth: Option<State>,
    pub(super) fault: Option<State>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct State {
    pub(super) state: String,
    pub(super) since: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct CarriedChannel {
    pub(super) name: String,
    pub(super) protocol: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Administration {
    pub(super) access: String,
    pub(super) offered_by: String,
    pub(super) expires_at: Option<String>,
}

impl State {
    pub(super) fn is_up(&self) -> bool {
        !matches!(self.state.as_str(), "down" | "never")
    }
}

impl End {
    /// Returns whether its agent says that the tunnel is up, and is there to say so.
    pub(super) fn has_tunnel(&self) -> bool {
        self.link.is_up() && self.tunnel.is_up()
    }

    /// Returns what it is called in a route: as its organization until it has a server.
    fn name(&self) -> &str {
        &self.server.as_ref().unwrap_or(&self.organization).name
    }
}

impl Connection {
    /// Returns the route, its names kept apart: read from right to left they would turn it round.
    pub(super) fn route(&self) -> String {
        [isolated(self.source.name()), isolated(self.target.name())].join(ARROW)
    }

    pub(super) fn is_admin(&self) -> bool {
        self.administration.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "Declined" | "Expired" | "Terminated")
    }

    /// Returns the organizations' ends that are `own`'s: both where it is its own peer.
    pub(super) fn is_source(&self, own: &str) -> bool {
        self.source.organization.id == own
    }

    pub(super) fn is_target(&self, own: &str) -> bool {
        self.target.organization.id == own
    }

    /// Returns the other party, as `own` sees it.
    pub(super) fn peer(&self, own: &str) -> &str {
        match (self.is_source(own), self.is_target(own)) {
            (true, true) => "Self",
            (true, false) => &self.target.organization.name,
            _ => &self.source.organization.name,
        }
    }

    /// Returns the path of the tunnel that is up, by either end's word.
    pub(super) fn path(&self) -> Option<&str> {
        [&self.source, &self.target].into_iter().find(|it| it.has_tunnel()).map(|it| it.tunnel.state.as_str())
    }

    /// Returns the class of the dot: only what is Active and connected pulses.
    pub(super) fn dot(&self) -> &'static str {
        match self.connectivity.as_str() {
            _ if self.pulses => "up pulses",
            "Connected" => "up",
            "Disconnected" => "down",
            _ => "never",
        }
    }
}

/// What hangs on something that is to end.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Consequences {
    pub(super) channels: u32,
    pub(super) connections: u32,
    pub(super) grants: u32,
    pub(super) offers: u32,
    pub(super) parties: Vec<AffectedParty>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AffectedParty {
    pub(super) organization: Named,
    pub(super) connections: u32,
    pub(super) grants: u32,
    pub(super) offers: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AuditEntry {
    pub(super) at: String,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) object: String,
    pub(super) outcome: String,
    pub(super) detail: String,
    pub(super) times: u32,
}

impl AuditEntry {
    /// Returns what it is about, with no more of an id than tells rows of a page apart.
    pub(super) fn thing(&self) -> String {
        match self.identified() {
            Some((kind, id)) => format!("{kind} {}", &id[..8]),
            None => self.object.clone(),
        }
    }

    /// Returns the page of what it is about, where there is one.
    pub(super) fn page(&self) -> Option<String> {
        let (kind, id) = self.identified().filter(|_| !self.action.starts_with("delete "))?;
        let pages = match kind {
            "connection" => "connections",
            "server" => "servers",
            "channel" => "channels",
            _ => return None,
        };
        Some(format!("/{pages}/{id}"))
    }

    fn identified(&self) -> Option<(&str, &str)> {
        let (kind, id) = self.object.split_once(' ')?;
        let is_id = id.len() == 36 && segment(id) == id;
        is_id.then_some((kind, id))
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Invitation {
    pub(super) id: String,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) status: String,
    pub(super) expires_at: String,
    pub(super) invited_by: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct IssuedInvitation {
    pub(super) email: String,
    /// Absent where it was shown before.
    pub(super) link: Option<String>,
    pub(super) expires_at: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ApiToken {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: String,
    pub(super) expires_at: String,
    pub(super) revoked_at: Option<String>,
    pub(super) used_at: Option<String>,
}

/// A token of one of the organization's users.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct UsersApiToken {
    #[serde(flatten)]
    pub(super) token: ApiToken,
    pub(super) user: ApiTokenUser,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ApiTokenUser {
    pub(super) name: String,
    pub(super) email: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AccountSession {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) agent: String,
    pub(super) created_at: String,
    pub(super) seen_at: String,
    pub(super) own: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct IdentityProvider {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) has_client_secret: bool,
    pub(super) redirect_uri: String,
    pub(super) passwords_for_owners_only: bool,
    pub(super) role_claim: String,
    pub(super) owner_value: Option<String>,
    pub(super) operator_value: Option<String>,
    pub(super) auditor_value: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Measurements {
    pub(super) source: Steps,
    pub(super) target: Steps,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Step {
    pub(super) at: String,
    pub(super) up: f64,
    pub(super) path: Option<String>,
    pub(super) rtt_ms: Option<f64>,
    pub(super) messages: u64,
    pub(super) acknowledgements: Acknowledgements,
    pub(super) latency: Option<Latency>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) objects: Objects,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) struct Acknowledgements {
    pub(super) aa: u64,
    pub(super) ae: u64,
    pub(super) ar: u64,
    pub(super) ca: u64,
    pub(super) ce: u64,
    pub(super) cr: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Objects {
    pub(super) stored: u64,
    pub(super) failed: u64,
}
