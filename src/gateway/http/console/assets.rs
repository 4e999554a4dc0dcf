//! The style, the script and the icon, under names that change with their content, so that browsers keep them.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Console;

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = include_str!("assets/icon.svg");
const KEPT: &str = "public, max-age=31536000, immutable";
/// Of a digest, in hexadecimal digits: enough to tell versions apart.
const NAME_BYTES: usize = 6;

/// What is served beside pages: by its name, its kind and its text.
static ALL: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("console", "css", "text/css; charset=utf-8", STYLE),
        Asset::new("console", "js", "text/javascript; charset=utf-8", SCRIPT),
        Asset::new("icon", "svg", "image/svg+xml", ICON),
    ]
});

#[derive(Debug)]
struct Asset {
    name: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let version = hex::encode(&digest.as_ref()[..NAME_BYTES]);
        Self { name: format!("{stem}-{version}.{ending}"), kind, text }
    }
}

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/assets/{name}", get(asset))
}

pub(super) fn style() -> &'static str {
    &ALL[0].name
}

pub(super) fn script() -> &'static str {
    &ALL[1].name
}

pub(super) fn icon() -> &'static str {
    &ALL[2].name
}

async fn asset(Path(name): Path<String>) -> Response {
    match ALL.iter().find(|asset| asset.name == name) {
        Some(asset) => ([(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, KEPT)], asset.text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
