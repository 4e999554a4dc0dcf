//! The console by keyboard alone: the whole way of two people, and where the focus is when a page changes.

use fantoccini::key::Key;
use serde_json::{Value, json};

use super::driver::Browser;
use super::stage::{LAKESIDE, PASSWORD, Partnership, STMARY, Stage};

/// More than any page has to stop at.
const STOPS_MAX: usize = 250;

/// One at a keyboard.
struct Hands<'b> {
    browser: &'b Browser,
}

impl Hands<'_> {
    async fn press(&self, key: Key) {
        self.browser.types(&char::from(key).to_string()).await;
    }

    /// Goes on with Tab until what has this name has the focus.
    async fn to(&self, name: &str) {
        self.to_where(name, &format!("name === {}", Value::from(name))).await;
    }

    /// Goes on until what has this name, in the row, entry or card with this text, has the focus.
    async fn to_beside(&self, text: &str, name: &str) {
        let is_there = format!(
            "name === {} && it.closest('tr, li, section')?.textContent.includes({})",
            Value::from(name),
            Value::from(text)
        );
        self.to_where(name, &is_there).await;
    }

    async fn to_where(&self, name: &str, is_there: &str) {
        let script = format!(
            "const it = document.activeElement;
             const name = (it.getAttribute('aria-label') || it.labels?.[0]?.textContent || it.textContent).trim();
             return Boolean({is_there});"
        );
        for _ in 0..STOPS_MAX {
            if self.browser.run(&script).await == Value::Bool(true) {
                return;
            }
            self.press(Key::Tab).await;
        }
        panic!("no Tab leads to `{name}`; the page says:\n{}", self.browser.text().await);
    }

    async fn write(&self, label: &str, text: &str) {
        self.to(label).await;
        self.browser.types(text).await;
    }

    /// Presses Enter on what has this name, and waits until the page says so.
    async fn enter(&self, name: &str, says: &str) {
        self.to(name).await;
        self.press(Key::Enter).await;
        self.browser.says(says).await;
    }

    async fn open(&self, page: &str) {
        self.enter(page, page).await;
        self.browser.has("nav a[aria-current]").await;
    }

    async fn sign_in(&self, organization: &str, email: &str) {
        self.write("Organization", organization).await;
        self.write("E-mail address", email).await;
        self.write("Password", PASSWORD).await;
        self.press(Key::Enter).await;
        self.browser.says("Overview").await;
    }

    async fn add_server(&self, name: &str) {
        self.open("Servers").await;
        self.enter("Add a server", "Version of Mirth").await;
        self.write("Name", name).await;
        self.enter("Add", "Added.").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_go_from_sign_in_to_termination_without_a_mouse() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("standard").await;
    for (browser, organization, email) in
        [(&ada, LAKESIDE, "ada@lakeside.example"), (&bob, STMARY, "bob@stmary.example")]
    {
        let hands = Hands { browser };
        hands.enter("Sign out", "You are signed out.").await;
        hands.sign_in(organization, email).await;
    }
    let (at_lakeside, at_stmary) = (Hands { browser: &ada }, Hands { browser: &bob });
    at_lakeside.add_server("Lakeside Mirth").await;
    at_stmary.add_server("St Mary Mirth").await;

    at_stmary.enter("Add a channel", "Public name").await;
    at_stmary.write("Public name", "CT images").await;
    // Arrows choose among radio buttons.
    at_stmary.to("HL7v2 over MLLP").await;
    at_stmary.press(Key::Down).await;
    at_stmary.to("Publish it: every peer with an agreement sees it and may ask to send").await;
    bob.types("  ").await;
    at_stmary.enter("Add", "Added.").await;
    bob.says("published").await;
    bob.says("dicom").await;

    at_lakeside.open("Peering").await;
    at_lakeside.write("Its name, exactly", STMARY).await;
    at_lakeside.enter("Send the request", "Sent. The other side decides now.").await;
    at_stmary.open("Peering").await;
    at_stmary.enter("Accept", "Accepted.").await;

    at_lakeside.open("Channels").await;
    at_lakeside.enter("Of peers", "CT images").await;
    at_lakeside.enter("CT images", "Ask to send to it").await;
    at_lakeside.enter("Ask to send to it", "Send from").await;
    at_lakeside.to("Send from").await;
    ada.types("Lakeside").await;
    at_lakeside.enter("Ask", "Sent. The other side decides now.").await;
    at_stmary.open("Grants").await;
    at_stmary.enter("Approve", "Approved.").await;

    at_lakeside.open("Connections").await;
    at_lakeside.enter("Lakeside Mirth → St Mary Mirth", "What you may do").await;
    ada.says("Ready").await;
    at_lakeside.enter("Activate", "Activated.").await;
    at_lakeside.enter("Pause", "Paused by").await;
    at_lakeside.enter("Resume", "Your pause is lifted.").await;
    at_lakeside.to_beside("It ends for good", "Terminate").await;
    // Backwards and forwards again is where one was.
    ada.types_shift_tab().await;
    at_lakeside.press(Key::Tab).await;
    at_lakeside.press(Key::Enter).await;
    ada.says("Leave it as it is").await;
    at_lakeside.enter("Terminate", "Terminated.").await;
    at_lakeside.enter("Sign out", "You are signed out.").await;
}

/// What stands on what has the focus.
async fn focused(browser: &Browser) -> String {
    let text = browser.run("return document.activeElement.textContent.trim()").await;
    text.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_focus_stays_where_it_is_when_what_is_live_changes() {
    let stage = Stage::start("free").await;
    let (ada, bob) = stage.owners("free").await;
    let connection = Partnership::make(&ada, &bob).await.connection;
    let command = async |command: &str| {
        bob.does("POST", &format!("/connections/{connection}/{command}"), &json!({})).await;
    };
    ada.open(&format!("/connections/{connection}")).await;
    ada.says("Live").await;
    let hands = Hands { browser: &ada };
    hands.to("Terminate").await;
    command("activate").await;
    ada.says("Only a connection that is Ready is activated.").await;
    assert_eq!(focused(&ada).await, "Terminate");
    // What cannot be pressed any more leaves the focus where the next thing is near.
    hands.to("Pause").await;
    bob.does("POST", &format!("/connections/{connection}/terminate"), &json!({})).await;
    ada.says("It has ended; nothing brings it back.").await;
    let card = ada.run("return document.activeElement.id").await;
    assert_eq!(card, "acts-card");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_form_has_the_focus_at_why() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    ada.open("/servers/new").await;
    let hands = Hands { browser: &ada };
    hands.write("Name", "  ").await;
    hands.write("Description", "In room 7").await;
    hands.enter("Add", "A value is not one that is expected").await;
    assert!(focused(&ada).await.starts_with("A value is not one that is expected"));
    hands.press(Key::Tab).await;
    let label = ada.run("return document.activeElement.labels[0].textContent").await;
    assert_eq!(label, "Name", "from there the next stop is the form");
    ada.types("Lakeside Mirth").await;
    hands.enter("Add", "Added.").await;
    ada.says("In room 7").await;
    assert_eq!(focused(&ada).await, "Added.");
}
