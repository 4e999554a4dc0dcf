//! The managed server's HTTPS end: a certificate such as Mirth has, and every byte that comes through it
//! kept, connection by connection, on its way to Jetty's plain port.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// What came over one connection from the managed agent, decrypted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tapped {
    /// Which of Jetty's connections it became.
    pub port: Option<u16>,
    pub bytes: Vec<u8>,
}

impl Tapped {
    /// Whether these are questions the agent asks for itself: the version and the list of operations, with no
    /// address in them.
    pub(crate) fn is_own_question(&self) -> bool {
        let text = String::from_utf8_lossy(&self.bytes);
        let is_own = |head: &str| {
            ["GET /api/server/version HTTP/1.1\r\n", "GET /api/application.wadl HTTP/1.1\r\n"]
                .iter()
                .any(|line| head.starts_with(line))
                && !head.to_ascii_lowercase().contains("x-forwarded-for")
        };
        text.ends_with("\r\n\r\n") && text.split_terminator("\r\n\r\n").all(is_own)
    }
}

type Shared = Arc<Mutex<Vec<Tapped>>>;

pub(crate) struct Tap {
    pub address: SocketAddr,
    seen: Shared,
    accepting: AbortHandle,
}

impl Tap {
    pub(crate) async fn before(jetty: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (certificate, key) = mirth_certificate();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(certificate, key)));
        let seen = Shared::default();
        let accepting = tokio::spawn(accept(listener, acceptor, jetty, Arc::clone(&seen))).abort_handle();
        Self { address, seen, accepting }
    }

    /// How many connections there have been, also such that never said a byte.
    pub(crate) fn len(&self) -> usize {
        self.seen.lock().len()
    }

    /// All connections so far, in the order they were accepted.
    pub(crate) fn seen(&self) -> Vec<Tapped> {
        self.seen.lock().clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, jetty: SocketAddr, seen: Shared) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Before the handshake, so that the order is that of the callers.
        let index = {
            let mut seen = seen.lock();
            seen.push(Tapped::default());
            seen.len() - 1
        };
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        connections.spawn(async move {
            // A caller that goes away is the filter's business, not the tap's.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let Some(origin) = connect_by_a_new_port(jetty, &seen, index).await else { return };
            let (from_agent, to_agent) = tokio::io::split(stream);
            let (from_origin, to_origin) = origin.into_split();
            let inbound = pass(from_agent, to_origin, |bytes| seen.lock()[index].bytes.extend(bytes));
            let outbound = pass(from_origin, to_agent, |_| ());
            tokio::join!(inbound, outbound);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// What Jetty records is told apart by the port it came from, and the kernel hands one out again.
async fn connect_by_a_new_port(jetty: SocketAddr, seen: &Shared, index: usize) -> Option<TcpStream> {
    let mut used = Vec::new();
    loop {
        let origin = TcpStream::connect(jetty).await.ok()?;
        let port = origin.local_addr().ok()?.port();
        let mut seen = seen.lock();
        if seen.iter().all(|tapped| tapped.port != Some(port)) {
            seen[index].port = Some(port);
            return Some(origin);
        }
        // Held until another was found, so that it is not handed out once more.
        used.push(origin);
    }
}

/// Until either end is gone; the end is passed on.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, keep: impl Fn(&[u8])) {
    let mut block = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut block).await {
        keep(&block[..read]);
        if to.write_all(&block[..read]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

fn server_config(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

/// An RSA leaf named `mirth-connect` and nothing else, of a CA that is not sent with it. Made by rcgen.
fn mirth_certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let rsa = || rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let named = |name: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params
    };
    let mut ca = named("Mirth Connect Certificate Authority");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(ca, rsa());
    let key = rsa();
    let leaf = named("mirth-connect").signed_by(&key, &issuer).unwrap();
    (leaf.der().clone(), PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
}
