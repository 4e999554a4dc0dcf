//! Two organizations from peering to messages and back, each by its own requests.

use axum::http::Method;
use serde_json::json;

use super::site::Site;
use adit_core::domain::tier::Tier;

#[tokio::test]
async fn two_organizations_run_a_partnership_by_requests_alone() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let st_mary = site.organization("St Mary", Tier::Standard).await;
    let source = site.server(&lakeside, "Lakeside Mirth").await;
    let target = site.server(&st_mary, "St Mary Mirth").await;

    let asked = site.post(&lakeside, "/peerings", json!({"name": "st mary"})).await.is(201);
    assert_eq!(asked.headers["location"], format!("/api/v1/peerings/{}", asked.field("id")));
    let peering = asked.field("id");
    assert_eq!(site.act(&lakeside, &format!("/peerings/{peering}/accept")).await.is(409).status, 409);
    assert_eq!(
        site.act(&st_mary, &format!("/peerings/{peering}/accept")).await.is(200).field("status"),
        "live"
    );

    let channel = site.channel(&st_mary, &target, "ADT", false).await;
    site.get(&lakeside, &format!("/channels/{channel}")).await.is(404);
    site.act(&st_mary, &format!("/channels/{channel}/publish")).await.is(200);
    let seen = site.get(&lakeside, &format!("/channels/{channel}")).await.is(200).json();
    assert_eq!(seen["server"], json!(null), "{seen}");

    let body = json!({"channel": channel, "source_server": source});
    let grant = site.post(&lakeside, "/grants/request", body).await.is(201);
    assert_eq!(grant.json()["decider"], st_mary.organization());
    let path = format!("/grants/{}/approve", grant.field("id"));
    let connection = site.act(&st_mary, &path).await.is(200).field("connection");

    let path = format!("/connections/{connection}");
    let ready = site.get(&lakeside, &path).await.is(200);
    assert_eq!(
        (ready.field("status"), ready.field("route")),
        ("Ready".into(), "Lakeside Mirth → St Mary Mirth".into())
    );
    assert_eq!(site.act(&st_mary, &format!("{path}/activate")).await.is(200).field("status"), "Active");
    let entry = site.get(&lakeside, &format!("{path}/entry?address=127.0.0.1:6000")).await.is(200).text();
    assert!(entry.contains("[[p2p_source]]") && entry.contains("listen     = \"127.0.0.1:6000\""), "{entry}");
    let entry = site.get(&st_mary, &format!("{path}/entry")).await.is(200).text();
    assert!(entry.contains("[[p2p_target]]"), "{entry}");
    site.get(&lakeside, &format!("{path}/entry?side=target")).await.is(404);

    let own = site.act(&lakeside, &format!("{path}/view-secret")).await.is(200);
    let other = site.act(&st_mary, &format!("{path}/view-secret")).await.is(200);
    assert_eq!(own.field("secret"), other.field("secret"));
    assert_eq!(own.headers["cache-control"], "no-store");
    let again = site.act(&lakeside, &format!("{path}/view-secret")).await.is(409);
    assert!(again.field("detail").contains("Rotate Secrets"), "{}", again.text());
    assert_eq!(
        site.act(&st_mary, &format!("{path}/rotate-secrets")).await.is(200).json(),
        json!({"epoch": 2})
    );

    let ending = site.get(&st_mary, &format!("/peerings/{peering}/ending")).await.is(200).json();
    assert_eq!(
        (&ending["connections"], &ending["parties"][0]["organization"]["name"]),
        (&json!(1), &json!("Lakeside"))
    );
    let ended = site.act(&st_mary, &format!("/peerings/{peering}/end")).await.is(200).json();
    assert_eq!(ended, ending);
    let list = site.get(&lakeside, "/connections").await.is(200).json();
    assert_eq!((&list["rows"], &list["ended"]), (&json!([]), &json!(1)));
    let list = site.get(&lakeside, "/connections?ended=true&type=P2P&status=terminated").await.is(200).json();
    assert_eq!(list["rows"][0]["status"], "Terminated");
}

#[tokio::test]
async fn an_offer_to_manage_is_accepted_by_naming_a_server() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Free).await;
    let st_mary = site.organization("St Mary", Tier::Standard).await;
    let (managing, managed) = (site.server(&lakeside, "a").await, site.server(&st_mary, "b").await);
    site.peers(&st_mary, &lakeside).await;
    let offer = json!({"server": managed, "recipient": lakeside.organization(), "access": "read-write", "life": "2d"});
    let offered = site.post(&st_mary, "/offers", offer.clone()).await.is(201);
    assert_eq!(offered.json()["administration"]["access"], "read-write");
    assert_eq!(offered.field("status"), "Offered");
    let path = format!("/offers/{}", offered.field("id"));
    site.post(&st_mary, &format!("{path}/accept"), json!({"server": managed})).await.is(409);
    let connection = format!("/connections/{}", offered.field("id"));
    let early = site.get(&lakeside, &format!("{connection}/entry")).await.is(409);
    assert!(early.field("detail").contains("not accepted"), "{}", early.text());
    let accepted = site.post(&lakeside, &format!("{path}/accept"), json!({"server": managing})).await.is(200);
    assert_eq!(accepted.field("status"), "Active");
    site.act(&lakeside, &format!("{connection}/view-secret")).await.is(404);
    for _ in 0..5 {
        site.act(&st_mary, &format!("{connection}/view-secret")).await.is(200);
    }
    let often = site.act(&st_mary, &format!("{connection}/view-secret")).await.is(429);
    assert_eq!(often.headers["retry-after"], "3600");
    let declined = site.post(&st_mary, "/offers", offer).await.is(201).field("id");
    let declined = site.act(&lakeside, &format!("/offers/{declined}/decline")).await.is(200);
    assert_eq!(declined.field("status"), "Declined");
}

#[tokio::test]
async fn a_connector_file_is_shown_once_to_its_servers_owner() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let other = site.organization("St Mary", Tier::Standard).await;
    let server = site.server(&lakeside, "a").await;
    let path = format!("/servers/{server}/connector");
    assert_eq!(site.get(&lakeside, &path).await.is(200).json(), json!({"stage": "none"}));
    let issued = site.post(&lakeside, &path, json!({"life": "24h"})).await.is(201);
    let file = issued.field("file");
    assert!(file.contains("gateway.example.org:443") && file.contains(&server), "{file}");
    assert_eq!(issued.json()["progress"]["stage"], "downloaded");
    let progress = site.get(&lakeside, &path).await.is(200);
    assert_eq!(progress.field("stage"), "downloaded");
    assert!(!progress.text().contains("token"), "{}", progress.text());
    site.get(&other, &path).await.is(404);
    site.post(&other, &path, json!({"life": "24h"})).await.is(404);
    site.post(&lakeside, &path, json!({"life": "2h"})).await.is(422);
}

#[tokio::test]
async fn the_log_is_exported_whole_in_either_form() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    for number in 0..3 {
        site.server(&lakeside, &format!("=server {number}")).await;
    }
    let list = site.get(&lakeside, "/audit?action=add%20server&count=2").await.is(200).json();
    assert_eq!(list["rows"].as_array().unwrap().len(), 2);
    let next = list["next"].as_str().unwrap();
    let rest = site.get(&lakeside, &format!("/audit?action=add%20server&count=2&after={next}")).await.is(200);
    assert_eq!(rest.json()["rows"].as_array().unwrap().len(), 1);
    let csv = site.get(&lakeside, "/audit/export?format=csv&action=add%20server").await.is(200);
    assert_eq!(csv.text().lines().count(), 4, "{}", csv.text());
    let lines = site.get(&lakeside, "/audit/export?format=jsonl").await.is(200);
    let first: serde_json::Value = serde_json::from_str(lines.text().lines().next().unwrap()).unwrap();
    assert_eq!(first["action"], "export audit", "an export is in the log itself");
    for wrong in ["format=xml", "format=csv&from=yesterday", "format=csv&action=dance", "format=csv&count=2"]
    {
        let answer = site.get(&lakeside, &format!("/audit/export?{wrong}")).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{wrong}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_hangs_on_a_server_is_said_before_it_is_deleted() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let server = site.server(&lakeside, "a").await;
    site.channel(&lakeside, &server, "ADT", true).await;
    let path = format!("/servers/{server}");
    let before = site.get(&lakeside, &format!("{path}/deletion")).await.is(200).json();
    assert_eq!(before["channels"], 1);
    let tag = site.get(&lakeside, &path).await.is(200).tag();
    let ended = site.change(&lakeside, Method::DELETE, &path, &tag, None).await.is(200).json();
    assert_eq!(ended, before);
    site.get(&lakeside, &path).await.is(404);
    assert_eq!(site.get(&lakeside, "/channels?own=true").await.is(200).json(), json!({"rows": []}));
}
