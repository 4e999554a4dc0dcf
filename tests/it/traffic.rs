//! Messages that never stop while a test makes trouble, and the judgement of what became of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_lab::measure::Differences;
use adit_lab::messages::Generator;
use adit_lab::mirth::{End, Ended, Mirth};
use adit_lab::sender::{Report, SendOutcome, Sender, Sent};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, sleep};

use super::lab::{HANG_LIMIT, Lab, eventually};

/// What a sender leaves a port that refuses alone for, as Mirth does between its attempts.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);

/// Senders of both kinds that never stop and never repeat a message.
pub(crate) struct Traffic {
    stopping: Arc<AtomicBool>,
    senders: JoinSet<Vec<Sent>>,
}

impl Traffic {
    pub(crate) fn start(lab: &Lab, seed: u64) -> Self {
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
    pub(crate) async fn stop(self) -> Vec<Sent> {
        self.stopping.store(true, Ordering::Relaxed);
        self.senders.join_all().await.concat()
    }
}

async fn keep_sending(sender: Sender, mut messages: Generator, stopping: Arc<AtomicBool>) -> Vec<Sent> {
    let mut sent = Vec::new();
    while !stopping.load(Ordering::Relaxed) {
        let report = sender.send(messages.by_ref().take(10)).await;
        let refused = report.sent.iter().any(|sent| matches!(sent.outcome, SendOutcome::NotConnected(_)));
        sent.extend(report.sent);
        if refused {
            sleep(REFUSED_PAUSE).await;
        }
    }
    sent
}

/// Under any fault: nothing acknowledged is missing, nothing arrived that should not have, and no cut
/// looked like an end.
pub(crate) async fn judge(sent: &[Sent], mirth: &Mirth) {
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
    let closed = sent.iter().filter(|sent| sent.outcome == SendOutcome::Closed).count();
    assert_eq!(closed, 0, "senders saw an end that nobody made");
    let wrong = sent.iter().filter(|sent| matches!(sent.outcome, SendOutcome::Mismatched { .. })).count();
    assert_eq!(wrong, 0, "answers met other messages");
}

/// Messages one after the other on one connection, as patient as a busy machine needs.
pub(crate) struct Conversation {
    stopping: Arc<AtomicBool>,
    sender: JoinHandle<Report>,
    /// Messages in the journal before.
    already: usize,
}

impl Conversation {
    pub(crate) fn start(port: SocketAddr, mirth: &Mirth, seed: u64) -> Self {
        let (connect_timeout, response_timeout) = (HANG_LIMIT, HANG_LIMIT);
        let sender = Sender { connect_timeout, response_timeout, ..Sender::kept_open(port) };
        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        let messages = Generator::new(seed).take_while(move |_| !stopped.load(Ordering::Relaxed));
        let already = mirth.journal().received().len();
        Self { stopping, sender: tokio::spawn(async move { sender.send(messages).await }), already }
    }

    /// Waits for messages and answers that were not under way already.
    pub(crate) async fn goes_on(&self, mirth: &Mirth) {
        let more = mirth.journal().count() + 3;
        assert!(mirth.journal().reaches(more, HANG_LIMIT).await, "messages arrive");
    }

    /// Ends it; fails unless every message arrived once, in order, unchanged, was accepted, and went on
    /// the one connection.
    pub(crate) async fn finish(self, mirth: &Mirth) {
        self.stopping.store(true, Ordering::Relaxed);
        let report = self.sender.await.unwrap();
        println!("{} messages: {:?}", report.sent.len(), report.latencies);
        let differences = Differences::between(&report.sent, &mirth.journal().received()[self.already..]);
        assert!(differences.none(), "{differences}");
        assert_eq!(report.connections, 1, "the connection lived through it all");
    }
}
