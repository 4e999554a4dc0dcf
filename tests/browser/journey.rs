//! From the first start to HL7 messages, as two people do it: every step by a button or a link of the page before.

use std::net::SocketAddr;

use adit_lab::mirth::Mirth;
use adit_lab::sender::Sender;

use super::driver::Browser;
use super::hosts::{at_address, name_in, send_until, stand_in};
use super::processes::free_port;
use super::stage::{Agent, LAKESIDE, STMARY, Stage};

const SERVERS: [&str; 2] = ["Lakeside Mirth", "St Mary Mirth"];
const ROUTE: &str = "Lakeside Mirth → St Mary Mirth";

#[tokio::test(flavor = "multi_thread")]
async fn two_organizations_come_from_the_first_start_to_messages_page_by_page() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    let (mut lakeside, mut stmary) =
        tokio::join!(enrolled(&stage, &ada, SERVERS[0]), enrolled(&stage, &bob, SERVERS[1]));
    agree(&ada, &bob).await;
    publish(&bob).await;
    let connection = grant(&ada, &bob).await;
    activate(&ada, &bob, &connection).await;
    let mirth = stand_in().await;
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let names =
        [give_entry(&ada, &mut lakeside, listen).await, give_entry(&bob, &mut stmary, mirth.address()).await];
    become_connected(&ada, &bob).await;
    compare_keys(&ada, &bob, [&lakeside, &stmary], &names).await;
    messages_move_the_pages(&ada, &bob, &connection, listen, &mirth).await;
}

/// Adds the first server by the overview's step, and enrols the agent with what the console shows once.
async fn enrolled(stage: &Stage, person: &Browser, server: &str) -> Agent {
    person.open("/").await;
    person.says("From here to the first message").await;
    person.press("Add a server").await;
    person.fill("Name", server).await;
    person.fill("Version of Mirth", "4.5.2").await;
    person.press("Add").await;
    person.says("No agent enrolled yet").await;
    person.open("/").await;
    person.press("To your servers").await;
    person.press(server).await;
    sees_steps_done(person, &[]).await;
    person.press("Show once").await;
    person.says("This is shown once").await;
    let connector = person.content("#file").await;
    person.press("Follow its progress").await;
    sees_steps_done(person, &["Downloaded"]).await;
    assert!(!person.source().await.contains("token ="), "what was shown once is shown again");
    let page = person.mark().await;
    let mut agent = stage.agent(&server.replace(' ', "-"), &connector, "");
    agent.start();
    person.says("Agent linked").await;
    person.says(concat!("adit ", env!("CARGO_PKG_VERSION"))).await;
    sees_steps_done(person, &["Downloaded", "Enrolled", "Connected"]).await;
    page.is_still_there().await;
    person.press("Agree with a peer").await;
    person.says("Ask an organization").await;
    agent
}

/// Waits until these steps of a connector configuration are done, and no others.
async fn sees_steps_done(person: &Browser, names: &[&str]) {
    person.has("#progress").await;
    let what = format!("the steps {names:?} as done");
    person.sees(&what, async |page: &Browser| page.contents("#progress li.done strong").await == names).await;
}

async fn agree(ada: &Browser, bob: &Browser) {
    let bobs = bob.mark().await;
    ada.fill("Its name, exactly", STMARY).await;
    ada.press("Send the request").await;
    ada.says("The other side decides now.").await;
    let adas = ada.mark().await;
    bob.says(LAKESIDE).await;
    bobs.is_still_there().await;
    bob.press("Accept").await;
    bob.says("Accepted.").await;
    ada.says("live").await;
    adas.is_still_there().await;
}

async fn publish(bob: &Browser) {
    bob.open("/").await;
    bob.press("To the channels").await;
    bob.press("Add a channel").await;
    bob.fill("Public name", "ADT").await;
    bob.fill("Public description", "Admissions, discharges, transfers").await;
    bob.press("Add").await;
    bob.says("published").await;
}

/// Asks for the channel and approves it; returns the path of the connection's page.
async fn grant(ada: &Browser, bob: &Browser) -> String {
    bob.open("/").await;
    bob.press("To the grants").await;
    let bobs = bob.mark().await;
    ada.open("/").await;
    ada.press("To the channels").await;
    ada.press("Of peers").await;
    ada.press("Ask to send").await;
    ada.says("Its owner decides.").await;
    ada.choose("Send from", SERVERS[0]).await;
    ada.press("Ask").await;
    ada.says("pending").await;
    let adas = ada.mark().await;
    bob.says("ADT").await;
    bobs.is_still_there().await;
    bob.press("Approve").await;
    bob.says(ROUTE).await;
    ada.says("approved").await;
    adas.is_still_there().await;
    ada.press("Connection").await;
    ada.says(ROUTE).await;
    let path = ada.path().await;
    assert!(bob.path().await.starts_with(&path), "approving leads to the connection");
    path
}

async fn activate(ada: &Browser, bob: &Browser, connection: &str) {
    let bobs = bob.mark().await;
    ada.says("Ready").await;
    ada.press("Activate").await;
    ada.says("Activated. The agents connect as soon as they can.").await;
    bob.has("#head .chip.good").await;
    bobs.is_still_there().await;
    assert!(ada.path().await.starts_with(connection));
    assert!(ada.text().await.contains("Never connected"), "nothing is connected yet");
    assert_eq!(ada.count(".dot.pulses").await, 0, "what is Active alone does not pulse");
}

/// Takes the entry from the page into the agent's file, with the address that this side uses, and starts it again;
/// returns the entry's name.
async fn give_entry(person: &Browser, agent: &mut Agent, address: SocketAddr) -> String {
    person.says("Copy agent entry").await;
    let entry = at_address(&person.content("pre[id^=entry-]").await, &address.to_string());
    agent.stop();
    agent.edit(|file| format!("{file}{entry}"));
    agent.start();
    name_in(&entry)
}

async fn become_connected(ada: &Browser, bob: &Browser) {
    for person in [ada, bob] {
        let page = person.mark().await;
        person.has("#head .dot.up.pulses").await;
        person.says("Connected").await;
        person.says("Tunnel between the agents: the tunnel is up").await;
        page.is_still_there().await;
    }
}

/// Each hears the other's key, as their page shows it, and trusts it by the command that the own page shows.
async fn compare_keys(ada: &Browser, bob: &Browser, agents: [&Agent; 2], names: &[String; 2]) {
    let keys = [ada.content("code[id^=key-]").await, bob.content("code[id^=key-]").await];
    for (own, (person, agent)) in [ada, bob].into_iter().zip(agents).enumerate() {
        let (name, heard) = (&names[own], &keys[1 - own]);
        person.says(&format!("adit trust {name}")).await;
        assert!(agent.adit(&["status"]).await.contains(&keys[own]), "the page shows the agent's own key");
        agent.adit(&["trust", name, heard]).await;
    }
    assert_ne!(keys[0], keys[1]);
}

/// Messages flow; the lists, the overview and the connection's own page show it by themselves.
async fn messages_move_the_pages(
    ada: &Browser,
    bob: &Browser,
    connection: &str,
    listen: SocketAddr,
    mirth: &Mirth,
) {
    ada.open("/").await;
    ada.says("Send a message").await;
    bob.open("/connections").await;
    let (adas, bobs) = (ada.mark().await, bob.mark().await);
    let still = [ada.spark().await, bob.spark().await];
    let seen = async {
        ada.no_longer_says("From here to the first message").await;
        ada.sees_spark_move_from(still[0].as_ref()).await;
        bob.sees_spark_move_from(still[1].as_ref()).await;
    };
    send_until(&Sender::to(listen), seen).await;
    adas.is_still_there().await;
    bobs.is_still_there().await;
    assert!(mirth.journal().count() > 0);
    ada.open(connection).await;
    ada.says("Last acknowledged").await;
    ada.has("#plots-live svg.plot").await;
}
