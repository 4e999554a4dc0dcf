//! A dial of the peer, in its two parts: QUIC's handshake, and the proofs.

use std::pin::Pin;

use crate::tunnels::{Admitted, Dialled};
use adit_core::protocol::connection::DialFailure;

/// A dial under way; dropped, it is given up.
pub(super) enum Attempt {
    Dialing(Task<Result<Dialled, DialFailure>>),
    /// What was dialled waits to be proven.
    Dialled(Dialled),
    Proving(Task<Result<Admitted, DialFailure>>),
}

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How a part of one has ended.
pub(super) enum Outcome {
    Dialled(Result<Dialled, DialFailure>),
    Proven(Result<Admitted, DialFailure>),
}

/// Waits for the end of what is under way; cancelled, it goes on.
pub(super) async fn next_outcome(attempt: &mut Option<Attempt>) -> Outcome {
    match attempt {
        Some(Attempt::Dialing(dialing)) => Outcome::Dialled(dialing.await),
        Some(Attempt::Proving(proving)) => Outcome::Proven(proving.await),
        Some(Attempt::Dialled(_)) | None => std::future::pending().await,
    }
}
