//! `OpenID` Connect Core 1.0, the side of a relying party: what a provider says of itself, where a browser is sent,
//! and what the code that it brings back proves. Providers are read over HTTPS and kept for an hour; no rule of
//! the platform is here, and no account. One that is slow or away keeps nobody waiting but its own users ([`turns`]).

mod client;
mod id_token;
mod known;
#[cfg(test)]
pub(crate) mod stand_in;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use adit_net::transport::https_client::{HttpsClient, HttpsError};

pub(crate) use client::{Credentials, Exchange, Proven};
use known::Asking;
pub(crate) use known::Known;
use turns::Turns;

/// Why a provider is of no use, or proves nothing. No text here repeats what it sent as it was sent.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OpenIdError {
    #[error(transparent)]
    Unreachable(Arc<HttpsError>),
    #[error("too many wait for its answers; try again in a minute")]
    Busy,
    #[error(
        "`{issuer}` answers with status {status} where its configuration should be; is it the issuer's URL?"
    )]
    Status { issuer: String, status: u16 },
    #[error(
        "what `{issuer}` answers is no configuration of an OpenID Connect provider: {what}; is it the issuer's URL?"
    )]
    Configuration { issuer: String, what: String },
    #[error(
        "it calls itself another issuer than `{issuer}`; write the issuer exactly as it stands in its configuration"
    )]
    OtherIssuer { issuer: String },
    #[error(
        "its configuration lacks `{missing}`, without which nobody signs in; expected a provider of the code flow"
    )]
    Missing { missing: &'static str },
    #[error(
        "its configuration offers none of the algorithms that are taken for ID tokens; let it sign by one of {taken}"
    )]
    Algorithms { taken: String },
    #[error("its configuration does not offer PKCE with S256; its administrators can switch that on")]
    NoPkce,
    #[error("its `{which}` is no https address; its administrators can correct that in its configuration")]
    Endpoint { which: &'static str },
    #[error(
        "the provider does not take the code: {what}; compare client ID, client secret and redirect URI with those that \
         the provider has"
    )]
    Code { what: String },
    #[error("the provider's ID token is not good: {what}")]
    Token { what: String },
}

impl OpenIdError {
    /// Returns whether the provider is away rather than wrong.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Unreachable(error) => error.is_away(),
            Self::Busy => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

impl From<HttpsError> for OpenIdError {
    fn from(error: HttpsError) -> Self {
        Self::Unreachable(Arc::new(error))
    }
}

/// All providers of a gateway, as it speaks to them.
#[derive(Debug)]
pub(crate) struct OpenId {
    http: HttpsClient,
    known: Mutex<BTreeMap<String, Arc<Known>>>,
    turns: Turns,
}

impl OpenId {
    pub(crate) fn new(http: HttpsClient) -> Self {
        Self { http, known: Mutex::default(), turns: Turns::default() }
    }

    /// Returns by what an issuer's endpoints are asked.
    fn asking(&self, issuer: &str) -> Asking {
        Asking(self.http.on_behalf_of(issuer))
    }
}
