//! Which layer may know which, and what a layer may not know at all (DESIGN §6).

use std::path::Path;

use crate::code::{before_tests, code_only, words};

/// Each crate with those of ours that its manifest may name (HOUSE §1): the compiler keeps the sources to
/// it, and this the manifests.
pub(crate) const CRATES: [(&str, &[&str]); 10] = [
    ("src/core", &[]),
    ("src/mirth", &["adit-core"]),
    ("src/net", &["adit-core"]),
    ("src/observe", &["adit-core"]),
    ("src/agent", &["adit-core", "adit-mirth", "adit-net", "adit-observe"]),
    ("src/gateway", &["adit-core", "adit-net", "adit-observe"]),
    ("src/adit", PRODUCT),
    ("src/lab", PRODUCT),
    ("tests", EVERYTHING),
    ("benches", EVERYTHING),
];
const PRODUCT: &[&str] =
    &["adit-core", "adit-mirth", "adit-net", "adit-observe", "adit-agent", "adit-gateway"];
const EVERYTHING: &[&str] =
    &["adit-core", "adit-mirth", "adit-net", "adit-observe", "adit-agent", "adit-gateway", "adit-lab"];

/// Rooms of one crate, each with the rooms beside it that it may import.
const ROOMS: [(&str, &str, &[&str]); 7] = [
    ("core", "domain", &[]),
    ("core", "protocol", &["domain"]),
    ("core", "config", &["domain"]),
    ("net", "host", &[]),
    ("net", "identity", &[]),
    ("net", "transport", &["identity"]),
    ("gateway", "store", &[]),
];

/// Libraries that only some rooms of a crate may name; which crates may, their manifests say.
const LIBRARIES: [(&str, &str, &[&str]); 11] = [
    ("net", "quinn", &["transport"]),
    ("net", "quinn_proto", &["transport"]),
    ("net", "rustls", &["identity", "transport"]),
    ("net", "tokio_rustls", &["transport"]),
    ("net", "hyper", &["transport"]),
    ("net", "tokio_tungstenite", &["transport"]),
    ("net", "rcgen", &["identity"]),
    ("net", "x509_parser", &["identity"]),
    ("gateway", "sqlx", &["store"]),
    ("lab", "clap", &["cli"]),
    ("lab", "anyhow", &["cli"]),
];

/// Crates that decide and do not act. Their `clippy.toml` names what to do instead; what clippy cannot say,
/// such as a whole module of `std` or `async`, is kept here.
const PURE: [&str; 2] = ["src/core", "src/mirth"];
/// Libraries that act.
const IMPURE: [&str; 15] = [
    "arc-swap",
    "axum",
    "hyper",
    "hyper-util",
    "libc",
    "metrics",
    "quinn",
    "rustix",
    "rustls",
    "sd-notify",
    "socket2",
    "sqlx",
    "tokio",
    "tokio-tungstenite",
    "uzers",
];

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

/// The one system call that no library offers safely; STYLE asks for a reason at the place.
const UNSAFE_ROOMS: [&str; 1] = ["src/net/transport/unsent.rs"];

pub(crate) fn faults(path: &Path, source: &str) -> Vec<String> {
    let code = code_only(source);
    let mut parts = path.iter().skip(1).map(|part| part.to_str().unwrap_or_default().trim_end_matches(".rs"));
    let (name, room) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Below the crate's root: 1 for `src/core/domain.rs`, 2 for `src/core/domain/id.rs`.
    let depth = parts.count() + 1;
    let beside = ROOMS.iter().find(|(of, own, _)| *of == name && *own == room).map(|(.., beside)| *beside);
    let mut faults = beside.map_or_else(Vec::new, |beside| import_faults(room, beside, depth, &code));
    faults.extend(library_faults(name, room, &code));
    let is_tests = path.to_string_lossy().ends_with("tests.rs") || path.iter().any(|part| part == "tests");
    if PURE.iter().any(|pure| path.starts_with(pure)) && !is_tests {
        faults.extend(purity_faults(name, before_tests(&code)));
    }
    faults.into_iter().map(|(line, fault)| format!("{}:{line}: {fault}", path.display())).collect()
}

/// What the manifest of a folder may not name.
pub(crate) fn manifest_faults(folder: &str, dependencies: &[String]) -> Vec<String> {
    let Some((_, known)) = CRATES.iter().find(|(name, _)| *name == folder) else {
        return vec![format!("{folder}/Cargo.toml: `{folder}` is no crate of HOUSE §1")];
    };
    let may_not = |name: &&String| match name.strip_prefix("adit-") {
        Some(_) => !known.contains(&name.as_str()),
        None => PURE.contains(&folder) && IMPURE.contains(&name.as_str()),
    };
    dependencies
        .iter()
        .filter(may_not)
        .map(|name| format!("{folder}/Cargo.toml: {folder} may not know {name}"))
        .collect()
}

pub(crate) fn unsafe_faults(path: &Path, source: &str) -> Vec<String> {
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

fn library_faults(name: &str, room: &str, code: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    let mut before = "";
    for (line, word, rest) in words(code) {
        let names_library = rest.starts_with("::") || matches!(before, "use" | "crate");
        let found = LIBRARIES.iter().find(|(of, library, _)| *of == name && *library == word);
        if let Some((_, library, rooms)) = found.filter(|(.., rooms)| names_library && !rooms.contains(&room))
        {
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
    check("src/core/domain/id.rs", "use crate::protocol::open;", &["1: `domain` may not import `protocol`"]);
    check("src/gateway/store.rs", "fn a() {\n crate::relay::x() }", &["2: `store` may not import `relay`"]);
    check(
        "src/net/identity/ca.rs",
        "use crate::transport::x;",
        &["1: `identity` may not import `transport`"],
    );
    check("src/net/transport/x.rs", "use crate::identity::x;\nuse crate::transport::y;\n// crate::host", &[]);
    check("src/agent/x.rs", "use crate::source::x;", &[]);
}

#[test]
fn a_way_around_the_reading_of_imports_would_be_found() {
    let grouped = "1: import one module a `use`, so that layers can be read";
    check("src/core/domain/id.rs", "use crate::{protocol::open};", &[grouped]);
    let root = "1: `super` reaches the crate's root; write `crate::`";
    check("src/core/domain/id.rs", "use super::super::protocol;", &[root]);
    check("src/core/domain.rs", "use super::protocol;", &[root]);
    check("src/core/domain/id.rs", "use super::limits;", &[]);
    check("src/core/domain/status/x.rs", "use super::super::limits;", &[]);
    check("src/core/domain.rs", "#[cfg(test)]\nmod tests {\n use super::*;\n}", &[]);
}

#[test]
fn a_library_outside_its_room_would_be_found() {
    check("src/net/identity/x.rs", "use quinn::Endpoint;", &["1: only transport may name `quinn`"]);
    check(
        "src/net/host/x.rs",
        "fn a() -> rustls::Error;",
        &["1: only identity and transport may name `rustls`"],
    );
    check("src/gateway/x.rs", "use sqlx::query;", &["1: only store may name `sqlx`"]);
    check("src/lab/x.rs", "#[derive(clap::Args)] struct A;", &["1: only cli may name `clap`"]);
    check("src/lab/x.rs", "fn a() -> anyhow::Result<()> {}", &["1: only cli may name `anyhow`"]);
    check("src/net/transport/x.rs", "use quinn::Endpoint;\nuse rustls::Error;", &[]);
    check("src/net/host/x.rs", "// quinn::Endpoint\nlet quinn = 1;", &[]);
}

#[test]
fn a_crate_that_knows_too_much_would_be_found() {
    let check = |folder: &str, known: &str, expected: &[&str]| {
        assert_eq!(manifest_faults(folder, &[known.into()]), expected);
    };
    check("src/agent", "adit-gateway", &["src/agent/Cargo.toml: src/agent may not know adit-gateway"]);
    check("src/adit", "adit-lab", &["src/adit/Cargo.toml: src/adit may not know adit-lab"]);
    check("src/core", "tokio", &["src/core/Cargo.toml: src/core may not know tokio"]);
    check("src/core", "bytes", &[]);
    check("src/helpers", "bytes", &["src/helpers/Cargo.toml: `src/helpers` is no crate of HOUSE §1"]);
}

#[test]
fn a_pure_crate_that_acts_would_be_found() {
    for (name, room, source, word) in [
        ("core", "domain", "use std::fs;\nuse std::fs::File;", "fs"),
        ("core", "domain", "\nfn a() { std::time::Instant::now(); }", "Instant"),
        ("core", "protocol", "\nuse tokio::sync::mpsc;", "tokio"),
        ("core", "protocol", "\nasync fn a() {}", "async"),
        ("core", "protocol", "\nuse std::net::TcpStream;", "TcpStream"),
        ("core", "config", "\nlet a = std::env::var(x);", "env"),
        ("core", "config", "\nuuid::Uuid::new_v4()", "new_v4"),
        ("core", "domain", "\nlet a = jiff::Timestamp::now();", "Timestamp"),
        ("core", "protocol", "\ngetrandom::fill(x)", "getrandom"),
        ("core", "protocol", "\naws_lc_rs::rand::fill(x)", "rand"),
        ("core", "protocol", "\nstart.elapsed()", "elapsed"),
        ("core", "domain", "\nuse std::time::SystemTime;", "SystemTime"),
        ("core", "config", "\ntracing::info!(x)", "tracing"),
        ("mirth", "body", "use std::thread;\nuse std::thread::spawn;", "thread"),
    ] {
        let fault = format!("2: `{name}` is pure; hand in what `{word}` gives");
        check(&format!("src/{name}/{room}/x.rs"), source, &[&fault]);
    }
    check("src/core/protocol/x.rs", "use std::time::{Duration, Instant};\nuse std::net::SocketAddr;", &[]);
    check(
        "src/core/protocol/x.rs",
        "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { Instant::now() }\n}",
        &[],
    );
    check("src/agent/x.rs", "use tokio::net::TcpStream;\nInstant::now()", &[]);
}

#[test]
fn unsafe_code_would_be_found() {
    let found = unsafe_faults(Path::new("src/x.rs"), "// unsafe\nlet a = \"unsafe\";\nunsafe { b() }");
    assert_eq!(found, ["src/x.rs:3: `unsafe` is not used here"]);
    let room = Path::new(UNSAFE_ROOMS[0]);
    assert_eq!(unsafe_faults(room, "unsafe { b() }").len(), 1, "without saying why it is safe");
    assert!(unsafe_faults(room, "// SAFETY: b has no conditions.\nunsafe { b() }").is_empty());
}
