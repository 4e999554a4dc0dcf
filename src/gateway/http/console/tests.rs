//! The pages as two organizations' browsers get them: everything by forms, nothing by script.

mod browser;
mod forms;
mod full;
mod markup;
mod sessions;

use std::time::Duration;

use self::browser::{Browser, PASSWORD, Pages};
use crate::platform::{Initiator, TokenLife};
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;

/// Every page that there is without an id.
const PAGES: [&str; 23] = [
    "/",
    "/connections",
    "/connections?ended=true&type=P2P&status=Ready&search=a",
    "/servers",
    "/servers/new",
    "/channels",
    "/channels?of=peers",
    "/channels/new",
    "/peering",
    "/grants",
    "/grants/new",
    "/offers/new",
    "/admin-sessions",
    "/admin-sessions?running=true",
    "/admin-sessions?connection=00000000-0000-4000-8000-000000000000&running=false",
    "/audit",
    "/audit?outcome=refused&from=2026-11-24T09:00",
    "/users",
    "/organization",
    "/organization/single-sign-on/remove",
    "/account",
    "/account/second-factor",
    "/invitation",
];
/// What a page may weigh with all that it brings, in bytes.
const FIRST_LOAD_BYTES_MAX: usize = 60 * 1024;
const PAGE_BYTES_MAX: usize = 20 * 1024;
/// Text that is markup elsewhere.
const MARKUP: &str = "\"><script>alert(1)</script>&'";
/// The same, and a character that turns others round, which no name may have.
const HOSTILE: &str = "\"><script>alert(1)</script>&\u{202b}'";

#[tokio::test]
async fn every_page_is_shown_to_each_role_and_holds_nothing_inline() {
    let pages = Pages::new().await;
    for browser in pages.everybody() {
        for path in PAGES {
            let page = pages.get(&browser, path).await;
            assert_eq!(page.status, 200, "{path}: {}", page.text);
            page.assert_is_ours(path);
            assert!(page.text.len() < PAGE_BYTES_MAX, "{path}: {} bytes", page.text.len());
        }
    }
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_led_to_it_and_back() {
    let pages = Pages::new().await;
    let nobody = Browser::default();
    for path in PAGES.into_iter().filter(|path| *path != "/invitation") {
        let page = pages.get(&nobody, path).await;
        assert_eq!(page.status, 303, "{path}");
        assert!(page.location().starts_with("/sign-in"), "{path}: {}", page.location());
    }
    assert_eq!(pages.get(&nobody, "/servers").await.location(), "/sign-in?to=%2Fservers");
    for hostile in ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"] {
        let form = [("organization", "Lakeside"), ("email", "owner@lakeside.example"), ("to", hostile)];
        let page = pages.sign_in(&form).await;
        assert_eq!((page.status, page.location()), (303, "/"), "{hostile}");
    }
    let form = [("organization", "Lakeside"), ("email", "owner@lakeside.example"), ("to", "/servers")];
    let page = pages.sign_in(&form).await;
    assert_eq!(page.location(), "/servers");
    let browser = page.browser();
    assert_eq!(pages.get(&browser, "/").await.status, 200);
}

#[tokio::test]
async fn a_browser_that_asks_where_forms_are_sent_is_led_to_their_page() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    for (sent, page) in [
        ("/connections/1/do/pause", "/connections/1"),
        ("/servers/1/connector", "/servers/1"),
        ("/users/1/link", "/users/1"),
        ("/users/invite", "/users"),
        ("/invitations/1/revoke", "/users"),
        ("/peering/1/accept", "/peering"),
        ("/account/tokens", "/account"),
        ("/sign-out", "/"),
    ] {
        let shown = pages.get(&owner, sent).await;
        assert_eq!((shown.status, shown.location()), (303, page), "{sent}");
    }
}

#[tokio::test]
async fn a_form_from_another_site_or_without_its_token_changes_nothing() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let server = [("name", "A"), ("description", ""), ("version", "")];
    let forged = Browser { csrf: "0".repeat(64), ..owner.clone() };
    assert_eq!(pages.post(&forged, "/servers", &server).await.status, 403);
    let elsewhere = Browser { origin: "https://evil.example".into(), ..owner.clone() };
    assert_eq!(pages.post(&elsewhere, "/servers", &server).await.status, 403);
    assert!(pages.get(&owner, "/servers").await.text.contains("There is no server yet"));
    assert_eq!(pages.post(&owner, "/servers", &server).await.status, 303);
    assert!(!pages.get(&owner, "/servers").await.text.contains("There is no server yet"));
}

#[tokio::test]
async fn what_is_refused_is_said_on_the_page_and_what_was_typed_stays() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let page =
        pages.post(&owner, "/servers", &[("name", ""), ("description", "in room 7"), ("version", "")]).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("role=\"alert\"") && page.text.contains("in room 7"), "{}", page.text);
    let auditor = pages.auditor();
    let page = pages.post(&auditor, "/servers", &[("name", "A"), ("description", ""), ("version", "")]).await;
    assert_eq!(page.status, 403);
    let page = pages.get(&owner, "/no-such-page").await;
    assert_eq!(page.status, 404);
    assert!(page.text.contains("<h1>Not found</h1>"));
}

#[tokio::test]
async fn two_organizations_come_from_nothing_to_an_active_connection_by_forms_alone() {
    let pages = Pages::new().await;
    let (one, other) = (pages.owner(), pages.other_owner());
    let source = pages
        .made(&one, "/servers", &[("name", "Lakeside Mirth"), ("description", ""), ("version", "4.5.2")])
        .await;
    let target = pages
        .made(&other, "/servers", &[("name", "St Mary Mirth"), ("description", ""), ("version", "4.5.2")])
        .await;
    let (source, target) = (id_in(&source), id_in(&target));
    let channel = [
        ("server", &*target),
        ("name", "ADT"),
        ("description", ""),
        ("protocol", "mllp"),
        ("published", "yes"),
    ];
    let channel = id_in(&pages.made(&other, "/channels", &channel).await);
    pages.done(&one, "/peering", &[("name", "St Mary")]).await;
    let needs = pages.get(&other, "/").await.text;
    assert!(needs.contains("asks for an agreement with you"), "{needs}");
    let peering = pages.link(&other, "/peering", "/accept").await;
    pages.done(&other, &peering, &[]).await;
    assert!(pages.get(&one, "/channels?of=peers").await.text.contains("ADT"));
    pages.done(&one, "/grants/new", &[("channel", &*channel), ("source_server", &*source)]).await;
    let approve = pages.link(&other, "/grants", "/approve").await;
    pages.done(&other, &approve, &[]).await;
    let connection = pages.connection(&one).await;
    let page = pages.get(&one, &connection).await.text;
    for said in ["Lakeside Mirth → St Mary Mirth", ">P2P<", ">Ready<", "Never connected", "Copy agent entry"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("pulses"));
    // The target's owner alone is told how far its agent has come.
    assert!(!page.contains("Target&#39;s agent</dt>") && !page.contains("Target's agent</dt>"));
    assert!(pages.get(&other, &connection).await.text.contains("Target's agent</dt>"));
    pages.done(&one, &format!("{connection}/do/activate"), &[]).await;
    pages.done(&one, &format!("{connection}/do/pause"), &[]).await;
    pages.done(&other, &format!("{connection}/do/pause"), &[]).await;
    assert!(pages.get(&one, &connection).await.text.contains("Paused by"));
    pages.done(&one, &format!("{connection}/do/resume"), &[]).await;
    assert!(pages.get(&one, &connection).await.text.contains("each lifts its own pause"));
    pages.done(&other, &format!("{connection}/do/resume"), &[]).await;
    assert!(pages.get(&one, &connection).await.text.contains(">Active<"));
    let shown = pages.post(&one, &format!("{connection}/view-secret"), &[]).await;
    assert_eq!(shown.status, 200);
    assert!(shown.text.contains("class=\"secret\""));
    let gone = pages.post(&one, &format!("{connection}/view-secret"), &[]).await;
    assert_eq!(gone.status, 409);
    assert!(gone.text.contains("Rotate Secrets") && !gone.text.contains("class=\"secret\""), "{}", gone.text);
    let diagnosis = pages.get(&one, &format!("{connection}/diagnose")).await.text;
    assert!(diagnosis.contains("no agent has ever enrolled"), "{diagnosis}");
    pages.done(&other, &format!("{connection}/terminate"), &[]).await;
    assert!(pages.get(&one, "/connections").await.text.contains("Ended: 1"));
    assert!(pages.get(&one, "/connections?ended=true").await.text.contains(">Terminated<"));
}

#[tokio::test]
async fn an_outsiders_browser_is_shown_the_same_as_for_what_is_not_there() {
    let pages = Pages::new().await;
    let (one, other) = (pages.owner(), pages.other_owner());
    let server =
        id_in(&pages.made(&one, "/servers", &[("name", "A"), ("description", ""), ("version", "")]).await);
    let none = "00000000-0000-4000-8000-000000000000";
    for page in ["", "/edit", "/delete", "/revoke-key"] {
        let forbidden = pages.get(&other, &format!("/servers/{server}{page}")).await;
        let missing = pages.get(&other, &format!("/servers/{none}{page}")).await;
        assert_eq!(forbidden.status, 404, "{page}");
        assert_eq!(forbidden.text, missing.text, "{page}");
    }
    for strange in ["..", "%2e%2e%2fusers", "x", "%22%3E"] {
        assert_eq!(pages.get(&one, &format!("/servers/{strange}/edit")).await.status, 404, "{strange}");
    }
}

#[tokio::test]
async fn a_hostile_name_is_text_on_every_page() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let form = [("name", HOSTILE), ("description", HOSTILE), ("version", "4.5.2")];
    let made = pages.post(&owner, "/servers", &form).await;
    // What is no name is refused, and shown again as text; what is one is text too.
    assert!(matches!(made.status, 303 | 422), "{}", made.status);
    let long = "W".repeat(80);
    let names = ["a<b>&\"c\"", "قسم الأشعة", "🏥🏥🏥", &*long];
    for name in names {
        pages.done(&owner, "/servers", &[("name", name), ("description", MARKUP), ("version", "")]).await;
    }
    for path in PAGES {
        let page = pages.get(&owner, path).await;
        assert!(!page.text.contains("<script>alert"), "{path}");
        assert!(!page.text.contains("a<b>"), "{path}");
    }
    assert!(!made.text.contains("<script>alert"));
}

#[tokio::test]
async fn an_owner_revokes_the_token_of_another_by_a_form() {
    let pages = Pages::new().await;
    let [owner, operator, auditor] = pages.everybody();
    pages.pass(Duration::from_secs(1));
    let hostile = [("name", "a<b>&\"c\""), ("role", "auditor"), ("days", "30"), ("key", "fedcba9876543210")];
    assert_eq!(pages.post(&auditor, "/account/tokens", &hostile).await.status, 200);
    for browser in [&operator, &auditor] {
        let page = pages.get(browser, "/organization").await;
        assert!(
            page.text.contains("<bdi>nightly</bdi>") && page.text.contains("The operator"),
            "{}",
            page.text
        );
        assert!(!page.paths().iter().any(|path| path.contains("api-tokens")), "{}", page.text);
    }
    let other = pages.get(&pages.other_owner(), "/organization").await;
    assert!(!other.text.contains("lakeside.example"), "{}", other.text);
    let page = pages.get(&owner, "/organization").await;
    assert!(page.text.contains("a&#60;b&#62;") && !page.text.contains("a<b>"), "{}", page.text);
    assert!(page.text.contains("<bdi>auditor@lakeside.example</bdi>"), "{}", page.text);
    // The oldest comes first.
    let revoke = pages.link(&owner, "/organization", "/revoke").await;
    assert!(revoke.starts_with("/organization/api-tokens/"), "{revoke}");
    for browser in [&operator, &auditor, &pages.other_owner()] {
        assert!(matches!(pages.post(browser, &revoke, &[]).await.status, 403 | 404), "{revoke}");
    }
    assert_eq!(pages.made(&owner, &revoke, &[]).await, "/organization?done=revoked");
    let after = pages.get(&owner, "/organization?done=revoked").await;
    assert!(after.text.contains("Revoked.") && after.text.contains(">revoked</span>"), "{}", after.text);
    assert!(!after.paths().contains(&revoke), "{}", after.text);
    assert!(pages.get(&operator, "/account").await.text.contains(">revoked</span>"));
}

#[tokio::test]
async fn the_tokens_of_an_organization_come_in_pages() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let of = async |after: &str| pages.get(&owner, after).await;
    let name = |number: usize| format!("token {number:02}");
    for number in 0..20 {
        let (name, key) = (name(number), format!("{number:016}"));
        let token = [("name", name.as_str()), ("role", "auditor"), ("days", "30"), ("key", key.as_str())];
        assert_eq!(pages.post(&owner, "/account/tokens", &token).await.status, 200);
        pages.pass(Duration::from_secs(1));
    }
    let first = of("/organization").await;
    assert!(first.text.contains("nightly") && first.text.contains(&name(18)), "{}", first.text);
    assert!(!first.text.contains(&name(19)) && first.text.len() < PAGE_BYTES_MAX, "{}", first.text);
    let next = first.paths().into_iter().find(|path| path.contains("after=")).unwrap();
    let next = next.strip_suffix("#api-tokens").unwrap();
    let second = of(next).await;
    assert!(second.text.contains(&name(19)) && !second.text.contains(&name(18)), "{}", second.text);
    assert!(second.paths().contains(&"/organization#api-tokens".to_owned()), "{}", second.text);
}

#[tokio::test]
async fn an_organization_without_tokens_reads_what_one_is_for() {
    let pages = Pages::new().await;
    let host = Initiator::Host { name: "operator".into() };
    let third =
        pages.platform().add_organization(&host, &"Third".parse().unwrap(), Tier::Free).await.unwrap();
    let by = Initiator::Member {
        organization: third,
        role: UserRole::Owner,
        name: "operator".into(),
        proof: None,
    };
    let email = "owner@third.example".parse().unwrap();
    let invited = pages.platform().invite(&by, &email, UserRole::Owner, TokenLife::Hour).await.unwrap();
    let token = invited.token.reveal_hex();
    let accepted = [("token", token.as_str()), ("name", "The owner"), ("password", PASSWORD)];
    let owner = pages.post(&Browser::default(), "/invitation", &accepted).await.browser();
    let shown = pages.get(&owner, "/organization").await;
    assert!(shown.text.contains("A program that shows an API token"), "{}", shown.text);
    assert!(shown.text.contains("href=\"/account\">Your tokens"), "{}", shown.text);
}

#[tokio::test]
async fn a_first_visit_is_light_and_what_it_brings_is_kept() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let page = pages.get(&owner, "/").await;
    let mut bytes = page.text.len();
    for asset in page.assets() {
        let asset = pages.get(&Browser::default(), &asset).await;
        assert_eq!(asset.status, 200);
        assert!(asset.header("cache-control").contains("immutable"));
        bytes += asset.text.len();
    }
    assert!(bytes < FIRST_LOAD_BYTES_MAX, "{bytes} bytes");
}

#[tokio::test]
async fn a_second_factor_is_set_up_by_forms_and_asked_for_from_then_on() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let begun = pages.post(&owner, "/account/second-factor", &[("password", "wrong and long enough")]).await;
    assert_eq!(begun.status, 422, "{}", begun.text);
    let begun = pages.post(&owner, "/account/second-factor", &[("password", browser::PASSWORD)]).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    assert!(begun.text.contains("class=\"qr\"") && begun.text.contains("otpauth://"), "{}", begun.text);
    let wrong = pages.post(&owner, "/account/second-factor/confirm", &[("code", "000000")]).await;
    assert_ne!(wrong.status, 200);
}

fn id_in(location: &str) -> String {
    let path = location.split('?').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_page_that_keeps_itself_fresh_keeps_nobody_signed_in() {
    let pages = Pages::new().await;
    let unattended = Browser { is_unattended: true, ..pages.owner() };
    let minutes = |minutes| Duration::from_mins(minutes);
    pages.pass(minutes(20));
    assert_eq!(pages.get(&unattended, "/").await.status, 200);
    pages.pass(minutes(11));
    assert_eq!(pages.get(&unattended, "/").await.location(), "/sign-in");
    // Who does something stays.
    let attended = pages.other_owner();
    assert_eq!(pages.get(&attended, "/").await.location(), "/sign-in", "it was idle for as long");
    let pages = Pages::new().await;
    for _ in 0..3 {
        pages.pass(minutes(20));
        assert_eq!(pages.get(&pages.owner(), "/").await.status, 200);
    }
}

#[tokio::test]
async fn what_is_shown_once_is_said_to_be_gone_where_the_same_form_is_sent_again() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let server =
        id_in(&pages.made(&owner, "/servers", &[("name", "A"), ("description", ""), ("version", "")]).await);
    let path = format!("/servers/{server}/connector");
    let form = [("life", "1h"), ("how", "download"), ("key", "0123456789abcdef")];
    assert!(pages.post(&owner, &path, &form).await.text.contains("token"));
    let again = pages.post(&owner, &path, &form).await;
    assert_eq!(again.status, 409);
    assert!(again.text.contains("It was shown before"), "{}", again.text);
    let token = [("name", "scripts"), ("role", "auditor"), ("days", "30"), ("key", "fedcba9876543210")];
    assert!(pages.post(&owner, "/account/tokens", &token).await.text.contains("Your new API token"));
    let again = pages.post(&owner, "/account/tokens", &token).await;
    assert_eq!(again.status, 409);
    assert!(again.text.contains("It was shown before"), "{}", again.text);
}

#[tokio::test]
async fn a_refused_channel_keeps_what_was_chosen() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let server =
        id_in(&pages.made(&owner, "/servers", &[("name", "A"), ("description", ""), ("version", "")]).await);
    let form = [("server", &*server), ("name", ""), ("description", ""), ("protocol", "dicom")];
    let page = pages.post(&owner, "/channels", &form).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text.contains("value=\"dicom\" checked") && !page.text.contains("value=\"yes\" checked"),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn a_description_that_was_typed_in_two_lines_is_one() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let server = [("name", "A"), ("description", "In room 7\r\n\r\n  on the left"), ("version", "")];
    let server = id_in(&pages.made(&owner, "/servers", &server).await);
    let channel = [("server", &*server), ("name", "ADT"), ("description", "one\ntwo"), ("protocol", "mllp")];
    let channel = pages.made(&owner, "/channels", &channel).await;
    let page = pages.get(&owner, &format!("/servers/{server}")).await;
    assert!(page.text.contains("In room 7 on the left"), "{}", page.text);
    let page = pages.get(&owner, &channel).await;
    assert!(page.text.contains("one two"), "{}", page.text);
}

#[tokio::test]
async fn nothing_is_chosen_where_there_is_a_choice_but_what_one_came_for() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let mut servers = Vec::new();
    for name in ["A", "B"] {
        let form = [("name", name), ("description", ""), ("version", "")];
        servers.push(id_in(&pages.made(&owner, "/servers", &form).await));
        let page = pages.get(&owner, "/channels/new").await.text;
        assert_eq!(page.contains("<option value=\"\">Choose</option>"), name == "B", "{page}");
    }
    for server in &servers {
        let page = pages.get(&owner, &format!("/channels/new?server={server}")).await.text;
        assert!(page.contains(&format!("<option value=\"{server}\" selected>")), "{page}");
        assert!(!page.contains(">Choose</option>"), "{page}");
    }
}

#[tokio::test]
async fn a_list_of_what_waits_says_so_when_nothing_does() {
    let pages = Pages::new().await;
    for path in ["/grants", "/peering"] {
        let page = pages.get(&pages.owner(), &format!("{path}?waiting=true")).await.text;
        assert!(page.contains("Nothing waits for you any more."), "{page}");
        assert!(
            page.contains("Those that wait for you.") && page.contains(&format!("<a href=\"{path}\">All"))
        );
        let page = pages.get(&pages.owner(), path).await.text;
        assert!(!page.contains("waits for you") && !page.contains("that wait for you"), "{page}");
    }
}
