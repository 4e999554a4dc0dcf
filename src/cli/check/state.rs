//! A state folder: private, whole, of one owner. What its files mean is checked by who knows.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::Findings;
use crate::cli::files;
use crate::store::folder::{Folder, FolderError};

pub(super) enum State {
    /// Not made yet.
    Absent,
    Unusable,
    /// A running agent or gateway has it.
    InUse(Folder),
    Free(Folder),
}

pub(super) fn check(path: &Path, findings: &mut Findings) -> State {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            check_parent(path, findings);
            return State::Absent;
        }
        _ => {}
    }
    let folder = match Folder::open(path) {
        Ok(folder) => folder,
        Err(error) => {
            findings.error(&error);
            return State::Unusable;
        }
    };
    check_files(path, findings);
    match folder.lock() {
        Ok(_) => {
            findings.fine(format!("state: `{}` is private and not in use", path.display()));
            State::Free(folder)
        }
        Err(FolderError::InUse { holder, .. }) => {
            findings.fine(format!("state: `{}` is private and in use by process {holder}", path.display()));
            State::InUse(folder)
        }
        Err(error) => {
            findings.error(&error);
            State::Unusable
        }
    }
}

fn check_parent(path: &Path, findings: &mut Findings) {
    let parent = files::folder(path);
    if parent.is_dir() || parent == Path::new("") {
        findings.fine(format!("state: `{}` will be made at the first start", path.display()));
    } else {
        findings.problem(format!(
            "state: `{0}` does not exist; run `mkdir -p {0}`, or point `state` elsewhere",
            parent.display()
        ));
    }
}

/// Every file belongs to the folder's owner, who alone may read it.
fn check_files(folder: &Path, findings: &mut Findings) {
    let Ok(owner) = fs::metadata(folder).map(|metadata| metadata.uid()) else { return };
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        // A file may go away while it is looked at.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let shown = path.display();
        if metadata.uid() != owner {
            findings.problem(format!(
                "state: `{shown}` belongs to user {}, its folder to {owner}; run `chown {owner} {shown}`",
                metadata.uid()
            ));
        }
        let mode = metadata.mode() & 0o7777;
        if !metadata.is_symlink() && mode & 0o077 != 0 {
            let wanted = mode & 0o700;
            findings.problem(format!(
                "state: `{shown}` is open to other users (mode {mode:04o}); run `chmod {wanted:o} {shown}`"
            ));
        }
    }
}
