//! Who asks, authenticated by somebody else.

use std::net::IpAddr;

use adit_core::domain::id::{OrganizationId, ServerId};
use adit_core::domain::role::{Permission, UserRole};

use super::counted::Reporter;
use super::error::ActionRefusal;
use super::proof::UserProof;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initiator {
    /// The gateway's operator on its own host: makes organizations, sets tiers, sees every list.
    /// Never a party: agreements, grants and connections are decided by organizations.
    Host { name: String },
    Member {
        organization: OrganizationId,
        /// With a proof, as it was when that was looked at; each act finds out what it is now.
        role: UserRole,
        name: String,
        /// None where nobody proves it again: the operator acts for an organization, or a provider has just
        /// answered.
        proof: Option<UserProof>,
    },
    /// The agent of a server, out of a verified leaf.
    Agent { server: ServerId },
    /// A host whose name is not proven, such as one that presents a registration token.
    Stranger { address: IpAddr },
    /// The gateway: what follows from a rule or from time, and nobody asked for.
    System,
}

impl Initiator {
    /// Returns the organization acted for, if the role has the permission.
    pub(super) fn member(&self, permission: Permission) -> Result<OrganizationId, ActionRefusal> {
        match self {
            Self::Member { organization, role, .. } => {
                role.permit(permission)?;
                Ok(*organization)
            }
            Self::Host { .. } | Self::Agent { .. } | Self::Stranger { .. } | Self::System => {
                Err(ActionRefusal::NeedsOrganization)
            }
        }
    }

    /// Returns whose eyes a list is for; `None` sees everything that may be listed at all. Lists are for users.
    pub(super) const fn viewpoint(&self) -> Result<Option<OrganizationId>, ActionRefusal> {
        match self {
            Self::Host { .. } => Ok(None),
            Self::Member { organization, .. } => Ok(Some(*organization)),
            Self::Agent { .. } | Self::Stranger { .. } | Self::System => {
                Err(ActionRefusal::NeedsOrganization)
            }
        }
    }

    /// Returns the organization whose user asks.
    pub(super) const fn organization(&self) -> Option<OrganizationId> {
        match self {
            Self::Member { organization, .. } => Some(*organization),
            Self::Host { .. } | Self::Agent { .. } | Self::Stranger { .. } | Self::System => None,
        }
    }

    /// Returns by what a user was known, if it is one.
    pub(super) const fn proof(&self) -> Option<UserProof> {
        match self {
            Self::Member { proof, .. } => *proof,
            Self::Host { .. } | Self::Agent { .. } | Self::Stranger { .. } | Self::System => None,
        }
    }

    /// Returns what it calls itself, where it does.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Host { name } | Self::Member { name, .. } => name,
            Self::Agent { .. } | Self::Stranger { .. } | Self::System => "",
        }
    }

    /// Returns who it is to the counting of repeats: those that may ask again and again at will.
    pub(super) const fn reporter(&self) -> Option<Reporter> {
        match self {
            Self::Agent { server } => Some(Reporter::Agent(*server)),
            Self::Stranger { .. } => Some(Reporter::Stranger),
            Self::Host { .. } | Self::Member { .. } | Self::System => None,
        }
    }
}
