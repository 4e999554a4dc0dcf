//! Lines on their way to the reader of the log, written by a thread of their own.
//!
//! Who logs never waits: a reader that sleeps, is gone or has no space left costs lines, not the service.
//! Lines that find the queue full are counted, and the log says how many once it is read again. Lines alike
//! come in a bounded number ([`super::repeats`]).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::repeats::{Repeats, TimeNow};
use crate::metrics::LOG_LEFT_OUT;
use adit_core::domain::limits::{LOG_QUEUE_BYTES_MAX, LOG_RETRY_EVERY};

/// A reader that is only slow is tried again soon.
const BUSY_RETRY_EVERY: Duration = Duration::from_millis(20);

/// Writes the line that says how many were lost.
pub(super) type LossLine = fn(lost: u64) -> Vec<u8>;

/// The writing end; clones share the queue.
#[derive(Clone)]
pub(super) struct LogQueue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    loss_line: LossLine,
    time_now: TimeNow,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
    repeats: Repeats,
    /// The thread has a line that is not out yet.
    is_writing: bool,
    /// The last attempt to write failed.
    is_failing: bool,
}

impl State {
    /// Puts a line at the end, or counts it. After a loss half of the queue must be free first, so that
    /// one notice stands for many lines. Returns whether it found room.
    fn push(&mut self, line: &[u8], loss_line: LossLine) -> bool {
        let room = LOG_QUEUE_BYTES_MAX.saturating_sub(self.bytes);
        if line.len() > room || (self.lost > 0 && room < LOG_QUEUE_BYTES_MAX / 2) {
            self.lost += 1;
            return false;
        }
        self.push_loss(loss_line);
        self.append(line.to_vec());
        true
    }

    fn push_repeats(&mut self, lines: Vec<Vec<u8>>, loss_line: LossLine) {
        for line in lines {
            self.push(&line, loss_line);
        }
    }

    fn push_loss(&mut self, loss_line: LossLine) {
        if self.lost > 0 {
            let notice = loss_line(std::mem::take(&mut self.lost));
            self.append(notice);
        }
    }

    fn append(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// Takes the oldest line; when all are out, what was lost is said.
    fn pop(&mut self, loss_line: LossLine) -> Option<Vec<u8>> {
        if self.lines.is_empty() {
            self.push_loss(loss_line);
        }
        let line = self.lines.pop_front()?;
        self.bytes -= line.len();
        Some(line)
    }

    fn is_flushed(&self) -> bool {
        self.lines.is_empty() && self.lost == 0 && !self.is_writing
    }
}

impl LogQueue {
    /// Starts the thread that writes to `output`. It ends with the process: it may hang in a write.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        loss_line: LossLine,
        time_now: TimeNow,
    ) -> io::Result<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { state, changed, loss_line, time_now });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("log".into()).spawn(move || writer.write_all(output))?;
        Ok(Self(shared))
    }

    /// Puts a line at the end, whatever came before it.
    pub(super) fn push(&self, line: &[u8]) {
        if !self.0.state.lock().push(line, self.0.loss_line) {
            count_left_out("unread");
        }
        self.0.changed.notify_all();
    }

    /// Does the same unless too many are alike.
    fn push_unless_repeated(&self, line: &[u8]) {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        let repeats = state.repeats.poll(now, self.0.time_now);
        state.push_repeats(repeats, self.0.loss_line);
        let is_admitted = state.repeats.admit(line, now);
        drop(state);
        if is_admitted {
            self.push(line);
        } else {
            count_left_out("repeated");
            // The thread says it at the end of the span.
            self.0.changed.notify_all();
        }
    }

    /// Waits until all lines are out, no longer than `limit`, and not at all for a reader that fails.
    pub(super) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.0.state.lock();
        let repeats = state.repeats.end(self.0.time_now);
        state.push_repeats(repeats, self.0.loss_line);
        self.0.changed.notify_all();
        while !state.is_flushed() && !state.is_failing {
            if self.0.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }
}

/// The subscriber's way in: never an error, never a wait.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push_unless_repeated(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn write_all(&self, mut output: impl Write) {
        loop {
            let line = self.next_line();
            let mut rest = line.as_slice();
            while !rest.is_empty() {
                match output.write(rest) {
                    Ok(0) => self.wait_after(LOG_RETRY_EVERY),
                    Ok(count) => {
                        rest = rest.get(count..).unwrap_or_default();
                        self.state.lock().is_failing = false;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_after(BUSY_RETRY_EVERY),
                    Err(_) => self.wait_after(LOG_RETRY_EVERY),
                }
            }
            self.state.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    fn next_line(&self) -> Vec<u8> {
        let mut state = self.state.lock();
        loop {
            let repeats = state.repeats.poll(Instant::now(), self.time_now);
            state.push_repeats(repeats, self.loss_line);
            if let Some(line) = state.pop(self.loss_line) {
                state.is_writing = true;
                return line;
            }
            match state.repeats.deadline() {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    self.changed.wait_until(&mut state, deadline);
                }
            }
        }
    }

    fn wait_after(&self, failed: Duration) {
        self.state.lock().is_failing = true;
        self.changed.notify_all();
        thread::sleep(failed);
    }
}

fn count_left_out(reason: &'static str) {
    metrics::counter!(LOG_LEFT_OUT, "reason" => reason).increment(1);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use adit_core::domain::limits::LOG_REPEATS_WRITTEN_MAX;

    use super::*;

    fn loss_line(lost: u64) -> Vec<u8> {
        format!("{lost} lost\n").into_bytes()
    }

    fn noon() -> String {
        "12:00Z".into()
    }

    const HANG_LIMIT: Duration = Duration::from_secs(60);

    /// Writes only as often as it is let, and fails where it is told to.
    struct Reader {
        turns: mpsc::Receiver<io::Result<()>>,
        out: mpsc::SyncSender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turns.recv().unwrap_or(Ok(()))?;
            let _ = self.out.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn blocked() -> (LogQueue, mpsc::SyncSender<io::Result<()>>, mpsc::Receiver<Vec<u8>>) {
        let (let_write, turns) = mpsc::sync_channel(1024);
        let (out, written) = mpsc::sync_channel(1024);
        (LogQueue::start(Reader { turns, out }, loss_line, noon).unwrap(), let_write, written)
    }

    #[test]
    fn a_full_queue_counts_what_it_drops_until_half_of_it_is_free() {
        let mut state = State::default();
        let half = vec![b'a'; LOG_QUEUE_BYTES_MAX / 2];
        for _ in 0..2 {
            state.push(&half, loss_line);
        }
        state.push(b"b", loss_line);
        state.push(b"c", loss_line);
        assert_eq!((state.lines.len(), state.bytes, state.lost), (2, LOG_QUEUE_BYTES_MAX, 2));
        assert_eq!(state.pop(loss_line), Some(half.clone()));
        state.push(b"d", loss_line);
        assert_eq!(state.pop(loss_line), Some(half));
        assert_eq!(state.pop(loss_line), Some(b"2 lost\n".to_vec()));
        assert_eq!(state.pop(loss_line), Some(b"d".to_vec()));
        assert_eq!((state.pop(loss_line), state.bytes), (None, 0));
    }

    #[test]
    fn a_loss_is_said_without_another_line() {
        let mut state = State { lost: 3, ..State::default() };
        assert_eq!(state.pop(loss_line), Some(b"3 lost\n".to_vec()));
        assert_eq!(state.pop(loss_line), None);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_sleeps() {
        let (queue, let_write, written) = blocked();
        let line = vec![b'x'; 1024];
        let lines = 4 * LOG_QUEUE_BYTES_MAX / line.len();
        for _ in 0..lines {
            queue.push(&line);
        }
        queue.flush(Duration::from_millis(1));
        drop(let_write);
        let mut whole = 0;
        let lost = loop {
            let seen = written.recv_timeout(HANG_LIMIT).expect("the lines come out");
            match std::str::from_utf8(&seen).unwrap().strip_suffix(" lost\n") {
                Some(lost) => break lost.parse::<usize>().unwrap(),
                None => whole += 1,
            }
        };
        assert_eq!(whole + lost, lines);
    }

    #[test]
    fn a_line_that_could_not_be_written_is_tried_again() {
        let (queue, let_write, written) = blocked();
        queue.push(b"kept\n");
        for error in [ErrorKind::BrokenPipe, ErrorKind::StorageFull] {
            let_write.send(Err(error.into())).unwrap();
        }
        queue.flush(HANG_LIMIT);
        drop(let_write);
        assert_eq!(written.recv_timeout(HANG_LIMIT).unwrap(), b"kept\n");
    }

    #[test]
    fn lines_alike_are_a_few_lines_with_a_count_at_the_end() {
        let (mut queue, let_write, written) = blocked();
        drop(let_write);
        let times = LOG_REPEATS_WRITTEN_MAX + 30;
        for second in 0..times {
            queue.write_all(format!("11:59:{second}Z it fails\n").as_bytes()).unwrap();
        }
        queue.flush(HANG_LIMIT);
        let lines: Vec<_> = written.try_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        assert_eq!(lines.len() as u64, LOG_REPEATS_WRITTEN_MAX + 1, "{lines:?}");
        assert_eq!(lines.last().unwrap(), "12:00Z it fails repeated=30\n");
    }

    #[test]
    fn a_flush_sees_every_line_out() {
        let (queue, let_write, written) = blocked();
        drop(let_write);
        for _ in 0..100 {
            queue.push(b"line\n");
        }
        queue.flush(HANG_LIMIT);
        assert_eq!(written.try_iter().count(), 100);
    }
}
