//! Tasks with names: the end of one says which it was, and how it ended.

use std::thread;

/// Runs `future` as the task `name`; logs at DEBUG when it is done or dropped, and at ERROR when it
/// panics. To be called inside the span of what the task is for: `named("path probes", …).instrument(span)`.
pub async fn named<F: Future>(name: &'static str, future: F) -> F::Output {
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
            tracing::debug!(task, "the task is done");
        } else if thread::panicking() {
            tracing::error!(task, "the task has panicked: this is a bug, please report it");
        } else {
            tracing::debug!(task, "the task was stopped");
        }
    }
}
