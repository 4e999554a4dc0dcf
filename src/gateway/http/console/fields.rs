//! What a form sends (`application/x-www-form-urlencoded`), by name.

use std::collections::BTreeMap;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::ask::Refused;
use super::frame::Shown;
use adit_core::domain::limits::API_BODY_BYTES_MAX;

const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form. Some hold passwords, so deliberately without `Debug`.
#[derive(Default)]
pub(super) struct Fields(BTreeMap<String, Zeroizing<String>>);

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = Shown;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Shown> {
        if !is_form(request.headers()) {
            return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a page's form was expected").into());
        }
        let bytes = to_bytes(request.into_body(), API_BODY_BYTES_MAX).await.map_err(|_| {
            let why = "the form is longer than a form may be; shorten what it holds";
            Shown::from(refused(StatusCode::PAYLOAD_TOO_LARGE, why))
        })?;
        let pairs = form_urlencoded::parse(&bytes);
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned()))).collect()))
    }
}

impl Fields {
    /// Returns what stands in a field; nothing where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.as_str())
    }

    /// Returns what stands in a field without the spaces around it, if anything does.
    pub(super) fn said(&self, name: &str) -> Option<&str> {
        Some(self.get(name).trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn is_ticked(&self, name: &str) -> bool {
        self.said(name).is_some()
    }

    /// By what a form that makes a thing is known when it is sent again.
    pub(super) fn key(&self) -> Option<&str> {
        self.said("key")
    }

    /// What only a page of ours knows.
    pub(super) fn csrf(&self) -> &str {
        self.get("csrf")
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM))
}

fn refused(status: StatusCode, why: &str) -> Refused {
    let title = "The form cannot be read".to_owned();
    Refused { status, kind: "malformed".into(), title, detail: why.into(), retry_after: None }
}
