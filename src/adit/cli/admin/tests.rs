//! Picking what a name means, and the table. The verbs are run as processes in `tests/it`.

use std::path::Path;

use clap::{CommandFactory, Parser};

use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::id::ConnectionId;
use adit_core::domain::page::{Cursor, List, Page, Paging, Place};
use adit_core::domain::role::UserRole;
use adit_core::domain::secret::Password;
use adit_core::domain::status::Status;
use adit_core::domain::time::Timestamp;
use adit_gateway::platform::{Acceptance, ConnectionFilter, TokenLife, Visit};

use super::find::{Called, Candidates};
use super::json::ConnectionJson;
use super::output::{Columns, table, write_array, write_table};
use super::{
    ActionRefusal, AdminCommand, Arguments, CliSession, PlatformError, open, serve, server, with_tier_command,
};

struct Thing(&'static str, &'static str, bool);

fn called(thing: &Thing) -> Called {
    Called { id: thing.0.into(), names: vec![thing.1.into()], shown: thing.1.into(), living: thing.2 }
}

#[track_caller]
fn check(wanted: &str, all: [Thing; 3], expected: Result<&str, &str>) {
    let mut candidates = Candidates::new(wanted);
    for thing in all {
        candidates.look_at(called(&thing), thing);
    }
    let picked = candidates.pick("thing");
    match (picked, expected) {
        (Ok(found), Ok(id)) => assert_eq!(found.0, id),
        (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
        (Ok(found), Err(text)) => panic!("found {} instead of {text}", found.0),
        (Err(error), Ok(id)) => panic!("{error} instead of {id}"),
    }
}

#[test]
fn a_thing_is_found_by_id_by_name_or_by_the_beginning_of_its_id() {
    let all = || [Thing("aaaa-1", "ADT", true), Thing("aaaa-2", "Lab", true), Thing("bbbb-3", "CT", true)];
    check("AAAA-1", all(), Ok("aaaa-1"));
    check("lab", all(), Ok("aaaa-2"));
    check("bbbb", all(), Ok("bbbb-3"));
    check("aaaa", all(), Err("can mean several; write the id of one:\n  aaaa-1  ADT\n  aaaa-2  Lab"));
    check("bbb", all(), Err("there is no thing `bbb`; `adit admin thing list` shows what there is"));
}

#[test]
fn a_thing_that_is_called_as_anothers_id_is_not_taken_for_it() {
    const ID: &str = "0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d";
    const GONE: &str = "1d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d";
    let all = || [Thing("aaaa-1", ID, true), Thing(ID, "Lab", true), Thing("bbbb-3", "0d5c2a7e", true)];
    check(ID, all(), Ok(ID));
    check("0d5c2a7e", all(), Err("can mean several"));
    check("0D5C", all(), Ok(ID));
    check(
        GONE,
        [Thing("aaaa-1", GONE, true), Thing(ID, "Lab", true), Thing("bbbb-3", "CT", true)],
        Err("there is no"),
    );
}

#[test]
fn of_several_the_only_living_one_is_meant() {
    let all = |second| [Thing("1", "ADT", false), Thing("2", "ADT", second), Thing("3", "CT", true)];
    check("adt", all(true), Ok("2"));
    check("adt", all(false), Err("can mean several"));
}

#[test]
fn columns_are_as_wide_as_their_widest_cell_without_trailing_blanks() {
    let rows = vec![["→ü".to_owned(), "x".into()], ["abcd".into(), String::new()]];
    assert_eq!(table(&["A".to_owned(), "B".into()], rows), "A     B\n→ü    x\nabcd\n");
}

#[test]
fn the_arguments_of_every_command_fit_together() {
    crate::cli::Arguments::command().debug_assert();
}

#[tokio::test]
async fn an_offer_goes_through_all_its_steps_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    for line in [
        "org add Lakeside --tier standard",
        "org add Hillside --tier standard",
        "server add Main --as Hillside",
        "server add Clinic --as Lakeside",
        "peering request --with Lakeside --as Hillside",
        "peering accept Hillside",
        "offer make --server Main --to Lakeside --access ro --life 12h",
        "offer make --server Main --to Lakeside --access rw",
        "offer list",
        "connection list",
    ] {
        run(&config, line).await.unwrap();
    }
    let ids = offered(&config).await;
    let [view_only, full] = &ids[..] else { panic!("{ids:?}") };
    let early = run(&config, &format!("connection entry {view_only} --side target")).await.unwrap_err();
    assert!(early.to_string().contains("there are entries once an offer was accepted"), "{early}");
    let foreign = run(&config, &format!("offer accept {view_only} --source Main")).await.unwrap_err();
    assert_eq!(foreign.to_string(), "there is no such server");
    for line in [
        format!("connection show {view_only}"),
        format!("offer accept {view_only} --source Clinic"),
        format!("connection entry {view_only} --side source"),
        format!("connection view-secret {view_only} --as Hillside"),
        format!("connection show {view_only}"),
        format!("offer withdraw {full}"),
        "offer list --all".into(),
        "offer list --all --json".into(),
        "connection list --all".into(),
    ] {
        run(&config, &line).await.unwrap();
    }
    let session = open(config.clone(), None, false).await.unwrap();
    let view = session.find_connection("clinic -> main").await.unwrap();
    assert_eq!((view.kind.as_str(), view.status.as_str()), ("Admin RO", "Active"));
    run(&config, "offer make --server Main --to Lakeside --access rw").await.unwrap();
    let open = offered(&config).await;
    assert_eq!(open.len(), 1);
    run(&config, &format!("offer decline {}", open[0])).await.unwrap();
    assert!(offered(&config).await.is_empty());
}

#[tokio::test]
async fn what_ends_says_what_goes_with_it_and_is_done_with_yes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    for line in [
        "org add Lakeside --tier standard",
        "org add Hillside --tier standard",
        "server add Main --as Hillside",
        "server add Clinic --as Lakeside",
        "peering request --with Lakeside --as Hillside",
        "peering accept Hillside",
        "channel add ADT --server Main --protocol mllp",
        "channel add ORU --server Main --protocol mllp",
        "grant request --channel ADT --source Clinic",
        "grant approve ADT",
        "channel describe ADT --name Admissions",
        "org rename Hillside Hilltop",
    ] {
        run(&config, line).await.unwrap();
    }
    for (line, said) in [
        (
            "channel delete Admissions",
            "Admissions is deleted: 1 channel, 1 grant, 1 connection ends with it (Lakeside)",
        ),
        ("server delete Main", "for good: 2 channels, 1 grant, 1 connection ends with it (Lakeside)"),
        ("peering end Hilltop --as Lakeside", "is ended: 1 grant, 1 connection ends with it (Hilltop)"),
    ] {
        let asked = run(&config, line).await.unwrap_err().to_string();
        assert!(asked.contains(said) && asked.contains("add --yes"), "{asked}");
    }
    run(&config, "peering end Hilltop --as Lakeside --yes").await.unwrap();
    run(&config, "channel delete ORU --yes").await.unwrap();
    run(&config, "server delete Main --yes").await.unwrap();
    let gone = run(&config, "server delete Main --yes").await.unwrap_err().to_string();
    assert!(gone.contains("there is no server `Main`"), "{gone}");
}

#[tokio::test]
async fn people_are_invited_listed_and_let_in_again_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    for line in
        ["org add Lakeside", "user invite ada@x.example --role owner --as Lakeside", "user list --json"]
    {
        run(&config, line).await.unwrap();
    }
    let session = open(config.clone(), Some("Lakeside".into()), false).await.unwrap();
    let by = session.initiator(None).await.unwrap();
    let email = "eve@x.example".parse().unwrap();
    let invited = session.platform.invite(&by, &email, UserRole::Auditor, TokenLife::Hour).await.unwrap();
    let name = Some("Eve".parse().unwrap());
    let accepted =
        Acceptance { token: invited.token, name, password: Password::new("correct horse battery".into()) };
    let visit = Visit { address: [192, 0, 2, 7].into(), agent: String::new(), device: None };
    session.platform.accept_invitation(&accepted, &visit).await.unwrap();
    for line in
        ["user disable eve@x.example", "user enable Eve", "user sign-in-link EVE@x.example", "user list"]
    {
        run(&config, line).await.unwrap();
    }
    assert!(run(&config, "user invite b@x.example --role owner").await.is_err(), "for no organization");
    let unknown = run(&config, "user disable nobody@x.example").await.unwrap_err();
    assert!(unknown.to_string().contains("there is no user `nobody@x.example`"), "{unknown}");
}

#[test]
fn the_arguments_of_an_offer_are_checked_before_anything_is_opened() {
    for (arguments, expected) in [
        ("--access admin", "possible values: ro, rw"),
        ("--access ro --life 31d", "from 1h to 30d"),
        ("", "--access"),
    ] {
        let line = format!("adit admin offer make --server a --to b {arguments}");
        let Err(error) = crate::cli::Arguments::try_parse_from(line.split_whitespace()) else {
            panic!("{arguments} was taken")
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Runs `adit admin` with these words, as a process of its own would do it.
async fn run(config: &GatewayConfig, line: &str) -> anyhow::Result<()> {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }
    let words = ["admin"].into_iter().chain(line.split_whitespace());
    let arguments = Line::try_parse_from(words)?.arguments;
    let out = match &arguments.command {
        AdminCommand::Token(verb) => server::out_file(verb)?,
        _ => None,
    };
    Box::pin(serve(config.clone(), arguments, out)).await.map(drop)
}

/// Returns the open offers, oldest first.
async fn offered(config: &GatewayConfig) -> Vec<ConnectionId> {
    let session = open(config.clone(), None, false).await.unwrap();
    let filter = ConnectionFilter { statuses: [Status::Offered].into(), ..ConnectionFilter::default() };
    let page = session.platform.list_connections(&CliSession::host(), &filter, &Paging::default()).await;
    page.unwrap().rows.iter().map(|it| it.id).collect()
}

fn config(folder: &Path) -> GatewayConfig {
    let text = "name = \"gateway.example.org:443\"\ntrust_domain = \"example.org\"\nstate = \"state\"\n";
    GatewayConfig::parse(text, folder).unwrap()
}

#[test]
fn who_meets_a_tiers_limit_is_told_the_command_that_raises_it() {
    use adit_core::domain::tier::{Counted, LimitReached, Tier};
    let limit = LimitReached { tier: Tier::Free, counted: Counted::Servers, limit: 1 };
    for refusal in
        [ActionRefusal::Limit(limit), ActionRefusal::ReadWriteTier { owner: "St Mary".parse().unwrap() }]
    {
        let said = with_tier_command(PlatformError::Refused(refusal).into()).to_string();
        assert!(said.contains("tier") && said.contains("`adit admin org tier ORGANIZATION TIER`"), "{said}");
    }
    let other = with_tier_command(PlatformError::Refused(ActionRefusal::NeedsHost).into()).to_string();
    assert!(!other.contains("adit admin org tier"), "{other}");
}

const NUMBERS: Columns<i64, i64, 2> =
    Columns { head: ["N", "TWICE"], cells: |it| [it.to_string(), (2 * it).to_string()], json: |it| *it };

/// A list of numbers, the first of them 1, three a page.
fn numbers(last: i64, paging: &Paging) -> Page<i64> {
    let first = match paging.after.as_ref().map(|cursor| cursor.place_in(List::Audit).unwrap()) {
        Some(Place::Written { number, .. }) => number + 1,
        _ => 1,
    };
    let rows: Vec<_> = (first..=last).take(3).collect();
    let next = rows.last().filter(|number| **number < last);
    let next = next.map(|number| {
        Cursor::new(List::Audit, Place::Written { at: Timestamp::from_millis(0), number: *number })
    });
    Page { rows, next }
}

#[tokio::test]
async fn a_list_of_several_pages_is_written_as_if_it_were_one() {
    for last in [0, 1, 3, 4, 100] {
        let all: Vec<_> = (1..=last).collect();
        let page = async |paging: Paging| Ok(numbers(last, &paging));
        let (mut array, mut lines) = (String::new(), String::new());
        let write = |part: &str| {
            array.push_str(part);
            Ok(())
        };
        write_array(&NUMBERS, page, write).await.unwrap();
        assert_eq!(array, format!("{}\n", serde_json::to_string_pretty(&all).unwrap()));
        let write = |part: &str| {
            lines.push_str(part);
            Ok(())
        };
        write_table(&NUMBERS, page, write).await.unwrap();
        assert_eq!(lines, table(&NUMBERS.head.map(str::to_owned), all.iter().map(NUMBERS.cells).collect()));
    }
}

#[tokio::test]
async fn the_json_of_an_admin_connection_has_not_a_word_of_channels() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    for line in [
        "org add Lakeside --tier standard",
        "org add Hillside --tier standard",
        "server add Main --as Hillside",
        "server add Clinic --as Lakeside",
        "peering request --with Lakeside --as Hillside",
        "peering accept Hillside",
        "offer make --server Main --to Lakeside --access ro --life 12h",
    ] {
        run(&config, line).await.unwrap();
    }
    let json = async |route: &str| {
        let session = open(config.clone(), None, false).await.unwrap();
        let view = session.find_connection(route).await.unwrap();
        serde_json::to_value(ConnectionJson::from(&view)).unwrap()
    };
    let offered = json("Lakeside -> Main").await;
    assert_eq!((&offered["kind"], &offered["access"]), (&"Admin RO".into(), &"read-only".into()));
    assert_eq!(
        (&offered["offered_by"], &offered["source"]["name"]),
        (&"Hillside".into(), &"Lakeside".into())
    );
    assert!(offered["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{offered}");
    for absent in ["channel", "protocol", "held_by", "failure", "last_ack"] {
        assert!(offered.get(absent).is_none(), "{absent}");
    }
    assert!(offered["source"].get("server").is_none() && offered["source"].get("organization_id").is_none());
    let id = offered["id"].as_str().unwrap();
    run(&config, &format!("offer accept {id} --source Clinic")).await.unwrap();
    let active = json("Clinic -> Main").await;
    assert!(active.get("expires_at").is_none());
    assert_eq!(active["source"]["link"], serde_json::json!({ "state": "never" }));
}
