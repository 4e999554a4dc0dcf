//! What a provider says of itself (`OpenID` Connect Discovery 1.0) and the keys it signs with, read and kept.

use std::pin::Pin;
use std::sync::Arc;

use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode,
    CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, AsyncHttpClient, DiscoveryError, HttpRequest, HttpResponse, IssuerUrl,
    ProviderMetadata,
};
use serde::{Deserialize, Serialize};
use tracing::debug;

use adit_core::domain::limits::{
    PROVIDER_KEYS_EVERY, PROVIDER_KNOWN_LIFE, PROVIDERS_KNOWN_MAX, REASON_CHARS_MAX,
};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::one_line;
use adit_net::transport::https_client::{HttpsClient, HttpsError};

use super::id_token::TAKEN;
use super::{OpenId, OpenIdError};

pub(super) type Metadata = ProviderMetadata<
    Further,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What other standards add to a configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Further {
    /// RFC 9207: it always says in its answer who it is.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    /// RFC 7636, RFC 8414. Absent says nothing: Entra has PKCE and does not say so.
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
}

impl AdditionalProviderMetadata for Further {}

/// A provider, as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(super) metadata: Metadata,
    pub(super) keys: CoreJsonWebKeySet,
    read_at: Timestamp,
    keys_read_at: Timestamp,
}

impl Known {
    /// Returns whether its answers without `iss` are not its own (RFC 9207 §2.4).
    pub(crate) fn always_says_who_it_is(&self) -> bool {
        self.metadata.additional_metadata().authorization_response_iss_parameter_supported
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.read_at.saturating_add(PROVIDER_KNOWN_LIFE)
    }
}

impl OpenId {
    /// Returns what is known of a provider, reading it if that is too long ago.
    pub(crate) async fn known(&self, issuer: &str, now: Timestamp) -> Result<Arc<Known>, OpenIdError> {
        if let Some(known) = self.fresh(issuer, now) {
            return Ok(known);
        }
        let _turn = self.turns.to_read(issuer).await?;
        match self.fresh(issuer, now) {
            Some(known) => Ok(known),
            None => self.read(issuer, now).await,
        }
    }

    fn fresh(&self, issuer: &str, now: Timestamp) -> Option<Arc<Known>> {
        self.known.lock().get(issuer).filter(|known| known.is_fresh(now)).cloned()
    }

    /// Reads a provider, and keeps what it says if it is fit for sign-ins.
    pub(crate) async fn read(&self, issuer: &str, now: Timestamp) -> Result<Arc<Known>, OpenIdError> {
        let url = IssuerUrl::new(issuer.to_owned())
            .map_err(|_| HttpsError::NotHttps { url: one_line(issuer, REASON_CHARS_MAX) })?;
        let _turn = self.turns.to_ask(issuer).await?;
        let read = Metadata::discover_async(url, &self.asking(issuer)).await;
        let metadata = read.map_err(|error| not_read(issuer, error))?;
        self.require_fit(&metadata)?;
        let keys = metadata.jwks().clone();
        debug!(issuer, keys = keys.keys().len(), "an identity provider was read");
        Ok(self.keep(issuer, Known { metadata, keys, read_at: now, keys_read_at: now }))
    }

    /// Reads the keys anew because of one that is not known, unless that was done a moment ago.
    pub(super) async fn keys_again(
        &self,
        issuer: &str,
        known: &Known,
        now: Timestamp,
    ) -> Result<Option<Arc<Known>>, OpenIdError> {
        let _turn = self.turns.to_read(issuer).await?;
        // Another sign-in may have read them meanwhile.
        let newest = self.known.lock().get(issuer).cloned();
        if let Some(newest) = newest.filter(|newest| newest.keys_read_at > known.keys_read_at) {
            return Ok(Some(newest));
        }
        if now < known.keys_read_at.saturating_add(PROVIDER_KEYS_EVERY) {
            debug!(issuer, "a key is not known, and the keys were read a moment ago");
            return Ok(None);
        }
        let _place = self.turns.to_ask(issuer).await?;
        let read = CoreJsonWebKeySet::fetch_async(known.metadata.jwks_uri(), &self.asking(issuer)).await;
        let keys = read.map_err(|error| not_read(issuer, error))?;
        debug!(issuer, keys = keys.keys().len(), "an identity provider's keys were read anew");
        Ok(Some(self.keep(issuer, Known { keys, keys_read_at: now, ..known.clone() })))
    }

    fn keep(&self, issuer: &str, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        let mut all = self.known.lock();
        all.insert(issuer.to_owned(), Arc::clone(&known));
        if all.len() > PROVIDERS_KNOWN_MAX
            && let Some(oldest) =
                all.iter().min_by_key(|(_, known)| known.read_at).map(|(issuer, _)| issuer.clone())
        {
            all.remove(&oldest);
        }
        known
    }

    fn require_fit(&self, metadata: &Metadata) -> Result<(), OpenIdError> {
        let token_endpoint = metadata.token_endpoint();
        let token_endpoint = token_endpoint.ok_or(OpenIdError::Missing { missing: "token_endpoint" })?;
        if !self.http.is_fit(token_endpoint.as_str()) {
            return Err(OpenIdError::Endpoint { which: "token_endpoint" });
        }
        if !self.http.is_fit(metadata.authorization_endpoint().as_str()) {
            return Err(OpenIdError::Endpoint { which: "authorization_endpoint" });
        }
        let offers_code =
            metadata.response_types_supported().iter().any(|types| **types == [CoreResponseType::Code]);
        if !offers_code {
            return Err(OpenIdError::Missing { missing: "response_types_supported: code" });
        }
        let offered = metadata.id_token_signing_alg_values_supported();
        if !offered.iter().any(|algorithm| TAKEN.contains(algorithm)) {
            let taken = TAKEN.iter().filter_map(|taken| serde_json::to_value(taken).ok());
            let taken = taken.filter_map(|it| it.as_str().map(str::to_owned)).collect::<Vec<_>>().join(", ");
            return Err(OpenIdError::Algorithms { taken });
        }
        let methods = &metadata.additional_metadata().code_challenge_methods_supported;
        match methods {
            Some(methods) if !methods.iter().any(|method| method == "S256") => Err(OpenIdError::NoPkce),
            _ => Ok(()),
        }
    }
}

/// Our HTTP, as the library asks for it.
#[derive(Debug)]
pub(super) struct Asking(pub(super) HttpsClient);

impl<'c> AsyncHttpClient<'c> for Asking {
    type Error = HttpsError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpsError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.0.ask(request))
    }
}

fn not_read(issuer: &str, error: DiscoveryError<HttpsError>) -> OpenIdError {
    let issuer = issuer.to_owned();
    match error {
        DiscoveryError::Request(error) => error.into(),
        DiscoveryError::Response(status, ..) if !status.is_success() => {
            OpenIdError::Status { issuer, status: status.as_u16() }
        }
        DiscoveryError::Response(..) => {
            OpenIdError::Configuration { issuer, what: "it is not in JSON".into() }
        }
        DiscoveryError::Validation(_) => OpenIdError::OtherIssuer { issuer },
        DiscoveryError::Parse(error) => {
            OpenIdError::Configuration { issuer, what: one_line(&error.to_string(), REASON_CHARS_MAX) }
        }
        _ => OpenIdError::Configuration { issuer, what: "it cannot be read".into() },
    }
}
