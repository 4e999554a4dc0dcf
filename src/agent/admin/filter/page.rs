//! Requests that a page of another site made in its reader's browser.

use adit_mirth::http::RequestHead;

/// Recognises a request that a page of another site made in its reader's browser, with the reader's cookies:
/// Mirth's have no `SameSite`. A link that is followed is none.
pub(super) fn foreign_page(head: &RequestHead) -> Option<&'static str> {
    const WHY: &str = "adit: this request comes from a page of another site";
    let own = format!("https://{}", head.host());
    if head.header("origin").is_some_and(|origin| origin != own.as_bytes()) {
        return Some(WHY);
    }
    let site = head.header("sec-fetch-site")?;
    let is_followed = head.method == "GET"
        && head.header("sec-fetch-mode") == Some(b"navigate")
        && head.header("sec-fetch-dest") == Some(b"document");
    (site != b"same-origin" && site != b"none" && !is_followed).then_some(WHY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_mirth::http::{Framing, Header};

    #[track_caller]
    fn check(method: &str, headers: &[(&str, &str)], is_refused: bool) {
        let header = |(name, value): &(&str, &str)| Header { name: (*name).into(), value: (*value).into() };
        let host = Header { name: "Host".into(), value: b"localhost:8443".to_vec() };
        let head = RequestHead {
            method: method.into(),
            target: "/".into(),
            headers: std::iter::once(host).chain(headers.iter().map(header)).collect(),
            framing: Framing::None,
            expects_continue: false,
            closes: false,
        };
        assert_eq!(foreign_page(&head).is_some(), is_refused, "{method} {headers:?}");
    }

    #[test]
    fn only_a_page_of_another_origin_is_refused() {
        check("POST", &[], false);
        check("POST", &[("Origin", "https://localhost:8443")], false);
        check("GET", &[("Sec-Fetch-Site", "same-origin")], false);
        check("GET", &[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")], false);
        for origin in ["https://evil.example", "http://localhost:8443", "https://localhost:9443", "null", ""]
        {
            check("POST", &[("Origin", origin)], true);
        }
        for site in ["cross-site", "same-site", ""] {
            check("GET", &[("Sec-Fetch-Site", site)], true);
            let image =
                [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")];
            check("GET", &image, true);
            let link =
                [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
            check("GET", &link, false);
            check("POST", &link, true);
        }
    }
}
