//! What passes: room for it, that something is sent, is answered, and is accepted.

use super::{Fact, Whose, fault, fault_since};
use crate::http::console::moments::millis;
use crate::http::console::shapes::{Acknowledgements, Connection, Measurements, Step};

const MINUTE_MS: i64 = 60_000;

/// What was measured of late.
#[derive(Debug, Clone, Default)]
pub(in crate::http::console) struct Recent {
    /// Over so many minutes, the one that runs not among them.
    minutes: u32,
    /// When the first of them began.
    since: Option<String>,
    /// At the source: messages, objects, or where these are not told apart bytes.
    sent: u64,
    /// Messages and objects alone.
    awaited: u64,
    accepted: u64,
    /// By code.
    refused: Vec<(&'static str, u64)>,
    /// When the last step began in which something was answered, if nothing of it was accepted.
    refused_at: Option<String>,
    /// When a step began in which something was sent, the last one.
    sent_at: Option<String>,
}

impl Recent {
    pub(in crate::http::console) fn of(measured: &Measurements, minutes: u32, since: String) -> Self {
        let source = &measured.source.steps;
        // An end that cannot tell says nothing; then the other's word counts.
        let steps = if source.is_empty() { &measured.target.steps } else { source };
        let mut recent = Self { minutes, since: Some(since), ..Self::default() };
        let mut codes = [("AE", 0), ("AR", 0), ("CE", 0), ("CR", 0), ("failed objects", 0)];
        for step in steps {
            let sent = sent(step);
            recent.sent += sent;
            recent.awaited += step.messages + step.objects.stored + step.objects.failed;
            if sent > 0 {
                recent.sent_at = Some(step.at.clone());
            }
            let (accepted, refused) = (accepted(step), refused(step));
            recent.accepted += accepted;
            for ((_, sum), more) in codes.iter_mut().zip(refused) {
                *sum += more;
            }
            let has_refused = refused.iter().any(|count| *count > 0);
            if accepted > 0 || has_refused {
                recent.refused_at = (accepted == 0).then(|| step.at.clone());
            }
        }
        recent.refused = codes.into_iter().filter(|(_, count)| *count > 0).collect();
        recent
    }

    fn answered(&self) -> u64 {
        self.accepted + self.refused.iter().map(|(_, count)| count).sum::<u64>()
    }

    fn is_unanswered(&self) -> bool {
        self.awaited > 0 && self.answered() == 0
    }

    /// Says which answers refused.
    fn codes(&self) -> String {
        let codes: Vec<_> = self.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
        codes.join(", ")
    }
}

fn sent(step: &Step) -> u64 {
    match step.messages + step.objects.stored + step.objects.failed {
        0 => step.bytes_sent,
        counted => counted,
    }
}

fn accepted(step: &Step) -> u64 {
    step.acknowledgements.aa + step.acknowledgements.ca + step.objects.stored
}

fn refused(step: &Step) -> [u64; 5] {
    let Acknowledgements { ae, ar, ce, cr, .. } = step.acknowledgements;
    [ae, ar, ce, cr, step.objects.failed]
}

/// Whether the source's port is open for more.
pub(super) fn room(connection: &Connection) -> Fact {
    let fact = |whose| Fact::new(connection, "Room for another TCP connection", whose);
    let source = fault(&connection.source);
    let since = fault_since(&connection.source);
    match source {
        Some("full") => fact(Whose::Source).since(since).no(
            "as many TCP connections are open as the source agent's file allows",
            "There, let the sender keep fewer connections open, or raise `streams_max` in the entry and restart the agent.",
        ),
        Some("peer_full") => fact(Whose::Target).since(since).no(
            "as many TCP connections are open as the target agent's file allows",
            "There, raise `streams_max` in the entry and restart the agent, or lower it at the source.",
        ),
        Some("stopping") => fact(Whose::Both).since(since).no(
            "one of the two agents is stopping and takes nothing new",
            "Wait until it runs again; if it does not come back, start the agent whose link is down then.",
        ),
        _ if connection.status != "Active" => fact(Whose::Both).unknown("the port is closed while it is not Active"),
        _ if connection.source.has_tunnel() => fact(Whose::Both).yes("the source's port takes more"),
        _ => fact(Whose::Both).unknown("not known without a tunnel"),
    }
}

/// What became of the last messages.
pub(super) fn messages(connection: &Connection, recent: Option<&Recent>) -> Vec<Fact> {
    let is_told_apart = connection.channel.as_ref().is_none_or(|channel| channel.protocol != "tcp");
    let mut facts = vec![is_sent(connection, recent)];
    // Of other protocols nobody knows where a message ends, or what answers it.
    if is_told_apart {
        facts.extend([is_answered(connection, recent), is_accepted(connection, recent)]);
    }
    facts
}

fn is_sent(connection: &Connection, recent: Option<&Recent>) -> Fact {
    let source = &connection.source;
    let fact = Fact::new(connection, "Messages are sent", Whose::Source);
    if fault(source) == Some("sender_refused") {
        return fact.since(fault_since(source)).no(
            "a program of the source's host connects and is not let in by the agent's file",
            "There, add the user that the sending Mirth runs as to `allow_users` in the entry, and restart the agent.",
        );
    }
    let last = connection.last_acknowledged_at.clone();
    match recent {
        Some(recent) if recent.sent > 0 => fact
            .since(recent.sent_at.clone())
            .yes(format!("something was sent in the last {} minutes", recent.minutes)),
        _ if fault(&connection.target) == Some("not_answered")
            || fault(&connection.target) == Some("not_accepted") =>
        {
            fact.yes("a message was sent")
        }
        _ if is_fresh(connection, recent) => fact.since(last).yes("a message was sent"),
        Some(recent) => Fact {
            remedy: SEND.into(),
            ..fact.since(last).unknown(format!("nothing was sent in the last {} minutes", recent.minutes))
        },
        None => Fact { remedy: SEND.into(), ..fact.since(last).unknown("nothing is known of what is sent") },
    }
}

const SEND: &str = "Send a message from the source's Mirth to the port of the agent there. If one waits in its queue, see \
                    that the channel's destination is enabled and names the agent's address and port (`adit status` there \
                    shows it).";

/// Returns whether an acknowledgement is newer than what was measured: the minute that runs is not told yet.
fn is_fresh(connection: &Connection, recent: Option<&Recent>) -> bool {
    let since = recent.and_then(|recent| recent.since.as_deref());
    let last = connection.last_acknowledged_at.as_deref();
    last.is_some_and(|last| since.is_none_or(|since| last >= since))
}

fn is_answered(connection: &Connection, recent: Option<&Recent>) -> Fact {
    let target = &connection.target;
    let fact = Fact::new(connection, "Messages are answered", Whose::Target);
    if fault(target) == Some("not_answered") {
        return fact
            .since(fault_since(target))
            .no("its Mirth has taken a message and has not acknowledged it", SILENT);
    }
    match recent {
        Some(recent) if recent.answered() > 0 => fact
            .since(connection.last_acknowledged_at.clone())
            .yes(format!("{} were answered in the last {} minutes", recent.answered(), recent.minutes)),
        Some(recent) if recent.is_unanswered() && !is_fresh(connection, Some(recent)) => {
            fact.since(recent.sent_at.clone()).no("messages were sent, and none was acknowledged", SILENT)
        }
        _ if connection.last_acknowledged_at.is_some() => {
            fact.since(connection.last_acknowledged_at.clone()).yes("a message was acknowledged")
        }
        _ => Fact { remedy: SEND.into(), ..fact.unknown("no message was acknowledged yet") },
    }
}

const SILENT: &str = "There, look whether the channel is started and not stuck: its source must answer each message (a \
                      response that is no longer than the sender waits), and its queue and log say what it waits for.";

/// Returns whether something was answered after the minute that began at `at`: what, is measured only once its own
/// minute is over.
fn is_answered_after(connection: &Connection, at: &str) -> bool {
    let last = connection.last_acknowledged_at.as_deref().and_then(millis);
    last.zip(millis(at)).is_some_and(|(last, at)| last >= at + MINUTE_MS)
}

fn is_accepted(connection: &Connection, recent: Option<&Recent>) -> Fact {
    let target = &connection.target;
    let fact = Fact::new(connection, "Messages are accepted", Whose::Target);
    let told = fault(target) == Some("not_accepted");
    let codes = recent.map(Recent::codes).filter(|codes| !codes.is_empty());
    let refused_at = recent.and_then(|recent| recent.refused_at.as_deref());
    let measured = refused_at.filter(|at| !is_answered_after(connection, at));
    if told || measured.is_some() {
        let evidence = match (codes, recent) {
            (Some(codes), Some(recent)) => {
                format!("its Mirth refuses messages ({codes} in the last {} minutes)", recent.minutes)
            }
            _ => "its Mirth has refused the last message (AE or AR, or a failed object)".into(),
        };
        let since = if told { fault_since(target) } else { measured.map(str::to_owned) };
        return fact.since(since).no(
            evidence,
            "The tunnel works. There, open the channel's messages in Mirth: those with errors say why the message was \
             refused. If it is the message itself, the source's engineer mends what is sent.",
        );
    }
    match (recent, codes) {
        (Some(recent), Some(codes)) if recent.accepted > 0 => {
            fact.yes(format!("{} were accepted, and some refused: {codes}", recent.accepted))
        }
        (Some(recent), _) if recent.accepted > 0 => {
            fact.yes(format!("{} were accepted in the last {} minutes", recent.accepted, recent.minutes))
        }
        _ if connection.last_acknowledged_at.is_some() => fact.yes("the last message was acknowledged"),
        _ => fact.unknown("no message was acknowledged yet"),
    }
}
