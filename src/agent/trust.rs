//! What a person's comparison of a peer's key counts for: all of this file's connections with that peer
//! that know no other key. One agent has one key, so one comparison is enough.

use adit_core::config::agent::Entry;
use adit_core::domain::id::KeyFingerprint;
use adit_net::identity::known_keys::KnownKeys;

/// Why a key is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustRefusal {
    #[error("{0} is this agent's own key; write the one that the peer's own `adit status` shows")]
    Own(KeyFingerprint),
    #[error(
        "the peer shows the key {shown} now, and you named {named}; compare it once more with the peer by phone; \
         if {named} is right all the same, add --force"
    )]
    ShowsOther { shown: KeyFingerprint, named: KeyFingerprint },
    #[error("the entry has `peer_key` {0}, which counts more; correct or remove it in the agent's file")]
    Pinned(KeyFingerprint),
}

/// Judges the key that a person named for `entry`; `shown` is what the peer showed last.
pub fn judge(
    entry: &Entry,
    named: KeyFingerprint,
    own: Option<KeyFingerprint>,
    shown: Option<KeyFingerprint>,
    force: bool,
) -> Result<(), TrustRefusal> {
    if own == Some(named) {
        return Err(TrustRefusal::Own(named));
    }
    if let Some(pinned) = entry.peer_key.filter(|pinned| *pinned != named) {
        return Err(TrustRefusal::Pinned(pinned));
    }
    match shown.filter(|shown| *shown != named) {
        Some(shown) if !force => Err(TrustRefusal::ShowsOther { shown, named }),
        _ => Ok(()),
    }
}

/// Trusts `named` for `entry`, and for the others with its peer unless they know another key. Returns the
/// names of those others.
pub fn trust<'a>(
    keys: &mut KnownKeys,
    entries: impl Iterator<Item = &'a Entry>,
    entry: &Entry,
    named: KeyFingerprint,
) -> Vec<String> {
    keys.trust(entry.id, named);
    let mut also = Vec::new();
    for other in entries.filter(|other| other.peer == entry.peer && other.id != entry.id) {
        let knows_other = other.peer_key.is_some() || keys.get(other.id).is_some_and(|it| it.key != named);
        if !knows_other {
            keys.trust(other.id, named);
            also.push(other.name.to_string());
        }
    }
    also
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::entry;
    use adit_core::domain::id::ServerId;

    const KEY: KeyFingerprint = KeyFingerprint::from_bytes([1; 32]);
    const OTHER: KeyFingerprint = KeyFingerprint::from_bytes([2; 32]);

    #[test]
    fn one_comparison_counts_for_all_connections_with_the_peer_that_know_no_other_key() {
        let elsewhere = Entry { peer: ServerId::from_bytes([6; 16]), ..entry(4) };
        let entries = [entry(1), entry(2), entry(3), elsewhere, entry(5)];
        let mut keys = KnownKeys::default();
        keys.meet(entries[2].id, OTHER);
        keys.meet(entries[4].id, KEY);
        let also = trust(&mut keys, entries.iter(), &entries[0], KEY);
        assert_eq!(also, ["entry-2", "entry-5"]);
        let known = |index: usize| keys.get(entries[index].id).map(|it| (it.key, it.verified));
        assert_eq!([known(0), known(1), known(4)], [Some((KEY, true)); 3]);
        assert_eq!((known(2), known(3)), (Some((OTHER, false)), None));
    }

    #[test]
    fn a_key_other_than_the_peers_is_not_trusted() {
        let judge = |own, shown, force| judge(&entry(1), KEY, own, shown, force);
        assert_eq!(judge(Some(KEY), None, true), Err(TrustRefusal::Own(KEY)));
        let other = TrustRefusal::ShowsOther { shown: OTHER, named: KEY };
        assert!(other.to_string().contains(&KEY.to_string()) && other.to_string().contains("--force"));
        assert_eq!(judge(Some(OTHER), Some(OTHER), false), Err(other));
        for (shown, force) in [(Some(OTHER), true), (Some(KEY), false), (None, false)] {
            assert_eq!(judge(Some(OTHER), shown, force), Ok(()));
        }
        let pinned = Entry { peer_key: Some(OTHER), ..entry(1) };
        assert_eq!(super::judge(&pinned, KEY, None, None, true), Err(TrustRefusal::Pinned(OTHER)));
    }
}
