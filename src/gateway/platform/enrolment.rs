//! Registration tokens redeemed, and whether a server with a certificate stands well.

use std::net::{IpAddr, SocketAddr};

use subtle::ConstantTimeEq;
use tracing::debug;

use crate::store::{AuditOutcome, ServerRecord, StoreError, TokenRecord, Tx};
use adit_core::domain::id::{ConnectionId, KeyFingerprint, RouteId, ServerId};
use adit_core::domain::places::address_of;
use adit_core::domain::secret::RegistrationToken;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::text::listed;

use super::Platform;
use super::audit::AgentEntry;
use super::counted::Reporter;
use super::error::PlatformError;
use super::secrets;

/// What a redeemed token earns: a leaf for this server, and this route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    pub server: ServerId,
    pub route: RouteId,
    /// The token had not been used before.
    pub is_first: bool,
    /// A new key took the place of this one: cut its links and tunnels.
    pub revoked: Option<KeyFingerprint>,
    /// Connections whose secrets were rotated because of it.
    pub rotated: Vec<ConnectionId>,
}

/// Told to the host that presented the token. Unknown, foreign, mistyped and voided are one answer.
#[derive(Debug, thiserror::Error)]
pub enum EnrolRefusal {
    #[error(
        "this registration token is not good for this server; issue a new one and use its connector file"
    )]
    Wrong,
    #[error("the registration token has expired; issue a new one")]
    Expired,
    #[error(
        "the registration token was used with another key; issue a new one, and find out who used this one"
    )]
    OtherKey,
    #[error(
        "this key was revoked; remove the agent's identity from its state folder and enrol with a new token"
    )]
    RevokedKey,
    #[error("this key belongs to another server; each agent makes its own")]
    KeyInUse,
    #[error("the gateway's database did not serve the enrolment; try again")]
    Platform(#[from] PlatformError),
}

impl From<StoreError> for EnrolRefusal {
    fn from(error: StoreError) -> Self {
        Self::Platform(error.into())
    }
}

/// Why a server with a verified leaf gets no control link.
#[derive(Debug, thiserror::Error)]
pub enum LinkRefusal {
    #[error("the platform has no such server")]
    UnknownServer,
    #[error("the key was revoked; enrol with a new token")]
    RevokedKey,
    #[error("the key is not the one on file; enrol with a new token")]
    KeyNotOnFile,
    #[error("the gateway's database did not serve the link")]
    Platform(#[from] PlatformError),
}

impl From<StoreError> for LinkRefusal {
    fn from(error: StoreError) -> Self {
        Self::Platform(error.into())
    }
}

impl Platform {
    /// Binds the token to the first key that presents it; the same key may come again until the
    /// token expires. A new key on a server that had one revokes the old and rotates its secrets.
    pub async fn redeem_token(
        &self,
        server: ServerId,
        token: &RegistrationToken,
        key: KeyFingerprint,
        source: IpAddr,
    ) -> Result<Enrolment, EnrolRefusal> {
        let mut tx = self.store.write().await?;
        let known = tx.server(server).await?;
        let kept = tx.token(server).await?;
        match judge(&mut tx, known.as_ref(), kept.as_ref(), token, Some(key), self.now()).await {
            Ok(server) => {
                let enrolment = self.enrol(&mut tx, &server, kept.as_ref(), key).await?;
                tx.commit().await?;
                Ok(enrolment)
            }
            Err(EnrolRefusal::Platform(error)) => Err(error.into()),
            Err(refusal) => {
                drop(tx);
                self.note_refused_enrolment(known.as_ref(), Some(key), source, &refusal).await?;
                Err(refusal)
            }
        }
    }

    /// Judges whether [`Self::redeem_token`] would take the token, which stays unused; until when. `key` is
    /// the host's, if it has made one.
    pub async fn judge_token(
        &self,
        server: ServerId,
        token: &RegistrationToken,
        key: Option<KeyFingerprint>,
        source: IpAddr,
    ) -> Result<Timestamp, EnrolRefusal> {
        let mut tx = self.store.read().await?;
        let known = tx.server(server).await?;
        let kept = tx.token(server).await?;
        let judged = judge(&mut tx, known.as_ref(), kept.as_ref(), token, key, self.now()).await;
        drop(tx);
        match judged {
            Ok(_) => Ok(kept.map_or(self.now(), |kept| kept.expires_at)),
            Err(EnrolRefusal::Platform(error)) => Err(error.into()),
            Err(refusal) => {
                self.note_refused_enrolment(known.as_ref(), key, source, &refusal).await?;
                Err(refusal)
            }
        }
    }

    /// Notes that a host was refused for what it presented, before the platform was asked. Told once for each
    /// source and hour, counting.
    pub async fn host_refused(
        &self,
        server: Option<ServerId>,
        action: &'static str,
        source: IpAddr,
        why: &str,
    ) -> Result<(), PlatformError> {
        let known = match server {
            Some(server) => self.store.read().await?.server(server).await?,
            None => None,
        };
        let whose = known.as_ref().map_or_else(|| "unknown".to_owned(), |server| server.id.to_string());
        let entry = AgentEntry {
            actor: format!("a host at {source}"),
            action,
            object: format!("server {whose}"),
            outcome: AuditOutcome::Refused,
            detail: why.to_owned(),
            bucket: None,
        };
        let kind = format!("{action} {} {whose} {why}", address_of(source));
        let logs = [known.map(|server| server.organization)];
        self.note_counted(Reporter::Stranger, &kind, entry, logs).await?;
        Ok(())
    }

    /// Notes that links of two runs of one agent took turns, `times` since this was told last.
    pub async fn copy_seen(
        &self,
        server: ServerId,
        here: SocketAddr,
        other: SocketAddr,
        times: u64,
    ) -> Result<(), PlatformError> {
        let known = self.store.read().await?.server(server).await?;
        let entry = AgentEntry {
            actor: format!("agents at {here} and {other}"),
            action: "open control link",
            object: format!("server {server}"),
            outcome: AuditOutcome::Alert,
            detail: "two copies of this server's agent run; one of them may be stolen".into(),
            bucket: None,
        };
        let logs = [known.map(|server| server.organization)];
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        let kind = format!("copy {server}");
        self.note_counted_times(Reporter::Agent(server), &kind, entry, logs, times).await?;
        Ok(())
    }

    /// Judges whether a leaf over `key` may open a control link for `server` now.
    pub async fn authorize_key(&self, server: ServerId, key: KeyFingerprint) -> Result<String, LinkRefusal> {
        let mut tx = self.store.read().await?;
        let known = tx.server(server).await?;
        let refusal = match &known {
            _ if tx.is_revoked(key).await? => LinkRefusal::RevokedKey,
            None => LinkRefusal::UnknownServer,
            Some(known) if known.key != Some(key) => LinkRefusal::KeyNotOnFile,
            Some(known) => return Ok(known.name.to_string()),
        };
        drop(tx);
        debug!(%server, %key, on_file = known.is_some(), why = %refusal, "this key opens no control link");
        let entry = AgentEntry {
            actor: "a host with a certificate".into(),
            action: "open control link",
            object: format!("server {server}"),
            outcome: AuditOutcome::Refused,
            detail: format!("{refusal} (key {key})"),
            bucket: None,
        };
        let kind = format!("link {server} {key}");
        let logs = [known.map(|known| known.organization)];
        self.note_counted(Reporter::Agent(server), &kind, entry, logs).await?;
        Err(refusal)
    }

    async fn enrol(
        &self,
        tx: &mut Tx,
        server: &ServerRecord,
        kept: Option<&TokenRecord>,
        key: KeyFingerprint,
    ) -> Result<Enrolment, EnrolRefusal> {
        let now = self.now();
        let is_first = kept.is_some_and(|kept| kept.bound_key.is_none());
        if is_first {
            tx.bind_token(server.id, key, now).await?;
        }
        let mut enrolment = Enrolment {
            server: server.id,
            route: server.route,
            is_first,
            revoked: None,
            rotated: Vec::new(),
        };
        let mut concerned = vec![Some(server.organization)];
        let mut detail = format!("key {key}");
        if server.key != Some(key) {
            if let Some(old) = server.key {
                tx.revoke_key(old, server.id, now).await?;
                enrolment.revoked = Some(old);
            }
            tx.set_key(server.id, Some(key), now).await?;
            if server.enrolled_at.is_some() {
                detail = format!("new key {key}; its peers refuse it until they run `adit trust`");
                for connection in tx.connections_of_server(server.id).await? {
                    if !connection.status.is_terminal() {
                        secrets::rotate(tx, &self.seal, &connection, now).await?;
                        enrolment.rotated.push(connection.id);
                        concerned.push(Some(connection.source.organization));
                        concerned.push(Some(connection.target.organization));
                    }
                }
            }
        }
        let (revoked, rotated) = (listed(enrolment.revoked), listed(&enrolment.rotated));
        debug!(server = %server.id, %key, is_first, revoked, rotated, "a registration token is redeemed");
        let entry = AgentEntry {
            actor: format!("agent of {}", server.name),
            action: "enrol",
            object: format!("server {}", server.id),
            outcome: AuditOutcome::Done,
            detail,
            bucket: None,
        };
        entry.write(tx, now, concerned).await?;
        Ok(enrolment)
    }

    /// Notes a refusal before authentication: one row for each source and hour, counting.
    async fn note_refused_enrolment(
        &self,
        known: Option<&ServerRecord>,
        key: Option<KeyFingerprint>,
        source: IpAddr,
        refusal: &EnrolRefusal,
    ) -> Result<(), PlatformError> {
        let whose = known.map_or_else(|| "unknown".to_owned(), |server| server.id.to_string());
        debug!(
            server = whose,
            key = %listed(key),
            why = refusal.as_str(),
            "a registration token is not taken"
        );
        let entry = AgentEntry {
            actor: format!("a host at {source}"),
            action: "enrol",
            object: format!("server {whose}"),
            outcome: match refusal {
                EnrolRefusal::OtherKey | EnrolRefusal::RevokedKey | EnrolRefusal::KeyInUse => {
                    AuditOutcome::Alert
                }
                EnrolRefusal::Wrong | EnrolRefusal::Expired | EnrolRefusal::Platform(_) => {
                    AuditOutcome::Refused
                }
            },
            detail: match key {
                Some(key) => format!("{refusal} (key {key})"),
                None => format!("{refusal} (asked only)"),
            },
            bucket: None,
        };
        let kind = format!("enrol {} {whose} {}", address_of(source), refusal.as_str());
        let logs = [known.map(|server| server.organization)];
        self.note_counted(Reporter::Stranger, &kind, entry, logs).await?;
        Ok(())
    }
}

impl EnrolRefusal {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Expired => "expired",
            Self::OtherKey => "other key",
            Self::RevokedKey => "revoked key",
            Self::KeyInUse => "key in use",
            Self::Platform(_) => "platform",
        }
    }
}

/// Judges the token first, in constant time and over a stand-in when there is none: until it is right,
/// nothing about the server is confirmed.
async fn judge(
    tx: &mut Tx,
    server: Option<&ServerRecord>,
    kept: Option<&TokenRecord>,
    token: &RegistrationToken,
    key: Option<KeyFingerprint>,
    now: Timestamp,
) -> Result<ServerRecord, EnrolRefusal> {
    let hash = kept.map_or([0; 32], |kept| kept.hash);
    let right: bool = hash.ct_eq(&token.hash()).into();
    let (Some(server), Some(kept), true) = (server, kept, right) else {
        return Err(EnrolRefusal::Wrong);
    };
    if now >= kept.expires_at {
        return Err(EnrolRefusal::Expired);
    }
    if kept.bound_key.is_some_and(|bound| Some(bound) != key) {
        return Err(EnrolRefusal::OtherKey);
    }
    let Some(key) = key else { return Ok(server.clone()) };
    if tx.is_revoked(key).await? {
        return Err(EnrolRefusal::RevokedKey);
    }
    if tx.server_with_key(key).await?.is_some_and(|other| other != server.id) {
        return Err(EnrolRefusal::KeyInUse);
    }
    Ok(server.clone())
}
