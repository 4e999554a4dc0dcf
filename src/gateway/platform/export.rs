//! The audit log on its way out of the platform, a page at a time, and an entry of it as a line of a CSV file
//! (RFC 4180) or of JSON. That somebody takes it is in the log itself, once.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

use adit_core::domain::limits::PAGE_ROWS_MAX;
use adit_core::domain::name::Name;
use adit_core::domain::page::Paging;
use adit_core::domain::role::Permission;

use super::act::Act;
use super::error::PlatformError;
use super::lists::AuditView;
use super::{Action, AuditFilter, Initiator, Platform};

/// An export that goes on while it is asked for pages.
#[derive(Debug)]
pub struct AuditExport {
    initiator: Initiator,
    filter: AuditFilter,
    /// Where the next page begins; `None` after the last.
    paging: Option<Paging>,
}

impl Platform {
    /// Begins an export of the entries that the asker may read, the newest first.
    pub async fn export_audit(
        &self,
        initiator: &Initiator,
        filter: &AuditFilter,
    ) -> Result<AuditExport, PlatformError> {
        let described = described(filter);
        self.act(initiator, Action::ExportAudit, "audit log", async move |act: &mut Act| {
            if !act.is_host() {
                act.member(Permission::See)?;
            }
            act.describe(described.as_str());
            Ok::<_, PlatformError>(())
        })
        .await?;
        let paging = Some(Paging::first(PAGE_ROWS_MAX));
        Ok(AuditExport { initiator: initiator.clone(), filter: filter.clone(), paging })
    }
}

impl AuditExport {
    /// Returns the next entries, which may be none while there are more; `None` after the last.
    pub async fn next_page(&mut self, platform: &Platform) -> Result<Option<Vec<AuditView>>, PlatformError> {
        let Some(paging) = self.paging.clone() else { return Ok(None) };
        let page = platform.list_audit(&self.initiator, &self.filter, &paging).await?;
        self.paging = page.next.map(|next| paging.after(Some(next)));
        Ok(Some(page.rows))
    }
}

/// Of what was looked for, as far as the entry tells of it.
const OBJECT_CHARS_MAX: usize = 80;

/// Says which entries were taken.
fn described(filter: &AuditFilter) -> String {
    let AuditFilter { organization: _, action, actor, object, outcome, from, until } = filter;
    let mut words = Vec::new();
    words.extend(action.as_ref().map(|action| format!("action {action}")));
    words.extend(actor.as_ref().map(|_| "some actors".to_owned()));
    words.extend(
        object
            .as_ref()
            .map(|object| format!("object {}", object.chars().take(OBJECT_CHARS_MAX).collect::<String>())),
    );
    words.extend(outcome.map(|outcome| format!("outcome {}", outcome.as_str())));
    words.extend(from.map(|from| format!("from {from}")));
    words.extend(until.map(|until| format!("until {until}")));
    if words.is_empty() { "all entries".to_owned() } else { words.join(", ") }
}

/// The first line of a CSV export.
pub const AUDIT_CSV_HEAD: &str = "id,at,organization,actor,action,object,outcome,detail,times\r\n";

/// Returns an entry as a line of CSV. A cell that a spreadsheet would take for a formula begins with an
/// apostrophe.
#[must_use]
pub fn audit_csv(entry: &AuditView) -> String {
    let (id, times) = (entry.id.to_string(), entry.times.to_string());
    let (at, organization) = (entry.at.to_string(), entry.organization.as_ref());
    let cells = [
        id.as_str(),
        &at,
        organization.map_or("", Name::as_str),
        &entry.actor,
        &entry.action,
        &entry.object,
        &entry.outcome,
        &entry.detail,
        &times,
    ];
    let mut line = String::new();
    for (number, cell) in cells.into_iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(line, "{}{}", if number == 0 { "" } else { "," }, csv_cell(cell));
    }
    line.push_str("\r\n");
    line
}

/// RFC 4180 §2.5 to §2.7.
fn csv_cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !is_formula && !text.contains([',', '"', '\r', '\n']) {
        return Cow::Borrowed(text);
    }
    let guard = if is_formula { "'" } else { "" };
    Cow::Owned(format!("\"{guard}{}\"", text.replace('"', "\"\"")))
}

/// An entry as programs read it.
#[derive(Serialize)]
struct JsonEntry<'a> {
    id: i64,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<&'a str>,
    actor: &'a str,
    action: &'a str,
    object: &'a str,
    outcome: &'a str,
    detail: &'a str,
    times: u32,
}

/// Returns an entry as a line of JSON.
#[must_use]
pub fn audit_json_line(entry: &AuditView) -> String {
    let json = JsonEntry {
        id: entry.id,
        at: entry.at.to_string(),
        organization: entry.organization.as_ref().map(Name::as_str),
        actor: &entry.actor,
        action: &entry.action,
        object: &entry.object,
        outcome: &entry.outcome,
        detail: &entry.detail,
        times: entry.times,
    };
    // Texts and numbers can always be written.
    let mut line = serde_json::to_string(&json).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_core::domain::time::Timestamp;

    fn entry(actor: &str, detail: &str) -> AuditView {
        AuditView {
            id: 7,
            at: Timestamp::from_millis(1_795_510_800_000),
            organization: Some("St Mary".parse().unwrap()),
            actor: actor.into(),
            action: "add server".into(),
            object: "server 1".into(),
            outcome: "done".into(),
            detail: detail.into(),
            times: 2,
        }
    }

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_a_text() {
        for start in ["=", "+", "-", "@", "\t", "\r"] {
            let line = audit_csv(&entry(&format!("{start}cmd|' /C calc'!A0"), ""));
            assert_eq!(
                line,
                format!(
                    "7,2026-11-24T09:00:00Z,St Mary,\"'{start}cmd|' /C calc'!A0\",add server,server 1,done,,2\r\n"
                )
            );
        }
    }

    #[test]
    fn commas_quotes_and_line_ends_stay_within_their_cell() {
        let line = audit_csv(&entry("Ada", "a \"b\", c\r\nd"));
        assert_eq!(
            line,
            "7,2026-11-24T09:00:00Z,St Mary,Ada,add server,server 1,done,\"a \"\"b\"\", c\r\nd\",2\r\n"
        );
        assert_eq!(AUDIT_CSV_HEAD.matches(',').count(), 8);
    }

    #[test]
    fn a_line_of_json_is_one_line_whatever_is_in_it() {
        let line = audit_json_line(&entry("=Ada", "a \"b\"\nc"));
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["actor"], &read["detail"]), (&"=Ada".into(), &"a \"b\"\nc".into()));
    }
}
