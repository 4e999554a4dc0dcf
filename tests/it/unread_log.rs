//! Observation never stops the service: a log that nobody reads, whose reader is gone or whose disk is
//! full costs lines and nothing else; so does a command's output.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use adit_core::domain::connection::Protocol;
use adit_lab::binaries;
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;
use rustix::process::Signal;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::lab::{EVERYTHING, HANG_LIMIT, Lab, Part, adit, eventually, is_long, mirth, run};

const MESSAGES: usize = 50;

fn full_disk() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// Both agents and the gateway trace everything there; messages pass, and SIGTERM ends all three after
/// `carried`.
async fn carries_with(stderr: impl Fn() -> Stdio, carried: impl AsyncFnOnce()) {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    for part in [Part::Gateway, Part::A, Part::B] {
        lab.start_logging_to(part, EVERYTHING, stderr());
    }
    lab.port_open(0).await;
    let messages = if is_long() { 20_000 } else { 2_000 };
    let report = Sender::to(lab.port(0)).send(Generator::new(141).take(messages)).await;
    assert_eq!(report.accepted(), messages);
    carried().await;
    for part in [Part::A, Part::B, Part::Gateway] {
        lab.signal(part, Signal::TERM);
        assert!(lab.ended(part).await.success(), "{part:?}");
    }
}

#[tokio::test]
async fn messages_pass_while_nobody_reads_the_log_which_then_says_what_it_lost() {
    let (unread, pipe) = std::io::pipe().unwrap();
    let read = async || {
        let (said, heard) = oneshot::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(unread).split(b'\n').map_while(Result::ok);
            if lines.any(|line| String::from_utf8_lossy(&line).contains("lines of the log were lost")) {
                let _ = said.send(());
            }
        });
        timeout(HANG_LIMIT, heard).await.expect("not within the limit").expect("the log has ended");
    };
    carries_with(|| pipe.try_clone().unwrap().into(), read).await;
}

#[tokio::test]
async fn messages_pass_after_the_reader_of_the_log_is_gone() {
    let (reader, pipe) = std::io::pipe().unwrap();
    drop(reader);
    carries_with(|| pipe.try_clone().unwrap().into(), async || {}).await;
}

#[tokio::test]
async fn messages_pass_while_the_disk_of_the_log_is_full() {
    carries_with(full_disk, async || {}).await;
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
async fn a_signal_that_means_nothing_is_ignored_with_a_line_in_the_log() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    for part in [Part::A, Part::B, Part::Gateway] {
        for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")]
        {
            lab.signal(part, signal);
            lab.logs(part, &format!("{name} is ignored")).await;
        }
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

#[tokio::test]
async fn a_slip_in_the_filter_costs_a_line_but_never_the_start() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    for part in [Part::Gateway, Part::A, Part::B] {
        lab.start_with(part, "ADIT_LOG", OsStr::new("debgu,adit_net=debug"));
        lab.logs(part, "`debgu` in ADIT_LOG is ignored").await;
    }
    lab.port_open(0).await;
    // The part that is a filter holds.
    lab.logs(Part::Gateway, "DEBUG").await;
}

/// In namespaces of its own, so that this user may mount a small disk there.
fn on_a_disk_of_its_own(lab: &Lab, part: Part, disk: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=64k disk \"$1\" && exec \"$0\" agent --config \"$2\" 2>>\"$1/log\"");
    command.arg(binaries::adit()).arg(disk).arg(lab.config(part));
    command.env("ADIT_LOG", EVERYTHING).stdout(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_on_a_full_disk_goes_on_once_there_is_space() {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "true"]);
    let may = run(command).await;
    if !may.status.success() {
        println!("skipped: this user may make no namespaces");
        return;
    }
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let disk = lab.dir().join("disk");
    std::fs::create_dir(&disk).unwrap();
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    lab.start(Part::B);
    lab.start_as(Part::A, on_a_disk_of_its_own(&lab, Part::A, &disk));
    lab.port_open(0).await;
    // The kernel shows a process's own files where it sees them.
    let log = PathBuf::from(format!("/proc/{}/root{}", lab.pid(Part::A), disk.join("log").display()));
    let report = Sender::to(lab.port(0)).send(Generator::new(143).take(MESSAGES)).await;
    assert_eq!(report.accepted(), MESSAGES);
    eventually("the disk is full", async || (log.metadata().ok()?.len() >= 60 * 1024).then_some(())).await;
    let report = Sender::to(lab.port(0)).send(Generator::new(144).take(MESSAGES)).await;
    assert_eq!(report.accepted(), MESSAGES);
    // Somebody makes space.
    std::fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    eventually("the log goes on", async || (log.metadata().ok()?.len() > 0).then_some(())).await;
    lab.signal(Part::A, Signal::TERM);
    assert!(lab.ended(Part::A).await.success());
}

/// Every command with its subcommands, as their help lists them.
async fn commands() -> Vec<Vec<String>> {
    let (mut all, mut left) = (Vec::new(), vec![Vec::new()]);
    while let Some(words) = left.pop() {
        let mut command = adit();
        command.args(&words).arg("--help");
        let help = String::from_utf8(run(command).await.stdout).unwrap();
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in listed.take_while(|line| !line.is_empty()) {
            // What is indented further goes on with a description.
            let name = line.strip_prefix("  ").filter(|line| !line.starts_with(' '));
            let name = name.and_then(|line| line.split_whitespace().next()).filter(|name| *name != "help");
            left.extend(name.map(|name| [&words[..], &[name.to_owned()]].concat()));
        }
        all.push(words);
    }
    all
}

fn no_panic(words: &[String], output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 101), "{words:?}: {output:?}");
    assert!(!said.contains("panicked"), "{words:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_panics_whatever_becomes_of_its_output() {
    let commands = commands().await;
    assert!(commands.len() > 20, "{commands:?}");
    for words in commands {
        let with = |stdout: Stdio| {
            let mut command = adit();
            command.args(&words).arg("--help").stdout(stdout);
            run(command)
        };
        let output = with(full_disk()).await;
        no_panic(&words, &output);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
        let (reader, gone) = std::io::pipe().unwrap();
        drop(reader);
        let output = with(gone.into()).await;
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_found_out_is_no_success_when_it_cannot_be_written() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let name = lab.entry(Part::A, 0).await.unwrap().name;
    let (agent, gateway) = (lab.config(Part::A), lab.config(Part::Gateway));
    let (agent, gateway) = (agent.to_str().unwrap(), gateway.to_str().unwrap());
    let mut rows: Vec<Vec<&str>> = vec![
        vec!["status", "--config", agent],
        vec!["status", "--json", "--config", agent],
        vec!["check", "--config", agent],
        vec!["check", "--config", gateway],
        vec!["health", "--live", "--config", agent],
        vec!["health", "--config", gateway],
        vec!["path", "--config", agent, &name, "auto"],
    ];
    let lists = commands().await.into_iter().filter(|words| {
        words.first().is_some_and(|word| word == "admin") && words.last().is_some_and(|word| word == "list")
    });
    let lists: Vec<_> = lists.collect();
    assert!(lists.len() > 3, "{lists:?}");
    for list in &lists {
        let words = list[1..].iter().map(String::as_str);
        rows.push(["admin", "--config", gateway].into_iter().chain(words).collect());
    }
    for row in rows {
        let words: Vec<_> = row.iter().map(|word| (*word).to_owned()).collect();
        let mut command = adit();
        command.args(&words).stdout(full_disk());
        let output = run(command).await;
        no_panic(&words, &output);
        assert!(!output.status.success(), "{words:?}: {output:?}");
        // Closed from the start.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(binaries::adit()).args(&words);
        no_panic(&words, &run(command).await);
    }
}
