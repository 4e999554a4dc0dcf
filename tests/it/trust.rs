//! A person compared keys: what was trusted counts for the tunnel that is up, too.

use adit_core::domain::connection::Protocol;
use adit_core::domain::id::KeyFingerprint;

use super::lab::{Lab, Part, adit, mirth, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_ends_when_another_key_is_trusted_than_its_peer_shows() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let shown = lab.status(Part::B).await.unwrap().key;

    trust(&lab, KeyFingerprint::from_bytes([7; 32])).await;
    let entry = lab
        .entry_becomes(Part::A, 0, "the tunnel is down, and a new one refused", |entry| {
            entry.tunnel.on == Some(false)
                && entry.last_error.as_ref().is_some_and(|fault| fault.what.contains("adit trust"))
        })
        .await;
    assert!(entry.last_error.unwrap().what.contains(&shown.to_string()), "the error names the key shown");
    lab.port_refuses(0).await;

    trust(&lab, shown).await;
    lab.port_open(0).await;
}

async fn trust(lab: &Lab, key: KeyFingerprint) {
    let name = lab.entry(Part::A, 0).await.unwrap().name;
    let mut command = adit();
    command.args(["trust", &name, &key.to_string(), "--force", "--config"]).arg(lab.config(Part::A));
    assert!(run(command).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_in_any_key_but_the_one_the_peer_shows_is_refused_naming_both() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.port_open(0).await;
    let (own, shown) =
        (lab.status(Part::A).await.unwrap().key, lab.status(Part::B).await.unwrap().key.to_string());
    let name = lab.entry(Part::A, 0).await.unwrap().name;
    let other = KeyFingerprint::from_bytes([7; 32]).to_string();
    let said = async |key: &str| {
        let mut command = adit();
        command.args(["trust", &name, key, "--config"]).arg(lab.config(Part::A));
        let output = run(command).await;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), said)
    };
    let (ok, why) = said(&own.to_string()).await;
    assert!(!ok && why.contains("this agent's own key"), "{why}");
    let (ok, why) = said(&other).await;
    assert!(!ok && [&other, &shown, "--force"].iter().all(|part| why.contains(*part)), "{why}");
    let (ok, what) = said(&shown).await;
    assert!(ok && what.contains("the key of the peer's agent"), "{what}");

    // The partner hears in its own log that the key was refused.
    trust(&lab, KeyFingerprint::from_bytes([7; 32])).await;
    let audit = lab.state(Part::B).join("audit.jsonl");
    super::lab::eventually("the partner's audit names the refused key", async || {
        std::fs::read_to_string(&audit).unwrap().contains("refused this agent's key").then_some(())
    })
    .await;
}
