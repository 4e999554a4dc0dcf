//! Secrets that cannot be printed, compared in variable time, or left behind in memory.

use std::fmt;

use serde::Deserialize;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::digest::sha256;

macro_rules! secret_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Debug` prints `[secret]`, there is no `Display`, equality takes constant time and
        /// dropping wipes the bytes.
        #[derive(Clone)]
        pub struct $name([u8; 32]);

        impl $name {
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Reads what [`Self::reveal_hex`] gave. The error never repeats the text.
            ///
            /// # Errors
            /// When `text` is not 64 hexadecimal digits.
            pub fn from_hex(text: &str) -> Result<Self, InvalidSecret> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidSecret)?;
                Ok(Self(bytes))
            }

            /// Returns the bytes, for hashing, keyed hashing and sealing only.
            #[must_use]
            pub const fn expose(&self) -> &[u8; 32] {
                &self.0
            }

            /// Returns the text an owner is shown once, or that is kept in a file of mode 0600.
            #[must_use]
            pub fn reveal_hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[secret]")
            }
        }
    };
}

secret_bytes! {
    /// 256 bits that the two ends of one connection share, and nobody else.
    Secret
}
secret_bytes! {
    /// 256 bits that enrol one server once.
    RegistrationToken
}

secret_bytes! {
    /// 256 bits that make somebody a user once, or let one set a new password.
    InvitationToken
}
secret_bytes! {
    /// 256 bits that a browser shows as its cookie.
    SessionToken
}
secret_bytes! {
    /// 256 bits that a program shows in place of its user's password.
    ApiToken
}

secret_bytes! {
    /// 256 bits by which a sign-in at an identity provider is known again: what the provider brings back, or what
    /// the browser shows that began it.
    SignInToken
}

macro_rules! hashed {
    ($($name:ident)*) => {
        $(impl $name {
            /// Returns what is kept of a token, to know it again: 256 random bits need no salt and no stretching.
            #[must_use]
            pub fn hash(&self) -> [u8; 32] {
                sha256(&self.0)
            }
        })*
    };
}

hashed! { RegistrationToken InvitationToken SessionToken ApiToken SignInToken }

macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Debug` prints `[secret]`, there is no `Display`, and dropping wipes the text.
        #[derive(Clone, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            #[must_use]
            pub fn new(text: String) -> Self {
                Self(Zeroizing::new(text))
            }

            /// Returns the text, for hashing, comparing, or the one answer that shows it.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[secret]")
            }
        }
    };
}

secret_text! {
    /// What a user signs in with, as it was typed.
    Password
}
secret_text! {
    /// What a user shows as the second factor: a code by the clock, or a recovery code.
    Code
}
secret_text! {
    /// A link that holds a secret, such as an authenticator's with its seed.
    SecretLink
}

/// A text that is no secret of ours. Deliberately without the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct InvalidSecret;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_itself_in_debug_output() {
        let secret = Secret::from_bytes([0x5a; 32]);
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(format!("{:?}", Some(&secret)), "Some([secret])");
        assert_eq!(format!("{:?}", RegistrationToken::from_bytes([0x5a; 32])), "[secret]");
    }

    #[test]
    fn a_password_that_was_read_shows_itself_nowhere() {
        let password: Password = serde_json::from_str("\"correct horse battery\"").unwrap();
        assert_eq!(format!("{password:?}"), "[secret]");
        assert_eq!(password.expose(), "correct horse battery");
    }

    #[test]
    fn a_token_is_kept_as_its_sha_256() {
        // FIPS 180-4 of 32 zero bytes, as `sha256sum` prints it.
        let hash = RegistrationToken::from_bytes([0; 32]).hash();
        assert_eq!(hex::encode(hash), "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
    }

    #[test]
    fn only_a_whole_revealed_secret_reads_back() {
        let secret = Secret::from_bytes([9; 32]);
        let text = secret.reveal_hex();
        assert_eq!(Secret::from_hex(&text), Ok(secret));
        assert_eq!(Secret::from_hex(&text[1..]), Err(InvalidSecret));
    }
}
