//! Anyone who types a command as root acts in a folder that belongs to the service's user. From its first
//! open there on, the command is that user, for good: what was planted in the folder gives its owner nothing
//! that it does not have.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::account::Account;
use super::walked_path::{Owner, WalkedPath, WalkedPathError};

#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error(transparent)]
    Path(#[from] WalkedPathError),
    #[error("cannot become user id {user}, whose state folder this is; run this as that user")]
    Become { user: u32, source: BecomeError },
    #[error(
        "user id {user}, whose state folder this is, cannot reach `{state}`; let it through the folders above"
    )]
    Unreachable { user: u32, state: PathBuf },
}

/// Why the rights of root could not be left behind.
#[derive(Debug, thiserror::Error)]
pub enum BecomeError {
    #[error(transparent)]
    Kernel(#[from] Errno),
    #[error("{0} threads run already; this is a bug, please report it")]
    Threads(usize),
    #[error("the kernel lets this process become root again")]
    Reversible,
}

static INVOKER: OnceLock<u32> = OnceLock::new();

/// Returns the user id of who typed the command.
pub fn invoker() -> u32 {
    INVOKER.get().copied().unwrap_or_else(|| getuid().as_raw())
}

/// Makes root the user whose state folder a file names: the folder's owner; before there is a folder,
/// the file's owner or that of the folder it would be made in. To be called before any thread starts.
/// Refused where somebody else could have chosen that folder.
pub fn act_as_owner(file: &Path, state: &Path) -> Result<(), PrivilegeError> {
    INVOKER.get_or_init(|| getuid().as_raw());
    if !geteuid().is_root() {
        return Ok(());
    }
    let (to_file, to_state) = (WalkedPath::to(file)?, WalkedPath::to(state)?);
    let owner = owner_meant(to_state.owner, to_file.owner, to_state.parent);
    to_file.check(owner.user)?;
    to_state.check(owner.user)?;
    if owner.user == 0 {
        return Ok(());
    }
    become_user(&Account::of(owner.user, owner.group))
        .map_err(|source| PrivilegeError::Become { user: owner.user, source })?;
    match fs::symlink_metadata(state) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(PrivilegeError::Unreachable { user: owner.user, state: state.into() })
        }
        _ => Ok(()),
    }
}

/// Checks that root uses no file, be it only named in another, that somebody else could put in its place.
pub fn check_named(file: Option<&Path>) -> Result<(), PrivilegeError> {
    match file {
        Some(file) if geteuid().is_root() => Ok(WalkedPath::to(file)?.check(0)?),
        Some(_) | None => Ok(()),
    }
}

fn owner_meant(state: Option<Owner>, file: Option<Owner>, parent: Owner) -> Owner {
    state.unwrap_or_else(|| file.filter(|file| file.user != 0).unwrap_or(parent))
}

/// Becomes the user, without a way back. The kernel keeps these rights for each thread: the only one there is
/// hands them on to all that it starts. Of root's rights a port below 1024 may still be bound, as the
/// service's own unit may allow it.
fn become_user(account: &Account) -> Result<(), BecomeError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(BecomeError::Threads(threads));
    }
    let permitted = capabilities(None)?.permitted & CapabilitySet::NET_BIND_SERVICE;
    let (user, group) = (Uid::from_raw(account.user), Gid::from_raw(account.group));
    let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
    set_keep_capabilities(true)?;
    set_thread_groups(&groups)?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    set_keep_capabilities(false)?;
    let kept = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    set_capabilities(None, kept)?;
    set_no_new_privs(true)?;
    if set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        return Err(BecomeError::Reversible);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_meant_is_the_folders_else_the_files_else_the_parents() {
        let of = |user| Owner { user, group: 0 };
        let check = |state: Option<u32>, file: Option<u32>, parent, meant| {
            let found = owner_meant(state.map(of), file.map(of), of(parent));
            assert_eq!(found.user, meant, "{state:?} {file:?} {parent}");
        };
        check(Some(1), Some(2), 3, 1);
        check(Some(0), Some(2), 3, 0);
        check(None, Some(2), 3, 2);
        check(None, Some(0), 3, 3);
        check(None, None, 0, 0);
    }
}
