//! What owners want of the path: it is done, shown at both ends, and where it cannot be done both are told why.

use std::time::Duration;

use adit_agent::better_paths::BetterPath;
use adit_agent::stats::EntryStatus;
use adit_core::domain::connection::Protocol;
use adit_core::domain::path::{PathKind, PathPreference};
use adit_lab::hl7::AckCode;
use adit_lab::messages::Generator;
use adit_lab::mirth::{Behaviour, Mirth};
use adit_lab::sender::Sender;

use super::lab::{Lab, Part, TARGET_OWNER, adit, edit, eventually, mirth, run};
use super::traffic::Conversation;

const AGENTS: [Part; 2] = [Part::A, Part::B];

/// Writes a line into the entry of each agent's file.
fn written(mirth: &Mirth, [a, b]: [&str; 2]) -> Lab {
    let lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    for (part, table, line) in [(Part::A, "[[p2p_source]]", a), (Part::B, "[[p2p_target]]", b)] {
        edit(&lab.config(part), |text| text.replace(table, &format!("{table}\n{line}")));
    }
    lab
}

/// Returns what a command about an agent prints, its words one space apart, and whether it succeeded.
async fn said(lab: &Lab, part: Part, arguments: &[&str]) -> (String, bool) {
    let mut command = adit();
    command.args(arguments).arg("--config").arg(lab.config(part));
    let output = run(command).await;
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let words: Vec<_> = out.split_whitespace().chain(err.split_whitespace()).collect();
    (words.join(" "), output.status.success())
}

async fn accepts(lab: &Lab) {
    let report = Sender::to(lab.port(0)).send(Generator::new(121).take(20)).await;
    assert_eq!(report.accepted(), 20, "{:?}", report.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_who_allow_no_path_in_common_are_told_at_both_ends_who_allows_what() {
    let mirth = mirth().await;
    let mut lab = written(&mirth, ["prefer = [\"direct\"]", "prefer = [\"relay\"]"]);
    lab.start_all().await;
    lab.linked().await;
    for (part, own, peers) in [(Part::A, "direct", "relay"), (Part::B, "relay", "direct")] {
        let conflict =
            format!("this side allows {own} and the peer's side {peers}: no path is allowed by both");
        let entry = lab.entry_becomes(part, 0, "the conflict", |entry| entry.path_conflict.is_some()).await;
        assert!(entry.path_conflict.unwrap().starts_with(&conflict));
        assert_eq!((entry.path, entry.port_open), (None, false));
        let (text, _) = said(&lab, part, &["status"]).await;
        assert!(text.contains(&format!("there is no tunnel to the peer: {conflict}")), "{text}");
        assert_eq!(text.matches("this side allows").count(), 1, "{text}");
    }
    let (text, is_fine) = said(&lab, Part::A, &["check"]).await;
    assert!(!is_fine && text.contains("the peer: this side allows direct"), "{text}");
    // Once they agree, what was between them is over.
    let name = lab.entry(Part::A, 0).await.unwrap().name;
    let (text, is_fine) = said(&lab, Part::A, &["path", &name, "relay,direct"]).await;
    assert!(is_fine, "{text}");
    lab.takes_path(0, PathKind::Relay).await;
    for part in AGENTS {
        lab.entry_becomes(part, 0, "no conflict", |entry| entry.path_conflict.is_none()).await;
    }
    lab.port_open(0).await;
    accepts(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_who_prefer_tcp_are_on_it_though_udp_works() {
    let mirth = mirth().await;
    let mut lab = written(&mirth, ["prefer = [\"tcp\", \"relay\"]"; 2]);
    lab.start_all().await;
    lab.takes_path(0, PathKind::Tcp).await;
    lab.port_open(0).await;
    accepts(&lab).await;
    for part in AGENTS {
        let status = lab.status(part).await.unwrap();
        let link = status.gateway_path.unwrap();
        assert_eq!((link.path, link.better.len()), (PathKind::Direct, 0), "UDP works");
        assert!(status.carrier.unwrap().up.on == Some(true));
        let better = &status.entries[0].better_paths;
        assert!(better.iter().all(BetterPath::is_owners_word), "{better:?}");
        let (text, _) = said(&lab, part, &["status"]).await;
        assert!(
            text.contains("path tcp (") && text.contains("only tcp and relay are allowed, tcp first"),
            "{text}"
        );
        assert!(text.contains("link direct"), "{text}");
        let metrics = eventually("metrics of the path", async || {
            lab.metrics(part).await.filter(|text| text.contains("path=\"tcp\"} 1\n"))
        })
        .await;
        for line in
            ["adit_carrier_up 1", "adit_carriers_opened_total 1", "adit_control_link_path{path=\"direct\"} 1"]
        {
            assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
        }
    }
    let id = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    eventually("the gateway knows both ends' path", async || {
        let shown = lab.admin(&["connection", "show", &id, "--as", TARGET_OWNER]).await;
        (shown.matches("tcp since").count() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_moves_a_running_exchange_to_tcp_and_back() {
    let mirth = mirth().await;
    mirth.behave(Behaviour::Acknowledge { code: AckCode::Aa, after: Duration::from_millis(10) });
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.takes_path(0, PathKind::Direct).await;
    let messages = Conversation::start(lab.port(0), &mirth, 122);
    for (words, path) in [("tcp", PathKind::Tcp), ("relay", PathKind::Relay), ("auto", PathKind::Direct)] {
        messages.goes_on(&mirth).await;
        for part in AGENTS {
            let name = lab.entry(part, 0).await.unwrap().name;
            let (text, is_fine) = said(&lab, part, &["path", &name, words]).await;
            assert!(is_fine && text.contains("until the agent stops"), "{text}");
        }
        lab.takes_path(0, path).await;
        messages.goes_on(&mirth).await;
    }
    messages.finish(&mirth).await;
    for part in AGENTS {
        let entry = lab.entry(part, 0).await.unwrap();
        assert_eq!((entry.streams_cut, entry.path_choice), (0, PathPreference::AUTO));
        assert!(entry.path_changes >= 3, "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_of_a_relayed_tunnel_takes_the_way_that_its_owner_allows() {
    let mirth = mirth().await;
    let mut lab = written(&mirth, ["path = \"relay\"", "path = \"tcp\""]);
    lab.start_all().await;
    for (part, path) in [(Part::A, PathKind::Relay), (Part::B, PathKind::Tcp)] {
        let entry = lab.entry_becomes(part, 0, path.as_str(), |entry| entry.path == Some(path)).await;
        assert_eq!(entry.path_conflict, None);
    }
    lab.port_open(0).await;
    accepts(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_told_which_better_path_the_peers_owner_does_not_allow() {
    let mirth = mirth().await;
    let mut lab = written(&mirth, ["path = \"tcp\"", ""]);
    lab.start_all().await;
    let better =
        |entry: &EntryStatus| -> Vec<String> { entry.better_paths.iter().map(ToString::to_string).collect() };
    let own = lab.entry_becomes(Part::A, 0, "tcp", |entry| entry.path == Some(PathKind::Tcp)).await;
    let why = "this agent's file or `adit path` does not allow it";
    assert_eq!(better(&own), [format!("direct: {why}"), format!("relay: {why}")]);
    let told = "direct: the peer's owner does not allow it";
    lab.entry_becomes(Part::B, 0, told, |entry| {
        entry.path == Some(PathKind::Relay) && better(entry) == [told]
    })
    .await;
    let (text, _) = said(&lab, Part::B, &["status"]).await;
    assert!(text.contains(&format!("better {told}")), "{text}");
    let (text, _) = said(&lab, Part::B, &["status", "--json"]).await;
    let better = format!("{{\"path\":\"direct\",\"what\":\"{}\",", told.trim_start_matches("direct: "));
    assert!(text.contains(&format!("{better}\"why_not\":\"not-allowed-by-peer\"}}")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_prefer_is_named_with_what_to_write() {
    let mirth = mirth().await;
    for (line, remedy) in [
        ("prefer = [\"udp\"]", "element 1, \"udp\": expected \"direct\" or \"relay\" or \"tcp\""),
        ("prefer = []", "expected a list in brackets with 1 to 3 elements"),
        ("prefer = \"tcp\"", "expected a list in brackets with 1 to 3 elements, as in key = [\"value\"]"),
        ("prefer = [\"tcp\", \"tcp\"]", "tcp is named twice; name each path once, most wanted first"),
        (
            "path = \"relay\"\nprefer = [\"tcp\"]",
            "keep this or `path`, which says \"relay\"; they mean the same",
        ),
    ] {
        let lab = written(&mirth, [line, ""]);
        let (text, is_fine) = said(&lab, Part::A, &["check"]).await;
        assert!(!is_fine && text.contains("prefer is") && text.contains(remedy), "{line}: {text}");
    }
}
