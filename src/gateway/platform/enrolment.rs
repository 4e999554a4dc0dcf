//! Registration tokens redeemed, and whether a server with a certificate stands well.

use std::net::{IpAddr, SocketAddr};

use subtle::ConstantTimeEq;
use tracing::debug;

use crate::store::{AuditOutcome, ServerRecord, StoreError, TokenRecord, Tx};
use adit_core::domain::id::{ConnectionId, KeyFingerprint, RouteId, ServerId};
use adit_core::domain::limits::LEAF_LIFE;
use adit_core::domain::places::address_of;
use adit_core::domain::secret::RegistrationToken;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::text::listed;

use super::act::Act;
use super::error::PlatformError;
use super::{Action, Initiator, Platform, secrets};

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
    #[error(
        "this key belongs to another server; empty this agent's state folder, so that it makes one of its own"
    )]
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
    #[error("the platform has no such server; enrol with a token of one that there is")]
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
        let (stranger, token) = (Initiator::Stranger { address: source }, token.clone());
        self.act(&stranger, Action::Enrol, OF_UNKNOWN, async move |act: &mut Act| {
            redeem(act, server, &token, key).await
        })
        .await
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
        let (stranger, token) = (Initiator::Stranger { address: source }, token.clone());
        let told = self
            .note(&stranger, Action::Enrol, OF_UNKNOWN, async move |act: &mut Act| {
                let (_, kept) = judge(act, server, &token, key).await?;
                act.leaves_no_entry();
                Ok::<_, EnrolRefusal>(kept.expires_at)
            })
            .await;
        told.ended
    }

    /// Notes that a host was refused for what it presented, before the platform was asked. Told once for each
    /// source and hour, counting.
    pub async fn host_refused(
        &self,
        server: Option<ServerId>,
        action: Action,
        source: IpAddr,
        why: &str,
    ) -> Result<(), PlatformError> {
        let (stranger, why) = (Initiator::Stranger { address: source }, why.to_owned());
        let told = self
            .note(&stranger, action, OF_UNKNOWN, async move |act: &mut Act| {
                let whose = match server {
                    Some(server) => name_server(act, server).await?.map(|server| server.id),
                    None => None,
                };
                act.tells_of(AuditOutcome::Refused);
                act.describe(why.as_str());
                act.counts_as(format!("{action} {} {} {why}", address_of(source), listed(whose)));
                Ok(())
            })
            .await;
        told.ended
    }

    /// Notes that links of two runs of one agent took turns, `times` since this was told last.
    pub async fn copy_seen(
        &self,
        server: ServerId,
        here: SocketAddr,
        other: SocketAddr,
        times: u64,
    ) -> Result<(), PlatformError> {
        let (agent, object) = (Initiator::Agent { server }, format!("server {server}"));
        let told = self
            .note(&agent, Action::OpenControlLink, object, async move |act: &mut Act| {
                act.told_by(format!("agents at {here} and {other}"));
                act.tells_of(AuditOutcome::Alert);
                act.describe("two copies of this server's agent run; one of them may be stolen");
                act.counts_as(format!("copy {server}"));
                act.times(u32::try_from(times).unwrap_or(u32::MAX));
                Ok(())
            })
            .await;
        told.ended
    }

    /// Judges whether a leaf over `key` may open a control link for `server` now.
    pub async fn authorize_key(&self, server: ServerId, key: KeyFingerprint) -> Result<String, LinkRefusal> {
        let (agent, object) = (Initiator::Agent { server }, format!("server {server}"));
        let told = self
            .note(&agent, Action::OpenControlLink, object, async move |act: &mut Act| {
                authorize(act, server, key).await
            })
            .await;
        told.ended.inspect_err(|why| debug!(%server, %key, %why, "this key opens no control link"))
    }

    /// Notes that a leaf over a server's key was signed, so that its owner sees when the last one ends.
    pub(crate) async fn note_leaf(&self, server: ServerId, key: KeyFingerprint) -> Result<(), PlatformError> {
        let until = self.now().saturating_add(LEAF_LIFE);
        self.record(async move |tx: &mut Tx| {
            Ok::<_, PlatformError>(tx.set_leaf_until(server, key, until).await?)
        })
        .await
    }

    /// Returns whether a key is good for a server's control link, without a word in the audit.
    pub(crate) async fn has_key(&self, server: ServerId, key: KeyFingerprint) -> Result<bool, PlatformError> {
        self.look(async move |tx: &mut Tx| {
            let known = tx.server(server).await?;
            let is_on_file = known.is_some_and(|known| known.key == Some(key));
            Ok::<_, PlatformError>(is_on_file && !tx.is_revoked(key).await?)
        })
        .await
    }
}

/// What a stranger asks about, until it is known to be a server of ours.
const OF_UNKNOWN: &str = "server unknown";

/// Names the server that a stranger asks about, if there is one.
async fn name_server(act: &mut Act, server: ServerId) -> Result<Option<ServerRecord>, PlatformError> {
    let known = act.tx.server(server).await?;
    if let Some(server) = &known {
        act.names(format!("server {}", server.id));
        act.concerns(server.organization);
    }
    Ok(known)
}

async fn authorize(act: &mut Act, server: ServerId, key: KeyFingerprint) -> Result<String, LinkRefusal> {
    // Its key is not good: whether it is this server's agent is not known.
    act.told_by("a host with a certificate");
    act.remark(format!("key {key}"));
    act.counts_as(format!("link {server} {key}"));
    let known = act.tx.server(server).await?;
    if act.tx.is_revoked(key).await? {
        return Err(LinkRefusal::RevokedKey);
    }
    let known = known.ok_or(LinkRefusal::UnknownServer)?;
    if known.key != Some(key) {
        return Err(LinkRefusal::KeyNotOnFile);
    }
    act.leaves_no_entry();
    Ok(known.name.to_string())
}

async fn redeem(
    act: &mut Act,
    server: ServerId,
    token: &RegistrationToken,
    key: KeyFingerprint,
) -> Result<Enrolment, EnrolRefusal> {
    let (server, kept) = judge(act, server, token, Some(key)).await?;
    Ok(enrol(act, &server, &kept, key).await?)
}

async fn enrol(
    act: &mut Act,
    server: &ServerRecord,
    kept: &TokenRecord,
    key: KeyFingerprint,
) -> Result<Enrolment, PlatformError> {
    act.told_by(format!("agent of {}", server.name));
    act.describe(format!("key {key}"));
    let is_first = kept.bound_key.is_none();
    if is_first {
        act.tx.bind_token(server.id, key, act.now).await?;
    }
    let mut enrolment =
        Enrolment { server: server.id, route: server.route, is_first, revoked: None, rotated: Vec::new() };
    if server.key != Some(key) {
        if let Some(old) = server.key {
            act.tx.revoke_key(old, server.id, act.now).await?;
            enrolment.revoked = Some(old);
        }
        act.tx.set_key(server.id, Some(key), act.now).await?;
        if server.enrolled_at.is_some() {
            act.describe(format!("new key {key}; its peers refuse it until they run `adit trust`"));
            enrolment.rotated = rotate_all(act, server.id).await?;
        }
    }
    act.tx.set_leaf_until(server.id, key, act.now.saturating_add(LEAF_LIFE)).await?;
    let (revoked, rotated) = (listed(enrolment.revoked), listed(&enrolment.rotated));
    debug!(server = %server.id, %key, is_first, revoked, rotated, "a registration token is redeemed");
    Ok(enrolment)
}

/// Rotates the secrets of a server's living connections, and returns which.
async fn rotate_all(act: &mut Act, server: ServerId) -> Result<Vec<ConnectionId>, PlatformError> {
    let mut rotated = Vec::new();
    for connection in act.tx.connections_of_server(server).await? {
        if !connection.status.is_terminal() {
            secrets::rotate(act, &connection).await?;
            rotated.push(connection.id);
            act.concerns_both(&connection);
        }
    }
    Ok(rotated)
}

/// Judges a token for a key, if the host has made one, and has a refusal tell which.
async fn judge(
    act: &mut Act,
    server: ServerId,
    token: &RegistrationToken,
    key: Option<KeyFingerprint>,
) -> Result<(ServerRecord, TokenRecord), EnrolRefusal> {
    let known = name_server(act, server).await?;
    let kept = act.tx.token(server).await?;
    act.remark(key.map_or_else(|| "asked only".to_owned(), |key| format!("key {key}")));
    let judged = judge_kept(&mut act.tx, known, kept, token, key, act.now).await;
    judged.inspect_err(|refusal| {
        debug!(%server, key = %listed(key), why = refusal.as_str(), "a registration token is not taken");
    })
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
async fn judge_kept(
    tx: &mut Tx,
    server: Option<ServerRecord>,
    kept: Option<TokenRecord>,
    token: &RegistrationToken,
    key: Option<KeyFingerprint>,
    now: Timestamp,
) -> Result<(ServerRecord, TokenRecord), EnrolRefusal> {
    let hash = kept.as_ref().map_or([0; 32], |kept| kept.hash);
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
    let Some(key) = key else { return Ok((server, kept)) };
    if tx.is_revoked(key).await? {
        return Err(EnrolRefusal::RevokedKey);
    }
    if tx.server_with_key(key).await?.is_some_and(|other| other != server.id) {
        return Err(EnrolRefusal::KeyInUse);
    }
    Ok((server, kept))
}
