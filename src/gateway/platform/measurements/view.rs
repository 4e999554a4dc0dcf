//! What was measured of a connection as its parties see it: both ends' steps, gaps where there are none, and their
//! sums over the whole range. Nobody else learns that there is such a connection.

use std::collections::BTreeMap;

use crate::platform::error::{PlatformError, Resource};
use crate::platform::{ConnectionView, Initiator, Platform, viewer};
use crate::store::{MeasurementRow, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ConnectionId, OrganizationId};
use adit_core::domain::measurement::{Figure, Span, Sums};
use adit_core::domain::role::Permission;
use adit_core::domain::time::Timestamp;

/// Minutes of an hour.
const LAST_MINUTES: usize = 60;

/// Which steps are asked for: those that begin from `from` on and are over at `to`; all that are kept where nothing
/// is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasuredRange {
    pub span: Span,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasurementsView {
    pub span: Span,
    /// When the first step begins that was asked for and may be there.
    pub from: Timestamp,
    /// When the last one ends.
    pub to: Timestamp,
    pub source: EndMeasurements,
    pub target: EndMeasurements,
}

/// What one end's agent measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndMeasurements {
    /// In order; what was not measured is not there.
    pub steps: Vec<MeasuredStep>,
    /// Of all of them together.
    pub total: Sums,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasuredStep {
    /// When it began.
    pub at: Timestamp,
    pub sums: Sums,
}

impl MeasurementsView {
    #[must_use]
    pub const fn end(&self, side: Side) -> &EndMeasurements {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl Platform {
    /// Returns what was measured of a connection that one is a party of. The gateway's operator is none.
    pub async fn measurements(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
        asked: MeasuredRange,
    ) -> Result<MeasurementsView, PlatformError> {
        let (own, span) = (initiator.member(Permission::See)?, asked.span);
        let (from, to) = kept(asked, self.now());
        let rows = self
            .look(async move |tx: &mut Tx| {
                if !is_party(tx, id, own).await? {
                    return Err(PlatformError::NotFound { resource: Resource::Connection });
                }
                Ok(tx.measurements(id, span, (from, to)).await?)
            })
            .await?;
        let (mut source, mut target) = (EndMeasurements::default(), EndMeasurements::default());
        for MeasurementRow { side, at, sums, .. } in rows {
            let end = if side == Side::Source { &mut source } else { &mut target };
            end.total.merge(&sums);
            end.steps.push(MeasuredStep { at, sums });
        }
        Ok(MeasurementsView { span, from, to, source, target })
    }

    /// Returns what arrived in each of the last 60 minutes that are over: messages, and objects that were stored. Of the
    /// connections that were listed for the initiator; one of which nothing was measured is not among them.
    pub async fn arrivals_of_last_hour(
        &self,
        initiator: &Initiator,
        listed: &[ConnectionView],
    ) -> Result<BTreeMap<ConnectionId, Vec<u64>>, PlatformError> {
        initiator.member(Permission::See)?;
        if listed.is_empty() {
            return Ok(BTreeMap::new());
        }
        let to = Span::Minute.begin(self.now());
        let from = to.saturating_sub(Span::Hour.length());
        let ids: Vec<_> = listed.iter().map(|view| view.id).collect();
        let rows = self.look(async move |tx: &mut Tx| {
            Ok::<_, PlatformError>(tx.measured_minutes(&ids, (from, to)).await?)
        });
        let mut arrived = BTreeMap::<_, Vec<u64>>::new();
        for row in rows.await? {
            let minutes = arrived.entry(row.connection).or_insert_with(|| vec![0; LAST_MINUTES]);
            let minute = row.at.since(from).as_secs() / Span::Minute.length().as_secs();
            if let Some(count) = usize::try_from(minute).ok().and_then(|minute| minutes.get_mut(minute)) {
                // Both ends count what passed: who has seen more was there for longer.
                *count = (*count).max(row.sums.get(Figure::Messages) + row.sums.get(Figure::ObjectsStored));
            }
        }
        Ok(arrived)
    }
}

/// Returns the range that is asked for as far as steps of it are kept and over: whole steps, from one on and before
/// another, and not more than are shown at once.
fn kept(asked: MeasuredRange, now: Timestamp) -> (Timestamp, Timestamp) {
    let span = asked.span;
    let whole_from = |at| {
        let begin = span.begin(at);
        if begin == at { at } else { begin.saturating_add(span.length()) }
    };
    let to = span.begin(asked.to.map_or(now, |to| to.min(now)));
    let oldest = span.begin(now).saturating_sub(span.kept());
    let from = asked.from.map_or(oldest, |from| whole_from(from.max(oldest)));
    (from.min(to), to)
}

async fn is_party(tx: &mut Tx, id: ConnectionId, own: OrganizationId) -> Result<bool, PlatformError> {
    let found = tx.connection(id).await?;
    Ok(found.is_some_and(|connection| viewer::side_of(&connection, own).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000 + 90_500);

    #[track_caller]
    fn check(span: Span, from: Option<i64>, to: Option<i64>, expected: (&str, &str)) {
        let at = |millis: Option<i64>| millis.map(Timestamp::from_millis);
        let (from, to) = kept(MeasuredRange { span, from: at(from), to: at(to) }, NOW);
        assert_eq!((from.to_string().as_str(), to.to_string().as_str()), expected);
        let steps = to.since(from).as_millis() / span.length().as_millis();
        assert!(steps <= span.steps_max() as u128);
    }

    #[test]
    fn a_range_is_cut_to_whole_steps_that_are_kept_and_over() {
        let now = NOW.as_millis();
        check(Span::Minute, None, None, ("2026-11-23T09:01:00Z", "2026-11-24T09:01:00Z"));
        check(Span::Hour, None, None, ("2026-08-26T09:00:00Z", "2026-11-24T09:00:00Z"));
        check(
            Span::Minute,
            Some(now - 60_000),
            Some(now + 60_000),
            ("2026-11-24T09:01:00Z", "2026-11-24T09:01:00Z"),
        );
        check(
            Span::Minute,
            Some(now - 90_500),
            Some(now - 100),
            ("2026-11-24T09:00:00Z", "2026-11-24T09:01:00Z"),
        );
        check(Span::Minute, Some(i64::MIN), Some(i64::MAX), ("2026-11-23T09:01:00Z", "2026-11-24T09:01:00Z"));
        let yesterday = "2026-11-23T08:00:00Z";
        check(Span::Minute, None, Some(now - 25 * 3_600_000 - 90_500), (yesterday, yesterday));
    }
}
