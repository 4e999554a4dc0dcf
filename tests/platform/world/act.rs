//! A step carried out by the product, and its answer in the words that the model uses.

use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ConnectionId, KeyFingerprint};
use adit_core::domain::name::Description;
use adit_core::domain::path::PathKind;
use adit_core::domain::secret::{RegistrationToken, Secret};
use adit_core::domain::status::{PauseHold, Status as Shown, TransitionRefusal};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::{self, ConfigMismatch, PeerRefusal, SessionReport, SessionStage};
use adit_gateway::platform::{
    ActionRefusal, AdminOffer, AgentError, ChannelText, ConnectionCommand, Consequences, EnrolRefusal,
    Enrolment, LinkRefusal, NewChannel, PlatformError, ServerText, TokenLife,
};

use super::{FROM, GATEWAY, World, number_of};
use crate::outcome::{Outcome, Refusal, Status, Thing, Value};
use crate::step::{
    Asker, Decision, Event, GrantEnd, Order, Report, Step, Wish, channel_name, organization_name, server_name,
};

/// An answer, and the sentence of a refusal as the asker read it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) sentence: Option<String>,
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Self { outcome: Ok(value), sentence: None }
    }
}

impl From<PlatformError> for Answer {
    fn from(error: PlatformError) -> Self {
        let refusal = match &error {
            PlatformError::NotFound { resource } => Refusal::NotFound(resource.as_str()),
            PlatformError::Refused(refusal) => Refusal::Rule(rule(refusal)),
            PlatformError::Store(_)
            | PlatformError::Seal(_)
            | PlatformError::Away(_)
            | PlatformError::Unknown(_)
            | PlatformError::AlreadyMade { .. }
            | PlatformError::Cursor(_) => panic!("the platform failed: {error:?}"),
        };
        Self { outcome: Err(refusal), sentence: Some(error.to_string()) }
    }
}

type Answered = Result<Value, PlatformError>;

impl World {
    /// Lets the time pass and asks the platform for what the step says.
    pub(crate) async fn carry_out(&mut self, step: &Step) -> Answer {
        self.pass(step.after_seconds);
        self.live().await;
        self.platform.flush_reports().await.unwrap();
        match step.event {
            Event::Member { who, wish } => self.wish(who, wish).await.map_or_else(Answer::from, Answer::from),
            Event::Agent { server, report } => {
                Answer { outcome: self.report(server, report).await, sentence: None }
            }
            Event::Sweep => {
                self.platform.sweep().await.unwrap();
                Value::Nothing.into()
            }
        }
    }

    async fn wish(&mut self, who: Asker, wish: Wish) -> Answered {
        match wish {
            Wish::AddOrganization { .. }
            | Wish::SetTier { .. }
            | Wish::AddServer { .. }
            | Wish::DescribeServer { .. }
            | Wish::RevokeServer { .. }
            | Wish::AddChannel { .. }
            | Wish::SetPublished { .. }
            | Wish::IssueToken { .. } => self.wish_of_own(who, wish).await,
            Wish::EndPeering { .. }
            | Wish::DeleteServer { .. }
            | Wish::DescribeChannel { .. }
            | Wish::DeleteChannel { .. }
            | Wish::RenameOrganization { .. } => self.wish_of_end(who, wish).await,
            Wish::RequestPeering { .. }
            | Wish::DecidePeering { .. }
            | Wish::OfferGrant { .. }
            | Wish::RequestGrant { .. }
            | Wish::ApproveGrant { .. }
            | Wish::EndGrant { .. } => self.wish_of_peers(who, wish).await,
            Wish::OfferAdmin { .. }
            | Wish::AcceptOffer { .. }
            | Wish::DeclineOffer { .. }
            | Wish::WithdrawOffer { .. }
            | Wish::Order { .. }
            | Wish::ViewSecret { .. }
            | Wish::RotateSecret { .. } => self.wish_of_connection(who, wish).await,
        }
    }

    async fn wish_of_own(&mut self, who: Asker, wish: Wish) -> Answered {
        let (platform, actor, made) = (self.platform.clone(), self.actor(who), &mut self.made);
        match wish {
            Wish::AddOrganization { name, tier } => {
                let text = organization_name(self.sequence, name);
                let id = platform.add_organization(&actor, &text.parse().unwrap(), tier).await?;
                made.names.insert(text, made.organizations.len());
                made.note("organization", id, Thing::Organization(made.organizations.len()));
                made.organizations.push(id);
                Ok(Value::Made)
            }
            Wish::SetTier { organization, tier } => {
                platform.set_tier(&actor, made.organization(organization), tier).await?;
                Ok(Value::Nothing)
            }
            Wish::AddServer { name } => {
                let id = platform.add_server(&actor, &text(&server_name(who, name))).await?;
                made.note("server", id, Thing::Server(made.servers.len()));
                made.servers.push(id);
                Ok(Value::Made)
            }
            Wish::DescribeServer { server, name } => {
                platform.describe_server(&actor, made.server(server), &text(&server_name(who, name))).await?;
                Ok(Value::Nothing)
            }
            Wish::RevokeServer { server } => {
                let key = platform.revoke_server(&actor, made.server(server)).await?;
                Ok(Value::Key(number_of_key(key)))
            }
            Wish::AddChannel { server, name, published } => {
                let new = NewChannel {
                    server: made.server(server),
                    name: channel_name(who, name).parse().unwrap(),
                    description: Description::default(),
                    protocol: Protocol::Mllp,
                    published,
                };
                let id = platform.add_channel(&actor, &new).await?;
                made.note("channel", id, Thing::Channel(made.channels.len()));
                made.channels.push(id);
                Ok(Value::Made)
            }
            Wish::SetPublished { channel, published } => {
                platform.set_published(&actor, made.channel(channel), published).await?;
                Ok(Value::Nothing)
            }
            Wish::IssueToken { server, hours } => {
                let issued = platform.issue_token(&actor, made.server(server), life(hours)).await?;
                made.tokens.push(issued.token);
                Ok(Value::Until(issued.expires_at.as_millis()))
            }
            other => panic!("{other:?} is another's"),
        }
    }

    async fn wish_of_end(&mut self, who: Asker, wish: Wish) -> Answered {
        let (platform, actor, made) = (self.platform.clone(), self.actor(who), &mut self.made);
        match wish {
            Wish::EndPeering { peering } => {
                Ok(ends(&platform.end_peering(&actor, made.peering(peering)).await?))
            }
            Wish::DeleteServer { server } => {
                Ok(ends(&platform.delete_server(&actor, made.server(server)).await?))
            }
            Wish::DeleteChannel { channel } => {
                Ok(ends(&platform.delete_channel(&actor, made.channel(channel)).await?))
            }
            Wish::DescribeChannel { channel, name } => {
                let text = ChannelText {
                    name: channel_name(who, name).parse().unwrap(),
                    description: Description::default(),
                };
                platform.describe_channel(&actor, made.channel(channel), &text).await?;
                Ok(Value::Nothing)
            }
            Wish::RenameOrganization { organization, name } => {
                let text = organization_name(self.sequence, name);
                let id = made.organization(organization);
                platform.rename_organization(&actor, id, &text.parse().unwrap()).await?;
                made.names.insert(text, organization);
                Ok(Value::Nothing)
            }
            other => panic!("{other:?} is another's"),
        }
    }

    async fn wish_of_peers(&mut self, who: Asker, wish: Wish) -> Answered {
        let (platform, actor, made) = (self.platform.clone(), self.actor(who), &mut self.made);
        match wish {
            Wish::RequestPeering { with } => {
                let id = platform.request_peering(&actor, made.organization(with)).await?;
                // Requests that cross are one.
                if made.peerings.contains(&id) {
                    return Ok(Value::Nothing);
                }
                made.note("peering", id, Thing::Peering(made.peerings.len()));
                made.peerings.push(id);
                Ok(Value::Made)
            }
            Wish::DecidePeering { peering, decision } => {
                let id = made.peering(peering);
                match decision {
                    Decision::Accept => platform.accept_peering(&actor, id).await?,
                    Decision::Decline => platform.decline_peering(&actor, id).await?,
                    Decision::Withdraw => platform.withdraw_peering(&actor, id).await?,
                }
                Ok(Value::Nothing)
            }
            Wish::OfferGrant { .. } | Wish::RequestGrant { .. } => {
                let id = match wish {
                    Wish::OfferGrant { channel, to } => {
                        platform.offer_grant(&actor, made.channel(channel), made.organization(to)).await?
                    }
                    Wish::RequestGrant { channel, source } => {
                        platform.request_grant(&actor, made.channel(channel), made.server(source)).await?
                    }
                    other => panic!("{other:?} makes no grant"),
                };
                made.note("grant", id, Thing::Grant(made.grants.len()));
                made.grants.push(id);
                Ok(Value::Made)
            }
            Wish::ApproveGrant { grant, source } => {
                let source = source.map(|source| made.server(source));
                let id = platform.approve_grant(&actor, made.grant(grant), source).await?;
                made.note_connection(id);
                Ok(Value::Made)
            }
            Wish::EndGrant { grant, how } => {
                let id = made.grant(grant);
                match how {
                    GrantEnd::Deny => platform.deny_grant(&actor, id).await?,
                    GrantEnd::Revoke => platform.revoke_grant(&actor, id).await?,
                    GrantEnd::Relinquish => platform.relinquish_grant(&actor, id).await?,
                }
                Ok(Value::Nothing)
            }
            other => panic!("{other:?} is another's"),
        }
    }

    async fn wish_of_connection(&mut self, who: Asker, wish: Wish) -> Answered {
        let (platform, actor, made) = (self.platform.clone(), self.actor(who), &mut self.made);
        match wish {
            Wish::OfferAdmin { server, to, writes, hours } => {
                let access = if writes { Access::ReadWrite } else { Access::ReadOnly };
                let life = format!("{hours}h").parse().unwrap();
                let offer =
                    AdminOffer { server: made.server(server), to: made.organization(to), access, life };
                let id = platform.offer_admin(&actor, &offer).await?;
                made.note_connection(id);
                Ok(Value::Made)
            }
            Wish::AcceptOffer { connection, source } => {
                let (id, source) = (made.connection(connection), made.server(source));
                let to = platform.accept_offer(&actor, id, source).await?;
                made.accepted.insert(id);
                Ok(Value::Status(status(to)))
            }
            Wish::DeclineOffer { connection } => {
                Ok(Value::Status(status(platform.decline_offer(&actor, made.connection(connection)).await?)))
            }
            Wish::WithdrawOffer { connection } => {
                Ok(Value::Status(status(platform.withdraw_offer(&actor, made.connection(connection)).await?)))
            }
            Wish::Order { connection, order } => {
                let to = platform.command(&actor, made.connection(connection), command(order)).await?;
                Ok(Value::Status(status(to)))
            }
            Wish::ViewSecret { connection } => {
                let revealed = platform.view_secret(&actor, made.connection(connection)).await?;
                made.check_secret(made.connection(connection), revealed.epoch, &revealed.secret);
                Ok(Value::Secret(revealed.epoch))
            }
            Wish::RotateSecret { connection } => {
                Ok(Value::Epoch(platform.rotate_secret(&actor, made.connection(connection)).await?))
            }
            other => panic!("{other:?} is another's"),
        }
    }

    async fn report(&mut self, server: usize, report: Report) -> Outcome {
        let id = self.made.server(server);
        match report {
            Report::Redeem { token, key } => {
                let (token, key) = (self.token(token), self.key(key));
                let redeemed = self.platform.redeem_token(id, &token, key, FROM).await;
                redeemed
                    .map(|enrolment| self.enrolled(&enrolment))
                    .map_err(|refusal| enrolment_rule(&refusal))
            }
            Report::Judge { token, key } => {
                let (token, key) = (self.token(token), key.map(|key| self.key(key)));
                let until = self.platform.judge_token(id, &token, key, FROM).await;
                until.map(|until| Value::Until(until.as_millis())).map_err(|refusal| enrolment_rule(&refusal))
            }
            Report::Authorize { key } => {
                let name = self.platform.authorize_key(id, self.key(key)).await;
                name.map(Value::Name).map_err(|refusal| link_rule(&refusal))
            }
            Report::Linked { up } => {
                if self.made.servers.get(server).is_some() {
                    self.platform.linked(GATEWAY, id, up);
                    self.platform.flush_reports().await.unwrap();
                }
                Ok(Value::Nothing)
            }
            _ => self.told(server, report).await.map_err(|error| agent_rule(&error)),
        }
    }

    async fn told(&mut self, server: usize, report: Report) -> Result<Value, AgentError> {
        let (platform, id, made) = (self.platform.clone(), self.made.server(server), &mut self.made);
        match report {
            Report::Tunnel { connection, path, mirth } => {
                let path = path.map(|path| PathKind::ALL[usize::from(path) % PathKind::ALL.len()].into());
                let told = control::Report { tunnel: path, mirth, last_ack: None, fault: None };
                let now: Timestamp = platform.now();
                platform.report(id, made.connection(connection), &told, now).await?;
                Ok(Value::Nothing)
            }
            Report::Fetch { connection } => {
                let (epoch, secret) = platform.fetch_secret(id, made.connection(connection)).await?;
                made.check_secret(made.connection(connection), epoch, &secret);
                Ok(Value::Secret(epoch))
            }
            Report::Stored { connection, epoch } => {
                platform.secret_stored(id, made.connection(connection), epoch).await?;
                Ok(Value::Nothing)
            }
            Report::Mismatch { connection, reason } => {
                let reason = [ConfigMismatch::Type, ConfigMismatch::Access, ConfigMismatch::MirthTooOld]
                    [usize::from(reason)];
                Ok(Value::Row(platform.config_mismatch(id, made.connection(connection), reason).await?))
            }
            Report::RefusedPeer { connection, reason, times } => {
                let reason = [PeerRefusal::WrongSecret, PeerRefusal::Revoked][usize::from(reason)];
                let connection = Some(made.connection(connection));
                Ok(Value::Row(platform.refused_peer(id, connection, None, reason, times).await?))
            }
            Report::Session { connection, stage, number } => {
                let stage =
                    [SessionStage::Started, SessionStage::Running, SessionStage::Ended][usize::from(stage)];
                let told = SessionReport {
                    number,
                    stage: stage.into(),
                    local_peer: FROM,
                    requests: 1,
                    refused: 0,
                    changes: 0,
                    audits: 0,
                };
                platform.admin_session(id, made.connection(connection), &told).await?;
                Ok(Value::Nothing)
            }
            other => panic!("{other:?} is another's"),
        }
    }

    /// Presents a token; returns whether it was taken.
    pub(crate) fn presented(
        &self,
        server: usize,
        token: usize,
        key: u8,
    ) -> impl Future<Output = bool> + Send + 'static {
        let (platform, server, key) = (self.platform.clone(), self.made.server(server), self.key(key));
        let token = self.token(token);
        async move {
            match platform.redeem_token(server, &token, key, FROM).await {
                Ok(_) => true,
                Err(EnrolRefusal::Platform(error)) => panic!("the platform failed: {error:?}"),
                Err(_) => false,
            }
        }
    }

    fn token(&self, number: usize) -> RegistrationToken {
        self.made.tokens.get(number).cloned().unwrap_or_else(|| RegistrationToken::from_bytes([7; 32]))
    }

    fn enrolled(&self, enrolment: &Enrolment) -> Value {
        let numbers = enrolment.rotated.iter().map(|id| number_of(&self.made.connections, id));
        Value::Enrolled {
            is_first: enrolment.is_first,
            revoked: enrolment.revoked.map(number_of_key),
            rotated: numbers.collect(),
        }
    }
}

impl super::Made {
    pub(crate) fn note_connection(&mut self, id: ConnectionId) {
        self.note("connection", id, Thing::Connection(self.connections.len()));
        self.connections.push(id);
    }

    /// Checks that each epoch of each connection has one secret, and no two have the same.
    fn check_secret(&mut self, id: ConnectionId, epoch: u32, secret: &Secret) {
        let known = self.secrets.entry((id, epoch)).or_insert_with(|| secret.clone());
        assert!(known == secret, "epoch {epoch} of {id} has two secrets");
        let same = self.secrets.values().filter(|other| *other == secret).count();
        assert!(same == 1, "a secret serves {same} epochs or connections");
    }
}

fn ends(all: &Consequences) -> Value {
    Value::Ends([all.channels, all.grants, all.connections, all.offers])
}

pub(crate) fn text(name: &str) -> ServerText {
    ServerText {
        name: name.parse().unwrap(),
        description: Description::default(),
        version: Description::default(),
    }
}

pub(crate) const fn command(order: Order) -> ConnectionCommand {
    match order {
        Order::Activate => ConnectionCommand::Activate,
        Order::Pause => ConnectionCommand::Pause,
        Order::Resume => ConnectionCommand::Resume,
        Order::Disconnect => ConnectionCommand::Disconnect,
        Order::Retry => ConnectionCommand::Retry,
        Order::Terminate => ConnectionCommand::Terminate,
    }
}

fn life(hours: u32) -> TokenLife {
    let life = TokenLife::ALL.into_iter().find(|life| life.duration().as_secs() == u64::from(hours) * 3_600);
    life.unwrap_or_default()
}

pub(super) fn number_of_key(key: KeyFingerprint) -> u8 {
    key.as_bytes()[31]
}

pub(crate) fn status(shown: Shown) -> Status {
    match shown {
        Shown::Provisioning => panic!("nobody sees a connection while it is made"),
        Shown::Ready => Status::Ready,
        Shown::Active => Status::Active,
        Shown::Paused(holds) => {
            Status::Paused { source: holds != PauseHold::Target, target: holds != PauseHold::Source }
        }
        Shown::Offered => Status::Offered,
        Shown::Failed => Status::Failed,
        Shown::Declined => Status::Declined,
        Shown::Expired => Status::Expired,
        Shown::Terminated => Status::Terminated,
    }
}

#[track_caller]
fn rule(refusal: &ActionRefusal) -> &'static str {
    match refusal {
        ActionRefusal::Role(_) => "Role",
        ActionRefusal::Limit(_) => "Limit",
        ActionRefusal::Status(refusal) => transition_rule(*refusal),
        ActionRefusal::NeedsOrganization => "NeedsOrganization",
        ActionRefusal::NeedsHost => "NeedsHost",
        ActionRefusal::Exists { .. } => "Exists",
        ActionRefusal::PeeringOpen { .. } => "PeeringOpen",
        ActionRefusal::PeeringLive { .. } => "PeeringLive",
        ActionRefusal::PeeringDecided { .. } => "PeeringDecided",
        ActionRefusal::NotRecipient { .. } => "NotRecipient",
        ActionRefusal::NotRequester { .. } => "NotRequester",
        ActionRefusal::PeerFull { .. } => "PeerFull",
        ActionRefusal::NoAgreement { .. } => "NoAgreement",
        ActionRefusal::NotPublished => "NotPublished",
        ActionRefusal::GrantDecided { .. } => "GrantDecided",
        ActionRefusal::GrantEnded { .. } => "GrantEnded",
        ActionRefusal::NotDecider { .. } => "NotDecider",
        ActionRefusal::NotOwner { .. } => "NotOwner",
        ActionRefusal::NotHolder { .. } => "NotHolder",
        ActionRefusal::SourceNeeded => "SourceNeeded",
        ActionRefusal::SourceFixed => "SourceFixed",
        ActionRefusal::SameServer => "SameServer",
        ActionRefusal::SecretViewed => "SecretViewed",
        ActionRefusal::SecretViewedOften => "SecretViewedOften",
        ActionRefusal::SecretGone => "SecretGone",
        ActionRefusal::OfferToSelf => "OfferToSelf",
        ActionRefusal::ReadWriteTier { .. } => "ReadWriteTier",
        ActionRefusal::PeeringNotLive { .. } => "PeeringNotLive",
        ActionRefusal::NotEnrolled => "NotEnrolled",
        // No sequence has users, or asks on terms or by a key.
        ActionRefusal::ChangedSince
        | ActionRefusal::KeyReused
        | ActionRefusal::People(_)
        | ActionRefusal::Provider(_)
        | ActionRefusal::SingleSignOn(_) => panic!("nobody has asked for what this forbids: {refusal}"),
    }
}

const fn transition_rule(refusal: TransitionRefusal) -> &'static str {
    match refusal {
        TransitionRefusal::Final { .. } => "Final",
        TransitionRefusal::AdminOnly { .. } => "AdminOnly",
        TransitionRefusal::NotNow { .. } => "NotNow",
        TransitionRefusal::NotYet { .. } => "NotYet",
        TransitionRefusal::NotYours { .. } => "NotYours",
        TransitionRefusal::AlreadyHeld => "AlreadyHeld",
        TransitionRefusal::HeldByOther => "HeldByOther",
    }
}

#[track_caller]
fn enrolment_rule(refusal: &EnrolRefusal) -> Refusal {
    Refusal::Rule(match refusal {
        EnrolRefusal::Wrong => "Wrong",
        EnrolRefusal::Expired => "Expired",
        EnrolRefusal::OtherKey => "OtherKey",
        EnrolRefusal::RevokedKey => "RevokedKey",
        EnrolRefusal::KeyInUse => "KeyInUse",
        EnrolRefusal::Platform(error) => panic!("the platform failed: {error:?}"),
    })
}

#[track_caller]
fn link_rule(refusal: &LinkRefusal) -> Refusal {
    Refusal::Rule(match refusal {
        LinkRefusal::UnknownServer => "UnknownServer",
        LinkRefusal::RevokedKey => "RevokedKey",
        LinkRefusal::KeyNotOnFile => "KeyNotOnFile",
        LinkRefusal::Platform(error) => panic!("the platform failed: {error:?}"),
    })
}

#[track_caller]
fn agent_rule(error: &AgentError) -> Refusal {
    match error {
        AgentError::NotFound => Refusal::NotFound("connection"),
        AgentError::SecretUnavailable => Refusal::Rule("SecretUnavailable"),
        AgentError::Platform(error) => panic!("the platform failed: {error:?}"),
    }
}
