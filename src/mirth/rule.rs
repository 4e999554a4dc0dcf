//! What a view-only partner may ask of Mirth's API, compiled from `mirth-read-only-rules.tsv`. A rule
//! is the right to one operation; what has none is denied.

use std::sync::LazyLock;

use adit_core::domain::access::OptIn;

use super::body::BodyKind;
use super::operation::{OPERATIONS, Operations, rows};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// `GET` of the table's `GET|HEAD`: HEAD is never needed, and its missing body invites an origin and
    /// a client to disagree on where the next answer begins.
    pub method: &'static str,
    pub segments: Vec<Segment>,
    pub action: Action,
    pub body: BodyKind,
    /// Query parameters that may only name columns.
    pub columns: Vec<&'static str>,
    pub operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Any,
    /// `-?[0-9]{1,19}`
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Forward,
    /// Only where the owner shows it.
    OwnerOptIn(OptIn),
    /// 204 without asking Mirth: the Administrator sends it at every logout.
    AnswerLocally,
}

const TABLE: &str = include_str!("data/mirth-read-only-rules.tsv");
const ANY: &str = "(?:[A-Za-z0-9._~@+!$'()*,:=&-]|%[0-9A-Fa-f]{2})+";
const NUMBER: &str = "-?[0-9]{1,19}";
const DIGITS_MAX: usize = 19;

/// A rule for each of [`Operations::all`] that has one.
pub(crate) static RULES: LazyLock<Vec<Option<Rule>>> = LazyLock::new(|| by_operation(&OPERATIONS));

fn by_operation(operations: &Operations) -> Vec<Option<Rule>> {
    let mut rules: Vec<_> = operations.all().iter().map(|_| None).collect();
    for rule in rows(TABLE, Rule::read) {
        let shape = rule.segments.iter().map(Segment::literal);
        if let Some(number) = operations.of_shape(rule.method, shape) {
            rules[number] = Some(rule);
        }
    }
    rules
}

impl Rule {
    fn read(columns: &[&'static str]) -> Option<Self> {
        let [methods, regex, action, body, operation] = *columns else { return None };
        let mut words = body.split("; check ");
        let body = BodyKind::parse(words.next()?)?;
        let columns = words.flat_map(|names| names.split(", ")).collect();
        let segments = segments(regex)?;
        let method = methods.split('|').next()?;
        let action = action_of(action, operation)?;
        Some(Self { method, segments, action, body, columns, operation })
    }

    /// Returns whether these segments, found to be of the rule's operation, also have the values it asks for.
    #[must_use]
    pub(crate) fn admits(&self, segments: &[&str]) -> bool {
        self.segments.len() == segments.len()
            && self.segments.iter().zip(segments).all(|(rule, segment)| rule.admits(segment))
    }
}

impl Segment {
    fn read(regex: &str) -> Option<Self> {
        match regex {
            ANY => return Some(Self::Any),
            NUMBER => return Some(Self::Number),
            _ => {}
        }
        let literal = regex.replace("\\.", ".");
        let is_literal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        (!literal.is_empty() && literal.bytes().all(is_literal)).then_some(Self::Literal(literal))
    }

    fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(literal) => Some(literal),
            Self::Any | Self::Number => None,
        }
    }

    fn admits(&self, segment: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == segment,
            // Whatever else ANY excludes, `Path` has refused.
            Self::Any => true,
            Self::Number => is_number(segment),
        }
    }
}

fn segments(regex: &str) -> Option<Vec<Segment>> {
    let inner = regex.strip_prefix("^/")?.strip_suffix("/?$")?;
    inner.split('/').map(Segment::read).collect()
}

fn is_number(segment: &str) -> bool {
    let digits = segment.strip_prefix('-').unwrap_or(segment);
    (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn action_of(word: &str, operation: &str) -> Option<Action> {
    match (word, operation) {
        ("forward", _) => Some(Action::Forward),
        ("answer-204-locally", _) => Some(Action::AnswerLocally),
        ("owner-opt-in", "getServerConfiguration") => Some(Action::OwnerOptIn(OptIn::ServerConfiguration)),
        ("owner-opt-in", "getProperty") => Some(Action::OwnerOptIn(OptIn::ServerProperty)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::operation::{Class, Source};
    use super::*;

    fn regex(rule: &Rule) -> String {
        let segment = |segment: &Segment| match segment {
            Segment::Literal(literal) => literal.replace('.', "\\."),
            Segment::Any => ANY.to_owned(),
            Segment::Number => NUMBER.to_owned(),
        };
        format!("^/{}/?$", rule.segments.iter().map(segment).collect::<Vec<_>>().join("/"))
    }

    #[test]
    fn every_rule_is_understood_whole_at_the_operation_it_names() {
        let rules: Vec<_> = RULES.iter().flatten().collect();
        let lines: Vec<Vec<_>> = TABLE.lines().skip(1).map(|line| line.split('\t').collect()).collect();
        assert_eq!(rules.len(), lines.len(), "each rule has an operation of its own");
        for line in lines {
            let rule = rules
                .iter()
                .find(|rule| regex(rule) == line[1] && line[0].split('|').next() == Some(rule.method))
                .unwrap_or_else(|| panic!("{line:?} was not understood"));
            assert!(["GET|HEAD", "POST", "PUT"].contains(&line[0]), "{line:?}");
            assert_eq!(rule.operation, line[4]);
            let body = format!("{}; check {}", rule.body.as_str(), rule.columns.join(", "));
            assert_eq!(body.trim_end_matches("; check "), line[3]);
        }
        for (operation, rule) in OPERATIONS.all().iter().zip(RULES.iter()) {
            assert!(rule.as_ref().is_none_or(|rule| rule.operation == operation.name), "{operation:?}");
        }
    }

    #[test]
    fn exactly_the_reads_that_a_server_can_answer_have_rules_save_for_the_key() {
        for (operation, rule) in OPERATIONS.all().iter().zip(RULES.iter()) {
            let ruled = operation.class != Class::Write
                && operation.source != Source::Historical
                && !["/server/encryption", "/openapi.yaml"].contains(&operation.template);
            assert_eq!(rule.is_some(), ruled, "{operation:?}");
        }
    }

    #[test]
    fn a_rule_that_is_not_understood_whole_is_no_rule() {
        let read = |regex: &'static str| Rule::read(&["GET|HEAD", regex, "forward", "none", "x"]);
        assert!(read("^/users/-?[0-9]{1,19}/loggedIn/?$").is_some());
        for odd in ["^/users/.*/?$", "^/users/?", "/users/?$", "^/users/[0-9]+/?$", "^/us+ers/?$", "^//?$"] {
            assert_eq!(read(odd), None, "{odd}");
        }
        assert_eq!(Rule::read(&["GET", "^/users/?$", "perhaps", "none", "x"]), None);
        assert_eq!(Rule::read(&["GET", "^/users/?$", "owner-opt-in", "none", "getUsers"]), None);
        assert_eq!(Rule::read(&["GET", "^/users/?$", "forward", "anything", "x"]), None);
    }

    #[test]
    fn a_number_has_1_to_19_digits() {
        for number in ["0", "-1", "42", "9223372036854775807", "-9223372036854775808"] {
            assert!(is_number(number), "{number}");
        }
        for other in ["", "-", "--1", "+1", "1a", "0x1", "1.0", "12345678901234567890", "1%20", "\u{661}"] {
            assert!(!is_number(other), "{other}");
        }
    }
}
