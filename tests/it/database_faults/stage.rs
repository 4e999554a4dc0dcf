//! A gateway on a database that will have faults, two agents that are linked to it, and numbered messages that
//! never stop on the tunnel between them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_core::domain::connection::Protocol;
use adit_core::domain::path::PathKind;
use adit_core::domain::time::Timestamp;
use adit_lab::measure::Differences;
use adit_lab::messages::Generator;
use adit_lab::mirth::Mirth;
use adit_lab::sender::{Report, Sender};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::super::lab::{HANG_LIMIT, Lab, Part, TARGET_OWNER, adit, edit, eventually, mirth, run};

const AGENTS: [Part; 2] = [Part::A, Part::B];
/// Between two messages.
const PAUSE: Duration = Duration::from_millis(4);

/// A lab with two connections, the first for messages.
pub(super) struct Written {
    pub(super) lab: Lab,
    mirth: Mirth,
    /// At the second connection, to which nobody sends.
    idle: Mirth,
}

pub(super) struct Stage {
    pub(super) lab: Lab,
    mirth: Mirth,
    _idle: Mirth,
    conversation: Conversation,
    /// Since when each agent has had its control link and its tunnel.
    since: [[Option<Timestamp>; 2]; 2],
}

impl Stage {
    /// On the database server at `url`.
    pub(super) async fn on(url: &str) -> Self {
        Self::start(written_on(url).await).await
    }

    pub(super) async fn start(Written { mut lab, mirth, idle }: Written) -> Self {
        lab.start_all().await;
        for index in [0, 1] {
            lab.port_open(index).await;
        }
        lab.linked().await;
        lab.takes_path(0, PathKind::Direct).await;
        let conversation = Conversation::start(&lab, &mirth);
        let since = [since(&lab, Part::A).await, since(&lab, Part::B).await];
        let stage = Self { lab, mirth, _idle: idle, conversation, since };
        stage.goes_on().await;
        stage
    }

    /// Waits for messages that were not under way already.
    pub(super) async fn goes_on(&self) {
        let more = self.mirth.journal().count() + 3;
        assert!(self.mirth.journal().reaches(more, HANG_LIMIT).await, "messages arrive");
    }

    /// Waits until both agents say whether the gateway's database is away; returns how long that took.
    pub(super) async fn told_away(&self, is_away: bool) -> Duration {
        let asked = Instant::now();
        for part in AGENTS {
            eventually(&format!("{part:?} is told that the database is away: {is_away}"), async || {
                let status = self.lab.status(part).await?;
                (status.gateway_database_away_since.is_some() == is_away).then_some(())
            })
            .await;
        }
        asked.elapsed()
    }

    /// Whether any agent says that the gateway's database is away.
    pub(super) async fn is_told_away(&self) -> bool {
        let mut told = false;
        for part in AGENTS {
            let status = self.lab.status(part).await.expect("the agent answers");
            told |= status.gateway_database_away_since.is_some();
        }
        told
    }

    /// Does something to the second connection that both agents hear of; returns how long it took them.
    pub(super) async fn hears_of(&self, verb: &str, status: &str) -> Duration {
        let id = self.lab.entry(Part::A, 1).await.unwrap().id.to_string();
        self.lab.admin(&["connection", verb, "--as", TARGET_OWNER, &id]).await;
        let done = Instant::now();
        for part in AGENTS {
            self.lab.entry_becomes(part, 1, status, |entry| entry.status == status).await;
        }
        done.elapsed()
    }

    /// Fails unless gateway, links and tunnel are those that there were at the start.
    pub(super) async fn is_untouched(&self) {
        for (part, before) in AGENTS.into_iter().zip(self.since) {
            assert_eq!(since(&self.lab, part).await, before, "link and tunnel of {part:?}");
        }
        let pid = self.lab.pid(Part::Gateway);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(!status.contains("State:\tZ"), "the gateway runs");
    }

    /// Waits until the platform shows both servers with their links.
    pub(super) async fn shows_links(&self) {
        eventually("the platform shows that both agents are linked", async || {
            let shown = self.lab.admin(&["--json", "server", "list"]).await;
            (shown.matches("\"online\": true").count() + shown.matches("\"online\":true").count() == 2)
                .then_some(())
        })
        .await;
    }

    /// What people are shown of the gateway's log.
    pub(super) fn gateway_lines(&self) -> Vec<String> {
        lines(&self.lab)
    }

    /// Terminates the second connection, and ends the messages; fails unless each arrived once, in order,
    /// unchanged, on one connection of which nobody saw a cut.
    pub(super) async fn finish(self) {
        self.is_untouched().await;
        self.shows_links().await;
        let took = self.hears_of("terminate", "Terminated").await;
        println!("a terminate is at both agents {took:?} after the command's end");
        self.goes_on().await;
        self.conversation.finish(&self.mirth).await;
    }
}

/// The files; nothing runs.
pub(super) async fn written() -> Written {
    let (mirth, idle) = tokio::join!(mirth(), mirth());
    let lab = Lab::written(&[(Protocol::Mllp, mirth.address()), (Protocol::Tcp, idle.address())]);
    Written { lab, mirth, idle }
}

/// The same with its platform on the database server at `url`.
pub(super) async fn written_on(url: &str) -> Written {
    let written = written().await;
    let lab = &written.lab;
    let from = format!("sqlite:{}", lab.state(Part::Gateway).display());
    let mut command = adit();
    command.args(["gateway", "migrate", "--from", &from, "--to", url]);
    let output = run(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_file(lab.state(Part::Gateway).join("platform.db")).unwrap();
    edit(&lab.config(Part::Gateway), |text| format!("{text}database = \"{url}\"\n"));
    written
}

pub(super) fn lines(lab: &Lab) -> Vec<String> {
    lab.log(Part::Gateway).lines().map(str::to_owned).collect()
}

/// Runs `adit admin`; returns what it says where it fails, and how long it took.
pub(super) async fn tried(config: &Path, arguments: &[&str]) -> (Result<(), String>, Duration) {
    let mut command = adit();
    command.arg("admin").arg("--config").arg(config).args(arguments);
    let asked = Instant::now();
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    (output.status.success().then_some(()).ok_or(said), asked.elapsed())
}

/// Runs one that must fail.
pub(super) async fn refused(config: &Path, arguments: &[&str]) -> (String, Duration) {
    let (outcome, took) = tried(config, arguments).await;
    (outcome.expect_err("it must not be done"), took)
}

async fn since(lab: &Lab, part: Part) -> [Option<Timestamp>; 2] {
    let status = eventually("the agent answers", async || lab.status(part).await).await;
    assert_eq!(status.gateway.on, Some(true), "{part:?} is linked");
    [status.gateway.since, lab.entry(part, 0).await.unwrap().tunnel.since]
}

/// Messages one after the other on one connection, not so many that the test is about them.
struct Conversation {
    /// Until it is finished.
    sender: Option<JoinHandle<Report>>,
    stopping: Arc<AtomicBool>,
}

impl Conversation {
    fn start(lab: &Lab, mirth: &Mirth) -> Self {
        assert_eq!(mirth.journal().received().len(), 0);
        let (connect_timeout, response_timeout) = (HANG_LIMIT, HANG_LIMIT);
        let sender = Sender { connect_timeout, response_timeout, ..Sender::kept_open(lab.port(0)) };
        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        let messages = Generator::new(13).take_while(move |_| {
            std::thread::sleep(PAUSE);
            !stopped.load(Ordering::Relaxed)
        });
        let runtime = Handle::current();
        let sender = tokio::task::spawn_blocking(move || runtime.block_on(sender.send(messages)));
        Self { sender: Some(sender), stopping }
    }

    async fn finish(mut self, mirth: &Mirth) {
        self.stopping.store(true, Ordering::Relaxed);
        let report = self.sender.take().unwrap().await.unwrap();
        println!("{} messages: {:?}", report.sent.len(), report.latencies);
        let differences = Differences::between(&report.sent, &mirth.journal().received());
        assert!(differences.none(), "{differences}");
        assert_eq!(report.connections, 1, "the connection lived through it all");
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}
