//! Cookies: the one that a browser is signed in by, the one by which it is known again, and the one by which it comes
//! back from an identity provider. All are for this host alone and never for scripts (RFC 6265bis).

use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HeaderValue};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::problem::{Problem, ProblemKind};
use adit_core::domain::limits::{DEVICE_KNOWN, SIGN_IN_FLOW_LIFE};
use adit_core::domain::secret::{SessionToken, SignInToken};

pub(super) const SESSION: &str = "__Host-adit_session";
pub(super) const DEVICE: &str = "__Host-adit_device";
/// Of one who signs in at an identity provider.
pub(super) const SIGN_IN: &str = "__Host-adit_sign_in";
const CSRF: &[u8] = b"csrf";
/// Never sent along from another site.
const STRICT: &str = "Strict";

/// Returns the value of a cookie. One that is there twice says nothing: somebody may have planted the other.
pub(super) fn value<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let all = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let pairs = all.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => {
            Err(Problem::new(ProblemKind::Malformed, format!("the cookie {name} is there more than once")))
        }
        (found, None) => Ok(found),
    }
}

/// Returns the session's token, if the browser shows one.
pub(super) fn session(headers: &HeaderMap) -> Result<Option<SessionToken>, Problem> {
    Ok(value(headers, SESSION)?.and_then(|text| SessionToken::from_hex(text).ok()))
}

/// Has the browser keep a session for as long as it runs.
pub(super) fn set_session(token: &SessionToken) -> HeaderValue {
    set(&format!("{SESSION}={}", *Zeroizing::new(token.reveal_hex())), STRICT)
}

/// Has the browser forget its session.
pub(super) fn clear_session() -> HeaderValue {
    set(&format!("{SESSION}=; Max-Age=0"), STRICT)
}

/// Has the browser keep by what it is known again.
pub(super) fn set_device(device: &str) -> HeaderValue {
    set(&format!("{DEVICE}={device}; Max-Age={}", DEVICE_KNOWN.as_secs()), STRICT)
}

/// Has the browser keep that it has begun to sign in elsewhere. It shows this when the provider, another site, sends
/// it back; so not `Strict`.
pub(super) fn set_sign_in(token: &SignInToken) -> HeaderValue {
    let (value, age) = (Zeroizing::new(token.reveal_hex()), SIGN_IN_FLOW_LIFE.as_secs());
    set(&format!("{SIGN_IN}={}; Max-Age={age}", *value), "Lax")
}

fn set(cookie: &str, same_site: &str) -> HeaderValue {
    let text = format!("{cookie}; Path=/; Secure; HttpOnly; SameSite={same_site}");
    // Of names and hexadecimal digits, which a header may hold.
    let mut value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Returns what a page of ours sends with each change; another site's cannot know it.
pub(super) fn csrf_token(token: &SessionToken) -> String {
    hex::encode(hmac::sign(&key_of(token), CSRF))
}

/// Returns whether a header holds it.
pub(super) fn is_csrf_token(token: &SessionToken, shown: &HeaderValue) -> bool {
    csrf_token(token).as_bytes().ct_eq(shown.as_bytes()).into()
}

fn key_of(token: &SessionToken) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        cookies.iter().map(|cookie| (COOKIE, HeaderValue::from_static(cookie))).collect()
    }

    #[test]
    fn a_cookie_is_found_among_others_and_refused_twice() {
        let found =
            |cookies: &[&'static str]| value(&headers(cookies), DEVICE).map(|it| it.map(str::to_owned));
        assert_eq!(found(&["a=b; __Host-adit_device=77; c=d"]).unwrap().as_deref(), Some("77"));
        assert_eq!(found(&["a=b", "__Host-adit_device=77"]).unwrap().as_deref(), Some("77"));
        for none in ["", "a=b", "x__Host-adit_device=77", "__host-adit_device=77"] {
            assert_eq!(found(&[none]).unwrap(), None, "{none}");
        }
        assert!(found(&["__Host-adit_device=1; __Host-adit_device=1"]).is_err());
        assert!(found(&["__Host-adit_device=1", "__Host-adit_device=2"]).is_err());
    }

    #[test]
    fn a_session_cookie_is_for_this_host_alone_and_no_script() {
        let token = SessionToken::from_bytes([0xab; 32]);
        let cookie = set_session(&token);
        assert_eq!(
            cookie.to_str().unwrap(),
            format!("__Host-adit_session={}; Path=/; Secure; HttpOnly; SameSite=Strict", "ab".repeat(32))
        );
        assert!(cookie.is_sensitive());
    }

    #[test]
    fn each_session_has_a_csrf_token_of_its_own() {
        let (one, other) = (SessionToken::from_bytes([1; 32]), SessionToken::from_bytes([2; 32]));
        let shown = HeaderValue::try_from(csrf_token(&one)).unwrap();
        assert!(is_csrf_token(&one, &shown) && !is_csrf_token(&other, &shown));
    }
}
