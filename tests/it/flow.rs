//! Bytes in both directions of one TCP connection through the tunnel for as long as a test makes
//! trouble, compared at the end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit_lab::messages::Draws;
use aws_lc_rs::digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::lab::{HANG_LIMIT, eventually};
use super::wire::Wire;

const CHUNK_BYTES: usize = 16 * 1024;
/// Some megabytes a second: under way at every moment, and no load.
const CHUNK_EVERY: Duration = Duration::from_millis(10);

const PIECE_BYTES: u64 = 16 * 1024 * 1024;

/// How fast a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Steady,
    /// As fast as it is taken.
    Bulk,
}

pub(crate) struct Flow {
    shared: Arc<Shared>,
    there: JoinHandle<Carried>,
    back: JoinHandle<Carried>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    /// Read at the target, read at the source.
    read: [AtomicU64; 2],
}

/// One direction, after its end.
#[derive(Debug)]
pub(crate) struct Carried {
    pub bytes: u64,
    pub took: Duration,
    /// The longest its reader waited for the next byte.
    pub longest_gap: Duration,
}

impl Flow {
    /// Connects to `port` and finds the other end at `listener`.
    pub(crate) async fn start(port: SocketAddr, listener: &TcpListener, pace: Pace, seed: u64) -> Self {
        let Wire { source, target } = Wire::open(port, listener).await;
        let shared = Arc::new(Shared::default());
        let (from_source, to_source) = halves(source);
        let (from_target, to_target) = halves(target);
        let start = |reader, writer, direction, seed| {
            tokio::spawn(carry(reader, writer, pace, Draws::new(seed), direction, Arc::clone(&shared)))
        };
        let there = start(from_target, to_source, 0, seed);
        let back = start(from_source, to_target, 1, !seed);
        Self { shared, there, back }
    }

    /// Waits until bytes arrive in both directions.
    pub(crate) async fn moves(&self) {
        self.carries(1).await;
    }

    /// Waits until so many more bytes have arrived in both directions.
    pub(crate) async fn carries(&self, bytes: u64) {
        let read = || [0, 1].map(|direction| self.shared.read[direction].load(Ordering::Relaxed));
        let before = read();
        let mut goal = 0;
        while goal < bytes {
            // However many they are: what may not take long is a piece of them.
            goal = bytes.min(goal + PIECE_BYTES);
            eventually(&format!("{goal} bytes arrive in both directions"), async || {
                read().iter().zip(before).all(|(read, before)| *read >= before + goal).then_some(())
            })
            .await;
        }
    }

    /// Ends both directions in order; fails unless all that was written was read, unchanged, and
    /// followed by FIN.
    pub(crate) async fn finish(self) -> [Carried; 2] {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let both = async { [self.there.await.unwrap(), self.back.await.unwrap()] };
        timeout(HANG_LIMIT, both).await.expect("both directions end")
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, took, longest_gap } = self;
        write!(f, "{bytes} bytes in {took:.1?}, at most {longest_gap:.2?} without any")
    }
}

fn halves(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    stream.set_nodelay(true).unwrap();
    stream.into_split()
}

/// One direction from the program that writes to the one that reads.
async fn carry(
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    pace: Pace,
    draws: Draws,
    direction: usize,
    shared: Arc<Shared>,
) -> Carried {
    let started = Instant::now();
    let (written, (read, longest_gap)) =
        tokio::join!(write(writer, pace, draws, &shared.stopping), read(reader, &shared.read[direction]));
    assert_eq!(read, written, "what was read is what was written");
    Carried { bytes: read.1, took: started.elapsed(), longest_gap }
}

/// SHA-256 and length.
type Sum = (Vec<u8>, u64);

async fn write(mut writer: OwnedWriteHalf, pace: Pace, mut draws: Draws, stopping: &AtomicBool) -> Sum {
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut bytes = 0;
    let mut ticks = interval(CHUNK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut chunk = vec![0; CHUNK_BYTES];
    while !stopping.load(Ordering::Relaxed) {
        if pace == Pace::Steady {
            ticks.tick().await;
        }
        for word in chunk.chunks_exact_mut(8) {
            word.copy_from_slice(&draws.next().to_ne_bytes());
        }
        writer.write_all(&chunk).await.expect("the connection lives");
        digest.update(&chunk);
        bytes += chunk.len() as u64;
    }
    writer.shutdown().await.expect("the connection lives");
    (digest.finish().as_ref().to_vec(), bytes)
}

/// To the FIN.
async fn read(mut reader: OwnedReadHalf, total: &AtomicU64) -> (Sum, Duration) {
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; 4 * CHUNK_BYTES];
    let mut longest_gap = Duration::ZERO;
    loop {
        let since = Instant::now();
        let length = reader.read(&mut chunk).await.expect("the connection lives");
        if length == 0 {
            break;
        }
        longest_gap = longest_gap.max(since.elapsed());
        digest.update(&chunk[..length]);
        total.fetch_add(length as u64, Ordering::Relaxed);
    }
    ((digest.finish().as_ref().to_vec(), total.load(Ordering::Relaxed)), longest_gap)
}
