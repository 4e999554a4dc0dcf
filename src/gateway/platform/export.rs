//! The audit log on its way out of the platform, a page at a time, and an entry of it as a line of a CSV file
//! (RFC 4180) or of JSON. That somebody takes it is in the log itself, once.
//!
//! An export is the log as it stands with that entry, which is its newest: all that was on file before, whatever time it
//! bears, and nothing that came later, however long the export takes. The entry is written alone, when every act that
//! had begun is over; an act that begins later bears a later time. So of two exports the second has all that the first
//! has, and one from a time on goes on without a gap after one until that time, if that time was over when it was taken.
//! Only how often a repeated entry counts may still grow within its span.

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
use crate::store::{StoreError, Tx};

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
        self.flush_counted().await?;
        let entry = self
            .act_alone(initiator, Action::ExportAudit, "audit log", async move |act: &mut Act| {
                if !act.is_host() {
                    act.member(Permission::See)?;
                }
                act.describe(described.as_str());
                Ok::<_, PlatformError>(act.id())
            })
            .await?;
        let upto = self
            .look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.last_of_act(entry).await?))
            .await?
            .ok_or(StoreError::Damaged { column: "act" })?;
        let filter = AuditFilter { upto: Some(upto), ..filter.clone() };
        let paging = Some(Paging::first(PAGE_ROWS_MAX));
        Ok(AuditExport { initiator: initiator.clone(), filter, paging })
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
    let AuditFilter { organization: _, action, actor, object, outcome, from, until, upto: _ } = filter;
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

/// Returns an entry's id as programs read it: no number that some of them would round.
#[must_use]
pub fn entry_id(entry: &AuditView) -> String {
    hex::encode(entry.id.to_be_bytes())
}

/// The first line of a CSV export.
pub const AUDIT_CSV_HEAD: &str = "id,at,organization,actor,action,object,outcome,detail,times\r\n";

/// Returns an entry as a line of CSV (RFC 4180). Before what a spreadsheet would take for the beginning of a formula there
/// is an apostrophe, wherever some program may see the beginning of a cell; [`guarded`] says how to take it off.
#[must_use]
pub fn audit_csv(entry: &AuditView) -> String {
    let (id, times) = (entry_id(entry), entry.times.to_string());
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
    match guarded(text) {
        Cow::Borrowed(text) if !text.contains([',', ';', '"', '\t', '\r', '\n']) => Cow::Borrowed(text),
        text => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
    }
}

/// What begins a formula (OWASP, "CSV injection"), also as East Asian spreadsheets write it.
const FORMULA_STARTS: [char; 10] =
    ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
/// Behind which a program may see another cell: which of them part cells depends on the country and on the program.
const CELL_ENDS: [char; 6] = [',', ';', '"', '\t', '\r', '\n'];

/// Puts an apostrophe before what begins a formula at the beginning of a cell: of the text, or behind one of
/// [`CELL_ENDS`]. Apostrophes and spaces that stand there already do not count, so that it can be taken off again: wherever
/// a cell begins with apostrophes, spaces and a formula's beginning, in this order, the first apostrophe is ours.
fn guarded(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut rest, mut taken) = (text, 0);
    loop {
        let begins = rest.trim_start_matches('\'').trim_start_matches(' ');
        if begins.starts_with(FORMULA_STARTS) {
            out.push_str(&text[taken..text.len() - rest.len()]);
            out.push('\'');
            taken = text.len() - rest.len();
        }
        let Some(end) = rest.find(CELL_ENDS) else { break };
        // All of them are one byte long.
        rest = &rest[end + 1..];
    }
    if taken == 0 && out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[taken..]);
    Cow::Owned(out)
}

/// An entry as programs read it.
#[derive(Serialize)]
struct JsonEntry<'a> {
    id: String,
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
        id: entry_id(entry),
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

    /// Reads a cell back as the documentation of an export says.
    fn unguarded(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        loop {
            let begins = rest.trim_start_matches('\'').trim_start_matches(' ');
            if rest.starts_with('\'') && begins.starts_with(FORMULA_STARTS) {
                rest = &rest[1..];
            }
            let Some(end) = rest.find(CELL_ENDS) else { break };
            out.push_str(&rest[..=end]);
            rest = &rest[end + 1..];
        }
        out + rest
    }

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_a_text() {
        for start in FORMULA_STARTS {
            let line = audit_csv(&entry(&format!("{start}cmd|' /C calc'!A0"), ""));
            let cell = format!("'{start}cmd|' /C calc'!A0");
            assert!(line.contains(&format!("St Mary,\"{cell}\",add server")), "{line:?}");
        }
    }

    #[test]
    fn no_formula_begins_behind_anything_that_may_part_cells() {
        for (text, expected) in [
            ("a;=1+1", "a;'=1+1"),
            ("a\n=1", "a\n'=1"),
            ("a\r\n\u{ff1d}1", "a\r\n'\u{ff1d}1"),
            ("a\t@x", "a\t'@x"),
            ("\"=1", "\"'=1"),
            ("a, -b", "a,' -b"),
            (" =1", "' =1"),
            ("'=1", "''=1"),
            ("\t=1", "'\t'=1"),
            ("a-b=c", "a-b=c"),
            ("from Paused to Active", "from Paused to Active"),
        ] {
            assert_eq!(guarded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_guarded_is_read_back_as_it_was() {
        use proptest::prelude::{prop, proptest};
        let pieces = ["=", "+", "'", " ", ",", ";", "\"", "\t", "\r", "\n", "\u{ff0b}", "a", "-"];
        proptest!(|(text in prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12))| {
            let text = text.concat();
            let guarded = guarded(&text);
            assert_eq!(unguarded(&guarded), text);
            for cell in guarded.split(CELL_ENDS) {
                assert!(!cell.trim_start_matches(' ').starts_with(FORMULA_STARTS), "{guarded:?}");
            }
        });
    }

    #[test]
    fn commas_quotes_and_line_ends_stay_within_their_cell() {
        let line = audit_csv(&entry("Ada", "a \"b\", c\r\nd"));
        assert_eq!(
            line,
            "0000000000000007,2026-11-24T09:00:00Z,St Mary,Ada,add server,server 1,done,\"a \"\"b\"\", c\r\nd\",2\r\n"
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
