//! Promises I2, I3, I4 and I10 under kill -9: whatever is killed whenever, the receiver never sees
//! an unfinished message end in order, nothing acknowledged is missing, nothing is said twice, and
//! service comes back without a human.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adit::demo::measure::Differences;
use adit::demo::messages::{Draws, Generator};
use adit::demo::mirth::{End, Ended, Mirth};
use adit::demo::sender::{Outcome, Sender, Sent};
use adit::domain::connection::Protocol;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::lab::{HANG_LIMIT, Lab, Part, draws, eventually, is_long, mirth};

/// What a sender leaves a port that refuses alone for, as Mirth does between its attempts.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);

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

/// Senders of both kinds that never stop and never repeat a message.
struct Traffic {
    stopping: Arc<AtomicBool>,
    senders: JoinSet<Vec<Sent>>,
}

impl Traffic {
    fn start(lab: &Lab, seed: u64) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for number in 0..8 {
            let sender = match number % 2 {
                0 => Sender::kept_open(lab.port(0)),
                _ => Sender::to(lab.port(0)),
            };
            // Long ones are often cut in the middle.
            let bytes_min = if number < 4 { 200_000 } else { 0 };
            let messages = Generator::new(seed * 100 + number).padded_to(bytes_min);
            senders.spawn(keep_sending(sender, messages, Arc::clone(&stopping)));
        }
        Self { stopping, senders }
    }

    /// What became of every message, in the order each sender sent them.
    async fn stop(self) -> Vec<Sent> {
        self.stopping.store(true, Ordering::Relaxed);
        self.senders.join_all().await.concat()
    }
}

async fn keep_sending(sender: Sender, mut messages: Generator, stopping: Arc<AtomicBool>) -> Vec<Sent> {
    let mut sent = Vec::new();
    while !stopping.load(Ordering::Relaxed) {
        let report = sender.send(messages.by_ref().take(10)).await;
        let refused = report.sent.iter().any(|sent| matches!(sent.outcome, Outcome::NotConnected(_)));
        sent.extend(report.sent);
        if refused {
            sleep(REFUSED_PAUSE).await;
        }
    }
    sent
}

async fn judge(sent: &[Sent], mirth: &Mirth) {
    // Connections that are still being cut belong to the picture.
    eventually("every connection of the receiver has ended", async || {
        (mirth.journal().ended().len() as u64 >= mirth.journal().opened()).then_some(())
    })
    .await;
    let received = mirth.journal().received();
    let differences = Differences::between(sent, &received);
    println!(
        "{} sent, {} received, {} connections; {differences}",
        sent.len(),
        received.len(),
        mirth.journal().opened()
    );
    assert!(differences.only_refusals(), "{differences}");

    let ended = mirth.journal().ended();
    let torn = ended.iter().copied().filter(|ended| ended.unfinished_bytes > 0);
    let (cut, looks_whole): (Vec<Ended>, Vec<Ended>) = torn.partition(|ended| ended.how == End::Reset);
    assert!(looks_whole.is_empty(), "an unfinished message ended in order: {looks_whole:?}");
    let unreadable: Vec<_> = ended.iter().filter(|ended| matches!(ended.how, End::Unreadable(_))).collect();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    println!("{} messages were cut, each by a reset", cut.len());

    // The receiver never closes first, so for a sender too only a reset is true.
    let closed = sent.iter().filter(|sent| sent.outcome == Outcome::Closed).count();
    assert_eq!(closed, 0, "senders saw an end that nobody made");
    let wrong = sent.iter().filter(|sent| matches!(sent.outcome, Outcome::Mismatched { .. })).count();
    assert_eq!(wrong, 0, "answers met other messages");
}
