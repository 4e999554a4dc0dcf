//! `allow_users`: which users of this host may connect to an entry's port.

use std::fmt;
use std::net::SocketAddr;

use toml::de::DeValue;

use crate::config::document::Section;
use crate::config::value::{self, Expected};
use crate::domain::limits;

/// Answers whether the host has a user of this name.
pub type KnownUsers<'k> = &'k dyn Fn(&str) -> bool;

/// The kernel shows it in the place of every user that is not of the asker's user namespace.
const NOBODY: u32 = 65_534;
/// No user: what system calls take for "leave it".
const NONE: u32 = u32::MAX;

/// A user as the file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalUser {
    Id(u32),
    Name(String),
}

impl LocalUser {
    /// Returns whether connections of this user id can be told from those of others.
    #[must_use]
    pub const fn can_be(id: u32) -> bool {
        id != NOBODY && id != NONE
    }
}

impl fmt::Display for LocalUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "user id {id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Reads the key of an entry that listens at `listen`.
pub(super) fn read_allow_users(
    section: &mut Section<'_, '_>,
    listen: Option<SocketAddr>,
    knows: KnownUsers<'_>,
) -> Option<Vec<LocalUser>> {
    let users = section.optional("allow_users", |value| {
        value::list(1..=limits::ALLOWED_USERS_MAX, value, |element| user(element, knows))
    })?;
    if listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        section.clash(
            "allow_users",
            "take it out, or let `listen` be a loopback address: of who connects from another host no user is known"
                .into(),
        );
    }
    Some(users)
}

fn user(value: &DeValue<'_>, knows: KnownUsers<'_>) -> Result<LocalUser, Expected> {
    if value.as_integer().is_some() {
        let id = value::number(0..=u32::MAX, value)?;
        return if LocalUser::can_be(id) {
            Ok(LocalUser::Id(id))
        } else {
            Err(Expected(
                "expected a user's own id: this one stands for everybody whose id is not known".into(),
            ))
        };
    }
    let name = value::string(value)
        .map_err(|_| Expected("expected a user's name in double quotes, or a user id without".into()))?;
    if knows(name) {
        return Ok(LocalUser::Name(name.into()));
    }
    Err(Expected(
        "expected a user of this host; make it, or write the id of a user that only another container knows"
            .into(),
    ))
}
