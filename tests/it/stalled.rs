//! Promise I5: a receiver that stops reading stops only itself, and costs bounded memory.

use std::time::{Duration, Instant};

use adit_core::domain::connection::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::lab::{HANG_LIMIT, Lab, Part};
use super::wire::listener;

const STALLED: usize = 256;
const MEBIBYTE: usize = 1024 * 1024;
/// What all stalled streams together may hold in both agents.
const RESIDENT_MAX: u64 = 256 * MEBIBYTE as u64;
const STALLS: u8 = b'S';
const BUSY: u8 = b'B';

/// Reads nothing of connections that begin with `STALLS`; drains others and answers their length.
async fn serve(listener: TcpListener) {
    let mut never_read = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        match stream.read_u8().await {
            Ok(STALLS) => never_read.push(stream),
            Ok(_) => drop(tokio::spawn(drain(stream))),
            // A probe.
            Err(_) => {}
        }
    }
}

async fn drain(mut stream: TcpStream) {
    let mut block = vec![0; 256 * 1024];
    let mut drained = 0_u64;
    while let Ok(count @ 1..) = stream.read(&mut block).await {
        drained += count as u64;
    }
    stream.write_u64(drained).await.unwrap();
}

/// Sends so much on a connection that the far end drains, and gives how long that took.
async fn busy(lab: &Lab, bytes: usize) -> Duration {
    let started = Instant::now();
    let mut stream = TcpStream::connect(lab.port(0)).await.unwrap();
    stream.write_u8(BUSY).await.unwrap();
    let block = vec![7; MEBIBYTE];
    for _ in 0..bytes / MEBIBYTE {
        timeout(HANG_LIMIT, stream.write_all(&block)).await.expect("the busy stream moves").unwrap();
    }
    stream.shutdown().await.unwrap();
    let drained = timeout(HANG_LIMIT, stream.read_u64()).await.expect("the busy stream ends").unwrap();
    assert_eq!(drained, bytes as u64);
    started.elapsed()
}

/// The quickest of some runs: what the machine does besides only ever slows them.
async fn best_of_several(lab: &Lab, bytes: usize) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..6 {
        best = best.min(busy(lab, bytes).await);
    }
    best
}

/// A stream whose receiver does not read.
async fn stall(lab: &Lab) -> TcpStream {
    let mut stream = TcpStream::connect(lab.port(0)).await.unwrap();
    stream.write_u8(STALLS).await.unwrap();
    stream
}

async fn fill(stalled: &mut [TcpStream]) -> usize {
    let block = vec![9; MEBIBYTE];
    let mut written = 0;
    let mut idle_rounds = 0;
    // Full is full: nothing goes in anywhere, several times in a row.
    while idle_rounds < 10 {
        let mut moved = 0;
        for stream in stalled.iter_mut() {
            moved += stream.try_write(&block).unwrap_or(0);
        }
        written += moved;
        idle_rounds = if moved == 0 { idle_rounds + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_stalled_receivers_cost_neither_the_busy_one_speed_nor_the_agents_memory() {
    let listener = listener().await;
    let lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let server = tokio::spawn(serve(listener));
    let bytes = 64 * MEBIBYTE;
    let alone = best_of_several(&lab, bytes).await;

    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(stall(&lab).await);
    }
    let held = fill(&mut stalled).await;
    lab.entry_becomes(Part::B, 0, "all stalled streams are open", |e| e.streams >= STALLED).await;
    let beside = best_of_several(&lab, bytes).await;
    let [a, b] = [Part::A, Part::B].map(|part| lab.resident_bytes(part));
    println!(
        "{STALLED} stalled streams took {} MiB; throughput beside them is {:.0} % of alone ({:.0} MB/s); \
         resident: A {} MiB, B {} MiB",
        held / MEBIBYTE,
        100.0 * alone.as_secs_f64() / beside.as_secs_f64(),
        f64::from(u32::try_from(bytes).unwrap()) / 1e6 / alone.as_secs_f64(),
        a / MEBIBYTE as u64,
        b / MEBIBYTE as u64,
    );
    assert!(a + b <= RESIDENT_MAX, "the agents hold {} MiB", (a + b) / MEBIBYTE as u64);
    server.abort();
}
