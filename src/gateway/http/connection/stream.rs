//! A stream that tells its connection what comes and what is not taken, and lets the other end finish what was
//! refused.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use adit_core::domain::limits::API_LINGER_BYTES_MAX;

use super::Connection;
use crate::http::pace::Pace;

/// Read at once of what nobody wants.
const THROWN_AWAY_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    connection: Arc<Connection>,
    /// Bytes that are still read and thrown away; absent while it is open.
    lingers: Option<usize>,
}

impl<S> Paced<S> {
    pub(super) const fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, lingers: None }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    fn noted<T>(&self, polled: Poll<io::Result<T>>, done: impl FnOnce(&mut Pace, &T)) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Pending => self.connection.pace(Pace::write_waits),
            Poll::Ready(Ok(value)) => self.connection.pace(|pace, _| done(pace, value)),
            Poll::Ready(Err(_)) => {}
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.pace(Pace::came);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.noted(polled, |pace, written| pace.wrote(*written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.noted(polled, |pace, written| pace.wrote(*written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.noted(polled, |pace, ()| pace.flushed())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.noted(polled, |pace, ()| pace.flushed()))?;
            let is_more_to_come = self.connection.ends_with_more_to_come();
            self.lingers = Some(if is_more_to_come { API_LINGER_BYTES_MAX } else { 0 });
        }
        self.poll_linger(cx).map(Ok)
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Throws away what comes until the other end has finished, within a bound: closed with bytes unread, TCP resets
    /// the connection, and the answer may be lost with it (RFC 9112 §9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(left) = self.lingers.filter(|left| *left > 0) {
            let mut thrown_away = [0; THROWN_AWAY_BYTES];
            let mut buffer = ReadBuf::new(&mut thrown_away);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let count = read.map_or(0, |()| buffer.filled().len());
            self.lingers = Some(if count == 0 { 0 } else { left.saturating_sub(count) });
        }
        Poll::Ready(())
    }
}
