//! One connection to the local Mirth. Each of a client's connections has one of its own, so that
//! nothing one client sends can become part of another's request.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::mirth_activity::ActivityMark;
use adit_core::config::MirthUrl;
use adit_core::domain::limits;
use adit_mirth::http::{BadResponse, ResponseFraming, ResponsePart, ResponseReader, Unchunked};
use adit_net::identity::error::IdentityError;
use adit_net::identity::tls::refusal;
use adit_net::transport::resolve::dial;
use adit_net::transport::tls::{HttpsStream, MirthTls};
use adit_net::transport::unsent::WatchedSocket;

/// Mirth's answers are read into blocks of this size.
const BLOCK_BYTES: usize = 64 * 1024;
/// Less room than this is not worth a read: TLS comes in records of this size (RFC 8446 §5.1).
const READ_ROOM_MIN: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    #[error("cannot connect to Mirth at {url}; start it, or correct `mirth` in the entry")]
    Dial { url: String, source: io::Error },
    #[error("Mirth at {url} did not answer within {} s", limits::TARGET_DIAL_TIMEOUT.as_secs())]
    Timeout { url: String },
    #[error("no TLS with Mirth at {url}; see that `mirth` names its HTTPS port")]
    Handshake { url: String, source: io::Error },
    #[error("Mirth at {url} cannot be trusted")]
    Key { url: String, source: IdentityError },
    #[error("Mirth was away for a moment and is looked at anew; ask again")]
    Restarted,
    #[error("the connection to Mirth broke")]
    Broken { source: io::Error },
    #[error("Mirth's answer cannot be followed")]
    Answer { source: BadResponse },
    #[error("Mirth answered {status} to {what}, expected 200")]
    Status { what: &'static str, status: u16 },
    #[error("Mirth's answer to {what} is longer than {max} bytes")]
    TooLong { what: &'static str, max: usize },
    #[error("Mirth's answer to {what} cannot be understood: {why}")]
    Meaning { what: &'static str, why: String },
}

impl OriginError {
    /// Returns whether Mirth was merely not heard, and nothing it said stands against it.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        matches!(self, Self::Dial { .. } | Self::Timeout { .. } | Self::Broken { .. })
    }
}

/// What Mirth sends, followed.
pub(super) struct Answers {
    stream: ReadHalf<HttpsStream>,
    input: BytesMut,
    pub reader: ResponseReader,
    at_end: bool,
    /// Who is told that Mirth said something.
    pub mark: Option<ActivityMark>,
}

pub(super) struct Origin {
    pub answers: Answers,
    pub requests: WriteHalf<HttpsStream>,
    pub socket: Arc<WatchedSocket>,
}

impl Origin {
    pub(super) async fn connect(url: &MirthUrl, tls: &MirthTls) -> Result<Self, OriginError> {
        let connecting = async {
            let dialled = dial(&url.host).await;
            let tcp = dialled.map_err(|source| OriginError::Dial { url: url.to_string(), source })?;
            let socket = WatchedSocket::of(&tcp).map_err(broken)?;
            let stream =
                tls.connect(tcp, url.host.host()).await.map_err(|source| match refusal(&source) {
                    Some(refused) => OriginError::Key { url: url.to_string(), source: refused },
                    None => OriginError::Handshake { url: url.to_string(), source },
                })?;
            Ok((stream, socket))
        };
        let (stream, socket) = timeout(limits::TARGET_DIAL_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(OriginError::Timeout { url: url.to_string() }))?;
        tracing::debug!(%url, "a connection to Mirth is up, and its key is the trusted one");
        let (reading, requests) = tokio::io::split(stream);
        let answers = Answers {
            stream: reading,
            input: BytesMut::new(),
            reader: ResponseReader::new(),
            at_end: false,
            mark: None,
        };
        Ok(Self { answers, requests, socket: Arc::new(socket) })
    }

    /// Asks what was written and gives the answer's status; its body is read and forgotten. However long
    /// Mirth takes: its connection tells when it is gone, and the caller whether anybody waits.
    pub(super) async fn status_of(&mut self, written: &[u8]) -> Result<u16, OriginError> {
        self.answers.reader.expect("GET");
        self.requests.write_all(written).await.map_err(broken)?;
        self.requests.flush().await.map_err(broken)?;
        let mut status = 0;
        loop {
            match self.answers.part().await? {
                ResponsePart::Head(head) => status = head.status,
                ResponsePart::End { origin_closes: false } => return Ok(status),
                ResponsePart::End { origin_closes: true } => {
                    self.answers.at_end = true;
                    return Ok(status);
                }
                ResponsePart::Interim | ResponsePart::Data(_) => {}
            }
        }
    }

    /// Asks a question of the agent's own, which needs no login.
    pub(super) async fn ask(
        &mut self,
        url: &MirthUrl,
        what: &'static str,
        bytes_max: usize,
    ) -> Result<Vec<u8>, OriginError> {
        let path = url.path(what);
        let mut request = BytesMut::new();
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nX-Requested-With: adit\r\nAccept: */*\r\n\r\n",
            url.host
        );
        request.put_slice(text.as_bytes());
        tracing::trace!(what, "Mirth is asked by the agent itself");
        self.answers.reader.expect("GET");
        let asking = async {
            self.requests.write_all(&request).await.map_err(broken)?;
            self.requests.flush().await.map_err(broken)?;
            self.answers.whole(what, bytes_max).await
        };
        timeout(limits::TARGET_DIAL_TIMEOUT, asking)
            .await
            .unwrap_or_else(|_| Err(OriginError::Timeout { url: url.to_string() }))
    }
}

impl Answers {
    /// Returns the next part of an answer. May be dropped while it waits.
    pub(super) async fn part(&mut self) -> Result<ResponsePart, OriginError> {
        loop {
            let part = self.reader.read(&mut self.input, self.at_end);
            if let Some(part) = part.map_err(|source| OriginError::Answer { source })? {
                return Ok(part);
            }
            self.more().await?;
        }
    }

    /// Waits until Mirth sends or closes while nothing was asked of it.
    pub(super) async fn readable(&mut self) {
        if self.input.is_empty() && !self.at_end {
            // Whatever comes, the connection is of no more use.
            let _ = self.stream.read_u8().await;
        }
    }

    /// Returns whether Mirth has neither sent nor closed since its last answer: what it says unasked must not
    /// be taken for the next one.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let mut readable = std::pin::pin!(self.readable());
        std::future::poll_fn(|cx| std::task::Poll::Ready(readable.as_mut().poll(cx).is_pending())).await
    }

    async fn more(&mut self) -> Result<(), OriginError> {
        if self.input.capacity() - self.input.len() < READ_ROOM_MIN {
            self.input.reserve(BLOCK_BYTES);
        }
        match self.stream.read_buf(&mut self.input).await {
            Ok(count) => {
                self.at_end = count == 0;
                self.mark.iter().filter(|_| count > 0).for_each(|mark| mark.note_heard(Instant::now()));
            }
            // One that ends without TLS's own word is cut, and may lack something.
            Err(source) => return Err(OriginError::Broken { source }),
        }
        Ok(())
    }

    async fn whole(&mut self, what: &'static str, max: usize) -> Result<Vec<u8>, OriginError> {
        let (mut body, mut taken) = (Vec::new(), 0);
        let mut plain = Unchunked::new(ResponseFraming::None);
        loop {
            match self.part().await? {
                ResponsePart::Interim => {}
                ResponsePart::Head(head) if head.status != 200 => {
                    return Err(OriginError::Status { what, status: head.status });
                }
                ResponsePart::Head(head) => plain = Unchunked::new(head.framing),
                ResponsePart::Data(bytes) => {
                    taken += bytes.len();
                    if taken > max {
                        return Err(OriginError::TooLong { what, max });
                    }
                    plain.data(&bytes, |bytes| body.extend_from_slice(bytes));
                }
                ResponsePart::End { .. } => return Ok(body),
            }
        }
    }
}

fn broken(source: io::Error) -> OriginError {
    OriginError::Broken { source }
}
