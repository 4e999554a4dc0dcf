//! Every page from its top to its end by Tab: in reading order, without a trap, and with the focus in sight.

use std::fmt;

use fantoccini::key::Key;
use serde_json::Value;

use super::driver::Browser;
use super::pages::{OUTSIDE, Page, fill};
use super::stage::Stage;

/// More than any page has to stop at.
const STOPS_MAX: usize = 250;

/// Returns what a keyboard must reach of a page, in the order in which it is read.
const STOPS: &str = r#"
    const CAN = 'a[href], button, input, select, textarea, summary, [tabindex="0"]';
    const isSeen = (it) => it.checkVisibility({ visibilityProperty: true }) && it.getClientRects().length > 0;
    // Of a group of radio buttons the keyboard stops at the one that is chosen.
    const isStop = (it) => !it.disabled && it.type !== 'hidden' && (it.type !== 'radio' || it.checked) && isSeen(it);
    const stops = [...document.querySelectorAll(CAN)].filter(isStop);
"#;

/// Says where the focus is, and what one sees of it.
const FOCUSED: &str = r#"
    const it = document.activeElement;
    if (!it || it === document.body || it === document.documentElement) return null;
    const style = getComputedStyle(it);
    const outline = style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth);
    const around = outline + parseFloat(style.outlineOffset);
    const box = it.getClientRects()[0] ?? it.getBoundingClientRect();
    const seen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
    for (let above = it.parentElement; above; above = above.parentElement) {
        const { overflowX, overflowClipMargin } = getComputedStyle(above);
        if (overflowX === 'visible') continue;
        const edge = above.getBoundingClientRect();
        const beyond = overflowX === 'clip' ? parseFloat(overflowClipMargin) || 0 : 0;
        seen.left = Math.max(seen.left, edge.left - beyond); seen.right = Math.min(seen.right, edge.right + beyond);
        seen.top = Math.max(seen.top, edge.top - beyond); seen.bottom = Math.min(seen.bottom, edge.bottom + beyond);
    }
    // How many sides of the line around it can be seen whole.
    const inner = Math.max(around - outline, 0);
    const sides = [box.left - inner > seen.left, box.top - inner > seen.top,
        box.right + inner < seen.right, box.bottom + inner < seen.bottom].filter(Boolean).length;
    const x = Math.min(Math.max(box.left + box.width / 2, seen.left), seen.right - 1);
    const y = Math.min(Math.max(box.top + Math.min(box.height / 2, 20), seen.top), seen.bottom - 1);
    const top = document.elementFromPoint(x, y);
    return {
        number: stops.indexOf(it),
        name: (it.getAttribute('aria-label') || it.labels?.[0]?.textContent || it.textContent || it.id).trim().slice(0, 60),
        kind: it.tagName.toLowerCase(),
        outline, sides,
        is_seen: top !== null && (top === it || it.contains(top) || top.contains(it)),
        box: [box.left, box.top + scrollY, box.right, box.bottom + scrollY],
    };
"#;

/// What was found at a stop.
#[derive(Debug, Clone)]
struct Stop(Value);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} `{}`",
            self.0["kind"].as_str().unwrap_or_default(),
            self.0["name"].as_str().unwrap_or_default()
        )
    }
}

impl Stop {
    fn number(&self) -> i64 {
        self.0["number"].as_i64().unwrap_or(-1)
    }

    fn side(&self, at: usize) -> f64 {
        self.0["box"][at].as_f64().unwrap_or_default()
    }

    /// Whether it stands above and before another, in whose order they are read.
    fn is_before(&self, other: &Self) -> bool {
        self.side(3) <= other.side(1) && self.side(0) < other.side(2)
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.0["outline"].as_f64().unwrap_or_default() < 2.0 {
            faults.push(format!("{self} does not show that it has the focus"));
        }
        if self.0["sides"].as_u64().unwrap_or_default() < 2 {
            faults.push(format!("the line around {self} is cut off"));
        }
        if self.0["is_seen"] != true {
            faults.push(format!("{self} has the focus and cannot be seen"));
        }
        faults
    }
}

/// Goes through a page with Tab from its top; returns what is wrong on the way.
async fn faults_of(browser: &Browser, page: &Page) -> Vec<String> {
    browser.open(&page.path).await;
    let wanted = browser.run(&format!("{STOPS} return stops.length;")).await.as_i64().unwrap();
    let focused = format!("{STOPS} {FOCUSED}");
    let mut faults = Vec::new();
    let mut stops: Vec<Stop> = Vec::new();
    for _ in 0..STOPS_MAX {
        press(browser, Key::Tab).await;
        let stop = browser.run(&focused).await;
        if stop.is_null() {
            break;
        }
        let stop = Stop(stop);
        // A field for a time stops at its parts.
        if stops.last().is_some_and(|last| last.number() == stop.number()) {
            continue;
        }
        if stops.first().is_some_and(|first| first.number() == stop.number()) {
            break;
        }
        faults.extend(stop.faults());
        if let Some(before) = stops.last()
            && stop.is_before(before)
        {
            faults.push(format!("{before} comes before {stop}, which is read before it"));
        }
        stops.push(stop);
    }
    let reached: Vec<_> = stops.iter().map(Stop::number).collect();
    if reached != (0..wanted).collect::<Vec<_>>() {
        faults.push(format!("of {wanted} stops in reading order, Tab reached {reached:?}"));
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", page.name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tab_reaches_everything_in_reading_order_and_shows_where_it_is() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("standard").await;
    let mut faults = Vec::new();
    for page in fill(&ada, &bob, str::to_owned).await {
        faults.extend(faults_of(&ada, &page).await);
    }
    let nobody = stage.browser().await;
    for (name, path) in OUTSIDE {
        faults.extend(faults_of(&nobody, &Page { name, path: path.into() }).await);
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_tab_of_each_page_leads_past_what_all_pages_have() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("standard").await;
    for page in fill(&ada, &bob, str::to_owned).await {
        ada.open(&page.path).await;
        if ada.count("nav.pages").await == 0 {
            continue;
        }
        press(&ada, Key::Tab).await;
        let skip = Stop(ada.run(&format!("{STOPS} {FOCUSED}")).await);
        assert_eq!(skip.0["name"], "Skip to the page", "{}", page.name);
        assert_eq!(skip.faults(), Vec::<String>::new(), "{}", page.name);
        press(&ada, Key::Enter).await;
        press(&ada, Key::Tab).await;
        let is_within = format!(
            "{STOPS} const main = document.getElementById('main');
             return document.activeElement === stops.find((it) => main.contains(it));"
        );
        assert_eq!(ada.run(&is_within).await, Value::Bool(true), "{}", page.name);
    }
}

async fn press(browser: &Browser, key: Key) {
    browser.types(&char::from(key).to_string()).await;
}
