//! Who else is on the network: noise, replays and forgeries, from addresses of their own or under
//! those of others.

use std::time::Instant;

use adit_core::domain::id::BootId;
use adit_core::protocol::packet::{Claim, PROBE_BYTES_MIN, Packet, PacketKey, PacketKind};

use crate::credentials;
use crate::scene::Scene;
use crate::wire::{Datagram, GATEWAY, INSIDER, Node, stranger};

/// So many datagrams within a second.
pub(crate) fn send(packets: u32, floods: bool, scene: &mut Scene) {
    let probe = floods.then(|| overheard_probe(scene)).flatten();
    for _ in 0..packets {
        let at = scene.now + scene.random.millis(0, 1_000);
        match &probe {
            Some(probe) => {
                let from = stranger(scene.random.next());
                let to = GATEWAY;
                scene.wire.inject(at, Datagram { receiver: Node::Gateway, from, to, ..probe.clone() });
            }
            None => send_one(at, scene),
        }
    }
}

/// A probe that an agent sent lately, whichever way.
fn overheard_probe(scene: &mut Scene) -> Option<Datagram> {
    let is_probe = |datagram: &Datagram| {
        Claim::read(&datagram.bytes).is_some_and(|claim| claim.kind == PacketKind::Probe)
    };
    (0..100).filter_map(|_| scene.wire.overheard()).find(is_probe)
}

/// One datagram, seeded, to any of the three.
fn send_one(at: Instant, scene: &mut Scene) {
    let receiver = scene.random.pick(&[Node::Gateway, Node::Gateway, Node::Source, Node::Target]);
    let from = if scene.random.hits(300) { INSIDER } else { stranger(scene.random.next()) };
    let seen_by = if receiver == Node::Gateway { Node::Source } else { receiver.peer() };
    let to = scene.wire.address(receiver, seen_by);
    let replayed = scene.wire.overheard().filter(|_| scene.random.hits(500));
    let datagram = if let Some(datagram) = replayed {
        // To whom it was sent, or to another; from where it was sent, or from elsewhere.
        let from = if scene.random.hits(500) { from } else { datagram.from };
        let (receiver, to) =
            if scene.random.hits(700) { (datagram.receiver, datagram.to) } else { (receiver, to) };
        Datagram { receiver, from, to, ..datagram }
    } else {
        let bytes = forge(receiver, scene);
        Datagram { maker: Node::Stranger, made_at: None, sender: Node::Stranger, receiver, from, to, bytes }
    };
    scene.wire.inject(at, datagram);
}

/// A packet of ours under a key of their own, QUIC for somebody's route, or noise.
fn forge(receiver: Node, scene: &mut Scene) -> Vec<u8> {
    let random = &mut scene.random;
    let agents = Node::AGENTS.map(credentials::route);
    let routes = [agents[0], agents[1], credentials::GATEWAY_ROUTE, credentials::INSIDER_ROUTE];
    let destination = match receiver {
        Node::Gateway => random.pick(&routes),
        _ => credentials::route(receiver),
    };
    match random.below(3) {
        0 => {
            let packet = Packet {
                kind: random.pick(&PacketKind::ALL),
                destination,
                source: random.pick(&routes),
                boot: BootId::from_bytes(random.bytes()),
                nonce: random.bytes(),
                length: PROBE_BYTES_MIN,
            };
            PacketKey::of_link(&random.bytes()).seal(&packet, &mut [0; PROBE_BYTES_MIN]).to_vec()
        }
        1 => [&[0x40][..], destination.as_bytes(), &random.bytes::<60>()].concat(),
        _ => {
            let length = usize::try_from(random.below(64)).unwrap();
            random.bytes::<64>()[..length].to_vec()
        }
    }
}
