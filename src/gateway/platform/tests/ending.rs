//! What ends with an agreement, a channel or a server: said before, done whole, written in both logs.

use super::*;
use adit_core::domain::status::Status;

/// Lakeside and St Mary with one of everything that can hang on an agreement.
struct Hung {
    pair: Pair,
    /// Of St Mary's channel, by Lakeside.
    requested: GrantId,
    /// Of St Mary's channel, to Lakeside.
    offered: GrantId,
    /// By St Mary, of its server; nobody has accepted it.
    open: ConnectionId,
    /// By St Mary, of its server; Lakeside's spare carries it.
    managed: ConnectionId,
    spare: ServerId,
    other_channel: ChannelId,
}

impl Hung {
    async fn new() -> Self {
        let pair = Pair::new().await;
        let (world, source, target) = (&pair.world, &pair.source, &pair.target);
        let spare = world.server(source, "Spare").await;
        let other_channel = world.channel(target, pair.target_server, "ORU").await;
        let platform = &world.platform;
        platform.command(&source.initiator, pair.connection, ConnectionCommand::Activate).await.unwrap();
        let requested = platform.request_grant(&source.initiator, pair.channel, spare).await.unwrap();
        let offered = platform.offer_grant(&target.initiator, other_channel, source.id).await.unwrap();
        let offer = |access| AdminOffer {
            server: pair.target_server,
            to: source.id,
            access,
            life: OfferLife::default(),
        };
        let managed = platform.offer_admin(&target.initiator, &offer(Access::ReadWrite)).await.unwrap();
        platform.accept_offer(&source.initiator, managed, spare).await.unwrap();
        let open = platform.offer_admin(&target.initiator, &offer(Access::ReadOnly)).await.unwrap();
        Self { pair, requested, offered, open, managed, spare, other_channel }
    }

    fn platform(&self) -> &Platform {
        &self.pair.world.platform
    }

    async fn status(&self, id: ConnectionId) -> Status {
        self.platform().connection(&self.pair.source.initiator, id).await.unwrap().status
    }

    async fn grant(&self, id: GrantId) -> &'static str {
        let grants = self.platform().grants(&self.pair.source.initiator).await.unwrap();
        grants.iter().find(|it| it.id == id).unwrap().status
    }

    /// Returns what a log says of the newest entries that were not asked for: action, object, detail.
    async fn by_gateway(&self, party: &Party) -> Vec<(String, String, String)> {
        let log = self.platform().audit(&party.initiator, 12).await.unwrap();
        let mut told: Vec<_> = log
            .into_iter()
            .filter(|it| it.actor == "the gateway")
            .map(|it| (it.action, it.object, it.detail))
            .collect();
        told.sort();
        told
    }
}

#[tokio::test]
async fn an_agreement_that_ends_takes_all_that_hangs_on_it_along() {
    let hung = Hung::new().await;
    let (pair, platform) = (&hung.pair, hung.platform());
    let id = platform.peerings(&pair.source.initiator).await.unwrap()[0].id;
    let cuts = platform.rules_for(pair.source_server).await.unwrap().0[0].cut_epoch;
    let said = platform.peering_ending(&pair.source.initiator, id).await.unwrap();
    let done = platform.end_peering(&pair.source.initiator, id).await.unwrap();
    assert_eq!(said, done);
    assert_eq!((done.grants, done.connections, done.offers), (3, 2, 1));
    assert_eq!(done.parties.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["St Mary"]);

    assert_eq!(hung.status(pair.connection).await, Status::Terminated);
    assert_eq!(hung.status(hung.managed).await, Status::Terminated);
    assert_eq!(hung.status(hung.open).await, Status::Declined, "by its recipient");
    assert_eq!(hung.grant(pair.grant).await, "relinquished");
    assert_eq!(hung.grant(hung.requested).await, "relinquished");
    assert_eq!(hung.grant(hung.offered).await, "denied");
    for server in [pair.source_server, pair.target_server, hung.spare] {
        assert_eq!(platform.rules_for(server).await.unwrap().0, [], "its agent knows nothing of it");
    }
    let mut tx = platform.store.read().await.unwrap();
    assert!(tx.connection(pair.connection).await.unwrap().unwrap().cut_epoch > cuts);
    let because = "because the agreement was ended".to_owned();
    let expected = vec![
        (
            "decline offer".into(),
            format!("connection {}", hung.open),
            format!("from Offered to Declined, {because}"),
        ),
        ("deny grant".into(), format!("grant {}", hung.offered), format!("channel ORU, {because}")),
        ("relinquish grant".into(), format!("grant {}", hung.requested), format!("channel ADT, {because}")),
    ];
    for party in [&pair.source, &pair.target] {
        let mut told = hung.by_gateway(party).await;
        let ended = told.split_off(3);
        assert_eq!(told, expected);
        assert!(ended.iter().all(|(action, _, detail)| {
            action == "terminate connection" && *detail == format!("from Active to Terminated, {because}")
        }));
        assert_eq!(ended.len(), 2);
        let newest = pair.world.last_entry(party).await;
        assert_eq!(newest.1, "end peering");
        assert_eq!(
            newest.3,
            "between Lakeside and St Mary; 3 grants, 2 connections, 1 open offer ends with it"
        );
    }
}

#[tokio::test]
async fn an_agreement_is_ended_once_and_by_its_parties_and_may_be_made_again() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let outsider = pair.world.party("Outsider", Tier::Standard).await;
    let id = platform.peerings(&pair.source.initiator).await.unwrap()[0].id;
    assert_eq!(refused(platform.end_peering(&outsider.initiator, id).await), "there is no such peering");
    let auditor = member(pair.target.id, UserRole::Auditor);
    let ended = platform.end_peering(&auditor, id).await;
    assert_eq!(refused(ended), "the role auditor may not change anything");
    platform.end_peering(&pair.target.initiator, id).await.unwrap();
    assert_eq!(pair.status().await, "Terminated");
    let late = platform.end_peering(&pair.source.initiator, id).await;
    assert_eq!(refused(late), "this peering is ended; only a live agreement is ended");
    assert_eq!(
        refused(platform.accept_peering(&pair.source.initiator, id).await),
        "this peering request is ended and stays so; make a new one"
    );
    let seen = platform.channels(&pair.source.initiator).await.unwrap();
    assert_eq!(seen, [], "what is published is for peers");
    let again = pair.world.peers(&pair.source, &pair.target).await;
    assert_ne!(again, id);
    assert_eq!(platform.channels(&pair.source.initiator).await.unwrap().len(), 1);
    let open = platform.request_peering(&pair.source.initiator, outsider.id).await.unwrap();
    let early = platform.end_peering(&pair.source.initiator, open).await;
    assert_eq!(refused(early), "this peering is requested; only a live agreement is ended");
}

#[tokio::test]
async fn an_agreement_with_oneself_ends_with_its_connections_in_one_log() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let id = world.peers(&party, &party).await;
    let (one, two) = (world.server(&party, "one").await, world.server(&party, "two").await);
    let channel = world.channel(&party, two, "ADT").await;
    let grant = world.platform.request_grant(&party.initiator, channel, one).await.unwrap();
    let connection = world.platform.approve_grant(&party.initiator, grant, None).await.unwrap();
    let before = world.log_length(&party).await;
    let done = world.platform.end_peering(&party.initiator, id).await.unwrap();
    assert_eq!(done.parties[0].name, "Self");
    assert_eq!(world.log_length(&party).await, before + 2);
    let view = world.platform.connection(&party.initiator, connection).await.unwrap();
    assert_eq!(view.status, Status::Terminated);
    let grant = world.platform.grants(&party.initiator).await.unwrap().remove(0);
    assert_eq!(
        (grant.status, grant.peer.as_deref(), view.peer.as_deref()),
        ("revoked", Some("Self"), Some("Self"))
    );
}

#[tokio::test]
async fn a_deleted_server_is_gone_with_its_key_token_channels_and_connections() {
    let hung = Hung::new().await;
    let (pair, platform) = (&hung.pair, hung.platform());
    let (owner, server) = (&pair.target.initiator, pair.target_server);
    let issued = platform.issue_token(owner, server, TokenLife::Hour).await.unwrap();
    let from = "192.0.2.7".parse().unwrap();
    platform.redeem_token(server, &issued.token, key(1), from).await.unwrap();
    let said = platform.server_deletion(owner, server).await.unwrap();
    let done = platform.delete_server(owner, server).await.unwrap();
    assert_eq!(said, done);
    assert_eq!((done.channels, done.grants, done.connections, done.offers), (2, 3, 2, 1));
    assert_eq!(done.to_string(), "2 channels, 3 grants, 2 connections, 1 open offer ends with it (Lakeside)");

    assert_eq!(hung.status(hung.open).await, Status::Terminated, "withdrawn by its owner");
    assert_eq!(hung.status(hung.managed).await, Status::Terminated);
    assert_eq!(hung.grant(hung.requested).await, "denied");
    assert_eq!(hung.grant(hung.offered).await, "revoked");
    let ended = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(ended.route(), "Lakeside Mirth → St Mary Mirth", "the last known name stays");
    let CarriedView::Channel { channel, .. } = ended.carried else { panic!("{ended:?}") };
    assert_eq!(channel.as_str(), "ADT");

    for asked in [
        platform.describe_server(owner, server, &text("x")).await,
        platform.delete_server(owner, server).await.map(drop),
        platform.server_deletion(owner, server).await.map(drop),
        platform.issue_token(owner, server, TokenLife::Hour).await.map(drop),
        platform.connector_progress(owner, server).await.map(drop),
        platform.add_channel(owner, &super::channel(server, "new")).await.map(drop),
    ] {
        assert_eq!(refused(asked), "there is no such server");
    }
    let published = platform.set_published(owner, pair.channel, true).await;
    assert_eq!(refused(published), "there is no such channel");
    assert_eq!(platform.servers(owner).await.unwrap(), []);
    for viewer in [owner, &pair.source.initiator, &host()] {
        assert_eq!(platform.channels(viewer).await.unwrap(), []);
    }
    assert!(matches!(platform.authorize_key(server, key(1)).await, Err(LinkRefusal::RevokedKey)));
    assert!(!platform.has_key(server, key(1)).await.unwrap());
    let again = platform.redeem_token(server, &issued.token, key(1), from).await;
    assert!(matches!(again, Err(EnrolRefusal::Wrong)), "{again:?}");
    let (rules, revoked) = platform.rules_for(pair.source_server).await.unwrap();
    assert_eq!((rules, revoked), (vec![], vec![key(1)]), "its peers refuse its key");
    let log = platform.audit(&pair.source.initiator, u32::MAX).await.unwrap();
    assert!(log.iter().all(|it| it.action != "delete server"));
    assert!(log.iter().any(|it| it.detail.ends_with("because the server at its target was deleted")));
}

#[tokio::test]
async fn the_source_of_connections_is_deleted_by_its_owner_too() {
    let hung = Hung::new().await;
    let (pair, platform) = (&hung.pair, hung.platform());
    let done = platform.delete_server(&pair.source.initiator, hung.spare).await.unwrap();
    assert_eq!((done.channels, done.grants, done.connections, done.offers), (0, 1, 1, 0));
    assert_eq!(hung.grant(hung.requested).await, "relinquished");
    assert_eq!(hung.status(hung.managed).await, Status::Terminated);
    assert_eq!(hung.status(hung.open).await, Status::Offered, "it names no source yet");
    assert_eq!(hung.status(pair.connection).await, Status::Active);
    let view = platform.connection(&pair.target.initiator, hung.managed).await.unwrap();
    assert_eq!(view.route(), "Spare → St Mary Mirth");
    let accepted = platform.accept_offer(&pair.source.initiator, hung.open, hung.spare).await;
    assert_eq!(refused(accepted), "there is no such server");
}

#[tokio::test]
async fn a_deleted_servers_name_and_place_in_the_tier_are_free() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    for _ in 0..3 {
        let server = world.server(&party, "Mirth").await;
        for number in 0..5 {
            world.channel(&party, server, &format!("channel {number}")).await;
        }
        world.platform.delete_server(&party.initiator, server).await.unwrap();
    }
}

#[tokio::test]
async fn a_deleted_channel_ends_its_grants_and_frees_its_name() {
    let hung = Hung::new().await;
    let (pair, platform) = (&hung.pair, hung.platform());
    let owner = &pair.target.initiator;
    let said = platform.channel_deletion(owner, pair.channel).await.unwrap();
    let done = platform.delete_channel(owner, pair.channel).await.unwrap();
    assert_eq!(said, done);
    assert_eq!((done.channels, done.grants, done.connections, done.offers), (1, 2, 1, 0));
    assert_eq!(pair.status().await, "Terminated");
    assert_eq!(hung.grant(pair.grant).await, "revoked");
    assert_eq!(hung.grant(hung.requested).await, "denied");
    assert_eq!(hung.grant(hung.offered).await, "pending", "another channel's");
    assert_eq!(hung.status(hung.managed).await, Status::Active);
    for asked in [
        platform.delete_channel(owner, pair.channel).await.map(drop),
        platform.set_published(owner, pair.channel, true).await,
        platform.offer_grant(owner, pair.channel, pair.source.id).await.map(drop),
        platform.request_grant(&pair.source.initiator, pair.channel, hung.spare).await.map(drop),
    ] {
        assert_eq!(refused(asked), "there is no such channel");
    }
    pair.world.channel(&pair.target, pair.target_server, "ADT").await;
    let grants = platform.grants(owner).await.unwrap();
    let grant = grants.iter().find(|it| it.id == pair.grant).unwrap();
    assert_eq!(grant.channel_name.as_ref().unwrap().as_str(), "ADT", "to its owner, as it was called");
    let foreign = platform.delete_channel(&pair.source.initiator, hung.other_channel).await;
    assert_eq!(refused(foreign), "there is no such channel");
}

#[tokio::test]
async fn a_renamed_channel_keeps_its_old_name_where_something_ended_over_it() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let renamed =
        |name: &str| ChannelText { name: name.parse().unwrap(), description: Description::default() };
    platform.describe_channel(&pair.target.initiator, pair.channel, &renamed("ADT two")).await.unwrap();
    assert_eq!(pair.world.last_entry(&pair.target).await.3, "name ADT two, before ADT");
    pair.command(&pair.target, ConnectionCommand::Terminate).await.unwrap();
    platform.describe_channel(&pair.target.initiator, pair.channel, &renamed("secret plan")).await.unwrap();
    let view = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    let CarriedView::Channel { channel, .. } = view.carried else { panic!("{view:?}") };
    assert_eq!(channel.as_str(), "ADT two");
    let found = ConnectionFilter { search: "plan".parse().ok(), ..ConnectionFilter::default() };
    let found = platform.count_connections(&pair.source.initiator, &found).await.unwrap();
    assert_eq!(found, 0, "nor is it found by the new one");
    pair.world.channel(&pair.target, pair.target_server, "taken").await;
    let taken = platform.describe_channel(&pair.target.initiator, pair.channel, &renamed("TAKEN")).await;
    assert!(refused(taken).contains("there is one already"));
    let foreign = platform.describe_channel(&pair.source.initiator, pair.channel, &renamed("x")).await;
    assert_eq!(refused(foreign), "there is no such channel");
}

#[tokio::test]
async fn an_organization_is_renamed_by_its_owner_or_the_host_and_its_peers_read_so() {
    let hung = Hung::new().await;
    let (pair, platform) = (&hung.pair, hung.platform());
    let name = "St Anna".parse().unwrap();
    for by in [member(pair.target.id, UserRole::Operator), member(pair.target.id, UserRole::Auditor)] {
        let asked = platform.rename_organization(&by, pair.target.id, &name).await;
        assert!(refused(asked).ends_with("may not rename the organization"));
    }
    let foreign = platform.rename_organization(&pair.source.initiator, pair.target.id, &name).await;
    assert_eq!(refused(foreign), "there is no such organization");
    platform.rename_organization(&pair.target.initiator, pair.target.id, &name).await.unwrap();
    let told = pair.world.last_entry(&pair.source).await;
    assert_eq!([&*told.0, &*told.1, &*told.3], ["St Anna", "rename organization", "from St Mary to St Anna"]);
    let (rules, _) = platform.rules_for(hung.spare).await.unwrap();
    assert_eq!(rules[0].peer_organization.as_deref(), Some("St Anna"), "as its agent shows it");
    let taken = platform.rename_organization(&host(), pair.target.id, &"lakeside".parse().unwrap()).await;
    assert!(refused(taken).contains("there is one already"));
    platform.rename_organization(&host(), pair.target.id, &"St Mary".parse().unwrap()).await.unwrap();
    assert_eq!(pair.world.last_entry(&pair.target).await.0, "the gateway's operator");
}

#[tokio::test]
async fn what_is_in_words_of_another_build_ends_with_what_it_hangs_on() {
    for way in 0..3 {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        let request = |channel| platform.request_grant(&pair.source.initiator, channel, pair.source_server);
        let lab = pair.world.channel(&pair.target, pair.target_server, "Lab").await;
        let grant = request(lab).await.unwrap();
        for (table, id) in [("connection", pair.connection.to_string()), ("channel_grant", grant.to_string())]
        {
            let statement = format!("UPDATE {table} SET status = 'Draining' WHERE id = '{id}'");
            platform.store.meddle(statement).await;
        }
        let owner = &pair.target.initiator;
        let consequences = match way {
            0 => {
                platform.delete_channel(owner, lab).await.unwrap();
                platform.delete_channel(owner, pair.channel).await.unwrap()
            }
            1 => platform.delete_server(owner, pair.target_server).await.unwrap(),
            _ => {
                let peering = platform.peerings(owner).await.unwrap()[0].id;
                platform.end_peering(owner, peering).await.unwrap()
            }
        };
        assert_eq!(consequences.connections, 1, "way {way}");
        let view = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
        assert_eq!(
            (view.status.to_string(), view.route()),
            ("Terminated".into(), "Lakeside Mirth → St Mary Mirth".into())
        );
        assert_eq!(
            platform.ended_among(pair.source_server, &[pair.connection]).await.unwrap(),
            [pair.connection]
        );
        let statuses: Vec<_> = platform.grants(owner).await.unwrap().iter().map(|it| it.status).collect();
        assert_eq!(statuses, ["revoked", "revoked"], "way {way}");
        assert!(refused(platform.view_secret(owner, pair.connection).await.map(drop)).contains("no longer"));
        let log = platform.audit(&pair.source.initiator, u32::MAX).await.unwrap();
        let ended = format!("connection {}", pair.connection);
        assert!(log.iter().any(|it| it.object == ended && it.action == "terminate connection"), "way {way}");
    }
}
