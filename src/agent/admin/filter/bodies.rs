//! Bodies that are judged before anything of their request goes on: bounded in size, time and number. Small
//! ones are read whole; of a large one, which is judged as it comes, only what may go on is kept.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::client::{Client, Halt};
use adit_core::domain::limits;
use adit_mirth::body::{BodyKind, BodyRefusal, Judging};
use adit_mirth::http::{BadRequest, RequestPart};

pub(super) enum Body {
    /// A large one holds its place until it is let go.
    Whole(Bytes, Option<OwnedSemaphorePermit>),
    /// Read to its end, and not good.
    Refused(BodyRefusal),
    Bad(BadRequest),
    TooLong,
    Late,
    /// Other large bodies are being judged.
    Busy,
}

const UNFINISHED: BadRequest =
    BadRequest { status: 400, reason: "The connection ended in the middle of a body." };

impl Client<'_> {
    /// Reads the body of the request whose head was read last.
    pub(super) async fn body(&mut self, kind: BodyKind, large: &Arc<Semaphore>) -> Result<Body, Halt> {
        // One that must be empty is read all the same, as far as anything is: its refusal says why.
        let bytes_max = kind.bytes_max().max(limits::ADMIN_SMALL_BODY_BYTES);
        let read = timeout(limits::ADMIN_BODY_TIMEOUT, self.read_body(bytes_max, large));
        read.await.unwrap_or(Ok(Body::Late))
    }

    /// Reads the body as `body` does, and judges it meanwhile. What was refused is read to its end all the
    /// same, so that the client hears why.
    pub(super) async fn judged(
        &mut self,
        judging: Result<Judging, BodyRefusal>,
        bytes_max: usize,
        large: &Arc<Semaphore>,
    ) -> Result<Body, Halt> {
        let read = timeout(limits::ADMIN_BODY_TIMEOUT, self.read_judged(judging, bytes_max, large));
        read.await.unwrap_or(Ok(Body::Late))
    }

    async fn read_judged(
        &mut self,
        mut judging: Result<Judging, BodyRefusal>,
        bytes_max: usize,
        large: &Arc<Semaphore>,
    ) -> Result<Body, Halt> {
        let mut bytes_left = bytes_max;
        let mut permit = None;
        loop {
            let part = match self.requests.part().await? {
                Ok(Some(part)) => part,
                Ok(None) => return Ok(Body::Bad(UNFINISHED)),
                Err(bad) => return Ok(Body::Bad(bad)),
            };
            let RequestPart::Data(bytes) = part else {
                return Ok(match judging.and_then(Judging::finish) {
                    Ok(body) => Body::Whole(body, permit),
                    Err(refusal) => Body::Refused(refusal),
                });
            };
            let Some(left) = bytes_left.checked_sub(bytes.len()) else { return Ok(Body::TooLong) };
            bytes_left = left;
            let Ok(good) = &mut judging else { continue };
            if let Err(refusal) = good.feed(&bytes) {
                (judging, permit) = (Err(refusal), None);
            } else if permit.is_none() && good.held() > limits::ADMIN_SMALL_BODY_BYTES {
                let Ok(taken) = Arc::clone(large).try_acquire_owned() else { return Ok(Body::Busy) };
                permit = Some(taken);
            }
        }
    }

    async fn read_body(&mut self, bytes_max: usize, large: &Arc<Semaphore>) -> Result<Body, Halt> {
        let mut body = BytesMut::new();
        let mut permit = None;
        loop {
            let part = match self.requests.part().await? {
                Ok(Some(part)) => part,
                Ok(None) => return Ok(Body::Bad(UNFINISHED)),
                Err(bad) => return Ok(Body::Bad(bad)),
            };
            match part {
                RequestPart::Data(bytes) if body.len() + bytes.len() > bytes_max => return Ok(Body::TooLong),
                RequestPart::Data(bytes) => {
                    if permit.is_none() && body.len() + bytes.len() > limits::ADMIN_SMALL_BODY_BYTES {
                        let Ok(taken) = Arc::clone(large).try_acquire_owned() else { return Ok(Body::Busy) };
                        permit = Some(taken);
                    }
                    body.extend_from_slice(&bytes);
                }
                RequestPart::End | RequestPart::Head(_) => return Ok(Body::Whole(body.freeze(), permit)),
            }
        }
    }
}
