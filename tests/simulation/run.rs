//! A run from its seed to its end: the faults of its script, and then all that must be well again.

use std::time::Duration;

use adit_core::protocol::route::Path;

use crate::ledger::{Fate, Record};
use crate::log::{Promise, Violation};
use crate::script::Script;
use crate::tally::Tally;
use crate::wire::Node;
use crate::world::{World, index};

/// No script lasts longer, all leaps of its clocks included.
const FAULTS_LAST: Duration = Duration::from_secs(7_200);
/// After the last fault, data flows again within this, whatever was before: a minute in which an end
/// waits for the other, which has forgotten the tunnel, and the dialler's longest pause.
const RECOVERY: Duration = Duration::from_secs(75);
/// The same where a path carries less than the one before it did: QUIC finds that out from the fourth
/// burst of losses, one for each of its own pauses, which the outage before has made long.
const RECOVERY_UNEVEN: Duration = Duration::from_secs(120);
/// Streams that must have been carried after the last fault.
const STREAMS_AFTER: usize = 2;
/// After the last fault the direct path answers within this, and is probed as long as needed.
const CLIMB_FOUND: Duration = Duration::from_secs(10);
/// After the last stream was opened, all have ended within this.
const DRAIN: Duration = Duration::from_secs(120);

/// What became of a run.
#[derive(Debug)]
pub(crate) struct RunOutcome {
    pub violation: Option<Violation>,
    pub script: String,
    pub latest: Vec<String>,
    pub tally: Tally,
    pub digest: u64,
    /// How long after the last fault data flowed again.
    pub recovered: Duration,
    pub steps: u64,
    pub elapsed: Duration,
}

impl World {
    /// From the seed to the end.
    pub(crate) fn run(seed: u64, script: Script, prints: bool) -> RunOutcome {
        let mut world = Self::new(seed, script, prints);
        world.run_while(world.scene.start + FAULTS_LAST, |world| world.calm.is_none());
        let recovered = world.recover();
        world.climb();
        world.drain();
        let scene = world.scene;
        let mut tally = scene.tally;
        tally.bytes = scene.ledger.bytes();
        RunOutcome {
            script: world.script.to_string(),
            latest: scene.log.latest().map(String::from).collect(),
            elapsed: scene.now - scene.start,
            violation: scene.log.violation,
            tally,
            digest: scene.wire.digest,
            recovered,
            steps: world.steps,
        }
    }

    /// Waits for data to flow; gives how long that took.
    fn recover(&mut self) -> Duration {
        let calm = self.calm.unwrap_or(self.scene.now);
        let flows = |world: &Self| {
            let complete =
                |record: &&Record| record.opened >= calm && matches!(record.fate, Fate::Complete(_));
            world.scene.ledger.records().iter().filter(complete).count() >= STREAMS_AFTER
        };
        // Slow programs are not to be waited for.
        if let Some(program) = &mut self.agents[0].program {
            program.hurry(self.scene.now);
        }
        let within = if self.script.is_even { RECOVERY } else { RECOVERY_UNEVEN };
        let flowed = self.run_while(calm + within, |world| !flows(world));
        let what = format_args!("{} s after the last fault no data flows", within.as_secs());
        self.scene.demand(flowed, Promise::Recovers, what);
        self.scene.now - calm
    }

    /// Waits for both agents to prefer the direct path again, each as long as it may take.
    fn climb(&mut self) {
        if let Some(program) = &mut self.agents[0].program {
            program.rest();
        }
        if !self.script.is_even {
            // A path that does not carry what is sent is not climbed to.
            return;
        }
        let calm = self.calm.unwrap_or(self.scene.now);
        for node in Node::AGENTS {
            let within = self.agent(node).paths.climbs_after() + CLIMB_FOUND;
            let is_direct =
                |world: &Self| matches!(world.agents[index(node)].paths.active(), Some(Path::Direct(_)));
            let climbed = self.run_while(calm + within, |world| !is_direct(world));
            let what = format_args!(
                "{node:?}: {} s after the last fault it is not on the direct path",
                within.as_secs()
            );
            self.scene.demand(climbed, Promise::Recovers, what);
        }
    }

    /// Opens no more streams and waits for the end of all.
    fn drain(&mut self) {
        if let Some(program) = &mut self.agents[0].program {
            program.opens = false;
        }
        let until = self.scene.now + DRAIN;
        let drained = self.run_while(until, |world| world.scene.ledger.running() > 0);
        let left = self.scene.ledger.running();
        let what =
            format_args!("{left} streams have not ended {} s after the last was opened", DRAIN.as_secs());
        self.scene.demand(drained, Promise::Recovers, what);
    }
}
