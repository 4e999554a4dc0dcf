//! The description of the API that is kept for people.

use std::fs;
use std::path::Path;

/// `ADIT_GOLDEN=write cargo test -p adit-gateway --lib openapi` writes it anew.
#[test]
fn the_openapi_under_config_is_the_apis_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/openapi.json");
    let described = serde_json::to_string_pretty(&super::api::description()).unwrap() + "\n";
    if std::env::var_os("ADIT_GOLDEN").is_some_and(|it| it == "write") {
        fs::write(&path, &described).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == described,
        "config/openapi.json is not what the code describes; write it anew by \
         `ADIT_GOLDEN=write cargo test -p adit-gateway --lib openapi`, and read what has changed"
    );
}
