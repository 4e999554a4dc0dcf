//! The users of this host, as its own name service knows them.

use uzers::{get_user_by_name, get_user_by_uid};

/// A user and the groups it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub user: u32,
    pub group: u32,
    /// Supplementary ones.
    pub groups: Vec<u32>,
}

impl Account {
    /// Returns the account of `user`. One that the host has no entry for is in `group` alone, and
    /// never in root's.
    #[must_use]
    pub fn of(user: u32, group: u32) -> Self {
        let Some(found) = get_user_by_uid(user) else {
            let group = if group == 0 { user } else { group };
            return Self { user, group, groups: Vec::new() };
        };
        let groups = found.groups().unwrap_or_default();
        Self { user, group: found.primary_group_id(), groups: groups.iter().map(uzers::Group::gid).collect() }
    }
}

/// Returns the id of the user called `name`, if the host has one.
#[must_use]
pub fn user_id(name: &str) -> Option<u32> {
    get_user_by_name(name).map(|user| user.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_name() {
        assert_eq!(user_id("root"), Some(0));
        assert_eq!(user_id("no-such-user-on-any-host"), None);
    }

    #[test]
    fn a_user_without_an_entry_is_never_in_roots_group() {
        let user = 4_000_000_001;
        let account = |group| Account::of(user, group);
        assert_eq!(account(7), Account { user, group: 7, groups: Vec::new() });
        assert_eq!(account(0), Account { user, group: user, groups: Vec::new() });
    }
}
