//! What the parties do, held against the status table.

use proptest::prelude::*;

use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::status::{self, Actor, Event};

use super::*;

#[tokio::test]
async fn a_pause_is_lifted_only_by_the_party_that_made_it() {
    let pair = Pair::new().await;
    let (source, target) = (&pair.source, &pair.target);
    pair.command(target, ConnectionCommand::Activate).await.unwrap();
    pair.command(source, ConnectionCommand::Pause).await.unwrap();
    let lifted = pair.command(target, ConnectionCommand::Resume).await.unwrap_err();
    assert_eq!(lifted, "the other party holds the pause; only that party can lift it");
    let (actor, action, outcome, _) = pair.world.last_entry(source).await;
    assert_eq!([&*actor, &*action, &*outcome], ["St Mary", "resume connection", "refused"]);
    assert_eq!(pair.command(target, ConnectionCommand::Pause).await.unwrap(), "Paused");
    assert_eq!(pair.command(source, ConnectionCommand::Resume).await.unwrap(), "Paused");
    let view = pair.world.platform.connection(&source.initiator, pair.connection).await.unwrap();
    assert_eq!(view.held_by, ["St Mary"]);
    assert_eq!(pair.command(target, ConnectionCommand::Resume).await.unwrap(), "Active");
}

#[tokio::test]
async fn disconnect_raises_the_cut_epoch_without_changing_the_status() {
    let pair = Pair::new().await;
    assert!(pair.command(&pair.source, ConnectionCommand::Disconnect).await.is_err());
    pair.command(&pair.source, ConnectionCommand::Activate).await.unwrap();
    assert_eq!(pair.command(&pair.target, ConnectionCommand::Disconnect).await.unwrap(), "Active");
    let (rules, _) = pair.world.platform.rules_for(pair.source_server).await.unwrap();
    assert_eq!(rules[0].cut_epoch, 1);
}

#[tokio::test]
async fn what_ended_stays_ended_with_its_names_but_without_its_secret() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    pair.command(&pair.source, ConnectionCommand::Terminate).await.unwrap();
    for command in ConnectionCommand::ALL {
        let refused = pair.command(&pair.target, command).await.unwrap_err();
        assert!(refused.contains("Terminated and nothing changes that"), "{refused}");
    }
    platform.describe_server(&pair.target.initiator, pair.target_server, &text("Renamed")).await.unwrap();
    let view = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(view.route(), "Lakeside Mirth → St Mary Mirth");
    assert!(
        refused(platform.view_secret(&pair.source.initiator, pair.connection).await).contains("no longer")
    );
    assert!(platform.rotate_secret(&pair.source.initiator, pair.connection).await.is_err());
    assert_eq!(platform.rules_for(pair.source_server).await.unwrap().0, []);
    assert_eq!(peers_of(platform, pair.source_server).await, []);
}

#[tokio::test]
async fn an_organization_at_both_ends_holds_one_pause() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let (one, two) = (world.server(&party, "one").await, world.server(&party, "two").await);
    world.peers(&party, &party).await;
    let adt = world.channel(&party, two, "ADT").await;
    let grant = world.platform.request_grant(&party.initiator, adt, one).await.unwrap();
    let id = world.platform.approve_grant(&party.initiator, grant, None).await.unwrap();
    let command = async |command| world.platform.command(&party.initiator, id, command).await;
    command(ConnectionCommand::Activate).await.unwrap();
    command(ConnectionCommand::Pause).await.unwrap();
    assert!(refused(command(ConnectionCommand::Pause).await).contains("has paused the connection already"));
    assert_eq!(command(ConnectionCommand::Resume).await.unwrap().to_string(), "Active");
    world.platform.view_secret(&party.initiator, id).await.unwrap();
    assert!(refused(world.platform.view_secret(&party.initiator, id).await).contains("shown once"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_platform_walks_exactly_as_the_status_table_says(
        steps in prop::collection::vec((prop::sample::select(&ConnectionCommand::ALL[..]), any::<bool>()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pair = Pair::new().await;
            let mut expected = status::Status::Ready;
            for (command, by_source) in steps {
                let (party, side) =
                    if by_source { (&pair.source, Side::Source) } else { (&pair.target, Side::Target) };
                let entries = pair.world.log_length(&pair.target).await;
                let done = pair.world.platform.command(&party.initiator, pair.connection, command).await;
                let actor = Actor::Party(side);
                let wanted = status::on(Some(expected), ConnectionType::P2p, event(command), actor);
                assert_eq!(done.as_ref().ok(), wanted.as_ref().ok(), "{command:?} by {side} in {expected}");
                expected = wanted.unwrap_or(expected);
                assert_eq!(pair.world.log_length(&pair.target).await, entries + 1, "one entry each");
                let view = pair.world.platform.connection(&party.initiator, pair.connection).await.unwrap();
                assert_eq!(view.status, expected);
            }
        });
    }
}

const fn event(command: ConnectionCommand) -> Event {
    match command {
        ConnectionCommand::Activate => Event::Activate,
        ConnectionCommand::Pause => Event::Pause,
        ConnectionCommand::Resume => Event::Resume,
        ConnectionCommand::Disconnect => Event::Disconnect,
        ConnectionCommand::Retry => Event::Retry,
        ConnectionCommand::Terminate => Event::Terminate,
    }
}
