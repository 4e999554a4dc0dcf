//! Who is asked, and what of an answer is taken; the servers are stand-ins on loopback.

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::identity::fixture::ca_of_localhost;

fn get(url: &str) -> Request<Vec<u8>> {
    Request::get(url).body(Vec::new()).unwrap()
}

/// Answers every connection with the same bytes, in plain text or over TLS; returns where.
async fn serve(answer: Vec<u8>, tls: Option<TlsAcceptor>) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            match &tls {
                None => answer_once(tcp, &answer).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        answer_once(stream, &answer).await;
                    }
                }
            }
        }
    });
    (port, tasks)
}

async fn answer_once<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &[u8]) {
    let mut heard = [0; 4096];
    let _ = stream.read(&mut heard).await;
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

/// A CA, as PEM, and a server's TLS with a certificate of it for `localhost`.
fn private_ca() -> (String, TlsAcceptor) {
    let made = ca_of_localhost();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.leaf], made.key)
        .unwrap();
    (made.ca_pem, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_place_in_this_hosts_network_is_not_dialled_unless_the_operator_names_it() {
    let (pem, tls) = private_ca();
    let (port, _tasks) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".to_vec(), Some(tls)).await;
    let url = format!("https://localhost:{port}/x");
    let client = HttpsClient::new(Some(pem.as_bytes())).unwrap();
    let refused = client.ask(get(&url)).await.unwrap_err();
    assert!(matches!(refused, HttpsError::NotPublic { .. }), "{refused:?}");
    assert!(!refused.to_string().contains("127"), "{refused}");
    let elsewhere = client.clone().allowing(["https://localhost:1/"]);
    assert!(matches!(elsewhere.ask(get(&url)).await, Err(HttpsError::NotPublic { .. })), "another port");
    let allowed = client.allowing([format!("https://localhost:{port}/realms/main").as_str()]);
    assert_eq!(allowed.ask(get(&url)).await.unwrap().body(), b"hi");
}

#[tokio::test]
async fn a_named_place_is_within_reach_of_the_issuers_alone_that_are_named() {
    let (pem, tls) = private_ca();
    let (port, _tasks) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".to_vec(), Some(tls)).await;
    let here = format!("https://localhost:{port}/realms/main");
    let client = HttpsClient::new(Some(pem.as_bytes())).unwrap().allowing([here.as_str()]);
    let within = client.on_behalf_of(&format!("https://localhost:{port}/realms/other"));
    assert_eq!(within.ask(get(&here)).await.unwrap().body(), b"hi");
    // A public provider's configuration says where its keys are; it could say so of the hospital's own hosts.
    for issuer in ["https://attacker.example/", "https://localhost:1/", "x", &here.replace("https", "http")] {
        let refused = client.on_behalf_of(issuer).ask(get(&here)).await.unwrap_err();
        assert!(matches!(refused, HttpsError::NotPublic { .. }), "{issuer}: {refused:?}");
    }
}

#[tokio::test]
async fn a_certificate_by_a_ca_that_is_neither_public_nor_the_operators_is_refused() {
    let (_, tls) = private_ca();
    let (port, _tasks) = serve(Vec::new(), Some(tls)).await;
    let url = format!("https://localhost:{port}/");
    let client = HttpsClient::new(None).unwrap().allowing([url.as_str()]);
    let refused = client.ask(get(&url)).await.unwrap_err();
    assert!(matches!(refused, HttpsError::Tls { .. }), "{refused:?}");
    assert!(refused.to_string().contains("identity_provider_ca"), "{refused}");
}

#[tokio::test]
async fn what_hides_an_address_is_read_as_browsers_read_it() {
    let client = HttpsClient::new(None).unwrap();
    for url in [
        "https://127.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://169.254.169.254/latest",
        "https://10.0.0.1:8443/",
    ] {
        assert!(
            matches!(
                place_of(url).map(|it| client.judged(&it, it.at.address().into_iter().collect())),
                Ok(Err(HttpsError::NotPublic { .. }))
            ),
            "{url}"
        );
    }
    for url in
        ["ftp://a.example/", "file:///etc/passwd", "https://user@a.example/", "https://u:p@a.example/", "x"]
    {
        assert!(matches!(place_of(url), Err(HttpsError::NotHttps { .. })), "{url}");
    }
}

#[tokio::test]
async fn without_tls_nobody_is_asked_but_a_stand_in_on_this_host() {
    let (port, _tasks) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(), None).await;
    let url = format!("http://127.0.0.1:{port}/");
    let client = HttpsClient::new(None).unwrap();
    assert!(matches!(client.ask(get(&url)).await, Err(HttpsError::NotHttps { .. })));
    let named = client.clone().allowing([url.as_str()]);
    assert!(matches!(named.ask(get(&url)).await, Err(HttpsError::NotHttps { .. })), "named, but not secured");
    let plain = client.plain_on_loopback();
    assert_eq!(plain.ask(get(&url)).await.unwrap().status(), 200);
    assert!(matches!(plain.ask(get("http://1.1.1.1/")).await, Err(HttpsError::NotPublic { .. })));
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (port, _tasks) = serve(answer.to_vec(), None).await;
    let client = HttpsClient::new(None).unwrap().plain_on_loopback();
    let answer = client.ask(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(answer.status(), 302);
}

#[tokio::test]
async fn an_answer_above_the_bound_is_not_taken() {
    for (bytes, is_taken) in [(PROVIDER_ANSWER_BYTES_MAX, true), (PROVIDER_ANSWER_BYTES_MAX + 1, false)] {
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + bytes, b'x');
        let (port, _tasks) = serve(answer, None).await;
        let client = HttpsClient::new(None).unwrap().plain_on_loopback();
        let taken = client.ask(get(&format!("http://127.0.0.1:{port}/"))).await;
        assert_eq!(taken.is_ok(), is_taken, "{bytes}");
    }
}

#[test]
fn a_ca_file_without_a_certificate_is_refused() {
    assert!(matches!(HttpsClient::new(Some(b"nothing")), Err(TrustError::NoCertificate)));
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(HttpsClient::new(Some(garbage)), Err(TrustError::BadCertificate { number: 1 })));
}
