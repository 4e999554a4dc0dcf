//! Which names stand for credentials, in elements, attributes, map entries and headers alike. Letter
//! case does not matter, nor do the dashes, underscores and dots that part words: `private_key` is
//! `privateKey`.

/// Ends of names. Beyond those that Mirth's own connectors, settings and plug-ins have there are some
/// that people write into maps.
const ENDS: [&str; 20] = [
    "password",
    "passphrase",
    "secret",
    "privatekey",
    "storepass",
    "keypass",
    "token",
    // DICOM's `keyPW`, `keyStorePW`, `trustStorePW` and `passcode`.
    "keypw",
    "storepw",
    "passcode",
    // `java.naming.security.credentials` of JMS, and the accounts that an HTTP Listener lets in.
    "credential",
    "credentials",
    "apikey",
    "secretkey",
    "accesskey",
    "subscriptionkey",
    // Of S3's own header, and of Mirth's old property.
    "customerkey",
    "encryptionkey",
    "passwd",
    "pwd",
];
/// Headers.
const WHOLE: [&str; 4] = ["authorization", "proxyauthorization", "cookie", "setcookie"];
/// Of Mirth's delimited data type: a quotation mark, and how it is escaped.
const HARMLESS: [&str; 2] = ["quotetoken", "quoteescapetoken"];
/// Letters of a name that are looked at, from its end.
const LETTERS_MAX: usize = 32;

/// Returns whether the value of that name is to be masked.
#[must_use]
pub(super) fn is_credential(name: &[u8]) -> bool {
    may_be(name) && Letters::of(name).are_a_credentials()
}

/// Returns whether it names many, as a map of users and their passwords.
#[must_use]
pub(super) fn is_accounts(name: &[u8]) -> bool {
    // A class of that name is one thing.
    is_credential(name) && !name.contains(&b'.') && Letters::of(name).end_in("credentials")
}

/// Gives most names up by their last letters: an answer has millions.
#[inline]
fn may_be(name: &[u8]) -> bool {
    const fn end(letters: [u8; 4]) -> u32 {
        u32::from_be_bytes(letters) | 0x2020_2020
    }
    const ENDS: [u32; 17] = [
        end(*b"word"),
        end(*b"rase"),
        end(*b"cret"),
        end(*b"ekey"),
        end(*b"pass"),
        end(*b"oken"),
        end(*b"code"),
        end(*b"tial"),
        end(*b"ials"),
        end(*b"ikey"),
        end(*b"tkey"),
        end(*b"skey"),
        end(*b"nkey"),
        end(*b"rkey"),
        end(*b"sswd"),
        end(*b"tion"),
        end(*b"okie"),
    ];
    let Some(last) = name.last_chunk::<4>() else {
        return name.eq_ignore_ascii_case(b"pwd");
    };
    let last = end(*last);
    ENDS.contains(&last)
        // Behind any letter or mark.
        || matches!(last & 0xffff, 0x7077)
        || last & 0x00ff_ffff == 0x0070_7764
        || !last.to_be_bytes().iter().all(u8::is_ascii_lowercase)
}

/// The last letters of a name in lower case, without what parts words.
struct Letters {
    last: [u8; LETTERS_MAX],
    count: usize,
    /// None was left out at the front.
    are_all: bool,
}

impl Letters {
    fn of(name: &[u8]) -> Self {
        let mut letters = Self { last: [0; LETTERS_MAX], count: 0, are_all: true };
        for byte in name.iter().rev().filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b':' | b' ')) {
            if letters.count == LETTERS_MAX {
                letters.are_all = false;
                break;
            }
            letters.count += 1;
            letters.last[LETTERS_MAX - letters.count] = byte.to_ascii_lowercase();
        }
        letters
    }

    fn known(&self) -> &[u8] {
        &self.last[LETTERS_MAX - self.count..]
    }

    fn end_in(&self, end: &str) -> bool {
        self.known().ends_with(end.as_bytes())
    }

    fn are(&self, whole: &[&str]) -> bool {
        self.are_all && whole.iter().any(|whole| self.known() == whole.as_bytes())
    }

    fn are_a_credentials(&self) -> bool {
        self.are(&WHOLE) || (ENDS.iter().any(|end| self.end_in(end)) && !self.are(&HARMLESS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_credentials_are_known_by_their_end_however_they_are_written() {
        for name in [
            "password",
            "smtpPassword",
            "databaseReadOnlyPassword",
            "PASSWORD",
            "passPhrase",
            "clientSecret",
            "privateKey",
            "private_key",
            "PRIVATE-KEY",
            "private__key",
            "storepass",
            "keyStorePass",
            "keypass",
            "key.pass",
            "accessToken",
            "X-Auth-Token",
            "token",
            "keyPW",
            "keyStorePW",
            "trustStorePW",
            "key_pw",
            "passcode",
            "java.naming.security.credentials",
            "apiKey",
            "X-Api-Key",
            "secretAccessKey",
            "pwd",
            "db.pwd",
            "db_passwd",
            "Authorization",
            "Proxy-Authorization",
            "authorization",
            "Set-Cookie",
            "wsse:Password",
            "a-name-that-goes-on-for-more-than-thirty-two-letters.password",
        ] {
            assert!(is_credential(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_that_only_resemble_them_are_not() {
        for name in [
            "",
            "id",
            "quoteToken",
            "quoteEscapeToken",
            "QUOTETOKEN",
            "passwordAuth",
            "passwordEnabled",
            "tokenLocation",
            "credentialsVariable",
            "preAuthorization",
            "useAuthentication",
            "keyFile",
            "keyStore",
            "publicKey",
            "key",
            "pass",
            "bypass",
            "word",
            "pw",
            "secretary",
            "description",
            "contentType",
            "cookies",
        ] {
            assert!(!is_credential(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_map_of_accounts_is_told_from_one_credential() {
        assert!(is_accounts(b"credentials"));
        for other in ["password", "com.example.Credentials", "java.naming.security.credentials"] {
            assert!(!is_accounts(other.as_bytes()), "{other}");
        }
    }
}
