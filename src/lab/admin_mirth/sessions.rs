//! Sessions as Mirth's servlet contexts keep them: a `JSESSIONID` for each context, given once, with
//! the context's path and `Secure` alone, and not renewed at login.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};

use super::Context;
use crate::limits::STAND_IN_SESSIONS_MAX;
use adit_net::identity::random;

const COOKIE_NAME: &str = "JSESSIONID=";

#[derive(Debug, Default)]
pub(super) struct MirthSessions {
    /// Who is logged in; none yet in a session that has just begun.
    users: Mutex<BTreeMap<(Context, String), Option<String>>>,
}

/// A client's session of one context.
pub(super) struct MirthSession {
    key: (Context, String),
    /// What the client is told, if the session is new.
    pub(super) cookie: Option<String>,
}

impl MirthSessions {
    /// Returns who is logged in by one of these cookies.
    pub(super) fn user(&self, context: Context, cookies: &[String]) -> Option<String> {
        let key = self.known(context, cookies)?;
        self.users().get(&key).cloned().flatten()
    }

    /// Opens the session of these cookies, or a new one.
    pub(super) fn open(&self, context: Context, cookies: &[String]) -> MirthSession {
        if let Some(key) = self.known(context, cookies) {
            return MirthSession { key, cookie: None };
        }
        let id = format!("node0{}", hex::encode(random::bytes::<12>()));
        let cookie = format!("{COOKIE_NAME}{id};Path={};Secure", context.path());
        let key = (context, id);
        let mut users = self.users();
        // The longest-lived would be more work to find, and a stand-in seldom comes here.
        if users.len() >= STAND_IN_SESSIONS_MAX {
            users.pop_first();
        }
        users.insert(key.clone(), None);
        MirthSession { key, cookie: Some(cookie) }
    }

    pub(super) fn log_in(&self, session: &MirthSession, user: &str) {
        self.users().insert(session.key.clone(), Some(user.into()));
    }

    pub(super) fn end(&self, context: Context, cookies: &[String]) {
        if let Some(key) = self.known(context, cookies) {
            self.users().remove(&key);
        }
    }

    fn known(&self, context: Context, cookies: &[String]) -> Option<(Context, String)> {
        let users = self.users();
        let ids = cookies.iter().filter_map(|cookie| cookie.strip_prefix(COOKIE_NAME));
        ids.map(|id| (context, id.to_owned())).find(|key| users.contains_key(key))
    }

    fn users(&self) -> MutexGuard<'_, BTreeMap<(Context, String), Option<String>>> {
        self.users.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_cookie_at_login_within_its_own_context() {
        let sessions = MirthSessions::default();
        let session = sessions.open(Context::Api, &[]);
        let cookie = session.cookie.clone().unwrap();
        assert!(cookie.starts_with("JSESSIONID=node0") && cookie.ends_with(";Path=/api;Secure"), "{cookie}");
        let cookies = ["theme=dark".to_owned(), cookie.split(';').next().unwrap().to_owned()];
        assert_eq!(sessions.user(Context::Api, &cookies), None);
        sessions.log_in(&session, "admin");
        assert!(sessions.open(Context::Api, &cookies).cookie.is_none());
        assert_eq!(sessions.user(Context::Api, &cookies).as_deref(), Some("admin"));
        assert_eq!(sessions.user(Context::ApiOfVersion, &cookies), None);
        sessions.end(Context::Api, &cookies);
        assert_eq!(sessions.user(Context::Api, &cookies), None);
    }
}
