//! How a tunnel is opened: the source names the connection and proves that it holds its secret
//! inside this very TLS session, then the target proves the same.
//!
//! A message is a two-byte big-endian length and a body of fixed layout. The target's refusal is
//! not a message: it closes the tunnel with one code whatever was wrong.

use std::fmt;

use aws_lc_rs::hmac;
use bytes::{BufMut, BytesMut};
use subtle::ConstantTimeEq;

use crate::domain::connection::Side;
use crate::domain::id::ConnectionId;
use crate::domain::limits::TUNNEL_OPEN_BYTES_MAX;
use crate::domain::secret::Secret;
use crate::protocol::length_prefix::{self, TooLong};

/// ALPN of a tunnel.
pub const ALPN: &[u8] = b"adit/1";
/// ALPN of a tunnel whose ends read past frames that they do not know. 0.1.0 offers and takes [`ALPN`] alone.
pub const ALPN_SKIPPING: &[u8] = b"adit/1.1";
/// What this build offers and takes, the better first.
pub const ALPNS: &[&[u8]] = &[ALPN_SKIPPING, ALPN];
/// The version of the opening and of all that follows it.
pub const VERSION: u16 = 1;
/// Label of the TLS exporter (RFC 8446 §7.5) both proofs are bound to; its context is empty.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-adit-connection-proof";

const LENGTH_BYTES: usize = 2;
const ID_BYTES: usize = 16;
const PROOF_BYTES: usize = 32;
const OPEN_BODY_BYTES: usize = 2 + ID_BYTES + PROOF_BYTES;

/// Returns what `side` proves: that it holds the connection's secret inside the TLS session whose exporter
/// gave `exporter` under [`EXPORTER_LABEL`], between exactly these two leaf certificates (SHA-256).
#[must_use]
pub fn proof(
    secret: &Secret,
    exporter: &[u8; 32],
    connection: ConnectionId,
    side: Side,
    source_leaf_hash: &[u8; 32],
    target_leaf_hash: &[u8; 32],
) -> Proof {
    let role: u8 = match side {
        Side::Source => 1,
        Side::Target => 2,
    };
    // Every part has a fixed length, so no two sessions give the same bytes.
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
    mac.update(exporter);
    mac.update(connection.as_bytes());
    mac.update(&[role]);
    mac.update(source_leaf_hash);
    mac.update(target_leaf_hash);
    let mut proof = [0; PROOF_BYTES];
    proof.copy_from_slice(mac.sign().as_ref());
    Proof(proof)
}

/// Worth nothing outside its TLS session, yet never printed. Comparing takes the same time
/// whatever differs.
#[derive(Clone, Copy)]
pub struct Proof([u8; PROOF_BYTES]);

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Proof {}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[proof]")
    }
}

/// The source's message: length, version, connection, proof. Other versions keep this layout and
/// append to it, so that either side can name the version the other speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    pub version: u16,
    pub connection: ConnectionId,
    pub proof: Proof,
}

impl Open {
    pub fn encode(&self, to: &mut impl BufMut) {
        put_length(to, OPEN_BODY_BYTES);
        to.put_u16(self.version);
        to.put_slice(self.connection.as_bytes());
        to.put_slice(&self.proof.0);
    }

    /// Takes the message from the front of `buffer` once it is whole.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, OpenError> {
        let Some(body) = take_body(buffer)? else { return Ok(None) };
        let wrong_length = OpenError::WrongLength { found: body.len() };
        let Some(head) = body.first_chunk::<OPEN_BODY_BYTES>() else { return Err(wrong_length) };
        let version = u16::from_be_bytes([head[0], head[1]]);
        if version == VERSION && body.len() > OPEN_BODY_BYTES {
            return Err(wrong_length);
        }
        let (mut connection, mut proof) = ([0; ID_BYTES], [0; PROOF_BYTES]);
        connection.copy_from_slice(&head[2..2 + ID_BYTES]);
        proof.copy_from_slice(&head[2 + ID_BYTES..]);
        Ok(Some(Self { version, connection: ConnectionId::from_bytes(connection), proof: Proof(proof) }))
    }
}

/// The target's message: length, proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub proof: Proof,
}

impl Reply {
    pub fn encode(&self, to: &mut impl BufMut) {
        put_length(to, PROOF_BYTES);
        to.put_slice(&self.proof.0);
    }

    /// Takes the message from the front of `buffer` once it is whole.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, OpenError> {
        let Some(body) = take_body(buffer)? else { return Ok(None) };
        match body[..].try_into() {
            Ok(proof) => Ok(Some(Self { proof: Proof(proof) })),
            Err(_) => Err(OpenError::WrongLength { found: body.len() }),
        }
    }
}

fn put_length(to: &mut impl BufMut, length: usize) {
    to.put_u16(u16::try_from(length).expect("both bodies are shorter than 64 KiB"));
}

/// Takes a body.
fn take_body(buffer: &mut BytesMut) -> Result<Option<BytesMut>, OpenError> {
    length_prefix::take::<LENGTH_BYTES>(buffer, TUNNEL_OPEN_BYTES_MAX - LENGTH_BYTES)
        .map_err(|TooLong { length }| OpenError::TooLong { found: length })
}

/// The peer's opening cannot be read. Told to the local log, never to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the peer opened a tunnel with a message of {found} bytes, more than any opening has")]
    TooLong { found: usize },
    #[error("the peer opened a tunnel with a message of {found} bytes, which no opening has")]
    WrongLength { found: usize },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_cut_at_any_byte_is_awaited_until_it_reads_back() {
        let (open, reply) = messages();
        let wire = encoded(|to| open.encode(to));
        for cut in 0..wire.len() {
            let mut buffer = BytesMut::from(&wire[..cut]);
            assert_eq!(Open::decode(&mut buffer), Ok(None), "cut at byte {cut}");
            buffer.extend_from_slice(&wire[cut..]);
            buffer.extend_from_slice(b"what follows");
            assert_eq!(Open::decode(&mut buffer), Ok(Some(open)), "cut at byte {cut}");
            assert_eq!(buffer, b"what follows"[..]);
        }
        let wire = encoded(|to| reply.encode(to));
        for cut in 0..wire.len() {
            let mut buffer = BytesMut::from(&wire[..cut]);
            assert_eq!(Reply::decode(&mut buffer), Ok(None), "cut at byte {cut}");
            buffer.extend_from_slice(&wire[cut..]);
            assert_eq!(Reply::decode(&mut buffer), Ok(Some(reply)), "cut at byte {cut}");
        }
    }

    #[test]
    fn a_message_one_byte_over_the_limit_is_refused_before_it_is_waited_for() {
        let most = TUNNEL_OPEN_BYTES_MAX - LENGTH_BYTES;
        assert_eq!(Open::decode(&mut body(most, 0)), Ok(None));
        let too_long = OpenError::TooLong { found: most + 1 };
        assert_eq!(Open::decode(&mut body(most + 1, 0)), Err(too_long));
        assert_eq!(Reply::decode(&mut body(most + 1, 0)), Err(too_long));
    }

    #[test]
    fn a_body_of_another_length_is_refused_whole() {
        for found in [0, 1, OPEN_BODY_BYTES - 1, OPEN_BODY_BYTES + 1] {
            assert_eq!(Open::decode(&mut body(found, found)), Err(OpenError::WrongLength { found }));
        }
        for found in [0, PROOF_BYTES - 1, PROOF_BYTES + 1] {
            assert_eq!(Reply::decode(&mut body(found, found)), Err(OpenError::WrongLength { found }));
        }
    }

    #[test]
    fn a_later_version_is_named_whatever_it_appends() {
        let mut buffer = body(OPEN_BODY_BYTES + 9, OPEN_BODY_BYTES + 9);
        buffer[3] = 2;
        assert_eq!(Open::decode(&mut buffer).unwrap().unwrap().version, 2);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_proof_is_valid_for_no_other_session_side_or_secret() {
        let (zero, one) = (&[0; 32], &[1; 32]);
        let (id, other) = (ConnectionId::from_bytes([0; 16]), ConnectionId::from_bytes([1; 16]));
        let secret = Secret::from_bytes([9; 32]);
        let all = [
            ("itself", proof(&secret, zero, id, Side::Source, zero, zero)),
            ("another session", proof(&secret, one, id, Side::Source, zero, zero)),
            ("another connection", proof(&secret, zero, other, Side::Source, zero, zero)),
            ("the other side", proof(&secret, zero, id, Side::Target, zero, zero)),
            ("another source", proof(&secret, zero, id, Side::Source, one, zero)),
            ("another target", proof(&secret, zero, id, Side::Source, zero, one)),
            ("another secret", proof(&Secret::from_bytes([8; 32]), zero, id, Side::Source, zero, zero)),
        ];
        for (left, (name, proof)) in all.iter().enumerate() {
            for (right, (other_name, other)) in all.iter().enumerate() {
                assert_eq!(proof == other, left == right, "proof for {name} and {other_name}");
            }
        }
    }

    #[test]
    fn a_proof_with_any_bit_flipped_is_another() {
        let proof = messages().1.proof;
        for bit in 0..PROOF_BYTES * 8 {
            let mut forged = proof;
            forged.0[bit / 8] ^= 1 << (bit % 8);
            assert!(forged != proof, "bit {bit}");
        }
    }

    #[test]
    fn a_proof_is_never_printed() {
        let proof = messages().1.proof;
        assert_eq!(format!("{proof:?}"), "[proof]");
    }

    #[test]
    fn the_proof_is_an_hmac_over_exporter_connection_role_leaves() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]);
        let (open, reply) = messages();
        for (role, proof) in [(1, open.proof), (2, reply.proof)] {
            let message = [[5; 32].as_slice(), &[6; 16], &[role], &[7; 32], &[8; 32]].concat();
            assert_eq!(hmac::sign(&key, &message).as_ref(), proof.0);
        }
    }

    fn messages() -> (Open, Reply) {
        let (secret, connection) = (Secret::from_bytes([9; 32]), ConnectionId::from_bytes([6; 16]));
        let proof = |side| proof(&secret, &[5; 32], connection, side, &[7; 32], &[8; 32]);
        let open = Open { version: VERSION, connection, proof: proof(Side::Source) };
        (open, Reply { proof: proof(Side::Target) })
    }

    fn encoded(encode: impl Fn(&mut BytesMut)) -> BytesMut {
        let mut wire = BytesMut::new();
        encode(&mut wire);
        wire
    }

    /// Returns a length and `present` bytes that begin with our version.
    fn body(length: usize, present: usize) -> BytesMut {
        let mut wire = BytesMut::new();
        put_length(&mut wire, length);
        wire.extend_from_slice(&VERSION.to_be_bytes()[..present.min(2)]);
        wire.resize(LENGTH_BYTES + present, 0);
        wire
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut wire in any::<Vec<u8>>(), short in any::<bool>()) {
            if short && !wire.is_empty() {
                wire[0] = 0;
            }
            let _ = Open::decode(&mut BytesMut::from(&wire[..]));
            let _ = Reply::decode(&mut BytesMut::from(&wire[..]));
        }
    }
}
