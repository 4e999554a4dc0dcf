//! Texts from elsewhere that would move a terminal's cursor, forge lines or turn others round are shown
//! as what they are.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Output;
use std::thread;

use adit_agent::state::AgentState;
use adit_agent::stats::AgentStatus;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::limits::STATUS_ANSWER_BYTES_MAX;
use adit_core::domain::visible::first_hidden;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::lab::{Lab, Part, adit, mirth, run};

const HOSTILE: &str =
    "x\u{1b}]0;y\u{7}\u{1b}[2J\u{9b}1A\u{7f}\r\nFORGED\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}z";

/// Every text of an answer that may be any text is hostile.
fn make_hostile(whole: &mut Value) {
    let mut paths = Vec::new();
    collect(whole, String::new(), &mut paths);
    for path in paths {
        let before = std::mem::replace(whole.pointer_mut(&path).unwrap(), HOSTILE.into());
        if serde_json::from_value::<AgentStatus>(whole.clone()).is_err() {
            *whole.pointer_mut(&path).unwrap() = before;
        }
    }
}

fn collect(value: &Value, at: String, paths: &mut Vec<String>) {
    match value {
        Value::String(_) => paths.push(at),
        Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(index, value)| collect(value, format!("{at}/{index}"), paths));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(value, format!("{at}/{key}"), paths));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Answers at an agent's socket what `answer` says to the kind of request.
fn stand_in(socket: PathBuf, answer: impl Fn(&str) -> Value + Send + 'static) {
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).unwrap();
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let request: Value = serde_json::from_str(&line).unwrap();
            let answered = answer(request["request"].as_str().unwrap());
            let _ = stream.write_all(answered.to_string().as_bytes());
        }
    });
}

#[track_caller]
fn assert_shown(output: &Output, what: &str) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(bytes.clone()).unwrap();
        for line in text.lines() {
            assert_eq!(first_hidden(line), None, "{what}: {line:?}");
            assert!(!line.starts_with("FORGED"), "{what}: {text:?}");
        }
    }
    let whole = [output.stdout.clone(), output.stderr.clone()].concat();
    let whole = String::from_utf8_lossy(&whole).into_owned();
    assert!(whole.contains("FORGED"), "{what} shows nothing of it: {whole}");
}

async fn command(lab: &Lab, part: Part, arguments: &[&str]) -> Output {
    let mut command = adit();
    command.args(arguments).arg("--config").arg(lab.config(part));
    run(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_answers_are_shown_as_what_they_are() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let entry = lab.entry(Part::A, 0).await.unwrap().name;
    let mut status = serde_json::to_value(lab.status(Part::A).await.unwrap()).unwrap();
    let fault = json!({ "at": status["leaf_expires"], "what": "x" });
    status["gateway_error"] = fault.clone();
    status["gateway"]["on"] = false.into();
    status["admin_certificate"] = "x".into();
    status["entries"][0]["last_error"] = fault;
    status["entries"][0]["path_reason"] = "x".into();
    status["entries"][0]["admin"] = json!({ "access": null, "sessions": 0, "managed": {
        "mirth_version": "x", "mirth_key": null, "mirth_key_shown": null, "requests": 0, "refused": 0,
        "changes": 0, "unknown_operations": ["x"] } });
    make_hostile(&mut status);
    assert!(status.to_string().matches("FORGED").count() >= 12, "{status}");
    status["answer"] = "status".into();

    lab.kill(Part::A);
    // So that it counts as running.
    let _claimed = AgentState::open(&lab.state(Part::A)).unwrap();
    stand_in(lab.state(Part::A).join("agent.sock"), move |request| match request {
        "status" => status.clone(),
        "explain" => json!({ "answer": "explained", "access": "read-only", "operation": HOSTILE,
            "template": HOSTILE, "changes": false, "rule": HOSTILE,
            "outcome": { "is": "refused", "status": 403, "reason": HOSTILE } }),
        _ => json!({ "answer": "failed", "what": HOSTILE }),
    });
    let key = KeyFingerprint::from_bytes([7; 32]).to_string();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["check"],
        &["trust", &entry, &key],
        &["path", &entry, "relay"],
        &["explain", &entry, "GET", "/api/channels"],
        &["explain", &entry, "GET", "/api/channels", "--json"],
    ] {
        assert_shown(&command(&lab, Part::A, arguments).await, &arguments.join(" "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_the_database_are_shown_as_what_they_are() {
    let lab = Lab::written(&[(Protocol::Mllp, "127.0.0.1:9".parse().unwrap())]);
    let path = lab.state(Part::Gateway).join("platform.db");
    let mut database =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap();
    for statement in [
        "UPDATE organization SET name = name || ?",
        "UPDATE server SET name = name || ?1, version = ?1, description = ?1",
        "UPDATE channel SET name = name || ?1, description = ?1",
        "INSERT INTO audit (at, actor, action, object, outcome, detail) VALUES (1, ?1, ?1, ?1, 'done', ?1)",
    ] {
        let changed = sqlx::query(statement).bind(HOSTILE).execute(&mut database).await.unwrap();
        assert!(changed.rows_affected() > 0, "{statement}");
    }
    database.close().await.unwrap();
    let connector = lab.dir().join("out.toml");
    let server = format!("Lakeside Mirth{HOSTILE}");
    for arguments in [
        &["org", "list"][..],
        &["org", "list", "--json"],
        &["server", "list"],
        &["channel", "list"],
        &["peering", "list"],
        &["grant", "list"],
        &["connection", "list"],
        &["connection", "entry", &format!("mllp 1{HOSTILE}")],
        &["connection", "show", &format!("mllp 1{HOSTILE}")],
        &["connection", "pause", &format!("mllp 1{HOSTILE}")],
        &["token", "issue", "--server", &server, "--out", connector.to_str().unwrap()],
        &["audit"],
        &["audit", "--json"],
    ] {
        let arguments = [&["admin"], arguments].concat();
        let output = command(&lab, Part::Gateway, &arguments).await;
        assert_shown(&output, &arguments.join(" "));
    }
    let written = std::fs::read_to_string(connector).unwrap();
    assert!(
        !written.lines().any(|line| first_hidden(line).is_some() || line.starts_with("FORGED")),
        "{written}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let lab = Lab::written(&[(Protocol::Mllp, "127.0.0.1:9".parse().unwrap())]);
    std::fs::create_dir(lab.state(Part::A)).unwrap();
    let bytes = usize::try_from(STATUS_ANSWER_BYTES_MAX).unwrap();
    stand_in(
        lab.state(Part::A).join("agent.sock"),
        move |_| json!({ "answer": "failed", "what": "x".repeat(bytes) }),
    );
    let output = command(&lab, Part::A, &["status"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("did not answer as expected"), "{said}");
}
