//! What the pure code costs that every packet passes through: nanoseconds a call, medians of equal
//! batches.
//!
//!     cargo bench -p adit-benches --bench codec -- [--once]
//!
//! `--once` runs every loop briefly, to show that it works; its figures mean nothing.

#![expect(clippy::print_stdout, reason = "a bench speaks to people on the terminal")]

mod timer;

use std::hint::black_box;
use std::time::{Duration, Instant};

use adit_agent::measurements::PassingCounts;
use adit_core::domain::id::{BootId, RouteId};
use adit_core::domain::limits::PROBE_BYTES_MAX;
use adit_core::domain::secret::Secret;
use adit_core::protocol;
use adit_core::protocol::frame::{Decoder, TunnelFrame};
use adit_core::protocol::mllp::{MllpEvent, MllpObserver};
use adit_core::protocol::packet::{Claim, PROBE_BYTES_MIN, Packet, PacketKey, PacketKind, quic_route};
use adit_lab::hl7::{self, AckCode};
use adit_lab::messages::{Generator, Kind};

use timer::Timer;

fn main() {
    let once = std::env::args().any(|argument| argument == "--once");
    let timer = Timer::new(once);
    println!("| | ns a call | GB/s |\n|---|---:|---:|");
    routes(&timer);
    packets(&timer);
    frames(&timer);
    observer(&timer);
    measurements(&timer);
    println!("codec: all loops ran{}", if once { ", briefly: the figures mean nothing" } else { "" });
}

fn routes(timer: &Timer) {
    let mut long = vec![0xc3, 0, 0, 0, 1, 20];
    long.resize(1_200, 7);
    let short = [0x45; 1_452];
    run(timer, "quic_route, long header", None, || quic_route(black_box(&long)));
    run(timer, "quic_route, short header", None, || quic_route(black_box(&short)));
}

fn packets(timer: &Timer) {
    let key = PacketKey::of_connection(&Secret::from_bytes([7; 32]));
    let other_key = PacketKey::of_connection(&Secret::from_bytes([8; 32]));
    for length in [PROBE_BYTES_MIN, PROBE_BYTES_MAX] {
        let probe = Packet {
            kind: PacketKind::Probe,
            destination: RouteId::from_bytes([1; 8]),
            source: RouteId::from_bytes([2; 8]),
            boot: BootId::from_bytes([3; 8]),
            nonce: [4; 16],
            length,
        };
        let mut buffer = [0; PROBE_BYTES_MAX];
        run(timer, &format!("probe of {length} bytes, seal"), Some(length), || {
            key.seal(black_box(&probe), &mut buffer).len()
        });
        let sealed = buffer[..length].to_vec();
        run(timer, &format!("probe of {length} bytes, open"), Some(length), || key.open(black_box(&sealed)));
        if length == PROBE_BYTES_MIN {
            run(timer, "probe, claim read", None, || Claim::read(black_box(&sealed)));
            run(timer, "probe, refused for its key", None, || other_key.open(black_box(&sealed)));
        }
    }
}

fn frames(timer: &Timer) {
    let mut wire = Vec::new();
    TunnelFrame::Credit { stream: 4_004, limit: 12_345_678 }.encode(&mut wire);
    let mut decoder = Decoder::default();
    run(timer, "credit frame, decode", Some(wire.len()), || {
        decoder.extend(black_box(&wire));
        decoder.next_frame()
    });
}

fn observer(timer: &Timer) {
    let now = Instant::now();
    for (name, bytes) in [("1 KiB", 1024), ("64 KiB", 64 * 1024), ("20 MiB", 20 * 1024 * 1024)] {
        let message = Generator::new(1).only(Kind::Document).padded_to(bytes).next_message();
        let framed = hl7::frame(&message.payload);
        let answer = hl7::frame(&hl7::acknowledge(&message.payload, AckCode::Aa, "A1", "20260101000000"));
        let mut observer = MllpObserver::new();
        let (mut calls, mut messages, mut answers) = (0_u64, 0, 0);
        let mut count = |event| match event {
            MllpEvent::Message { .. } => messages += 1,
            MllpEvent::Ack { .. } => answers += 1,
            MllpEvent::Off { why } => unreachable!("the message is MLLP: {why}"),
        };
        run(timer, &format!("MLLP observer, message of {name} and its answer"), Some(framed.len()), || {
            // As the splice hands it over: in pieces of what one read gives.
            for piece in black_box(&framed).chunks(64 * 1024) {
                observer.request(piece, now, &mut count);
            }
            calls += 1;
            observer.response(black_box(&answer), now, &mut count);
        });
        // Speed without sight would be worth nothing.
        assert_eq!((messages, answers), (calls, calls), "one event for each message and each answer");
    }
}

/// What an acknowledgement costs that is counted for the sums of a minute.
fn measurements(timer: &Timer) {
    let (counts, mut micros) = (PassingCounts::default(), 0);
    run(timer, "measurement, an acknowledgement counted", None, || {
        // Over all sizes, as a branch would be foreseen.
        micros = (micros + 7_919) & 0xf_ffff;
        counts
            .note_ack(black_box(protocol::mllp::AckCode::Aa), Some(black_box(Duration::from_micros(micros))));
    });
}

/// Times `call` and prints its line; `bytes` is what one call passes over.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn run<T>(timer: &Timer, name: &str, bytes: Option<usize>, call: impl FnMut() -> T) {
    let median = timer.nanoseconds(call);
    let speed = bytes.map_or_else(|| "–".into(), |bytes| format!("{:.2}", bytes as f64 / median));
    println!("| {name} | {median:.1} | {speed} |");
}
