//! Why a request is not served: problem details (RFC 9457) that name the rule and what would help.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::{debug, error};
use utoipa::{IntoResponses, ToSchema};

use adit_core::domain::limits::ADMIN_SECRET_VIEWS_WITHIN;
use adit_core::domain::visible::error_chain;

use crate::platform::{ActionRefusal, PeopleRefusal, PlatformError, ProviderRefusal};

/// When one whom the database kept waiting may ask again.
const DATABASE_AWAY_RETRY_SECONDS: u32 = 10;

/// The kinds there are. Programs decide by them; texts are for people and may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) enum ProblemKind {
    /// The request cannot be read.
    #[serde(rename = "urn:adit:problem:malformed")]
    Malformed,
    /// It is larger than a request may be.
    #[serde(rename = "urn:adit:problem:too-large")]
    TooLarge,
    /// It is not in JSON.
    #[serde(rename = "urn:adit:problem:media-type")]
    MediaType,
    /// It can be read, and something in it is no value for what it stands for.
    #[serde(rename = "urn:adit:problem:invalid")]
    Invalid,
    /// Nobody is signed in.
    #[serde(rename = "urn:adit:problem:sign-in")]
    SignIn,
    /// One is signed in, but not lately enough for this: sign in again, and ask again.
    #[serde(rename = "urn:adit:problem:sign-in-again")]
    SignInAgain,
    /// It may come from another site than this one.
    #[serde(rename = "urn:adit:problem:cross-site")]
    CrossSite,
    /// The user's role, or the token's, does not permit it.
    #[serde(rename = "urn:adit:problem:role")]
    Role,
    /// There is no such thing, or it is not the asker's to see.
    #[serde(rename = "urn:adit:problem:not-found")]
    NotFound,
    /// It is served by another method.
    #[serde(rename = "urn:adit:problem:method")]
    Method,
    /// The tier admits no more.
    #[serde(rename = "urn:adit:problem:tier")]
    Tier,
    /// A rule of the platform forbids it as things stand.
    #[serde(rename = "urn:adit:problem:rule")]
    Rule,
    /// It was changed since it was read.
    #[serde(rename = "urn:adit:problem:changed")]
    Changed,
    /// The key was used for another request.
    #[serde(rename = "urn:adit:problem:key-reused")]
    KeyReused,
    /// It changes what was not shown to be known: send `If-Match`.
    #[serde(rename = "urn:adit:problem:precondition")]
    Precondition,
    /// Too many requests.
    #[serde(rename = "urn:adit:problem:too-many")]
    TooMany,
    /// The database is away; nothing was changed.
    #[serde(rename = "urn:adit:problem:away")]
    Away,
    /// The database went away while it was written: whether it was made is not known.
    #[serde(rename = "urn:adit:problem:unknown")]
    Unknown,
    /// The organization's identity provider is away; a password signs in without it.
    #[serde(rename = "urn:adit:problem:provider-away")]
    ProviderAway,
    /// A fault of the gateway's.
    #[serde(rename = "urn:adit:problem:internal")]
    Internal,
}

impl ProblemKind {
    const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::SignInAgain | Self::CrossSite | Self::Role => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Tier | Self::Rule => StatusCode::CONFLICT,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::Precondition => StatusCode::PRECONDITION_REQUIRED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Away | Self::Unknown | Self::ProviderAway => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::TooLarge => "The request is too large",
            Self::MediaType => "The request is not in JSON",
            Self::Invalid => "A value is not one that is expected",
            Self::SignIn => "Sign in first",
            Self::SignInAgain => "Sign in again for this",
            Self::CrossSite => "The request may come from another site",
            Self::Role => "The role does not permit this",
            Self::NotFound => "Not found",
            Self::Method => "Not by this method",
            Self::Tier => "The tier admits no more",
            Self::Rule => "A rule forbids this",
            Self::Changed => "It was changed meanwhile",
            Self::Precondition => "Say which state is changed",
            Self::KeyReused => "The key was used for another request",
            Self::TooMany => "Too many requests",
            Self::Away => "The database is away",
            Self::Unknown => "Whether this was done is not known",
            Self::ProviderAway => "The identity provider is away",
            Self::Internal => "The gateway failed",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    /// One sentence for people: what was expected, and what to do.
    pub(crate) detail: String,
    /// What of that was sent it is about, by its name there.
    pub(crate) field: Option<String>,
    pub(crate) retry_after_seconds: Option<u32>,
}

/// Problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDetails {
    r#type: ProblemKind,
    title: &'static str,
    status: u16,
    /// What was expected, and what to do.
    detail: String,
    /// Which field of what was sent it is about, if it is about one
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), field: None, retry_after_seconds: None }
    }

    /// Says which field it is about.
    pub(crate) fn at(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }

    /// The answer to a fault of the gateway's, which the log names.
    pub(crate) fn internal() -> Self {
        Self::new(ProblemKind::Internal, "the gateway failed; its log says why, tell its operator")
    }

    /// The one answer for what is missing and what is not the asker's to see.
    pub(crate) fn not_found(resource: &str) -> Self {
        Self::new(ProblemKind::NotFound, format!("there is no such {resource}"))
    }
}

impl From<PlatformError> for Problem {
    fn from(error: PlatformError) -> Self {
        let detail = error_chain(&error);
        match error {
            PlatformError::NotFound { .. } => Self::new(ProblemKind::NotFound, detail),
            PlatformError::Refused(refusal) => {
                let (retry_after_seconds, field) = (wait_of(&refusal), field_of(&refusal).map(str::to_owned));
                Self { field, retry_after_seconds, ..Self::new(kind_of(&refusal), detail) }
            }
            PlatformError::Cursor(_) => Self::new(ProblemKind::Malformed, detail),
            PlatformError::Unknown(_) => {
                debug!(why = detail, "whether a request was served is not known");
                Self::new(
                    ProblemKind::Unknown,
                    "the database went away while this was being written; look before asking again",
                )
            }
            error if error.is_transient() => {
                debug!(why = detail, "a request is not served: the database is away or busy");
                let why = "the gateway's database is away or busy, and nothing was changed; try again";
                Self::new(ProblemKind::Away, why).retry_after(DATABASE_AWAY_RETRY_SECONDS)
            }
            PlatformError::Away(_)
            | PlatformError::Store(_)
            | PlatformError::Seal(_)
            | PlatformError::AlreadyMade { .. } => {
                error!(why = detail, "a request is not served");
                Self::internal()
            }
        }
    }
}

const fn kind_of(refusal: &ActionRefusal) -> ProblemKind {
    match refusal {
        ActionRefusal::Role(_) | ActionRefusal::NeedsOrganization | ActionRefusal::NeedsHost => {
            ProblemKind::Role
        }
        ActionRefusal::Limit(_) => ProblemKind::Tier,
        ActionRefusal::ChangedSince => ProblemKind::Changed,
        ActionRefusal::KeyReused => ProblemKind::KeyReused,
        ActionRefusal::SecretViewedOften => ProblemKind::TooMany,
        ActionRefusal::People(refusal) => kind_of_people(refusal),
        ActionRefusal::Provider(_) => ProblemKind::Invalid,
        ActionRefusal::Status(_)
        | ActionRefusal::Exists { .. }
        | ActionRefusal::PeeringOpen { .. }
        | ActionRefusal::PeeringLive { .. }
        | ActionRefusal::PeeringDecided { .. }
        | ActionRefusal::PeeringNotLive { .. }
        | ActionRefusal::NotRecipient { .. }
        | ActionRefusal::NotRequester { .. }
        | ActionRefusal::PeerFull { .. }
        | ActionRefusal::NoAgreement { .. }
        | ActionRefusal::NotPublished
        | ActionRefusal::GrantDecided { .. }
        | ActionRefusal::GrantEnded { .. }
        | ActionRefusal::NotDecider { .. }
        | ActionRefusal::NotOwner { .. }
        | ActionRefusal::NotHolder { .. }
        | ActionRefusal::SourceNeeded
        | ActionRefusal::SourceFixed
        | ActionRefusal::SameServer
        | ActionRefusal::SecretViewed
        | ActionRefusal::SecretGone
        | ActionRefusal::OfferToSelf
        | ActionRefusal::ReadWriteTier { .. }
        | ActionRefusal::NotEnrolled
        | ActionRefusal::SingleSignOn(_) => ProblemKind::Rule,
    }
}

const fn kind_of_people(refusal: &PeopleRefusal) -> ProblemKind {
    match refusal {
        PeopleRefusal::SessionEnded => ProblemKind::SignIn,
        PeopleRefusal::BrowserNeeded => ProblemKind::Role,
        PeopleRefusal::SignInAgain => ProblemKind::SignInAgain,
        PeopleRefusal::TooOften { .. } => ProblemKind::TooMany,
        PeopleRefusal::WrongPassword
        | PeopleRefusal::WrongCode
        | PeopleRefusal::Password(_)
        | PeopleRefusal::NameNeeded
        | PeopleRefusal::TokenRole { .. }
        | PeopleRefusal::TokenDays => ProblemKind::Invalid,
        PeopleRefusal::LastOwner
        | PeopleRefusal::UserExists
        | PeopleRefusal::UserDisabled
        | PeopleRefusal::ManyInvitations
        | PeopleRefusal::InvitationOver
        | PeopleRefusal::SecondFactorSet
        | PeopleRefusal::NoSecondFactor
        | PeopleRefusal::SecondFactorNeeded
        | PeopleRefusal::OwnSecondFactorFirst
        | PeopleRefusal::NoPassword
        | PeopleRefusal::ManyTokens
        | PeopleRefusal::Begun
        | PeopleRefusal::OwnLink
        | PeopleRefusal::OwnersAtProvider
        | PeopleRefusal::SignInAtProvider => ProblemKind::Rule,
    }
}

/// Returns the field that a refusal is about, where it is about the same wherever it is sent.
const fn field_of(refusal: &ActionRefusal) -> Option<&'static str> {
    match refusal {
        ActionRefusal::SourceNeeded | ActionRefusal::SameServer => Some("source_server"),
        ActionRefusal::People(PeopleRefusal::WrongCode) => Some("code"),
        ActionRefusal::People(PeopleRefusal::WrongPassword | PeopleRefusal::Password(_)) => Some("password"),
        ActionRefusal::People(PeopleRefusal::NameNeeded) => Some("name"),
        ActionRefusal::People(PeopleRefusal::UserExists) => Some("email"),
        ActionRefusal::People(PeopleRefusal::TokenRole { .. }) => Some("role"),
        ActionRefusal::People(PeopleRefusal::TokenDays) => Some("days"),
        ActionRefusal::Provider(ProviderRefusal::Unfit { .. }) => Some("issuer"),
        _ => None,
    }
}

/// Returns when one may ask again who asked too often.
fn wait_of(refusal: &ActionRefusal) -> Option<u32> {
    match refusal {
        ActionRefusal::SecretViewedOften => {
            Some(u32::try_from(ADMIN_SECRET_VIEWS_WITHIN.as_secs()).unwrap_or(u32::MAX))
        }
        ActionRefusal::People(PeopleRefusal::TooOften { seconds }) => Some(*seconds),
        _ => None,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        debug!(kind = self.kind.title(), detail = self.detail, "a request is refused");
        let details = ProblemDetails {
            r#type: self.kind,
            title: self.kind.title(),
            status: status.as_u16(),
            detail: self.detail,
            field: self.field,
        };
        let mut response = (status, axum::Json(details)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What any endpoint may answer beside its own.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "described, never made: a Problem answers")]
pub(crate) enum Problems {
    /// The request cannot be read
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDetails),
    /// Nobody is signed in
    #[response(status = 401, content_type = "application/problem+json")]
    SignIn(ProblemDetails),
    /// The role does not permit it, one is to sign in again for it, or the request may come from another site
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemDetails),
    /// There is no such thing, or it is not the asker's to see
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemDetails),
    /// A rule or the tier forbids it as things stand
    #[response(status = 409, content_type = "application/problem+json")]
    Rule(ProblemDetails),
    /// It was changed since it was read
    #[response(status = 412, content_type = "application/problem+json")]
    Changed(ProblemDetails),
    /// The request is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDetails),
    /// The request is not in JSON
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(ProblemDetails),
    /// A value is not one that is expected
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDetails),
    /// `If-Match` is needed
    #[response(status = 428, content_type = "application/problem+json")]
    Precondition(ProblemDetails),
    /// Too many requests; `Retry-After` says when to ask again
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(ProblemDetails),
    /// The database or the identity provider is away, and `Retry-After` says when to ask again; or the database went
    /// away while it was written, so look before asking again
    #[response(status = 503, content_type = "application/problem+json")]
    Away(ProblemDetails),
}
