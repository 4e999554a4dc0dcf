//! Joins one TCP connection to one stream, byte for byte, in both directions at once.
//!
//! An end passes as an end, a cut as a cut (DESIGN §5): FIN ↔ FIN, RST ↔ a cut at an offset that
//! takes effect after the bytes before it reached the far socket, a lost tunnel → RST. Idle
//! connections hold no buffer; a stalled one holds its credit and nothing else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use quinn::{ReadError, WriteError};
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::stream_window::{Overrun, ReceiveWindow, SendWindow};
use super::tunnel::DataStream;
use super::unsent;
use adit_core::domain::limits;
use adit_core::protocol::frame::{Code, STREAM_HEADER, TunnelFrame};

/// Local sockets are read into blocks of this size, shared by all connections of a thread.
const READ_BLOCK_BYTES: usize = 256 * 1024;
/// Less room than this is not worth a system call.
const READ_ROOM_MIN: usize = 16 * 1024;
/// Packets' payloads gathered into one write to the local socket.
const GATHERED_MAX: usize = 64;
/// Turns a busy connection takes before others get theirs.
const TURNS_MAX: usize = 16;

thread_local! {
    static READ_BLOCK: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    static GATHERED: RefCell<[Bytes; GATHERED_MAX]> = const { RefCell::new([const { Bytes::new() }; GATHERED_MAX]) };
}

/// Watches the bytes of one connection in passing.
pub trait Observer: Send {
    /// Sees bytes from the source's Mirth to the target's.
    fn request(&mut self, bytes: &[u8]);
    /// Sees bytes from the target's Mirth to the source's.
    fn response(&mut self, bytes: &[u8]);

    /// Returns whether nothing may begin any more, because one of the agents stops.
    fn is_ending(&self) -> bool {
        false
    }

    /// Returns whether more of the requests may be read; once it is not, it never is again.
    fn takes_requests(&self) -> bool {
        true
    }

    /// Returns whether the connection is to be ended because it is at rest. Asked when bytes have passed and
    /// when the connection's task is woken.
    fn is_at_rest(&self) -> bool {
        false
    }
}

/// Bytes carried, by direction, for those who ask.
#[derive(Debug, Default)]
pub struct ByteCounts {
    pub into_tunnel: AtomicU64,
    pub out_of_tunnel: AtomicU64,
}

/// How a TCP connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both directions ended with FIN.
    Finished,
    /// The local socket was reset.
    CutHere,
    /// The local socket's far side acknowledged nothing for the stall limit.
    LocalLost,
    /// The far socket was reset, or the far agent gave up.
    CutThere,
    /// The far agent carries as many streams as its file allows.
    FullThere,
    /// The tunnel was lost or closed.
    TunnelLost,
    /// It was at rest, and its observer wanted it ended.
    PutToRest,
}

impl Ending {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "both directions ended",
            Self::CutHere => "the local socket was reset",
            Self::LocalLost => "the local socket's far side was silent",
            Self::CutThere => "the far socket was reset",
            Self::FullThere => "the peer carries no more",
            Self::TunnelLost => "the tunnel was lost",
            Self::PutToRest => "it was at rest while an agent stops",
        }
    }
}

/// Does the source's end: `tcp` was accepted from the local Mirth. A local side that acknowledges nothing for
/// `stall_limit` is taken for lost.
pub async fn source(
    tcp: TcpStream,
    stream: DataStream,
    observer: impl Observer,
    counts: &ByteCounts,
    stall_limit: Duration,
) -> Ending {
    Splice::new(tcp, stream, observer, counts, (true, stall_limit)).run().await
}

/// Does the target's end: `tcp` was dialled to the local Mirth. The header must have been read.
pub async fn target(
    tcp: TcpStream,
    stream: DataStream,
    observer: impl Observer,
    counts: &ByteCounts,
    stall_limit: Duration,
) -> Ending {
    Splice::new(tcp, stream, observer, counts, (false, stall_limit)).run().await
}

/// Reads the byte that opens every data stream.
pub async fn read_header(stream: &mut DataStream) -> bool {
    let mut header = [0];
    stream.receive.read_exact(&mut header).await.is_ok() && header == [STREAM_HEADER]
}

struct Splice<'a, O> {
    tcp: Arc<TcpStream>,
    stream: DataStream,
    observer: O,
    counts: &'a ByteCounts,
    at_source: bool,
    stall_limit: Duration,
    up: Up,
    down: Down,
}

/// From the local socket into the tunnel.
struct Up {
    window: SendWindow,
    unsent: Bytes,
    state: UpState,
    /// Notices a reset of the local socket while nothing is read from it.
    watch: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UpState {
    Open,
    /// FIN was read; what is unsent goes first.
    Ending,
    Ended,
}

/// From the tunnel to the local socket.
struct Down {
    window: ReceiveWindow,
    /// Received, and not taken by the local socket. The peer's credit bounds it.
    unwritten: VecDeque<Bytes>,
    delivered: u64,
    state: DownState,
    /// Notices that the peer gave up after all it had to say was received.
    watch: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Follows what was written until the local side has acknowledged it.
    unanswered: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DownState {
    Open,
    /// The stream ended; what is unwritten goes first.
    Ending,
    Ended,
}

/// Why the two directions stopped before both ended.
enum Stop {
    LocalReset,
    LocalLost,
    PeerCut,
    PeerFull,
    TunnelLost,
    AtRest,
}

impl Stop {
    /// Returns what the code says with which the peer gave up.
    fn of_code(code: quinn::VarInt) -> Self {
        match Code::from_u64(code.into_inner()) {
            Some(Code::Full) => Self::PeerFull,
            _ => Self::PeerCut,
        }
    }
}

impl<'a, O: Observer> Splice<'a, O> {
    fn new(
        tcp: TcpStream,
        stream: DataStream,
        observer: O,
        counts: &'a ByteCounts,
        (at_source, stall_limit): (bool, Duration),
    ) -> Self {
        let window = ReceiveWindow::new(&stream.tunnel);
        Self {
            tcp: Arc::new(tcp),
            observer,
            counts,
            at_source,
            stall_limit,
            up: Up { window: SendWindow::default(), unsent: Bytes::new(), state: UpState::Open, watch: None },
            down: Down {
                window,
                unwritten: VecDeque::new(),
                delivered: 0,
                state: DownState::Open,
                watch: None,
                unanswered: None,
            },
            stream,
        }
    }

    async fn run(mut self) -> Ending {
        debug!(stall_limit = ?self.stall_limit, "a TCP connection and its stream are joined");
        let ending = self.run_to_end().await;
        let Self { up, down, .. } = &self;
        up.window.end_unfinished();
        debug!(
            ending = ending.as_str(),
            sent = up.window.sent(),
            received = down.window.received(),
            delivered = down.delivered,
            stalled = up.window.stalls(),
            "a TCP connection and its stream have ended"
        );
        ending
    }

    async fn run_to_end(&mut self) -> Ending {
        let connection = self.stream.tunnel.connection().clone();
        // Who waits for a local socket alone must hear of the loss too.
        let mut lost = pin!(connection.closed());
        let spliced = poll_fn(|cx| match self.poll(cx) {
            Poll::Pending => lost.as_mut().poll(cx).map(|_| Err(Stop::TunnelLost)),
            done @ Poll::Ready(_) => done,
        });
        match spliced.await {
            Ok(()) => {
                // A tunnel that ends next would take with it what the peer has not received.
                if self.observer.is_ending() {
                    let _ = timeout(limits::RESET_DRAIN_TIMEOUT, self.stream.stopped()).await;
                }
                Ending::Finished
            }
            Err(Stop::AtRest) => {
                unsent::drained(&self.tcp, limits::RESET_DRAIN_TIMEOUT).await;
                self.send_cut().await;
                Ending::PutToRest
            }
            Err(Stop::LocalReset) => {
                self.send_cut().await;
                Ending::CutHere
            }
            Err(Stop::LocalLost) => {
                self.send_cut().await;
                Ending::LocalLost
            }
            Err(Stop::PeerCut) => {
                // A reset discards what the local socket has not taken yet.
                unsent::drained(&self.tcp, limits::RESET_DRAIN_TIMEOUT).await;
                self.cut_local();
                self.stream.give_up(Code::Cut);
                Ending::CutThere
            }
            Err(Stop::PeerFull) => {
                // Nothing of it was delivered, so nothing came back either.
                self.cut_local();
                self.stream.give_up(Code::Cut);
                Ending::FullThere
            }
            Err(Stop::TunnelLost) => {
                self.cut_local();
                Ending::TunnelLost
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        self.up.window.refresh(&self.stream.signals, cx);
        let up = self.poll_up(cx)?;
        let down = self.poll_down(cx)?;
        self.poll_unanswered(cx)?;
        if self.up.state == UpState::Ended && self.down.state == DownState::Ended {
            return Poll::Ready(Ok(()));
        }
        let is_passed_on = self.up.unsent.is_empty() && self.down.unwritten.is_empty();
        if is_passed_on && self.observer.is_at_rest() {
            return Poll::Ready(Err(Stop::AtRest));
        }
        // Out of turns, not out of work: let others run first.
        if up == Turn::Yield || down == Turn::Yield {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<Turn, Stop> {
        for _ in 0..TURNS_MAX {
            if !self.up.unsent.is_empty() {
                match self.poll_send(cx) {
                    Poll::Ready(moved) => moved?,
                    Poll::Pending => return self.watch_local(cx),
                }
                continue;
            }
            match self.up.state {
                UpState::Open if self.up.window.is_used_up() => return self.watch_local(cx),
                UpState::Open if !self.observer.takes_requests() => match self.poll_end_local(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(stop)) => return Err(stop),
                    Poll::Pending => return Ok(Turn::Wait),
                },
                UpState::Open => match self.poll_read_local(cx) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => return Ok(Turn::Wait),
                },
                UpState::Ending => {
                    self.stream.finish();
                    self.up.state = UpState::Ended;
                }
                UpState::Ended => {
                    if self.down.state == DownState::Ended {
                        return Ok(Turn::Wait);
                    }
                    return self.watch_local(cx);
                }
            }
        }
        Ok(Turn::Yield)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let Up { window, unsent, .. } = &mut self.up;
        window.poll_write(&mut self.stream.send, unsent, self.counts, cx).map_err(|error| match error {
            WriteError::Stopped(code) => Stop::of_code(code),
            WriteError::ClosedStream => Stop::PeerCut,
            WriteError::ConnectionLost(_) | WriteError::ZeroRttRejected => Stop::TunnelLost,
        })
    }

    fn poll_read_local(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if ready!(self.tcp.poll_read_ready(cx)).is_err() {
            return Poll::Ready(Err(Stop::LocalReset));
        }
        let read = READ_BLOCK.with_borrow_mut(|block| {
            if block.capacity() < READ_ROOM_MIN {
                block.reserve(READ_BLOCK_BYTES);
            }
            let read = self.tcp.try_read_buf(block)?;
            Ok::<_, io::Error>((read, block.split().freeze()))
        });
        Poll::Ready(match read {
            Ok((0, _)) => {
                self.up.state = UpState::Ending;
                Ok(())
            }
            Ok((_, bytes)) => {
                if self.at_source {
                    self.observer.request(&bytes);
                } else {
                    self.observer.response(&bytes);
                }
                self.up.unsent = bytes;
                Ok(())
            }
            // The readiness was stale; asking again registers for the next.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Stop::LocalReset),
        })
    }

    /// Notices an end of the local socket and leaves what can be read.
    fn poll_end_local(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let mut byte = [0];
        match ready!(self.tcp.poll_peek(cx, &mut ReadBuf::new(&mut byte))) {
            Ok(0) => {
                self.up.state = UpState::Ending;
                Poll::Ready(Ok(()))
            }
            Ok(_) => match self.watch_local(cx) {
                Ok(_) => Poll::Pending,
                Err(stop) => Poll::Ready(Err(stop)),
            },
            Err(_) => Poll::Ready(Err(Stop::LocalReset)),
        }
    }

    /// Watches the local socket: while nothing is read from the local socket, only its error state tells of a
    /// reset.
    fn watch_local(&mut self, cx: &mut Context<'_>) -> Result<Turn, Stop> {
        loop {
            let tcp = &self.tcp;
            let watch = self.up.watch.get_or_insert_with(|| {
                let tcp = Arc::clone(tcp);
                Box::pin(async move {
                    let _ = tcp.ready(Interest::ERROR).await;
                })
            });
            if watch.as_mut().poll(cx).is_pending() {
                return Ok(Turn::Wait);
            }
            self.up.watch = None;
            if !matches!(self.tcp.take_error(), Ok(None)) {
                return Err(Stop::LocalReset);
            }
            // A false alarm; forgotten, so that the next is not missed.
            let _ = self.tcp.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<Turn, Stop> {
        for _ in 0..TURNS_MAX {
            if !self.down.unwritten.is_empty() {
                match self.poll_write_local(cx) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => return self.poll_store(cx),
                }
                continue;
            }
            if self.stream.signals.cut_at().is_some_and(|at| self.down.delivered >= at) {
                return Err(Stop::PeerCut);
            }
            match self.down.state {
                DownState::Open => match self.poll_receive(cx, Self::write_local) {
                    Poll::Ready(received) => received?,
                    Poll::Pending => return Ok(Turn::Wait),
                },
                DownState::Ending => {
                    self.end_local()?;
                    self.down.state = DownState::Ended;
                }
                DownState::Ended => return self.watch_peer(cx),
            }
        }
        Ok(Turn::Yield)
    }

    /// Polls for silence. Idle connections have no timer: it runs from a write until nothing is owed.
    fn poll_unanswered(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        if let Some(unanswered) = &mut self.down.unanswered
            && let Poll::Ready(is_lost) = unanswered.as_mut().poll(cx)
        {
            self.down.unanswered = None;
            if is_lost {
                return Err(Stop::LocalLost);
            }
        }
        Ok(())
    }

    /// Stores what arrives. While the local socket takes nothing, what arrives is copied out of the packets
    /// it came in: a small piece would keep a whole batch of them, and hundreds of streams may stand still.
    fn poll_store(&mut self, cx: &mut Context<'_>) -> Result<Turn, Stop> {
        for _ in 0..TURNS_MAX {
            if self.down.state != DownState::Open {
                return self.watch_peer(cx);
            }
            let store = |splice: &mut Self, gathered: &mut [Bytes]| {
                splice.store(gathered);
                Ok(())
            };
            match self.poll_receive(cx, store) {
                Poll::Ready(received) => received?,
                Poll::Pending => return Ok(Turn::Wait),
            }
        }
        Ok(Turn::Yield)
    }

    /// Watches the peer: once nothing more can be read from the stream, only the other direction tells of a
    /// peer that gave up.
    fn watch_peer(&mut self, cx: &mut Context<'_>) -> Result<Turn, Stop> {
        let stream = &self.stream;
        let watch = self.down.watch.get_or_insert_with(|| Box::pin(stream.given_up()));
        if watch.as_mut().poll(cx).is_ready() { Err(Stop::PeerCut) } else { Ok(Turn::Wait) }
    }

    /// Hands what arrived to `then`.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        then: fn(&mut Self, &mut [Bytes]) -> Result<(), Stop>,
    ) -> Poll<Result<(), Stop>> {
        GATHERED.with_borrow_mut(|gathered| {
            let received = ready!(pin!(self.stream.receive.read_chunks(&mut gathered[..])).poll(cx));
            Poll::Ready(match received {
                Ok(Some(count)) => {
                    self.note_received(&gathered[..count])?;
                    then(self, &mut gathered[..count])
                }
                Ok(None) => {
                    self.down.state = DownState::Ending;
                    Ok(())
                }
                Err(ReadError::Reset(code)) => Err(Stop::of_code(code)),
                Err(ReadError::ClosedStream | ReadError::IllegalOrderedRead) => Err(Stop::PeerCut),
                Err(ReadError::ConnectionLost(_) | ReadError::ZeroRttRejected) => Err(Stop::TunnelLost),
            })
        })
    }

    fn note_received(&mut self, gathered: &[Bytes]) -> Result<(), Stop> {
        let mut received = 0;
        for bytes in gathered {
            received += bytes.len();
            if self.at_source {
                self.observer.response(bytes);
            } else {
                self.observer.request(bytes);
            }
        }
        let within = self.down.window.handle_received(received, &self.stream.tunnel);
        within.map_err(|Overrun| Stop::TunnelLost)
    }

    /// Writes what just arrived; what the local socket does not take waits.
    fn write_local(&mut self, gathered: &mut [Bytes]) -> Result<(), Stop> {
        let mut slices = [IoSlice::new(&[]); GATHERED_MAX];
        for (slice, bytes) in slices.iter_mut().zip(gathered.iter()) {
            *slice = IoSlice::new(bytes);
        }
        let mut written = match self.tcp.try_write_vectored(&slices[..gathered.len()]) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(Stop::LocalReset),
        };
        self.handle_delivered(written);
        for bytes in gathered.iter_mut() {
            let taken = written.min(bytes.len());
            written -= taken;
            bytes.advance(taken);
        }
        self.store(gathered);
        Ok(())
    }

    /// Keeps what the local socket did not take, together.
    fn store(&mut self, gathered: &mut [Bytes]) {
        let mut stored = BytesMut::with_capacity(gathered.iter().map(Bytes::len).sum());
        for bytes in gathered {
            stored.extend_from_slice(&std::mem::take(bytes));
        }
        if !stored.is_empty() {
            self.down.unwritten.push_back(stored.freeze());
        }
    }

    fn poll_write_local(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if ready!(self.tcp.poll_write_ready(cx)).is_err() {
            return Poll::Ready(Err(Stop::LocalReset));
        }
        let mut slices = [IoSlice::new(&[]); GATHERED_MAX];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.down.unwritten) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        match self.tcp.try_write_vectored(&slices[..count]) {
            Ok(written) => {
                self.handle_delivered(written);
                self.forget_written(written);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(Err(Stop::LocalReset)),
        }
    }

    fn forget_written(&mut self, mut written: usize) {
        while let Some(front) = self.down.unwritten.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.down.unwritten.pop_front();
        }
        // Idle connections hold no buffer.
        self.down.unwritten = VecDeque::new();
    }

    fn handle_delivered(&mut self, bytes: usize) {
        if bytes > 0 {
            let (tcp, limit) = (&self.tcp, self.stall_limit);
            self.down.unanswered.get_or_insert_with(|| {
                let tcp = Arc::clone(tcp);
                Box::pin(async move { unsent::is_lost(&*tcp, limit).await })
            });
        }
        let bytes = bytes as u64;
        self.down.delivered += bytes;
        let tcp = &self.tcp;
        let queued = || unsent::unacknowledged(&**tcp).map_or(0, |bytes| bytes as u64);
        let DataStream { tunnel, id, .. } = &self.stream;
        self.down.window.handle_delivered(bytes, (tunnel, *id), self.counts, queued);
    }

    /// Passes a genuine end: from here until the other direction is cut, closing is no cut.
    fn end_local(&self) -> Result<(), Stop> {
        let socket = socket2::SockRef::from(&*self.tcp);
        let ended = socket.set_linger(None).and_then(|()| socket.shutdown(std::net::Shutdown::Write));
        ended.map_err(|_| Stop::LocalReset)
    }

    /// Closes the local socket with RST.
    fn cut_local(&self) {
        // A socket that takes no option any more is gone already.
        let _ = self.tcp.set_zero_linger();
    }

    /// Tells the peer that the local socket was reset: the far one is cut once it has what came before.
    async fn send_cut(&mut self) {
        self.cut_local();
        let told = async {
            while !self.up.unsent.is_empty() {
                let sent = poll_fn(|cx| {
                    self.up.window.refresh(&self.stream.signals, cx);
                    self.poll_send(cx)
                });
                if sent.await.is_err() {
                    return;
                }
            }
            let cut = TunnelFrame::Cut { stream: self.stream.id, at: self.up.window.sent() };
            self.stream.tunnel.send_frame(cut);
            // The far agent stops the stream when its socket has everything before the cut. Until
            // then a code on the stream would overtake those bytes.
            self.stream.stopped().await;
        };
        let _ = timeout(limits::RESET_DRAIN_TIMEOUT, told).await;
        self.stream.give_up(Code::Cut);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Wait,
    Yield,
}

#[cfg(test)]
mod tests;
