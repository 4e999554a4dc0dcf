//! Every page can be read: by who sees little, by who hears it, on a telephone and on a wall.

use serde_json::json;

use super::driver::Browser;
use super::inspection::{Findings, enlarge, stand_in};
use super::pages::{OUTSIDE, Page, fill, plain};
use super::stage::{PASSWORD, Stage, token_in};

const WIDTHS: [u32; 6] = [320, 360, 768, 1280, 1920, 2560];
/// Rules that say nothing if they were not applied at all.
const RULES: [&str; 8] = [
    "color-contrast",
    "target-size",
    "heading-order",
    "label",
    "button-name",
    "link-name",
    "html-has-lang",
    "landmark-one-main",
];

/// Looks at the page that is shown, at each width; with axe on a telephone and on a desk, by day and by night.
async fn look(browser: &Browser, name: &str, findings: &mut Findings) {
    for width in WIDTHS {
        findings.layout(browser, name, width).await;
        if [360, 1280].contains(&width) {
            let name = format!("{name} at {width} px");
            findings.words(browser, &name).await;
            for scheme in ["light", "dark"] {
                browser.prefers(scheme).await;
                findings.axe(browser, &format!("{name}, {scheme}")).await;
            }
        }
    }
    enlarge(browser, 200).await;
    findings.layout(browser, &format!("{name}, text at 200 %"), 1279).await;
    findings.canaries(browser, name).await;
}

async fn look_at(browser: &Browser, pages: &[Page], findings: &mut Findings) {
    for page in pages {
        browser.open(&page.path).await;
        look(browser, page.name, findings).await;
        findings.title(browser, page).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_an_owner_reads_well_at_each_width_by_day_and_night() {
    let stage = Stage::start("enterprise").await;
    let (ada, bob) = stage.owners("enterprise").await;
    stand_in(&ada).await;
    let mut empty = Findings::default();
    look_at(&ada, &plain(), &mut empty).await;
    let mut full = Findings::default();
    let pages = fill(&ada, &bob, str::to_owned).await;
    look_at(&ada, &pages, &mut full).await;
    shown_once(&ada, &pages, &mut full).await;
    empty.none();
    full.none();
    full.applied(&RULES);
    ada.close().await;
    bob.close().await;
}

/// The pages that answer a form: what is shown once, and what is refused.
async fn shown_once(ada: &Browser, pages: &[Page], findings: &mut Findings) {
    let path = |name| &pages.iter().find(|page| page.name == name).unwrap().path;
    ada.open("/peering").await;
    ada.fill("Its name, exactly", "Nobody at all").await;
    ada.press("Send the request").await;
    ada.has("[role=alert]").await;
    look(ada, "refused form", findings).await;
    ada.open(path("view-secret")).await;
    ada.press("View Secret").await;
    ada.has("#secret").await;
    look(ada, "shown secret", findings).await;
    ada.open(path("server")).await;
    ada.press("Show once").await;
    ada.has("#file").await;
    look(ada, "shown connector", findings).await;
    ada.open("/account").await;
    ada.fill("What it is for", "nightly report").await;
    ada.press("Make a token").await;
    ada.has("#token").await;
    look(ada, "shown token", findings).await;
    ada.open("/users").await;
    ada.fill("E-mail address", "dan@lakeside.example").await;
    ada.press("Make the link").await;
    ada.has("#link").await;
    look(ada, "shown link", findings).await;
    ada.open("/account/second-factor").await;
    ada.fill("Your password, once more", PASSWORD).await;
    ada.press("Begin").await;
    ada.has("svg.qr").await;
    look(ada, "shown key of a second factor", findings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_an_auditor_and_of_a_stranger_reads_well() {
    let stage = Stage::start("enterprise").await;
    let (ada, bob) = stage.owners("enterprise").await;
    let pages = fill(&ada, &bob, str::to_owned).await;
    let invitation = json!({ "email": "olga@lakeside.example", "role": "auditor", "life": "1h" });
    let link = ada.does("POST", "/invitations", &invitation).await;
    let olga = stage.invited(&token_in(link["link"].as_str().unwrap()), "Olga").await;
    stand_in(&olga).await;
    let mut findings = Findings::default();
    for page in &pages {
        olga.open(&page.path).await;
        for (width, scheme) in [(360, "dark"), (1280, "light")] {
            olga.prefers(scheme).await;
            findings.layout(&olga, page.name, width).await;
            findings.words(&olga, page.name).await;
            findings.axe(&olga, &format!("{} at {width} px, {scheme}", page.name)).await;
        }
    }
    let stranger = stage.browser().await;
    stand_in(&stranger).await;
    let outside = OUTSIDE.map(|(name, path)| Page { name, path: path.into() });
    look_at(&stranger, &outside, &mut findings).await;
    findings.none();
    for browser in [ada, bob, olga, stranger] {
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn states_differ_where_colours_are_forced_and_nothing_moves_unasked() {
    let stage = Stage::start("free").await;
    let browser = stage.browser().await;
    browser.open("/sign-in").await;
    browser.run("document.querySelector('main').replaceChildren(document.createElement('span'))").await;
    let animation = async |preference| {
        browser.media(json!([{ "name": "prefers-reduced-motion", "value": preference }])).await;
        browser.run(&becomes("up pulses", "return getComputedStyle(dot).animationName")).await
    };
    assert_eq!(animation("no-preference").await, "pulse");
    assert_eq!(animation("reduce").await, "none");
    browser.media(json!([{ "name": "forced-colors", "value": "active" }])).await;
    let picture = async |state| {
        browser.run(&becomes(state, "")).await;
        browser.picture().await
    };
    let (up, down, never) = (picture("up").await, picture("down").await, picture("never").await);
    assert_eq!(up, picture("up").await, "a page that is the same has the same picture");
    assert!(up != down && down != never && up != never, "two states look the same where colours are forced");
    browser.close().await;
}

/// A script that makes the page's dot one of this state.
fn becomes(state: &str, then: &str) -> String {
    format!("const dot = document.querySelector('main span'); dot.className = 'dot {state}'; {then}")
}
