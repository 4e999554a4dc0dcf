//! The login forms: a user and a password, and nothing that could make it another request.

use bytes::Bytes;

use super::BodyRefusal;

/// What a form may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Each exactly once.
    required: &'static [&'static str],
    /// Each at most once.
    optional: &'static [Optional],
}

/// A field that may be there.
#[derive(Debug, Clone, Copy)]
struct Optional {
    is_name: fn(&str) -> bool,
    is_value: fn(&str) -> bool,
}

/// Of the API.
pub(super) const LOGIN: Form = Form { required: &["username", "password"], optional: &[] };

/// Of the web dashboard, whose page adds hidden fields. Stripes, which reads them there, sets properties of
/// its objects by the names of fields, so no other name passes.
pub(super) const WEB_LOGIN: Form = Form {
    required: LOGIN.required,
    optional: &[
        Optional { is_name: |name| name == "op", is_value: |value| value == "login" },
        Optional { is_name: |name| name == "version", is_value: is_version },
        Optional { is_name: is_nonce_name, is_value: is_nonce },
    ],
};

/// Rewrites the form, in the order in which it came; what `;`, `=` and the like could mean to another parser
/// is gone.
pub(super) fn rewrite(form: Form, body: &[u8], bytes_max: usize) -> Result<Bytes, BodyRefusal> {
    let text = std::str::from_utf8(body).map_err(|_| BodyRefusal::Form)?;
    let mut out = String::with_capacity(text.len());
    let mut seen = vec![false; form.required.len() + form.optional.len()];
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').ok_or(BodyRefusal::Form)?;
        let index = form.place(name, value).ok_or(BodyRefusal::Form)?;
        if std::mem::replace(&mut seen[index], true) {
            return Err(BodyRefusal::Form);
        }
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        write(value, &mut out)?;
    }
    if !seen[..form.required.len()].iter().all(|seen| *seen) {
        return Err(BodyRefusal::Form);
    }
    if out.len() > bytes_max {
        return Err(BodyRefusal::TooLarge { bytes_max });
    }
    Ok(Bytes::from(out))
}

impl Form {
    /// Returns which of the fields this is. A name is known only as it stands, never percent-encoded.
    fn place(self, name: &str, value: &str) -> Option<usize> {
        let required = self.required.iter().position(|known| *known == name);
        required.or_else(|| {
            let is_it = |field: &Optional| (field.is_name)(name) && (field.is_value)(value);
            let optional = self.optional.iter().position(is_it);
            optional.map(|index| self.required.len() + index)
        })
    }
}

fn is_version(value: &str) -> bool {
    (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Recognises the page's protection against forged logins; its name is not the same in all versions.
fn is_nonce_name(name: &str) -> bool {
    name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_alphabetic())
        && name.to_ascii_lowercase().ends_with("nonce")
}

fn is_nonce(value: &str) -> bool {
    value.len() <= 128 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.%".contains(&byte))
}

/// Writes the characters. Each character keeps the way it was sent if that has one meaning: `+`, `%20` and
/// `%2b` all stay.
fn write(value: &str, out: &mut String) -> Result<(), BodyRefusal> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let byte = hex(rest.next()).zip(hex(rest.next())).map(|(high, low)| high << 4 | low);
                let byte = byte.ok_or(BodyRefusal::Form)?;
                decoded.push(byte);
                escape(byte, out);
            }
            b'+' => {
                decoded.push(b' ');
                out.push('+');
            }
            _ if is_plain(byte) => {
                decoded.push(byte);
                out.push(char::from(byte));
            }
            b'!'..=b'~' => {
                decoded.push(byte);
                escape(byte, out);
            }
            _ => return Err(BodyRefusal::Form),
        }
    }
    let decoded = String::from_utf8(decoded).map_err(|_| BodyRefusal::Form)?;
    if decoded.chars().any(char::is_control) { Err(BodyRefusal::Form) } else { Ok(()) }
}

/// Returns what Java, browsers or `encodeURIComponent` leave as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~*!'()".contains(&byte)
}

fn hex(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

fn escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 0xf)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        let found = rewrite(LOGIN, body.as_bytes(), 4096).ok();
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{body}");
    }

    #[test]
    fn a_login_as_clients_write_it_comes_back_as_it_was() {
        for body in [
            "username=partner&password=x",
            "password=x&username=partner",
            "username=&password=",
            "username=a%40b.c&password=%C3%A9+%2B%20%25~*!'()",
        ] {
            check(body, Some(body));
        }
    }

    #[test]
    fn a_login_spelt_loosely_is_spelt_strictly() {
        check("username=a@b&password=c;d=e/%2f", Some("username=a%40b&password=c%3Bd%3De%2F%2F"));
        check("username=%c3%a9&password=x", Some("username=%C3%A9&password=x"));
    }

    #[test]
    fn a_form_of_anything_but_one_user_with_one_password_is_refused() {
        for body in [
            "",
            "&",
            "username=a",
            "password=x",
            "username=a&password=x&",
            "&username=a&password=x",
            "username=a&&password=x",
            "username=partner&password=x&_method=PUT",
            "username=a&username=b&password=x",
            "username=a&password=x&password=y",
            "username&password=x",
            "user%6eame=a&password=x",
            "Username=a&password=x",
            "username=a;password=x",
            "username=a&password=%",
            "username=a&password=%4",
            "username=a&password=%zz",
            "username=a&password=%+1",
            "username=a&password=%u0041",
            "username=a&password=%00",
            "username=a&password=%0d%0a",
            "username=a&password=%c0%af",
            "username=a&password=%ff",
            "username=a&password=é",
            "username=a&password=a b",
            "username=a&password=x\n",
        ] {
            check(body, None);
        }
    }

    #[test]
    fn the_web_dashboard_logs_in_with_no_fields_but_its_own() {
        let rewritten = |body: &str| rewrite(WEB_LOGIN, body.as_bytes(), 4096).ok();
        for body in [
            "username=a&password=x",
            "op=login&version=0.0.0&username=a&password=x",
            "op=login&version=0.0.0&username=a&password=x&loginNonce=3f2504e0-4f89%3D",
        ] {
            assert_eq!(rewritten(body).as_deref(), Some(body.as_bytes()), "{body}");
        }
        for body in [
            "op=login&version=0.0.0",
            "op=logout&username=a&password=x",
            "op=login&op=login&username=a&password=x",
            "version=x&username=a&password=x",
            "nonce=1&loginNonce=1&username=a&password=x",
            "nonce=a/b&username=a&password=x",
            "context.nonce=1&username=a&password=x",
            "context=1&username=a&password=x",
            "_eventName=x&username=a&password=x",
        ] {
            assert_eq!(rewritten(body), None, "{body}");
        }
    }
}
