//! What we build on: versions with known faults, features we must not have, a reason for each.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

/// DESIGN §3: the versions below these have faults that reach us.
pub(crate) const FLOORS: [&str; 5] = [
    "quinn-proto@<0.11.14",
    "quinn-udp@<0.5.16",
    "quinn-udp@=0.6.0",
    "rustls-webpki@<0.103.13",
    "aws-lc-sys@<0.39.0",
];

/// Features whose absence DESIGN §3 and §4 ask for, and why.
const FORBIDDEN_FEATURES: [(&str, &str, &str); 5] = [
    ("quinn", "bloom", "tokens mean nothing behind a virtual address"),
    ("quinn", "platform-verifier", "only our own CA is trusted"),
    ("quinn", "rustls-ring", "aws-lc-rs is the one cryptography"),
    ("rustls", "ring", "aws-lc-rs is the one cryptography"),
    ("tokio", "full", "what is not used is not built"),
];
/// Crates whose default features include one of those.
const DEFAULTS_OFF: [&str; 3] = ["quinn", "quinn-proto", "rustls"];

pub(crate) struct Lock(BTreeMap<String, Vec<Version>>);

type Version = [u64; 3];

impl Lock {
    pub(crate) fn parse(text: &str) -> Self {
        let lock: Table = text.parse().expect("Cargo.lock is TOML");
        let mut versions = BTreeMap::<_, Vec<_>>::new();
        for package in lock["package"].as_array().expect("is a list") {
            let field = |name: &str| package[name].as_str().expect("is a text").to_owned();
            versions.entry(field("name")).or_default().push(version(&field("version")));
        }
        Self(versions)
    }
}

/// The crates and versions that `deny.toml` bans, such as `quinn-udp@=0.6.0`.
pub(crate) fn bans(deny: &str) -> Vec<String> {
    let deny: Table = deny.parse().expect("deny.toml is TOML");
    let bans = deny["bans"]["deny"].as_array().expect("is a list");
    bans.iter().map(|ban| ban["crate"].as_str().expect("is a text").to_owned()).collect()
}

/// What of the lock file is banned.
pub(crate) fn banned(lock: &Lock, bans: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for ban in bans {
        let (name, wanted) = ban.split_once('@').unwrap_or((ban, ""));
        let versions = lock.0.get(name).into_iter().flatten();
        found.extend(versions.filter(|version| matches(wanted, version)).map(|[major, minor, patch]| {
            format!("Cargo.lock has {name} {major}.{minor}.{patch}, which deny.toml bans ({ban})")
        }));
    }
    found
}

/// Dependencies without a comment on the line above.
pub(crate) fn unexplained(manifest: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut before = "";
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && is_foreign(line) && !before.starts_with("# ") {
            faults.push(format!("Cargo.toml does not say why: {line}"));
        }
        before = line;
    }
    faults
}

fn is_foreign(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#') && !line.starts_with("adit-")
}

/// Dependencies of the crate in `folder` that no source of it names.
pub(crate) fn unused(folder: &str, manifest: &str, sources: &[String]) -> Vec<String> {
    let named: BTreeSet<&str> =
        sources.iter().flat_map(|source| crate::code::words(source)).map(|(_, word, _)| word).collect();
    let unused =
        dependencies(manifest).into_keys().filter(|name| !named.contains(name.replace('-', "_").as_str()));
    unused.map(|name| format!("nothing uses {name}; take it out of {folder}/Cargo.toml")).collect()
}

pub(crate) fn forbidden_features(manifest: &str) -> Vec<String> {
    let dependencies = dependencies(manifest);
    let mut faults = Vec::new();
    for (name, feature, why) in FORBIDDEN_FEATURES {
        let features = dependencies.get(name).and_then(|dependency| dependency.get("features"));
        let features = features.and_then(Value::as_array).into_iter().flatten();
        if features.filter_map(Value::as_str).any(|found| found == feature) {
            faults.push(format!("{name} must not have the feature `{feature}`: {why}"));
        }
    }
    for name in DEFAULTS_OFF {
        let named = dependencies.get(name);
        // A crate's own manifest takes over what the workspace's says.
        let is_inherited = named.and_then(|dependency| dependency.get("workspace")).is_some();
        let defaults = named.and_then(|dependency| dependency.get("default-features"));
        if named.is_some() && !is_inherited && defaults.and_then(Value::as_bool) != Some(false) {
            faults.push(format!("{name} must have `default-features = false`"));
        }
    }
    faults
}

/// The dependencies that a crate is built with, tests apart.
pub(crate) fn shipped(manifest: &str) -> Vec<String> {
    let manifest: Table = manifest.parse().expect("Cargo.toml is TOML");
    manifest
        .get("dependencies")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::keys)
        .cloned()
        .collect()
}

fn dependencies(manifest: &str) -> BTreeMap<String, Value> {
    let manifest: Table = manifest.parse().expect("Cargo.toml is TOML");
    let of_workspace = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let own = ["dependencies", "dev-dependencies"].map(|name| manifest.get(name));
    let tables = own.into_iter().chain([of_workspace]).map(|table| table.and_then(Value::as_table));
    tables.flatten().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether a version is one that `<1.2.3` or `=1.2.3` means; without either, every version is.
fn matches(wanted: &str, found: &Version) -> bool {
    if let Some(bound) = wanted.strip_prefix('<') {
        *found < version(bound)
    } else if let Some(exact) = wanted.strip_prefix('=') {
        *found == version(exact)
    } else {
        assert!(wanted.is_empty(), "this test reads `<` and `=` only, not {wanted}");
        true
    }
}

fn version(text: &str) -> Version {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let mut version = [0; 3];
    for (part, number) in version.iter_mut().zip(numbers.split('.')) {
        *part = number.parse().expect("is a number");
    }
    version
}

#[test]
fn a_version_below_a_floor_would_be_found() {
    let check = |name: &str, version: &str, count: usize| {
        let lock = Lock::parse(&format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n"));
        assert_eq!(banned(&lock, &FLOORS.map(String::from)).len(), count, "{name} {version}");
    };
    check("quinn-proto", "0.11.13", 1);
    check("quinn-proto", "0.11.14", 0);
    check("quinn-proto", "0.9.99", 1);
    check("quinn-udp", "0.5.15", 1);
    check("quinn-udp", "0.5.16", 0);
    check("quinn-udp", "0.6.0", 1);
    check("quinn-udp", "0.6.1", 0);
    check("rustls-webpki", "0.103.12", 1);
    check("rustls-webpki", "0.103.17", 0);
    check("aws-lc-sys", "0.38.9", 1);
    check("aws-lc-sys", "0.39.0", 0);
}

#[test]
fn a_dependency_without_reason_or_use_would_be_found() {
    let manifest = "[dependencies]\n# Bytes.\nbytes = \"1\"\nhex-x = \"1\"\n\n[lints.rust]\na = \"b\"\n";
    assert_eq!(unexplained(manifest), ["Cargo.toml does not say why: hex-x = \"1\""]);
    assert_eq!(
        unused("src/a", manifest, &["use bytes::Bytes;".into()]),
        ["nothing uses hex-x; take it out of src/a/Cargo.toml"]
    );
    assert!(unused("src/a", manifest, &["use bytes::Bytes;\nhex_x::encode".into()]).is_empty());
}

#[test]
fn a_forbidden_feature_would_be_found() {
    let manifest = "[dependencies]\nquinn = { version = \"0.11\", features = [\"bloom\"] }\n";
    let faults = forbidden_features(manifest);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("bloom") && faults[1].contains("default-features"), "{faults:?}");
    let added = forbidden_features("[dependencies]\nquinn = { workspace = true, features = [\"bloom\"] }\n");
    assert!(added.len() == 1 && added[0].contains("bloom"), "{added:?}");
    assert_eq!(forbidden_features("[dependencies]\nquinn.workspace = true\n"), [""; 0]);
}
