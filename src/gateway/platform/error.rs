//! Why the platform did not do what was asked.

use std::fmt;

use crate::store::StoreError;
use adit_core::domain::limits::ADMIN_SECRET_VIEWS_MAX;
use adit_core::domain::name::Name;
use adit_core::domain::page::InvalidCursor;
use adit_core::domain::role::NotPermitted;
use adit_core::domain::status;
use adit_core::domain::tier::LimitReached;
use adit_net::host::folder::FolderError;
use adit_net::transport::https_client::TrustError;

use super::people::PeopleRefusal;
use super::providers::ProviderRefusal;
use super::seal::SealError;
use super::single_sign_on::SingleSignOnRefusal;

/// What a look-up was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Organization,
    Server,
    Channel,
    Peering,
    Grant,
    Connection,
    Secret,
    User,
    Invitation,
    Session,
    ApiToken,
    IdentityProvider,
}

impl Resource {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Server => "server",
            Self::Channel => "channel",
            Self::Peering => "peering",
            Self::Grant => "grant",
            Self::Connection => "connection",
            Self::Secret => "secret",
            Self::User => "user",
            Self::Invitation => "invitation",
            Self::Session => "session",
            Self::ApiToken => "API token",
            Self::IdentityProvider => "identity provider",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// Also for what exists and is not the asker's to see: same answer, same code path.
    #[error("there is no such {resource}")]
    NotFound { resource: Resource },
    #[error(transparent)]
    Refused(#[from] ActionRefusal),
    /// Of a list; nothing was read.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    #[error("the platform's database did not serve this")]
    Store(#[source] StoreError),
    /// For all the time that an act may last.
    #[error("the gateway's database is away, and nothing was changed; see that it runs and try again")]
    Away(#[source] StoreError),
    /// The answer to a commit was lost, and nobody could be asked for it.
    #[error(
        "the database went away while this was being written; whether it was made is not known: look before asking \
         again"
    )]
    Unknown(#[source] StoreError),
    #[error("a connection's secret could not be sealed or unsealed")]
    Seal(#[from] SealError),
    /// The same was asked before under the same key; nothing is made again.
    #[error("this was made before, for the same key")]
    AlreadyMade { made: String },
}

impl PlatformError {
    /// Returns whether asking again may help, because the database is away or busy.
    #[must_use]
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Store(source) if source.is_transient()) || self.is_away()
    }

    /// Returns whether the database has no room for this.
    #[must_use]
    pub(crate) const fn is_full(&self) -> bool {
        matches!(self, Self::Store(source) if source.is_full())
    }

    /// Returns whether the platform has moved to another database.
    #[must_use]
    pub(crate) const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Store(source) if source.is_elsewhere())
    }

    /// Returns whether the database cannot be reached just now.
    #[must_use]
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Store(source) | Self::Away(source) if source.is_away())
    }

    /// Returns whether others have kept the database locked for all the time that was waited.
    #[must_use]
    pub(crate) const fn is_locked(&self) -> bool {
        matches!(self, Self::Store(StoreError::Busy { .. }))
    }

    /// Returns what is said of a database that others keep locked.
    pub(crate) const fn locked() -> Self {
        Self::Store(StoreError::Busy { doing: "writing" })
    }
}

impl From<PeopleRefusal> for PlatformError {
    fn from(refusal: PeopleRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<StoreError> for PlatformError {
    /// Converts a store's error: a unique index is the last judge of a race; the one that loses is refused
    /// like one who came late.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Cursor(error) => Self::Cursor(error),
            StoreError::Exists { doing } => Self::Refused(ActionRefusal::Exists { doing }),
            error => Self::Store(error),
        }
    }
}

/// A rule that forbids what was asked. Audited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionRefusal {
    #[error(transparent)]
    Role(#[from] NotPermitted),
    #[error(transparent)]
    Limit(#[from] LimitReached),
    #[error(transparent)]
    Status(#[from] status::TransitionRefusal),
    #[error("this is done for an organization; say which")]
    NeedsOrganization,
    #[error("organizations are made by the gateway's operator; ask there")]
    NeedsHost,
    #[error("{doing}: there is one already; choose another or use that one")]
    Exists { doing: &'static str },
    #[error("a request from {requester} to {recipient} is open already; {recipient} accepts or declines it")]
    PeeringOpen { requester: Name, recipient: Name },
    #[error("{one} and {other} have an agreement already")]
    PeeringLive { one: Name, other: Name },
    #[error("this peering request is {status} and stays so; make a new one")]
    PeeringDecided { status: &'static str },
    #[error("a peering request is for {recipient} to accept or decline")]
    NotRecipient { recipient: Name },
    #[error("a peering request is for {requester} to withdraw")]
    NotRequester { requester: Name },
    #[error("{peer} cannot take another peer now; ask them to make room")]
    PeerFull { peer: Name },
    #[error("there is no agreement with {peer}; ask for peering first")]
    NoAgreement { peer: Name },
    #[error("the channel is not published; publish it before offering it")]
    NotPublished,
    #[error("the grant is {status}; only a pending one is decided")]
    GrantDecided { status: &'static str },
    #[error("the grant is {status} already")]
    GrantEnded { status: &'static str },
    #[error("this grant is for {decider} to approve or deny")]
    NotDecider { decider: Name },
    #[error("a grant is revoked by {owner}, who owns the channel; its holder relinquishes it")]
    NotOwner { owner: Name },
    #[error("a grant is relinquished by {holder}, who holds it; the channel's owner revokes it")]
    NotHolder { holder: Name },
    #[error("approving an offer names the server of yours that will send; say which")]
    SourceNeeded,
    #[error("the request named the sending server; approve it as it is or deny it")]
    SourceFixed,
    #[error("a server cannot send to itself; name another one")]
    SameServer,
    #[error("this organization has viewed the secret, and it is shown once; Rotate Secrets makes a new one")]
    SecretViewed,
    #[error(
        "the secret of an admin connection is shown {ADMIN_SECRET_VIEWS_MAX} times an hour at most; try again later"
    )]
    SecretViewedOften,
    #[error("the secret is no longer available here; Rotate Secrets makes a new one")]
    SecretGone,
    #[error(
        "an organization administers its own servers without an offer; a self-agreement carries P2P only"
    )]
    OfferToSelf,
    /// The same to both parties: the rule is no secret, and any refusal tells as much.
    #[error("Admin RW needs the Standard or Enterprise tier of {owner}, which owns the managed server")]
    ReadWriteTier { owner: Name },
    #[error("the server has no key on file, so there is nothing to revoke")]
    NotEnrolled,
    #[error("this was changed since it was read; read it again, and decide again")]
    ChangedSince,
    #[error("the key was used for another request within a day; a new request takes a new key")]
    KeyReused,
    #[error("this peering is {status}; only a live agreement is ended")]
    PeeringNotLive { status: &'static str },
    #[error(transparent)]
    People(#[from] PeopleRefusal),
    #[error(transparent)]
    Provider(#[from] ProviderRefusal),
    #[error(transparent)]
    SingleSignOn(#[from] SingleSignOnRefusal),
}

/// Why the platform could not be opened; each is the operator's to act on.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the gateway's state folder cannot be used")]
    Folder {
        #[from]
        source: FolderError,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("identity providers cannot be spoken to")]
    Providers(#[from] TrustError),
}

impl OpenError {
    /// Returns whether the database is there but cannot be reached just now.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Store(source) if source.is_away())
    }

    /// Returns whether waiting may help, as where the database is away or another process keeps it locked.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Store(source) if source.is_transient())
    }
}
