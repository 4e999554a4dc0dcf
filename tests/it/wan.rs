//! A lab whose parts reach each other only through shims: agent A speaks IPv4, agent B IPv6, and
//! nobody else joins the two on the loopback of one machine.
//!
//! One of the agents is behind a NAT: its peer knows no address of it, and learns the shim's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use adit_agent::stats::EntryStatus;
use adit_core::domain::connection::Protocol;
use adit_core::domain::path::PathKind;
use adit_lab::shim::{Direction, Impairment, Shim};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::lab::{Lab, Part, draws, edit, free_address};
use adit_net::identity::tls::ENROL_ALPN;

pub(crate) struct Wan {
    pub lab: Lab,
    /// From the agent behind the NAT to the other one.
    pub direct: Shim,
    behind_nat: Part,
    /// From A and from B to the gateway.
    pub uplinks: [Shim; 2],
    /// Enrolment is TCP at the gateway's address.
    _forwarders: JoinSet<()>,
}

impl Wan {
    /// Connections as in [`Lab::to_all`], all ports open; `seed` decides what the wires do.
    pub(crate) async fn to_all(targets: &[(Protocol, SocketAddr)], behind_nat: Part, seed: u64) -> Self {
        let mut wan = Self::written(targets, behind_nat, seed).await;
        wan.start().await;
        wan
    }

    /// The same with nothing but `path` allowed by both agents' files.
    pub(crate) async fn forced(targets: &[(Protocol, SocketAddr)], path: PathKind, seed: u64) -> Self {
        let mut wan = Self::written(targets, Part::A, seed).await;
        for (part, table) in [(Part::A, "[[p2p_source]]"), (Part::B, "[[p2p_target]]")] {
            let forced = format!("{table}\npath = \"{path}\"");
            edit(&wan.lab.config(part), |text| text.replace(table, &forced));
        }
        wan.start().await;
        wan
    }

    async fn start(&mut self) {
        self.lab.start_all().await;
        for index in 0..self.lab.connections.len() {
            self.lab.port_open(index).await;
        }
    }

    /// The files and the wires; nothing runs.
    pub(crate) async fn written(targets: &[(Protocol, SocketAddr)], behind_nat: Part, seed: u64) -> Self {
        let lab = Lab::written(targets);
        let mut seeds = draws(seed);
        let mut wire = |from, to| {
            let wire = Shim::start(from, to, seeds.next()).unwrap();
            wire.impair_both(Impairment::ETHERNET);
            wire
        };
        let gateway = lab.gateway_address();
        let (a, b) = (free_address(), v6(free_address()));
        let uplinks = [wire(free_address(), gateway), wire(v6(free_address()), gateway)];
        let (public, direct) = match behind_nat {
            Part::A => (Part::B, wire(free_address(), b)),
            Part::B => (Part::A, wire(v6(free_address()), a)),
            Part::Gateway => panic!("the gateway is public"),
        };
        let mut forwarders = JoinSet::new();
        for (part, listen, uplink) in [(Part::A, a, &uplinks[0]), (Part::B, b, &uplinks[1])] {
            forwarders.spawn(forward(TcpListener::bind(uplink.address()).await.unwrap(), gateway));
            lab.use_gateway_at(part, uplink.address());
            let announced = if part == public { vec![direct.address()] } else { Vec::new() };
            edit(&lab.config(part), |text| {
                let text = text.replace("\"127.0.0.1:0\"", &format!("\"{listen}\""));
                format!(
                    "direct_addresses = {:?}\n{text}",
                    announced.iter().map(ToString::to_string).collect::<Vec<_>>()
                )
            });
        }
        Self { lab, direct, behind_nat, uplinks, _forwarders: forwarders }
    }

    /// Every wire, each with the direction in which it carries what A sends.
    fn wires_from_a(&self) -> [(&Shim, Direction); 3] {
        let direct = if self.behind_nat == Part::A { Direction::There } else { Direction::Back };
        let [from_a, from_b] = &self.uplinks;
        [(&self.direct, direct), (from_a, Direction::There), (from_b, Direction::Back)]
    }

    /// Impairs all wires alike.
    pub(crate) fn impair(&self, impairment: Impairment) {
        for (wire, _) in self.wires_from_a() {
            wire.impair_both(impairment);
        }
    }

    /// Impairs what `part` sends on every wire that leaves it.
    pub(crate) fn impair_from(&self, part: Part, impairment: Impairment) {
        let [(direct, there), (from_a, _), (from_b, _)] = self.wires_from_a();
        let back = if there == Direction::There { Direction::Back } else { Direction::There };
        match part {
            Part::A => {
                direct.impair(there, impairment);
                from_a.impair(Direction::There, impairment);
            }
            Part::B => {
                direct.impair(back, impairment);
                from_b.impair(Direction::There, impairment);
            }
            Part::Gateway => {
                self.uplinks.iter().for_each(|uplink| uplink.impair(Direction::Back, impairment));
            }
        }
    }

    /// Waits until every TCP connection has ended; none may have been cut, at either agent.
    pub(crate) async fn nothing_was_cut(&self) {
        for part in [Part::A, Part::B] {
            for index in 0..self.lab.connections.len() {
                let ended = |entry: &EntryStatus| entry.streams == 0;
                let what = "every connection has ended";
                let entry = self.lab.entry_becomes(part, index, what, ended).await;
                assert_eq!(entry.streams_cut, 0, "cut at {part:?}: {entry:?}");
            }
        }
    }
}

fn v6(address: SocketAddr) -> SocketAddr {
    (std::net::Ipv6Addr::LOCALHOST, address.port()).into()
}

/// Joins TCP connections of enrolments to the destination, and no others: what happens to UDP here must not be
/// mended by TCP.
async fn forward(listener: TcpListener, destination: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            if !is_enrolment(&near).await? {
                return Ok((0, 0));
            }
            let mut far = TcpStream::connect(destination).await?;
            copy_bidirectional(&mut near, &mut far).await
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Whether a client's first TLS record asks for enrolment (RFC 8446 §4.1.2, RFC 7301): its names are readable.
async fn is_enrolment(near: &TcpStream) -> io::Result<bool> {
    let mut hello = [0; 4_096];
    loop {
        let length = near.peek(&mut hello).await?;
        let record = match hello[..length] {
            [] => return Ok(false),
            [_, _, _, high, low, ..] => 5 + usize::from(u16::from_be_bytes([high, low])),
            _ => 5,
        };
        if length >= record.min(hello.len()) && length >= 5 {
            return Ok(hello[..length].windows(ENROL_ALPN.len()).any(|found| found == ENROL_ALPN));
        }
        // What is there already makes it readable: wait for more.
        sleep(Duration::from_millis(5)).await;
    }
}
