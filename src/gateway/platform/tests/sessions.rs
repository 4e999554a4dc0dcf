//! What agents tell of admin sessions, and whose word is taken.

use std::net::Ipv4Addr;

use adit_core::domain::limits::ADMIN_SESSION_ROWS_PER_MINUTE;
use adit_core::protocol::control::{SessionReport, SessionStage};

use super::*;

#[tokio::test]
async fn both_logs_tell_a_session_from_its_start_to_its_sum_with_who_told_it() {
    let managed = Managed::active(Access::ReadOnly).await;
    let platform = &managed.world.platform;
    let started =
        SessionReport { requests: 0, refused: 0, changes: 0, audits: 0, ..report(3, SessionStage::Started) };
    platform.admin_session(managed.server, managed.connection, &started).await.unwrap();
    for server in [managed.sources[0], managed.server] {
        let ended = report(3, SessionStage::Ended);
        platform.admin_session(server, managed.connection, &ended).await.unwrap();
    }
    for party in [&managed.owner, &managed.recipient] {
        let log = platform.audit(&party.initiator, 3).await.unwrap();
        let rows: Vec<_> = log.iter().map(|row| (&*row.actor, &*row.action, &*row.detail)).collect();
        assert_eq!(
            rows,
            [
                (
                    "agent of St Mary Mirth",
                    "admin session started",
                    "session 3 from 127.0.0.1: 0 requests, 0 refused, 0 changes, told by the managed \
                     server's agent"
                ),
                (
                    "agent of Lakeside Mirth",
                    "admin session ended",
                    "session 3 from 127.0.0.1: 120 requests, told by the managing server's agent"
                ),
                (
                    "agent of St Mary Mirth",
                    "admin session ended",
                    "session 3 from 127.0.0.1: 120 requests, 4 refused, 2 changes, 7 records in \
                     Mirth's own audit, told by the managed server's agent"
                ),
            ]
        );
        assert!(log.iter().all(|row| row.object == format!("connection {}", managed.connection)));
    }
}

#[tokio::test]
async fn a_running_session_has_a_row_a_minute_for_each_side() {
    let managed = Managed::active(Access::ReadOnly).await;
    let before = managed.world.log_length(&managed.owner).await;
    let tell = async |server, number| {
        let running = report(number, SessionStage::Running);
        managed.world.platform.admin_session(server, managed.connection, &running).await.unwrap();
    };
    for number in 0..10 {
        tell(managed.server, number).await;
        tell(managed.sources[0], number).await;
    }
    assert_eq!(managed.world.log_length(&managed.owner).await, before + 2);
    managed.world.pass(Duration::from_mins(1));
    tell(managed.server, 1).await;
    assert_eq!(managed.world.log_length(&managed.owner).await, before + 3);
}

#[tokio::test]
async fn an_agent_that_makes_sessions_up_cannot_fill_the_others_log() {
    let managed = Managed::active(Access::ReadOnly).await;
    let before = managed.world.log_length(&managed.owner).await;
    for number in 0..ADMIN_SESSION_ROWS_PER_MINUTE * 3 {
        let started = report(number, SessionStage::Started);
        let told = managed.world.platform.admin_session(managed.sources[0], managed.connection, &started);
        told.await.unwrap();
    }
    let rows = u64::try_from(managed.world.log_length(&managed.owner).await - before).unwrap();
    assert_eq!(rows, ADMIN_SESSION_ROWS_PER_MINUTE);
    let truth = report(1, SessionStage::Started);
    managed.world.platform.admin_session(managed.server, managed.connection, &truth).await.unwrap();
    assert_eq!(managed.world.last_entry(&managed.owner).await.0, "agent of St Mary Mirth", "apart from it");
}

#[tokio::test]
async fn only_the_ends_of_an_accepted_admin_connection_are_believed() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let tell = async |platform: &Platform, server, id| {
        platform.admin_session(server, id, &report(1, SessionStage::Started)).await
    };
    let platform = &managed.world.platform;
    let early = tell(platform, managed.server, managed.connection).await;
    assert!(matches!(early, Err(AgentError::NotFound)), "on an offer there is no session");
    managed.accept().await.unwrap();
    let before = managed.world.log_length(&managed.owner).await;
    for (server, id) in [
        (managed.sources[1], managed.connection),
        (ServerId::from_random([9; 16]), managed.connection),
        (managed.server, ConnectionId::from_random([9; 16])),
    ] {
        assert!(matches!(tell(platform, server, id).await, Err(AgentError::NotFound)));
    }
    assert_eq!(managed.world.log_length(&managed.owner).await, before + 1, "what its own agent was refused");
    assert_eq!(managed.world.last_entry(&managed.owner).await.2, "refused");
    let pair = Pair::new().await;
    let channel = tell(&pair.world.platform, pair.source_server, pair.connection).await;
    assert!(matches!(channel, Err(AgentError::NotFound)), "channel data has no sessions");
}

#[tokio::test]
async fn the_end_of_a_session_is_taken_after_the_connection_ended() {
    let managed = Managed::active(Access::ReadOnly).await;
    managed.command(&managed.owner, ConnectionCommand::Terminate).await.unwrap();
    let ended = report(1, SessionStage::Ended);
    managed.world.platform.admin_session(managed.server, managed.connection, &ended).await.unwrap();
    assert_eq!(managed.world.last_entry(&managed.recipient).await.1, "admin session ended");
}

fn report(number: u64, stage: SessionStage) -> SessionReport {
    let local_peer = Ipv4Addr::LOCALHOST.into();
    let stage = stage.into();
    SessionReport { number, stage, local_peer, requests: 120, refused: 4, changes: 2, audits: 7 }
}
