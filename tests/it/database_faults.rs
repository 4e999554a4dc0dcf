//! A database that is away, paused, restarted, full or followed by another: tunnels and links live on, every act is
//! done once or not at all and says which, and everything comes back by itself.
//!
//! Real servers, real processes; the acts' load is in `load`, what runs beside it in `stage`.

mod disk;
mod load;
mod server;
mod sqlite;
mod stage;
mod switch;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use self::disk::Disk;
use self::load::Load;
use self::server::Server;
use self::stage::{Stage, lines, refused, tried, written_on};
use self::switch::Switch;
use super::lab::{Part, eventually, is_long};

/// An agent hears that the database is away once the gateway knows: at most so long after it answered last.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// And that it is back, after it answers again.
const BACK_WITHIN: Duration = Duration::from_secs(12);
/// Lines of the gateway's log for one fault: that it is away, that it is back, and room for one more of each.
const LINES_MAX: usize = 4;

/// What the gateway says of agents that come, whatever its database does.
const OF_AGENTS: [&str; 2] = ["agent connected", "an agent refused a peer"];

/// What the gateway's log says of the database.
fn about_database(stage: &Stage) -> Vec<String> {
    let mut lines = stage.gateway_lines();
    lines.retain(|line| !line.contains(" INFO ") || line.contains("database"));
    lines.retain(|line| !OF_AGENTS.iter().any(|text| line.contains(text)));
    lines
}

/// Fails unless the log tells of the faults, in at most so many lines.
fn says_little(stage: &Stage, faults: usize) {
    let about = says_no_more(stage, faults);
    assert!(about > 0, "the log tells of {faults} faults");
}

/// Fails unless the log has at most so many lines of the faults; returns how many. A gateway that had nothing to write
/// meanwhile has found none.
fn says_no_more(stage: &Stage, faults: usize) -> usize {
    let about = about_database(stage);
    let all = stage.gateway_lines().len();
    println!("{all} lines of the gateway's log, {} of them about {faults} faults", about.len());
    assert!(about.len() <= faults * LINES_MAX, "{about:#?}");
    about.len()
}

/// Waits until acts are done and heard of again; returns the time since `from` and how long the word took.
async fn is_back(stage: &Stage, load: &Load, from: Instant) -> (Duration, Duration) {
    stage.told_away(false).await;
    let done = load.done();
    eventually("acts are done again", async || (load.done() > done).then_some(())).await;
    let back = from.elapsed();
    let word = stage.hears_of("pause", "Paused").await.max(stage.hears_of("resume", "Active").await);
    stage.goes_on().await;
    (back, word)
}

/// A gateway's database server whose disk is full refuses what needs room, and links live.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_server_without_room_serves_again_once_there_is_some() {
    let Some(disk) = Disk::mount(220) else { return };
    let folder = disk.folder().join("server");
    let server = Server::start_in(folder);
    let url = server.database("platform").await;
    let stage = Stage::on(&url).await;
    disk.fill();
    let (made, (said, took)) = until_refused(&stage).await;
    println!("{made} organizations fitted; then, after {took:?}: {said}");
    assert!(took < load::ANSWERED_WITHIN, "{took:?}");
    assert!(said.contains("make room on its disk") || said.contains("check that it runs"), "{said}");
    stage.goes_on().await;
    disk.make_room();
    if !server.is_running() {
        // One that could not write its own log ends; that it runs is its operator's affair.
        println!("the server had ended, and is started again");
        server.start_again();
    }
    stage.told_away(false).await;
    stage.lab.admin(&["org", "add", "Once There Is Room"]).await;
    says_no_more(&stage, 2);
    stage.finish().await;
}

/// Makes organizations until one is refused; returns how many were made.
async fn until_refused(stage: &Stage) -> (usize, (String, Duration)) {
    let config = stage.lab.config(Part::Gateway);
    for made in 0..2_000 {
        let name = format!("Fills The Disk {made}");
        match tried(&config, &["org", "add", &name]).await {
            (Ok(()), _) => {}
            (Err(said), took) => return (made, (said, took)),
        }
    }
    panic!("the disk is never full");
}

/// What the rounds measured.
#[derive(Debug, Default)]
struct Measured {
    told: Vec<Duration>,
    back: Vec<Duration>,
    word: Vec<Duration>,
}

impl Measured {
    fn note(&mut self, (back, word): (Duration, Duration)) {
        self.back.push(back);
        self.word.push(word);
    }

    fn print(&self, what: &str) {
        for (name, times) in
            [("told away", &self.told), ("all back", &self.back), ("an act heard of", &self.word)]
        {
            let mut times = times.clone();
            times.sort();
            let (Some(longest), middle) = (times.last(), times.get(times.len() / 2)) else { continue };
            println!(
                "{what}: {name} after {:?} (median of {}), {longest:?} at most",
                middle.unwrap(),
                times.len()
            );
        }
        let longest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
        assert!(longest(&self.told) < TOLD_WITHIN && longest(&self.back) < BACK_WITHIN, "{what}: {self:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_killed_stopped_or_restarted_under_load_loses_nothing() {
    let (rounds, stopped_for) =
        if is_long() { (50, Duration::from_secs(30)) } else { (2, Duration::from_secs(6)) };
    let server = Server::start();
    let url = server.database("platform").await;
    let stage = Stage::on(&url).await;
    let load = Load::start(&stage.lab.state(Part::Gateway), &stage.lab.config(Part::Gateway), &url).await;
    let [mut killed, mut stopped, mut restarted] = [(); 3].map(|()| Measured::default());
    for _ in 0..rounds {
        server.kill().await;
        killed.told.push(stage.told_away(true).await);
        stage.goes_on().await;
        server.start_again();
        killed.note(is_back(&stage, &load, Instant::now()).await);

        server.pause();
        let asked = Instant::now();
        if stopped_for > TOLD_WITHIN {
            stopped.told.push(stage.told_away(true).await);
        }
        stage.goes_on().await;
        sleep(stopped_for.saturating_sub(asked.elapsed())).await;
        server.resume();
        stopped.note(is_back(&stage, &load, Instant::now()).await);

        server.stop("fast");
        server.start_again();
        restarted.note(is_back(&stage, &load, Instant::now()).await);
        stage.is_untouched().await;
    }
    killed.print("killed");
    stopped.print(&format!("stopped for {stopped_for:?}"));
    restarted.print("restarted");
    load.judge(&url).await;
    says_little(&stage, 3 * rounds);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_takes_over_has_every_act_that_was_made() {
    let first = Server::start();
    first.run("CREATE DATABASE platform").await;
    let second = Server::following(&first).await;
    let switch = Switch::to(first.port()).await;
    let url = switch.url("platform");
    let stage = Stage::on(&url).await;
    let load = Load::start(&stage.lab.state(Part::Gateway), &stage.lab.config(Part::Gateway), &url).await;
    let begun = load.done();
    eventually("acts are done", async || (load.done() > begun + 20).then_some(())).await;

    first.kill().await;
    let asked = Instant::now();
    // It answers, and takes nothing yet; what it shows may be older than what was told.
    switch.turn(second.port());
    println!("told that the database is away after {:?}", stage.told_away(true).await);
    sleep(Duration::from_secs(3).saturating_sub(asked.elapsed())).await;
    assert!(stage.is_told_away().await, "one that follows is no database");
    stage.goes_on().await;
    second.promote().await;
    let (back, word) = is_back(&stage, &load, Instant::now()).await;
    println!("all back after {back:?}, an act heard of after {word:?}");
    assert!(back < BACK_WITHIN, "{back:?}");
    load.judge(&second.url("platform")).await;
    says_little(&stage, 1);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_that_no_database_serves_end_in_time_with_what_to_do() {
    let server = Server::start();
    let url = server.database("platform").await;
    let stage = Stage::on(&url).await;
    let config = stage.lab.config(Part::Gateway);
    let add = ["org", "add", "Never Made"];
    server.kill().await;
    let (said, took) = refused(&config, &add).await;
    println!("dead, after {took:?}: {said}");
    assert!(said.contains("check that it runs") && took < load::ANSWERED_WITHIN, "{said}");
    stage.told_away(true).await;
    server.start_again();
    stage.told_away(false).await;
    server.pause();
    let (said, took) = refused(&config, &add).await;
    println!("stopped, after {took:?}: {said}");
    assert!(said.contains("check that it runs") && took < load::ANSWERED_WITHIN, "{said}");
    println!("told that it is away {:?} later", stage.told_away(true).await);
    server.resume();
    stage.told_away(false).await;
    stage.lab.admin(&add).await;
    says_little(&stage, 2);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_started_while_its_database_is_away_waits_for_it() {
    let server = Server::start();
    let mut written = written_on(&server.database("platform").await).await;
    let lab = &mut written.lab;
    server.stop("immediate");
    lab.start(Part::Gateway);
    lab.logs(Part::Gateway, "database is away").await;
    // In which it is asked several times.
    sleep(Duration::from_secs(8)).await;
    let lines = lines(lab);
    let away = lines.iter().filter(|line| line.contains("away")).count();
    assert!(away == 1 && lines.len() < 6, "{lines:#?}");
    server.start_again();
    let asked = Instant::now();
    lab.gateway_serves().await;
    println!("serves {:?} after the database does", asked.elapsed());
    assert!(asked.elapsed() < BACK_WITHIN);
    lab.kill(Part::Gateway);
    Stage::start(written).await.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_waits_for_its_database_ends_when_it_is_told() {
    let server = Server::start();
    let mut written = written_on(&server.database("platform").await).await;
    let lab = &mut written.lab;
    for is_paused in [false, true] {
        if is_paused {
            server.start_again();
            server.pause();
        } else {
            server.stop("immediate");
        }
        lab.start(Part::Gateway);
        lab.logs(Part::Gateway, "database is away").await;
        let told = Instant::now();
        lab.signal(Part::Gateway, Signal::TERM);
        assert!(lab.ended(Part::Gateway).await.success());
        println!("ended {:?} after it was told (paused: {is_paused})", told.elapsed());
        assert!(told.elapsed() < Duration::from_secs(2));
    }
}
