//! The servers behind every peer: one answers messages, one swallows uploads. They end when their
//! standard input does, so none outlives the bench.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use adit_lab::hl7::{self, AckCode};
use anyhow::{Context as _, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};

/// The listener's mark among the events; connections count from zero.
const LISTENER: u64 = u64::MAX;

/// Answers every message at once, on any number of connections, in one thread.
pub(crate) fn mllp() -> Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut conversations: Vec<Option<Conversation>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                let Ok((stream, _)) = listener.accept() else { continue };
                let place = free.pop().unwrap_or_else(|| {
                    conversations.push(None);
                    conversations.len() - 1
                });
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                epoll::add(&poll, &stream, EventData::new_u64(place as u64), EventFlags::IN)?;
                conversations[place] = Some(Conversation { stream, answer: None, last: 0 });
                continue;
            }
            let place = usize::try_from(event.data.u64())?;
            if conversations[place].as_mut().is_some_and(|conversation| conversation.go_on().is_err()) {
                // Closing it takes it out of the poll.
                conversations[place] = None;
                free.push(place);
            }
        }
    }
}

struct Conversation {
    stream: TcpStream,
    /// Made from the first message and sent for each: building answers is not what is measured.
    answer: Option<bytes::Bytes>,
    last: u8,
}

impl Conversation {
    /// An error means that the connection is over.
    fn go_on(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        let count = match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let read = &chunk[..count];
        let before_last = if count > 1 { read[count - 2] } else { self.last };
        self.last = read[count - 1];
        // The load generator never has two messages unanswered on one connection.
        if [before_last, self.last] != [0x1c, 0x0d] {
            return Ok(());
        }
        let answer = self.answer.get_or_insert_with(|| {
            let message = read.strip_prefix(b"\x0b").unwrap_or(read);
            hl7::frame(&hl7::acknowledge(message, AckCode::Aa, "A1", "20260101000000"))
        });
        self.stream.write_all(answer)
    }
}

/// A connection that announces so many bytes is never read from again.
pub(crate) const STALL: u64 = u64::MAX;

/// Takes as many bytes as the first eight say, answers with one byte, and again.
pub(crate) fn sink() -> Result<()> {
    for stream in listen()?.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            // An error means that the connection is over.
            let _ = swallow(stream);
        });
    }
    Ok(())
}

fn swallow(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let mut length = [0; 8];
        stream.read_exact(&mut length)?;
        let mut left = u64::from_be_bytes(length);
        if left == STALL {
            return await_end(&stream);
        }
        while left > 0 {
            let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            match stream.read(&mut buffer[..wanted])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => left -= count as u64,
            }
        }
        stream.write_all(b"!")?;
    }
}

/// Holds a connection without reading until its other end has closed it.
fn await_end(stream: &TcpStream) -> io::Result<()> {
    let mut hung_up = [PollFd::new(stream, PollFlags::RDHUP | PollFlags::HUP)];
    rustix::event::poll(&mut hung_up, None)?;
    Ok(())
}

/// Binds a free port and prints it for the one who started this process.
fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("binding a free loopback port")?;
    println!("{}", listener.local_addr()?);
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    Ok(listener)
}
