//! One request sent to Mirth and its answer passed back, at the pace of the slower end.

use std::io;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::client::{Client, Halt, Requests};
use super::masking::Masking;
use super::rewriting::Rewriting;
use crate::admin::origin::{Answers, Origin, OriginError};
use adit_core::domain::limits;
use adit_mirth::credentials::Credentials;
use adit_mirth::http::{BodyWriter, Framing, RequestPart, ResponsePart};
use adit_mirth::mask::Unmaskable;
use adit_mirth::rewrite::Unwritable;
use adit_net::transport::duplex::{Outgoing, Stopped};
use adit_net::transport::tls::HttpsStream;

/// What is sent to Mirth, and how far its answer is masked.
pub(super) struct Sending {
    pub head: Bytes,
    /// Where it was read before.
    pub body: Bytes,
    /// The place that a large body takes while it is held.
    pub place: Option<OwnedSemaphorePermit>,
    /// How the body is framed that still has to come from the client, if one does.
    pub upload: Option<Framing>,
}

pub(super) struct Exchange<'a> {
    pub method: &'a str,
    pub sending: Sending,
    /// The client's connection ends with this answer.
    pub closes: bool,
    /// What is changed of the answer.
    pub rewriting: Rewriting,
    /// What the request carries for Mirth to check.
    pub credentials: Option<Credentials>,
}

pub(super) enum ExchangeOutcome {
    Done {
        status: u16,
        closes: bool,
        /// Mirth let in the sender of the request; or it carried nothing to check.
        is_proven: bool,
        /// It carries a cookie of Mirth's.
        makes_session: bool,
    },
    /// Mirth broke off, and nothing of an answer has gone to the client.
    Unanswered,
    /// Mirth's answer may not go to the client as it is, and cannot be changed.
    Unwritable(Unwritable),
    /// The answer cannot be masked. `is_begun`: something of it, masked, has gone to the client.
    Unmaskable {
        status: u16,
        why: Unmaskable,
        is_begun: bool,
    },
    Broken {
        status: Option<u16>,
        halt: Halt,
    },
}

impl ExchangeOutcome {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Done { .. } => "answered",
            Self::Unanswered => "broke off before it answered",
            Self::Unwritable(_) => "its answer may not go on as it is",
            Self::Unmaskable { .. } => "its answer cannot be masked",
            Self::Broken { .. } => "cut",
        }
    }

    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Done { status, .. } | Self::Unmaskable { status, .. } => Some(*status),
            Self::Unanswered | Self::Unwritable(_) => None,
            Self::Broken { status, .. } => *status,
        }
    }
}

impl Exchange<'_> {
    pub(super) async fn run(self, origin: &mut Origin, client: &mut Client<'_>) -> ExchangeOutcome {
        let Origin { answers, requests, .. } = origin;
        answers.reader.expect(self.method);
        let Sending { head, body, place, upload } = self.sending;
        // A Mirth that takes no more may have answered: what it said is read all the same.
        let is_sent = tokio::select! {
            sent = send(requests, &head, &body) => sent.is_ok(),
            halt = client.requests.gone() => return ExchangeOutcome::Broken { status: None, halt },
        };
        drop((body, place));
        let mut forwarder = ResponseForwarder {
            closes: self.closes,
            rewriting: self.rewriting,
            credentials: self.credentials,
        };
        let mut download = pin!(forwarder.download(answers, &mut client.answers));
        let mut is_whole = is_sent;
        if let Some(framing) = upload.filter(|_| is_sent) {
            let uploaded = tokio::select! {
                // Mirth answered before it had everything: what is left has no place to go.
                done = &mut download => return outcome(done, true),
                uploaded = pass_on(&mut client.requests, requests, framing) => uploaded,
            };
            match uploaded {
                Ok(()) => {}
                Err(Uploading::Client(halt)) => return ExchangeOutcome::Broken { status: None, halt },
                // It may still say why.
                Err(Uploading::Mirth) => is_whole = false,
            }
        }
        let done = tokio::select! {
            done = &mut download => done,
            halt = client.requests.gone() => Err(Downloading::Client(halt)),
        };
        outcome(done, !is_whole)
    }
}

/// What was passed back.
struct Passed {
    status: u16,
    closes: bool,
    is_proven: bool,
    /// It carries a cookie of Mirth's.
    makes_session: bool,
}

enum Downloading {
    /// Before anything reached the client.
    Unanswered,
    Unwritable(Unwritable),
    Client(Halt),
    Unmaskable {
        status: u16,
        why: Unmaskable,
        is_begun: bool,
    },
    /// In the middle of an answer.
    Cut {
        status: u16,
    },
}

enum Uploading {
    Client(Halt),
    Mirth,
}

#[expect(clippy::needless_pass_by_value, reason = "its parts move into the outcome")]
fn outcome(done: Result<Passed, Downloading>, closes: bool) -> ExchangeOutcome {
    match done {
        Ok(Passed { status, closes: ends, is_proven, makes_session }) => {
            ExchangeOutcome::Done { status, closes: ends || closes, is_proven, makes_session }
        }
        Err(Downloading::Unanswered) => ExchangeOutcome::Unanswered,
        Err(Downloading::Unwritable(why)) => ExchangeOutcome::Unwritable(why),
        Err(Downloading::Client(halt)) => ExchangeOutcome::Broken { status: None, halt },
        Err(Downloading::Unmaskable { status, why, is_begun }) => {
            ExchangeOutcome::Unmaskable { status, why, is_begun }
        }
        Err(Downloading::Cut { status }) => ExchangeOutcome::Broken { status: Some(status), halt: Halt::Cut },
    }
}

/// Takes as long as Mirth's connection lives and its caller waits.
async fn send(requests: &mut WriteHalf<HttpsStream>, head: &[u8], body: &[u8]) -> io::Result<()> {
    let sending = async {
        requests.write_all(head).await?;
        requests.write_all(body).await?;
        requests.flush().await
    };
    sending.await
}

async fn pass_on(
    client: &mut Requests<'_>,
    requests: &mut WriteHalf<HttpsStream>,
    framing: Framing,
) -> Result<(), Uploading> {
    let mut writer = BodyWriter::new(framing);
    let mut own = BytesMut::new();
    loop {
        let part = timeout(limits::ADMIN_STREAM_TIMEOUT, client.part()).await;
        let part = part.unwrap_or(Err(Halt::Lost)).map_err(Uploading::Client)?;
        match part {
            Ok(Some(RequestPart::Data(bytes))) => {
                own.clear();
                writer.data(&bytes, &mut own);
                let written = async {
                    requests.write_all(&own).await?;
                    requests.write_all(&bytes).await
                };
                tokio::select! {
                    written = written => written.map_err(|_| Uploading::Mirth)?,
                    halt = client.gone() => return Err(Uploading::Client(halt)),
                }
            }
            Ok(Some(RequestPart::End | RequestPart::Head(_))) => {
                own.clear();
                writer.end(&mut own);
                return tokio::select! {
                    sent = send(requests, &own, &[]) => sent.map_err(|_| Uploading::Mirth),
                    halt = client.gone() => Err(Uploading::Client(halt)),
                };
            }
            // A body that ends early or is malformed never becomes whole at Mirth.
            Ok(None) | Err(_) => return Err(Uploading::Client(Halt::Lost)),
        }
    }
}

/// How an answer is passed back.
struct ResponseForwarder {
    closes: bool,
    rewriting: Rewriting,
    credentials: Option<Credentials>,
}

impl From<Unwritable> for Downloading {
    fn from(why: Unwritable) -> Self {
        Self::Unwritable(why)
    }
}

impl ResponseForwarder {
    async fn download(
        &mut self,
        answers: &mut Answers,
        client: &mut Outgoing<'_>,
    ) -> Result<Passed, Downloading> {
        let mut passed: Option<Passed> = None;
        let mut masking: Option<Masking> = None;
        loop {
            let Ok(part) = next_part(answers).await else {
                let is_unsent = masking.is_some_and(|masking| masking.is_unsent());
                let cut = |passed: Passed| Downloading::Cut { status: passed.status };
                return Err(passed.filter(|_| !is_unsent).map_or(Downloading::Unanswered, cut));
            };
            match part {
                ResponsePart::Interim => {}
                ResponsePart::Head(head) => {
                    let closes = self.closes || head.origin_closes;
                    let status = head.status;
                    let is_proven =
                        self.credentials.is_none_or(|carried| carried.are_proven(status, &head.headers));
                    let makes_session = head.headers.iter().any(|header| header.is("set-cookie"));
                    passed = Some(Passed { status, closes, is_proven, makes_session });
                    if let Some(scope) = self.rewriting.masks(&head) {
                        answers.reader.leave_framing_out();
                        let begun = Masking::new(scope, self.rewriting.amended(head));
                        let unmaskable = |why| Downloading::Unmaskable { status, why, is_begun: false };
                        masking = Some(begun.map_err(unmaskable)?);
                    } else {
                        write(client, self.rewriting.head(head, closes)).await?;
                    }
                }
                ResponsePart::Data(bytes) => match (&mut masking, &passed) {
                    (Some(masking), Some(passed)) => {
                        let is_begun = !masking.is_unsent();
                        let masked = masking.piece(&bytes, passed.closes);
                        write_masked(client, masked, passed.status, is_begun).await?;
                    }
                    _ => write(client, self.rewriting.data(bytes)?).await?,
                },
                ResponsePart::End { origin_closes } => {
                    let Some(mut passed) = passed else { return Err(Downloading::Unanswered) };
                    match masking {
                        Some(masking) => {
                            let is_begun = !masking.is_unsent();
                            let masked = masking.end(passed.closes);
                            write_masked(client, masked, passed.status, is_begun).await?;
                        }
                        None => write(client, self.rewriting.end()?).await?,
                    }
                    passed.closes |= origin_closes;
                    return Ok(passed);
                }
            }
        }
    }
}

/// Returns the next part of the answer, however long Mirth takes: its connection tells when it is gone, and
/// the client's when nobody waits any more.
async fn next_part(answers: &mut Answers) -> Result<ResponsePart, OriginError> {
    answers.part().await
}

async fn write_masked(
    client: &mut Outgoing<'_>,
    masked: Result<[Bytes; 2], Unmaskable>,
    status: u16,
    is_begun: bool,
) -> Result<(), Downloading> {
    for bytes in masked.map_err(|why| Downloading::Unmaskable { status, why, is_begun })? {
        if !bytes.is_empty() {
            write(client, bytes).await?;
        }
    }
    Ok(())
}

async fn write(client: &mut Outgoing<'_>, mut bytes: Bytes) -> Result<(), Downloading> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = timeout(limits::ADMIN_STREAM_TIMEOUT, client.write(&mut bytes)).await;
    // One that takes nothing for so long has gone.
    written.unwrap_or(Err(Stopped::Cut)).map_err(|stopped| Downloading::Client(stopped.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::{Instant, sleep};

    use super::*;
    use adit_net::identity::local_https::{LocalCertificate, LocalNames};
    use adit_net::identity::time::{HostClock, TimeSource};
    use adit_net::transport::tls::{LocalTls, MirthTls};

    const SECOND: Duration = Duration::from_secs(1);
    const QUESTION: &[u8] = b"POST /api/channels/_redeployAll HTTP/1.1\r\n\r\n";

    #[tokio::test]
    async fn an_answer_is_waited_for_as_long_as_mirth_takes() {
        // The whole of it only where the full counts are wanted: a clock cannot be moved under sockets.
        let is_long = std::env::var_os("ADIT_TEST_LONG").is_some();
        let takes = if is_long { limits::ADMIN_STREAM_TIMEOUT + SECOND } else { SECOND };
        let certificate = LocalCertificate::generate(&LocalNames::default(), HostClock.now()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        let tls = LocalTls::new(&certificate).unwrap();
        let mirth = tokio::spawn(async move {
            let mut client = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
            client.read_exact(&mut [0; QUESTION.len()]).await.unwrap();
            sleep(takes).await;
            client.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            client
        });
        let tls = MirthTls::new(Some(certificate.key().fingerprint())).unwrap();
        let Origin { mut answers, mut requests, .. } = Origin::connect(&url, &tls).await.unwrap();
        answers.reader.expect("POST");
        let asked = Instant::now();
        send(&mut requests, QUESTION, &[]).await.unwrap();
        let part = next_part(&mut answers).await.unwrap();
        assert!(matches!(part, ResponsePart::Head(head) if head.status == 204));
        assert!(asked.elapsed() >= takes);
        drop(mirth.await.unwrap());
    }
}
