//! Faults that somebody plants, as the console's page Diagnose names them to both parties: what fails, on whose side,
//! and whom each calls. Gateway and agents are processes of the real binary.

mod people;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::KeyFingerprint;
use adit_lab::admin_mirth::AdminMirth;
use adit_lab::hl7::AckCode;
use adit_lab::messages::Generator;
use adit_lab::mirth::Behaviour;
use adit_lab::sender::Sender;
use rustix::process::Signal;
use tokio::net::TcpListener;

use self::people::{People, Side};
use super::lab::{Lab, Part, SOURCE_OWNER, TARGET_OWNER, adit, edit, free_address, mirth, run};

const LINK: [&str; 2] = ["Source's agent and gateway", "Target's agent and gateway"];
const ENTRY: [&str; 2] = ["Entry in the source agent's file", "Entry in the target agent's file"];
const SENT: &str = "Messages are sent";

/// A lab whose connection carries, and its people.
struct Ward {
    lab: Lab,
    people: People,
    connection: String,
}

impl Ward {
    async fn of(lab: Lab) -> Self {
        let people = People::of(&lab).await;
        let connection = line(&lab, Part::A, "id");
        Self { lab, people, connection }
    }

    /// The files of a connection to `target`, and a gateway that runs.
    async fn with_gateway(target: SocketAddr) -> Self {
        let mut lab = Lab::written(&[(Protocol::Mllp, target)]);
        lab.start(Part::Gateway);
        lab.gateway_serves().await;
        Self::of(lab).await
    }

    async fn is_told(&self, title: &str, side: Side, words: &str) {
        self.people.are_told(&self.connection, title, side, words).await;
    }

    async fn works(&self) {
        self.is_told(SENT, Side::Source, "nothing was sent").await;
    }

    async fn stop(&mut self, part: Part) {
        self.lab.signal(part, Signal::TERM);
        self.lab.ended(part).await;
    }

    /// Starts an agent again with another file; returns the file that it had.
    async fn restart_with(&mut self, part: Part, change: impl FnOnce(String) -> String) -> String {
        self.stop(part).await;
        let path = self.lab.config(part);
        let before = fs::read_to_string(&path).unwrap();
        edit(&path, change);
        // It may hold a secret now.
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        self.lab.start(part);
        before
    }

    async fn trust(&self, part: Part, key: &str) {
        let name = line(&self.lab, part, "name");
        let mut command = adit();
        command.args(["trust", &name, key, "--force", "--config"]).arg(self.lab.config(part));
        assert!(run(command).await.status.success());
    }

    async fn decide(&self, verb: &str, owner: &str) {
        self.lab.admin(&["connection", verb, &self.connection, "--as", owner]).await;
    }
}

/// A value of the only entry of an agent's file.
fn line(lab: &Lab, part: Part, key: &str) -> String {
    let text = fs::read_to_string(lab.config(part)).unwrap();
    let line = text.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| name.trim() == key);
    line.unwrap().1.trim().trim_matches('"').to_owned()
}

/// A file without its entries.
fn without_entries(text: &str) -> String {
    text.split("\n[[").next().unwrap().to_owned() + "\n"
}

/// A file with one more line in its entry.
fn with_line(text: &str, line: &str) -> String {
    let at = text.find("]]\n").unwrap() + 3;
    format!("{}{line}\n{}", &text[..at], &text[at..])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_never_came_or_was_stopped_is_named() {
    let mirth = mirth().await;
    let mut ward = Ward::with_gateway(mirth.address()).await;
    ward.is_told(LINK[0], Side::Source, "agent").await;
    ward.lab.start(Part::A);
    ward.is_told(LINK[1], Side::Target, "agent").await;
    ward.lab.start(Part::B);
    ward.works().await;
    for (part, side, title) in [(Part::A, Side::Source, LINK[0]), (Part::B, Side::Target, LINK[1])] {
        ward.stop(part).await;
        ward.is_told(title, side, "not linked to the gateway").await;
        ward.lab.start(part);
        ward.works().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_lacks_or_has_wrong_is_named() {
    let mirth = mirth().await;
    let mut ward = Ward::with_gateway(mirth.address()).await;
    let [a, b] = [Part::A, Part::B].map(|part| fs::read_to_string(ward.lab.config(part)).unwrap());
    for part in [Part::A, Part::B] {
        edit(&ward.lab.config(part), |text| without_entries(&text));
        ward.lab.start(part);
    }
    ward.is_told(ENTRY[0], Side::Source, "no entry").await;
    let taken = TcpListener::bind(ward.lab.port(0)).await.unwrap();
    ward.restart_with(Part::A, |_| a).await;
    ward.is_told(ENTRY[1], Side::Target, "no entry").await;
    ward.restart_with(Part::B, |_| b).await;
    ward.is_told("Port of the source's agent", Side::Source, "another program").await;
    drop(taken);
    ward.works().await;
    let before = ward.restart_with(Part::B, |text| text.replace("\"mllp\"", "\"tcp\"")).await;
    ward.is_told("Decided by people", Side::Target, "another protocol").await;
    ward.restart_with(Part::B, |_| before).await;
    ward.decide("retry", TARGET_OWNER).await;
    ward.is_told("Decided by people", Side::Both, "Ready").await;
    ward.decide("activate", TARGET_OWNER).await;
    ward.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_a_secret_that_differs_is_named() {
    let mirth = mirth().await;
    let mut ward = Ward::of(Lab::to(Protocol::Mllp, mirth.address()).await).await;
    let other = KeyFingerprint::from_bytes([7; 32]).to_string();
    for (part, peer, side) in [(Part::A, Part::B, Side::Source), (Part::B, Part::A, Side::Target)] {
        let shown = ward.lab.status(peer).await.unwrap().key.to_string();
        ward.trust(part, &other).await;
        ward.is_told("Trust between the agents", side, "another key").await;
        ward.trust(part, &shown).await;
        ward.works().await;
    }
    let secret = format!("secret = \"{}\"", "5e".repeat(32));
    for (part, side) in [(Part::A, Side::Source), (Part::B, Side::Target)] {
        let before = ward.restart_with(part, |text| with_line(&text, &secret)).await;
        ward.is_told("Secret of the connection", side, "own file").await;
        ward.restart_with(part, |_| before).await;
        ward.works().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_decided_is_named_with_who_did() {
    let mirth = mirth().await;
    let ward = Ward::of(Lab::to(Protocol::Mllp, mirth.address()).await).await;
    ward.decide("pause", TARGET_OWNER).await;
    ward.is_told("Decided by people", Side::Target, "Paused by St Mary Hospital,").await;
    ward.decide("pause", SOURCE_OWNER).await;
    ward.is_told("Decided by people", Side::Both, "Paused by Lakeside Clinic and St Mary Hospital").await;
    ward.decide("resume", TARGET_OWNER).await;
    ward.is_told("Decided by people", Side::Source, "Paused by Lakeside Clinic,").await;
    ward.decide("resume", SOURCE_OWNER).await;
    ward.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_owners_or_the_net_do_not_allow_are_named() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    edit(&lab.config(Part::Gateway), |text| text + "[relay]\nenabled = false\n");
    edit(&lab.config(Part::A), |text| with_line(&text, "prefer = [\"direct\"]"));
    edit(&lab.config(Part::B), |text| with_line(&text, "prefer = [\"relay\"]"));
    lab.start_all().await;
    let mut ward = Ward::of(lab).await;
    let path = "Path between the agents";
    ward.is_told(path, Side::Both, "no kind of path in common").await;
    ward.restart_with(Part::A, |text| text.replace("prefer = [\"direct\"]\n", "")).await;
    ward.is_told(path, Side::Target, "does not allow every kind").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirth_that_is_down_refuses_or_is_silent_is_named() {
    let target = free_address();
    let ward = Ward::of({
        let mut lab = Lab::written(&[(Protocol::Mllp, target)]);
        lab.start_all().await;
        lab
    })
    .await;
    ward.is_told("Target's agent and Mirth", Side::Target, "does not accept on the port").await;
    let mirth = super::lab::mirth_at(target).await;
    ward.works().await;
    let send = async |number: u64| {
        ward.lab.port_open(0).await;
        Sender::to(ward.lab.port(0)).send(Generator::new(number).take(1)).await
    };
    mirth.behave(Behaviour::Acknowledge { code: AckCode::Ae, after: Duration::ZERO });
    send(1).await;
    ward.is_told("Messages are accepted", Side::Target, "refuse").await;
    mirth.behave(Behaviour::Silent);
    send(2).await;
    ward.is_told("Messages are answered", Side::Target, "has not acknowledged it").await;
    mirth.behave(Behaviour::ACCEPT);
    assert_eq!(send(3).await.accepted(), 1);
    let page = format!("/connections/{}/diagnose", ward.connection);
    super::lab::eventually("nothing fails any more", async || {
        ward.people.page(0, &page).await?.contains(">Nothing fails</h2>").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_mirth_that_is_down_is_named() {
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let mut lab = Lab::written_managing(&[], mirth.address(), &[Access::ReadOnly]).await;
    lab.start_all().await;
    lab.administrator(0).await;
    let ward = Ward::of(lab).await;
    mirth.shutdown().await;
    ward.is_told("Target's agent and Mirth", Side::Target, "over HTTPS").await;
}
