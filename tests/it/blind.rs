//! What the gateway relays it cannot read: neither what passes its socket nor its memory holds what
//! the programs said, while the memory of the agent that carries it does.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::sync_channel;

use adit_core::domain::connection::Protocol;
use adit_core::domain::path::PathKind;
use adit_lab::messages::Draws;
use adit_lab::shim::Direction;
use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::join;
use tokio::time::timeout;

use super::lab::{HANG_LIMIT, Part, draws, eventually};
use super::wan::Wan;
use super::wire::{Wire, listener};

/// Repeated all over the payload.
const MARKER_BYTES: usize = 32;
const PAYLOAD_BYTES: usize = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_relays_what_it_cannot_read() {
    let listener = listener().await;
    let targets = [(Protocol::Tcp, listener.local_addr().unwrap())];
    let wan = Wan::forced(&targets, PathKind::Relay, 111).await;
    wan.lab.takes_path(0, PathKind::Relay).await;
    let marker = marker(&mut draws(112));
    let payload = marker.repeat(PAYLOAD_BYTES / MARKER_BYTES);
    let capture = Capture::start(&wan);
    let Wire { mut source, mut target } = Wire::open(wan.lab.port(0), &listener).await;
    let mut read = vec![0; PAYLOAD_BYTES];
    let (written, arrived) =
        timeout(HANG_LIMIT, async { join!(source.write_all(&payload), target.read_exact(&mut read)) })
            .await
            .expect("the payload arrives");
    written.unwrap();
    arrived.unwrap();
    assert!(read == payload, "what was read is what was written");

    let captured = capture.end();
    println!("{} bytes passed the gateway's socket", captured.len());
    assert!(captured.len() > PAYLOAD_BYTES, "the payload went through the gateway");
    assert!(Finder::new(&marker).find(&captured).is_none(), "the marker passed the gateway in clear");

    // Written and not read: the agents hold it while their memory is looked at, so that the look can
    // fail.
    let held = tokio::spawn(async move { source.write_all(&payload).await });
    for part in [Part::A, Part::B] {
        let times = eventually("the marker is in an agent's memory", async || {
            Some(occurrences(wan.lab.pid(part), &marker)).filter(|times| *times > 0)
        })
        .await;
        println!("the marker is {times} times in the memory of {part:?}");
    }
    let gateway = wan.lab.pid(Part::Gateway);
    assert_eq!(occurrences(gateway, &marker), 0, "the marker is in the gateway's memory");
    // Its memory was really looked at: what it must know is found.
    assert!(occurrences(gateway, b"lab.adit.test") > 0);
    held.abort();
}

fn marker(draws: &mut Draws) -> Vec<u8> {
    std::iter::repeat_with(|| draws.next().to_ne_bytes()).flatten().take(MARKER_BYTES).collect()
}

/// Everything between the agents and the gateway.
struct Capture<'a> {
    wan: &'a Wan,
    packets: std::sync::mpsc::Receiver<Vec<u8>>,
}

/// Of the packets of twice the payload this is many times the number.
const PACKETS_CAPTURED_MAX: usize = 200_000;

impl<'a> Capture<'a> {
    fn start(wan: &'a Wan) -> Self {
        let (seen, packets) = sync_channel(PACKETS_CAPTURED_MAX);
        for uplink in &wan.uplinks {
            let seen = seen.clone();
            uplink.tap(Box::new(move |_: Direction, packet| {
                seen.try_send(packet.to_vec()).expect("the capture has room");
            }));
        }
        Self { wan, packets }
    }

    fn end(self) -> Vec<u8> {
        for uplink in &self.wan.uplinks {
            uplink.tap(Box::new(|_, _| {}));
        }
        self.packets.try_iter().flatten().collect()
    }
}

/// How often `needle` is in the readable memory of a process.
fn occurrences(pid: u32, needle: &[u8]) -> usize {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let finder = Finder::new(needle);
    let mut found = 0;
    for (start, end) in maps.lines().filter_map(readable) {
        let mut image = vec![0; usize::try_from(end - start).unwrap()];
        let mut at = 0;
        while at < image.len() {
            // A page that the process gave back meanwhile, or the kernel keeps to itself, is skipped.
            at += match memory.read_at(&mut image[at..], start + at as u64) {
                Ok(length) if length > 0 => length,
                _ => PAGE_BYTES,
            };
        }
        found += finder.find_iter(&image).count();
    }
    found
}

const PAGE_BYTES: usize = 4_096;

/// The addresses of a line of `/proc/PID/maps` that the process may read.
fn readable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    rest.starts_with('r').then_some((address(start)?, address(end)?))
}
