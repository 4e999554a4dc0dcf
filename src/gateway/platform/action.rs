//! What may be done, in the words of the audit log. Each act is of one kind.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    AddOrganization,
    SetTier,
    AddServer,
    DescribeServer,
    RevokeServerKey,
    AddChannel,
    PublishChannel,
    UnpublishChannel,
    IssueToken,
    RequestPeering,
    AcceptPeering,
    DeclinePeering,
    WithdrawPeering,
    OfferGrant,
    RequestGrant,
    ApproveGrant,
    DenyGrant,
    RevokeGrant,
    RelinquishGrant,
    OfferAdministration,
    AcceptOffer,
    DeclineOffer,
    WithdrawOffer,
    /// The time to accept it is over.
    ExpireOffer,
    ActivateConnection,
    PauseConnection,
    ResumeConnection,
    DisconnectConnection,
    RetryConnection,
    TerminateConnection,
    /// An agent's own file forbids it.
    FailConnection,
    /// A tier that admits it no more holds it.
    HoldConnection,
    /// The tier that held it admits it again.
    ReleaseConnection,
    ViewSecret,
    RotateSecrets,
    /// An agent is handed it.
    FetchSecret,
    /// An agent has it on disk.
    HoldSecret,
    Enrol,
    OpenControlLink,
    RenewLeaf,
    /// An agent refuses a peer or stranger at its tunnel.
    RefusePeer,
    StartAdminSession,
    RunAdminSession,
    EndAdminSession,
}

impl Action {
    pub const ALL: [Self; 44] = [
        Self::AddOrganization,
        Self::SetTier,
        Self::AddServer,
        Self::DescribeServer,
        Self::RevokeServerKey,
        Self::AddChannel,
        Self::PublishChannel,
        Self::UnpublishChannel,
        Self::IssueToken,
        Self::RequestPeering,
        Self::AcceptPeering,
        Self::DeclinePeering,
        Self::WithdrawPeering,
        Self::OfferGrant,
        Self::RequestGrant,
        Self::ApproveGrant,
        Self::DenyGrant,
        Self::RevokeGrant,
        Self::RelinquishGrant,
        Self::OfferAdministration,
        Self::AcceptOffer,
        Self::DeclineOffer,
        Self::WithdrawOffer,
        Self::ExpireOffer,
        Self::ActivateConnection,
        Self::PauseConnection,
        Self::ResumeConnection,
        Self::DisconnectConnection,
        Self::RetryConnection,
        Self::TerminateConnection,
        Self::FailConnection,
        Self::HoldConnection,
        Self::ReleaseConnection,
        Self::ViewSecret,
        Self::RotateSecrets,
        Self::FetchSecret,
        Self::HoldSecret,
        Self::Enrol,
        Self::OpenControlLink,
        Self::RenewLeaf,
        Self::RefusePeer,
        Self::StartAdminSession,
        Self::RunAdminSession,
        Self::EndAdminSession,
    ];

    /// Returns the word as it stands in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddOrganization => "add organization",
            Self::SetTier => "set tier",
            Self::AddServer => "add server",
            Self::DescribeServer => "describe server",
            Self::RevokeServerKey => "revoke server key",
            Self::AddChannel => "add channel",
            Self::PublishChannel => "publish channel",
            Self::UnpublishChannel => "unpublish channel",
            Self::IssueToken => "issue token",
            Self::RequestPeering => "request peering",
            Self::AcceptPeering => "accept peering",
            Self::DeclinePeering => "decline peering",
            Self::WithdrawPeering => "withdraw peering",
            Self::OfferGrant => "offer grant",
            Self::RequestGrant => "request grant",
            Self::ApproveGrant => "approve grant",
            Self::DenyGrant => "deny grant",
            Self::RevokeGrant => "revoke grant",
            Self::RelinquishGrant => "relinquish grant",
            Self::OfferAdministration => "offer administration",
            Self::AcceptOffer => "accept offer",
            Self::DeclineOffer => "decline offer",
            Self::WithdrawOffer => "withdraw offer",
            Self::ExpireOffer => "expire offer",
            Self::ActivateConnection => "activate connection",
            Self::PauseConnection => "pause connection",
            Self::ResumeConnection => "resume connection",
            Self::DisconnectConnection => "disconnect connection",
            Self::RetryConnection => "retry connection",
            Self::TerminateConnection => "terminate connection",
            Self::FailConnection => "fail connection",
            Self::HoldConnection => "hold connection",
            Self::ReleaseConnection => "release connection",
            Self::ViewSecret => "view secret",
            Self::RotateSecrets => "rotate secrets",
            Self::FetchSecret => "fetch secret",
            Self::HoldSecret => "hold secret",
            Self::Enrol => "enrol",
            Self::OpenControlLink => "open control link",
            Self::RenewLeaf => "renew leaf",
            Self::RefusePeer => "refuse peer",
            Self::StartAdminSession => "admin session started",
            Self::RunAdminSession => "admin session running",
            Self::EndAdminSession => "admin session ended",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_action_is_listed_once_under_a_word_of_its_own() {
        assert!(Action::ALL.is_sorted_by(|one, next| one < next));
        assert_eq!(Action::ALL.len(), Action::EndAdminSession as usize + 1);
        let words: BTreeSet<_> = Action::ALL.into_iter().map(Action::as_str).collect();
        assert_eq!(words.len(), Action::ALL.len());
    }
}
