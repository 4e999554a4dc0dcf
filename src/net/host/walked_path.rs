//! The path to a file or folder, and who could make it lead elsewhere: everybody who may change a folder
//! or a link on it. Root must not act at the end of a path that somebody else can change.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, getxattr_query, openat, readlinkat};
use rustix::io::Errno;

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;

/// Who may change what stands on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathWriter {
    User(u32),
    Group(u32),
    Anybody,
}

impl fmt::Display for PathWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user id {user}"),
            Self::Group(group) => write!(f, "group id {group}"),
            Self::Anybody => f.write_str("any user"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WalkedPathError {
    #[error("cannot look at `{path}`; see that it can be reached")]
    Look { path: PathBuf, source: io::Error },
    #[error(
        "`{path}` can be changed by {writer}, who could have root act elsewhere; run this as the user whose \
         state folder it is, see that root and that user alone may write it, or hand the state folder to that \
         user with `chown -R`"
    )]
    Writable { path: PathBuf, writer: PathWriter },
}

/// Whose a file or folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub user: u32,
    pub group: u32,
}

/// A path as it was walked.
#[derive(Debug)]
pub(super) struct WalkedPath {
    /// Of what stands at its end; `None` when nothing does.
    pub owner: Option<Owner>,
    /// Of the last folder before its end.
    pub parent: Owner,
    /// Who may change it, save root and, at its end, the owner of a folder.
    writers: BTreeSet<(PathWriter, PathBuf)>,
    /// Who owns the beginning of all paths is root, whatever root is called in this user namespace.
    root: u32,
}

impl WalkedPath {
    /// Walks the path, one name after another over open handles: what was judged is what was walked.
    pub(super) fn to(path: &Path) -> Result<Self, WalkedPathError> {
        let look =
            |path: &Path, error: Errno| WalkedPathError::Look { path: path.into(), source: error.into() };
        let absolute = std::path::absolute(path)
            .map_err(|source| WalkedPathError::Look { path: path.into(), source })?;
        let root = Path::new("/");
        let mut handle = open(CWD, root).map_err(|error| look(root, error))?;
        let mut stat = fstat(&handle).map_err(|error| look(root, error))?;
        let mut walk =
            Self { owner: None, parent: owner(&stat), writers: BTreeSet::new(), root: stat.st_uid };
        let mut above: Vec<(OwnedFd, Stat)> = Vec::new();
        let mut walked = root.to_owned();
        let mut left = names(&absolute);
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                if let Some(up) = above.pop() {
                    (handle, stat) = up;
                    walked.pop();
                }
                continue;
            }
            walk.judge(&walked, &stat, &handle);
            walk.parent = owner(&stat);
            let next_path = walked.join(&name);
            let next = match open(&handle, Path::new(&name)) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(walk),
                Err(error) => return Err(look(&next_path, error)),
            };
            let next_stat = fstat(&next).map_err(|error| look(&next_path, error))?;
            if FileType::from_raw_mode(next_stat.st_mode) == FileType::Symlink {
                links += 1;
                let target = readlinkat(&next, "", Vec::new());
                let target = target.map_err(|error| look(&next_path, error))?.into_bytes();
                if links > LINKS_MAX {
                    return Err(look(&next_path, Errno::LOOP));
                }
                walk.add(PathWriter::User(next_stat.st_uid), &next_path);
                let target = PathBuf::from(OsString::from_vec(target));
                left.extend(names(&target));
                if target.is_absolute() {
                    handle = open(CWD, root).map_err(|error| look(root, error))?;
                    stat = fstat(&handle).map_err(|error| look(root, error))?;
                    above.clear();
                    root.clone_into(&mut walked);
                }
                continue;
            }
            above.push((std::mem::replace(&mut handle, next), std::mem::replace(&mut stat, next_stat)));
            walked = next_path;
        }
        walk.owner = Some(owner(&stat));
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            walk.judge(&walked, &stat, &handle);
        }
        Ok(walk)
    }

    /// Refuses a path that somebody besides root and `user` may change.
    pub(super) fn check(&self, user: u32) -> Result<(), WalkedPathError> {
        let other = self.writers.iter().find(|(writer, _)| *writer != PathWriter::User(user));
        other.map_or(Ok(()), |(writer, path)| {
            Err(WalkedPathError::Writable { path: path.clone(), writer: *writer })
        })
    }

    fn judge(&mut self, path: &Path, stat: &Stat, handle: &OwnedFd) {
        self.add(PathWriter::User(stat.st_uid), path);
        let mode = stat.st_mode;
        // In a sticky folder nobody moves what is another's; what was planted there has its own owner.
        if FileType::from_raw_mode(mode) == FileType::Directory && mode & 0o1000 != 0 {
            return;
        }
        if mode & 0o020 != 0 && (stat.st_gid != 0 || has_list(handle)) {
            self.add(PathWriter::Group(stat.st_gid), path);
        }
        if mode & 0o002 != 0 {
            self.add(PathWriter::Anybody, path);
        }
    }

    fn add(&mut self, writer: PathWriter, path: &Path) {
        if writer != PathWriter::User(0) && writer != PathWriter::User(self.root) {
            self.writers.insert((writer, path.into()));
        }
    }
}

/// Returns whether others than the group may be meant by the group's bits: then they are the mask of an ACL.
fn has_list(handle: &OwnedFd) -> bool {
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    getxattr_query(path, "system.posix_acl_access").is_ok()
}

fn open(at: impl std::os::fd::AsFd, name: &Path) -> Result<OwnedFd, Errno> {
    openat(at, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

const fn owner(stat: &Stat) -> Owner {
    Owner { user: stat.st_uid, group: stat.st_gid }
}

/// Returns the names of a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    const SOMEBODY: u32 = 4_000_000_001;

    fn is_root() -> bool {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            println!("skipped: only root can give files to another user");
        }
        is_root
    }

    #[test]
    fn a_path_of_roots_alone_leads_to_its_end_over_links() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real/state");
        fs::create_dir_all(&real).unwrap();
        chown(&real, Some(SOMEBODY), Some(7)).unwrap();
        symlink("real/../real", folder.path().join("relative")).unwrap();
        symlink(folder.path().join("relative"), folder.path().join("absolute")).unwrap();
        let walk = WalkedPath::to(&folder.path().join("absolute/./state")).unwrap();
        assert_eq!(walk.owner, Some(Owner { user: SOMEBODY, group: 7 }));
        assert_eq!(walk.parent, Owner { user: 0, group: 0 });
        walk.check(0).unwrap();
        let absent = WalkedPath::to(&folder.path().join("absolute/none/deeper")).unwrap();
        assert_eq!(absent.owner, None);
    }

    #[test]
    fn a_link_or_folder_of_somebody_makes_the_path_writable() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (home, link) = (folder.path().join("home"), folder.path().join("link"));
        fs::create_dir_all(home.join("state")).unwrap();
        chown(&home, Some(SOMEBODY), None).unwrap();
        symlink(folder.path(), &link).unwrap();
        lchown(&link, Some(SOMEBODY), None).unwrap();
        for path in [home.join("state"), home.join("absent"), link.clone(), link.join("home")] {
            let walk = WalkedPath::to(&path).unwrap();
            walk.check(SOMEBODY).unwrap();
            let error = walk.check(0).unwrap_err().to_string();
            assert!(error.contains(&format!("user id {SOMEBODY}")), "{error}");
        }
    }

    #[test]
    fn a_folder_that_a_group_or_anybody_may_write_makes_the_path_writable() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir_all(open.join("state")).unwrap();
        let check = |mode, group| {
            chown(&open, None, Some(group)).unwrap();
            fs::set_permissions(&open, PermissionsExt::from_mode(mode)).unwrap();
            let error = WalkedPath::to(&open.join("state")).unwrap().check(0).err();
            error.map(|error| match error {
                WalkedPathError::Writable { writer, .. } => writer,
                WalkedPathError::Look { .. } => panic!("{error}"),
            })
        };
        assert_eq!(check(0o775, 7), Some(PathWriter::Group(7)));
        assert_eq!(check(0o775, 0), None);
        assert_eq!(check(0o777, 0), Some(PathWriter::Anybody));
        assert_eq!(check(0o1777, 7), None);
    }

    #[test]
    fn links_in_a_ring_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        symlink("ring", folder.path().join("ring")).unwrap();
        assert!(matches!(WalkedPath::to(&folder.path().join("ring")), Err(WalkedPathError::Look { .. })));
    }
}
