//! Whether what came of a vector is what its verdict says.

use std::collections::BTreeMap;
use std::ops::Range;

use super::vector::{Chunking, ExpectedVerdict, Vector};
use crate::origin::client::{Answer, unchunked};
use crate::origin::jetty::{Hit, Record};
use crate::origin::managed::Managed;
use crate::origin::tap::Tapped;

/// Answered by the agent itself, in place of Mirth: denied, but not with an error.
const ANSWERED_HERE: [&str; 1] = ["W-011"];
/// May be refused for what the allowed request is wrapped in.
const MAY_BE_REFUSED: [&str; 1] = ["L-048"];
/// What Mirth is told of clients on the managing host: not an address of its own, which it would trust.
const FROM_LOOPBACK: &str = "192.0.0.8";
/// Never passed on, no matter who says it.
const STRIPPED: [&str; 12] = [
    "Forwarded",
    "Keep-Alive",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Upgrade",
    "Via",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Real-IP",
];

/// One vector, cut in one way.
pub(super) struct Sent<'a> {
    pub vector: &'a Vector,
    pub chunking: Chunking,
    pub answers: Vec<Answer>,
    pub closed: bool,
    /// Connections to the origin that began meanwhile.
    pub connections: Range<usize>,
    /// Refusals in the managed agent's audit, before and after.
    pub refused: Range<usize>,
}

pub(super) fn requests_in(vector: &Vector) -> usize {
    if vector.id == "L-045" { 2 } else { 1 }
}

impl Sent<'_> {
    /// What is not as it must be.
    pub(super) fn fault(
        &self,
        seen: &[Tapped],
        hits: &BTreeMap<u16, Vec<Record>>,
        host: &str,
    ) -> Option<String> {
        let reached: Vec<_> = seen[self.connections.clone()]
            .iter()
            .filter(|tapped| !tapped.bytes.is_empty() && !tapped.is_own_question())
            .collect();
        let records: Vec<_> = reached.iter().filter_map(|tapped| hits.get(&tapped.port?)).flatten().collect();
        let fault = match self.vector.verdict {
            ExpectedVerdict::Deny => self.denied(&reached),
            ExpectedVerdict::First => self.only_first(&records),
            ExpectedVerdict::Allow => self.allowed(&reached, &records, host),
        };
        fault.err().map(|fault| {
            let statuses: Vec<_> = self.answers.iter().map(|answer| answer.status).collect();
            format!(
                "{} {:?}: {fault}; answers {statuses:?}, closed {}",
                self.vector, self.chunking, self.closed
            )
        })
    }

    fn denied(&self, reached: &[&Tapped]) -> Result<(), String> {
        if let Some(tapped) = reached.first() {
            return Err(format!("reached Mirth: {:?}", String::from_utf8_lossy(&tapped.bytes)));
        }
        if ANSWERED_HERE.contains(&self.vector.id.as_str()) {
            return self.answered(|status| status == 204);
        }
        self.refused_aloud()
    }

    fn refused_aloud(&self) -> Result<(), String> {
        self.answered(|status| (400..500).contains(&status) || status == 501 || status == 505)?;
        let is_silent = self.answers.is_empty();
        let is_audited = !self.refused.is_empty();
        if is_silent || is_audited || Managed::is_of_the_listener(&self.answers) {
            return Ok(());
        }
        Err("no refusal in the audit".into())
    }

    fn answered(&self, fits: impl Fn(u16) -> bool) -> Result<(), String> {
        match self.answers.last() {
            Some(answer) if fits(answer.status) => Ok(()),
            None if self.closed => Ok(()),
            _ => Err("neither refused nor closed".into()),
        }
    }

    fn only_first(&self, records: &[&Record]) -> Result<(), String> {
        let first = self.vector.bytes();
        let line = String::from_utf8_lossy(&first);
        let method = line.split(' ').next().unwrap_or_default().trim_start();
        match records {
            [] => self.answered(|status| status >= 400),
            [Record::Request(hit)] if hit.method == method && hit.operation.is_some() => {
                self.answered(|status| status >= 400 || self.answers.len() == 1 && self.closed)
            }
            more => Err(format!("more than the first reached Mirth: {more:?}")),
        }
    }

    fn allowed(&self, reached: &[&Tapped], records: &[&Record], host: &str) -> Result<(), String> {
        if reached.is_empty() && self.closed && MAY_BE_REFUSED.contains(&self.vector.id.as_str()) {
            return Ok(());
        }
        let hits: Vec<_> = records
            .iter()
            .map(|record| match record {
                Record::Request(hit) => Ok(hit),
                Record::Failure(failure) => Err(format!("Jetty refused it: {failure:?}")),
            })
            .collect::<Result<_, _>>()?;
        let pipelined_may_close = requests_in(self.vector) == 2 && hits.len() == 1 && self.closed;
        if reached.len() != 1 || hits.len() != requests_in(self.vector) && !pipelined_may_close {
            return Err(format!("{} connections, {} hits", reached.len(), hits.len()));
        }
        if self.answers.len() != hits.len() {
            return Err("not answered once a request".into());
        }
        self.is_what_was_sent(hits[0], host)
    }

    fn is_what_was_sent(&self, hit: &Hit, host: &str) -> Result<(), String> {
        let sent = Request::of(&self.vector.bytes());
        let found = (hit.method.as_str(), hit.target.as_str(), hit.body.as_slice());
        let expected = (sent.method.as_str(), sent.target.as_str(), sent.body.as_slice());
        if found != expected {
            return Err(format!("sent {expected:?}, Jetty has {found:?}"));
        }
        if !hit.values("Host").eq([host]) {
            return Err("another Host".into());
        }
        let from = hit.values("X-Forwarded-For").collect::<Vec<_>>();
        if from != [FROM_LOOPBACK] {
            return Err(format!("X-Forwarded-For is {from:?}"));
        }
        if let Some(name) = STRIPPED.into_iter().find(|name| hit.values(name).next().is_some()) {
            return Err(format!("{name} was passed on"));
        }
        let asked = hit.values("X-Requested-With").next().is_some();
        if asked != sent.head.contains("X-Requested-With") {
            return Err("X-Requested-With was added or taken".into());
        }
        Ok(())
    }
}

/// The first request of an allowed vector, which is well formed.
struct Request {
    head: String,
    method: String,
    target: String,
    body: Vec<u8>,
}

impl Request {
    fn of(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut words = head.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let rest = &bytes[end + 4..];
        let body = if head.contains("Transfer-Encoding: chunked") {
            unchunked(rest).expect("whole chunks").0
        } else if head.contains("Content-Length: ") {
            rest.to_vec()
        } else {
            Vec::new()
        };
        Self { head, method, target, body }
    }
}
