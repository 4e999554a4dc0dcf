//! One rule for every act that changes people or their ways to sign in: an organization that has an owner who can
//! sign in keeps one. It is judged after the change, in the act's own transaction, so that no act needs to know what
//! counts as a way to sign in.

use crate::store::StoreError;
use adit_core::domain::id::OrganizationId;

use super::act::Act;

/// How many of an organization's owners could sign in before a change.
#[must_use = "the rule is judged after the change"]
pub(super) struct OwnersBefore {
    organization: OrganizationId,
    count: u32,
}

impl OwnersBefore {
    /// Counts them. What is no rule's business yet, an organization that nobody has joined, stays free.
    pub(super) async fn count(act: &mut Act, organization: OrganizationId) -> Result<Self, StoreError> {
        let count = act.tx.owners_who_can_sign_in(organization).await?;
        Ok(Self { organization, count })
    }

    /// Returns whether one is left.
    pub(super) async fn are_kept(&self, act: &mut Act) -> Result<bool, StoreError> {
        Ok(self.count == 0 || act.tx.owners_who_can_sign_in(self.organization).await? > 0)
    }

    /// Returns whether one is left whoever the identity provider lets in from now on.
    pub(super) async fn are_kept_without_provider(&self, act: &mut Act) -> Result<bool, StoreError> {
        Ok(self.count == 0 || act.tx.owners_with_password(self.organization).await? > 0)
    }
}
