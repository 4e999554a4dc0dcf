//! The database in the state folder: its disk is full, or another process writes for long.

use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Executor, SqliteConnection};
use tokio::time::sleep;

use super::super::lab::{Part, edit, eventually, run};
use super::disk::Disk;
use super::load::ANSWERED_WITHIN;
use super::stage::{Stage, lines, refused, tried, written};

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_without_room_ends_no_link() {
    let written = written().await;
    let Some(disk) = Disk::mount_over(&written.lab.state(Part::Gateway), 8) else { return };
    let mut stage = Stage::start(written).await;
    let config = stage.lab.config(Part::Gateway);
    disk.fill();
    let mut made = 0;
    let (said, took) = loop {
        match tried(&config, &["org", "add", &format!("Fills The Disk {made}")]).await {
            (Ok(()), _) => made += 1,
            (Err(said), took) => break (said, took),
        }
    };
    println!("{made} organizations fitted; then, after {took:?}: {said}");
    assert!(said.contains("make room on its disk"), "{said}");
    stage.goes_on().await;
    stage.is_untouched().await;

    // What this agent says from now on is to be written.
    stage.lab.kill(Part::A);
    edit(&stage.lab.config(Part::A), |text| {
        let other = text.replace("\"tcp\"", "\"mllp\"");
        assert_ne!(other, text);
        other
    });
    stage.lab.start(Part::A);
    stage.lab.linked().await;
    sleep(Duration::from_secs(5)).await;
    stage.lab.linked().await;
    let about: Vec<_> = lines(&stage.lab).into_iter().filter(|line| !line.contains(" INFO ")).collect();
    println!("{about:#?}");
    assert!(about.len() < 6, "{about:#?}");

    disk.make_room();
    eventually("acts are done again", async || {
        tried(&config, &["org", "add", "Once There Is Room"]).await.0.ok()
    })
    .await;
    stage.lab.logs(Part::Gateway, "an agent's own file forbids a connection").await;
    stage.lab.linked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_takes_15_s_delays_acts_for_a_bounded_time() {
    let stage = Stage::start(written().await).await;
    let config = stage.lab.config(Part::Gateway);
    let path = stage.lab.state(Part::Gateway).join("platform.db");
    let mut writer =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap();
    writer.execute("BEGIN IMMEDIATE").await.unwrap();
    let began = Instant::now();
    let (said, took) = refused(&config, &["org", "add", "Not While Another Writes"]).await;
    println!("after {took:?}: {said}");
    assert!(said.contains("busy") && took < ANSWERED_WITHIN, "{took:?}: {said}");
    stage.goes_on().await;
    let waits = tokio::spawn({
        let config = config.clone();
        async move { tried(&config, &["org", "add", "After Another Wrote"]).await }
    });
    sleep(Duration::from_secs(15).saturating_sub(began.elapsed())).await;
    writer.execute("COMMIT").await.unwrap();
    let (outcome, took) = waits.await.unwrap();
    println!("one that waited is done after {took:?}");
    outcome.unwrap();
    stage.is_untouched().await;
    let about: Vec<_> = stage.gateway_lines().into_iter().filter(|line| !line.contains(" INFO ")).collect();
    println!("{about:#?}");
    assert!(about.len() < 4, "{about:#?}");
    stage.finish().await;
}

/// What a quota does too: the file grows no further, with another error than that of a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_grow_is_told_as_room_to_be_made() {
    let written = written().await;
    // In blocks of 512 bytes; what is written beside the database needs more.
    let limited = "trap '' XFSZ; ulimit -f 72; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, "sh"]).arg(adit_lab::binaries::adit()).args(["admin", "--config"]);
    command.arg(written.lab.config(Part::Gateway)).args(["org", "add", "One Too Many"]);
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("make room on it or raise the quota"), "{said}");
}
