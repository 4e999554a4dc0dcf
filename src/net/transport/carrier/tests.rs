//! Carriers over real sockets: through proxies of every manner, over TLS that somebody breaks open, and to
//! what is no gateway.

mod stand_in_gateway;
mod stand_in_proxy;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use self::stand_in_gateway::{Answers, StandInGateway, appliances, gateways, stolen};
use self::stand_in_proxy::{Manner, StandInProxy};
use super::client::dial;
use super::outer_tls;
use super::proxy::Proxies;
use super::pump::pump;
use super::queues::queues;
use super::ways::ways;
use super::websocket::Ended;
use crate::identity::outer::{GatewayKey, OuterTls};
use adit_core::config::{HostPort, ProxySettings};
use adit_core::protocol::carrier::packets;

/// `mirth:pa@ss`
const BASIC: Option<&str> = Some("bWlydGg6cGFAc3M=");

fn proxies(url: &str) -> Proxies {
    let settings = ProxySettings { proxy: Some(url.parse().unwrap()), no_proxy: None };
    Proxies::new(&settings, |_| None)
}

fn gateway_name() -> HostPort {
    "gateway.example.org:443".parse().unwrap()
}

/// Returns why no carrier was opened to a gateway behind a proxy of this manner.
async fn refusal(manner: Manner, user: &str) -> String {
    let proxy = StandInProxy::start(manner, ([127, 0, 0, 1], 9).into()).await;
    let proxies = proxies(&format!("http://{user}{}", proxy.at));
    let (key, _) = gateways();
    let error = dial(&[gateway_name()], &proxies, &key).await.unwrap_err();
    let text = format!("{error} {error:?} {proxies:?}");
    assert!(!text.contains("pa%40ss") && !text.contains("pa@ss") && !text.contains("bWly"), "{text}");
    error.to_string().replace(&proxy.at.to_string(), "PROXY")
}

async fn opened_by(key: &GatewayKey, shown: Arc<CertifiedKey>) -> OuterTls {
    let gateway = StandInGateway::start(shown, Answers::Carriers).await;
    dial(&[gateway.at.into()], &Proxies::default(), key).await.unwrap().outer
}

#[tokio::test]
async fn messages_pass_both_ways_until_one_end_has_enough() {
    let (key, shown) = gateways();
    let mut gateway = StandInGateway::start(shown, Answers::Carriers).await;
    let opened = dial(&[gateway.at.into()], &Proxies::default(), &key).await.unwrap();
    assert_eq!((opened.outer, opened.peer, opened.proxy), (OuterTls::Gateways, Some(gateway.at), None));
    let (carrier, _) = gateway.carriers.recv().await.unwrap();
    let (mut to_agent, mut from_agent) = carrier.split();
    let (socket, end) = queues();
    end.set_open(true);
    let talk = async {
        socket.send(&[7; 250], 100);
        let message = from_agent.next().await.unwrap();
        assert_eq!(packets(&message).map(|packet| packet.unwrap().len()).collect::<Vec<_>>(), [100, 100, 50]);
        to_agent.feed("back".into()).await.unwrap();
        to_agent.flush().await.unwrap();
        let back = std::future::poll_fn(|cx| socket.poll_receive(cx)).await;
        assert_eq!(back.unwrap(), "back");
    };
    assert!(pump(opened.websocket, &end, talk).await.is_none());
    assert!(matches!(from_agent.next().await, Err(Ended::Closed)), "the other end was told");
}

#[tokio::test]
async fn the_pump_says_why_the_other_end_ended_it() {
    let (key, shown) = gateways();
    let mut gateway = StandInGateway::start(shown, Answers::Carriers).await;
    let (_socket, end) = queues();
    for says_goodbye in [true, false] {
        let opened = dial(&[gateway.at.into()], &Proxies::default(), &key).await.unwrap();
        let (carrier, _) = gateway.carriers.recv().await.unwrap();
        if says_goodbye {
            carrier.split().0.close().await;
        } else {
            drop(carrier);
        }
        let ended = pump(opened.websocket, &end, std::future::pending::<()>()).await.unwrap();
        assert_eq!(matches!(ended, Ended::Closed), says_goodbye, "{ended}");
    }
}

#[tokio::test]
async fn a_message_that_holds_no_packets_as_they_are_framed_ends_the_carrier() {
    let (key, shown) = gateways();
    let mut gateway = StandInGateway::start(shown, Answers::Carriers).await;
    let (socket, end) = queues();
    let opened = dial(&[gateway.at.into()], &Proxies::default(), &key).await.unwrap();
    let (carrier, _) = gateway.carriers.recv().await.unwrap();
    // As of the carrier before.
    socket.note_misframed();
    end.set_open(true);
    let mut pumped = std::pin::pin!(pump(opened.websocket, &end, std::future::pending::<()>()));
    let waited = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(waited, &mut pumped).await.is_err(), "the next one is not to blame");
    socket.note_misframed();
    let ended = pumped.await.unwrap();
    assert!(matches!(ended, Ended::Misbehaved { .. }), "{ended}");
    assert!(matches!(carrier.split().1.next().await, Err(Ended::Closed)), "the other end was told");
}

#[tokio::test]
async fn a_gateway_that_answers_without_end_or_with_what_was_not_offered_opens_no_carrier() {
    let (key, shown) = gateways();
    for answers in [Answers::HeadWithoutEnd, Answers::Compresses] {
        let gateway = StandInGateway::start(Arc::clone(&shown), answers).await;
        let error = dial(&[gateway.at.into()], &Proxies::default(), &key).await.unwrap_err();
        let expected = match answers {
            Answers::Compresses => "its answer is no WebSocket's",
            _ => "the exchange broke off",
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let (key, shown) = gateways();
    let answer = "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\x1b[31m\r\nContent-Length: 0\r\n\r\n";
    let gateway = StandInGateway::start(shown, Answers::Says(answer)).await;
    let error = dial(&[gateway.at.into()], &Proxies::default(), &key).await.unwrap_err();
    let text = error.to_string();
    assert!(error.is_refusal() || text.contains("the exchange broke off"), "{text}");
    assert!(!text.contains('\x1b'));
}

#[tokio::test]
async fn a_proxy_with_a_password_leads_to_the_gateway() {
    let (key, shown) = gateways();
    let mut gateway = StandInGateway::start(shown, Answers::Carriers).await;
    let proxy = StandInProxy::start(Manner::Connects { basic: BASIC }, gateway.at).await;
    let proxies = proxies(&format!("http://mirth:pa%40ss@{}", proxy.at));
    let opened = dial(&[gateway_name()], &proxies, &key).await.unwrap();
    assert_eq!(opened.proxy, Some(proxy.at.into()));
    assert_eq!(opened.outer, OuterTls::Gateways);
    let (_carrier, name) = gateway.carriers.recv().await.unwrap();
    assert_eq!(name.as_deref(), Some("gateway.example.org"), "an appliance knows it by its name");
    assert_eq!(proxy.asked(), ["CONNECT gateway.example.org:443 HTTP/1.1"], "and the proxy resolves it");
}

#[tokio::test]
async fn what_a_proxy_refuses_is_said_with_what_to_do() {
    let basic = Manner::Connects { basic: BASIC };
    for (manner, user, expected) in [
        (basic, "", "the proxy PROXY asks for a user and a password (Basic); write them into `proxy`"),
        (
            basic,
            "mirth:wrong@",
            "the proxy PROXY refuses the user and the password that it was given by `proxy`",
        ),
        (
            Manner::Says(
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\
                 Proxy-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
            ),
            "mirth:pa%40ss@",
            "the proxy PROXY asks for NTLM, Negotiate, which adit does not speak",
        ),
        (
            Manner::Says("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
            "mirth:pa%40ss@",
            "the proxy PROXY refuses to connect to gateway.example.org:443 (403 Forbidden)",
        ),
        (
            Manner::Says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
            "mirth:pa%40ss@",
            "the proxy PROXY does not reach gateway.example.org:443 (502 Bad Gateway)",
        ),
        (Manner::Says("SSH-2.0-OpenSSH_9\r\n"), "mirth:pa%40ss@", "does not answer as an HTTP proxy does"),
        (Manner::Says(""), "mirth:pa%40ss@", "does not answer as an HTTP proxy does"),
        (Manner::HeadWithoutEnd, "mirth:pa%40ss@", "does not answer as an HTTP proxy does"),
        (
            Manner::Says(
                "HTTP/1.1 407 No\r\nProxy-Authenticate: \x1b[31mEvil realm=\"a\", N\u{202e}TLM, digest\r\n\
                 Content-Length: 0\r\n\r\n",
            ),
            "mirth:pa%40ss@",
            "the proxy PROXY ",
        ),
        (
            Manner::Says("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
            "mirth:pa%40ss@",
            "the proxy PROXY refuses to connect to gateway.example.org:443 (302 Found)",
        ),
        (Manner::Says("HTTP/1.1 200 OK\r\n\r\n\x15\x03\x03"), "mirth:pa%40ss@", "bytes follow its answer"),
        (Manner::Says("HTTP/1.1 200 OK\r\n\r\n"), "mirth:pa%40ss@", "TLS failed"),
    ] {
        let said = refusal(manner, user).await;
        assert!(said.contains(expected), "{expected}: {said}");
        assert_eq!(adit_core::domain::visible::first_hidden(&said), None, "{said}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_away_is_named_with_what_names_it() {
    let (key, _) = gateways();
    let unused: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let environment = |variable: &str| (variable == "https_proxy").then(|| unused.to_string());
    let proxies = Proxies::new(&ProxySettings::default(), environment);
    let error = dial(&[gateway_name()], &proxies, &key).await.unwrap_err().to_string();
    assert!(error.contains(&format!("the proxy {unused} (https_proxy) cannot be reached")), "{error}");
}

#[tokio::test]
async fn tls_that_somebody_breaks_open_is_taken_and_its_issuer_named() {
    let (key, shown) = gateways();
    let issuer = "CN=Hospital TLS Inspection".to_owned();
    assert_eq!(opened_by(&key, appliances()).await, OuterTls::Foreign { issuer });
    assert_eq!(opened_by(&key, shown).await, OuterTls::Gateways);
}

#[tokio::test]
async fn only_who_has_its_key_is_taken_for_the_gateway() {
    let (key, shown) = gateways();
    let without_key = opened_by(&key, stolen(&shown)).await;
    assert!(matches!(without_key, OuterTls::Foreign { .. }), "{without_key:?}");
    let other_gateway = opened_by(&gateways().0, shown).await;
    assert!(matches!(other_gateway, OuterTls::Foreign { .. }), "{other_gateway:?}");
    assert_eq!(other_gateway.interceptor(), None, "nobody stands between: it is another gateway");
}

#[tokio::test]
async fn who_answers_for_the_gateway_can_be_looked_at_alone() {
    let (key, _) = gateways();
    let appliance = StandInGateway::start(appliances(), Answers::Carriers).await;
    let (ways, _) = ways(&[appliance.at.into()], &Proxies::default()).await;
    let tcp = ways[0].connect().await.unwrap();
    let outer = outer_tls::look(tcp, &gateway_name(), &key).await.unwrap();
    assert_eq!(outer.interceptor(), Some("CN=Hospital TLS Inspection"));
}

#[tokio::test]
async fn what_is_no_gateway_with_carriers_is_told_apart_from_what_is_away() {
    let (key, shown) = gateways();
    let check = async |shown: &Arc<CertifiedKey>, answers, is_refusal, expected: &str| {
        let gateway = StandInGateway::start(Arc::clone(shown), answers).await;
        let error = dial(&[gateway.at.into()], &Proxies::default(), &key).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!(error.is_refusal(), is_refusal, "{error}");
    };
    let older = Answers::Says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    check(&shown, older, true, "it answers 404 Not Found to the request for the tcp path; update").await;
    check(&appliances(), older, true, "over TLS with a certificate of CN=Hospital TLS Inspection").await;
    let wrong_key = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    check(&shown, Answers::Says(wrong_key), false, "its answer is no WebSocket's").await;
    check(&shown, Answers::Says(""), false, "the exchange broke off").await;
    let error = dial(&[], &Proxies::default(), &key).await.unwrap_err();
    assert!(!error.is_refusal());
}
