//! Two agents and a gateway as processes, the managing one listening for an Administrator, the managed
//! one before a Jetty with a tap.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use adit_agent::AUDIT_FILE;
use adit_core::domain::access::Access;
use adit_lab::lab::LabAdmin;

use super::client::Answer;
use super::jetty::Jetty;
use super::tap::Tap;
use crate::lab::{Lab, Part};

pub(crate) struct Managed {
    pub lab: Lab,
    pub jetty: Jetty,
    pub tap: Tap,
    /// Where Administrators connect.
    pub address: SocketAddr,
}

impl Managed {
    pub(crate) async fn start(access: Access) -> Self {
        let jetty = Jetty::start();
        let tap = Tap::before(jetty.address).await;
        let address = short_address();
        let admin = LabAdmin { access, listen: address, mirth: tap.address };
        let lab = Lab::managing_as(vec![admin]).await;
        Self { lab, jetty, tap, address }
    }

    /// What a client names as its Host.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// How many requests the managed agent has written down as refused.
    pub(crate) fn refusals(&self) -> usize {
        let audit = fs::read_to_string(self.lab.state(Part::B).join(AUDIT_FILE)).unwrap_or_default();
        audit.lines().filter(|line| line.contains("\"event\":\"admin_refused\"")).count()
    }

    /// Whether the managing side answered by itself, before there was a stream to the managed one.
    pub(crate) fn is_of_the_listener(answers: &[Answer]) -> bool {
        answers.iter().any(|answer| answer.status == 421)
    }
}

/// On `[::1]`, with a port of four digits: as long as the `mirth:8443` that it takes the place of, so that
/// no length of a body that holds a request changes.
fn short_address() -> SocketAddr {
    // Tests of one process do not race for one.
    static TAKEN: AtomicU16 = AtomicU16::new(9_000);
    let ports = std::iter::from_fn(|| Some(TAKEN.fetch_add(1, Ordering::Relaxed)));
    let addresses = ports
        .take_while(|port| *port < 10_000)
        .map(|port| SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)));
    let mut free = addresses.filter(|address| std::net::TcpListener::bind(address).is_ok());
    free.next().expect("a free port of four digits")
}
