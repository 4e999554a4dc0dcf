//! Where the binaries lie that tests and benches run: beside the program that asks, as cargo puts them.
//!
//! Cargo names a package's own binaries to its tests alone, and these tests have a package of their own.
//! So what is found is held against the sources it was built of: an old binary would be tested in vain.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;
use std::{env, fs};

static ADIT: OnceLock<PathBuf> = OnceLock::new();
static ADIT_LAB: OnceLock<PathBuf> = OnceLock::new();

/// Returns the path of the binary `adit`.
///
/// # Panics
///
/// When it is not there, or older than a source of it.
#[must_use]
pub fn adit() -> &'static Path {
    ADIT.get_or_init(|| built("adit"))
}

/// Returns the path of the binary `adit-lab`.
///
/// # Panics
///
/// When it is not there, or older than a source of it.
#[must_use]
pub fn adit_lab() -> &'static Path {
    ADIT_LAB.get_or_init(|| built("adit-lab"))
}

fn built(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a program knows where it lies");
    let folder = own.parent().expect("a program lies in a folder");
    // Tests and benches lie in `deps/`, the binaries above it.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    built_in(folder, name).unwrap_or_else(|problem| {
        let profile = if folder.ends_with("release") { " --release" } else { "" };
        panic!("{problem}; build it first: `cargo build --workspace{profile}`")
    })
}

/// Returns the path of the binary in `folder`, or what is wrong with it.
fn built_in(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = folder.join(name);
    let at = modified(&path).ok_or_else(|| format!("`{}` is not there", path.display()))?;
    // Cargo's list of what a binary was built of: `BINARY: SOURCE SOURCE …`.
    let list = fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    let sources = list.split_once(':').map_or("", |(_, sources)| sources).split_whitespace();
    let newer = sources.map(Path::new).find(|source| modified(source).is_some_and(|when| when > at));
    match newer {
        Some(newer) => Err(format!("`{}` is older than `{}`", path.display(), newer.display())),
        None => Ok(path),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_binary_as_new_as_its_sources_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let [binary, list, source] = ["adit", "adit.d", "source.rs"].map(|name| folder.path().join(name));
        let problem = |wanted: &str| {
            let problem = built_in(folder.path(), "adit").unwrap_err();
            assert!(problem.contains(wanted), "{problem}");
        };
        problem("is not there");
        for path in [&binary, &list, &source] {
            File::create(path).unwrap();
        }
        fs::write(&list, format!("{}: {}\n", binary.display(), source.display())).unwrap();
        let at = modified(&binary).unwrap();
        File::options().write(true).open(&source).unwrap().set_modified(at).unwrap();
        assert_eq!(built_in(folder.path(), "adit"), Ok(binary));
        File::options().write(true).open(&source).unwrap().set_modified(at + Duration::from_secs(1)).unwrap();
        problem("source.rs");
    }
}
