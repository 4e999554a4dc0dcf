//! What of Mirth's own answers is rewritten on its way to the client.
//!
//! Mirth does not know by which address it is reached through two agents. So the addresses that it
//! writes of itself become the one that the client asked for: else the Administrator that is launched
//! works on whatever listens at Mirth's port of the partner's own host. And a view-only client is not led
//! into dialogs that can only save.

mod address;
mod launch;
mod login;
mod page;

use thiserror::Error;

use super::http::ResponseHead;
use super::mask::Unmaskable;
use super::query::Query;
use super::verdict::Named;
use adit_core::domain::access::Access;
use adit_core::domain::limits;

pub use address::Addresses;
pub use page::PageWriter;

/// How an answer is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrite {
    /// For Java Web Start and the Administrator Launcher.
    LaunchFile,
    /// In pieces, as it comes.
    Page,
    /// View-only: the preferences of a user, of which a dialog is made.
    Preferences,
    /// View-only: one such preference by itself.
    Preference,
    /// View-only: the outcome of a login.
    Login,
}

/// Why an answer is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unwritable {
    #[error(
        "adit: the launch file of the managed Mirth leads to another server in a way that adit cannot change"
    )]
    LeadsElsewhere,
    #[error("adit: the launch file of the managed Mirth names no server, so it might lead to another one")]
    NoServer,
    #[error("adit: the launch file of the managed Mirth cannot be read, so it might lead to another server")]
    Unreadable,
    #[error("adit: this answer of the managed Mirth is too long for its addresses to be set right")]
    TooLong,
    #[error("view-only: credentials in this answer cannot be masked. {0}")]
    Unmaskable(#[from] Unmaskable),
}

/// Pages of Mirth with addresses in them, as [`super::surface`] names them.
const PAGES: [&str; 8] = [
    "/",
    "/index.html",
    "/webadmin",
    "/webadmin/index.html",
    "/webadmin/Index.action",
    "/webadmin/Login.action",
    "/webadmin/DashboardStatistics.action",
    "/webadmin/Logout.action",
];

impl Rewrite {
    /// Returns what is rewritten of the answer to this request; `target` is the one that was judged.
    #[must_use]
    pub fn of(access: Access, method: &str, target: &str, names: &Named) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let template = names.template.as_str();
        if template.starts_with("/webstart")
            && (path.rsplit('.').next() == Some("jnlp") || template == "/webstart")
        {
            return Some(Self::LaunchFile);
        }
        if PAGES.contains(&template) {
            return Some(Self::Page);
        }
        let asks = |name: &str| match Query::parse(query) {
            Ok(query) => query.values("name").next().is_none() || query.values("name").any(|one| one == name),
            Err(_) => false,
        };
        match (access, method, names.operation?) {
            (Access::ReadOnly, "POST", "login") => Some(Self::Login),
            (Access::ReadOnly, "GET", "getUserPreferences") => (query.is_empty()
                || login::ANSWERED.iter().any(|one| asks(one.name)))
            .then_some(Self::Preferences),
            (Access::ReadOnly, "GET", "getUserPreference") => {
                let name = path.trim_end_matches('/').rsplit('/').next();
                login::ANSWERED.iter().any(|one| Some(one.name) == name).then_some(Self::Preference)
            }
            _ => None,
        }
    }

    /// Returns whether this answer is one that is rewritten; others pass as they are.
    #[must_use]
    pub fn applies_to(self, head: &ResponseHead) -> bool {
        let is_html = || {
            head.header("content-type").is_some_and(|value| {
                [&b"text/html"[..], b"application/xhtml+xml"]
                    .iter()
                    .any(|html| value.get(..html.len()).is_some_and(|start| start.eq_ignore_ascii_case(html)))
            })
        };
        match self {
            Self::LaunchFile => matches!(head.status, 200..300),
            Self::Page => is_html(),
            Self::Preferences | Self::Login => head.status == 200,
            Self::Preference => matches!(head.status, 200 | 204),
        }
    }

    /// Returns the limit of what is rewritten from the whole of it; none: in pieces.
    #[must_use]
    pub const fn bytes_max(self) -> Option<usize> {
        match self {
            Self::Page => None,
            _ => Some(limits::ADMIN_REWRITTEN_BYTES_MAX),
        }
    }

    /// Returns the whole body, rewritten, and the head with it; none where nothing is to be changed.
    pub fn whole(
        self,
        head: &mut ResponseHead,
        body: &[u8],
        addresses: &Addresses,
        target: &str,
    ) -> Result<Option<Vec<u8>>, Unwritable> {
        let is_packed =
            head.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        let text = std::str::from_utf8(body).ok().filter(|_| !is_packed && head.status != 206);
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let new = match (self, text) {
            (Self::LaunchFile, Some(text)) => launch::rewritten(text, addresses)?,
            (Self::LaunchFile, None) => return Err(Unwritable::Unreadable),
            (Self::Preferences, Some(text)) => login::preferences(text, query),
            (Self::Preference, _) => login::preference(head, target),
            (Self::Login, Some(text)) => login::without_grace(text),
            (Self::Page | Self::Preferences | Self::Login, _) => None,
        };
        Ok(new.map(String::into_bytes))
    }
}

#[cfg(test)]
mod tests;
