//! Names that attack: nothing of them runs, nothing leaves its place, and nothing else is read differently for them.

use std::cell::Cell;

use serde_json::{Value, json};

use super::driver::Browser;
use super::inspection::{Findings, stand_in};
use super::pages::{Page, fill};
use super::stage::{LAKESIDE, PASSWORD, Stage, id_of, token_in};

/// What a name may be, and would rather not.
fn attacks() -> Vec<String> {
    let letter_with_marks =
        "H\u{300}\u{301}\u{302}\u{303}\u{304}\u{306}\u{307}\u{308}\u{30a}\u{30b}\u{30c}\u{30f}\u{311}";
    [
        "<script>window.canary = 1</script>",
        "\"><img src=x onerror=\"window.canary = 2\">",
        "'><svg onload='window.canary = 3'><title>",
        "javascript:window.canary=4//",
        "{{7*7}} ${7*7} {% raw %} <%= 7*7 %> #{7*7}",
        "</title></option></textarea></script><script>alert(6)</script>",
        "</style><style>* { display: none }</style>",
        "\" autofocus onfocus=\"window.canary = 8\" x=\"",
        "<base href=//evil.example><!--",
        "../../%00/?a=b&c=d#e;f",
        "=HYPERLINK(\"https://evil.example\";\"Overview\")",
        "مستشفى الملك فيصل التخصصي",
        "בית חולים הדסה עין כרם",
        "🏥🚑🩺💉🧬🏳🎈🩻🧪🫀",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        "W".repeat(80),
        "🏥".repeat(80),
        "聖路加国際病院東京都中央区明石町".repeat(5),
        "ﷺ".repeat(40),
        letter_with_marks.repeat(5),
    ])
    .collect()
}

/// What no name may be: it turns others round, cannot be seen, or looks like nothing.
const REFUSED: [(&str, &str); 8] = [
    ("Lakeside\u{202e}yraM tS", "U+202E"),
    ("\u{2067}St Mary\u{2069}", "U+2067"),
    ("👩\u{200d}⚕", "U+200D"),
    ("St\u{200b}Mary", "U+200B"),
    ("\u{2800}", "U+2800"),
    ("\u{3164}", "U+3164"),
    ("\u{a0}\u{3000}", "blank"),
    ("\u{feff}", "U+FEFF"),
];

/// Gives out one attack after the other.
struct Quiver {
    attacks: Vec<String>,
    next: Cell<usize>,
}

impl Quiver {
    fn new() -> Self {
        Self { attacks: attacks(), next: Cell::new(0) }
    }

    fn next(&self) -> String {
        let at = self.next.replace(self.next.get() + 1);
        self.attacks[at % self.attacks.len()].clone()
    }
}

/// Two organizations that have, beside what fills every page, one of each kind under each name that attacks.
async fn attacked(stage: &Stage, ada: &Browser, bob: &Browser) -> Vec<Page> {
    let quiver = Quiver::new();
    let mut pages = fill(ada, bob, |_| quiver.next()).await;
    for (at, attack) in attacks().into_iter().enumerate() {
        // No two of one kind may have the same name.
        let name: String = format!("{at}{attack}").chars().take(80).collect();
        let server = json!({ "name": name, "description": quiver.next(), "version": quiver.next() });
        let own = id_of(&ada.does("POST", "/servers", &server).await);
        let peers = id_of(&bob.does("POST", "/servers", &server).await);
        let channel = json!({
            "server": peers, "name": name, "description": quiver.next(), "protocol": "mllp", "published": true,
        });
        let channel = id_of(&bob.does("POST", "/channels", &channel).await);
        let asked = json!({ "channel": channel, "source_server": own });
        let grant = id_of(&ada.does("POST", "/grants/request", &asked).await);
        let approved = bob.does("POST", &format!("/grants/{grant}/approve"), &json!({})).await;
        let connection = approved["connection"].as_str().unwrap();
        let token = json!({ "name": attack, "role": "auditor", "days": 3 });
        ada.does("POST", "/account/api-tokens", &token).await;
        stage.admin(&["org", "add", &name, "--tier", "free"]).await;
        ada.does("POST", "/peerings", &json!({ "name": name })).await;
        pages.push(Page { name: "connection of an attack", path: format!("/connections/{connection}") });
        pages.push(Page { name: "server of an attack", path: format!("/servers/{own}") });
    }
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_attack_are_text_and_keep_to_their_place() {
    let stage = Stage::start("enterprise").await;
    let (ada, bob) = stage.owners("enterprise").await;
    for browser in [&ada, &bob] {
        stand_in(browser).await;
        browser.open("/").await;
    }
    let pages = attacked(&stage, &ada, &bob).await;
    rename(&ada, "مستشفى الملك فيصل التخصصي ومركز الأبحاث في الرياض").await;
    rename(&bob, &"W".repeat(80)).await;
    let mallory = mallory(&stage, &ada).await;
    let mut findings = Findings::default();
    for page in &pages {
        mallory.open(&page.path).await;
        let widths: &[u32] =
            if page.name.ends_with("attack") { &[360, 1280] } else { &[360, 768, 1280, 1920, 2560] };
        for width in widths {
            findings.layout(&mallory, page.name, *width).await;
        }
        findings.canaries(&mallory, page.name).await;
    }
    for page in pages.iter().filter(|page| is_bobs(page)) {
        bob.open(&page.path).await;
        findings.layout(&bob, page.name, 360).await;
        findings.layout(&bob, page.name, 1280).await;
        findings.canaries(&bob, page.name).await;
    }
    for browser in [ada, bob, mallory] {
        forbidden(&browser, &mut findings).await;
        browser.close().await;
    }
    findings.none();
}

async fn rename(browser: &Browser, name: &str) {
    browser.open("/organization").await;
    browser.paste("Name", name).await;
    browser.press("Save").await;
    browser.says("Saved.").await;
}

/// One more owner, whose own name and browser attack too.
async fn mallory(stage: &Stage, ada: &Browser) -> Browser {
    let invitation = json!({ "email": "mallory@lakeside.example", "role": "owner", "life": "1h" });
    let made = ada.does("POST", "/invitations", &invitation).await;
    let mallory = stage.browser().await;
    let agent = format!("<script>window.canary = 9</script>{}", "W".repeat(200));
    mallory.tell("Network.setUserAgentOverride", json!({ "userAgent": agent })).await;
    mallory.open(&format!("/invitation#{}", token_in(made["link"].as_str().unwrap()))).await;
    mallory.paste("Your name", &"W".repeat(80)).await;
    mallory.fill("Password", PASSWORD).await;
    mallory.press("Go on").await;
    mallory.says("Overview").await;
    stand_in(&mallory).await;
    mallory
}

/// Whether the other organization has the page too.
fn is_bobs(page: &Page) -> bool {
    !page.path.contains("/servers/") && !page.path.contains("/channels/") && !page.path.contains("?channel=")
}

/// Whether the browser has told of something that a page does; that one answers with a refusal is no fault.
fn is_told(entry: &Value) -> bool {
    entry["level"] != "DEBUG" && entry["source"] != "network"
}

/// What the browser itself says.
async fn forbidden(browser: &Browser, findings: &mut Findings) {
    let log: Vec<_> = browser.log().await.into_iter().filter(|entry| is_told(entry)).collect();
    findings.add("the browser's log", &log.iter().map(ToString::to_string).collect::<Value>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_into_a_form_comes_back_as_it_was_typed() {
    let stage = Stage::start("enterprise").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    stand_in(&ada).await;
    let mut findings = Findings::default();
    for attack in attacks() {
        ada.open("/servers/new").await;
        for label in ["Name", "Description", "Version of Mirth"] {
            ada.paste(label, &attack).await;
        }
        ada.press("Add").await;
        ada.says("Connector configuration").await;
        assert_eq!(ada.run("return document.querySelector('h1').textContent").await, attack);
        findings.layout(&ada, "a server", 360).await;
        findings.canaries(&ada, "a server").await;
        ada.press("Change").await;
        ada.says("Save").await;
        assert_eq!(ada.run("return document.getElementById('name').value").await, attack);
        assert_eq!(ada.run("return document.getElementById('description').value").await, attack);
        findings.layout(&ada, "a server's form", 360).await;
        for (path, field) in
            [("/connections?", "search"), ("/audit?", "object"), ("/sign-in?to=/%22%3E&", "organization")]
        {
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair(field, &attack).finish();
            ada.open(&format!("{path}{query}")).await;
            findings.layout(&ada, path, 360).await;
            findings.canaries(&ada, path).await;
        }
    }
    forbidden(&ada, &mut findings).await;
    findings.none();
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_read_is_refused_with_why_and_keeps_what_was_typed() {
    let stage = Stage::start("enterprise").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    stand_in(&ada).await;
    let mut findings = Findings::default();
    for (name, why) in REFUSED {
        for path in ["/servers/new", "/organization"] {
            ada.open(path).await;
            ada.paste("Name", name).await;
            ada.press(if path == "/organization" { "Save" } else { "Add" }).await;
            let said = ada.has("[role=alert]").await.text().await.unwrap();
            assert!(said.contains(why), "{name:?}: {said}");
            findings.layout(&ada, path, 360).await;
        }
        ada.open("/servers/new").await;
        ada.paste("Name", name).await;
        ada.press("Add").await;
        ada.has("[role=alert]").await;
        assert_eq!(ada.run("return document.getElementById('name').value").await, name);
    }
    findings.none();
    ada.open("/servers").await;
    ada.says("There is no server yet").await;
    ada.open("/organization").await;
    assert_eq!(ada.run("return document.getElementById('name').value").await, LAKESIDE);
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_right_to_left_turn_no_route_round() {
    let stage = Stage::start("enterprise").await;
    let (ada, bob) = stage.owners("enterprise").await;
    let (arabic, hebrew) = ("مستشفى الملك فيصل", "בית חולים הדסה");
    let pages =
        fill(&ada, &bob, |text| if text.contains("Lakeside") { arabic } else { hebrew }.to_owned()).await;
    stand_in(&ada).await;
    for name in ["connection", "diagnose", "connections", "overview", "terminate"] {
        let page = pages.iter().find(|page| page.name == name).unwrap();
        ada.open(&page.path).await;
        let places = ada.run_async(PLACES, vec![json!(arabic), json!(hebrew)]).await;
        let [source, arrow, target] = [0, 1, 2].map(|at| places[at].as_f64().unwrap());
        assert!(source < arrow && arrow < target, "{name}: {places}");
    }
    let page = pages.iter().find(|page| page.name == "connection").unwrap();
    ada.open(&page.path).await;
    let title = ada.run("return document.title").await;
    assert_eq!(title, format!("\u{2068}{arabic}\u{2069} → \u{2068}{hebrew}\u{2069} · adit"));
    ada.close().await;
    bob.close().await;
}

/// Where the first route of the page has its source, its arrow and its target: each place is larger than those
/// before it, on its line and on the lines above.
const PLACES: &str = "const [source, target, done] = arguments;
    const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { currentNode: node } = walker, at = node.data.indexOf('→');
        if (at < 0 || !node.data.includes(source)) continue;
        const place = (from, to) => {
            const range = document.createRange();
            range.setStart(node, from);
            range.setEnd(node, to);
            const [box] = range.getClientRects();
            return Math.round(box.bottom / 8) * 10000 + box.left;
        };
        const from = node.data.indexOf(source), to = node.data.lastIndexOf(target);
        done([place(from, from + source.length), place(at, at + 1), place(to, to + target.length)]);
    }";

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_are_heaped_up_are_drawn_over_no_other_row() {
    let stage = Stage::start("enterprise").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    // Some go above their letter, others below it.
    let heap = "\u{300}\u{301}\u{302}\u{303}\u{304}\u{306}\u{307}\u{308}\u{30a}\u{30b}\u{316}\u{317}\u{318}\u{319}\u{31c}\u{31d}\u{31e}\u{31f}\u{320}\u{323}\u{324}\u{325}";
    for name in [format!("H{heap}H{heap}"), "Plain".to_owned()] {
        ada.does("POST", "/servers", &json!({ "name": name })).await;
    }
    ada.open("/servers").await;
    ada.says("Plain").await;
    ada.run("for (const row of document.querySelectorAll('tr')) if (/Plain/.test(row.textContent)) row.id = 'plain'")
        .await;
    let beside = ada.picture_of("#plain").await;
    let levelled = "for (const name of document.querySelectorAll('bdi')) {
        name.textContent = name.textContent.replace(/\\p{M}/gu, '');
    }";
    ada.run(levelled).await;
    assert!(ada.picture_of("#plain").await == beside, "the row beside it is drawn over");
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_begins_no_formula() {
    let stage = Stage::start("enterprise").await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    for name in ["=HYPERLINK(\"https://evil.example\")", "@SUM(1+1)", "+1", "-1"] {
        ada.does("POST", "/servers", &json!({ "name": name })).await;
    }
    let script = "fetch('/audit/export?format=csv').then(async (answer) => arguments[0]([
        answer.headers.get('content-type'), answer.headers.get('content-disposition'), await answer.text()]))";
    let answer = ada.run_async(script, Vec::new()).await;
    let [kind, disposition, csv] = [0, 1, 2].map(|at| answer[at].as_str().unwrap());
    assert!(kind.starts_with("text/csv") && disposition.starts_with("attachment"), "{kind}, {disposition}");
    assert!(csv.contains("HYPERLINK") && csv.contains("@SUM"), "{csv}");
    for line in csv.lines() {
        let mut cells = line.split(',').map(|cell| cell.trim_start_matches('"'));
        assert!(!cells.any(|cell| cell.starts_with(['=', '@', '+', '-'])), "{line}");
    }
    ada.close().await;
}
