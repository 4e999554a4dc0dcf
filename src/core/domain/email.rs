//! E-mail addresses as users sign in with them. Nothing is ever sent there by us, so no more is asked than that
//! people recognise their own (RFC 5321 §4.5.3.1 has the lengths).

use std::fmt;
use std::str::FromStr;

use super::limits::EMAIL_CHARS_MAX;
use super::visible::first_hidden;

/// In lower case, so that one person has one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

impl Email {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let is_good = !local.is_empty()
            && !domain.is_empty()
            && text.chars().count() <= EMAIL_CHARS_MAX
            && !text.chars().any(|char| char.is_whitespace() || char.is_control())
            && first_hidden(text).is_none();
        if is_good { Ok(Self(text.to_lowercase())) } else { Err(InvalidEmail) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an e-mail address such as ada@example.org, of at most {EMAIL_CHARS_MAX} characters")]
pub struct InvalidEmail;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_whatever_its_case() {
        assert_eq!(
            " Ada@Example.ORG ".parse::<Email>().map(|it| it.to_string()),
            Ok("ada@example.org".into())
        );
        for wrong in ["", "ada", "@example.org", "ada@", "a da@example.org", "ada@exa\u{202e}mple.org"] {
            assert_eq!(wrong.parse::<Email>(), Err(InvalidEmail), "{wrong:?}");
        }
        assert_eq!(format!("{}@b", "a".repeat(EMAIL_CHARS_MAX)).parse::<Email>(), Err(InvalidEmail));
    }
}
