//! What a partner may try against an admin session's limits: a pause that is waited out, and memory.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_core::domain::access::Access;
use adit_core::domain::limits::{ADMIN_HANDSHAKE_TIMEOUT, ADMIN_STREAMS_MAX, FIRST_BYTE_TIMEOUT};
use adit_lab::admin_client::{open, shown_key};
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, USER};
use adit_lab::mirth_certificate::MirthCertificate;
use adit_net::transport::tls::LocalTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::lab::{Lab, Part, TARGET_OWNER, eventually};

const BASE: &str = "/api/4.5.2";
/// The request in hand has half a minute.
const CUT_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_last_byte_is_withheld_is_cut_after_a_pause_without_being_made() {
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let lab = Lab::managing(mirth.address(), &[Access::ReadWrite]).await;
    let mut client = lab.administrator(0).await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    let cookies: Vec<String> = client.cookies().iter().map(|cookie| cookie.pair.clone()).collect();
    let address = lab.admin[0].listen;
    let body = "<channel><id>3f2504e0-4f89-41d3-9a0c-0305e82c3301</id><name>late</name></channel>";
    let head = format!(
        "POST {BASE}/channels HTTP/1.1\r\nHost: {address}\r\nX-Requested-With: x\r\nCookie: {}\r\n\
         Content-Type: application/xml\r\nContent-Length: {}\r\n\r\n{}",
        cookies.join("; "),
        body.len(),
        &body[..body.len() - 1]
    );
    let mut stream = open(address, Some(shown_key(address).await.unwrap())).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    eventually("the change is under way", async || {
        (mirth.journal().count("POST", &format!("{BASE}/channels")) == 1).then_some(())
    })
    .await;
    let id = lab.admin_id(0);
    lab.admin(&["connection", "pause", &id, "--as", TARGET_OWNER]).await;
    let paused = Instant::now();
    let mut answer = vec![0; 1024];
    let ended = timeout(CUT_WITHIN, stream.read(&mut answer)).await.expect("it is cut");
    println!("cut {:?} after the pause", paused.elapsed());
    assert!(matches!(ended, Err(_) | Ok(0)), "{}", String::from_utf8_lossy(&answer));
    let arrived = mirth.journal().arrived();
    let change =
        arrived.iter().find(|one| one.method == "POST" && one.target.ends_with("/channels")).unwrap();
    assert!(change.body.is_none(), "its body never became whole: {change:?}");
    mirth.shutdown().await;
}

/// Ten wrong passwords pass at once, then one a second, also where the agent's own question hears of them.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_cannot_be_guessed_faster_by_asking_for_messages() {
    const GUESSES: u32 = 13;
    const FREE: u32 = 10;
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly]).await;
    let address = lab.admin[0].listen;
    let key = Some(shown_key(address).await.unwrap());
    let head = format!(
        "GET {BASE}/channels/x/messages HTTP/1.1\r\nHost: {address}\r\nX-Requested-With: x\r\n\
         Authorization: Basic YWRtaW46Z3Vlc3M=\r\n\r\n"
    );
    let began = Instant::now();
    for _ in 0..GUESSES {
        let mut stream = open(address, key).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
    }
    let took = began.elapsed();
    println!("{GUESSES} guesses took {took:?}");
    // The last one waits for the twelve before it, a second each, but for the ten that are free.
    assert!(took >= Duration::from_secs((GUESSES - 1 - FREE).into()), "{took:?}");
    mirth.shutdown().await;
}

/// A Mirth that says what it is, and then reads all of a POST and answers nothing. Returns how many POSTs of
/// at least `body` bytes it has read.
async fn mute_mirth(body: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = LocalTls::from(MirthCertificate::generate().unwrap().server_config().unwrap());
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (tls, counted) = (tls.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut posted = 0;
                let Ok(mut stream) = tls.accept(tcp).await else { return };
                let mut head = Vec::new();
                let mut piece = vec![0; 65_536];
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    if !head.starts_with(b"POST") {
                        head.extend_from_slice(&piece[..count]);
                    }
                    if head.starts_with(b"POST") {
                        let before = posted;
                        posted += count;
                        counted.fetch_add((before < body && posted >= body).into(), Ordering::Relaxed);
                        continue;
                    }
                    if head.starts_with(b"GET") && head.ends_with(b"\r\n\r\n") {
                        let _ = stream.write_all(answer_to(&head).as_bytes()).await;
                        let _ = stream.flush().await;
                        head.clear();
                    }
                }
            });
        }
    });
    (address, taken)
}

fn answer_to(head: &[u8]) -> String {
    let body = if head.starts_with(b"GET /api/server/version") {
        "4.5.2"
    } else {
        "<application><resources base=\"x\"><resource path=\"/channels\"><method name=\"GET\"/></resource></resources></application>"
    };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_of_a_view_only_partner_are_held_two_at_a_time() {
    const BODY: usize = 32 * 1024 * 1024;
    const CLIENTS: usize = 6;
    /// Two of them, read and rewritten, and what an agent holds anyway.
    const RESIDENT_MB_MAX: usize = 300;
    let (mirth, taken) = mute_mirth(BODY).await;
    let lab = Lab::managing(mirth, &[Access::ReadOnly]).await;
    let address = lab.admin[0].listen;
    let most_mb = || {
        let status = fs::read_to_string(format!("/proc/{}/status", lab.pid(Part::B))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    };
    let key = Some(shown_key(address).await.unwrap());
    let body =
        format!("<connectorMessage><raw><content>{}</content></raw></connectorMessage>", "A".repeat(BODY));
    let head = format!(
        "POST {BASE}/channels/x/messages/1/_getDICOMMessage HTTP/1.1\r\nHost: {address}\r\n\
         X-Requested-With: x\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (head, body) = (head.clone(), body.clone());
        clients.spawn(async move {
            let mut stream = open(address, key).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // One that is refused may be cut before it has sent all.
            let _ = stream.write_all(body.as_bytes()).await;
            let _ = stream.flush().await;
            let mut answer = vec![0; 64];
            let count = stream.read(&mut answer).await.unwrap_or(0);
            String::from_utf8_lossy(&answer[..count]).into_owned()
        });
    }
    // This Mirth answers none of those that are sent on, so a client that hears something was refused.
    let mut refused = 0;
    eventually("every body was sent on or refused", async || {
        while let Some(answer) = clients.try_join_next() {
            let answer = answer.unwrap();
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
            refused += 1;
        }
        (refused + taken.load(Ordering::Relaxed) == CLIENTS).then_some(())
    })
    .await;
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken >= 2, "two have their place");
    let most = most_mb();
    println!("{taken} of {CLIENTS} bodies of {} MB sent on: the agent held {most} MB at most", BODY >> 20);
    assert!(most < RESIDENT_MB_MAX, "{most} MB");
}

/// As many as the port carries, from a user of the managing host who has no business there.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_is_answered_while_silent_local_connections_hold_every_place() {
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly]).await;
    let address = lab.admin[0].listen;
    let key = Some(shown_key(address).await.unwrap());
    let mut silent = Vec::new();
    for _ in 0..2 * ADMIN_STREAMS_MAX {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut idle = Vec::new();
    for _ in 0..2 * ADMIN_STREAMS_MAX {
        // TLS and nothing more. Those before may have lost their place by now.
        idle.push(open(address, key).await);
    }
    let began = Instant::now();
    let mut client = lab.administrator(0).await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    let took = began.elapsed();
    println!("logged in after {took:?} beside {} silent and {} idle connections", silent.len(), idle.len());
    assert!(
        took < FIRST_BYTE_TIMEOUT.max(ADMIN_HANDSHAKE_TIMEOUT),
        "it waited for somebody's limit: {took:?}"
    );
    mirth.shutdown().await;
}
