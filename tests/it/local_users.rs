//! Who of the host's users may connect to an entry's port, shown by processes of two of them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_lab::admin_mirth::AdminMirth;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::lab::{Lab, Part, edit, eventually, mirth, run};

/// A user without an entry in any list, and another.
const SENDER: u32 = 61_235;
const OTHER: u32 = 61_236;
const MESSAGE: &str = "MSH|^~\\\\&|A|B|C|D|20260101||ADT^A01|7|P|2.5\\r";

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can start processes of other users");
    }
    is_root
}

/// Sends one message and prints what comes back.
async fn sends_as(user: u32, port: SocketAddr) -> Output {
    let script = format!(
        "exec 3<>/dev/tcp/{}/{} && printf '\\x0b{MESSAGE}\\x1c\\r' >&3 && timeout 60 head -c 20 <&3",
        port.ip(),
        port.port()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).uid(user).gid(user).current_dir("/");
    run(command).await
}

/// A lab whose entry of the first agent lets in these users.
async fn lab_for(users: &str, to: SocketAddr) -> Lab {
    let mut lab = Lab::written(&[(Protocol::Mllp, to)]);
    edit(&lab.config(Part::A), |text| {
        text.replace("[[p2p_source]]", &format!("[[p2p_source]]\nallow_users = {users}"))
    });
    lab.start_all().await;
    lab.port_open(0).await;
    lab
}

/// The reset may come before this process has looked at its own connection.
async fn is_reset(port: SocketAddr) -> bool {
    let read = async { TcpStream::connect(port).await?.read(&mut [0; 1]).await };
    read.await.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sends_through_only_if_named_or_else_is_reset() {
    if !is_root() {
        return;
    }
    let mirth = mirth().await;
    let lab = lab_for(&format!("[{SENDER}]"), mirth.address()).await;
    let sent = sends_as(SENDER, lab.port(0)).await;
    assert!(sent.stdout.starts_with(b"\x0bMSH"), "{sent:?}");

    let other = sends_as(OTHER, lab.port(0)).await;
    assert!(other.stdout.is_empty(), "{other:?}");
    assert!(is_reset(lab.port(0)).await, "root is not named either");

    let entry = lab.entry_becomes(Part::A, 0, "both are counted", |entry| entry.strangers_refused == 2).await;
    assert!(entry.last_error.unwrap().what.contains("allow_users"));
    eventually("both are in the audit", async || {
        let audit = fs::read_to_string(lab.state(Part::A).join("audit.jsonl")).ok()?;
        let refused: Vec<_> = audit.lines().filter(|line| line.contains("local_user_refused")).collect();
        let names = |user: u32| refused.iter().any(|line| line.contains(&format!("\"user\":{user},")));
        (refused.len() == 2 && names(OTHER) && names(0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_named_by_the_hosts_own_name_for_it() {
    if !is_root() {
        return;
    }
    let mirth = mirth().await;
    let lab = lab_for("[\"root\"]", mirth.address()).await;
    let sent = sends_as(0, lab.port(0)).await;
    assert!(sent.stdout.starts_with(b"\x0bMSH"), "{sent:?}");
    assert!(sends_as(OTHER, lab.port(0)).await.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_of_another_user_is_reset_before_it_can_say_anything() {
    if !is_root() {
        return;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let _mirth = AdminMirth::start(listener).unwrap();
    let mut lab = Lab::written_managing(&[], address, &[Access::ReadOnly]).await;
    edit(&lab.config(Part::A), |text| {
        text.replace("[[admin_managing]]", &format!("[[admin_managing]]\nallow_users = [{SENDER}, 0]"))
    });
    lab.start_all().await;
    lab.administrator(0).await;
    let other = sends_as(OTHER, lab.admin[0].listen).await;
    assert!(other.stdout.is_empty(), "{other:?}");
    eventually("it is counted", async || {
        let status = lab.status(Part::A).await?;
        status.entries.iter().any(|entry| entry.strangers_refused == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_the_host_does_not_have_is_a_problem_of_the_file() {
    let lab = Lab::written(&[(Protocol::Mllp, "127.0.0.1:9".parse().unwrap())]);
    edit(&lab.config(Part::A), |text| {
        text.replace("[[p2p_source]]", "[[p2p_source]]\nallow_users = [\"no-such-user-here\"]")
    });
    let mut command = super::lab::adit();
    command.args(["agent", "--config"]).arg(lab.config(Part::A));
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("no-such-user-here") && said.contains("expected a user of this host"), "{said}");
}
