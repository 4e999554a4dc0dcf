//! The shape of XML that a view-only request may carry, as data: which element may stand where, what it
//! holds, which `class` it may name. The tables are in `schema/`; one walker in `xml` holds a body
//! against them. The shapes of one collection are many in Java; those that Mirth's own clients do not send
//! go on in a plain one.
//!
//! `XStream` makes an object of every element whose name it knows, so nothing here is open-ended: an element
//! that no table names is refused wherever it stands.

mod collections;
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
    /// What `class` may name.
    pub classed: &'static [&'static [Shape]],
    pub written: Written,
}

/// What an element holds under a `class`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub class: &'static str,
    /// What the attribute `enum-type` must say; no other may stand beside `class`.
    pub enum_type: Option<&'static str>,
    pub content: Content,
    /// Whether Mirth gets the `class` too; else what it holds goes on in the plain shape.
    pub keeps_class: bool,
}

/// How an element goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Itself,
    /// By the name of the plain shape that stands for the same.
    As(&'static str),
    /// Only what it holds.
    Inside,
}

/// What may stand between the tags of an element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    Value(Value),
    /// Each at most once, in any order.
    Fields(&'static [Element]),
    /// As `Fields`, and at least one that is not left out.
    SomeFields(&'static [Element]),
    /// Each exactly once, in this order: `XStream` reads these by place, whatever they are called.
    Sequence(&'static [Element]),
    Items {
        of: &'static Element,
        count_max: u32,
    },
    /// Values of `of` with commas between, as `EnumSetConverter` writes them; each goes on as an item.
    Words {
        of: &'static Element,
        count_max: u32,
    },
    /// Whatever is well-formed. Nothing of it goes on, the element itself included.
    LeftOut,
}

/// What a body of one kind begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    pub elements: &'static [Element],
    /// For all values of the body together.
    pub text_bytes_max: usize,
}

impl Root {
    /// Returns the schema, `None` for a kind that is not XML.
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
        Self { name, plain: Some(content), classed: &[], written: Written::Itself }
    }

    const fn value(name: &'static str, value: Value) -> Self {
        Self::new(name, Content::Value(value))
    }

    const fn left_out(name: &'static str) -> Self {
        Self::new(name, Content::LeftOut)
    }

    /// Lets the element carry a `class`, and means the same with it and without.
    const fn or_classed(name: &'static str, plain: Content, classed: &'static [&'static [Shape]]) -> Self {
        Self { name, plain: Some(plain), classed, written: Written::Itself }
    }

    const fn only_classed(name: &'static str, classed: &'static [&'static [Shape]]) -> Self {
        Self { name, plain: None, classed, written: Written::Itself }
    }

    /// Returns the inside of a wrapper: what it holds goes on without it.
    const fn inside(name: &'static str, classed: &'static [&'static [Shape]]) -> Self {
        Self { name, plain: None, classed, written: Written::Inside }
    }

    const fn written_as(name: &'static str, content: Content, plain: &'static str) -> Self {
        Self { name, plain: Some(content), classed: &[], written: Written::As(plain) }
    }

    /// Returns what it holds when sent with these attributes, or with none.
    pub(super) fn shape(&self, class: Option<&str>, enum_type: Option<&str>) -> Option<(&Content, bool)> {
        let Some(class) = class else { return self.plain.as_ref().map(|content| (content, false)) };
        let mut shapes = self.classed.iter().copied().flatten();
        let shape = shapes.find(|shape| shape.class == class && shape.enum_type == enum_type);
        shape.map(|shape| (&shape.content, shape.keeps_class))
    }
}

impl Shape {
    /// Marks the element: Mirth gets it as it came.
    const fn kept(class: &'static str, content: Content) -> Self {
        Self { class, enum_type: None, content, keeps_class: true }
    }

    /// Goes on in the plain shape.
    const fn plain(class: &'static str, content: Content) -> Self {
        Self { class, enum_type: None, content, keeps_class: false }
    }

    const fn enum_set(enum_type: &'static str, content: Content) -> Self {
        Self { class: "enum-set", enum_type: Some(enum_type), content, keeps_class: false }
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

    fn contents(element: &Element) -> impl Iterator<Item = &Content> {
        let classed = element.classed.iter().copied().flatten();
        element.plain.iter().chain(classed.map(|shape| &shape.content))
    }

    fn children(content: &Content) -> &[Element] {
        match content {
            Content::Value(_) | Content::LeftOut => &[],
            Content::Fields(fields) | Content::SomeFields(fields) | Content::Sequence(fields) => fields,
            Content::Items { of, .. } | Content::Words { of, .. } => std::slice::from_ref(*of),
        }
    }

    fn depth(elements: &[Element]) -> usize {
        if elements.is_empty() {
            return 0;
        }
        1 + elements.iter().flat_map(contents).map(|content| depth(children(content))).max().unwrap_or(0)
    }

    /// Collects every value of `class` that any table lets go on.
    pub(crate) fn classes(elements: &[Element], found: &mut Vec<&'static str>) {
        for element in elements {
            let sent = element.classed.iter().copied().flatten().filter(|shape| shape.keeps_class);
            found.extend(sent.map(|shape| shape.class));
            for content in contents(element) {
                classes(children(content), found);
            }
        }
    }

    #[test]
    fn no_body_goes_deeper_than_eight_elements() {
        let depths = BodyKind::ALL.map(|kind| Root::of(kind).map_or(0, |root| depth(root.elements)));
        assert_eq!(depths, [0, 3, 6, 4, 4, 7, 4, 3, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn no_class_goes_to_mirth_but_these() {
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
            BodyKind::ConnectorMessage,
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
                "java.util.Arrays$ArrayList",
                "long",
                "metaDataSearchCriteria-array",
                "string",
                "string-array",
            ]
        );
    }

    #[test]
    fn fields_fit_the_marks_that_the_walker_keeps_of_them() {
        fn widest(elements: &[Element]) -> usize {
            let inner = elements.iter().flat_map(contents).map(children);
            inner.map(|fields| fields.len().max(widest(fields))).max().unwrap_or_default()
        }
        let widths =
            BodyKind::ALL.iter().filter_map(|kind| Root::of(*kind)).map(|root| widest(root.elements));
        assert_eq!(widths.max(), Some(30));
    }
}
