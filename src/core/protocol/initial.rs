//! The first packet of a tunnel's handshake, and the tag in it by which its sender shows that it
//! holds the secret of a connection, before QUIC knows of it.
//!
//! A client chooses the id that its first Initial is sent to. Behind the target's route twelve of its
//! twenty bytes are free, and carry the tag:
//!
//! ```text
//! 0        8      9        13          20
//! ┌────────┬──────┬────────┬───────────┐
//! │ target │ hint │ number │ HMAC, cut │
//! └────────┴──────┴────────┴───────────┘
//! ```
//!
//! The HMAC covers the number, both routes, both agents' runs and the id that the client wants to be
//! answered at. So a tag counts for one run of either agent; that it counts once is seen to in
//! [`super::admission`]. The hint is a byte of the key, so that few keys are tried. Nothing here
//! allocates.

use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use subtle::ConstantTimeEq;

use crate::domain::id::{BootId, RouteId};
use crate::domain::secret::Secret;

/// An agent's connection ids: its route and six random bytes.
pub const CONNECTION_ID_BYTES: usize = 14;
/// The id of a client's first Initial, the longest there is: the target's route and the tag.
pub const INITIAL_ID_BYTES: usize = 20;

const ROUTE_BYTES: usize = 8;
const NUMBER_BYTES: usize = 4;
const NUMBER_AT: usize = ROUTE_BYTES + 1;
const MAC_AT: usize = NUMBER_AT + NUMBER_BYTES;
const MAC_BYTES: usize = INITIAL_ID_BYTES - MAC_AT;
/// QUIC version 1 (RFC 9000 §15), the only one that agents speak.
const VERSION: [u8; 4] = [0, 0, 0, 1];

/// An id that an agent is answered at.
pub type OwnId = [u8; CONNECTION_ID_BYTES];
/// The id that a first Initial is sent to.
pub type InitialId = [u8; INITIAL_ID_BYTES];

/// Packets of a QUIC handshake that agents send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongKind {
    Initial,
    Handshake,
    Retry,
}

/// The head of a packet with a long header (RFC 9000 §17.2). Nothing of it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongHeader<'a> {
    pub kind: LongKind,
    pub destination: &'a [u8],
    pub source: &'a [u8],
}

impl<'a> LongHeader<'a> {
    /// Returns the head, or `None` for what no agent and no gateway sends to an agent: another
    /// version or a negotiation of one, 0-RTT, an Initial with a token.
    #[must_use]
    pub fn read(packet: &'a [u8]) -> Option<Self> {
        let first = *packet.first()?;
        if first & 0xc0 != 0xc0 || packet.get(1..5)? != VERSION {
            return None;
        }
        let (destination, rest) = split_id(packet.get(5..)?)?;
        let (source, rest) = split_id(rest)?;
        let kind = match first & 0x30 {
            0x00 if *rest.first()? == 0 => LongKind::Initial,
            0x20 => LongKind::Handshake,
            0x30 => LongKind::Retry,
            _ => return None,
        };
        Some(Self { kind, destination, source })
    }
}

fn split_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let length = usize::from(*length);
    if length > INITIAL_ID_BYTES { None } else { rest.split_at_checked(length) }
}

/// Who begins a handshake with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Where the client wants to be answered; it begins with its route.
    pub source: OwnId,
    pub source_boot: BootId,
    pub target: RouteId,
    pub target_boot: BootId,
}

/// Makes and verifies the tags of one connection.
#[derive(Clone)]
pub struct TagKey {
    hint: u8,
    key: hmac::Key,
}

impl TagKey {
    /// Derives the key: HKDF-SHA256 (RFC 5869) of the connection's secret; the salt keeps it apart from the
    /// key of probes.
    #[must_use]
    pub fn of_connection(secret: &Secret) -> Self {
        const WITHIN: &str = "both outputs are far below 255 blocks";
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"adit initial").extract(secret.expose());
        let mut hint = [0];
        prk.expand(&[b"hint"], HintLength).and_then(|okm| okm.fill(&mut hint)).expect(WITHIN);
        let key = prk.expand(&[b"key"], hmac::HMAC_SHA256).expect(WITHIN).into();
        Self { hint: hint[0], key }
    }

    /// Returns the id of a first Initial. A number is used once in a run of the source.
    #[must_use]
    pub fn initial_id(&self, number: u32, ends: &Ends) -> InitialId {
        let mut id = [0; INITIAL_ID_BYTES];
        id[..ROUTE_BYTES].copy_from_slice(ends.target.as_bytes());
        id[ROUTE_BYTES] = self.hint;
        id[NUMBER_AT..MAC_AT].copy_from_slice(&number.to_be_bytes());
        id[MAC_AT..].copy_from_slice(&self.mac(number, ends));
        id
    }

    /// Returns whether this key made `id` for these ends, in constant time once the hint fits.
    #[must_use]
    pub fn verifies(&self, id: &InitialId, ends: &Ends) -> bool {
        let is_hinted = id[ROUTE_BYTES] == self.hint && id.starts_with(ends.target.as_bytes());
        is_hinted && bool::from(self.mac(number(id), ends).ct_eq(&id[MAC_AT..]))
    }

    /// Returns whether `id` may be of this key.
    #[must_use]
    pub const fn is_hinted(&self, id: &InitialId) -> bool {
        id[ROUTE_BYTES] == self.hint
    }

    /// Returns a key that knows the hint and not the secret.
    #[cfg(test)]
    pub(super) fn impostor(&self) -> Self {
        Self { hint: self.hint, ..Self::of_connection(&Secret::from_bytes([0xee; 32])) }
    }

    fn mac(&self, number: u32, ends: &Ends) -> [u8; MAC_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&number.to_be_bytes());
        context.update(&ends.source);
        context.update(ends.source_boot.as_bytes());
        context.update(ends.target.as_bytes());
        context.update(ends.target_boot.as_bytes());
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&context.sign().as_ref()[..MAC_BYTES]);
        mac
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey")
    }
}

/// Returns the number in the tag of `id`; as true as the key that verifies it.
#[must_use]
pub fn number(id: &InitialId) -> u32 {
    let mut number = [0; NUMBER_BYTES];
    number.copy_from_slice(&id[NUMBER_AT..MAC_AT]);
    u32::from_be_bytes(number)
}

/// Returns the route that an id of ours begins with.
#[must_use]
pub fn route_of(id: &OwnId) -> RouteId {
    let mut route = [0; ROUTE_BYTES];
    route.copy_from_slice(&id[..ROUTE_BYTES]);
    RouteId::from_bytes(route)
}

struct HintLength;

impl hkdf::KeyType for HintLength {
    fn len(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> TagKey {
        TagKey::of_connection(&Secret::from_bytes([byte; 32]))
    }

    fn ends() -> Ends {
        Ends {
            source: *b"source00random",
            source_boot: BootId::from_bytes([3; 8]),
            target: RouteId::from_bytes(*b"target00"),
            target_boot: BootId::from_bytes([4; 8]),
        }
    }

    fn packet(first: u8, destination: &[u8], source: &[u8]) -> Vec<u8> {
        let length = |id: &[u8]| u8::try_from(id.len()).unwrap();
        let head = [&[first][..], &VERSION, &[length(destination)], destination, &[length(source)], source];
        [&head.concat()[..], &[0; 40]].concat()
    }

    #[test]
    fn a_tag_verifies_with_its_key_for_the_ends_it_was_made_for() {
        for number_of in [1, 2, u32::MAX] {
            let id = key(7).initial_id(number_of, &ends());
            assert!(id.starts_with(ends().target.as_bytes()));
            assert_eq!(number(&id), number_of);
            assert!(key(7).verifies(&id, &ends()));
        }
    }

    #[test]
    fn a_tag_with_any_bit_flipped_does_not_verify() {
        let id = key(7).initial_id(9, &ends());
        for bit in 0..INITIAL_ID_BYTES * 8 {
            let mut forged = id;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!key(7).verifies(&forged, &ends()), "bit {bit}");
        }
    }

    #[test]
    fn a_tag_of_another_secret_does_not_verify_even_under_the_same_hint() {
        let id = key(7).initial_id(9, &ends());
        for byte in (0..=u8::MAX).filter(|byte| *byte != 7) {
            assert!(!key(byte).verifies(&id, &ends()));
            assert!(!TagKey { hint: key(7).hint, ..key(byte) }.verifies(&id, &ends()));
        }
    }

    #[test]
    fn a_tag_for_other_ends_or_another_run_of_either_does_not_verify() {
        let id = key(7).initial_id(9, &ends());
        let boot = BootId::from_bytes([9; 8]);
        let mut other_random = ends().source;
        other_random[13] ^= 1;
        for other in [
            Ends { source: *b"source01random", ..ends() },
            Ends { source: other_random, ..ends() },
            Ends { source_boot: boot, ..ends() },
            Ends { target_boot: boot, ..ends() },
            Ends { target: RouteId::from_bytes(*b"target01"), ..ends() },
            Ends { source_boot: ends().target_boot, target_boot: ends().source_boot, ..ends() },
        ] {
            assert!(!key(7).verifies(&id, &other), "{other:?}");
        }
        // Not even where the id was readdressed with it.
        let target = RouteId::from_bytes(*b"target01");
        let mut readdressed = id;
        readdressed[..ROUTE_BYTES].copy_from_slice(target.as_bytes());
        assert!(!key(7).verifies(&readdressed, &Ends { target, ..ends() }));
    }

    #[test]
    fn the_key_of_tags_is_not_the_key_of_probes() {
        let secret = Secret::from_bytes([7; 32]);
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"adit probe").extract(secret.expose());
        let probe_key: hmac::Key = prk.expand(&[b"key"], hmac::HMAC_SHA256).unwrap().into();
        let id = key(7).initial_id(9, &ends());
        assert!(!TagKey { key: probe_key, ..key(7) }.verifies(&id, &ends()));
    }

    #[test]
    fn both_ids_are_read_from_the_packets_that_agents_send() {
        for (first, kind) in [(0xc3, LongKind::Initial), (0xe1, LongKind::Handshake), (0xf0, LongKind::Retry)]
        {
            let wire = packet(first, &[1; 20], &[2; 14]);
            let header = LongHeader { kind, destination: &[1; 20], source: &[2; 14] };
            assert_eq!(LongHeader::read(&wire), Some(header));
            for cut in 0..6 + 20 + 1 + 14 {
                assert_eq!(LongHeader::read(&wire[..cut]), None, "cut at byte {cut}");
            }
        }
    }

    #[test]
    fn what_no_agent_sends_has_no_head() {
        let good = packet(0xc0, &[1; 20], &[2; 14]);
        let changed = |at: usize, to: u8| {
            let mut wire = good.clone();
            wire[at] = to;
            wire
        };
        for (wire, what) in [
            (changed(0, 0x80), "without the fixed bit"),
            (changed(0, 0x40), "a short header"),
            (changed(0, 0xd0), "0-RTT"),
            (changed(4, 0), "a version negotiation"),
            (changed(1, 0xff), "a draft version"),
            (changed(41, 1), "an Initial with a token"),
            (packet(0xc0, &[1; 21], &[2; 14]), "an id too long"),
            (packet(0xc0, &[1; 20], &[2; 21]), "an id too long"),
        ] {
            assert_eq!(LongHeader::read(&wire), None, "{what}");
        }
        assert!(LongHeader::read(&good).is_some());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(wire in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = LongHeader::read(&wire);
            let long = [&[0xc0, 0, 0, 0, 1][..], &wire].concat();
            let _ = LongHeader::read(&long);
        }
    }
}
