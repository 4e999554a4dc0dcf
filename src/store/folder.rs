//! A folder of small private files: only its owner may look in, a write is there whole or not at
//! all, and one process at a time may claim it.
//!
//! Agent and gateway keep their keys and what must survive a crash in such a folder. What the files
//! mean is not known here.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::domain::limits::PRIVATE_FILE_BYTES_MAX;

const LOCK: &str = "lock";

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("cannot create the folder `{path}`; create its parent, or point `state` elsewhere")]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "`{path}` belongs to user id {owner}, this process runs as {user}; run it as that user or as root, or hand the folder over with `chown -R`"
    )]
    Owner { path: PathBuf, owner: u32, user: u32 },
    #[error("`{path}` is open to other users (mode {mode:04o}); run `chmod {wanted:o} {path}`")]
    Mode { path: PathBuf, mode: u32, wanted: u32 },
    #[error("`{path}` is not a {wanted}; move it away")]
    Kind { path: PathBuf, wanted: &'static str },
    #[error("`{path}` is in use by process {holder}; stop it first, or give this one another state folder")]
    InUse { path: PathBuf, holder: String },
    #[error("cannot read `{path}`; its owner must be able to read it")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "`{path}` has {bytes} bytes, at most {PRIVATE_FILE_BYTES_MAX} make sense; restore it from a backup"
    )]
    TooLong { path: PathBuf, bytes: u64 },
    #[error("cannot write `{path}`; its folder must be writable and have space")]
    Write { path: PathBuf, source: io::Error },
}

#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    owner: u32,
    group: u32,
}

/// Holds the folder until dropped, or until the process ends however it does.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl Folder {
    /// Makes the folder (mode 0700) unless it is there, and refuses one that others may look into.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(FolderError::Create { path: path.into(), source }),
        }
        let metadata =
            fs::metadata(path).map_err(|source| FolderError::Read { path: path.into(), source })?;
        if !metadata.is_dir() {
            return Err(FolderError::Kind { path: path.into(), wanted: "folder" });
        }
        check_private(path, &metadata, 0o700)?;
        Ok(Self { path: path.into(), owner: metadata.uid(), group: metadata.gid() })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Claims the folder for this process, and names the holder when another has it.
    pub fn lock(&self) -> Result<FolderLock, FolderError> {
        let path = self.path.join(LOCK);
        let mut file = self.open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(16).read_to_string(&mut holder);
                return Err(FolderError::InUse { path: self.path.clone(), holder: holder.trim().into() });
            }
            Err(TryLockError::Error(source)) => return Err(FolderError::Write { path, source }),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|source| FolderError::Write { path, source })?;
        Ok(FolderLock { _file: file })
    }

    /// Waits for the named turn; for steps that several processes may take one after another.
    pub fn turn(&self, name: &str) -> Result<FolderLock, FolderError> {
        let path = self.path.join(format!("{name}.{LOCK}"));
        let file = self.open_lock(&path)?;
        file.lock().map_err(|source| FolderError::Write { path, source })?;
        Ok(FolderLock { _file: file })
    }

    /// The file's bytes; `None` when there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, FolderError> {
        let path = self.path.join(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FolderError::Read { path, source }),
        };
        let metadata = file.metadata().map_err(|source| FolderError::Read { path: path.clone(), source })?;
        if !metadata.is_file() {
            return Err(FolderError::Kind { path, wanted: "file" });
        }
        check_private(&path, &metadata, 0o600)?;
        if metadata.len() > PRIVATE_FILE_BYTES_MAX {
            return Err(FolderError::TooLong { path, bytes: metadata.len() });
        }
        // Enough room from the start, so that no copy is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
        file.read_to_end(&mut bytes).map_err(|source| FolderError::Read { path, source })?;
        Ok(Some(bytes))
    }

    /// Writes the file (mode 0600) so that a crash leaves the old one or the new one, on disk when
    /// this returns.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let length = bytes.len() as u64;
        if length > PRIVATE_FILE_BYTES_MAX {
            // It could not be read back, and the process would not start again.
            return Err(FolderError::TooLong { path, bytes: length });
        }
        let temporary = self.path.join(format!(".{name}.new"));
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            self.give_to_owner(&file)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| FolderError::Write { path: path.clone(), source })
    }

    fn open_lock(&self, path: &Path) -> Result<File, FolderError> {
        let open = || {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            self.give_to_owner(&file)?;
            Ok(file)
        };
        open().map_err(|source| FolderError::Write { path: path.into(), source })
    }

    /// Root works in a service's folder without taking its files away from it.
    fn give_to_owner(&self, file: &File) -> io::Result<()> {
        if file.metadata()?.uid() == self.owner {
            return Ok(());
        }
        fchown(file, Some(self.owner), Some(self.group))
    }
}

fn check_private(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), FolderError> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user && user != 0 {
        return Err(FolderError::Owner { path: path.into(), owner: metadata.uid(), user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FolderError::Mode { path: path.into(), mode, wanted });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("state")).unwrap();
        (parent, folder)
    }

    #[test]
    fn a_folder_and_its_files_are_private_from_the_start() {
        let (_parent, folder) = folder();
        folder.write("key", b"one").unwrap();
        folder.write("key", b"two").unwrap();
        assert_eq!(folder.read("key").unwrap().unwrap().as_slice(), b"two");
        assert!(folder.read("absent").unwrap().is_none());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join("key")), 0o600);
    }

    #[test]
    fn a_folder_or_file_open_to_others_is_refused_with_the_remedy() {
        let (_parent, folder) = folder();
        folder.write("key", b"one").unwrap();
        let path = folder.path().join("key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = folder.read("key").unwrap_err().to_string();
        assert_eq!(
            error,
            format!("`{0}` is open to other users (mode 0640); run `chmod 600 {0}`", path.display())
        );

        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let error = Folder::open(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("run `chmod 700 {}`", folder.path().display())), "{error}");
    }

    #[test]
    fn what_is_no_folder_or_too_long_is_refused() {
        let (_parent, folder) = folder();
        folder.write("file", b"").unwrap();
        let file = folder.path().join("file");
        assert!(matches!(Folder::open(&file), Err(FolderError::Kind { .. })));
        assert!(matches!(Folder::open(&file.join("below")), Err(FolderError::Create { .. })));

        let limit = usize::try_from(PRIVATE_FILE_BYTES_MAX).unwrap();
        folder.write("long", &vec![0; limit]).unwrap();
        assert!(folder.read("long").is_ok());
        assert!(matches!(folder.write("long", &vec![0; limit + 1]), Err(FolderError::TooLong { .. })));
        assert_eq!(folder.read("long").unwrap().unwrap().len(), limit);
        let grown = OpenOptions::new().append(true).open(folder.path().join("long")).unwrap();
        grown.set_len(PRIVATE_FILE_BYTES_MAX + 1).unwrap();
        assert!(matches!(folder.read("long"), Err(FolderError::TooLong { .. })));
    }

    #[test]
    fn a_second_claim_is_refused_until_the_first_ends() {
        let (_parent, folder) = folder();
        let first = folder.lock().unwrap();
        let error = folder.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        folder.lock().unwrap();
    }
}
