//! What two organizations rule together, each at its own browser: the secret, pauses, and the end of a connection.

use serde_json::{Value, json};

use super::driver::Browser;
use super::hosts::Hosts;
use super::stage::{LAKESIDE, Partnership, STMARY, Stage};

const OF_THE_OTHER: &str = "The other side has paused it; each lifts its own pause.";

async fn page_of(partnership: &Partnership, people: [&Browser; 2]) {
    for person in people {
        person.open(&format!("/connections/{}", partnership.connection)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_views_the_secret_once_until_it_is_rotated() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    let partnership = Partnership::make(&ada, &bob).await;
    page_of(&partnership, [&ada, &bob]).await;
    let first = view_secret(&ada).await.expect("the first view");
    assert_eq!(view_secret(&bob).await.as_ref(), Some(&first), "both sides own one secret");
    assert_eq!((view_secret(&ada).await, view_secret(&bob).await), (None, None));
    ada.press("Rotate Secrets").await;
    ada.says("The old secret is dead for new handshakes at once").await;
    ada.press("Rotate Secrets").await;
    ada.says("The secret is replaced.").await;
    let second = view_secret(&ada).await.expect("the first view of the new one");
    assert_ne!(first, second);
    for person in [&ada, &bob] {
        let (_, listed) = person.ask("GET", "/connections", &Value::Null).await;
        let seen = format!("{}{listed}", person.source().await);
        assert!(!seen.contains(&first) && !seen.contains(&second), "a secret is shown by its view alone");
    }
}

/// Views it from the connection's page; `None` where that says that it was viewed, and points to Rotate Secrets.
async fn view_secret(person: &Browser) -> Option<String> {
    const VIEWED: &str = "it is shown once; Rotate Secrets makes a new one";
    if person.says_one_of(&[VIEWED, "What you may do"]).await == VIEWED {
        return None;
    }
    person.press("View Secret").await;
    person.says("Your organization may view it once.").await;
    person.press("View Secret").await;
    let secret = person.content("#secret").await;
    person.press("Back to the connection").await;
    Some(secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_configuration_leaves_no_trace_at_the_other_side() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    let partnership = Partnership::make(&ada, &bob).await;
    let connection = format!("/connections/{}", partnership.connection);
    page_of(&partnership, [&ada, &bob]).await;
    let before = (ada.source().await, ada.does("GET", &connection, &Value::Null).await);
    bob.open(&format!("/servers/{}", partnership.target_server)).await;
    bob.press("Show once").await;
    bob.says("This is shown once").await;
    bob.open(&connection).await;
    assert!(bob.source().await.contains("<dt>Target's agent</dt>"), "its owner follows it");
    assert_eq!(bob.does("GET", &connection, &Value::Null).await["connector"]["stage"], "downloaded");
    ada.open(&connection).await;
    let after = (ada.source().await, ada.does("GET", &connection, &Value::Null).await);
    assert_eq!(before, after);
    assert!(!after.0.contains("Target's agent</dt>") && after.1.get("connector").is_none());
    let of_the_other =
        ada.ask("GET", &format!("/servers/{}/connector", partnership.target_server), &Value::Null).await;
    let of_nobody =
        ada.ask("GET", "/servers/00000000-0000-4000-8000-000000000000/connector", &Value::Null).await;
    assert_eq!((of_the_other.0, &of_the_other), (404, &of_nobody));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_pages_follow_what_either_side_decides_until_the_connection_ends() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    let partnership = Partnership::make(&ada, &bob).await;
    page_of(&partnership, [&ada, &bob]).await;
    assert_eq!(bob.count("#keys").await, 0, "no agent has a key yet");
    let bobs = bob.mark().await;
    let hosts = Hosts::connected(&stage, &ada, &bob, &partnership).await;
    bob.has("#keys").await;
    bob.has("#head .dot.pulses").await;
    bobs.is_still_there().await;
    pause_and_resume(&ada, &bob).await;
    ada.press("Disconnect now").await;
    ada.says("Open tunnels are cut. The status stays as it was.").await;
    ada.has("#head .dot.pulses").await;
    terminate(&ada, &bob).await;
    assert_eq!(hosts.send(1, 1).await, 0, "what has ended carries nothing");
}

async fn pause_and_resume(ada: &Browser, bob: &Browser) {
    let (by_ada, by_bob) = (&*format!("Paused by {LAKESIDE}"), &*format!("Paused by {STMARY}"));
    let bobs = bob.mark().await;
    ada.press("Pause").await;
    ada.says("Paused.").await;
    ada.says("Your side has paused it already.").await;
    sees_chips(bob, &["P2P", "Paused", by_ada]).await;
    bob.says(OF_THE_OTHER).await;
    assert_eq!(bob.count("#head .dot.pulses").await, 0, "only what is Active pulses");
    bobs.is_still_there().await;
    let adas = ada.mark().await;
    bob.press("Pause").await;
    bob.says("Paused.").await;
    sees_chips(ada, &["P2P", "Paused", by_ada, by_bob]).await;
    adas.is_still_there().await;
    let bobs = bob.mark().await;
    ada.press("Resume").await;
    ada.says("Your pause is lifted.").await;
    for person in [ada, bob] {
        sees_chips(person, &["P2P", "Paused", by_bob]).await;
    }
    ada.says(OF_THE_OTHER).await;
    bobs.is_still_there().await;
    let adas = ada.mark().await;
    bob.press("Resume").await;
    for person in [ada, bob] {
        sees_chips(person, &["P2P", "Active"]).await;
        person.has("#head .dot.pulses").await;
    }
    adas.is_still_there().await;
}

async fn sees_chips(person: &Browser, expected: &[&str]) {
    let what = format!("{expected:?} in the head");
    person.sees(&what, async |page: &Browser| page.contents("#head .chip").await == expected).await;
}

/// Ada ends it, while Bob looks at the list.
async fn terminate(ada: &Browser, bob: &Browser) {
    bob.open("/connections").await;
    bob.says("Lakeside Mirth → St Mary Mirth").await;
    let bobs = bob.mark().await;
    ada.press("Terminate").await;
    ada.says("Tunnels are cut at once, on both sides, and it never comes back").await;
    ada.press("Terminate").await;
    ada.says("It has ended; nothing brings it back.").await;
    bob.no_longer_says("Lakeside Mirth → St Mary Mirth").await;
    bob.says("Ended: 1").await;
    bobs.is_still_there().await;
    bob.press("Ended: 1").await;
    bob.says("Lakeside Mirth → St Mary Mirth").await;
    bob.says("Terminated").await;
    bob.press("Hide those that have ended").await;
    bob.says("There is no connection yet.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_refused_stays_live() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    let partnership = Partnership::make(&ada, &bob).await;
    let connection = format!("/connections/{}", partnership.connection);
    page_of(&partnership, [&ada, &bob]).await;
    // As where the other has been faster: the page still shows the button.
    ada.run("addEventListener('submit', (it) => { it.target.action = it.target.action.replace('activate', 'resume'); })")
        .await;
    ada.press("Activate").await;
    ada.has(".notice.bad").await;
    let page = ada.mark().await;
    bob.does("POST", &format!("{connection}/activate"), &json!({})).await;
    ada.has("#head .chip.good").await;
    page.is_still_there().await;
}
