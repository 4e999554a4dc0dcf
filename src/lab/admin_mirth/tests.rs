use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{AdminMirth, Arrived, PASSWORD, USER};
use crate::admin_client::{AdminClient, Cookie, Reply, RequestContent, open, shown_key};
use crate::measure::Digest;

const CHANNEL: &str = "<channel><id>c1</id><name>ADT in</name></channel>";

async fn mirth() -> AdminMirth {
    AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap()
}

async fn client(mirth: &AdminMirth) -> AdminClient {
    AdminClient::connect(mirth.address(), mirth.key()).await.unwrap()
}

async fn logged_in(mirth: &AdminMirth) -> AdminClient {
    let mut client = client(mirth).await;
    assert_eq!(client.log_in("/api", USER, PASSWORD).await.unwrap().status, 200);
    client
}

fn paths(cookies: &[Cookie]) -> Vec<&str> {
    cookies.iter().map(|cookie| cookie.path.as_str()).collect()
}

async fn send(client: &mut AdminClient, method: &str, target: &str, xml: &'static str) -> Reply {
    client.send(method, target, RequestContent::Xml(xml.into())).await.unwrap()
}

#[tokio::test]
async fn it_is_known_by_its_own_key_alone() {
    let (one, other) = (mirth().await, mirth().await);
    assert_eq!(shown_key(one.address()).await.unwrap(), one.key());
    assert!(AdminClient::connect(one.address(), other.key()).await.is_err());
    one.shutdown().await;
}

#[tokio::test]
async fn three_contexts_keep_their_sessions_apart_by_three_cookies() {
    let mirth = mirth().await;
    let mut client = client(&mirth).await;
    let wrong = client.log_in("/api", USER, "x").await.unwrap();
    assert_eq!(wrong.status, 401);
    assert_eq!(paths(client.cookies()), ["/api"], "a wrong password gives a cookie too");
    let before = client.cookies().to_vec();
    let right = client.log_in("/api", USER, PASSWORD).await.unwrap();
    assert!(right.status == 200 && right.text().contains("<status>SUCCESS</status>"), "{right:?}");
    assert_eq!(client.cookies(), before, "it is not renewed at login");
    assert_eq!(client.get("/api/users/current").await.unwrap().status, 200);
    assert_eq!(client.get("/api/4.5.2/users/current").await.unwrap().status, 401);
    client.log_in("/api/4.5.2", USER, PASSWORD).await.unwrap();
    client.get("/webadmin/Index.action").await.unwrap();
    assert_eq!(paths(client.cookies()), ["/api", "/api/4.5.2", "/webadmin"]);
    assert_eq!(client.get("/api/4.5.2/users/current").await.unwrap().status, 200);
    assert_eq!(client.send("POST", "/api/users/_logout", RequestContent::Nothing).await.unwrap().status, 204);
    assert_eq!(client.get("/api/users/current").await.unwrap().status, 401);
    assert_eq!(client.get("/api/4.5.2/users/current").await.unwrap().status, 200);
    mirth.shutdown().await;
}

#[tokio::test]
async fn a_channel_is_managed_from_creation_to_removal() {
    let mirth = mirth().await;
    let mut client = logged_in(&mirth).await;
    assert_eq!(send(&mut client, "POST", "/api/channels", CHANNEL).await.text(), "<boolean>true</boolean>");
    assert_eq!(client.get("/api/channels/c1/").await.unwrap().text(), CHANNEL);
    assert_eq!(send(&mut client, "POST", "/api/channels/c1/_deploy", "").await.status, 204);
    let statuses = client.get("/api/channels/statuses").await.unwrap().text();
    assert!(statuses.contains("<name>ADT in</name><state>STARTED</state>"), "{statuses}");
    let updated = "<channel><id>c1</id><name>ADT out</name></channel>";
    send(&mut client, "PUT", "/api/channels/c1", updated).await;
    assert_eq!(client.get("/api/channels").await.unwrap().text(), format!("<list>{updated}</list>"));
    assert_eq!(send(&mut client, "DELETE", "/api/channels/c1", "").await.status, 204);
    assert_eq!(client.get("/api/channels").await.unwrap().text(), "<list></list>");
    let arrived = mirth.journal().arrived();
    let created = arrived.iter().find(|one| one.method == "POST" && one.target == "/api/channels").unwrap();
    let Arrived { user, body: Some(body), status, .. } = created else { panic!("{created:?}") };
    assert_eq!((user.as_deref(), *status), (Some(USER), Some(200)));
    assert_eq!((body.bytes, body.digest), (CHANNEL.len() as u64, Digest::of(CHANNEL.as_bytes())));
    mirth.shutdown().await;
}

#[tokio::test]
async fn large_bodies_pass_both_ways_over_one_connection() {
    let mirth = mirth().await;
    let mut client = logged_in(&mirth).await;
    for chunked in [false, true] {
        let upload = RequestContent::Bytes { value: 7, count: 3_000_000, chunked };
        assert_eq!(client.send("POST", "/api/extensions/_install", upload).await.unwrap().status, 204);
        let body = mirth.journal().arrived().last().unwrap().body.unwrap();
        assert_eq!((body.bytes, body.digest), (3_000_000, Digest::of(&vec![7; 3_000_000])));
    }
    let large = client.get("/api/channels/c1/messages?limit=4000").await.unwrap();
    assert_eq!(large.body.len(), "<list></list>".len() + 4000 * 1024);
    assert_eq!((large.header("transfer-encoding"), large.header("content-length")), (Some("chunked"), None));
    let small = client.get("/api/channels/c1/messages?limit=1").await.unwrap();
    assert_eq!(small.header("content-length"), Some("1037"));
    assert_eq!(mirth.journal().connections(), 1);
    mirth.shutdown().await;
}

#[tokio::test]
async fn what_mirth_refuses_is_refused() {
    let mirth = mirth().await;
    let mut client = client(&mirth).await;
    assert_eq!(client.get("/api/channels").await.unwrap().status, 401);
    assert_eq!(client.get("/api/nothing").await.unwrap().status, 404);
    assert_eq!(client.get("/other").await.unwrap().status, 404);
    let version = client.get("/api/server/version").await.unwrap();
    assert_eq!((version.text().as_str(), version.header("content-type")), ("4.5.2", Some("text/plain")));
    client.take_cookies(&[Cookie { pair: format!("a={}", "x".repeat(9_000)), path: "/".into() }]);
    // The root's path ends in a slash, below which nothing else lies.
    assert_eq!(client.get("/").await.unwrap().status, 431);
    mirth.shutdown().await;
}

#[tokio::test]
async fn every_address_in_an_answer_is_built_from_the_host_of_the_request() {
    let mirth = mirth().await;
    let mut client = AdminClient::connect_as(mirth.address(), mirth.key(), "mirth.test:8443").await.unwrap();
    let redirect = client.get("/webadmin").await.unwrap();
    assert_eq!(
        (redirect.status.as_u16(), redirect.header("location")),
        (302, Some("https://mirth.test:8443/webadmin/"))
    );
    let jnlp = client.get("/webstart.jnlp").await.unwrap().text();
    assert!(jnlp.contains("codebase=\"https://mirth.test:8443\""), "{jnlp}");
    let own = format!("<argument>https://mirth.test:{}</argument>", mirth.address().port());
    assert!(jnlp.contains(&own), "the Host's name with the Mirth's own port: {jnlp}");
    let wadl = client.get("/api/application.wadl").await.unwrap();
    assert!(wadl.text().contains("https://mirth.test:8443/api/"), "{wadl:?}");
    mirth.shutdown().await;
}

/// Returns what comes back on a connection of its own, up to a blank line.
async fn answer_to(mirth: &AdminMirth, head: &str) -> String {
    let mut stream = open(mirth.address(), Some(mirth.key())).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_call_needs_x_requested_with() {
    let mirth = mirth().await;
    let bare = answer_to(&mirth, "GET /api/server/version HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(bare.starts_with("HTTP/1.1 400 "), "{bare}");
    mirth.shutdown().await;
}

#[tokio::test]
async fn an_expectation_is_answered_before_the_body() {
    let mirth = mirth().await;
    let head = "POST /api/users/_login HTTP/1.1\r\nHost: a\r\nX-Requested-With: a\r\n\
        Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(answer_to(&mirth, head).await, "HTTP/1.1 100 Continue\r\n\r\n");
    mirth.shutdown().await;
}
