//! Who offers, accepts, declines and withdraws administration; every event by everybody in every status;
//! expiry as a reader finds it; who sees an offer.

use adit_core::domain::connection::ConnectionType;
use adit_core::domain::limits::OFFER_LIFE_DEFAULT;
use adit_core::domain::status::{self, Actor, Event, PauseHold, Status};
use adit_core::protocol::control::{Activity, ConfigMismatch};

use super::*;

/// What people may ask of an admin connection.
const EVENTS: [Event; 9] = [
    Event::Accept,
    Event::Decline,
    Event::Withdraw,
    Event::Activate,
    Event::Pause,
    Event::Resume,
    Event::Disconnect,
    Event::Retry,
    Event::Terminate,
];

/// Every status but Provisioning, which nobody ever sees.
const STATUSES: [Status; 10] = [
    Status::Offered,
    Status::Ready,
    Status::Active,
    Status::Paused(PauseHold::Source),
    Status::Paused(PauseHold::Target),
    Status::Paused(PauseHold::Both),
    Status::Failed,
    Status::Declined,
    Status::Expired,
    Status::Terminated,
];

#[tokio::test]
async fn every_event_by_everybody_in_every_status_is_served_or_refused_as_the_tables_say() {
    for from in STATUSES {
        let mut managed = in_status(Managed::offered(Access::ReadWrite).await, from).await;
        let outsider = managed.world.party("Outsider", Tier::Standard).await;
        managed.world.server(&outsider, "Outside").await;
        for event in EVENTS {
            for side in [Side::Source, Side::Target] {
                for role in UserRole::ALL {
                    let party = if side == Side::Source { &managed.recipient } else { &managed.owner };
                    let initiator = member(party.id, role);
                    let logs = log_lengths(&managed).await;
                    let done = ask(&managed, &initiator, event).await;
                    let cell = format!("{event} by the {side}'s {role} in {from:?}");
                    let expected = if role == UserRole::Auditor {
                        Err("the role auditor may not change anything".to_owned())
                    } else {
                        status::on(Some(from), ConnectionType::AdminRw, event, Actor::Party(side))
                            .map_err(|refusal| refusal.to_string())
                    };
                    assert_eq!(done, expected, "{cell}");
                    let entries = log_lengths(&managed).await;
                    let own = usize::from(side == Side::Target);
                    assert_eq!(entries[own], logs[own] + 1, "{cell}: one entry in its own log");
                    if role != UserRole::Auditor {
                        assert_eq!(entries[1 - own], logs[1 - own] + 1, "{cell}: and in the other's");
                    }
                    let word = if done.is_ok() { "done" } else { "refused" };
                    assert_eq!(managed.world.last_entry(party).await.2, word, "{cell}");
                    assert_eq!(managed.view(party).await.status, *done.as_ref().unwrap_or(&from), "{cell}");
                    if done.is_ok_and(|to| to != from) {
                        managed.connection = managed.offer(Access::ReadWrite).await.unwrap();
                        managed = in_status(managed, from).await;
                    }
                }
            }
            let logs = log_lengths(&managed).await;
            let foreign = ask(&managed, &outsider.initiator, event).await;
            assert_eq!(foreign, Err("there is no such connection".into()), "{event} in {from:?}");
            let by_host = ask(&managed, &host(), event).await;
            assert_eq!(by_host, Err("this is done for an organization; say which".into()));
            assert_eq!(log_lengths(&managed).await, logs, "{event} of others in {from:?}");
        }
    }
}

#[tokio::test]
async fn an_offer_goes_only_from_the_servers_owner_to_the_peer_of_a_live_agreement() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let (world, owner) = (&managed.world, &managed.owner);
    let offer = async |initiator: &Initiator, to, server| {
        let offer = AdminOffer { server, to, access: Access::ReadOnly, life: OfferLife::default() };
        refused(world.platform.offer_admin(initiator, &offer).await)
    };
    world.peers(owner, owner).await;
    assert!(
        offer(&owner.initiator, owner.id, managed.server).await.contains("self-agreement carries P2P only")
    );
    let stranger = world.party("Stranger", Tier::Standard).await;
    let unknown = offer(&owner.initiator, stranger.id, managed.server).await;
    assert_eq!(unknown, "there is no agreement with Stranger; ask for peering first");
    world.platform.request_peering(&owner.initiator, stranger.id).await.unwrap();
    let asked = offer(&owner.initiator, stranger.id, managed.server).await;
    assert!(asked.contains("no agreement"), "a request is no agreement: {asked}");
    let nobody = OrganizationId::from_random([9; 16]);
    assert_eq!(offer(&owner.initiator, nobody, managed.server).await, "there is no such organization");
    let recipient = &managed.recipient;
    let foreign = offer(&recipient.initiator, owner.id, managed.server).await;
    assert_eq!(foreign, "there is no such server", "the peer cannot bring an offer about");
    let auditor = offer(&member(owner.id, UserRole::Auditor), recipient.id, managed.server).await;
    assert_eq!(auditor, "the role auditor may not change anything");
    let by_host = offer(&host(), recipient.id, managed.server).await;
    assert_eq!(by_host, "this is done for an organization; say which");
}

#[tokio::test]
async fn one_offer_of_a_kind_is_open_to_a_peer_for_a_server_at_a_time() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let again = managed.offer(Access::ReadOnly).await;
    assert_eq!(refused(again), "making an offer: there is one already; choose another or use that one");
    managed.offer(Access::ReadWrite).await.unwrap();
    managed.world.platform.decline_offer(&managed.recipient.initiator, managed.connection).await.unwrap();
    managed.offer(Access::ReadOnly).await.unwrap();
    managed.world.pass(OFFER_LIFE_DEFAULT);
    managed.offer(Access::ReadOnly).await.unwrap();
}

#[tokio::test]
async fn both_agents_hear_of_an_acceptance_that_names_a_server_of_the_recipients_own() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let platform = &managed.world.platform;
    for server in [managed.server, managed.sources[0]] {
        assert_eq!(platform.rules_for(server).await.unwrap().0, [], "nothing before acceptance");
    }
    let foreign =
        platform.accept_offer(&managed.recipient.initiator, managed.connection, managed.server).await;
    assert_eq!(refused(foreign), "there is no such server");
    assert_eq!(managed.accept().await.unwrap(), "Active");
    let rule = async |server| platform.rules_for(server).await.unwrap().0.remove(0);
    let (source, target) = (rule(managed.sources[0]).await, rule(managed.server).await);
    for (rule, side, peer, organization) in [
        (&source, Side::Source, managed.server, "St Mary"),
        (&target, Side::Target, managed.sources[0], "Lakeside"),
    ] {
        assert_eq!((rule.side, rule.peer, rule.protocol), (side, peer, None));
        assert_eq!(rule.peer_organization.as_deref(), Some(organization));
        assert_eq!((rule.kind, rule.activity), (ConnectionType::AdminRo, Activity::Active));
        assert_eq!([&*rule.source_name, &*rule.target_name], ["Lakeside Mirth", "St Mary Mirth"]);
    }
    assert_eq!(peers_of(platform, managed.server).await, [managed.sources[0]]);
    assert_eq!(platform.rules_for(managed.sources[1]).await.unwrap().0, []);
}

#[tokio::test]
async fn only_an_accepted_connection_that_runs_joins_its_two_servers_at_the_relay() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let platform = &managed.world.platform;
    for (party, server, number) in
        [(&managed.owner, managed.server, 1), (&managed.recipient, managed.sources[0], 2)]
    {
        let issued = platform.issue_token(&party.initiator, server, TokenLife::Hour).await.unwrap();
        let from = "192.0.2.7".parse().unwrap();
        platform.redeem_token(server, &issued.token, key(number), from).await.unwrap();
    }
    let peers = async || {
        let unknown = ServerId::from_random([9; 16]);
        let asked = [managed.server, managed.sources[0], managed.sources[1], unknown];
        let found = platform.relayed_servers(&asked).await.unwrap();
        assert_eq!(found.len(), 2, "who has no key on file is not relayed");
        (found[&managed.server].peers.clone(), found[&managed.sources[0]].route)
    };
    assert!(peers().await.0.is_empty(), "while it is Offered");
    managed.accept().await.unwrap();
    let (found, source) = peers().await;
    assert_eq!(found, [source].into());
    managed.command(&managed.owner, ConnectionCommand::Pause).await.unwrap();
    assert_eq!(peers().await.0, [source].into());
    managed.command(&managed.owner, ConnectionCommand::Terminate).await.unwrap();
    assert!(peers().await.0.is_empty());
}

#[tokio::test]
async fn a_connection_failed_by_an_agents_file_is_active_again_after_a_retry() {
    let managed = Managed::active(Access::ReadWrite).await;
    let platform = &managed.world.platform;
    platform.config_mismatch(managed.server, managed.connection, ConfigMismatch::Access).await.unwrap();
    let view = managed.view(&managed.recipient).await;
    assert_eq!(view.status.to_string(), "Failed");
    assert!(view.failure.unwrap().starts_with("St Mary Mirth (target): the agent's file allows view-only"));
    assert_eq!(managed.command(&managed.recipient, ConnectionCommand::Retry).await.unwrap(), "Ready");
    assert_eq!(managed.command(&managed.recipient, ConnectionCommand::Activate).await.unwrap(), "Active");
    platform.config_mismatch(managed.server, managed.connection, ConfigMismatch::MirthTooOld).await.unwrap();
    assert!(managed.view(&managed.owner).await.failure.unwrap().contains("older than 4.4.1"));
}

#[tokio::test]
async fn the_first_read_of_an_offer_past_its_time_expires_it_in_both_logs() {
    for read in 0..5 {
        let managed = Managed::offered(Access::ReadOnly).await;
        let platform = &managed.world.platform;
        managed.world.pass(OFFER_LIFE_DEFAULT.checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(managed.status().await, "Offered");
        managed.world.pass(Duration::from_millis(1));
        match read {
            0 => assert_eq!(managed.status().await, "Expired"),
            1 => {
                let all = platform.connections(&managed.recipient.initiator).await.unwrap();
                assert_eq!(all[0].status.to_string(), "Expired");
            }
            2 => assert!(refused(managed.accept().await).contains("is Expired and nothing changes that")),
            3 => {
                let entry = platform.audit(&managed.owner.initiator, 1).await.unwrap().remove(0);
                assert_eq!(entry.action, "expire offer");
            }
            _ => _ = platform.sweep().await.unwrap(),
        }
        let row = platform.store.read().await.unwrap().connection(managed.connection).await.unwrap();
        assert_eq!(row.unwrap().status, Status::Expired, "written by reader {read}");
        for party in [&managed.owner, &managed.recipient] {
            let log = platform.audit(&party.initiator, 10).await.unwrap();
            let expired: Vec<_> = log.iter().filter(|entry| entry.action == "expire offer").collect();
            assert_eq!(expired.len(), 1);
            assert_eq!((expired[0].actor.as_str(), expired[0].outcome.as_str()), ("the gateway", "done"));
        }
    }
}

#[tokio::test]
async fn the_life_of_an_offer_is_as_its_maker_chose() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let offer = AdminOffer {
        server: managed.server,
        to: managed.recipient.id,
        access: Access::ReadWrite,
        life: "1h".parse().unwrap(),
    };
    let platform = &managed.world.platform;
    let short = platform.offer_admin(&managed.owner.initiator, &offer).await.unwrap();
    managed.world.pass(Duration::from_secs(3600));
    let late = platform.accept_offer(&managed.recipient.initiator, short, managed.sources[0]).await;
    assert!(refused(late).contains("Expired"));
    assert_eq!(managed.accept().await.unwrap(), "Active");
}

#[tokio::test]
async fn an_open_offer_is_seen_with_its_server_by_its_two_parties_alone() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let (world, platform) = (&managed.world, &managed.world.platform);
    let peer = world.party("Peer", Tier::Standard).await;
    world.peers(&peer, &managed.owner).await;
    world.channel(&managed.owner, managed.server, "ADT").await;
    let missing = ConnectionId::from_random([9; 16]);
    for id in [managed.connection, missing] {
        let seen = platform.connection(&peer.initiator, id).await.map(drop);
        assert_eq!(refused(seen), "there is no such connection");
    }
    assert!(platform.connections(&peer.initiator).await.unwrap().is_empty());
    let server_of_channel = async |party: &Party| {
        let channels = platform.channels(&party.initiator).await.unwrap();
        channels.into_iter().find_map(|channel| channel.server).map(|name| name.to_string())
    };
    assert_eq!(server_of_channel(&peer).await, None);
    assert_eq!(server_of_channel(&managed.recipient).await.as_deref(), Some("St Mary Mirth"));
    let owner = format!("{:?}", managed.view(&managed.owner).await);
    assert!(!owner.contains("Lakeside Mirth") && !owner.contains("Spare"), "{owner}");
    managed.world.pass(OFFER_LIFE_DEFAULT);
    assert_eq!(server_of_channel(&managed.recipient).await, None, "an expired offer shows nothing more");
    let ended = managed.view(&managed.recipient).await;
    assert_eq!(ended.route(), "Lakeside → St Mary Mirth");
}

#[tokio::test]
async fn a_view_says_what_an_admin_connection_is_without_a_word_of_channels() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let offered = managed.view(&managed.owner).await;
    let CarriedView::Admin { access, offered_by, expires_at } = offered.carried else {
        panic!("{offered:?}")
    };
    assert_eq!((offered.kind.as_str(), access), ("Admin RO", Access::ReadOnly));
    assert_eq!(offered_by.as_str(), "St Mary");
    assert_eq!(expires_at.map(|at| at.to_string()).as_deref(), Some("2026-12-01T09:00:00Z"));
    assert_eq!((offered.source.name.as_str(), offered.source.server), ("Lakeside", None));
    assert!(offered.held_by.is_empty());
    assert_eq!(agent_entry(&managed.view(&managed.owner).await, Side::Target, "127.0.0.1:8443"), None);
    managed.accept().await.unwrap();
    let active = managed.view(&managed.owner).await;
    assert!(matches!(active.carried, CarriedView::Admin { expires_at: None, .. }));
    assert_eq!(active.source.name.as_str(), "Lakeside Mirth");
    assert_eq!(managed.view(&managed.recipient).await.route(), "Lakeside Mirth → St Mary Mirth");
}

#[tokio::test]
async fn the_names_of_an_ended_connection_stay_in_its_row() {
    let managed = Managed::active(Access::ReadOnly).await;
    managed.command(&managed.recipient, ConnectionCommand::Terminate).await.unwrap();
    let platform = &managed.world.platform;
    platform.describe_server(&managed.owner.initiator, managed.server, &text("Renamed")).await.unwrap();
    platform.describe_server(&managed.recipient.initiator, managed.sources[0], &text("New")).await.unwrap();
    assert_eq!(managed.view(&managed.owner).await.route(), "Lakeside Mirth → St Mary Mirth");
}

#[tokio::test]
async fn a_p2p_connection_knows_no_offer() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let accepted = platform.accept_offer(&pair.source.initiator, pair.connection, pair.source_server).await;
    assert!(refused(accepted).contains("`accept` belongs to admin connections"));
    let withdrawn = platform.withdraw_offer(&pair.target.initiator, pair.connection).await;
    assert!(refused(withdrawn).contains("`withdraw` belongs to admin connections"));
}

async fn ask(managed: &Managed, initiator: &Initiator, event: Event) -> Result<Status, String> {
    let (platform, id) = (&managed.world.platform, managed.connection);
    let done = match event {
        Event::Accept => platform.accept_offer(initiator, id, managed.sources[0]).await,
        Event::Decline => platform.decline_offer(initiator, id).await,
        Event::Withdraw => platform.withdraw_offer(initiator, id).await,
        Event::Activate => platform.command(initiator, id, ConnectionCommand::Activate).await,
        Event::Pause => platform.command(initiator, id, ConnectionCommand::Pause).await,
        Event::Resume => platform.command(initiator, id, ConnectionCommand::Resume).await,
        Event::Disconnect => platform.command(initiator, id, ConnectionCommand::Disconnect).await,
        Event::Retry => platform.command(initiator, id, ConnectionCommand::Retry).await,
        Event::Terminate => platform.command(initiator, id, ConnectionCommand::Terminate).await,
        Event::Create | Event::SetUpDone | Event::SetUpFailed | Event::Expire | Event::AgentRefused => {
            panic!("nobody can ask for `{event}`")
        }
    };
    done.map_err(|error| error.to_string())
}

/// Brings the open offer there.
async fn in_status(managed: Managed, status: Status) -> Managed {
    let (owner, recipient) = (&managed.owner.initiator, &managed.recipient.initiator);
    let steps: &[(&Initiator, Event)] = match status {
        Status::Offered | Status::Expired | Status::Provisioning => &[],
        Status::Active | Status::Failed | Status::Ready => &[(recipient, Event::Accept)],
        Status::Paused(PauseHold::Source) => &[(recipient, Event::Accept), (recipient, Event::Pause)],
        Status::Paused(PauseHold::Target) => &[(recipient, Event::Accept), (owner, Event::Pause)],
        Status::Paused(PauseHold::Both) => {
            &[(recipient, Event::Accept), (owner, Event::Pause), (recipient, Event::Pause)]
        }
        Status::Declined => &[(recipient, Event::Decline)],
        Status::Terminated => &[(owner, Event::Withdraw)],
    };
    for (initiator, event) in steps {
        ask(&managed, initiator, *event).await.unwrap();
    }
    if matches!(status, Status::Failed | Status::Ready) {
        managed
            .world
            .platform
            .config_mismatch(managed.server, managed.connection, ConfigMismatch::Access)
            .await
            .unwrap();
    }
    if status == Status::Ready {
        ask(&managed, owner, Event::Retry).await.unwrap();
    }
    if status == Status::Expired {
        managed.world.pass(OFFER_LIFE_DEFAULT);
    }
    assert_eq!(managed.view(&managed.owner).await.status, status);
    managed
}

/// The recipient's, the owner's.
async fn log_lengths(managed: &Managed) -> [usize; 2] {
    [managed.world.log_length(&managed.recipient).await, managed.world.log_length(&managed.owner).await]
}
