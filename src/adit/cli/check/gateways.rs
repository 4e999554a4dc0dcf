//! Whether the gateway answers, by UDP and by TCP, and what stands in the way where it does not.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::finding::Findings;
use super::network::dial_any;
use adit_core::config::HostPort;
use adit_core::domain::id::RouteId;
use adit_core::protocol::version_question::{QUESTION_BYTES, is_answer, question};
use adit_net::identity::random;
use adit_net::transport::any_address::any_like;
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
    Silent,
    /// Nobody told how to ask.
    Unasked,
}

/// Asks all gateways at once and reports in their order. `route` is the gateway's, known once a host enrolled
/// or was told that its token is good; until then only TCP can be tried. `needs_tcp` is who still has to enrol.
pub(super) async fn check_gateways(
    hosts: Vec<HostPort>,
    route: Option<RouteId>,
    needs_tcp: bool,
    findings: &mut Findings,
) {
    let mut asked = JoinSet::new();
    for (number, at) in hosts.into_iter().enumerate() {
        asked.spawn(async move {
            let fared = match resolve(&at).await {
                Ok(addresses) => Ok(tokio::join!(by_udp(&addresses, route), by_tcp(&addresses))),
                Err(error) => Err(error),
            };
            (number, at, fared)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(number, ..)| *number);
    for (_, at, fared) in answers {
        match fared {
            Ok((udp, tcp)) => report(&at, &udp, &tcp, needs_tcp, findings),
            Err(error) => findings.problem(format!(
                "gateway: {at} has no address here: {error}; correct this host's name service, or the address in \
                 a new connector file"
            )),
        }
    }
}

fn report(at: &HostPort, udp: &Fared, tcp: &Fared, needs_tcp: bool, findings: &mut Findings) {
    let port = at.port();
    let silent_tcp = match tcp {
        Fared::Refused(why) => format!("TCP is refused ({why}); see that the gateway runs and listens there"),
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
            "gateway: {at} answers by UDP, which is all that an enrolled agent needs; to enrol anew: {silent_tcp}"
        )),
        (Fared::Silent, Fared::Answers) => findings.problem(format!(
            "gateway: {at} accepts TCP, but does not answer by UDP: let UDP out to port {port} and the answers in, on \
             this host's side and the gateway's"
        )),
        (Fared::Refused(why), Fared::Answers) => findings.problem(format!(
            "gateway: {at} accepts TCP, but UDP is refused ({why}); see that what listens there is the gateway"
        )),
        (Fared::Refused(why), _) | (Fared::Unasked, Fared::Refused(why)) => findings.problem(format!(
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
        let mut findings = Findings::default();
        report(&"gateway.example.org:443".parse().unwrap(), udp, tcp, needs_tcp, &mut findings);
        findings.to_string()
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
