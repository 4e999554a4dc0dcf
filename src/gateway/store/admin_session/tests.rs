//! What is written of admin sessions is read again, and which of them go first.

use super::super::fixture::{Crowd, Place};
use super::*;

fn session_told(number: u64, at: i64, side: Side) -> AdminSessionRecord {
    let told = SideSession {
        run: None,
        number,
        heard_at: Timestamp::from_millis(at),
        ended_at: None,
        counts: SessionCounts { requests: u64::MAX, refused: 2, changes: 3, audits: 4 },
    };
    let told_by = |it| (it == side).then_some(told);
    AdminSessionRecord {
        id: KeptSessionId::from_bytes([u8::try_from(number).unwrap(); 16]),
        connection: Crowd::connection(1),
        source_owner: Crowd::organization(1),
        target_owner: Crowd::organization(2),
        local_peer: "2001:db8::7".parse().unwrap(),
        begun_at: Timestamp::from_millis(at),
        heard_at: Timestamp::from_millis(at),
        runs: number == 1,
        source: told_by(Side::Source),
        target: told_by(Side::Target),
    }
}

#[tokio::test]
async fn an_admin_session_is_read_as_it_was_written_and_the_oldest_go_first() {
    let place = Place::new().await;
    let store = place.store().await;
    Crowd::new(&store, 440).await;
    let mut tx = store.write().await.unwrap();
    for number in 1..=9 {
        let side = if number == 9 { Side::Source } else { Side::Target };
        tx.put_admin_session(&session_told(number, 5_000 + i64::try_from(number).unwrap(), side))
            .await
            .unwrap();
    }
    let (connection, peer) = (Crowd::connection(1), "2001:db8::7".parse().unwrap());
    let read = tx.admin_session_told(connection, Side::Target, (None, 4), peer).await.unwrap().unwrap();
    let told = read.target.unwrap();
    assert_eq!(told.counts.requests, u64::try_from(i64::MAX).unwrap(), "nobody has counted so far");
    let counts = SessionCounts { requests: told.counts.requests, refused: 2, changes: 3, audits: 4 };
    let expected = session_told(4, 5_004, Side::Target);
    let expected_told = SideSession { counts, ..expected.target.unwrap() };
    assert_eq!(read, AdminSessionRecord { target: Some(expected_told), ..expected });
    assert_eq!(tx.admin_session_told(connection, Side::Source, (None, 4), peer).await.unwrap(), None);
    assert_eq!(tx.prune_admin_sessions_of(connection, [false, true], 3).await.unwrap(), 5);
    let mut left = Vec::new();
    for number in 1..=8 {
        let found = tx.admin_session_told(connection, Side::Target, (None, number), peer).await.unwrap();
        left.extend(found.map(|_| number));
    }
    assert_eq!(left, [1, 7, 8], "one that runs is not old");
    assert_eq!(tx.prune_admin_sessions_of(connection, [true, false], 1).await.unwrap(), 0);
}
