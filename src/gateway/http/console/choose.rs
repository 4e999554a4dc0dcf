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
}

impl Choice {
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
