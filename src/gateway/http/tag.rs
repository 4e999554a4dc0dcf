//! Which state of a thing is meant: `ETag`, `If-None-Match` and `If-Match` (RFC 9110 §8.8.3, §13.1). A tag is a
//! digest of what is shown, so it tells an asker nothing that the answer does not. Of what changes by itself too, such as
//! whether an agent is online, a tag has two parts: all of it counts for who has a copy, and what people write alone for
//! who changes it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;

use super::Api;
use super::problem::{Problem, ProblemKind};
use crate::platform::{Terms, Unchanged};
use adit_core::domain::digest::sha256;

/// The states that the asker has already, by `If-None-Match`.
#[derive(Debug, Clone)]
pub(crate) struct Known(Vec<String>);

/// The state that is to be changed, by `If-Match`: an endpoint that takes one changes nothing without.
#[derive(Debug, Clone)]
pub(crate) struct Expected(Vec<String>);

/// What is answered under a tag.
pub(crate) trait Tagged: Serialize {
    /// Returns what people write of it, where it changes by itself too.
    fn written(&self) -> Option<Vec<&str>> {
        None
    }
}

impl FromRequestParts<Arc<Api>> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Arc<Api>) -> Result<Self, Problem> {
        Ok(Self(tags(&parts.headers, &IF_NONE_MATCH)?))
    }
}

impl FromRequestParts<Arc<Api>> for Expected {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Arc<Api>) -> Result<Self, Problem> {
        let tags = tags(&parts.headers, &IF_MATCH)?;
        if tags.is_empty() {
            let detail = "read it first, and send the `ETag` of what you read as `If-Match`";
            return Err(Problem::new(ProblemKind::Precondition, detail));
        }
        Ok(Self(tags))
    }
}

impl Known {
    /// Answers with a thing under its tag, or that it is as the asker knows it.
    pub(crate) fn answer<T: Tagged>(&self, shown: &T) -> Response {
        let (json, tag) = match tagged(shown) {
            Ok(tagged) => tagged,
            Err(problem) => return problem.into_response(),
        };
        let is_known = self.0.iter().any(|it| it == "*" || it.trim_start_matches("W/") == tag);
        let mut response = if is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, "application/json")], Body::from(json)).into_response()
        };
        put_tag(response.headers_mut(), &tag);
        response
    }
}

impl Expected {
    /// Returns terms that hold while the thing is shown as it was read.
    pub(crate) fn terms<V: 'static, T: Tagged>(
        self,
        of: impl FnOnce(Arc<dyn Fn(V) -> bool + Send + Sync>) -> Unchanged,
        shown: impl Fn(V) -> T + Send + Sync + 'static,
    ) -> Terms {
        let judge = Arc::new(move |view: V| self.includes(&shown(view)));
        Terms { unchanged: Some(of(judge)), ..Terms::default() }
    }

    /// Returns the same where any state would do, narrowed to this one: what a change leaves must not be another's.
    pub(crate) fn narrowed_to<T: Tagged>(self, shown: &T) -> Self {
        match tagged(shown) {
            Ok((_, tag)) if self.0.iter().any(|it| it == "*") => Self(vec![tag]),
            _ => self,
        }
    }

    /// Weak tags never match (RFC 9110 §8.8.3.2).
    pub(crate) fn includes<T: Tagged>(&self, shown: &T) -> bool {
        let is_meant = |tag: &str| self.0.iter().any(|it| written_part(it) == written_part(tag));
        self.0.iter().any(|it| it == "*") || tagged(shown).is_ok_and(|(_, tag)| is_meant(&tag))
    }
}

/// Answers with a thing and its tag, whatever the asker knows.
pub(crate) fn current<T: Tagged>(status: StatusCode, shown: &T) -> Response {
    let mut response = Known(Vec::new()).answer(shown);
    if response.status() == StatusCode::OK {
        *response.status_mut() = status;
    }
    response
}

fn put_tag(headers: &mut HeaderMap, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

fn tagged<T: Tagged>(shown: &T) -> Result<(Vec<u8>, String), Problem> {
    let json = serde_json::to_vec(shown).map_err(|why| {
        error!(%why, "an answer cannot be written; this is a bug, please report it");
        Problem::internal()
    })?;
    let part = |of: &[u8]| hex::encode(&sha256(of)[..16]);
    let written = shown.written().map(|texts| {
        // Each text behind its length: what stands in one is never another's.
        let parts = texts.iter().flat_map(|text| [text.len().to_string(), (*text).to_owned()]);
        parts.collect::<Vec<_>>().join(" ")
    });
    let tag = match written {
        Some(written) => format!("\"{}-{}\"", part(written.as_bytes()), part(&json)),
        None => format!("\"{}\"", part(&json)),
    };
    Ok((json, tag))
}

/// Returns the part of a tag that is of what people write.
fn written_part(tag: &str) -> &str {
    tag.trim_end_matches('"').split_once('-').map_or(tag.trim_end_matches('"'), |(written, _)| written)
}

/// Reads a list of tags; what is none is an error, lest somebody believes to have asked for something.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<String>, Problem> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().unwrap_or("?");
        for tag in text.split(',').map(str::trim) {
            if tag != "*" && !is_tag(tag) {
                let detail = format!("`{name}` is `*` or an ETag in double quotes, as it was answered");
                return Err(Problem::new(ProblemKind::Malformed, detail));
            }
            tags.push(tag.to_owned());
        }
    }
    Ok(tags)
}

fn is_tag(text: &str) -> bool {
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    quoted.len() >= 2
        && quoted.starts_with('"')
        && quoted.ends_with('"')
        && !quoted.get(1..quoted.len() - 1).is_some_and(|inner| inner.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Tagged for &str {}

    /// A text that people write, beside a number that changes by itself.
    #[derive(Serialize)]
    struct Both(&'static str, u8);

    impl Tagged for Both {
        fn written(&self) -> Option<Vec<&str>> {
            Some(vec![self.0])
        }
    }

    #[test]
    fn what_changes_by_itself_makes_a_copy_old_and_keeps_nobody_from_writing() {
        let tag = tagged(&Both("name", 1)).unwrap().1;
        assert_eq!(Known(vec![tag.clone()]).answer(&Both("name", 1)).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(Known(vec![tag.clone()]).answer(&Both("name", 2)).status(), StatusCode::OK);
        let expected = Expected(vec![tag]);
        assert!(expected.includes(&Both("name", 2)));
        assert!(!expected.includes(&Both("other name", 1)));
        assert!(!Expected(vec!["\"\"".into()]).includes(&Both("name", 1)));
    }

    fn read(value: &'static str) -> Result<Vec<String>, ProblemKind> {
        let headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(value))]);
        tags(&headers, &IF_MATCH).map_err(|problem| problem.kind)
    }

    #[test]
    fn tags_are_read_as_the_rfc_writes_them() {
        assert_eq!(read("*").unwrap(), ["*"]);
        assert_eq!(read("\"a\", W/\"b\"").unwrap(), ["\"a\"", "W/\"b\""]);
        for wrong in ["a", "\"", "\"a", "", "\"a\"b\"", "w/\"a\""] {
            assert_eq!(read(wrong), Err(ProblemKind::Malformed), "{wrong:?}");
        }
    }

    #[test]
    fn a_weak_tag_names_a_known_state_yet_permits_no_change() {
        let tag = tagged(&"shown").unwrap().1;
        let weak = format!("W/{tag}");
        assert_eq!(Known(vec![weak.clone()]).answer(&"shown").status(), StatusCode::NOT_MODIFIED);
        assert_eq!(Known(vec![tag.clone()]).answer(&"changed").status(), StatusCode::OK);
        assert!(!Expected(vec![weak]).includes(&"shown"));
        assert!(Expected(vec![tag]).includes(&"shown"));
    }
}
