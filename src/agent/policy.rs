//! What an entry of the agent's own file may do under the rules it holds: the file says what may
//! ever be, the gateway's rules narrow it, an explicit end or a revocation stays until a person of
//! this host undoes it.

use adit_core::config::agent::{Entry, Service};
use adit_core::domain::access::Access;
use adit_core::domain::connection::Side;
use adit_core::protocol::connection::Policy;
use adit_core::protocol::control::{Activity, ConfigMismatch, Rule};
use adit_core::protocol::rules::RuleBook;

/// Judges an entry that stands at `side` in this agent's file.
#[must_use]
pub(crate) fn of(entry: &Entry, side: Side, rules: &RuleBook) -> Policy {
    if rules.is_ended(entry.id) {
        return Policy::Terminated;
    }
    if let Some(unusable) = rules.unusable(entry.id) {
        return Policy::Unusable(unusable.why());
    }
    let Some(rule) = rules.rule(entry.id) else {
        return if rules.is_begun() { Policy::Unlisted } else { Policy::Unknown };
    };
    if let Some(reason) = config_mismatch(entry, side, rule) {
        return Policy::ConfigMismatch(reason);
    }
    let rule = rule.clone();
    match rule.activity {
        Activity::Ready => Policy::Ready(rule),
        Activity::Paused => Policy::Paused(rule),
        Activity::Active => Policy::Active(rule),
    }
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
        let policy = of(&entry(1), Side::Source, rules);
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
                let policy = of(&entry(1), Side::Source, &book(vec![rule]));
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
