//! What a view-only partner's reads may make a Mirth write or keep.

use std::time::{Duration, Instant};

use adit_core::domain::access::Access;
use adit_core::domain::limits::{ADMIN_AUDITS_BURST, ADMIN_AUDITS_PER_SECOND};
use adit_lab::admin_client::{AdminClient, RequestContent};
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, USER};
use tokio::net::TcpListener;

use super::lab::{Lab, Part, eventually};

const BASE: &str = "/api/4.5.2";
const ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const MAPS: &str = "/api/4.5.2/extensions/globalmapviewer/maps";

async fn viewer() -> (AdminMirth, Lab, AdminClient) {
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    mirth.add_channel(&format!("<channel><id>{ID}</id><name>ADT in</name></channel>"));
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly]).await;
    let mut client = lab.administrator(0).await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    (mirth, lab, client)
}

async fn post(client: &mut AdminClient, target: &str, xml: String) -> u16 {
    client.send("POST", target, RequestContent::Xml(xml.into())).await.unwrap().status.as_u16()
}

fn record(bytes: usize) -> String {
    let [open, close] = ["<map><entry><string>patientId</string><string>", "</string></entry></map>"];
    [open, &"7".repeat(bytes - open.len() - close.len()), close].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_for_mirths_own_audit_pass_at_their_pace_counted_as_such() {
    const RECORDS: u32 = ADMIN_AUDITS_BURST + 15;
    let (mirth, lab, mut client) = viewer().await;
    let targets = ["Accessed", "Queried"].map(|what| format!("{BASE}/channels/_audit{what}PHIMessage"));
    let targets = [targets, ["", "Success"].map(|end| format!("{BASE}/channels/_auditExportMessages{end}"))];
    let began = Instant::now();
    for target in targets.iter().flatten().cycle().take(RECORDS as usize) {
        assert_eq!(post(&mut client, target, record(2048)).await, 204, "{target}");
    }
    let took = began.elapsed();
    println!("{RECORDS} records of 2 KiB took {took:?}");
    let waits = (RECORDS - ADMIN_AUDITS_BURST) / ADMIN_AUDITS_PER_SECOND;
    assert!(took >= Duration::from_secs((waits - 1).into()), "{took:?}");
    let target = targets.iter().flatten().next().unwrap();
    assert_eq!(post(&mut client, target, record(2049)).await, 413);
    assert_eq!(post(&mut client, target, record(60 * 1024)).await, 413);
    let arrived = mirth.journal().arrived().iter().filter(|one| one.target.contains("/_audit")).count();
    assert_eq!(arrived, RECORDS as usize, "none that is too long");
    let counts = eventually("the status tells of them", async || {
        let managed =
            lab.status(Part::B).await?.entries.into_iter().find_map(|entry| entry.admin?.managed)?;
        (managed.refused == 2).then_some((managed.audits, managed.changes))
    })
    .await;
    assert_eq!(counts, (RECORDS.into(), 0));
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_map_is_made_for_a_channel_that_mirth_does_not_have() {
    let (mirth, _lab, mut client) = viewer().await;
    let set = |ids: &[String]| {
        let strings: Vec<String> = ids.iter().map(|id| format!("<string>{id}</string>")).collect();
        format!("<set>{}</set>", strings.concat())
    };
    let many =
        |count: usize| -> Vec<String> { (0..count).map(|number| format!("made-up-{number}")).collect() };
    let all = format!("{MAPS}/_getAllMaps?includeGlobalMap=true");
    for count in [1, 4_000, 10_000] {
        assert_eq!(post(&mut client, &all, set(&many(count))).await, 403, "{count}");
        let one_is_known = [vec![ID.to_owned()], many(count - 1), vec!["last".into()]].concat();
        assert_eq!(post(&mut client, &all, set(&one_is_known)).await, 403, "{count}");
    }
    for target in [
        format!("{MAPS}/made-up"),
        format!("{MAPS}/all?channelId=made-up"),
        format!("{MAPS}/all?channelId={ID}&channelId=made-up&includeGlobalMap=true"),
        format!("{MAPS}/all?channelId="),
        format!("{BASE}/extensions/dashboardstatus/connectionLogs/made-up?fetchSize=1"),
        format!("{BASE}/channels/made-up/messages"),
    ] {
        assert_eq!(client.get(&target).await.unwrap().status, 403, "{target}");
    }
    assert_eq!((mirth.channels_mapped(), mirth.channels_made_up()), (0, 0));
    for target in [
        format!("{MAPS}/{ID}"),
        format!("{MAPS}/all?channelId={ID}"),
        format!("{MAPS}/all?includeGlobalMap=true"),
        format!("{BASE}/extensions/dashboardstatus/connectionLogs/{ID}?fetchSize=1"),
    ] {
        assert_eq!(client.get(&target).await.unwrap().status, 200, "{target}");
    }
    assert_eq!(post(&mut client, &all, set(&[ID.to_owned()])).await, 200);
    assert_eq!(post(&mut client, &all, "<set/>".into()).await, 200);
    let asked = mirth.journal().count("GET", &format!("{BASE}/channels/{ID}/messages/maxMessageId"));
    println!("the known channel was asked for {asked} times");
    mirth.shutdown().await;
}
