//! What proves that the Mirth beside the receiving agent lives, and what proves that it does not.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use adit_core::domain::connection::Protocol;
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::lab::{HANG_LIMIT, Lab, Part, free_address};
use super::wire::listener;

const INTERVAL: Duration = Duration::from_millis(100);
/// Exchanges after the dial that failed.
const MORE: usize = 20;

/// Has room for one connection beside the one that is served.
fn narrow_listener(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(1).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpListener::from_std(socket.into()).unwrap()
}

/// Serves one connection at a time, and answers each byte with it.
async fn serve_one_by_one(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        while let Ok(byte) = stream.read_u8().await {
            if stream.write_u8(byte).await.is_err() {
                break;
            }
        }
    }
}

async fn exchange(stream: &mut TcpStream) {
    stream.write_u8(7).await.unwrap();
    let answer = timeout(HANG_LIMIT, stream.read_u8()).await.expect("the receiver answers").unwrap();
    assert_eq!(answer, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_answers_on_its_one_connection_is_not_declared_dead_by_a_dial_that_fails() {
    let address = free_address();
    let server = tokio::spawn(serve_one_by_one(narrow_listener(address)));
    let lab = Lab::to(Protocol::Tcp, address).await;
    let mut open = TcpStream::connect(lab.port(0)).await.unwrap();
    exchange(&mut open).await;
    // A client that comes now is not answered: the places of those who wait are taken.
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_secs(1), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    let mut second = TcpStream::connect(lab.port(0)).await.unwrap();
    let mut refused = tokio::spawn(async move { second.read_u8().await });
    while !refused.is_finished() {
        exchange(&mut open).await;
        sleep(INTERVAL).await;
    }
    assert!((&mut refused).await.unwrap().is_err(), "nobody serves a second connection");
    for _ in 0..MORE {
        exchange(&mut open).await;
        for part in [Part::A, Part::B] {
            let entry = lab.entry(part, 0).await.unwrap();
            assert_eq!(entry.mirth.on, Some(true), "{part:?} says that the receiver is down");
        }
        assert!(lab.entry(Part::A, 0).await.unwrap().port_open, "the port closed");
        sleep(INTERVAL).await;
    }
    // Once its connection has ended, a dial that fails counts again.
    drop(open);
    server.abort();
    lab.port_refuses(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_whose_receivers_host_vanished_is_reset() {
    let listener = listener().await;
    let lab = Lab::to(Protocol::Mllp, listener.local_addr().unwrap()).await;
    let mut sender = TcpStream::connect(lab.port(0)).await.unwrap();
    sender.write_u8(7).await.unwrap();
    // Probes come too, and say nothing.
    let receiver = loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        if stream.read_u8().await.is_ok() {
            break stream;
        }
    };
    drop_all_that_arrives(&receiver);
    sender.write_u8(8).await.unwrap();
    let ended = timeout(HANG_LIMIT, sender.read_u8()).await.expect("the sender hears of it");
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    lab.logs(Part::B, "acknowledged nothing on an open connection for 4 s").await;
}

/// Not even acknowledged by the kernel: as from a host that is gone.
fn drop_all_that_arrives(stream: &TcpStream) {
    const RETURN: u16 = 0x06;
    let nothing = [SockFilter::new(RETURN, 0, 0, 0)];
    Socket::from(stream.as_fd().try_clone_to_owned().unwrap()).attach_filter(&nothing).unwrap();
}
