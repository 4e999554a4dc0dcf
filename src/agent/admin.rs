//! Admin sessions: people on the managing side work on the managed side's Mirth over HTTPS.
//!
//! The managing side's agent ([`listener`]) only takes its own people in and hands their bytes over. The
//! managed side's agent decides, request by request, what passes (`filter`), whatever the other one
//! sends; it writes down what it refused and what it let change ([`sessions`]) before it happens.

pub(crate) mod certificate;
mod discover;
pub mod explain;
mod filter;
mod host_check;
mod known_channels;
mod limiters;
pub(crate) mod listener;
mod logins;
pub(crate) mod managed;
mod origin;
pub(crate) mod parts;
mod refusal_sums;
pub(crate) mod sessions;
mod streams;

use self::origin::{Origin, OriginError};
use adit_core::config::MirthUrl;
use adit_core::domain::id::KeyFingerprint;
use adit_net::identity::error::IdentityError;
use adit_net::transport::tls::MirthTls;

/// Returns the key that a Mirth shows now; nothing is asked of it.
pub async fn shown_key(mirth: &MirthUrl) -> Result<KeyFingerprint, OriginError> {
    let unusable = |source| OriginError::Key { url: mirth.to_string(), source };
    let tls = MirthTls::new(None).map_err(unusable)?;
    match Origin::connect(mirth, &tls).await {
        Err(OriginError::Key { source: IdentityError::UnknownMirthKey { shown }, .. }) => Ok(shown),
        Err(error) => Err(error),
        // No key is trusted, so no handshake ends well.
        Ok(_) => Err(unusable(IdentityError::KeyKind)),
    }
}
