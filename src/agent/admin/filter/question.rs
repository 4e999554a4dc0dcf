//! Whether Mirth has the channels that are asked for: asked by the agent itself, with the client's own
//! rights, because for a made-up channel Mirth would make tables or maps.

use adit_mirth::http::{Framing, RequestHead};

/// Why a channel is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoChannel {
    pub(super) status: u16,
    pub(super) why: &'static str,
}

impl NoChannel {
    pub(super) const UNKNOWN: Self =
        Self { status: 403, why: "view-only: the managed server has no such channel that this user may see" };
    pub(super) const NO_IDS: Self = Self {
        status: 403,
        why: "view-only: this request names a channel that cannot exist, or more channels than are asked for at once",
    };
    pub(super) const AWAY: Self = Self { status: 502, why: "adit: the managed Mirth does not answer." };
    pub(super) const LOGGED_OUT: Self = Self { status: 401, why: "the managed server asks for a login" };
}

/// Returns what asks with the client's rights: its session, login and Host, and nothing else of it.
pub(super) fn question_head(head: &RequestHead, target: &str) -> RequestHead {
    const KEPT: [&str; 5] = ["host", "cookie", "authorization", "x-requested-with", "user-agent"];
    let kept = head.headers.iter().filter(|header| KEPT.iter().any(|name| header.is(name)));
    RequestHead {
        method: "GET".into(),
        target: target.into(),
        headers: kept.cloned().collect(),
        framing: Framing::None,
        expects_continue: false,
        closes: false,
    }
}
