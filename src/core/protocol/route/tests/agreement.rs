//! Two keepers under faults drawn at random: what holds always, and what holds once they are lifted.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::net::{A, A_HOME, B, B_HOME, Net};
use crate::domain::limits::{
    CLIMB_AFTER, CLIMB_AFTER_MAX, PATH_SILENCE, PEER_ADDRESSES_MAX, PROBE_SEARCH_MAX, PROBES_OUTSTANDING_MAX,
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Which end's packets of a kind arrive, from now on.
    Direct([bool; 2]),
    Relay([bool; 2]),
    /// Which end's carrier passes nothing.
    Tcp([bool; 2]),
    /// Nothing of this end's UDP passes, or all.
    Udp(usize, bool),
    Loss(u64),
    Registered(bool),
    Carriers(bool),
    Prefer(usize, PathPreference),
    /// Nothing happens for so long that every patience is at its end.
    Peace,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => any::<[bool; 2]>().prop_map(Fault::Direct),
        3 => any::<[bool; 2]>().prop_map(Fault::Relay),
        2 => any::<[bool; 2]>().prop_map(Fault::Tcp),
        2 => (0_usize..2, any::<bool>()).prop_map(|(which, cut)| Fault::Udp(which, cut)),
        2 => (0_u64..40).prop_map(Fault::Loss),
        1 => any::<bool>().prop_map(Fault::Registered),
        1 => any::<bool>().prop_map(Fault::Carriers),
        1 => (0_usize..2, preference()).prop_map(|(which, preference)| Fault::Prefer(which, preference)),
        1 => Just(Fault::Peace),
    ]
}

/// Any order of any kinds.
fn preference() -> impl Strategy<Value = PathPreference> {
    let kinds = (Just(PathKind::ALL.to_vec()).prop_shuffle(), 1..=PathKind::ALL.len());
    kinds.prop_map(|(kinds, count)| PathPreference::new(&kinds[..count]).unwrap())
}

fn faults() -> impl Strategy<Value = Vec<(Fault, u64)>> {
    prop::collection::vec((fault(), 1_u64..20_000), 1..25)
}

/// A run, and what each end was allowed and since when.
struct Run {
    net: Net,
    preferences: [(PathPreference, Duration); 2],
    /// What each end said, when, and under which preference.
    said: [Vec<(Duration, RouteEvent, PathPreference)>; 2],
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut net = Net::new();
        net.random = seed;
        net.announce(A, &[B_HOME]);
        net.announce(B, &[A_HOME]);
        net.set_relay(true);
        net.set_tcp(true);
        Self { net, preferences: [(PathPreference::AUTO, Duration::ZERO); 2], said: [vec![], vec![]] }
    }

    fn prefer(&mut self, which: usize, preference: PathPreference) {
        let (before, since) = &mut self.preferences[which];
        if *before != preference {
            (*before, *since) = (preference, self.net.elapsed());
            self.net.prefer(which, preference);
        }
    }

    fn meet(&mut self, fault: Fault) {
        let net = &mut self.net;
        match fault {
            Fault::Direct(cut) => net.direct_cut = cut,
            Fault::Relay(cut) => net.relay_cut = cut,
            Fault::Loss(percent) => net.loss_percent = percent,
            Fault::Tcp(cut) => net.tcp_leg_cut = cut,
            Fault::Udp(which, cut) => net.block_udp(which, cut),
            Fault::Registered(registered) => net.set_relay(registered),
            Fault::Carriers(open) => net.set_tcp(open),
            Fault::Prefer(which, preference) => self.prefer(which, preference),
            Fault::Peace => {
                self.lift();
                self.run_for(Duration::from_secs(700));
            }
        }
    }

    fn lift(&mut self) {
        self.net.cut_all(false);
        self.net.udp_leg_cut = [false; 2];
        self.net.loss_percent = 0;
        self.net.set_relay(true);
        self.net.set_tcp(true);
        self.prefer(A, PathPreference::AUTO);
        self.prefer(B, PathPreference::AUTO);
    }

    /// Runs in steps, and looks after each.
    fn run_for(&mut self, span: Duration) {
        let end = self.net.now + span;
        while self.net.now < end {
            self.net.run_for((end - self.net.now).min(SECOND / 2));
            for which in [A, B] {
                let preference = self.preferences[which].0;
                let said = self.net.dated_events(which).into_iter();
                self.said[which].extend(said.map(|(at, event)| (at, event, preference)));
                self.look_at(which);
            }
        }
    }

    fn look_at(&self, which: usize) {
        let peer = self.net.peer(which);
        let (preference, since) = self.preferences[which];
        if let Some(path) = peer.active() {
            let leaves = self.net.elapsed() < since + PATH_SILENCE;
            let is_allowed = preference.allows(path.kind());
            assert!(is_allowed || leaves, "{path} is used though only {preference} is allowed");
            let is_valid = |address| peer.validated().any(|valid| valid == address);
            assert!(path.address().is_none_or(is_valid));
            let ranked = peer.why_not(self.net.now).map(|(kind, _)| preference.rank(kind));
            let rank = preference.rank(path.kind());
            assert!(ranked.flatten().all(|better| rank.is_none_or(|rank| better < rank)));
        } else {
            assert_eq!(peer.why_not(self.net.now).count(), PathKind::ALL.len());
        }
        assert!(peer.outstanding.len() <= PROBES_OUTSTANDING_MAX);
        assert!(peer.probes.iter().count() <= 2 * PEER_ADDRESSES_MAX + 3);
        assert!(peer.poll_timeout().is_none_or(|due| due > self.net.now), "a timer stands still");
    }

    /// Checks that between two changes lies what the policy asks for, and each reason is true.
    fn check_changes(&self, which: usize) {
        let mut last: Option<(Duration, Path)> = None;
        let mut left_in_silence: BTreeMap<PathKind, Duration> = BTreeMap::new();
        for (at, event, preference) in &self.said[which] {
            let RouteEvent::Active { path, why } = *event else {
                last = last.filter(|_| *event != RouteEvent::Inactive);
                continue;
            };
            let (since, before) = last.map_or((Duration::ZERO, None), |(since, path)| (since, Some(path)));
            match why {
                PathReason::First => assert_eq!(before, None),
                PathReason::Better => {
                    let rank =
                        |path: Path| preference.rank(path.kind()).expect("only what is allowed is compared");
                    assert!(before.is_some_and(|before| rank(path) < rank(before)));
                    let left = left_in_silence.get(&path.kind());
                    assert!(
                        left.is_none_or(|left| *at >= *left + CLIMB_AFTER),
                        "{which} climbed too soon at {at:?}"
                    );
                }
                PathReason::Silent => {
                    let before = before.expect("something fell silent");
                    assert!(path.kind() != before.kind() && *at >= since + SECOND * 2, "{which} at {at:?}");
                    left_in_silence.insert(before.kind(), *at);
                }
                PathReason::Moved => panic!("there is one address"),
                PathReason::Forced => assert!(before.is_some_and(|before| before.kind() != path.kind())),
            }
            last = Some((*at, path));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happened_both_ends_agree_soon_after_to_meet_on_direct_in_the_end(
        seed in any::<u64>(),
        faults in faults(),
    ) {
        let mut run = Run::new(seed);
        for (fault, millis) in faults {
            run.meet(fault);
            run.run_for(Duration::from_millis(millis));
        }
        run.lift();
        run.run_for(PROBE_SEARCH_MAX + PATH_SILENCE + SECOND);
        for which in [A, B] {
            prop_assert!(run.net.peer(which).active().is_some() && run.net.silence(which) < SECOND * 2);
        }
        run.run_for(CLIMB_AFTER_MAX + SECOND * 5);
        for which in [A, B] {
            prop_assert_eq!(run.net.kind(which), Some(PathKind::Direct));
            run.check_changes(which);
            let busiest = run.net.busiest_second(which);
            prop_assert!(busiest <= PACKETS_PER_SECOND, "{busiest} packets in a second");
        }
    }
}

/// What one end sends at most, of its own accord and in answer to the other, with one address and
/// the relay over two carriers to search: some ten probes each, as many asked back, and the answers to all
/// those.
const PACKETS_PER_SECOND: usize = 90;
