//! The API over a small platform, asked as its users do.

mod described;
mod events;
mod measurements;
mod once;
mod partnership;
mod people;
mod region;
mod session;
mod site;
mod states;
mod strangers;
mod visibility;
pub(in crate::http) mod world;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::*;

/// Asks a router; returns status and body.
pub(super) async fn ask(router: Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = TowerToHyperService::new(router).call(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[test]
fn the_description_is_of_openapi_3_1() {
    let described = serde_json::to_value(description()).unwrap();
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"), "{}", described["openapi"]);
    assert!(described["paths"]["/api/v1/organizations"]["get"].is_object());
}
