//! Opening the platform for a command: a database that is away is waited for as long as an act would be.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep, timeout_at};

use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::limits::{ACT_WAIT, DATABASE_ASKED_MIN};
use adit_gateway::database;
use adit_gateway::platform::{OpenError, Platform};
use adit_net::identity::time::HostClock;
use adit_observe::print;

/// Opens the platform of a gateway's file. That it waits is said once on standard error.
pub(super) async fn platform(config: &GatewayConfig) -> anyhow::Result<Platform> {
    let database = database::location(config)?;
    let opening = async || Platform::open_at(&config.state, &database, Arc::new(HostClock)).await;
    let opened = waited_for(opening, OpenError::is_transient, ACT_WAIT, &mut |seconds| {
        print::error_text(format_args!(
            "the gateway's database is away or busy; waiting for it up to {seconds} s\n"
        ));
    })
    .await;
    opened.with_context(|| format!("cannot open the platform of `{}`", config.state.display()))
}

/// Tries again until it is open, or the time is over; the last error is given back.
async fn waited_for<T, E>(
    opening: impl AsyncFn() -> Result<T, E>,
    is_transient: impl Fn(&E) -> bool,
    wait: Duration,
    say: &mut impl FnMut(u64),
) -> Result<T, E> {
    let until = Instant::now() + wait;
    let mut error = match opening().await {
        Err(error) if is_transient(&error) => error,
        opened => return opened,
    };
    say(until.saturating_duration_since(Instant::now()).as_secs());
    loop {
        sleep(DATABASE_ASKED_MIN.min(until.saturating_duration_since(Instant::now()))).await;
        // What a server that says nothing takes for each step is no part of the wait.
        match timeout_at(until, opening()).await {
            Ok(Err(again)) if is_transient(&again) => error = again,
            Ok(opened) => return opened,
            Err(_) => return Err(error),
        }
        if Instant::now() >= until {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    /// Opens what is away for so long, each try taking a while; returns whether it opened, after how long, and how
    /// often it was said that it waits.
    async fn opened(away: Duration, each: Duration) -> (bool, Duration, usize) {
        let (began, said) = (Instant::now(), Cell::new(0));
        let opening = async || {
            sleep(each).await;
            if began.elapsed() < away { Err(()) } else { Ok(()) }
        };
        let outcome = waited_for(opening, |()| true, WAIT, &mut |_| said.set(said.get() + 1)).await;
        (outcome.is_ok(), began.elapsed(), said.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_away_is_waited_for_and_that_is_said_once() {
        assert_eq!(opened(Duration::ZERO, Duration::ZERO).await, (true, Duration::ZERO, 0));
        let (is_open, took, said) = opened(Duration::from_secs(7), Duration::ZERO).await;
        assert!(is_open && said == 1, "{took:?}");
        assert!((7..8).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_has_an_end_however_long_a_server_takes_to_say_nothing() {
        for each in [0, 3, 5] {
            let (is_open, took, said) = opened(Duration::MAX, Duration::from_secs(each)).await;
            assert!(!is_open && said == 1 && took == WAIT, "{each} s each: {took:?}");
        }
    }
}
