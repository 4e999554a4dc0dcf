//! Every form of the console, found by walking its pages: what is refused is shown again as it was sent, and what is
//! sent twice makes one thing.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;

use super::browser::{Browser, PASSWORD, Page, Pages};
use super::full::fill;
use super::markup::{Form, UNSEEN, forms};
use crate::http::api::tests::world;
use crate::http::console::{self, Console, sent};
use crate::http::problem::{Problem, ProblemKind};
use crate::platform::{
    AdminOffer, ConnectionCommand, Initiator, NewChannel, OfferLife, TokenLife, totp_code_of,
};
use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::role::UserRole;
use adit_core::domain::secret::SecretLink;
use adit_core::domain::tier::Tier;

/// Where they are sent, each with what is typed or chosen in it. A form that is not here is not looked at.
const FORMS: &[(&str, &[&str])] = &[
    ("/account/password", &["revoke_api_tokens"]),
    ("/account/recovery-codes", &[]),
    ("/account/second-factor", &[]),
    ("/account/sessions/end", &[]),
    ("/account/sessions/{id}/end", &[]),
    ("/account/tokens", &["name", "role", "days"]),
    ("/account/tokens/{id}/revoke", &[]),
    ("/channels", &["server", "name", "description", "protocol", "published"]),
    ("/channels/{id}/delete", &[]),
    ("/channels/{id}/edit", &["name", "description"]),
    ("/channels/{id}/unpublish", &[]),
    ("/connections/{id}/do/decline", &[]),
    ("/connections/{id}/do/disconnect", &[]),
    ("/connections/{id}/do/pause", &[]),
    ("/connections/{id}/do/resume", &[]),
    ("/connections/{id}/do/withdraw", &[]),
    ("/connections/{id}/rotate-secrets", &[]),
    ("/connections/{id}/terminate", &[]),
    ("/connections/{id}/view-secret", &[]),
    ("/grants/new", &["offer", "holder"]),
    ("/grants/new (channel)", &["source_server"]),
    ("/grants/{id}/approve", &[]),
    ("/grants/{id}/approve (source_server)", &["source_server"]),
    ("/grants/{id}/deny", &[]),
    ("/grants/{id}/relinquish", &[]),
    ("/grants/{id}/revoke", &[]),
    ("/invitation", &["name"]),
    ("/invitations/{id}/revoke", &[]),
    ("/offers/new", &["server", "recipient", "access", "life"]),
    ("/offers/{id}/accept", &["server"]),
    ("/organization/api-tokens/{id}/revoke", &[]),
    ("/organization/name", &["name"]),
    ("/organization/second-factor", &[]),
    (
        "/organization/single-sign-on",
        &[
            "issuer",
            "client_id",
            "role_claim",
            "owner_value",
            "operator_value",
            "auditor_value",
            "passwords_for_owners_only",
        ],
    ),
    ("/organization/single-sign-on/remove", &[]),
    ("/organization/tier", &["tier"]),
    ("/peering", &["name"]),
    ("/peering/{id}/accept", &[]),
    ("/peering/{id}/decline", &[]),
    ("/peering/{id}/end", &[]),
    ("/peering/{id}/withdraw", &[]),
    ("/servers", &["name", "description", "version"]),
    ("/servers/{id}/connector", &["life"]),
    ("/servers/{id}/delete", &[]),
    ("/servers/{id}/edit", &["name", "description", "version"]),
    ("/servers/{id}/revoke-key", &[]),
    ("/sign-in", &["organization", "email"]),
    ("/sign-in/second-factor", &[]),
    ("/sign-out", &[]),
    ("/users/invite", &["email", "role", "life"]),
    ("/users/{id}", &["role"]),
    ("/users/{id} (disabled)", &[]),
    ("/users/{id}/link", &[]),
];
/// Those that make a thing, with what is typed to make one.
const MAKING: [(&str, &[(&str, &str)]); 9] = [
    ("/account/tokens", &[("name", "twice")]),
    ("/channels", &[("name", "twice")]),
    ("/grants/new", &[("offer", "spare")]),
    ("/offers/new", &[("access", "read-write")]),
    ("/peering", &[("name", "Fifth")]),
    ("/servers", &[("name", "twice")]),
    ("/servers/{id}/connector", &[]),
    ("/users/invite", &[("email", "twice@lakeside.example")]),
    ("/users/{id}/link", &[]),
];
/// As many pages of one kind are looked at.
const ALIKE_MAX: usize = 20;
const NO_ID: &str = "00000000-0000-4000-8000-000000000000";

/// A form, and who found it where.
struct Found {
    browser: Browser,
    page: String,
    form: Form,
}

#[tokio::test]
async fn every_form_is_shown_again_as_it_was_sent() {
    let pages = furnished().await;
    let found = walk(&pages).await;
    let listed: Vec<_> = found.iter().map(|(path, it)| (path.as_str(), it.form.typed())).collect();
    let expected: Vec<_> = FORMS.iter().map(|(path, typed)| (*path, typed.to_vec())).collect();
    assert_eq!(listed, expected, "list the form, so that it is looked at");
    for it in found.values() {
        let sent = it.form.filled();
        let answer = pages.send(&of_earlier_session(&it.browser), &it.form.action, &sent).await;
        assert!(answer.status >= 400, "{}: {}", it.form.action, answer.status);
        assert_keeps(&answer, &it.form, &sent);
    }
}

#[tokio::test]
async fn every_form_is_kept_whose_session_has_ended() {
    let pages = furnished().await;
    let outside =
        ["/sign-in", "/sign-out", "/invitation", "/account/second-factor", "/sign-in/second-factor"];
    for it in walk(&pages).await.values().filter(|it| !outside.contains(&it.form.action.as_str())) {
        let sent = it.form.filled();
        let signed_out = of_earlier_session(&Browser::default());
        let answer = pages.send(&signed_out, &it.form.action, &sent).await;
        let typed = it.form.typed();
        let is_written_in = sent.iter().any(|(name, _)| typed.contains(&name.as_str()));
        if !is_written_in {
            assert_eq!(answer.status, 303, "{}", it.form.action);
            continue;
        }
        assert_eq!(answer.status, 401, "{}", it.form.action);
        assert_keeps(&answer, &it.form, &sent);
        assert!(!answer.text.contains("type=\"password\""), "{} asks for a secret in vain", it.form.action);
        // Signed in again, what is kept shows the form itself.
        let kept = forms(&answer.text).into_iter().find(|kept| kept.action == it.form.action).unwrap();
        let again = pages.send(&of_earlier_session(&it.browser), &kept.action, &kept.with(&[])).await;
        assert_eq!(again.status, 403, "{}", it.form.action);
        assert_keeps(&again, &it.form, &sent);
    }
}

#[tokio::test]
async fn what_one_user_has_typed_is_not_shown_to_the_next_at_the_same_browser() {
    let pages = furnished().await;
    let outside = ["/sign-in", "/sign-out", "/invitation", "/sign-in/second-factor"];
    for it in walk(&pages).await.values().filter(|it| !outside.contains(&it.form.action.as_str())) {
        // The form lies open in a tab, or was kept when the first one's session ended.
        let next = Browser { csrf: it.browser.csrf.clone(), ..pages.auditor() };
        let sent = it.form.filled();
        assert_is_anothers(&pages.send(&next, &it.form.action, &sent).await, &it.form, &sent);
    }
}

#[tokio::test]
async fn a_second_factor_that_one_user_began_is_not_shown_to_the_next() {
    let pages = Pages::new().await;
    let begun = pages.post(&pages.owner(), "/account/second-factor", &[("password", PASSWORD)]).await;
    let form = forms(&begun.text).into_iter().find(|form| form.holds("link")).unwrap();
    let link = form.value("link").unwrap();
    let next = Browser { csrf: form.value("csrf").unwrap().into(), ..pages.auditor() };
    let sent = [("code".into(), "000000".into()), ("link".into(), link.to_owned())];
    let answer = pages.send(&next, &form.action, &sent).await;
    assert_is_anothers(&answer, &form, &sent);
    let seed = link.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
    assert!(!answer.text.contains(seed), "{}", answer.text);
}

#[track_caller]
fn assert_is_anothers(answer: &Page, form: &Form, sent: &[(String, String)]) {
    assert_eq!(answer.status, 403, "{}: {}", form.action, answer.text);
    assert!(answer.text.contains("The form is of another user"), "{}: {}", form.action, answer.text);
    assert_eq!(forms(&answer.text).len(), 0, "{}: {}", form.action, answer.text);
    for (name, value) in sent.iter().filter(|(_, value)| value.len() > 3) {
        assert!(!answer.text.contains(value.as_str()), "{} shows {name}: {}", form.action, answer.text);
    }
}

#[tokio::test]
async fn a_form_is_kept_while_the_database_is_away() {
    let away = || async { Problem::new(ProblemKind::Away, "the database is away") };
    let api = Router::new().fallback(away);
    let pages = Pages::new().await.over(console::routes(Console::new(api, world::ORIGIN.into())));
    let sent = [("name", "a<b>"), ("description", "in room 7"), ("key", "0123456789abcdef")];
    let answer = pages.post(&pages.owner(), "/servers", &sent).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("in room 7") && !answer.text.contains("a<b>"), "{}", answer.text);
    let kept = &forms(&answer.text)[0];
    assert_eq!((kept.action.as_str(), kept.value("name")), ("/servers", Some("a<b>")));
    assert_eq!(kept.value("key"), Some("0123456789abcdef"), "so that it makes one thing");
}

#[tokio::test]
async fn what_cannot_be_told_is_not_offered_to_be_repeated() {
    let of = async |kind, path: &str, sent: &[(&str, &str)]| {
        let api = Router::new().fallback(async move || Problem::new(kind, "not now"));
        let pages = Pages::new().await.over(console::routes(Console::new(api, world::ORIGIN.into())));
        pages.post(&pages.owner(), path, sent).await.text
    };
    let named = [("name", "a name")];
    let server = of(ProblemKind::Away, "/servers", &named).await;
    assert!(server.contains("<strong>Add a server</strong>") && server.contains("Try again"), "{server}");
    let user = of(ProblemKind::Away, &format!("/users/{NO_ID}"), &[("role", "owner")]).await;
    assert!(!user.contains("Try again") && user.contains("href=\"/users\""), "{user}");
    let channel = of(ProblemKind::Away, "/channels", &[("server", NO_ID), ("name", "a name")]).await;
    assert!(!channel.contains("Try again") && !channel.contains(NO_ID), "{channel}");
    let gone = of(ProblemKind::NotFound, "/servers", &named).await;
    assert!(gone.contains("<bdi>a name</bdi>") && forms(&gone).is_empty(), "{gone}");
    let unknown = of(ProblemKind::Away, "/servers", &[("name", "a name"), ("strange", "something")]).await;
    assert!(!unknown.contains("strange") && !unknown.contains("something"), "{unknown}");
    let twice = of(ProblemKind::Away, "/account/password", &[("new", "one"), ("new", "two")]).await;
    assert_eq!(twice.matches("id=\"new\"").count(), 1, "{twice}");
}

#[tokio::test]
async fn a_secret_that_is_not_shown_again_is_asked_for_once_more() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let path = "/organization/single-sign-on";
    let sent = [
        ("issuer", "http://plain.example"),
        ("client_id", "adit"),
        ("client_secret", "a secret"),
        ("role_claim", "groups"),
        ("owner_value", "owners"),
    ];
    let is_asked_for = |page: &Page| {
        let (_, field) = page.text.split_once("name=\"client_secret\"").unwrap();
        let field = field.split("</div>").next().unwrap();
        field.contains(" required") && field.contains("Type it once more.") && !field.contains("leave empty")
    };
    let answer = pages.post(&owner, path, &sent).await;
    assert!(answer.status == 422 && is_asked_for(&answer), "{}", answer.text);
    assert!(!is_asked_for(&pages.get(&owner, "/organization").await));
    let kept = pages.post(&Browser::default(), path, &sent).await;
    let form = forms(&kept.text).into_iter().find(|form| form.action == path).unwrap();
    let again = pages.send(&of_earlier_session(&owner), path, &form.with(&[])).await;
    assert!(again.status == 403 && is_asked_for(&again), "{}", again.text);
}

#[tokio::test]
async fn a_refused_form_keeps_its_key_until_it_has_made_something() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let key = "0123456789abcdef0123456789abcdef";
    let send = async |name: &str| pages.post(&owner, "/servers", &[("name", name), ("key", key)]).await;
    let key_of = |page: &Page| {
        let form = forms(&page.text).into_iter().find(|form| form.action == "/servers").unwrap();
        form.value("key").unwrap().to_owned()
    };
    let refused = send("").await;
    assert_eq!((refused.status, key_of(&refused).as_str()), (422, key));
    assert_eq!(send("one").await.status, 303);
    let other = send("other").await;
    assert_ne!(key_of(&other), key);
    assert!(other.text.contains("What you sent first was made; look before you send this"), "{}", other.text);
    assert!(other.text.contains("href=\"/servers\" target=\"_blank\""), "{}", other.text);
}

#[tokio::test]
async fn what_was_made_is_shown_though_its_page_cannot_be() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let server = pages.made(&owner, "/servers", &[("name", "one")]).await;
    let server = server.split('?').next().unwrap().to_owned();
    let pages = pages.whose_reading_fails();
    for (path, sent) in [
        ("/account/tokens", &[("name", "scripts"), ("role", "auditor"), ("days", "30")][..]),
        ("/users/invite", &[("email", "new@lakeside.example"), ("role", "auditor"), ("life", "1h")][..]),
        (format!("{server}/connector").as_str(), &[("life", "1h"), ("how", "show")][..]),
    ] {
        let answer = pages.post(&owner, path, sent).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(answer.text.contains("id=\"made\"") && answer.text.contains("It was made"), "{path}");
        assert!(!answer.text.contains("nothing was changed"), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn one_who_lacks_a_second_factor_now_is_led_to_set_one_up() {
    let pages = Pages::new().await;
    let [owner, operator, _] = pages.everybody();
    let begun = with_second_factor_of(&pages, &owner).await;
    let form = forms(&pages.get(&begun, "/organization").await.text)
        .into_iter()
        .find(|form| form.holds("csrf"))
        .unwrap();
    let begun = Browser { csrf: form.value("csrf").unwrap().into(), ..begun };
    let rule = pages.post(&begun, "/organization/second-factor", &[("needed", "true")]).await;
    assert_eq!(rule.status, 303, "{}", rule.text);
    let answer = pages.post(&operator, "/servers", &[("name", "one")]).await;
    assert_eq!((answer.status, answer.location()), (303, "/account/second-factor?done=nothing"));
    let shown = pages.get(&operator, answer.location()).await;
    assert!(shown.text.contains("what you sent was not done"), "{}", shown.text);
}

#[test]
fn every_field_of_the_templates_is_known_as_a_secret_or_kept() {
    let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/http/console/templates");
    for file in std::fs::read_dir(templates).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let posts = text.split("<form ").skip(1).filter(|form| form.contains("method=\"post\""));
        for form in posts.map(|form| form.split("</form>").next().unwrap()) {
            let names = form.split(" name=\"").skip(1).filter_map(|rest| rest.split('"').next());
            for name in names.filter(|name| !name.contains("{{")) {
                let lists = [sent::SECRETS.as_slice(), &sent::KEPT];
                let held = lists.iter().filter(|list| list.iter().any(|(known, _)| *known == name)).count();
                assert_eq!(held, 1, "{name} is a secret, or kept");
            }
        }
    }
}

#[tokio::test]
async fn what_another_site_sends_is_not_drawn() {
    let pages = Pages::new().await;
    let elsewhere = Browser { origin: "https://evil.example".into(), ..pages.owner() };
    let sent = [("issuer", "https://evil.example/issuer"), ("client_id", "evil")];
    for browser in [elsewhere.clone(), Browser { cookies: Vec::new(), ..elsewhere }] {
        let answer = pages.post(&browser, "/organization/single-sign-on", &sent).await;
        assert!(matches!(answer.status, 303 | 403), "{}", answer.status);
        assert!(!answer.text.contains("evil.example/issuer"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_refused_value_is_said_at_its_field() {
    let pages = furnished().await;
    let found = walk(&pages).await;
    let (name, text) = (&*"N".repeat(81), &*"d".repeat(501));
    for (path, field, value, status) in [
        ("/servers", "name", name, 422),
        ("/servers", "description", text, 422),
        ("/servers", "version", name, 422),
        ("/servers/{id}/edit", "name", name, 422),
        ("/channels", "name", "", 422),
        ("/channels", "server", NO_ID, 404),
        ("/channels/{id}/edit", "description", text, 422),
        ("/peering", "name", name, 422),
        ("/peering", "name", "Nowhere", 404),
        ("/users/invite", "email", "nobody", 422),
        ("/users/invite", "email", "auditor@lakeside.example", 409),
        ("/users/invite", "life", "2d", 422),
        ("/users/invite", "role", "chief", 422),
        ("/account/tokens", "role", "chief", 422),
        ("/account/tokens", "days", "999", 422),
        ("/account/tokens", "days", "soon", 422),
        ("/account/tokens", "name", name, 422),
        ("/organization/name", "name", name, 422),
        ("/organization/single-sign-on", "issuer", "http://plain.example", 422),
        ("/offers/new", "recipient", NO_ID, 404),
        ("/offers/new", "life", "always", 422),
        ("/grants/new", "holder", NO_ID, 404),
        ("/offers/{id}/accept", "server", NO_ID, 404),
        ("/servers/{id}/connector", "life", "2h", 422),
    ] {
        let it = &found[path];
        let typed = [
            ("name", "A name"),
            ("email", "ada@lakeside.example"),
            ("issuer", "https://sso.example"),
            ("client_id", "adit"),
            ("role_claim", "groups"),
            ("owner_value", "owners"),
        ];
        let mut sent = it.form.with(&[&[(field, value)], &typed[..]].concat());
        sent.retain(|(name, _)| name != "client_secret");
        let answer = pages.send(&it.browser, &it.form.action, &sent).await;
        assert_eq!(answer.status, status, "{path} {field}: {}", answer.text);
        let shown = shown_again(&answer, &it.form);
        for name in it.form.typed().into_iter().filter(|name| *name != field) {
            let before = sent.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
            assert_eq!(shown.value(name), before, "{path} {field}: {name}");
        }
        assert!(answer.text.contains("id=\"refused\" role=\"alert\""), "{path} {field}");
        let is_said = answer.text.contains(&format!("id=\"wrong-{field}\""));
        let is_marked = answer.text.contains(&format!("aria-describedby=\"wrong-{field}\""));
        let is_named = status == 422 || status == 409;
        assert!(!is_named || is_said && is_marked, "{path} {field}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_shown_beside_what_was_typed() {
    let pages = Pages::new().await;
    let owner = pages.owner();
    let made =
        pages.made(&owner, "/servers", &[("name", "before"), ("description", ""), ("version", "")]).await;
    let path = format!("{}/edit", made.split('?').next().unwrap());
    let first = forms(&pages.get(&owner, &path).await.text).into_iter().find(|it| it.action == path).unwrap();
    let sent = first.with(&[("name", "theirs")]);
    assert_eq!(pages.send(&owner, &path, &sent).await.status, 303);
    let late = pages.send(&owner, &path, &first.with(&[("name", "mine")])).await;
    assert_eq!(late.status, 412);
    assert!(late.text.contains("It is now: <bdi>theirs</bdi>"), "{}", late.text);
    let shown = shown_again(&late, &first);
    assert_eq!(shown.value("name"), Some("mine"));
    assert_eq!(pages.send(&owner, &path, &shown.with(&[])).await.status, 303, "it is known now");
}

#[tokio::test]
async fn a_form_that_is_sent_twice_makes_one_thing() {
    let pages = furnished().await;
    let found = walk(&pages).await;
    for (path, typed) in MAKING {
        let it = &found[path];
        let fresh = async || {
            let page = pages.get(&it.browser, &it.page).await;
            forms(&page.text).into_iter().find(|form| form.action == it.form.action).unwrap()
        };
        let (form, other) = (fresh().await, fresh().await);
        assert_eq!(form.value("key").map(str::len), Some(32), "{path}");
        assert_ne!(form.value("key"), other.value("key"), "{path}: each that is shown makes its own");
        let sent = form.with(typed);
        let both = tokio::join!(
            pages.send(&it.browser, &form.action, &sent),
            pages.send(&it.browser, &form.action, &sent)
        );
        let again = pages.send(&it.browser, &form.action, &sent).await;
        let answers = [both.0, both.1, again];
        let is_made = |page: &&Page| {
            page.status == 303
                || page.text.contains("class=\"secret\"")
                || page.text.contains("connector.toml</h2>")
        };
        let is_known = |page: &Page| page.text.contains("It was shown before");
        let made: Vec<_> = answers.iter().filter(is_made).collect();
        let rest = answers.iter().filter(|page| !is_made(page)).all(is_known);
        let statuses: Vec<_> = answers.iter().map(|page| page.status).collect();
        assert!(rest && !made.is_empty(), "{path}: {statuses:?} {}", answers[2].text);
        let places: BTreeSet<_> = made.iter().map(|page| page.location()).collect();
        assert_eq!(places.len(), 1, "{path}: {places:?}");
        assert!(made.len() == 3 || made.len() == 1, "{path}: {statuses:?}");
    }
}

#[tokio::test]
async fn a_secret_that_is_viewed_says_so_before_the_question() {
    const VIEWED: &str = "Your organization has viewed it";
    let pages = Pages::new().await;
    let full = fill(&pages, 1, 1).await;
    let path = format!("/connections/{}", full.connections[0]);
    let (owner, asked) = (pages.owner(), format!("{path}/view-secret"));
    assert!(pages.get(&owner, &asked).await.text.contains(&format!("action=\"{asked}\"")));
    assert_eq!(pages.post(&owner, &asked, &[]).await.status, 200);
    for page in [&path, &asked] {
        let page = pages.get(&owner, page).await.text;
        assert!(page.contains(VIEWED) && !page.contains(&format!("action=\"{asked}\"")), "{page}");
    }
    let other = pages.other_owner();
    assert!(!pages.get(&other, &path).await.text.contains(VIEWED), "the other's view is the other's");
    for server in full.servers {
        pages.platform().secret_stored(server, full.connections[0], 1).await.unwrap();
    }
    pages.pass(std::time::Duration::from_hours(73));
    let other =
        pages.sign_in(&[("organization", "St Mary"), ("email", "owner@stmary.example")]).await.browser();
    for page in [&path, &asked] {
        let page = pages.get(&other, page).await.text;
        assert!(page.contains("It is no longer available"), "{page}");
        assert!(!page.contains(&format!("action=\"{asked}\"")), "{page}");
    }
}

/// Makes two organizations' pages with one of each thing that may be decided.
async fn furnished() -> Pages {
    let pages = Pages::new().await;
    let full = fill(&pages, 2, 1).await;
    let platform = pages.platform();
    let (one, other) = pages.parties();
    let [own, others] = pages.organizations();
    platform.command(&one, full.connections[1], ConnectionCommand::Pause).await.unwrap();
    let (source, target) = (full.servers[0], full.servers[1]);
    let mut channels = Vec::new();
    for (by, server, name) in [
        (&one, source, "wanted"),
        (&one, source, "spare"),
        (&other, target, "theirs"),
        (&other, target, "offered"),
        (&one, source, "granted"),
    ] {
        let (name, description) = (name.parse().unwrap(), "".parse().unwrap());
        let new = NewChannel { server, name, description, protocol: Protocol::Tcp, published: true };
        channels.push(platform.add_channel(by, &new).await.unwrap());
    }
    platform.request_grant(&other, channels[0], target).await.unwrap();
    platform.offer_grant(&other, channels[3], own).await.unwrap();
    platform.offer_grant(&one, channels[4], others).await.unwrap();
    for (by, server, to) in [(&one, source, others), (&other, target, own)] {
        let offer = AdminOffer { server, to, access: Access::ReadOnly, life: OfferLife::default() };
        platform.offer_admin(by, &offer).await.unwrap();
    }
    let host = Initiator::Host { name: "operator".into() };
    let mut more = Vec::new();
    for name in ["Third", "Fourth", "Fifth"] {
        more.push(platform.add_organization(&host, &name.parse().unwrap(), Tier::Free).await.unwrap());
    }
    let third =
        Initiator::Member { organization: more[0], role: UserRole::Owner, name: "owner".into(), proof: None };
    platform.request_peering(&third, own).await.unwrap();
    platform.request_peering(&one, more[1]).await.unwrap();
    let email = "newcomer@lakeside.example".parse().unwrap();
    platform.invite(&one, &email, UserRole::Auditor, TokenLife::Hour).await.unwrap();
    let owner = pages.owner();
    let token = [("name", "scripts"), ("role", "auditor"), ("days", "30"), ("key", "fedcba9876543210")];
    assert_eq!(pages.post(&owner, "/account/tokens", &token).await.status, 200);
    pages.sign_in(&[("organization", "Lakeside"), ("email", "owner@lakeside.example")]).await;
    pages
}

/// Returns every form, by where it is sent: of an owner's pages, of who has a second factor, and of who is not signed
/// in.
async fn walk(pages: &Pages) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    let (mut next, mut seen) = (super::PAGES.map(str::to_owned).to_vec(), BTreeMap::<String, usize>::new());
    let (mut known, owner) = (BTreeSet::new(), pages.owner());
    while let Some(path) = next.pop() {
        let alike = seen.entry(kind_of(&path)).or_default();
        *alike += 1;
        if *alike > ALIKE_MAX || !known.insert(path.clone()) {
            continue;
        }
        let page = pages.get(&owner, &path).await;
        note(&mut found, &owner, &path, &page);
        if kind_of(&path) == "/servers/{id}" {
            // It leads there once an agent has enrolled.
            next.push(format!("{path}/revoke-key"));
        }
        let is_page =
            |path: &String| path.starts_with('/') && !path.starts_with("/api/") && !path.contains("/assets/");
        next.extend(page.paths().into_iter().map(|path| path.replace("&#38;", "&")).filter(is_page));
    }
    let nobody = Browser::default();
    let operator = with_second_factor(pages).await;
    let email = "operator@lakeside.example";
    let begun = pages.sign_in(&[("organization", "Lakeside"), ("email", email)]).await.browser();
    for (browser, path) in [
        (&nobody, "/sign-in"),
        (&nobody, "/invitation"),
        (&operator, "/account"),
        (&begun, "/sign-in/second-factor"),
    ] {
        let page = pages.get(browser, path).await;
        note(&mut found, browser, path, &page);
    }
    found
}

fn note(found: &mut BTreeMap<String, Found>, browser: &Browser, path: &str, page: &Page) {
    for form in forms(&page.text) {
        let csrf = form.value("csrf").unwrap_or_default().to_owned();
        let browser = Browser { csrf, ..browser.clone() };
        let mut kind = kind_of(&form.action);
        // Some are sent to the same place.
        if let Some(other) = ["disabled", "channel", "source_server"].into_iter().find(|it| form.holds(it)) {
            kind = format!("{kind} ({other})");
        }
        found.entry(kind).or_insert(Found { browser, page: path.to_owned(), form });
    }
}

/// Signs the operator in with a second factor.
async fn with_second_factor(pages: &Pages) -> Browser {
    let [_, operator, _] = pages.everybody();
    with_second_factor_of(pages, &operator).await
}

async fn with_second_factor_of(pages: &Pages, user: &Browser) -> Browser {
    let begun = pages.post(user, "/account/second-factor", &[("password", PASSWORD)]).await;
    let form = forms(&begun.text).into_iter().find(|form| form.holds("link")).unwrap();
    let code = totp_code_of(&SecretLink::new(form.value("link").unwrap().to_owned()), pages.platform().now());
    let sent = [("code", code.expose()), ("link", form.value("link").unwrap())];
    let done = pages.post(user, &form.action, &sent).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let again = done.browser();
    if again.cookies.is_empty() { user.clone() } else { again }
}

/// Returns a path as it is alike for all things.
fn kind_of(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let is_id = |part: &&str| part.len() == 36 && part.matches('-').count() == 4;
    let parts: Vec<_> = path.split('/').map(|part| if is_id(&part) { "{id}" } else { part }).collect();
    let names: Vec<_> = query.split('&').filter_map(|pair| pair.split('=').next()).collect();
    if query.is_empty() { parts.join("/") } else { format!("{}?{}", parts.join("/"), names.join("&")) }
}

fn of_earlier_session(browser: &Browser) -> Browser {
    Browser { csrf: "0".repeat(64), ..browser.clone() }
}

/// Returns a form as an answer shows it again.
#[track_caller]
fn shown_again(answer: &Page, form: &Form) -> Form {
    let same = |it: &Form| it.action == form.action && form.typed().iter().all(|name| it.holds(name));
    let found = forms(&answer.text).into_iter().find(same);
    found.unwrap_or_else(|| panic!("{} is not shown again: {}", form.action, answer.text))
}

/// Checks that all is there that was typed and chosen, no secret, nothing as markup, and why it was refused.
#[track_caller]
fn assert_keeps(answer: &Page, form: &Form, sent: &[(String, String)]) {
    let action = &form.action;
    assert!(answer.text.contains("role=\"alert\""), "{action} says nothing: {}", answer.text);
    for id in answer.text.split("aria-describedby=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(answer.text.contains(&format!("id=\"{id}\"")), "{action} points at {id}");
    }
    assert!(!answer.text.contains(UNSEEN), "{action} shows a secret: {}", answer.text);
    assert!(!answer.text.contains("<script>alert"), "{action}: {}", answer.text);
    let is_sent = |name: &str| sent.iter().any(|(it, _)| it == name);
    if !form.typed().into_iter().any(is_sent) {
        return;
    }
    let same =
        |it: &Form| &it.action == action && form.typed().iter().all(|name| !is_sent(name) || it.holds(name));
    let shown = forms(&answer.text).into_iter().find(same);
    let shown = shown.unwrap_or_else(|| panic!("{action} is not shown again: {}", answer.text));
    for name in form.typed() {
        let value = sent.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        assert_eq!(shown.value(name), value, "{action}: {name}");
    }
}
