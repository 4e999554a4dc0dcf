mod tables;
mod tricks;
mod vectors;

use super::super::http::Header;
use super::*;

const VERSION: &str = "4.5.2";

fn policy(access: Access) -> AccessPolicy {
    AccessPolicy { access, hide: BTreeSet::new(), show: BTreeSet::new() }
}

fn version(text: &str) -> MirthVersion {
    text.parse().expect("is a version")
}

fn judge_of(policy: AccessPolicy) -> Judge {
    Judge::new(policy, "/", Some(&version(VERSION)), &[])
}

fn view_only() -> Judge {
    judge_of(policy(Access::ReadOnly))
}

fn full() -> Judge {
    judge_of(policy(Access::ReadWrite))
}

fn head(method: &str, target: &str) -> RequestHead {
    RequestHead {
        method: String::from(method),
        target: String::from(target),
        headers: vec![Header { name: String::from("Host"), value: b"mirth:8443".to_vec() }],
        framing: Framing::None,
        expects_continue: false,
        closes: false,
    }
}

impl Verdict {
    fn names(&self) -> &Named {
        match self {
            Self::Forward { names, .. } | Self::Answer { names, .. } | Self::Refuse { names, .. } => names,
        }
    }

    fn forwarded(&self) -> Option<(&str, BodyKind)> {
        match self {
            Self::Forward { target, body, .. } => Some((target, *body)),
            Self::Answer { .. } | Self::Refuse { .. } => None,
        }
    }

    fn refusal(&self) -> Option<&RequestRefusal> {
        match self {
            Self::Refuse { refusal, .. } => Some(refusal),
            Self::Forward { .. } | Self::Answer { .. } => None,
        }
    }
}

fn forwards(judge: &Judge, method: &str, target: &str) -> bool {
    judge.judge(&head(method, target)).forwarded().is_some()
}

#[test]
fn a_refusal_tells_a_person_what_was_not_done_without_what_was_sent() {
    let verdict = view_only().judge(&head("POST", "/api/4.5.2/channels/secret-id/_deploy?x=secret"));
    let refusal = verdict.refusal().expect("is refused");
    assert_eq!(
        refusal.to_string(),
        "view-only: this connection may not change anything on the managed server (POST \
         /channels/{channelId}/_deploy)"
    );
    assert_eq!(refusal.status(), 403);
    let names = verdict.names();
    assert_eq!(
        (names.template.as_str(), names.operation),
        ("/channels/{channelId}/_deploy", Some("deployChannels"))
    );
    assert!(names.changes);
    assert_eq!(names.rule, "the operation is listed as a write");
}

#[test]
fn a_malformed_target_is_a_bad_request_under_any_access() {
    for judge in [view_only(), full()] {
        for target in
            ["/api/..;/x", "/api//users", "/api/%61", "/api/users?a=%", "/api/users?_method=PUT", "/a;b"]
        {
            let verdict = judge.judge(&head("GET", target));
            assert_eq!(verdict.refusal().map(RequestRefusal::status), Some(400), "{target}");
            assert_eq!(verdict.names().template, "unknown");
        }
    }
}

#[test]
fn full_control_passes_by_name_every_request_of_one_meaning() {
    let names = |method: &str, target: &str| {
        let verdict = full().judge(&head(method, target));
        assert_eq!(verdict.forwarded(), Some((target, BodyKind::Stream)), "{method} {target}");
        let Named { template, operation, changes, .. } = verdict.names().clone();
        (template, operation, changes)
    };
    let expected = |template: &str, operation, changes| (String::from(template), operation, changes);
    assert_eq!(names("GET", "/api/4.5.2/channels/"), expected("/channels", Some("getChannels"), false));
    assert_eq!(names("HEAD", "/api/channels"), expected("/channels", Some("getChannels"), false));
    assert_eq!(
        names("PUT", "/api/channels/x?override=true"),
        expected("/channels/{channelId}", Some("updateChannel"), true)
    );
    assert_eq!(names("DELETE", "/api/users/2"), expected("/users/{userId}", Some("removeUser"), true));
    let preferences = expected("/users/{userId}/preferences", Some("setUserPreferences"), true);
    assert_eq!(names("PUT", "/api/users/1/preferences"), preferences);
    assert_eq!(names("POST", "/api/users/_login"), expected("/users/_login", Some("login"), false));
    assert_eq!(names("PATCH", "/api/channels/x"), expected("/channels/{channelId}", None, true));
    assert_eq!(names("OPTIONS", "/api/channels"), expected("/channels", None, false));
    assert_eq!(names("POST", "/api/my/plugin"), expected("unknown", None, true));
    assert_eq!(names("GET", "/api/my/plugin"), expected("unknown", None, false));
    assert_eq!(names("POST", "/webadmin/Login.action"), expected("/webadmin/Login.action", None, false));
    assert_eq!(names("DELETE", "/webadmin/"), expected("/webadmin", None, true));
    assert_eq!(
        names("GET", "/api/server/encryption"),
        expected("/server/encryption", Some("getEncryptionSettings"), false)
    );
    assert_eq!(full().judge(&head("CONNECT", "/x")).refusal(), Some(&RequestRefusal::Connect));
}

#[test]
fn full_control_names_by_any_version_as_it_needs_none() {
    let judge = Judge::new(policy(Access::ReadWrite), "", None, &[]);
    let verdict = judge.judge(&head("GET", "/api/3.12.0/channels"));
    assert_eq!(verdict.names().operation, Some("getChannels"));
    assert!(verdict.forwarded().is_some());
}

#[test]
fn view_only_is_refused_whole_where_mirth_is_too_old_or_unknown() {
    let older = version("4.4.0");
    for known in [None, Some(&older)] {
        let judge = Judge::new(policy(Access::ReadOnly), "/", known, &[]);
        for target in ["/api/server/version", "/api/4.4.0/channels", "/api/users/current"] {
            let verdict = judge.judge(&head("GET", target));
            assert!(matches!(verdict.refusal(), Some(RequestRefusal::TooOld(_))), "{target}");
        }
        assert!(!forwards(&judge, "GET", "/webadmin/DashboardStatistics.action"));
        assert!(!forwards(&judge, "POST", "/webadmin/Login.action"));
        assert!(forwards(&judge, "GET", "/webstart.jnlp"));
    }
}

#[test]
fn only_the_servers_own_version_is_a_base() {
    let judge = view_only();
    for target in ["/api/channels", "/api/channels/", "/api/4.5.2/channels", "/api/4.5.2/channels/"] {
        assert_eq!(judge.judge(&head("GET", target)).forwarded(), Some((target, BodyKind::None)));
    }
    for target in
        ["/api/4.5.1/channels", "/api/4.5/channels", "/api/04.5.2/channels", "/api/4.5.2/4.5.2/channels"]
    {
        assert!(!forwards(&judge, "GET", target), "{target}");
    }
}

#[test]
fn nothing_is_served_beside_the_owners_context_path() {
    for context in ["/mirth", "mirth/", "/mirth/"] {
        let judge = Judge::new(policy(Access::ReadOnly), context, Some(&version(VERSION)), &[]);
        for target in ["/mirth/api/channels", "/mirth/api/4.5.2/users/current", "/mirth/webadmin/", "/mirth/"]
        {
            assert!(forwards(&judge, "GET", target), "{target}");
        }
        assert!(forwards(&judge, "GET", "/apiexamples/channel_xml"));
        for target in ["/api/channels", "/webadmin/", "/", "/mirth/mirth/api/channels", "/Mirth/api/channels"]
        {
            assert!(!forwards(&judge, "GET", target), "{target}");
        }
    }
}

#[test]
fn a_request_whose_operation_takes_no_body_carries_none() {
    let with = |framing: Framing, method: &str, target: &str| {
        view_only().judge(&RequestHead { framing, ..head(method, target) })
    };
    for (method, target) in [("GET", "/api/channels"), ("POST", "/api/users/_logout"), ("GET", "/webadmin")] {
        assert!(with(Framing::Length(0), method, target).forwarded().is_some());
        assert_eq!(with(Framing::Length(1), method, target).refusal(), Some(&RequestRefusal::Body));
        assert_eq!(with(Framing::Chunked, method, target).refusal(), Some(&RequestRefusal::Body));
    }
    assert!(with(Framing::Chunked, "POST", "/api/users/_login").forwarded().is_some());
}

#[test]
fn the_owner_decides_what_is_shown_or_hidden() {
    let with = |hide: &[Category], show: &[OptIn]| {
        let (hide, show) = (hide.iter().copied().collect(), show.iter().copied().collect());
        judge_of(AccessPolicy { access: Access::ReadOnly, hide, show })
    };
    let refusal = |judge: &Judge, target: &str| judge.judge(&head("GET", target)).refusal().cloned();
    let configuration = "/api/server/configuration?pollingOnly=false";
    let shown = with(&[], &[OptIn::ServerConfiguration]);
    assert_eq!(refusal(&shown, configuration), None);
    assert_eq!(
        refusal(&shown, "/api/server/property"),
        Some(RequestRefusal::NotShown(OptIn::ServerProperty))
    );
    assert_eq!(
        refusal(&view_only(), configuration),
        Some(RequestRefusal::NotShown(OptIn::ServerConfiguration))
    );
    let both = with(&[Category::Scripts], &OptIn::ALL);
    assert_eq!(refusal(&both, configuration), Some(RequestRefusal::Hidden(Category::Scripts)));
    assert_eq!(refusal(&both, "/api/server/encryption"), Some(RequestRefusal::EncryptionKey));

    let hidden = with(&[Category::Messages], &[]);
    for target in
        ["messages", "messages/count", "messages/7", "messages/7/attachments", "messages/7/attachments/1"]
    {
        let target = format!("/api/channels/x/{target}");
        assert_eq!(refusal(&hidden, &target), Some(RequestRefusal::Hidden(Category::Messages)), "{target}");
    }
    assert_eq!(refusal(&hidden, "/api/channels"), None);
    let all = with(&Category::ALL, &[]);
    for target in
        ["/api/users/current", "/api/channels/statuses", "/api/server/version", "/api/users/1/preferences"]
    {
        assert_eq!(refusal(&all, target), None, "the Administrator opens: {target}");
    }
}

#[test]
fn what_only_the_servers_own_list_knows_is_refused_though_a_rule_would_match() {
    let unknown = ["/extensions/foo", "/extensions/bar/{+path}", "/channels/{id}/messages/newest"];
    let unknown =
        unknown.map(|path| ListedOperation { method: "GET".into(), path: path.into(), root_segments: 2 });
    let judge = Judge::new(policy(Access::ReadOnly), "/", Some(&version(VERSION)), &unknown);
    for target in [
        "/api/extensions/foo",
        "/api/4.5.2/extensions/foo/",
        "/api/extensions/bar/properties",
        "/api/extensions/bar",
    ] {
        let verdict = judge.judge(&head("GET", target));
        assert!(matches!(verdict.refusal(), Some(RequestRefusal::Unknown { .. })), "{target}");
        assert!(verdict.names().template.starts_with("/extensions/"), "{target}");
    }
    for target in ["/api/extensions/other", "/api/extensions/foo/properties", "/api/channels/x/messages/7"] {
        assert!(forwards(&judge, "GET", target), "{target}");
    }
}

#[test]
fn preferences_are_answered_here_without_reaching_mirth() {
    for target in
        ["/api/users/1/preferences", "/api/4.5.2/users/1/preferences/columns", "/api/users/-1/preferences/"]
    {
        let verdict = view_only().judge(&RequestHead { framing: Framing::Length(9), ..head("PUT", target) });
        assert!(matches!(verdict, Verdict::Answer { status: 204, .. }), "{target}");
    }
    assert!(matches!(view_only().judge(&head("PUT", "/api/users/x/preferences")), Verdict::Refuse { .. }));
}
