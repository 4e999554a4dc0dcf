//! Standard output and standard error of the commands: a reader that is gone or has no space left is an
//! outcome, never a panic.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Standard output did not take what a command says.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output; free space where it goes, or send it elsewhere")]
pub struct PrintError {
    #[from]
    source: io::Error,
}

impl PrintError {
    /// Returns whether the reader has read what it wanted: `adit status | head -1`.
    #[must_use]
    pub fn is_reader_gone(&self) -> bool {
        self.source.kind() == ErrorKind::BrokenPipe
    }
}

/// Writes a text to standard output, as it is.
pub fn text(text: impl Display) -> Result<(), PrintError> {
    write_to(io::stdout().lock(), text)
}

/// Writes a line to standard output.
pub fn line(line: impl Display) -> Result<(), PrintError> {
    text(format_args!("{line}\n"))
}

/// Writes a text to standard error; where that fails, nobody is left to tell.
pub fn error_text(text: impl Display) {
    let _ = write_to(io::stderr().lock(), text);
}

/// Writes the text in one piece, and flushed: what fails must not wait for the process's end to be noticed.
fn write_to(mut out: impl Write, text: impl Display) -> Result<(), PrintError> {
    out.write_all(text.to_string().as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_a_quiet_end_unlike_a_full_disk() {
        for (kind, is_quiet) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let error = write_to(Fails(kind), "text").unwrap_err();
            assert_eq!(error.is_reader_gone(), is_quiet, "{kind}");
        }
    }
}
