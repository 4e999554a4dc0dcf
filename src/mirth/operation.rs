//! Mirth's operations as `mirth-operations.tsv` lists them, and which of them Jersey would run for a
//! path. What a partner may do with one is decided in `rule` and `verdict`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What an operation does to the managed server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Read,
    /// Login, logout and what Mirth itself must note of a session.
    Session,
    Write,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub method: &'static str,
    /// Below the API's base, parameters in braces.
    pub template: &'static str,
    pub name: &'static str,
    pub class: Class,
    /// What of its answer is sensitive, in the table's words; `-` for nothing.
    pub sensitive: &'static str,
    pub source: Source,
}

/// Which table knows the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Current,
    /// Gone from newer servers.
    Historical,
    /// What Jersey and Swagger add of themselves.
    Document,
}

/// All operations, found by path as Jersey finds them: the path decides first, a literal before a
/// parameter, and only then the method.
pub(crate) struct Operations {
    all: Vec<Operation>,
    root: Node,
}

/// Where the paths of one template meet, whatever their method.
#[derive(Debug)]
pub(crate) struct Place {
    /// For each segment, whether the template spells it out.
    pub literal: Vec<bool>,
    template: &'static str,
    operations: Vec<usize>,
}

#[derive(Default)]
struct Node {
    literals: BTreeMap<&'static str, Self>,
    parameter: Option<Box<Self>>,
    place: Option<Place>,
}

pub(crate) static OPERATIONS: LazyLock<Operations> = LazyLock::new(Operations::compile);

const CURRENT: &str = include_str!("data/mirth-operations.tsv");
const HISTORICAL: &str = include_str!("data/mirth-operations-historical.tsv");
const DOCUMENTS: [(&str, &str); 4] = [
    ("/openapi.json", "openapi"),
    ("/openapi.yaml", "openapi"),
    ("/openapi", "openapi"),
    ("/application.wadl", "wadl"),
];

impl Operations {
    fn compile() -> Self {
        let mut operations = Self { all: Vec::new(), root: Node::default() };
        // One that two tables list is what the first says of it.
        for operation in rows(CURRENT, current).chain(documents()).chain(rows(HISTORICAL, historical)) {
            let node = operations.root.reach(operation.template);
            let place = node.place.get_or_insert_with(|| Place::of(operation.template));
            if place.operations.iter().all(|&known| operations.all[known].method != operation.method) {
                place.operations.push(operations.all.len());
                operations.all.push(operation);
            }
        }
        operations
    }

    #[must_use]
    pub(crate) fn all(&self) -> &[Operation] {
        &self.all
    }

    /// Returns the place that Jersey would choose for these segments.
    #[must_use]
    pub(crate) fn place(&self, segments: &[&str]) -> Option<&Place> {
        self.root.find(segments)
    }

    /// Returns the number of the operation at this place, as in [`Operations::all`].
    #[must_use]
    pub(crate) fn at(&self, place: &Place, method: &str) -> Option<usize> {
        place.operations.iter().copied().find(|&number| self.all[number].method == method)
    }

    /// Returns the number of the operation whose template has this shape, whatever its parameters are called.
    #[must_use]
    pub(crate) fn of_shape<'a>(
        &self,
        method: &str,
        mut shape: impl Iterator<Item = Option<&'a str>>,
    ) -> Option<usize> {
        let node = shape.try_fold(&self.root, |node, literal| match literal {
            Some(literal) => node.literals.get(literal),
            None => node.parameter.as_deref(),
        })?;
        self.at(node.place.as_ref()?, method)
    }
}

impl Place {
    fn of(template: &'static str) -> Self {
        let literal = shape(template).map(|literal| literal.is_some()).collect();
        Self { literal, template, operations: Vec::new() }
    }

    /// Returns the template, for a method that has no operation here.
    #[must_use]
    pub(crate) fn template(&self) -> &'static str {
        self.template
    }
}

impl Node {
    fn reach(&mut self, template: &'static str) -> &mut Self {
        shape(template).fold(self, |node, literal| match literal {
            Some(literal) => node.literals.entry(literal).or_default(),
            None => node.parameter.get_or_insert_with(Box::default),
        })
    }

    fn find(&self, segments: &[&str]) -> Option<&Place> {
        let Some((first, rest)) = segments.split_first() else { return self.place.as_ref() };
        let literal = self.literals.get(*first).and_then(|node| node.find(rest));
        literal.or_else(|| self.parameter.as_deref().and_then(|node| node.find(rest)))
    }
}

/// Returns a template's segments: literals, and none for each parameter.
pub(crate) fn shape(template: &str) -> impl Iterator<Item = Option<&str>> {
    let segments = template.split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| (!segment.contains('{')).then_some(segment))
}

/// Returns the rows of a table below its head, without comments.
pub(super) fn rows<T>(
    table: &'static str,
    read: fn(&[&'static str]) -> Option<T>,
) -> impl Iterator<Item = T> {
    let lines = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines.filter_map(move |line| read(&line.split('\t').collect::<Vec<_>>()))
}

fn current(columns: &[&'static str]) -> Option<Operation> {
    let [method, template, name, .., class, _, sensitive, _, _, _] = *columns else { return None };
    Some(Operation { method, template, name, class: class_of(class), sensitive, source: Source::Current })
}

fn historical(columns: &[&'static str]) -> Option<Operation> {
    let [method, template, name, _, class, _] = *columns else { return None };
    let class = class_of(class);
    Some(Operation { method, template, name, class, sensitive: "-", source: Source::Historical })
}

fn documents() -> impl Iterator<Item = Operation> {
    DOCUMENTS.into_iter().map(|(template, name)| Operation {
        method: "GET",
        template,
        name,
        class: Class::Read,
        sensitive: "-",
        source: Source::Document,
    })
}

/// Reads a class: a word nobody knows is taken for the worst.
fn class_of(word: &str) -> Class {
    match word {
        "read" => Class::Read,
        "session" => Class::Session,
        _ => Class::Write,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(source: Source) -> Vec<&'static Operation> {
        OPERATIONS.all().iter().filter(|operation| operation.source == source).collect()
    }

    #[test]
    fn the_table_has_103_reads_97_writes_10_of_sessions() {
        let current = known(Source::Current);
        let count = |class| current.iter().filter(|operation| operation.class == class).count();
        assert_eq!(current.len(), 210);
        assert_eq!([Class::Read, Class::Session, Class::Write].map(count), [103, 10, 97]);
        assert_eq!(known(Source::Historical).len(), 7);
        assert_eq!(known(Source::Document).len(), 4);
    }

    #[test]
    fn every_operation_is_found_by_its_own_path() {
        for (number, operation) in OPERATIONS.all().iter().enumerate() {
            let path: Vec<_> = shape(operation.template).map(|literal| literal.unwrap_or("7")).collect();
            let place = OPERATIONS.place(&path).expect("has a place");
            assert_eq!(OPERATIONS.at(place, operation.method), Some(number), "{operation:?}");
        }
    }

    /// Where this held not, the order of Jersey's routes would decide, which we do not know.
    #[test]
    fn of_two_templates_that_match_one_path_one_spells_out_all_that_the_other_does() {
        let shapes: Vec<Vec<_>> =
            OPERATIONS.all().iter().map(|known| shape(known.template).collect()).collect();
        let both_ways = |one: &[Option<&str>], other: &[Option<&str>]| {
            let pairs = || one.iter().zip(other);
            one.len() == other.len()
                && pairs().all(|(one, other)| one.is_none() || other.is_none() || one == other)
                && pairs().any(|(one, other)| one.is_some() && other.is_none())
                && pairs().any(|(one, other)| one.is_none() && other.is_some())
        };
        for one in &shapes {
            for other in &shapes {
                assert!(!both_ways(one, other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_literal_is_found_before_a_parameter_unless_it_is_a_dead_end() {
        let template = |path: &[&str]| OPERATIONS.place(path).map(Place::template);
        assert_eq!(template(&["channels", "statistics"]), Some("/channels/statistics"));
        assert_eq!(template(&["channels", "x"]), Some("/channels/{channelId}"));
        assert_eq!(template(&["channels", "statistics", "status"]), Some("/channels/{channelId}/status"));
        assert_eq!(template(&["channels", "x", "y"]), None);
        assert_eq!(template(&[]), None);
        assert_eq!(template(&["Channels"]), None);
    }

    #[test]
    fn a_word_for_a_class_that_nobody_knows_is_a_write() {
        assert_eq!(class_of("idempotent"), Class::Write);
    }
}
