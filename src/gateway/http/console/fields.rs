//! What a form sends (`application/x-www-form-urlencoded`), by name.

use std::collections::BTreeMap;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::ask::Refused;
use super::frame::Shown;
use super::sent::{Sent, is_form, too_long, unreadable};
use super::shapes::PROOF_OF;
use adit_core::domain::limits::API_BODY_BYTES_MAX;

/// The fields of a form. Some hold passwords, so deliberately without `Debug`.
#[derive(Default)]
pub(super) struct Fields {
    all: BTreeMap<String, Zeroizing<String>>,
    /// What of them may be shown again, if they come from a page of ours.
    sent: Option<Sent>,
}

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = Shown;

    async fn from_request(mut request: Request, _state: &S) -> Result<Self, Shown> {
        if !is_form(request.headers()) {
            let why = "a page's form was expected";
            return Err(unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into());
        }
        let sent = request.extensions_mut().remove();
        let bytes = to_bytes(request.into_body(), API_BODY_BYTES_MAX).await;
        let bytes = bytes.map_err(|_| Shown::from(too_long()))?;
        let all = form_urlencoded::parse(&bytes);
        let all = all.map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned()))).collect();
        Ok(Self { all, sent })
    }
}

impl Fields {
    /// Returns what stands in a field; nothing where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all.get(name).map_or("", |value| value.as_str())
    }

    /// Returns what stands in a field without the spaces around it, if anything does.
    pub(super) fn said(&self, name: &str) -> Option<&str> {
        Some(self.get(name).trim()).filter(|text| !text.is_empty())
    }

    /// Returns what stands in a field of several lines as one, which is what such a text is everywhere else.
    pub(super) fn line(&self, name: &str) -> String {
        self.get(name)
            .split(['\r', '\n'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Returns what is chosen in a field, of what is offered there.
    pub(super) fn one_of(&self, name: &'static str, offered: &[&str]) -> Result<&str, Refused> {
        let chosen = self.get(name);
        if offered.contains(&chosen) { Ok(chosen) } else { Err(Refused::unoffered(name, offered)) }
    }

    pub(super) fn is_ticked(&self, name: &str) -> bool {
        self.said(name).is_some()
    }

    /// By what a form that makes a thing is known when it is sent again.
    pub(super) fn key(&self) -> Option<&str> {
        self.said("key")
    }

    /// What only a page of ours knows; see [`Session::proof`](super::shapes::Session::proof).
    pub(super) fn csrf(&self) -> &str {
        let proof = self.get("csrf");
        proof.split_once(PROOF_OF).map_or(proof, |(csrf, _)| csrf)
    }

    /// Returns what a page may show again.
    pub(super) fn sent(&self) -> Option<&Sent> {
        self.sent.as_ref()
    }
}
