//! The second factor as a person sets it up and shows it: from the key that the page shows, by the clock (RFC 6238).

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use super::driver::Browser;
use super::stage::{LAKESIDE, PASSWORD, Stage, sign_in};

const ADA: &str = "ada@lakeside.example";
const CAROL: &str = "carol@lakeside.example";
const STEP_SECONDS: u64 = 30;
const WRONG_SAID: &str = "the code is wrong, or was used before; wait for the next one";

/// An authenticator app.
struct Authenticator {
    key: hmac::Key,
    /// The step whose code was shown last; each is good once.
    shown: u64,
}

impl Authenticator {
    /// Takes the key as it is typed (RFC 4648 §6).
    fn new(typed: &str) -> Self {
        let (mut bytes, mut bits, mut value) = (Vec::new(), 0, 0_u32);
        for letter in typed.bytes() {
            let digit = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|it| *it == letter).unwrap();
            value = value << 5 | u32::try_from(digit).unwrap();
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push((value >> bits).to_be_bytes()[3]);
            }
        }
        Self { key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes), shown: 0 }
    }

    /// The code of now, or the next one where that was shown before: a clock may be a step ahead.
    fn code(&mut self) -> String {
        self.shown = (now() / STEP_SECONDS).max(self.shown + 1);
        self.code_of(self.shown)
    }

    /// RFC 4226 §5.3.
    fn code_of(&self, step: u64) -> String {
        let tag = hmac::sign(&self.key, &step.to_be_bytes());
        let bytes = tag.as_ref();
        let offset = usize::from(bytes[19] & 0xf);
        let cut = u32::from_be_bytes(bytes[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", cut % 1_000_000)
    }

    /// A code that is none of now, nor of a while from now.
    fn wrong_code(&self) -> String {
        let here = now() / STEP_SECONDS;
        let near: Vec<_> = (here - 4..here + 20).map(|step| self.code_of(step)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Goes from the page that asks for it to the recovery codes.
async fn set_up(browser: &Browser) -> (Authenticator, Vec<String>) {
    browser.fill("Your password, once more", PASSWORD).await;
    browser.press("Begin").await;
    let key = browser.has("#otp-key").await.text().await.unwrap();
    let mut authenticator = Authenticator::new(&key);
    browser.fill("Code", &authenticator.wrong_code()).await;
    browser.press("Confirm").await;
    browser.says("the code is wrong").await;
    assert_eq!(
        browser.has("#otp-key").await.text().await.unwrap(),
        key,
        "the account that was added stays good"
    );
    browser.fill("Code", &authenticator.code()).await;
    browser.press("Confirm").await;
    browser.says("Your recovery codes, shown once").await;
    let codes = browser.has("#codes").await.text().await.unwrap();
    browser.press("Go on").await;
    browser.says("Overview").await;
    (authenticator, codes.lines().map(|line| line.trim().to_owned()).collect())
}

async fn show(browser: &Browser, code: &str) {
    browser.says("Type the six digits").await;
    browser.fill("Code", code).await;
    browser.press("Go on").await;
}

async fn sign_in_again(browser: &Browser) {
    browser.press("Sign out").await;
    browser.says("You are signed out.").await;
    sign_in(browser, LAKESIDE, ADA, PASSWORD).await;
}

#[test]
fn the_codes_are_those_of_the_standard() {
    // RFC 6238, appendix B, with the last six of its eight digits.
    let authenticator = Authenticator::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
        assert_eq!(authenticator.code_of(seconds / STEP_SECONDS), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_from_when_it_is_set_up() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    ada.open("/account").await;
    ada.press("Set it up").await;
    let (mut authenticator, _) = set_up(&ada).await;
    ada.press("Sign out").await;
    ada.says("You are signed out.").await;
    ada.open("/servers").await;
    sign_in(&ada, LAKESIDE, ADA, PASSWORD).await;
    show(&ada, &authenticator.wrong_code()).await;
    ada.says(WRONG_SAID).await;
    show(&ada, &authenticator.code()).await;
    ada.is_at("/servers").await;
    ada.open("/account").await;
    ada.says("set up").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_signs_in_once() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    ada.open("/account/second-factor").await;
    let (_, codes) = set_up(&ada).await;
    sign_in_again(&ada).await;
    show(&ada, &codes[0]).await;
    ada.says("Overview").await;
    sign_in_again(&ada).await;
    show(&ada, &codes[0]).await;
    ada.says(WRONG_SAID).await;
    show(&ada, &codes[1]).await;
    ada.says("Overview").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_demands_it_leads_its_people_to_set_it_up() {
    let stage = Stage::start("free").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    ada.open("/organization").await;
    ada.press("Require it").await;
    ada.says("set up your own second factor first").await;
    ada.open("/account/second-factor").await;
    set_up(&ada).await;
    ada.open("/organization").await;
    ada.press("Require it").await;
    ada.says("Saved.").await;
    ada.open("/users").await;
    ada.fill("E-mail address", CAROL).await;
    ada.press("Make the link").await;
    let link = ada.has("#link").await.text().await.unwrap();
    let carol = stage.browser().await;
    carol.open(link.strip_prefix(&stage.site()).unwrap()).await;
    carol.fill("Your name", "Carol").await;
    carol.fill("Password", PASSWORD).await;
    carol.press("Go on").await;
    carol.says("Your organization asks for a second factor.").await;
    for path in ["/", "/servers/new", "/account"] {
        carol.open(path).await;
        carol.is_at("/account/second-factor").await;
    }
    // Who has no telephone at hand is not held there.
    carol.press("Sign in as somebody else").await;
    carol.says("You are signed out.").await;
    sign_in(&carol, LAKESIDE, CAROL, PASSWORD).await;
    set_up(&carol).await;
    carol.says("Carol").await;
}
