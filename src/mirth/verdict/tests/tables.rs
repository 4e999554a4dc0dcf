use super::super::super::operation::{Source, shape};
use super::*;

/// Returns every path of the template with one of these values in its parameters.
fn paths(template: &str, values: &[&str]) -> Vec<String> {
    let fill = |value: &&str| -> String {
        shape(template).flat_map(|literal| ["/", literal.unwrap_or(value)]).collect()
    };
    values.iter().map(fill).collect()
}

/// Returns the forms as clients spell the base and the end.
fn forms(path: &str) -> [String; 4] {
    [
        format!("/api{path}"),
        format!("/api{path}/"),
        format!("/api/{VERSION}{path}"),
        format!("/api/{VERSION}{path}/"),
    ]
}

#[test]
fn each_of_the_operations_is_judged_as_the_tables_say_in_every_form_a_client_sends() {
    let judge = view_only();
    let mut counts = [0; 3];
    for (operation, rule) in OPERATIONS.all().iter().zip(RULES.iter()) {
        for target in
            paths(operation.template, &["7", "-1", "9223372036854775807"]).iter().flat_map(|path| forms(path))
        {
            let verdict = judge.judge(&head(operation.method, &target));
            let expected = rule.as_ref().filter(|_| operation.class != Class::Write).map(|rule| rule.action);
            let place = match (&verdict, expected) {
                (Verdict::Forward { target: sent, body, .. }, Some(Action::Forward)) => {
                    assert_eq!((sent, Some(*body)), (&target, rule.as_ref().map(|rule| rule.body)));
                    0
                }
                (Verdict::Answer { status: 204, .. }, Some(Action::AnswerLocally)) => 1,
                (Verdict::Refuse { .. }, None | Some(Action::OwnerOptIn(_))) => 2,
                _ => panic!("{operation:?}: {verdict:?}"),
            };
            counts[place] += 1;
            assert_eq!(verdict.names().template, operation.template, "{target}");
            assert_eq!(verdict.names().operation, Some(operation.name));
        }
    }
    // 100 reads (all but key, configuration and property) and 8 of sessions, three documents; 12 forms.
    assert_eq!(counts.map(|count| count / 12), [111, 2, 108]);
}

#[test]
fn the_other_methods_of_every_path_are_refused_in_view_only() {
    let judge = view_only();
    let methods =
        ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "Get", "POSTX", "QUERY"];
    for operation in OPERATIONS.all() {
        let path = &paths(operation.template, &["7"])[0];
        for method in methods {
            assert!(!forwards(&judge, method, &format!("/api{path}")), "{method} {path}");
        }
        let listed = |method: &str| {
            let templates = OPERATIONS.all().iter().filter(|known| known.method == method);
            templates.flat_map(|known| paths(known.template, &["7"])).any(|known| known == *path)
        };
        for method in ["GET", "POST"] {
            assert!(listed(method) || !forwards(&judge, method, &format!("/api{path}")), "{method} {path}");
        }
    }
}

/// Literals in the place of parameters: what Jersey would run there is what decides.
#[test]
fn no_word_of_the_tables_in_the_place_of_a_parameter_reaches_what_they_do_not_allow() {
    let judge = view_only();
    let mut words: BTreeSet<&str> =
        OPERATIONS.all().iter().flat_map(|known| shape(known.template).flatten()).collect();
    words.extend([VERSION, "api", "x", "-1", "0"]);
    let pairs = |word| [[word, "7"], ["7", word], [word, word], [word, "_search"], ["statistics", word]];
    let pairs: Vec<_> = words.into_iter().flat_map(pairs).collect();
    let mut targets = BTreeSet::new();
    for operation in OPERATIONS.all() {
        for pair in &pairs {
            let mut values = pair.iter().copied().chain(std::iter::repeat("7"));
            let segment = |literal: Option<_>| literal.unwrap_or_else(|| values.next().expect("never ends"));
            targets.insert(shape(operation.template).map(segment).collect::<Vec<&str>>());
        }
    }
    let mut forwarded = 0;
    for segments in &targets {
        let target = format!("/api/{}", segments.join("/"));
        for method in ["GET", "POST", "PUT", "DELETE"] {
            if forwards(&judge, method, &target) {
                forwarded += 1;
                assert_allowed(method, segments);
            }
        }
    }
    assert!(forwarded > 1_000, "only {forwarded} were forwarded");
}

/// Asserts by a search of its own: of all templates that match, whatever their method, those that spell out
/// most; among these the method's own must exist and be a read or a session's.
#[track_caller]
fn assert_allowed(method: &str, segments: &[&str]) {
    let base = if segments.first() == Some(&VERSION) { &segments[1..] } else { segments };
    let matches = |known: &&Operation| {
        let shape: Vec<_> = shape(known.template).collect();
        shape.len() == base.len()
            && shape
                .iter()
                .zip(base)
                .all(|(literal, segment)| literal.is_none_or(|literal| literal == *segment))
    };
    let literals = |known: &Operation| shape(known.template).flatten().count();
    let matching: Vec<_> = OPERATIONS.all().iter().filter(matches).collect();
    let most = matching.iter().map(|known| literals(known)).max();
    let run = matching.iter().find(|known| Some(literals(known)) == most && known.method == method);
    let run = run.unwrap_or_else(|| panic!("{method} {segments:?} is no operation"));
    assert_ne!(run.class, Class::Write, "{method} {segments:?}");
    assert_ne!(run.source, Source::Historical, "{method} {segments:?}");
    assert_ne!(run.template, "/server/encryption");
}

#[test]
fn a_page_takes_only_the_query_parameters_that_its_own_pages_send() {
    let passes = |target: &str| view_only().judge(&head("GET", target)).forwarded().is_some();
    for target in [
        "/webadmin/Index.action?showAlert=true",
        "/webadmin/DashboardStatistics.action?getStats&showLifetimeStats=true",
        "/webadmin/fonts/glyphicons-halflings-regular.eot?",
        "/webadmin/fonts/glyphicons-halflings-regular.woff?v=4.5.2",
        "/webstart.jnlp?time=1700000000000&maxHeapSize=512m",
    ] {
        assert!(passes(target), "{target}");
    }
    for target in [
        "/webadmin/Index.action?showAlert=true&context.authorized=true",
        "/webadmin/Index.action?context.serverAddress=https://evil.example",
        "/webadmin/Index.action?showalert=true",
        "/webadmin/DashboardStatistics.action?showAlert=true",
        "/webadmin/Logout.action?showAlert=true",
        "/webadmin/Login.action?username=a&password=b",
        "/webstart.jnlp?codebase=x",
    ] {
        assert!(!passes(target), "{target}");
    }
}
