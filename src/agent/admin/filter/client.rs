//! The partner's end of one HTTP connection: requests read from the stream, answers written to it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::admin::origin::Answers;
use adit_core::domain::limits;
use adit_core::protocol::rules::RuleBook;
use adit_mirth::http::{self, BadRequest, RequestHead, RequestPart, RequestReader};
use adit_net::transport::duplex::{Incoming, Outgoing, Stopped};

/// Why a connection ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Halt {
    #[error("the partner's agent gave the connection up, or the tunnel was lost")]
    Lost,
    /// An answer was cut in the middle: its reader must not take it for whole.
    #[error("Mirth's answer was cut")]
    Cut,
}

impl From<Stopped> for Halt {
    fn from(_: Stopped) -> Self {
        Self::Lost
    }
}

/// What came first while the next request was awaited.
pub(super) enum Next {
    Head(RequestHead),
    Bad(BadRequest),
    /// Between two requests.
    End,
    /// Nothing was asked for a long time.
    Idle,
    OriginGone,
    RulesChanged,
    /// One of the agents stops.
    Ending,
}

impl Next {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Head(_) => "a request came",
            Self::Bad(_) => "what came is no request",
            Self::End => "the client has ended it",
            Self::Idle => "nothing was asked for long",
            Self::OriginGone => "Mirth has closed its end",
            Self::RulesChanged => "the rules do not allow it any more",
            Self::Ending => "one of the agents stops",
        }
    }
}

pub(super) struct Client<'a> {
    pub requests: Requests<'a>,
    pub answers: Outgoing<'a>,
}

pub(super) struct Requests<'a> {
    incoming: Incoming<'a>,
    input: BytesMut,
    reader: RequestReader,
    at_end: bool,
}

impl<'a> Client<'a> {
    pub(super) fn new(incoming: Incoming<'a>, answers: Outgoing<'a>) -> Self {
        let requests =
            Requests { incoming, input: BytesMut::new(), reader: RequestReader::new(), at_end: false };
        Self { requests, answers }
    }

    /// Returns the first bytes of the stream, which are none of HTTP's.
    pub(super) async fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Halt> {
        loop {
            if let Some(bytes) = self.requests.input.first_chunk::<N>() {
                let bytes = *bytes;
                let _ = self.requests.input.split_to(N);
                return Ok(bytes);
            }
            if !self.requests.more().await? {
                return Err(Halt::Lost);
            }
        }
    }

    /// Waits for the head of the next request, watching Mirth's connection, the rules and the agents until
    /// its first byte.
    pub(super) async fn next_head(
        &mut self,
        mut origin: Option<&mut Answers>,
        rules: &mut watch::Receiver<Arc<RuleBook>>,
        ending: &mut watch::Receiver<bool>,
    ) -> Result<Next, Halt> {
        let requests = &mut self.requests;
        let idle_until = Instant::now() + limits::ADMIN_IDLE_TIMEOUT;
        let mut head_until = None;
        loop {
            match requests.reader.read(&mut requests.input) {
                Ok(Some(RequestPart::Head(head))) => return Ok(Next::Head(head)),
                // A body's parts were all taken before.
                Ok(Some(RequestPart::Data(_) | RequestPart::End)) => continue,
                Ok(None) => {}
                Err(bad) => return Ok(Next::Bad(bad)),
            }
            let is_idle = requests.reader.is_idle() && requests.input.is_empty();
            if !is_idle && head_until.is_none() {
                head_until = Some(Instant::now() + limits::ADMIN_HEAD_TIMEOUT);
            }
            let readable = async {
                match origin.as_deref_mut() {
                    Some(answers) => answers.readable().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                more = requests.more() => match more {
                    Ok(true) => {}
                    // All that was asked was answered: nothing is cut, however it ends.
                    Ok(false) | Err(_) if is_idle => return Ok(Next::End),
                    Ok(false) => return Ok(Next::Bad(UNFINISHED)),
                    Err(halt) => return Err(halt),
                },
                () = readable, if is_idle => return Ok(Next::OriginGone),
                _ = rules.changed(), if is_idle => return Ok(Next::RulesChanged),
                _ = ending.wait_for(|ending| *ending), if is_idle => return Ok(Next::Ending),
                () = sleep_until(head_until.unwrap_or(idle_until)) => {
                    return Ok(if is_idle { Next::Idle } else { Next::Bad(LATE) });
                }
            }
        }
    }

    /// Sends a complete answer of our own.
    pub(super) async fn answer(
        &mut self,
        status: u16,
        reason: &str,
        closes: bool,
        to_head: bool,
    ) -> Result<(), Halt> {
        let mut answer = BytesMut::new();
        http::answer(status, reason, closes, to_head, &mut answer);
        Ok(self.answers.write(&mut answer.freeze()).await?)
    }

    pub(super) async fn send(&mut self, bytes: &'static [u8]) -> Result<(), Halt> {
        Ok(self.answers.write(&mut Bytes::from_static(bytes)).await?)
    }

    /// Ends in order, once the peer's agent has everything.
    pub(super) async fn end(&mut self) {
        self.answers.finish();
        self.answers.taken().await;
    }
}

const UNFINISHED: BadRequest =
    BadRequest { status: 400, reason: "The connection ended in the middle of a request." };
const LATE: BadRequest = BadRequest { status: 408, reason: "The request's head did not come in time." };

impl Requests<'_> {
    /// Returns the next part of a body; `None` when the client ended before it was whole.
    pub(super) async fn part(&mut self) -> Result<Result<Option<RequestPart>, BadRequest>, Halt> {
        loop {
            match self.reader.read(&mut self.input) {
                Ok(Some(part)) => return Ok(Ok(Some(part))),
                Ok(None) => {}
                Err(bad) => return Ok(Err(bad)),
            }
            if !self.more().await? {
                return Ok(Ok(None));
            }
        }
    }

    /// Reads ahead while Mirth answers, until the client goes. One that has ended its requests, or asks on
    /// and on, cannot be seen to go any more, and may wait for so long only.
    pub(super) async fn gone(&mut self) -> Halt {
        while !self.at_end && self.input.len() < limits::ADMIN_AHEAD_BYTES_MAX {
            if let Err(halt) = self.more().await {
                return halt;
            }
        }
        sleep(limits::ADMIN_STREAM_TIMEOUT).await;
        Halt::Lost
    }

    /// Returns whether more came; may be dropped while it waits.
    async fn more(&mut self) -> Result<bool, Halt> {
        if self.at_end {
            return Ok(false);
        }
        let Some(bytes) = self.incoming.read().await? else {
            self.at_end = true;
            return Ok(false);
        };
        self.input.extend_from_slice(&bytes);
        self.incoming.delivered(bytes.len());
        Ok(true)
    }
}
