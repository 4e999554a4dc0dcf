//! What is shown: the shapes that several answers share.

use std::fmt::Display;

use axum::Json;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use adit_core::domain::page::Page;
use adit_core::domain::time::Timestamp;

/// Some rows of a list, and where the next ones are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rows<T> {
    pub(crate) rows: Vec<T>,
    /// What to send as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl<T> Rows<T> {
    pub(crate) fn of<V>(page: Page<V>, shown: impl FnMut(V) -> T) -> Self {
        let page = page.map(shown);
        Self { rows: page.rows, next: page.next.map(|cursor| cursor.to_string()) }
    }
}

/// An answer that shows a secret: nobody on its way may keep it.
pub(crate) struct NoStore<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for NoStore<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A point in time (RFC 3339, UTC).
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// Something by its id and name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Named {
    #[schema(format = Uuid)]
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Named {
    pub(crate) fn new(id: impl Display, name: impl Display) -> Self {
        Self { id: id.to_string(), name: name.to_string() }
    }
}
