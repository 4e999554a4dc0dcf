//! The name in a leaf: `spiffe://<trust domain>/gateway` or `spiffe://<trust domain>/server/<id>`.

use adit_core::config::TrustDomain;
use adit_core::domain::id::ServerId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerName {
    Gateway,
    Server(ServerId),
}

impl PeerName {
    #[must_use]
    pub fn to_uri(self, trust_domain: &TrustDomain) -> String {
        match self {
            Self::Gateway => format!("spiffe://{trust_domain}/gateway"),
            Self::Server(server) => format!("spiffe://{trust_domain}/server/{server}"),
        }
    }

    /// Reads a name: only the one spelling that [`Self::to_uri`] gives is a name.
    #[must_use]
    pub fn from_uri(uri: &str, trust_domain: &TrustDomain) -> Option<Self> {
        let path = uri.strip_prefix("spiffe://")?.strip_prefix(trust_domain.as_str())?;
        let name = match path.strip_prefix("/server/") {
            Some(id) => Self::Server(id.parse().ok()?),
            None => Self::Gateway,
        };
        (name.to_uri(trust_domain) == uri).then_some(name)
    }
}

impl std::fmt::Display for PeerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gateway => f.write_str("the gateway"),
            Self::Server(server) => write!(f, "server {server}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> TrustDomain {
        "example.org".parse().unwrap()
    }

    #[test]
    fn a_name_reads_back_from_its_uri() {
        for name in [PeerName::Gateway, PeerName::Server(ServerId::from_random([7; 16]))] {
            assert_eq!(PeerName::from_uri(&name.to_uri(&domain()), &domain()), Some(name));
        }
    }

    #[test]
    fn a_uri_that_is_almost_a_name_is_none() {
        let id = ServerId::from_random([0xab; 16]).to_string();
        for uri in [
            "spiffe://example.org/gateway/".to_owned(),
            "spiffe://example.org/Gateway".to_owned(),
            "spiffe://example.org".to_owned(),
            "spiffe://example.org/server/".to_owned(),
            "spiffe://example.org.evil/gateway".to_owned(),
            "spiffe://evil/gateway".to_owned(),
            "https://example.org/gateway".to_owned(),
            format!("spiffe://example.org/server/{}", id.to_uppercase()),
            format!("spiffe://example.org/server/{}", id.replace('-', "")),
            format!("spiffe://example.org/server/{{{id}}}"),
            format!("spiffe://example.org/server/{id}/x"),
            format!("spiffe://example.org/server/{id}?x"),
            format!("spiffe://example.org//server/{id}"),
            format!("SPIFFE://example.org/server/{id}"),
        ] {
            assert_eq!(PeerName::from_uri(&uri, &domain()), None, "{uri} was accepted");
        }
    }
}
