//! The port at its limits: it refuses at the number that stands in the file, and says so.

use std::collections::VecDeque;
use std::process::Command;

use adit_agent::stats::EntryStatus;
use adit_core::domain::connection::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::lab::{HANG_LIMIT, Lab, Part, edit, eventually, run};
use super::wire::{End, Wire, finish, listener, read_to_end};

/// A lab whose entry has this `streams_max` at the end in `part`.
async fn lab_with(part: Part, streams_max: u32, listener: &TcpListener) -> Lab {
    let mut lab = Lab::written(&[(Protocol::Tcp, listener.local_addr().unwrap())]);
    let section = if part == Part::A { "[[p2p_source]]" } else { "[[p2p_target]]" };
    edit(&lab.config(part), |text| text.replace(section, &format!("{section}\nstreams_max = {streams_max}")));
    lab.start_all().await;
    lab.port_open(0).await;
    lab
}

/// Checks that nothing but `wire` and the agent's own probes came to `listener`.
async fn arrives_nothing(listener: &TcpListener, wire: Wire) {
    // What was sent before this would have come out before it.
    let Wire { mut source, mut target } = wire;
    source.write_all(b"last").await.unwrap();
    finish(&mut source).await;
    assert_eq!(read_to_end(&mut target).await, (b"last".to_vec(), End::Fin));
    while let Ok(Ok((mut other, _))) = timeout(std::time::Duration::ZERO, listener.accept()).await {
        assert_eq!(other.read(&mut [0; 16]).await.unwrap_or(0), 0, "a probe says nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_number_in_the_file_the_port_refuses_until_the_first_ends() {
    let listener = listener().await;
    let lab = lab_with(Part::A, 3, &listener).await;
    let mut wires = Vec::new();
    for _ in 0..3 {
        wires.push(Wire::open(lab.port(0), &listener).await);
    }
    lab.port_refuses(0).await;
    let entry =
        lab.entry_becomes(Part::A, 0, "is at its limit", |entry| entry.at_limit && entry.streams == 3).await;
    assert_eq!((entry.streams, entry.streams_max, entry.limit_reached, entry.port_open), (3, 3, 1, false));
    assert_eq!(entry.mirth.on, Some(true), "nothing else is at fault");
    lab.logs(Part::A, "as many TCP connections are open as may be").await;
    eventually("the metric counts it", async || {
        let text = lab.metrics(Part::A).await?;
        text.lines()
            .any(|line| line.starts_with("adit_streams_limit_reached_total{") && line.ends_with(" 1"))
            .then_some(())
    })
    .await;

    let Wire { mut source, mut target } = wires.remove(0);
    finish(&mut source).await;
    finish(&mut target).await;
    assert_eq!(read_to_end(&mut source).await, (vec![], End::Fin));
    lab.entry_becomes(Part::A, 0, "its port opens", |entry| entry.port_open && !entry.at_limit).await;
    wires.push(Wire::open(lab.port(0), &listener).await);
    lab.port_refuses(0).await;
    for wire in &mut wires {
        wire.source.write_all(b"still").await.unwrap();
        wire.target.read_exact(&mut [0; 5]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_targets_lower_number_a_sender_is_reset_without_delivery() {
    let listener = listener().await;
    let lab = lab_with(Part::B, 2, &listener).await;
    let mut wires = Vec::new();
    for _ in 0..2 {
        wires.push(Wire::open(lab.port(0), &listener).await);
    }
    let mut third = TcpStream::connect(lab.port(0)).await.unwrap();
    third.write_all(b"too much").await.unwrap();
    assert_eq!(read_to_end(&mut third).await, (vec![], End::Rst));
    lab.logs(Part::A, "the peer's agent carries as many TCP connections").await;
    lab.logs(Part::B, "the peer's agent opens more TCP connections").await;
    lab.entry_becomes(Part::A, 0, "refuses", |entry| entry.at_limit && !entry.port_open).await;

    let Wire { mut source, mut target } = wires.remove(0);
    finish(&mut source).await;
    finish(&mut target).await;
    assert_eq!(read_to_end(&mut source).await, (vec![], End::Fin));
    lab.entry_becomes(Part::A, 0, "its port opens", |entry| entry.port_open).await;
    arrives_nothing(&listener, Wire::open(lab.port(0), &listener).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_those_that_never_said_a_byte_make_room_save_where_the_server_speaks_first() {
    let listener = listener().await;
    let lab = lab_with(Part::A, 3, &listener).await;
    // The oldest; its server speaks first.
    let mut greeted = TcpStream::connect(lab.port(0)).await.unwrap();
    let mut servers = Vec::new();
    let greeting = async {
        let mut heard = [0; 3];
        let reading = greeted.read_exact(&mut heard);
        let greet = async {
            loop {
                let (mut server, _) = listener.accept().await.unwrap();
                let _ = server.write_all(b"220").await;
                servers.push(server);
            }
        };
        tokio::select! {
            read = reading => assert_eq!(read.unwrap(), 3),
            () = greet => {}
        }
    };
    timeout(HANG_LIMIT, greeting).await.expect("it is greeted");
    let busy = Wire::open(lab.port(0), &listener).await;
    let mut silent = TcpStream::connect(lab.port(0)).await.unwrap();
    lab.entry_becomes(Part::A, 0, "is at its limit", |entry| entry.at_limit).await;
    assert_eq!(read_to_end(&mut silent).await, (vec![], End::Rst));
    let entry = lab.entry_becomes(Part::A, 0, "its port opens", |entry| entry.port_open).await;
    assert_eq!((entry.silent_reset, entry.streams_max), (1, 3));
    lab.logs(Part::A, "on which no byte had passed").await;
    greeted.write_all(b"HELO").await.unwrap();
    let heard = async {
        for server in &mut servers {
            if matches!(server.read(&mut [0; 8]).await, Ok(4)) {
                return true;
            }
        }
        false
    };
    assert!(timeout(HANG_LIMIT, heard).await.unwrap(), "it is carried still");
    drop(busy);
}

/// QUIC tells freed places by eighths of what it allows: none may stay untold.
#[tokio::test(flavor = "multi_thread")]
async fn every_place_that_becomes_free_is_taken_again() {
    const PLACES: usize = 64;
    const EIGHTH: usize = PLACES / 8;
    let listener = listener().await;
    let mut lab = Lab::written(&[(Protocol::Tcp, listener.local_addr().unwrap())]);
    for (part, section) in [(Part::A, "[[p2p_source]]"), (Part::B, "[[p2p_target]]")] {
        edit(&lab.config(part), |text| text.replace(section, &format!("{section}\nstreams_max = {PLACES}")));
    }
    lab.start_all().await;
    lab.port_open(0).await;
    let mut wires = VecDeque::new();
    for _ in 0..10 {
        while wires.len() < PLACES {
            wires.push_back(Wire::open(lab.port(0), &listener).await);
        }
        lab.port_refuses(0).await;
        for _ in 0..EIGHTH {
            let Wire { mut source, mut target } = wires.pop_front().unwrap();
            finish(&mut source).await;
            finish(&mut target).await;
            assert_eq!(read_to_end(&mut source).await, (vec![], End::Fin));
        }
        let has_room = |entry: &EntryStatus| entry.port_open && entry.streams == PLACES - EIGHTH;
        lab.entry_becomes(Part::A, 0, "an eighth of the places is free", has_room).await;
    }
}

/// The soft limit of open files of a running agent.
async fn allow_files(lab: &Lab, part: Part, files: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &lab.pid(part).to_string(), &format!("--nofile={files}:")]);
    let done = run(command).await;
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_descriptor_left_the_port_says_why_it_refuses() {
    let listener = listener().await;
    let lab = lab_with(Part::A, 8, &listener).await;
    // Fewer than it has already.
    allow_files(&lab, Part::A, "4").await;
    // It may be reset before it is told of its connection, or before this is written.
    if let Ok(mut waiting) = TcpStream::connect(lab.port(0)).await {
        let _ = waiting.write_all(b"never").await;
        assert_eq!(read_to_end(&mut waiting).await, (vec![], End::Rst));
    }
    lab.port_refuses(0).await;
    lab.logs(Part::A, "cannot accept on TCP").await;
    allow_files(&lab, Part::A, "1024").await;
    let opened = async {
        while TcpStream::connect(lab.port(0)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANG_LIMIT, opened).await.expect("it opens again");
    arrives_nothing(&listener, Wire::open(lab.port(0), &listener).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_a_file_descriptor_left_resets_blaming_its_own_host() {
    let listener = listener().await;
    let lab = lab_with(Part::A, 8, &listener).await;
    allow_files(&lab, Part::B, "4").await;
    if let Ok(mut waiting) = TcpStream::connect(lab.port(0)).await {
        let _ = waiting.write_all(b"never").await;
        assert_eq!(read_to_end(&mut waiting).await, (vec![], End::Rst));
    }
    lab.port_refuses(0).await;
    lab.logs(Part::B, "this agent cannot dial it").await;
    allow_files(&lab, Part::B, "1024").await;
    lab.port_open(0).await;
    arrives_nothing(&listener, Wire::open(lab.port(0), &listener).await).await;
}
