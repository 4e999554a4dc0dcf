//! Bodies that tell their connection when they end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::Connection;
use crate::http::pace::Pace;

/// What a client sends.
#[derive(Debug)]
pub(super) struct Arriving {
    body: Incoming,
    connection: Arc<Connection>,
    has_ended: bool,
}

impl Arriving {
    pub(super) fn new(body: Incoming, connection: Arc<Connection>) -> Self {
        let has_ended = body.is_end_stream();
        Self { body, connection, has_ended }
    }

    fn end(&mut self) {
        if !self.has_ended {
            self.has_ended = true;
            self.connection.body_ended();
        }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Who answers without having read it all awaits no more of it.
impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.has_ended {
            self.connection.leaves_body();
        }
        self.end();
    }
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Leaving {
    body: Body,
    connection: Arc<Connection>,
}

impl Leaving {
    pub(super) const fn new(body: Body, connection: Arc<Connection>) -> Self {
        Self { body, connection }
    }
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.connection.pace(Pace::answered);
    }
}
