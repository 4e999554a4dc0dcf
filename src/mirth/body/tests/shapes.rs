//! Collections of every class that a script may use, as `XStream` 1.4.20 writes them.

use super::super::BodyKind::{self, EventFilter, HeaderMap, IntMap, MessageFilter, StringMap, UuidSet};
use super::{BodyRefusal, check_rewritten, check_unchanged, refusal};

const ID: &str = "<string>a-1</string>";
/// Classes of a field beside the usual one.
const CLASSES: [&str; 12] = [
    "linked-list",
    "vector",
    "singleton-list",
    "empty-list",
    "linked-hash-set",
    "tree-set",
    "singleton-set",
    "empty-set",
    "java.util.Collections$SingletonList",
    "java.util.Collections$SingletonSet",
    "java.util.Collections$EmptyList",
    "java.util.Collections$EmptySet",
];
const UNMODIFIABLE: [&str; 4] =
    ["UnmodifiableCollection", "UnmodifiableList", "UnmodifiableRandomAccessList", "UnmodifiableSet"];
const STATUS: &str = "com.mirth.connect.donkey.model.message.Status";
const LEVEL: &str = "com.mirth.connect.model.ServerEvent_-Level";

/// Returns every field that holds a list or a set, with two items of it.
fn fields() -> Vec<(BodyKind, &'static str, &'static str, String)> {
    let two = |name: &str, text: &str| format!("<{name}>{text}</{name}>").repeat(2);
    vec![
        (MessageFilter, "messageFilter", "includedMetaDataIds", two("int", "1")),
        (MessageFilter, "messageFilter", "excludedMetaDataIds", two("int", "0")),
        (MessageFilter, "messageFilter", "textSearchMetaDataColumns", two("string", "SOURCE")),
        (MessageFilter, "messageFilter", "statuses", two(STATUS, "SENT")),
        (
            MessageFilter,
            "messageFilter",
            "contentSearch",
            two(
                "com.mirth.connect.model.filters.elements.ContentSearchElement",
                "<contentCode>1</contentCode>",
            ),
        ),
        (
            MessageFilter,
            "messageFilter",
            "metaDataSearch",
            two("metaDataSearchCriteria", "<columnName>TYPE</columnName>"),
        ),
        (EventFilter, "eventFilter", "levels", two(LEVEL, "ERROR")),
    ]
}

#[test]
fn a_list_of_any_class_goes_on_as_a_plain_one() {
    for (kind, root, field, items) in fields() {
        let plain = format!("<{root}><{field}>{items}</{field}></{root}>");
        check_unchanged(kind, &plain);
        for class in CLASSES {
            let sent = format!("<{root}><{field} class=\"{class}\">{items}</{field}></{root}>");
            check_rewritten(kind, &sent, &plain);
        }
        for class in UNMODIFIABLE {
            let sent = format!(
                "<{root}><{field} class=\"java.util.Collections${class}\"><c class=\"linked-hash-set\">{items}\
                 </c><list>{items}</list></{field}></{root}>"
            );
            check_rewritten(kind, &sent, &plain);
        }
    }
}

#[test]
fn the_searches_within_a_content_search_may_be_of_any_class_too() {
    let search = |searches: &str| {
        format!(
            "<messageFilter><contentSearch><com.mirth.connect.model.filters.elements.ContentSearchElement>\
             {searches}</com.mirth.connect.model.filters.elements.ContentSearchElement></contentSearch>\
             </messageFilter>"
        )
    };
    let plain = search("<searches><string>x</string></searches>");
    for class in CLASSES {
        let sent = search(&format!("<searches class=\"{class}\"><string>x</string></searches>"));
        check_rewritten(MessageFilter, &sent, &plain);
    }
}

/// `Arrays.asList(1, 2)`; an `int[]` is nothing that Java could put there.
#[test]
fn an_array_of_integers_goes_on_as_a_plain_list() {
    for class in ["java.lang.Integer-array", "int-array"] {
        check_rewritten(
            MessageFilter,
            &format!(
                "<messageFilter>\n  <includedMetaDataIds class=\"java.util.Arrays$ArrayList\">\n    \
                 <a class=\"{class}\">\n      <int>1</int>\n    </a>\n  </includedMetaDataIds>\n</messageFilter>"
            ),
            "<messageFilter>\n  <includedMetaDataIds>\n    \n      <int>1</int>\n    \n  \
             </includedMetaDataIds>\n</messageFilter>",
        );
        check_rewritten(
            MessageFilter,
            &format!(
                "<messageFilter><excludedMetaDataIds class=\"java.util.Arrays$ArrayList\"><a class=\"{class}\"/>\
                 </excludedMetaDataIds></messageFilter>"
            ),
            "<messageFilter><excludedMetaDataIds></excludedMetaDataIds></messageFilter>",
        );
    }
}

#[test]
fn an_enum_set_goes_on_as_a_plain_set() {
    let statuses = |inner: &str| format!("<messageFilter>{inner}</messageFilter>");
    let enum_set = |words: &str| {
        statuses(&format!("<statuses class=\"enum-set\" enum-type=\"{STATUS}\">{words}</statuses>"))
    };
    let plain = |words: &[&str]| {
        let items =
            words.iter().map(|word| format!("<{STATUS}>{word}</{STATUS}>")).collect::<Vec<_>>().concat();
        statuses(&format!("<statuses>{items}</statuses>"))
    };
    check_rewritten(MessageFilter, &enum_set("SENT,ERROR"), &plain(&["SENT", "ERROR"]));
    check_rewritten(MessageFilter, &enum_set("QUEUED"), &plain(&["QUEUED"]));
    check_rewritten(MessageFilter, &enum_set(""), &plain(&[]));
    let empty = format!("<statuses class=\"enum-set\" enum-type=\"{STATUS}\"/>");
    check_rewritten(MessageFilter, &statuses(&empty), &statuses("<statuses/>"));
    check_rewritten(
        EventFilter,
        "<eventFilter><levels class=\"enum-set\" enum-type=\"com.mirth.connect.model.ServerEvent$Level\">\
         WARNING,ERROR</levels></eventFilter>",
        &format!(
            "<eventFilter><levels><{LEVEL}>WARNING</{LEVEL}><{LEVEL}>ERROR</{LEVEL}></levels></eventFilter>"
        ),
    );
}

#[test]
fn an_enum_set_of_other_words_or_another_enum_is_refused() {
    let of = |attributes: &str, words: &str| {
        let body = format!("<messageFilter><statuses {attributes}>{words}</statuses></messageFilter>");
        refusal(MessageFilter, body.as_bytes())
    };
    let own = format!("class=\"enum-set\" enum-type=\"{STATUS}\"");
    for words in ["DELETED", "SENT, ERROR", "SENT\n", "sent", "&#83;ENT", "SENT;ERROR"] {
        assert_eq!(of(&own, words), Some(BodyRefusal::Value), "{words}");
    }
    assert_eq!(of(&own, &"SENT,".repeat(101)), Some(BodyRefusal::TooMany));
    assert_eq!(of(&own, &"SENT,".repeat(300)), Some(BodyRefusal::Value));
    assert_eq!(of(&own, "<x/>"), Some(BodyRefusal::Element));
    for (attributes, expected) in [
        ("class=\"enum-set\"", BodyRefusal::Class),
        ("class=\"enum-set\" enum-type=\"java.lang.Thread$State\"", BodyRefusal::Class),
        ("class=\"linked-list\" enum-type=\"x\"", BodyRefusal::Class),
        ("enum-type=\"x\" class=\"enum-set\"", BodyRefusal::Attribute),
        ("class=\"enum-set\"enum-type=\"x\"", BodyRefusal::Attribute),
        ("class=\"enum-set\" enum-type=\"x\" reference=\"..\"", BodyRefusal::Attribute),
    ] {
        assert_eq!(of(attributes, ""), Some(expected), "{attributes}");
    }
}

#[test]
fn ids_in_a_list_of_any_class_go_on_as_a_set() {
    let plain = format!("<set>{ID}</set>");
    for root in [
        "empty-set",
        "linked-list",
        "vector",
        "singleton-list",
        "empty-list",
        "java.util.Collections_-SingletonSet",
        "java.util.Collections_-SingletonList",
        "java.util.Collections_-EmptySet",
        "java.util.Collections_-EmptyList",
    ] {
        check_rewritten(UuidSet, &format!("<{root}>{ID}</{root}>"), &plain);
        check_rewritten(UuidSet, &format!("<{root}/>"), "<set/>");
    }
    let array = "java.util.Arrays_-ArrayList";
    check_rewritten(UuidSet, &format!("<{array}><a class=\"string-array\">{ID}</a></{array}>"), &plain);
    for class in UNMODIFIABLE {
        let sent = format!(
            "<java.util.Collections_-{class}><c class=\"set\">{ID}</c><list reference=\"../c\"/>\
             </java.util.Collections_-{class}>"
        );
        check_rewritten(UuidSet, &sent, &plain);
    }
}

#[test]
fn a_map_of_any_class_goes_on_as_a_plain_one() {
    let roots = ["concurrent-hash-map", "singleton-map", "empty-map", "java.util.Collections_-EmptyMap"];
    let entries = [
        (IntMap, "<entry><string>a-1</string><int>3</int></entry>"),
        (StringMap, "<entry><string>a b</string><string>c &amp; d</string></entry>"),
        (
            HeaderMap,
            "<entry><string>a-1</string><channelHeader><revision>1</revision></channelHeader></entry>",
        ),
    ];
    for (kind, entry) in entries {
        let plain = format!("<map>{entry}</map>");
        for root in roots {
            check_rewritten(kind, &format!("<{root}>{entry}</{root}>"), &plain);
        }
        for class in ["map", "linked-hash-map", "tree-map", "concurrent-hash-map"] {
            let wrapper = "java.util.Collections_-UnmodifiableMap";
            check_rewritten(
                kind,
                &format!("<{wrapper}><m class=\"{class}\">{entry}</m></{wrapper}>"),
                &plain,
            );
        }
    }
}

#[test]
fn what_a_list_holds_is_judged_whatever_its_class() {
    for (kind, body, expected) in [
        (UuidSet, "<linked-list><int>1</int></linked-list>", BodyRefusal::Element),
        (UuidSet, "<linked-list><string>a b</string></linked-list>", BodyRefusal::Value),
        (UuidSet, "<linked-list><dynamic-proxy/></linked-list>", BodyRefusal::Element),
        (UuidSet, "<linked-list class=\"java.util.PriorityQueue\"/>", BodyRefusal::Class),
        (UuidSet, "<java.util.Arrays_-ArrayList/>", BodyRefusal::Value),
        (
            UuidSet,
            "<java.util.Arrays_-ArrayList><a class=\"java.io.File-array\"/></java.util.Arrays_-ArrayList>",
            BodyRefusal::Class,
        ),
        (
            UuidSet,
            "<java.util.Collections_-UnmodifiableSet><c class=\"java.util.PriorityQueue\"/>\
             </java.util.Collections_-UnmodifiableSet>",
            BodyRefusal::Class,
        ),
        (UuidSet, "<java.util.Collections_-CheckedSet/>", BodyRefusal::Element),
        (UuidSet, "<java.util.CollSer/>", BodyRefusal::Element),
        (HeaderMap, "<hashtable/>", BodyRefusal::Element),
        (
            IntMap,
            "<singleton-map><entry><string>a</string><string>1</string></entry></singleton-map>",
            BodyRefusal::Element,
        ),
        (
            MessageFilter,
            "<messageFilter><includedMetaDataIds class=\"linked-list\"><string>1</string>\
             </includedMetaDataIds></messageFilter>",
            BodyRefusal::Element,
        ),
        (
            MessageFilter,
            "<messageFilter><textSearchMetaDataColumns class=\"singleton-list\"><string>A) OR (1=1</string>\
             </textSearchMetaDataColumns></messageFilter>",
            BodyRefusal::Value,
        ),
        (
            MessageFilter,
            "<messageFilter><includedMetaDataIds class=\"java.util.Arrays$ArrayList\">\
             <a class=\"java.lang.Integer-array\"><int>x</int></a></includedMetaDataIds></messageFilter>",
            BodyRefusal::Value,
        ),
    ] {
        assert_eq!(refusal(kind, body.as_bytes()), Some(expected), "{body}");
    }
    let many = format!("<linked-list>{}</linked-list>", ID.repeat(10_001));
    assert_eq!(refusal(UuidSet, many.as_bytes()), Some(BodyRefusal::TooMany));
}
