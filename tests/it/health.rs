//! `adit health`: its exit codes while a connection works, while its Mirth is down, before and after the
//! agent's life.

use adit_core::domain::connection::Protocol;

use super::lab::{Lab, Part, adit, eventually, mirth, mirth_at, run};

impl Lab {
    /// Whether it succeeds, and what it says.
    async fn health(&self, part: Part, question: &str) -> (bool, String) {
        let mut command = adit();
        command.args(["health", question, "--config"]).arg(self.config(part));
        let output = run(command).await;
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    async fn health_becomes(&self, part: Part, question: &str, expected: bool) -> String {
        eventually(&format!("{part:?} {question} is {expected}"), async || {
            let (is_well, said) = self.health(part, question).await;
            (is_well == expected).then_some(said)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_by_its_exit_code_whether_connections_work() {
    let mirth = mirth().await;
    let address = mirth.address();
    let mut lab = Lab::to(Protocol::Mllp, address).await;
    for part in [Part::Gateway, Part::A, Part::B] {
        lab.health_becomes(part, "--ready", true).await;
    }
    for part in [Part::A, Part::B] {
        eventually("the metrics say the same", async || {
            let metrics = lab.metrics(part).await?;
            let works = |line: &str| line.starts_with("adit_entry_working{") && line.ends_with("} 1");
            let expires = |line: &str| line.starts_with("adit_leaf_expiry_timestamp ");
            (metrics.lines().any(works) && metrics.lines().any(expires)).then_some(())
        })
        .await;
    }

    mirth.shutdown().await;
    for (part, whose) in [(Part::A, "the partner's Mirth"), (Part::B, "the Mirth of this host")] {
        let said = lab.health_becomes(part, "--ready", false).await;
        assert!(said.contains(&format!("{whose} does not answer")), "{said}");
        assert!(lab.health(part, "--live").await.0 && lab.health(part, "--startup").await.0);
    }
    let _again = mirth_at(address).await;
    lab.health_becomes(Part::A, "--ready", true).await;

    lab.kill(Part::Gateway);
    assert!(!lab.health(Part::Gateway, "--live").await.0);
    assert!(lab.health(Part::A, "--ready").await.0, "messages pass without a gateway");
    lab.kill(Part::A);
    for question in ["--live", "--startup", "--ready"] {
        let (is_well, said) = lab.health(Part::A, question).await;
        assert!(!is_well && said.contains("no agent answers"), "{said}");
    }
}
