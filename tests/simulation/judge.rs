//! What the script excuses: a tunnel may end only after a restart, or when for about its stall limit
//! no path was there. Knows the script's doings, not what the keepers think of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use adit_core::domain::path::Carrier;

use crate::wire::Node;

/// How much longer than the darkness itself the silence may be: the last answer was up to a second
/// old, and the next probe may be two seconds away and lose a round or two.
const SILENCE_BEYOND_DARK: Duration = Duration::from_millis(3_500);
/// How long after it appeared the direct path counts, the relay, where agents must register, and the relay
/// over TCP: a dead carrier that nothing uses is asked every fifteen seconds, is silent for six, and another
/// must be dialled.
const SETTLES_DIRECT: Duration = Duration::from_millis(1_500);
const SETTLES_RELAYED: Duration = Duration::from_millis(2_500);
const SETTLES_OVER_TCP: Duration = Duration::from_secs(25);
/// A path that was there for less may not have been found.
const FLICKER: Duration = Duration::from_secs(3);
/// How long after its cause an end may come: the other side's limit, its message, and ours.
const AFTERMATH: Duration = Duration::from_secs(20);
const SPANS_KEPT: usize = 64;

/// How packets can go between the agents: through the relay each over a carrier of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    /// The legs of source and target.
    Relayed([Carrier; 2]),
}

impl Way {
    pub(crate) const ALL: [Self; 5] = [
        Self::Direct,
        Self::Relayed([Carrier::Udp, Carrier::Udp]),
        Self::Relayed([Carrier::Udp, Carrier::Tcp]),
        Self::Relayed([Carrier::Tcp, Carrier::Udp]),
        Self::Relayed([Carrier::Tcp, Carrier::Tcp]),
    ];

    /// Those on which `agent` takes this carrier to the relay.
    pub(crate) fn over(agent: Node, carrier: Carrier) -> Vec<Self> {
        let place = usize::from(agent != Node::Source);
        let is_over = |way: &Self| matches!(way, Self::Relayed(legs) if legs[place] == carrier);
        Self::ALL.into_iter().filter(is_over).collect()
    }

    fn settles(self) -> Duration {
        match self {
            Self::Direct => SETTLES_DIRECT,
            Self::Relayed([Carrier::Udp, Carrier::Udp]) => SETTLES_RELAYED,
            Self::Relayed(_) => SETTLES_OVER_TCP,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Judge {
    /// The shortest of any end.
    pub stall: Duration,
    /// Since when each way is there, and was not disturbed.
    there: [Option<Instant>; Way::ALL.len()],
    dark_since: Option<Instant>,
    dark: VecDeque<(Instant, Instant)>,
    restarted: Option<Instant>,
}

impl Judge {
    /// A run begins in the dark.
    pub(crate) fn new(stall: Duration, now: Instant) -> Self {
        Self {
            stall,
            there: [None; Way::ALL.len()],
            dark_since: Some(now),
            dark: VecDeque::new(),
            restarted: None,
        }
    }

    /// Whether each way is there from now on.
    pub(crate) fn observe(&mut self, now: Instant, ways: [bool; Way::ALL.len()]) {
        let settled = ways.iter().zip(&mut self.there).zip(Way::ALL).map(|((is_there, since), way)| {
            *since = is_there.then(|| since.unwrap_or(now));
            since.is_some_and(|since| now - since >= way.settles())
        });
        let lit = settled.fold(false, |lit, is_settled| lit | is_settled);
        match (self.dark_since, lit) {
            (None, false) => {
                let flicker = self.dark.back().filter(|(_, to)| now - *to < FLICKER).copied();
                if flicker.is_some() {
                    self.dark.pop_back();
                }
                self.dark_since = Some(flicker.map_or(now, |(since, _)| since));
            }
            (Some(since), true) => {
                self.dark_since = None;
                self.add_darkness(since, now);
            }
            (None, true) | (Some(_), false) => {}
        }
    }

    /// Returns whether a way that `is_wanted` has counted for so long.
    pub(crate) fn has_had(&self, span: Duration, is_wanted: impl Fn(Way) -> bool, now: Instant) -> bool {
        let mut ways = self.there.iter().zip(Way::ALL).filter(|(_, way)| is_wanted(*way));
        ways.any(|(since, way)| since.is_some_and(|since| now - since >= way.settles() + span))
    }

    /// An address or a carrier changed: what goes these ways is lost until the other end has found out.
    pub(crate) fn note_disturbance(&mut self, now: Instant, disturbed: &[Way]) {
        for (since, way) in self.there.iter_mut().zip(Way::ALL) {
            if disturbed.contains(&way) {
                *since = since.map(|_| now);
            }
        }
    }

    /// Time that nobody lived through.
    pub(crate) fn add_darkness(&mut self, from: Instant, to: Instant) {
        if self.dark.len() >= SPANS_KEPT {
            self.dark.pop_front();
        }
        self.dark.push_back((from, to));
    }

    pub(crate) fn note_restart(&mut self, now: Instant) {
        self.restarted = Some(now);
    }

    /// Whether a tunnel may have ended now for silence of its stall limit.
    pub(crate) fn excuses(&self, now: Instant) -> bool {
        self.excuses_silence_of(self.stall, now)
    }

    /// Whether one who waited for so long may have heard nothing.
    pub(crate) fn excuses_silence_of(&self, limit: Duration, now: Instant) -> bool {
        let recent = now.checked_sub(limit * 2 + AFTERMATH);
        let is_recent = |at: Instant| recent.is_none_or(|recent| at >= recent);
        let dark = self.dark_since.map(|since| (since, now));
        let mut dark = self.dark.iter().copied().chain(dark);
        self.restarted.is_some_and(is_recent)
            || dark.any(|(from, to)| is_recent(to) && to - from + SILENCE_BEYOND_DARK >= limit)
    }
}
