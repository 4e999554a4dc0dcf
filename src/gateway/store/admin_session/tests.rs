//! What is written of admin sessions is read again, and which of them go first.

use super::super::fixture::{Crowd, Place, take_statements};
use super::*;

/// A session that began at this moment, under a number as large.
fn session_at(at: u32, refused: u64) -> AdminSessionRecord {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&at.to_be_bytes());
    AdminSessionRecord {
        id: KeptSessionId::from_bytes(id),
        connection: Crowd::connection(1),
        source_owner: Crowd::organization(1),
        target_owner: Crowd::organization(2),
        run: Some(BootId::from_bytes([7; 8])),
        number: at.into(),
        round: 0,
        local_peer: "2001:db8::7".parse().unwrap(),
        begun_at: Timestamp::from_millis(at.into()),
        heard_at: Timestamp::from_millis(i64::from(at) + 1),
        ended_at: None,
        counts: SessionCounts { requests: u64::MAX, refused, changes: 0, audits: 4 },
    }
}

#[tokio::test]
async fn an_admin_session_is_read_as_it_was_written_and_written_over() {
    let place = Place::new().await;
    let store = place.store().await;
    Crowd::new(&store, 440).await;
    let mut tx = store.write().await.unwrap();
    let written = session_at(4, 2);
    tx.insert_admin_session(&written).await.unwrap();
    let (connection, run) = (written.connection, written.run);
    let counts = SessionCounts { requests: u64::try_from(i64::MAX).unwrap(), ..written.counts };
    let expected = AdminSessionRecord { counts, ..written };
    let read = tx.admin_session(connection, run, 4).await.unwrap();
    assert_eq!(read, Some(expected.clone()), "nobody has counted so far");
    assert_eq!(tx.admin_session(connection, None, 4).await.unwrap(), None);
    let at = Timestamp::from_millis(9);
    let counts = SessionCounts { changes: 3, ..expected.counts };
    let ended = AdminSessionRecord { heard_at: at, ended_at: Some(at), counts, ..expected };
    tx.update_admin_session(&ended).await.unwrap();
    assert_eq!(tx.admin_session(connection, run, 4).await.unwrap(), Some(ended.clone()));
    let again = AdminSessionRecord { round: 1, id: KeptSessionId::from_bytes([9; 16]), ..ended };
    tx.insert_admin_session(&again).await.unwrap();
    assert_eq!(tx.admin_session(connection, run, 4).await.unwrap(), Some(again));
    assert_eq!(tx.count_admin_sessions(connection, Timestamp::from_millis(3), 9).await.unwrap(), 2);
    assert_eq!(tx.count_admin_sessions(connection, Timestamp::from_millis(3), 1).await.unwrap(), 1);
    assert_eq!(tx.count_admin_sessions(connection, Timestamp::from_millis(4), 9).await.unwrap(), 0);
}

#[tokio::test]
async fn the_oldest_quiet_ones_go_and_none_in_which_something_was_refused() {
    let place = Place::new().await;
    let store = place.store().await;
    Crowd::new(&store, 440).await;
    let mut tx = store.write().await.unwrap();
    let quiet = ADMIN_SESSIONS_QUIET_KEPT_MAX + 3;
    for at in 1..=quiet {
        tx.insert_admin_session(&session_at(at, u64::from(at == 1))).await.unwrap();
    }
    take_statements();
    assert_eq!(tx.prune_admin_sessions(Crowd::connection(1)).await.unwrap(), 2);
    assert_eq!(take_statements(), 1);
    let mut gone = Vec::new();
    for at in 1..=5 {
        let found = tx.admin_session(Crowd::connection(1), session_at(1, 0).run, at).await.unwrap();
        gone.extend(found.is_none().then_some(at));
    }
    assert_eq!(gone, [2, 3]);
    assert_eq!(tx.prune_admin_sessions(Crowd::connection(1)).await.unwrap(), 0);
    assert_eq!(tx.delete_admin_sessions(Timestamp::from_millis(6)).await.unwrap(), 3);
}
