//! An MLLP client that none of us wrote, the `PyPI` package `hl7`, through the tunnel.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use adit_core::domain::connection::Protocol;
use adit_lab::binaries;

use super::lab::{Lab, mirth, run};

/// Where `tests/run.sh` installs the package; else the host's own Python.
async fn python() -> PathBuf {
    let target = binaries::adit().ancestors().nth(2).unwrap();
    for python in [target.join("interop-venv/bin/python"), "python3".into()] {
        let mut command = Command::new(&python);
        command.args(["-c", "import hl7"]);
        let imports =
            tokio::task::spawn_blocking(move || command.output().is_ok_and(|out| out.status.success()));
        if imports.await.unwrap() {
            return python;
        }
    }
    let venv = target.join("interop-venv");
    panic!(
        "the Python package hl7 is missing; run `tests/run.sh`, or: \
         python3 -m venv {0} && {0}/bin/python -m pip install hl7==0.4.5",
        venv.display()
    );
}

async fn check(connection: &str, client: &str) {
    let python = python().await;
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/mllp_client.py"));
    command.args(["--port", &lab.port(0).port().to_string(), "--messages", "1000"]);
    command.args(["--connection", connection, "--client", client]);
    let output = run(command).await;
    let said =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1000 of 1000 accepted"), "{said}");
    let received = mirth.journal().received();
    let ids: Vec<_> = received.iter().map(|message| message.control_id.as_str()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1_000, "exactly once");
    assert!(ids.is_sorted() && ids.len() == 1_000, "in order, exactly once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_has_a_thousand_messages_accepted_over_one_connection() {
    check("one", "blocking").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_has_a_thousand_messages_accepted_over_a_connection_each() {
    check("each", "blocking").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_of_another_build_is_served_as_well() {
    check("one", "asyncio").await;
    check("each", "asyncio").await;
}
