//! Where a gateway's platform is kept, as people write it: absent, the URL of a `PostgreSQL` database, or a
//! file that holds one. The file is not read here, and no database is asked.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
/// Words after the `?`. Others would be passed over, and may be a password under a misspelt name.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslrootcert=FILE`; it may hold a password.
///
/// Neither `Debug` nor an error shows it; dropping wipes it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Zeroizing<String>);

impl DatabaseUrl {
    /// Returns whether a text is meant to be such a URL, right or wrong.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.contains("://")
    }

    /// Returns whether a password is written in it.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        let (authority, rest) = self.split();
        let has_password =
            authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':') && !user.ends_with(':'));
        has_password || parameters(rest).any(|name| name == "password")
    }

    /// Returns the whole URL, for whom connects.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns what stands before the first `/` or `?`, and what follows.
    fn split(&self) -> (&str, &str) {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
    }
}

/// Returns the names of the parameters after the `?`.
fn parameters(rest: &str) -> impl Iterator<Item = &str> {
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').map_or(pair, |it| it.0))
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        if !SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Err(InvalidDatabaseUrl::Scheme);
        }
        if text.contains(|sign: char| sign.is_whitespace() || sign.is_control()) {
            return Err(InvalidDatabaseUrl::Space);
        }
        let url = Self(Zeroizing::new(text.into()));
        let (_, rest) = url.split();
        if !parameters(rest).all(|name| PARAMETERS.contains(&name)) {
            return Err(InvalidDatabaseUrl::Parameter);
        }
        Ok(url)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl([secret])")
    }
}

/// No URL of a database. Deliberately without the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    #[error(
        "expected a PostgreSQL URL, such as postgres://adit@db.example.org/adit: no other database is spoken"
    )]
    Scheme,
    #[error("expected a URL without spaces; write those of a user, password or file percent-encoded, as %20")]
    Space,
    #[error("expected after the ? of the URL only these: {}", PARAMETERS.join(", "))]
    Parameter,
}

/// What a gateway's file says of its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseSetting {
    Url(DatabaseUrl),
    /// Holds the URL, and nothing else.
    File(PathBuf),
}

impl DatabaseSetting {
    /// Returns whether a password is written in the setting itself.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        matches!(self, Self::Url(url) if url.holds_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<DatabaseUrl, InvalidDatabaseUrl> {
        text.parse()
    }

    #[test]
    fn a_url_says_whether_it_holds_a_password() {
        for (text, holds_secret) in [
            ("postgres://adit@db.example.org/adit", false),
            ("postgresql://db.example.org", false),
            ("postgres://adit:@db/adit", false),
            ("postgres://adit:hunter2@db:5432/adit?sslrootcert=/etc/ca.pem", true),
            ("postgres://db/adit?user=adit&password=hunter2", true),
            ("postgres:///adit?host=/run/postgresql", false),
            ("postgres://adit@[::1]:5432/adit?sslmode=disable", false),
            ("postgres://adit:p%3Fss@db", true),
        ] {
            let read = url(text).unwrap();
            assert_eq!((read.reveal(), read.holds_secret()), (text, holds_secret));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_by_what_was_expected() {
        for (text, expected) in [
            ("mysql://adit:hunter2@db/adit", InvalidDatabaseUrl::Scheme),
            ("hunter2", InvalidDatabaseUrl::Scheme),
            ("", InvalidDatabaseUrl::Scheme),
            ("postgres://adit:hunter 2@db", InvalidDatabaseUrl::Space),
            ("postgres://db/adit?passwrd=hunter2", InvalidDatabaseUrl::Parameter),
            ("postgres://db?sslmode=verify-full&hunter2", InvalidDatabaseUrl::Parameter),
        ] {
            let error = url(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn no_url_is_ever_printed() {
        let setting = DatabaseSetting::Url(url("postgres://adit:hunter2@db.example.org/adit").unwrap());
        let printed = format!("{setting:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("example.org"), "{printed}");
    }
}
