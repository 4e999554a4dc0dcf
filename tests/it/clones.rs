//! Two copies of one agent: both hear it, the gateway says who, and the peer sums up what it sees.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use adit_agent::stats::AgentStatus;
use adit_agent::status::{Answer, Request, ask};
use adit_core::domain::connection::Protocol;
use adit_core::domain::limits::REPEATS_BURST;
use adit_core::domain::path::{PathKind, PathPreference};

use super::lab::{Lab, Part, adit, edit, eventually, free_address, mirth, run};

/// An agent over a copy of another's state folder and file.
struct Twin {
    child: Child,
    folder: PathBuf,
}

impl Twin {
    /// Copies the agent, which must not run.
    fn of(lab: &Lab, part: Part) -> Self {
        let original = lab.config(part).parent().unwrap().to_owned();
        let folder = original.with_file_name("twin");
        copy(&original, &folder);
        let config = folder.join("agent.toml");
        edit(&config, |text| text.replace(original.to_str().unwrap(), folder.to_str().unwrap()));
        // What both would listen on.
        edit(&config, |text| {
            let own = |line: &str| {
                let key = line.split_once('=').map(|(key, _)| key.trim().to_owned());
                match key.as_deref() {
                    Some(key @ ("listen" | "metrics"))
                        if line.contains("127.0.0.1") && !line.ends_with(":0\"") =>
                    {
                        format!("{key} = \"{}\"", free_address())
                    }
                    _ => line.to_owned(),
                }
            };
            text.lines().map(own).fold(String::new(), |text, line| text + &line + "\n")
        });
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = adit();
        command.arg("agent").arg("--config").arg(&config).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap(), folder }
    }

    async fn status(&self) -> Option<AgentStatus> {
        match ask(&self.folder.join("state"), &Request::Status).await {
            Ok(Answer::Status(status)) => Some(*status),
            _ => None,
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!(
                "--- the twin said:\n{}",
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let (kind, target) = (item.file_type().unwrap(), to.join(item.file_name()));
        if kind.is_dir() {
            copy(&item.path(), &target);
        } else if kind.is_file() {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

async fn check(config: PathBuf) -> String {
    let mut command = adit();
    command.arg("check").arg("--config").arg(config);
    String::from_utf8(run(command).await.stdout).unwrap()
}

/// How often a log has each line, without its time and its values.
fn repeats(log: &str) -> BTreeMap<&str, usize> {
    let mut repeats = BTreeMap::new();
    for line in log.lines() {
        let words = line.split_once(' ').map_or(line, |(_, words)| words);
        *repeats.entry(words.split('=').next().unwrap_or_default()).or_default() += 1;
    }
    repeats
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_a_sending_agent_are_told() {
    two_copies_of(Part::A, Part::B).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_a_receiving_agent_are_told() {
    two_copies_of(Part::B, Part::A).await;
}

async fn two_copies_of(copied: Part, innocent: Part) {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    // Through the relay packets go to whichever copy has the link: the tunnel ends at each turn.
    lab.choose_path(innocent, 0, PathPreference::only(PathKind::Relay)).await;
    lab.takes_path(0, PathKind::Relay).await;
    lab.kill(copied);
    let began = Instant::now();
    let twin = Twin::of(&lab, copied);
    lab.start(copied);
    eventually("both copies show that there is another", async || {
        let seen = [lab.status(copied).await?, twin.status().await?].map(|status| status.clone_seen);
        seen.iter().all(Option::is_some).then_some(())
    })
    .await;
    for config in [lab.config(copied), twin.folder.join("agent.toml")] {
        let said = check(config).await;
        assert!(
            said.lines()
                .any(|line| line.starts_with("PROBLEM") && line.contains("another copy of this agent runs")),
            "{said}"
        );
    }
    assert!(lab.log(copied).contains("another copy of this agent runs"));
    let links = "agent connected";
    eventually("they take turns for a while", async || {
        (lab.log(Part::Gateway).matches(links).count() >= 10).then_some(())
    })
    .await;

    let gateway = lab.log(Part::Gateway);
    let said: Vec<_> = gateway.lines().filter(|line| line.contains("two copies of this agent run")).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains("WARN") && said[0].matches("127.0.0.1:").count() >= 2, "{}", said[0]);
    let audited = lab.admin(&["audit"]).await;
    assert_eq!(audited.matches("two copies of this server's agent").count(), 1, "{audited}");

    let log = lab.log(innocent);
    println!("{log}");
    // Each kind at once, and one that counts each minute; some lines have two kinds of values.
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap() + 1;
    let most = 2 * (REPEATS_BURST as usize + minutes);
    for (line, times) in repeats(&log) {
        assert!(times <= most, "{times} times: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_agents_or_gateway_are_no_copies() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    for part in [Part::A, Part::A, Part::Gateway, Part::A] {
        lab.kill(part);
        lab.start(part);
        lab.gateway_serves().await;
        lab.port_open(0).await;
        lab.linked().await;
    }
    for part in [Part::A, Part::B] {
        assert_eq!(lab.status(part).await.unwrap().clone_seen, None, "{part:?}");
    }
    assert!(!lab.log(Part::Gateway).contains("two copies"));
}
