//! What can be seen of an admin connection from outside: status, audits, the port; and what people do
//! with `adit admin` and `adit trust`.

use std::fs;
use std::net::SocketAddr;
use std::process::Output;

use adit_agent::AUDIT_FILE;
use adit_agent::stats::EntryStatus;
use tokio::net::TcpStream;

use crate::lab::{Lab, Part, adit, edit, eventually, run};

impl Lab {
    /// Where people connect.
    pub(crate) fn admin_port(&self, index: usize) -> SocketAddr {
        self.admin[index].listen
    }

    /// Of an admin connection, as the agents' files have it.
    fn value_of(&self, part: Part, index: usize, key: &str) -> String {
        let text = fs::read_to_string(self.config(part)).unwrap();
        let values: Vec<&str> = text.lines().filter(|line| line.split(' ').next() == Some(key)).collect();
        let value = values[values.len() - self.admin.len() + index];
        value.split('"').nth(1).unwrap().to_owned()
    }

    pub(crate) fn admin_id(&self, index: usize) -> String {
        self.value_of(Part::A, index, "id")
    }

    pub(crate) fn admin_name(&self, part: Part, index: usize) -> String {
        self.value_of(part, index, "name")
    }

    /// Takes every line that begins with `key` out of an agent's file.
    pub(crate) fn unwrite(&self, part: Part, key: &str) {
        edit(&self.config(part), |text| {
            let kept = text.lines().filter(|line| line.split(' ').next() != Some(key));
            kept.fold(String::new(), |text, line| text + line + "\n")
        });
    }

    /// An admin connection as an agent shows it.
    pub(crate) async fn admin_entry(&self, part: Part, index: usize) -> Option<EntryStatus> {
        let id = self.admin_id(index);
        self.status(part).await?.entries.into_iter().find(|entry| entry.id.to_string() == id)
    }

    pub(crate) async fn admin_becomes(
        &self,
        part: Part,
        index: usize,
        what: &str,
        is: impl Fn(&EntryStatus) -> bool,
    ) -> EntryStatus {
        eventually(&format!("admin connection {index} of {part:?}: {what}"), async || {
            self.admin_entry(part, index).await.filter(&is)
        })
        .await
    }

    /// Waits for a fault that says this, and gives it.
    pub(crate) async fn admin_complains(&self, part: Part, index: usize, words: &str) -> String {
        let is = |entry: &EntryStatus| entry.last_error.as_ref().is_some_and(|it| it.what.contains(words));
        self.admin_becomes(part, index, words, is).await.last_error.unwrap().what
    }

    pub(crate) async fn admin_port_opens(&self, index: usize) {
        self.admin_becomes(Part::A, index, "its port opens", |entry| entry.port_open).await;
    }

    /// Waits until an agent that was started again has its tunnel, and the port is open again.
    pub(crate) async fn tunnel_anew(&self, part: Part, index: usize) {
        self.admin_becomes(part, index, "has its tunnel", |entry| entry.tunnel.on == Some(true)).await;
        self.admin_port_opens(index).await;
    }

    /// Waits until the kernel refuses all that come.
    pub(crate) async fn admin_port_refuses(&self, index: usize) {
        eventually("the admin port refuses", async || {
            let refused = TcpStream::connect(self.admin_port(index)).await;
            refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
        })
        .await;
    }

    pub(crate) async fn admin_command(&self, verb: &str, owner: &str, index: usize) {
        self.admin(&["connection", verb, &self.admin_id(index), "--as", owner]).await;
    }

    /// Waits until the gateway shows this of a connection, and gives all of it.
    pub(crate) async fn gateway_shows(&self, owner: &str, index: usize, words: &str) -> String {
        let id = self.admin_id(index);
        eventually(&format!("the gateway shows `{words}`"), async || {
            let shown = self.admin(&["connection", "show", &id, "--as", owner]).await;
            shown.contains(words).then_some(shown)
        })
        .await
    }

    pub(crate) fn own_audit(&self, part: Part) -> String {
        fs::read_to_string(self.state(part).join(AUDIT_FILE)).unwrap()
    }

    pub(crate) async fn gateway_audit(&self, owner: &str) -> String {
        self.admin(&["audit", "--rows", "500", "--as", owner]).await
    }

    /// `adit WORDS… --config …` for one of the agents.
    pub(crate) async fn agent_command(&self, part: Part, words: &[&str]) -> Output {
        let mut command = adit();
        command.args(words).arg("--config").arg(self.config(part));
        run(command).await
    }

    pub(crate) async fn trusts(&self, part: Part, words: &[&str]) {
        let output = self.agent_command(part, &[&["trust"], words].concat()).await;
        assert!(output.status.success(), "{}", said(&output));
    }
}

/// Everything a command printed.
pub(super) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
