//! Which runs of each agent open control links, in turn. A run that comes back after another took its place
//! was alive all along: two copies of one state folder are in use. A restart, or a host that was moved, has
//! a run that never comes back.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::domain::id::{BootId, ServerId};
use crate::domain::limits::{CONTROL_LINKS_MAX, RUNS_OF_AGENT_KEPT_MAX};

#[derive(Debug, Default)]
pub struct Runs {
    /// The newest of each first.
    of: BTreeMap<ServerId, VecDeque<Run>>,
}

#[derive(Debug)]
struct Run {
    boot: BootId,
    from: SocketAddr,
}

impl Runs {
    /// Notes that the run `boot` of `server` opens a link from `from`. If it came back, returns where the
    /// run opened its link that had taken its place.
    pub fn note(&mut self, server: ServerId, boot: BootId, from: SocketAddr) -> Option<SocketAddr> {
        if !self.of.contains_key(&server) && self.of.len() >= 2 * CONTROL_LINKS_MAX {
            // Whose is forgotten has to come back once more.
            self.of.pop_first();
        }
        let runs = self.of.entry(server).or_default();
        let before = runs.iter().position(|run| run.boot == boot);
        let replaced_by = before.filter(|place| *place > 0).and_then(|_| Some(runs.front()?.from));
        before.inspect(|place| _ = runs.remove(*place));
        runs.push_front(Run { boot, from });
        runs.truncate(RUNS_OF_AGENT_KEPT_MAX);
        replaced_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId::from_bytes([1; 16]);

    /// Whether each of these runs, in turn, comes back after another; by the other's port.
    fn seen(runs: &[u8]) -> Vec<Option<u16>> {
        let mut known = Runs::default();
        let mut note = |run: u8| {
            let from = ([192, 0, 2, 1], u16::from(run)).into();
            known.note(SERVER, BootId::from_bytes([run; 8]), from).map(|other| other.port())
        };
        runs.iter().map(|run| note(*run)).collect()
    }

    #[test]
    fn a_restart_a_moved_host_and_a_link_that_broke_are_no_copies() {
        assert_eq!(seen(&[1, 1, 2, 3, 3, 4, 4, 4, 5]), [None; 9]);
    }

    #[test]
    fn two_copies_that_take_turns_are_seen_both_and_each_with_the_others_address() {
        assert_eq!(seen(&[1, 2, 1, 2, 2, 1]), [None, None, Some(2), Some(1), None, Some(2)]);
    }

    #[test]
    fn a_copy_that_is_restarted_again_and_again_is_seen_by_the_other_that_lives() {
        assert_eq!(seen(&[1, 2, 1, 3, 1, 4]), [None, None, Some(2), None, Some(3), None]);
    }

    #[test]
    fn what_is_kept_of_an_agent_and_of_all_has_a_bound() {
        let mut known = Runs::default();
        let from = ([192, 0, 2, 1], 1).into();
        for run in 0..50 {
            known.note(SERVER, BootId::from_bytes([run; 8]), from);
        }
        assert_eq!(known.of[&SERVER].len(), RUNS_OF_AGENT_KEPT_MAX);
        for server in 0..2 * CONTROL_LINKS_MAX as u128 + 5 {
            known.note(ServerId::from_random(server.to_be_bytes()), BootId::from_bytes([1; 8]), from);
        }
        assert_eq!(known.of.len(), 2 * CONTROL_LINKS_MAX);
    }
}
