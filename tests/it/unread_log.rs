//! Observation never stops the service: a log that nobody reads, whose reader is gone or whose disk is
//! full costs lines and nothing else; so does a command's output.

use std::fs::OpenOptions;
use std::process::Stdio;

use adit::demo::messages::Generator;
use adit::demo::sender::Sender;
use adit::domain::connection::Protocol;
use rustix::process::Signal;

use crate::lab::{Lab, Part, adit, mirth, run};

const MESSAGES: usize = 50;

fn full_disk() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// Both agents and the gateway trace everything there; messages pass, and SIGTERM ends all three.
async fn carries_with(stderr: impl Fn() -> Stdio) {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    for part in [Part::Gateway, Part::A, Part::B] {
        lab.start_saying_to(part, "trace", stderr());
    }
    lab.port_open(0).await;
    let report = Sender::to(lab.port(0)).send(Generator::new(141).take(MESSAGES)).await;
    assert_eq!(report.accepted(), MESSAGES);
    for part in [Part::A, Part::B, Part::Gateway] {
        lab.signal(part, Signal::TERM);
        assert!(lab.ended(part).await.success(), "{part:?}");
    }
}

#[tokio::test]
async fn messages_pass_while_nobody_reads_the_log() {
    let (_unread, pipe) = std::io::pipe().unwrap();
    carries_with(|| pipe.try_clone().unwrap().into()).await;
}

#[tokio::test]
async fn messages_pass_after_the_reader_of_the_log_is_gone() {
    let (reader, pipe) = std::io::pipe().unwrap();
    drop(reader);
    carries_with(|| pipe.try_clone().unwrap().into()).await;
}

#[tokio::test]
async fn messages_pass_while_the_disk_of_the_log_is_full() {
    carries_with(full_disk).await;
}

#[tokio::test]
async fn a_command_whose_reader_is_gone_ends_quietly() {
    let (reader, pipe) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = adit();
    command.arg("--help").stdout(pipe);
    let output = run(command).await;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn a_command_says_that_its_output_has_no_space() {
    let mut command = adit();
    command.arg("--help").stdout(full_disk());
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("adit: cannot write to standard output"), "{said}");
}

#[tokio::test]
async fn a_hangup_is_ignored_with_a_line_in_the_log() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    for part in [Part::A, Part::B, Part::Gateway] {
        lab.signal(part, Signal::HUP);
        lab.logs(part, "SIGHUP is ignored").await;
    }
    let report = Sender::to(lab.port(0)).send(Generator::new(142).take(1)).await;
    assert_eq!(report.accepted(), 1);
    for part in [Part::A, Part::Gateway] {
        lab.signal(part, Signal::TERM);
        assert!(lab.ended(part).await.success(), "{part:?}");
    }
    for part in [Part::A, Part::Gateway] {
        let log = lab.log(part);
        let stopping = log.split_once("is stopping").expect("it says that it stops").1;
        assert!(stopping.contains("SIGTERM") && stopping.contains("has stopped"), "{log}");
        assert!(!stopping.contains("WARN") && !stopping.contains("ERROR"), "{log}");
    }
}
