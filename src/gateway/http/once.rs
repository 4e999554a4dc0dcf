//! Creations that are made once however often they are asked for, by `Idempotency-Key` (IETF draft
//! `idempotency-key-header`). What is answered to a repeated request is read anew, so it is as the thing is now, and no
//! secret is in it that was shown before.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::header::{HeaderValue, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::de::DeserializeOwned;
use tracing::error;

use super::Api;
use super::caller::Caller;
use super::input::{read, whole};
use super::problem::{Problem, ProblemKind};
use super::tag::{self, Tagged};
use crate::platform::{OnceKey, PlatformError, Terms};
use adit_core::domain::digest::sha256;
use adit_core::domain::limits::REQUEST_KEY_CHARS_MAX;

/// The header's name.
pub(crate) const HEADER: &str = "Idempotency-Key";

/// A request to make something, which may be repeated.
#[derive(Debug)]
pub(crate) struct Creation<T> {
    pub(crate) asked: T,
    pub(crate) once: Once,
}

/// How often at most it is made.
#[derive(Debug)]
pub(crate) struct Once {
    key: Option<String>,
    /// Of all that is asked.
    request: [u8; 32],
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Made<T> {
    Now(T),
    /// By an earlier request under the same key; its id.
    Before(String),
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Creation<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _api: &Arc<Api>) -> Result<Self, Problem> {
        let key = key(request.headers())?;
        let what = format!("{} {}\n", request.method(), request.uri());
        let bytes = whole(request).await?;
        let request = sha256(&[what.as_bytes(), &bytes].concat());
        Ok(Self { asked: read(&bytes)?, once: Once { key, request } })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=REQUEST_KEY_CHARS_MAX).contains(&text.len()));
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text.to_owned())),
        _ => Err(Problem::new(
            ProblemKind::Malformed,
            format!(
                "`{HEADER}` is sent once, with 1 to {REQUEST_KEY_CHARS_MAX} visible characters, such as a UUID"
            ),
        )),
    }
}

impl Once {
    /// Makes it, or finds that it was made.
    pub(crate) async fn make<T>(
        self,
        api: &Api,
        caller: &Caller,
        making: impl Future<Output = Result<T, PlatformError>>,
    ) -> Result<Made<T>, Problem> {
        let Self { key, request } = self;
        let once = key.map(|key| OnceKey { user: caller.user, key, request });
        match api.platform.on_terms(Terms { once, ..Terms::default() }, making).await {
            Ok(made) => Ok(Made::Now(made)),
            Err(PlatformError::AlreadyMade { made }) => Ok(Made::Before(made)),
            Err(error) => Err(error.into()),
        }
    }
}

impl<T: FromStr> Made<T> {
    /// Returns the id of what was made, now or before.
    pub(crate) fn id(self) -> Result<T, Problem> {
        match self {
            Self::Now(id) => Ok(id),
            Self::Before(text) => text.parse().map_err(|_| {
                error!(text, "the database holds no id for a request's key; this is a bug, please report it");
                Problem::internal()
            }),
        }
    }
}

/// Answers that a thing was made, with where it is and what it is now.
pub(crate) fn created<T: Tagged>(place: &str, shown: &T) -> Response {
    let mut response = tag::current(StatusCode::CREATED, shown);
    if let Ok(place) = HeaderValue::from_str(&format!("/api/v1/{place}")) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}
