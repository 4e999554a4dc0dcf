//! The log: lines on standard error, masked on their way out. Nobody who logs waits for a reader.

mod filter;
mod queue;
mod redact;
mod repeats;

use std::borrow::Cow;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use self::queue::LogQueue;
use self::redact::redact;
use adit_core::config::LogFormat;
use adit_core::domain::limits::LOG_FLUSH_TIMEOUT;
use adit_core::domain::visible::{visible, visible_json};

/// Names the level and, where wanted, modules and spans: see [`filter`].
const FILTER_VARIABLE: &str = "ADIT_LOG";

/// Where this process's log goes, once it is set up.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot start the thread that writes the log; raise the limit of threads or free memory")]
    Thread { source: io::Error },
    #[error("the log was set up before; this is a bug, please report it")]
    Installed { source: Box<dyn std::error::Error + Send + Sync> },
}

/// Sends this process's log to standard error from now on.
pub fn init(format: LogFormat) -> Result<(), LogError> {
    let (filter, problems) = filter::from_variable(env::var(FILTER_VARIABLE));
    let loss_line = match format {
        LogFormat::Text => loss_text,
        LogFormat::Json => loss_json,
    };
    let started =
        LogQueue::start(io::stderr(), loss_line, time_now).map_err(|source| LogError::Thread { source })?;
    let queue = QUEUE.get_or_init(|| started).clone();
    let builder = builder(format, filter, move || queue.clone(), io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|source| LogError::Installed { source })?;
    // The standard one waits until standard error is read.
    panic::set_hook(Box::new(|panic| tracing::error!("{panic}; this is a bug, please report it")));
    for problem in problems {
        tracing::warn!("{problem}");
    }
    Ok(())
}

/// Waits a bounded time until all lines are out: the last thing that a process does.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LOG_FLUSH_TIMEOUT);
    }
}

/// Puts a line of the process itself among those of the log. Returns whether there is a log.
pub fn write_plain(line: &str) -> bool {
    let Some(queue) = QUEUE.get() else { return false };
    queue.push(format!("{line}\n").as_bytes());
    true
}

const LOST: &str = "lines of the log were lost, because nobody read it or it could not be written; \
                    read standard error, or free space on its disk";

fn loss_text(lost: u64) -> Vec<u8> {
    format!("{}  WARN {}: {lost} {LOST}\n", time_now(), module_path!()).into_bytes()
}

fn loss_json(lost: u64) -> Vec<u8> {
    let line = serde_json::json!({
        "timestamp": time_now(),
        "level": "WARN",
        "message": format!("{lost} {LOST}"),
        "lost": lost,
        "target": module_path!(),
    });
    format!("{line}\n").into_bytes()
}

/// Returns the time as the other lines have it.
fn time_now() -> String {
    let mut time = String::new();
    // A text takes everything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

/// Does the same, but only where somebody asks for it by naming a level: for commands that speak to people
/// themselves.
pub fn init_if_asked(format: LogFormat) -> Result<(), LogError> {
    if env::var_os(FILTER_VARIABLE).is_some() { init(format) } else { Ok(()) }
}

type Builder<M> = SubscriberBuilder<DefaultFields, tracing_subscriber::fmt::format::Format, EnvFilter, M>;

fn builder<W: Write + 'static, M: Fn() -> W + Send + Sync + 'static>(
    format: LogFormat,
    filter: EnvFilter,
    output: M,
    has_colours: bool,
) -> Builder<impl Fn() -> Redacting<W> + Send + Sync + 'static> {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_colours)
        // They would go to standard error past the queue.
        .log_internal_errors(false)
        .with_writer(move || Redacting { output: output(), format, has_colours })
}

/// The subscriber hands over one whole line at a time.
struct Redacting<W> {
    output: W,
    format: LogFormat,
    has_colours: bool,
}

impl<W: Write> Write for Redacting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = redact(&text, self.format);
        self.output.write_all(shown(&text, self.format, self.has_colours).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Returns the line without what could move the cursor, turn text round or look like another line.
fn shown(line: &str, format: LogFormat, has_colours: bool) -> Cow<'_, str> {
    let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
    let seen = match format {
        LogFormat::Json => visible_json(body),
        LogFormat::Text if has_colours => Cow::Owned(visible_between_colours(body)),
        LogFormat::Text => visible(body),
    };
    match seen {
        Cow::Borrowed(_) => Cow::Borrowed(line),
        Cow::Owned(seen) => Cow::Owned(seen + end),
    }
}

/// Shows what stands between colours. The colours are the subscriber's own: it escapes this character in what
/// it is given.
fn visible_between_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut out = visible(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let colour = part
            .strip_prefix('[')
            .and_then(|rest| rest.split_once('m'))
            .filter(|(codes, _)| codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'));
        if let Some((codes, rest)) = colour {
            out.push_str("\u{1b}[");
            out.push_str(codes);
            out.push('m');
            out.push_str(&visible(rest));
        } else {
            out.push_str("\\u{1b}");
            out.push_str(&visible(part));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    pub(super) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).expect("is text")
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, write: impl FnOnce()) -> String {
        logged_in(format, false, write)
    }

    fn logged_in(format: LogFormat, has_colours: bool, write: impl FnOnce()) -> String {
        let captured = Captured::default();
        let output = captured.clone();
        let builder = builder(format, EnvFilter::new("info"), move || output.clone(), has_colours);
        match format {
            LogFormat::Text => tracing::subscriber::with_default(builder.finish(), write),
            LogFormat::Json => {
                tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), write);
            }
        }
        captured.text()
    }

    #[test]
    fn a_message_or_secret_logged_by_mistake_is_masked_in_both_formats() {
        let hl7 = "MSH|^~\\&|LAB|\"quoted\"\rPID|1||4711||Doe^Jane";
        let secret = "5a".repeat(32);
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = logged(format, || {
                tracing::info!(%secret, "a slip");
                tracing::info!(content = hl7, "another slip");
                tracing::info!(content = %hl7, after = 1, "a third");
            });
            for trace in ["5a5a", "LAB", "quoted", "4711", "Doe"] {
                assert!(!line.contains(trace), "{trace} stands in {line}");
            }
            assert_eq!(
                line.lines().filter(|line| line.contains("slip") || line.contains("third")).count(),
                3
            );
        }
    }

    const HOSTILE: &str = "a\u{1b}]0;x\u{7}\nb\u{202e}c\u{9b}2J\u{200b}";

    #[test]
    fn what_a_peer_chose_neither_moves_a_cursor_nor_begins_a_line() {
        for has_colours in [false, true] {
            let line = logged_in(LogFormat::Text, has_colours, || {
                tracing::info!(peer = HOSTILE, other = %HOSTILE, "{HOSTILE}");
            });
            assert_eq!(line.lines().count(), 1, "{line:?}");
            for hidden in ["\u{1b}]", "\u{7}", "\u{202e}", "\u{9b}", "\u{200b}"] {
                assert!(!line.contains(hidden), "{line:?}");
            }
            assert_eq!(line.contains("\u{1b}["), has_colours, "{line:?}");
        }
    }

    #[test]
    fn a_json_line_says_the_same_in_characters_that_can_be_seen() {
        let line = logged(LogFormat::Json, || tracing::info!(peer = HOSTILE, "a peer"));
        assert!(line.trim_end().chars().all(|char| (' '..='~').contains(&char)), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("is JSON");
        assert_eq!(read["peer"], HOSTILE);
    }

    #[test]
    fn a_masked_json_line_is_still_json() {
        let line = logged(LogFormat::Json, || {
            tracing::info!(content = "MSH|^~\\&|\"a\"\\", connection = "adt", "a slip");
        });
        let read: serde_json::Value = serde_json::from_str(&line).expect("is JSON");
        assert_eq!(read["connection"], "adt");
        assert_eq!(read["content"], "[masked]");
    }

    #[test]
    fn the_line_about_lost_ones_has_the_form_of_the_others() {
        let text = String::from_utf8(loss_text(7)).unwrap();
        assert!(text.contains("Z  WARN adit_observe::log: 7 lines of the log were lost"), "{text}");
        let json: serde_json::Value = serde_json::from_slice(&loss_json(7)).expect("is JSON");
        assert_eq!((&json["level"], &json["lost"]), (&"WARN".into(), &7.into()));
    }

    #[test]
    fn what_is_below_the_level_is_not_written() {
        assert_eq!(logged(LogFormat::Text, || tracing::debug!("a branch taken")), "");
    }
}
