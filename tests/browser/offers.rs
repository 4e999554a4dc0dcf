//! Admin connections: offered, refused by the tier, declined, withdrawn; and one that is accepted and used.

use std::net::SocketAddr;

use adit_lab::admin_client::{AdminClient, RequestContent, shown_key};
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, USER};
use tokio::net::TcpListener;

use super::driver::Browser;
use super::hosts::{at_address, connector_of, name_in};
use super::processes::{eventually, free_port};
use super::stage::{Agent, LAKESIDE, Partnership, STMARY, Stage};

const VIEW_ONLY: &str = "Admin RO: view only, enforced by your agent";
const FULL: &str = "Admin RW: full control; Standard or Enterprise";
const BASE: &str = "/api/4.5.2";

/// Offers St Mary's Mirth to Lakeside.
async fn offer(bob: &Browser, access: &str) {
    bob.open("/connections").await;
    bob.press("Offer an admin connection").await;
    bob.choose("Managed server", "St Mary Mirth").await;
    bob.choose("Who manages it", LAKESIDE).await;
    bob.choose("Access", access).await;
    bob.press("Offer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_control_is_refused_to_a_free_organization_with_the_reason() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    Partnership::make(&ada, &bob).await;
    offer(&bob, FULL).await;
    let why = bob.content(".notice.bad").await;
    assert!(why.contains("Admin RW needs the Standard or Enterprise tier"), "{why}");
    assert_eq!(bob.contents("h1").await, ["Offer an admin connection"], "the form is there again");
    ada.open("/").await;
    assert!(!ada.text().await.contains("Admin RW"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_declined_or_withdrawn_ends_on_both_pages() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    Partnership::make(&ada, &bob).await;
    for (by_recipient, end) in [(true, "Declined"), (false, "Terminated")] {
        ada.open("/").await;
        let page = ada.mark().await;
        offer(&bob, VIEW_ONLY).await;
        bob.says("Offered. The recipient decides now.").await;
        ada.says(&format!("{STMARY} offers you Admin RO")).await;
        page.is_still_there().await;
        ada.press_beside("offers you Admin RO", "Decide").await;
        let (decides, looks, word) =
            if by_recipient { (&ada, &bob, "Decline") } else { (&bob, &ada, "Withdraw") };
        let page = looks.mark().await;
        decides.press(word).await;
        for person in [decides, looks] {
            person
                .sees(end, async |it: &Browser| {
                    it.contents("#head .chip").await.iter().any(|chip| chip == end)
                })
                .await;
            person.says("It has ended; nothing brings it back.").await;
        }
        page.is_still_there().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_only_offer_is_accepted_and_its_session_seen_by_both() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    let partnership = Partnership::make(&ada, &bob).await;
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    accept(&ada, &bob).await;
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let manages = host(&stage, &ada, &partnership.source_server, listen).await;
    let managed = host(&stage, &bob, &partnership.target_server, mirth.address()).await;
    for person in [&ada, &bob] {
        person.has("#keys").await;
    }
    let keys = [ada.content("code[id^=key-]").await, bob.content("code[id^=key-]").await];
    manages.0.adit(&["trust", &manages.1, &keys[1]]).await;
    managed.0.adit(&["trust", &managed.1, &keys[0]]).await;
    managed.0.adit(&["trust", &managed.1, "--mirth"]).await;
    for person in [&ada, &bob] {
        person.has("#head .dot.pulses").await;
        person.open("/admin-sessions").await;
        person.says("No session is on file.").await;
    }
    let pages = (ada.mark().await, bob.mark().await);
    work(listen).await;
    assert!(mirth.journal().arrived().iter().all(|it| it.method != "POST" || it.target.ends_with("/_login")));
    for person in [&ada, &bob] {
        person
            .sees("one row of a session that runs, with what was refused", async |it: &Browser| {
                let (rows, refused) =
                    (it.contents("#sessions tbody tr").await, "#sessions td[data-label=Refused]");
                rows.len() == 1 && rows[0].contains("running") && it.contents(refused).await == ["1"]
            })
            .await;
    }
    pages.0.is_still_there().await;
    pages.1.is_still_there().await;
    mirth.shutdown().await;
}

async fn accept(ada: &Browser, bob: &Browser) {
    offer(bob, VIEW_ONLY).await;
    bob.says("Offered. The recipient decides now.").await;
    let bobs = bob.mark().await;
    ada.open("/").await;
    ada.press_beside("offers you Admin RO", "Decide").await;
    ada.says("Open until").await;
    ada.press("Accept").await;
    ada.says("It is Active as soon as you accept.").await;
    ada.choose("Manage it from", "Lakeside Mirth").await;
    ada.press("Accept").await;
    bob.has("#head .chip.good").await;
    // The entry was not there before it was accepted.
    bob.has("pre[id^=entry-]").await;
    bobs.is_still_there().await;
}

/// An agent with the entry of the page that is open; returns it, running, and the entry's name.
async fn host(stage: &Stage, person: &Browser, server: &str, address: SocketAddr) -> (Agent, String) {
    let entry = at_address(&person.content("pre[id^=entry-]").await, &address.to_string());
    let mut agent = stage.agent(server, &connector_of(person, server).await, &entry);
    agent.start();
    (agent, name_in(&entry))
}

/// Logs in, looks at the channels, and is refused a change.
async fn work(listen: SocketAddr) {
    const CHANNEL: &str =
        "<channel version=\"4.5.2\"><id>3f2504e0-4f89-41d3-9a0c-0305e82c3301</id></channel>";
    let mut client = eventually("the managed Mirth is reached", async || {
        AdminClient::connect(listen, shown_key(listen).await.ok()?).await.ok()
    })
    .await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    assert_eq!(client.get(&format!("{BASE}/channels")).await.unwrap().status, 200);
    let change = client.send("POST", &format!("{BASE}/channels"), RequestContent::Xml(CHANNEL.into())).await;
    assert_eq!(change.unwrap().status, 403);
}
