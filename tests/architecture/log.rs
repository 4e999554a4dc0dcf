//! What a line of the log may show: people's words, never `Some(ServerId(…))`.

use std::path::Path;

use crate::code::{before_tests, code_only, words};

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
const SPANS: [&str; 6] = ["span", "trace_span", "debug_span", "info_span", "warn_span", "error_span"];
/// Files that may capture with `?`, each with the reason.
const SHOWN_AS_RUST: [(&str, &str); 0] = [];

pub(crate) fn faults(path: &Path, source: &str) -> Vec<String> {
    if SHOWN_AS_RUST.iter().any(|(allowed, _)| path == Path::new(allowed)) {
        return Vec::new();
    }
    let code = code_only(source);
    let found = words(before_tests(&code)).filter(|(_, word, rest)| {
        let logs = LEVELS.contains(word) || SPANS.contains(word);
        logs && rest.strip_prefix("!(").is_some_and(captures_as_rust)
    });
    found
        .map(|(line, ..)| format!("{}:{line}: log with `%` or a text, not with `?`", path.display()))
        .collect()
}

/// Returns whether a field is captured with `?`. The operator of that name follows an expression, a capture
/// begins one.
fn captures_as_rust(after: &str) -> bool {
    let mut depth = 0;
    let mut before = ',';
    for char in after.chars() {
        match char {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return false,
            ')' | ']' | '}' => depth -= 1,
            '?' if depth == 0 && matches!(before, ',' | '=') => return true,
            _ => {}
        }
        if !char.is_whitespace() {
            before = char;
        }
    }
    false
}

#[test]
fn a_line_in_the_words_of_rust_would_be_found() {
    let check = |source: &str, count: usize| {
        assert_eq!(faults(Path::new("src/agent/source.rs"), source).len(), count, "{source}");
    };
    check("debug!(?peer, \"refused\");", 1);
    check("tracing::warn!(%connection, peer = ?peer.id, \"refused?\");", 1);
    check("let span = info_span!(\n    \"link\",\n    ?from\n);", 1);
    check("info!(target: \"adit\", ?a); info!(?b);", 2);
    check("info!(%peer, more = count()?, why = names.get(0)?, \"what? (so)\");", 0);
    check("// debug!(?peer)\nfn f() -> Result<(), E> { g(a, b)? }", 0);
    check("\n#[cfg(test)]\nmod tests {\n    fn f() { info!(?peer); }\n}", 0);
}
