//! Where a browser goes on after it has signed in: a path of ours, and never another site.

use adit_core::domain::limits::GO_TO_CHARS_MAX;

/// Returns the path if it is one of ours in every browser's reading, else the start page.
pub(super) fn own_path(text: &str) -> &str {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_own = text.starts_with('/') && !text.starts_with("//") && !text.contains('\\');
    if is_own && is_visible && text.len() <= GO_TO_CHARS_MAX { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_site_is_gone_on_to() {
        for own in ["/", "/servers", "/connections/1?tab=secret#top", "/a//b", "/?next=https://evil.example"]
        {
            assert_eq!(own_path(own), own);
        }
        let long = format!("/{}", "a".repeat(GO_TO_CHARS_MAX));
        for other in [
            "",
            "servers",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/a\\b",
            "https://evil.example/",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            " /servers",
            "/a b",
            "/\u{e4}",
            "\u{2f}\u{2f}evil.example",
            &long,
        ] {
            assert_eq!(own_path(other), "/", "{other:?}");
        }
    }
}
