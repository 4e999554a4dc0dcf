//! The TLS of a QUIC handshake, of which the peer hears an alert and not a word.
//!
//! quinn sends the text of whatever went wrong to the peer (RFC 9000 §19.19), and to us it gives the
//! same text. Ours names times, names and advice that are nobody else's business. So the verifier's reason is
//! kept here for this host, and what leaves has none. Everything else is rustls's, unchanged.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quinn::ConnectError;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError};
use tracing::debug;

use super::endpoint::{self, Connection, HandshakeFailure, Measured};
use crate::identity::tls;

/// Why a handshake failed here, once it has.
#[derive(Clone, Default)]
pub(super) struct Finding(Arc<Mutex<Option<HandshakeFailure>>>);

impl Finding {
    fn set(&self, why: HandshakeFailure) {
        *self.0.lock() = Some(why);
    }

    pub(super) fn take(&self) -> Option<HandshakeFailure> {
        self.0.lock().take()
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Finding")
    }
}

/// What a handshake tells.
pub(super) struct Told {
    finding: Finding,
    /// The ALPN that both ends have agreed on.
    pub(super) protocol: Option<Vec<u8>>,
}

/// Waits for the end of a handshake. Why it failed is known here alone.
pub(super) async fn finish(
    mut connecting: quinn::Connecting,
) -> Result<Connection, endpoint::TransportError> {
    let data = connecting.handshake_data().await.ok();
    let told = data.and_then(|data| data.downcast::<Told>().ok());
    let source = match connecting.await {
        Ok(connection) => {
            let connection = Connection(connection);
            let Measured { rtt, mtu, .. } = connection.measured();
            debug!(?rtt, mtu, "a handshake is done; the peer's certificate is good");
            return Ok(connection);
        }
        Err(source) => source,
    };
    let why = told.and_then(|told| told.finding.take());
    debug!(error = %source, why = why.as_ref().map(tracing::field::display), "a handshake came to nothing");
    Err(match why {
        Some(why) => endpoint::TransportError::Handshake { why: Box::new(why), source },
        None => endpoint::TransportError::lost(source),
    })
}

/// The side that dials.
pub(super) struct Dialling(pub(super) Arc<QuicClientConfig>);

impl ClientConfig for Dialling {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        Arc::clone(&self.0).start_session(version, server_name, params).map(Quiet::boxed)
    }
}

/// The side that is dialled.
pub(super) struct Answering(pub(super) Arc<QuicServerConfig>);

impl ServerConfig for Answering {
    fn initial_keys(&self, version: u32, destination: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, destination)
    }

    fn retry_tag(&self, version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, original, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Quiet::boxed(Arc::clone(&self.0).start_session(version, params))
    }
}

struct Quiet {
    tls: Box<dyn Session>,
    finding: Finding,
}

impl Quiet {
    fn boxed(tls: Box<dyn Session>) -> Box<dyn Session> {
        Box::new(Self { tls, finding: Finding::default() })
    }
}

impl Session for Quiet {
    fn initial_keys(&self, destination: &ConnectionId, side: Side) -> Keys {
        self.tls.initial_keys(destination, side)
    }

    /// Returns where the reason of a failure will be, with what was agreed on so far.
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let data = self.tls.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let protocol = data.and_then(|data| data.protocol);
        Some(Box::new(Told { finding: self.finding.clone(), protocol }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.tls.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.tls.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.tls.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let _of_another = tls::take_finding();
        self.tls.read_handshake(bytes).map_err(|error| {
            let TransportError { reason: text, .. } = error;
            let failure =
                tls::take_finding().map_or(HandshakeFailure::Tls { text }, HandshakeFailure::Refused);
            self.finding.set(failure);
            TransportError { reason: String::new(), ..error }
        })
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.tls.transport_parameters()
    }

    fn write_handshake(&mut self, bytes: &mut Vec<u8>) -> Option<Keys> {
        self.tls.write_handshake(bytes)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.tls.next_1rtt_keys()
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.tls.is_valid_retry(original, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.tls.export_keying_material(output, label, context)
    }
}

#[cfg(test)]
mod tests {
    use crate::identity::error::IdentityError;
    use crate::identity::name::PeerName;
    use crate::transport::endpoint::{Credentials, HandshakeFailure, TransportError};
    use crate::transport::pair::{Pair, soon};
    use adit_core::domain::id::ServerId;

    /// Returns what `end`, of the refused peer, was told beside an alert.
    fn told(end: &TransportError) -> &[u8] {
        match end {
            TransportError::Lost { source: quinn::ConnectionError::ConnectionClosed(close) } => &close.reason,
            other => panic!("expected the peer's close, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_refused_target_hears_an_alert_without_a_word() {
        let pair = Pair::new();
        let other = ServerId::from_bytes([9; 16]);
        let dialled = pair.source.endpoint.connect_tunnel(pair.target.route, other);
        let accepted = async { pair.target.endpoint.accept().await.unwrap().accept().await };
        let (dialled, accepted) = soon(async { tokio::join!(dialled, accepted) }).await;
        let found = dialled.unwrap_err();
        let reason = IdentityError::WrongPeer {
            expected: PeerName::Server(other),
            found: PeerName::Server(pair.target.server),
        };
        let expected = format!("the peer is server {}, expected server {other}", pair.target.server);
        assert_eq!(found.refused_handshake().map(ToString::to_string), Some(expected));
        assert_eq!(found.refused_handshake(), Some(&HandshakeFailure::Refused(reason)));
        assert_eq!(told(&accepted.unwrap_err()), b"");
    }

    #[tokio::test]
    async fn a_refused_source_hears_an_alert_without_a_word() {
        let (pair, strangers) = (Pair::new(), Pair::new());
        strangers.source.meet(&pair.target);
        // It knows the target's CA, so that it is the target that refuses.
        let trust = pair.source.endpoint.credentials().trust.clone();
        let known = Credentials { trust, ..Credentials::clone(&strangers.source.endpoint.credentials()) };
        strangers.source.endpoint.know(known);
        let dialled = strangers.source.endpoint.connect_tunnel(pair.target.route, pair.target.server);
        let accepted = async { pair.target.endpoint.accept().await.unwrap().accept().await };
        let (dialled, accepted) = soon(async { tokio::join!(dialled, accepted) }).await;
        let found = accepted.unwrap_err();
        let refused = found.refused_handshake().unwrap();
        assert!(refused.to_string().contains("not signed by the CA"), "{found:?}");
        assert_eq!(*refused, HandshakeFailure::Refused(IdentityError::UnknownIssuer));
        // TLS 1.3: a client is done before it is judged.
        let end = match dialled {
            Ok(connection) => soon(connection.closed()).await,
            Err(error) => error,
        };
        assert_eq!(told(&end), b"");
    }
}
