//! What is wrong with a file, in words that say what to write instead.

use std::fmt;

use crate::domain::visible::visible;

/// One key that must be changed before the file can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Counted from 1; absent for what the file does not contain.
    pub line: Option<usize>,
    /// Where: `metrics`, or `p2p_source "adt-to-stmary" listen`.
    pub key: String,
    /// What stands there now, as found; empty when nothing does. Never a secret.
    pub found: String,
    /// What to write.
    pub remedy: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&visible(&self.key))?;
        if !self.found.is_empty() {
            write!(f, " is {}", visible(&self.found))?;
        }
        write!(f, ": {}", visible(&self.remedy))
    }
}

/// Every problem of one file, in the order of its lines; what is absent comes last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.0))]
pub struct ConfigProblems(Vec<ConfigProblem>);

impl ConfigProblems {
    /// Returns the problems found; `None` when there is nothing wrong.
    pub(super) fn from_found(mut problems: Vec<ConfigProblem>) -> Option<Self> {
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        (!problems.is_empty()).then_some(Self(problems))
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigProblem> {
        self.0.iter()
    }
}

fn listed(problems: &[ConfigProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
