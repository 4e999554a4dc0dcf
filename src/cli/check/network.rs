//! Ports that can be bound, and hosts that answer.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::finding::Findings;
use crate::config::HostPort;
use crate::transport::any_address::bind_any;
use crate::transport::resolve::{first_connected, resolve};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a TCP port could be listened on now, as the process itself would; the port is let go again.
pub(super) fn check_tcp_port(what: &str, address: SocketAddr, findings: &mut Findings) {
    report_port(what, "TCP", address, bind_any(address, TcpListener::bind).map(drop), findings);
}

pub(super) fn check_udp_port(what: &str, address: SocketAddr, findings: &mut Findings) {
    report_port(what, "UDP", address, bind_any(address, UdpSocket::bind).map(drop), findings);
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
    let connected = async { first_connected(resolve(at).await?, TcpStream::connect).await };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s");
    timeout(ANSWER_TIMEOUT, connected).await.unwrap_or_else(|_| Err(late())).map(drop)
}
