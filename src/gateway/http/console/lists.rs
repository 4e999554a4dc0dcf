//! Pages of lists: where the next one is.

use serde::Deserialize;

use super::ask::with_query;

/// How many rows a page shows.
pub(super) const ROWS: &str = "100";

/// What a list's address holds.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) after: String,
    /// What was done before it was shown.
    #[serde(default)]
    pub(super) done: String,
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
}
