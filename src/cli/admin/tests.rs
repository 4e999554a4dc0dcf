//! Picking what a name means, and the table. The verbs are run as processes in `tests/it`.

use clap::CommandFactory;

use super::find::{Called, pick};
use super::output::table;

struct Thing(&'static str, &'static str, bool);

fn called(thing: &Thing) -> Called {
    Called { id: thing.0.into(), names: vec![thing.1.into()], shown: thing.1.into(), living: thing.2 }
}

#[track_caller]
fn check(wanted: &str, all: [Thing; 3], expected: Result<&str, &str>) {
    let picked = pick("thing", wanted, all.into(), called);
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
fn of_several_the_only_living_one_is_meant() {
    let all = |second| [Thing("1", "ADT", false), Thing("2", "ADT", second), Thing("3", "CT", true)];
    check("adt", all(true), Ok("2"));
    check("adt", all(false), Err("can mean several"));
}

#[test]
fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
    let rows = vec![["→ü".to_owned(), "x".into()], ["abcd".into(), String::new()]];
    assert_eq!(table(["A".to_owned(), "B".into()], rows), "A     B\n→ü    x\nabcd\n");
}

#[test]
fn the_arguments_of_every_command_fit_together() {
    crate::cli::Arguments::command().debug_assert();
}
