//! Sets of ids and the maps that say what a client knows already.

use super::value::Value;
use super::{Content, Element};

pub(super) const STRING_MAP_TEXT_BYTES_MAX: usize = 64 * 1024;
/// No server has a tenth of these.
const IDS_MAX: u32 = 10_000;

static ID: Element = Element::value("string", Value::Id);

const IDS: Content = Content::Items { of: &ID, count_max: IDS_MAX };

pub(super) const UUID_SETS: &[Element] = &[
    Element::new("set", IDS),
    Element::new("linked-hash-set", IDS),
    Element::new("tree-set", IDS),
    Element::new("singleton-set", IDS),
    Element::new("list", IDS),
];

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
pub(super) const HEADER_MAPS: &[Element] =
    &[Element::new("map", HEADERS), Element::new("linked-hash-map", HEADERS)];

static INT_ENTRY: Element = Element::new(
    "entry",
    Content::Sequence(&[Element::value("string", Value::Id), Element::value("int", Value::Integer)]),
);
const INTS: Content = Content::items(&INT_ENTRY);
pub(super) const INT_MAPS: &[Element] = &[Element::new("map", INTS), Element::new("linked-hash-map", INTS)];

static STRING_ENTRY: Element = Element::new(
    "entry",
    Content::Sequence(&[Element::value("string", Value::Text), Element::value("string", Value::Text)]),
);
const STRINGS: Content = Content::items(&STRING_ENTRY);
pub(super) const STRING_MAPS: &[Element] = &[
    Element::new("map", STRINGS),
    Element::new("linked-hash-map", STRINGS),
    Element::new("tree-map", STRINGS),
];
