//! Rules as a gateway gives them or a file keeps them: those that this build can use, and for each of the
//! others why not. One that cannot be used costs its own connection and nothing else.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::control::{Activity, Rule};
use crate::domain::connection::{ConnectionType, Protocol, Side};
use crate::domain::id::{ConnectionId, RouteId, ServerId};
use crate::domain::limits::UNUSABLE_RULE_BYTES_MAX;
use crate::domain::relays::Relays;
use crate::domain::word::UnknownWord;

/// What came in the place of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenRule {
    Usable(Box<Rule>),
    Unusable(UnusableRule),
    /// Nobody can tell which connection it is for.
    Nameless,
}

impl<'de> Deserialize<'de> for GivenRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

impl From<Value> for GivenRule {
    fn from(raw: Value) -> Self {
        if let Ok(rule) = Rule::deserialize(&raw) {
            return Self::Usable(Box::new(rule));
        }
        let connection = raw.get("connection").and_then(|id| ConnectionId::deserialize(id).ok());
        connection.map_or(Self::Nameless, |connection| {
            let why = reason(&raw);
            let is_short = raw.to_string().len() <= UNUSABLE_RULE_BYTES_MAX;
            let raw = if is_short { raw } else { serde_json::json!({ "connection": connection }) };
            Self::Unusable(UnusableRule { connection, why, raw })
        })
    }
}

/// A rule that this build cannot use, kept as it was given for a build that can.
#[derive(Clone, PartialEq, Eq)]
pub struct UnusableRule {
    connection: ConnectionId,
    why: WhyUnusable,
    raw: Value,
}

impl UnusableRule {
    #[must_use]
    pub const fn connection(&self) -> ConnectionId {
        self.connection
    }

    #[must_use]
    pub const fn why(&self) -> WhyUnusable {
        self.why
    }
}

/// Without what was given, which may be anything.
impl fmt::Debug for UnusableRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnusableRule {{ connection: {}, why: {:?} }}", self.connection, self.why)
    }
}

impl Serialize for UnusableRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

/// Why a rule cannot be used, for the people of the agent's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhyUnusable {
    #[error(
        "the gateway calls for {what} `{word}`, which this build ({}) does not know: update adit",
        env!("CARGO_PKG_VERSION")
    )]
    UnknownWord { what: &'static str, word: UnknownWord },
    #[error(
        "the gateway's rule for this connection has no `{field}`, which this build ({}) needs: compare the \
         versions of gateway and agent, and update the older",
        env!("CARGO_PKG_VERSION")
    )]
    Missing { field: &'static str },
    #[error(
        "the gateway's rule for this connection has a `{field}` that this build ({}) cannot read: compare the \
         versions of gateway and agent, and update the older",
        env!("CARGO_PKG_VERSION")
    )]
    Unreadable { field: &'static str },
}

/// Whether a build can read what stands in a field.
type Reads = fn(&Value) -> bool;

/// What people call each field that holds a word of a list.
const WORDS: [(&str, &str, Reads); 4] = [
    ("kind", "connection type", reads::<ConnectionType>),
    ("protocol", "protocol", reads::<Option<Protocol>>),
    ("side", "side", reads::<Side>),
    ("activity", "activity", reads::<Activity>),
];
const FIELDS: [(&str, Reads); 6] = [
    ("peer", reads::<ServerId>),
    ("peer_route", reads::<RouteId>),
    ("source_name", reads::<String>),
    ("target_name", reads::<String>),
    ("secret_epoch", reads::<u32>),
    ("cut_epoch", reads::<u32>),
];

fn reads<T: DeserializeOwned>(value: &Value) -> bool {
    T::deserialize(value).is_ok()
}

fn reason(raw: &Value) -> WhyUnusable {
    for (field, what, reads) in WORDS {
        match raw.get(field) {
            // Present exactly for P2P.
            None if field == "protocol" => {}
            None => return WhyUnusable::Missing { field },
            Some(Value::String(word)) if !reads(&Value::String(word.clone())) => {
                return WhyUnusable::UnknownWord { what, word: UnknownWord::new(word) };
            }
            Some(value) if !reads(value) => return WhyUnusable::Unreadable { field },
            Some(_) => {}
        }
    }
    for (field, reads) in FIELDS {
        match raw.get(field) {
            None => return WhyUnusable::Missing { field },
            Some(value) if !reads(value) => return WhyUnusable::Unreadable { field },
            Some(_) => {}
        }
    }
    let has_unreadable_relays = raw.get("relays").is_some_and(|relays| !reads::<Relays>(relays));
    WhyUnusable::Unreadable { field: if has_unreadable_relays { "relays" } else { "peer_organization" } }
}

/// The rules of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleList {
    pub usable: Vec<Rule>,
    pub unusable: Vec<UnusableRule>,
    /// How many were for nobody knows which connection.
    pub nameless: u32,
}

impl From<Vec<Rule>> for RuleList {
    fn from(usable: Vec<Rule>) -> Self {
        Self { usable, ..Self::default() }
    }
}

impl FromIterator<Rule> for RuleList {
    fn from_iter<I: IntoIterator<Item = Rule>>(usable: I) -> Self {
        Self::from(Vec::from_iter(usable))
    }
}

impl FromIterator<GivenRule> for RuleList {
    fn from_iter<I: IntoIterator<Item = GivenRule>>(given: I) -> Self {
        let mut list = Self::default();
        for one in given {
            match one {
                GivenRule::Usable(rule) => list.usable.push(*rule),
                GivenRule::Unusable(rule) => list.unusable.push(rule),
                GivenRule::Nameless => list.nameless = list.nameless.saturating_add(1),
            }
        }
        list
    }
}

impl<'de> Deserialize<'de> for RuleList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<GivenRule>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl Serialize for RuleList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.usable.len() + self.unusable.len()))?;
        for rule in &self.usable {
            list.serialize_element(rule)?;
        }
        for rule in &self.unusable {
            list.serialize_element(rule)?;
        }
        list.end()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::limits::RULE_RELAYS_MAX;

    /// A rule as the wire has it.
    pub(crate) fn raw(number: u8) -> Value {
        json!({
            "connection": ConnectionId::from_bytes([number; 16]),
            "kind": "p2p",
            "protocol": "mllp",
            "side": "source",
            "peer": ServerId::from_bytes([2; 16]),
            "peer_route": RouteId::from_bytes([3; 8]),
            "source_name": "Lakeside",
            "target_name": "St Mary",
            "activity": "active",
            "secret_epoch": 1,
            "cut_epoch": 0,
        })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut raw = raw(1);
        raw[field] = value;
        raw
    }

    #[track_caller]
    fn check(raw: &Value, expected: &str) {
        let given = GivenRule::from(raw.clone());
        let GivenRule::Unusable(unusable) = &given else { panic!("{given:?}") };
        let why = unusable.why().to_string();
        assert!(why.contains(expected), "{why}");
        assert_eq!(unusable.connection(), ConnectionId::from_bytes([1; 16]));
        assert_eq!(serde_json::to_value(unusable).unwrap(), *raw, "it is kept as it was given");
    }

    #[test]
    fn a_rule_with_fields_of_a_newer_build_is_usable() {
        assert!(matches!(GivenRule::from(raw(1)), GivenRule::Usable(_)));
        let more = with("priority", json!({ "of": ["a", "newer", "build"] }));
        assert!(matches!(GivenRule::from(more), GivenRule::Usable(_)));
    }

    #[test]
    fn an_unknown_word_of_a_rule_is_named_beside_the_build_to_update() {
        let version = env!("CARGO_PKG_VERSION");
        let says = |what: &str| {
            format!("the gateway calls for {what}, which this build ({version}) does not know: update adit")
        };
        check(&with("protocol", json!("fhir")), &says("protocol `fhir`"));
        check(&with("kind", json!("broadcast")), &says("connection type `broadcast`"));
        check(&with("side", json!("middle")), &says("side `middle`"));
        check(&with("activity", json!("draining")), &says("activity `draining`"));
    }

    #[test]
    fn a_field_that_is_missing_or_of_another_form_is_named() {
        for (field, ..) in WORDS.iter().filter(|(field, ..)| *field != "protocol") {
            let mut raw = raw(1);
            raw.as_object_mut().unwrap().remove(*field);
            check(&raw, &format!("has no `{field}`"));
        }
        for (field, _) in FIELDS {
            let mut raw = raw(1);
            raw.as_object_mut().unwrap().remove(field);
            check(&raw, &format!("has no `{field}`"));
            check(&with(field, json!(["another", "form"])), &format!("has a `{field}` that"));
        }
        check(&with("protocol", json!({ "name": "mllp" })), "has a `protocol` that");
        check(&with("peer_organization", json!(7)), "has a `peer_organization` that");
        check(&with("cut_epoch", json!(-1)), "has a `cut_epoch` that");
    }

    #[test]
    fn relays_that_this_build_cannot_read_or_that_are_too_many_cost_the_rule() {
        let too_many: Vec<_> = (0..=RULE_RELAYS_MAX).map(|number| format!("{number:016x}")).collect();
        for bad in
            [json!(["0707070707070707", "wss://relay.example"]), json!(too_many), json!({}), json!(null)]
        {
            check(&with("relays", bad), "has a `relays` that");
        }
        for good in [json!([]), json!(["0707070707070707"]), json!(too_many[1..])] {
            assert!(matches!(GivenRule::from(with("relays", good)), GivenRule::Usable(_)));
        }
    }

    #[test]
    fn a_rule_that_names_no_relay_is_written_as_earlier_builds_wrote_it() {
        let GivenRule::Usable(rule) = GivenRule::from(raw(1)) else { panic!("usable") };
        assert!(serde_json::to_value(&*rule).unwrap().get("relays").is_none());
        let named = with("relays", json!(["0707070707070707", "0303030303030303"]));
        let GivenRule::Usable(rule) = GivenRule::from(named) else { panic!("usable") };
        let sorted = json!(["0303030303030303", "0707070707070707"]);
        assert_eq!(serde_json::to_value(&*rule).unwrap()["relays"], sorted);
    }

    #[test]
    fn a_rule_for_nobody_knows_which_connection_is_counted() {
        for bad in [json!(7), json!({}), with("connection", json!("mine")), Value::Null] {
            assert_eq!(GivenRule::from(bad), GivenRule::Nameless);
        }
        let list: RuleList =
            serde_json::from_value(json!([raw(1), 7, with("side", json!("middle"))])).unwrap();
        assert_eq!((list.usable.len(), list.unusable.len(), list.nameless), (1, 1, 1));
    }

    #[test]
    fn of_a_long_unusable_rule_only_the_reason_is_kept() {
        let mut long = with("protocol", json!("fhir"));
        long["more"] = json!("x".repeat(UNUSABLE_RULE_BYTES_MAX));
        let GivenRule::Unusable(unusable) = GivenRule::from(long) else { panic!("unusable") };
        assert!(matches!(unusable.why(), WhyUnusable::UnknownWord { what: "protocol", .. }));
        assert!(serde_json::to_string(&unusable).unwrap().len() < 100);
        assert!(!format!("{unusable:?}").contains("xxx"));
    }
}
