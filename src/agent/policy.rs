//! What an entry of the agent's own file may do under the rules it holds: the file says what may
//! ever be, the gateway's rules narrow it, an explicit end or a revocation stays until a person of
//! this host undoes it.

use adit_core::config::agent::{Entry, Service};
use adit_core::domain::access::Access;
use adit_core::domain::connection::Side;
use adit_core::protocol::control::{Activity, ConfigMismatch, Rule};
use adit_core::protocol::rule_list::WhyUnusable;
use adit_core::protocol::rules::RuleBook;

/// What may happen on an entry's connection now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Policy {
    /// No gateway has said anything yet.
    Unknown,
    /// The gateway does not list the connection, and may again.
    Unlisted,
    /// The rule does not fit this agent's file.
    ConfigMismatch(ConfigMismatch),
    /// This build cannot use the rule.
    Unusable(WhyUnusable),
    /// Not switched on.
    Ready(Rule),
    /// What runs may end, nothing new starts.
    Paused(Rule),
    Active(Rule),
    Terminated,
}

impl Policy {
    /// Judges an entry that stands at `side` in this agent's file.
    #[must_use]
    pub(crate) fn of(entry: &Entry, side: Side, rules: &RuleBook) -> Self {
        if rules.is_ended(entry.id) {
            return Self::Terminated;
        }
        if let Some(unusable) = rules.unusable(entry.id) {
            return Self::Unusable(unusable.why());
        }
        let Some(rule) = rules.rule(entry.id) else {
            return if rules.is_begun() { Self::Unlisted } else { Self::Unknown };
        };
        if let Some(reason) = config_mismatch(entry, side, rule) {
            return Self::ConfigMismatch(reason);
        }
        let rule = rule.clone();
        match rule.activity {
            Activity::Ready => Self::Ready(rule),
            Activity::Paused => Self::Paused(rule),
            Activity::Active => Self::Active(rule),
        }
    }

    #[must_use]
    pub(crate) const fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Ready(rule) | Self::Paused(rule) | Self::Active(rule) => Some(rule),
            Self::Unknown
            | Self::Unlisted
            | Self::ConfigMismatch(_)
            | Self::Unusable(_)
            | Self::Terminated => None,
        }
    }

    /// Returns whether an open tunnel may stay open.
    #[must_use]
    pub(crate) const fn keeps_tunnel(&self) -> bool {
        matches!(self, Self::Active(_) | Self::Paused(_))
    }

    #[must_use]
    pub(crate) const fn is_active(&self) -> bool {
        matches!(self, Self::Active(_))
    }

    /// Returns the status for people, in the words of the status table.
    #[must_use]
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => word::UNKNOWN,
            Self::Unlisted => word::UNLISTED,
            Self::ConfigMismatch(_) => word::CONFIG_MISMATCH,
            Self::Unusable(_) => word::UNUSABLE,
            Self::Ready(_) => word::READY,
            Self::Paused(_) => word::PAUSED,
            Self::Active(_) => word::ACTIVE,
            Self::Terminated => word::TERMINATED,
        }
    }
}

/// The words that people read, and that `--json` and the status socket carry.
pub(super) mod word {
    pub(crate) const UNKNOWN: &str = "No rule";
    pub(crate) const UNLISTED: &str = "Not listed";
    pub(crate) const CONFIG_MISMATCH: &str = "Mismatch";
    pub(crate) const UNUSABLE: &str = "Update needed";
    pub(crate) const READY: &str = "Ready";
    pub(crate) const PAUSED: &str = "Paused";
    pub(crate) const ACTIVE: &str = "Active";
    pub(crate) const TERMINATED: &str = "Terminated";
    /// Whatever the rules say, one of the two agents stops.
    pub(crate) const STOPPING: &str = "Stopping";
}

fn config_mismatch(entry: &Entry, side: Side, rule: &Rule) -> Option<ConfigMismatch> {
    let access = Access::of(rule.kind);
    if access.is_some() != matches!(entry.service, Service::Admin { .. }) {
        return Some(ConfigMismatch::Type);
    }
    if rule.side != side {
        return Some(ConfigMismatch::Side);
    }
    if rule.peer != entry.peer {
        return Some(ConfigMismatch::Peer);
    }
    match entry.service {
        Service::Channel(protocol) if rule.protocol != Some(protocol) => Some(ConfigMismatch::Protocol),
        Service::Admin { access_max } if access > Some(access_max) => Some(ConfigMismatch::Access),
        Service::Channel(_) | Service::Admin { .. } => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use adit_core::domain::connection::{ConnectionType, Protocol};
    use adit_core::domain::id::{ConnectionId, RouteId, ServerId};
    use adit_core::domain::limits;
    use adit_core::domain::path::PathPreference;
    use adit_core::protocol::control::{Change, fixture};
    use adit_core::protocol::rules::Concerns;

    pub(crate) const PEER: ServerId = ServerId::from_bytes([5; 16]);

    /// Returns a source's entry of this agent's file.
    pub(crate) fn entry(number: u8) -> Entry {
        Entry {
            name: format!("entry-{number}").parse().unwrap(),
            id: ConnectionId::from_bytes([number; 16]),
            peer: PEER,
            service: Service::Channel(Protocol::Mllp),
            peer_key: None,
            secret: None,
            streams_max: limits::TUNNEL_STREAMS_MAX,
            path: PathPreference::AUTO,
            stall_limit: limits::stall_limit(Protocol::Mllp),
        }
    }

    /// Returns the active rule that fits it.
    pub(crate) fn rule(number: u8) -> Rule {
        Rule { peer: PEER, peer_route: RouteId::from_bytes([7; 8]), ..fixture::rule(number) }
    }

    fn book(rules: Vec<Rule>) -> RuleBook {
        let mut book = RuleBook::default();
        book.apply_snapshot(1, rules, Vec::new());
        book
    }

    #[track_caller]
    fn check(rules: &RuleBook, word: &str, keeps_tunnel: bool, is_active: bool, has_rule: bool) {
        let policy = Policy::of(&entry(1), Side::Source, rules);
        let found = (policy.as_str(), policy.keeps_tunnel(), policy.is_active(), policy.rule().is_some());
        assert_eq!(found, (word, keeps_tunnel, is_active, has_rule));
    }

    #[test]
    fn every_policy_says_what_may_happen() {
        let with = |activity| book(vec![Rule { activity, ..rule(1) }]);
        check(&RuleBook::default(), "No rule", false, false, false);
        check(&book(vec![rule(2)]), "Not listed", false, false, false);
        check(&with(Activity::Ready), "Ready", false, false, true);
        check(&with(Activity::Paused), "Paused", true, false, true);
        check(&with(Activity::Active), "Active", true, true, true);
        let mut ended = book(vec![rule(1)]);
        ended.apply_change(2, Change::Ended { connection: entry(1).id }).unwrap();
        check(&ended, "Terminated", false, false, false);
        ended.apply_snapshot(3, vec![rule(1)], Vec::new());
        check(&ended, "Terminated", false, false, false);
    }

    #[test]
    fn a_rule_that_says_more_than_the_file_is_a_mismatch_whatever_its_activity() {
        for activity in [Activity::Ready, Activity::Paused, Activity::Active] {
            let rule = || Rule { activity, ..rule(1) };
            for (rule, expected) in [
                (Rule { kind: ConnectionType::AdminRw, ..rule() }, ConfigMismatch::Type),
                (Rule { kind: ConnectionType::AdminRo, ..rule() }, ConfigMismatch::Type),
                (Rule { side: Side::Target, ..rule() }, ConfigMismatch::Side),
                (Rule { peer: ServerId::from_bytes([6; 16]), ..rule() }, ConfigMismatch::Peer),
                (Rule { protocol: Some(Protocol::Tcp), ..rule() }, ConfigMismatch::Protocol),
                (Rule { protocol: None, ..rule() }, ConfigMismatch::Protocol),
            ] {
                let policy = Policy::of(&entry(1), Side::Source, &book(vec![rule]));
                assert_eq!(policy, Policy::ConfigMismatch(expected));
                assert!(!policy.keeps_tunnel() && !policy.is_active() && policy.rule().is_none());
            }
        }
    }

    #[test]
    fn a_rule_that_this_build_cannot_use_allows_nothing_until_one_comes_that_it_can() {
        let mut raw = serde_json::to_value(rule(1)).unwrap();
        raw["protocol"] = "fhir".into();
        let mut rules = RuleBook::default();
        rules.keep_for(Concerns { connections: [entry(1).id].into(), keys: [].into() });
        let change = serde_json::json!({ "change": "rule", "rule": raw });
        rules.apply_snapshot(1, vec![rule(1)], Vec::new());
        rules.apply_change(2, serde_json::from_value(change).unwrap()).unwrap();
        check(&rules, "Update needed", false, false, false);
        rules.apply_change(3, Change::Rule { rule: rule(1) }).unwrap();
        check(&rules, "Active", true, true, true);
    }

    #[test]
    fn an_admin_rule_fits_an_admin_entry_that_allows_as_much() {
        let check = |access_max, kind, expected| {
            let entry = Entry { service: Service::Admin { access_max }, ..entry(1) };
            let rule = Rule { kind, protocol: None, ..rule(1) };
            assert_eq!(config_mismatch(&entry, Side::Source, &rule), expected, "{access_max} {kind}");
        };
        check(Access::ReadOnly, ConnectionType::AdminRo, None);
        check(Access::ReadOnly, ConnectionType::AdminRw, Some(ConfigMismatch::Access));
        check(Access::ReadOnly, ConnectionType::P2p, Some(ConfigMismatch::Type));
        check(Access::ReadWrite, ConnectionType::AdminRo, None);
        check(Access::ReadWrite, ConnectionType::AdminRw, None);
        check(Access::ReadWrite, ConnectionType::P2p, Some(ConfigMismatch::Type));
    }
}
