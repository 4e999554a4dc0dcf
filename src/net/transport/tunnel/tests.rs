//! Streams and frames between two ends, honest and not.

use std::future::poll_fn;
use std::task::Poll;

use tokio::task::JoinSet;

use super::*;
use crate::transport::pair::{Opened, Pair, soon};

/// Waits until what frames said is so.
async fn eventually(is_so: impl Fn() -> bool) {
    soon(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_dropped_before_its_end_is_cut_rather_than_ended() {
    let (pair, mut tasks) = (Pair::new(), JoinSet::new());
    let (source, target) = pair.tunnel(4, &mut tasks).await;
    let mut stream = soon(source.open_stream()).await.unwrap();
    stream.send.write_all(b"half a message").await.unwrap();
    let mut seen = soon(target.accept_stream()).await.unwrap();
    assert_eq!((source.streams_open(), target.streams_open()), (1, 1));
    drop(stream);
    let read = soon(seen.receive.read_to_end(100)).await;
    assert!(matches!(read, Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(_)))), "{read:?}");
    drop(seen);
    assert_eq!((source.streams_open(), target.streams_open()), (0, 0));
}

#[tokio::test]
async fn frames_reach_their_stream_unless_it_is_closed() {
    let (pair, mut tasks) = (Pair::new(), JoinSet::new());
    let (source, target) = pair.tunnel(4, &mut tasks).await;
    let stream = soon(source.open_stream()).await.unwrap();
    let seen = soon(target.accept_stream()).await.unwrap();
    source.send_frame(TunnelFrame::Credit { stream: seen.id, limit: u64::from(u32::MAX) });
    source.send_frame(TunnelFrame::Credit { stream: seen.id, limit: 1 });
    source.send_frame(TunnelFrame::Cut { stream: seen.id, at: 7 });
    eventually(|| seen.signals.cut_at() == Some(7)).await;
    assert_eq!(seen.signals.limit(), u64::from(u32::MAX));
    let id = stream.id;
    drop((stream, seen));
    for _ in 0..100 {
        source.send_frame(TunnelFrame::Cut { stream: id, at: 9 });
        source.send_frame(TunnelFrame::Credit { stream: id, limit: 9 });
    }
    source.send_mirth_state(true);
    eventually(|| *target.peer_mirth().borrow() == Some(true)).await;
    assert!(target.streams().early_cuts.is_empty() && target.streams().live.is_empty());
    assert!(!target.connection().is_closed());
}

#[tokio::test]
async fn a_bounded_number_of_cuts_that_overtook_their_streams_wait_for_them() {
    let (pair, mut tasks) = (Pair::new(), JoinSet::new());
    let (source, target) = pair.tunnel(4, &mut tasks).await;
    let stream = soon(source.open_stream()).await.unwrap();
    source.send_frame(TunnelFrame::Cut { stream: stream.id, at: 3 });
    eventually(|| !target.streams().early_cuts.is_empty()).await;
    assert_eq!(soon(target.accept_stream()).await.unwrap().signals.cut_at(), Some(3));
    assert!(target.streams().early_cuts.is_empty());

    let most = limits::quic_streams(4);
    for number in 0..u64::from(most) {
        source.send_frame(TunnelFrame::Cut { stream: 1_000 + number, at: 0 });
    }
    eventually(|| target.streams().early_cuts.len() == most as usize).await;
    assert!(!target.connection().is_closed());
    source.send_frame(TunnelFrame::Cut { stream: 2_000, at: 0 });
    let error = soon(source.connection().closed()).await;
    assert_eq!(error.peer_code(), Some(Code::Protocol));
}

#[tokio::test]
async fn a_frame_of_a_newer_peer_is_read_past_where_both_ends_agreed_that_it_may_be_sent() {
    let (pair, mut tasks) = (Pair::new(), JoinSet::new());
    let (source, target) = pair.tunnel(4, &mut tasks).await;
    assert!(source.connection().skips_unknown_frames() && target.connection().skips_unknown_frames());
    for kind in 0x40..=u8::MAX {
        source.send_frame(TunnelFrame::Unknown { kind });
    }
    source.send_mirth_state(true);
    eventually(|| *target.peer_mirth().borrow() == Some(true)).await;
    assert!(!target.connection().is_closed());
}

#[tokio::test]
async fn garbage_where_frames_belong_closes_the_tunnel() {
    let pair = Pair::new();
    let Opened { source: (source, mut asked), target: (target, answered) } = pair.opened(4).await;
    asked.send.write_all(&[0x7f; 40]).await.unwrap();
    let tunnel = Tunnel::new(target, 4);
    assert!(matches!(soon(tunnel.run(answered)).await, TransportError::Peer { .. }));
    assert_eq!(soon(source.closed()).await.peer_code(), Some(Code::Protocol));
}

#[tokio::test]
async fn frames_that_a_peer_does_not_read_have_a_bound() {
    let pair = Pair::new();
    let Opened { source: (source, _asked), target: (_target, _answered) } = pair.opened(4).await;
    let tunnel = Tunnel::new(source, 4);
    for _ in 0..FRAMES_QUEUED_BYTES_MAX / 2 {
        tunnel.send_mirth_state(true);
    }
    assert!(!tunnel.connection().is_closed());
    tunnel.send_mirth_state(true);
    assert!(tunnel.connection().is_closed());
}

#[tokio::test]
async fn no_more_streams_are_open_at_a_time_than_quic_is_told() {
    let (pair, mut tasks) = (Pair::new(), JoinSet::new());
    let (source, target) = pair.tunnel(2, &mut tasks).await;
    let mut streams = Vec::new();
    // The tunnel's own is one of them.
    for _ in 1..limits::quic_streams(2) {
        streams.push(soon(source.open_stream()).await.unwrap());
    }
    let mut third = std::pin::pin!(source.open_stream());
    poll_fn(|cx| {
        assert!(third.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    for _ in 0..streams.len() {
        drop(soon(target.accept_stream()).await.unwrap());
    }
    drop(streams);
    soon(third).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_has_its_place_waits_behind_what_fills_the_tunnel() {
    let (pair, mut tasks) = (Pair::new(), JoinSet::new());
    let (source, target) = pair.tunnel(4, &mut tasks).await;
    let mut bulk = soon(source.open_stream()).await.unwrap();
    // Nothing that is sent arrives, so all of the window stays under way.
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    pair.source.socket.set_route(pair.target.route, nowhere.local_addr().unwrap());
    let block = vec![7; 1024 * 1024];
    while timeout(Duration::from_millis(100), bulk.send.write_all(&block)).await.is_ok() {}
    let place_wait = Duration::from_millis(10);
    let mut opening = std::pin::pin!(source.open_stream_within(place_wait));
    assert!(timeout(place_wait * 10, &mut opening).await.is_err(), "it waits");
    pair.source.socket.set_route(pair.target.route, pair.target.socket.bound().unwrap());
    let opened = soon(async {
        let mut bulk = target.accept_stream().await.unwrap();
        let drained =
            async { while bulk.receive.read_chunk(usize::MAX, true).await.is_ok_and(|it| it.is_some()) {} };
        tokio::select! {
            opened = opening => opened,
            () = drained => panic!("the bulk goes on"),
        }
    });
    assert!(opened.await.is_ok());
}

#[tokio::test]
async fn streams_that_ended_never_keep_as_many_as_are_carried_from_being_opened() {
    const STREAMS: u32 = 32;
    let (pair, mut tasks) = (Pair::new(), JoinSet::new());
    let (source, target) = pair.tunnel(STREAMS, &mut tasks).await;
    // However many ended before, and an eighth of them untold.
    for ended in [0, 1, 3, 7, 15] {
        for _ in 0..ended {
            let stream = soon(source.open_stream()).await.unwrap();
            drop(soon(target.accept_stream()).await.unwrap());
            drop(stream);
        }
        let mut open = Vec::new();
        for _ in 0..STREAMS {
            open.push(soon(source.open_stream()).await.unwrap());
        }
        for _ in 0..STREAMS {
            drop(soon(target.accept_stream()).await.unwrap());
        }
    }
}
