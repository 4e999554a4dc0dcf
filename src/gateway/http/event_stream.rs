//! The body of an event stream: it holds one of its user's places, and ends with the gateway.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::known_places::KnownPlace;

pub(super) struct EventStream {
    body: Body,
    _place: KnownPlace,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl EventStream {
    pub(super) fn new(body: Body, place: KnownPlace, stopped: WaitForCancellationFutureOwned) -> Self {
        Self { body, _place: place, stopped: Box::pin(stopped) }
    }
}

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}
