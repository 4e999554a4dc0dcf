//! Registration tokens: shown once, stored as a hash, a new one voids the old.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::store::TokenRecord;
use adit_core::domain::id::ServerId;
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::secret::RegistrationToken;
use adit_core::domain::time::Timestamp;
use adit_net::identity::random;

use super::act::Act;
use super::error::PlatformError;
use super::{Action, Initiator, Platform};

/// How long a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenLife {
    #[default]
    Hour,
    Day,
    Week,
}

impl TokenLife {
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    #[must_use]
    pub const fn duration(self) -> Duration {
        let hours = match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
        };
        Duration::from_secs(hours * 3600)
    }
}

impl fmt::Display for TokenLife {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TokenLife {
    type Err = UnknownLife;

    fn from_str(text: &str) -> Result<Self, UnknownLife> {
        Self::ALL
            .into_iter()
            .find(|life| life.as_str() == text)
            .ok_or_else(|| UnknownLife { found: text.into() })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no life of a token; write 1h, 24h or 7d")]
pub struct UnknownLife {
    found: String,
}

/// A token on its only way out.
#[derive(Debug, PartialEq, Eq)]
pub struct IssuedToken {
    pub server: ServerId,
    pub server_name: Name,
    pub token: RegistrationToken,
    pub expires_at: Timestamp,
}

impl Platform {
    pub async fn issue_token(
        &self,
        initiator: &Initiator,
        server: ServerId,
        life: TokenLife,
    ) -> Result<IssuedToken, PlatformError> {
        self.act(initiator, Action::IssueToken, format!("server {server}"), async move |act: &mut Act| {
            issue(act, server, life).await
        })
        .await
    }
}

async fn issue(act: &mut Act, id: ServerId, life: TokenLife) -> Result<IssuedToken, PlatformError> {
    let organization = act.member(Permission::Reveal)?;
    let server = act.own_server(id, organization).await?;
    let token = RegistrationToken::from_bytes(random::bytes());
    let expires_at = act.now.saturating_add(life.duration());
    let record = TokenRecord { hash: token.hash(), issued_at: act.now, expires_at, bound_key: None };
    act.tx.put_token(id, &record).await?;
    act.describe(format!("good until {expires_at}"));
    Ok(IssuedToken { server: id, server_name: server.name, token, expires_at })
}
