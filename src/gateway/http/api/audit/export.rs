//! The log as a file, page by page as it is sent: the longest log takes no more memory than a page.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use tracing::debug;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Wanted;
use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::Asked;
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::platform::{AUDIT_CSV_HEAD, AuditExport, AuditView, audit_csv, audit_json_line};
use adit_core::domain::visible::error_chain;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Which entries, and how they are written.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    /// `csv` or `jsonl`
    format: String,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

impl Format {
    const fn line(self) -> fn(&AuditView) -> String {
        match self {
            Self::Csv => audit_csv,
            Self::JsonLines => audit_json_line,
        }
    }
}

/// What is still to be sent.
struct Rest {
    api: Arc<Api>,
    export: AuditExport,
    line: fn(&AuditView) -> String,
    /// The text that is sent before the next page is read.
    head: Option<&'static str>,
}

/// Sends the audit log of one's own organization as a file, the newest entries first
///
/// The file is the log of one moment: all that was on file when the export's own entry was written, which is its newest
/// where no filter leaves it out, and nothing that came later. An export with `from` goes on without a gap after an earlier
/// one with that `until`, if that time was over when the earlier one was taken. In a CSV file an apostrophe stands before
/// what a spreadsheet would take for the beginning of a formula: at the beginning of a cell, or within it behind a comma, a
/// semicolon, a double quote, a tab or a line's end. To read such a text as it was, take off the first apostrophe wherever
/// apostrophes, spaces and one of `=`, `+`, `-`, `@`, tab, carriage return, U+FF1D, U+FF0B, U+FF0D or U+FF20 follow each
/// other there.
#[utoipa::path(
    get,
    path = "/audit/export",
    tag = "audit",
    params(ExportQuery),
    responses(
        (status = 200, body = String, content_type = "text/csv"),
        (status = 200, body = String, content_type = "application/jsonl"),
        Problems
    )
)]
async fn export(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<ExportQuery>,
) -> Result<Response, Problem> {
    let format = match query.format.as_str() {
        "csv" => Format::Csv,
        "jsonl" => Format::JsonLines,
        _ => return Err(Problem::new(ProblemKind::Invalid, "`format` is `csv` or `jsonl`")),
    };
    let wanted = Wanted {
        action: query.action.as_deref(),
        actor: query.actor.as_deref(),
        object: query.object.as_deref(),
        outcome: query.outcome.as_deref(),
        from: query.from.as_deref(),
        until: query.until.as_deref(),
    };
    let export = api.platform.export_audit(&caller.initiator, &wanted.filter()?).await?;
    let (kind, disposition, head) = match format {
        Format::Csv => {
            ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\"", Some(AUDIT_CSV_HEAD))
        }
        Format::JsonLines => ("application/jsonl", "attachment; filename=\"audit.jsonl\"", None),
    };
    let rest = Rest { api, export, line: format.line(), head };
    let headers = [(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, disposition), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(unfold(Some(rest), step))).into_response())
}

/// Sends the next piece. A log that cannot be read to its end breaks the answer off, so that nobody takes a part for
/// the whole.
async fn step(rest: Option<Rest>) -> Option<(Result<Bytes, io::Error>, Option<Rest>)> {
    let mut rest = rest?;
    if let Some(head) = rest.head.take() {
        return Some((Ok(Bytes::from_static(head.as_bytes())), Some(rest)));
    }
    match rest.export.next_page(&rest.api.platform).await {
        Ok(rows) => {
            let text: String = rows?.iter().map(rest.line).collect();
            Some((Ok(Bytes::from(text)), Some(rest)))
        }
        Err(error) => {
            debug!(why = error_chain(&error), "an export of the audit log is broken off");
            Some((Err(io::Error::other("the log cannot be read")), None))
        }
    }
}
