//! Pages of lists: where the next one is.

use serde::Deserialize;

use super::ask::with_query;
use super::frame::Viewer;

/// How many rows a page shows: few enough for a page that weighs little, for it is not compressed. What others wrote
/// stands on it beside what they may not know, and how far both compress together would tell those who see its length
/// on the way whether they are alike (as in BREACH).
pub(super) const ROWS: &str = "20";
/// And as many as somebody wants who would rather see more at once.
pub(super) const MORE_ROWS: &str = "100";

/// What a list's address holds.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) after: String,
    /// Whether it is narrowed to what one has to decide.
    #[serde(default)]
    pub(super) waiting: String,
    /// What ends soon of what it is narrowed to.
    #[serde(default)]
    pub(super) ending: String,
    /// What was done before it was shown.
    #[serde(default)]
    pub(super) done: String,
}

impl Asked {
    /// Returns the viewer's organization where what it has to decide is asked for.
    pub(super) fn decider<'v>(&self, viewer: &'v Viewer) -> &'v str {
        if self.waiting == "true" { &viewer.session.user.organization } else { "" }
    }
}

/// Where one may go from a page of a list.
#[derive(Debug, Clone, Default)]
pub(super) struct Pager {
    pub(super) next: Option<String>,
    pub(super) first: Option<String>,
}

impl Pager {
    /// Returns that of a list at `path`, with what else its address holds.
    pub(super) fn new(path: &str, filter: &[(&str, &str)], after: &str, next: Option<&str>) -> Self {
        let next = next.map(|next| with_query(path, &[filter, &[("after", next)]].concat()));
        let first = (!after.is_empty()).then(|| with_query(path, filter));
        Self { next, first }
    }

    /// Returns the same where the list is not the first thing on its page: each page begins at the part with that id.
    pub(super) fn at(self, id: &str) -> Self {
        let at = |path: Option<String>| path.map(|path| format!("{path}#{id}"));
        Self { next: at(self.next), first: at(self.first) }
    }
}
