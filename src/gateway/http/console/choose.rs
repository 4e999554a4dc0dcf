//! A form of choices among things that there are.

use askama::Template;

use super::ask::Refused;
use super::fields::Fields;
use super::frame::{Frame, Shown, page_refused};

#[derive(Debug, Template)]
#[template(path = "choose.html")]
pub(super) struct Choose {
    pub(super) frame: Frame,
    pub(super) text: String,
    /// Why there is nothing to choose from, and where to go.
    pub(super) missing: Option<(&'static str, &'static str, &'static str)>,
    pub(super) path: String,
    pub(super) hidden: Vec<(&'static str, String)>,
    pub(super) choices: Vec<Choice>,
    pub(super) button: &'static str,
    pub(super) back: String,
}

#[derive(Debug)]
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    /// The value, and what is shown.
    pub(super) options: Vec<(String, String)>,
    pub(super) chosen: Chosen,
}

/// What stands in a choice before somebody chooses.
#[derive(Debug)]
pub(super) enum Chosen {
    /// The first, as is usual.
    First,
    /// What somebody has come for; nothing where it is not among the options.
    This(String),
    /// Nothing, unless there is only one option: nobody hands a thing to another by not looking.
    Nothing,
}

impl Choice {
    /// Returns what somebody has come for, if it is among the options.
    fn wanted(&self) -> &str {
        match &self.chosen {
            Chosen::This(wanted) => self.values().find(|value| value == wanted).unwrap_or_default(),
            Chosen::First | Chosen::Nothing => "",
        }
    }

    /// Returns whether nothing is chosen before somebody does.
    fn is_open(&self) -> bool {
        match &self.chosen {
            Chosen::First => false,
            Chosen::Nothing => self.options.len() > 1,
            Chosen::This(_) => self.wanted().is_empty(),
        }
    }

    fn values(&self) -> impl Iterator<Item = &str> {
        self.options.iter().map(|(value, _)| value.as_str())
    }
}

impl Choose {
    /// Shows it again with why it was not done.
    pub(super) fn again(mut self, refused: &Refused, fields: &Fields) -> Shown {
        self.frame = self.frame.again(refused, fields);
        page_refused(refused, &self)
    }
}
