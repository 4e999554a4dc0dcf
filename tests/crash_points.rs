//! Every write and sync of a gateway's state as a crash point. A process is recorded while it acts on a
//! platform; for each prefix of what it did, the disk is made as a power cut may have left it, and a
//! platform is opened on it: it must hold every act that was acknowledged, and at most the one in flight.
//!
//! ```text
//! cargo test --test crash_points                      all syncs, and a sample of the writes
//! ADIT_TEST_LONG=1 cargo test --test crash_points     every prefix with every loss, of several seeds
//! ADIT_TEST_SEED=7 cargo test --test crash_points     another seed of the acts, the sample and the losses
//! ```
//!
//! The folder itself is taken to be there. `PostgreSQL`'s own files are its own business.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails where it stands, and says what it measured"
)]

#[path = "crash_points/acts.rs"]
mod acts;
#[path = "crash_points/before.rs"]
mod before;
#[path = "crash_points/cuts.rs"]
mod cuts;
#[path = "crash_points/disk.rs"]
mod disk;
#[path = "crash_points/dump.rs"]
mod dump;
#[path = "crash_points/judge.rs"]
mod judge;
#[path = "crash_points/log.rs"]
mod log;
mod memory_folder;
#[path = "crash_points/process.rs"]
mod process;
#[path = "crash_points/recording.rs"]
mod recording;
mod whole_lists;

use std::env;
use std::path::PathBuf;
use std::time::Instant;

use adit_lab::messages::Draws;

use acts::Made;
use before::Before;
use cuts::Tried;
use disk::{DATABASE, Image, LOG, STATE};
use process::Process;
use recording::{FOLDER, Length, RUN, Recording, SEED, SEEN};

/// `SQLite` moves its log into the database when it has so many pages, and begins it again.
const LOG_PAGES_MAX: u64 = 1_000;
const LOG_PAGE_BYTES: u64 = 4_096 + 24;
/// How many acts are drawn once `SQLite` has begun its log again.
const ACTS_AFTERWARDS: usize = 10;
/// Where the key is written before it is moved to its name.
const SEALING_KEY: &str = "state/.sealing.key.new";

fn is_long() -> bool {
    env::var_os("ADIT_TEST_LONG").is_some()
}

/// The seeds of the acts, the sample and the losses.
fn seeds() -> Vec<u64> {
    match env::var(SEED).ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None if is_long() => (1..=3).collect(),
        None => vec![1],
    }
}

/// Does nothing unless [`Recording::make`] started this program.
#[tokio::test]
async fn the_process_that_is_recorded() {
    let (Some(run), Some(folder), Some(seen)) = (env::var_os(RUN), env::var_os(FOLDER), env::var_os(SEEN))
    else {
        return;
    };
    let mut made = Made::default();
    let process = Process::begin(PathBuf::from(folder), PathBuf::from(seen)).await;
    let mut process = acts::one_of_each(process, &mut made).await;
    if run == format!("{:?}", Length::Full).as_str() {
        let mut draws = Draws::new(seeds()[0]);
        while process.log_bytes() < LOG_PAGES_MAX * LOG_PAGE_BYTES {
            acts::any(&mut process, &mut made, &mut draws).await;
        }
        for _ in 0..ACTS_AFTERWARDS {
            acts::any(&mut process, &mut made, &mut draws).await;
        }
    }
    process.end();
}

fn try_all(what: &str, before: &Image, length: Length) {
    for seed in seeds() {
        let begun = Instant::now();
        let recording = Recording::make(before.clone(), length, seed);
        assert!(length == Length::Short || recording.log_restarts() > 0, "the log grew and was never moved");
        let tried = cuts::try_all(&recording, seed, is_long());
        let took = begun.elapsed().as_secs_f64();
        println!(
            "{what}, {SEED}={seed}: {} events, {} acts: {tried}, in {took:.1} s",
            recording.events.len(),
            recording.seen.len()
        );
        tried.assert_none_failed();
    }
}

#[test]
fn a_new_platform_keeps_what_it_acknowledged_at_every_crash_point() {
    try_all("a new platform", &Image::default(), Length::Full);
}

#[test]
fn a_platform_of_0_1_0_keeps_what_it_acknowledged_at_every_crash_point() {
    try_all("closed by 0.1.0", &before::folder(Before::Closed), Length::Short);
}

#[test]
fn a_platform_that_0_1_0_left_in_a_crash_keeps_what_it_acknowledged_at_every_crash_point() {
    try_all("left in a crash by 0.1.0", &before::folder(Before::Crashed), Length::Short);
}

#[test]
fn a_sync_that_is_left_out_is_noticed() {
    let recording = Recording::make(Image::default(), Length::Short, 1);
    recording.try_acknowledged().assert_none_failed();
    for name in [LOG, DATABASE, SEALING_KEY, STATE] {
        let tried = recording.without_syncs_of(name).try_acknowledged();
        println!("without the syncs of {name}: {tried}");
        assert!(tried.failed() > 0, "{name}: {tried}");
    }
}

#[test]
fn one_synced_write_that_is_lost_is_noticed() {
    let recording = Recording::make(Image::default(), Length::Short, 1);
    let mut lost = Tried::default();
    // The last write of the log before an acknowledgement ends a transaction that was acknowledged. Without the
    // first one there is no platform yet, and the same one is made.
    for at in recording.last_writes(LOG).into_iter().skip(1).step_by(5) {
        let without = recording.without_write(at);
        lost.add(without.try_until_acknowledged(at));
    }
    println!("without one write of the log: {lost}");
    assert!(lost.count() > 10, "{lost}");
    assert_eq!(lost.failed(), lost.count(), "{lost}");
}
