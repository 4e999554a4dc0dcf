//! The searches of messages and of events: `MessageFilter` and `EventFilter` of Mirth's model.

use super::value::Value;
use super::{Content, Element};

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

/// What `Arrays.asList` makes; it holds its array in the field `a`.
const ARRAY_LIST: &str = "java.util.Arrays$ArrayList";

/// Mirth puts each item of a list into its SQL, some as a join or a search of all content; nobody picks more
/// in a dialog.
const ITEMS_MAX: u32 = 100;

const fn few(of: &'static Element) -> Content {
    Content::Items { of, count_max: ITEMS_MAX }
}

static STATUS_ITEM: Element = Element::value("com.mirth.connect.donkey.model.message.Status", STATUS);

static INT: Element = Element::value("int", Value::Integer);
const INTS: Content = few(&INT);
const WRAPPED_INTS: &[(&str, Content)] =
    &[(ARRAY_LIST, Content::Sequence(&[Element::only_classed("a", &[("int-array", INTS)])]))];

static TEXT: Element = Element::value("string", Value::Text);
const TEXTS: Content = few(&TEXT);
const WRAPPED_TEXTS: &[(&str, Content)] =
    &[(ARRAY_LIST, Content::Sequence(&[Element::only_classed("a", &[("string-array", TEXTS)])]))];

static COLUMN: Element = Element::value("string", Value::Column);
const COLUMNS: Content = few(&COLUMN);
const WRAPPED_COLUMNS: &[(&str, Content)] =
    &[(ARRAY_LIST, Content::Sequence(&[Element::only_classed("a", &[("string-array", COLUMNS)])]))];

static CONTENT_SEARCH: Element = Element::new(
    "com.mirth.connect.model.filters.elements.ContentSearchElement",
    Content::Fields(&[
        Element::value("contentCode", Value::Integer),
        Element::or_classed("searches", TEXTS, WRAPPED_TEXTS),
    ]),
);
const CONTENT_SEARCHES: Content = few(&CONTENT_SEARCH);
const WRAPPED_CONTENT_SEARCHES: &[(&str, Content)] = &[(
    ARRAY_LIST,
    Content::Sequence(&[Element::only_classed(
        "a",
        &[("com.mirth.connect.model.filters.elements.ContentSearchElement-array", CONTENT_SEARCHES)],
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
            &[
                ("string", Content::Value(Value::Text)),
                ("int", Content::Value(Value::Integer)),
                ("long", Content::Value(Value::Integer)),
                ("big-decimal", Content::Value(Value::Decimal)),
                ("boolean", Content::Value(Value::Boolean)),
                ("gregorian-calendar", Content::CALENDAR),
            ],
        ),
        Element::value("ignoreCase", Value::Boolean),
    ]),
);
const META_DATA_SEARCHES: Content = few(&META_DATA_SEARCH);
const WRAPPED_META_DATA_SEARCHES: &[(&str, Content)] = &[(
    ARRAY_LIST,
    Content::Sequence(&[Element::only_classed("a", &[("metaDataSearchCriteria-array", META_DATA_SEARCHES)])]),
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
    Element::new("statuses", few(&STATUS_ITEM)),
    Element::or_classed("includedMetaDataIds", INTS, WRAPPED_INTS),
    Element::or_classed("excludedMetaDataIds", INTS, WRAPPED_INTS),
    Element::value("serverId", Value::Id),
    Element::or_classed("contentSearch", CONTENT_SEARCHES, WRAPPED_CONTENT_SEARCHES),
    Element::or_classed("metaDataSearch", META_DATA_SEARCHES, WRAPPED_META_DATA_SEARCHES),
    Element::or_classed("textSearchMetaDataColumns", COLUMNS, WRAPPED_COLUMNS),
    Element::value("sendAttemptsLower", Value::Integer),
    Element::value("sendAttemptsUpper", Value::Integer),
]);
pub(super) const MESSAGE_FILTER: &[Element] = &[Element::new("messageFilter", MESSAGE_FILTER_FIELDS)];

static LEVEL: Element = Element::value(
    "com.mirth.connect.model.ServerEvent_-Level",
    Value::Word(&["INFORMATION", "WARNING", "ERROR"]),
);

const EVENT_FILTER_FIELDS: Content = Content::Fields(&[
    Element::value("maxEventId", Value::Integer),
    Element::value("minEventId", Value::Integer),
    Element::value("id", Value::Integer),
    Element::value("userId", Value::Integer),
    Element::new("levels", few(&LEVEL)),
    Element::new("startDate", Content::CALENDAR),
    Element::new("endDate", Content::CALENDAR),
    Element::value("name", Value::Text),
    Element::value("attributeSearch", Value::Text),
    Element::value("ipAddress", Value::Text),
    Element::value("serverId", Value::Text),
    Element::value("outcome", Value::Word(&["SUCCESS", "FAILURE"])),
]);
pub(super) const EVENT_FILTER: &[Element] = &[Element::new("eventFilter", EVENT_FILTER_FIELDS)];
