use super::super::BodyKind;
use super::{BodyRefusal, check_unchanged, refusal};

const KIB: usize = 1024;

fn uuids(count: usize) -> String {
    format!("<set>{}</set>", "<string>a</string>".repeat(count))
}

/// Returns a body of exactly this many bytes, blanks after its root.
fn padded(body: &str, bytes: usize) -> String {
    format!("{body}{}", " ".repeat(bytes - body.len()))
}

#[test]
fn each_kind_takes_a_body_exactly_up_to_its_limit() {
    let cases = [
        (BodyKind::UuidSet, "<set/>", 1024 * KIB),
        (BodyKind::MessageFilter, "<messageFilter/>", 1024 * KIB),
        (BodyKind::ConnectorMessage, "<connectorMessage><raw/></connectorMessage>", 64 * 1024 * KIB),
    ];
    for (kind, body, bytes_max) in cases {
        assert_eq!(kind.bytes_max(), bytes_max);
        check_unchanged(kind, &padded(body, bytes_max));
        let refused = refusal(kind, padded(body, bytes_max + 1).as_bytes());
        assert_eq!(refused, Some(BodyRefusal::TooLarge { bytes_max }), "{kind:?}");
    }
    let text = "x".repeat(4 * KIB);
    check_unchanged(BodyKind::Text, &text);
    assert!(refusal(BodyKind::Text, format!("{text}x").as_bytes()).is_some());
    let login = format!("username=a&password={}", "x".repeat(4 * KIB - 20));
    check_unchanged(BodyKind::Form, &login);
    assert!(refusal(BodyKind::Form, format!("{login}x").as_bytes()).is_some());
    assert_eq!(refusal(BodyKind::Discard, &vec![0; 1024 * KIB]), None);
    assert!(refusal(BodyKind::Discard, &vec![0; 1024 * KIB + 1]).is_some());
}

#[test]
fn what_grows_past_the_limit_when_it_is_escaped_is_refused() {
    let message = |quotes: usize| {
        let content = "\"".repeat(quotes);
        format!("<connectorMessage><raw><content>{content}</content></raw></connectorMessage>")
    };
    let refused = refusal(BodyKind::ConnectorMessage, message(12 * 1024 * KIB).as_bytes());
    assert_eq!(refused, Some(BodyRefusal::TooLarge { bytes_max: 64 * 1024 * KIB }));
    let login = format!("username=a&password={}", "@".repeat(2 * KIB));
    assert_eq!(refusal(BodyKind::Form, login.as_bytes()), Some(BodyRefusal::TooLarge { bytes_max: 4 * KIB }));
}

#[test]
fn a_set_holds_at_most_ten_thousand_ids() {
    check_unchanged(BodyKind::UuidSet, &uuids(10_000));
    assert_eq!(refusal(BodyKind::UuidSet, uuids(10_001).as_bytes()), Some(BodyRefusal::TooMany));
}

/// Each is a piece of SQL.
#[test]
fn every_list_of_a_filter_holds_at_most_a_hundred_items() {
    const SEARCH: &str = "com.mirth.connect.model.filters.elements.ContentSearchElement";
    const LEVEL: &str = "com.mirth.connect.model.ServerEvent_-Level";
    const STATUS: &str = "com.mirth.connect.donkey.model.message.Status";
    let searches = |name: &str, attributes: &str| {
        let opening = format!("<contentSearch><{SEARCH}><searches{attributes}>{name}");
        (opening, format!("</searches></{SEARCH}></contentSearch>"))
    };
    let (plain, plain_end) = searches("", "");
    let (wrapped, wrapped_end) =
        searches("<a class=\"string-array\">", " class=\"java.util.Arrays$ArrayList\"");
    let wrapped_end = format!("</a>{wrapped_end}");
    let texts = "<string>x</string>";
    check_hundred("messageFilter", &plain, texts, &plain_end);
    check_hundred("messageFilter", &wrapped, texts, &wrapped_end);
    let status = format!("<{STATUS}>SENT</{STATUS}>");
    check_hundred("messageFilter", "<statuses>", &status, "</statuses>");
    let level = format!("<{LEVEL}>ERROR</{LEVEL}>");
    check_hundred("eventFilter", "<levels>", &level, "</levels>");
    for (list, array, item) in [
        ("textSearchMetaDataColumns", "string-array", "<string>SOURCE</string>"),
        ("contentSearch", &format!("{SEARCH}-array"), &format!("<{SEARCH}/>")),
        ("metaDataSearch", "metaDataSearchCriteria-array", "<metaDataSearchCriteria/>"),
    ] {
        check_hundred("messageFilter", &format!("<{list}>"), item, &format!("</{list}>"));
        let wrapped = format!("<{list} class=\"java.util.Arrays$ArrayList\"><a class=\"{array}\">");
        check_hundred("messageFilter", &wrapped, item, &format!("</a></{list}>"));
    }
    for list in ["includedMetaDataIds", "excludedMetaDataIds"] {
        check_hundred("messageFilter", &format!("<{list}>"), "<int>1</int>", &format!("</{list}>"));
    }
}

#[track_caller]
fn check_hundred(filter: &str, opening: &str, item: &str, closing: &str) {
    let kind = if filter == "eventFilter" { BodyKind::EventFilter } else { BodyKind::MessageFilter };
    let body = |count: usize| format!("<{filter}>{opening}{}{closing}</{filter}>", item.repeat(count));
    check_unchanged(kind, &body(100));
    assert_eq!(refusal(kind, body(101).as_bytes()), Some(BodyRefusal::TooMany), "{opening}");
}

#[test]
fn a_body_holds_at_most_a_hundred_thousand_elements() {
    let message = |entries: usize, fields: &str| {
        let entries = "<entry><string/><string/></entry>".repeat(entries);
        format!("<connectorMessage>{fields}<metaDataMap>{entries}</metaDataMap></connectorMessage>")
    };
    assert_eq!(refusal(BodyKind::ConnectorMessage, message(33_332, "<raw/><sent/>").as_bytes()), None);
    let refused = refusal(BodyKind::ConnectorMessage, message(33_333, "<raw/>").as_bytes());
    assert_eq!(refused, Some(BodyRefusal::TooMany));
}

#[test]
fn a_string_map_holds_64_kib_of_text_in_all() {
    let map = |bytes: usize| {
        let (key, value) = ("k".repeat(100), "v".repeat(bytes - 100));
        format!("<map><entry><string>{key}</string><string>{value}</string></entry></map>")
    };
    check_unchanged(BodyKind::StringMap, &map(64 * KIB));
    assert_eq!(refusal(BodyKind::StringMap, map(64 * KIB + 1).as_bytes()), Some(BodyRefusal::Value));
    let filter = |bytes: usize| {
        format!("<messageFilter><textSearch>{}</textSearch></messageFilter>", "x".repeat(bytes))
    };
    check_unchanged(BodyKind::MessageFilter, &filter(64 * KIB));
    assert_eq!(refusal(BodyKind::MessageFilter, filter(64 * KIB + 1).as_bytes()), Some(BodyRefusal::Value));
}
