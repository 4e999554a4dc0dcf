//! The whole table: from each state, what each input leads to and has done.

use std::fmt::Write as _;

use super::*;
use crate::protocol::control::PeerRefusal;

type Input = fn(&mut ConnectionMachine, Instant);

/// Everything that can happen.
pub(super) const INPUTS: [(&str, Input); 37] = [
    ("policy unknown", |m, now| m.handle_policy(Policy::Unknown, now)),
    ("policy unlisted", |m, now| m.handle_policy(Policy::Unlisted, now)),
    ("policy mismatch", |m, now| m.handle_policy(Policy::ConfigMismatch(ConfigMismatch::Peer), now)),
    ("policy ready", |m, now| m.handle_policy(Policy::Ready(rule()), now)),
    ("policy paused", |m, now| m.handle_policy(paused(), now)),
    ("policy active", |m, now| m.handle_policy(active(), now)),
    ("policy active, cut", |m, now| m.handle_policy(Policy::Active(Rule { cut_epoch: 4, ..rule() }), now)),
    ("policy terminated", |m, now| m.handle_policy(Policy::Terminated, now)),
    ("port bound", |m, now| m.handle_bound(now)),
    ("secret here", |m, now| m.handle_secret(true, now)),
    ("secret missing", |m, now| m.handle_secret(false, now)),
    ("key revoked", |m, now| m.handle_key(PeerKey { is_revoked: true, is_replaced: false }, now)),
    ("key replaced", |m, now| m.handle_key(PeerKey { is_revoked: false, is_replaced: true }, now)),
    ("path there", |m, now| m.handle_path(path(now), now)),
    ("path gone", |m, now| m.handle_path(PeerPath { is_there: false, ..path(now) }, now)),
    ("peer restarted", |m, now| m.handle_path(PeerPath { boot: Some(OTHER_RUN), ..path(now) }, now)),
    ("dialed", |m, now| m.handle_dialed(Ok(()), now)),
    ("dial failed", |m, now| m.handle_dialed(Err(DialFailure::away("x".into())), now)),
    ("proven", |m, now| m.handle_proven(Ok(proven()), now)),
    ("proof failed", |m, now| m.handle_proven(Err(refused()), now)),
    ("incoming", |m, now| m.handle_incoming(proven(), now)),
    ("counts", |m, now| m.handle_counts(PacketCounts { answers: 9, ..PacketCounts::default() }, now)),
    ("lost", |m, now| m.handle_lost("x".into(), false, now)),
    ("peer's goodbye", |m, now| m.handle_lost("x".into(), true, now)),
    ("upstream answers", |m, now| m.handle_upstream(Some(true), now)),
    ("upstream away", |m, now| m.handle_upstream(Some(false), now)),
    ("upstream unknown", |m, now| m.handle_upstream(None, now)),
    ("no streams", |m, now| m.handle_streams(0, now)),
    ("streams at limit", |m, now| m.handle_streams(2, now)),
    ("stream ended", |m, now| m.handle_ended(false, 1, now)),
    ("peer full", |m, now| m.handle_ended(true, 1, now)),
    ("starved", |m, now| m.handle_starved(now)),
    ("peer stopping", |m, now| m.handle_peer_stopping(now)),
    ("stop", |m, now| m.handle_stop(now, now)),
    ("early timeout", |m, now| m.handle_timeout(now)),
    ("timeout", |m, now| {
        let due = m.poll_timeout().map_or(now, |due| due.max(now));
        m.handle_timeout(due);
    }),
    ("a minute passed", |m, now| m.handle_timeout(now + limits::STOPPED_PEER_EXCUSED)),
];

fn refused() -> DialFailure {
    DialFailure::refused("x".into(), Audited::Refused(PeerRefusal::WrongSecret))
}

/// Each state with the inputs that lead to it, from one that nothing has happened to.
const SOURCE: [(&str, &[&str]); 15] = [
    ("idle (no rule yet)", &[]),
    ("idle (not listed)", &["policy unlisted"]),
    ("idle (not switched on)", &["policy ready"]),
    ("idle (paused)", &["policy paused"]),
    ("idle (no port yet)", &["policy active"]),
    ("idle (no secret yet)", &["port bound", "policy active"]),
    ("waiting for a path", &["port bound", "secret here", "policy active"]),
    ("dialing (attempt 1)", &["port bound", "secret here", "path there", "policy active"]),
    ("proving (attempt 1)", &["port bound", "secret here", "path there", "policy active", "dialed"]),
    (
        "up",
        &["port bound", "secret here", "path there", "policy active", "dialed", "proven", "upstream answers"],
    ),
    (
        "draining",
        &[
            "port bound",
            "secret here",
            "path there",
            "policy active",
            "dialed",
            "proven",
            "streams at limit",
            "peer stopping",
        ],
    ),
    ("backing off", &["port bound", "secret here", "path there", "policy active", "dial failed"]),
    ("mismatch", &["policy mismatch"]),
    ("ended", &["policy terminated"]),
    ("stopped", &["stop"]),
];
const TARGET: [(&str, &[&str]); 9] = [
    ("idle (no rule yet)", &[]),
    ("idle (not listed)", &["policy unlisted"]),
    ("idle (not switched on)", &["policy ready"]),
    ("idle (paused)", &["policy paused"]),
    ("idle (the peer dials)", &["path there", "policy active"]),
    ("up", &["path there", "policy active", "incoming", "upstream answers"]),
    ("draining", &["path there", "policy active", "incoming", "streams at limit", "stop"]),
    ("mismatch", &["policy mismatch"]),
    ("stopped", &["stop"]),
];

#[test]
fn the_table_is_as_written() {
    let table = print_table(Side::Source, &SOURCE) + "\n" + &print_table(Side::Target, &TARGET);
    let written = include_str!("table.txt");
    if table != written {
        println!("{table}");
    }
    let differs = table.lines().zip(written.lines()).find(|(found, written)| found != written);
    assert_eq!(differs, None, "found and written; the whole table is printed above");
    assert_eq!(table.lines().count(), written.lines().count());
}

fn print_table(side: Side, states: &[(&str, &[&str])]) -> String {
    let mut text = format!("The {}.\n", side.as_str());
    for (name, led_by) in states {
        let _ = writeln!(text, "\n{name}");
        let mut stay = Vec::new();
        for (input_name, input) in INPUTS {
            let mut run = in_state(side, name, led_by);
            input(&mut run.machine, run.now);
            let (state, actions) = (run.state(), run.perform());
            if state == *name && actions.is_empty() {
                stay.push(input_name);
                continue;
            }
            let to = if state == *name { "·".into() } else { state };
            let actions: Vec<_> = actions.iter().map(shown).collect();
            let line = format!("    {input_name:<19} → {to:<24} {}", actions.join(", "));
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let _ = writeln!(text, "    nothing by: {}", stay.join(", "));
    }
    text
}

fn in_state(side: Side, name: &str, led_by: &[&str]) -> Run {
    let mut run = Run::new(side);
    for step in led_by {
        let (_, input) = INPUTS.iter().find(|(name, _)| name == step).unwrap();
        input(&mut run.machine, run.now);
        run.perform();
    }
    assert_eq!(run.state(), name);
    run
}

fn shown(action: &Action) -> String {
    match action {
        Action::Close(code) => format!("Close {code:?}"),
        Action::SendUpstream(answers) => format!("SendUpstream {answers}"),
        Action::OpenListener { .. } => "OpenListener".into(),
        Action::CloseListener { .. } => "CloseListener".into(),
        Action::Report(Report::Ended { why, is_announced }) => {
            let announced = if *is_announced { ", announced" } else { "" };
            format!("Report Ended ({why:?}{announced})")
        }
        Action::Report(Report::DialFailed { is_excused, .. }) => {
            format!("Report DialFailed{}", if *is_excused { " (excused)" } else { "" })
        }
        Action::Report(report) => format!("Report {report:?}"),
        Action::Audit(audited) => format!("Audit {audited:?}"),
        Action::Dial | Action::Prove | Action::Serve | Action::End | Action::Ping | Action::SendStopping => {
            format!("{action:?}")
        }
    }
}
