//! Connections over real TCP: who is too slow, who is kept, and what no two readers could agree on.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::http::limits::{Limits, Proof};
use crate::http::problem::Problem;
use adit_core::domain::id::UserId;
use adit_core::domain::limits::{
    API_BODY_BYTES_MAX, API_CONNECTIONS_OF_USER_MAX, API_LINGER_BYTES_MAX, API_OF_ADDRESS_BURST,
    API_OF_USER_BURST, ENROL_CONNECTIONS, EVENT_STREAMS_OF_USER_MAX,
};
use adit_net::transport::newcomers::Newcomers;

const SOON: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Short enough to wait for in a test.
const HASTY: Patience =
    Patience { idle: SHORT, idle_newcomer: SHORT, head: SHORT, body: SHORT, write: SHORT };

/// A small door whose user 7 needs no credential.
struct Door {
    listener: TcpListener,
    router: Router,
    newcomers: Arc<Newcomers>,
    stop: CancellationToken,
    patience: Patience,
    tasks: JoinSet<Result<bool, BrokenOff>>,
    /// What the path `/held` waits for.
    go_on: Arc<Notify>,
}

async fn known(extensions: Extensions) -> Result<&'static str, Problem> {
    Proof::note(&extensions, UserId::from_bytes([7; 16])).map(|()| "known")
}

async fn events(extensions: Extensions) -> Result<Response<Body>, Problem> {
    Proof::note(&extensions, UserId::from_bytes([7; 16]))?;
    let mut response = Response::new(Body::new(Endless));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// Says one event, and nothing more.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

impl Door {
    async fn open(patience: Patience) -> Self {
        let stop = CancellationToken::new();
        let go_on = Arc::<Notify>::default();
        let held = Arc::clone(&go_on);
        let router = Router::new()
            .route("/known", get(known))
            .route("/events", get(events))
            .route("/large", get(|| async { vec![b'x'; 32 << 20] }))
            .route("/anyone", get(|| async { "anyone" }))
            .route("/echo", post(|body: Bytes| async { body }))
            .route(
                "/held",
                get(move || async move {
                    held.notified().await;
                    "done"
                }),
            )
            .fallback(|| async { (StatusCode::NOT_FOUND, "nothing").into_response() });
        let router = Limits::new(stop.clone()).around(router);
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let newcomers = Newcomers::new(ENROL_CONNECTIONS);
        Self { listener, router, newcomers, stop, patience, tasks: JoinSet::new(), go_on }
    }

    /// Connects one client, whose connection is served.
    async fn client(&mut self) -> Client {
        self.client_met_with(self.patience).await
    }

    async fn client_met_with(&mut self, patience: Patience) -> Client {
        let tcp = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        let (served, _) = self.listener.accept().await.unwrap();
        let newcomer = self.newcomers.enter(HERE);
        let (whence, advance) = (Whence::Peer(HERE), Some(newcomer.advance().clone()));
        let connection = Connection::new(whence, false, Extensions::new(), advance, patience);
        let (router, stop) = (self.router.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let served = serve(served, router, &connection, Some(newcomer), &stop).await;
            served.map(|newcomer| newcomer.is_some())
        });
        Client(tcp)
    }

    async fn next_end(&mut self) -> Result<bool, BrokenOff> {
        timeout(SOON, self.tasks.join_next()).await.unwrap().unwrap().unwrap()
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads one answer with a `Content-Length`; empty at the end.
    async fn answer(&mut self) -> String {
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                    return text;
                }
            }
            let mut buffer = [0; 4096];
            let count = timeout(SOON, self.0.read(&mut buffer)).await.unwrap().unwrap_or(0);
            if count == 0 {
                return text;
            }
            read.extend_from_slice(&buffer[..count]);
        }
    }

    async fn ask(&mut self, request: &str) -> String {
        self.send(request).await;
        self.answer().await
    }

    async fn get(&mut self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n")).await
    }

    async fn is_closed(&mut self) -> bool {
        self.answer().await.is_empty()
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn a_connection_is_kept_once_its_user_is_known() {
    let mut door = Door::open(Patience::default()).await;
    let mut client = door.client().await;
    assert_eq!(door.newcomers.held(), 1);
    for _ in 0..3 * API_NEWCOMER_REQUESTS_MAX {
        assert!(client.get("/known").await.ends_with("known"));
    }
    assert_eq!(door.newcomers.held(), 0, "it takes no newcomer's place");
}

#[tokio::test]
async fn a_connection_of_whom_nobody_knows_ends_after_a_few_requests() {
    let mut door = Door::open(Patience::default()).await;
    let mut client = door.client().await;
    for _ in 1..API_NEWCOMER_REQUESTS_MAX {
        assert!(!client.get("/anyone").await.contains("connection: close"));
    }
    assert!(client.get("/anyone").await.contains("connection: close"));
    assert!(client.is_closed().await);
    assert!(door.next_end().await.unwrap(), "it was a newcomer's to the end");
}

#[tokio::test]
async fn who_has_all_places_of_a_user_is_served_as_newcomers_are() {
    let mut door = Door::open(Patience::default()).await;
    let mut clients = Vec::new();
    for _ in 0..=API_CONNECTIONS_OF_USER_MAX {
        let mut client = door.client().await;
        assert_eq!(status(&client.get("/known").await), "200");
        clients.push(client);
    }
    assert_eq!(door.newcomers.held(), 1);
}

#[tokio::test]
async fn each_way_to_be_slow_ends_while_an_honest_client_is_served() {
    let mut door = Door::open(HASTY).await;
    let mut honest = door.client_met_with(Patience::default()).await;
    for (begun, expected) in [
        ("GET /kno", Late::Head),
        ("POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: 9\r\n\r\n1", Late::Body),
        ("GET /large HTTP/1.1\r\nHost: gateway\r\n\r\n", Late::Write),
    ] {
        let mut slow = door.client().await;
        slow.send(begun).await;
        let is_over = async {
            loop {
                assert!(honest.get("/known").await.ends_with("known"));
                tokio::select! {
                    end = door.tasks.join_next() => break assert!(
                        matches!(end.unwrap().unwrap(), Err(BrokenOff::Late(late)) if late == expected),
                        "{begun}"
                    ),
                    () = tokio::time::sleep(SHORT / 10) => {}
                }
            }
        };
        timeout(SOON, is_over).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_is_closed_in_order() {
    let mut door = Door::open(HASTY).await;
    let mut client = door.client().await;
    assert_eq!(status(&client.get("/known").await), "200");
    assert!(client.is_closed().await);
    assert!(!door.next_end().await.unwrap());
}

#[tokio::test]
async fn a_request_of_two_meanings_has_none() {
    let mut door = Door::open(Patience::default()).await;
    for head in [
        "Host: gateway\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
        "Host: gateway\r\nTransfer-Encoding: chunked\r\nContent-Length: 3",
        "Host: gateway\r\nTransfer-Encoding: chunked",
        "Host: gateway\r\nTransfer-Encoding: xchunked",
        "Host: gateway\r\nTransfer-Encoding : chunked",
        "Host: gateway\r\nContent-Length: 3\r\nContent-Length: 4",
        "Host: gateway\r\nContent-Length: 3, 3",
        "Host: gateway\r\nContent-Length: +3",
        "Host: gateway\r\nContent-Length: 3\r\nX-Folded: a\r\n b",
        "Host: gateway\r\nHost: other\r\nContent-Length: 3",
        "Content-Length: 3",
    ] {
        let mut client = door.client().await;
        let answer = client.ask(&format!("POST /echo HTTP/1.1\r\n{head}\r\n\r\n0\r\n\r\nGET /known ")).await;
        assert_eq!(status(&answer), "400", "{head}");
        assert!(client.is_closed().await, "{head}: what follows is not read");
    }
}

#[tokio::test]
async fn nothing_is_read_behind_a_request_to_speak_something_else() {
    let mut door = Door::open(Patience::default()).await;
    let mut client = door.client().await;
    let request =
        "GET /anyone HTTP/1.1\r\nHost: gateway\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = client.ask(&format!("{request}{request}")).await;
    assert!(answer.ends_with("anyone") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let mut door = Door::open(Patience::default()).await;
    let large = format!("Content-Length: {}\r\n", API_BODY_BYTES_MAX + 1);
    let long = format!("X-Long: {}\r\n", "x".repeat(API_HEAD_BYTES_MAX));
    let many = "X: y\r\n".repeat(API_HEADERS_MAX);
    for (head, expected) in [(&large, "413"), (&long, "431"), (&many, "431")] {
        let mut client = door.client().await;
        let answer = client.ask(&format!("POST /echo HTTP/1.1\r\nHost: gateway\r\n{head}\r\n")).await;
        assert_eq!(status(&answer), expected);
        assert!(client.is_closed().await);
    }
    let whole = "x".repeat(API_BODY_BYTES_MAX);
    let mut client = door.client().await;
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: {API_BODY_BYTES_MAX}\r\n\r\n{whole}"
    );
    assert!(client.ask(&request).await.ends_with(&whole));
}

#[tokio::test]
async fn who_sends_all_of_what_is_refused_still_reads_why() {
    const SENT: usize = 1 << 20;
    let mut door = Door::open(Patience::default()).await;
    let body = "x".repeat(SENT);
    let heads = [
        format!("Host: gateway\r\nContent-Length: {SENT}\r\n\r\n"),
        "Host: gateway\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n".to_owned(),
        "Host: gateway\r\nX-Long: ".to_owned(),
        format!("Host: gateway\r\nContent-Length: {SENT}\r\n X: folded\r\n\r\n"),
    ];
    for (head, expected) in heads.iter().zip(["413", "400", "431", "400"]).cycle().take(80) {
        let mut client = door.client().await;
        client.send(&format!("POST /echo HTTP/1.1\r\n{head}")).await;
        client.send(&body).await;
        let answer = client.answer().await;
        assert_eq!(status(&answer), expected, "{answer}");
        drop(client);
        let _ = door.next_end().await;
    }
}

#[tokio::test]
async fn what_is_refused_is_read_no_further_than_its_bound() {
    let mut door = Door::open(Patience::default()).await;
    let mut endless = door.client().await;
    endless.send("POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: 99999999999\r\n\r\n").await;
    let part = "x".repeat(1 << 20);
    let sent = async {
        let mut sent = 0;
        while endless.0.write_all(part.as_bytes()).await.is_ok() {
            sent += part.len();
        }
        sent
    };
    let sent = timeout(SOON, sent).await.unwrap();
    assert!(sent >= API_LINGER_BYTES_MAX, "{sent}");
    assert!(door.next_end().await.is_ok());
}

#[tokio::test]
async fn who_never_finishes_what_was_refused_is_ended() {
    let mut door = Door::open(HASTY).await;
    let mut silent = door.client().await;
    let large = format!("POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\n\r\nx", 1 << 20);
    assert_eq!(status(&silent.ask(&large).await), "413");
    assert!(matches!(door.next_end().await, Err(BrokenOff::Late(Late::Write))));
}

#[tokio::test]
async fn who_asks_too_often_hears_when_to_ask_again() {
    let mut door = Door::open(Patience::default()).await;
    for (path, burst) in [("/known", API_OF_USER_BURST), ("/anyone", API_OF_ADDRESS_BURST)] {
        let mut client = door.client().await;
        let mut asked = 0;
        let answer = loop {
            let answer = client.get(path).await;
            if answer.contains("connection: close") {
                client = door.client().await;
            }
            if status(&answer) != "200" {
                break answer;
            }
            asked += 1;
            assert!(asked < 20 * burst, "{path} is served without end");
        };
        assert!(asked >= burst, "{path}: {asked}");
        assert_eq!(status(&answer), "429");
        assert!(
            answer.contains("retry-after: 1\r\n") && answer.contains("urn:adit:problem:too-many"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn event_streams_are_few_for_each_user_and_end_with_the_gateway() {
    let mut door = Door::open(HASTY).await;
    let mut streams = Vec::new();
    for _ in 0..EVENT_STREAMS_OF_USER_MAX {
        let mut client = door.client().await;
        let answer = client.get("/events").await;
        assert_eq!(status(&answer), "200");
        streams.push(client);
    }
    let mut client = door.client().await;
    assert_eq!(status(&client.get("/events").await), "429");
    assert!(client.get("/known").await.ends_with("known"), "streams take no other's place");
    // Of all that say nothing, only the one that is no stream is ended for it.
    assert!(!door.next_end().await.unwrap());
    door.stop.cancel();
    for mut stream in streams {
        let rest = stream.answer().await;
        assert!(rest.is_empty() || rest == "0\r\n\r\n", "{rest}");
    }
}

#[tokio::test]
async fn what_is_in_hand_is_finished_when_the_gateway_stops() {
    let mut door = Door::open(Patience::default()).await;
    let mut idle = door.client().await;
    assert_eq!(status(&idle.get("/known").await), "200");
    let mut busy = door.client().await;
    busy.send("GET /held HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
    // Served after the request in hand was read: connections are taken in turn.
    assert_eq!(status(&idle.get("/known").await), "200");
    door.stop.cancel();
    assert!(idle.is_closed().await);
    door.go_on.notify_one();
    let answer = busy.answer().await;
    assert!(answer.ends_with("done") && answer.contains("connection: close"), "{answer}");
    while !door.tasks.is_empty() {
        door.next_end().await.unwrap();
    }
}

#[tokio::test]
async fn every_answer_carries_what_keeps_a_browser_from_misusing_it() {
    let mut door = Door::open(Patience::default()).await;
    let mut client = door.client().await;
    for path in ["/known", "/anyone", "/nowhere"] {
        let answer = client.get(path).await;
        for header in [
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(header), "{path}: {answer}");
        }
        assert!(!answer.contains("strict-transport-security"), "its certificate is our own");
    }
}
