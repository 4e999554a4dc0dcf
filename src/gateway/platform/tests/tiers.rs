//! Read-write administration and the tier of the managed server's owner: at offer, acceptance,
//! activation and resume, and what a downgrade does to what runs.

use adit_core::domain::status::{PauseHold, Status};
use adit_core::protocol::control::{Activity, ConfigMismatch};

use super::*;

const RULE: &str = "Admin RW needs the Standard or Enterprise tier of St Mary, which owns the managed server";

#[tokio::test]
async fn read_write_alone_needs_the_standard_tier_to_be_offered() {
    let managed = Managed::offered(Access::ReadOnly).await;
    managed.world.platform.decline_offer(&managed.recipient.initiator, managed.connection).await.unwrap();
    for (tier, offers) in [(Tier::Free, false), (Tier::Standard, true), (Tier::Enterprise, true)] {
        managed.set_tier(tier).await;
        let made = managed.offer(Access::ReadWrite).await;
        assert_eq!(made.is_ok(), offers, "{tier}: {made:?}");
        match made {
            Ok(id) => _ = managed.world.platform.withdraw_offer(&managed.owner.initiator, id).await.unwrap(),
            Err(error) => assert_eq!(error.to_string(), RULE),
        }
        let view_only = managed.offer(Access::ReadOnly).await.unwrap();
        managed.world.platform.withdraw_offer(&managed.owner.initiator, view_only).await.unwrap();
    }
}

#[tokio::test]
async fn an_offer_refused_by_the_tier_at_acceptance_stays_open() {
    let managed = Managed::offered(Access::ReadWrite).await;
    managed.set_tier(Tier::Free).await;
    assert_eq!(refused(managed.accept().await), RULE);
    assert_eq!(managed.status().await, "Offered");
    assert_eq!(managed.view(&managed.owner).await.source.server, None, "and names no server");
    assert_eq!(managed.world.last_entry(&managed.owner).await.2, "refused");
    managed.set_tier(Tier::Standard).await;
    assert_eq!(managed.accept().await.unwrap(), "Active");
}

#[tokio::test]
async fn the_tier_is_asked_again_at_activation_whoever_activates() {
    let managed = Managed::active(Access::ReadWrite).await;
    let platform = &managed.world.platform;
    platform.config_mismatch(managed.server, managed.connection, ConfigMismatch::Access).await.unwrap();
    managed.set_tier(Tier::Free).await;
    assert_eq!(managed.status().await, "Failed", "what does not run is not held");
    assert_eq!(managed.command(&managed.recipient, ConnectionCommand::Retry).await.unwrap(), "Ready");
    for party in [&managed.recipient, &managed.owner] {
        assert_eq!(refused(managed.command(party, ConnectionCommand::Activate).await), RULE);
    }
    managed.set_tier(Tier::Enterprise).await;
    assert_eq!(managed.command(&managed.recipient, ConnectionCommand::Activate).await.unwrap(), "Active");
}

#[tokio::test]
async fn a_connection_cut_by_a_downgrade_stays_paused_until_the_tier_fits() {
    let managed = Managed::active(Access::ReadWrite).await;
    let platform = &managed.world.platform;
    managed.set_tier(Tier::Free).await;
    let (rules, _) = platform.rules_for(managed.server).await.unwrap();
    assert_eq!((rules[0].activity, rules[0].cut_epoch), (Activity::Paused, 1));
    assert_eq!(managed.view(&managed.owner).await.held_by, ["St Mary (until its tier admits Admin RW)"]);
    assert_eq!(managed.view(&managed.recipient).await.held_by, ["St Mary"], "the tier is not the peer's");
    for party in [&managed.owner, &managed.recipient] {
        let log = platform.audit(&party.initiator, 10).await.unwrap();
        let held = log.iter().find(|entry| entry.action == "hold connection").unwrap();
        assert_eq!(held.detail, "from Active to Paused, open tunnels cut, on behalf of St Mary");
        assert_eq!(held.actor, "the gateway");
    }
    assert_eq!(refused(managed.command(&managed.owner, ConnectionCommand::Resume).await), RULE);
    let by_peer = refused(managed.command(&managed.recipient, ConnectionCommand::Resume).await);
    assert!(by_peer.contains("the other party holds the pause"), "{by_peer}");
    managed.set_tier(Tier::Standard).await;
    assert_eq!(managed.status().await, "Active", "by itself");
    assert_eq!(managed.world.last_entry(&managed.recipient).await.1, "release connection");
    managed.set_tier(Tier::Enterprise).await;
    let (rules, _) = platform.rules_for(managed.server).await.unwrap();
    assert_eq!(rules[0].cut_epoch, 1, "cut once");
}

#[tokio::test]
async fn a_pause_that_was_there_before_the_downgrade_outlasts_it() {
    for (pauses, held, after) in [
        (true, Status::Paused(PauseHold::Target), Status::Paused(PauseHold::Target)),
        (false, Status::Paused(PauseHold::Both), Status::Paused(PauseHold::Source)),
    ] {
        let managed = Managed::active(Access::ReadWrite).await;
        let party = if pauses { &managed.owner } else { &managed.recipient };
        managed.command(party, ConnectionCommand::Pause).await.unwrap();
        managed.set_tier(Tier::Free).await;
        assert_eq!(managed.view(&managed.owner).await.status, held);
        assert_eq!(managed.world.platform.rules_for(managed.server).await.unwrap().0[0].cut_epoch, 1);
        managed.set_tier(Tier::Standard).await;
        assert_eq!(managed.view(&managed.owner).await.status, after);
        assert_eq!(managed.command(party, ConnectionCommand::Resume).await.unwrap(), "Active");
    }
}

#[tokio::test]
async fn the_peers_own_pause_is_independent_of_the_tiers() {
    let managed = Managed::active(Access::ReadWrite).await;
    managed.set_tier(Tier::Free).await;
    managed.command(&managed.recipient, ConnectionCommand::Pause).await.unwrap();
    assert_eq!(refused(managed.command(&managed.owner, ConnectionCommand::Resume).await), RULE);
    assert_eq!(managed.command(&managed.recipient, ConnectionCommand::Resume).await.unwrap(), "Paused");
    managed.set_tier(Tier::Standard).await;
    assert_eq!(managed.status().await, "Active");
}

#[tokio::test]
async fn an_owner_who_pauses_a_held_connection_makes_the_pause_its_own() {
    let managed = Managed::active(Access::ReadWrite).await;
    managed.set_tier(Tier::Free).await;
    assert_eq!(managed.command(&managed.owner, ConnectionCommand::Pause).await.unwrap(), "Paused");
    assert!(
        refused(managed.command(&managed.owner, ConnectionCommand::Pause).await)
            .contains("paused the connection")
    );
    assert_eq!(refused(managed.command(&managed.owner, ConnectionCommand::Resume).await), RULE);
    managed.set_tier(Tier::Standard).await;
    assert_eq!(managed.status().await, "Paused");
    assert_eq!(managed.command(&managed.owner, ConnectionCommand::Resume).await.unwrap(), "Active");
}

#[tokio::test]
async fn a_downgrade_touches_only_read_write_connections_of_the_servers_owner() {
    let managed = Managed::active(Access::ReadOnly).await;
    let full = managed.offer(Access::ReadWrite).await.unwrap();
    let (platform, recipient) = (&managed.world.platform, &managed.recipient);
    platform.accept_offer(&recipient.initiator, full, managed.sources[0]).await.unwrap();
    for tier in [Tier::Standard, Tier::Free] {
        platform.set_tier(&host(), recipient.id, tier).await.unwrap();
    }
    let statuses = async || {
        let all = platform.connections(&managed.owner.initiator).await.unwrap();
        all.iter().map(|it| it.status.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(statuses().await, ["Active", "Active"]);
    managed.set_tier(Tier::Free).await;
    assert_eq!(managed.status().await, "Active");
    assert_eq!(statuses().await.iter().filter(|status| *status == "Paused").count(), 1);
    let pair = Pair::new().await;
    pair.command(&pair.target, ConnectionCommand::Activate).await.unwrap();
    pair.world.platform.set_tier(&host(), pair.target.id, Tier::Free).await.unwrap();
    assert_eq!(pair.status().await, "Active");
}

#[tokio::test]
async fn an_owner_changes_the_tier_and_each_of_several_connections_follows_by_itself() {
    let managed = Managed::active(Access::ReadWrite).await;
    let (world, owner) = (&managed.world, &managed.owner);
    let other = world.server(owner, "other").await;
    let offer = |server| AdminOffer {
        server,
        to: managed.recipient.id,
        access: Access::ReadWrite,
        life: OfferLife::default(),
    };
    let platform = &world.platform;
    let paused = platform.offer_admin(&owner.initiator, &offer(other)).await.unwrap();
    platform.accept_offer(&managed.recipient.initiator, paused, managed.sources[1]).await.unwrap();
    platform.command(&owner.initiator, paused, ConnectionCommand::Pause).await.unwrap();
    let third = world.server(owner, "third").await;
    let offered = platform.offer_admin(&owner.initiator, &offer(third)).await.unwrap();
    let all = [managed.connection, paused, offered];
    let statuses = async || {
        let mut statuses = Vec::new();
        for id in all {
            statuses.push(platform.connection(&owner.initiator, id).await.unwrap().status.as_str());
        }
        statuses
    };
    platform.set_tier(&owner.initiator, owner.id, Tier::Free).await.unwrap();
    assert_eq!(statuses().await, ["Paused", "Paused", "Offered"]);
    assert_eq!(platform.servers(&owner.initiator).await.unwrap().len(), 3, "nothing is deleted");
    platform.set_tier(&owner.initiator, owner.id, Tier::Enterprise).await.unwrap();
    assert_eq!(statuses().await, ["Active", "Paused", "Offered"], "what the owner paused stays so");
}
