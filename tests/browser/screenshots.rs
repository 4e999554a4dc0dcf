//! A picture of every page, as it is before anything was made and with a hundred connections, for people to look at:
//! `target/console/`. What can be told without eyes is told by the other tests. `ADIT_TEST_PAGES=connections,overview`
//! pictures those alone, for who works on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::crowd::gather;
use super::driver::Browser;
use super::pages::{self, OUTSIDE, Page};
use super::stage::{STMARY, Stage, id_of};

const WIDTHS: [(u32, u32); 3] = [(360, 740), (1280, 800), (1920, 1080)];
const SCHEMES: [&str; 2] = ["light", "dark"];

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_pictured_empty_and_with_a_hundred_connections() {
    let began = Instant::now();
    let stage = Stage::start("enterprise").await;
    let nobody = stage.browser().await;
    let outside: Vec<_> = OUTSIDE.into_iter().map(|(name, path)| Page { name, path: path.into() }).collect();
    let mut pictures = picture_all(&nobody, &outside, "outside").await;
    nobody.close().await;
    let (ada, bob) = stage.owners("enterprise").await;
    pictures += picture_all(&ada, &pages::plain(), "empty").await;
    let agreed = pages::fill(&ada, &bob, str::to_owned).await;
    let connection = gather(&ada, &bob, &stage.path("gateway/platform.db")).await;
    say(&ada, &bob).await;
    pictures += picture_all(&ada, &filled(agreed, &connection), "full").await;
    println!("{pictures} pictures in {} after {:?}", folder().display(), began.elapsed());
    assert!(pictures > 300 || wanted().is_some(), "{pictures}");
    ada.close().await;
    bob.close().await;
}

/// The pages with something on them; those of one connection show one that has carried for long.
fn filled(pages: Vec<Page>, connection: &str) -> Vec<Page> {
    let mut pages = pages;
    for (name, path) in [
        ("connection-1h", format!("/connections/{connection}")),
        ("connection-24h", format!("/connections/{connection}?span=24h")),
        ("connection-90d", format!("/connections/{connection}?span=90d")),
        ("connection-figures", format!("/connections/{connection}/figures?span=24h")),
        ("connection-diagnose", format!("/connections/{connection}/diagnose")),
        ("connections-ended", "/connections?ended=true".to_owned()),
        ("connections-next", "/connections?search=Radiology".to_owned()),
    ] {
        pages.push(Page { name, path });
    }
    pages
}

/// A few things more that wait for Ada.
async fn say(ada: &Browser, bob: &Browser) {
    for (email, role) in [("dora@lakeside.example", "auditor"), ("emil@lakeside.example", "operator")] {
        ada.does("POST", "/invitations", &json!({ "email": email, "role": role, "life": "7d" })).await;
    }
    let servers = bob.does("GET", "/servers", &Value::Null).await;
    let channels = ada.does("GET", "/channels?own=true", &Value::Null).await;
    let asked = json!({ "channel": channels["rows"][0]["id"], "source_server": servers["rows"][1]["id"] });
    assert!(!id_of(&bob.does("POST", "/grants/request", &asked).await).is_empty(), "{STMARY} asks");
}

async fn picture_all(browser: &Browser, pages: &[Page], state: &str) -> usize {
    let mut pictures = 0;
    fs::create_dir_all(folder()).unwrap();
    let wanted = wanted();
    let is_wanted =
        |page: &&Page| wanted.as_ref().is_none_or(|names| names.split(',').any(|it| it == page.name));
    for page in pages.iter().filter(is_wanted) {
        browser.open(&page.path).await;
        for (width, height) in WIDTHS {
            browser.size(width, height).await;
            for scheme in SCHEMES {
                browser.prefers(scheme).await;
                let picture = browser.picture().await;
                assert!(picture.starts_with(b"\x89PNG"), "{}", page.name);
                fs::write(folder().join(format!("{}-{state}-{width}-{scheme}.png", page.name)), picture)
                    .unwrap();
                pictures += 1;
            }
        }
    }
    pictures
}

fn wanted() -> Option<String> {
    std::env::var("ADIT_TEST_PAGES").ok()
}

/// `console` beside the folder that cargo keeps for tests, wherever it builds into.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("console")
}
