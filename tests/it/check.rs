//! `adit check` beside running agents: a line a connection, that works or says what fails.

use std::net::SocketAddr;

use adit::domain::connection::Protocol;
use tokio::net::TcpListener;

use super::lab::{Lab, Part, adit, mirth, run};

/// What it printed, and whether it found no problem.
async fn check(lab: &Lab, part: Part) -> (String, bool) {
    let mut command = adit();
    command.arg("check").arg("--config").arg(lab.config(part));
    let output = run(command).await;
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

async fn trust(lab: &Lab, part: Part, peer: Part) {
    let name = lab.entry(part, 0).await.unwrap().name;
    let key = lab.status(peer).await.unwrap().key.to_string();
    let mut command = adit();
    command.args(["trust", &name, &key, "--config"]).arg(lab.config(part));
    assert!(run(command).await.status.success());
}

fn line<'a>(said: &'a str, word: &str, of: &str) -> &'a str {
    let found = said.lines().find(|line| line.starts_with(word) && line.contains(of));
    found.unwrap_or_else(|| panic!("no line `{word} … {of}` in\n{said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_mirth_that_is_down_is_the_partners_to_start() {
    // Bound and never listening: nothing else takes it meanwhile.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut lab = Lab::written(&[(Protocol::Mllp, nobody.local_addr().unwrap())]);
    lab.start_all().await;
    lab.entry_becomes(Part::A, 0, "it is known that Mirth is down", |entry| entry.mirth.on == Some(false))
        .await;
    let (said, is_fine) = check(&lab, Part::A).await;
    line(&said, "PROBLEM", "the partner's Mirth does not answer");
    assert!(!is_fine);
    let (said, is_fine) = check(&lab, Part::B).await;
    line(&said, "PROBLEM", "the Mirth of this host does not answer");
    assert!(!is_fine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_compared_is_a_problem_with_the_command_that_ends_it() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let (said, is_fine) = check(&lab, Part::A).await;
    line(&said, "PROBLEM", "nobody has compared the peer's key");
    assert!(!is_fine);
    trust(&lab, Part::A, Part::B).await;
    let (said, is_fine) = check(&lab, Part::A).await;
    assert!(is_fine, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_is_named_and_the_tunnel_lives_on() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.kill(Part::Gateway);
    super::lab::eventually("the agent knows that its link is down", async || {
        lab.status(Part::A).await.filter(|status| status.gateway.on == Some(false)).map(drop)
    })
    .await;
    let (said, _) = check(&lab, Part::A).await;
    line(&said, "PROBLEM", "gateway: the control link is down");
    assert!(!said.contains("no tunnel"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_though_the_agent_runs() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let taken = TcpListener::bind(lab.port(0)).await.unwrap();
    lab.start_all().await;
    lab.entry_becomes(Part::A, 0, "the port is missed", |entry| entry.last_error.is_some()).await;
    let (said, is_fine) = check(&lab, Part::A).await;
    line(&said, "PROBLEM", "cannot bind TCP");
    assert!(!is_fine);
    drop(taken);
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_right_after_the_start_waits_for_the_first_attempts() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    trust(&lab, Part::A, Part::B).await;
    trust(&lab, Part::B, Part::A).await;
    for part in [Part::A, Part::B] {
        lab.kill(part);
    }
    for part in [Part::A, Part::B] {
        lab.start(part);
    }
    for part in [Part::A, Part::B] {
        let (said, is_fine) = started_check(&lab, part).await;
        line(&said, "ok", "works");
        assert!(is_fine && said.contains("0 problems"), "{said}");
    }
}

/// A check once the agent has its state; before that it is one of a host whose agent does not run.
async fn started_check(lab: &Lab, part: Part) -> (String, bool) {
    let state = lab.state(part);
    super::lab::eventually("the agent has its state", async || {
        adit::store::folder::is_locked(&state).then_some(())
    })
    .await;
    check(lab, part).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_however_often_it_is_looked_at() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    for _ in 0..3 {
        lab.kill(Part::A);
        let config = lab.config(Part::A);
        let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let looking: Vec<_> = (0..2)
            .map(|_| {
                let (config, over) = (config.clone(), over.clone());
                tokio::spawn(async move {
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        for command in ["check", "health", "status"] {
                            let mut looks = adit();
                            looks.arg(command).arg("--config").arg(&config);
                            run(looks).await;
                        }
                    }
                })
            })
            .collect();
        lab.start(Part::A);
        lab.port_open(0).await;
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        for looks in looking {
            looks.await.unwrap();
        }
    }
}
