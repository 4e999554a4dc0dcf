//! What is written down of sessions, where, and what never is.

use std::fs;
use std::path::{Path, PathBuf};

use adit_core::domain::access::Access;
use adit_lab::admin_client::{AdminClient, RequestContent};
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, USER};
use serde_json::Value;
use tokio::net::TcpListener;

use super::client::Client;
use crate::lab::{Lab, Part, SOURCE_OWNER, TARGET_OWNER, eventually};

const BASE: &str = "/api/4.5.2";
const ID: &str = "8a7c1e90-1111-4c4c-9a9a-markerpathid";
/// What must stand nowhere, each planted where its name says.
const MARKERS: [&str; 7] = [
    "marker-body",
    "marker-cookie",
    "marker-query",
    "markerpathid",
    "bWFya2VyOmF1dGg=",
    "marker-header",
    "marker-name",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_session_refusal_or_change_is_in_the_audits_without_what_was_said() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mirth = AdminMirth::start(listener).unwrap();
    mirth.add_channel(&format!("<channel><id>{ID}</id><name>there</name></channel>"));
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly, Access::ReadWrite]).await;
    for index in 0..2 {
        works(&lab, index).await;
    }
    let forwarded = mirth.journal().arrived();
    for marker in MARKERS {
        let is_there = forwarded.iter().any(|one| format!("{one:?}").contains(marker));
        assert!(is_there || marker == "marker-body", "{marker} reached Mirth, so it was read");
    }

    let managed = |event: &str, index: usize| events(&lab, Part::B, event, index);
    for (index, access) in ["read-only", "read-write"].into_iter().enumerate() {
        let [started] = &managed("admin_session_started", index)[..] else { panic!("one session") };
        assert_eq!(started["access"], access);
        assert_eq!(started["organization"], SOURCE_OWNER);
        assert_eq!(started["local_peer"], "127.0.0.1");
        let [started] = &events(&lab, Part::A, "admin_session_started", index)[..] else { panic!("one") };
        assert_eq!(started["organization"], TARGET_OWNER);
        assert_eq!(started["local_peer"], "127.0.0.1");
    }
    let refused = managed("admin_refused", 0);
    let templates: Vec<_> = refused.iter().map(|it| it["template"].as_str().unwrap()).collect();
    println!("refused in view-only: {templates:?}");
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(refused.iter().all(|it| it["reason"].as_str().is_some_and(|why| !why.is_empty())));
    assert_eq!(managed("admin_change", 0).len(), 0);

    let (begun, done) = (managed("admin_change", 1), managed("admin_change_done", 1));
    let names: Vec<_> = begun.iter().map(|it| it["operation"].as_str().unwrap()).collect();
    println!("changes with full control: {names:?}");
    assert_eq!(begun.len(), done.len());
    for (begun, done) in begun.iter().zip(&done) {
        assert_eq!(begun["number"], done["number"]);
        assert!(done["status"].is_u64() && done["milliseconds"].is_u64(), "{done}");
    }
    for name in ["createChannel", "updateChannel", "removeChannel", "setUserPreferences"] {
        assert!(names.contains(&name), "{name}");
    }

    // The clients are gone; a minute later so are their sessions.
    for (part, index) in [(Part::A, 0), (Part::A, 1), (Part::B, 0), (Part::B, 1)] {
        let ended = eventually("the session has ended", async || {
            events(&lab, part, "admin_session_ended", index).into_iter().next()
        })
        .await;
        println!("{part:?} {index}: {ended}");
        if part == Part::B {
            assert_eq!(ended["refused"], if index == 0 { 4 } else { 1 });
            assert_eq!(ended["changes"], begun.len() * index);
            assert!(ended["requests"].as_u64() >= Some(5));
        }
    }
    for owner in [SOURCE_OWNER, TARGET_OWNER] {
        let audit = eventually("the gateway's audit has the sessions' ends", async || {
            let audit = lab.gateway_audit(owner).await;
            (audit.matches("ended").count() >= 2).then_some(audit)
        })
        .await;
        println!("the gateway's audit for {owner}:\n{audit}");
        assert!(audit.contains("127.0.0.1"));
    }
    let mut looked = 0;
    for file in all_files(lab.dir().parent().unwrap()) {
        let bytes = fs::read(&file).unwrap_or_default();
        looked += 1;
        for marker in MARKERS.into_iter().chain([PASSWORD_IN_FORM, "JSESSIONID"]) {
            let found = memchr::memmem::find(&bytes, marker.as_bytes());
            assert_eq!(found, None, "{marker} in {}", file.display());
        }
    }
    println!("{looked} files of gateway and agents were searched, logs and database among them");
    assert!(looked > 20);
    mirth.shutdown().await;
}

const PASSWORD_IN_FORM: &str = "password=admin";

/// What a person does, with something of their own at every place of a request.
async fn works(lab: &Lab, index: usize) {
    let mut client: AdminClient = lab.administrator(index).await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    let channel = format!("<channel><id>{ID}</id><name>marker-name marker-body</name></channel>");
    for (method, path, xml) in [
        ("GET", format!("/channels/{ID}"), ""),
        ("GET", format!("/channels/{ID}/messages?textSearch=marker-query&limit=1"), ""),
        ("POST", "/channels".to_owned(), channel.as_str()),
        ("PUT", format!("/channels/{ID}"), channel.as_str()),
        ("PUT", "/users/1/preferences".to_owned(), "<properties>marker-body</properties>"),
        ("DELETE", format!("/channels/{ID}?marker-query=1"), ""),
    ] {
        let carried =
            if xml.is_empty() { RequestContent::Nothing } else { RequestContent::Xml(xml.to_owned().into()) };
        client.send(method, &format!("{BASE}{path}"), carried).await.unwrap();
    }
    let mut raw = Client::to(lab.admin_port(index)).await;
    let own = "Cookie: JSESSIONID=marker-cookie\r\nX-Own: marker-header marker-name\r\n\
        Authorization: Basic bWFya2VyOmF1dGg=\r\n";
    raw.ask("GET", "/api/users/current", own).await;
    assert_eq!(raw.answer().await.0, 401);
    raw.ask("GET", "/marker-query/%2e%2e/markerpathid", own).await;
    assert!(raw.answer().await.0 >= 400);
}

/// The lines of one kind that an agent wrote about a connection.
fn events(lab: &Lab, part: Part, event: &str, index: usize) -> Vec<Value> {
    let id = lab.admin_id(index);
    let lines = lab.own_audit(part);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|it| it["event"] == event && it["connection"] == id.as_str()).collect()
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(all_files(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}
