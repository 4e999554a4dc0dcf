//! A small platform in a temporary folder, with a clock moved by hand.

mod actions;
mod acts;
mod admin_secrets;
mod admin_sessions;
mod agents;
mod api_tokens;
mod audit;
mod connections;
mod connectors;
mod ending;
mod enrolment;
mod grants;
mod lists;
mod managed;
mod measurements;
mod notes;
mod offers;
mod peerings;
mod people;
mod proof;
mod races;
mod real_provider;
mod second_factor;
mod secrets;
mod sessions;
mod sign_in;
mod single_sign_on;
mod tiers;
mod users;
mod uses;
mod visibility;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use adit_core::domain::access::Access;
use adit_core::domain::connection::{Protocol, Side};
use adit_core::domain::id::{
    AgreementId, ChannelId, ConnectionId, GrantId, KeyFingerprint, OrganizationId, ServerId,
};
use adit_core::domain::name::Description;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_core::domain::time::Timestamp;

use self::managed::Managed;
use super::*;
use crate::set_clock::Clock;
use crate::store::NoteRun;
use crate::store::fixture::Place;
use adit_core::domain::limits::NOTE_RUNS_KEPT_MAX;

struct World {
    platform: Platform,
    clock: Arc<Clock>,
    folder: tempfile::TempDir,
    place: Place,
}

/// Returns the servers at the other ends of a server's living connections, by connection.
async fn peers_of(platform: &Platform, server: ServerId) -> Vec<ServerId> {
    platform.rules_for(server).await.unwrap().0.iter().map(|rule| rule.peer).collect()
}

/// An organization and its owner.
#[derive(Debug, Clone)]
struct Party {
    id: OrganizationId,
    initiator: Initiator,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock(AtomicI64::new(1_795_510_800_000)));
        let place = Place::new().await;
        let state = folder.path().join("state");
        let platform = Platform::open_at(&state, &place.location, clock.clone()).await.unwrap();
        Self { platform, clock, folder, place }
    }

    /// Opens the platform once more, as another process does.
    async fn again(&self) -> Platform {
        self.opened_with(self.clock.clone()).await
    }

    async fn opened_with(&self, clock: Arc<Clock>) -> Platform {
        let state = self.folder.path().join("state");
        Platform::open_at(&state, &self.place.location, clock).await.unwrap()
    }

    fn pass(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap();
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    async fn party(&self, name: &str, tier: Tier) -> Party {
        let name = name.parse().unwrap();
        let id = self.platform.add_organization(&host(), &name, tier).await.unwrap();
        Party { id, initiator: member(id, UserRole::Owner) }
    }

    async fn server(&self, party: &Party, name: &str) -> ServerId {
        self.platform.add_server(&party.initiator, &text(name)).await.unwrap()
    }

    async fn peers(&self, one: &Party, other: &Party) -> AgreementId {
        let id = self.platform.request_peering(&one.initiator, other.id).await.unwrap();
        if one.id != other.id {
            self.platform.accept_peering(&other.initiator, id).await.unwrap();
        }
        id
    }

    async fn channel(&self, party: &Party, server: ServerId, name: &str) -> ChannelId {
        self.platform.add_channel(&party.initiator, &channel(server, name)).await.unwrap()
    }

    /// Returns the newest entry of an organization's log: actor, action, outcome, detail.
    async fn last_entry(&self, party: &Party) -> (String, String, String, String) {
        let mut entries = self.platform.audit(&party.initiator, 1).await.unwrap();
        let entry = entries.pop().unwrap();
        (entry.actor, entry.action, entry.outcome, entry.detail)
    }

    async fn log_length(&self, party: &Party) -> usize {
        self.platform.audit(&party.initiator, u32::MAX).await.unwrap().len()
    }
}

/// Lakeside sends to a channel of St Mary; Ready.
struct Pair {
    world: World,
    source: Party,
    target: Party,
    source_server: ServerId,
    target_server: ServerId,
    channel: ChannelId,
    grant: GrantId,
    connection: ConnectionId,
}

impl Pair {
    async fn new() -> Self {
        let world = World::new().await;
        let source = world.party("Lakeside", Tier::Standard).await;
        let target = world.party("St Mary", Tier::Standard).await;
        let source_server = world.server(&source, "Lakeside Mirth").await;
        let target_server = world.server(&target, "St Mary Mirth").await;
        world.peers(&source, &target).await;
        let channel = world.channel(&target, target_server, "ADT").await;
        let grant = world.platform.request_grant(&source.initiator, channel, source_server).await.unwrap();
        let connection = world.platform.approve_grant(&target.initiator, grant, None).await.unwrap();
        Self { world, source, target, source_server, target_server, channel, grant, connection }
    }

    async fn command(&self, party: &Party, command: ConnectionCommand) -> Result<String, String> {
        let done = self.world.platform.command(&party.initiator, self.connection, command).await;
        done.map(|status| status.to_string()).map_err(|error| error.to_string())
    }

    async fn status(&self) -> String {
        let view = self.world.platform.connection(&self.source.initiator, self.connection).await;
        view.unwrap().status.to_string()
    }
}

fn host() -> Initiator {
    Initiator::Host { name: "operator".into() }
}

fn member(organization: OrganizationId, role: UserRole) -> Initiator {
    Initiator::Member { organization, role, name: "Ada".into(), proof: None }
}

fn text(name: &str) -> ServerText {
    ServerText {
        name: name.parse().unwrap(),
        description: Description::default(),
        version: Description::default(),
    }
}

fn channel(server: ServerId, name: &str) -> NewChannel {
    NewChannel {
        server,
        name: name.parse().unwrap(),
        description: Description::default(),
        protocol: Protocol::Mllp,
        published: true,
    }
}

fn key(number: u8) -> KeyFingerprint {
    KeyFingerprint::from_bytes([number; 32])
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, PlatformError>) -> String {
    match outcome {
        Err(error @ (PlatformError::Refused(_) | PlatformError::NotFound { .. })) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn two_organizations_are_joined_from_nothing_in_one_call() {
    let world = World::new().await;
    let plan = Plan {
        source_organization: "Lakeside".parse().unwrap(),
        source_server: "a".parse().unwrap(),
        target_organization: "St Mary".parse().unwrap(),
        target_server: "b".parse().unwrap(),
        channels: vec![("ADT".parse().unwrap(), Protocol::Mllp), ("CT".parse().unwrap(), Protocol::Dicom)],
        admin: Vec::new(),
        token_life: TokenLife::Week,
    };
    let made = world.platform.provision(&plan).await.unwrap();
    assert_eq!(made.connections.len(), 2);
    let (rules, _) = world.platform.rules_for(made.source.server).await.unwrap();
    assert!(rules.iter().all(|rule| rule.peer == made.target.server));
    assert_eq!(rules.len(), 2);
    let view = world.platform.connection(&made.target.initiator, made.connections[1]).await.unwrap();
    assert_eq!(view.route(), "a → b");
    assert_eq!(
        agent_entry(&view, Side::Target, "127.0.0.1:4242").unwrap(),
        format!(
            "[[p2p_target]]\nname       = \"ct-from-a\"\nid         = \"{}\"\npeer       = \"{}\"\n\
             protocol   = \"dicom\"\nforward_to = \"127.0.0.1:4242\"\n",
            view.id, made.source.server
        )
    );
}

#[tokio::test]
async fn a_plan_with_administration_gives_active_connections_with_their_entries() {
    let world = World::new().await;
    let plan = Plan {
        source_organization: "Lakeside".parse().unwrap(),
        source_server: "Lakeside Mirth".parse().unwrap(),
        target_organization: "St Mary".parse().unwrap(),
        target_server: "St Mary Mirth".parse().unwrap(),
        channels: Vec::new(),
        admin: Access::ALL.to_vec(),
        token_life: TokenLife::Week,
    };
    let made = world.platform.provision(&plan).await.unwrap();
    let mut entries = String::new();
    for id in &made.admin {
        let view = world.platform.connection(&made.target.initiator, *id).await.unwrap();
        assert_eq!(view.status.to_string(), "Active");
        for side in [Side::Source, Side::Target] {
            entries.push_str(&agent_entry(&view, side, usual_address(&view.carried)).unwrap());
        }
    }
    let [view_only, full] = &made.admin[..] else { panic!("{:?}", made.admin) };
    let (managing, managed) = (made.source.server, made.target.server);
    assert_eq!(
        entries,
        format!(
            "[[admin_managing]]\nname       = \"st-mary-mirth-managing-ro\"\nid         = \"{view_only}\"\n\
             peer       = \"{managed}\"\nlisten     = \"127.0.0.1:8443\"\n\
             [[admin_managed]]\nname       = \"lakeside-mirth-manages-us-ro\"\nid         = \"{view_only}\"\n\
             peer       = \"{managing}\"\nmirth      = \"https://127.0.0.1:8443\"\n\
             max_access = \"read-only\"\n\
             [[admin_managing]]\nname       = \"st-mary-mirth-managing-rw\"\nid         = \"{full}\"\n\
             peer       = \"{managed}\"\nlisten     = \"127.0.0.1:8443\"\n\
             [[admin_managed]]\nname       = \"lakeside-mirth-manages-us-rw\"\nid         = \"{full}\"\n\
             peer       = \"{managing}\"\nmirth      = \"https://127.0.0.1:8443\"\n\
             max_access = \"read-write\"\n"
        )
    );
}

#[tokio::test]
async fn what_was_committed_is_there_when_the_platform_opens_again() {
    let pair = Pair::new().await;
    pair.world.platform.close().await.unwrap();
    let again = pair.world.again().await;
    assert!(again.view_secret(&pair.source.initiator, pair.connection).await.is_ok());
}

#[tokio::test]
async fn making_organizations_is_the_operators_alone_while_a_tier_is_an_owners_too() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let other = world.party("St Mary", Tier::Free).await;
    let name = "Third".parse().unwrap();
    let made = world.platform.add_organization(&party.initiator, &name, Tier::Free).await;
    assert!(refused(made).contains("gateway's operator"));
    let operator = member(party.id, UserRole::Operator);
    let changed = world.platform.set_tier(&operator, party.id, Tier::Standard).await;
    assert_eq!(refused(changed), "the role operator may not change the tier");
    let changed = world.platform.set_tier(&other.initiator, party.id, Tier::Standard).await;
    assert_eq!(refused(changed), "there is no such organization");
    world.platform.set_tier(&party.initiator, party.id, Tier::Standard).await.unwrap();
    world.platform.set_tier(&host(), party.id, Tier::Enterprise).await.unwrap();
    let taken = world.platform.add_organization(&host(), &"LAKESIDE".parse().unwrap(), Tier::Free).await;
    assert!(refused(taken).contains("there is one already"));
}

#[tokio::test]
async fn a_downgraded_tier_binds_only_new_objects() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let server = world.server(&party, "one").await;
    world.server(&party, "two").await;
    for number in 0..6 {
        world.channel(&party, server, &format!("channel {number}")).await;
    }
    world.platform.set_tier(&host(), party.id, Tier::Free).await.unwrap();
    assert_eq!(world.platform.servers(&party.initiator).await.unwrap().len(), 2);
    assert_eq!(world.platform.channels(&party.initiator).await.unwrap().len(), 6);
    let third = world.platform.add_server(&party.initiator, &text("three")).await;
    assert_eq!(refused(third), "the Free tier admits 1 servers; a higher tier admits more");
    let seventh = world.platform.add_channel(&party.initiator, &channel(server, "seven")).await;
    assert_eq!(refused(seventh), "the Free tier admits 5 channels per server; a higher tier admits more");
    assert_eq!(world.last_entry(&party).await.2, "refused");
}

#[tokio::test]
async fn an_auditor_sees_but_neither_changes_nor_reveals_anything() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let auditor = member(pair.source.id, UserRole::Auditor);
    assert_eq!(platform.connections(&auditor).await.unwrap().len(), 1);
    assert!(!platform.audit(&auditor, 10).await.unwrap().is_empty());
    for outcome in [
        platform.add_server(&auditor, &text("x")).await.map(drop),
        platform.revoke_server(&auditor, pair.source_server).await.map(drop),
        platform.request_peering(&auditor, pair.source.id).await.map(drop),
        platform.relinquish_grant(&auditor, pair.grant).await,
        platform.command(&auditor, pair.connection, ConnectionCommand::Activate).await.map(drop),
        platform.rotate_secret(&auditor, pair.connection).await.map(drop),
    ] {
        assert_eq!(refused(outcome), "the role auditor may not change anything");
    }
    for outcome in [
        platform.view_secret(&auditor, pair.connection).await.map(drop),
        platform.issue_token(&auditor, pair.source_server, TokenLife::Hour).await.map(drop),
    ] {
        assert_eq!(refused(outcome), "the role auditor may not reveal a secret");
    }
}
