//! Tasks with names: the end of one says which it was, and how it ended.

use std::pin::Pin;
use std::thread;

/// Runs `future` as the task `name`; logs at TRACE when it is done, at DEBUG when it is dropped before, and at
/// ERROR when it panics. To be called inside the span of what the task is for:
/// `named("path probes", …).instrument(span)`.
pub fn named<F: Future>(name: &'static str, future: F) -> impl Future<Output = F::Output> {
    // Boxed: an async function that awaits what it was given has room for it twice.
    until_end(name, Box::pin(future))
}

async fn until_end<F: Future>(name: &'static str, future: Pin<Box<F>>) -> F::Output {
    let mut end = TaskEnd { name, is_done: false };
    let output = future.await;
    end.is_done = true;
    output
}

struct TaskEnd {
    name: &'static str,
    is_done: bool,
}

impl Drop for TaskEnd {
    fn drop(&mut self) {
        let task = self.name;
        if self.is_done {
            tracing::trace!(task, "the task is done");
        } else if thread::panicking() {
            tracing::error!(task, "the task has panicked: this is a bug, please report it");
        } else {
            tracing::debug!(task, "the task was stopped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::io::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use parking_lot::Mutex;
    use tracing::Instrument;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Returns what is logged while `future` is polled once and dropped.
    fn logged(future: impl Future<Output = ()>) -> String {
        let captured = Captured::default();
        let output = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(move || output.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::debug_span!("connection", name = "adt");
            let mut task = Box::pin(named("path probes", future).instrument(span));
            let polled = catch_unwind(AssertUnwindSafe(|| {
                task.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            }));
            drop(polled);
        });
        let bytes = captured.0.lock().clone();
        String::from_utf8(bytes).expect("is text")
    }

    #[track_caller]
    fn check(future: impl Future<Output = ()>, level: &str, what: &str) {
        let line = logged(future);
        let head = format!("{level} connection{{name=\"adt\"}}: adit_net::task: {what}");
        assert!(line.trim_start().starts_with(&head), "{line}");
        assert!(line.trim_end().ends_with("task=\"path probes\""), "{line}");
    }

    #[test]
    fn the_end_of_a_task_says_which_it_was_in_the_span_of_what_it_was_for() {
        check(ready(()), "TRACE", "the task is done");
        check(pending(), "DEBUG", "the task was stopped");
    }

    #[test]
    fn a_task_that_panics_is_named_in_an_error() {
        check(async { panic!("on purpose") }, "ERROR", "the task has panicked");
    }
}
