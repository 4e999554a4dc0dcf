//! Who comes in, by which link or password, how long, and what one reads whose session has ended.

use serde_json::Value;

use super::driver::Browser;
use super::stage::{LAKESIDE, PASSWORD, Stage, sign_in, token_in};

const ADA: &str = "ada@lakeside.example";
const CAROL: &str = "carol@lakeside.example";
const WRONG: &str = "a lantern in the cellar";
const WRONG_SAID: &str = "the organization, the e-mail address or the password is wrong";
/// More than may be wrong in a row.
const GUESSES_MAX: u32 = 30;

impl Stage {
    /// Lets Ada invite a colleague, and the colleague follow the link that her page shows.
    pub(super) async fn colleague(&self, ada: &Browser, name: &str, email: &str) -> Browser {
        self.invited(&invite(ada, email).await, name).await
    }
}

async fn invite(ada: &Browser, email: &str) -> String {
    ada.open("/users").await;
    ada.fill("E-mail address", email).await;
    ada.press("Make the link").await;
    link_shown(ada).await
}

/// The token of the link that the page shows.
async fn link_shown(browser: &Browser) -> String {
    token_in(&browser.has("#link").await.text().await.unwrap())
}

async fn open_user(ada: &Browser, email: &str) {
    ada.open("/users").await;
    ada.press_beside(email, "Change").await;
    ada.says("Password forgotten").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_told_when_to_try_again_while_a_known_browser_comes_in() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    ada.press("Sign out").await;
    ada.says("You are signed out.").await;
    let stranger = stage.browser().await;
    stranger.open("/sign-in").await;
    let mut guesses = 0;
    loop {
        sign_in(&stranger, LAKESIDE, ADA, WRONG).await;
        if stranger.says_one_of(&["too many attempts; try again in ", WRONG_SAID]).await != WRONG_SAID {
            break;
        }
        guesses += 1;
        assert!(guesses < GUESSES_MAX, "nobody stops the guesses");
        stranger.open("/sign-in").await;
    }
    let said = stranger.text().await;
    let seconds = said.split("try again in ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!((1..=60).contains(&seconds.parse::<u32>().unwrap()), "{said}");
    sign_in(&stranger, LAKESIDE, ADA, PASSWORD).await;
    stranger.says("too many attempts").await;
    assert!(stranger.path().await.starts_with("/sign-in"), "even the right one waits");
    sign_in(&ada, LAKESIDE, ADA, PASSWORD).await;
    ada.says("Overview").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_of_an_invitation_is_shown_once_and_good_once() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    let token = invite(&ada, CAROL).await;
    ada.open("/users").await;
    ada.says("Invitations").await;
    assert_eq!(ada.count("#link").await, 0);
    let carol = stage.invited(&token, "Carol").await;
    carol.says("operator").await;
    let other = stage.browser().await;
    other.open(&format!("/invitation#{token}")).await;
    other.fill("Your name", "Mallory").await;
    other.fill("Password", WRONG).await;
    other.press("Go on").await;
    other.says("there is no such invitation").await;
    other.open("/").await;
    other.is_at("/sign-in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_by_a_link() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    let carol = stage.colleague(&ada, "Carol", CAROL).await;
    carol.press("Sign out").await;
    open_user(&ada, CAROL).await;
    ada.press("Make a link").await;
    let token = link_shown(&ada).await;
    carol.open(&format!("/invitation#{token}")).await;
    carol.fill("Password", "another lantern, upstairs").await;
    carol.press("Go on").await;
    carol.says("Carol").await;
    carol.press("Sign out").await;
    sign_in(&carol, LAKESIDE, CAROL, PASSWORD).await;
    carol.says(WRONG_SAID).await;
    sign_in(&carol, LAKESIDE, CAROL, "another lantern, upstairs").await;
    carol.says("Overview").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_disabled_is_led_out_at_once_and_back_when_enabled_again() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    let carol = stage.colleague(&ada, "Carol", CAROL).await;
    let at_a_form = stage.browser().await;
    at_a_form.open("/servers/new").await;
    sign_in(&at_a_form, LAKESIDE, CAROL, PASSWORD).await;
    at_a_form.says("Version of Mirth").await;
    carol.open("/connections").await;
    for browser in [&carol, &at_a_form] {
        browser.says("Live").await;
    }
    open_user(&ada, CAROL).await;
    ada.press("Disable").await;
    ada.says("disabled").await;
    carol.is_at("/sign-in?to=%2Fconnections").await;
    // What is being filled in is not taken away, but nobody goes on in vain.
    at_a_form.says("You are signed out").await;
    sign_in(&carol, LAKESIDE, CAROL, PASSWORD).await;
    carol.says(WRONG_SAID).await;
    open_user(&ada, CAROL).await;
    ada.press("Enable again").await;
    ada.says("Saved.").await;
    sign_in(&carol, LAKESIDE, CAROL, PASSWORD).await;
    carol.is_at("/connections").await;
}

/// Waits until the page has asked for itself once more, and has had time to make something of it; another page than that
/// does not ask.
const ASKED_AGAIN: &str = "const done = arguments[0], until = Date.now() + 25_000;
    const asked = () => performance.getEntriesByType('resource').filter((it) => it.name === location.href).length;
    const before = asked();
    const look = () => setTimeout(asked() > before || Date.now() > until ? done : look, 100);
    look();";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_beside_what_is_live_stays_when_the_session_ends() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    let at_a_form = stage.browser().await;
    at_a_form.open("/organization").await;
    sign_in(&at_a_form, LAKESIDE, ADA, PASSWORD).await;
    at_a_form.says("Live").await;
    let issuer = "https://login.example.org/tenant";
    at_a_form.paste("Issuer", issuer).await;
    ada.open("/account").await;
    ada.press("Sign out there").await;
    ada.says("Saved.").await;
    at_a_form.says("You are signed out").await;
    at_a_form.run_async(ASKED_AGAIN, Vec::new()).await;
    assert_eq!(at_a_form.run("return document.getElementById('issuer').value").await, issuer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_elsewhere_leads_to_sign_in_and_back_to_its_page() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    let left_open = stage.browser().await;
    left_open.open("/connections?status=Ready").await;
    sign_in(&left_open, LAKESIDE, ADA, PASSWORD).await;
    left_open.is_at("/connections?status=Ready").await;
    left_open.says("Live").await;
    ada.open("/account").await;
    assert_eq!(ada.count("form[action$='/end']").await, 2, "that one, and all others");
    ada.press("Sign out there").await;
    ada.says("Saved.").await;
    left_open.says("Single sign-on").await;
    sign_in(&left_open, LAKESIDE, ADA, PASSWORD).await;
    left_open.is_at("/connections?status=Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_sent_after_its_session_ended_says_so_and_keeps_what_was_written() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    let other = stage.browser().await;
    other.open("/account").await;
    sign_in(&other, LAKESIDE, ADA, PASSWORD).await;
    ada.open("/servers/new").await;
    ada.fill("Name", "Lakeside Mirth").await;
    other.press("Sign out everywhere else").await;
    other.says("You are signed out everywhere else.").await;
    ada.press("Add").await;
    ada.says("Your session had ended, so what you sent was not done.").await;
    ada.says("Lakeside Mirth").await;
    let client = ada.client().await;
    let (kept, tab) = (client.window().await.unwrap(), client.new_window(true).await.unwrap());
    client.switch_to_window(tab.handle).await.unwrap();
    ada.open("/sign-in").await;
    sign_in(&ada, LAKESIDE, ADA, PASSWORD).await;
    ada.is_at("/").await;
    client.switch_to_window(kept).await.unwrap();
    ada.press("Then go on here").await;
    ada.says("The form is of an earlier session").await;
    ada.press("Add").await;
    ada.says("Added.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_token_is_shown_once_and_signs_in_until_it_is_revoked() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    ada.open("/account").await;
    ada.fill("What it is for", "nightly export").await;
    ada.press("Make a token").await;
    let token = ada.has("#token").await.text().await.unwrap();
    assert_eq!(status_by(&ada, &token).await, 200);
    ada.open("/account").await;
    ada.says("nightly export").await;
    assert_eq!(ada.count("#token").await, 0);
    assert!(!ada.text().await.contains(&token));
    ada.press("Revoke").await;
    ada.says("Revoked.").await;
    assert_eq!(status_by(&ada, &token).await, 401);
}

/// What a program is answered that shows this token, and no cookie.
async fn status_by(browser: &Browser, token: &str) -> u64 {
    const SCRIPT: &str = "const [token, done] = arguments;
        fetch('/api/v1/servers', { credentials: 'omit', headers: { Authorization: 'Bearer ' + token } })
            .then((answer) => done(answer.status), () => done(0));";
    browser.run_async(SCRIPT, vec![Value::from(token)]).await.as_u64().unwrap()
}
