//! A sender that behaves as Mirth's TCP Sender does: a connection per message or a kept-open one,
//! answers matched to messages in their order, no message ever sent twice.
//!
//! It reports what became of every message; it judges nothing. After a response timeout a kept-open
//! connection stays in use, so a late answer meets the next message, as it does in Mirth.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::hl7::{self, AckCode, FrameReader};
use super::measure::{Digest, Histogram};
use super::messages::Message;

/// How messages use TCP connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// A new one for every message (Mirth's default). `half_close`: the sender says FIN right after
    /// the message and still waits for its answer.
    PerMessage { half_close: bool },
    /// One for all, with up to `in_flight` messages unanswered (Mirth keeps one). Answers of that
    /// many must fit into the socket buffers: the sender reads none while it writes.
    KeptOpen { in_flight: NonZeroUsize },
}

/// How a message is handed to TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    Whole,
    ByteByByte,
}

/// A sender's settings. Change them with `Sender { response_timeout, ..Sender::to(target) }`.
#[derive(Debug, Clone)]
pub struct Sender {
    pub target: SocketAddr,
    pub connections: Connections,
    pub writing: Writing,
    pub connect_timeout: Duration,
    /// For writing a message, and for each answer.
    pub response_timeout: Duration,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub control_id: String,
    pub digest: Digest,
    pub bytes: usize,
    /// The TCP connection it went on, numbered within the report.
    pub connection: u64,
    pub outcome: SendOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    Answered {
        code: AckCode,
        /// From the first byte written to the last byte of the answer.
        latency: Duration,
    },
    /// The answer named another message.
    Mismatched {
        answer_to: String,
    },
    /// Something came that is no acknowledgement.
    Unreadable,
    TimedOut,
    /// The far side ended the connection in order, without an answer.
    Closed,
    /// The connection was cut.
    Reset,
    /// No connection could be opened.
    NotConnected(io::ErrorKind),
}

/// What became of all messages, in the order each connection sent them.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub sent: Vec<Sent>,
    pub latencies: Histogram,
    /// TCP connections opened or tried.
    pub connections: u64,
    pub took: Duration,
}

impl Sender {
    /// Sends with Mirth's defaults: a connection per message, five seconds to connect and to be answered.
    #[must_use]
    pub const fn to(target: SocketAddr) -> Self {
        Self {
            target,
            connections: Connections::PerMessage { half_close: false },
            writing: Writing::Whole,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
        }
    }

    /// Sends over one connection for all messages, one message unanswered at a time.
    #[must_use]
    pub const fn kept_open(target: SocketAddr) -> Self {
        Self { connections: Connections::KeptOpen { in_flight: NonZeroUsize::MIN }, ..Self::to(target) }
    }

    /// Sends the messages one after the other.
    pub async fn send(&self, messages: impl IntoIterator<Item = Message>) -> Report {
        let started = Instant::now();
        let mut run = Run { sender: self, report: Report::default(), open: None, waiting: VecDeque::new() };
        let in_flight = match self.connections {
            Connections::PerMessage { .. } => 1,
            Connections::KeptOpen { in_flight } => in_flight.get(),
        };
        let mut messages = messages.into_iter();
        loop {
            // Room first, then the message: a source may make it only when it is due.
            while run.waiting.len() >= in_flight {
                run.await_answer().await;
            }
            let Some(message) = messages.next() else { break };
            run.write(&message).await;
        }
        while !run.waiting.is_empty() {
            run.await_answer().await;
        }
        run.report.took = started.elapsed();
        run.report
    }

    /// Sends each of `sources` by a sender of its own, all at once.
    pub async fn send_from_all<S>(&self, sources: impl IntoIterator<Item = S>) -> Report
    where
        S: IntoIterator<Item = Message> + Send + 'static,
        S::IntoIter: Send,
    {
        let started = Instant::now();
        let mut senders = JoinSet::new();
        for source in sources {
            let sender = self.clone();
            senders.spawn(async move { sender.send(source).await });
        }
        let mut all = Report::default();
        for report in senders.join_all().await {
            all.add(report);
        }
        all.took = started.elapsed();
        all
    }
}

impl Report {
    /// Returns the number of messages answered with `AA`.
    #[must_use]
    pub fn accepted(&self) -> usize {
        let accepted = |sent: &&Sent| matches!(sent.outcome, SendOutcome::Answered { code: AckCode::Aa, .. });
        self.sent.iter().filter(accepted).count()
    }

    /// Returns the number of message bytes sent, without frames.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sent.iter().map(|sent| sent.bytes as u64).sum()
    }

    fn add(&mut self, other: Self) {
        let offset = self.connections;
        let renumbered =
            other.sent.into_iter().map(|sent| Sent { connection: sent.connection + offset, ..sent });
        self.sent.extend(renumbered);
        self.latencies.add(&other.latencies);
        self.connections += other.connections;
    }
}

impl fmt::Display for SendOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { code, .. } => write!(f, "answered {code}"),
            Self::Mismatched { answer_to } => write!(f, "answered for another message, {answer_to}"),
            Self::Unreadable => f.write_str("answered with something that is no acknowledgement"),
            Self::TimedOut => f.write_str("not answered in time"),
            Self::Closed => f.write_str("connection closed without an answer"),
            Self::Reset => f.write_str("connection reset without an answer"),
            Self::NotConnected(kind) => write!(f, "not connected: {kind}"),
        }
    }
}

/// One sender at work.
struct Run<'a> {
    sender: &'a Sender,
    report: Report,
    open: Option<Open>,
    /// Written and not answered: their places in the report.
    waiting: VecDeque<Waiting>,
}

struct Open {
    stream: TcpStream,
    reader: FrameReader,
}

struct Waiting {
    place: usize,
    since: Instant,
}

impl Run<'_> {
    async fn write(&mut self, message: &Message) {
        let since = Instant::now();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match self.connect().await {
                Ok(open) => open,
                Err(kind) => return self.note(message, SendOutcome::NotConnected(kind)),
            },
        };
        let framed = hl7::frame(&message.payload);
        let half_close = self.sender.connections == Connections::PerMessage { half_close: true };
        let writing = write(&mut open.stream, self.sender.writing, &framed, half_close);
        let written = timeout(self.sender.response_timeout, writing).await;
        // Until an answer says otherwise.
        self.note(message, SendOutcome::TimedOut);
        self.waiting.push_back(Waiting { place: self.report.sent.len() - 1, since });
        match written {
            Ok(Ok(())) => self.open = Some(open),
            // The message may have been cut short: nothing more can follow it on this connection.
            Err(_) => self.fail(&SendOutcome::TimedOut),
            Ok(Err(_)) => self.fail(&SendOutcome::Reset),
        }
    }

    async fn connect(&mut self) -> Result<Open, io::ErrorKind> {
        self.report.connections += 1;
        let connecting = TcpStream::connect(self.sender.target);
        let stream = match timeout(self.sender.connect_timeout, connecting).await {
            Err(_) => return Err(io::ErrorKind::TimedOut),
            Ok(connected) => connected.map_err(|error| error.kind())?,
        };
        stream.set_nodelay(true).map_err(|error| error.kind())?;
        Ok(Open { stream, reader: FrameReader::default() })
    }

    /// Awaits the answer to the message that waits longest.
    async fn await_answer(&mut self) {
        let Some(open) = &mut self.open else { return self.fail(&SendOutcome::Reset) };
        let answer = timeout(self.sender.response_timeout, read_answer(open)).await;
        match answer {
            Ok(Ok(answer)) => self.record_answer(&answer),
            Ok(Err(cut)) => self.fail(&cut),
            // Already noted; a kept-open connection stays in use.
            Err(_) => drop(self.waiting.pop_front()),
        }
        if matches!(self.sender.connections, Connections::PerMessage { .. }) {
            self.open = None;
        }
    }

    fn record_answer(&mut self, answer: &[u8]) {
        let Some(Waiting { place, since }) = self.waiting.pop_front() else { return };
        let latency = since.elapsed();
        let sent = &mut self.report.sent[place];
        sent.outcome = match hl7::read_acknowledgement(answer) {
            None => SendOutcome::Unreadable,
            Some((code, id)) if id == sent.control_id => {
                self.report.latencies.record(latency);
                SendOutcome::Answered { code, latency }
            }
            Some((_, answer_to)) => SendOutcome::Mismatched { answer_to },
        };
    }

    /// Fails. The connection is of no more use: whatever still waits on it shares its end.
    fn fail(&mut self, outcome: &SendOutcome) {
        self.open = None;
        for Waiting { place, .. } in self.waiting.drain(..) {
            self.report.sent[place].outcome = outcome.clone();
        }
    }

    fn note(&mut self, message: &Message, outcome: SendOutcome) {
        self.report.sent.push(Sent {
            control_id: message.control_id.clone(),
            digest: Digest::of(&message.payload),
            bytes: message.payload.len(),
            connection: self.report.connections - 1,
            outcome,
        });
    }
}

async fn write(stream: &mut TcpStream, writing: Writing, framed: &Bytes, half_close: bool) -> io::Result<()> {
    match writing {
        Writing::Whole => stream.write_all(framed).await?,
        Writing::ByteByByte => {
            for byte in framed {
                stream.write_u8(*byte).await?;
            }
        }
    }
    if half_close { stream.shutdown().await } else { Ok(()) }
}

async fn read_answer(open: &mut Open) -> Result<Bytes, SendOutcome> {
    loop {
        if let Some(answer) = open.reader.poll_message().map_err(|_| SendOutcome::Unreadable)? {
            return Ok(answer);
        }
        match open.stream.read_buf(open.reader.buffer()).await {
            Ok(0) => return Err(SendOutcome::Closed),
            Ok(_) => {}
            Err(_) => return Err(SendOutcome::Reset),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::measure::Differences;
    use crate::messages::{Generator, Kind};
    use crate::mirth::{Behaviour, End, Mirth};

    const LONG: Duration = Duration::from_secs(30);

    async fn mirth(behaviour: Behaviour) -> Mirth {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Mirth::start(listener, behaviour).unwrap()
    }

    #[tokio::test]
    async fn messages_of_many_senders_arrive_in_order_exactly_once() {
        let mirth = mirth(Behaviour::ACCEPT).await;
        let in_flight = NonZeroUsize::new(16).unwrap();
        for sender in [
            Sender::to(mirth.address()),
            Sender {
                connections: Connections::PerMessage { half_close: true },
                ..Sender::to(mirth.address())
            },
            Sender::kept_open(mirth.address()),
            Sender { connections: Connections::KeptOpen { in_flight }, ..Sender::to(mirth.address()) },
            Sender { writing: Writing::ByteByByte, ..Sender::kept_open(mirth.address()) },
        ] {
            let already = mirth.journal().received().len();
            let report = sender.send_from_all((0..8).map(|seed| Generator::new(seed).take(25))).await;
            let received = mirth.journal().received();
            let differences = Differences::between(&report.sent, &received[already..]);
            assert!(differences.none(), "{sender:?}: {differences}");
            assert_eq!((report.accepted(), report.latencies.count()), (200, 200));
        }
        mirth.shutdown().await;
    }

    #[tokio::test]
    async fn a_message_of_twenty_mebibytes_is_answered() {
        let mirth = mirth(Behaviour::ACCEPT).await;
        let messages = Generator::new(1).only(Kind::Document).padded_to(20 * 1024 * 1024).take(1);
        let report = Sender::to(mirth.address()).send(messages).await;
        let differences = Differences::between(&report.sent, &mirth.journal().received());
        assert!(differences.none(), "{differences}");
        assert_eq!(report.bytes(), 20 * 1024 * 1024);
    }

    #[track_caller]
    fn check(report: &Report, expected: &[SendOutcome]) {
        let outcomes: Vec<&SendOutcome> = report.sent.iter().map(|sent| &sent.outcome).collect();
        assert_eq!(outcomes, expected.iter().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn every_way_not_to_answer_is_reported_as_what_it_was() {
        let mirth = mirth(Behaviour::ACCEPT).await;
        let rows = [
            (Behaviour::Silent, SendOutcome::TimedOut),
            (Behaviour::Stall, SendOutcome::TimedOut),
            (Behaviour::CloseUnanswered, SendOutcome::Closed),
            (Behaviour::ResetUnanswered, SendOutcome::Reset),
        ];
        for (seed, (behaviour, expected)) in (0..).zip(rows) {
            mirth.behave(behaviour);
            let response_timeout =
                if expected == SendOutcome::TimedOut { Duration::from_millis(50) } else { LONG };
            let sender = Sender { response_timeout, ..Sender::to(mirth.address()) };
            check(&sender.send(Generator::new(seed).take(1)).await, &[expected]);
        }
    }

    #[tokio::test]
    async fn a_listener_at_its_limit_is_seen_as_closed_or_reset() {
        let mirth = mirth(Behaviour::TurnAway).await;
        let report = Sender::to(mirth.address()).send(Generator::new(1).take(1)).await;
        assert!(matches!(report.sent[0].outcome, SendOutcome::Closed | SendOutcome::Reset), "{report:?}");
        assert_eq!(mirth.journal().count(), 0);
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_is_reported_for_each_message() {
        let stopped = mirth(Behaviour::ACCEPT).await;
        let address = stopped.address();
        stopped.shutdown().await;
        let report = Sender::kept_open(address).send(Generator::new(1).take(2)).await;
        check(&report, &[const { SendOutcome::NotConnected(io::ErrorKind::ConnectionRefused) }; 2]);
    }

    #[tokio::test]
    async fn a_late_answer_meets_the_next_message_on_a_kept_open_connection() {
        let mirth = mirth(Behaviour::Stall).await;
        let sender =
            Sender { response_timeout: Duration::from_millis(50), ..Sender::kept_open(mirth.address()) };
        let messages: Vec<Message> = Generator::new(5).take(2).collect();
        let first = messages[0].control_id.clone();
        let behave = messages.into_iter().enumerate().map(|(number, message)| {
            if number == 1 {
                mirth.behave(Behaviour::ACCEPT);
            }
            message
        });
        let report = sender.send(behave).await;
        check(&report, &[SendOutcome::TimedOut, SendOutcome::Mismatched { answer_to: first }]);
    }

    #[tokio::test]
    async fn a_rejected_message_is_reported_with_its_code_instead_of_repeated() {
        let mirth = mirth(Behaviour::Acknowledge { code: AckCode::Ar, after: Duration::ZERO }).await;
        let report = Sender::kept_open(mirth.address()).send(Generator::new(1).take(3)).await;
        assert_eq!(report.accepted(), 0);
        let received = mirth.journal().received();
        assert_eq!(received.len(), 3);
        let differences = Differences::between(&report.sent, &received);
        assert!(differences.only_refusals() && differences.not_accepted.len() == 3, "{differences}");
    }

    #[tokio::test]
    async fn a_receiver_tells_an_end_from_a_cut_inside_a_message() {
        let mirth = mirth(Behaviour::ACCEPT).await;
        let mut ends = Vec::new();
        for linger in [None, Some(Duration::ZERO)] {
            let mut stream = TcpStream::connect(mirth.address()).await.unwrap();
            let framed = hl7::frame(b"MSH|^~\\&|");
            stream.write_all(&framed).await.unwrap();
            // The answer proves that what came before the cut was read.
            let mut open = Open { stream, reader: FrameReader::default() };
            read_answer(&mut open).await.unwrap();
            open.stream.write_all(b"\x0bMSH").await.unwrap();
            socket2::SockRef::from(&open.stream).set_linger(linger).unwrap();
            drop(open);
            let before = ends.len();
            tokio::time::timeout(LONG, async {
                while ends.len() == before {
                    tokio::task::yield_now().await;
                    ends = mirth.journal().ended();
                }
            })
            .await
            .unwrap();
        }
        let how: Vec<End> = ends.iter().map(|ended| ended.how).collect();
        assert_eq!(how, [End::Finished, End::Reset]);
        assert_eq!(ends[0].unfinished_bytes, 4);
    }
}
