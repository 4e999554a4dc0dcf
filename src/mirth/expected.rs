//! Requests that clients of Mirth make by themselves, with nobody asking, and that view-only refuses. They are
//! counted and not listed: a list of them would hide what somebody tried.

struct Expected {
    method: &'static str,
    template: &'static str,
    /// All that the query may say, each once.
    query: &'static [&'static str],
}

static EXPECTED: [Expected; 1] = [
    // The Administrator looks for a message about its licence at every start and once a day.
    Expected {
        method: "GET",
        template: "/server/property",
        query: &["group=padlock", "name=padlockMessage"],
    },
];

/// Returns whether a refusal of this request says nothing of anybody's intent. `template` is that of its
/// verdict.
#[must_use]
pub fn is_expected(method: &str, template: &str, target: &str) -> bool {
    let Some((_, query)) = target.split_once('?') else { return false };
    let mut found: Vec<_> = query.split('&').collect();
    found.sort_unstable();
    EXPECTED
        .iter()
        .any(|expected| expected.method == method && expected.template == template && expected.query == found)
}

#[cfg(test)]
mod tests {
    use super::super::operation::{Class, OPERATIONS, Operation};
    use super::*;

    #[test]
    fn only_what_the_administrator_asks_by_itself_is_expected() {
        let check = |method: &str, target: &str, expected: bool| {
            assert_eq!(is_expected(method, "/server/property", target), expected, "{method} {target}");
        };
        check("GET", "/api/4.5.2/server/property?group=padlock&name=padlockMessage", true);
        check("GET", "/api/server/property?name=padlockMessage&group=padlock", true);
        for other in [
            "/api/server/property",
            "/api/server/property?group=core&name=x",
            "/api/server/property?group=padlock",
            "/api/server/property?group=padlock&name=padlockMessage&name=x",
            "/api/server/property?group=padlock&group=padlock&name=padlockMessage",
            "/api/server/property?group=%70adlock&name=padlockMessage",
        ] {
            check("GET", other, false);
        }
        check("POST", "/api/server/property?group=padlock&name=padlockMessage", false);
        assert!(!is_expected("GET", "/server/configuration", "/x?group=padlock&name=padlockMessage"));
    }

    #[test]
    fn every_one_of_them_is_a_read_that_adit_knows() {
        for expected in &EXPECTED {
            let is_it = |known: &Operation| {
                (known.method, known.template) == (expected.method, expected.template)
                    && known.class == Class::Read
            };
            assert!(OPERATIONS.all().iter().any(is_it), "{}", expected.template);
            assert!(expected.query.is_sorted());
        }
    }
}
