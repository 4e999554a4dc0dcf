//! Notes that agents say until they are acknowledged: each is in the log once, whatever becomes of commits,
//! processes and links.

use super::faults::CommitFault::{Conflict, LostAnswer, LostCommit};
use adit_core::domain::id::BootId;
use adit_core::protocol::control::{NoteNumber, PeerRefusal, SessionReport, SessionStage};

use super::*;

const BOOT: BootId = BootId::from_bytes([1; 8]);

fn refused_peer(pair: &Pair, number: u64) -> NumberedNote {
    let (connection, peer) = (Some(pair.connection), Some(pair.source_server));
    let reason = PeerRefusal::WrongSecret.into();
    let note = AgentNote::RefusedPeer { connection, peer, reason, times: 1 };
    NumberedNote { number: NoteNumber(number), note }
}

fn refused_peers(pair: &Pair, numbers: impl IntoIterator<Item = u64>) -> Vec<NumberedNote> {
    numbers.into_iter().map(|number| refused_peer(pair, number)).collect()
}

/// Returns how often a refused peer is in the target's log, as the database has it.
async fn counted(pair: &Pair) -> u32 {
    let log = pair.world.again().await.audit(&pair.target.initiator, 100).await.unwrap();
    log.iter().filter(|row| row.action == "refuse peer").map(|row| row.times).sum()
}

#[tokio::test]
async fn notes_are_in_the_log_once_whatever_becomes_of_their_commits() {
    for fate in [&[][..], &[Conflict], &[LostAnswer], &[LostCommit], &[LostCommit, LostAnswer]] {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        platform.faults.fail_commits(fate.iter().copied());
        platform.take_notes(pair.target_server, BOOT, &refused_peers(&pair, 1..=3)).await.unwrap();
        // Counted in a row that is there.
        platform.faults.fail_commits(fate.iter().copied());
        platform.take_notes(pair.target_server, BOOT, &refused_peers(&pair, 4..=5)).await.unwrap();
        assert_eq!(counted(&pair).await, 5, "{fate:?}");
    }
}

#[tokio::test]
async fn what_becomes_of_a_note_is_told() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let mut notes = refused_peers(&pair, 1..=2);
    let session = SessionReport {
        number: 1,
        stage: SessionStage::Started.into(),
        local_peer: std::net::Ipv4Addr::LOCALHOST.into(),
        requests: 0,
        refused: 0,
        changes: 0,
        audits: 0,
    };
    // Channel data has no sessions.
    let note = AgentNote::AdminSession { connection: pair.connection, session };
    notes.push(NumberedNote { number: NoteNumber(3), note });
    let taken = platform.take_notes(pair.target_server, BOOT, &notes).await.unwrap();
    assert_eq!(taken, [NoteTaken::Listed, NoteTaken::Counted, NoteTaken::Refused]);
    notes.extend(refused_peers(&pair, [4]));
    let taken = platform.take_notes(pair.target_server, BOOT, &notes).await.unwrap();
    assert_eq!(taken, [NoteTaken::Known, NoteTaken::Known, NoteTaken::Known, NoteTaken::Counted]);
    assert_eq!(counted(&pair).await, 3);
}

#[tokio::test]
async fn what_was_taken_survives_the_gateway_that_took_it() {
    let pair = Pair::new().await;
    let notes = refused_peers(&pair, 1..=4);
    pair.world.platform.take_notes(pair.target_server, BOOT, &notes).await.unwrap();
    // Another gateway, or the same after a crash: nothing was flushed.
    let again = pair.world.again().await;
    let taken = again.take_notes(pair.target_server, BOOT, &notes).await.unwrap();
    assert_eq!(taken, [NoteTaken::Known; 4]);
    again.take_notes(pair.target_server, BOOT, &refused_peers(&pair, [5])).await.unwrap();
    assert_eq!(counted(&pair).await, 5);
}

#[tokio::test]
async fn the_notes_of_two_runs_are_apart() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    for boot in [BOOT, BootId::from_bytes([2; 8]), BOOT] {
        platform.take_notes(pair.target_server, boot, &refused_peers(&pair, 1..=2)).await.unwrap();
    }
    assert_eq!(counted(&pair).await, 4);
    // Of another server the same numbers are others.
    platform.take_notes(pair.source_server, BOOT, &refused_peers(&pair, 1..=2)).await.unwrap();
    assert_eq!(counted(&pair).await, 6);
}

#[tokio::test]
async fn the_marks_of_an_agent_that_restarts_for_ever_are_few() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let last = BootId::from_bytes([40; 8]);
    for run in 1..=40 {
        pair.world.pass(Duration::from_secs(1));
        let boot = BootId::from_bytes([run; 8]);
        platform.take_notes(pair.target_server, boot, &refused_peers(&pair, [1])).await.unwrap();
    }
    let mut tx = platform.store.read().await.unwrap();
    let mut kept = 0;
    for run in 1..=40 {
        let run = NoteRun::of_agent(pair.target_server, BootId::from_bytes([run; 8]));
        kept += i64::from(tx.note_mark(&run).await.unwrap().is_some());
    }
    drop(tx);
    assert!((2..=NOTE_RUNS_KEPT_MAX + 1).contains(&kept), "{kept}");
    let taken = platform.take_notes(pair.target_server, last, &refused_peers(&pair, [1])).await.unwrap();
    assert_eq!(taken, [NoteTaken::Known]);
}

#[tokio::test]
async fn links_that_say_the_same_notes_at_once_count_them_once() {
    let pair = Pair::new().await;
    let (platform, again) = (&pair.world.platform, pair.world.again().await);
    let (few, all) = (refused_peers(&pair, 1..=3), refused_peers(&pair, 1..=6));
    let (one, other) = tokio::join!(
        platform.take_notes(pair.target_server, BOOT, &few),
        again.take_notes(pair.target_server, BOOT, &all)
    );
    one.unwrap();
    other.unwrap();
    assert_eq!(counted(&pair).await, 6);
}

#[tokio::test]
async fn what_is_counted_in_memory_is_added_once_whatever_becomes_of_its_commits() {
    for fate in [&[Conflict][..], &[LostAnswer], &[LostCommit], &[LostCommit, LostAnswer]] {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        for round in 1..=3 {
            for _ in 0..5 {
                platform.take_note(pair.target_server, refused_peer(&pair, 0).note).await.unwrap();
            }
            platform.faults.fail_commits(fate.iter().copied());
            platform.flush_counted().await.unwrap();
            assert_eq!(counted(&pair).await, round * 5, "{fate:?}");
        }
    }
}

#[tokio::test]
async fn what_may_have_been_added_before_the_database_went_is_not_added_again() {
    let mut pair = Pair::new().await;
    pair.world.platform.act_wait = Duration::from_millis(30);
    let platform = &pair.world.platform;
    for _ in 0..5 {
        platform.take_note(pair.target_server, refused_peer(&pair, 0).note).await.unwrap();
    }
    platform.faults.fail_commits([LostAnswer]);
    platform.faults.fail_commits([Conflict; 100]);
    assert!(platform.flush_counted().await.is_err());
    while platform.faults.next_commit().is_some() {}
    platform.take_note(pair.target_server, refused_peer(&pair, 0).note).await.unwrap();
    platform.flush_counted().await.unwrap();
    assert_eq!(counted(&pair).await, 6);
}
