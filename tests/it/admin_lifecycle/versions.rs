//! What a Mirth is decides what may be done on it: its version, what its list of operations names, and
//! what this host's own file allows.

use adit_core::domain::access::Access;

use super::client::get;
use super::origin::Origin;
use crate::lab::{Lab, Part, SOURCE_OWNER, TARGET_OWNER, edit};

#[tokio::test(flavor = "multi_thread")]
async fn view_only_of_a_mirth_before_4_4_1_fails_with_the_reason_until_the_update() {
    let origin = Origin::start("4.4.0").await;
    let accesses = [Access::ReadOnly, Access::ReadWrite];
    let mut lab = Lab::written_managing(&[], origin.address, &accesses).await;
    lab.start_all().await;

    let shown = lab.gateway_shows(TARGET_OWNER, 0, "Failed").await;
    assert!(shown.contains("4.4.1"), "the reason: {shown}");
    let why = lab.admin_complains(Part::B, 0, "4.4.1").await;
    assert!(why.contains("4.4.0") && why.contains("retry"), "{why}");
    lab.admin_port_refuses(0).await;
    // Full control needs no judgement of bodies.
    lab.admin_port_opens(1).await;
    assert_eq!(get(lab.admin_port(1), "/api/channels").await.0, 200);

    // Before the update a retry ends where it began.
    again(&lab, 0).await;
    lab.gateway_shows(TARGET_OWNER, 0, "Failed").await;
    lab.admin_port_refuses(0).await;

    origin.set_version("4.5.2");
    lab.admin_becomes(Part::B, 1, "sees the update", |entry| {
        entry.admin.as_ref().unwrap().managed.as_ref().unwrap().mirth_version.as_deref() == Some("4.5.2")
    })
    .await;
    again(&lab, 0).await;
    lab.admin_port_opens(0).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);
    lab.gateway_shows(TARGET_OWNER, 0, "Active").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_appears_with_an_update_is_named_once_as_denied_in_view_only() {
    let mut origin = Origin::start("4.5.1").await;
    let accesses = [Access::ReadOnly, Access::ReadWrite];
    let lab = Lab::managing(origin.address, &accesses).await;
    let unknown = "GET /extensions/bedboard/beds";
    assert!(!lab.log(Part::B).contains(unknown));

    origin.add_plug_in("GET", "/extensions/bedboard/beds");
    origin.set_version("4.5.2");
    for index in 0..2 {
        let entry = lab
            .admin_becomes(Part::B, index, "names the operation", |entry| {
                !entry.admin.as_ref().unwrap().managed.as_ref().unwrap().unknown_operations.is_empty()
            })
            .await;
        let managed = entry.admin.unwrap().managed.unwrap();
        assert_eq!(managed.unknown_operations, [unknown]);
        assert_eq!(managed.mirth_version.as_deref(), Some("4.5.2"));
    }
    let (status, why) = get(lab.admin_port(0), "/api/extensions/bedboard/beds").await;
    assert_eq!(status, 403, "{why}");
    assert_eq!(get(lab.admin_port(1), "/api/extensions/bedboard/beds").await.0, 200);
    assert_eq!(origin.arrived().len(), 1);

    // Away and back, and read again, it is the same Mirth.
    origin.stop().await;
    for index in 0..2 {
        lab.admin_port_refuses(index).await;
    }
    origin.start_again().await;
    for index in 0..2 {
        lab.admin_port_opens(index).await;
    }
    let named = lab.log(Part::B).matches(unknown).count();
    assert_eq!(named, accesses.len(), "once for each connection: {}", lab.log(Part::B));
}

#[tokio::test(flavor = "multi_thread")]
async fn full_control_that_the_managed_sides_file_does_not_allow_fails_with_the_reason() {
    let origin = Origin::start("4.5.2").await;
    let mut lab = Lab::written_managing(&[], origin.address, &[Access::ReadWrite]).await;
    let file = lab.config(Part::B);
    edit(&file, |text| text.replace("\"read-write\"", "\"read-only\""));
    lab.start_all().await;
    for owner in [SOURCE_OWNER, TARGET_OWNER] {
        let shown = lab.gateway_shows(owner, 0, "Failed").await;
        assert!(shown.contains("max_access"), "the reason, for {owner}: {shown}");
    }
    lab.admin_complains(Part::B, 0, "max_access").await;
    lab.admin_port_refuses(0).await;
    assert_eq!(origin.arrived().len(), 0);

    // Before the file allows it a retry ends where it began.
    again(&lab, 0).await;
    lab.gateway_shows(TARGET_OWNER, 0, "Failed").await;

    lab.kill(Part::B);
    edit(&file, |text| text.replace("\"read-only\"", "\"read-write\""));
    lab.start(Part::B);
    again(&lab, 0).await;
    lab.admin_port_opens(0).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);
}

async fn again(lab: &Lab, index: usize) {
    for verb in ["retry", "activate"] {
        lab.admin_command(verb, TARGET_OWNER, index).await;
    }
}
