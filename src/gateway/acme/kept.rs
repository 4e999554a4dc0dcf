//! What is kept of an ACME authority in the gateway's state folder: the account with its key, the certificate with its
//! key, and what became of orders.

use serde::{Deserialize, Serialize};
use tracing::warn;
use zeroize::{Zeroize, Zeroizing};

use adit_core::domain::visible::error_chain;
use adit_net::host::folder::{Folder, FolderError};
use adit_net::identity::error::IdentityError;
use adit_net::identity::jws::AccountKey;
use adit_net::identity::web::{WebCertificate, WebCertificateError};

use super::schedule::Orders;

const ACCOUNT: &str = "acme-account.json";
const ORDERS: &str = "acme-orders.json";
/// The key first, then the certificate and those that lead to its CA: one file, so that they always fit together.
const CERTIFICATE: &str = "acme-certificate.pem";
pub(crate) const FILES: [&str; 3] = [ACCOUNT, ORDERS, CERTIFICATE];

#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("what is kept of the authority cannot be written down; this is a bug")]
    Unwritable { source: serde_json::Error },
}

/// An account at the authority whose directory is named.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount {
    directory: String,
    /// As the authority was told last.
    contact: Option<String>,
    #[serde(with = "hex")]
    key: Vec<u8>,
}

impl KeptAccount {
    pub(super) fn new(directory: &str, contact: Option<String>, key: &AccountKey) -> Self {
        Self { directory: directory.into(), contact, key: key.to_pkcs8().to_vec() }
    }

    pub(super) fn key(&self) -> Result<AccountKey, IdentityError> {
        AccountKey::from_pkcs8_der(&self.key)
    }

    pub(super) const fn contact(&self) -> Option<&String> {
        self.contact.as_ref()
    }
}

impl Drop for KeptAccount {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: Folder,
}

impl Kept {
    pub(super) const fn new(folder: Folder) -> Self {
        Self { folder }
    }

    /// Returns the account at the authority, if there is one.
    pub(super) fn account(&self, directory: &str) -> Result<Option<KeptAccount>, KeptError> {
        let account: Option<KeptAccount> = self.read(ACCOUNT)?;
        Ok(account.filter(|account| account.directory == directory))
    }

    pub(super) fn write_account(&self, account: &KeptAccount) -> Result<(), KeptError> {
        self.write(ACCOUNT, account)
    }

    /// Returns what became of orders for a name; nothing became of those for another.
    pub(super) fn orders(&self, directory: &str, name: &str) -> Result<Orders, KeptError> {
        let orders: Option<Orders> = self.read(ORDERS)?;
        let is_of_it = |orders: &Orders| orders.directory == directory && orders.name == name;
        Ok(orders.filter(is_of_it).unwrap_or_else(|| Orders::none(directory, name)))
    }

    pub(super) fn write_orders(&self, orders: &Orders) -> Result<(), KeptError> {
        self.write(ORDERS, orders)
    }

    /// Returns the certificate for a name, if there is one.
    pub(super) fn certificate(&self, name: &str) -> Result<Option<WebCertificate>, KeptError> {
        let Some(pem) = self.folder.read(CERTIFICATE)? else { return Ok(None) };
        match WebCertificate::from_pem(&pem, &pem, name) {
            Ok(certificate) => Ok(Some(certificate)),
            Err(WebCertificateError::Name { .. }) => Ok(None),
            Err(error) => {
                warn!(why = error_chain(&error), file = CERTIFICATE, "a certificate of no use is not shown");
                Ok(None)
            }
        }
    }

    pub(super) fn write_certificate(&self, pem: &str) -> Result<(), KeptError> {
        Ok(self.folder.write(CERTIFICATE, pem.as_bytes())?)
    }

    /// Reads a file; one that is damaged is as good as none.
    fn read<T: for<'de> Deserialize<'de>>(&self, file: &'static str) -> Result<Option<T>, KeptError> {
        let Some(text) = self.folder.read(file)? else { return Ok(None) };
        let read = serde_json::from_slice(&text).inspect_err(|error| {
            // Not the error's own text: it may quote a key.
            warn!(line = error.line(), file, "a damaged state file is not used; it will be written anew");
        });
        Ok(read.ok())
    }

    fn write<T: Serialize>(&self, file: &str, what: &T) -> Result<(), KeptError> {
        let text = serde_json::to_vec_pretty(what).map(Zeroizing::new);
        let text = text.map_err(|source| KeptError::Unwritable { source })?;
        Ok(self.folder.write(file, &text)?)
    }
}
