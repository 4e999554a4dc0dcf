//! A state folder: private, whole, of one owner. What its files mean is checked by who knows.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::Findings;
use crate::cli::files;
use adit_net::host::folder::{Folder, holder};

/// Below this the next certificate or rule may not fit.
const ROOM_BYTES_MIN: u64 = 4 * 1024 * 1024;

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
    check_room(path, findings);
    // Looked up and never taken: an agent that starts in this moment must find it free.
    if let Some(holder) = holder(path) {
        findings.fine(format!("state: `{}` is private and in use by process {holder}", path.display()));
        State::InUse(folder)
    } else {
        findings.fine(format!("state: `{}` is private and not in use", path.display()));
        State::Free(folder)
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

/// Checks the room on the disk: what cannot be written is lost at the next start, and an admin session that
/// cannot be audited is none.
fn check_room(folder: &Path, findings: &mut Findings) {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return };
    if let Some(left) = too_little(disk.f_bavail.saturating_mul(disk.f_frsize)) {
        findings.problem(format!(
            "state: the disk of `{}` has {left} KiB left; make room, for what cannot be written is lost at the next start",
            folder.display()
        ));
    }
}

/// Returns how many KiB are left of a disk that is as good as full.
const fn too_little(bytes: u64) -> Option<u64> {
    if bytes < ROOM_BYTES_MIN { Some(bytes / 1024) } else { None }
}

/// Checks that every file belongs to the folder's owner, who alone may read it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_as_good_as_full_is_told_with_what_is_left() {
        assert_eq!(too_little(0), Some(0));
        assert_eq!(too_little(ROOM_BYTES_MIN - 1), Some(4095));
        assert_eq!(too_little(ROOM_BYTES_MIN), None);
    }
}
