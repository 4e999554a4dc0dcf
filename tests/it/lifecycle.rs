//! What people decide with `adit admin`, as it looks at the real sockets: pause, resume,
//! disconnect, terminate.

use adit_core::domain::connection::Protocol;
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::lab::{Lab, Part, SOURCE_OWNER, TARGET_OWNER, eventually, mirth};
use super::wire::{End, Wire, finish, listener, read_to_end};

impl Lab {
    async fn command(&self, verb: &str, owner: &str, index: usize) {
        let id = self.entry(Part::A, index).await.unwrap().id.to_string();
        self.admin(&["connection", verb, &id, "--as", owner]).await;
    }

    async fn both_show(&self, index: usize, status: &str) {
        for part in [Part::A, Part::B] {
            self.entry_becomes(part, index, &format!("shows {status}"), |entry| entry.status == status).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_keeps_out_only_new_connections_until_every_party_resumes() {
    let listener = listener().await;
    let lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let mut open = Wire::open(lab.port(0), &listener).await;
    lab.command("pause", SOURCE_OWNER, 0).await;
    lab.both_show(0, "Paused").await;
    lab.port_refuses(0).await;

    // What runs goes on in both directions and ends in order.
    open.target.write_all(b"go on").await.unwrap();
    let mut heard = [0; 5];
    open.source.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"go on");
    finish(&mut open.source).await;
    assert_eq!(read_to_end(&mut open.target).await, (vec![], End::Fin));
    finish(&mut open.target).await;
    assert_eq!(read_to_end(&mut open.source).await, (vec![], End::Fin));

    lab.command("pause", TARGET_OWNER, 0).await;
    lab.command("resume", SOURCE_OWNER, 0).await;
    let shown = lab.admin(&["connection", "list", "--as", SOURCE_OWNER]).await;
    assert!(shown.contains("Paused"), "the other party still holds: {shown}");
    assert!(tokio::net::TcpStream::connect(lab.port(0)).await.is_err());
    lab.command("resume", TARGET_OWNER, 0).await;
    lab.port_open(0).await;
    drop(Wire::open(lab.port(0), &listener).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_disconnect_has_cut_what_runs_service_comes_back_by_itself() {
    let listener = listener().await;
    let lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
    lab.command("disconnect", TARGET_OWNER, 0).await;
    assert_eq!(read_to_end(&mut source).await, (vec![], End::Rst));
    assert_eq!(read_to_end(&mut target).await, (vec![], End::Rst));
    lab.entry_becomes(Part::A, 0, "is back", |entry| entry.port_open && entry.status == "Active").await;
    drop(Wire::open(lab.port(0), &listener).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_termination_cut_at_once_no_gateway_ever_brings_back() {
    let listener = listener().await;
    let target = (Protocol::Tcp, listener.local_addr().unwrap());
    let other = mirth().await;
    let mut lab = Lab::to_all(&[target, (Protocol::Mllp, other.address())]).await;
    let ended = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
    lab.command("terminate", SOURCE_OWNER, 0).await;
    assert_eq!(read_to_end(&mut source).await, (vec![], End::Rst));
    assert_eq!(read_to_end(&mut target).await, (vec![], End::Rst));
    lab.both_show(0, "Terminated").await;
    lab.port_refuses(0).await;
    // An end is in force before it is on disk, and only what is there outlives a kill.
    for part in [Part::A, Part::B] {
        eventually("the end is on disk", async || {
            let kept = std::fs::read(lab.state(part).join("rules.json")).ok()?;
            let kept: serde_json::Value = serde_json::from_slice(&kept).ok()?;
            kept["ended"].as_array()?.iter().any(|id| *id == *ended).then_some(())
        })
        .await;
    }

    // A gateway that takes it back, by mistake or worse, is not believed: not after a restart of
    // everything either.
    lab.kill(Part::Gateway);
    revive(&lab, &ended).await;
    for part in [Part::A, Part::B] {
        lab.kill(part);
        lab.start(part);
    }
    lab.start(Part::Gateway);
    lab.linked().await;
    assert!(lab.admin(&["connection", "show", &ended, "--as", SOURCE_OWNER]).await.contains("Active"));
    // A later word of the gateway was heard, so the earlier ones were.
    lab.command("pause", SOURCE_OWNER, 1).await;
    lab.both_show(1, "Paused").await;
    lab.both_show(0, "Terminated").await;
    assert!(tokio::net::TcpStream::connect(lab.port(0)).await.is_err());
    assert_eq!(lab.entry(Part::A, 0).await.unwrap().tunnel.on, Some(false));

    // The neighbour lives.
    lab.command("resume", SOURCE_OWNER, 1).await;
    lab.port_open(1).await;
    let report = Sender::to(lab.port(1)).send(Generator::new(81).take(1)).await;
    assert_eq!(report.accepted(), 1, "{:?}", report.sent);
}

/// Makes a terminated connection Active again behind the platform's back.
async fn revive(lab: &Lab, connection: &str) {
    let path = lab.state(Part::Gateway).join("platform.db");
    let mut database = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let changed = sqlx::query(
        "UPDATE connection SET status = 'Active', source_last_name = NULL, target_last_name = NULL WHERE id = ?",
    )
    .bind(connection.to_owned())
    .execute(&mut database)
    .await
    .unwrap();
    assert_eq!(changed.rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_through_restarts_of_agents_without_the_gateway() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.command("pause", TARGET_OWNER, 0).await;
    lab.both_show(0, "Paused").await;
    // In force first, on disk a moment later: what is killed in between knows of no pause.
    eventually("both agents have written the pause down", async || {
        let has =
            |part| std::fs::read_to_string(lab.state(part).join("rules.json")).unwrap().contains("paused");
        (has(Part::A) && has(Part::B)).then_some(())
    })
    .await;
    lab.kill(Part::Gateway);
    for part in [Part::A, Part::B] {
        lab.kill(part);
        lab.start(part);
    }
    lab.both_show(0, "Paused").await;
    assert!(tokio::net::TcpStream::connect(lab.port(0)).await.is_err());
    lab.start(Part::Gateway);
    lab.linked().await;
    lab.command("resume", TARGET_OWNER, 0).await;
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_is_used_only_from_the_next_tunnel_on() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let since = lab.entry(Part::A, 0).await.unwrap().tunnel.since;
    let secrets = |part| std::fs::read_to_string(lab.state(part).join("secrets.json")).unwrap();
    let before = secrets(Part::A);
    lab.command("rotate", SOURCE_OWNER, 0).await;
    eventually("both agents hold the new secret", async || {
        (secrets(Part::A) != before && secrets(Part::A) == secrets(Part::B)).then_some(())
    })
    .await;
    assert_eq!(lab.entry(Part::A, 0).await.unwrap().tunnel.since, since);
    lab.command("disconnect", SOURCE_OWNER, 0).await;
    lab.entry_becomes(Part::A, 0, "has a new tunnel", |entry| entry.port_open && entry.tunnel.since != since)
        .await;
    let report = Sender::to(lab.port(0)).send(Generator::new(82).take(1)).await;
    assert_eq!(report.accepted(), 1, "{:?}", report.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_changes_nothing_where_nobody_can_be_asked() {
    let lab = Lab::written(&[(Protocol::Mllp, "127.0.0.1:9".parse().unwrap())]);
    let list = async || lab.admin(&["connection", "list", "--all", "--json"]).await;
    let before = list().await;
    let id =
        serde_json::from_str::<serde_json::Value>(&before).unwrap()[0]["id"].as_str().unwrap().to_owned();
    for verb in [
        &["connection", "terminate", id.as_str(), "--as", SOURCE_OWNER][..],
        &["server", "revoke", "Lakeside Mirth", "--as", SOURCE_OWNER],
    ] {
        let mut command = super::lab::adit();
        command.args(["admin", "--config"]).arg(lab.config(Part::Gateway)).args(verb);
        command.stdin(std::process::Stdio::null());
        let output = super::lab::run(command).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{verb:?}");
        assert!(said.contains("nothing was changed") && said.contains("--yes"), "{said}");
    }
    assert_eq!(list().await, before);
    lab.admin(&["connection", "terminate", &id, "--as", SOURCE_OWNER]).await;
    assert!(list().await.contains("Terminated"));
}
