//! The load generator, a process of its own: messages back and forth, a connection per message,
//! uploads, connections that only stay open. Prints one line of numbers, [`Measured`].

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use adit::demo::hl7;
use adit::demo::measure::Histogram;
use adit::demo::messages::{Generator, Kind};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// What one load came to.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Messages or bytes in all, warming up included: what the processors worked for.
    pub all: f64,
    /// Messages or bytes a second, after warming up.
    pub rate: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
}

impl Measured {
    pub fn read(line: &str) -> Result<Self> {
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
pub fn run(shape: &[&str]) -> Result<()> {
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
        talk.say()?;
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
            now = talk.say()?;
            if now >= measured_from {
                histogram.record(latency);
            }
        }
    }
    Ok(of_messages(all, &histogram, now - measured_from))
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
        talk.say()?;
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
    said: Instant,
    last: u8,
}

impl Talk {
    fn open(target: SocketAddr, seed: u64) -> Result<Self> {
        let stream = TcpStream::connect(target).with_context(|| format!("connecting to {target}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, message: message(seed), said: Instant::now(), last: 0 })
    }

    fn say(&mut self) -> Result<Instant> {
        self.said = Instant::now();
        self.stream.write_all(&self.message).context("writing a message")?;
        Ok(self.said)
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
        Ok(([before_last, self.last] == [0x1c, 0x0d]).then(|| self.said.elapsed()))
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
        talk.say()?;
        while talk.hear().with_context(|| format!("on connection {place}"))?.is_none() {}
        talks.push(talk);
    }
    println!("{}", talks.len());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
