//! The shape of XML that a view-only request may carry, as data: which element may stand where, what it
//! holds, which `class` it may name. The tables are in `schema/`; one walker in `xml` holds a body
//! against them.
//!
//! `XStream` makes an object of every element whose name it knows, so nothing here is open-ended: an element
//! that no table names is refused wherever it stands.

mod filters;
mod message;
mod plain;
pub(super) mod value;

use super::{BodyKind, MIB};
use value::Value;

/// Values of one body together, where no kind asks for less.
const TEXT_BYTES_MAX: usize = MIB;

/// One element, under the name that it has here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    pub name: &'static str,
    /// What it holds without an attribute; `None` where `class` must say.
    pub plain: Option<Content>,
    /// What `class` may name, with what the element then holds.
    pub classed: &'static [(&'static str, Content)],
}

/// What may stand between the tags of an element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    Value(Value),
    /// Each at most once, in any order.
    Fields(&'static [Element]),
    /// Each exactly once, in this order: `XStream` reads these by place, whatever they are called.
    Sequence(&'static [Element]),
    Items {
        of: &'static Element,
        count_max: u32,
    },
}

/// What a body of one kind begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    pub elements: &'static [Element],
    /// For all values of the body together.
    pub text_bytes_max: usize,
}

impl Root {
    /// `None` for a kind that is not XML.
    pub(super) const fn of(kind: BodyKind) -> Option<Self> {
        let elements: &'static [Element] = match kind {
            BodyKind::UuidSet => plain::UUID_SETS,
            BodyKind::HeaderMap => plain::HEADER_MAPS,
            BodyKind::IntMap => plain::INT_MAPS,
            BodyKind::StringMap => plain::STRING_MAPS,
            BodyKind::MessageFilter => filters::MESSAGE_FILTER,
            BodyKind::EventFilter => filters::EVENT_FILTER,
            BodyKind::ConnectorMessage => message::CONNECTOR_MESSAGE,
            _ => return None,
        };
        let text_bytes_max = match kind {
            BodyKind::StringMap => plain::STRING_MAP_TEXT_BYTES_MAX,
            BodyKind::ConnectorMessage => kind.bytes_max(),
            _ => TEXT_BYTES_MAX,
        };
        Some(Self { elements, text_bytes_max })
    }
}

impl Element {
    const fn new(name: &'static str, content: Content) -> Self {
        Self { name, plain: Some(content), classed: &[] }
    }

    const fn value(name: &'static str, value: Value) -> Self {
        Self::new(name, Content::Value(value))
    }

    /// May carry a `class`, and means the same with it and without.
    const fn or_classed(
        name: &'static str,
        plain: Content,
        classed: &'static [(&'static str, Content)],
    ) -> Self {
        Self { name, plain: Some(plain), classed }
    }

    const fn only_classed(name: &'static str, classed: &'static [(&'static str, Content)]) -> Self {
        Self { name, plain: None, classed }
    }

    /// What it holds when sent with this `class`, or with none.
    pub(super) fn content(&self, class: Option<&str>) -> Option<&Content> {
        let Some(class) = class else { return self.plain.as_ref() };
        self.classed.iter().find(|(name, _)| *name == class).map(|(_, content)| content)
    }
}

impl Content {
    const fn items(of: &'static Element) -> Self {
        Self::Items { of, count_max: u32::MAX }
    }

    /// As `GregorianCalendarConverter` writes and reads it.
    const CALENDAR: Self = Self::Sequence(&[
        Element::value("time", Value::Integer),
        Element::value("timezone", Value::Timezone),
    ]);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn depth(elements: &[Element]) -> usize {
        let contents = elements.iter().flat_map(|element| {
            element.plain.iter().chain(element.classed.iter().map(|(_, content)| content))
        });
        let below = contents.map(|content| match content {
            Content::Value(_) => 0,
            Content::Fields(fields) | Content::Sequence(fields) => depth(fields),
            Content::Items { of, .. } => depth(std::slice::from_ref(*of)),
        });
        1 + below.max().unwrap_or_default()
    }

    /// Every value of `class` that any table names.
    pub fn classes(elements: &[Element], found: &mut Vec<&'static str>) {
        for element in elements {
            found.extend(element.classed.iter().map(|(name, _)| *name));
            for content in element.plain.iter().chain(element.classed.iter().map(|(_, content)| content)) {
                match content {
                    Content::Value(_) => {}
                    Content::Fields(fields) | Content::Sequence(fields) => classes(fields, found),
                    Content::Items { of, .. } => classes(std::slice::from_ref(*of), found),
                }
            }
        }
    }

    #[test]
    fn no_body_goes_deeper_than_eight_elements() {
        let depths = BodyKind::ALL.map(|kind| Root::of(kind).map_or(0, |root| depth(root.elements)));
        assert_eq!(depths, [0, 2, 5, 3, 3, 7, 3, 5, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn no_element_may_name_a_class_but_these() {
        let of = |kind| {
            let mut found = Vec::new();
            classes(Root::of(kind).expect("is XML").elements, &mut found);
            found.sort_unstable();
            found.dedup();
            found
        };
        for kind in [
            BodyKind::UuidSet,
            BodyKind::HeaderMap,
            BodyKind::IntMap,
            BodyKind::StringMap,
            BodyKind::EventFilter,
        ] {
            assert_eq!(of(kind), [""; 0], "{kind:?}");
        }
        assert_eq!(
            of(BodyKind::MessageFilter),
            [
                "big-decimal",
                "boolean",
                "com.mirth.connect.model.filters.elements.ContentSearchElement-array",
                "gregorian-calendar",
                "int",
                "int-array",
                "java.util.Arrays$ArrayList",
                "long",
                "metaDataSearchCriteria-array",
                "string",
                "string-array",
            ]
        );
        assert_eq!(of(BodyKind::ConnectorMessage), ["hash-map", "linked-hash-map", "map"]);
    }

    #[test]
    fn fields_fit_the_marks_that_the_walker_keeps_of_them() {
        fn widest(elements: &[Element]) -> usize {
            let contents = elements.iter().flat_map(|element| {
                element.plain.iter().chain(element.classed.iter().map(|(_, content)| content))
            });
            let widths = contents.map(|content| match content {
                Content::Value(_) => 0,
                Content::Fields(fields) | Content::Sequence(fields) => fields.len().max(widest(fields)),
                Content::Items { of, .. } => widest(std::slice::from_ref(*of)),
            });
            widths.max().unwrap_or_default()
        }
        let widths =
            BodyKind::ALL.iter().filter_map(|kind| Root::of(*kind)).map(|root| widest(root.elements));
        assert_eq!(widths.max(), Some(30));
    }
}
