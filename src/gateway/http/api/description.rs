//! What the description of the API has beside its endpoints: a name for each, the problems that all share in one
//! place, and how a caller proves who it is.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi, PathItem, Ref, RefOr, Response, SecurityRequirement};

const PROBLEM: &str = "application/problem+json";
const BEARER: &str = "bearer";
const SESSION: &str = "session";

/// Returns the description as it is served.
pub(super) fn finished(mut described: OpenApi) -> OpenApi {
    let mut components = described.components.take().unwrap_or_default();
    for (path, item) in &mut described.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(format!("{method}{}", name_of(path)));
            share_problems(operation, &mut components);
        }
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token"));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    let session = ApiKeyValue::with_description(
        crate::http::cookies::SESSION,
        "Changes need the session's `csrf_token` in the header X-CSRF-Token too",
    );
    components.add_security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    let none: [&str; 0] = [];
    described.security =
        Some([BEARER, SESSION].map(|scheme| SecurityRequirement::new(scheme, none)).to_vec());
    described.components = Some(components);
    described
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [("get", get), ("put", put), ("post", post), ("delete", delete), ("patch", patch)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Returns a path as part of a name: its words, each with a capital.
fn name_of(path: &str) -> String {
    let words = path.trim_start_matches(super::BASE).split(|char: char| !char.is_ascii_alphanumeric());
    words
        .filter_map(|word| Some((word.get(..1)?.to_ascii_uppercase(), word.get(1..)?)))
        .fold(String::new(), |name, (first, rest)| name + &first + rest)
}

/// Leaves a reference in the place of each problem, by its status.
fn share_problems(operation: &mut Operation, components: &mut Components) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(Response { content, .. }) = response else { continue };
        if content.contains_key(PROBLEM) {
            let name = format!("Problem{status}");
            let reference = RefOr::Ref(Ref::from_response_name(&name));
            components.responses.insert(name, std::mem::replace(response, reference));
        }
    }
}
