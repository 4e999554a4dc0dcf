//! What was looked at, and what is to be done about it.

use std::error::Error;
use std::fmt;

use adit_core::domain::visible::{error_chain, visible};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Fine,
    /// Works, and may not be what was meant.
    Warning,
    Problem,
}

/// In the order things were looked at.
#[derive(Default)]
pub(super) struct Findings(Vec<(Weight, String)>);

impl Findings {
    pub(super) fn fine(&mut self, what: impl Into<String>) {
        self.0.push((Weight::Fine, what.into()));
    }

    pub(super) fn warning(&mut self, what: impl Into<String>) {
        self.0.push((Weight::Warning, what.into()));
    }

    pub(super) fn problem(&mut self, what: impl Into<String>) {
        self.0.push((Weight::Problem, what.into()));
    }

    /// Reports a problem with its causes.
    pub(super) fn error(&mut self, error: &dyn Error) {
        self.problem(error_chain(error));
    }

    pub(super) fn has_problem(&self) -> bool {
        self.count(Weight::Problem) > 0
    }

    fn count(&self, weight: Weight) -> usize {
        self.0.iter().filter(|(found, _)| *found == weight).count()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (weight, what) in &self.0 {
            let word = match weight {
                Weight::Fine => "ok",
                Weight::Warning => "warning",
                Weight::Problem => "PROBLEM",
            };
            writeln!(f, "{word:<8} {}", visible(what))?;
        }
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (problems, warnings) = (self.count(Weight::Problem), self.count(Weight::Warning));
        writeln!(f, "{problems} problem{}, {warnings} warning{}", plural(problems), plural(warnings))
    }
}
