//! Programs at both ends of a tunnel, over real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::*;
use crate::transport::pair::{Pair, soon, tcp};
use crate::transport::tunnel::Tunnel;

const STALL_LIMIT: Duration = Duration::from_secs(1);

struct Nobody;

impl Observer for Nobody {
    fn request(&mut self, _bytes: &[u8]) {}
    fn response(&mut self, _bytes: &[u8]) {}
}

/// Two programs joined by a tunnel; each splice is a set of its own and can be dropped.
struct Joined {
    source: TcpStream,
    target: TcpStream,
    at_source: JoinSet<Ending>,
    at_target: JoinSet<Ending>,
    tunnel: Arc<Tunnel>,
    _frames: JoinSet<()>,
    _pair: Pair,
}

async fn joined() -> Joined {
    let (pair, mut frames) = (Pair::new(), JoinSet::new());
    let (near, far) = pair.tunnel(4, &mut frames).await;
    let (local, source) = tcp().await;
    let (remote, target) = tcp().await;
    let (mut at_source, mut at_target) = (JoinSet::new(), JoinSet::new());
    let stream = soon(near.open_stream()).await.unwrap();
    at_source
        .spawn(async { super::source(local, stream, Nobody, &ByteCounts::default(), STALL_LIMIT).await });
    let mut stream = soon(far.accept_stream()).await.unwrap();
    assert!(soon(read_header(&mut stream)).await);
    at_target
        .spawn(async { super::target(remote, stream, Nobody, &ByteCounts::default(), STALL_LIMIT).await });
    Joined { source, target, at_source, at_target, tunnel: near, _frames: frames, _pair: pair }
}

/// Returns bytes, and whether they ended rather than were cut.
async fn read_all(stream: &mut TcpStream) -> (usize, bool) {
    let mut bytes = Vec::new();
    let ended = soon(stream.read_to_end(&mut bytes)).await.is_ok();
    (bytes.len(), ended)
}

async fn ending(splice: &mut JoinSet<Ending>) -> Ending {
    soon(splice.join_next()).await.unwrap().unwrap()
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// Writes until nothing moves any more: every buffer on the way is full.
async fn stall(stream: &mut TcpStream) -> usize {
    let (chunk, mut written) = (vec![7; 64 * 1024], 0);
    while let Ok(more) = timeout(Duration::from_millis(500), stream.write(&chunk)).await.map(Result::unwrap) {
        written += more;
    }
    written
}

#[tokio::test]
async fn ends_pass_as_ends_in_both_directions() {
    let mut joined = joined().await;
    joined.source.write_all(&vec![1; 300_000]).await.unwrap();
    joined.source.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.target).await, (300_000, true));
    joined.target.write_all(&vec![2; 700_000]).await.unwrap();
    joined.target.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.source).await, (700_000, true));
    assert_eq!(ending(&mut joined.at_source).await, Ending::Finished);
    assert_eq!(ending(&mut joined.at_target).await, Ending::Finished);
}

#[tokio::test]
async fn a_reset_is_noticed_though_used_up_credit_stops_all_reading() {
    let mut joined = joined().await;
    stall(&mut joined.source).await;
    reset(joined.source);
    assert_eq!(ending(&mut joined.at_source).await, Ending::CutHere);
    assert_eq!(ending(&mut joined.at_target).await, Ending::CutThere);
    let (_, ended) = read_all(&mut joined.target).await;
    assert!(!ended, "a cut looked like an end");
}

/// Makes the socket vanish. From now on nothing that arrives at a socket is taken, nor acknowledged: its host
/// has vanished.
fn vanish(stream: &TcpStream) {
    const RETURN: u16 = 0x06;
    let nothing = [socket2::SockFilter::new(RETURN, 0, 0, 0)];
    socket2::Socket::from(std::os::fd::AsFd::as_fd(stream).try_clone_to_owned().unwrap())
        .attach_filter(&nothing)
        .unwrap();
}

#[tokio::test]
async fn a_receiver_whose_host_vanished_is_reset_after_the_stall_limit() {
    let mut joined = joined().await;
    joined.source.write_all(b"arrives").await.unwrap();
    soon(joined.target.read_exact(&mut [0; 7])).await.unwrap();
    vanish(&joined.target);
    joined.source.write_all(b"does not").await.unwrap();
    assert_eq!(ending(&mut joined.at_target).await, Ending::LocalLost);
    assert_eq!(ending(&mut joined.at_source).await, Ending::CutThere);
    assert_eq!(read_all(&mut joined.source).await, (0, false));
}

#[tokio::test]
async fn a_sender_whose_host_vanished_is_reset_once_it_owes_acknowledgements() {
    let mut joined = joined().await;
    vanish(&joined.source);
    joined.target.write_all(b"an acknowledgement").await.unwrap();
    assert_eq!(ending(&mut joined.at_source).await, Ending::LocalLost);
    assert_eq!(ending(&mut joined.at_target).await, Ending::CutThere);
}

#[tokio::test]
async fn a_receiver_that_only_stops_reading_is_kept_beyond_the_stall_limit() {
    let mut joined = joined().await;
    // The last of it lies in our kernel, and is not acknowledged before the receiver reads.
    let written = stall(&mut joined.source).await;
    let over = timeout(STALL_LIMIT * 3, joined.at_target.join_next()).await;
    assert!(over.is_err(), "a living receiver was cut");
    joined.source.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.target).await, (written, true));
}

#[tokio::test]
async fn a_receiver_that_wakes_up_gets_all_that_was_held_back() {
    let mut joined = joined().await;
    let written = stall(&mut joined.source).await;
    assert!(written >= usize::try_from(limits::STREAM_CREDIT_INITIAL).unwrap());
    joined.source.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.target).await, (written, true));
}

#[tokio::test]
async fn a_splice_dropped_at_either_end_is_a_cut_at_both() {
    for at_source in [true, false] {
        let mut joined = joined().await;
        joined.source.write_all(b"half a message").await.unwrap();
        let mut half = [0; 14];
        soon(joined.target.read_exact(&mut half)).await.unwrap();
        let (dropped, other) = if at_source {
            (&mut joined.at_source, &mut joined.at_target)
        } else {
            (&mut joined.at_target, &mut joined.at_source)
        };
        soon(dropped.shutdown()).await;
        assert_eq!(ending(other).await, Ending::CutThere);
        assert_eq!(read_all(&mut joined.target).await, (0, false));
        assert_eq!(read_all(&mut joined.source).await, (0, false));
    }
}

#[tokio::test]
async fn a_lost_tunnel_is_a_cut_whatever_had_ended_before() {
    let mut joined = joined().await;
    joined.target.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.source).await, (0, true));
    joined.source.write_all(b"half a message").await.unwrap();
    let mut half = [0; 14];
    soon(joined.target.read_exact(&mut half)).await.unwrap();
    joined.tunnel.connection().close(Code::Stalled);
    assert_eq!(ending(&mut joined.at_source).await, Ending::TunnelLost);
    assert_eq!(ending(&mut joined.at_target).await, Ending::TunnelLost);
    assert_eq!(read_all(&mut joined.target).await, (0, false));
    let writing = async { while joined.source.write_all(b"x").await.is_ok() {} };
    soon(writing).await;
}

#[tokio::test]
async fn a_splice_dropped_after_one_direction_ended_still_cuts_the_other() {
    let mut joined = joined().await;
    joined.source.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.target).await, (0, true));
    // More than the program at the source reads, so that the end waits behind it.
    stall(&mut joined.target).await;
    soon(joined.at_target.shutdown()).await;
    assert_eq!(ending(&mut joined.at_source).await, Ending::CutThere);
    let (_, ended) = read_all(&mut joined.source).await;
    assert!(!ended, "a cut looked like an end");
    let (_, ended) = read_all(&mut joined.target).await;
    assert!(ended, "what had ended stays ended");
}

#[tokio::test]
async fn a_peer_that_gave_up_is_noticed_after_all_it_said_was_received() {
    let mut joined = joined().await;
    joined.target.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.source).await, (0, true));
    soon(joined.at_target.shutdown()).await;
    assert_eq!(ending(&mut joined.at_source).await, Ending::CutThere);
}
