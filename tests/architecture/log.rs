//! What a line of the log may show: people's words, never `Some(ServerId(…))`.

use std::path::Path;

use crate::code::{before_tests, code_only, words};

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
const SPANS: [&str; 6] = ["span", "trace_span", "debug_span", "info_span", "warn_span", "error_span"];
/// Fields that may be captured with `?`: a `Duration` has no other form, and `1.5s` is what people write.
const DURATIONS: [&str; 17] = [
    "age",
    "closed_for",
    "delay",
    "excused_for",
    "idle",
    "left",
    "limit",
    "lived",
    "pause",
    "quiet_for",
    "rtt",
    "silent_for",
    "stall_limit",
    "stalled_for",
    "took",
    "wait",
    "waited",
];

pub(crate) fn faults(path: &Path, source: &str) -> Vec<String> {
    let code = code_only(source);
    let found = words(before_tests(&code)).filter(|(_, word, rest)| {
        let logs = LEVELS.contains(word) || SPANS.contains(word);
        logs && rest.strip_prefix("!(").is_some_and(captures_as_rust)
    });
    found
        .map(|(line, ..)| format!("{}:{line}: log with `%` or a text, not with `?`", path.display()))
        .collect()
}

/// Returns whether a field that is no duration is captured with `?`. The operator of that name follows an
/// expression, a capture begins one.
fn captures_as_rust(after: &str) -> bool {
    fields(after).iter().any(|field| {
        let (name, value) = field.split_once('=').map_or(("", field.trim()), |(name, it)| (name, it.trim()));
        let captured = value.strip_prefix('?');
        captured.is_some_and(|captured| {
            let name = if name.is_empty() { captured.rsplit('.').next().unwrap_or_default() } else { name };
            !DURATIONS.contains(&name.trim())
        })
    })
}

/// Returns what stands between the commas of a call, up to its end.
fn fields(after: &str) -> Vec<&str> {
    let (mut depth, mut start, mut fields) = (0, 0, Vec::new());
    for (at, char) in after.char_indices() {
        match char {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ')' | ',' if depth == 0 => {
                fields.push(&after[start..at]);
                start = at + 1;
                if char == ')' {
                    break;
                }
            }
            _ => {}
        }
    }
    fields
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
    check("debug!(?pause, took = ?began.elapsed(), age = ?watched.age(), \"late\");", 0);
    check("debug!(began = ?began.elapsed());", 1);
    check("info!(%peer, more = count()?, why = names.get(0)?, \"what? (so)\");", 0);
    check("// debug!(?peer)\nfn f() -> Result<(), E> { g(a, b)? }", 0);
    check("\n#[cfg(test)]\nmod tests {\n    fn f() { info!(?peer); }\n}", 0);
}
