//! A person compared keys: what was trusted counts for the tunnel that is up, too.

use adit::domain::connection::Protocol;
use adit::domain::id::KeyFingerprint;

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
    command.args(["trust", &name, &key.to_string(), "--config"]).arg(lab.config(Part::A));
    assert!(run(command).await.status.success());
}
