//! What happened in a run, for the one who must understand a failure, and the first promise broken.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Of the latest events of a run so many are kept for a failure.
const KEPT_MAX: usize = 120;

/// What a run promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Bytes arrive once, in order, unchanged; an end is a true end.
    Exact,
    /// Nothing is acknowledged that did not arrive.
    Acknowledged,
    /// A tunnel ends only for what the script did.
    Lives,
    /// Nothing is sent over a path that its owner forbids.
    Allowed,
    /// What is dead is left in time, and what fell silent is not taken again too soon.
    Chosen,
    /// The relay is no reflector, and forwards only between those who may.
    Relayed,
    /// After the last fault everything is back in time.
    Recovers,
    /// Queues and rates are bounded.
    Bounded,
    /// A port is open only while what is behind it can be reached.
    Truthful,
    /// The run itself: no deadline in the past forever, no state that cannot be.
    Sound,
}

impl Promise {
    const fn words(self) -> &'static str {
        match self {
            Self::Exact => {
                "bytes arrive exactly once, in order, unchanged, and a cut never looks like an end"
            }
            Self::Acknowledged => "nothing is acknowledged that did not arrive",
            Self::Lives => "a tunnel ends only for what the script did",
            Self::Allowed => "nothing is sent over a path that its owner forbids",
            Self::Chosen => "a dead path is left in time, and one that fell silent not taken again too soon",
            Self::Relayed => "the relay sends to registered, permitted agents and reflects nothing",
            Self::Recovers => "after the last fault everything is back in time",
            Self::Bounded => "queues and rates are bounded",
            Self::Truthful => "a port is open only while what is behind it can be reached",
            Self::Sound => "time moves on",
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub at: Duration,
    pub promise: Promise,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:10.3} s  {}\n              but: {}", self.at.as_secs_f64(), self.promise, self.what)
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    start: Instant,
    prints: bool,
    kept: VecDeque<String>,
    pub violation: Option<Violation>,
}

impl Log {
    pub(crate) fn new(start: Instant, prints: bool) -> Self {
        Self { start, prints, kept: VecDeque::new(), violation: None }
    }

    pub(crate) fn note(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        let line = format!("{:10.3} s  {what}", (now - self.start).as_secs_f64());
        if self.prints {
            println!("{line}");
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }

    /// The first violation counts; those after it often follow from it.
    pub(crate) fn violate(&mut self, now: Instant, promise: Promise, what: fmt::Arguments<'_>) {
        let at = now - self.start;
        self.violation.get_or_insert_with(|| Violation { at, promise, what: what.to_string() });
    }

    pub(crate) fn latest(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(String::as_str)
    }
}
