//! How an error ends an act: refused by a rule, which is audited, or a fault of ours, which is not.

use std::fmt::Display;

use crate::store::{AuditOutcome, StoreError};

use super::super::agents::AgentError;
use super::super::enrolment::{EnrolRefusal, LinkRefusal};
use super::super::error::PlatformError;

/// What the work of an act, or of a look, may fail with.
pub(in super::super) trait ActError: From<PlatformError> + Display {
    /// Returns how it stands in the audit log, unless it is a fault of ours.
    fn refusal(&self) -> Option<AuditOutcome>;

    /// Returns what the platform failed with, if it is that.
    fn into_platform(self) -> Result<PlatformError, Self>;

    /// Returns the store's error that it comes from, if it does.
    fn store(&self) -> Option<&StoreError>;

    /// Returns whether running the whole transaction again may help.
    fn is_transient(&self) -> bool {
        self.store().is_some_and(StoreError::is_transient)
    }

    /// Returns it as it is told when trying again has not helped.
    fn after_waiting(self) -> Self {
        match self.into_platform() {
            Ok(PlatformError::Store(error)) if error.is_away() => PlatformError::Away(error).into(),
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }
}

impl ActError for PlatformError {
    fn refusal(&self) -> Option<AuditOutcome> {
        match self {
            Self::NotFound { .. } | Self::Refused(_) => Some(AuditOutcome::Refused),
            Self::Store(_)
            | Self::Cursor(_)
            | Self::Seal(_)
            | Self::Away(_)
            | Self::Unknown(_)
            | Self::AlreadyMade { .. } => None,
        }
    }

    fn into_platform(self) -> Result<PlatformError, Self> {
        Ok(self)
    }

    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::NotFound { .. }
            | Self::Refused(_)
            | Self::Cursor(_)
            | Self::Seal(_)
            | Self::Away(_)
            | Self::Unknown(_)
            | Self::AlreadyMade { .. } => None,
        }
    }
}

impl ActError for AgentError {
    fn refusal(&self) -> Option<AuditOutcome> {
        match self {
            Self::NotFound | Self::SecretUnavailable => Some(AuditOutcome::Refused),
            Self::Platform(error) => error.refusal(),
        }
    }

    fn into_platform(self) -> Result<PlatformError, Self> {
        match self {
            Self::Platform(error) => Ok(error),
            refusal @ (Self::NotFound | Self::SecretUnavailable) => Err(refusal),
        }
    }

    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Platform(error) => error.store(),
            Self::NotFound | Self::SecretUnavailable => None,
        }
    }
}

impl ActError for EnrolRefusal {
    fn refusal(&self) -> Option<AuditOutcome> {
        match self {
            Self::Wrong | Self::Expired => Some(AuditOutcome::Refused),
            Self::OtherKey | Self::RevokedKey | Self::KeyInUse => Some(AuditOutcome::Alert),
            Self::Platform(error) => error.refusal(),
        }
    }

    fn into_platform(self) -> Result<PlatformError, Self> {
        match self {
            Self::Platform(error) => Ok(error),
            refusal => Err(refusal),
        }
    }

    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Platform(error) => error.store(),
            Self::Wrong | Self::Expired | Self::OtherKey | Self::RevokedKey | Self::KeyInUse => None,
        }
    }
}

impl ActError for LinkRefusal {
    fn refusal(&self) -> Option<AuditOutcome> {
        match self {
            Self::UnknownServer | Self::RevokedKey | Self::KeyNotOnFile => Some(AuditOutcome::Refused),
            Self::Platform(error) => error.refusal(),
        }
    }

    fn into_platform(self) -> Result<PlatformError, Self> {
        match self {
            Self::Platform(error) => Ok(error),
            refusal @ (Self::UnknownServer | Self::RevokedKey | Self::KeyNotOnFile) => Err(refusal),
        }
    }

    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Platform(error) => error.store(),
            Self::UnknownServer | Self::RevokedKey | Self::KeyNotOnFile => None,
        }
    }
}
