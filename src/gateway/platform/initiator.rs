//! Who asks, authenticated by somebody else.

use adit_core::domain::id::OrganizationId;
use adit_core::domain::role::{Permission, UserRole};

use super::error::ActionRefusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initiator {
    /// The gateway's operator on its own host: makes organizations, sets tiers, sees every list.
    /// Never a party: agreements, grants and connections are decided by organizations.
    Host {
        name: String,
    },
    Member {
        organization: OrganizationId,
        role: UserRole,
        name: String,
    },
}

impl Initiator {
    /// Returns the organization acted for, if the role has the permission.
    pub(super) fn member(&self, permission: Permission) -> Result<OrganizationId, ActionRefusal> {
        match self {
            Self::Host { .. } => Err(ActionRefusal::NeedsOrganization),
            Self::Member { organization, role, .. } => {
                role.permit(permission)?;
                Ok(*organization)
            }
        }
    }

    /// Returns whose eyes a list is for; `None` sees everything that may be listed at all.
    pub(super) const fn viewpoint(&self) -> Option<OrganizationId> {
        match self {
            Self::Host { .. } => None,
            Self::Member { organization, .. } => Some(*organization),
        }
    }
}
