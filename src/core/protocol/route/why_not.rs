//! Why a path that the owner wants more than the one in use is not used, in words for people.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::choice::Choice;
use super::path::Path;
use super::path_probe::PathProbe;
use super::path_probes::PathProbes;
use crate::domain::path::PathKind;

/// Why packets do not take a kind of path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot {
    /// The owner of this agent does not allow it.
    NotAllowed,
    /// The rules let packets for this peer take other relays only.
    OtherRelay,
    /// The other end has announced no address, and was seen at none.
    NoAddress,
    /// This agent is registered at no relay over UDP.
    NotRegistered,
    /// No carrier to a relay is open here.
    NoCarrier,
    /// It is asked for the first time, or again after a change of the network.
    Asked,
    /// It has left probes unanswered since then.
    Silent { since: Instant },
    /// It answers, and loses packets as long as those that are sent: so many bytes.
    TooNarrow { bytes: usize },
    /// It answers, and must do so until then without a gap.
    Proving { until: Instant },
}

impl WhyNot {
    /// Returns one word, for labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowed => "not-allowed",
            Self::OtherRelay => "other-relay",
            Self::NoAddress => "no-address",
            Self::NotRegistered => "not-registered",
            Self::NoCarrier => "no-carrier",
            Self::Asked => "asked",
            Self::Silent { .. } => "silent",
            Self::TooNarrow { .. } => "too-narrow",
            Self::Proving { .. } => "proving",
        }
    }

    /// Returns what there is when nothing of this kind can even be asked.
    fn nothing_of(kind: PathKind, choice: &Choice) -> Self {
        match kind {
            PathKind::Direct => Self::NoAddress,
            PathKind::Relay | PathKind::Tcp if !choice.forbidden().is_empty() => Self::OtherRelay,
            PathKind::Relay => Self::NotRegistered,
            PathKind::Tcp => Self::NoCarrier,
        }
    }

    /// Returns a sentence for people who read it at `now`.
    #[must_use]
    pub fn at(self, now: Instant) -> String {
        match self {
            Self::NotAllowed => "this agent's file or `adit path` does not allow it".into(),
            Self::OtherRelay => "the rule names another relay than that of this agent's gateway".into(),
            Self::NoAddress => "no address is known at which it could be asked".into(),
            Self::NotRegistered => "this agent is not registered at the relay over UDP".into(),
            Self::NoCarrier => "no TCP connection to the gateway is open".into(),
            Self::Asked => "it is being asked and has not answered yet".into(),
            Self::Silent { since } => {
                format!("it has not answered for {}", seconds(now.saturating_duration_since(since)))
            }
            Self::TooNarrow { bytes } => format!("it answers, but loses packets of {bytes} bytes"),
            Self::Proving { until } => {
                let left = until.saturating_duration_since(now);
                format!("it answers, and is used if it goes on for {}", seconds(left))
            }
        }
    }
}

/// Returns what is wrong with each kind that is better than the one in use, or with all where none is.
pub(super) fn of_better_kinds(
    choice: &Choice,
    probes: &PathProbes,
    now: Instant,
) -> impl Iterator<Item = (PathKind, WhyNot)> {
    let preference = choice.preference();
    let active = choice.active().map(Path::kind);
    let is_better = move |kind: PathKind| {
        active.is_none_or(|active| match (preference.rank(kind), preference.rank(active)) {
            (Some(rank), Some(of_active)) => rank < of_active,
            (Some(_), None) => true,
            (None, _) => kind < active,
        })
    };
    let allowed = preference.iter().map(move |kind| (kind, of_kind(kind, choice, probes, now)));
    let others = PathKind::ALL.into_iter().filter(move |kind| !preference.allows(*kind));
    allowed.chain(others.map(|kind| (kind, WhyNot::NotAllowed))).filter(move |(kind, _)| is_better(*kind))
}

/// Returns what is wrong with the most hopeful path of an allowed kind.
fn of_kind(kind: PathKind, choice: &Choice, probes: &PathProbes, now: Instant) -> WhyNot {
    let paths = probes.iter().filter(|(path, _)| path.kind() == kind && choice.allows(*path));
    let reasons = paths.map(|(_, probe)| of_path(kind, probe, choice, now));
    let hope = |why: &WhyNot| match why {
        WhyNot::Proving { until } => (3, Some(Reverse(*until)), None),
        WhyNot::TooNarrow { .. } => (2, None, None),
        WhyNot::Asked => (1, None, None),
        WhyNot::Silent { since } => (0, None, Some(*since)),
        WhyNot::NotAllowed
        | WhyNot::OtherRelay
        | WhyNot::NoAddress
        | WhyNot::NotRegistered
        | WhyNot::NoCarrier => (0, None, None),
    };
    reasons.max_by_key(hope).unwrap_or_else(|| WhyNot::nothing_of(kind, choice))
}

fn of_path(kind: PathKind, probe: &PathProbe, choice: &Choice, now: Instant) -> WhyNot {
    if probe.is_narrow(now) {
        return WhyNot::TooNarrow { bytes: choice.mtu() };
    }
    match (probe.asked, choice.climb_at(kind, probe)) {
        (Some(since), _) if probe.is_doubted(now) => WhyNot::Silent { since },
        (_, Some(until)) => WhyNot::Proving { until },
        (_, None) => WhyNot::Asked,
    }
}

/// Returns whole seconds, one at least.
fn seconds(span: Duration) -> String {
    match span.as_secs().max(1) {
        1 => "a second".into(),
        more => format!("{more} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_reasons_share_a_label_or_words() {
        let now = Instant::now();
        let all = [
            WhyNot::NotAllowed,
            WhyNot::OtherRelay,
            WhyNot::NoAddress,
            WhyNot::NotRegistered,
            WhyNot::NoCarrier,
            WhyNot::Asked,
            WhyNot::Silent { since: now },
            WhyNot::TooNarrow { bytes: 1_452 },
            WhyNot::Proving { until: now },
        ];
        let labels: BTreeSet<_> = all.map(WhyNot::as_str).into();
        let words: BTreeSet<_> = all.map(|why| why.at(now)).into();
        assert_eq!((labels.len(), words.len()), (all.len(), all.len()));
    }

    #[test]
    fn times_are_told_as_seen_by_the_reader() {
        let now = Instant::now();
        let later = now + Duration::from_millis(12_300);
        assert_eq!(WhyNot::Silent { since: now }.at(later), "it has not answered for 12 seconds");
        assert_eq!(WhyNot::Silent { since: later }.at(now), "it has not answered for a second");
        let proving = WhyNot::Proving { until: later };
        assert_eq!(proving.at(now), "it answers, and is used if it goes on for 12 seconds");
    }
}
