//! What a newer build said and this one read past: counted each time, named in the log once.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use adit_core::domain::limits::UNKNOWN_WORDS_SAID_MAX;
use adit_core::domain::word::{UNKNOWN_WORDS, UnknownWord};

/// What this process has named.
static NAMED: Mutex<BTreeSet<(&str, UnknownWord)>> = Mutex::new(BTreeSet::new());

/// Counts something of this `kind` that was read past, and names it unless it was named before.
pub fn note(kind: &'static str, word: UnknownWord) {
    metrics::counter!(UNKNOWN_WORDS, "kind" => kind).increment(1);
    let mut named = NAMED.lock();
    if may_name(&mut named, kind, word) {
        tracing::info!(
            kind,
            %word,
            "the other end says something that this build ({}) does not know; it is ignored",
            env!("CARGO_PKG_VERSION")
        );
    }
}

/// However many words somebody makes up, few are named.
fn may_name(
    named: &mut BTreeSet<(&'static str, UnknownWord)>,
    kind: &'static str,
    word: UnknownWord,
) -> bool {
    named.len() < UNKNOWN_WORDS_SAID_MAX && named.insert((kind, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_words_are_made_up_few_are_named_each_once() {
        let mut named = BTreeSet::new();
        let mut may = |word: &str| may_name(&mut named, "message", UnknownWord::new(word));
        assert!(may("one") && !may("one") && may("two"));
        let count = (0..10_000).filter(|number| may(&format!("word-{number}"))).count();
        assert_eq!(count, UNKNOWN_WORDS_SAID_MAX - 2);
    }
}
