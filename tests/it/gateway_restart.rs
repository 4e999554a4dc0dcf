//! A gateway that is restarted says so, what it relayed goes on with its successor, nobody is warned, and
//! no packet of a healthy agent counts as an attack.

use std::time::{Duration, Instant};

use adit_core::domain::connection::Protocol;
use adit_core::domain::path::{PathKind, PathPreference};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::lab::{HANG_LIMIT, Lab, Part, eventually};
use super::wire::{Wire, listener};

const AGENTS: [Part; 2] = [Part::A, Part::B];
const ALL: [Part; 3] = [Part::Gateway, Part::A, Part::B];

async fn restart(lab: &mut Lab, part: Part) {
    lab.signal(part, Signal::TERM);
    assert!(lab.ended(part).await.success());
    lab.start(part);
    lab.linked().await;
}

fn warnings(lab: &Lab, part: Part) -> Vec<String> {
    let is_warning = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    lab.log(part).lines().filter(is_warning).map(str::to_owned).collect()
}

/// One byte to the receiver and back.
async fn echo(sender: &mut TcpStream) {
    sender.write_all(b"x").await.unwrap();
    let heard = timeout(HANG_LIMIT, sender.read_exact(&mut [0])).await;
    heard.expect("it comes back").expect("the connection lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_relayed_goes_on_after_restarts_of_the_gateway_of_which_nobody_is_warned() {
    let listener = listener().await;
    let mut lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    lab.linked().await;
    lab.choose_path(Part::A, 0, PathPreference::only(PathKind::Relay)).await;
    lab.takes_path(0, PathKind::Relay).await;
    let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
    let echoing = tokio::spawn(async move {
        let mut byte = [0];
        while target.read_exact(&mut byte).await.is_ok() && target.write_all(&byte).await.is_ok() {}
    });
    let before = AGENTS.map(|part| warnings(&lab, part));
    let since = lab.entry(Part::A, 0).await.unwrap().tunnel.since;
    for _ in 0..3 {
        let (mut longest, mut asked) = (Duration::ZERO, Instant::now());
        let mut restarting = std::pin::pin!(restart(&mut lab, Part::Gateway));
        let mut is_over = false;
        while !is_over {
            tokio::select! {
                biased;
                () = echo(&mut source) => {
                    longest = longest.max(asked.elapsed());
                    asked = Instant::now();
                }
                () = &mut restarting => is_over = true,
            }
        }
        // The one that was under way when it was back.
        timeout(HANG_LIMIT, source.read_exact(&mut [0])).await.expect("it comes back").unwrap();
        println!("longest silence {:?}", longest.max(asked.elapsed()));
    }
    for part in AGENTS {
        lab.logs(part, "the gateway is stopping").await;
    }
    assert_eq!(AGENTS.map(|part| warnings(&lab, part)), before);
    assert_eq!(lab.entry(Part::A, 0).await.unwrap().tunnel.since, since, "the tunnel is the same");
    drop(source);
    echoing.await.unwrap();
}

/// What the gateway dropped, by reason.
async fn dropped(lab: &Lab) -> Vec<String> {
    eventually("the gateway's metrics", async || {
        let text = lab.metrics(Part::Gateway).await?;
        // The sample is one of now, when both have registered with this gateway.
        text.lines().find(|line| *line == "adit_relay_agents 2")?;
        let is_drop = |line: &&str| line.starts_with("adit_relay_dropped_packets_total{");
        let lines: Vec<_> = text.lines().filter(is_drop).map(str::to_owned).collect();
        (!lines.is_empty()).then_some(lines)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_stops_or_restarts_of_all_forge_nothing() {
    let listener = listener().await;
    let mut lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    lab.linked().await;
    lab.choose_path(Part::A, 0, PathPreference::only(PathKind::Relay)).await;
    lab.takes_path(0, PathKind::Relay).await;
    for part in [Part::A, Part::B, Part::Gateway, Part::A] {
        restart(&mut lab, part).await;
        if part == Part::A {
            // What was chosen goes with the process.
            lab.choose_path(Part::A, 0, PathPreference::only(PathKind::Relay)).await;
        }
        lab.takes_path(0, PathKind::Relay).await;
        lab.port_open(0).await;
        drop(Wire::open(lab.port(0), &listener).await);
        let dropped = dropped(&lab).await;
        println!("{part:?} restarted: {dropped:#?}");
        for reason in ["forged", "malformed", "unexpected"] {
            let line = format!("{{reason=\"{reason}\"}}");
            let found = dropped.iter().find(|dropped| dropped.contains(&line)).expect("each is exported");
            assert!(found.ends_with(" 0"), "{found}");
        }
    }
    for part in ALL {
        let unexpected: Vec<_> =
            warnings(&lab, part).into_iter().filter(|line| !line.contains("unverified key")).collect();
        assert_eq!(unexpected, Vec::<String>::new(), "{part:?}");
    }
}
