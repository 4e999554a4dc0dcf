//! The programs at both ends, as far as the promises need them: the source opens streams, sends
//! seeded bytes at a seeded pace and ends them; the target echoes what it reads and ends when it has
//! read the end. Every byte and every end is judged where it arrives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use adit_core::protocol::frame::{STREAM_HEADER, TunnelFrame};
use quinn_proto::{Connection, Dir, ReadError, StreamId, WriteError};

use crate::flow::{Flow, Frames};
use crate::ledger::{Direction, Fate, PIECE_MAX, content};
use crate::log::Promise;
use crate::random::Random;
use crate::scene::Scene;

/// Streams of a run at a time.
pub(crate) const STREAMS_MAX: u32 = 8;
/// The product's one byte and the stream's number.
const HEADER_BYTES: u64 = 9;

/// What a run's source does, drawn once.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub streams_max: usize,
    pub bytes_max: u64,
    pub chunk_max: u64,
    pub pause_millis: u64,
    pub open_every_millis: u64,
}

impl Workload {
    /// Always a few streams under way, a few kilobytes a second.
    pub(crate) fn steady() -> Self {
        Self { streams_max: 4, bytes_max: 1_000, chunk_max: 400, pause_millis: 200, open_every_millis: 300 }
    }

    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            streams_max: usize::try_from(random.between(1, u64::from(STREAMS_MAX) - 1)).unwrap(),
            // Most stay below their first credit; some need more.
            bytes_max: if random.hits(40) { 600_000 } else { random.pick(&[400, 4_000, 20_000, 60_000]) },
            chunk_max: random.pick(&[200, 2_000, 10_000]),
            pause_millis: random.pick(&[50, 500, 3_000]),
            open_every_millis: random.pick(&[1_000, 4_000, 10_000]),
        }
    }
}

/// The source's program. It outlives tunnels: what breaks is not repeated, new streams are opened.
#[derive(Debug)]
pub(crate) struct Program {
    pub workload: Workload,
    pub opens: bool,
    random: Random,
    next_open: Instant,
}

impl Program {
    pub(crate) fn new(workload: Workload, random: Random, now: Instant) -> Self {
        Self { workload, opens: true, random, next_open: now }
    }

    /// From now on opens a short stream now and then.
    pub(crate) fn rest(&mut self) {
        self.workload = Workload { open_every_millis: 10_000, ..self.workload.clone() };
    }

    /// From now on opens short streams, one after the other.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.workload = Workload {
            streams_max: STREAMS_MAX as usize - 1,
            bytes_max: self.workload.bytes_max.min(4_000),
            chunk_max: 2_000,
            pause_millis: 50,
            open_every_millis: 200,
        };
        self.next_open = now;
    }
}

/// The streams of one tunnel at one of its ends.
#[derive(Debug)]
pub(crate) struct Traffic {
    frames: Frames,
    asking: BTreeMap<StreamId, Asking>,
    answering: BTreeMap<StreamId, Answering>,
}

/// A stream at the source.
#[derive(Debug)]
struct Asking {
    flow: Flow,
    number: u64,
    size: u64,
    /// Header included, as `released`.
    written: u64,
    /// What the program has handed over so far.
    released: u64,
    due: Instant,
    ended: bool,
    echo_ended: bool,
}

/// A stream at the target.
#[derive(Debug)]
struct Answering {
    flow: Flow,
    header: Vec<u8>,
    number: Option<u64>,
    received: u64,
    echoed: u64,
    ended: bool,
    echo_ended: bool,
}

impl Traffic {
    /// Of a tunnel that was opened on this stream.
    pub(crate) fn new(first: StreamId) -> Self {
        Self { frames: Frames::new(first), asking: BTreeMap::new(), answering: BTreeMap::new() }
    }

    /// Until the program does something of its own accord.
    pub(crate) fn poll_timeout(&self, program: Option<&Program>) -> Option<Instant> {
        let due = self.asking.values().filter(|asking| asking.released < asking.size + HEADER_BYTES);
        let open =
            program.filter(|program| program.opens && self.asking.len() < program.workload.streams_max);
        due.map(|asking| asking.due).chain(open.map(|program| program.next_open)).min()
    }

    /// The source's side: opens, writes what is due, reads echoes.
    pub(crate) fn ask(&mut self, connection: &mut Connection, program: &mut Program, scene: &mut Scene) {
        for (stream, limit) in self.frames.read(connection, scene) {
            let mut flows = self.asking.values_mut().map(|asking| &mut asking.flow);
            flows.find(|flow| flow.stream() == stream).into_iter().for_each(|flow| flow.grant(limit));
        }
        self.open(connection, program, scene);
        for (&id, asking) in &mut self.asking {
            asking.write(connection, id, program, scene);
            asking.read(connection, id, &mut self.frames, scene);
        }
        self.asking.retain(|_, asking| !asking.echo_ended);
        self.frames.write(connection, scene);
    }

    /// The target's side: accepts, reads, echoes.
    pub(crate) fn answer(&mut self, connection: &mut Connection, scene: &mut Scene) {
        for (stream, limit) in self.frames.read(connection, scene) {
            let mut flows = self.answering.values_mut().map(|answering| &mut answering.flow);
            flows.find(|flow| flow.stream() == stream).into_iter().for_each(|flow| flow.grant(limit));
        }
        while let Some(id) = connection.streams().accept(Dir::Bi) {
            self.answering.insert(id, Answering::new(self.frames.flow(id)));
        }
        let most = STREAMS_MAX as usize + 1;
        scene.demand(
            self.answering.len() <= most,
            Promise::Bounded,
            format_args!("more than {most} streams"),
        );
        for (&id, answering) in &mut self.answering {
            answering.read(connection, id, &mut self.frames, scene);
            answering.write(connection, id, scene);
        }
        self.answering.retain(|_, answering| !answering.echo_ended);
        self.frames.write(connection, scene);
    }

    /// The peer is told whether the Mirth here answers.
    pub(crate) fn tell_mirth(&mut self, answers: bool) {
        self.frames.tell(TunnelFrame::Mirth { answers });
    }

    /// What the peer said of its Mirth, once.
    pub(crate) fn take_mirth(&mut self) -> Option<bool> {
        self.frames.mirth.take()
    }

    /// The tunnel is gone, and what it carried is broken.
    pub(crate) fn cut(&mut self, scene: &mut Scene) {
        for asking in self.asking.values() {
            if let Some(record) =
                scene.ledger.get(asking.number).filter(|record| record.fate == Fate::Running)
            {
                record.fate = Fate::Broken;
                scene.tally.streams_broken += 1;
            }
        }
        self.asking.clear();
        self.answering.clear();
    }

    fn open(&mut self, connection: &mut Connection, program: &mut Program, scene: &mut Scene) {
        if !program.opens
            || program.next_open > scene.now
            || self.asking.len() >= program.workload.streams_max
        {
            return;
        }
        let Some(id) = connection.streams().open(Dir::Bi) else {
            // The peer has not yet told that earlier ones are over.
            program.next_open = scene.now + Duration::from_millis(50);
            return;
        };
        let size = program.random.between(1, program.workload.bytes_max);
        let number = scene.ledger.open(size, scene.now);
        let asking = Asking {
            flow: self.frames.flow(id),
            number,
            size,
            written: 0,
            released: HEADER_BYTES,
            due: scene.now,
            ended: false,
            echo_ended: false,
        };
        self.asking.insert(id, asking);
        program.next_open = scene.now + program.random.millis(10, program.workload.open_every_millis);
    }
}

impl Asking {
    fn write(&mut self, connection: &mut Connection, id: StreamId, program: &mut Program, scene: &mut Scene) {
        let all = self.size + HEADER_BYTES;
        if self.due <= scene.now && self.released < all {
            self.released = (self.released + program.random.between(1, program.workload.chunk_max)).min(all);
            self.due = scene.now + program.random.millis(0, program.workload.pause_millis);
        }
        while self.written < self.released {
            let header = [&[STREAM_HEADER][..], &self.number.to_be_bytes()].concat();
            let bytes = match self.written.checked_sub(HEADER_BYTES) {
                None => &header[usize::try_from(self.written).unwrap()..],
                Some(offset) => {
                    let left = (self.released - self.written).min(self.flow.room(offset)).min(PIECE_MAX);
                    content(self.number, Direction::There, offset, left)
                }
            };
            if bytes.is_empty() {
                scene.tally.without_credit += 1;
                break;
            }
            match connection.send_stream(id).write(bytes) {
                Ok(count) => self.written += count as u64,
                Err(WriteError::Blocked) => break,
                Err(error) => return stray(scene, self.number, &error),
            }
        }
        let Some(record) = scene.ledger.get(self.number) else { return };
        record.sent = self.written.saturating_sub(HEADER_BYTES);
        if self.written == all && !self.ended {
            self.ended = true;
            record.sent_end = true;
            if let Err(error) = connection.send_stream(id).finish() {
                stray(scene, self.number, &error);
            }
        }
    }

    fn read(&mut self, connection: &mut Connection, id: StreamId, frames: &mut Frames, scene: &mut Scene) {
        let (number, now, round_trip) = (self.number, scene.now, connection.rtt());
        let flow = &mut self.flow;
        let outcome = read(connection, id, |bytes| {
            let Some(record) = scene.ledger.get(number) else { return };
            let at = record.acknowledged;
            let holds = is_content(number, Direction::Back, at, bytes);
            record.acknowledged += bytes.len() as u64;
            let (arrived, acknowledged) = (record.received, record.acknowledged);
            scene.demand(
                holds,
                Promise::Exact,
                format_args!("stream {number}: the echo differs at byte {at}"),
            );
            let what = format_args!("stream {number}: {acknowledged} bytes were, {arrived} arrived");
            scene.demand(acknowledged <= arrived, Promise::Acknowledged, what);
            let within = flow.take(bytes.len() as u64, acknowledged, round_trip, now, frames);
            scene.demand(within, Promise::Bounded, format_args!("stream {number}: more than was granted"));
        });
        match outcome {
            Read::Open => {}
            Read::Ended => {
                self.echo_ended = true;
                let Some(record) = scene.ledger.get(number) else { return };
                record.fate = Fate::Complete(now);
                let (size, acknowledged) = (record.size, record.acknowledged);
                let what =
                    format_args!("stream {number}: the echo ended after {acknowledged} of {size} bytes");
                scene.demand(acknowledged == size, Promise::Exact, what);
                scene.tally.streams += 1;
            }
            Read::Broken(why) => stray(scene, number, &why),
        }
    }
}

impl Answering {
    fn new(flow: Flow) -> Self {
        let (number, received, echoed) = (None, 0, 0);
        Self { flow, header: Vec::new(), number, received, echoed, ended: false, echo_ended: false }
    }

    fn read(&mut self, connection: &mut Connection, id: StreamId, frames: &mut Frames, scene: &mut Scene) {
        if self.ended {
            return;
        }
        let round_trip = connection.rtt();
        let outcome = read(connection, id, |bytes| self.take(bytes, round_trip, frames, scene));
        match outcome {
            Read::Open => {}
            Read::Ended => {
                self.ended = true;
                self.judge_end(scene);
            }
            Read::Broken(why) => stray(scene, self.number.unwrap_or(u64::MAX), &why),
        }
    }

    fn take(&mut self, bytes: &[u8], round_trip: Duration, frames: &mut Frames, scene: &mut Scene) {
        let missing = (usize::try_from(HEADER_BYTES).unwrap() - self.header.len()).min(bytes.len());
        let (header, bytes) = bytes.split_at(missing);
        self.header.extend_from_slice(header);
        if self.number.is_none() && self.header.len() as u64 == HEADER_BYTES {
            self.meet(scene);
        }
        let Some(number) = self.number else { return };
        let Some(record) = scene.ledger.get(number) else { return };
        let at = self.received;
        self.received += bytes.len() as u64;
        record.received = self.received;
        let sent = record.sent;
        let holds = is_content(number, Direction::There, at, bytes) && self.received <= sent;
        scene.demand(
            holds,
            Promise::Exact,
            format_args!("stream {number}: what arrives differs at byte {at}"),
        );
        let within = self.flow.take(bytes.len() as u64, self.received, round_trip, scene.now, frames);
        scene.demand(within, Promise::Bounded, format_args!("stream {number}: more than was granted"));
    }

    /// The header is whole: a number that the source gave, and never seen before.
    fn meet(&mut self, scene: &mut Scene) {
        let number = self.header[1..].try_into().map_or(u64::MAX, u64::from_be_bytes);
        let header = self.header[0];
        let record = scene.ledger.get(number);
        let is_new = record.is_some_and(|record| !std::mem::replace(&mut record.met, true));
        let what =
            format_args!("a stream with the header {header} and the number {number} came twice or never was");
        scene.demand(is_new && header == STREAM_HEADER, Promise::Exact, what);
        self.number = Some(number);
    }

    fn judge_end(&mut self, scene: &mut Scene) {
        let number = self.number.unwrap_or(u64::MAX);
        let is_true = scene.ledger.get(number).is_some_and(|record| {
            record.received_end = true;
            record.sent_end && record.received == record.size
        });
        let received = self.received;
        let what = format_args!("stream {number}: an end was heard after {received} bytes that nobody said");
        scene.demand(is_true, Promise::Exact, what);
    }

    fn write(&mut self, connection: &mut Connection, id: StreamId, scene: &mut Scene) {
        let Some(number) = self.number else { return };
        while self.echoed < self.received {
            let left = (self.received - self.echoed).min(self.flow.room(self.echoed)).min(PIECE_MAX);
            if left == 0 {
                return;
            }
            match connection.send_stream(id).write(content(number, Direction::Back, self.echoed, left)) {
                Ok(count) => self.echoed += count as u64,
                Err(WriteError::Blocked) => return,
                Err(error) => return stray(scene, number, &error),
            }
        }
        if self.ended && !self.echo_ended {
            self.echo_ended = true;
            if let Err(error) = connection.send_stream(id).finish() {
                stray(scene, number, &error);
            }
        }
    }
}

/// Nobody resets streams here but by the end of a tunnel.
fn stray(scene: &mut Scene, number: u64, why: &dyn std::fmt::Display) {
    scene.demand(false, Promise::Lives, format_args!("stream {number} broke inside a living tunnel: {why}"));
}

fn is_content(number: u64, direction: Direction, at: u64, bytes: &[u8]) -> bool {
    let mut at = at;
    bytes.chunks(usize::try_from(PIECE_MAX).unwrap()).all(|piece| {
        let holds = content(number, direction, at, piece.len() as u64) == piece;
        at += piece.len() as u64;
        holds
    })
}

pub(crate) enum Read {
    Open,
    Ended,
    Broken(String),
}

/// Hands all that can be read of a stream to `take`.
pub(crate) fn read(connection: &mut Connection, id: StreamId, mut take: impl FnMut(&[u8])) -> Read {
    let mut stream = connection.recv_stream(id);
    let mut chunks = match stream.read(true) {
        Ok(chunks) => chunks,
        Err(error) => return Read::Broken(error.to_string()),
    };
    let outcome = loop {
        match chunks.next(usize::MAX) {
            Ok(Some(chunk)) => take(&chunk.bytes),
            Ok(None) => break Read::Ended,
            Err(ReadError::Blocked) => break Read::Open,
            Err(error) => break Read::Broken(error.to_string()),
        }
    };
    // What it says of a packet to send, the transmission after every call finds out by itself.
    let _ = chunks.finalize();
    outcome
}
