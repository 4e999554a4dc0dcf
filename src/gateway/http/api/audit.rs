//! The audit log of one's own organization: in pages, and whole for other programs.

mod export;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Asked, optional, paging};
use crate::http::output::{Rows, Time};
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::platform::{Action, AuditFilter, AuditOutcome, AuditView, entry_id};
use adit_core::domain::page::Search;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).merge(export::routes())
}

/// What was done, or refused.
#[derive(Debug, Serialize, ToSchema)]
struct AuditEntry {
    /// Tells entries apart and nothing else
    id: String,
    at: Time,
    /// One's own by name, others by their organization
    actor: String,
    action: String,
    object: String,
    /// `done`, `refused` or `alert`
    outcome: String,
    detail: String,
    /// How often within its minute
    times: u32,
}

fn shown(view: AuditView) -> AuditEntry {
    AuditEntry {
        id: entry_id(&view),
        at: view.at.into(),
        actor: view.actor,
        action: view.action,
        object: view.object,
        outcome: view.outcome,
        detail: view.detail,
        times: view.times,
    }
}

/// Which entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// As in an entry, such as `view secret`
    action: Option<String>,
    /// A part of what the actor is called
    actor: Option<String>,
    /// As in an entry, such as `connection` and its id
    object: Option<String>,
    /// `done`, `refused` or `alert`
    outcome: Option<String>,
    /// Written then or later
    #[param(format = DateTime)]
    from: Option<String>,
    /// Written earlier
    #[param(format = DateTime)]
    until: Option<String>,
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

/// Which entries, as they are asked for.
#[derive(Debug, Default)]
struct Wanted<'a> {
    action: Option<&'a str>,
    actor: Option<&'a str>,
    object: Option<&'a str>,
    outcome: Option<&'a str>,
    from: Option<&'a str>,
    until: Option<&'a str>,
}

impl Wanted<'_> {
    fn filter(&self) -> Result<AuditFilter, Problem> {
        optional::<Search>("object", self.object)?;
        Ok(AuditFilter {
            organization: None,
            action: self.action.map(known_action).transpose()?.map(|action| action.to_string()),
            actor: optional("actor", self.actor)?,
            object: self.object.map(str::to_owned),
            outcome: self.outcome.map(known_outcome).transpose()?,
            from: optional("from", self.from)?,
            until: optional("until", self.until)?,
            ..AuditFilter::default()
        })
    }
}

fn known_action(text: &str) -> Result<Action, Problem> {
    let known = Action::ALL.into_iter().find(|action| action.as_str() == text);
    known.ok_or_else(|| {
        Problem::new(ProblemKind::Invalid, "`action` is no action of the log; write one as an entry has it")
    })
}

fn known_outcome(text: &str) -> Result<AuditOutcome, Problem> {
    let all = [AuditOutcome::Done, AuditOutcome::Refused, AuditOutcome::Alert];
    let known = all.into_iter().find(|outcome| outcome.as_str() == text);
    known.ok_or_else(|| Problem::new(ProblemKind::Invalid, "`outcome` is `done`, `refused` or `alert`"))
}

/// Lists the audit log of one's own organization, the newest entries first
///
/// A page may have fewer rows than were asked for, even none, and more after it: `next` says so.
#[utoipa::path(
    get,
    path = "/audit",
    tag = "audit",
    params(AuditQuery),
    responses((status = 200, body = Rows<AuditEntry>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<AuditQuery>,
) -> Result<Json<Rows<AuditEntry>>, Problem> {
    let wanted = Wanted {
        action: query.action.as_deref(),
        actor: query.actor.as_deref(),
        object: query.object.as_deref(),
        outcome: query.outcome.as_deref(),
        from: query.from.as_deref(),
        until: query.until.as_deref(),
    };
    let (filter, paging) = (wanted.filter()?, paging(query.after.as_deref(), query.count)?);
    let page = api.platform.list_audit(&caller.initiator, &filter, &paging).await?;
    Ok(Json(Rows::of(page, shown)))
}
