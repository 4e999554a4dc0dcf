//! The gateway's CA, made at the first start and kept in the state folder, and the leaf it presents.
//!
//! On disk: the CA's key (`ca.p8`) and what belongs to it (`authority.json`), nothing else. The
//! gateway's own key lives in memory only: agents know the CA's key and ask for no other, so every
//! start makes a new one.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use tracing::debug;

use adit_core::config::TrustDomain;
use adit_core::domain::id::{RouteId, ServerId};
use adit_core::domain::time::Timestamp;
use adit_net::host::folder::{Folder, FolderError};
use adit_net::identity::ca::CertificateAuthority;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::error::IdentityError;
use adit_net::identity::key::KeyPair;
use adit_net::identity::random;
use adit_net::identity::tls::{Identity, Trust};

pub(super) const CA_KEY: &str = "ca.p8";
pub(super) const TURN: &str = "authority";
/// What there is once there is a CA.
pub const AUTHORITY: &str = "authority.json";

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(
        "`{path}` is missing beside `{AUTHORITY}`; restore both from one backup, because without it no \
         enrolled agent can be renewed"
    )]
    NoKey { path: PathBuf },
    #[error("`{path}` is damaged; restore it and `{CA_KEY}` from one backup")]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("the CA in `{path}` cannot be used; restore the folder from one backup")]
    Identity { path: PathBuf, source: IdentityError },
    #[error(
        "the state in `{path}` belongs to the trust domain `{kept}`, the configuration says \
         `{configured}`; write `trust_domain = \"{kept}\"`, or start with an empty state"
    )]
    TrustDomain { path: PathBuf, kept: TrustDomain, configured: TrustDomain },
    #[error("cannot sign a certificate")]
    Signing { source: IdentityError },
}

#[derive(Serialize, Deserialize)]
struct Written {
    trust_domain: TrustDomain,
    /// The gateway's own route.
    route: RouteId,
    #[serde(with = "hex")]
    ca: Vec<u8>,
}

#[derive(Debug)]
pub struct Authority {
    ca: CertificateAuthority,
    route: RouteId,
    identity: ArcSwap<Identity>,
}

impl Authority {
    /// Reads the CA, or makes it when the folder has none. The gateway and `adit admin` may both
    /// come first; one makes it and the other finds it.
    pub fn open(folder: &Folder, trust_domain: &TrustDomain, now: Timestamp) -> Result<Self, AuthorityError> {
        let _turn = folder.turn(TURN)?;
        let failed = |source| AuthorityError::Identity { path: folder.path().into(), source };
        let (ca, route) = match folder.read(AUTHORITY)? {
            Some(written) => read(folder, &written, trust_domain)?,
            None => create(folder, trust_domain, now)?,
        };
        debug!(%trust_domain, ca_key = %ca.trust().ca_key(), %route, "the CA is open");
        let key = Arc::new(KeyPair::generate().map_err(failed)?);
        let identity = sign_gateway(&ca, key, now)?;
        Ok(Self { ca, route, identity: ArcSwap::from_pointee(identity) })
    }

    #[must_use]
    pub const fn trust(&self) -> &Trust {
        self.ca.trust()
    }

    #[must_use]
    pub const fn route(&self) -> RouteId {
        self.route
    }

    /// Lets a gateway that was restarted tell agents that their links are dead: only who held this
    /// key can have made the links' reset tokens (RFC 9000 §10.3).
    #[must_use]
    pub fn reset_key(&self) -> [u8; 32] {
        self.ca.key().derive(b"stateless reset")
    }

    /// Returns what the gateway presents now.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.identity.load_full()
    }

    /// Signs a fresh leaf for the gateway over the same key.
    pub fn renew(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let key = Arc::clone(self.identity.load().key());
        self.identity.store(Arc::new(sign_gateway(&self.ca, key, now)?));
        Ok(())
    }

    /// Makes a leaf that names `host` to people, and its key.
    pub fn for_people(&self, host: &str, now: Timestamp) -> Result<PeopleLeaf, AuthorityError> {
        let signing = |source| AuthorityError::Signing { source };
        let key = KeyPair::generate().map_err(signing)?;
        let leaf_der = self.ca.sign_for_people(&key, host, now).map_err(signing)?;
        Ok(PeopleLeaf { leaf_der, key })
    }

    /// Signs the leaf in DER of a server that may have one.
    pub fn sign_server(
        &self,
        csr: &VerifiedCsr,
        server: ServerId,
        now: Timestamp,
    ) -> Result<Vec<u8>, AuthorityError> {
        debug!(%server, key = %csr.fingerprint(), "a leaf is signed");
        self.ca.sign_server(csr, server, now).map_err(|source| AuthorityError::Signing { source })
    }
}

/// What the gateway shows to people who know its CA.
#[derive(Debug)]
pub struct PeopleLeaf {
    pub leaf_der: Vec<u8>,
    pub key: KeyPair,
}

fn sign_gateway(
    ca: &CertificateAuthority,
    key: Arc<KeyPair>,
    now: Timestamp,
) -> Result<Identity, AuthorityError> {
    ca.sign_gateway(&key, now)
        .and_then(|leaf| Identity::new(&leaf, key))
        .map_err(|source| AuthorityError::Signing { source })
}

fn read(
    folder: &Folder,
    written: &[u8],
    configured: &TrustDomain,
) -> Result<(CertificateAuthority, RouteId), AuthorityError> {
    let path = folder.path().join(AUTHORITY);
    let failed = |source| AuthorityError::Identity { path: folder.path().into(), source };
    let written: Written = serde_json::from_slice(written)
        .map_err(|source| AuthorityError::Damaged { path: path.clone(), source })?;
    if written.trust_domain != *configured {
        let (kept, configured) = (written.trust_domain, configured.clone());
        return Err(AuthorityError::TrustDomain { path, kept, configured });
    }
    let key =
        folder.read(CA_KEY)?.ok_or_else(|| AuthorityError::NoKey { path: folder.path().join(CA_KEY) })?;
    let key = KeyPair::from_pkcs8_der(&key).map_err(failed)?;
    let ca = CertificateAuthority::from_parts(&written.ca, key, written.trust_domain).map_err(failed)?;
    Ok((ca, written.route))
}

/// Creates an authority, the key first: only `authority.json` makes it count, so a crash in between leaves
/// nothing behind that anybody relies on.
fn create(
    folder: &Folder,
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> Result<(CertificateAuthority, RouteId), AuthorityError> {
    let path = folder.path().join(AUTHORITY);
    debug!(path = %path.display(), "there is no CA yet; one is made");
    let ca = CertificateAuthority::create(trust_domain.clone(), now)
        .map_err(|source| AuthorityError::Signing { source })?;
    let written = Written {
        trust_domain: trust_domain.clone(),
        route: RouteId::from_bytes(random::bytes()),
        ca: ca.certificate_der().to_vec(),
    };
    let text =
        serde_json::to_vec_pretty(&written).map_err(|source| AuthorityError::Damaged { path, source })?;
    folder.write(CA_KEY, &ca.key().to_pkcs8())?;
    folder.write(AUTHORITY, &text)?;
    Ok((ca, written.route))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

    fn folder() -> (tempfile::TempDir, Folder) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("state")).unwrap();
        (parent, folder)
    }

    fn open(folder: &Folder) -> Result<Authority, AuthorityError> {
        Authority::open(folder, &"example.org".parse().unwrap(), NOW)
    }

    #[test]
    fn an_authority_is_made_only_once_for_its_folder() {
        let (_parent, first_folder) = folder();
        let first = open(&first_folder).unwrap();
        let again = open(&first_folder).unwrap();
        assert_eq!(again.trust().ca_key(), first.trust().ca_key());
        assert_eq!(again.route(), first.route());
        assert_eq!(again.reset_key(), first.reset_key());
        let (_parent, other) = folder();
        assert_ne!(open(&other).unwrap().reset_key(), first.reset_key());
    }

    #[test]
    fn a_start_that_was_cut_short_leaves_no_half_a_ca() {
        let (_parent, folder) = folder();
        folder.write(CA_KEY, &KeyPair::generate().unwrap().to_pkcs8()).unwrap();
        let made = open(&folder).unwrap();
        assert_eq!(open(&folder).unwrap().trust().ca_key(), made.trust().ca_key());
    }

    #[test]
    fn a_state_that_does_not_fit_together_is_refused() {
        let (_parent, folder) = folder();
        open(&folder).unwrap();
        let other = Authority::open(&folder, &"example.com".parse().unwrap(), NOW).unwrap_err();
        assert!(other.to_string().contains("write `trust_domain = \"example.org\"`"), "{other}");

        folder.write(CA_KEY, &KeyPair::generate().unwrap().to_pkcs8()).unwrap();
        let swapped = open(&folder).unwrap_err();
        assert!(matches!(swapped, AuthorityError::Identity { source: IdentityError::KeyMismatch, .. }));

        std::fs::remove_file(folder.path().join(CA_KEY)).unwrap();
        assert!(matches!(open(&folder), Err(AuthorityError::NoKey { .. })));

        folder.write(AUTHORITY, b"{").unwrap();
        assert!(matches!(open(&folder), Err(AuthorityError::Damaged { .. })));
    }

    #[test]
    fn a_renewed_leaf_keeps_the_key() {
        let (_parent, folder) = folder();
        let authority = open(&folder).unwrap();
        let before = authority.identity();
        authority.renew(NOW.saturating_add(std::time::Duration::from_hours(24))).unwrap();
        assert_ne!(authority.identity().leaf_der(), before.leaf_der());
        assert_eq!(authority.identity().key().fingerprint(), before.key().fingerprint());
    }
}
