//! Finds the lines of a head in a buffer that grows, looking at each byte once. A line ends in CR LF:
//! the bare LF that RFC 9112 §2.2 lets a recipient accept is how Jetty is told a second story.

use memchr::memchr;

#[derive(Debug, Default)]
pub(super) struct Lines {
    /// So many bytes of the unfinished line are known to hold no LF.
    searched: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// So many bytes, then CR LF.
    Complete(usize),
    Incomplete,
    /// No end within the bound, whatever follows.
    TooLong,
    BareLineFeed,
}

impl Lines {
    /// Looks at the line that `buffer` begins with. `bytes_max` counts its CR LF and stays the same
    /// until the line is complete.
    pub(super) fn next(&mut self, buffer: &[u8], bytes_max: usize) -> Line {
        let window = &buffer[..buffer.len().min(bytes_max)];
        if let Some(found) = memchr(b'\n', window.get(self.searched..).unwrap_or_default()) {
            let end = self.searched + found;
            self.searched = 0;
            return match window[..end].strip_suffix(b"\r") {
                Some(line) => Line::Complete(line.len()),
                None => Line::BareLineFeed,
            };
        }
        self.searched = window.len();
        if buffer.len() < bytes_max { Line::Incomplete } else { Line::TooLong }
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.searched > 0
    }
}
