//! Stand-in for a gateway's TCP port, or for an appliance before it: TLS with the certificate that it is
//! given, and one answer to the request for a carrier.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use adit_core::domain::time::Timestamp;
use adit_core::protocol::carrier::ALPN;

use super::stand_in_proxy::head;
use crate::identity::ca::CertificateAuthority;
use crate::identity::key::KeyPair;
use crate::identity::outer::{GatewayKey, foreign_certificate};
use crate::transport::carrier::websocket::{WebSocket, accept_key};

const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

#[derive(Debug, Clone, Copy)]
pub(super) enum Answers {
    Carriers,
    /// This, and closes.
    Says(&'static str),
    /// A head that goes on for as long as somebody reads.
    HeadWithoutEnd,
    /// Carriers that are compressed, which nobody has asked for.
    Compresses,
}

pub(super) struct StandInGateway {
    pub(super) at: SocketAddr,
    /// The carriers that were opened, with the SNI that was sent.
    pub(super) carriers: mpsc::Receiver<(WebSocket<TlsStream<TcpStream>>, Option<String>)>,
    _tasks: JoinSet<()>,
}

impl StandInGateway {
    pub(super) async fn start(shown: Arc<CertifiedKey>, answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shows(shown)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (opened, carriers) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(client).await else { continue };
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                let head = head(&mut stream).await;
                match answers {
                    Answers::Says(answer) => {
                        let _ = stream.write_all(answer.as_bytes()).await;
                        let _ = stream.shutdown().await;
                    }
                    Answers::HeadWithoutEnd => {
                        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nX: ").await;
                        while stream.write_all(&[b'x'; 1_000]).await.is_ok() {}
                    }
                    Answers::Carriers | Answers::Compresses => {
                        let extension = match answers {
                            Answers::Compresses => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
                            _ => "",
                        };
                        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
                        let accept = accept_key(key.unwrap_or_default().as_bytes());
                        let answer = format!(
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                             Sec-WebSocket-Accept: {accept}\r\n{extension}\r\n"
                        );
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        let websocket = WebSocket::server(stream, Bytes::new()).await;
                        let _ = opened.send((websocket, name)).await;
                    }
                }
            }
        });
        Self { at, carriers, _tasks: tasks }
    }
}

/// Shows a certificate without asking whether the key is its own.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Returns a gateway's key and what it shows.
pub(super) fn gateways() -> (GatewayKey, Arc<CertifiedKey>) {
    let ca = CertificateAuthority::create("example.org".parse().unwrap(), NOW).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = ca.sign_gateway(&key, NOW).unwrap();
    let known = GatewayKey { ca_key: ca.key_fingerprint(), trust_domain: ca.trust().trust_domain().clone() };
    let chain = vec![CertificateDer::from(leaf), CertificateDer::from(ca.certificate_der().to_vec())];
    (known, certified(chain, &key.to_pkcs8()))
}

/// Returns the same certificates with a key that is not theirs.
pub(super) fn stolen(shown: &CertifiedKey) -> Arc<CertifiedKey> {
    certified(shown.cert.clone(), &KeyPair::generate().unwrap().to_pkcs8())
}

/// Returns what an appliance shows that breaks TLS open.
pub(super) fn appliances() -> Arc<CertifiedKey> {
    let (leaf, key) = foreign_certificate("Hospital TLS Inspection", "gateway.example.org");
    certified(vec![leaf.into()], &key)
}

fn certified(chain: Vec<CertificateDer<'static>>, pkcs8: &[u8]) -> Arc<CertifiedKey> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
    Arc::new(CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(&key).unwrap()))
}
