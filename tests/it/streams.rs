//! Bytes of any protocol: no matter who speaks first, however much or little is said.

use adit_core::domain::connection::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::lab::{Lab, Part};
use super::wire::{End, Wire, finish, listener, read_to_end};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_first_is_heard() {
    let listener = listener().await;
    let lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The agent's probes leave before they are greeted.
            let _ = stream.write_all(b"220 welcome\r\n").await;
        }
    });
    for _ in 0..10 {
        let mut client = TcpStream::connect(lab.port(0)).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, (b"220 welcome\r\n".to_vec(), End::Fin));
    }
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_is_said_ends_in_order() {
    let listener = listener().await;
    let lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(read_to_end(&mut stream).await, (vec![], End::Fin));
        }
    });
    let mut client = TcpStream::connect(lab.port(0)).await.unwrap();
    finish(&mut client).await;
    assert_eq!(read_to_end(&mut client).await, (vec![], End::Fin));
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "one stream ended, none was cut", |entry| {
            (entry.streams_opened, entry.streams_cut, entry.streams) == (1, 0, 0)
        })
        .await;
    }
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn much_in_both_directions_at_once_arrives_unchanged() {
    const LENGTH: usize = 24 * 1024 * 1024;
    let listener = listener().await;
    let lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
    let pattern = |salt: usize| -> Vec<u8> {
        (0..LENGTH).map(|at| (at.wrapping_mul(31).wrapping_add(at >> 8) + salt).to_le_bytes()[0]).collect()
    };
    let (up, down) = (pattern(1), pattern(2));
    let (mut source_reads, mut source_writes) = source.split();
    let (mut target_reads, mut target_writes) = target.split();
    let (mut at_source, mut at_target) = (Vec::new(), Vec::new());
    let (sent, answered, read_source, read_target) = tokio::join!(
        async { source_writes.write_all(&up).await.and(source_writes.shutdown().await) },
        async { target_writes.write_all(&down).await.and(target_writes.shutdown().await) },
        source_reads.read_to_end(&mut at_source),
        target_reads.read_to_end(&mut at_target),
    );
    sent.and(answered).unwrap();
    assert_eq!((read_source.unwrap(), read_target.unwrap()), (LENGTH, LENGTH));
    assert!(at_target == up && at_source == down);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_connections_open_at_once_each_carry_their_own_bytes() {
    let listener = listener().await;
    let lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let mut wires = Vec::new();
    for _ in 0..300 {
        wires.push(Wire::open(lab.port(0), &listener).await);
    }
    lab.entry_becomes(Part::A, 0, "300 streams are open", |entry| entry.streams == 300).await;
    for (number, wire) in wires.iter_mut().enumerate() {
        wire.source.write_all(number.to_string().as_bytes()).await.unwrap();
        finish(&mut wire.source).await;
    }
    for (number, mut wire) in wires.into_iter().enumerate().rev() {
        assert_eq!(read_to_end(&mut wire.target).await, (number.to_string().into_bytes(), End::Fin));
        finish(&mut wire.target).await;
        assert_eq!(read_to_end(&mut wire.source).await, (vec![], End::Fin));
    }
    lab.entry_becomes(Part::B, 0, "no stream is left", |entry| entry.streams == 0).await;
}
