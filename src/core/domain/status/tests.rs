//! The table printed whole, and random walks held against the rows of DOMAIN §3 as data.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

#[test]
fn the_whole_status_table_is_as_printed() {
    for (kind, file) in [
        (ConnectionType::P2p, include_str!("table-p2p.txt")),
        (ConnectionType::AdminRw, include_str!("table-admin.txt")),
        (ConnectionType::AdminRo, include_str!("table-admin.txt")),
    ] {
        let printed = print_table(kind);
        assert_eq!(printed, file, "{kind}: the table changed; it is now\n{printed}");
    }
}

#[test]
fn a_refusal_names_the_rule_it_follows() {
    let refused =
        |from, event, actor| on(Some(from), ConnectionType::P2p, event, actor).unwrap_err().to_string();
    let source = Actor::Party(Side::Source);
    assert_eq!(
        refused(Status::Active, Event::Activate, source),
        "`activate` is possible when the connection is Ready; it is Active"
    );
    assert_eq!(
        refused(Status::Terminated, Event::Retry, source),
        "the connection is Terminated and nothing changes that; a new one takes a new grant or offer"
    );
    assert_eq!(
        refused(Status::Paused(PauseHold::Target), Event::Resume, source),
        "the other party holds the pause; only that party can lift it"
    );
}

/// DOMAIN §3 as data: from, event, to, who. `any` stands for every status that is not terminal.
const ROWS: [(&str, &str, &str, &str); 15] = [
    ("-", "create", "Provisioning", "decider"),
    ("Provisioning", "set-up done", "Ready", "system"),
    ("Provisioning", "set-up error", "Failed", "system"),
    ("Ready", "activate", "Active", "either"),
    ("Active", "pause", "Paused", "either"),
    ("Paused", "pause", "Paused", "not holding"),
    ("Paused", "resume", "Active", "last holder"),
    ("Paused", "resume", "Paused", "one of two holders"),
    ("Active", "disconnect", "Active", "either"),
    ("Paused", "disconnect", "Paused", "either"),
    ("Ready", "agent refused", "Failed", "system"),
    ("Active", "agent refused", "Failed", "system"),
    ("Paused", "agent refused", "Failed", "system"),
    ("Failed", "retry", "Ready", "either"),
    ("any", "terminate", "Terminated", "either"),
];

/// The model keeps holds as a plain set of sides and looks the rows up.
fn model(status: &str, holds: &mut Vec<Side>, event: Event, actor: Actor) -> Option<String> {
    let row = ROWS.iter().find(|(from, row_event, _, who)| {
        let holding = matches!(actor, Actor::Party(side) if holds.contains(&side));
        (*from == status
            || (*from == "any" && !matches!(status, "-" | "Declined" | "Expired" | "Terminated")))
            && *row_event == event.as_str()
            && match *who {
                "system" => actor == Actor::System,
                "either" | "decider" => actor != Actor::System,
                "not holding" => actor != Actor::System && !holding,
                "last holder" => holding && holds.len() == 1,
                _ => holding && holds.len() == 2,
            }
    })?;
    match (event, actor) {
        (Event::Pause, Actor::Party(side)) => holds.push(side),
        (Event::Resume, Actor::Party(side)) => holds.retain(|held| *held != side),
        (Event::Disconnect, _) => {}
        _ => holds.clear(),
    }
    Some(row.2.to_owned())
}

proptest! {
    #[test]
    fn any_walk_of_a_p2p_connection_follows_the_rows(
        steps in prop::collection::vec((prop::sample::select(&Event::ALL[..]), prop::sample::select(&Actor::ALL[..])), 0..200),
    ) {
        let mut status = None;
        let (mut expected, mut holds) = ("-".to_owned(), Vec::new());
        for (event, actor) in steps {
            let moved = on(status, ConnectionType::P2p, event, actor);
            match model(&expected, &mut holds, event, actor) {
                Some(to) => {
                    prop_assert_eq!(moved.map(Status::as_str), Ok(to.as_str()), "{} by {:?}", event, actor);
                    expected = to;
                    status = moved.ok();
                }
                None => prop_assert!(moved.is_err(), "{} by {:?} in {} was served", event, actor, expected),
            }
            for side in [Side::Source, Side::Target] {
                let held = status.and_then(Status::pause_hold).is_some_and(|held| held.includes(side));
                prop_assert_eq!(held, holds.contains(&side));
            }
        }
    }

    #[test]
    fn nothing_leaves_a_terminal_status(
        event in prop::sample::select(&Event::ALL[..]),
        actor in prop::sample::select(&Actor::ALL[..]),
        kind in prop::sample::select(&ConnectionType::ALL[..]),
    ) {
        for status in Status::ALL.into_iter().filter(|status| status.is_terminal()) {
            prop_assert_eq!(on(Some(status), kind, event, actor), Err(TransitionRefusal::Final { status }));
        }
    }
}

fn print_table(kind: ConnectionType) -> String {
    let mut text = String::new();
    writeln!(text, "{:<15} {:<14} {:<15} {:<15} target", "from", "event", "system", "source").unwrap();
    for from in [None].into_iter().chain(Status::ALL.into_iter().map(Some)) {
        for event in Event::ALL {
            let cells = Actor::ALL.map(|actor| cell(on(from, kind, event, actor)));
            let from = from.map_or("-".to_owned(), shown);
            let [system, source, target] = cells;
            writeln!(text, "{from:<15} {:<14} {system:<15} {source:<15} {target}", event.as_str()).unwrap();
        }
    }
    text
}

fn shown(status: Status) -> String {
    match status {
        Status::Paused(holds) => format!("Paused/{}", format!("{holds:?}").to_lowercase()),
        status => status.as_str().to_owned(),
    }
}

fn cell(outcome: Result<Status, TransitionRefusal>) -> String {
    match outcome {
        Ok(status) => shown(status),
        Err(TransitionRefusal::Final { .. }) => "x final".into(),
        Err(TransitionRefusal::AdminOnly { .. }) => "x admin only".into(),
        Err(TransitionRefusal::NotNow { .. }) => "x not now".into(),
        Err(TransitionRefusal::NotYet { .. }) => "x not yet".into(),
        Err(TransitionRefusal::NotYours { .. }) => "x not yours".into(),
        Err(TransitionRefusal::AlreadyHeld) => "x already held".into(),
        Err(TransitionRefusal::HeldByOther) => "x held by other".into(),
    }
}
