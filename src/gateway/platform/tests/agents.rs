//! What agents read and tell: rules, refusals, reports and what becomes of them.

use adit_core::domain::id::GatewayId;
use adit_core::domain::path::PathKind;
use adit_core::domain::side_fault::SideFault;
use adit_core::domain::word::Word;
use adit_core::protocol::control::{Activity, ConfigMismatch, PeerRefusal, Report};

use super::*;
use crate::store::FactRecord;

const UP: Report =
    Report { tunnel: Some(Word::Known(PathKind::Direct)), mirth: None, last_ack: None, fault: None };
const GATEWAY: GatewayId = GatewayId::from_bytes([7; 8]);
const DOWN: Report = Report { tunnel: None, mirth: None, last_ack: None, fault: None };

#[tokio::test]
async fn each_side_reads_its_own_rule_with_the_other_one_as_its_peer() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let (source, _) = platform.rules_for(pair.source_server).await.unwrap();
    let (target, _) = platform.rules_for(pair.target_server).await.unwrap();
    assert_eq!([source[0].peer, target[0].peer], [pair.target_server, pair.source_server]);
    assert_eq!([source[0].side.as_str(), target[0].side.as_str()], ["source", "target"]);
    assert_ne!(source[0].peer_route, target[0].peer_route);
    assert_eq!(peers_of(platform, pair.source_server).await, [pair.target_server]);
    let mut seen = vec![source[0].activity];
    for command in [ConnectionCommand::Activate, ConnectionCommand::Pause] {
        pair.command(&pair.source, command).await.unwrap();
        seen.push(platform.rules_for(pair.source_server).await.unwrap().0[0].activity);
    }
    assert_eq!(seen, [Activity::Ready, Activity::Active, Activity::Paused]);
}

#[tokio::test]
async fn only_a_servers_own_connections_in_a_final_status_are_called_ended() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let unknown = ConnectionId::from_random([7; 16]);
    let asked = [unknown, pair.connection];
    let ended = async |server| platform.ended_among(server, &asked).await.unwrap();
    pair.command(&pair.source, ConnectionCommand::Activate).await.unwrap();
    assert_eq!(ended(pair.source_server).await, []);
    pair.command(&pair.source, ConnectionCommand::Terminate).await.unwrap();
    for server in [pair.source_server, pair.target_server] {
        assert_eq!(ended(server).await, [pair.connection]);
    }
    assert_eq!(ended(ServerId::from_random([9; 16])).await, []);
    assert_eq!(platform.ended_among(pair.source_server, &[unknown]).await.unwrap(), []);
}

#[tokio::test]
async fn a_mismatch_fails_the_connection_with_its_reason_counting_repeats() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    pair.command(&pair.source, ConnectionCommand::Activate).await.unwrap();
    let stranger =
        platform.config_mismatch(ServerId::from_random([9; 16]), pair.connection, ConfigMismatch::Peer).await;
    assert!(matches!(stranger, Err(AgentError::NotFound)));
    platform.config_mismatch(pair.target_server, pair.connection, ConfigMismatch::Protocol).await.unwrap();
    let view = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(
        (view.status.to_string(), view.failure.unwrap()),
        (
            "Failed".into(),
            "St Mary Mirth (target): the agent's file names another protocol for this connection".into()
        )
    );
    for _ in 0..3 {
        platform
            .config_mismatch(pair.target_server, pair.connection, ConfigMismatch::Protocol)
            .await
            .unwrap();
    }
    let last = platform.audit(&pair.source.initiator, 1).await.unwrap().remove(0);
    assert_eq!((last.outcome.as_str(), last.times), ("refused", 3));
    let secret = platform.view_secret(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(pair.command(&pair.source, ConnectionCommand::Retry).await.unwrap(), "Ready");
    let same = platform.view_secret(&pair.target.initiator, pair.connection).await.unwrap();
    assert_eq!(secret, same, "retry keeps the secret");
}

#[tokio::test]
async fn a_refused_peer_is_in_both_logs_only_when_the_connection_is_theirs() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let tell = async |id| {
        platform
            .refused_peer(pair.target_server, id, Some(pair.source_server), PeerRefusal::WrongSecret, 1)
            .await
    };
    for _ in 0..5 {
        tell(Some(pair.connection)).await.unwrap();
    }
    let theirs = platform.audit(&pair.source.initiator, 1).await.unwrap().remove(0);
    assert_eq!((theirs.action.as_str(), theirs.times), ("refuse peer", 5));
    let before = pair.world.log_length(&pair.source).await;
    tell(Some(ConnectionId::from_random([9; 16]))).await.unwrap();
    tell(None).await.unwrap();
    assert_eq!(pair.world.log_length(&pair.source).await, before);
    assert_eq!(platform.audit(&pair.target.initiator, 1).await.unwrap()[0].times, 2);
}

#[tokio::test]
async fn connected_needs_both_sides_word_over_live_control_links() {
    let pair = Pair::new().await;
    pair.world.platform.start_service(GATEWAY).await.unwrap();
    pair.command(&pair.source, ConnectionCommand::Activate).await.unwrap();
    assert_eq!(connectivity(&pair).await, "Never connected");
    for server in [pair.source_server, pair.target_server] {
        pair.world.platform.linked(GATEWAY, server, true);
    }
    assert_eq!(connectivity(&pair).await, "Never connected", "presence alone is nothing");
    report(&pair, pair.source_server, UP).await;
    assert_eq!(connectivity(&pair).await, "Never connected");
    report(&pair, pair.target_server, UP).await;
    assert_eq!(connectivity(&pair).await, "Connected");
    pair.world.platform.linked(GATEWAY, pair.target_server, false);
    assert_eq!(connectivity(&pair).await, "Disconnected");
    pair.world.platform.linked(GATEWAY, pair.target_server, true);
    assert_eq!(connectivity(&pair).await, "Disconnected", "until its agent tells anew");
    report(&pair, pair.target_server, UP).await;
    assert_eq!(connectivity(&pair).await, "Connected");
    pair.world.platform.start_service(GATEWAY).await.unwrap();
    assert_eq!(connectivity(&pair).await, "Disconnected", "a gateway that starts knows nothing yet");
}

#[tokio::test]
async fn a_link_that_went_down_before_it_was_written_is_shown_as_down() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    platform.start_service(GATEWAY).await.unwrap();
    for up in [true, false] {
        platform.linked(GATEWAY, pair.source_server, up);
    }
    platform.flush_reports().await.unwrap();
    let shown = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!([shown.source.link.state, shown.target.link.state], ["down", "never"]);
}

#[tokio::test]
async fn a_tunnel_that_is_up_again_before_its_agents_link_was_written_is_shown_as_up() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    platform.start_service(GATEWAY).await.unwrap();
    for _ in 0..2 {
        // The second time an agent was restarted within a second: what it says is what the database has.
        platform.linked(GATEWAY, pair.source_server, true);
        report(&pair, pair.source_server, UP).await;
        platform.flush_all_reports().await.unwrap();
        let shown = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
        assert_eq!(shown.source.tunnel.state, "direct");
    }
}

#[tokio::test]
async fn what_keeps_a_side_from_carrying_is_shown_to_both_parties_until_its_agent_comes_again() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    platform.start_service(GATEWAY).await.unwrap();
    platform.linked(GATEWAY, pair.source_server, true);
    platform.flush_reports().await.unwrap();
    let fault = Some(SideFault::NoEntry.into());
    report(&pair, pair.source_server, Report { fault, ..DOWN }).await;
    for viewer in [&pair.source.initiator, &pair.target.initiator] {
        let shown = platform.connection(viewer, pair.connection).await.unwrap();
        assert_eq!(shown.source.fault.map(|fault| fault.state), Some("no_entry"));
        assert_eq!(shown.target.fault, None);
    }
    platform.linked(GATEWAY, pair.source_server, true);
    platform.flush_reports().await.unwrap();
    let shown = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!((shown.source.fault, shown.source.tunnel.state), (None, "down"));
    let newer = Word::from_text("too_tired");
    report(&pair, pair.source_server, Report { fault: Some(newer), ..DOWN }).await;
    let shown = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(shown.source.fault.map(|fault| fault.state), Some("other"));
}

#[tokio::test]
async fn what_kept_a_side_from_carrying_is_not_shown_while_its_agent_has_no_link() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    platform.start_service(GATEWAY).await.unwrap();
    platform.linked(GATEWAY, pair.source_server, true);
    platform.flush_reports().await.unwrap();
    report(&pair, pair.source_server, Report { fault: Some(SideFault::NoEntry.into()), ..DOWN }).await;
    let shown = async || platform.connection(&pair.source.initiator, pair.connection).await.unwrap().source;
    assert_eq!(shown().await.fault.map(|fault| fault.state), Some("no_entry"));
    pair.world.pass(Duration::from_hours(1));
    let after = shown().await;
    assert_eq!((after.link.state, after.fault), ("down", None), "its gateway is not heard any more");
}

/// Returns what the database holds of the connection.
async fn stored(pair: &Pair) -> Vec<FactRecord> {
    pair.world.platform.store.read().await.unwrap().facts(pair.connection).await.unwrap()
}

#[tokio::test]
async fn a_flapping_tunnel_is_written_once_a_second_without_losing_its_last_state() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    report(&pair, pair.source_server, UP).await;
    let before = stored(&pair).await;
    for number in 0..101 {
        let flapping = if number % 2 == 0 { DOWN } else { UP };
        report(&pair, pair.source_server, flapping).await;
    }
    platform.flush_reports().await.unwrap();
    assert_eq!(stored(&pair).await, before);
    pair.world.pass(Duration::from_secs(1));
    platform.flush_reports().await.unwrap();
    let view = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(view.source.tunnel.state, "down");
}

#[tokio::test]
async fn an_acknowledgement_time_is_kept_when_the_platform_closes() {
    let pair = Pair::new().await;
    let at = Timestamp::from_millis(1_795_510_700_000);
    report(&pair, pair.source_server, UP).await;
    report(&pair, pair.source_server, Report { last_ack: Some(at), ..UP }).await;
    pair.world.platform.close().await.unwrap();
    let again = pair.world.again().await;
    let view = again.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(view.last_ack, Some(at));
}

#[tokio::test]
async fn an_acknowledgement_time_is_written_by_itself_twice_a_minute() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let at = Timestamp::from_millis(1_795_510_700_000);
    report(&pair, pair.source_server, UP).await;
    report(&pair, pair.source_server, Report { last_ack: Some(at), ..UP }).await;
    let before = stored(&pair).await;
    pair.world.pass(Duration::from_millis(29_998));
    platform.flush_reports().await.unwrap();
    assert_eq!(stored(&pair).await, before);
    pair.world.pass(Duration::from_millis(1));
    platform.flush_reports().await.unwrap();
    assert_ne!(stored(&pair).await, before);
}

#[tokio::test]
async fn a_report_after_its_end_never_shows_a_connection_as_up() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    platform.start_service(GATEWAY).await.unwrap();
    pair.command(&pair.source, ConnectionCommand::Activate).await.unwrap();
    for server in [pair.source_server, pair.target_server] {
        platform.linked(GATEWAY, server, true);
        report(&pair, server, UP).await;
    }
    assert_eq!(connectivity(&pair).await, "Connected");
    pair.command(&pair.source, ConnectionCommand::Terminate).await.unwrap();
    assert_eq!(connectivity(&pair).await, "Disconnected");
    pair.world.pass(Duration::from_secs(2));
    for server in [pair.source_server, pair.target_server] {
        report(&pair, server, DOWN).await;
        report(&pair, server, UP).await;
    }
    assert_eq!(connectivity(&pair).await, "Disconnected");
    let view = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!([view.source.tunnel.state, view.target.tunnel.state], ["down", "down"]);
}

#[tokio::test]
async fn a_report_about_a_connection_of_others_is_not_taken() {
    let pair = Pair::new().await;
    let stranger = ServerId::from_random([9; 16]);
    let told = pair.world.platform.report(stranger, pair.connection, &UP, pair.world.platform.now()).await;
    assert!(matches!(told, Err(AgentError::NotFound)));
}

async fn report(pair: &Pair, server: ServerId, report: Report) {
    let platform = &pair.world.platform;
    platform.report(server, pair.connection, &report, platform.now()).await.unwrap();
    if report == UP {
        pair.world.pass(Duration::from_millis(1));
    }
}

async fn connectivity(pair: &Pair) -> String {
    pair.world.pass(Duration::from_secs(2));
    pair.world.platform.flush_reports().await.unwrap();
    let view = pair.world.platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    view.connectivity.to_string()
}

#[tokio::test]
async fn the_owner_sees_which_build_its_agent_is_and_was() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let version = async || {
        platform.flush_reports().await.unwrap();
        platform.servers(&pair.source.initiator).await.unwrap().remove(0).agent_version
    };
    assert_eq!(version().await, None);
    platform.linked_by(GATEWAY, pair.source_server, "0.1.0".into());
    assert_eq!(version().await.as_deref(), Some("0.1.0"));
    platform.linked(GATEWAY, pair.source_server, false);
    assert_eq!(version().await.as_deref(), Some("0.1.0"));
    platform.linked_by(GATEWAY, pair.source_server, "0.2.0".into());
    assert_eq!(version().await.as_deref(), Some("0.2.0"));
    platform.linked(GATEWAY, pair.source_server, false);
    assert_eq!(version().await.as_deref(), Some("0.2.0"));
    // One that ends at once, before its link was written.
    platform.linked_by(GATEWAY, pair.source_server, "0.3.0".into());
    platform.linked(GATEWAY, pair.source_server, false);
    assert_eq!(version().await.as_deref(), Some("0.3.0"));
}

#[tokio::test]
async fn a_gateway_that_has_stopped_serves_no_link() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    platform.start_service(GATEWAY).await.unwrap();
    platform.linked(GATEWAY, pair.source_server, true);
    platform.stop_service(GATEWAY).await.unwrap();
    assert!(!platform.servers(&pair.source.initiator).await.unwrap()[0].is_online);
}
