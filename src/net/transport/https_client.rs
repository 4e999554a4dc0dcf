//! Asks HTTPS servers whose address somebody wrote who is not this host's operator: identity providers; and an ACME
//! authority, whose address the operator wrote.
//!
//! Such a request goes to a public address, or to a place that the operator has named, if the issuer on whose behalf
//! it is made is at such a place itself; the address that was judged is the one that is dialled. No redirect is followed, no proxy is asked, nothing is kept between two
//! requests, and time and size have bounds. What is asked for and what the answer means is the caller's business.

mod reach;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;
use url::Url;

use super::resolve::{first_connected, resolve};
use adit_core::config::HostPort;
use adit_core::domain::limits::{PROVIDER_ANSWER_BYTES_MAX, PROVIDER_TIMEOUT};

use reach::is_public;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    #[error(
        "expected an https URL of a host, without a user's name, such as https://id.example/; found `{url}`"
    )]
    NotHttps { url: String },
    /// Without the address: who wrote the name learns nothing of the network this host is in.
    #[error(
        "{host} is at no public address; the gateway's operator can allow it in `identity_providers` of gateway.toml, for \
         issuers that are named there themselves"
    )]
    NotPublic { host: String },
    #[error(
        "{host} cannot be reached; see that the name is right, that it runs, and that the gateway may get there"
    )]
    Unreachable { host: String, source: io::Error },
    #[error(
        "{host} cannot be spoken to over TLS; if its certificate is by a CA of one's own, the gateway's operator names \
         that in `identity_provider_ca` of gateway.toml"
    )]
    Tls { host: String, source: io::Error },
    #[error("{host} does not answer within {} s; see that it runs, and try again", PROVIDER_TIMEOUT.as_secs())]
    Late { host: String },
    #[error(
        "{host} does not answer in HTTP, or with more than {PROVIDER_ANSWER_BYTES_MAX} bytes; is this the provider's \
         address?"
    )]
    Unreadable { host: String },
}

impl HttpsError {
    /// Returns whether it may answer later, as it is asked now.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        !matches!(self, Self::NotHttps { .. } | Self::NotPublic { .. })
    }
}

/// Why the operator's CAs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("it holds no certificate in PEM")]
    NoCertificate,
    #[error("certificate {number} in it cannot be used as a CA")]
    BadCertificate { number: usize },
    #[error("TLS cannot be set up")]
    Tls,
}

/// A place as it stands in a URL: host and port, of HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    at: HostPort,
    is_plain: bool,
}

#[derive(Clone)]
pub struct HttpsClient {
    tls: Arc<ClientConfig>,
    allowed: Vec<Place>,
    speaks_plainly: bool,
}

impl std::fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpsClient").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl HttpsClient {
    /// Makes a client that trusts the public CAs and those in `own_cas` (PEM), and reaches public addresses.
    pub fn new(own_cas: Option<&[u8]>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = own_cas {
            add_own(&mut roots, pem)?;
        }
        let tls = client_config(roots).map_err(|_| TrustError::Tls)?;
        Ok(Self { tls: Arc::new(tls), allowed: Vec::new(), speaks_plainly: false })
    }

    /// Lets the hosts of these URLs be at any address.
    #[must_use]
    pub fn allowing<'u>(mut self, urls: impl IntoIterator<Item = &'u str>) -> Self {
        self.allowed.extend(urls.into_iter().filter_map(|url| place_of(url).ok()));
        self
    }

    /// Returns it as it asks on behalf of an issuer. Only an issuer at a named place leads to named places: what another
    /// calls its endpoints could be any path there.
    #[must_use]
    pub fn on_behalf_of(&self, issuer: &str) -> Self {
        let is_named = place_of(issuer).is_ok_and(|place| self.allowed.contains(&place));
        let allowed = if is_named { self.allowed.clone() } else { Vec::new() };
        Self { tls: Arc::clone(&self.tls), allowed, speaks_plainly: self.speaks_plainly }
    }

    /// Lets it speak to this host itself, and without TLS: for tests with a stand-in.
    #[must_use]
    pub fn plain_on_loopback(self) -> Self {
        Self { speaks_plainly: true, ..self }
    }

    /// Returns whether it is a URL that may be asked, or a browser sent to: HTTPS, and a host.
    #[must_use]
    pub fn is_fit(&self, url: &str) -> bool {
        place_of(url).is_ok_and(|place| !place.is_plain || self.speaks_plainly)
    }

    /// Asks, within the bounds of time and size.
    pub async fn ask(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpsError> {
        let place = place_of(&request.uri().to_string())?;
        if place.is_plain && !self.speaks_plainly {
            return Err(HttpsError::NotHttps { url: request.uri().to_string() });
        }
        let host = place.at.host().to_owned();
        let late = || HttpsError::Late { host: host.clone() };
        let answer = timeout(PROVIDER_TIMEOUT, self.ask_at(&place, request)).await;
        answer.unwrap_or_else(|_| Err(late())).inspect_err(|error| debug!(%error, host, "no answer"))
    }

    async fn ask_at(
        &self,
        place: &Place,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, HttpsError> {
        let host = place.at.host();
        let failed = |source| HttpsError::Unreachable { host: host.to_owned(), source };
        let addresses = self.judged(place, resolve(&place.at).await.map_err(failed)?)?;
        let tcp = first_connected(addresses, TcpStream::connect).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        if place.is_plain {
            return exchange(tcp, place, request).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(io::Error::other(error)))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        let tls = tls.map_err(|source| HttpsError::Tls { host: host.to_owned(), source })?;
        exchange(tls, place, request).await
    }

    /// Returns those addresses that may be dialled for a place.
    fn judged(&self, place: &Place, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, HttpsError> {
        let is_allowed = self.allowed.contains(place);
        let may = |address: &SocketAddr| {
            let is_loopback = address.ip().to_canonical().is_loopback();
            if self.speaks_plainly && is_loopback {
                return true;
            }
            !place.is_plain && (is_allowed || is_public(address.ip()))
        };
        let judged: Vec<_> = addresses.into_iter().filter(may).collect();
        if judged.is_empty() {
            return Err(HttpsError::NotPublic { host: place.at.host().to_owned() });
        }
        Ok(judged)
    }
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn add_own(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TrustError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect();
    if certificates.is_empty() {
        return Err(TrustError::NoCertificate);
    }
    for (certificate, number) in certificates.into_iter().zip(1..) {
        let bad = TrustError::BadCertificate { number };
        let Ok(certificate) = certificate else { return Err(bad) };
        roots.add(certificate).map_err(|_| bad)?;
    }
    Ok(())
}

/// Reads a URL as browsers do, so that no other host is meant by it there than here.
fn place_of(text: &str) -> Result<Place, HttpsError> {
    let bad = || HttpsError::NotHttps { url: text.to_owned() };
    let url = Url::parse(text).map_err(|_| bad())?;
    let is_plain = match url.scheme() {
        "https" => false,
        "http" => true,
        _ => return Err(bad()),
    };
    let has_user = !url.username().is_empty() || url.password().is_some();
    let (Some(host), Some(port), false) = (url.host_str(), url.port_or_known_default(), has_user) else {
        return Err(bad());
    };
    let at = format!("{host}:{port}").parse().map_err(|_| bad())?;
    Ok(Place { at, is_plain })
}

/// Does one request on a connection of its own.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    place: &Place,
    request: Request<Vec<u8>>,
) -> Result<Response<Vec<u8>>, HttpsError> {
    let unreadable = || HttpsError::Unreadable { host: place.at.host().to_owned() };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| unreadable())?;
    // Ends with this exchange, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = in_origin_form(request, place).ok_or_else(unreadable)?;
    let (head, body) = sender.send_request(request).await.map_err(|_| unreadable())?.into_parts();
    let body = Limited::new(body, PROVIDER_ANSWER_BYTES_MAX).collect().await.map_err(|_| unreadable())?;
    Ok(Response::from_parts(head, body.to_bytes().to_vec()))
}

/// Returns a request as it is sent to the server itself (RFC 9112 §3.2.1).
fn in_origin_form(request: Request<Vec<u8>>, place: &Place) -> Option<Request<Full<Bytes>>> {
    let (mut head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    head.uri = target.parse::<Uri>().ok()?;
    let usual = if place.is_plain { 80 } else { 443 };
    let at = place.at.to_string();
    let host = at.strip_suffix(&format!(":{usual}")).unwrap_or(&at);
    head.headers.insert(HOST, HeaderValue::from_str(host).ok()?);
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Some(Request::from_parts(head, Full::new(Bytes::from(body))))
}

#[cfg(test)]
mod tests;
