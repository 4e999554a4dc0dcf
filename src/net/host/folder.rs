//! A folder of small private files: only its owner may look in, a write is there whole or not at
//! all, and one process at a time may claim it.
//!
//! Agent and gateway keep their keys and what must survive a crash in such a folder. What the files
//! mean is not known here. Nothing that was planted in it is followed, waited for or written through.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::regular;
use super::walked_path::{WalkedPath, WalkedPathError};
use adit_core::domain::limits::{FOLDER_LOCK_TIMEOUT, FOLDER_TURN_TIMEOUT, PRIVATE_FILE_BYTES_MAX};

const LOCK: &str = "lock";
/// How often a turn that another process has is asked for again.
const TURN_ASKED_EVERY: Duration = Duration::from_millis(20);

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
    #[error("`{path}` cannot be used; move it away, or restore it from a backup")]
    Irregular { path: PathBuf, source: io::Error },
    #[error("another process has held `{path}` for {} s; stop it", FOLDER_TURN_TIMEOUT.as_secs())]
    Turn { path: PathBuf },
    #[error(transparent)]
    Path(#[from] WalkedPathError),
}

#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// Holds the folder until dropped, or until the process ends however it does.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl Folder {
    /// Makes the folder (mode 0700) unless it is there, and refuses one that others may look into. It
    /// must be this user's own; root's, at the end of a path that nobody else can change.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        match DirBuilder::new().mode(0o700).create(path) {
            // What is written in it later is nowhere if a power cut takes its name.
            Ok(()) => sync_name(path).map_err(|source| FolderError::Create { path: path.into(), source })?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(FolderError::Create { path: path.into(), source }),
        }
        let metadata =
            fs::metadata(path).map_err(|source| FolderError::Read { path: path.into(), source })?;
        if !metadata.is_dir() {
            return Err(FolderError::Kind { path: path.into(), wanted: "folder" });
        }
        check_private(path, &metadata, 0o700)?;
        if rustix::process::geteuid().is_root() {
            WalkedPath::to(path)?.check(0)?;
        }
        Ok(Self { path: path.into() })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does as [`Self::lock`], and waits for a command that holds the folder while it writes one thing.
    pub fn lock_patiently(&self) -> Result<FolderLock, FolderError> {
        let asked = Instant::now();
        loop {
            match self.lock() {
                Err(FolderError::InUse { .. }) if asked.elapsed() < FOLDER_LOCK_TIMEOUT => {
                    thread::sleep(TURN_ASKED_EVERY);
                }
                decided => return decided,
            }
        }
    }

    /// Claims the folder for this process, and names the holder when another has it.
    pub fn lock(&self) -> Result<FolderLock, FolderError> {
        let path = self.path.join(LOCK);
        let mut file = open_lock(&path)?;
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
        let path = self.path.join(turn_lock(name));
        let file = open_lock(&path)?;
        let asked = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(FolderLock { _file: file }),
                Err(TryLockError::WouldBlock) if asked.elapsed() < FOLDER_TURN_TIMEOUT => {
                    thread::sleep(TURN_ASKED_EVERY);
                }
                Err(TryLockError::WouldBlock) => return Err(FolderError::Turn { path }),
                Err(TryLockError::Error(source)) => return Err(FolderError::Write { path, source }),
            }
        }
    }

    /// Returns the file's bytes; `None` when there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, FolderError> {
        let path = self.path.join(name);
        let mut file = match regular::open_own(&path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) if regular::is_irregular(&source) => {
                return Err(FolderError::Irregular { path, source });
            }
            Err(source) => return Err(FolderError::Read { path, source }),
        };
        let metadata = file.metadata().map_err(|source| FolderError::Read { path: path.clone(), source })?;
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
        let temporary = self.path.join(temporary(name));
        let write = || {
            let mut file = create_anew(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_folder(&self.path)
        };
        write().map_err(|source| FolderError::Write { path: path.clone(), source })?;
        tracing::debug!(file = name, bytes = length, "a state file was written");
        Ok(())
    }
}

/// Writes the name of a new file or folder to disk, which its folder has. A folder that may be written but not
/// read cannot be told to.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match sync_folder(parent.unwrap_or(Path::new("."))) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::debug!(path = %path.display(), "its folder is not readable; a power cut may lose the name");
            Ok(())
        }
        synced => synced,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder_only = OFlags::DIRECTORY.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(folder_only).open(path)?.sync_all()
}

/// Returns the process that holds the folder at `path`, by the id that it wrote itself, if one does. As
/// [`is_locked`] it takes nothing.
#[must_use]
pub fn holder(path: &Path) -> Option<String> {
    if !is_locked(path) {
        return None;
    }
    let mut holder = String::new();
    if let Ok(file) = regular::open_own(&path.join(LOCK), OpenOptions::new().read(true)) {
        let _ = file.take(16).read_to_string(&mut holder);
    }
    Some(holder.trim().into())
}

/// Returns whether a process holds the folder at `path`, looked up without taking the lock: a process that
/// starts meanwhile must find it free.
#[must_use]
pub fn is_locked(path: &Path) -> bool {
    let Ok(inode) = fs::symlink_metadata(path.join(LOCK)).map(|metadata| metadata.ino()) else {
        return false;
    };
    fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.lines().any(|line| is_lock_of(line, inode)))
}

/// Recognises `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`; one that waits has `->` before its type.
fn is_lock_of(line: &str, inode: u64) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let is_held = words.next() == Some("FLOCK");
    let file = words.nth(3).and_then(|file| file.rsplit(':').next());
    is_held && file.and_then(|file| file.parse().ok()) == Some(inode)
}

fn open_lock(path: &Path) -> Result<File, FolderError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    regular::open_own(path, &mut options).map_err(|source| {
        let path = path.into();
        if regular::is_irregular(&source) {
            FolderError::Irregular { path, source }
        } else {
            FolderError::Write { path, source }
        }
    })
}

/// Returns every name that is ever opened in a folder which keeps `files` and gives `turns`.
#[must_use]
pub fn names(files: &[&str], turns: &[&str]) -> Vec<String> {
    let files = files.iter().flat_map(|name| [(*name).to_owned(), temporary(name)]);
    let turns = turns.iter().map(|name| turn_lock(name));
    files.chain(turns).chain([LOCK.to_owned()]).collect()
}

fn temporary(name: &str) -> String {
    format!(".{name}.new")
}

fn turn_lock(name: &str) -> String {
    format!("{name}.{LOCK}")
}

/// Creates a file of its own in the place of what a crash left there, or somebody planted.
fn create_anew(path: &Path) -> io::Result<File> {
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        created => created,
    }
}

fn check_private(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), FolderError> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
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
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("state")).unwrap();
        (parent, folder)
    }

    #[test]
    fn a_folder_is_private_with_its_files_from_the_start() {
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
    fn the_name_of_a_new_file_can_be_synced_wherever_it_is() {
        let (parent, folder) = folder();
        sync_name(folder.path()).unwrap();
        sync_name(&folder.path().join("any")).unwrap();
        sync_name(Path::new("relative")).unwrap();
        assert_eq!(sync_name(Path::new("/")).map_err(|error| error.kind()), Ok(()));
        let absent = sync_name(&parent.path().join("absent").join("file"));
        assert_eq!(absent.map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
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

    type Plant<'a> = &'a dyn Fn(&Path);

    #[test]
    fn what_was_planted_in_the_place_of_a_file_is_neither_read_nor_waited_for() {
        let (parent, folder) = folder();
        let victim = parent.path().join("victim");
        fs::write(&victim, "victim").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let plants: [(&str, Plant<'_>); 4] = [
            ("link", &|path| symlink(&victim, path).unwrap()),
            ("dangling", &|path| symlink("nowhere", path).unwrap()),
            ("name", &|path| fs::hard_link(&victim, path).unwrap()),
            ("pipe", &|path| mkfifoat(CWD, path, Mode::from_raw_mode(0o600)).unwrap()),
        ];
        for (kind, plant) in plants {
            for name in ["key", LOCK, "x.lock"] {
                plant(&folder.path().join(name));
            }
            let errors = [
                folder.read("key").map(drop).unwrap_err(),
                folder.lock().map(drop).unwrap_err(),
                folder.turn("x").map(drop).unwrap_err(),
            ];
            for error in errors {
                assert!(matches!(error, FolderError::Irregular { .. }), "{kind}: {error:?}");
            }
            for name in ["key", LOCK, "x.lock"] {
                fs::remove_file(folder.path().join(name)).unwrap();
            }
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "victim");
        assert!(!folder.path().join("nowhere").exists());
    }

    #[test]
    fn a_file_is_written_beside_what_was_planted_never_through_it() {
        let (parent, folder) = folder();
        let victim = parent.path().join("victim");
        fs::write(&victim, "victim").unwrap();
        for name in ["key", ".key.new"] {
            symlink(&victim, folder.path().join(name)).unwrap();
        }
        folder.write("key", b"own").unwrap();
        assert_eq!(folder.read("key").unwrap().unwrap().as_slice(), b"own");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "victim");
    }

    #[test]
    fn root_does_not_act_in_the_folder_of_another_user() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can give a folder to another user");
            return;
        }
        let (parent, folder) = folder();
        chown(folder.path(), Some(4_000_000_001), None).unwrap();
        assert!(matches!(Folder::open(folder.path()), Err(FolderError::Owner { .. })));
        chown(folder.path(), Some(0), None).unwrap();
        chown(parent.path(), Some(4_000_000_001), None).unwrap();
        assert!(matches!(Folder::open(folder.path()), Err(FolderError::Path(_))));
    }

    #[test]
    fn a_turn_that_is_never_given_back_is_not_waited_for_without_end() {
        let (_parent, folder) = folder();
        let _held = folder.turn("x").unwrap();
        assert!(matches!(folder.turn("x"), Err(FolderError::Turn { .. })));
    }

    #[test]
    fn a_second_claim_is_refused_until_the_first_ends() {
        let (_parent, folder) = folder();
        let first = folder.lock().unwrap();
        let error = folder.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(!is_locked(folder.path()));
        assert_eq!(holder(folder.path()), None);
        let again = folder.lock().unwrap();
        assert!(is_locked(folder.path()));
        assert_eq!(holder(folder.path()), Some(std::process::id().to_string()));
        drop(again);
    }

    #[test]
    fn who_holds_the_folder_for_a_moment_is_waited_for() {
        let (_parent, folder) = folder();
        let held = folder.lock().unwrap();
        let (locked, said) = std::sync::mpsc::sync_channel(1);
        let waiting = folder.clone();
        let waits = thread::spawn(move || {
            assert!(matches!(waiting.lock(), Err(FolderError::InUse { .. })));
            locked.send(()).unwrap();
            waiting.lock_patiently().map(drop)
        });
        said.recv().unwrap();
        drop(held);
        waits.join().unwrap().unwrap();
    }
}
