//! What operations that change nothing make on the server all the same, from `mirth-side-effects.tsv`:
//! rows of Mirth's event log, and tables or maps for channels that somebody made up.
//!
//! Each kind has a size, a pace and a question of its own. Asking and waiting are the agent's.

use std::sync::LazyLock;

use super::operation::{OPERATIONS, Operations, rows, shape};

/// What one call of an operation makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SideEffect {
    pub logged: Logged,
    /// Where the ids of channels stand that must be known to Mirth before the call.
    pub channels: Option<ChannelIds>,
    /// The longest body, where it is shorter than its kind may be.
    pub bytes_max: Option<usize>,
}

/// What is added to Mirth's event log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Logged {
    #[default]
    Nothing,
    /// A row with the request's parameters.
    Event,
    /// A row in the client's own words: a record of Mirth's own audit.
    Audit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelIds {
    Path,
    Query,
    Body,
}

impl SideEffect {
    /// Returns what to tell of it, after "which".
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match (self.logged, self.channels) {
            (Logged::Audit, _) => "adds a record to Mirth's own audit, paced and counted",
            (_, Some(_)) => "changes nothing once Mirth has said that it has each channel",
            (_, None) => "changes nothing",
        }
    }
}

const TABLE: &str = include_str!("data/mirth-side-effects.tsv");

/// One for each of [`Operations::all`]. What the table does not have is taken to be logged.
static SIDE_EFFECTS: LazyLock<Vec<SideEffect>> = LazyLock::new(|| by_operation(&OPERATIONS));

/// Returns what the operation at `template` makes; nothing where no such operation is known.
#[must_use]
pub fn of(method: &str, template: &str) -> SideEffect {
    let number = OPERATIONS.of_shape(method, shape(template));
    number.and_then(|number| SIDE_EFFECTS.get(number)).copied().unwrap_or_default()
}

fn by_operation(operations: &Operations) -> Vec<SideEffect> {
    let unread = SideEffect { logged: Logged::Event, ..SideEffect::default() };
    let mut effects = vec![unread; operations.all().len()];
    for (method, template, effect) in rows(TABLE, read) {
        if let Some(number) = operations.of_shape(method, shape(template)) {
            effects[number] = effect;
        }
    }
    effects
}

fn read(columns: &[&'static str]) -> Option<(&'static str, &'static str, SideEffect)> {
    let [method, template, each_call, unknown_ids, size, _reason] = *columns else { return None };
    let logged = match each_call {
        "-" => Logged::Nothing,
        "event" => Logged::Event,
        "audit" => Logged::Audit,
        _ => return None,
    };
    let channels = match unknown_ids {
        "-" => None,
        "tables:path" | "map:path" => Some(ChannelIds::Path),
        "map:query" => Some(ChannelIds::Query),
        "map:body" => Some(ChannelIds::Body),
        _ => return None,
    };
    let bytes_max = match size {
        "-" => None,
        bytes => Some(bytes.parse().ok()?),
    };
    Some((method, template, SideEffect { logged, channels, bytes_max }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::operation::{Class, Source};
    use super::*;

    #[test]
    fn every_operation_that_is_no_write_has_one_row_with_a_reason() {
        let listed: Vec<_> = rows(TABLE, read).map(|(method, template, _)| (method, template)).collect();
        let lines: Vec<_> = TABLE.lines().skip(2).collect();
        assert_eq!(listed.len(), lines.len(), "every row is understood");
        assert!(lines.iter().all(|line| line.rsplit('\t').next().is_some_and(|reason| reason.len() > 10)));
        let due: BTreeSet<_> = OPERATIONS
            .all()
            .iter()
            .filter(|known| known.class != Class::Write && known.source == Source::Current)
            .map(|known| (known.method, known.template))
            .collect();
        assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), due);
        assert_eq!(listed.len(), due.len(), "each has one row");
    }

    #[test]
    fn whatever_mirth_lists_as_auditable_is_logged() {
        let operations = include_str!("data/mirth-operations.tsv").lines().skip(2);
        for line in operations {
            let columns: Vec<_> = line.split('\t').collect();
            let (method, template, auditable, class) = (columns[0], columns[1], columns[6], columns[10]);
            if class == "write" || template == "/server/status" || method == "PUT" {
                continue;
            }
            assert_eq!(of(method, template).logged != Logged::Nothing, auditable == "yes", "{line}");
        }
    }

    #[test]
    fn only_a_record_of_mirths_own_audit_has_up_to_two_kibibytes_of_the_clients_words() {
        let audits: Vec<_> = OPERATIONS
            .all()
            .iter()
            .filter(|known| of(known.method, known.template).logged == Logged::Audit)
            .map(|known| (known.name, of(known.method, known.template).bytes_max))
            .collect();
        assert_eq!(
            audits,
            [
                ("auditAccessedPHIMessage", Some(2048)),
                ("auditExportMessages", Some(2048)),
                ("auditExportMessagesSuccess", Some(2048)),
                ("auditQueriedPHIMessage", Some(2048)),
            ]
        );
    }

    #[test]
    fn what_is_no_operation_makes_nothing() {
        for template in ["unknown", "unjudged", "/webadmin/Index.action", "/nowhere", ""] {
            assert_eq!(of("GET", template), SideEffect::default(), "{template}");
        }
        assert_eq!(of("POST", "/channels").logged, Logged::Event, "a write is not in the table");
    }

    #[test]
    fn a_row_that_is_not_understood_whole_is_no_row() {
        assert!(read(&["GET", "/x", "event", "map:path", "-", "why"]).is_some());
        for odd in [
            ["GET", "/x", "events", "-", "-", "why"],
            ["GET", "/x", "event", "map:header", "-", "why"],
            ["GET", "/x", "event", "-", "big", "why"],
        ] {
            assert_eq!(read(&odd), None, "{odd:?}");
        }
    }
}
