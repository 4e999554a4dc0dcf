//! Which layer may know which, and what a layer may not know at all (DESIGN §6).

use std::path::Path;

use crate::code::{before_tests, code_only, words};

/// Each layer with what it may import. Lowest first.
const LAYERS: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("protocol", &["domain"]),
    ("mirth", &["domain"]),
    ("config", &["domain"]),
    ("store", &["domain"]),
    ("identity", &["domain", "config"]),
    ("transport", &["domain", "protocol", "config", "identity"]),
    ("observe", &["domain", "config"]),
    ("agent", BELOW_ROLES),
    ("gateway", BELOW_ROLES),
    ("demo", BELOW_CLI),
    ("cli", BELOW_CLI),
];
const BELOW_ROLES: &[&str] =
    &["domain", "protocol", "mirth", "config", "store", "identity", "transport", "observe"];
const BELOW_CLI: &[&str] = &[
    "domain",
    "protocol",
    "mirth",
    "config",
    "store",
    "identity",
    "transport",
    "observe",
    "agent",
    "gateway",
    "demo",
    "cli",
];

/// Libraries that only some layers may name.
const ROOMS: [(&str, &[&str]); 10] = [
    ("quinn", &["transport"]),
    ("quinn_proto", &["transport"]),
    ("quinn_udp", &["transport"]),
    ("rustls", &["identity", "transport"]),
    ("tokio_rustls", &["identity", "transport"]),
    ("rcgen", &["identity"]),
    ("x509_parser", &["identity"]),
    ("sqlx", &["store"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
];

/// The one system call that no library offers safely; STYLE asks for a reason at the place.
const UNSAFE_ROOMS: [&str; 1] = ["src/transport/unsent.rs"];

const PURE: [&str; 4] = ["domain", "protocol", "mirth", "config"];
/// Libraries and modules of `std` that reach outside the process or the moment.
const IMPURE_PATHS: [&str; 21] = [
    "arc_swap",
    "axum",
    "env",
    "fs",
    "getrandom",
    "governor",
    "hyper",
    "hyper_util",
    "io",
    "metrics",
    "os",
    "process",
    "rand",
    "rustix",
    "sd_notify",
    "socket2",
    "thread",
    "tokio",
    "tracing",
    "tracing_subscriber",
    "metrics_exporter_prometheus",
];
/// Names that do so wherever they come from.
const IMPURE_NAMES: [&str; 20] = [
    "async",
    "await",
    "Future",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
    "SystemRandom",
    "SecureRandom",
    "RandomState",
    "new_v4",
    "now_v7",
    "elapsed",
    "println",
    "eprintln",
    "dbg",
];
/// Types whose `now` reads a clock.
const CLOCKS: [&str; 4] = ["Instant", "Timestamp", "Zoned", "Utc"];

pub fn faults(path: &Path, source: &str) -> Vec<String> {
    let code = code_only(source);
    let mut parts = path.iter().skip(1).map(|part| part.to_str().unwrap_or_default().trim_end_matches(".rs"));
    let layer = parts.next().unwrap_or_default();
    if matches!(layer, "lib" | "main") {
        return Vec::new();
    }
    let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!("{}: `{layer}` is no layer of DESIGN §6", path.display())];
    };
    // Below the crate's root: 1 for `src/agent.rs`, 2 for `src/agent/source.rs`.
    let depth = parts.count() + 1;
    let is_tests = path.to_string_lossy().ends_with("tests.rs") || path.iter().any(|part| part == "tests");
    let mut faults = import_faults(layer, below, depth, &code);
    faults.extend(room_faults(layer, &code));
    if PURE.contains(&layer) && !is_tests {
        faults.extend(purity_faults(layer, before_tests(&code)));
    }
    faults.into_iter().map(|(line, fault)| format!("{}:{line}: {fault}", path.display())).collect()
}

pub fn unsafe_faults(path: &Path, source: &str) -> Vec<String> {
    if UNSAFE_ROOMS.iter().any(|room| path == Path::new(room)) && source.contains("// SAFETY: ") {
        return Vec::new();
    }
    let code = code_only(source);
    let found = words(&code).filter(|(_, word, _)| *word == "unsafe");
    found.map(|(line, _, _)| format!("{}:{line}: `unsafe` is not used here", path.display())).collect()
}

fn import_faults(layer: &str, below: &[&str], depth: usize, code: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    let own_code = before_tests(code);
    let tests_line =
        if own_code.len() < code.len() { own_code.matches('\n').count() + 1 } else { usize::MAX };
    let mut supers = 0;
    for (line, word, rest) in words(code) {
        let next = rest.strip_prefix("::").map(|rest| words(rest).next().filter(|_| starts_word(rest)));
        match (word, next) {
            ("crate", Some(Some((_, target, _)))) if target != layer && !below.contains(&target) => {
                faults.push((line, format!("`{layer}` may not import `{target}`")));
            }
            ("crate", Some(None)) => {
                faults.push((line, "import one module a `use`, so that layers can be read".into()));
            }
            _ => {}
        }
        supers = if word == "super" { supers + 1 } else { 0 };
        // A file's own tests stand one level deeper.
        if supers > depth - usize::from(line < tests_line) && depth > 0 {
            faults.push((line, "`super` reaches the crate's root; write `crate::`".into()));
        }
    }
    faults
}

fn starts_word(rest: &str) -> bool {
    rest.starts_with(|char: char| char.is_alphabetic() || char == '_')
}

fn room_faults(layer: &str, code: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    let mut before = "";
    for (line, word, rest) in words(code) {
        let names_library = rest.starts_with("::") || matches!(before, "use" | "crate");
        let room = ROOMS.iter().find(|(library, _)| *library == word);
        if let Some((library, rooms)) = room.filter(|(_, rooms)| names_library && !rooms.contains(&layer)) {
            faults.push((line, format!("only {} may name `{library}`", rooms.join(" and "))));
        }
        before = word;
    }
    faults
}

fn purity_faults(layer: &str, code: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    for (line, word, rest) in words(code) {
        let is_path = rest.starts_with("::");
        let reads_clock = CLOCKS.contains(&word) && rest.starts_with("::now");
        if (is_path && IMPURE_PATHS.contains(&word)) || IMPURE_NAMES.contains(&word) || reads_clock {
            faults.push((line, format!("`{layer}` is pure; hand in what `{word}` gives")));
        }
    }
    faults
}

#[track_caller]
fn check(path: &str, source: &str, expected: &[&str]) {
    let found = faults(Path::new(path), source);
    let expected: Vec<_> = expected.iter().map(|fault| format!("{path}:{fault}")).collect();
    assert_eq!(found, expected, "{source}");
}

#[test]
fn an_upward_import_would_be_found() {
    check("src/domain/id.rs", "use crate::protocol::open;", &["1: `domain` may not import `protocol`"]);
    check("src/store.rs", "fn a() {\n crate::identity::x() }", &["2: `store` may not import `identity`"]);
    check("src/identity/ca.rs", "use crate::transport::x;", &["1: `identity` may not import `transport`"]);
    check("src/observe/log.rs", "use crate::store::x;", &["1: `observe` may not import `store`"]);
    check("src/agent/x.rs", "use crate::cli::x;", &["1: `agent` may not import `cli`"]);
    check("src/agent.rs", "use crate::observe::log;\nuse crate::agent::x;\n// crate::cli::x", &[]);
}

#[test]
fn the_roles_knowing_each_other_would_be_found() {
    check("src/agent/control.rs", "use crate::gateway::x;", &["1: `agent` may not import `gateway`"]);
    check("src/gateway/x/y.rs", "use crate::agent::x;", &["1: `gateway` may not import `agent`"]);
    check("src/demo/x.rs", "use crate::agent::x;\nuse crate::gateway::x;", &[]);
}

#[test]
fn a_way_around_the_reading_of_imports_would_be_found() {
    let grouped = "1: import one module a `use`, so that layers can be read";
    check("src/domain/id.rs", "use crate::{protocol::open};", &[grouped]);
    let root = "1: `super` reaches the crate's root; write `crate::`";
    check("src/domain/id.rs", "use super::super::protocol;", &[root]);
    check("src/domain.rs", "use super::protocol;", &[root]);
    check("src/domain/id.rs", "use super::limits;", &[]);
    check("src/domain/status/x.rs", "use super::super::limits;", &[]);
    check("src/domain.rs", "#[cfg(test)]\nmod tests {\n use super::*;\n}", &[]);
}

#[test]
fn a_library_outside_its_room_would_be_found() {
    check("src/agent/x.rs", "use quinn::Endpoint;", &["1: only transport may name `quinn`"]);
    check(
        "src/gateway/x.rs",
        "fn a() -> rustls::Error;",
        &["1: only identity and transport may name `rustls`"],
    );
    check("src/gateway/x.rs", "use sqlx::query;", &["1: only store may name `sqlx`"]);
    check("src/agent.rs", "#[derive(clap::Args)] struct A;", &["1: only cli may name `clap`"]);
    check("src/demo.rs", "fn a() -> anyhow::Result<()> {}", &["1: only cli may name `anyhow`"]);
    check("src/transport/x.rs", "use quinn::Endpoint;\nuse rustls::Error;", &[]);
    check("src/agent/x.rs", "// quinn::Endpoint\nlet quinn = 1;", &[]);
}

#[test]
fn a_pure_layer_that_acts_would_be_found() {
    for (layer, source, word) in [
        ("domain", "use std::fs;\nuse std::fs::File;", "fs"),
        ("domain", "\nfn a() { std::time::Instant::now(); }", "Instant"),
        ("protocol", "\nuse tokio::sync::mpsc;", "tokio"),
        ("protocol", "\nasync fn a() {}", "async"),
        ("protocol", "\nuse std::net::TcpStream;", "TcpStream"),
        ("config", "\nlet a = std::env::var(x);", "env"),
        ("config", "\nuuid::Uuid::new_v4()", "new_v4"),
        ("domain", "\nlet a = jiff::Timestamp::now();", "Timestamp"),
        ("protocol", "\ngetrandom::fill(x)", "getrandom"),
        ("protocol", "\naws_lc_rs::rand::fill(x)", "rand"),
        ("protocol", "\nstart.elapsed()", "elapsed"),
        ("domain", "\nuse std::time::SystemTime;", "SystemTime"),
        ("config", "\ntracing::info!(x)", "tracing"),
    ] {
        let fault = format!("2: `{layer}` is pure; hand in what `{word}` gives");
        check(&format!("src/{layer}/x.rs"), source, &[&fault]);
    }
    check("src/protocol/x.rs", "use std::time::{Duration, Instant};\nuse std::net::SocketAddr;", &[]);
    check("src/protocol/x.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { Instant::now() }\n}", &[]);
    check("src/agent/x.rs", "use tokio::net::TcpStream;\nInstant::now()", &[]);
}

#[test]
fn a_module_that_is_no_layer_would_be_found() {
    let found = faults(Path::new("src/helpers.rs"), "");
    assert_eq!(found, ["src/helpers.rs: `helpers` is no layer of DESIGN §6"]);
}

#[test]
fn unsafe_code_would_be_found() {
    let found = unsafe_faults(Path::new("src/x.rs"), "// unsafe\nlet a = \"unsafe\";\nunsafe { b() }");
    assert_eq!(found, ["src/x.rs:3: `unsafe` is not used here"]);
    let room = Path::new(UNSAFE_ROOMS[0]);
    assert_eq!(unsafe_faults(room, "unsafe { b() }").len(), 1, "without saying why it is safe");
    assert!(unsafe_faults(room, "// SAFETY: b has no conditions.\nunsafe { b() }").is_empty());
}
