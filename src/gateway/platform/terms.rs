//! On what terms an act is made that a program asks for: once for a key, or only while a thing is as it was seen.
//!
//! Terms are judged in the act's own transaction, so that nothing comes between the judgement and the change. They
//! are no part of what is asked: no act takes them, whoever asks says them around it, and they are of the task that
//! asks. What the gateway does by itself within that has none.

use std::fmt;
use std::sync::Arc;

use crate::store::{ChannelFilter, OnceKey, OrganizationFilter, ServerFilter, StoreError, Tx};
use adit_core::domain::id::{ChannelId, OrganizationId, ServerId};
use adit_core::domain::limits::REQUEST_KEY_LASTS;
use adit_core::domain::page::Paging;
use adit_core::domain::time::Timestamp;

use super::act::Act;
use super::error::{ActionRefusal, PlatformError};
use super::lists::{ChannelView, OrganizationView, ServerView, channel_view, organization_view, server_view};
use super::{Initiator, Platform};

/// On what terms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    /// Made once for this key.
    pub(crate) once: Option<OnceKey>,
    /// Changed only while it is as it was seen.
    pub(crate) unchanged: Option<Unchanged>,
}

type Judge<T> = Arc<dyn Fn(T) -> bool + Send + Sync>;

/// What must be as it was seen, and who tells whether it is.
#[derive(Clone)]
pub(crate) enum Unchanged {
    Organization(OrganizationId, Judge<OrganizationView>),
    Server(ServerId, Judge<ServerView>),
    Channel(ChannelId, Judge<ChannelView>),
}

impl fmt::Debug for Unchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(id, _) => id.fmt(f),
            Self::Server(id, _) => id.fmt(f),
            Self::Channel(id, _) => id.fmt(f),
        }
    }
}

tokio::task_local! {
    static TERMS: Terms;
}

impl Platform {
    /// Does what is asked on these terms.
    pub(crate) async fn on_terms<T>(&self, terms: Terms, asking: impl Future<Output = T>) -> T {
        TERMS.scope(terms, asking).await
    }

    /// Forgets the keys of requests that nobody repeats any more.
    pub(super) async fn forget_request_keys(&self) -> Result<u64, PlatformError> {
        let upto = self.now().saturating_sub(REQUEST_KEY_LASTS);
        self.record(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.forget_keys(upto).await?)).await
    }
}

impl Terms {
    /// Returns those on which a user asks in this task.
    pub(super) fn of(initiator: &Initiator) -> Self {
        match initiator {
            Initiator::Member { .. } => TERMS.try_with(Clone::clone).unwrap_or_default(),
            Initiator::Host { .. }
            | Initiator::Agent { .. }
            | Initiator::Stranger { .. }
            | Initiator::System => Self::default(),
        }
    }

    /// Returns whether what is asked was made for its key.
    pub(super) async fn has_made(tx: &mut Tx, once: &OnceKey, now: Timestamp) -> Result<bool, StoreError> {
        let kept = tx.made_once(once, key_good_since(now)).await?;
        Ok(kept.is_some_and(|kept| kept.request == once.request))
    }

    /// Judges before the work of the act: what was made for the key before, or is otherwise than it was seen. The
    /// latter is said only of what may be done and seen at all, after the work: see [`Judged::end`].
    pub(super) async fn judge(&self, act: &mut Act) -> Result<Judged, PlatformError> {
        if let Some(once) = &self.once
            && let Some(kept) = act.tx.made_once(once, key_good_since(act.now)).await?
        {
            return Err(if kept.request == once.request {
                PlatformError::AlreadyMade { made: kept.made }
            } else {
                ActionRefusal::KeyReused.into()
            });
        }
        let is_as_seen = match &self.unchanged {
            Some(unchanged) => unchanged.holds(act).await?,
            None => true,
        };
        Ok(Judged { is_as_seen })
    }
}

/// What was found before the work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    is_as_seen: bool,
}

impl Judged {
    /// Ends work that was done: it counts only where the terms are met, and is noted under its key.
    pub(super) async fn end(self, terms: &Terms, act: &mut Act) -> Result<(), PlatformError> {
        if !self.is_as_seen {
            return Err(ActionRefusal::ChangedSince.into());
        }
        if let Some(once) = &terms.once {
            let made = act.made_id().unwrap_or_default().to_owned();
            act.tx.note_made_once(once, &made, key_good_since(act.now), act.now).await?;
        }
        Ok(())
    }
}

fn key_good_since(now: Timestamp) -> Timestamp {
    now.saturating_sub(REQUEST_KEY_LASTS)
}

impl Unchanged {
    /// Returns whether it is as it was seen; so is what the asker does not see.
    async fn holds(&self, act: &mut Act) -> Result<bool, PlatformError> {
        let (viewpoint, now, one) = (act.organization(), act.now, Paging::first(1));
        Ok(match self {
            Self::Organization(id, judge) => {
                let filter = OrganizationFilter { id: Some(*id), ..OrganizationFilter::default() };
                let found = act.tx.list_organizations(&filter, &one).await?.rows.into_iter().next();
                found.is_none_or(|it| judge(organization_view(it, viewpoint)))
            }
            Self::Server(id, judge) => {
                let filter =
                    ServerFilter { organization: viewpoint, id: Some(*id), ..ServerFilter::default() };
                let found = act.tx.list_servers(act.now, &filter, &one).await?.rows.into_iter().next();
                found.is_none_or(|it| judge(server_view(it, now)))
            }
            Self::Channel(id, judge) => {
                let filter = ChannelFilter { id: Some(*id), ..ChannelFilter::default() };
                let found = act.tx.list_channels(viewpoint, now, &filter, &one).await?.rows;
                found.into_iter().next().and_then(channel_view).is_none_or(|it| judge(it))
            }
        })
    }
}
