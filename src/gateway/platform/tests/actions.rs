//! Every action there is: reached, told of in its own word, and silent about what its asker may not know.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use adit_core::domain::id::{ApiTokenId, InvitationId, SessionId, UserId};
use adit_core::domain::secret::RegistrationToken;
use adit_core::protocol::control::{ConfigMismatch, PeerRefusal, SessionReport, SessionStage};

use super::*;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const MISSING: [u8; 16] = [9; 16];

/// What an outsider asks about.
#[derive(Clone, Copy)]
struct Objects {
    organization: OrganizationId,
    server: ServerId,
    channel: ChannelId,
    peering: AgreementId,
    grant: GrantId,
    connection: ConnectionId,
    offer: ConnectionId,
    user: UserId,
    invitation: InvitationId,
    session: SessionId,
    token: ApiTokenId,
}

/// A pair with an offer, and an outsider that has a server and no agreement.
struct Outside {
    pair: Pair,
    outsider: Party,
    own: ServerId,
    /// A user of the outsider.
    signed: Signed,
    forbidden: Objects,
    missing: Objects,
}

impl Outside {
    async fn new() -> Self {
        let pair = Pair::new().await;
        let outsider = pair.world.party("Outsider", Tier::Standard).await;
        let own = pair.world.server(&outsider, "own").await;
        let platform = &pair.world.platform;
        let peering = platform.peerings(&pair.source.initiator).await.unwrap()[0].id;
        let offer = AdminOffer {
            server: pair.target_server,
            to: pair.source.id,
            access: Access::ReadOnly,
            life: OfferLife::default(),
        };
        let offer = platform.offer_admin(&pair.target.initiator, &offer).await.unwrap();
        let signed = pair.world.user(&outsider, "o@x.example", UserRole::Owner).await.signed;
        let user = pair.world.user(&pair.target, "t@x.example", UserRole::Owner).await.signed;
        let address = people::email("new@x.example");
        let by = &pair.target.initiator;
        let invitation = platform.invite(by, &address, UserRole::Auditor, TokenLife::Hour).await.unwrap().id;
        let token = platform.issue_api_token(&user, &people::api_token()).await.unwrap().view.id;
        let forbidden = Objects {
            user: user.id(),
            invitation,
            session: user.session,
            token,
            organization: pair.target.id,
            server: pair.target_server,
            channel: pair.channel,
            peering,
            grant: pair.grant,
            connection: pair.connection,
            offer,
        };
        let missing = Objects {
            user: UserId::from_random(MISSING),
            invitation: InvitationId::from_random(MISSING),
            session: SessionId::from_random(MISSING),
            token: ApiTokenId::from_random(MISSING),
            organization: OrganizationId::from_random(MISSING),
            server: ServerId::from_random(MISSING),
            channel: ChannelId::from_random(MISSING),
            peering: AgreementId::from_random(MISSING),
            grant: GrantId::from_random(MISSING),
            connection: ConnectionId::from_random(MISSING),
            offer: ConnectionId::from_random(MISSING),
        };
        Self { pair, outsider, own, signed, forbidden, missing }
    }

    /// Asks, for the outsider, its agent or a stranger, about objects that are others' or none. Returns the
    /// answer; none where the action is about nothing that could be forbidden.
    async fn ask(&self, action: Action, of: Objects) -> Option<String> {
        let (platform, by) = (&self.pair.world.platform, &self.outsider.initiator);
        let command = async |command| said(platform.command(by, of.connection, command).await);
        let session = async |stage| said(platform.admin_session(self.own, of.offer, &session(stage)).await);
        Some(match action {
            Action::SetTier => said(platform.set_tier(by, of.organization, Tier::Free).await),
            Action::DescribeServer => said(platform.describe_server(by, of.server, &text("x")).await),
            Action::RevokeServerKey => said(platform.revoke_server(by, of.server).await),
            Action::AddChannel => said(platform.add_channel(by, &channel(of.server, "x")).await),
            Action::PublishChannel => said(platform.set_published(by, of.channel, true).await),
            Action::UnpublishChannel => said(platform.set_published(by, of.channel, false).await),
            Action::IssueToken => said(platform.issue_token(by, of.server, TokenLife::Hour).await),
            Action::AcceptPeering => said(platform.accept_peering(by, of.peering).await),
            Action::DeclinePeering => said(platform.decline_peering(by, of.peering).await),
            Action::WithdrawPeering => said(platform.withdraw_peering(by, of.peering).await),
            Action::OfferGrant => said(platform.offer_grant(by, of.channel, self.pair.source.id).await),
            Action::RequestGrant => said(platform.request_grant(by, of.channel, self.own).await),
            Action::ApproveGrant => said(platform.approve_grant(by, of.grant, Some(self.own)).await),
            Action::DenyGrant => said(platform.deny_grant(by, of.grant).await),
            Action::RevokeGrant => said(platform.revoke_grant(by, of.grant).await),
            Action::RelinquishGrant => said(platform.relinquish_grant(by, of.grant).await),
            Action::OfferAdministration => {
                let (to, life) = (self.pair.source.id, OfferLife::default());
                let offer = AdminOffer { server: of.server, to, access: Access::ReadOnly, life };
                said(platform.offer_admin(by, &offer).await)
            }
            Action::AcceptOffer => said(platform.accept_offer(by, of.offer, self.own).await),
            Action::DeclineOffer => said(platform.decline_offer(by, of.offer).await),
            Action::WithdrawOffer => said(platform.withdraw_offer(by, of.offer).await),
            Action::ActivateConnection => command(ConnectionCommand::Activate).await,
            Action::PauseConnection => command(ConnectionCommand::Pause).await,
            Action::ResumeConnection => command(ConnectionCommand::Resume).await,
            Action::DisconnectConnection => command(ConnectionCommand::Disconnect).await,
            Action::RetryConnection => command(ConnectionCommand::Retry).await,
            Action::TerminateConnection => command(ConnectionCommand::Terminate).await,
            Action::ViewSecret => said(platform.view_secret(by, of.connection).await),
            Action::RotateSecrets => said(platform.rotate_secret(by, of.connection).await),
            Action::FailConnection => {
                said(platform.config_mismatch(self.own, of.connection, ConfigMismatch::Peer).await)
            }
            Action::FetchSecret => said(platform.fetch_secret(self.own, of.connection).await),
            Action::HoldSecret => said(platform.secret_stored(self.own, of.connection, 1).await),
            Action::RefusePeer => {
                let (id, why) = (Some(of.connection), PeerRefusal::WrongSecret);
                said(platform.refused_peer(self.own, id, None, why, 1).await.map(drop))
            }
            Action::StartAdminSession => session(SessionStage::Started).await,
            Action::RunAdminSession => session(SessionStage::Running).await,
            Action::EndAdminSession => session(SessionStage::Ended).await,
            Action::EndPeering => said(platform.end_peering(by, of.peering).await),
            Action::RenameOrganization => {
                said(platform.rename_organization(by, of.organization, &"x".parse().unwrap()).await)
            }
            Action::DeleteServer => said(platform.delete_server(by, of.server).await),
            Action::DescribeChannel => said(platform.describe_channel(by, of.channel, &described("x")).await),
            Action::DeleteChannel => said(platform.delete_channel(by, of.channel).await),
            Action::Enrol => {
                let token = RegistrationToken::from_bytes([7; 32]);
                said(platform.redeem_token(of.server, &token, key(9), FROM).await)
            }
            // About nothing that was there before; an organization, any of which may be asked; what a rule
            // does; a host's own certificate; one's own log or account, or what only its bearer knows.
            Action::AddOrganization
            | Action::InviteUser
            | Action::AcceptInvitation
            | Action::SetSecondFactorRule
            | Action::SignIn
            | Action::SignOut
            | Action::ChangePassword
            | Action::SetUpSecondFactor
            | Action::RemoveSecondFactor
            | Action::RenewRecoveryCodes
            | Action::IssueApiToken
            | Action::AddServer
            | Action::RequestPeering
            | Action::ExpireOffer
            | Action::HoldConnection
            | Action::ReleaseConnection
            | Action::OpenControlLink
            | Action::RenewLeaf
            | Action::ExportAudit
            | Action::SetIdentityProvider
            | Action::RemoveIdentityProvider => return None,
            Action::RevokeInvitation => said(platform.revoke_invitation(by, of.invitation).await),
            Action::RenewSignIn => said(platform.renew_sign_in(by, of.user, TokenLife::Hour).await),
            Action::SetUserRole => said(platform.set_user_role(by, of.user, UserRole::Auditor).await),
            Action::DisableUser => said(platform.disable_user(by, of.user).await),
            Action::EnableUser => said(platform.enable_user(by, of.user).await),
            Action::RevokeSession => said(platform.revoke_user_session(&self.signed, of.session).await),
            Action::RevokeApiToken => said(platform.revoke_api_token(&self.signed, of.token).await),
        })
    }

    /// Returns the newest entry of all logs.
    async fn newest(&self) -> AuditView {
        self.pair.world.platform.audit(&host(), 1).await.unwrap().remove(0)
    }
}

fn said<T: std::fmt::Debug, E: std::fmt::Debug + std::fmt::Display>(answer: Result<T, E>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{error:?}: {error}"),
    }
}

fn described(name: &str) -> ChannelText {
    ChannelText { name: name.parse().unwrap(), description: Description::default() }
}

fn session(stage: SessionStage) -> SessionReport {
    SessionReport {
        stage: stage.into(),
        number: 1,
        local_peer: "127.0.0.1".parse().unwrap(),
        requests: 3,
        refused: 0,
        changes: 0,
        audits: 0,
    }
}

#[tokio::test]
async fn a_forbidden_thing_ends_every_action_as_a_missing_one_does() {
    let outside = Outside::new().await;
    for action in Action::ALL {
        let Some(forbidden) = outside.ask(action, outside.forbidden).await else { continue };
        let entry = outside.newest().await;
        let missing = outside.ask(action, outside.missing).await.unwrap();
        let other = outside.newest().await;
        assert_eq!(forbidden, missing, "{action}");
        assert_eq!(entry.action, action.as_str());
        let words = |entry: &AuditView| {
            [&entry.actor, &entry.action, &entry.outcome, &entry.detail].map(String::to_owned)
        };
        assert_eq!(words(&entry), words(&other));
        assert_eq!(entry.outcome, "refused", "{action}");
    }
}

#[tokio::test]
async fn no_party_reads_in_its_log_what_an_outsider_was_refused() {
    let outside = Outside::new().await;
    let (pair, platform) = (&outside.pair, &outside.pair.world.platform);
    for action in Action::ALL {
        if action == Action::Enrol {
            // A token that is wrong for a server is its owner's to know of.
            continue;
        }
        let before = [pair.world.log_length(&pair.source).await, pair.world.log_length(&pair.target).await];
        outside.ask(action, outside.forbidden).await;
        let after = [pair.world.log_length(&pair.source).await, pair.world.log_length(&pair.target).await];
        assert_eq!(before, after, "{action}");
    }
    let log = platform.audit(&pair.target.initiator, u32::MAX).await.unwrap();
    assert!(log.iter().all(|entry| !entry.actor.contains("Outsider") && !entry.actor.contains("own")));
}

#[tokio::test]
async fn what_agents_or_strangers_are_refused_again_is_counted_instead_of_listed() {
    let outside = Outside::new().await;
    for action in [
        Action::FailConnection,
        Action::FetchSecret,
        Action::HoldSecret,
        Action::StartAdminSession,
        Action::RunAdminSession,
        Action::EndAdminSession,
        Action::RefusePeer,
        Action::Enrol,
    ] {
        for _ in 0..4 {
            outside.ask(action, outside.forbidden).await.unwrap();
        }
        let newest = outside.newest().await;
        assert_eq!((newest.action.as_str(), newest.times), (action.as_str(), 4));
    }
}

#[tokio::test]
async fn every_action_is_reached_in_its_own_word() {
    let mut managed = Managed::active(Access::ReadWrite).await;
    managed.world.platform = managed.world.platform.asking_providers_by(single_sign_on::plain());
    managed.set_tier(Tier::Free).await;
    managed.set_tier(Tier::Standard).await;
    single_sign_on::set_and_remove(&managed.world, &managed.owner).await;
    sessions(&managed).await;
    offers(&managed).await;
    peerings(&managed).await;
    let channel = channels(&managed).await;
    grants(&managed, channel).await;
    connection(&managed, channel).await;
    servers(&managed).await;
    users(&managed).await;
    ends(&managed, channel).await;
    let log = managed.world.platform.audit(&host(), u32::MAX).await.unwrap();
    let told: BTreeSet<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    let words: BTreeSet<_> = Action::ALL.into_iter().map(Action::as_str).collect();
    assert_eq!(told, words);
}

async fn sessions(managed: &Managed) {
    for stage in [SessionStage::Started, SessionStage::Running, SessionStage::Ended] {
        let told = session(stage);
        managed.world.platform.admin_session(managed.server, managed.connection, &told).await.unwrap();
    }
}

async fn offers(managed: &Managed) {
    let platform = &managed.world.platform;
    let declined = managed.offer(Access::ReadOnly).await.unwrap();
    platform.decline_offer(&managed.recipient.initiator, declined).await.unwrap();
    let withdrawn = managed.offer(Access::ReadOnly).await.unwrap();
    platform.withdraw_offer(&managed.owner.initiator, withdrawn).await.unwrap();
    managed.offer(Access::ReadOnly).await.unwrap();
    managed.world.pass(Duration::from_hours(24 * 8));
}

async fn peerings(managed: &Managed) {
    let (platform, owner) = (&managed.world.platform, &managed.owner);
    let third = managed.world.party("Third", Tier::Standard).await;
    let declined = platform.request_peering(&third.initiator, owner.id).await.unwrap();
    platform.decline_peering(&owner.initiator, declined).await.unwrap();
    let withdrawn = platform.request_peering(&third.initiator, owner.id).await.unwrap();
    platform.withdraw_peering(&third.initiator, withdrawn).await.unwrap();
}

async fn channels(managed: &Managed) -> ChannelId {
    let (platform, owner) = (&managed.world.platform, &managed.owner.initiator);
    let channel = managed.world.channel(&managed.owner, managed.server, "ADT").await;
    platform.set_published(owner, channel, false).await.unwrap();
    platform.set_published(owner, channel, true).await.unwrap();
    channel
}

async fn grants(managed: &Managed, channel: ChannelId) {
    let platform = &managed.world.platform;
    let (owner, holder) = (&managed.owner.initiator, &managed.recipient.initiator);
    let ask = async || platform.request_grant(holder, channel, managed.sources[0]).await.unwrap();
    platform.deny_grant(owner, ask().await).await.unwrap();
    platform.revoke_grant(owner, ask().await).await.unwrap();
    platform.relinquish_grant(holder, ask().await).await.unwrap();
}

async fn connection(managed: &Managed, channel: ChannelId) {
    let platform = &managed.world.platform;
    let (owner, holder, source) =
        (&managed.owner.initiator, &managed.recipient.initiator, managed.sources[0]);
    let grant = platform.offer_grant(owner, channel, managed.recipient.id).await.unwrap();
    let id = platform.approve_grant(holder, grant, Some(source)).await.unwrap();
    platform.view_secret(owner, id).await.unwrap();
    platform.rotate_secret(owner, id).await.unwrap();
    platform.fetch_secret(source, id).await.unwrap();
    platform.secret_stored(source, id, 2).await.unwrap();
    platform.refused_peer(source, Some(id), None, PeerRefusal::WrongSecret, 1).await.unwrap();
    for command in [
        ConnectionCommand::Activate,
        ConnectionCommand::Pause,
        ConnectionCommand::Resume,
        ConnectionCommand::Disconnect,
    ] {
        platform.command(owner, id, command).await.unwrap();
    }
    platform.config_mismatch(source, id, ConfigMismatch::Protocol).await.unwrap();
    platform.command(owner, id, ConnectionCommand::Retry).await.unwrap();
    platform.command(owner, id, ConnectionCommand::Terminate).await.unwrap();
}

async fn servers(managed: &Managed) {
    let (platform, owner, server) = (&managed.world.platform, &managed.owner.initiator, managed.server);
    platform.describe_server(owner, server, &text("renamed")).await.unwrap();
    let issued = platform.issue_token(owner, server, TokenLife::Hour).await.unwrap();
    platform.redeem_token(server, &issued.token, key(1), FROM).await.unwrap();
    assert!(platform.authorize_key(server, key(2)).await.is_err());
    platform.host_refused(Some(server), Action::RenewLeaf, FROM, "no request").await.unwrap();
    platform.revoke_server(owner, server).await.unwrap();
}

async fn ends(managed: &Managed, channel: ChannelId) {
    let (platform, owner) = (&managed.world.platform, &managed.owner.initiator);
    platform.describe_channel(owner, channel, &described("renamed")).await.unwrap();
    platform.delete_channel(owner, channel).await.unwrap();
    let name = "St Anna".parse().unwrap();
    platform.rename_organization(owner, managed.owner.id, &name).await.unwrap();
    let peerings = platform.peerings(owner).await.unwrap();
    let live = peerings.iter().find(|it| it.status == "live").unwrap().id;
    platform.end_peering(owner, live).await.unwrap();
    platform.delete_server(owner, managed.server).await.unwrap();
    platform.export_audit(owner, &AuditFilter::default()).await.unwrap();
}

async fn users(managed: &Managed) {
    let (world, owner) = (&managed.world, &managed.owner);
    let (platform, by, visit) = (&world.platform, &owner.initiator, people::visit());
    let ada = world.user(owner, "ada@x.example", UserRole::Owner).await.signed;
    let eve = world.user(owner, "eve@x.example", UserRole::Owner).await.signed;
    let address = people::email("new@x.example");
    let invited = platform.invite(by, &address, UserRole::Auditor, TokenLife::Hour).await.unwrap();
    platform.revoke_invitation(by, invited.id).await.unwrap();
    platform.renew_sign_in(by, eve.id(), TokenLife::Hour).await.unwrap();
    platform.set_user_role(by, eve.id(), UserRole::Operator).await.unwrap();
    platform.disable_user(by, eve.id()).await.unwrap();
    platform.enable_user(by, eve.id()).await.unwrap();
    platform.set_second_factor_rule(&ada, false).await.unwrap();
    let issued = platform.issue_api_token(&ada, &people::api_token()).await.unwrap();
    platform.revoke_api_token(&ada, issued.view.id).await.unwrap();
    let name = ada.user.organization_name.to_string();
    let other = world.sign_in(&name, "ada@x.example", people::PASSWORD, &visit).await.unwrap();
    platform.revoke_user_session(&ada, other.signed.session).await.unwrap();
    let change = people::password_change(people::PASSWORD, "another long password");
    let ada = platform.change_password(&ada, &change, &visit).await.unwrap().signed;
    let link = platform.begin_second_factor(&ada, &change.new, &visit).await.unwrap();
    let code = totp_code_of(&link, platform.now());
    let (ada, codes) = platform.confirm_second_factor(&ada, &code, &visit).await.unwrap();
    let codes = platform.renew_recovery_codes(&ada.signed, &codes.0[0], &visit).await.unwrap();
    platform.remove_second_factor(&ada.signed, &codes.0[0], &visit).await.unwrap();
    platform.sign_out(&ada.signed).await.unwrap();
}
