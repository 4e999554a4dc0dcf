//! The console where no script runs: every page says what it says with one, nothing on it is dead, and every change
//! is made by its forms.

use serde_json::{Value, json};

use super::driver::Browser;
use super::pages::{OUTSIDE, Page, fill};
use super::stage::{LAKESIDE, PASSWORD, STMARY, Stage, sign_in};

/// What a reader is told, but for times, which stand in words where scripts run, and for what needs one.
const SAID: &str = "const said = document.querySelector('main').cloneNode(true);
    said.querySelectorAll('time, [data-copy], #said, [hidden]').forEach((it) => it.remove());
    return said.textContent.replace(/\\s+/g, ' ').trim();";

/// What can be seen of the page and does nothing.
const DEAD: &str = "const isSeen = (it) => it.checkVisibility() && it.getClientRects().length > 0;
    const dead = [...document.querySelectorAll('button, a, [data-copy]')].filter(isSeen).filter((it) =>
        it.matches('[data-copy], a:not([href])') || (it.matches('button:not(:disabled)') && !it.form));
    const hidden = [...document.querySelectorAll('[hidden]')].filter((it) => !it.matches('button[data-copy], #live'));
    const wait = [...document.querySelectorAll('time')].filter((it) => isSeen(it) && !it.textContent.trim());
    return [...dead, ...hidden, ...wait].map((it) => it.outerHTML);";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_says_the_same_and_has_nothing_that_is_dead() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("standard").await;
    let pages = fill(&ada, &bob, str::to_owned).await;
    let nobody = stage.browser().await;
    let outside = OUTSIDE.map(|(name, path)| Page { name, path: path.into() });
    for (browser, pages) in [(&ada, &pages[..]), (&nobody, &outside[..])] {
        browser.scripts(true).await;
        let with = said_on(browser, pages).await;
        browser.scripts(false).await;
        for (page, with) in pages.iter().zip(with) {
            browser.open(&page.path).await;
            assert_eq!(browser.run(SAID).await, with, "{}", page.name);
            assert_eq!(browser.run(DEAD).await, json!([]), "{}", page.name);
        }
    }
}

async fn said_on(browser: &Browser, pages: &[Page]) -> Vec<Value> {
    let mut said = Vec::new();
    for page in pages {
        browser.open(&page.path).await;
        said.push(browser.run(SAID).await);
    }
    said
}

/// Lakeside and St Mary, whose owners have signed in where no script runs.
async fn without_script() -> (Stage, Browser, Browser) {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("standard").await;
    for (browser, organization, email) in
        [(&ada, LAKESIDE, "ada@lakeside.example"), (&bob, STMARY, "bob@stmary.example")]
    {
        browser.scripts(false).await;
        browser.press("Sign out").await;
        browser.says("You are signed out.").await;
        sign_in(browser, organization, email, PASSWORD).await;
        browser.says("Overview").await;
    }
    (stage, ada, bob)
}

/// Presses a button and waits until the next page says so.
async fn press(browser: &Browser, button: &str, says: &str) {
    browser.press(button).await;
    browser.says(says).await;
}

/// Presses it at every page that leads there, from the overview on.
async fn open(browser: &Browser, page: &str) {
    browser.press(page).await;
    browser.has("nav.pages").await;
}

async fn add_server(browser: &Browser, name: &str) {
    open(browser, "Servers").await;
    browser.press("Add a server").await;
    browser.fill("Name", name).await;
    press(browser, "Add", "Added.").await;
}

async fn peer(ada: &Browser, bob: &Browser) {
    open(ada, "Peering").await;
    ada.fill("Its name, exactly", STMARY).await;
    press(ada, "Send the request", "Sent.").await;
    open(bob, "Peering").await;
    press(bob, "Accept", "Accepted.").await;
}

async fn ask_to_send(ada: &Browser) {
    open(ada, "Channels").await;
    ada.press("Of peers").await;
    ada.press("ADT").await;
    ada.press("Ask to send to it").await;
    ada.choose("Send from", "Lakeside Mirth").await;
    press(ada, "Ask", "Sent.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lives_from_its_first_server_to_its_end() {
    let (_stage, ada, bob) = without_script().await;
    add_server(&ada, "Lakeside Mirth").await;
    add_server(&bob, "St Mary Mirth").await;
    press(&bob, "Show once", "This is shown once").await;
    press(&bob, "Follow its progress", "Its token ends").await;
    bob.press("Change").await;
    bob.fill("Description", "In room 7").await;
    press(&bob, "Save", "Saved.").await;
    bob.press("Add a channel").await;
    bob.fill("Public name", "ADT").await;
    bob.press("Publish it: every peer with an agreement sees it and may ask to send").await;
    press(&bob, "Add", "not published").await;
    press(&bob, "Publish", "Published: your peers see it.").await;
    press(&bob, "Stop publishing", "Not published any more.").await;
    press(&bob, "Publish", "Published: your peers see it.").await;
    peer(&ada, &bob).await;

    ask_to_send(&ada).await;
    open(&bob, "Grants").await;
    press(&bob, "Deny", "Denied.").await;
    open(&bob, "Channels").await;
    bob.press("ADT").await;
    bob.press("Offer it to a peer").await;
    bob.choose("Peer", LAKESIDE).await;
    press(&bob, "Offer", "Sent.").await;
    open(&ada, "Grants").await;
    ada.press("Approve").await;
    ada.choose("Send from", "Lakeside Mirth").await;
    press(&ada, "Approve", "Approved.").await;

    open(&ada, "Connections").await;
    ada.press("Lakeside Mirth → St Mary Mirth").await;
    for (button, says) in [
        ("Activate", "Activated."),
        ("Pause", "Paused by"),
        ("Resume", "Your pause is lifted."),
        ("Disconnect now", "Open tunnels are cut."),
    ] {
        press(&ada, button, says).await;
    }
    ada.press("View Secret").await;
    press(&ada, "View Secret", "Shown to your organization once: now").await;
    press(&ada, "Back to the connection", "What you may do").await;
    ada.says("it is shown once; Rotate Secrets makes a new one").await;
    ada.press("Rotate Secrets").await;
    press(&ada, "Rotate Secrets", "The secret is replaced.").await;
    press(&ada, "Diagnose", "Call your own integration engineer").await;
    press(&ada, "Back to the connection", "What you may do").await;
    ada.press("Terminate").await;
    press(&ada, "Terminate", "Terminated.").await;

    open(&ada, "Grants").await;
    ada.says("relinquished").await;
    ask_to_send(&ada).await;
    open(&bob, "Grants").await;
    press(&bob, "Approve", "Approved.").await;
    open(&ada, "Grants").await;
    ada.press("Relinquish").await;
    press(&ada, "Relinquish", "Relinquished.").await;
    open(&ada, "Peering").await;
    ada.press("End").await;
    press(&ada, "End the agreement", "The agreement has ended.").await;
    open(&bob, "Channels").await;
    bob.press("ADT").await;
    bob.press("Delete").await;
    press(&bob, "Delete the channel", "Deleted.").await;
    open(&bob, "Servers").await;
    bob.press("St Mary Mirth").await;
    bob.press("Delete").await;
    press(&bob, "Delete the server", "Deleted.").await;
    press(&bob, "Sign out", "You are signed out.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_connection_is_offered_and_answered() {
    let (_stage, ada, bob) = without_script().await;
    add_server(&ada, "Lakeside Mirth").await;
    add_server(&bob, "St Mary Mirth").await;
    peer(&ada, &bob).await;
    offer(&bob).await;
    press(&bob, "Withdraw", "Withdrawn.").await;
    for (answer, says) in [("Decline", "Declined."), ("Accept", "Manage it from")] {
        offer(&bob).await;
        open(&ada, "Connections").await;
        // Lakeside names its server when it accepts.
        ada.press("Lakeside Clinic → St Mary Mirth").await;
        press(&ada, answer, says).await;
    }
    ada.choose("Manage it from", "Lakeside Mirth").await;
    press(&ada, "Accept", "Accepted.").await;
    open(&ada, "Admin sessions").await;
    ada.says("Lakeside Mirth → St Mary Mirth").await;
    ada.says("Admin RO").await;
}

async fn offer(bob: &Browser) {
    open(bob, "Admin sessions").await;
    bob.press("Offer an admin connection").await;
    bob.choose("Managed server", "St Mary Mirth").await;
    bob.choose("Who manages it", LAKESIDE).await;
    bob.choose("Access", "Admin RO: view only, enforced by your agent").await;
    bob.choose("The offer is open for", "24 hours").await;
    press(bob, "Offer", "Offered. The recipient decides now.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_invited_changed_and_shut_out() {
    let (stage, ada, _bob) = without_script().await;
    open(&ada, "Users and roles").await;
    for (email, role) in [("carol@lakeside.example", "auditor"), ("dan@lakeside.example", "operator")] {
        ada.fill("E-mail address", email).await;
        ada.choose("Role", role).await;
        press(&ada, "Make the link", &format!("The link for {email}, shown once")).await;
    }
    let link = ada.has("#link").await.text().await.unwrap();
    ada.press_beside("carol@lakeside.example", "Revoke").await;
    ada.says("Revoked.").await;
    let dan = stage.browser().await;
    dan.scripts(false).await;
    let (page, token) = link.split_once('#').unwrap();
    dan.open(page.strip_prefix(&stage.site()).unwrap()).await;
    dan.says("What stands behind the # of the link").await;
    dan.fill("Token", token).await;
    dan.fill("Your name", "Dan").await;
    dan.fill("Password", PASSWORD).await;
    press(&dan, "Go on", "Overview").await;
    open(&ada, "Users and roles").await;
    ada.press_beside("dan@lakeside.example", "Change").await;
    ada.press("auditor").await;
    press(&ada, "Save", "Saved.").await;
    open(&dan, "Servers").await;
    assert_eq!(dan.count("a[href='/servers/new']").await, 0, "an auditor changes nothing");
    ada.press_beside("dan@lakeside.example", "Change").await;
    press(&ada, "Disable", "disabled").await;
    open_signed_out(&dan).await;
    ada.press_beside("dan@lakeside.example", "Change").await;
    press(&ada, "Enable again", "Saved.").await;
}

async fn open_signed_out(browser: &Browser) {
    browser.press("Channels").await;
    browser.says("Single sign-on needs the organization alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_organization_the_account_and_the_audit_log_need_none() {
    let (_stage, ada, _bob) = without_script().await;
    open(&ada, "Organization").await;
    ada.fill("Name", "Lakeside Clinics").await;
    ada.press_beside("Name", "Save").await;
    ada.says("Lakeside Clinics").await;
    ada.press("Enterprise").await;
    press(&ada, "Change tier", "Saved.").await;
    press(&ada, "Require it", "set up your own second factor first").await;

    open(&ada, "Your account").await;
    ada.fill("What it is for", "nightly export").await;
    press(&ada, "Make a token", "Your new API token, shown once").await;
    open(&ada, "Your account").await;
    press(&ada, "Revoke", "Revoked.").await;
    press(&ada, "Sign out everywhere else", "You are signed out everywhere else.").await;
    ada.fill("Old password", PASSWORD).await;
    ada.fill("New password", "another lantern, upstairs").await;
    press(&ada, "Change", "Your password is changed").await;
    press(&ada, "Set it up", "You need an authenticator app").await;
    press(&ada, "Not now", "Where you are signed in").await;

    open(&ada, "Audit").await;
    ada.fill("Action", "set tier").await;
    ada.choose("Outcome", "done").await;
    ada.press("Show").await;
    ada.sees("the log of tiers", async |page: &Browser| page.path().await.contains("action=set")).await;
    ada.has("#entries tbody tr").await;
    let rows = ada.count("#entries tbody tr").await;
    let exported = exported(&ada, "Export CSV").await;
    assert_eq!(exported.lines().count(), rows + 1, "{exported}");
    assert!(exported.contains("set tier"), "{exported}");
}

/// What a link of the page gives to whoever follows it.
async fn exported(browser: &Browser, link: &str) -> String {
    browser.scripts(true).await;
    let script = format!(
        "const done = arguments[0];
         const link = [...document.querySelectorAll('a')].find((it) => it.textContent === {});
         fetch(link.href).then((answer) => answer.text()).then(done, (why) => done(String(why)));",
        json!(link)
    );
    let text = browser.run_async(&script, Vec::new()).await;
    browser.scripts(false).await;
    text.as_str().unwrap().to_owned()
}
