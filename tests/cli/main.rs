//! The command line as who types it meets it, without any agent or gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::process::{Command, Output, Stdio};

fn adit(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adit")).args(words).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_version_is_one_line_on_standard_output() {
    let output = adit(&["--version"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), concat!("adit ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(output.stderr.is_empty());
}

#[test]
fn help_names_no_stand_in() {
    let output = adit(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && help.contains("agent") && help.contains("gateway"), "{help}");
    for word in ["demo", "lab", "stand-in"] {
        assert!(!help.contains(word), "{help}");
    }
}

#[test]
fn a_word_that_is_no_command_is_a_usage_error() {
    let output = adit(&["demo"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unrecognized subcommand 'demo'"));
}
