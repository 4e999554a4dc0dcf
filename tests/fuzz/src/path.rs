//! Targets of requests: whatever is forwarded has one spelling and one meaning, and in view-only a rule
//! of the table names it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use adit_core::domain::access::{Access, OptIn};
use adit_mirth::body::BodyKind;
use adit_mirth::http::{Framing, RequestHead};
use adit_mirth::verdict::{Judge, AccessPolicy, Verdict};

/// Context path, and a judge for it.
type Case = (&'static str, Access, Judge);

static JUDGES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let version = "4.5.2".parse().expect("is a version");
    let cases = [("/", Access::ReadOnly), ("/mirth", Access::ReadOnly), ("/", Access::ReadWrite)];
    let case = |(context, access)| {
        let policy = AccessPolicy { access, hide: BTreeSet::new(), show: OptIn::ALL.into_iter().collect() };
        (context, access, Judge::new(policy, context, Some(&version), &[]))
    };
    cases.into_iter().map(case).collect()
});

/// Methods and pattern of every rule of view-only.
static RULES: LazyLock<Vec<(Vec<&'static str>, Regex)>> = LazyLock::new(|| {
    let table = include_str!("../../../src/mirth/data/mirth-read-only-rules.tsv");
    let rows = table.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| line.split('\t'));
    let rule = |mut columns: std::str::Split<'static, char>| {
        let methods = columns.next().expect("has methods").split('|').collect();
        (methods, Regex::new(columns.next().expect("has a pattern")).expect("is a pattern"))
    };
    rows.map(rule).collect()
});

/// A method, a space, a target.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
    let is_token = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_token || !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return;
    }
    for (context, access, judge) in JUDGES.iter() {
        let request = head(method, target);
        let Verdict::Forward { target, body, names } = judge.judge(&request) else { continue };
        check_spelling(&target);
        let again = judge.judge(&head(method, &target));
        assert_eq!(again, Verdict::Forward { target: target.clone(), body, names: names.clone() });
        match access {
            Access::ReadOnly => {
                assert!(!names.changes, "{method} {target} changes the server");
                assert_ne!(body, BodyKind::Stream, "a body is judged");
                assert!(is_listed(method, &target, context), "{method} {target} is in no rule");
            }
            Access::ReadWrite => assert_eq!(body, BodyKind::Stream, "full control streams"),
        }
    }
}

fn head(method: &str, target: &str) -> RequestHead {
    // Such as a client sends with a POST; a GET has none.
    let framing = if matches!(method, "POST" | "PUT") { Framing::Length(0) } else { Framing::None };
    RequestHead {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        framing,
        expects_continue: false,
        closes: false,
    }
}

fn check_spelling(target: &str) {
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    assert!(!path.contains([';', '\\', '#', '"', '<', '>']) && !path.contains("//"), "{path}");
    assert!(!query.contains('#'), "{query}");
    for segment in path.split('/') {
        let decoded = decoded(segment);
        assert!(decoded != "." && decoded != "..", "{path}");
        assert!(!decoded.contains(['/', '\\', ';', '%', '?', '#']), "{path}");
        assert!(decoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{path}");
    }
}

fn decoded(segment: &str) -> String {
    let mut pieces = segment.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.get(..2).expect("an escape has two digits");
        assert_eq!(digits, digits.to_ascii_uppercase());
        decoded.push(char::from(u8::from_str_radix(digits, 16).expect("are hex")));
        decoded.push_str(&piece[2..]);
    }
    decoded
}

/// Whether the table of rules, or that of pages outside the API, has a place for it.
fn is_listed(method: &str, target: &str, context: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let below = if context == "/" { Some(path) } else { path.strip_prefix(context) };
    let api = below.and_then(|below| below.strip_prefix("/api")).filter(|api| api.starts_with('/'));
    let Some(api) = api else { return is_page(method, below.unwrap_or(path)) };
    // Swagger's page lies there too.
    let page = api.strip_prefix('/').and_then(|page| page.split('/').next()).unwrap_or_default();
    if ["", "index.html", "css", "js", "lib", "images", "fonts", "lang"].contains(&page) {
        return matches!(method, "GET" | "HEAD");
    }
    let api = api.strip_prefix("/4.5.2").unwrap_or(api);
    RULES.iter().any(|(methods, pattern)| methods.contains(&method) && pattern.is_match(api))
}

/// What `mirth-other-surface.tsv` names outside the API.
fn is_page(method: &str, path: &str) -> bool {
    let segments: Vec<_> = path.split('/').skip(1).collect();
    let last = segments.last().copied().unwrap_or_default();
    if method == "POST" {
        return matches!(path.trim_end_matches('/'), "/webadmin/Login.action" | "/webadmin/Index.action");
    }
    let first = segments.first().copied().unwrap_or_default();
    // Only there does Stripes answer them.
    let is_action = first == "webadmin" && path.contains(".action");
    let is_known = ["Index.action", "DashboardStatistics.action", "Logout.action"].contains(&last);
    let is_extension = path.starts_with("/webstart/extensions/libs/");
    matches!(method, "GET" | "HEAD")
        && (!is_action || is_known && segments.len() == 2)
        && (!is_extension || last.ends_with(".jar"))
        && [
            "webadmin",
            "webstart",
            "webstart.jnlp",
            "launcher",
            "javadocs",
            "apiexamples",
            "api",
            // The landing page and its files.
            "",
            "index.html",
            "favicon.ico",
            "bootstrap",
            "css",
            "js",
            "images",
            "img",
            "fonts",
        ]
        .contains(&first)
}
