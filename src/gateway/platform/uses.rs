//! When sessions and API tokens were used last. No request waits for the disk to say so: uses wait in memory, and the
//! gateway writes them together every few seconds. Whether a session is idle is judged by what is written alone, so
//! every gateway and every act judges alike; one that was not used for a while is written before its use is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::MutexGuard;
use tracing::trace;

use crate::store::{SessionRecord, Tx};
use adit_core::domain::id::ApiTokenId;
use adit_core::domain::limits::{SESSION_USE_WRITTEN_WITHIN, USES_OF_WRITE_MAX, USES_WAITING_MAX};
use adit_core::domain::time::Timestamp;

use super::Platform;
use super::error::PlatformError;
use super::proof::Proof;

/// What was used, and when last.
type Use = (Proof, Timestamp);

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Uses {
    waiting: BTreeMap<Proof, Timestamp>,
}

impl Uses {
    /// Notes a use; returns whether there is room for it to wait.
    fn note(&mut self, by: Proof, at: Timestamp) -> bool {
        if let Some(last) = self.waiting.get_mut(&by) {
            *last = at.max(*last);
            return true;
        }
        let has_room = self.waiting.len() < USES_WAITING_MAX;
        if has_room {
            self.waiting.insert(by, at);
        }
        has_room
    }

    /// Returns the last use that waits, if one does.
    pub(super) fn last(&self, by: Proof) -> Option<Timestamp> {
        self.waiting.get(&by).copied()
    }

    /// Forgets uses that are written, but for what was used again since.
    fn forget(&mut self, written: &[Use]) {
        for (by, at) in written {
            if self.last(*by).is_some_and(|last| last <= *at) {
                self.waiting.remove(by);
            }
        }
    }
}

impl Platform {
    pub(super) fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock()
    }

    /// Notes that a session is used that is not over.
    pub(super) async fn note_session_use(
        &self,
        session: &SessionRecord,
        now: Timestamp,
    ) -> Result<(), PlatformError> {
        let by = Proof::Session(session.id);
        let may_wait = now.since(session.seen_at) < SESSION_USE_WRITTEN_WITHIN;
        if may_wait && self.uses().note(by, now) {
            return Ok(());
        }
        self.write_uses([(by, now)].into()).await
    }

    /// Notes that an API token is used that is good.
    pub(super) async fn note_token_use(&self, id: ApiTokenId, now: Timestamp) -> Result<(), PlatformError> {
        let by = Proof::Token(id);
        if self.uses().note(by, now) {
            return Ok(());
        }
        self.write_uses([(by, now)].into()).await
    }

    /// Writes the uses that wait; for the gateway to call every few seconds.
    pub async fn flush_uses(&self) -> Result<(), PlatformError> {
        let waiting: Vec<_> = self.uses().waiting.iter().map(|(by, at)| (*by, *at)).collect();
        for uses in waiting.chunks(USES_OF_WRITE_MAX) {
            self.write_uses(uses.into()).await?;
        }
        Ok(())
    }

    async fn write_uses(&self, uses: Arc<[Use]>) -> Result<(), PlatformError> {
        let writing = Arc::clone(&uses);
        let written = self.record(async move |tx: &mut Tx| write(tx, &writing).await).await;
        trace!(uses = uses.len(), is_written = written.is_ok(), "sessions and API tokens are used");
        written?;
        self.uses().forget(&uses);
        Ok(())
    }
}

async fn write(tx: &mut Tx, uses: &[Use]) -> Result<(), PlatformError> {
    let (mut sessions, mut tokens) = (Vec::new(), Vec::new());
    for (by, at) in uses {
        match by {
            Proof::Session(id) => sessions.push((*id, *at)),
            Proof::Token(id) => tokens.push((*id, *at)),
        }
    }
    tx.touch_sessions(&sessions).await?;
    Ok(tx.touch_api_tokens(&tokens).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_795_510_800_000);
    const LATER: Timestamp = Timestamp::from_millis(1_795_510_800_001);

    fn token(number: usize) -> Proof {
        let [.., high, low] = number.to_be_bytes();
        let mut bytes = [7; 16];
        bytes[..2].copy_from_slice(&[high, low]);
        Proof::Token(ApiTokenId::from_random(bytes))
    }

    #[test]
    fn what_is_used_again_while_it_is_written_waits_on() {
        let mut uses = Uses::default();
        assert!(uses.note(token(1), AT) && uses.note(token(2), AT));
        let writing = [(token(1), AT), (token(2), AT)];
        assert!(uses.note(token(1), LATER));
        uses.forget(&writing);
        assert_eq!([uses.last(token(1)), uses.last(token(2))], [Some(LATER), None]);
    }

    #[test]
    fn an_earlier_use_replaces_no_later_one() {
        let mut uses = Uses::default();
        assert!(uses.note(token(1), LATER) && uses.note(token(1), AT));
        assert_eq!(uses.last(token(1)), Some(LATER));
    }

    #[test]
    fn only_so_many_uses_wait() {
        let mut uses = Uses::default();
        assert!((0..USES_WAITING_MAX).all(|number| uses.note(token(number), AT)));
        assert!(!uses.note(token(USES_WAITING_MAX), AT), "there is no room for another");
        assert!(uses.note(token(0), LATER), "one that waits takes no more");
        assert_eq!(uses.waiting.len(), USES_WAITING_MAX);
    }
}
