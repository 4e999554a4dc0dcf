//! Promises I2, I3, I4 and I10 under kill -9: whatever is killed whenever, the receiver never sees
//! an unfinished message end in order, nothing acknowledged is missing, nothing is said twice, and
//! service comes back without a human.

use adit_core::domain::connection::Protocol;
use adit_lab::messages::Draws;

use super::lab::{HANG_LIMIT, Lab, Part, draws, is_long, mirth};
use super::traffic::{Traffic, judge};

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_beside_the_sender_may_be_killed_at_any_moment() {
    survives(&[Part::A], 51).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_beside_the_receiver_may_be_killed_at_any_moment() {
    survives(&[Part::B], 52).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_agent_may_be_killed_while_the_other_is_still_recovering() {
    survives(&[Part::A, Part::B], 53).await;
}

async fn survives(killed: &[Part], seed: u64) {
    let kills = if is_long() { 170 } else { 7 };
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let mut draws = draws(seed);
    let traffic = Traffic::start(&lab, seed);
    for _ in 0..kills {
        // In the middle of whatever runs some messages after service is back.
        let some = mirth.journal().count() + 1 + draws.below(60);
        assert!(mirth.journal().reaches(some, HANG_LIMIT).await, "messages flow again");
        yield_a_little(&mut draws).await;
        for &part in killed {
            lab.kill(part);
            lab.start(part);
        }
    }
    let some = mirth.journal().count() + 100;
    assert!(mirth.journal().reaches(some, HANG_LIMIT).await, "messages flow in the end");
    judge(&traffic.stop().await, &mirth).await;
}

/// So that a kill hits between the messages' first and last bytes as often as anywhere.
async fn yield_a_little(draws: &mut Draws) {
    for _ in 0..draws.below(40) {
        tokio::task::yield_now().await;
    }
}
