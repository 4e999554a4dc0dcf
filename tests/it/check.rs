//! `adit check` beside running agents: a line a connection, that works or says what fails.

use std::net::SocketAddr;

use adit_core::domain::connection::Protocol;
use adit_lab::binaries;
use tokio::net::TcpListener;

use super::lab::{Lab, Part, TARGET_OWNER, adit, mirth, run};

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
async fn a_gateway_that_is_away_is_named_while_the_tunnel_lives_on() {
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
    // The port is missed at once, and the gateway's rule may be on its way still.
    lab.entry_becomes(Part::A, 0, "the port is missed", |entry| {
        entry.status == "Active" && entry.last_error.is_some()
    })
    .await;
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
        adit_net::host::folder::is_locked(&state).then_some(())
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

/// Both agents' keys compared, and everything works.
async fn working_lab(mirth: SocketAddr) -> Lab {
    let lab = Lab::to(Protocol::Mllp, mirth).await;
    trust(&lab, Part::A, Part::B).await;
    trust(&lab, Part::B, Part::A).await;
    lab
}

async fn has_problem(lab: &Lab, part: Part, what: &str) {
    let (said, is_fine) = check(lab, part).await;
    line(&said, "PROBLEM", what);
    assert!(!is_fine, "{said}");
}

async fn is_fine(lab: &Lab, part: Part) {
    let (said, is_fine) = check(lab, part).await;
    assert!(is_fine && said.contains("\n0 problems, 0 warnings\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_a_problem_only_until_it_is_over() {
    let mirth = mirth().await;
    let lab = working_lab(mirth.address()).await;
    let connection = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    let by_target = |verb| vec!["connection", verb, &connection, "--as", TARGET_OWNER];
    lab.admin(&by_target("pause")).await;
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "it is paused", |entry| entry.status == "Paused").await;
        has_problem(
            &lab,
            part,
            &format!(
                "it is paused; the party that paused it runs `adit admin connection resume {connection}`"
            ),
        )
        .await;
    }
    lab.admin(&by_target("resume")).await;
    lab.admin(&by_target("disconnect")).await;
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "it works again", |entry| entry.health().problem().is_none()).await;
        is_fine(&lab, part).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_switched_on_or_unknown_to_the_gateway_is_a_problem() {
    let mirth = mirth().await;
    let mut lab = working_lab(mirth.address()).await;
    lab.admin(&["channel", "add", "ADT", "--server", "St Mary Mirth", "--protocol", "mllp"]).await;
    lab.admin(&["grant", "request", "--channel", "ADT", "--source", "Lakeside Mirth"]).await;
    lab.admin(&["grant", "approve", "ADT"]).await;
    let entry = lab.admin(&["connection", "entry", "ADT", "--side", "source"]).await;
    let own_port = |text: &str| {
        let is_port = |line: &&str| line.trim_start().starts_with("listen");
        let line = text.lines().find(is_port).unwrap();
        text.replace(line, &format!("listen = \"{}\"", super::lab::free_address()))
    };
    let unknown = own_port(&entry)
        .lines()
        .map(|line| match line.split_once('=') {
            Some((key, _)) if key.trim() == "id" => "id = \"0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d\"".into(),
            Some((key, _)) if key.trim() == "name" => "name = \"unknown\"".into(),
            _ => line.to_owned(),
        })
        .fold(String::new(), |text, line| text + &line + "\n");
    lab.kill(Part::A);
    super::lab::edit(&lab.config(Part::A), |text| format!("{text}\n{}\n{unknown}", own_port(&entry)));
    lab.start(Part::A);
    super::lab::eventually("the gateway has said its rules", async || {
        let entries = lab.status(Part::A).await?.entries;
        let is_said = |status: &str| entries.iter().any(|entry| entry.status == status);
        (is_said("Ready") && is_said("Not listed")).then_some(())
    })
    .await;
    has_problem(&lab, Part::A, "it is not switched on").await;
    has_problem(&lab, Part::A, "unknown: the gateway does not list it").await;
    lab.admin(&["connection", "activate", "ADT", "--as", TARGET_OWNER]).await;
    super::lab::eventually("it is switched on", async || {
        let (said, _) = check(&lab, Part::A).await;
        (!said.contains("not switched on")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_gone_or_has_another_key_than_was_trusted_is_a_problem() {
    let mirth = mirth().await;
    let mut lab = working_lab(mirth.address()).await;
    is_fine(&lab, Part::A).await;
    lab.kill(Part::B);
    lab.entry_becomes(Part::A, 0, "the tunnel is lost", |entry| entry.tunnel.on == Some(false)).await;
    has_problem(&lab, Part::A, "there is no tunnel to the peer").await;
    lab.start(Part::B);
    lab.entry_becomes(Part::A, 0, "it works again", |entry| entry.health().problem().is_none()).await;
    is_fine(&lab, Part::A).await;

    let name = lab.entry(Part::A, 0).await.unwrap().name;
    let shown = lab.status(Part::B).await.unwrap().key.to_string();
    let other = adit_core::domain::id::KeyFingerprint::from_bytes([7; 32]).to_string();
    let mut command = adit();
    command.args(["trust", &name, &other, "--force", "--config"]).arg(lab.config(Part::A));
    assert!(run(command).await.status.success());
    lab.entry_becomes(Part::A, 0, "the other key is refused", |entry| {
        entry.last_error.as_ref().is_some_and(|fault| fault.what.contains(&shown))
    })
    .await;
    has_problem(&lab, Part::A, &shown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_by_udp_is_fine_unless_its_file_is_wrong() {
    let lab = {
        let mut lab = Lab::written(&[(Protocol::Mllp, super::lab::free_address())]);
        lab.start(Part::Gateway);
        lab.gateway_serves().await;
        lab
    };
    let (said, ok) = check(&lab, Part::Gateway).await;
    line(&said, "ok", "answers by UDP and accepts TCP");
    assert!(ok, "{said}");
    super::lab::edit(&lab.config(Part::Gateway), |text| text.replace("trust_domain", "trust_domian"));
    let (said, ok) = check(&lab, Part::Gateway).await;
    line(&said, "PROBLEM", "did you mean `trust_domain`?");
    assert!(!ok, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_by_tcp_alone_is_told_from_one_that_is_away() {
    let mirth = mirth().await;
    let mut lab = working_lab(mirth.address()).await;
    let gateway = lab.gateway_address();
    for part in [Part::A, Part::B, Part::Gateway] {
        lab.kill(part);
    }
    let (said, _) = check(&lab, Part::A).await;
    let away = line(&said, "PROBLEM", "gateway: ");
    assert!(away.contains("cannot be reached") && !away.contains(" out to "), "{away}");
    let _tcp = TcpListener::bind(gateway).await.unwrap();
    let _udp = tokio::net::UdpSocket::bind(gateway).await.unwrap();
    let (said, is_fine) = check(&lab, Part::A).await;
    line(&said, "PROBLEM", "accepts TCP, but does not answer by UDP: let UDP out");
    assert!(!is_fine, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_judged_without_being_used_up() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    for _ in 0..3 {
        let (said, _) = check(&lab, Part::A).await;
        line(&said, "ok", "token: the gateway takes it until");
        line(&said, "ok", "answers by UDP and accepts TCP");
    }
    let connector = lab.config(Part::A).with_file_name("connector.toml");
    let good = std::fs::read_to_string(&connector).unwrap();
    lab.start(Part::A);
    lab.start(Part::B);
    lab.port_open(0).await;

    // The same file on another host: to it the used and an unknown token are the same.
    let other = tempfile::tempdir().unwrap();
    let config = other.path().join("agent.toml");
    let token = good.lines().find(|line| line.starts_with("token")).unwrap();
    let unknown = good.replace(token, &format!("token = \"{}\"", "1".repeat(64)));
    let mut answers = Vec::new();
    for text in [good.clone(), unknown] {
        let path = other.path().join("connector.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&config, "connector = \"connector.toml\"\nstate = \"state\"\n").unwrap();
        let mut command = adit();
        command.arg("check").arg("--config").arg(&config);
        let output = run(command).await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success(), "{said}");
        answers.push(line(&said, "PROBLEM", "token: ").to_owned());
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].contains("the registration token was not accepted"), "{}", answers[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_on_one_screen_why_a_port_is_closed() {
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut lab = Lab::written(&[(Protocol::Mllp, nobody.local_addr().unwrap())]);
    lab.start_all().await;
    lab.entry_becomes(Part::A, 0, "it is known that Mirth is down", |entry| entry.mirth.on == Some(false))
        .await;
    for (part, whose) in [(Part::A, "partner's Mirth  ○ does not answer"), (Part::B, "Mirth of this host  ○")]
    {
        let mut command = adit();
        command.arg("status").arg("--config").arg(lab.config(part));
        let said = String::from_utf8(run(command).await.stdout).unwrap();
        assert!(said.contains(whose), "{said}");
        assert!(
            part != Part::A || said.contains("port closed (the partner's Mirth does not answer)"),
            "{said}"
        );
        assert!(
            said.contains(if part == Part::A { "Lakeside Mirth (" } else { "St Mary Mirth (" }),
            "{said}"
        );
        // A key or a command is never broken.
        for line in said.lines().filter(|line| line.trim_start().contains(' ') && !line.contains('`')) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
    let mut command = adit();
    command.args(["status", "--json"]).arg("--config").arg(lab.config(Part::A));
    let json: serde_json::Value = serde_json::from_slice(&run(command).await.stdout).unwrap();
    for time in [&json["leaf_expires"], &json["gateway"]["since"], &json["entries"][0]["mirth"]["since"]] {
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time} in {json}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_problem() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount a small disk");
        return;
    }
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.kill(Part::A);
    let small = r#"
        cp -a "$1" "$1.kept"
        mount -t tmpfs -o size=5m,mode=700 none "$1"
        cp -a "$1.kept"/. "$1"
        (umask 077; head -c 3000000 /dev/zero > "$1"/filler)
        exec "$2" check --config "$3""#;
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-euc", small, "sh"]).arg(lab.state(Part::A));
    command.arg(binaries::adit()).arg(lab.config(Part::A));
    let output = run(command).await;
    let said = String::from_utf8(output.stdout).unwrap();
    line(&said, "PROBLEM", "KiB left; make room");
    assert!(!output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_others_may_read_is_refused_by_the_agent_as_by_check() {
    let mut lab = Lab::written(&[(Protocol::Mllp, super::lab::free_address())]);
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    let connector = lab.config(Part::A).with_file_name("connector.toml");
    let allow = |mode| {
        std::fs::set_permissions(&connector, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    allow(0o644);
    let remedy = format!("chmod 600 {}", connector.display());
    has_problem(&lab, Part::A, &remedy).await;
    lab.start(Part::A);
    assert!(!lab.ended(Part::A).await.success());
    assert!(lab.log(Part::A).contains(&remedy), "{}", lab.log(Part::A));
    allow(0o600);
    lab.start(Part::A);
    super::lab::eventually("it enrols", async || lab.status(Part::A).await.map(drop)).await;
    // Spent, the token is of no use to anybody.
    allow(0o644);
    assert!(!check(&lab, Part::A).await.0.contains(&remedy));
}
