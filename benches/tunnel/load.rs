//! The load generator, a process of its own: messages back and forth, a connection per message,
//! uploads, connections that only stay open. Prints one line of numbers, [`Measured`].

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use adit_lab::hl7;
use adit_lab::measure::Histogram;
use adit_lab::messages::{Generator, Kind};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::SockRef;

use crate::serve;

/// What one load came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Messages or bytes in all, warming up included: what the processors worked for.
    pub all: f64,
    /// Messages or bytes a second, after warming up.
    pub rate: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
}

impl Measured {
    pub(crate) fn read(line: &str) -> Result<Self> {
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [all, rate, p50_micros, p99_micros] = numbers[..] else {
            bail!("the load generator printed `{line}`");
        };
        Ok(Self { all, rate, p50_micros, p99_micros })
    }

    fn print(&self) {
        println!("{} {} {} {}", self.all, self.rate, self.p50_micros, self.p99_micros);
    }
}

/// Runs one load as its arguments say, and prints what it came to.
pub(crate) fn run(shape: &[&str]) -> Result<()> {
    match *shape {
        ["messages", target, connections, seconds] => {
            messages(target.parse()?, connections.parse()?, Duration::from_secs_f64(seconds.parse()?))?
                .print();
        }
        ["each", target, seconds] => {
            connection_each(target.parse()?, Duration::from_secs_f64(seconds.parse()?))?.print();
        }
        ["upload", target, connections, bytes] => {
            upload(target.parse()?, connections.parse()?, bytes.parse()?)?.print();
        }
        ["beside", target, stalled, bytes] => {
            beside_stalled(target.parse()?, stalled.parse()?, bytes.parse()?)?.print();
        }
        ["paced", target, connections, per_second, seconds] => {
            let lasting = Duration::from_secs_f64(seconds.parse()?);
            paced(target.parse()?, connections.parse()?, per_second.parse()?, lasting)?.print();
        }
        ["beside-bulk", target, sink, seconds] => {
            let lasting = Duration::from_secs_f64(seconds.parse()?);
            beside_bulk(target.parse()?, sink.parse()?, lasting)?.print();
        }
        ["hold", target, connections] => return hold(target.parse()?, connections.parse()?),
        _ => bail!("unknown load {shape:?}"),
    }
    Ok(())
}

/// One message under way on each connection, all in one thread.
fn messages(target: SocketAddr, connections: u64, lasting: Duration) -> Result<Measured> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut talks = Vec::new();
    for place in 0..connections {
        let talk = Talk::open(target, place)?;
        talk.stream.set_nonblocking(true)?;
        epoll::add(&poll, &talk.stream, EventData::new_u64(place), EventFlags::IN)?;
        talks.push(talk);
    }
    let started = Instant::now();
    let measured_from = started + lasting / 5;
    let ends = measured_from + lasting;
    for talk in &mut talks {
        talk.send()?;
    }
    let mut histogram = Histogram::default();
    let mut all = 0_u64;
    let mut events = Vec::with_capacity(256);
    let mut now = started;
    while now < ends {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            let talk = &mut talks[usize::try_from(event.data.u64())?];
            let Some(latency) = talk.hear()? else { continue };
            all += 1;
            now = talk.send()?;
            if now >= measured_from {
                histogram.record(latency);
            }
        }
    }
    Ok(of_messages(all, &histogram, now - measured_from))
}

/// As many messages a second on each connection as a hospital's interface has, whatever the answers
/// before took.
fn paced(target: SocketAddr, connections: u32, per_second: u32, lasting: Duration) -> Result<Measured> {
    let pause = Duration::from_secs(1) / per_second;
    let started = Instant::now();
    let latencies: Vec<Duration> = thread::scope(|scope| {
        let talks: Vec<_> = (0..connections)
            .map(|place| {
                // Spread over the pause, as connections that know nothing of each other are.
                let first = started + pause * place / connections;
                scope.spawn(move || talk_paced(target, place.into(), first, pause, lasting))
            })
            .collect();
        let joined = talks.into_iter().map(|talk| talk.join().expect("a talk returns its errors"));
        joined.collect::<Result<Vec<_>>>().map(|latencies| latencies.concat())
    })?;
    let mut histogram = Histogram::default();
    for &latency in &latencies {
        histogram.record(latency);
    }
    Ok(of_messages(latencies.len() as u64, &histogram, started.elapsed()))
}

fn talk_paced(
    target: SocketAddr,
    seed: u64,
    first: Instant,
    pause: Duration,
    lasting: Duration,
) -> Result<Vec<Duration>> {
    let mut talk = Talk::open(target, seed)?;
    let mut latencies = Vec::new();
    let mut due = first;
    while due < first + lasting {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        talk.send()?;
        latencies.push(loop {
            if let Some(latency) = talk.hear()? {
                break latency;
            }
        });
        // A message that took longer than the pause is followed at once, and only once.
        due = (due + pause).max(Instant::now());
    }
    Ok(latencies)
}

/// Messages beside an upload that never pauses; `rate` is how many times their p99 is what it is
/// without the upload, `p50_micros` and `p99_micros` are those beside it.
fn beside_bulk(target: SocketAddr, sink: SocketAddr, lasting: Duration) -> Result<Measured> {
    const CONNECTIONS: u32 = 8;
    const PER_SECOND: u32 = 20;
    let idle = paced(target, CONNECTIONS, PER_SECOND, lasting)?;
    let mut bulk = TcpStream::connect(sink).with_context(|| format!("connecting to {sink}"))?;
    let ending = bulk.try_clone()?;
    let uploading = thread::spawn(move || {
        // It ends when its connection is cut below.
        let _ = push(&mut bulk, &vec![0x5a; 256 * 1024], u64::MAX - 1);
    });
    thread::sleep(lasting / 2);
    let beside = paced(target, CONNECTIONS, PER_SECOND, lasting);
    SockRef::from(&ending).shutdown(Shutdown::Both)?;
    uploading.join().expect("an upload does not panic");
    let beside = beside?;
    Ok(Measured { rate: beside.p99_micros / idle.p99_micros, ..beside })
}

/// A connection for each message, one after the other.
fn connection_each(target: SocketAddr, lasting: Duration) -> Result<Measured> {
    let message = message(0);
    let mut histogram = Histogram::default();
    let measured_from = Instant::now() + lasting / 5;
    let ends = measured_from + lasting;
    let mut all = 0;
    loop {
        let since = Instant::now();
        if since >= ends {
            return Ok(of_messages(all, &histogram, since - measured_from));
        }
        let mut talk = Talk { message: message.clone(), ..Talk::open(target, 0)? };
        talk.send()?;
        while talk.hear()?.is_none() {}
        drop(talk);
        all += 1;
        if since >= measured_from {
            histogram.record(since.elapsed());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn of_messages(all: u64, histogram: &Histogram, took: Duration) -> Measured {
    let [p50_micros, p99_micros] = [0.5, 0.99].map(|share| histogram.quantile(share).as_secs_f64() * 1e6);
    let rate = histogram.count() as f64 / took.as_secs_f64();
    Measured { all: all as f64, rate, p50_micros, p99_micros }
}

/// One connection and the message it repeats.
struct Talk {
    stream: TcpStream,
    message: Bytes,
    sent_at: Instant,
    last: u8,
}

impl Talk {
    fn open(target: SocketAddr, seed: u64) -> Result<Self> {
        let stream = TcpStream::connect(target).with_context(|| format!("connecting to {target}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, message: message(seed), sent_at: Instant::now(), last: 0 })
    }

    fn send(&mut self) -> Result<Instant> {
        self.sent_at = Instant::now();
        self.stream.write_all(&self.message).context("writing a message")?;
        Ok(self.sent_at)
    }

    /// How long the answer took, once it is whole.
    fn hear(&mut self) -> Result<Option<Duration>> {
        let mut chunk = [0; 4 * 1024];
        let count = match self.stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            read => read.context("reading an answer")?,
        };
        ensure!(count > 0, "the connection was closed without an answer");
        let before_last = if count > 1 { chunk[count - 2] } else { self.last };
        self.last = chunk[count - 1];
        Ok(([before_last, self.last] == [0x1c, 0x0d]).then(|| self.sent_at.elapsed()))
    }
}

/// 1 KiB on the wire.
fn message(seed: u64) -> Bytes {
    hl7::frame(&Generator::new(seed).only(Kind::Update).padded_to(1024 - 3).next_message().payload)
}

/// `bytes` in all, shared by `connections`, until the far side says that it has them.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn upload(target: SocketAddr, connections: u64, bytes: u64) -> Result<Measured> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(target).with_context(|| format!("connecting to {target}"))?;
        // One small exchange, so that the connection is open all the way before time counts.
        push(&mut stream, &[0; 1024], 1024)?;
        streams.push(stream);
    }
    let block = vec![0x5a; 256 * 1024];
    let started = Instant::now();
    thread::scope(|scope| {
        let block = &block;
        let uploads: Vec<_> = streams
            .iter_mut()
            .map(|stream| scope.spawn(move || push(stream, block, bytes / connections)))
            .collect();
        uploads.into_iter().try_for_each(|upload| upload.join().expect("an upload returns its errors"))
    })?;
    let rate = bytes as f64 / started.elapsed().as_secs_f64();
    Ok(Measured { all: bytes as f64, rate, p50_micros: 0.0, p99_micros: 0.0 })
}

/// An upload beside connections that nobody reads at the far end; `rate` is its share of what it is
/// without them, before and after.
fn beside_stalled(target: SocketAddr, stalled: usize, bytes: u64) -> Result<Measured> {
    let before = upload(target, 1, bytes)?.rate;
    let mut connections = Vec::new();
    for place in 0..stalled {
        let mut stream = TcpStream::connect(target).with_context(|| format!("opening stalled {place}"))?;
        // What the load itself buffers comes out of the same memory of the kernel.
        SockRef::from(&stream).set_send_buffer_size(64 * 1024)?;
        stream.write_all(&serve::STALL.to_be_bytes())?;
        stream.set_nonblocking(true)?;
        connections.push(stream);
    }
    fill(&mut connections)?;
    let beside = upload(target, 1, bytes)?.rate;
    for stream in connections {
        // An end would wait behind what nobody reads.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    thread::sleep(Duration::from_secs(2));
    let alone = f64::midpoint(before, upload(target, 1, bytes)?.rate);
    Ok(Measured { all: 0.0, rate: beside / alone, p50_micros: 0.0, p99_micros: 0.0 })
}

/// Writes until nothing has moved on any connection for a while.
fn fill(connections: &mut [TcpStream]) -> Result<()> {
    let block = vec![0x5a; 256 * 1024];
    let mut moved_at = Instant::now();
    while moved_at.elapsed() < Duration::from_secs(1) {
        for stream in &mut *connections {
            match stream.write(&block) {
                Ok(_) => moved_at = Instant::now(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("filling a stalled connection"),
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn push(stream: &mut TcpStream, block: &[u8], bytes: u64) -> Result<()> {
    stream.write_all(&bytes.to_be_bytes())?;
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        stream.write_all(&block[..length]).context("uploading")?;
        left -= length as u64;
    }
    stream.read_exact(&mut [0]).context("awaiting the end of an upload")
}

/// Opens connections, has one message answered on each, says so, and keeps them until standard
/// input ends.
fn hold(target: SocketAddr, connections: u64) -> Result<()> {
    let mut talks = Vec::new();
    for place in 0..connections {
        let mut talk = Talk::open(target, place).with_context(|| format!("opening connection {place}"))?;
        talk.send()?;
        while talk.hear().with_context(|| format!("on connection {place}"))?.is_none() {}
        talks.push(talk);
    }
    println!("{}", talks.len());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
