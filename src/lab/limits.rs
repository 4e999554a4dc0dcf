//! What stand-ins hold at most: they run beside what is measured.

/// A message a stand-in of the demo takes, what its journal remembers, and the TCP connections it
/// serves at a time.
pub(crate) const STAND_IN_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
pub(crate) const STAND_IN_JOURNAL_MAX: usize = 2_000_000;
pub(crate) const STAND_IN_CONNECTIONS_MAX: usize = 4_096;
/// Requests a stand-in of Mirth's HTTPS port remembers, the sessions it holds, the head it takes (as
/// Mirth's own server does), and the body it keeps where it keeps one at all.
pub(crate) const STAND_IN_REQUESTS_MAX: usize = 100_000;
pub(crate) const STAND_IN_SESSIONS_MAX: usize = 10_000;
pub(crate) const STAND_IN_HEAD_BYTES_MAX: usize = 8 * 1024;
pub(crate) const STAND_IN_BODY_BYTES_KEPT_MAX: usize = 16 * 1024 * 1024;
/// Addresses that send through one shim, and what may wait in each of its directions.
pub(crate) const SHIM_CLIENTS_MAX: usize = 64;
pub(crate) const SHIM_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
