//! Ports that can be bound, and hosts that answer.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::Type;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::finding::Findings;
use adit_core::config::HostPort;
use adit_net::transport::any_address::bind_any;
use adit_net::transport::resolve::{first_connected, resolve};

/// Checks whether a TCP port could be listened on now. It is bound in a way that keeps nobody else from it
/// who starts in this moment.
pub(super) fn check_tcp_port(what: &str, address: SocketAddr, findings: &mut Findings) {
    report_port(what, "TCP", address, bind_beside(address), findings);
}

/// Checks whether a UDP port could be bound now. It is looked up: bound even for a moment, it would be missed
/// by an agent that starts then.
pub(super) fn check_udp_port(what: &str, address: SocketAddr, findings: &mut Findings) {
    let is_taken = ["/proc/net/udp", "/proc/net/udp6"].into_iter().any(|table| {
        fs::read_to_string(table).is_ok_and(|table| table.lines().any(|line| takes(line, address)))
    });
    let bound = match bind_beside(address) {
        _ if is_taken => Err(io::ErrorKind::AddrInUse.into()),
        // The same port of TCP is another one; addresses and rights are the same for both.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        bound => bound,
    };
    report_port(what, "UDP", address, bound, findings);
}

/// Binds beside another: two sockets that may share their address and do not listen do not keep each other
/// from it.
fn bind_beside(address: SocketAddr) -> io::Result<()> {
    bind_any(address, Type::STREAM, |socket| socket.set_reuse_address(true)).map(drop)
}

/// Returns whether a line of the kernel's table of UDP sockets has the port of `address`, there or
/// everywhere: `0: 0100007F:1A05 00000000:0000 07 …`, words of the address in this machine's byte order.
fn takes(line: &str, address: SocketAddr) -> bool {
    let local = line.split_whitespace().nth(1).and_then(|local| local.split_once(':'));
    let Some((ip, port)) = local else { return false };
    if u16::from_str_radix(port, 16) != Ok(address.port()) || address.port() == 0 {
        return false;
    }
    let Some(ip) = written_ip(ip) else { return false };
    let wanted = address.ip().to_canonical();
    ip.is_unspecified() || wanted.is_unspecified() || ip == wanted
}

fn written_ip(hex: &str) -> Option<IpAddr> {
    let words = (0..hex.len() / 8).map(|word| u32::from_str_radix(hex.get(word * 8..word * 8 + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok().map(|ip| ip.to_canonical())
}

fn report_port(what: &str, kind: &str, address: SocketAddr, bound: io::Result<()>, findings: &mut Findings) {
    let port = address.port();
    let Err(error) = bound else {
        findings.fine(format!("{what}: {kind} {address} is free"));
        return;
    };
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let flag = if kind == "UDP" { 'u' } else { 't' };
            format!(
                "another program has it (`ss -{flag}lnp 'sport = :{port}'` names it); stop it or write another port"
            )
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not bind it; give the service CAP_NET_BIND_SERVICE or write a port from 1024 on"
                .into()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this host has no such address; `ip address` lists those it has".into()
        }
        _ => format!("{error}; write another address"),
    };
    findings.problem(format!("{what}: cannot listen on {kind} {address}: {remedy}"));
}

/// A host that should accept TCP connections.
pub(super) struct Host {
    /// Who wants to know.
    pub(super) what: String,
    pub(super) at: HostPort,
    /// What to do when it does not answer.
    pub(super) remedy: &'static str,
}

/// Asks all hosts at once and reports in their order.
pub(super) async fn check_hosts(hosts: Vec<Host>, findings: &mut Findings) {
    let mut asked = JoinSet::new();
    for (number, host) in hosts.into_iter().enumerate() {
        asked.spawn(async move {
            let answer = dial(&host.at).await;
            (number, host, answer)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(number, ..)| *number);
    for (_, Host { what, at, remedy }, answer) in answers {
        match answer {
            Ok(()) => findings.fine(format!("{what}: {at} accepts connections")),
            Err(error) => findings.problem(format!("{what}: {at} cannot be reached: {error}; {remedy}")),
        }
    }
}

async fn dial(at: &HostPort) -> io::Result<()> {
    dial_any(&resolve(at).await?).await
}

/// Dials the addresses beside each other (RFC 8305); one that accepts is enough.
pub(super) async fn dial_any(addresses: &[SocketAddr]) -> io::Result<()> {
    first_connected(addresses.to_vec(), TcpStream::connect::<SocketAddr>).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use socket2::{Domain, Socket};

    use super::*;

    fn said(address: SocketAddr) -> String {
        let mut findings = Findings::default();
        check_udp_port("listen", address, &mut findings);
        findings.to_string()
    }

    #[tokio::test]
    async fn a_silent_first_address_hides_no_good_second_one() {
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        silent.listen(0).unwrap();
        let hole = silent.local_addr().unwrap().as_socket().unwrap();
        // With its queue full, the kernel drops what others send it.
        let _filling = std::net::TcpStream::connect(hole).unwrap();
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        dial_any(&[hole, good.local_addr().unwrap()]).await.unwrap();
        assert_eq!(dial_any(&[hole]).await.unwrap_err().to_string(), "no answer within 5 s");
    }

    #[test]
    fn a_taken_udp_port_is_known_by_the_kernels_table() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        for ip in ["127.0.0.1", "0.0.0.0"] {
            let said = said(SocketAddr::new(ip.parse().unwrap(), port));
            assert!(said.contains("another program has it"), "{said}");
        }
        drop(udp);
        assert!(takes(&format!("  1: 0100007F:{port:04X} 00000000:0000 07"), ([127, 0, 0, 1], port).into()));
        assert!(!takes(&format!("  1: 0100007F:{port:04X} 00000000:0000 07"), ([127, 0, 0, 2], port).into()));
        assert!(takes(&format!("1: {:032X}:{port:04X} x", 0), ([127, 0, 0, 1], port).into()));
        assert!(!takes("  sl  local_address rem_address", ([127, 0, 0, 1], port).into()));
    }

    #[test]
    fn an_address_of_another_host_is_named_for_udp_too() {
        let said = said("192.0.2.1:4433".parse().unwrap());
        assert!(said.contains("this host has no such address"), "{said}");
    }

    #[test]
    fn a_port_that_is_looked_at_can_be_listened_on_meanwhile() {
        let probe = |address: SocketAddr| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&address.into()).unwrap();
            socket
        };
        let looked_at = probe("127.0.0.1:0".parse().unwrap());
        let address = looked_at.local_addr().unwrap().as_socket().unwrap();
        let _listener = TcpListener::bind(address).unwrap();
        assert_eq!(bind_beside(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
