//! What is asked once more before it is done: what ends with it, and for whom.

use askama::Template;

use super::ask::Refused;
use super::fields::Fields;
use super::filters;
use super::frame::{Frame, Shown, page_refused};
use super::shapes::{AffectedParty, Consequences};

#[derive(Debug, Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm {
    frame: Frame,
    /// What it is about.
    what: String,
    text: &'static str,
    consequences: Option<Consequences>,
    path: String,
    button: &'static str,
    /// The rule that forbids it now.
    why_not: Option<&'static str>,
    back: String,
    hidden: Vec<(&'static str, String)>,
    fields: Vec<Field>,
}

/// What must be typed.
#[derive(Debug)]
struct Field {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    autocomplete: &'static str,
}

impl Consequences {
    fn is_nothing(&self) -> bool {
        self.channels + self.connections + self.grants + self.offers == 0
    }

    fn told(&self) -> String {
        told(&[
            (self.connections, "connection"),
            (self.grants, "grant"),
            (self.offers, "offer"),
            (self.channels, "channel"),
        ])
    }
}

impl AffectedParty {
    fn told(&self) -> String {
        told(&[(self.connections, "connection"), (self.grants, "grant"), (self.offers, "offer")])
    }
}

/// Names those of which there are any, as in "2 connections, 1 grant".
fn told(counts: &[(u32, &str)]) -> String {
    let some = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = some.map(|(count, one)| filters::counted(*count, one)).collect();
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

impl Confirm {
    pub(super) fn new(frame: Frame, what: impl Into<String>) -> Self {
        Self {
            frame,
            what: what.into(),
            text: "",
            consequences: None,
            path: String::new(),
            button: "",
            why_not: None,
            back: "/".into(),
            hidden: Vec::new(),
            fields: Vec::new(),
        }
    }

    pub(super) fn saying(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    pub(super) fn ending(self, consequences: Consequences) -> Self {
        Self { consequences: Some(consequences), ..self }
    }

    pub(super) fn by(self, path: String, button: &'static str) -> Self {
        Self { path, button, ..self }
    }

    pub(super) fn unless(self, why_not: Option<&'static str>) -> Self {
        Self { why_not, ..self }
    }

    pub(super) fn back(self, back: String) -> Self {
        Self { back, ..self }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.hidden.push((name, value.into()));
        self
    }

    /// Shows it again with why it was not done.
    pub(super) fn again(mut self, refused: &Refused, fields: &Fields) -> Shown {
        self.frame = self.frame.again(refused, fields);
        page_refused(refused, &self)
    }
}
