//! A stand-in Mirth: an MLLP listener that acknowledges as HL7 v2.5.1 §2.9 says (original mode) and
//! keeps a journal of what it received, so that a test can tell exactly once from nearly.
//!
//! How it treats messages is told by a [`Behaviour`], which can change while it runs. It keeps of a
//! message its control id, type, length and digest; never its content.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::accept;
use super::hl7::{self, AckCode, FrameError, FrameReader, Header};
use super::measure::Digest;
use crate::limits::{STAND_IN_CONNECTIONS_MAX, STAND_IN_JOURNAL_MAX};

/// What a stand-in does with its connections and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers every message with `code`, `after` a while.
    Acknowledge { code: AckCode, after: Duration },
    /// Reads and records messages, never answers.
    Silent,
    /// Leaves its connections open and reads nothing.
    Stall,
    /// Reads and records a message, then ends the connection in order, without an answer.
    CloseUnanswered,
    /// Reads and records a message, then resets the connection.
    ResetUnanswered,
    /// Accepts and closes at once, as a Mirth at its connection limit does.
    TurnAway,
}

impl Behaviour {
    /// What a well Mirth does.
    pub const ACCEPT: Self = Self::Acknowledge { code: AckCode::Aa, after: Duration::ZERO };
}

/// A message in the journal, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The TCP connection it came on, numbered from zero.
    pub connection: u64,
    pub control_id: String,
    pub message_type: String,
    pub digest: Digest,
    pub bytes: usize,
    /// The code of the answer, once the answer was written.
    pub answered: Option<AckCode>,
}

/// How a TCP connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub connection: u64,
    pub how: End,
    /// Bytes of a message that never became whole.
    pub unfinished_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The sender said it was done.
    Finished,
    /// The connection was cut.
    Reset,
    /// What came was not MLLP.
    Unreadable(FrameError),
    /// The stand-in ended it, as its behaviour says.
    Own,
}

/// A running stand-in. Dropping it stops it.
#[derive(Debug)]
pub struct Mirth {
    address: SocketAddr,
    behaviour: watch::Sender<Behaviour>,
    journal: Arc<Journal>,
    /// Dropped to stop the listener and every connection.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Mirth {
    pub fn start(listener: TcpListener, behaviour: Behaviour) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (behaviour, watched) = watch::channel(behaviour);
        let (stop, stopped) = watch::channel(());
        let journal = Arc::new(Journal::default());
        let task = tokio::spawn(serve(listener, Arc::clone(&journal), watched, stopped));
        Ok(Self { address, behaviour, journal, stop, task })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens from the next byte on, on open connections too.
    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Closes the port and every connection, and waits until they are closed.
    pub async fn shutdown(self) {
        drop(self.stop);
        // The task neither panics nor is it cancelled elsewhere; either way it is over.
        let _ = self.task.await;
    }
}

async fn serve(
    listener: TcpListener,
    journal: Arc<Journal>,
    behaviour: watch::Receiver<Behaviour>,
    stopped: watch::Receiver<()>,
) {
    let take = |number, stream, connections: &mut JoinSet<()>| {
        let turned_away = *behaviour.borrow() == Behaviour::TurnAway;
        if turned_away || connections.len() >= STAND_IN_CONNECTIONS_MAX {
            journal.end(Ended { connection: number, how: End::Own, unfinished_bytes: 0 });
            return;
        }
        journal.opened.fetch_add(1, Ordering::Relaxed);
        let connection = Connection {
            number,
            stream,
            reader: FrameReader::default(),
            behaviour: behaviour.clone(),
            journal: Arc::clone(&journal),
            answers: 0,
        };
        connections.spawn(connection.run());
    };
    accept::until_stopped(listener, stopped, take).await;
}

struct Connection {
    number: u64,
    stream: TcpStream,
    reader: FrameReader,
    behaviour: watch::Receiver<Behaviour>,
    journal: Arc<Journal>,
    answers: u64,
}

impl Connection {
    async fn run(mut self) {
        let how = match self.converse().await {
            Ok(how) => how,
            Err(_) => End::Reset,
        };
        let unfinished_bytes = self.reader.buffer().len();
        self.journal.end(Ended { connection: self.number, how, unfinished_bytes });
    }

    /// Serves until either side ends the connection; an error means that it was cut.
    async fn converse(&mut self) -> io::Result<End> {
        self.stream.set_nodelay(true)?;
        loop {
            loop {
                let message = match self.reader.poll_message() {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(error) => return Ok(End::Unreadable(error)),
                };
                if let Some(end) = self.treat(&message).await? {
                    return Ok(end);
                }
            }
            if self.read().await? == 0 {
                return Ok(End::Finished);
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        loop {
            let stalled = *self.behaviour.borrow_and_update() == Behaviour::Stall;
            let changed = self.behaviour.changed();
            if stalled {
                // An error means that the stand-in is being dropped, and this task with it.
                changed.await.map_err(io::Error::other)?;
                continue;
            }
            tokio::select! {
                biased;
                _ = changed => {}
                read = self.stream.read_buf(self.reader.buffer()) => return read,
            }
        }
    }

    async fn treat(&mut self, message: &[u8]) -> io::Result<Option<End>> {
        let header = Header::read(message);
        let place = self.journal.record(Received {
            connection: self.number,
            control_id: header.map(|header| header.control_id()).unwrap_or_default(),
            message_type: header.map(|header| header.message_type()).unwrap_or_default(),
            digest: Digest::of(message),
            bytes: message.len(),
            answered: None,
        });
        let behaviour = *self.behaviour.borrow();
        match behaviour {
            Behaviour::Acknowledge { code, after } => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                self.answer(message, code).await?;
                self.journal.answered(place, code);
                Ok(None)
            }
            Behaviour::Silent | Behaviour::Stall => Ok(None),
            Behaviour::CloseUnanswered | Behaviour::TurnAway => {
                self.stream.shutdown().await?;
                Ok(Some(End::Own))
            }
            Behaviour::ResetUnanswered => {
                socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                Ok(Some(End::Own))
            }
        }
    }

    async fn answer(&mut self, message: &[u8], code: AckCode) -> io::Result<()> {
        let own_control_id = format!("A{}-{}", self.number, self.answers);
        self.answers += 1;
        let at = jiff::Timestamp::now().strftime("%Y%m%d%H%M%S+0000").to_string();
        let acknowledgement = hl7::acknowledge(message, code, &own_control_id, &at);
        self.stream.write_all(&hl7::frame(&acknowledgement)).await
    }
}

/// What a stand-in received. The oldest messages are forgotten beyond `STAND_IN_JOURNAL_MAX`; the
/// count goes on.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Mutex<Entries>,
    opened: AtomicU64,
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    received: VecDeque<Received>,
    ended: VecDeque<Ended>,
    forgotten: u64,
}

impl Journal {
    /// Returns the number of messages received in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Returns the number of TCP connections accepted and served in all.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Returns the messages remembered, in the order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.entries().received.iter().cloned().collect()
    }

    /// Returns the connections that ended, in the order of their end.
    #[must_use]
    pub fn ended(&self) -> Vec<Ended> {
        self.entries().ended.iter().copied().collect()
    }

    /// Waits until `count` messages were received in all; whether they were before `within` was over.
    pub async fn reaches(&self, count: u64, within: Duration) -> bool {
        let mut counted = self.count.subscribe();
        let reached = counted.wait_for(|&now| now >= count);
        tokio::time::timeout(within, reached).await.is_ok()
    }

    fn record(&self, received: Received) -> u64 {
        let mut entries = self.entries();
        if entries.received.len() == STAND_IN_JOURNAL_MAX {
            entries.received.pop_front();
            entries.forgotten += 1;
        }
        let place = entries.forgotten + entries.received.len() as u64;
        entries.received.push_back(received);
        self.count.send_replace(place + 1);
        place
    }

    fn answered(&self, place: u64, code: AckCode) {
        let mut entries = self.entries();
        let index = place.checked_sub(entries.forgotten).and_then(|index| usize::try_from(index).ok());
        if let Some(received) = index.and_then(|index| entries.received.get_mut(index)) {
            received.answered = Some(code);
        }
    }

    fn end(&self, ended: Ended) {
        let mut entries = self.entries();
        if entries.ended.len() == STAND_IN_JOURNAL_MAX {
            entries.ended.pop_front();
        }
        entries.ended.push_back(ended);
    }

    /// Locks the entries, poisoned or not: entries are whole after every change, so a panic elsewhere leaves
    /// nothing half-done.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_goes_on_counting_though_it_forgets_the_oldest() {
        let received = |number: usize| Received {
            connection: 0,
            control_id: number.to_string(),
            message_type: String::new(),
            digest: Digest::of(b""),
            bytes: 0,
            answered: None,
        };
        let journal = Journal::default();
        let places: Vec<u64> =
            (0..STAND_IN_JOURNAL_MAX + 2).map(|number| journal.record(received(number))).collect();
        journal.answered(places[1], AckCode::Aa);
        journal.answered(places[2], AckCode::Ae);
        let kept = journal.received();
        assert_eq!(kept.len(), STAND_IN_JOURNAL_MAX);
        assert_eq!((kept[0].control_id.as_str(), kept[0].answered), ("2", Some(AckCode::Ae)));
        assert!(kept.iter().skip(1).all(|received| received.answered.is_none()));
        assert_eq!(journal.count(), STAND_IN_JOURNAL_MAX as u64 + 2);
    }
}
