//! The database file itself: made with mode 0600, refused when others may read it. `SQLite` opens its
//! files by name, so what stands at those names is looked at before.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracing::debug;

use super::StoreError;
use adit_net::host::folder;

/// What `SQLite` appends to the database's name for the files it keeps beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Returns every name at which `SQLite` opens a file for the database `name`.
pub(super) fn names(name: &str) -> Vec<String> {
    [""].iter().chain(&BESIDE).map(|suffix| format!("{name}{suffix}")).collect()
}

pub(super) fn make_or_check(path: &Path) -> Result<(), StoreError> {
    for suffix in BESIDE {
        check_own(&beside(path, suffix))?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {
            debug!(path = %path.display(), "the database's file is made");
            folder::sync_name(path).map_err(|source| StoreError::File { path: path.into(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_own(path),
        Err(source) => Err(StoreError::File { path: path.into(), source }),
    }
}

/// Checks what stands at the names of a database that is not to be made; returns whether it is there.
pub(super) fn check(path: &Path) -> Result<bool, StoreError> {
    for suffix in BESIDE {
        check_own(&beside(path, suffix))?;
    }
    check_own(path)?;
    Ok(path.exists())
}

/// Returns whether a log stands beside the database, as where it is open or its writer was killed.
pub(super) fn has_log(path: &Path) -> bool {
    BESIDE.iter().any(|suffix| beside(path, suffix).exists())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Checks that it is a regular file of this user, under no other name, that nobody else may read; or nothing
/// at all.
fn check_own(path: &Path) -> Result<(), StoreError> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StoreError::File { path: path.into(), source }),
    };
    // None is one that goes away just now.
    if !found.is_file() || found.nlink() > 1 {
        return Err(StoreError::Irregular { path: path.into() });
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Mode { path: path.into(), mode });
    }
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != user {
        return Err(StoreError::Owner { path: path.into(), owner: found.uid(), user });
    }
    Ok(())
}
