//! What runs over a network while the test changes it: HL7 messages and one bulk transfer, and the judgement
//! of what became of them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit_lab::measure::{Differences, Histogram};
use adit_lab::messages::{Draws, Generator, Message};
use adit_lab::mirth::Mirth;
use adit_lab::sender::{Report, Sender};
use aws_lc_rs::digest;

use crate::lab::{HANG_LIMIT, is_long};
use crate::two_hosts::host::Host;

/// Where each host's Mirth is, and what listens for the bulk transfer.
pub(super) const MESSAGES_AT: &str = "127.0.0.1:6661";
pub(super) const BULK_AT: &str = "127.0.0.1:6671";
const SENDERS: usize = 8;
const PIECE_BYTES: usize = 64 * 1024;

/// How much is exchanged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount {
    pub messages: usize,
    pub bulk_bytes: usize,
}

impl Amount {
    /// What an issue names, ten times as much with full counts.
    pub(super) fn of_run() -> Self {
        let times = if is_long() { 10 } else { 1 };
        Self { messages: 2_000 * times, bulk_bytes: 50_000_000 * times }
    }
}

/// Under way.
pub(super) struct Exchange {
    amount: Amount,
    messages: Vec<JoinHandle<Report>>,
    sending: JoinHandle<Echo>,
    receiving: JoinHandle<Received>,
}

/// What the bulk transfer's receiver saw.
struct Received {
    bytes: usize,
    digest: Vec<u8>,
    longest_gap: Duration,
}

/// What its sender sent, and what it was told at the end.
struct Echo {
    digest: Vec<u8>,
    told: Vec<u8>,
    took: Duration,
}

impl Exchange {
    /// Begins on both hosts; with a pace, the bulk transfer takes at least so long.
    pub(super) fn begin(
        from: &Host,
        to: &TcpListener,
        amount: Amount,
        seed: u64,
        at_least: Duration,
    ) -> Self {
        let to = to.try_clone().unwrap();
        let receiving = std::thread::spawn(move || receive(&to, amount.bulk_bytes));
        let each = amount.messages / SENDERS;
        let pause = at_least / u32::try_from(each).unwrap();
        let messages = (0..SENDERS as u64).map(|number| {
            let messages = Generator::new(seed * 100 + number).take(each);
            from.begins(move || send_messages(messages, pause))
        });
        let messages = messages.collect();
        let sending = from.begins(move || send_bulk(amount.bulk_bytes, seed, at_least));
        Self { amount, messages, sending, receiving }
    }

    /// Waits for the end; nothing may be missing, doubled, changed, invented or cut. `before`: messages that
    /// had come when it began.
    pub(super) async fn ends_whole(self, what: &str, mirth: &Mirth, before: usize) {
        let Self { amount, messages, sending, receiving } = self;
        let joining = move || {
            let reports: Vec<_> = messages.into_iter().map(|sender| sender.join().unwrap()).collect();
            (reports, sending.join().unwrap(), receiving.join().unwrap())
        };
        let (reports, echo, received) = tokio::task::spawn_blocking(joining).await.unwrap();
        let sent: Vec<_> = reports.iter().flat_map(|report| report.sent.clone()).collect();
        let accepted: usize = reports.iter().map(Report::accepted).sum();
        let mut latencies = Histogram::default();
        for report in &reports {
            latencies.add(&report.latencies);
        }
        let arrived = mirth.journal().received();
        let differences = Differences::between(&sent, &arrived[before..]);
        assert!(differences.none(), "{what}: {differences}");
        assert_eq!(accepted, amount.messages, "{what}: each message is accepted");
        assert!(reports.iter().all(|report| report.connections == 1), "{what}: no connection broke");
        assert_eq!(received.bytes, amount.bulk_bytes, "{what}: all bytes came");
        assert_eq!(
            (&received.digest, &echo.told),
            (&echo.digest, &echo.digest),
            "{what}: the bytes that were sent"
        );
        println!(
            "{what}: {} messages, {:?}; {} MB in {:.1} s, longest gap {:.2} s",
            amount.messages,
            latencies,
            amount.bulk_bytes / 1_000_000,
            echo.took.as_secs_f64(),
            received.longest_gap.as_secs_f64(),
        );
    }
}

/// Sends one after the other, each when it is due.
fn send_messages(messages: impl Iterator<Item = Message>, pause: Duration) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sender = Sender {
        connect_timeout: HANG_LIMIT,
        response_timeout: HANG_LIMIT,
        ..Sender::kept_open(MESSAGES_AT.parse().unwrap())
    };
    let started = Instant::now();
    // The sender asks for a message when it has room for it; nothing else runs on this thread.
    let paced = messages.zip(0_u32..).map(|(message, place)| {
        std::thread::sleep((pause * place).saturating_sub(started.elapsed()));
        message
    });
    runtime.block_on(sender.send(paced))
}

fn send_bulk(bytes: usize, seed: u64, at_least: Duration) -> Echo {
    let mut stream = TcpStream::connect(BULK_FROM.parse::<SocketAddr>().unwrap()).unwrap();
    let (started, mut draws) = (Instant::now(), Draws::new(seed));
    let mut context = digest::Context::new(&digest::SHA256);
    let mut left = bytes;
    while left > 0 {
        let mut piece = vec![0; PIECE_BYTES.min(left)];
        for eight in piece.chunks_mut(8) {
            eight.copy_from_slice(&draws.next().to_le_bytes()[..eight.len()]);
        }
        left -= piece.len();
        context.update(&piece);
        stream.write_all(&piece).unwrap();
        let sent = bytes - left;
        let pieces = |bytes: usize| u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap();
        let due = at_least * pieces(sent) / pieces(bytes);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).unwrap();
    Echo { digest: context.finish().as_ref().to_vec(), told, took: started.elapsed() }
}

/// Where the sending side's agent listens for it.
pub(super) const BULK_FROM: &str = "127.0.0.1:6672";

fn receive(listener: &TcpListener, expected: usize) -> Received {
    // The agent probes it, with connections that say nothing.
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut context = digest::Context::new(&digest::SHA256);
        let (mut bytes, mut longest_gap, mut last) = (0, Duration::ZERO, None::<Instant>);
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    let now = Instant::now();
                    longest_gap = longest_gap.max(last.map_or(Duration::ZERO, |last| now - last));
                    last = Some(now);
                    bytes += read;
                    context.update(&buffer[..read]);
                }
            }
        }
        if bytes > 0 {
            let digest = context.finish().as_ref().to_vec();
            if bytes == expected {
                stream.write_all(&digest).unwrap();
            }
            return Received { bytes, digest, longest_gap };
        }
    }
}
