//! A file that a command makes for who typed it: opened with that user's rights, before the command
//! becomes the owner of the gateway's state folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::OFlags;

/// Gone again unless it is kept.
pub(super) struct OutFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl OutFile {
    /// Makes the file (mode 0600). Nothing is overwritten; what is there must be empty and our own, as a
    /// command leaves it that failed and could not take it away.
    pub(super) fn create(path: PathBuf) -> anyhow::Result<Self> {
        let created = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match reopen_empty(&path) {
                Some(file) => Ok(file),
                None => {
                    bail!("`{}` exists and is not overwritten; name another file with --out", path.display())
                }
            },
            created => created,
        };
        let file = created
            .with_context(|| format!("cannot write `{}`; name another file with --out", path.display()))?;
        Ok(Self { path, file, kept: false })
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Returns where the file stays.
    pub(super) fn keep(mut self) -> PathBuf {
        self.kept = true;
        std::mem::take(&mut self.path)
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if !self.kept {
            // Who owns the state folder may not take away what root made: then it stays, empty.
            let _ = self.file.set_len(0);
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn reopen_empty(path: &Path) -> Option<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    let found = file.metadata().ok()?;
    let is_ours = found.is_file()
        && found.len() == 0
        && found.nlink() == 1
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o777 == 0o600;
    is_ours.then_some(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_that_is_not_kept_leaves_its_name_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connector.toml");
        drop(OutFile::create(path.clone()).unwrap());
        assert!(!path.exists());
        assert_eq!(OutFile::create(path.clone()).unwrap().keep(), path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn only_an_empty_file_of_ones_own_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        OutFile::create(path("empty")).unwrap().keep();
        OutFile::create(path("empty")).unwrap().keep();
        fs::write(path("full"), "x").unwrap();
        fs::set_permissions(path("full"), PermissionsExt::from_mode(0o600)).unwrap();
        symlink(path("empty"), path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        for name in ["full", "link", "dangling"] {
            assert!(OutFile::create(path(name)).is_err(), "{name}");
        }
        assert_eq!(fs::read_to_string(path("full")).unwrap(), "x");
    }
}
