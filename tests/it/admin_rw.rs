//! Admin sessions with full control, and beside view-only ones, through two real agents. The managed
//! Mirth is a stand-in that behaves as MIRTH §2 says; no Mirth runs here.

use std::fs;
use std::time::Duration;

use adit_agent::AUDIT_FILE;
use adit_core::domain::access::Access;
use adit_lab::admin_client::{AdminClient, Cookie, Reply, RequestContent, open, shown_key};
use adit_lab::admin_mirth::{AdminMirth, Arrived, PASSWORD, USER};
use adit_lab::measure::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::lab::{Lab, Part, adit_lab, eventually, free_address, run};

const BASE: &str = "/api/4.5.2";
const ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const UPLOAD_BYTES: u64 = 100_000_000;

fn channel(name: &str) -> String {
    format!("<channel version=\"4.5.2\"><id>{ID}</id><name>{name}</name></channel>")
}

async fn mirth() -> AdminMirth {
    AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap()
}

async fn logged_in(lab: &Lab, index: usize) -> AdminClient {
    let mut client = lab.administrator(index).await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    client
}

async fn send(client: &mut AdminClient, method: &str, path: &str, xml: &str) -> Reply {
    client.send(method, &format!("{BASE}{path}"), RequestContent::Xml(xml.to_owned().into())).await.unwrap()
}

async fn get(client: &mut AdminClient, path: &str) -> Reply {
    client.get(&format!("{BASE}{path}")).await.unwrap()
}

/// What arrived at the Mirth as this request, which must be one.
#[track_caller]
fn the_one(mirth: &AdminMirth, method: &str, path: &str) -> Arrived {
    let target = format!("{BASE}{path}");
    let mut arrived = mirth.journal().arrived();
    arrived.retain(|one| one.method == method && one.target == target);
    let [one] = &arrived[..] else { panic!("{method} {target}: {arrived:?}") };
    one.clone()
}

fn audit(lab: &Lab, part: Part) -> String {
    fs::read_to_string(lab.state(part).join(AUDIT_FILE)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_with_full_control_manages_a_channel_from_creation_to_deletion() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &[Access::ReadWrite]).await;
    let mut client = logged_in(&lab, 0).await;
    let login = the_one(&mirth, "POST", "/users/_login");
    let form = format!("username={USER}&password={PASSWORD}");
    assert_eq!(login.body.unwrap().digest, Digest::of(form.as_bytes()), "the login's chunks");

    let created = send(&mut client, "POST", "/channels", &channel("ADT in")).await;
    assert_eq!((created.status.as_u16(), created.text().as_str()), (200, "<boolean>true</boolean>"));
    let arrived = the_one(&mirth, "POST", "/channels");
    assert_eq!(arrived.body.unwrap().digest, Digest::of(channel("ADT in").as_bytes()));
    assert_eq!(arrived.user.as_deref(), Some(USER));

    assert_eq!(send(&mut client, "POST", &format!("/channels/{ID}/_deploy"), "").await.status, 204);
    let status = get(&mut client, &format!("/channels/{ID}/status")).await.text();
    assert!(status.contains("<name>ADT in</name><state>STARTED</state>"), "{status}");
    assert_eq!(send(&mut client, "PUT", &format!("/channels/{ID}"), &channel("ADT out")).await.status, 200);
    assert_eq!(get(&mut client, &format!("/channels/{ID}")).await.text(), channel("ADT out"));
    assert_eq!(send(&mut client, "DELETE", &format!("/channels/{ID}"), "").await.status, 204);
    assert_eq!(get(&mut client, "/channels").await.text(), "<list></list>");
    assert_eq!(send(&mut client, "POST", "/users/_logout", "").await.status, 204);
    assert_eq!(get(&mut client, "/users/current").await.status, 401);

    let audit = audit(&lab, Part::B);
    for operation in ["createChannel", "deployChannels", "updateChannel", "removeChannel"] {
        let lines =
            audit.lines().filter(|line| line.contains("\"admin_change\"") && line.contains(operation));
        assert_eq!(lines.count(), 1, "{operation}: {audit}");
    }
    for kept_out in [ID, "ADT in", "JSESSIONID", &form] {
        assert!(!audit.contains(kept_out), "{kept_out}: {audit}");
    }
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_100_mb_waits_with_a_mirth_that_waits_without_being_kept_by_an_agent() {
    const GROWTH_BYTES_MAX: u64 = 48 * 1024 * 1024;
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &[Access::ReadWrite]).await;
    for chunked in [false, true] {
        let mut client = logged_in(&lab, 0).await;
        let before = [Part::A, Part::B].map(|part| resident_most(&lab, part));
        mirth.hold_bodies(true);
        let upload = RequestContent::Bytes { value: 0x5a, count: UPLOAD_BYTES, chunked };
        let target = format!("{BASE}/extensions/_install");
        let (reply, ()) = tokio::join!(client.send("POST", &target, upload), async {
            eventually("the upload arrives", async || {
                let arrived = mirth.journal().arrived();
                arrived.last().filter(|one| one.target == target && one.body.is_none()).cloned()
            })
            .await;
            // What could be sent ahead has been by then.
            sleep(Duration::from_secs(2)).await;
            mirth.hold_bodies(false);
        });
        assert_eq!(reply.unwrap().status, 204, "chunked: {chunked}");
        let body = mirth.journal().arrived().last().unwrap().body.unwrap();
        assert_eq!((body.bytes, body.digest), (UPLOAD_BYTES, digest_of_upload()));
        for (part, before) in [Part::A, Part::B].into_iter().zip(before) {
            // The kernel counts in steps of its own and may tell a little less than before.
            let growth = resident_most(&lab, part).saturating_sub(before);
            println!("{part:?}, chunked {chunked}: at most {} KB more than before", growth / 1024);
            assert!(growth < GROWTH_BYTES_MAX, "{part:?} grew by {growth} bytes");
        }
    }
    mirth.shutdown().await;
}

fn digest_of_upload() -> Digest {
    let bytes = usize::try_from(UPLOAD_BYTES).unwrap();
    Digest::of(&vec![0x5a; bytes])
}

/// The most memory that a part has ever had resident.
fn resident_most(lab: &Lab, part: Part) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", lab.pid(part))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_continue_is_told_to_go_on_before_it_sends() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &[Access::ReadWrite]).await;
    let mut client = logged_in(&lab, 0).await;
    let address = lab.admin[0].listen;
    let cookies: Vec<&str> = client.cookies().iter().map(|cookie| cookie.pair.as_str()).collect();
    let body = channel("expected");
    let head = format!(
        "POST {BASE}/channels HTTP/1.1\r\nHost: {address}\r\nX-Requested-With: OpenAPI\r\nCookie: {}\r\n\
         X-Forwarded-For: 203.0.113.9\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        cookies.join("; "),
        body.len()
    );
    let mut stream = open(address, Some(shown_key(address).await.unwrap())).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut told = [0; "HTTP/1.1 100 ".len()];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(told, *b"HTTP/1.1 100 ");
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = String::new();
    while !answer.contains("</boolean>") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert!(answer.contains("HTTP/1.1 200 ") && answer.contains("<boolean>true"), "{answer}");
    assert_eq!(get(&mut client, &format!("/channels/{ID}")).await.text(), body);
    let arrived = the_one(&mirth, "POST", "/channels");
    let told: Vec<_> = arrived.headers.iter().filter(|(name, _)| name == "x-forwarded-for").collect();
    assert!(
        told.len() == 1 && told[0].1 != "203.0.113.9",
        "the agent's own word, not the client's: {told:?}"
    );
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cookie_redirect_or_jnlp_is_of_the_address_that_the_client_used() {
    let mirth = mirth().await;
    let accesses = [Access::ReadOnly, Access::ReadWrite, Access::ReadOnly];
    let lab = Lab::managing(mirth.address(), &accesses).await;
    for index in 0..accesses.len() {
        let mut client = lab.administrator(index).await;
        let wrong = client.log_in("/api", USER, "x").await.unwrap();
        assert_eq!(wrong.status, 401, "a wrong password is Mirth's to refuse");
        for base in ["/api", BASE] {
            assert_eq!(client.log_in(base, USER, PASSWORD).await.unwrap().status, 200);
        }
        client.get("/webadmin/Index.action").await.unwrap();
        let paths: Vec<&str> = client.cookies().iter().map(|cookie| cookie.path.as_str()).collect();
        assert_eq!(paths, ["/api", BASE, "/webadmin"]);
        assert!(client.cookies().iter().all(|cookie| cookie.pair.starts_with("JSESSIONID=node0")));

        let address = lab.admin[index].listen;
        let redirect = client.get("/webadmin").await.unwrap();
        let location = format!("https://{address}/webadmin/");
        assert_eq!((redirect.status.as_u16(), redirect.header("location")), (302, Some(location.as_str())));
        let jnlp = client.get("/webstart.jnlp").await.unwrap().text();
        assert!(jnlp.contains(&format!("codebase=\"https://{address}\"")), "{jnlp}");
        let hosts = mirth.journal().arrived();
        assert_eq!(hosts.last().unwrap().header("host"), Some(address.to_string().as_str()));
    }
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn view_only_does_not_mix_with_full_control_of_the_same_server() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly, Access::ReadWrite]).await;
    let mut view = logged_in(&lab, 0).await;
    let mut manage = logged_in(&lab, 1).await;
    assert_eq!(send(&mut manage, "POST", "/channels", &channel("one")).await.status, 200);
    for round in 0..20 {
        // The session is full control's; the connection it came over is not.
        let cookies: Vec<Cookie> = manage.cookies().to_vec();
        view.take_cookies(&cookies);
        let refused = send(&mut view, "PUT", &format!("/channels/{ID}"), &channel("refused")).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.text().contains("view-only"), "{refused:?}");
        let name = format!("round {round}");
        assert_eq!(send(&mut manage, "PUT", &format!("/channels/{ID}"), &channel(&name)).await.status, 200);
        assert_eq!(get(&mut view, &format!("/channels/{ID}")).await.text(), channel(&name));
        assert_eq!(get(&mut manage, &format!("/channels/{ID}")).await.text(), channel(&name));
    }
    let arrived = mirth.journal().arrived();
    let digest = Digest::of(channel("refused").as_bytes());
    assert!(arrived.iter().all(|one| one.body.is_none_or(|body| body.digest != digest)));
    let puts: Vec<_> = arrived.iter().filter(|one| one.method == "PUT").collect();
    assert_eq!(puts.len(), 20);
    let of_manage = puts[0].connection;
    assert!(puts.iter().all(|one| one.connection == of_manage), "full control's own connection to Mirth");
    let reads = arrived.iter().filter(|one| one.method == "GET" && one.target.ends_with(ID));
    assert_eq!(reads.filter(|one| one.connection != of_manage).count(), 20, "view-only's own");
    let audit = audit(&lab, Part::B);
    let count = |event: &str| audit.lines().filter(|line| line.contains(event)).count();
    assert_eq!((count("\"admin_refused\""), count("\"admin_change\"")), (20, 21), "{audit}");
    mirth.shutdown().await;
}

/// Mirth's engine makes database tables when messages of a channel are asked for that there is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_only_read_of_a_made_up_channel_makes_nothing_at_the_mirth() {
    let mirth = mirth().await;
    mirth.add_channel(&channel("there"));
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly]).await;
    let mut view = lab.administrator(0).await;
    let path = format!("/channels/{ID}/messages?limit=1");
    assert_eq!(get(&mut view, &path).await.status, 401, "not logged in");
    let mut view = logged_in(&lab, 0).await;
    for made_up in ["adit-was-here-1", "adit-was-here-2"] {
        for path in
            ["messages?limit=1", "messages/count?minMessageId=2&maxMessageId=1", "messages/1/attachments"]
        {
            let refused = get(&mut view, &format!("/channels/{made_up}/{path}")).await;
            assert_eq!(refused.status, 403, "{refused:?}");
        }
    }
    let search =
        "<messageFilter><maxMessageId>1</maxMessageId><minMessageId>2</minMessageId></messageFilter>";
    let refused = send(&mut view, "POST", "/channels/adit-was-here-3/messages/_search", search).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    for _ in 0..3 {
        assert_eq!(get(&mut view, &path).await.status, 200);
    }
    assert_eq!(mirth.channels_made_up(), 0);
    let questions = mirth.journal().count("GET", &format!("{BASE}/channels/{ID}/messages/maxMessageId"));
    assert_eq!(questions, 2, "once by each connection");
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_names_the_mirth_that_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (listen, mirth) = (free_address(), free_address());
    let mut command = adit_lab();
    command.arg("lab").arg(folder.path().join("lab")).args(["--admin", &format!("ro:{listen}:{mirth}")]);
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(&mirth.to_string()), "{said}");
    assert!(said.contains("start it first"), "{said}");
    assert!(!folder.path().join("lab").exists(), "nothing is half written");
}
