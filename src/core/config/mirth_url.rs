//! Where a Mirth serves its HTTPS API, as people write it.

use std::fmt;
use std::str::FromStr;

use super::HostPort;

/// `https://127.0.0.1:8443`, with Mirth's `http.contextpath` behind it where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirthUrl {
    pub host: HostPort,
    /// Empty, or such as `/mirth`.
    context: String,
}

impl MirthUrl {
    /// Returns Mirth's `http.contextpath`: `/`, or such as `/mirth`.
    #[must_use]
    pub fn context(&self) -> &str {
        if self.context.is_empty() { "/" } else { &self.context }
    }

    /// Returns a path below the context, which begins with `/`.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.context)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected https://HOST:PORT, such as https://127.0.0.1:8443, and behind it Mirth's context path if it has one"
)]
pub struct InvalidMirthUrl;

impl FromStr for MirthUrl {
    type Err = InvalidMirthUrl;

    fn from_str(text: &str) -> Result<Self, InvalidMirthUrl> {
        let rest = text.strip_prefix("https://").ok_or(InvalidMirthUrl)?;
        let (host, context) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let context = context.strip_suffix('/').unwrap_or(context);
        let is_segment = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !context.split('/').skip(1).all(is_segment) {
            return Err(InvalidMirthUrl);
        }
        let host = host.parse().map_err(|_| InvalidMirthUrl)?;
        Ok(Self { host, context: context.into() })
    }
}

impl fmt::Display for MirthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.host, self.context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_path_of_a_url_is_optional() {
        for (text, shown, context) in [
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443", "/"),
            ("https://[::1]:8443/", "https://[::1]:8443", "/"),
            ("https://mirth.example.org:8443/mirth/", "https://mirth.example.org:8443/mirth", "/mirth"),
        ] {
            let url: MirthUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.context()), (shown, context));
        }
        assert_eq!("https://h:1/m".parse::<MirthUrl>().unwrap().path("/api"), "/m/api");
        assert_eq!("https://h:1".parse::<MirthUrl>().unwrap().path("/api"), "/api");
    }

    #[test]
    fn what_is_no_https_address_is_refused() {
        for text in [
            "http://127.0.0.1:8080",
            "127.0.0.1:8443",
            "https://127.0.0.1",
            "https://h:1//x",
            "https://h:1/a b",
            "https://h:1/../x",
            "https://u@h:1",
            "https://h:1/x?y",
        ] {
            assert_eq!(text.parse::<MirthUrl>(), Err(InvalidMirthUrl), "{text}");
        }
    }
}
