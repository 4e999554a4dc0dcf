//! The searches of messages and of events: `MessageFilter` and `EventFilter` of Mirth's model.

use super::collections::{ARRAY_LIST, array, collection_shapes, unmodifiable};
use super::value::Value;
use super::{Content, Element, Shape};

/// `com.mirth.connect.donkey.model.message.Status`.
pub(super) const STATUS: Value =
    Value::Word(&["RECEIVED", "FILTERED", "TRANSFORMED", "SENT", "QUEUED", "ERROR", "PENDING"]);

/// `MetaDataSearchOperator`.
const OPERATOR: Value = Value::Word(&[
    "EQUAL",
    "NOT_EQUAL",
    "LESS_THAN",
    "LESS_THAN_OR_EQUAL",
    "GREATER_THAN",
    "GREATER_THAN_OR_EQUAL",
    "CONTAINS",
    "DOES_NOT_CONTAIN",
    "STARTS_WITH",
    "DOES_NOT_START_WITH",
    "ENDS_WITH",
    "DOES_NOT_END_WITH",
]);

/// Mirth puts each item of a list into its SQL, some as a join or a search of all content; nobody picks more
/// in a dialog.
const ITEMS_MAX: u32 = 100;

const fn few(of: &'static Element) -> Content {
    Content::Items { of, count_max: ITEMS_MAX }
}

const fn words(of: &'static Element) -> Content {
    Content::Words { of, count_max: ITEMS_MAX }
}

const STATUS_NAME: &str = "com.mirth.connect.donkey.model.message.Status";
static STATUS_ITEM: Element = Element::value(STATUS_NAME, STATUS);
const STATUSES: Content = few(&STATUS_ITEM);
const STATUS_SHAPES: &[Shape] = collection_shapes!(STATUSES, unmodifiable!(STATUSES));
const STATUS_ENUM_SET: &[Shape] = &[Shape::enum_set(STATUS_NAME, words(&STATUS_ITEM))];

static INT: Element = Element::value("int", Value::Integer);
const INTS: Content = few(&INT);
const INT_SHAPES: &[Shape] = collection_shapes!(INTS, unmodifiable!(INTS));
/// An array of `int` is what Java cannot put there, so that neither goes on as it came.
const INT_ARRAYS: &[Shape] = &[Shape::plain(
    ARRAY_LIST,
    Content::Sequence(&[array(&[&[
        Shape::plain("java.lang.Integer-array", INTS),
        Shape::plain("int-array", INTS),
    ]])]),
)];

static TEXT: Element = Element::value("string", Value::Text);
const TEXTS: Content = few(&TEXT);
const TEXT_SHAPES: &[Shape] = collection_shapes!(TEXTS, unmodifiable!(TEXTS));
const TEXT_ARRAYS: &[Shape] = &[Shape::kept(
    ARRAY_LIST,
    Content::Sequence(&[Element::only_classed("a", &[&[Shape::kept("string-array", TEXTS)]])]),
)];

static COLUMN: Element = Element::value("string", Value::Column);
const COLUMNS: Content = few(&COLUMN);
const COLUMN_SHAPES: &[Shape] = collection_shapes!(COLUMNS, unmodifiable!(COLUMNS));
const COLUMN_ARRAYS: &[Shape] = &[Shape::kept(
    ARRAY_LIST,
    Content::Sequence(&[Element::only_classed("a", &[&[Shape::kept("string-array", COLUMNS)]])]),
)];

static CONTENT_SEARCH: Element = Element::new(
    "com.mirth.connect.model.filters.elements.ContentSearchElement",
    Content::Fields(&[
        Element::value("contentCode", Value::Integer),
        Element::or_classed("searches", TEXTS, &[TEXT_ARRAYS, TEXT_SHAPES]),
    ]),
);
const CONTENT_SEARCHES: Content = few(&CONTENT_SEARCH);
const CONTENT_SEARCH_SHAPES: &[Shape] = collection_shapes!(CONTENT_SEARCHES, unmodifiable!(CONTENT_SEARCHES));
const CONTENT_SEARCH_ARRAYS: &[Shape] = &[Shape::kept(
    ARRAY_LIST,
    Content::Sequence(&[Element::only_classed(
        "a",
        &[&[Shape::kept(
            "com.mirth.connect.model.filters.elements.ContentSearchElement-array",
            CONTENT_SEARCHES,
        )]],
    )]),
)];

static META_DATA_SEARCH: Element = Element::new(
    "metaDataSearchCriteria",
    Content::Fields(&[
        Element::value("columnName", Value::Column),
        Element::value("operator", OPERATOR),
        // An `Object` in Java, so XStream makes whatever `class` says.
        Element::only_classed(
            "value",
            &[&[
                Shape::kept("string", Content::Value(Value::Text)),
                Shape::kept("int", Content::Value(Value::Integer)),
                Shape::kept("long", Content::Value(Value::Integer)),
                Shape::kept("big-decimal", Content::Value(Value::Decimal)),
                Shape::kept("boolean", Content::Value(Value::Boolean)),
                Shape::kept("gregorian-calendar", Content::CALENDAR),
            ]],
        ),
        Element::value("ignoreCase", Value::Boolean),
    ]),
);
const META_DATA_SEARCHES: Content = few(&META_DATA_SEARCH);
const META_DATA_SEARCH_SHAPES: &[Shape] =
    collection_shapes!(META_DATA_SEARCHES, unmodifiable!(META_DATA_SEARCHES));
const META_DATA_SEARCH_ARRAYS: &[Shape] = &[Shape::kept(
    ARRAY_LIST,
    Content::Sequence(&[Element::only_classed(
        "a",
        &[&[Shape::kept("metaDataSearchCriteria-array", META_DATA_SEARCHES)]],
    )]),
)];

const MESSAGE_FILTER_FIELDS: Content = Content::Fields(&[
    Element::value("maxMessageId", Value::Integer),
    Element::value("minMessageId", Value::Integer),
    Element::value("originalIdUpper", Value::Integer),
    Element::value("originalIdLower", Value::Integer),
    Element::value("importIdUpper", Value::Integer),
    Element::value("importIdLower", Value::Integer),
    Element::new("startDate", Content::CALENDAR),
    Element::new("endDate", Content::CALENDAR),
    Element::value("textSearch", Value::Text),
    Element::value("textSearchRegex", Value::Boolean),
    Element::value("attachment", Value::Boolean),
    Element::value("error", Value::Boolean),
    Element::or_classed("statuses", STATUSES, &[STATUS_ENUM_SET, STATUS_SHAPES]),
    Element::or_classed("includedMetaDataIds", INTS, &[INT_ARRAYS, INT_SHAPES]),
    Element::or_classed("excludedMetaDataIds", INTS, &[INT_ARRAYS, INT_SHAPES]),
    Element::value("serverId", Value::Id),
    Element::or_classed("contentSearch", CONTENT_SEARCHES, &[CONTENT_SEARCH_ARRAYS, CONTENT_SEARCH_SHAPES]),
    Element::or_classed(
        "metaDataSearch",
        META_DATA_SEARCHES,
        &[META_DATA_SEARCH_ARRAYS, META_DATA_SEARCH_SHAPES],
    ),
    Element::or_classed("textSearchMetaDataColumns", COLUMNS, &[COLUMN_ARRAYS, COLUMN_SHAPES]),
    Element::value("sendAttemptsLower", Value::Integer),
    Element::value("sendAttemptsUpper", Value::Integer),
]);
pub(super) const MESSAGE_FILTER: &[Element] = &[Element::new("messageFilter", MESSAGE_FILTER_FIELDS)];

static LEVEL: Element = Element::value(
    "com.mirth.connect.model.ServerEvent_-Level",
    Value::Word(&["INFORMATION", "WARNING", "ERROR"]),
);
const LEVELS: Content = few(&LEVEL);
const LEVEL_SHAPES: &[Shape] = collection_shapes!(LEVELS, unmodifiable!(LEVELS));
/// In an attribute the name is not escaped.
const LEVEL_ENUM_SET: &[Shape] =
    &[Shape::enum_set("com.mirth.connect.model.ServerEvent$Level", words(&LEVEL))];

const EVENT_FILTER_FIELDS: Content = Content::Fields(&[
    Element::value("maxEventId", Value::Integer),
    Element::value("minEventId", Value::Integer),
    Element::value("id", Value::Integer),
    Element::value("userId", Value::Integer),
    Element::or_classed("levels", LEVELS, &[LEVEL_ENUM_SET, LEVEL_SHAPES]),
    Element::new("startDate", Content::CALENDAR),
    Element::new("endDate", Content::CALENDAR),
    Element::value("name", Value::Text),
    Element::value("attributeSearch", Value::Text),
    Element::value("ipAddress", Value::Text),
    Element::value("serverId", Value::Text),
    Element::value("outcome", Value::Word(&["SUCCESS", "FAILURE"])),
]);
pub(super) const EVENT_FILTER: &[Element] = &[Element::new("eventFilter", EVENT_FILTER_FIELDS)];
