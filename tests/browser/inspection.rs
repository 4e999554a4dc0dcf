//! Looks at pages as somebody does who cares: axe-core's rules, the words that it does not look for, and whether
//! everything keeps to its place. What is wrong is collected, to be said together at the end.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::driver::Browser;
use super::pages::Page;

const LAYOUT: &str = include_str!("layout.js");
const WORDS: &str = include_str!("words.js");

/// Has what inspects pages stand in each that this browser opens from now on.
pub(crate) async fn stand_in(browser: &Browser) {
    let path = std::env::var("ADIT_TEST_AXE")
        .expect("ADIT_TEST_AXE names axe.min.js of axe-core; tests/run.sh installs it and says so");
    let axe = fs::read_to_string(&path).unwrap_or_else(|why| panic!("ADIT_TEST_AXE is {path}: {why}"));
    for script in [LAYOUT, WORDS, &axe] {
        browser.before_pages(script).await;
    }
}

/// What is wrong, and what was looked for.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    faults: Vec<String>,
    rules: BTreeSet<String>,
    titles: Vec<(String, String)>,
}

impl Findings {
    /// Whether everything on the page that is shown keeps to its place at this width.
    pub(crate) async fn layout(&mut self, browser: &Browser, page: &str, width: u32) {
        browser.size(width, 900).await;
        let found = browser.run("return aditLook.layout()").await;
        self.add(&format!("{page} at {width} px"), &found);
        // Narrow, a table is a list; wide, there is room for it.
        if !(600..1280).contains(&width) {
            let scrolled =
                browser.run("return aditLook.scrolled().map((it) => `${it} must be scrolled`)").await;
            self.add(&format!("{page} at {width} px"), &scrolled);
        }
    }

    /// axe's rules, as the page is.
    pub(crate) async fn axe(&mut self, browser: &Browser, page: &str) {
        let script =
            "aditLook.axe().then(arguments[0], (why) => arguments[0]({ faults: [String(why)], rules: [] }))";
        let found = browser.run_async(script, Vec::new()).await;
        self.add(page, &found["faults"]);
        self.rules.extend(texts(&found["rules"]));
    }

    pub(crate) async fn words(&mut self, browser: &Browser, page: &str) {
        let found = browser.run("return aditLook.words()").await;
        self.add(page, &found);
    }

    /// Whether anything ran, or was kept from running, that is not ours.
    pub(crate) async fn canaries(&mut self, browser: &Browser, page: &str) {
        let seen =
            browser.run("return aditLook.seen.concat('canary' in window ? ['a canary sings'] : [])").await;
        self.add(page, &seen);
    }

    /// Notes the page's title: no page of another address may have the same.
    pub(crate) async fn title(&mut self, browser: &Browser, page: &Page) {
        let title = browser.run("return document.title").await.as_str().unwrap().to_owned();
        let address = page.path.split('?').next().unwrap().to_owned();
        if let Some((_, other)) =
            self.titles.iter().find(|(known, other)| *known == title && *other != address)
        {
            self.faults.push(format!("{}: its title, `{title}`, is that of {other}", page.name));
        }
        self.titles.push((title, address));
    }

    pub(crate) fn add(&mut self, page: &str, found: &Value) {
        self.faults.extend(texts(found).map(|fault| format!("{page}: {fault}")));
    }

    /// Fails with all that is wrong.
    #[track_caller]
    pub(crate) fn none(&self) {
        assert!(self.faults.is_empty(), "{} faults:\n{}", self.faults.len(), self.faults.join("\n"));
    }

    /// Fails unless axe has found places to apply each of these rules to.
    #[track_caller]
    pub(crate) fn applied(&self, rules: &[&str]) {
        let missing: Vec<_> = rules.iter().filter(|rule| !self.rules.contains(**rule)).collect();
        assert!(missing.is_empty(), "not applied: {missing:?}; applied: {:?}", self.rules);
    }
}

/// Makes all text so many times as large, and nothing else.
pub(crate) async fn enlarge(browser: &Browser, percent: u32) {
    let script = "const sheet = new CSSStyleSheet();
        sheet.replaceSync(`html { font-size: ${arguments[0]}% }`);
        document.adoptedStyleSheets.push(sheet);
        arguments[1]()";
    browser.run_async(script, vec![json!(percent)]).await;
}

fn texts(found: &Value) -> impl Iterator<Item = String> {
    found.as_array().expect("a list").iter().map(|text| text.as_str().unwrap().to_owned())
}
