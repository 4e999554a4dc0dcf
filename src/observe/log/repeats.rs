//! Lines that are alike but for their time. So many of them are written within a span, the rest is counted and
//! said at its end: what fails a thousand times a second must neither fill a disk nor hide what else happens.

use std::collections::BTreeMap;
use std::time::Instant;

use adit_core::domain::limits::{
    LOG_COMPARED_BYTES_MAX, LOG_KINDS_COMPARED_MAX, LOG_REPEATS_SAID_EVERY, LOG_REPEATS_WRITTEN_MAX,
};

/// Returns the time as the lines of the log have it.
pub(super) type TimeNow = fn() -> String;

/// What was written and left out within one span.
#[derive(Default)]
pub(super) struct Repeats {
    ends: Option<Instant>,
    /// How often each line came, by all of it but its time.
    kinds: BTreeMap<Box<[u8]>, u64>,
    left_out: u64,
}

impl Repeats {
    /// Counts a line. Returns whether it is to be written. Lines that are long, or more than can be compared,
    /// always are.
    pub(super) fn admit(&mut self, line: &[u8], now: Instant) -> bool {
        self.ends.get_or_insert(now + LOG_REPEATS_SAID_EVERY);
        let body = body(line);
        if let Some(times) = self.kinds.get_mut(body) {
            *times += 1;
            let is_left_out = *times > LOG_REPEATS_WRITTEN_MAX;
            self.left_out += u64::from(is_left_out);
            return !is_left_out;
        }
        if body.len() <= LOG_COMPARED_BYTES_MAX && self.kinds.len() < LOG_KINDS_COMPARED_MAX {
            self.kinds.insert(body.into(), 1);
        }
        true
    }

    /// Returns when something is to be said, unless nothing was left out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ends.filter(|_| self.left_out > 0)
    }

    /// Ends a span whose time is over. Returns each line that was left out, with how often.
    pub(super) fn poll(&mut self, now: Instant, time_now: TimeNow) -> Vec<Vec<u8>> {
        if self.ends.is_some_and(|ends| now >= ends) { self.end(time_now) } else { Vec::new() }
    }

    /// Ends the span now.
    pub(super) fn end(&mut self, time_now: TimeNow) -> Vec<Vec<u8>> {
        let Self { kinds, .. } = std::mem::take(self);
        let many = kinds.into_iter().filter(|(_, times)| *times > LOG_REPEATS_WRITTEN_MAX);
        many.map(|(body, times)| with_count(&body, times - LOG_REPEATS_WRITTEN_MAX, &time_now())).collect()
    }
}

/// Returns what follows the time of a line, in either format.
fn body(line: &[u8]) -> &[u8] {
    let end_of_time = if line.starts_with(b"{") { b',' } else { b' ' };
    memchr::memchr(end_of_time, line).map_or(line, |end| &line[end..])
}

fn with_count(body: &[u8], left_out: u64, time: &str) -> Vec<u8> {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let is_json = body.starts_with(b",");
    let (start, body, end) = if is_json {
        let body = body.strip_suffix(b"}").unwrap_or(body);
        (format!("{{\"timestamp\":\"{time}\""), body, format!(",\"repeated\":{left_out}}}\n"))
    } else {
        (time.to_owned(), body, format!(" repeated={left_out}\n"))
    };
    [start.as_bytes(), body, end.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn noon() -> String {
        "12:00Z".into()
    }

    fn text(lines: Vec<Vec<u8>>) -> Vec<String> {
        lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn repeats_beyond_the_first_few_are_one_line_that_counts_them() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let line = |number: u64| format!("11:59:{number}Z  WARN adit: it fails\n").into_bytes();
        let written = (0..1_000).filter(|number| repeats.admit(&line(*number), start)).count() as u64;
        assert_eq!(written, LOG_REPEATS_WRITTEN_MAX);
        assert!(repeats.admit(b"11:59Z  WARN adit: another\n", start));
        let ends = start + LOG_REPEATS_SAID_EVERY;
        assert_eq!(repeats.deadline(), Some(ends));
        assert!(repeats.poll(ends.checked_sub(Duration::from_millis(1)).unwrap(), noon).is_empty());
        let left_out = 1_000 - written;
        let said = format!("12:00Z  WARN adit: it fails repeated={left_out}\n");
        assert_eq!(text(repeats.poll(ends, noon)), [said]);
        assert_eq!(repeats.deadline(), None);
        assert!(repeats.admit(&line(0), ends), "a new span begins");
    }

    #[test]
    fn a_counted_line_in_json_is_still_json() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        for _ in 0..=LOG_REPEATS_WRITTEN_MAX {
            repeats.admit(b"{\"timestamp\":\"11:59Z\",\"level\":\"WARN\",\"message\":\"a, b\"}\n", now);
        }
        let said = text(repeats.end(noon));
        let read: serde_json::Value = serde_json::from_str(&said[0]).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"timestamp": "12:00Z", "level": "WARN", "message": "a, b", "repeated": 1})
        );
    }

    #[test]
    fn what_cannot_be_compared_is_written() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let long = vec![b'x'; LOG_COMPARED_BYTES_MAX + 1];
        assert!((0..100).all(|_| repeats.admit(&long, now)));
        for kind in 0..LOG_KINDS_COMPARED_MAX {
            assert!(repeats.admit(format!("12:00Z {kind}\n").as_bytes(), now));
        }
        assert!((0..100).all(|_| repeats.admit(b"12:00Z one kind more\n", now)));
        assert_eq!(repeats.kinds.len(), LOG_KINDS_COMPARED_MAX);
        assert!(repeats.end(noon).is_empty());
    }
}
