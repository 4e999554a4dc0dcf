//! Whether the gateway answers, by UDP and by TCP, and what stands in the way where it does not.

use std::io;
use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::finding::Findings;
use super::network::dial_any;
use adit_core::config::HostPort;
use adit_core::domain::id::RouteId;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::version_question::{QUESTION_BYTES, is_answer, question};
use adit_net::identity::outer::{GatewayKey, OuterTls};
use adit_net::identity::random;
use adit_net::transport::any_address::any_like;
use adit_net::transport::carrier::client::dial;
use adit_net::transport::carrier::proxy::{Proxies, Proxy};
use adit_net::transport::happy_eyeballs::first_of;
use adit_net::transport::resolve::resolve;

/// A lost packet is no blocked port.
const TRIES: u32 = 4;
const TRY_TIMEOUT: Duration = Duration::from_millis(750);

/// How UDP or TCP to a gateway fared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fared {
    Answers,
    /// Something said no: no packet was lost.
    Refused(String),
    /// What leads there said no, and what to do.
    Told(String),
    Silent,
    /// Nobody told how to ask.
    Unasked,
}

/// Whether the tcp path can be had, where TCP is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TcpPath {
    Opens(OuterTls),
    Fails(String),
    /// Nobody told by which key the gateway is known, or TCP is not accepted.
    Untried,
}

/// What a host knows of its gateway, and needs of it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Known once a host enrolled or was told that its token is good; until then only TCP can be tried.
    pub(super) route: Option<RouteId>,
    pub(super) key: Option<GatewayKey>,
    /// It still has to enrol.
    pub(super) needs_tcp: bool,
}

/// How one gateway fared.
struct Answer {
    udp: Fared,
    tcp: Fared,
    path: TcpPath,
    proxy: Option<Proxy>,
}

/// Asks all gateways at once and reports in their order.
pub(super) async fn check_gateways(
    hosts: Vec<HostPort>,
    known: &Known,
    proxies: &Arc<Proxies>,
    findings: &mut Findings,
) {
    let mut asked = JoinSet::new();
    for (number, at) in hosts.into_iter().enumerate() {
        let (known, proxies) = (known.clone(), Arc::clone(proxies));
        asked.spawn(async move {
            let answer = ask(&at, &known, &proxies).await;
            (number, at, answer)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(number, ..)| *number);
    for (_, at, answer) in answers {
        match answer {
            Ok(answer) => {
                report_proxy(&at, answer.proxy.as_ref(), findings);
                report(&at, &answer, known.needs_tcp, findings);
                report_path(&at, &answer, known.needs_tcp, findings);
            }
            Err(error) => findings.problem(format!(
                "gateway: {at} has no address here: {error}; correct this host's name service, or the address in \
                 a new connector file"
            )),
        }
    }
}

async fn ask(at: &HostPort, known: &Known, proxies: &Proxies) -> io::Result<Answer> {
    let (addresses, proxy) = (resolve(at).await, proxies.to(at));
    let udp = async {
        match &addresses {
            Ok(addresses) => by_udp(addresses, known.route).await,
            Err(error) => Fared::Refused(format!("the name has no address here: {error}")),
        }
    };
    let tcp = async {
        match (&proxy, &addresses) {
            (Err(error), _) => Fared::Told(error_chain(error)),
            (Ok(Some(proxy)), _) => match proxy.connect(at).await {
                Ok(_) => Fared::Answers,
                Err(error) => Fared::Told(error_chain(&error)),
            },
            (Ok(None), Ok(addresses)) => by_tcp(addresses).await,
            (Ok(None), Err(_)) => Fared::Silent,
        }
    };
    let (udp, tcp) = tokio::join!(udp, tcp);
    let path = match &known.key {
        Some(key) if tcp == Fared::Answers => match dial(slice::from_ref(at), proxies, key).await {
            Ok(opened) => TcpPath::Opens(opened.outer),
            Err(error) => TcpPath::Fails(error.to_string()),
        },
        _ => TcpPath::Untried,
    };
    match proxy {
        // A proxy resolves the name by itself.
        Ok(Some(proxy)) => Ok(Answer { udp, tcp, path, proxy: Some(proxy) }),
        Ok(None) => addresses.map(|_| Answer { udp, tcp, path, proxy: None }),
        // That is to be mended first.
        Err(_) => Ok(Answer { udp, tcp, path, proxy: None }),
    }
}

fn report_proxy(at: &HostPort, proxy: Option<&Proxy>, findings: &mut Findings) {
    if let Some(proxy) = proxy {
        let (proxy, by) = (proxy.at(), proxy.named_by());
        findings.fine(format!("gateway: TCP to {at} goes through the proxy {proxy} ({by})"));
    }
}

/// Reports what becomes of the tcp path.
fn report_path(at: &HostPort, answer: &Answer, needs_tcp: bool, findings: &mut Findings) {
    match &answer.path {
        TcpPath::Untried => {}
        TcpPath::Opens(OuterTls::Gateways) => findings.fine(format!("gateway: the tcp path to {at} works")),
        TcpPath::Opens(OuterTls::Foreign { issuer }) if needs_tcp => findings.problem(format!(
            "gateway: somebody breaks TLS to {at} open with a certificate of {issuer}: enrolment sends no token there; \
             have the gateway's name exempted from TLS inspection, or enrol from another network"
        )),
        TcpPath::Opens(OuterTls::Foreign { issuer }) => findings.warning(format!(
            "gateway: somebody breaks TLS to {at} open with a certificate of {issuer}: the tcp path works and stays \
             encrypted end to end, but enrolling anew needs the gateway's name exempted from TLS inspection"
        )),
        TcpPath::Fails(why) if answer.udp == Fared::Answers => findings.warning(format!(
            "gateway: without UDP this host could not reach its peers: {why}"
        )),
        TcpPath::Fails(why) => findings.problem(format!("gateway: {why}")),
    }
}

fn report(at: &HostPort, answer: &Answer, needs_tcp: bool, findings: &mut Findings) {
    let Answer { udp, tcp, path, .. } = answer;
    let port = at.port();
    let silent_tcp = match tcp {
        Fared::Refused(why) => format!("TCP is refused ({why}); see that the gateway runs and listens there"),
        Fared::Told(why) => why.clone(),
        _ => format!("TCP is not answered; let TCP out to port {port}"),
    };
    match (udp, tcp) {
        (Fared::Answers, Fared::Answers) => {
            findings.fine(format!("gateway: {at} answers by UDP and accepts TCP"));
        }
        (Fared::Unasked, Fared::Answers) => findings.fine(format!(
            "gateway: {at} accepts TCP connections; UDP is tried once this host has a good token or is enrolled"
        )),
        (Fared::Answers, _) if needs_tcp => {
            findings.problem(format!("gateway: {at} answers by UDP, but enrolment needs TCP: {silent_tcp}"));
        }
        (Fared::Answers, _) => findings.warning(format!(
            "gateway: {at} answers by UDP, which is all that an enrolled agent needs while UDP passes; for the tcp path, \
             and to enrol anew: {silent_tcp}"
        )),
        (_, Fared::Told(why)) => {
            findings.problem(format!("gateway: {at} cannot be reached by TCP: {why}"));
        }
        (Fared::Silent | Fared::Refused(_), Fared::Answers) if matches!(path, TcpPath::Opens(_)) => {
            findings.warning(format!(
                "gateway: {at} does not answer by UDP, so the tcp path will be used, which is slower: for the others let \
                 UDP out to port {port} and the answers in, on this host's side and the gateway's"
            ));
        }
        (Fared::Silent, Fared::Answers) => findings.problem(format!(
            "gateway: {at} accepts TCP, but does not answer by UDP: let UDP out to port {port} and the answers in, on \
             this host's side and the gateway's"
        )),
        (Fared::Refused(why) | Fared::Told(why), Fared::Answers) => findings.problem(format!(
            "gateway: {at} accepts TCP, but UDP is refused ({why}); see that what listens there is the gateway"
        )),
        (Fared::Refused(why) | Fared::Told(why), _) | (Fared::Unasked, Fared::Refused(why)) => findings.problem(format!(
            "gateway: {at} cannot be reached: {why}; see that the gateway runs and listens there, or take \
             a new connector file if it moved"
        )),
        (Fared::Silent, Fared::Refused(why)) => findings.problem(format!(
            "gateway: {at} cannot be reached: TCP is refused ({why}) and UDP not answered; see that the gateway runs \
             and listens there"
        )),
        (Fared::Silent | Fared::Unasked, Fared::Silent | Fared::Unasked) => findings.problem(format!(
            "gateway: {at} cannot be reached: nothing comes back; see that the gateway runs, and let this host's UDP \
             and TCP out to port {port}"
        )),
    }
}

async fn by_tcp(addresses: &[SocketAddr]) -> Fared {
    match dial_any(addresses).await {
        Ok(()) => Fared::Answers,
        Err(error) => of(&error),
    }
}

fn of(error: &io::Error) -> Fared {
    if error.kind() == io::ErrorKind::TimedOut { Fared::Silent } else { Fared::Refused(error.to_string()) }
}

/// Returns the best that any address gives.
async fn by_udp(addresses: &[SocketAddr], route: Option<RouteId>) -> Fared {
    let Some(route) = route else { return Fared::Unasked };
    let asked = first_of(addresses.iter().copied(), |address| ask_udp(address, route)).await;
    match asked {
        Ok(_) => Fared::Answers,
        // The last to fail was silent, if any was.
        Err(failed) => failed.last().map_or(Fared::Silent, |(_, error)| of(error)),
    }
}

async fn ask_udp(address: SocketAddr, route: RouteId) -> io::Result<()> {
    let socket = UdpSocket::bind(any_like(address)).await?;
    // Connected, it hears that nobody listens there.
    socket.connect(address).await?;
    let random = random::bytes();
    let mut answer = [0; QUESTION_BYTES];
    for _ in 0..TRIES {
        socket.send(&question(route, random)).await?;
        let answered = async {
            loop {
                let length = socket.recv(&mut answer).await?;
                if is_answer(&answer[..length], random) {
                    return io::Result::Ok(());
                }
            }
        };
        if let Ok(answered) = timeout(TRY_TIMEOUT, answered).await {
            return answered;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(udp: &Fared, tcp: &Fared, needs_tcp: bool) -> String {
        said_with(udp, tcp, TcpPath::Untried, needs_tcp)
    }

    fn said_with(udp: &Fared, tcp: &Fared, path: TcpPath, needs_tcp: bool) -> String {
        let mut findings = Findings::default();
        let answer = Answer { udp: udp.clone(), tcp: tcp.clone(), path, proxy: None };
        let at = "gateway.example.org:443".parse().unwrap();
        report(&at, &answer, needs_tcp, &mut findings);
        report_path(&at, &answer, needs_tcp, &mut findings);
        findings.to_string()
    }

    #[test]
    fn without_udp_the_tcp_path_is_enough() {
        let opens = TcpPath::Opens(OuterTls::Gateways);
        let blocked = said_with(&Fared::Silent, &Fared::Answers, opens.clone(), false);
        assert!(
            blocked.contains("the tcp path will be used") && blocked.ends_with("0 problems, 1 warning\n"),
            "{blocked}"
        );
        let fine = said_with(&Fared::Answers, &Fared::Answers, opens, false);
        assert!(fine.contains("the tcp path to gateway.example.org:443 works"), "{fine}");
        assert!(fine.ends_with("0 problems, 0 warnings\n"), "{fine}");
    }

    #[test]
    fn a_gateway_without_the_tcp_path_is_a_problem_only_without_udp() {
        let older = || TcpPath::Fails("the tcp path to the gateway cannot be opened (it is older)".into());
        let with_udp = said_with(&Fared::Answers, &Fared::Answers, older(), false);
        assert!(
            with_udp.ends_with("0 problems, 1 warning\n") && with_udp.contains("it is older"),
            "{with_udp}"
        );
        let without = said_with(&Fared::Silent, &Fared::Answers, older(), false);
        assert!(
            without.ends_with("2 problems, 0 warnings\n") && without.contains("let UDP out"),
            "{without}"
        );
    }

    #[test]
    fn tls_that_is_broken_open_is_a_problem_only_for_who_must_enrol() {
        let broken = || TcpPath::Opens(OuterTls::Foreign { issuer: "CN=Hospital TLS Inspection".into() });
        let newcomer = said_with(&Fared::Unasked, &Fared::Answers, broken(), true);
        assert!(
            newcomer.contains("exempted from TLS inspection, or enrol from another network"),
            "{newcomer}"
        );
        assert!(newcomer.ends_with("1 problem, 0 warnings\n"), "{newcomer}");
        let enrolled = said_with(&Fared::Answers, &Fared::Answers, broken(), false);
        assert!(enrolled.contains("CN=Hospital TLS Inspection"), "{enrolled}");
        assert!(enrolled.ends_with("0 problems, 1 warning\n"), "{enrolled}");
    }

    #[test]
    fn what_a_proxy_says_is_neither_the_gateways_fault_nor_the_connector_files() {
        let told = Fared::Told(
            "the proxy proxy.example.org:3128 asks for NTLM; have it let this host through".into(),
        );
        for (udp, needs_tcp) in [
            (Fared::Answers, true),
            (Fared::Answers, false),
            (Fared::Silent, false),
            (refused(), true),
            (Fared::Unasked, true),
        ] {
            let said = said(&udp, &told, needs_tcp);
            assert!(said.contains("asks for NTLM; have it let this host through"), "{said}");
            assert!(
                !said.contains("see that the gateway runs") && !said.contains("connector file"),
                "{said}"
            );
        }
    }

    fn refused() -> Fared {
        Fared::Refused("Connection refused".into())
    }

    #[test]
    fn blocked_udp_is_told_from_blocked_tcp() {
        let udp = said(&Fared::Silent, &Fared::Answers, false);
        assert!(udp.starts_with("PROBLEM") && udp.contains("does not answer by UDP: let UDP out"), "{udp}");
        let tcp = said(&Fared::Answers, &Fared::Silent, true);
        assert!(tcp.starts_with("PROBLEM") && tcp.contains("let TCP out"), "{tcp}");
        let enrolled = said(&Fared::Answers, &Fared::Silent, false);
        assert!(enrolled.starts_with("warning") && enrolled.contains("all that an enrolled agent needs"));
        let both = said(&Fared::Silent, &Fared::Silent, false);
        assert!(both.starts_with("PROBLEM") && both.contains("UDP and TCP out"), "{both}");
        assert!(said(&Fared::Answers, &Fared::Answers, true).starts_with("ok"));
    }

    #[test]
    fn a_firewall_is_named_only_where_a_packet_was_lost() {
        for udp in [refused(), Fared::Unasked] {
            let said = said(&udp, &refused(), true);
            assert!(said.starts_with("PROBLEM") && !said.contains(" out to "), "{said}");
        }
        assert!(!said(&Fared::Answers, &refused(), true).contains(" out to "));
        assert!(!said(&refused(), &Fared::Answers, true).contains(" out to "));
    }

    #[tokio::test]
    async fn a_silent_udp_port_is_told_from_one_that_nobody_has() {
        let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = mute.local_addr().unwrap();
        let route = RouteId::from_bytes([1; 8]);
        assert_eq!(by_udp(&[address], Some(route)).await, Fared::Silent);
        drop(mute);
        assert!(matches!(by_udp(&[address], Some(route)).await, Fared::Refused(_)));
        assert_eq!(by_udp(&[address], None).await, Fared::Unasked);
    }

    #[tokio::test]
    async fn a_silent_first_address_hides_no_good_second_one() {
        let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let gateway = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addresses = [&mute, &gateway].map(|socket| socket.local_addr().unwrap());
        let gateway = tokio::task::spawn_blocking(move || {
            let mut packet = [0; QUESTION_BYTES];
            let (_, from) = gateway.recv_from(&mut packet).unwrap();
            let own_id = &packet[27..35];
            gateway.send_to(&[&[0x8a, 0, 0, 0, 0, 8], own_id].concat(), from).unwrap();
        });
        assert_eq!(by_udp(&addresses, Some(RouteId::from_bytes([1; 8]))).await, Fared::Answers);
        gateway.await.unwrap();
    }
}
