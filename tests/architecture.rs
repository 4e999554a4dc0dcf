//! The house rules that no compiler keeps: which layer may know which, what pure code may not do,
//! what lies where, which versions of what we build on. Each rule is shown to fail on bad input.

#[path = "architecture/code.rs"]
mod code;
#[path = "architecture/dependencies.rs"]
mod dependencies;
#[path = "architecture/layers.rs"]
mod layers;
#[path = "architecture/log.rs"]
mod log;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What may lie at the top beside `target` and names that begin with a dot.
const TOP_LEVEL: [&str; 13] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "certs",
    "config",
    "deny.toml",
    "deploy",
    "src",
    "tests",
];
/// Names that tell a reader nothing (STYLE: name the job).
const EMPTY_NAMES: [&str; 8] =
    ["common", "handler", "handlers", "helper", "helpers", "manager", "util", "utils"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every Rust file below `folder`, with its path from the top, in order.
fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("lists").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).expect("reads");
                files.push((path.strip_prefix(root()).expect("is below").to_owned(), source));
            }
        }
    }
    files.sort();
    files
}

fn misplaced(top_level: impl IntoIterator<Item = String>) -> Vec<String> {
    let known =
        |name: &String| TOP_LEVEL.contains(&name.as_str()) || name == "target" || name.starts_with('.');
    top_level.into_iter().filter(|name| !known(name)).collect()
}

/// What is wrong with a file apart from what it says.
fn file_faults(path: &Path, source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if stem == "mod" {
        faults.push(format!(
            "{}: write the module as `{}.rs`",
            path.display(),
            path.parent().unwrap_or(path).display()
        ));
    }
    if EMPTY_NAMES.contains(&stem) {
        faults.push(format!("{}: name the job the file does", path.display()));
    }
    let says_why = source.lines().next().is_some_and(|first| first.starts_with("//! ") && first.len() > 8);
    // Below `src/…/tests/` the name and the tests' own names say it.
    let is_tests = stem.ends_with("tests") || path.iter().skip(1).any(|part| part == "tests");
    if !says_why && !is_tests && stem != "main" {
        faults.push(format!("{}: open with `//!` and what the file is for", path.display()));
    }
    faults
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn imports_go_downward_where_pure_code_stays_pure() {
    let files = rust_files("src");
    assert!(files.len() > 50, "only {} files were found", files.len());
    let faults: Vec<_> = files.iter().flat_map(|(path, source)| layers::faults(path, source)).collect();
    assert_none(&faults);
}

#[test]
fn unsafe_stands_nowhere_but_in_its_room() {
    let files = ["src", "tests", "benches"].into_iter().flat_map(rust_files);
    let faults: Vec<_> = files.flat_map(|(path, source)| layers::unsafe_faults(&path, &source)).collect();
    assert_none(&faults);
}

#[test]
fn the_log_speaks_the_words_of_people() {
    let files = rust_files("src");
    let faults: Vec<_> = files.iter().flat_map(|(path, source)| log::faults(path, source)).collect();
    assert_none(&faults);
}

#[test]
fn every_file_says_what_it_is_for_under_a_telling_name() {
    let files = ["src", "tests", "benches"].into_iter().flat_map(rust_files);
    let faults: Vec<_> = files.flat_map(|(path, source)| file_faults(&path, &source)).collect();
    assert_none(&faults);
}

#[test]
fn a_nameless_or_silent_file_would_be_found() {
    let check = |path: &str, source: &str, count: usize| {
        assert_eq!(file_faults(Path::new(path), source).len(), count, "{path}");
    };
    check("src/agent/source.rs", "//! Listens for the local Mirth.\n", 0);
    check("src/agent/source.rs", "//!\n", 1);
    check("src/agent/source.rs", "use std::io;\n", 1);
    check("src/agent/mod.rs", "//! The agent's tasks.\n", 1);
    check("src/agent/utils.rs", "//! This and that.\n", 1);
    check("src/agent/tests.rs", "use super::*;\n", 0);
    check("src/agent/tests/enrolment.rs", "use super::*;\n", 0);
    check("tests/it/enrolment.rs", "use std::io;\n", 1);
}

#[test]
fn nothing_lies_at_the_top_that_does_not_belong_there() {
    let names = fs::read_dir(root()).expect("lists");
    let names = names.map(|entry| entry.expect("lists").file_name().to_string_lossy().into_owned());
    assert_none(&misplaced(names));
}

#[test]
fn a_stray_file_at_the_top_would_be_found() {
    let names = ["src", ".rustfmt.toml", "rustfmt.toml", "notes.txt", "target", "xtask"].map(String::from);
    assert_eq!(misplaced(names), ["rustfmt.toml", "notes.txt", "xtask"]);
}

#[test]
fn versions_below_a_floor_are_not_in_the_lock_file() {
    let lock = dependencies::Lock::parse(&read("Cargo.lock"));
    assert_none(&dependencies::banned(&lock, &dependencies::bans(&read("deny.toml"))));
}

#[test]
fn the_floors_are_bans() {
    let bans: BTreeSet<String> = dependencies::bans(&read("deny.toml")).into_iter().collect();
    for floor in dependencies::FLOORS {
        assert!(bans.contains(floor), "deny.toml does not ban {floor}");
    }
}

#[test]
fn every_dependency_says_why_it_is_here() {
    assert_none(&dependencies::unexplained(&read("Cargo.toml")));
}

#[test]
fn no_dependency_has_a_feature_that_is_forbidden() {
    let folders = layers::CRATES.iter().map(|(folder, _)| format!("{folder}/Cargo.toml"));
    let manifests = folders.chain(["Cargo.toml".to_owned()]);
    let faults = manifests.flat_map(|manifest| dependencies::forbidden_features(&read(&manifest)));
    assert_none(&faults.collect::<Vec<_>>());
}

#[test]
fn every_crate_uses_what_its_manifest_names() {
    let faults = layers::CRATES.iter().flat_map(|(folder, _)| {
        // Not these rules themselves, which name libraries to keep them out.
        let own = match *folder {
            "src/adit" => rust_files("tests/cli"),
            "src/lab" => rust_files("tests/lab"),
            _ => Vec::new(),
        };
        let files = rust_files(folder).into_iter().chain(own);
        let files = files.filter(|(path, _)| !path.starts_with("tests/architecture"));
        let sources: Vec<_> = files.map(|(_, source)| source).collect();
        dependencies::unused(folder, &read(&format!("{folder}/Cargo.toml")), &sources)
    });
    assert_none(&faults.collect::<Vec<_>>());
}

#[test]
fn every_crate_knows_only_those_below_it() {
    let faults = layers::CRATES.iter().flat_map(|(folder, _)| {
        let mut known = dependencies::shipped(&read(&format!("{folder}/Cargo.toml")));
        known.retain(|name| name != "adit-lab" || !matches!(*folder, "tests" | "benches"));
        layers::manifest_faults(folder, &known)
    });
    assert_none(&faults.collect::<Vec<_>>());
}

#[test]
fn the_pure_crates_forbid_the_same() {
    let [core, mirth] = ["src/core/clippy.toml", "src/mirth/clippy.toml"].map(read);
    assert_eq!(core, mirth);
    for path in ["std::time::Instant::now", "std::fs::File", "std::net::UdpSocket", "std::env::var"] {
        assert!(core.contains(path), "{path}");
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect(name)
}

/// What `ARCHITECTURE.md` calls by a path that nothing in `paths` ends with.
fn unmapped(map: &str, paths: &[String]) -> Vec<String> {
    let named = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| Path::new(word).extension().is_some_and(|extension| extension == "rs"));
    let is_there = |name: &str| paths.iter().any(|path| format!("/{path}").ends_with(&format!("/{name}")));
    let missing: BTreeSet<_> = named.filter(|name| !is_there(name)).collect();
    missing.into_iter().map(|name| format!("ARCHITECTURE.md names `{name}`, which is not there")).collect()
}

#[test]
fn every_file_on_the_map_is_there() {
    let files = ["src", "tests", "benches"].into_iter().flat_map(rust_files);
    let paths: Vec<_> = files.map(|(path, _)| path.display().to_string()).collect();
    assert_none(&unmapped(&read("ARCHITECTURE.md"), &paths));
}

#[test]
fn a_file_that_the_map_has_in_vain_would_be_found() {
    let paths = ["src/agent/source.rs".to_owned()];
    assert!(unmapped("`agent/source.rs` and `source.rs`, not `Source`", &paths).is_empty());
    assert_eq!(unmapped("`rce.rs`", &paths), ["ARCHITECTURE.md names `rce.rs`, which is not there"]);
}
