//! Sets of ids and the maps that say what a client knows already.

use super::collections::{array, unmodifiable};
use super::value::Value;
use super::{Content, Element, Shape};

pub(super) const STRING_MAP_TEXT_BYTES_MAX: usize = 64 * 1024;
/// No server has a tenth of these.
const IDS_MAX: u32 = 10_000;

static ID: Element = Element::value("string", Value::Id);

const IDS: Content = Content::Items { of: &ID, count_max: IDS_MAX };

const UNMODIFIABLE_IDS: Content = unmodifiable!(IDS);
const ARRAY_OF_IDS: Content = Content::Sequence(&[array(&[&[Shape::plain("string-array", IDS)]])]);

/// Every operation that takes one takes a set. `_-` stands for `$` in the name of an element.
pub(super) const UUID_SETS: &[Element] = &[
    Element::new("set", IDS),
    Element::new("linked-hash-set", IDS),
    Element::new("tree-set", IDS),
    Element::new("singleton-set", IDS),
    Element::new("list", IDS),
    Element::written_as("empty-set", IDS, "set"),
    Element::written_as("linked-list", IDS, "set"),
    Element::written_as("vector", IDS, "set"),
    Element::written_as("singleton-list", IDS, "set"),
    Element::written_as("empty-list", IDS, "set"),
    Element::written_as("java.util.Collections_-SingletonSet", IDS, "set"),
    Element::written_as("java.util.Collections_-SingletonList", IDS, "set"),
    Element::written_as("java.util.Collections_-EmptySet", IDS, "set"),
    Element::written_as("java.util.Collections_-EmptyList", IDS, "set"),
    Element::written_as("java.util.Arrays_-ArrayList", ARRAY_OF_IDS, "set"),
    Element::written_as("java.util.Collections_-UnmodifiableSet", UNMODIFIABLE_IDS, "set"),
    Element::written_as("java.util.Collections_-UnmodifiableCollection", UNMODIFIABLE_IDS, "set"),
    Element::written_as("java.util.Collections_-UnmodifiableList", UNMODIFIABLE_IDS, "set"),
    Element::written_as("java.util.Collections_-UnmodifiableRandomAccessList", UNMODIFIABLE_IDS, "set"),
];

/// Maps of Java under the names that `XStream` gives them; the usual two go on as they came.
macro_rules! maps {
    ($entries:expr) => {
        [
            Element::written_as("tree-map", $entries, "map"),
            Element::written_as("concurrent-hash-map", $entries, "map"),
            Element::written_as("singleton-map", $entries, "map"),
            Element::written_as("empty-map", $entries, "map"),
            Element::written_as("java.util.Collections_-SingletonMap", $entries, "map"),
            Element::written_as("java.util.Collections_-EmptyMap", $entries, "map"),
            Element::written_as(
                "java.util.Collections_-UnmodifiableMap",
                Content::Sequence(&[Element::inside(
                    "m",
                    &[&[
                        Shape::plain("map", $entries),
                        Shape::plain("linked-hash-map", $entries),
                        Shape::plain("tree-map", $entries),
                        Shape::plain("concurrent-hash-map", $entries),
                    ]],
                )]),
                "map",
            ),
            Element::new("map", $entries),
            Element::new("linked-hash-map", $entries),
        ]
    };
}

static HEADER_ENTRY: Element = Element::new(
    "entry",
    Content::Sequence(&[
        Element::value("string", Value::Id),
        Element::new(
            "channelHeader",
            Content::Fields(&[
                Element::value("revision", Value::Integer),
                Element::new("deployedDate", Content::CALENDAR),
                Element::value("codeTemplatesChanged", Value::Boolean),
            ]),
        ),
    ]),
);
const HEADERS: Content = Content::items(&HEADER_ENTRY);
pub(super) const HEADER_MAPS: &[Element] = &maps!(HEADERS);

static INT_ENTRY: Element = Element::new(
    "entry",
    Content::Sequence(&[Element::value("string", Value::Id), Element::value("int", Value::Integer)]),
);
const INTS: Content = Content::items(&INT_ENTRY);
pub(super) const INT_MAPS: &[Element] = &maps!(INTS);

static STRING_ENTRY: Element = Element::new(
    "entry",
    Content::Sequence(&[Element::value("string", Value::Text), Element::value("string", Value::Text)]),
);
const STRINGS: Content = Content::items(&STRING_ENTRY);
/// A sorted one goes on as it came too.
pub(super) const STRING_MAPS: &[Element] = &{
    let mut maps = maps!(STRINGS);
    maps[0] = Element::new("tree-map", STRINGS);
    maps
};
