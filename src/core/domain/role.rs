//! What a user's role in their organization permits.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserRole {
    /// All.
    Owner,
    /// All but users, tier and the organization's name.
    Operator,
    /// Sees, never changes, never reveals a secret.
    Auditor,
}

/// Kinds of what a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    See,
    Change,
    /// View a secret, or be handed a registration token.
    Reveal,
    ChangeTier,
    ManageUsers,
    RenameOrganization,
}

impl UserRole {
    pub const ALL: [Self; 3] = [Self::Owner, Self::Operator, Self::Auditor];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// Returns the role that permits no more than either.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        self.max(other)
    }

    pub const fn permit(self, permission: Permission) -> Result<(), NotPermitted> {
        let permitted = match permission {
            Permission::See => true,
            Permission::Change | Permission::Reveal => matches!(self, Self::Owner | Self::Operator),
            Permission::ChangeTier | Permission::ManageUsers | Permission::RenameOrganization => {
                matches!(self, Self::Owner)
            }
        };
        if permitted { Ok(()) } else { Err(NotPermitted { role: self, permission }) }
    }
}

impl FromStr for UserRole {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `owner`, `operator` or `auditor`")]
pub struct UnknownRole;

impl fmt::Display for UserRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::See => "see this",
            Self::Change => "change anything",
            Self::Reveal => "reveal a secret",
            Self::ChangeTier => "change the tier",
            Self::ManageUsers => "manage users",
            Self::RenameOrganization => "rename the organization",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role {role} may not {permission}")]
pub struct NotPermitted {
    pub role: UserRole,
    pub permission: Permission,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesser_of_two_roles_permits_no_more_than_either() {
        for one in UserRole::ALL {
            for other in UserRole::ALL {
                for permission in [Permission::Change, Permission::Reveal, Permission::ManageUsers] {
                    let both = one.permit(permission).is_ok() && other.permit(permission).is_ok();
                    assert_eq!(one.at_most(other).permit(permission).is_ok(), both);
                }
            }
            assert_eq!(one.as_str().parse(), Ok(one));
        }
    }

    #[test]
    fn the_whole_role_table_is_as_printed() {
        let row = |permission: Permission| {
            let cells =
                UserRole::ALL.map(|role| if role.permit(permission).is_ok() { role.as_str() } else { "-" });
            format!("{permission}: {}", cells.join(" "))
        };
        assert_eq!(
            [
                Permission::See,
                Permission::Change,
                Permission::Reveal,
                Permission::ChangeTier,
                Permission::ManageUsers,
                Permission::RenameOrganization,
            ]
            .map(row),
            [
                "see this: owner operator auditor",
                "change anything: owner operator -",
                "reveal a secret: owner operator -",
                "change the tier: owner - -",
                "manage users: owner - -",
                "rename the organization: owner - -",
            ]
        );
    }
}
