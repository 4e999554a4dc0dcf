//! The lab's binary as README has people run it.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

fn adit_lab(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit-lab"));
    command.args(words).stdin(Stdio::null());
    command
}

#[test]
fn the_demo_carries_all_that_it_sends() {
    let output = adit_lab(&["demo", "--once"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_lab_names_what_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("lab");
    let lab = lab.to_str().unwrap();
    let output = adit_lab(&["lab", lab, "--p2p", "mllp:127.0.0.1:6661:127.0.0.1:6662"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let roles: Vec<_> = said.lines().map(|line| line.split(" --config").next().unwrap()).collect();
    assert_eq!(roles, ["adit gateway", "adit agent", "adit agent"]);
}

#[test]
fn a_folder_that_exists_is_refused_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().to_str().unwrap();
    let output = adit_lab(&["lab", lab, "--p2p", "mllp:127.0.0.1:6661:127.0.0.1:6662"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("adit-lab: ") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_full_disk_under_standard_output_is_a_plain_error() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("lab");
    let mut command =
        adit_lab(&["lab", lab.to_str().unwrap(), "--p2p", "mllp:127.0.0.1:6661:127.0.0.1:6662"]);
    command.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write to standard output"), "{said}");
}

#[test]
fn a_limit_that_is_too_low_is_named() {
    for limit in [28, 36, 44] {
        let script = format!("ulimit -n {limit} && exec \"$0\" demo --once");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_adit-lab")]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("open files") && !said.contains("this is a bug"), "{limit}: {said}");
    }
}
