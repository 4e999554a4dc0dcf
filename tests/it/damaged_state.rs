//! A state file that is empty, cut or garbage: what is only kept to be quicker is dropped, and whatever
//! stops the start names itself and the smallest step.

use std::fs;
use std::path::Path;
use std::process::Command;

use adit_agent::state::FILES;
use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_lab::admin_mirth::AdminMirth;
use adit_lab::binaries;
use tokio::net::TcpListener;

use super::lab::{HANG_LIMIT, Lab, Part, TARGET_OWNER, free_address, mirth, run};

/// The agent makes these again, or learns them again.
const CACHES: [&str; 5] =
    ["clock.json", "peer-addresses.json", "udp-port.json", "rules.json", "admin-https.json"];

/// Without these some connections stay down, and everything else goes on.
const LOSSES: [&str; 2] = ["secrets.json", "mirth-keys.json"];

fn damages(whole: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let half = if whole.len() > 1 { whole[..whole.len() / 2].to_vec() } else { b"{".to_vec() };
    [("empty", Vec::new()), ("half", half), ("garbage", vec![0xff; 64])]
}

/// Replaces what is in a private file.
fn put(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// What a command says that must fail by itself; one that goes on is killed.
async fn fails(words: &[&str], config: &Path) -> String {
    let mut command = Command::new("timeout");
    command.arg("--signal=KILL").arg(HANG_LIMIT.as_secs().to_string());
    command.arg(binaries::adit()).args(words).arg("--config").arg(config);
    let output = run(command).await;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_without_its_caches_but_names_the_smallest_step_for_the_rest() {
    let mirth = mirth().await;
    let targets = [(Protocol::Mllp, mirth.address())];
    let managed = AdminMirth::start(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let mut lab = Lab::written_managing(&targets, managed.address(), &[Access::ReadOnly]).await;
    lab.start_all().await;
    lab.port_open(0).await;
    lab.kill(Part::A);
    for name in FILES {
        let path = lab.state(Part::A).join(name);
        let whole = fs::read(&path).ok();
        for (what, damaged) in damages(whole.as_deref().unwrap_or_default()) {
            put(&path, &damaged);
            if CACHES.contains(&name) {
                lab.start(Part::A);
                lab.logs(Part::A, "the agent is running").await;
                let is_said = lab.log(Part::A).contains("a damaged file was set aside");
                // Half of a number is one.
                assert!(is_said || what == "half", "{name} {what}");
                lab.kill(Part::A);
            } else if LOSSES.contains(&name) {
                let said = fails(&["check"], &lab.config(Part::A)).await;
                assert!(said.contains(name) && said.contains("restore"), "{name} {what}: {said}");
                lab.start(Part::A);
                lab.logs(Part::A, "the agent is running").await;
                let log = lab.log(Part::A);
                assert!(log.contains(name) && log.contains("the file was set aside"), "{name} {what}: {log}");
                lab.kill(Part::A);
                assert_eq!(fs::read(path.with_file_name(format!("{name}.damaged"))).unwrap(), damaged);
            } else {
                for words in [&["agent"][..], &["check"]] {
                    let said = fails(words, &lab.config(Part::A)).await;
                    assert!(said.contains(name) && said.contains("restore"), "{name} {what}: {said}");
                    let enrols = said.contains("enrol again");
                    assert_eq!(enrols, ["key.p8", "enrolment.json"].contains(&name), "{name} {what}: {said}");
                }
            }
        }
        match whole {
            Some(whole) => put(&path, &whole),
            None => fs::remove_file(&path).unwrap_or_default(),
        }
    }
    lab.start(Part::A);
    lab.port_open(0).await;
}

/// As the agent advises: a gateway hands each secret out once.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_secrets_were_lost_carries_again_once_they_are_rotated() {
    let mirth = mirth().await;
    let mut lab = Lab::to_all(&[(Protocol::Mllp, mirth.address())]).await;
    lab.kill(Part::B);
    fs::remove_file(lab.state(Part::B).join("secrets.json")).unwrap();
    let id = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    lab.admin(&["connection", "rotate", &id, "--as", TARGET_OWNER]).await;
    lab.start(Part::B);
    lab.entry_becomes(Part::B, 0, "has its tunnel", |entry| entry.tunnel.on == Some(true)).await;
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_names_what_is_damaged_rather_than_take_it_for_empty() {
    let mut lab = Lab::written(&[(Protocol::Mllp, free_address())]);
    let state = lab.state(Part::Gateway);
    // Closed in order, the database is one file.
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    lab.signal(Part::Gateway, rustix::process::Signal::TERM);
    assert!(lab.ended(Part::Gateway).await.success());
    for name in ["ca.p8", "authority.json", "platform.db", "sealing.key"] {
        let path = state.join(name);
        let whole = fs::read(&path).unwrap();
        for (what, mut damaged) in damages(&whole) {
            // Of a longer piece SQLite may find the rest in its log of changes.
            damaged.truncate(2_000);
            put(&path, &damaged);
            let said = fails(&["gateway"], &lab.config(Part::Gateway)).await;
            // The CA's two files are one thing to restore.
            let kind = if name == "ca.p8" { "the CA in" } else { "the database" };
            let named = said.contains(name) || said.contains(kind);
            assert!(named && said.contains("restore") && said.contains("backup"), "{name} {what}: {said}");
        }
        put(&path, &whole);
    }
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
}
