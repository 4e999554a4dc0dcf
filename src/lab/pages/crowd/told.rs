//! What agents would tell: their links, what is true of their connections, and what passed.

use std::time::Duration;

use super::sites::{Site, Tie};
use crate::agents::AgentsError;
use adit_core::domain::connection::Side;
use adit_core::domain::id::GatewayId;
use adit_core::domain::measurement::{Figure, Span, Sums};
use adit_core::domain::path::PathKind;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::Report;
use adit_gateway::platform::{AgentError, Platform};

const MINUTES: u64 = 60;
const DAY_MINUTES: u64 = 24 * 60;

/// Links most servers.
pub(super) async fn link(platform: &Platform, gateway: GatewayId, sites: &[Site]) -> Result<(), AgentsError> {
    platform.renew_lease(gateway).await?;
    let servers = sites.iter().flat_map(|site| &site.servers);
    for (_, server) in servers.enumerate().filter(|(number, _)| number % 30 != 29) {
        platform.linked_by(gateway, *server, env!("CARGO_PKG_VERSION").into());
    }
    Ok(platform.flush_reports().await?)
}

/// Has both ends of most connections say that they are up.
pub(super) async fn report(platform: &Platform, ties: &[Tie], now: Timestamp) -> Result<(), AgentsError> {
    for (number, tie) in ties.iter().enumerate().filter(|(number, _)| number % 25 != 24) {
        let path = if number % 3 == 0 { PathKind::Relay } else { PathKind::Direct };
        for (server, mirth) in [(tie.source, None), (tie.target, Some(number % 60 != 7))] {
            let report = Report { tunnel: Some(path.into()), mirth, last_ack: Some(now), fault: None };
            platform.report(server, tie.id, &report, now).await.map_err(unserved)?;
        }
    }
    Ok(platform.flush_reports().await?)
}

/// Writes the last hour of `count` connections at both ends, and the last day of the first.
pub(super) async fn measure(
    platform: &Platform,
    ties: &[Tie],
    count: usize,
    now: Timestamp,
) -> Result<(), AgentsError> {
    let end = Span::Minute.begin(now);
    for (number, tie) in ties.iter().take(count).enumerate() {
        let minutes = if number == 0 { DAY_MINUTES - 1 } else { MINUTES };
        for minute in 1..=minutes {
            let at = end.saturating_sub(Duration::from_mins(minute));
            for (server, side) in [(tie.source, Side::Source), (tie.target, Side::Target)] {
                let refused = platform.take_measured(server, (tie.id, side), at, sums(number as u64, minute));
                refused.map_err(|why| AgentsError::People { source: why.into() })?;
            }
        }
        platform.keep_measurements().await?;
    }
    Ok(())
}

/// Returns a minute of a few messages, no two alike.
fn sums(number: u64, minute: u64) -> Sums {
    let mut sums = Sums::default();
    let messages = (number * 7 + minute * minute) % 97;
    for (figure, more) in [
        (Figure::MeasuredMillis, 60_000),
        (Figure::UpMillis, 60_000),
        (Figure::DirectMillis, 60_000),
        (Figure::Messages, messages),
        (Figure::AckAa, messages),
        (Figure::BytesSent, messages * 1_843),
        (Figure::BytesReceived, messages * 217),
        (Figure::RttMicros, 1_900 * 60),
        (Figure::RttSamples, 60),
    ] {
        sums.add(figure, more);
    }
    for message in 0..messages {
        sums.latencies_mut().note(Duration::from_micros(900 + 310 * message));
    }
    sums
}

fn unserved(error: AgentError) -> AgentsError {
    AgentsError::People { source: error.into() }
}
