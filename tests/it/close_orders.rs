//! Promise I2: every order in which a TCP connection can end looks the same at the far socket as
//! it did at the near one, and no cut ever looks like an end.

use adit_core::domain::connection::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::lab::{HANG_LIMIT, Lab, Part, edit, free_address};
use super::wire::{End, Wire, finish, listener, read_to_end, reset};

/// Enough to catch an order that holds only mostly.
const ROUNDS: usize = 20;

async fn lab() -> (TcpListener, Lab) {
    let listener = listener().await;
    let lab = Lab::to(Protocol::Mllp, listener.local_addr().unwrap()).await;
    (listener, lab)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|number| u8::try_from(number % 251).unwrap()).collect()
}

/// Streams that ended, and how many of them were cut, as both agents count them.
async fn counted(lab: &Lab, ended: usize, cut: usize) {
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, &format!("{ended} streams ended, {cut} of them cut"), |entry| {
            (entry.streams_opened, entry.streams_cut) == (ended as u64, cut as u64)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_the_source_is_an_end_at_the_target_which_may_still_answer() {
    let (listener, lab) = lab().await;
    for _ in 0..ROUNDS {
        let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
        source.write_all(&bytes(5_000)).await.unwrap();
        finish(&mut source).await;
        assert_eq!(read_to_end(&mut target).await, (bytes(5_000), End::Fin));
        target.write_all(&bytes(70_000)).await.unwrap();
        finish(&mut target).await;
        assert_eq!(read_to_end(&mut source).await, (bytes(70_000), End::Fin));
    }
    counted(&lab, ROUNDS, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_the_target_is_an_end_at_the_source_which_may_still_send() {
    let (listener, lab) = lab().await;
    for _ in 0..ROUNDS {
        let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
        target.write_all(&bytes(5_000)).await.unwrap();
        finish(&mut target).await;
        assert_eq!(read_to_end(&mut source).await, (bytes(5_000), End::Fin));
        source.write_all(&bytes(70_000)).await.unwrap();
        finish(&mut source).await;
        assert_eq!(read_to_end(&mut target).await, (bytes(70_000), End::Fin));
    }
    counted(&lab, ROUNDS, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_at_once_are_two_ends() {
    let (listener, lab) = lab().await;
    for _ in 0..ROUNDS {
        let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
        finish(&mut source).await;
        finish(&mut target).await;
        assert_eq!(read_to_end(&mut source).await, (vec![], End::Fin));
        assert_eq!(read_to_end(&mut target).await, (vec![], End::Fin));
    }
    counted(&lab, ROUNDS, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_source_is_a_reset_at_the_target() {
    let (listener, lab) = lab().await;
    for _ in 0..ROUNDS {
        let Wire { source, mut target } = Wire::open(lab.port(0), &listener).await;
        reset(source);
        assert_eq!(read_to_end(&mut target).await, (vec![], End::Rst));
    }
    counted(&lab, ROUNDS, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_target_is_a_reset_at_the_source() {
    let (listener, lab) = lab().await;
    for _ in 0..ROUNDS {
        let Wire { mut source, target } = Wire::open(lab.port(0), &listener).await;
        reset(target);
        assert_eq!(read_to_end(&mut source).await, (vec![], End::Rst));
    }
    counted(&lab, ROUNDS, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_a_reset_arrives_before_it_in_either_direction() {
    let (listener, lab) = lab().await;
    for round in 0..ROUNDS {
        let said = bytes(1 << (round % 16));
        let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
        source.write_all(&said).await.unwrap();
        reset(source);
        assert_eq!(read_to_end(&mut target).await, (said.clone(), End::Rst));

        let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
        target.write_all(&said).await.unwrap();
        reset(target);
        assert_eq!(read_to_end(&mut source).await, (said, End::Rst));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_after_the_other_side_ended_is_still_a_reset() {
    let (listener, lab) = lab().await;
    for _ in 0..ROUNDS {
        let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
        finish(&mut source).await;
        assert_eq!(read_to_end(&mut target).await, (vec![], End::Fin));
        reset(target);
        assert_eq!(read_to_end(&mut source).await, (vec![], End::Rst));

        // The source has already seen the end; the target must not see one.
        let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
        finish(&mut target).await;
        assert_eq!(read_to_end(&mut source).await, (vec![], End::Fin));
        reset(source);
        assert_eq!(read_to_end(&mut target).await, (vec![], End::Rst));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_dial_is_a_reset() {
    // Without probes the port stays open beside a Mirth that is down, and every dial is real.
    let mut lab = Lab::written(&[(Protocol::Tcp, free_address())]);
    edit(&lab.config(Part::B), |text| format!("{text}probe = false\n"));
    lab.start_all().await;
    lab.port_open(0).await;
    match TcpStream::connect(lab.port(0)).await {
        Ok(mut source) => assert_eq!(read_to_end(&mut source).await, (vec![], End::Rst)),
        // The reset may be there before the connect has returned.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tunnel_is_a_reset_at_both_ends_even_after_one_of_them_ended() {
    for killed in [Part::A, Part::B] {
        let (listener, mut lab) = lab().await;
        let mut open = Wire::open(lab.port(0), &listener).await;
        let mut half = Wire::open(lab.port(0), &listener).await;
        finish(&mut half.source).await;
        assert_eq!(read_to_end(&mut half.target).await, (vec![], End::Fin));
        lab.kill(killed);
        assert_eq!(read_to_end(&mut open.source).await, (vec![], End::Rst));
        assert_eq!(read_to_end(&mut open.target).await, (vec![], End::Rst));
        assert_eq!(read_to_end(&mut half.source).await, (vec![], End::Rst));
        // The target of the ended direction hears of the loss when it answers.
        let answering = async { while half.target.write_all(b"x").await.is_ok() {} };
        tokio::time::timeout(HANG_LIMIT, answering).await.expect("the loss is told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_closes_without_reading_resets_the_other() {
    let (listener, lab) = lab().await;
    let Wire { source, mut target } = Wire::open(lab.port(0), &listener).await;
    target.write_all(b"unread").await.unwrap();
    source.peek(&mut [0]).await.unwrap();
    // The kernel itself answers unread bytes with RST.
    drop(source);
    assert_eq!(read_to_end(&mut target).await, (vec![], End::Rst));

    let Wire { mut source, target } = Wire::open(lab.port(0), &listener).await;
    source.write_all(b"unread").await.unwrap();
    target.peek(&mut [0]).await.unwrap();
    drop(target);
    assert_eq!(read_to_end(&mut source).await, (vec![], End::Rst));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tunnel_is_a_reset_for_those_who_stand_still_too() {
    let (listener, mut lab) = lab().await;
    let mut wires = Vec::new();
    for ended in [false, true] {
        let mut wire = Wire::open(lab.port(0), &listener).await;
        if ended {
            finish(&mut wire.target).await;
            assert_eq!(read_to_end(&mut wire.source).await, (vec![], End::Fin));
        }
        // The target never reads: full from end to end, nothing moves in any socket.
        let block = bytes(1 << 20);
        while tokio::time::timeout(std::time::Duration::from_millis(500), wire.source.write_all(&block))
            .await
            .is_ok()
        {}
        wires.push(wire);
    }
    lab.kill(Part::B);
    for wire in &mut wires {
        let writing = async { while wire.source.write_all(b"x").await.is_ok() {} };
        tokio::time::timeout(HANG_LIMIT, writing).await.expect("the source is reset");
    }
    lab.start(Part::B);
    lab.port_open(0).await;
    lab.entry_becomes(Part::A, 0, "only new streams are open", |entry| entry.streams == 0).await;
    drop(Wire::open(lab.port(0), &listener).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_stands_still_is_reset_when_the_tunnel_is_lost_without_delaying_others() {
    let (listener, mut lab) = lab().await;
    let Wire { mut source, mut target } = Wire::open(lab.port(0), &listener).await;
    let block = bytes(1 << 20);
    while tokio::time::timeout(std::time::Duration::from_millis(500), source.write_all(&block)).await.is_ok()
    {
    }
    lab.kill(Part::A);
    lab.start(Part::A);
    lab.port_open(0).await;
    let fresh = Wire::open(lab.port(0), &listener).await;
    assert_eq!(read_to_end(&mut target).await.1, End::Rst);
    drop(fresh);
}
