//! Which runs of each agent open control links, in turn. Runs that come back again and again after another
//! took their place are alive beside each other: two copies of one state folder are in use. After a restart,
//! or where a host was moved, a run never comes back; where a host was taken back to an earlier moment, one
//! comes back once.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use tracing::debug;

use adit_core::domain::id::{BootId, ServerId};
use adit_core::domain::limits::{CONTROL_LINKS_MAX, COPY_SAID_FOR, RUNS_OF_AGENT_KEPT_MAX};

#[derive(Debug, Default)]
pub(crate) struct Runs {
    of: BTreeMap<ServerId, OfAgent>,
}

#[derive(Debug, Default)]
struct OfAgent {
    /// The newest first.
    runs: VecDeque<Run>,
    /// When one came back last.
    returned: Option<Instant>,
}

#[derive(Debug)]
struct Run {
    boot: BootId,
    from: SocketAddr,
}

impl Runs {
    /// Notes that the run `boot` of `server` opens a link from `from`. If it came back, and was not the first
    /// of late, returns where the run opened its link that had taken its place.
    pub(crate) fn note(
        &mut self,
        server: ServerId,
        boot: BootId,
        from: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        if !self.of.contains_key(&server) && self.of.len() >= 2 * CONTROL_LINKS_MAX {
            // Whose is forgotten has to come back once more.
            self.of.pop_first();
        }
        let OfAgent { runs, returned } = self.of.entry(server).or_default();
        let before = runs.iter().position(|run| run.boot == boot);
        let replaced_by = before.filter(|place| *place > 0).and_then(|_| Some(runs.front()?.from));
        before.inspect(|place| _ = runs.remove(*place));
        runs.push_front(Run { boot, from });
        runs.truncate(RUNS_OF_AGENT_KEPT_MAX);
        let replaced_by = replaced_by?;
        debug!(%server, %boot, %replaced_by, "a run of this agent is back whose place another had taken");
        let earlier = returned.replace(now)?;
        (now.saturating_duration_since(earlier) < COPY_SAID_FOR).then_some(replaced_by)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SERVER: ServerId = ServerId::from_bytes([1; 16]);

    /// Returns whether each of these runs, in turn and a while apart, is told of another; by the other's
    /// port.
    fn seen_every(apart: Duration, runs: &[u8]) -> Vec<Option<u16>> {
        let (mut known, mut now) = (Runs::default(), Instant::now());
        let mut note = |run: u8| {
            now += apart;
            let from = ([192, 0, 2, 1], u16::from(run)).into();
            known.note(SERVER, BootId::from_bytes([run; 8]), from, now).map(|other| other.port())
        };
        runs.iter().map(|run| note(*run)).collect()
    }

    fn seen(runs: &[u8]) -> Vec<Option<u16>> {
        seen_every(Duration::from_secs(20), runs)
    }

    #[test]
    fn what_restarts_moves_or_reconnects_is_no_copy() {
        assert_eq!(seen(&[1, 1, 2, 3, 3, 4, 4, 4, 5]), [None; 9]);
    }

    #[test]
    fn two_copies_that_take_turns_are_each_seen_with_the_others_address() {
        assert_eq!(seen(&[1, 2, 1, 2, 2, 1]), [None, None, None, Some(1), None, Some(2)]);
    }

    #[test]
    fn a_host_that_is_taken_back_to_an_earlier_moment_is_no_copy() {
        assert_eq!(seen(&[1, 2, 1, 3]), [None; 4]);
        let now_and_then = seen_every(COPY_SAID_FOR, &[1, 2, 1, 2, 1]);
        assert_eq!(now_and_then, [None; 5]);
    }

    #[test]
    fn a_copy_that_keeps_restarting_is_seen_by_the_other_that_lives() {
        assert_eq!(seen(&[1, 2, 1, 3, 1, 4, 1]), [None, None, None, None, Some(3), None, Some(4)]);
    }

    #[test]
    fn what_is_kept_is_bounded_for_one_agent_as_for_all() {
        let (mut known, now) = (Runs::default(), Instant::now());
        let from = ([192, 0, 2, 1], 1).into();
        for run in 0..50 {
            known.note(SERVER, BootId::from_bytes([run; 8]), from, now);
        }
        assert_eq!(known.of[&SERVER].runs.len(), RUNS_OF_AGENT_KEPT_MAX);
        for server in 0..2 * CONTROL_LINKS_MAX as u128 + 5 {
            known.note(ServerId::from_random(server.to_be_bytes()), BootId::from_bytes([1; 8]), from, now);
        }
        assert_eq!(known.of.len(), 2 * CONTROL_LINKS_MAX);
    }
}
