//! `OpenID` Connect Core 1.0, the side of a relying party: what a provider says of itself, where a browser is sent,
//! and what the code that it brings back proves. Providers are read over HTTPS and kept for an hour; no rule of
//! the platform is here, and no account.

mod client;
mod id_token;
mod known;
#[cfg(test)]
pub(crate) mod stand_in;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use adit_net::transport::https_client::{HttpsClient, HttpsError};

pub(crate) use client::{Credentials, Exchange, Proven};
use known::Asking;
pub(crate) use known::Known;

/// Why a provider is of no use, or proves nothing. No text here repeats what it sent as it was sent.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OpenIdError {
    #[error(transparent)]
    Unreachable(Arc<HttpsError>),
    #[error("too many ask it at the same time; try again")]
    Busy,
    #[error(
        "`{issuer}` answers with status {status} where its configuration should be; is it the issuer's URL?"
    )]
    Status { issuer: String, status: u16 },
    #[error("what `{issuer}` answers is no configuration of a provider: {what}")]
    Configuration { issuer: String, what: String },
    #[error(
        "it calls itself another issuer than `{issuer}`; write the issuer exactly as it stands in its configuration"
    )]
    OtherIssuer { issuer: String },
    #[error("its configuration lacks `{missing}`, without which nobody signs in")]
    Missing { missing: &'static str },
    #[error("its configuration offers none of the algorithms that are taken for ID tokens: {taken}")]
    Algorithms { taken: String },
    #[error("its configuration does not offer PKCE with S256")]
    NoPkce,
    #[error("its `authorization_endpoint` is no https address")]
    Endpoint,
    #[error("the provider does not take the code: {what}")]
    Code { what: String },
    #[error("the provider's ID token is not good: {what}")]
    Token { what: String },
}

impl OpenIdError {
    /// Returns whether the provider is away rather than wrong.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy)
            || matches!(self, Self::Status { status, .. } if *status >= 500)
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
    http: Asking,
    known: Mutex<BTreeMap<String, Arc<Known>>>,
    /// How many requests each has before it.
    asked: Mutex<BTreeMap<String, usize>>,
}

impl OpenId {
    pub(crate) fn new(http: HttpsClient) -> Self {
        Self { http: Asking(http), known: Mutex::default(), asked: Mutex::default() }
    }
}
