//! Our own packets below QUIC, and the route that a QUIC packet carries.
//!
//! Ours have a first byte below 0x40, QUIC's never do (RFC 9000 §17.2, §17.3: one of the two top
//! bits is always set). Agent to agent, a probe asks "is it you, here, now?", and the answer repeats
//! its nonce; their key comes from a connection's secret. Agent and gateway agree by four more on
//! where the relay finds the agent; that key comes from their control link. What does not verify
//! gets silence. Nothing here allocates. Which packet proves what is decided in [`super::route`],
//! [`super::registration`] and [`super::relay`].
//!
//! ```text
//! 0      1             9         17      25       33      49 …     length-16
//! ┌──────┬─────────────┬─────────┬───────┬────────┬───────┬─────────┬──────┐
//! │ type │ destination │ source  │ boot  │ key id │ nonce │ padding │ HMAC │
//! └──────┴─────────────┴─────────┴───────┴────────┴───────┴─────────┴──────┘
//! ```

use aws_lc_rs::{hkdf, hmac};
use subtle::ConstantTimeEq;

use crate::domain::id::{BootId, RouteId};
use crate::domain::limits::PROBE_BYTES_MAX;
use crate::domain::path::Carrier;
use crate::domain::secret::Secret;

/// The shortest probe; a longer one is padded, to prove that the path carries its length.
pub const PROBE_BYTES_MIN: usize = BODY_BYTES + MAC_BYTES;

const BODY_BYTES: usize = 49;
const MAC_BYTES: usize = 16;

/// Returns whether the first byte of a datagram marks it as ours rather than QUIC's.
#[must_use]
pub const fn is_ours(first: u8) -> bool {
    first < 0x40
}

/// Returns the route a QUIC packet is for: the first eight bytes of its destination connection id (RFC 9000
/// §17.2, §17.3). `None` for what is no QUIC packet or carries a shorter id.
#[inline]
#[must_use]
pub fn quic_route(packet: &[u8]) -> Option<RouteId> {
    let first = *packet.first()?;
    let route = if first & 0x80 != 0 {
        // Long header: version, then the id behind its length.
        if *packet.get(5)? < 8 {
            return None;
        }
        packet.get(6..14)?
    } else if first & 0x40 != 0 {
        // Short header: every id of ours starts with a route, so its length need not be known.
        packet.get(1..9)?
    } else {
        return None;
    };
    route.first_chunk().copied().map(RouteId::from_bytes)
}

/// Returns whether a packet of ours may be for `route`: that much stands in the first nine bytes.
#[inline]
#[must_use]
pub fn own_route(packet: &[u8]) -> Option<RouteId> {
    packet.first().copied().and_then(PacketKind::from_byte)?;
    chunk(packet, 1).map(RouteId::from_bytes)
}

/// Returns whether a packet is ours and of a kind that only a newer build knows. Nothing of it is verified.
#[must_use]
pub fn is_of_unknown_kind(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| is_ours(*first) && PacketKind::from_byte(*first).is_none())
}

/// Marks in the first byte of a probe's nonce, which its answer repeats, so that a relay that reads neither can
/// do right by both: over which carrier the answer is to come back to who asked, and whether packets for the
/// one who asks are to take this path from now on: it uses it, or would if only it answered. They are hints:
/// who lies about them harms nobody else.
const MARK_TCP: u8 = 0b01;
const MARK_IN_USE: u8 = 0b10;

/// Returns the nonce with the marks of a probe that is sent over `carrier`.
#[must_use]
pub const fn marked(mut nonce: [u8; 16], carrier: Carrier, in_use: bool) -> [u8; 16] {
    nonce[0] &= !(MARK_TCP | MARK_IN_USE);
    if matches!(carrier, Carrier::Tcp) {
        nonce[0] |= MARK_TCP;
    }
    if in_use {
        nonce[0] |= MARK_IN_USE;
    }
    nonce
}

/// Returns over which carrier the answer to a probe with this nonce is to come back to who asked.
#[must_use]
pub const fn marked_carrier(nonce: &[u8; 16]) -> Carrier {
    if nonce[0] & MARK_TCP == 0 { Carrier::Udp } else { Carrier::Tcp }
}

/// Returns whether who asked uses the path of this probe now, or looks for any that answers.
#[must_use]
pub const fn is_marked_in_use(nonce: &[u8; 16]) -> bool {
    nonce[0] & MARK_IN_USE != 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// Agent to agent: is it you, here, now?
    Probe,
    /// Agent to agent: it is.
    Answer,
    /// Agent to gateway: this is where I am; the nonce is new each time.
    Register,
    /// Gateway to agent: are you there? The nonce is bound to the address it is sent to.
    Challenge,
    /// Agent to gateway: I am; the challenge's nonce.
    Confirm,
    /// Gateway to agent: the relay sends there from now on; the same nonce again.
    Registered,
}

impl PacketKind {
    pub const ALL: [Self; 6] =
        [Self::Probe, Self::Answer, Self::Register, Self::Challenge, Self::Confirm, Self::Registered];

    const fn to_byte(self) -> u8 {
        match self {
            Self::Probe => 0x01,
            Self::Answer => 0x02,
            Self::Register => 0x03,
            Self::Challenge => 0x04,
            Self::Confirm => 0x05,
            Self::Registered => 0x06,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Probe,
            0x02 => Self::Answer,
            0x03 => Self::Register,
            0x04 => Self::Challenge,
            0x05 => Self::Confirm,
            0x06 => Self::Registered,
            _ => return None,
        })
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Answer => "answer",
            Self::Register => "register",
            Self::Challenge => "challenge",
            Self::Confirm => "confirm",
            Self::Registered => "registered",
        }
    }

    /// Returns the longest packet of this kind: only probes and their answers are ever padded.
    #[must_use]
    pub const fn length_max(self) -> usize {
        match self {
            Self::Probe | Self::Answer => PROBE_BYTES_MAX,
            Self::Register | Self::Challenge | Self::Confirm | Self::Registered => PROBE_BYTES_MIN,
        }
    }
}

/// A packet of ours. Values that came from the wire are as true as the key they opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub kind: PacketKind,
    pub destination: RouteId,
    pub source: RouteId,
    /// The run of the process that sent it; in a challenge what its register asked for.
    pub boot: BootId,
    pub nonce: [u8; 16],
    /// On the wire, padding included.
    pub length: usize,
}

impl Packet {
    /// Returns the answer to this probe: same nonce, same length, so it never amplifies.
    #[must_use]
    pub const fn answer(&self, boot: BootId) -> Self {
        self.reply(PacketKind::Answer, boot, self.nonce)
    }

    /// Returns a packet back to where this one came from, of its length.
    #[must_use]
    pub const fn reply(&self, kind: PacketKind, boot: BootId, nonce: [u8; 16]) -> Self {
        Self { kind, destination: self.source, source: self.destination, boot, nonce, length: self.length }
    }
}

/// What became of a packet of ours; whatever it is, the one who sent it hears nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketVerdict {
    Taken,
    /// It came over a path that is not allowed to this peer.
    PathNotAllowed,
    /// No key that is held opens it: it is forged, or the two sides hold different secrets.
    WrongKey,
    /// It opens, and is for another, from another, or of a kind that is not expected here.
    Misplaced,
    /// It was sent by a run of the peer that is over, so it is replayed.
    OldRun,
    /// It answers nothing that is waited for.
    Unasked,
    /// More came from there than is answered in a second.
    TooMany,
}

impl PacketVerdict {
    /// Returns why it was not taken.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::PathNotAllowed => "path not allowed",
            Self::WrongKey => "wrong key",
            Self::Misplaced => "misplaced",
            Self::OldRun => "old run",
            Self::Unasked => "unasked",
            Self::TooMany => "too many",
        }
    }
}

/// What a packet claims before any key was tried: enough to find the keys to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub kind: PacketKind,
    pub destination: RouteId,
    pub source: RouteId,
    pub key: KeyId,
}

impl Claim {
    /// Reads a packet; `None` for what is not ours, too short, or too long for its kind.
    #[inline]
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let kind = PacketKind::from_byte(*packet.first()?)?;
        if !(PROBE_BYTES_MIN..=kind.length_max()).contains(&packet.len()) {
            return None;
        }
        Some(Self {
            kind,
            destination: RouteId::from_bytes(chunk(packet, 1)?),
            source: RouteId::from_bytes(chunk(packet, 9)?),
            key: KeyId(chunk(packet, 25)?),
        })
    }
}

/// Returns the nonce that a packet of ours claims, before any key was tried.
#[inline]
#[must_use]
pub(super) fn claimed_nonce(packet: &[u8]) -> Option<[u8; 16]> {
    chunk(packet, 33)
}

/// Names a key without telling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// Authenticates our packets: the probes of one connection, or the registration of one control link.
#[derive(Debug, Clone)]
pub struct PacketKey {
    id: KeyId,
    key: hmac::Key,
}

impl PacketKey {
    /// Derives the key for probes and their answers, from the connection's secret.
    #[must_use]
    pub fn of_connection(secret: &Secret) -> Self {
        Self::derive(b"adit probe", secret.expose())
    }

    /// Derives the key for registration, from what a live control link exports (RFC 8446 §7.5).
    #[must_use]
    pub fn of_link(exporter: &[u8; 32]) -> Self {
        Self::derive(b"adit registration", exporter)
    }

    /// Derives a key by HKDF-SHA256 (RFC 5869); the salt keeps the two uses apart.
    fn derive(salt: &[u8], secret: &[u8]) -> Self {
        const WITHIN: &str = "both outputs are far below 255 blocks";
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
        let mut id = [0; 8];
        prk.expand(&[b"key id"], KeyIdLength).and_then(|okm| okm.fill(&mut id)).expect(WITHIN);
        let key = prk.expand(&[b"key"], hmac::HMAC_SHA256).expect(WITHIN).into();
        Self { id: KeyId(id), key }
    }

    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Writes `packet` into `buffer` and gives the part to send. A length out of the bounds of its
    /// kind or of the buffer is brought to the nearer one.
    #[must_use]
    pub fn seal<'a, const ROOM: usize>(&self, packet: &Packet, buffer: &'a mut [u8; ROOM]) -> &'a [u8] {
        const { assert!(PROBE_BYTES_MIN <= ROOM && ROOM <= PROBE_BYTES_MAX) };
        let length = packet.length.clamp(PROBE_BYTES_MIN, packet.kind.length_max().min(ROOM));
        let (body, mac) = buffer[..length].split_at_mut(length - MAC_BYTES);
        body[0] = packet.kind.to_byte();
        body[1..9].copy_from_slice(packet.destination.as_bytes());
        body[9..17].copy_from_slice(packet.source.as_bytes());
        body[17..25].copy_from_slice(packet.boot.as_bytes());
        body[25..33].copy_from_slice(&self.id.0);
        body[33..BODY_BYTES].copy_from_slice(&packet.nonce);
        body[BODY_BYTES..].fill(0);
        mac.copy_from_slice(&hmac::sign(&self.key, body).as_ref()[..MAC_BYTES]);
        &buffer[..length]
    }

    /// Returns what `packet` says when this key sealed it, `None` otherwise.
    #[must_use]
    pub fn open(&self, packet: &[u8]) -> Option<Packet> {
        let claim = Claim::read(packet)?;
        if claim.key != self.id {
            return None;
        }
        let (body, mac) = packet.split_at_checked(packet.len() - MAC_BYTES)?;
        if !bool::from(hmac::sign(&self.key, body).as_ref()[..MAC_BYTES].ct_eq(mac)) {
            return None;
        }
        Some(Packet {
            kind: claim.kind,
            destination: claim.destination,
            source: claim.source,
            boot: BootId::from_bytes(chunk(body, 17)?),
            nonce: chunk(body, 33)?,
            length: packet.len(),
        })
    }
}

#[inline]
fn chunk<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk().copied()
}

struct KeyIdLength;

impl hkdf::KeyType for KeyIdLength {
    fn len(&self) -> usize {
        8
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_reads_back_what_was_sealed_at_every_length() {
        for kind in PacketKind::ALL {
            for length in [PROBE_BYTES_MIN, PROBE_BYTES_MIN + 1, 1_200, PROBE_BYTES_MAX] {
                let length = length.min(kind.length_max());
                let packet = Packet { kind, length, ..probe() };
                let wire = seal(&packet);
                assert_eq!(wire.len(), length);
                assert!(is_ours(wire[0]));
                assert_eq!(key().open(&wire), Some(packet));
            }
        }
    }

    #[test]
    fn a_length_out_of_bounds_is_brought_to_the_nearer_one() {
        assert_eq!(seal(&Packet { length: 0, ..probe() }).len(), PROBE_BYTES_MIN);
        assert_eq!(seal(&Packet { length: PROBE_BYTES_MAX + 1, ..probe() }).len(), PROBE_BYTES_MAX);
        let mut small = [0; 100];
        assert_eq!(key().seal(&Packet { length: 101, ..probe() }, &mut small).len(), 100);
    }

    #[test]
    fn a_registrations_packets_have_one_length() {
        for kind in PacketKind::ALL.into_iter().skip(2) {
            let wire = seal(&Packet { kind, length: PROBE_BYTES_MAX, ..probe() });
            assert_eq!(wire.len(), PROBE_BYTES_MIN);
            // A padded probe whose type was changed is none of them.
            let mut padded = seal(&Packet { length: PROBE_BYTES_MIN + 1, ..probe() });
            padded[0] = kind.to_byte();
            assert_eq!(Claim::read(&padded), None);
        }
    }

    #[test]
    fn an_answer_goes_back_as_long_as_its_probe() {
        let probe = Packet { length: 1_452, ..probe() };
        let answer = probe.answer(BootId::from_bytes([7; 8]));
        assert_eq!((answer.destination, answer.source), (probe.source, probe.destination));
        assert_eq!((answer.nonce, answer.length), (probe.nonce, probe.length));
        assert_eq!(answer.boot, BootId::from_bytes([7; 8]));
    }

    #[test]
    fn any_flipped_bit_is_silence() {
        let wire = seal(&Packet { length: PROBE_BYTES_MIN + 3, ..probe() });
        for bit in 0..wire.len() * 8 {
            let mut forged = wire.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key().open(&forged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_packet_cut_anywhere_or_grown_is_silence() {
        let wire = seal(&Packet { length: PROBE_BYTES_MAX, ..probe() });
        for cut in 0..wire.len() {
            assert_eq!(key().open(&wire[..cut]), None, "cut at byte {cut}");
        }
        assert_eq!(key().open(&[&wire[..], &[0]].concat()), None);
        assert_eq!(Claim::read(&[&wire[..], &[0]].concat()), None);
    }

    #[test]
    fn another_connections_key_opens_nothing() {
        let other = PacketKey::of_connection(&Secret::from_bytes([4; 32]));
        assert_ne!(other.id(), key().id());
        let wire = seal(&probe());
        assert_eq!(other.open(&wire), None);
        // Nor does one that merely claims the same id.
        assert_eq!(PacketKey { id: key().id(), ..other }.open(&wire), None);
    }

    #[test]
    fn a_links_key_opens_nothing_of_a_connections_key_of_the_same_bytes() {
        let link = PacketKey::of_link(&[3; 32]);
        assert_ne!(link.id(), key().id());
        assert_eq!(PacketKey { id: key().id(), ..link }.open(&seal(&probe())), None);
    }

    #[test]
    fn a_claim_is_read_before_anything_is_verified() {
        let claim = Claim::read(&seal(&probe())).unwrap();
        let Packet { kind, destination, source, .. } = probe();
        assert_eq!(claim, Claim { kind, destination, source, key: key().id() });
    }

    #[test]
    fn the_route_of_our_own_packet_is_read_from_nine_bytes_of_a_known_kind() {
        for kind in PacketKind::ALL {
            let wire = seal(&Packet { kind, ..probe() });
            assert_eq!(own_route(&wire), Some(probe().destination));
            assert_eq!(own_route(&wire[..9]), Some(probe().destination));
            assert_eq!(own_route(&wire[..8]), None);
        }
        assert_eq!(own_route(&[0; 65]), None);
        assert_eq!(own_route(&[7; 65]), None);
        assert!(is_of_unknown_kind(&[7; 65]) && is_of_unknown_kind(&[0x3f]));
        assert!(!is_of_unknown_kind(&[0x40; 65]) && !is_of_unknown_kind(&[]));
        assert!(PacketKind::ALL.iter().all(|kind| !is_of_unknown_kind(&[kind.to_byte()])));
        assert_eq!(own_route(&[]), None);
    }

    #[test]
    fn a_route_is_read_from_both_headers_of_quic() {
        let route = RouteId::from_bytes(*b"routeid8");
        let long = [&[0xc0, 0, 0, 0, 1, 20][..], b"routeid8123456789012", &[0; 40]].concat();
        let short = [&[0x40][..], b"routeid8123456", &[0; 40]].concat();
        assert_eq!(quic_route(&long), Some(route));
        assert_eq!(quic_route(&short), Some(route));
        for cut in 0..14 {
            assert_eq!(quic_route(&long[..cut]), None, "long header cut at byte {cut}");
        }
        for cut in 0..9 {
            assert_eq!(quic_route(&short[..cut]), None, "short header cut at byte {cut}");
        }
        assert_eq!(quic_route(&long[..14]), Some(route));
        assert_eq!(quic_route(&short[..9]), Some(route));
    }

    #[test]
    fn a_connection_id_too_short_for_a_route_has_none() {
        for (length, expected) in [(0, None), (7, None), (8, Some(RouteId::from_bytes([9; 8])))] {
            let packet = [&[0x80, 0, 0, 0, 0, length][..], &[9; 30]].concat();
            assert_eq!(quic_route(&packet), expected, "id of {length} bytes");
        }
    }

    #[test]
    fn a_packet_is_either_ours_or_quics() {
        assert_eq!(quic_route(&seal(&probe())), None);
        for first in 0..=u8::MAX {
            let packet = [&[first, 0, 0, 0, 0, 8][..], &[0; 80]].concat();
            assert_ne!(is_ours(first), quic_route(&packet).is_some(), "first byte {first:#04x}");
        }
    }

    fn key() -> PacketKey {
        PacketKey::of_connection(&Secret::from_bytes([3; 32]))
    }

    fn probe() -> Packet {
        Packet {
            kind: PacketKind::Probe,
            destination: RouteId::from_bytes([1; 8]),
            source: RouteId::from_bytes([2; 8]),
            boot: BootId::from_bytes([3; 8]),
            nonce: [4; 16],
            length: PROBE_BYTES_MIN,
        }
    }

    fn seal(packet: &Packet) -> Vec<u8> {
        // What an earlier packet left in the buffer must not show.
        key().seal(packet, &mut [0xee; PROBE_BYTES_MAX]).to_vec()
    }

    proptest! {
        #[test]
        fn random_bytes_never_open(wire in prop::collection::vec(any::<u8>(), 0..1_600), kind in 0_u8..8) {
            let mut wire = wire;
            if let Some(first) = wire.first_mut() {
                *first = kind;
            }
            prop_assert_eq!(key().open(&wire), None);
            let _ = Claim::read(&wire);
            let _ = (quic_route(&wire), own_route(&wire));
        }

        #[test]
        fn a_route_never_panics(wire in any::<Vec<u8>>()) {
            let _ = quic_route(&wire);
        }
    }
}
