//! The rows that are kept of admin sessions: one of a session, whatever order its reports come in, and whichever get lost.

use std::net::IpAddr;

use super::faults::CommitFault::{Conflict, LostAnswer, LostCommit};
use crate::store::{AdminSessionFilter, ChangeKind, ChangesAfter, SessionCounts};
use adit_core::domain::id::BootId;
use adit_core::domain::limits::{ADMIN_SESSION_TOLD_EVERY, ADMIN_SESSIONS_MAX};
use adit_core::domain::page::{Cursor, Paging};
use adit_core::domain::word::Word;
use adit_core::protocol::control::SessionStage::{Ended, Running, Started};
use adit_core::protocol::control::{NoteNumber, SessionReport, SessionStage};

use super::*;

const BOOT: BootId = BootId::from_bytes([1; 8]);
const NEXT_BOOT: BootId = BootId::from_bytes([2; 8]);
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

fn report(number: u64, stage: SessionStage, requests: u64) -> SessionReport {
    let judged = requests / 10;
    SessionReport {
        number,
        stage: stage.into(),
        local_peer: PEER,
        requests,
        refused: judged,
        changes: judged,
        audits: 0,
    }
}

fn from(peer: u8, report: SessionReport) -> SessionReport {
    SessionReport { local_peer: IpAddr::from([10, 0, 0, peer]), ..report }
}

/// What the two agents of an admin connection tell.
struct Telling {
    managed: Managed,
    said: std::cell::Cell<u64>,
}

impl Telling {
    async fn new() -> Self {
        Self { managed: Managed::active(Access::ReadOnly).await, said: std::cell::Cell::new(0) }
    }

    /// Says it as the managed side's agent does.
    async fn managed(&self, boot: BootId, report: SessionReport) {
        self.say(self.managed.server, boot, report).await;
    }

    async fn managing(&self, boot: BootId, report: SessionReport) {
        self.say(self.managed.sources[0], boot, report).await;
    }

    async fn say(&self, server: ServerId, boot: BootId, session: SessionReport) {
        self.said.set(self.said.get() + 1);
        let note = AgentNote::AdminSession { connection: self.managed.connection, session };
        let note = NumberedNote { number: NoteNumber(self.said.get()), note };
        self.managed.world.platform.take_notes(server, boot, &[note]).await.unwrap();
    }

    /// Says it as the managed side's agent of an earlier build does, which tells no run.
    async fn unnumbered(&self, report: SessionReport) {
        let (platform, server) = (&self.managed.world.platform, self.managed.server);
        platform.admin_session(server, self.managed.connection, &report).await.unwrap();
    }

    async fn rows(&self) -> Vec<AdminSessionView> {
        self.rows_of(&self.managed.owner.initiator, AdminSessionFilter::default()).await
    }

    /// Reads the list to its end, two rows at a time.
    async fn rows_of(&self, viewer: &Initiator, filter: AdminSessionFilter) -> Vec<AdminSessionView> {
        let (mut rows, mut paging) = (Vec::new(), Paging::first(2));
        loop {
            let page =
                self.managed.world.platform.list_admin_sessions(viewer, &filter, &paging).await.unwrap();
            rows.extend(page.rows);
            let Some(next) = page.next else { return rows };
            paging = paging.after(Some(next.to_string().parse::<Cursor>().unwrap()));
        }
    }

    async fn delete_old(&self) {
        let platform = &self.managed.world.platform;
        platform.delete_old_admin_sessions(platform.now()).await.unwrap();
    }

    fn pass(&self, span: Duration) {
        self.managed.world.pass(span);
    }
}

const fn counts(requests: u64, judged: u64) -> SessionCounts {
    SessionCounts { requests, refused: judged, changes: judged, audits: 0 }
}

fn states(rows: &[AdminSessionView]) -> Vec<&'static str> {
    rows.iter().map(|row| row.state.as_str()).collect()
}

#[tokio::test]
async fn a_session_is_one_row_of_what_the_managed_side_tells() {
    let telling = Telling::new().await;
    let began = telling.managed.world.platform.now();
    // Each agent numbers its sessions by itself, and the managing one counts nothing.
    telling.managing(BOOT, report(3, Started, 0)).await;
    telling.managed(BOOT, report(8, Started, 0)).await;
    telling.pass(Duration::from_mins(1));
    telling.managed(BOOT, report(8, Running, 40)).await;
    telling.managing(BOOT, report(3, Ended, 0)).await;
    let [row] = &telling.rows().await[..] else { panic!("one row") };
    assert_eq!((row.counts, row.ended_at), (counts(40, 4), None));
    assert_eq!((row.state.as_str(), row.started_at, row.local_peer), ("running", began, PEER));
    assert_eq!((&*row.managing.server.to_string(), row.kind), ("Lakeside Mirth", Access::ReadOnly.kind()));
    telling.managed(BOOT, report(8, Ended, 50)).await;
    let [row] = &telling.rows().await[..] else { panic!("one row") };
    let now = telling.managed.world.platform.now();
    assert_eq!((row.state.as_str(), row.ended_at, row.counts), ("ended", Some(now), counts(50, 5)));
}

#[tokio::test]
async fn the_managing_side_neither_makes_a_row_nor_changes_one() {
    let telling = Telling::new().await;
    for stage in [Started, Running, Ended] {
        telling.managing(BOOT, report(1, stage, 70)).await;
    }
    assert_eq!(telling.rows().await, []);
    telling.managed(BOOT, report(1, Started, 0)).await;
    let rows = telling.rows().await;
    for stage in [Started, Running, Ended] {
        telling.managing(BOOT, report(1, stage, 90)).await;
        telling.managing(NEXT_BOOT, report(2, stage, 90)).await;
    }
    assert_eq!(telling.rows().await, rows);
}

#[tokio::test]
async fn reports_in_any_order_doubled_or_lost_leave_the_same_row() {
    for order in [
        &[Started, Running, Ended][..],
        &[Started, Started, Running, Running, Ended, Ended],
        &[Ended, Running, Started],
        &[Running, Ended, Started],
        &[Ended, Started, Running],
        &[Running, Ended],
        &[Ended],
    ] {
        let telling = Telling::new().await;
        for stage in order {
            let requests = match stage {
                Started => 0,
                Running => 20,
                Ended => 30,
            };
            telling.managed(BOOT, report(1, *stage, requests)).await;
        }
        let [row] = &telling.rows().await[..] else { panic!("one row: {order:?}") };
        assert_eq!((row.state.as_str(), row.counts), ("ended", counts(30, 3)), "{order:?}");
    }
}

#[tokio::test]
async fn numbers_that_begin_anew_with_a_run_are_other_sessions_and_end_none() {
    let telling = Telling::new().await;
    telling.managed(BOOT, report(1, Started, 0)).await;
    telling.managed(BOOT, report(1, Running, 70)).await;
    telling.pass(Duration::from_mins(2));
    // Its agent was killed: no end was told.
    telling.managed(NEXT_BOOT, report(1, Started, 0)).await;
    let rows = telling.rows().await;
    assert_eq!(states(&rows), ["running", "running"]);
    assert_eq!((rows[0].counts, rows[1].counts), (counts(0, 0), counts(70, 7)));
    telling.pass(Duration::from_mins(9));
    assert_eq!(states(&telling.rows().await), ["running", "silent"]);
    // What it had still to say of the run before comes late.
    telling.managed(BOOT, report(1, Ended, 80)).await;
    let rows = telling.rows().await;
    assert_eq!((states(&rows), rows[1].counts), (vec!["running", "ended"], counts(80, 8)));
}

#[tokio::test]
async fn numbers_of_an_agent_that_tells_no_run_begin_anew_where_they_start_again() {
    let telling = Telling::new().await;
    for stage in [Started, Started, Running] {
        telling.unnumbered(report(1, stage, if stage == Running { 10 } else { 0 })).await;
    }
    telling.unnumbered(report(1, Started, 0)).await;
    assert_eq!(telling.rows().await.len(), 1, "it runs");
    telling.unnumbered(report(1, Ended, 15)).await;
    telling.unnumbered(report(1, Running, 12)).await;
    telling.pass(Duration::from_mins(1));
    telling.unnumbered(report(1, Started, 0)).await;
    let rows = telling.rows().await;
    assert_eq!(states(&rows), ["running", "ended"]);
    assert_eq!((rows[0].counts, rows[1].counts), (counts(0, 0), counts(15, 1)));
    telling.pass(Duration::from_mins(20));
    telling.unnumbered(report(1, Started, 0)).await;
    assert_eq!(states(&telling.rows().await), ["running", "silent", "ended"]);
}

#[tokio::test]
async fn a_row_is_kept_once_with_its_log_whatever_becomes_of_commits() {
    for fate in [&[Conflict][..], &[LostAnswer], &[LostCommit], &[LostCommit, LostAnswer]] {
        let telling = Telling::new().await;
        let platform = &telling.managed.world.platform;
        for (stage, requests) in [(Started, 0), (Running, 10), (Running, 20), (Ended, 30)] {
            platform.faults.fail_commits(fate.iter().copied());
            telling.managed(BOOT, report(1, stage, requests)).await;
            platform.faults.fail_commits(fate.iter().copied());
            telling.pass(Duration::from_secs(1));
            telling.unnumbered(from(9, report(1, stage, requests))).await;
        }
        while platform.faults.next_commit().is_some() {}
        platform.flush_counted().await.unwrap();
        let rows = telling.rows().await;
        assert_eq!(states(&rows), ["ended", "ended"], "{fate:?}");
        assert_eq!((rows[0].counts, rows[1].counts), (counts(30, 3), counts(30, 3)), "{fate:?}");
        let log = platform.audit(&telling.managed.owner.initiator, 100).await.unwrap();
        let told = |action: &str| -> u32 {
            log.iter().filter(|row| row.action == action).map(|row| row.times).sum()
        };
        // One without a number, as earlier agents send them, is written again where nobody knows of the first time.
        let more = |times: u32| if fate.contains(&LostAnswer) { times..=2 * times } else { times..=times };
        assert!(more(2).contains(&told("admin session started")), "{fate:?}");
        assert!(more(4).contains(&told("admin session running")), "{fate:?}");
        assert!(more(2).contains(&told("admin session ended")), "{fate:?}");
    }
}

#[tokio::test]
async fn an_agent_that_makes_sessions_up_has_few_rows_a_minute() {
    let telling = Telling::new().await;
    let most = u8::try_from(ADMIN_SESSIONS_MAX).unwrap();
    for number in 0..most + 9 {
        telling.managed(BOOT, from(number, report(number.into(), Started, 0))).await;
    }
    assert_eq!(telling.rows().await.len(), usize::from(most));
    telling.managed(BOOT, from(0, report(0, Ended, 20))).await;
    assert!(telling.rows().await.iter().any(|row| row.counts == counts(20, 2)), "it is there");
    telling.pass(Duration::from_mins(2));
    let late = from(most + 1, report(u64::from(most) + 1, Running, 3));
    telling.managed(BOOT, late).await;
    assert_eq!(telling.rows().await.len(), usize::from(most) + 1, "it is told of again once there is room");
}

#[tokio::test]
async fn a_row_begins_only_while_its_connection_is_there() {
    let telling = Telling::new().await;
    telling.managed(BOOT, report(1, Started, 0)).await;
    let Telling { managed, .. } = &telling;
    managed.command(&managed.owner, ConnectionCommand::Terminate).await.unwrap();
    telling.managed(BOOT, report(2, Started, 0)).await;
    telling.unnumbered(report(3, Ended, 40)).await;
    telling.managed(BOOT, report(1, Ended, 50)).await;
    let [row] = &telling.rows().await[..] else { panic!("one row") };
    assert_eq!((row.state.as_str(), row.counts), ("ended", counts(50, 5)));
}

#[tokio::test]
async fn what_is_said_again_or_refused_writes_nothing() {
    let telling = Telling::new().await;
    let platform = &telling.managed.world.platform;
    telling.unnumbered(report(1, Started, 0)).await;
    telling.unnumbered(report(1, Running, 40)).await;
    // The log has its row of this minute, and the session's was written a moment ago.
    platform.faults.take_begun();
    telling.unnumbered(report(1, Running, 50)).await;
    assert_eq!(platform.faults.take_begun(), 1, "it looks");
    assert_eq!(telling.rows().await[0].counts, counts(40, 4));
    telling.pass(ADMIN_SESSION_TOLD_EVERY);
    platform.faults.take_begun();
    telling.unnumbered(report(1, Running, 60)).await;
    assert_eq!(platform.faults.take_begun(), 2, "it looks, and writes");
    assert_eq!(telling.rows().await[0].counts, counts(60, 6));
    telling.unnumbered(report(1, Ended, 70)).await;
    platform.faults.take_begun();
    for requests in [70, 80] {
        telling.unnumbered(report(1, Ended, requests)).await;
    }
    assert_eq!(platform.faults.take_begun(), 2, "it looks twice");
    assert_eq!(telling.rows().await[0].counts, counts(70, 7));
}

#[tokio::test]
async fn whoever_falls_silent_is_called_running_no_more_until_heard_again() {
    let telling = Telling::new().await;
    for peer in [1, 2] {
        telling.managed(BOOT, from(peer, report(peer.into(), Started, 0))).await;
        telling.pass(Duration::from_secs(1));
    }
    telling.pass(Duration::from_mins(9));
    telling.managed(BOOT, from(1, report(1, Running, 5))).await;
    telling.pass(Duration::from_mins(5));
    let rows = telling.rows().await;
    assert_eq!(states(&rows), ["silent", "running"]);
    assert_eq!((rows[0].ended_at, rows[0].local_peer), (None, IpAddr::from([10, 0, 0, 2])));
    let viewer = &telling.managed.owner.initiator;
    for (running, state) in [(true, "running"), (false, "silent")] {
        let filter = AdminSessionFilter { running: Some(running), ..AdminSessionFilter::default() };
        assert_eq!(states(&telling.rows_of(viewer, filter).await), [state]);
    }
    telling.managed(BOOT, from(2, report(2, Running, 5))).await;
    assert_eq!(states(&telling.rows().await), ["running", "running"]);
}

#[tokio::test]
async fn sessions_are_forgotten_with_the_hours_that_were_measured() {
    let telling = Telling::new().await;
    telling.managed(BOOT, from(1, report(1, Ended, 5))).await;
    telling.managed(BOOT, from(2, report(2, Started, 0))).await;
    telling.pass(Duration::from_hours(89 * 24));
    telling.delete_old().await;
    assert_eq!(telling.rows().await.len(), 2);
    telling.managed(BOOT, from(3, report(3, Started, 0))).await;
    telling.pass(Duration::from_hours(2 * 24));
    telling.delete_old().await;
    assert_eq!(telling.rows().await.len(), 1);
}

#[tokio::test]
async fn both_parties_and_the_host_see_a_session_and_nobody_else() {
    let telling = Telling::new().await;
    for peer in 1..=5 {
        telling.managed(BOOT, from(peer, report(peer.into(), Started, 0))).await;
    }
    let outsider = telling.managed.world.party("Riverside", Tier::Free).await;
    let connection = Some(telling.managed.connection);
    for filter in [AdminSessionFilter::default(), AdminSessionFilter { connection, running: None }] {
        let (owner, recipient) = (&telling.managed.owner, &telling.managed.recipient);
        let seen = telling.rows_of(&owner.initiator, filter).await;
        assert_eq!(seen.len(), 5);
        assert_eq!(telling.rows_of(&recipient.initiator, filter).await, seen);
        assert_eq!(telling.rows_of(&host(), filter).await, seen);
        assert_eq!(telling.rows_of(&outsider.initiator, filter).await, []);
    }
    let none = AdminSessionFilter { connection: Some(ConnectionId::from_random([9; 16])), running: None };
    assert_eq!(telling.rows_of(&telling.managed.owner.initiator, none).await, []);
}

#[tokio::test]
async fn both_parties_are_told_of_a_beginning_and_an_end_and_no_agent_is() {
    let telling = Telling::new().await;
    let platform = &telling.managed.world.platform;
    let told = async |after: i64| {
        let ChangesAfter::Rows(rows) = platform.changes_after(after, 100).await.unwrap() else {
            panic!("rows")
        };
        rows
    };
    let before = platform.newest_change().await.unwrap();
    telling.managed(BOOT, report(1, Started, 0)).await;
    let rows = told(before).await;
    assert!(rows.iter().all(|row| row.kind == Word::Known(ChangeKind::AdminSession) && row.server.is_none()));
    let mut organizations: Vec<_> = rows.iter().filter_map(|row| row.organization).collect();
    organizations.sort();
    let mut parties = vec![telling.managed.owner.id, telling.managed.recipient.id];
    parties.sort();
    assert_eq!(organizations, parties);
    let before = platform.newest_change().await.unwrap();
    telling.managed(BOOT, report(1, Running, 9)).await;
    assert_eq!(told(before).await, [], "it was told a moment ago");
    telling.managed(BOOT, report(1, Ended, 9)).await;
    assert_eq!(told(before).await.len(), 2);
}
