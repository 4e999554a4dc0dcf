//! A small disk of one test, to be filled.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const FILLER: &str = "filler";

pub(super) struct Disk {
    folder: PathBuf,
    /// What it is mounted in, if that is its own.
    temporary: Option<TempDir>,
}

impl Disk {
    /// A new one in a folder of its own; none where this user may not have one.
    pub(super) fn mount(megabytes: u32) -> Option<Self> {
        let temporary = tempfile::tempdir().unwrap();
        let mut disk = Self::mount_at(temporary.path(), megabytes, 0o755)?;
        disk.temporary = Some(temporary);
        Some(disk)
    }

    /// One over a folder, with the files that are there.
    pub(super) fn mount_over(folder: &Path, megabytes: u32) -> Option<Self> {
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let files: Vec<_> = files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
        let disk = Self::mount_at(folder, megabytes, 0o700)?;
        for (bytes, path) in files {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        Some(disk)
    }

    fn mount_at(folder: &Path, megabytes: u32, mode: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("only root mounts a disk: this is not tested");
            return None;
        }
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode={mode:o}"), "adit-test"])
            .arg(folder);
        assert!(command.status().unwrap().success(), "a tmpfs can be mounted");
        Some(Self { folder: folder.to_owned(), temporary: None })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all the room that is left.
    pub(super) fn fill(&self) {
        let mut file = fs::File::create(self.folder.join(FILLER)).unwrap();
        for size in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    pub(super) fn make_room(&self) {
        fs::remove_file(self.folder.join(FILLER)).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What runs on it may end later.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}
