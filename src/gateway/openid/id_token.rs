//! Whether an ID token is good (`OpenID` Connect Core 1.0 §3.1.3.7): signed by a key of the provider, by an
//! algorithm that is taken, for this client, in answer to this sign-in, and now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openidconnect::core::{
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AccessToken, AccessTokenHash, AdditionalClaims, ClaimsVerificationError, ClientId, IdToken,
    IdTokenClaims, IdTokenVerifier, Nonce, SignatureVerificationError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use adit_core::domain::digest::sha256;
use adit_core::domain::limits::{PROVIDER_CLOCK_SKEW, SIGN_IN_FLOW_LIFE};
use adit_core::domain::time::Timestamp;

use super::known::Known;

/// Signatures by the provider's own keys. Never `none`, and no MAC: its key would be known to two, or be a
/// public one.
pub(super) const TAKEN: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// The claims that `OpenID` Connect does not name itself, the one for roles among them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    #[serde(flatten)]
    pub(super) all: Map<String, Value>,
}

impl AdditionalClaims for Claims {}

pub(super) type Token =
    IdToken<Claims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
pub(super) type TokenClaims = IdTokenClaims<Claims, CoreGenderClaim>;

/// What a token must be an answer to.
pub(super) struct Wanted<'a> {
    pub(super) client_id: &'a ClientId,
    pub(super) nonce_hash: &'a [u8; 32],
    pub(super) access_token: &'a AccessToken,
    pub(super) now: Timestamp,
}

/// Why a token is not good.
pub(super) enum Fault {
    /// No known key fits; the provider may have taken a new one into use.
    Key(&'static str),
    Other(String),
}

/// Returns the claims of a good token.
pub(super) fn verified<'t>(
    token: &'t Token,
    known: &Known,
    wanted: &Wanted<'_>,
) -> Result<&'t TokenClaims, Fault> {
    let verifier = verifier(known, wanted);
    let nonce_hash = *wanted.nonce_hash;
    let nonce = move |nonce: Option<&Nonce>| {
        let nonce = nonce.ok_or("it answers no sign-in")?;
        let is_ours = bool::from(sha256(nonce.secret().as_bytes()).ct_eq(&nonce_hash));
        if is_ours { Ok(()) } else { Err("it answers another sign-in".to_owned()) }
    };
    let claims = token.claims(&verifier, nonce).map_err(|error| fault(&error))?;
    require_party(claims, wanted).map_err(other)?;
    require_begun(claims, wanted.now).map_err(other)?;
    require_hash(token, claims, &verifier, wanted).map_err(other)?;
    Ok(claims)
}

fn verifier(known: &Known, wanted: &Wanted<'_>) -> IdTokenVerifier<'static, CoreJsonWebKey> {
    let now = at(wanted.now);
    let issuer = known.metadata.issuer().clone();
    IdTokenVerifier::new_public_client(wanted.client_id.clone(), issuer, known.keys.clone())
        .set_allowed_algs(TAKEN)
        .set_time_fn(move || (now - PROVIDER_CLOCK_SKEW).into())
        .set_issue_time_verifier_fn(move |iat| {
            let iat = SystemTime::from(iat);
            if iat > now + PROVIDER_CLOCK_SKEW {
                return Err("it is from the future".into());
            }
            if iat + SIGN_IN_FLOW_LIFE + PROVIDER_CLOCK_SKEW < now {
                return Err("it is too old".into());
            }
            Ok(())
        })
}

/// Requires that it was given to this client (§3.1.3.7, steps 4 and 5), which the library leaves to us.
fn require_party(claims: &TokenClaims, wanted: &Wanted<'_>) -> Result<(), &'static str> {
    match claims.authorized_party() {
        Some(party) if party != wanted.client_id => Err("it was given to another client (`azp`)"),
        _ => Ok(()),
    }
}

/// Requires that its time has come (RFC 7519 §4.1.5), which the library does not look at.
fn require_begun(claims: &TokenClaims, now: Timestamp) -> Result<(), &'static str> {
    let soon = now.saturating_add(PROVIDER_CLOCK_SKEW).as_secs();
    match claims.additional_claims().all.get("nbf").map(Value::as_i64) {
        None => Ok(()),
        Some(Some(from)) if from <= soon => Ok(()),
        Some(_) => Err("its time has not come (`nbf`)"),
    }
}

/// Requires that the access token beside it is the one it speaks of, if it speaks of one (§3.1.3.8).
fn require_hash(
    token: &Token,
    claims: &TokenClaims,
    verifier: &IdTokenVerifier<'static, CoreJsonWebKey>,
    wanted: &Wanted<'_>,
) -> Result<(), &'static str> {
    const OTHER: &str = "it came with another access token (`at_hash`)";
    let Some(expected) = claims.access_token_hash() else { return Ok(()) };
    let algorithm = token.signing_alg().map_err(|_| OTHER)?;
    let key = token.signing_key(verifier).map_err(|_| OTHER)?;
    let found = AccessTokenHash::from_token(wanted.access_token, algorithm, key).map_err(|_| OTHER)?;
    if found == *expected { Ok(()) } else { Err(OTHER) }
}

fn at(now: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now.as_millis().try_into().unwrap_or(0))
}

fn other(what: &'static str) -> Fault {
    Fault::Other(what.into())
}

/// Converts the library's error; of what the token says, nothing is repeated.
fn fault(error: &ClaimsVerificationError) -> Fault {
    let what = match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            return Fault::Key("it is signed by no key of the provider (`kid`)");
        }
        ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::DisallowedAlg(_)
            | SignatureVerificationError::NoSignature
            | SignatureVerificationError::UnsupportedAlg(_),
        ) => {
            "it is not signed by an algorithm that is taken (`alg`); let the provider sign by RS256 or ES256"
        }
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::AmbiguousKeyId(_)) => {
            "it does not say by which of several keys it is signed (`kid`)"
        }
        // Without a `kid`, that is all there is to be seen of a new key.
        ClaimsVerificationError::SignatureVerification(_) => {
            return Fault::Key("its signature is not the provider's");
        }
        ClaimsVerificationError::Expired(_) => {
            "its time is over, or not yet come (`exp`, `iat`); compare the clocks of gateway and provider"
        }
        ClaimsVerificationError::InvalidAudience(_) => {
            "it is for another client (`aud`); compare the client ID with the provider's"
        }
        ClaimsVerificationError::InvalidIssuer(_) => "it is of another issuer (`iss`)",
        ClaimsVerificationError::InvalidNonce(_) => "it is no answer to this sign-in (`nonce`)",
        _ => "it is of a kind that is not taken",
    };
    Fault::Other(what.into())
}
