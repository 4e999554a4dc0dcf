//! Keeps this agent registered at the relay: the agent's side, without socket or clock.
//!
//! ```text
//! agent ── Register (number, random) ──▶ relay     every 15 s, again sooner while unanswered
//! agent ◀─ Challenge (random, nonce) ─── relay     the nonce is bound to the address it is sent to
//! agent ── Confirm (nonce) ────────────▶ relay     so one who sends from there also receives there
//! agent ◀─ Registered (nonce) ────────── relay
//! ```
//!
//! The number rises with every Register of a link, so an old one earns nothing at the relay. The
//! challenge repeats the Register's random bytes, so an old one proves nothing here. A challenge that
//! nobody asked for is confirmed too: that is how the relay learns of a changed address before the
//! next Register. What the relay makes of it is in [`super::relay`].
//!
//! All this goes on over each carrier that is there, and over each by itself: what came over one says
//! nothing of the other. Only the number is one for both.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::packet::{PROBE_BYTES_MIN, Packet, PacketKey, PacketKind, PacketVerdict};
use super::token_bucket::TokenBucket;
use crate::domain::id::{BootId, RouteId};
use crate::domain::limits::{
    CONFIRMS_PER_SECOND, REGISTER_AGAIN_MAX, REGISTER_AGAIN_MIN, REGISTER_EVERY, REGISTERS_OUTSTANDING_MAX,
    REGISTRATION_LASTS,
};
use crate::domain::path::Carrier;

/// The TLS exporter's label (RFC 8446 §7.5) under which the control link gives the packets' key.
pub const REGISTRATION_LABEL: &[u8] = b"EXPORTER-adit-registration";

/// Returns a Register's nonce: the number that rises, then random bytes.
#[must_use]
pub(super) fn register_nonce(number: u64, random: [u8; 8]) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce[8..].copy_from_slice(&random);
    nonce
}

/// Returns the two halves of a Register's nonce.
#[must_use]
pub(super) fn split_register_nonce(nonce: [u8; 16]) -> (u64, [u8; 8]) {
    let number = u128::from_be_bytes(nonce);
    #[expect(clippy::cast_possible_truncation, reason = "each half is what stands in its eight bytes")]
    let (number, random) = ((number >> 64) as u64, number as u64);
    (number, random.to_be_bytes())
}

/// One agent's registration at its gateway's relay.
#[derive(Debug)]
pub struct Registration {
    own: RouteId,
    gateway: RouteId,
    boot: BootId,
    /// The key of the control link.
    key: Option<PacketKey>,
    /// Of the last Register of this link, over whichever carrier.
    number: u64,
    udp: Leg,
    tcp: Leg,
    transmits: VecDeque<(Carrier, Box<[u8]>)>,
}

/// What goes on over one carrier.
#[derive(Debug)]
struct Leg {
    is_there: bool,
    /// Set once there is a link.
    due: Option<Instant>,
    pause: Duration,
    /// The random bytes in the latest Registers of this link, and the nonces of the challenges that repeated
    /// one.
    asked: VecDeque<[u8; 8]>,
    confirmed: VecDeque<[u8; 16]>,
    /// When the relay last said that it knows where we are.
    registered: Option<Instant>,
    unasked: TokenBucket,
}

impl Registration {
    /// Returns one that registers over UDP, once there is a link.
    #[must_use]
    pub fn new(own: RouteId, gateway: RouteId, boot: BootId) -> Self {
        Self {
            own,
            gateway,
            boot,
            key: None,
            number: 0,
            udp: Leg::new(true),
            tcp: Leg::new(false),
            transmits: VecDeque::new(),
        }
    }

    /// Notes that a control link is up, or none is. A new one registers at once; without any, what is
    /// registered lasts until it lapses.
    pub fn set_key(&mut self, key: Option<PacketKey>, now: Instant) {
        let held = self.key.as_ref().map(PacketKey::id);
        if key.as_ref().map(PacketKey::id) == held {
            return;
        }
        (self.key, self.number) = (key, 0);
        for leg in [&mut self.udp, &mut self.tcp] {
            leg.begin(now);
        }
    }

    /// Notes that a carrier is there, or is not: UDP is, unless it is said otherwise. One that is new registers at once; over one that is gone the
    /// relay reaches nobody.
    pub fn set_carrier(&mut self, carrier: Carrier, is_there: bool, now: Instant) {
        let leg = self.leg_mut(carrier);
        if leg.is_there != is_there {
            leg.is_there = is_there;
            leg.registered = None;
            leg.begin(now);
        }
    }

    /// Registers again at once: for when the network under us changed.
    pub fn search(&mut self, now: Instant) {
        self.udp.search(now);
        self.tcp.search(now);
    }

    /// Takes one packet of ours as it came over a carrier, whoever sent it. What does not verify or is not
    /// from the gateway to us gets silence.
    pub fn handle_packet(&mut self, from: Carrier, packet: &[u8], now: Instant) -> PacketVerdict {
        let opened = self.key.as_ref().and_then(|key| key.open(packet));
        let Some(packet) = opened else { return PacketVerdict::WrongKey };
        if packet.destination != self.own || packet.source != self.gateway {
            return PacketVerdict::Misplaced;
        }
        match packet.kind {
            PacketKind::Challenge => self.handle_challenge(from, &packet, now),
            PacketKind::Registered => self.leg_mut(from).handle_registered(&packet, now),
            PacketKind::Probe | PacketKind::Answer | PacketKind::Register | PacketKind::Confirm => {
                PacketVerdict::Misplaced
            }
        }
    }

    /// Sends what is due and forgets what has lapsed. Early or late calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant, nonce: &mut impl FnMut() -> [u8; 16]) {
        let has_link = self.key.is_some();
        for carrier in Carrier::ALL {
            let leg = self.leg_mut(carrier);
            leg.lapse(now);
            if has_link && leg.is_there && leg.due.is_some_and(|due| due <= now) {
                let (_, random) = split_register_nonce(nonce());
                leg.note_register(random, now);
                self.number += 1;
                let nonce = register_nonce(self.number, random);
                self.send(carrier, PacketKind::Register, nonce);
            }
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lapses = [&self.udp, &self.tcp].into_iter().filter_map(Leg::lapses_at);
        let legs = [&self.udp, &self.tcp].into_iter().filter(|leg| leg.is_there && self.key.is_some());
        legs.filter_map(|leg| leg.due).chain(lapses).min()
    }

    /// Returns what to send to the gateway, and over which carrier.
    pub fn poll_transmit(&mut self) -> Option<(Carrier, Box<[u8]>)> {
        self.transmits.pop_front()
    }

    /// Returns whether the relay reaches us over this carrier, as far as we know.
    #[must_use]
    pub fn is_registered(&self, carrier: Carrier, now: Instant) -> bool {
        let leg = match carrier {
            Carrier::Udp => &self.udp,
            Carrier::Tcp => &self.tcp,
        };
        leg.lapses_at().is_some_and(|at| now < at)
    }

    fn leg_mut(&mut self, carrier: Carrier) -> &mut Leg {
        match carrier {
            Carrier::Udp => &mut self.udp,
            Carrier::Tcp => &mut self.tcp,
        }
    }

    fn handle_challenge(&mut self, from: Carrier, challenge: &Packet, now: Instant) -> PacketVerdict {
        let verdict = self.leg_mut(from).handle_challenge(challenge, now);
        if verdict == PacketVerdict::Taken {
            self.send(from, PacketKind::Confirm, challenge.nonce);
        }
        verdict
    }

    fn send(&mut self, over: Carrier, kind: PacketKind, nonce: [u8; 16]) {
        let Some(key) = &self.key else { return };
        let packet = Packet {
            kind,
            destination: self.gateway,
            source: self.own,
            boot: self.boot,
            nonce,
            length: PROBE_BYTES_MIN,
        };
        let mut buffer = [0; PROBE_BYTES_MIN];
        self.transmits.push_back((over, key.seal(&packet, &mut buffer).into()));
    }
}

impl Leg {
    fn new(is_there: bool) -> Self {
        Self {
            is_there,
            due: None,
            pause: REGISTER_AGAIN_MIN,
            asked: VecDeque::new(),
            confirmed: VecDeque::new(),
            registered: None,
            unasked: TokenBucket::per_second(CONFIRMS_PER_SECOND, CONFIRMS_PER_SECOND),
        }
    }

    /// Begins anew: what was said before, over an earlier link or carrier, earns nothing.
    fn begin(&mut self, now: Instant) {
        self.asked.clear();
        self.confirmed.clear();
        self.search(now);
    }

    fn search(&mut self, now: Instant) {
        (self.due, self.pause) = (Some(now), REGISTER_AGAIN_MIN);
    }

    fn note_register(&mut self, random: [u8; 8], now: Instant) {
        remember(&mut self.asked, random);
        self.due = Some(now + self.pause);
        self.pause = (self.pause * 2).min(REGISTER_AGAIN_MAX);
    }

    fn handle_challenge(&mut self, challenge: &Packet, now: Instant) -> PacketVerdict {
        let asked = self.asked.iter().position(|random| random == challenge.boot.as_bytes());
        if let Some(index) = asked {
            self.asked.remove(index);
            remember(&mut self.confirmed, challenge.nonce);
        } else if !self.unasked.try_take(now) {
            return PacketVerdict::TooMany;
        }
        PacketVerdict::Taken
    }

    fn handle_registered(&mut self, registered: &Packet, now: Instant) -> PacketVerdict {
        if !self.confirmed.contains(&registered.nonce) {
            return PacketVerdict::Unasked;
        }
        self.confirmed.clear();
        self.due = Some(now + REGISTER_EVERY);
        self.pause = REGISTER_AGAIN_MIN;
        self.registered = Some(now);
        PacketVerdict::Taken
    }

    fn lapses_at(&self) -> Option<Instant> {
        self.registered.map(|registered| registered + REGISTRATION_LASTS)
    }

    fn lapse(&mut self, now: Instant) {
        self.registered = self.registered.filter(|_| self.lapses_at().is_some_and(|at| now < at));
    }
}

/// Remembers it, bounded; the oldest is forgotten first.
fn remember<T>(kept: &mut VecDeque<T>, latest: T) {
    if kept.len() >= REGISTERS_OUTSTANDING_MAX {
        kept.pop_front();
    }
    kept.push_back(latest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: RouteId = RouteId::from_bytes(*b"agent 00");
    const GATEWAY: RouteId = RouteId::from_bytes(*b"gateway0");
    const BOOT: BootId = BootId::from_bytes([3; 8]);
    const MS: Duration = Duration::from_millis(1);

    /// A registration, and the relay's part of the talk by hand.
    struct Talk {
        start: Instant,
        agent: Registration,
        drawn: u64,
    }

    impl Talk {
        fn new() -> Self {
            let start = Instant::now();
            let mut agent = Registration::new(OWN, GATEWAY, BOOT);
            agent.set_key(Some(key()), start);
            Self { start, agent, drawn: 0 }
        }

        fn at(&self, after: Duration) -> Instant {
            self.start + after
        }

        /// Returns what the agent sends when it is called at `after`.
        fn called(&mut self, after: Duration) -> Vec<Packet> {
            self.call(after);
            self.sent()
        }

        fn call(&mut self, after: Duration) {
            let now = self.at(after);
            let drawn = &mut self.drawn;
            self.agent.handle_timeout(now, &mut || {
                *drawn += 1;
                register_nonce(u64::MAX, drawn.to_be_bytes())
            });
        }

        fn sent(&mut self) -> Vec<Packet> {
            let sent = self.sent_over().into_iter();
            sent.map(|(carrier, packet)| {
                assert_eq!(carrier, Carrier::Udp);
                packet
            })
            .collect()
        }

        fn sent_over(&mut self) -> Vec<(Carrier, Packet)> {
            std::iter::from_fn(|| self.agent.poll_transmit())
                .map(|(carrier, wire)| {
                    assert_eq!(wire.len(), PROBE_BYTES_MIN);
                    (carrier, key().open(&wire).expect("sealed with the link's key"))
                })
                .collect()
        }

        /// Returns what the agent sends when `packet` reaches it at `after`.
        fn told(&mut self, packet: &Packet, after: Duration) -> Vec<Packet> {
            let now = self.at(after);
            self.agent.handle_packet(Carrier::Udp, &seal(packet), now);
            self.sent()
        }

        /// Returns what the agent sends when `packet` reaches it over `carrier` at `after`.
        fn told_over(
            &mut self,
            carrier: Carrier,
            packet: &Packet,
            after: Duration,
        ) -> Vec<(Carrier, Packet)> {
            let now = self.at(after);
            self.agent.handle_packet(carrier, &seal(packet), now);
            self.sent_over()
        }

        /// Returns over what the relay reaches the agent at `after`.
        fn registered(&self, after: Duration) -> Vec<Carrier> {
            let now = self.at(after);
            Carrier::ALL.into_iter().filter(|carrier| self.agent.is_registered(*carrier, now)).collect()
        }

        /// Runs a whole round without loss.
        fn register(&mut self, after: Duration) {
            let [register] = self.called(after)[..] else { panic!("a register is due") };
            let [confirm] = self.told(&challenge(&register, [7; 16]), after)[..] else { panic!("confirms") };
            assert_eq!((confirm.kind, confirm.nonce), (PacketKind::Confirm, [7; 16]));
            assert!(self.told(&registered([7; 16]), after).is_empty());
            assert!(self.agent.is_registered(Carrier::Udp, self.at(after)));
        }
    }

    fn key() -> PacketKey {
        PacketKey::of_link(&[5; 32])
    }

    fn seal(packet: &Packet) -> Vec<u8> {
        key().seal(packet, &mut [0; PROBE_BYTES_MIN]).to_vec()
    }

    fn from_gateway(kind: PacketKind, boot: [u8; 8], nonce: [u8; 16]) -> Packet {
        let boot = BootId::from_bytes(boot);
        Packet { kind, destination: OWN, source: GATEWAY, boot, nonce, length: PROBE_BYTES_MIN }
    }

    fn challenge(register: &Packet, nonce: [u8; 16]) -> Packet {
        from_gateway(PacketKind::Challenge, split_register_nonce(register.nonce).1, nonce)
    }

    fn registered(nonce: [u8; 16]) -> Packet {
        from_gateway(PacketKind::Registered, [9; 8], nonce)
    }

    #[test]
    fn a_link_registers_at_once_then_every_fifteen_seconds() {
        let mut talk = Talk::new();
        for round in 0..4 {
            let after = REGISTER_EVERY * round;
            assert_eq!(talk.agent.poll_timeout(), Some(talk.at(after)));
            talk.register(after);
            assert!(talk.called(after + REGISTER_EVERY.saturating_sub(MS)).is_empty());
        }
    }

    #[test]
    fn without_an_answer_it_asks_by_a_new_number_after_250_ms_doubling_to_two_seconds() {
        let mut talk = Talk::new();
        let mut asked = Vec::new();
        for after in [0, 250, 750, 1_750, 3_750, 5_750] {
            assert_eq!(talk.agent.poll_timeout(), Some(talk.at(MS * after)));
            if after > 0 {
                assert!(talk.called(MS * (after - 1)).is_empty());
            }
            asked.extend(talk.called(MS * after));
        }
        let numbers: Vec<_> = asked.iter().map(|register| split_register_nonce(register.nonce).0).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert!(asked.iter().all(|register| register.kind == PacketKind::Register));
        assert!(asked.iter().all(|register| (register.source, register.destination) == (OWN, GATEWAY)));
    }

    #[test]
    fn a_registration_lapses_exactly_sixty_seconds_after_its_last_word() {
        let mut talk = Talk::new();
        talk.register(Duration::ZERO);
        talk.agent.set_key(None, talk.at(MS));
        assert_eq!(talk.agent.poll_timeout(), Some(talk.at(REGISTRATION_LASTS)));
        assert!(talk.agent.is_registered(Carrier::Udp, talk.at(REGISTRATION_LASTS.saturating_sub(MS))));
        assert!(!talk.agent.is_registered(Carrier::Udp, talk.at(REGISTRATION_LASTS)));
        assert!(talk.called(REGISTRATION_LASTS).is_empty(), "nothing is sent without a link");
        assert_eq!(talk.agent.poll_timeout(), None);
    }

    #[test]
    fn a_registration_outlasts_its_link_while_the_new_one_registers() {
        let mut talk = Talk::new();
        talk.register(Duration::ZERO);
        talk.agent.set_key(Some(PacketKey::of_link(&[6; 32])), talk.at(MS));
        assert!(talk.agent.is_registered(Carrier::Udp, talk.at(MS)));
        assert_eq!(talk.agent.poll_timeout(), Some(talk.at(MS)));
        // The link before is as good as a stranger's.
        assert!(talk.told(&from_gateway(PacketKind::Challenge, [0; 8], [1; 16]), MS).is_empty());
        // And the same link told twice changes nothing.
        let mut talk = Talk::new();
        talk.register(Duration::ZERO);
        talk.agent.set_key(Some(key()), talk.at(MS));
        assert_eq!(talk.agent.poll_timeout(), Some(talk.at(REGISTER_EVERY)));
    }

    #[test]
    fn a_round_trip_longer_than_the_pause_registers_all_the_same() {
        let mut talk = Talk::new();
        let first = talk.called(Duration::ZERO)[0];
        talk.called(MS * 250);
        talk.called(MS * 750);
        let late = MS * 900;
        assert_eq!(talk.told(&challenge(&first, [1; 16]), late).len(), 1);
        talk.told(&registered([1; 16]), late);
        assert!(talk.agent.is_registered(Carrier::Udp, talk.at(late)));
    }

    #[test]
    fn only_the_latest_attempts_count() {
        let mut talk = Talk::new();
        let mut after = Duration::ZERO;
        let first = talk.called(after)[0];
        for _ in 0..REGISTERS_OUTSTANDING_MAX {
            after += REGISTER_AGAIN_MAX;
            assert_eq!(talk.called(after).len(), 1);
        }
        talk.told(&challenge(&first, [1; 16]), after);
        talk.told(&registered([1; 16]), after);
        assert!(!talk.agent.is_registered(Carrier::Udp, talk.at(after)));
        assert_eq!(talk.agent.udp.asked.len(), REGISTERS_OUTSTANDING_MAX);
    }

    #[test]
    fn a_challenge_nobody_asked_for_is_confirmed_but_proves_nothing_here() {
        let mut talk = Talk::new();
        let unasked = from_gateway(PacketKind::Challenge, [9; 8], [1; 16]);
        assert_eq!(talk.told(&unasked, MS)[0].kind, PacketKind::Confirm);
        talk.told(&registered([1; 16]), MS);
        assert!(!talk.agent.is_registered(Carrier::Udp, talk.at(MS)));
    }

    #[test]
    fn replayed_challenges_confirmed_at_a_bounded_rate_never_starve_a_genuine_one() {
        let mut talk = Talk::new();
        let [register] = talk.called(Duration::ZERO)[..] else { panic!("registers") };
        let genuine = challenge(&register, [7; 16]);
        let old = from_gateway(PacketKind::Challenge, [9; 8], [1; 16]);
        let confirmed = (0..1_000).filter(|_| !talk.told(&old, MS).is_empty()).count();
        assert_eq!(confirmed, CONFIRMS_PER_SECOND as usize);
        assert_eq!(talk.told(&genuine, MS).len(), 1);
        assert!(talk.told(&genuine, MS).is_empty(), "the second time it is a replay");
        talk.told(&registered([7; 16]), MS);
        assert!(talk.agent.is_registered(Carrier::Udp, talk.at(MS)));
        // The word that registered us does so once.
        talk.told(&registered([7; 16]), MS * 2);
        assert_eq!(talk.agent.poll_timeout(), Some(talk.at(MS + REGISTER_EVERY)));
    }

    #[test]
    fn what_is_forged_reflected_or_for_another_gets_silence() {
        let mut talk = Talk::new();
        let [register] = talk.called(Duration::ZERO)[..] else { panic!("registers") };
        let genuine = challenge(&register, [7; 16]);
        for packet in [
            Packet { destination: GATEWAY, ..genuine },
            Packet { source: OWN, ..genuine },
            // Our own words, thrown back.
            register,
            Packet { kind: PacketKind::Confirm, ..register },
            Packet { kind: PacketKind::Probe, ..genuine },
            Packet { kind: PacketKind::Answer, ..genuine },
        ] {
            assert!(talk.told(&packet, MS).is_empty(), "{packet:?}");
        }
        let wire = seal(&genuine);
        for bit in 0..wire.len() * 8 {
            let mut forged = wire.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            talk.agent.handle_packet(Carrier::Udp, &forged, talk.at(MS));
            talk.agent.handle_packet(Carrier::Udp, &wire[..bit / 8], talk.at(MS));
        }
        assert!(talk.sent().is_empty());
    }

    #[test]
    fn a_changed_network_registers_at_once() {
        let mut talk = Talk::new();
        talk.register(Duration::ZERO);
        talk.agent.search(talk.at(MS * 100));
        assert_eq!(talk.called(MS * 100).len(), 1);
        assert_eq!(talk.agent.poll_timeout(), Some(talk.at(MS * 350)));
    }

    #[test]
    fn each_carrier_registers_by_itself_with_one_rising_number() {
        let mut talk = Talk::new();
        talk.register(Duration::ZERO);
        talk.agent.set_carrier(Carrier::Tcp, true, talk.at(MS));
        assert_eq!(talk.agent.poll_timeout(), Some(talk.at(MS)));
        talk.call(MS);
        let [(Carrier::Tcp, register)] = talk.sent_over()[..] else {
            panic!("registers over the new one alone")
        };
        assert_eq!(split_register_nonce(register.nonce).0, 2);
        let [(Carrier::Tcp, confirm)] = talk.told_over(Carrier::Tcp, &challenge(&register, [8; 16]), MS)[..]
        else {
            panic!("confirms where it was challenged")
        };
        assert_eq!((confirm.kind, confirm.nonce), (PacketKind::Confirm, [8; 16]));
        assert_eq!(talk.registered(MS), [Carrier::Udp]);
        talk.told_over(Carrier::Tcp, &registered([8; 16]), MS);
        assert_eq!(talk.registered(MS), Carrier::ALL);
        // The first is due again fifteen seconds after its own word, the second after its own.
        talk.call(REGISTER_EVERY);
        let [(Carrier::Udp, register)] = talk.sent_over()[..] else { panic!("registers") };
        assert_eq!(split_register_nonce(register.nonce).0, 3);
        assert_eq!(talk.agent.poll_timeout(), Some(talk.at(MS + REGISTER_EVERY)));
    }

    #[test]
    fn what_came_over_one_carrier_proves_nothing_of_the_other() {
        let mut talk = Talk::new();
        talk.agent.set_carrier(Carrier::Tcp, true, talk.at(MS));
        talk.call(MS);
        let [(Carrier::Udp, over_udp), (Carrier::Tcp, over_tcp)] = talk.sent_over()[..] else {
            panic!("both")
        };
        // Each other's challenge is as good as one that nobody asked for.
        talk.told_over(Carrier::Tcp, &challenge(&over_udp, [1; 16]), MS);
        talk.told_over(Carrier::Udp, &challenge(&over_tcp, [2; 16]), MS);
        for carrier in Carrier::ALL {
            for nonce in [[1; 16], [2; 16]] {
                talk.told_over(carrier, &registered(nonce), MS);
            }
        }
        assert_eq!(talk.registered(MS), []);
        talk.told_over(Carrier::Tcp, &challenge(&over_tcp, [3; 16]), MS);
        talk.told_over(Carrier::Udp, &registered([3; 16]), MS);
        assert_eq!(talk.registered(MS), []);
        talk.told_over(Carrier::Tcp, &registered([3; 16]), MS);
        assert_eq!(talk.registered(MS), [Carrier::Tcp]);
    }

    #[test]
    fn over_a_carrier_that_is_gone_nothing_is_sent_and_nobody_is_reached() {
        let mut talk = Talk::new();
        talk.register(Duration::ZERO);
        talk.agent.set_carrier(Carrier::Udp, false, talk.at(MS));
        assert_eq!((talk.registered(MS), talk.agent.poll_timeout()), (vec![], None));
        assert!(talk.called(REGISTER_EVERY).is_empty());
        talk.agent.set_carrier(Carrier::Udp, true, talk.at(REGISTER_EVERY));
        talk.register(REGISTER_EVERY);
        // Said twice it changes nothing.
        talk.agent.set_carrier(Carrier::Udp, true, talk.at(REGISTER_EVERY));
        assert_eq!(talk.registered(REGISTER_EVERY), [Carrier::Udp]);
        assert_eq!(talk.agent.poll_timeout(), Some(talk.at(REGISTER_EVERY * 2)));
    }

    #[test]
    fn a_carrier_that_answers_nothing_is_asked_again_without_haste_for_the_other() {
        let mut talk = Talk::new();
        talk.agent.set_carrier(Carrier::Tcp, true, talk.start);
        let mut asked = Vec::new();
        for after in [0, 250, 750, 1_750] {
            talk.call(MS * after);
            for (carrier, register) in talk.sent_over() {
                asked.push((carrier, after));
                if carrier == Carrier::Tcp {
                    talk.told_over(carrier, &challenge(&register, [1; 16]), MS * after);
                    talk.told_over(carrier, &registered([1; 16]), MS * after);
                }
            }
        }
        let udp = [0, 250, 750, 1_750].map(|after| (Carrier::Udp, after));
        assert!(asked.iter().filter(|(carrier, _)| *carrier == Carrier::Udp).eq(&udp));
        assert_eq!(asked.len(), udp.len() + 1, "{asked:?}");
    }

    proptest! {
        #[test]
        fn random_packets_are_never_answered(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..20),
        ) {
            let mut talk = Talk::new();
            for packet in packets {
                talk.agent.handle_packet(Carrier::Udp, &packet, talk.at(MS));
            }
            prop_assert!(talk.sent().is_empty());
        }
    }
}
