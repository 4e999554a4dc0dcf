//! Refusals of an admin connection that were counted instead of written one by one.

use serde::Serialize;

/// What refusals have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RefusalKind {
    pub method: &'static str,
    pub template: String,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Counted {
    #[serde(flatten)]
    kind: RefusalKind,
    count: u64,
}

/// How many within a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusalSum {
    seconds: u64,
    count: u64,
    kinds: Vec<Counted>,
    /// Of further kinds.
    others: u64,
}

impl RefusalSum {
    #[must_use]
    pub fn new(seconds: u64, kinds: Vec<(RefusalKind, u64)>, others: u64) -> Self {
        let count = others + kinds.iter().map(|(_, count)| count).sum::<u64>();
        let kinds = kinds.into_iter().map(|(kind, count)| Counted { kind, count }).collect();
        Self { seconds, count, kinds, others }
    }
}
