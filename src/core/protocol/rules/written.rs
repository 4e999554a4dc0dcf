//! A rule book as it lies on disk. What an older build cannot use stands apart, so that it reads the rest;
//! what this build can use by now is used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RuleBook;
use super::remembered::Remembered;
use crate::domain::id::{ConnectionId, KeyFingerprint};
use crate::protocol::control::Rule;
use crate::protocol::rule_list::{GivenRule, RuleList, UnusableRule};

/// As it is read, by whichever build it was written.
#[derive(Deserialize)]
pub(super) struct WrittenBook {
    revision: Option<u64>,
    rules: BTreeMap<String, Value>,
    #[serde(default)]
    unusable: BTreeMap<String, Value>,
    ended: Remembered<ConnectionId>,
    revoked: Remembered<KeyFingerprint>,
}

impl From<WrittenBook> for RuleBook {
    fn from(written: WrittenBook) -> Self {
        let given = written.unusable.into_values().chain(written.rules.into_values());
        let RuleList { usable, unusable, .. } = given.map(GivenRule::from).collect();
        let mut book = Self {
            revision: written.revision,
            ended: written.ended,
            revoked: written.revoked,
            ..Self::default()
        };
        book.unusable.extend(unusable.into_iter().map(|rule| (rule.connection(), rule)));
        for rule in usable {
            book.unusable.remove(&rule.connection);
            book.rules.insert(rule.connection, rule);
        }
        book
    }
}

/// As it is written.
#[derive(Serialize)]
pub(super) struct WritableBook<'a> {
    pub(super) revision: Option<u64>,
    pub(super) rules: &'a BTreeMap<ConnectionId, Rule>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) unusable: &'a BTreeMap<ConnectionId, UnusableRule>,
    pub(super) ended: &'a Remembered<ConnectionId>,
    pub(super) revoked: &'a Remembered<KeyFingerprint>,
}
