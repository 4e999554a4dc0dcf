//! A failing sequence made as short as it goes while it still fails. proptest would first make its numbers smaller, which
//! nobody reads, and take minutes over it.

use crate::draft::Draft;
use crate::model::Mutation;
use crate::run::{Difference, run};
use crate::world::{Engine, World};

/// The shortest so far, with what differs in it.
struct Shortest {
    engine: Engine,
    mutation: Option<Mutation>,
    draft: Draft,
    difference: Box<Difference>,
}

/// Returns the difference of the shortest sequence that still fails.
pub(crate) async fn shorten(
    engine: Engine,
    draft: Draft,
    difference: Box<Difference>,
    mutation: Option<Mutation>,
) -> Box<Difference> {
    let mut shortest = Shortest { engine, mutation, draft, difference };
    shortest.leave_events_out().await;
    for foundation in 0..shortest.draft.foundation {
        if shortest.try_instead(|draft| draft.foundation = foundation).await {
            break;
        }
    }
    shortest.leave_events_out().await;
    // The foundation is of two.
    for count in 2..shortest.draft.tiers.len() {
        if shortest.try_instead(|draft| draft.tiers.truncate(count)).await {
            break;
        }
    }
    for number in 0..shortest.draft.events.len() {
        shortest.try_instead(|draft| draft.events[number].hurry()).await;
    }
    shortest.difference
}

impl Shortest {
    /// Leaves halves of the events out, then ever smaller parts, then each.
    async fn leave_events_out(&mut self) {
        let mut size = self.draft.events.len();
        while size > 0 {
            let mut first = 0;
            while first < self.draft.events.len() {
                let end = (first + size).min(self.draft.events.len());
                let left_out = self.try_instead(|draft| drop(draft.events.drain(first..end))).await;
                first += if left_out { 0 } else { size };
            }
            size /= 2;
        }
    }

    /// Takes the changed sequence when it fails as well; returns whether it does.
    async fn try_instead(&mut self, change: impl FnOnce(&mut Draft)) -> bool {
        let mut draft = self.draft.clone();
        change(&mut draft);
        let mut world = World::open(self.engine).await;
        match run(&mut world, &draft, self.mutation).await {
            Ok(_) => false,
            Err(difference) => {
                (self.draft, self.difference) = (draft, difference);
                true
            }
        }
    }
}
