//! What the files about people share: why they are refused, and where a request comes from.

use std::fmt;
use std::net::IpAddr;

use adit_core::domain::limits::{
    API_TOKEN_DAYS_MAX, API_TOKENS_MAX, INVITATIONS_OPEN_MAX, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN,
    USER_SESSION_FRESH,
};
use adit_core::domain::role::UserRole;

/// A rule about people and their sign-in that forbids what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeopleRefusal {
    /// One text for whatever is wrong of the three, and for a user that is disabled.
    #[error("the organization, the e-mail address or the password is wrong")]
    WrongPassword,
    #[error("the code is wrong, or was used before; wait for the next one")]
    WrongCode,
    /// Of a session or a token that ended meanwhile.
    #[error("what you have shown has ended meanwhile; sign in again, or show another API token")]
    SessionEnded,
    #[error("this is done by who signs in with a browser; an API token cannot")]
    BrowserNeeded,
    #[error(
        "sign in again first: what lets people in is changed within {} minutes of signing in",
        USER_SESSION_FRESH.as_secs() / 60
    )]
    SignInAgain,
    #[error("a link sets the password of another user; change your own by the one you have")]
    OwnLink,
    #[error("too many attempts; try again in {seconds} s")]
    TooOften { seconds: u32 },
    #[error(transparent)]
    Password(#[from] WeakPassword),
    #[error("write your name; it stands in your organization's audit log")]
    NameNeeded,
    #[error("this is the last owner who can sign in; make somebody else an owner first")]
    LastOwner,
    #[error(
        "after this no owner would be sure to sign in: give an owner a password first, by a sign-in link (POST \
         /api/v1/users/ID/sign-in-link)"
    )]
    OwnersAtProvider,
    #[error(
        "users of your organization sign in at its identity provider, not with a password: use single sign-on"
    )]
    SignInAtProvider,
    #[error(
        "the organization has a user with this e-mail address; a sign-in link lets one set a new password"
    )]
    UserExists,
    #[error("the user is disabled; enable the user first")]
    UserDisabled,
    #[error("{INVITATIONS_OPEN_MAX} invitations are open; revoke some, or wait until they expire")]
    ManyInvitations,
    #[error("the invitation was accepted, revoked or has expired already; there is nothing left to revoke")]
    InvitationOver,
    #[error("a second factor is set up already; remove it first")]
    SecondFactorSet,
    #[error("no second factor is set up; begin with that")]
    NoSecondFactor,
    #[error(
        "the organization needs a second factor of its users; it can be replaced by an owner's sign-in link alone"
    )]
    SecondFactorNeeded,
    #[error("set up your own second factor first; else the rule would shut you out")]
    OwnSecondFactorFirst,
    #[error(
        "the user signs in at the organization's identity provider and has no password here; it is changed there"
    )]
    NoPassword,
    #[error("{API_TOKENS_MAX} API tokens are good; revoke one first")]
    ManyTokens,
    #[error("an API token may have at most its user's role, {role}")]
    TokenRole { role: UserRole },
    #[error("an API token is good for 1 to {API_TOKEN_DAYS_MAX} days")]
    TokenDays,
    #[error("the gateway has an organization already; `adit admin user invite` adds users")]
    Begun,
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    #[error("a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")]
    Length,
    #[error(
        "the password is, or is little more than, the name, the e-mail address or the organization; choose \
         another"
    )]
    Name,
    #[error("the password is one of those that are tried first; choose another")]
    Common,
}

/// Where a request comes from.
#[derive(Clone)]
pub struct Visit {
    pub address: IpAddr,
    /// What the browser calls itself.
    pub agent: String,
    /// What it was given when somebody signed in with it before.
    pub device: Option<String>,
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Visit({}, device: {})", self.address, self.device.is_some())
    }
}
