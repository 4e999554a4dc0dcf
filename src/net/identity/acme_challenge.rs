//! What an ACME authority finds behind a name whose owner is to be proven by TLS alone (RFC 8737).
//!
//! The certificate proves nothing to anybody else: it is self-signed, and its one extension is critical, so that
//! browsers refuse it.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use super::ca::signing;
use super::error::IdentityError;
use super::key::KeyPair;
use super::tls::showing_unjudged;

/// By which an authority says that it comes to look (RFC 8737 §6.2).
pub const ALPN: &[u8] = b"acme-tls/1";

/// Returns the side that the authority finds: `digest` is SHA-256 of the key authorization (RFC 8737 §3).
pub fn server_config(host: &str, digest: &[u8]) -> Result<Arc<ServerConfig>, IdentityError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(signing)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(key.signer()).map_err(signing)?;
    let key = PrivateKeyDer::Pkcs8(key.to_pkcs8().to_vec().into());
    // Its extension is critical and known to nobody but the authority: rustls itself would refuse it.
    showing_unjudged(certificate.der().clone(), &key, ALPN).map(Arc::new)
}
