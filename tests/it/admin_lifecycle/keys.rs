//! Whose keys must be known before anybody works on a Mirth: the peer's, compared by people, and
//! Mirth's own.

use adit_core::domain::access::Access;
use adit_core::domain::id::KeyFingerprint;

use super::client::get;
use super::observed::said;
use super::origin::Origin;
use crate::lab::{Lab, Part, SOURCE_OWNER, TARGET_OWNER, eventually};

const UNVERIFIED: &str = "the peer's key was not compared yet";

#[tokio::test(flavor = "multi_thread")]
async fn no_admin_tunnel_comes_up_before_both_sides_compared_the_peers_key() {
    let origin = Origin::start("4.5.2").await;
    let mut lab = Lab::written_managing(&[], origin.address, &[Access::ReadOnly]).await;
    for part in [Part::A, Part::B] {
        lab.unwrite(part, "peer_key");
    }
    lab.start_all().await;

    let why = lab.admin_complains(Part::A, 0, "needs the peer's key compared first").await;
    let key_of_b = lab.status(Part::B).await.unwrap().key.to_string();
    assert!(why.contains("adit trust") && why.contains(&key_of_b), "{why}");
    refusal_is_in_both_audits(&lab, Part::A, SOURCE_OWNER).await;

    // One side's comparison is not the other's.
    lab.trusts(Part::A, &[&lab.admin_name(Part::A, 0), &key_of_b]).await;
    let why = lab.admin_complains(Part::B, 0, "needs the peer's key compared first").await;
    let key_of_a = lab.status(Part::A).await.unwrap().key.to_string();
    assert!(why.contains("adit trust") && why.contains(&key_of_a), "{why}");
    refusal_is_in_both_audits(&lab, Part::B, TARGET_OWNER).await;
    lab.admin_port_refuses(0).await;

    // A key that is not the one shown helps nobody.
    let other = KeyFingerprint::from_bytes([7; 32]).to_string();
    lab.trusts(Part::B, &[&lab.admin_name(Part::B, 0), &other, "--force"]).await;
    eventually("B's audit names the other key", async || {
        lab.own_audit(Part::B).contains("is not the known key").then_some(())
    })
    .await;
    lab.admin_port_refuses(0).await;

    lab.trusts(Part::B, &[&lab.admin_name(Part::B, 0), &key_of_a]).await;
    lab.admin_port_opens(0).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);
}

async fn refusal_is_in_both_audits(lab: &Lab, part: Part, owner: &str) {
    eventually("the agent's audit has the refusal", async || {
        let audit = lab.own_audit(part);
        audit.lines().any(|line| line.contains("peer_refused") && line.contains(UNVERIFIED)).then_some(())
    })
    .await;
    eventually("the gateway's audit has the refusal", async || {
        lab.gateway_audit(owner).await.contains(UNVERIFIED).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_from_a_mirth_until_its_key_is_trusted_while_all_runs() {
    let mut origin = Origin::start("4.5.2").await;
    let mut lab = Lab::written_managing(&[], origin.address, &[Access::ReadOnly]).await;
    lab.unwrite(Part::B, "mirth_key");
    lab.start_all().await;
    let name = lab.admin_name(Part::B, 0);

    let shown = origin.key().to_string();
    let why = lab.admin_complains(Part::B, 0, "is not trusted yet").await;
    assert!(why.contains(&format!("adit trust {name} --mirth {shown}")), "{why}");
    let status = said(&lab.agent_command(Part::B, &["status"]).await);
    assert!(status.contains("none trusted yet"), "{status}");
    assert!(status.contains(&format!("`adit trust {name} --mirth {shown}`")), "{status}");
    lab.admin_becomes(Part::A, 0, "has its tunnel", |entry| entry.tunnel.on == Some(true)).await;
    lab.admin_port_refuses(0).await;

    // On loopback nobody stands between, so what is shown now is trusted.
    lab.trusts(Part::B, &[&name, "--mirth"]).await;
    lab.admin_port_opens(0).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);
    assert!(lab.own_audit(Part::B).contains("mirth_key_trusted"));
    let heard = origin.arrived().len();

    origin.renew().await;
    let renewed = origin.key().to_string();
    let why = lab.admin_complains(Part::B, 0, "but").await;
    for part in [&renewed, &shown, &format!("adit trust {name} --mirth {renewed}")] {
        assert!(why.contains(part.as_str()), "{part}: {why}");
    }
    lab.admin_port_refuses(0).await;
    assert_eq!(origin.arrived().len(), heard, "whoever answers with another key hears nothing");
    let status = said(&lab.agent_command(Part::B, &["status"]).await);
    // Lines are as wide as a screen.
    let status: Vec<_> = status.split_whitespace().collect();
    let status = status.join(" ");
    assert!(status.contains(&format!("Mirth shows the key {renewed}")), "{status}");

    lab.trusts(Part::B, &[&name, "--mirth", &renewed]).await;
    lab.admin_port_opens(0).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_of_a_mirth_is_refused_where_the_entry_has_none_or_the_file_says_it() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::written_managing(&[], origin.address, &[Access::ReadOnly]).await;
    for (part, expected) in [(Part::A, "is no [[admin_managed]] entry"), (Part::B, "which counts more")] {
        let output = lab.agent_command(part, &["trust", &lab.admin_name(part, 0), "--mirth"]).await;
        assert!(!output.status.success() && said(&output).contains(expected), "{}", said(&output));
    }
    // While no agent runs, the state is written by the command itself.
    lab.unwrite(Part::B, "mirth_key");
    lab.trusts(Part::B, &[&lab.admin_name(Part::B, 0), "--mirth"]).await;
    assert!(lab.own_audit(Part::B).contains("mirth_key_trusted"));
}
