//! How the gateway reaches identity providers, by its file: whom it trusts, and who may be at an address that is
//! not public.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use adit_core::config::gateway::IdentityProviders;
use adit_core::domain::limits::CONFIG_BYTES_MAX;
use adit_net::transport::https_client::{HttpsClient, TrustError};

#[derive(Debug, thiserror::Error)]
pub enum ProviderCaError {
    #[error("cannot read `{path}`; point `identity_provider_ca` at a PEM file this user may read")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` cannot be used; let `identity_provider_ca` name CAs in PEM, or leave it out")]
    Unfit { path: PathBuf, source: TrustError },
    #[error("identity providers cannot be spoken to")]
    Tls { source: TrustError },
}

/// Returns the client that asks identity providers.
pub(crate) fn client(config: &IdentityProviders) -> Result<HttpsClient, ProviderCaError> {
    let client = match &config.ca {
        None => HttpsClient::new(None).map_err(|source| ProviderCaError::Tls { source })?,
        Some(path) => {
            let pem = read(path).map_err(|source| ProviderCaError::Read { path: path.clone(), source })?;
            HttpsClient::new(Some(&pem))
                .map_err(|source| ProviderCaError::Unfit { path: path.clone(), source })?
        }
    };
    Ok(client.allowing(config.listed.iter().map(String::as_str)))
}

/// Checks that the client could be made.
pub fn check(config: &IdentityProviders) -> Result<(), ProviderCaError> {
    client(config).map(drop)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    File::open(path)?.take(CONFIG_BYTES_MAX).read_to_end(&mut pem)?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_no_ca_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let config = IdentityProviders { ca: Some(path.clone()), ..IdentityProviders::default() };
        assert!(matches!(client(&config), Err(ProviderCaError::Read { .. })));
        std::fs::write(&path, "nothing").unwrap();
        let said = client(&config).unwrap_err().to_string();
        assert!(said.contains("ca.pem") && said.contains("identity_provider_ca"), "{said}");
    }
}
