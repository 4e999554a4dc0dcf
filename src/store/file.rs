//! The database file itself: made with mode 0600, refused when others may read it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use super::StoreError;

pub(super) fn make_or_check(path: &Path) -> Result<(), StoreError> {
    let failing = |source| StoreError::File { path: path.into(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => return give_to_owner_of_folder(path, &file).map_err(failing),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failing(error)),
    }
    let found = path.metadata().map_err(failing)?;
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Mode { path: path.into(), mode });
    }
    let user = rustix::process::geteuid().as_raw();
    // Root may: SQLite gives the files it makes beside the database to the database's owner.
    if found.uid() != user && user != 0 {
        return Err(StoreError::Owner { path: path.into(), owner: found.uid(), user });
    }
    Ok(())
}

/// Root may come first, and the gateway runs as another user.
fn give_to_owner_of_folder(path: &Path, file: &File) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(".")).metadata()?;
    if file.metadata()?.uid() == folder.uid() {
        return Ok(());
    }
    fchown(file, Some(folder.uid()), Some(folder.gid()))
}
