//! What is sent: read whole, within its bound, and strictly. A field that nobody knows is an error, so that
//! nothing is ever taken for granted that was not asked for.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::{Bytes, HttpBody as _, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::Api;
use super::problem::{Problem, ProblemKind};
use adit_core::domain::limits::{API_BODY_BYTES_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use adit_core::domain::page::Paging;

/// A body in JSON. Its type must be `#[serde(deny_unknown_fields)]`.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _api: &Arc<Api>) -> Result<Self, Problem> {
        read(&whole(request).await?).map(Self)
    }
}

/// A body in JSON that need not be there.
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<Api>> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _api: &Arc<Api>) -> Result<Self, Problem> {
        let is_empty = request.body().is_end_stream();
        if is_empty { Ok(Self(T::default())) } else { read(&whole(request).await?).map(Self) }
    }
}

/// Reads a body in JSON whole, within its bound.
pub(super) async fn whole(request: Request) -> Result<Bytes, Problem> {
    let is_json =
        request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
        });
    if !is_json {
        return Err(Problem::new(
            ProblemKind::MediaType,
            "send JSON, with the header `Content-Type: application/json`",
        ));
    }
    to_bytes(request.into_body(), API_BODY_BYTES_MAX).await.map_err(|_| {
        Problem::new(
            ProblemKind::TooLarge,
            format!("a request has at most {API_BODY_BYTES_MAX} bytes, and arrives whole"),
        )
    })
}

/// Reads what a body says.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Of its error only place and category: the text may repeat a secret that was sent.
    serde_json::from_slice(bytes).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    if error.is_data() {
        let detail = format!(
            "the JSON does not have the fields and types that are expected, at line {line} column {column}; \
             /api/v1/openapi.json describes them"
        );
        return Problem::new(ProblemKind::Invalid, detail);
    }
    Problem::new(ProblemKind::Malformed, format!("no valid JSON at line {line} column {column}"))
}

/// An id in the path. What is no id names nothing, as what is missing.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr + Send> FromRequestParts<Arc<Api>> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, api).await.map_err(|_| Problem::not_found("thing"))?;
        text.parse().map(Self).map_err(|_| Problem::not_found("thing"))
    }
}

/// What stands in the query, strictly.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, api).await;
        query.map(|Query(asked)| Self(asked)).map_err(|_| {
            let detail =
                "the query has a name or value that is not expected; /api/v1/openapi.json describes it";
            Problem::new(ProblemKind::Malformed, detail)
        })
    }
}

/// Which page of a list. Put in a query's type by `#[serde(flatten)]`, or asked for alone.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

impl PageQuery {
    pub(crate) fn paging(&self) -> Result<Paging, Problem> {
        paging(self.after.as_deref(), self.count)
    }
}

/// Reads which page is asked for.
pub(crate) fn paging(after: Option<&str>, count: Option<u32>) -> Result<Paging, Problem> {
    let count = count.unwrap_or(PAGE_ROWS_DEFAULT);
    if !(1..=PAGE_ROWS_MAX).contains(&count) {
        let detail = format!("`count` is from 1 to {PAGE_ROWS_MAX}");
        return Err(Problem::new(ProblemKind::Malformed, detail));
    }
    let after = after.map(|text| value("after", text)).transpose();
    Ok(Paging::first(count).after(after.map_err(|it| Problem::new(ProblemKind::Malformed, it.detail))?))
}

/// Reads one field; what is wrong with it is said under its name.
pub(crate) fn value<T>(field: &str, text: &str) -> Result<T, Problem>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(|error| Problem::new(ProblemKind::Invalid, format!("`{field}`: {error}")).at(field))
}

/// Reads one field that need not be there.
pub(crate) fn optional<T>(field: &str, text: Option<&str>) -> Result<Option<T>, Problem>
where
    T: FromStr<Err: Display>,
{
    text.map(|text| value(field, text)).transpose()
}

/// Reads several words with commas between them; none is no word.
pub(crate) fn values<T>(
    field: &str,
    text: Option<&str>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let words = text.into_iter().flat_map(|text| text.split(',')).map(str::trim);
    let words = words.map(|word| {
        read(word).ok_or_else(|| {
            let detail =
                format!("`{field}` has a word that is not expected; /api/v1/openapi.json lists them");
            Problem::new(ProblemKind::Invalid, detail).at(field)
        })
    });
    words.collect()
}
