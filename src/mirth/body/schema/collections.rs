//! The shapes that `XStream` gives to the collections of Java. A script's list may be of any class; what it
//! holds is judged, and goes on in the shape that Mirth's own clients send.

use super::{Element, Shape};

/// What `Arrays.asList` makes; it holds its array in the field `a`.
pub(super) const ARRAY_LIST: &str = "java.util.Arrays$ArrayList";

/// Classes of a field that holds a list or a set of this, beside the usual one, which goes without.
macro_rules! collection_shapes {
    ($items:expr, $wrapped:expr) => {
        &[
            Shape::plain("linked-list", $items),
            Shape::plain("vector", $items),
            Shape::plain("singleton-list", $items),
            Shape::plain("empty-list", $items),
            Shape::plain("linked-hash-set", $items),
            Shape::plain("tree-set", $items),
            Shape::plain("singleton-set", $items),
            Shape::plain("empty-set", $items),
            Shape::plain("java.util.Collections$SingletonList", $items),
            Shape::plain("java.util.Collections$SingletonSet", $items),
            Shape::plain("java.util.Collections$EmptyList", $items),
            Shape::plain("java.util.Collections$EmptySet", $items),
            Shape::plain("java.util.Collections$UnmodifiableCollection", $wrapped),
            Shape::plain("java.util.Collections$UnmodifiableList", $wrapped),
            Shape::plain("java.util.Collections$UnmodifiableRandomAccessList", $wrapped),
            Shape::plain("java.util.Collections$UnmodifiableSet", $wrapped),
        ]
    };
}

/// What `Collections.unmodifiableList` and its like make: the collection in `c`, and a list in `list` again.
macro_rules! unmodifiable {
    ($items:expr) => {
        Content::Fields(&[
            Element::inside(
                "c",
                &[&[
                    Shape::plain("list", $items),
                    Shape::plain("set", $items),
                    Shape::plain("linked-list", $items),
                    Shape::plain("vector", $items),
                    Shape::plain("linked-hash-set", $items),
                    Shape::plain("tree-set", $items),
                ]],
            ),
            Element::left_out("list"),
        ])
    };
}

pub(super) use {collection_shapes, unmodifiable};

/// Returns the array of `Arrays.asList`, as what it holds.
pub(super) const fn array(classed: &'static [&'static [Shape]]) -> Element {
    Element::inside("a", classed)
}
