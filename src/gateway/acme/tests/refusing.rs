//! What authorities that refuse, err or are away are heard to say.

use super::stand_in::{OWN, Said, StandIn, directory};
use super::*;

fn authority(world: &World, directory: &str) -> AcmeAuthority {
    AcmeAuthority {
        config: AcmeConfig {
            directory: directory.into(),
            contact: Some("mailto:it@example.org".into()),
            ca: None,
        },
        host: HOST.into(),
        kept: Kept::new(world.state()),
        tls: Arc::clone(&world.tls),
        clock: world.clock.clone(),
        is_plain: true,
    }
}

fn problem(status: u16, kind: &str, detail: &str, retry_after: &str) -> Said {
    let body = format!("{{\"type\":\"urn:ietf:params:acme:error:{kind}\",\"detail\":\"{detail}\"}}");
    (status, vec![("Retry-After", retry_after.into())], body)
}

async fn refusal(stand_in: &StandIn) -> Refused {
    let world = World::new();
    authority(&world, &stand_in.directory()).order(None).await.unwrap_err()
}

#[tokio::test]
async fn a_rate_limit_is_heard_with_when_it_ends() {
    let limited =
        |path: &str| (path == "/order").then(|| problem(429, "rateLimited", "too many\\u001b[2J", "3600"));
    let stand_in = StandIn::start(limited).await;
    let refused = refusal(&stand_in).await;
    assert_eq!(refused.retry_after, Some(Duration::from_secs(3_600)));
    assert!(refused.why.contains("rateLimited") && refused.why.contains("too many"), "{}", refused.why);
    assert!(!refused.why.contains('\u{1b}'), "{}", refused.why);
    assert_eq!(stand_in.count("POST /order"), 1);
}

#[tokio::test]
async fn there_is_one_account_with_one_key_however_often_it_is_asked() {
    let refuse = |path: &str| (path == "/order").then(|| problem(403, "rejectedIdentifier", "no", "0"));
    let stand_in = StandIn::start(refuse).await;
    let world = World::new();
    let account = world.state().path().join("acme-account.json");
    let mut keys = Vec::new();
    for _ in 0..3 {
        authority(&world, &stand_in.directory()).order(None).await.unwrap_err();
        keys.push(fs::read(&account).unwrap());
    }
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(fs::metadata(account).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(stand_in.count("POST /account/1"), 0);
    let mut other = authority(&world, &stand_in.directory());
    other.config.contact = None;
    other.order(None).await.unwrap_err();
    other.order(None).await.unwrap_err();
    assert_eq!(stand_in.count("POST /account/1"), 1, "another contact is told once");
}

#[tokio::test]
async fn a_nonce_that_is_not_taken_is_replaced_and_not_for_ever() {
    let refuse = |path: &str| (path == "/account").then(|| problem(400, "badNonce", "again", "0"));
    let stand_in = StandIn::start(refuse).await;
    let refused = refusal(&stand_in).await;
    assert!(refused.why.contains("badNonce"), "{}", refused.why);
    assert_eq!(stand_in.count("POST /account"), 6);
}

#[tokio::test]
async fn an_authority_in_trouble_is_heard_whatever_it_answers_with() {
    let text = || vec![("Content-Type", "text/html".to_owned()), ("Retry-After", "120".into())];
    for broken in ["/directory", "/account", "/order"] {
        let stand_in =
            StandIn::start(move |path| (path == broken).then(|| (503, text(), "<html>".into()))).await;
        let refused = refusal(&stand_in).await;
        assert!(refused.why.contains("answers 503"), "{broken}: {}", refused.why);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(120)), "{broken}");
    }
}

#[tokio::test]
async fn an_authority_that_is_away_is_named() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = format!("http://{}/directory", nobody.local_addr().unwrap());
    drop(nobody);
    let world = World::new();
    let refused = authority(&world, &directory).order(None).await.unwrap_err();
    assert!(refused.why.contains("127.0.0.1 cannot be reached"), "{}", refused.why);
    assert_eq!(refused.retry_after, None);
}

#[tokio::test]
async fn an_authority_without_tls_that_is_trusted_is_told_by_its_own_setting() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = format!("https://{}/directory", listener.local_addr().unwrap());
    let world = World::new();
    let authority = authority(&world, &directory);
    let speaking_no_tls = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    };
    let (refused, ()) = tokio::join!(authority.order(None), speaking_no_tls);
    let refused = refused.unwrap_err();
    assert!(refused.why.contains("over TLS") && refused.why.contains("`acme_ca`"), "{}", refused.why);
    assert!(!refused.why.contains("identity_provider"), "{}", refused.why);
}

#[tokio::test]
async fn no_host_but_that_of_the_directory_is_asked() {
    let other = StandIn::start(|_| None).await;
    let elsewhere = other.origin.clone();
    let stand_in = StandIn::start(move |path| {
        (path == "/directory").then(|| (200, Vec::new(), directory(&elsewhere, true)))
    })
    .await;
    let refused = refusal(&stand_in).await;
    assert!(refused.why.contains("only the host of its directory is asked"), "{}", refused.why);
    assert!(other.asked.lock().is_empty());
}

#[tokio::test]
async fn an_authority_that_asks_only_for_other_proofs_is_named() {
    let order = |path: &str| {
        let at = |path: &str| vec![("Location", format!("{OWN}{path}"))];
        match path {
            "/order" => {
                let body = "{\"status\":\"pending\",\"authorizations\":[\"ORIGIN/authz\"],\"finalize\":\"ORIGIN/f\"}";
                Some((201, at("/order/1"), body.to_owned()))
            }
            "/authz" => {
                let body = "{\"identifier\":{\"type\":\"dns\",\"value\":\"console.example.org\"},\"status\":\"pending\",\
                            \"challenges\":[{\"type\":\"http-01\",\"url\":\"u\",\"status\":\"pending\",\"token\":\"t\"}]}";
                Some((200, Vec::new(), body.to_owned()))
            }
            _ => None,
        }
    };
    let stand_in = StandIn::start(order).await;
    let refused = refusal(&stand_in).await;
    assert!(refused.why.contains("does not offer tls-alpn-01 for console.example.org"), "{}", refused.why);
}

#[tokio::test]
async fn an_authority_says_when_it_wants_a_certificate_renewed() {
    let tell = |path: &str| {
        let window =
            "{\"suggestedWindow\":{\"start\":\"2026-12-01T00:00:00Z\",\"end\":\"2026-12-02T00:00:00Z\"}}";
        path.starts_with("/window/").then(|| (200, vec![("Retry-After", "21600".into())], window.to_owned()))
    };
    let stand_in = StandIn::start(tell).await;
    let world = World::new();
    let (window, again_in) = authority(&world, &stand_in.directory()).window(&certificate()).await.unwrap();
    let week = Timestamp::from_millis(START).saturating_add(7 * DAY);
    assert_eq!(window, Window { start: week, end: week.saturating_add(DAY) });
    assert_eq!(again_in, Duration::from_secs(21_600));
}

#[tokio::test]
async fn an_authority_that_does_not_speak_of_renewal_is_taken_at_that() {
    let without = |path: &str| (path == "/directory").then(|| (200, Vec::new(), directory(OWN, false)));
    let stand_in = StandIn::start(without).await;
    let world = World::new();
    let refused = authority(&world, &stand_in.directory()).window(&certificate()).await.unwrap_err();
    assert!(refused.why.contains("does not say when"), "{}", refused.why);
}

/// One that names who signed it, as those of public authorities do.
fn certificate() -> WebCertificate {
    let mut params = CertificateParams::new(vec![HOST.into()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    let made = made_for_life("Public CA", &params);
    WebCertificate::from_pem(made.leaf.as_bytes(), made.key.as_bytes(), HOST).unwrap()
}

#[tokio::test]
async fn a_file_of_cas_that_is_missing_is_named() {
    let world = World::new();
    let mut authority = authority(&world, DIRECTORY);
    authority.config.ca = Some(world.folder.path().join("ca.pem"));
    let refused = authority.order(None).await.unwrap_err();
    assert!(refused.why.contains("ca.pem") && refused.why.contains("`acme_ca`"), "{}", refused.why);
}
