//! The code flow with PKCE (`OpenID` Connect Core 1.0 §3.1, RFC 7636): where the browser is sent, and what its
//! code is changed for.

use std::fmt;
use std::sync::Arc;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AuthType, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, StandardErrorResponse,
    StandardTokenResponse, TokenResponse,
};
use serde_json::{Map, Value};

use adit_core::domain::limits::REASON_CHARS_MAX;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::one_line;
use adit_net::transport::https_client::HttpsError;

use super::id_token::{self, Claims, Fault, TokenClaims, Wanted};
use super::known::Known;
use super::{OpenId, OpenIdError};

type Answer = StandardTokenResponse<
    IdTokenFields<
        Claims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;
type Refusal = StandardErrorResponse<CoreErrorResponseType>;
type Party = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    Refusal,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// As whom the gateway comes to a provider.
pub(crate) struct Credentials<'a> {
    pub(crate) client_id: &'a str,
    /// None of a public client.
    pub(crate) client_secret: Option<&'a str>,
    /// Where browsers come back to.
    pub(crate) redirect: &'a str,
}

/// What a browser has brought back, and what was kept for it.
pub(crate) struct Exchange<'a> {
    pub(crate) code: &'a str,
    pub(crate) verifier: &'a str,
    pub(crate) nonce_hash: &'a [u8; 32],
}

/// Whom a provider has signed in.
#[derive(Clone)]
pub(crate) struct Proven {
    pub(crate) subject: String,
    pub(crate) email: Option<String>,
    /// What the provider says of that, if anything.
    pub(crate) email_verified: Option<bool>,
    pub(crate) preferred_username: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) claims: Map<String, Value>,
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proven").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl OpenId {
    /// Returns where to send a browser for it to sign in.
    pub(crate) fn authorization_url(
        known: &Known,
        credentials: &Credentials<'_>,
        state: String,
        nonce: String,
        verifier: &str,
    ) -> Result<String, OpenIdError> {
        let party = party(known, credentials)?;
        let verifier = PkceCodeVerifier::new(verifier.to_owned());
        let (url, ..) = party
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scope(Scope::new("profile".into()))
            .add_scope(Scope::new("email".into()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url.into())
    }

    /// Changes a code for an ID token, and returns whom that proves.
    pub(crate) async fn exchange(
        &self,
        issuer: &str,
        known: &Arc<Known>,
        credentials: &Credentials<'_>,
        exchange: &Exchange<'_>,
        now: Timestamp,
    ) -> Result<Proven, OpenIdError> {
        let party = party(known, credentials)?;
        let place = self.turns.to_ask(issuer).await?;
        let request = party
            .exchange_code(AuthorizationCode::new(exchange.code.to_owned()))
            .map_err(|_| OpenIdError::Missing { missing: "token_endpoint" })?
            .set_pkce_verifier(PkceCodeVerifier::new(exchange.verifier.to_owned()));
        let answer = request.request_async(&self.asking(issuer)).await.map_err(not_taken)?;
        drop(place);
        let client_id = ClientId::new(credentials.client_id.to_owned());
        let wanted = Wanted {
            client_id: &client_id,
            nonce_hash: exchange.nonce_hash,
            access_token: answer.access_token(),
            now,
        };
        self.judge(issuer, known, &answer, &wanted).await
    }

    async fn judge(
        &self,
        issuer: &str,
        known: &Known,
        answer: &Answer,
        wanted: &Wanted<'_>,
    ) -> Result<Proven, OpenIdError> {
        let not_good = |what: String| OpenIdError::Token { what };
        let token = answer.id_token().ok_or_else(|| not_good("it sent none".into()))?;
        let what = match id_token::verified(token, known, wanted) {
            Ok(claims) => return Ok(proven(claims)),
            Err(Fault::Other(what)) => return Err(not_good(what)),
            Err(Fault::Key(what)) => what,
        };
        let newer = self.keys_again(issuer, known, wanted.now).await?;
        let newer = newer.ok_or_else(|| {
            not_good(format!("{what}, and its keys were read a moment ago; begin anew in a minute"))
        })?;
        match id_token::verified(token, &newer, wanted) {
            Ok(claims) => Ok(proven(claims)),
            Err(Fault::Other(what)) => Err(not_good(what)),
            Err(Fault::Key(what)) => Err(not_good(what.into())),
        }
    }
}

fn party(known: &Known, credentials: &Credentials<'_>) -> Result<Party, OpenIdError> {
    let redirect = RedirectUrl::new(credentials.redirect.to_owned())
        .map_err(|_| OpenIdError::Endpoint { which: "redirect_uri" })?;
    let id = ClientId::new(credentials.client_id.to_owned());
    let secret = credentials.client_secret.map(|secret| ClientSecret::new(secret.to_owned()));
    let party = Party::from_provider_metadata(known.metadata.clone(), id, secret);
    Ok(party.set_redirect_uri(redirect).set_auth_type(auth_type(known)))
}

/// Returns how the client shows its secret: by the header unless the provider takes only the body.
fn auth_type(known: &Known) -> AuthType {
    // Absent means the header (Discovery §3).
    let takes = known.metadata.token_endpoint_auth_methods_supported();
    let takes_header = takes.is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
    if takes_header { AuthType::BasicAuth } else { AuthType::RequestBody }
}

fn not_taken(error: RequestTokenError<HttpsError, Refusal>) -> OpenIdError {
    let what = match error {
        RequestTokenError::Request(error) => return error.into(),
        RequestTokenError::ServerResponse(refusal) => one_line(refusal.error().as_ref(), REASON_CHARS_MAX),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => "its answer cannot be read".into(),
    };
    OpenIdError::Code { what }
}

fn proven(claims: &TokenClaims) -> Proven {
    let name = claims.name().and_then(|names| names.get(None).or_else(|| names.iter().next().map(|it| it.1)));
    Proven {
        subject: claims.subject().to_string(),
        email: claims.email().map(|email| email.to_string()),
        email_verified: claims.email_verified(),
        preferred_username: claims.preferred_username().map(|it| it.to_string()),
        name: name.map(|name| name.to_string()),
        claims: claims.additional_claims().all.clone(),
    }
}
