//! The one user of the stand-in: its password's age, its preferences, and what was changed of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hyper::StatusCode;
use parking_lot::{Mutex, MutexGuard};

use super::answer::Answer;
use super::api::Given;
use crate::limits::STAND_IN_REQUESTS_MAX;

/// How old the password is for Mirth's password requirements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PasswordAge {
    #[default]
    Fresh,
    /// Expired, and accepted for some days more.
    Grace,
    Expired,
}

#[derive(Debug, Default)]
pub(super) struct People(Mutex<User>);

#[derive(Debug, Default)]
struct User {
    password: PasswordAge,
    preferences: BTreeMap<String, String>,
    changes: Vec<String>,
}

impl PasswordAge {
    /// Returns status and message of a login with the right password.
    const fn outcome(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Fresh => (StatusCode::OK, "SUCCESS", ""),
            Self::Grace => (
                StatusCode::OK,
                "SUCCESS_GRACE_PERIOD",
                "Your password has expired. Change it within 3 days.",
            ),
            Self::Expired => (StatusCode::UNAUTHORIZED, "FAIL_EXPIRED", "Your password has expired."),
        }
    }
}

impl People {
    pub(super) fn age_password(&self, password: PasswordAge) {
        self.user().password = password;
    }

    pub(super) fn changes(&self) -> Vec<String> {
        self.user().changes.clone()
    }

    /// Returns code, status and message of a login.
    pub(super) fn login(&self, is_right: bool) -> (StatusCode, &'static str, &'static str) {
        if is_right {
            self.user().password.outcome()
        } else {
            (StatusCode::UNAUTHORIZED, "FAIL", "Incorrect username or password.")
        }
    }

    fn change(&self, what: String, preference: Option<(String, String)>) {
        let mut user = self.user();
        if user.changes.len() < STAND_IN_REQUESTS_MAX {
            user.changes.push(what);
            user.preferences.extend(preference);
        }
    }

    fn user(&self) -> MutexGuard<'_, User> {
        self.0.lock()
    }
}

/// Answers with those that the query names, or all: a `java.util.Properties`.
pub(super) fn preferences(given: &Given<'_>) -> Answer {
    let names: Vec<_> = given.call.parameters("name").collect();
    let user = given.server.people.user();
    let wanted =
        user.preferences.iter().filter(|(name, _)| names.is_empty() || names.contains(&name.as_str()));
    let mut properties = String::new();
    for (name, value) in wanted {
        // Writing into a String does not fail.
        let _ = write!(properties, "\n  <property name=\"{name}\">{value}</property>");
    }
    if properties.is_empty() {
        return Answer::xml("<properties/>");
    }
    Answer::xml(format!("<properties>{properties}\n</properties>"))
}

pub(super) fn preference(given: &Given<'_>) -> Answer {
    let name = given.parameters.get(1).copied().unwrap_or_default();
    let user = given.server.people.user();
    let value = user.preferences.get(name);
    value.map_or_else(|| Answer::status(StatusCode::NO_CONTENT), |value| Answer::text(StatusCode::OK, value))
}

pub(super) fn set_preference(given: &Given<'_>) -> Answer {
    let name = given.parameters.get(1).copied().unwrap_or_default().to_owned();
    let value = String::from_utf8_lossy(given.body).into_owned();
    given.server.people.change(format!("{name}={value}"), Some((name, value)));
    Answer::status(StatusCode::NO_CONTENT)
}

pub(super) fn set_preferences(given: &Given<'_>) -> Answer {
    given.server.people.change("preferences".into(), None);
    Answer::status(StatusCode::NO_CONTENT)
}

pub(super) fn update(given: &Given<'_>) -> Answer {
    given.server.people.change("user".into(), None);
    Answer::status(StatusCode::NO_CONTENT)
}

/// Answers with null where the new password is good.
pub(super) fn update_password(given: &Given<'_>) -> Answer {
    given.server.people.change("password".into(), None);
    Answer::status(StatusCode::NO_CONTENT)
}
