//! A TOML text walked table by table: every key is asked for once, every problem is kept, and what
//! nobody asked for is refused.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{ConfigProblem, ConfigProblems};
use super::syntax;
use super::value::{Expected, shown};

/// Reads a whole text with `read`; gives its value only when nothing at all was wrong.
pub(super) fn parse<T>(
    text: &str,
    expected: Kind,
    read: impl FnOnce(&mut Section<'_, '_>) -> Option<T>,
) -> Result<T, ConfigProblems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    // The message alone: the parser's full text quotes the line, and that line may hold a secret.
    let broken = |error: &toml::de::Error| ConfigProblem {
        line: error.span().map(|span| line_of(text, span.start)),
        key: "this line".into(),
        found: "not TOML".into(),
        remedy: syntax::remedy(line_at(text, error), error.message()),
    };
    let mut broken: Vec<_> = errors.iter().map(broken).collect();
    // The parser's second thoughts on a line say nothing new.
    broken.dedup_by_key(|problem| problem.line);
    if let Some(problems) = ConfigProblems::from_found(broken) {
        return Err(problems);
    }
    if let Some(kind) = Kind::other_than(expected, table.get_ref()) {
        let other = ConfigProblem {
            line: None,
            key: "this".into(),
            found: kind.name().into(),
            remedy: format!("expected {}; name that one", expected.name()),
        };
        return Err(ConfigProblems::from_found(vec![other]).unwrap_or_else(|| unreachable!("one was found")));
    }
    let mut problems = Vec::new();
    let mut section = Section::new(text, String::new(), table.get_ref(), None, &mut problems);
    let value = read(&mut section);
    section.refuse_unknown_keys();
    match (ConfigProblems::from_found(problems), value) {
        (Some(problems), _) => Err(problems),
        (None, Some(value)) => Ok(value),
        (None, None) => unreachable!("a reader gives up only after recording a problem"),
    }
}

/// Which of adit's files a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Agent,
    Gateway,
    Connector,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Agent, Self::Gateway, Self::Connector];

    const fn name(self) -> &'static str {
        match self {
            Self::Agent => "an agent's file",
            Self::Gateway => "a gateway's file",
            Self::Connector => "a connector file",
        }
    }

    /// Returns the keys of the file itself that no other kind has.
    const fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Agent => &["connector", "p2p_source", "p2p_target", "admin_managed", "admin_managing"],
            Self::Gateway => &["name", "trust_domain", "relay"],
            Self::Connector => &["version", "server"],
        }
    }

    /// Returns the kind that a text is of, where it is plainly not of the expected one.
    fn other_than(expected: Self, table: &DeTable<'_>) -> Option<Self> {
        let has = |kind: Self| kind.marks().iter().any(|key| table.contains_key(*key));
        Self::ALL.into_iter().find(|kind| *kind != expected && has(*kind)).filter(|_| !has(expected))
    }
}

fn line_at<'t>(text: &'t str, error: &toml::de::Error) -> &'t str {
    error.span().and_then(|span| text.lines().nth(line_of(text, span.start) - 1)).unwrap_or_default()
}

/// One table while its keys are being read.
pub(super) struct Section<'d, 't> {
    text: &'d str,
    /// Empty for the file itself, else such as `p2p_source "adt-to-stmary"`.
    place: String,
    table: &'d DeTable<'t>,
    /// Where the table begins; the file itself has no beginning worth naming.
    line: Option<usize>,
    known: BTreeSet<&'static str>,
    problems: &'d mut Vec<ConfigProblem>,
}

impl<'d, 't> Section<'d, 't> {
    fn new(
        text: &'d str,
        place: String,
        table: &'d DeTable<'t>,
        line: Option<usize>,
        problems: &'d mut Vec<ConfigProblem>,
    ) -> Self {
        Self { text, place, table, line, known: BTreeSet::new(), problems }
    }

    /// Returns the value of a key that must be there; `None` only after recording why it is not.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Expected>,
    ) -> Option<T> {
        self.known.insert(key);
        if self.table.contains_key(key) {
            return self.optional(key, read);
        }
        let key = self.full_key(key);
        self.problems.push(ConfigProblem {
            line: self.line,
            key,
            found: "missing".into(),
            remedy: expected.into(),
        });
        None
    }

    /// Returns the value of a key that may be absent; `None` too after recording that it is wrong.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Expected>,
    ) -> Option<T> {
        self.known.insert(key);
        let value = self.table.get(key)?;
        read(value.get_ref()).map_err(|expected| self.refuse(key, value, expected)).ok()
    }

    /// Reads the table `[key]`, which may be absent.
    pub(super) fn optional_table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, '_>) -> Option<T>,
    ) -> Option<T> {
        self.known.insert(key);
        self.table.contains_key(key).then(|| self.table(key, read)).flatten()
    }

    /// Reads the table `[key]`, which must be there.
    pub(super) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, '_>) -> Option<T>,
    ) -> Option<T> {
        self.required(key, &format!("write a table `[{key}]`"), |_| Ok(()))?;
        let value = &self.table[key];
        let Some(table) = value.get_ref().as_table() else {
            self.refuse(key, value, Expected(format!("expected a table `[{key}]`")));
            return None;
        };
        self.enter(key.into(), table, value, read)
    }

    /// Reads each table `[[key]]`, up to `count_max` of them; what has a problem is left out.
    pub(super) fn each_table<T>(
        &mut self,
        key: &'static str,
        count_max: usize,
        mut read: impl FnMut(&mut Section<'_, '_>) -> Option<T>,
    ) -> Vec<T> {
        self.known.insert(key);
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_array() else {
            self.refuse(key, value, Expected(format!("expected entries that each begin with `[[{key}]]`")));
            return Vec::new();
        };
        if entries.len() > count_max {
            self.refuse(key, value, Expected(format!("expected at most {count_max} entries")));
            return Vec::new();
        }
        let mut read_entries = Vec::with_capacity(entries.len());
        for (entry, number) in entries.iter().zip(1..) {
            let Some(table) = entry.get_ref().as_table() else {
                self.refuse(key, entry, Expected(format!("expected a table that begins with `[[{key}]]`")));
                continue;
            };
            let name = table.get("name").and_then(|name| name.get_ref().as_str());
            let place = name.map_or_else(|| format!("{key} {number}"), |name| format!("{key} {name:?}"));
            read_entries.extend(self.enter(place, table, entry, &mut read));
        }
        read_entries
    }

    /// Returns whether a key is written, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Records that a value which reads well cannot stand beside another.
    pub(super) fn clash(&mut self, key: &'static str, remedy: String) {
        if let Some(value) = self.table.get(key) {
            self.refuse(key, value, Expected(remedy));
        }
    }

    /// Returns the place, for a problem of another entry to name this one.
    pub(super) fn place(&self) -> String {
        self.line.map_or_else(|| self.place.clone(), |line| format!("{} on line {line}", self.place))
    }

    fn enter<T>(
        &mut self,
        place: String,
        table: &DeTable<'_>,
        value: &Spanned<DeValue<'_>>,
        read: impl FnOnce(&mut Section<'_, '_>) -> Option<T>,
    ) -> Option<T> {
        let line = line_of(self.text, value.span().start);
        let mut section = Section::new(self.text, place, table, Some(line), self.problems);
        let value = read(&mut section);
        section.refuse_unknown_keys();
        value
    }

    fn refuse(&mut self, key: &'static str, value: &Spanned<DeValue<'_>>, expected: Expected) {
        let problem = ConfigProblem {
            line: Some(line_of(self.text, value.span().start)),
            key: self.full_key(key),
            found: shown(key, value.get_ref()),
            remedy: expected.0,
        };
        self.problems.push(problem);
    }

    fn refuse_unknown_keys(mut self) {
        for (key, _) in self.table {
            if self.known.contains(&**key.get_ref()) {
                continue;
            }
            let problem = ConfigProblem {
                line: Some(line_of(self.text, key.span().start)),
                key: self.full_key(key.get_ref()),
                found: "no key of this file".into(),
                remedy: suggestion(key.get_ref(), &self.known),
            };
            self.problems.push(problem);
        }
        self.known.clear();
    }

    fn full_key(&self, key: &str) -> String {
        if self.place.is_empty() { key.into() } else { format!("{} {key}", self.place) }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// Returns the nearest known key, or all of them when none is near.
fn suggestion(unknown: &str, known: &BTreeSet<&'static str>) -> String {
    let nearest = known.iter().map(|key| (edit_distance(unknown, key), key)).min();
    match nearest {
        Some((distance, key)) if distance <= key.len().div_ceil(3) => format!("did you mean `{key}`?"),
        _ => {
            let keys = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            format!("remove it; the keys here are {keys}")
        }
    }
}

/// Returns the edit distance, Levenshtein's: single letters inserted, removed or replaced.
fn edit_distance(unknown: &str, key: &str) -> usize {
    // No key of ours is longer, and what is compared is quadratic.
    let cut: String = unknown.chars().take(64).collect();
    strsim::levenshtein(&cut, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_two_words_counts_single_letters() {
        let check =
            |left, right, distance| assert_eq!(edit_distance(left, right), distance, "{left} {right}");
        check("listen", "listen", 0);
        check("lisen", "listen", 1);
        check("metrics", "metric", 1);
        check("", "state", 5);
        check("forward-to", "forward_to", 1);
    }
}
