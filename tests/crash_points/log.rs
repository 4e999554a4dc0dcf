//! What the recorder noted, read back: one event a call, in the order the disk saw them. The layout is
//! `recorder.c`'s.

use bytes::{Buf, Bytes};

/// `kind`, `fd`, `how`, `mode`, `offset`, `length` of the recorder.
const HEAD_BYTES: usize = 32;
const CREATES: u32 = 1;
const EMPTIES: u32 = 2;

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Opened { fd: i32, name: String, creates: bool, empties: bool, mode: u32 },
    Closed { fd: i32 },
    Written { fd: i32, offset: usize, bytes: Bytes },
    Cut { fd: i32, length: usize },
    Synced { fd: i32 },
    Removed { name: String },
    Renamed { from: String, to: String },
}

/// Returns all events of a log, which must be whole.
pub(crate) fn read(mut log: Bytes) -> Vec<Event> {
    let mut events = Vec::new();
    while !log.is_empty() {
        assert!(log.len() >= HEAD_BYTES, "the recorder's log ends within a head");
        events.push(read_one(&mut log));
    }
    events
}

fn read_one(log: &mut Bytes) -> Event {
    let (kind, fd, how, mode) = (log.get_u32_ne(), log.get_i32_ne(), log.get_u32_ne(), log.get_u32_ne());
    let number = |log: &mut Bytes| usize::try_from(log.get_u64_ne()).unwrap();
    let (offset, length) = (number(log), number(log));
    let bytes = log.split_to(length);
    let name = || String::from_utf8(bytes.to_vec()).unwrap();
    match kind {
        1 => {
            let (creates, empties) = (how & CREATES != 0, how & EMPTIES != 0);
            Event::Opened { fd, name: name(), creates, empties, mode }
        }
        2 => Event::Closed { fd },
        3 => Event::Written { fd, offset, bytes },
        4 => Event::Cut { fd, length: offset },
        5 => Event::Synced { fd },
        6 => Event::Removed { name: name() },
        7 => {
            let both = name();
            let (from, to) = both.split_once('\0').unwrap();
            Event::Renamed { from: from.into(), to: to.into() }
        }
        other => panic!("the recorder noted something of kind {other}, which nobody knows"),
    }
}
