//! Debian's Chromium, driven by its `chromedriver` over WebDriver. Each driver is a process of its own, and each
//! browser a session with a profile of its own: two of them share no cookie.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adit_net::identity::random;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;
use url::Url;

use super::processes::{HANG_LIMIT, eventually, free_port};

/// As wide and high as a page is looked at where nothing else is said.
const WINDOW: (u32, u32) = (1280, 900);
/// Between two looks at a page.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Debian's `chromedriver`.
pub(crate) struct Driver {
    process: Child,
    /// Where its browsers have their profiles.
    _folder: TempDir,
    address: SocketAddr,
}

/// One person at one browser.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    client: Client,
    site: String,
}

/// Asks for what the browser has logged since it was asked last.
#[derive(Debug)]
struct BrowserLog;

impl WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

/// What the browser itself is told, beside its pages (Chrome DevTools Protocol).
#[derive(Debug)]
struct DevTools {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.command, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

impl Driver {
    pub(crate) async fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("Debian's packages chromium and chromium-driver are installed");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let driver = Self { process, _folder: folder, address };
        eventually("chromedriver listens", async || TcpStream::connect(address).await.ok()).await;
        driver
    }

    /// Opens a browser for the pages of `site`.
    pub(crate) async fn browser(&self, site: &str) -> Browser {
        // Our certificates are of no CA that it knows; as root it starts without a sandbox alone.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--lang=en-GB",
            "--hide-scrollbars",
        ];
        let mut wanted = Capabilities::new();
        wanted.insert("acceptInsecureCerts".into(), json!(true));
        wanted.insert("goog:chromeOptions".into(), json!({ "args": arguments }));
        wanted.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
        let hang = HANG_LIMIT.as_millis();
        wanted.insert("timeouts".into(), json!({ "script": hang, "pageLoad": hang }));
        // On a busy machine Chromium may not be up when its driver gives it up, after a minute.
        let client = eventually("a browser starts", async || {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            let start =
                builder.capabilities(wanted.clone()).connect(&format!("http://{}", self.address)).await;
            start.inspect_err(|error| println!("a browser did not start: {error}")).ok()
        })
        .await;
        let browser = Browser { client, site: site.to_owned() };
        browser.size(WINDOW.0, WINDOW.1).await;
        browser
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Its browsers are in its group; when it ends alone, they live on.
        if let Some(group) = Pid::from_raw(self.process.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

impl Browser {
    pub(crate) async fn open(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.site)).await.unwrap();
    }

    /// The path and query of the page that is shown.
    pub(crate) async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    pub(crate) async fn url(&self) -> Url {
        self.client.current_url().await.unwrap()
    }

    /// What a reader sees of the page.
    pub(crate) async fn text(&self) -> String {
        self.run("return document.body?.innerText ?? ''").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page says so, without being loaded again by hand.
    pub(crate) async fn says(&self, text: &str) {
        self.sees(text, async |browser: &Self| browser.text().await.contains(text)).await;
    }

    /// Waits until nothing on the page says so.
    pub(crate) async fn no_longer_says(&self, text: &str) {
        let what = format!("no `{text}`");
        self.sees(&what, async |browser: &Self| !browser.text().await.contains(text)).await;
    }

    /// Waits until one of these is said; returns which.
    pub(crate) async fn says_one_of<'t>(&self, texts: &[&'t str]) -> &'t str {
        self.sees(&texts.join(" / "), async |browser: &Self| {
            let said = browser.text().await;
            texts.iter().any(|text| said.contains(text))
        })
        .await;
        let said = self.text().await;
        texts.iter().find(|text| said.contains(**text)).expect("it was said a moment ago")
    }

    /// Waits until the page that is shown is this one, with its query.
    pub(crate) async fn is_at(&self, path: &str) {
        self.sees(&format!("the page {path}"), async |browser: &Self| browser.path().await == path).await;
    }

    /// Waits until something can be found by this CSS selector; returns the first.
    pub(crate) async fn has(&self, selector: &str) -> Element {
        self.sees(selector, async |browser: &Self| browser.client.find(Locator::Css(selector)).await.is_ok())
            .await;
        self.client.find(Locator::Css(selector)).await.unwrap()
    }

    pub(crate) async fn count(&self, selector: &str) -> usize {
        self.client.find_all(Locator::Css(selector)).await.unwrap().len()
    }

    /// Waits until something is so of the page.
    pub(crate) async fn sees(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + HANG_LIMIT;
        while !is_so(self).await {
            if Instant::now() > deadline {
                panic!(
                    "{}: not within {HANG_LIMIT:?}: {what}; it says:\n{}",
                    self.path().await,
                    self.text().await
                );
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Follows a link or presses a button by what stands on it.
    pub(crate) async fn press(&self, name: &str) {
        let quoted = quoted(name);
        let named = ["button", "a", "summary", "label"].map(|tag| {
            format!("//{tag}[normalize-space()={quoted} or @aria-label={quoted}][not(@disabled)]")
        });
        let path = named.join(" | ");
        self.click(&path, &format!("a button or link `{name}`")).await;
    }

    /// Presses a button or follows a link in the row, card or list entry that has this text.
    pub(crate) async fn press_beside(&self, text: &str, name: &str) {
        let (text, name) = (quoted(text), quoted(name));
        let path = format!(
            "//*[self::tr or self::li or self::section][contains(normalize-space(), {text})]\
             //*[self::a or self::button][normalize-space()={name}][not(@disabled)]"
        );
        self.click(&path, &path).await;
    }

    /// Clicks what can be found there; what is replaced under the pointer is looked for again.
    async fn click(&self, path: &str, what: &str) {
        self.sees(what, async |browser: &Self| match browser.client.find(Locator::XPath(path)).await {
            Ok(found) => found.click().await.is_ok(),
            Err(_) => false,
        })
        .await;
    }

    /// Fills the field with this label in.
    pub(crate) async fn fill(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Fills it in as who pastes a text: keys can be typed of the characters alone that UTF-16 has in one unit.
    pub(crate) async fn paste(&self, label: &str, text: &str) {
        let field = serde_json::to_value(self.field(label).await).unwrap();
        self.run_async("arguments[0].value = arguments[1]; arguments[2]()", vec![field, json!(text)]).await;
    }

    /// Chooses an option by what stands on it.
    pub(crate) async fn choose(&self, label: &str, option: &str) {
        self.field(label).await.select_by_label(option).await.unwrap();
    }

    async fn field(&self, label: &str) -> Element {
        let path = format!("//*[@id=//label[normalize-space()={}]/@for]", quoted(label));
        self.sees(&format!("a field `{label}`"), async |browser: &Self| {
            browser.client.find(Locator::XPath(&path)).await.is_ok()
        })
        .await;
        self.client.find(Locator::XPath(&path)).await.unwrap()
    }

    /// Types keys where the focus is; see [`fantoccini::key`] for those without a character.
    pub(crate) async fn types(&self, keys: &str) {
        let actions = keys.chars().fold(KeyActions::new("keyboard".into()), |actions, value| {
            actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.client.perform_actions(actions).await.unwrap();
    }

    /// Types Tab with Shift held.
    pub(crate) async fn types_shift_tab(&self) {
        let (shift, tab) = (char::from(Key::Shift), char::from(Key::Tab));
        let actions = KeyActions::new("keyboard".into())
            .then(KeyAction::Down { value: shift })
            .then(KeyAction::Down { value: tab })
            .then(KeyAction::Up { value: tab })
            .then(KeyAction::Up { value: shift });
        self.client.perform_actions(actions).await.unwrap();
    }

    /// Runs a script in the page; returns what it returns. It runs again where the page is left meanwhile.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.stays(script, async || self.client.execute(script, Vec::new()).await).await
    }

    /// Runs one that calls its last argument when it is done, in the same way.
    pub(crate) async fn run_async(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.stays(script, async || self.client.execute_async(script, arguments.clone()).await).await
    }

    async fn stays(&self, script: &str, run: impl AsyncFn() -> Result<Value, CmdError>) -> Value {
        let deadline = Instant::now() + HANG_LIMIT;
        loop {
            match run().await {
                Ok(returned) => return returned,
                Err(error) if is_of_a_page_left(&error) && Instant::now() < deadline => {
                    println!("again, the page was left: {error}");
                    sleep(LOOK_EVERY).await;
                }
                Err(error) => panic!("{}: `{script}`: {error}", self.path().await),
            }
        }
    }

    /// Asks the API as a script of this page would; returns the status and the answer. What is asked again, because
    /// the page was left meanwhile, has the same key: nothing is made twice.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> (u64, Value) {
        const SCRIPT: &str = "const [method, path, body, key, done] = arguments;
            const csrf = (document.querySelector('input[name=csrf]')?.value ?? '').split('.')[0];
            const tag = method === 'GET' || method === 'POST' ? {} : { 'If-Match': '*' };
            fetch('/api/v1' + path, {
                method, body: method === 'GET' ? undefined : JSON.stringify(body),
                headers: {
                    'Content-Type': 'application/json', 'X-CSRF-Token': csrf, 'Idempotency-Key': key, ...tag,
                },
            }).then(async (answer) => {
                const text = await answer.text();
                let read = text;
                try { read = JSON.parse(text); } catch { }
                done([answer.status, read]);
            }, (why) => done([0, String(why)]));";
        let key = json!(hex::encode(random::bytes::<16>()));
        let answer = self.run_async(SCRIPT, vec![json!(method), json!(path), body.clone(), key]).await;
        (answer[0].as_u64().unwrap_or_default(), answer[1].clone())
    }

    /// Asks for a change that must be made; returns the answer.
    pub(crate) async fn does(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status}: {answer}");
        answer
    }

    /// Makes the page so wide and high.
    pub(crate) async fn size(&self, width: u32, height: u32) {
        let parameters = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", parameters).await;
    }

    /// Prefers `light` or `dark`, and nothing that moves.
    pub(crate) async fn prefers(&self, scheme: &str) {
        self.media(json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]))
        .await;
    }

    /// Emulates media features beside the preferences: see `Emulation.setEmulatedMedia`.
    pub(crate) async fn media(&self, features: Value) {
        self.tell("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Runs a script in every page from now on, before the page's own; no policy of the page's forbids it.
    pub(crate) async fn before_pages(&self, script: &str) {
        self.tell("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    /// What its console holds since this was asked last: what scripts have said, what failed, what was forbidden.
    pub(crate) async fn log(&self) -> Vec<Value> {
        let entries = self.client.issue_cmd(BrowserLog).await.unwrap();
        entries.as_array().cloned().unwrap_or_default()
    }

    /// Lets pages run scripts, or none. What a test runs is run all the same.
    pub(crate) async fn scripts(&self, are_run: bool) {
        self.tell("Emulation.setScriptExecutionDisabled", json!({ "value": !are_run })).await;
    }

    pub(crate) async fn tell(&self, command: &'static str, parameters: Value) -> Value {
        self.client.issue_cmd(DevTools { command, parameters }).await.unwrap()
    }

    /// A picture (PNG) of the whole page.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let metrics = self.tell("Page.getLayoutMetrics", json!({})).await;
        let size = &metrics["cssContentSize"];
        let (width, height) = (size["width"].as_f64().unwrap(), size["height"].as_f64().unwrap());
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height.min(6_000.0), "scale": 1 });
        let wanted = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let picture = self.tell("Page.captureScreenshot", wanted).await;
        decoded(picture["data"].as_str().unwrap())
    }

    /// A picture of what the selector finds first.
    pub(crate) async fn picture_of(&self, selector: &str) -> Vec<u8> {
        self.has(selector).await.screenshot().await.unwrap()
    }

    pub(crate) async fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }
}

/// Whether a script did not run to its end because its page was loaded again, or another one was.
fn is_of_a_page_left(error: &CmdError) -> bool {
    const SAID: [&str; 4] = ["navigation", "execution context", "frame detached", "document unloaded"];
    let error = error.to_string();
    SAID.iter().any(|said| error.contains(said))
}

/// A string in XPath.
fn quoted(text: &str) -> String {
    assert!(!(text.contains('"') && text.contains('\'')), "{text}");
    if text.contains('"') { format!("'{text}'") } else { format!("\"{text}\"") }
}

/// Decodes base64 (RFC 4648, section 4).
fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let value = four.iter().fold(0, |value, &byte| value << 6 | digit(byte)) << (6 * (4 - four.len()));
        bytes.extend(&value.to_be_bytes()[1..four.len()]);
    }
    bytes
}
