use std::time::{Duration, Instant};

use super::*;
use crate::limits::SHIM_CLIENTS_MAX;

const PATIENCE: Duration = Duration::from_secs(20);

fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn shim_to(destination: &UdpSocket) -> Shim {
    Shim::start("127.0.0.1:0".parse().unwrap(), destination.local_addr().unwrap(), 1).unwrap()
}

/// Returns the next packet and where it came from.
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2_048];
    let (length, from) = socket.recv_from(&mut buffer).expect("a packet arrives");
    (buffer[..length].to_vec(), from)
}

#[test]
fn each_client_gets_its_own_answers_at_an_address_of_its_own() {
    let destination = udp();
    let shim = shim_to(&destination);
    let clients = [udp(), udp()];
    let mut seen = Vec::new();
    for (client, words) in clients.iter().zip([b"one", b"two"]) {
        client.send_to(words, shim.address()).unwrap();
        let (packet, from) = receive(&destination);
        assert_eq!(packet, words);
        seen.push(from);
    }
    assert_ne!(seen[0], seen[1]);
    for (from, words) in seen.iter().zip([b"1", b"2"]) {
        destination.send_to(words, from).unwrap();
    }
    for (client, words) in clients.iter().zip([b"1", b"2"]) {
        assert_eq!(receive(client), (words.to_vec(), shim.address()));
    }
    let counts = WireCounts { entered: 2, delivered: 2, ..WireCounts::default() };
    assert_eq!((shim.counts(Direction::There), shim.counts(Direction::Back)), (counts, counts));
}

#[test]
fn a_client_keeps_an_address_at_which_only_the_destination_reaches_it() {
    let destination = udp();
    let shim = shim_to(&destination);
    let client = udp();
    client.send_to(b"a", shim.address()).unwrap();
    client.send_to(b"b", shim.address()).unwrap();
    let [(_, first), (_, second)] = [receive(&destination), receive(&destination)];
    assert_eq!(first, second);
    udp().send_to(b"stranger", first).unwrap();
    destination.send_to(b"friend", first).unwrap();
    assert_eq!(receive(&client).0, b"friend");
    assert_eq!(shim.counts(Direction::Back).entered, 1);
}

#[test]
fn a_rebinding_replaces_the_addresses_of_clients() {
    let destination = udp();
    let shim = shim_to(&destination);
    let client = udp();
    client.send_to(b"before", shim.address()).unwrap();
    let (_, before) = receive(&destination);
    shim.rebind().unwrap();
    destination.send_to(b"to nobody", before).unwrap();
    client.send_to(b"after", shim.address()).unwrap();
    let (packet, after) = receive(&destination);
    assert_eq!(packet, b"after");
    assert_ne!(before, after);
    destination.send_to(b"answer", after).unwrap();
    assert_eq!(receive(&client), (b"answer".to_vec(), shim.address()));
}

#[test]
fn each_direction_is_impaired_as_told_as_soon_as_the_call_returns() {
    let destination = udp();
    let shim = shim_to(&destination);
    let client = udp();
    client.send_to(b"hello", shim.address()).unwrap();
    let (_, from) = receive(&destination);
    shim.impair(Direction::There, Impairment::BLACKHOLE);
    shim.impair(Direction::Back, Impairment { delay: Duration::from_millis(30), ..Impairment::NONE });
    client.send_to(b"lost", shim.address()).unwrap();
    let sent = Instant::now();
    destination.send_to(b"late", from).unwrap();
    assert_eq!(receive(&client).0, b"late");
    assert!(sent.elapsed() >= Duration::from_millis(29), "{:?}", sent.elapsed());
    shim.impair_both(Impairment::NONE);
    client.send_to(b"found", shim.address()).unwrap();
    assert_eq!(receive(&destination).0, b"found");
    assert_eq!(shim.counts(Direction::There).blackholed, 1);
}

#[test]
fn a_tap_sees_what_enters_even_where_it_is_lost() {
    let destination = udp();
    let shim = shim_to(&destination);
    let (seen, shown) = sync_channel(8);
    shim.tap(Box::new(move |direction, packet| seen.send((direction, packet.to_vec())).unwrap()));
    let client = udp();
    client.send_to(b"there", shim.address()).unwrap();
    let (_, from) = receive(&destination);
    shim.impair_both(Impairment::BLACKHOLE);
    destination.send_to(b"back", from).unwrap();
    assert_eq!(shown.recv_timeout(PATIENCE), Ok((Direction::There, b"there".to_vec())));
    assert_eq!(shown.recv_timeout(PATIENCE), Ok((Direction::Back, b"back".to_vec())));
}

#[test]
fn clients_beyond_the_bound_are_turned_away_while_the_others_are_served() {
    let destination = udp();
    let shim = shim_to(&destination);
    let clients: Vec<_> = (0..=SHIM_CLIENTS_MAX).map(|_| udp()).collect();
    for client in &clients[..SHIM_CLIENTS_MAX] {
        client.send_to(b"served", shim.address()).unwrap();
        receive(&destination);
    }
    clients[SHIM_CLIENTS_MAX].send_to(b"one too many", shim.address()).unwrap();
    clients[0].send_to(b"again", shim.address()).unwrap();
    assert_eq!(receive(&destination).0, b"again");
    assert_eq!(shim.turned_away(), 1);
}

#[test]
fn a_shim_joins_the_two_address_families() {
    let destination = UdpSocket::bind("[::1]:0").unwrap();
    let shim = shim_to(&destination);
    let client = udp();
    client.send_to(b"four", shim.address()).unwrap();
    let (packet, from) = receive(&destination);
    assert_eq!(packet, b"four");
    destination.send_to(b"six", from).unwrap();
    assert_eq!(receive(&client).0, b"six");
}

#[test]
fn a_dropped_shim_leaves_its_address_free() {
    let destination = udp();
    let shim = shim_to(&destination);
    let address = shim.address();
    drop(shim);
    UdpSocket::bind(address).unwrap();
}
