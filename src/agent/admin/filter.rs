//! One HTTP connection of a partner: each request is read, judged, written down where it must be, and only
//! then rewritten to the local Mirth. One request at a time, over one connection to Mirth.

mod bodies;
mod client;
mod exchange;
mod forward;
mod login;
mod masking;
mod page;
mod question;
mod refusing;
mod rewriting;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::Instrument;
use zeroize::Zeroizing;

use self::client::{Client, Halt, Next};
use self::page::foreign_page;
use self::refusing::NO_AUDIT;
use super::known_channels::KnownChannels;
use super::managed::Managed;
use super::origin::Origin;
use super::sessions::{AdminSession, SessionGuard};
use crate::admin::parts::AdminParts;
use crate::entries::LiveConnection;
use crate::policy;
use adit_core::domain::connection::Side;
use adit_core::domain::limits;
use adit_core::protocol::admin::{AdminOpening, OPENING_BYTES};
use adit_core::protocol::connection::Policy;
use adit_mirth::body::BodyKind;
use adit_mirth::http::RequestHead;
use adit_mirth::method;
use adit_mirth::verdict::{Named, Verdict};
use adit_net::transport::duplex::Duplex;
use adit_net::transport::endpoint::Connection;
use adit_net::transport::tunnel::DataStream;
use adit_observe::audit::{AdminRequest, AdminSessionId};

/// What Mirth is told of where a request came from. The partner's own word would let it choose what Mirth's
/// log says, and Mirth trusts addresses of its own host; this one belongs to no host (RFC 7600 §6). Who it
/// was stands in adit's audit.
pub(super) const FORWARDED_FOR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));
/// How long what was said last may take to reach the peer's agent.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves one HTTP connection to its end.
pub(super) async fn serve(
    managed: &Arc<Managed>,
    parts: &Arc<AdminParts>,
    entry: &Arc<LiveConnection>,
    stream: DataStream,
    connection: &Connection,
) {
    let ending = stream.ending();
    let mut duplex = Duplex::new(stream, &entry.stats.bytes);
    let (incoming, outgoing) = duplex.halves();
    let mut client = Client::new(incoming, outgoing);
    let ended = serve_requests(managed, parts, entry, (connection, ending), &mut client).await;
    match &ended {
        Ok(()) => tracing::debug!("the partner's HTTP connection ends in order"),
        Err(halt) => tracing::debug!(%halt, "the partner's HTTP connection is cut"),
    }
    if ended.is_ok() {
        let _ = timeout(FAREWELL_TIMEOUT, client.end()).await;
    }
    entry.stats.count_stream(ended.is_err());
}

async fn serve_requests(
    managed: &Managed,
    parts: &Arc<AdminParts>,
    entry: &Arc<LiveConnection>,
    (connection, ending): (&Connection, watch::Receiver<bool>),
    client: &mut Client<'_>,
) -> Result<(), Halt> {
    let opening: [u8; OPENING_BYTES] =
        timeout(limits::ADMIN_HANDSHAKE_TIMEOUT, client.exactly()).await.map_err(|_| Halt::Lost)??;
    let opening = match AdminOpening::decode(opening) {
        Ok(opening) => opening,
        Err(error) => {
            entry.note_fault(&error.to_string());
            return client.answer(400, &error.to_string(), true, false).await;
        }
    };
    let session_guard = match managed.sessions.register(parts, entry, opening.local_peer).await {
        Ok(session_guard) => session_guard,
        Err(error) => return client.answer(503, &error.to_string(), true, false).await,
    };
    let mut filter = Filter {
        managed,
        parts,
        entry,
        connection,
        ending,
        session_guard,
        origin: None,
        host: None,
        authorization: None,
        channels: KnownChannels::default(),
        is_over: false,
    };
    let (session, local_peer) = (filter.session().number, opening.local_peer);
    let span = tracing::debug_span!("session", number = session, %local_peer);
    let serving = async {
        while !filter.is_over {
            filter.next(client).await?;
        }
        Ok(())
    };
    serving.instrument(span).await
}

struct Filter<'a> {
    managed: &'a Managed,
    parts: &'a Arc<AdminParts>,
    entry: &'a Arc<LiveConnection>,
    /// The tunnel's.
    connection: &'a Connection,
    /// One of the agents stops.
    ending: watch::Receiver<bool>,
    session_guard: SessionGuard,
    /// Kept between requests; goes with the client's connection.
    origin: Option<Origin>,
    /// The one that this connection is for.
    host: Option<String>,
    /// The one that this connection speaks for, once there was one: Jetty 9.4 mixes header values of one
    /// connection that are alike.
    authorization: Option<Zeroizing<Vec<u8>>>,
    /// Those that Mirth said it has.
    channels: KnownChannels,
    is_over: bool,
}

impl Filter<'_> {
    /// Waits for a request and deals with it.
    async fn next(&mut self, client: &mut Client<'_>) -> Result<(), Halt> {
        let mut rules = self.parts.policies.watch();
        // Forbidden, or an agent told to stop, while the last request was in hand.
        if self.host.is_some() && (self.hindrance().is_some() || *self.ending.borrow()) {
            self.is_over = true;
            return Ok(());
        }
        let head = loop {
            let answers = self.origin.as_mut().map(|origin| &mut origin.answers);
            match client.next_head(answers, &mut rules, &mut self.ending).await? {
                Next::Head(head) => break head,
                Next::Bad(bad) => return self.refuse_unread(client, bad).await,
                Next::RulesChanged if self.hindrance().is_none() => {}
                ended @ (Next::RulesChanged | Next::OriginGone | Next::Idle | Next::End | Next::Ending) => {
                    tracing::debug!(why = ended.as_str(), "no further request is read from this connection");
                    self.is_over = true;
                    return Ok(());
                }
            }
        };
        self.session().count_request();
        let entry = Arc::clone(self.entry);
        let _waited_for = entry.stats.waited_for();
        if head.closes {
            self.is_over = true;
        }
        if let Some(hindrance) = self.hindrance() {
            self.is_over = true;
            return self.refuse(client, &head, &unjudged(hindrance), 503, hindrance).await;
        }
        if self.parts.audit.check().await.is_err() {
            self.is_over = true;
            return client.answer(503, NO_AUDIT, true, is_head(&head)).await;
        }
        let Some(ready) = self.managed.wait_until_ready().await else {
            self.is_over = true;
            let why = "adit: the managed Mirth does not answer; its agent's status says why.";
            return client.answer(503, why, true, is_head(&head)).await;
        };
        if let Some(why) = self.differs(&head) {
            return self.refuse(client, &head, &unjudged(why), 421, why).await;
        }
        if let Some(why) = foreign_page(&head) {
            return self.refuse(client, &head, &unjudged(why), 403, why).await;
        }
        let verdict = ready.judge.judge(&head);
        log_verdict(&head, &verdict);
        match verdict {
            Verdict::Forward { target, body: BodyKind::Stream, names } => {
                self.stream(client, &ready, &head, &target, &names).await
            }
            Verdict::Forward { target, body, names } => {
                self.forward(client, &ready, &head, &target, body, &names).await
            }
            Verdict::Answer { status, names } => self.answer_here(client, &head, status, &names).await,
            Verdict::Refuse { refusal, names } => {
                self.refuse(client, &head, &names, refusal.status(), &refusal.to_string()).await
            }
        }
    }

    /// Returns what of a request differs from the first one: one connection is for one Host and one user,
    /// those of its first request that names them.
    fn differs(&mut self, head: &RequestHead) -> Option<&'static str> {
        if self.host.get_or_insert_with(|| head.host().to_owned()) != head.host() {
            return Some("adit: one connection asks for one Host.");
        }
        let given = head.header("authorization")?;
        let known = self.authorization.get_or_insert_with(|| Zeroizing::new(given.to_vec()));
        (known.as_slice() != given).then_some("adit: one connection speaks for one user.")
    }

    /// Returns why no request may be served now, no matter who asks.
    fn hindrance(&self) -> Option<&'static str> {
        let policy = policy::of(&self.entry.config, Side::Target, &self.parts.policies.rules());
        match policy {
            Policy::Active(_) if self.parts.policies.are_confirmed() => None,
            Policy::Active(_) => Some(
                "adit: the gateway has not confirmed this connection within the last hour; try again once it is back.",
            ),
            Policy::Paused(_) => Some("adit: this connection is paused."),
            Policy::Ready(_)
            | Policy::Unknown
            | Policy::Unlisted
            | Policy::ConfigMismatch(_)
            | Policy::Unusable(_)
            | Policy::Terminated => Some("adit: this connection is not active."),
        }
    }

    fn session(&self) -> &AdminSession {
        self.session_guard.session()
    }

    fn id(&self) -> AdminSessionId {
        AdminSessionId { connection: self.entry.config.id, number: self.session().number }
    }
}

/// Says what a request is judged to be, in the words of our own tables: its own may name a patient.
fn log_verdict(head: &RequestHead, verdict: &Verdict) {
    let (what, names, refused) = match verdict {
        Verdict::Forward { names, .. } => ("forwarded", names, None),
        Verdict::Answer { names, .. } => ("answered here", names, None),
        Verdict::Refuse { names, refusal } => ("refused", names, Some(tracing::field::display(refusal))),
    };
    let Named { template, rule, changes, .. } = names;
    let method = method::as_logged(&head.method);
    tracing::debug!(method, template, rule, changes, why = refused, "a request is {what}");
}

/// Returns the names for what is refused before it is judged.
fn unjudged(rule: &str) -> Named {
    Named { template: "unjudged".into(), operation: None, changes: false, rule: rule.into() }
}

fn request(head: &RequestHead, names: &Named) -> AdminRequest {
    AdminRequest {
        method: method::as_logged(&head.method),
        template: names.template.clone(),
        operation: names.operation,
    }
}

fn is_head(head: &RequestHead) -> bool {
    head.method == "HEAD"
}
