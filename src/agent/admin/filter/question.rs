//! Whether Mirth has the channel whose messages are asked for: asked by the agent itself, with the
//! client's own rights, because for a made-up channel Mirth would make tables.

use crate::mirth::http::{Framing, RequestHead};

/// Why a channel's messages are not asked for.
pub(super) struct NoChannel {
    pub(super) status: u16,
    pub(super) why: &'static str,
}

impl NoChannel {
    pub(super) const UNKNOWN: Self =
        Self { status: 403, why: "view-only: the managed server has no such channel that this user may see" };
    pub(super) const LOGGED_OUT: Self = Self { status: 401, why: "the managed server asks for a login" };
}

/// What asks with the client's rights: its session, login and Host, and nothing else of it.
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
