use super::super::{BodyKind, judge};
use super::{check_rewritten, check_unchanged, sent_type};

const TABLE: &str = include_str!("../../data/read-only-bodies.tsv");

/// Returns kind, content type and sample of each row.
pub(super) fn rows() -> impl Iterator<Item = (BodyKind, &'static str, &'static str)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines.map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        (BodyKind::parse(columns[0]).expect("a kind"), columns[1], columns[5])
    })
}

#[test]
fn every_kind_of_the_table_is_known_with_the_content_type_that_it_says() {
    let known: Vec<_> = rows().map(|(kind, _, _)| kind).collect();
    assert_eq!(known, BodyKind::ALL[..12]);
    for (kind, media_type, _) in rows() {
        let expected = Some(media_type).filter(|_| kind.media_type().is_some());
        assert_eq!(kind.media_type(), expected, "{kind:?}");
    }
    for kind in BodyKind::ALL {
        assert_eq!(BodyKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(BodyKind::parse("UuidSet"), None);
}

#[test]
fn the_sample_of_every_row_comes_back_byte_for_byte() {
    for (kind, _, sample) in rows() {
        match kind {
            BodyKind::None => check_unchanged(kind, ""),
            BodyKind::MultipartSets => {}
            BodyKind::Discard => check_rewritten(kind, sample, ""),
            _ => check_unchanged(kind, sample),
        }
    }
}

#[test]
fn bodies_as_xstream_writes_them_come_back_byte_for_byte() {
    for (kind, body) in WRITTEN_BY_CLIENTS {
        check_unchanged(*kind, body);
    }
}

#[test]
fn roots_that_the_table_names_are_taken() {
    for name in ["set", "linked-hash-set", "tree-set", "singleton-set", "list"] {
        check_unchanged(BodyKind::UuidSet, &format!("<{name}><string>a-1</string></{name}>"));
        check_unchanged(BodyKind::UuidSet, &format!("<{name}/>"));
    }
    for kind in [BodyKind::HeaderMap, BodyKind::IntMap, BodyKind::StringMap] {
        check_unchanged(kind, "<map/>");
        check_unchanged(kind, "<linked-hash-map></linked-hash-map>");
    }
    check_unchanged(BodyKind::StringMap, "<tree-map/>");
    check_unchanged(BodyKind::MessageFilter, "<messageFilter/>");
    check_unchanged(BodyKind::EventFilter, "<eventFilter/>");
    check_unchanged(BodyKind::ConnectorMessage, "<connectorMessage><raw/></connectorMessage>");
}

#[test]
fn loose_spelling_is_made_strict() {
    let kind = BodyKind::StringMap;
    let map = |key: &str| format!("<map><entry><string>{key}</string><string/></entry></map>");
    check_rewritten(kind, &map("a>\"'&#65;&#x26;\u{85}"), &map("a&gt;&quot;&apos;A&amp;&#x85;"));
    check_rewritten(kind, &map("a\r\nb\rc&#13;\n"), &map("a\nb\nc&#xd;\n"));
    check_rewritten(kind, "<map ><entry\n><string\t/><string></string ></entry></map\r\n>\n", {
        "<map><entry><string/><string></string></entry></map>\n"
    });
    let filter = "<messageFilter><metaDataSearch><metaDataSearchCriteria><value   class=\"int\" >1</value>\
                  </metaDataSearchCriteria></metaDataSearch></messageFilter>";
    check_rewritten(BodyKind::MessageFilter, filter, &filter.replace("   class=\"int\" ", " class=\"int\""));
}

#[test]
fn a_get_may_name_a_content_type_but_carries_nothing() {
    assert!(judge(BodyKind::None, Some(b"application/xml"), b"").is_ok());
    assert!(judge(BodyKind::None, None, b"").is_ok());
    assert!(judge(BodyKind::None, None, b" ").is_err());
}

#[test]
fn a_kind_with_a_body_needs_its_content_type() {
    for kind in BodyKind::ALL.into_iter().filter(|kind| kind.media_type().is_some()) {
        // The login of the dashboard has no row; it takes what the API's login does.
        let row = rows().find(|(row, _, _)| *row == kind).or_else(|| rows().nth(8));
        let body = row.expect("is in the table").2.as_bytes();
        assert!(judge(kind, sent_type(kind), body).is_ok(), "{kind:?}");
        for other in
            [None, Some(b"".as_slice()), Some(b"application/json"), Some(b"application/octet-stream")]
        {
            assert!(judge(kind, other, body).is_err(), "{kind:?}");
        }
    }
}

/// By the Administrator and the command-line client, pretty and compact.
pub(super) const WRITTEN_BY_CLIENTS: &[(BodyKind, &str)] = &[
    (BodyKind::UuidSet, PRETTY_SET),
    (BodyKind::HeaderMap, PRETTY_HEADERS),
    (BodyKind::MessageFilter, PRETTY_FILTER),
    (BodyKind::ConnectorMessage, PRETTY_MESSAGE),
    (BodyKind::IntMap, "<map><entry><string>a-1</string><int>7</int></entry></map>"),
    (
        BodyKind::StringMap,
        "<map><entry><string>channel</string><string>Q &amp; A &lt;&quot;&apos;&gt; é &#xd;\n\t</string>\
         </entry>\
         <entry><string></string><string></string></entry></map>",
    ),
    (
        BodyKind::MessageFilter,
        "<messageFilter><contentSearch class=\"java.util.Arrays$ArrayList\">\
         <a class=\"com.mirth.connect.model.filters.elements.ContentSearchElement-array\">\
         <com.mirth.connect.model.filters.elements.ContentSearchElement>\
         <searches class=\"java.util.Arrays$ArrayList\">\
         <a class=\"string-array\"><string>x</string></a></searches>\
         </com.mirth.connect.model.filters.elements.ContentSearchElement></a></contentSearch>\
         <metaDataSearch class=\"java.util.Arrays$ArrayList\"><a class=\"metaDataSearchCriteria-array\"/>\
         </metaDataSearch>\
         <textSearchMetaDataColumns class=\"java.util.Arrays$ArrayList\"><a class=\"string-array\">\
         <string>SOURCE</string></a></textSearchMetaDataColumns></messageFilter>",
    ),
    (
        BodyKind::MessageFilter,
        "<messageFilter><metaDataSearch><metaDataSearchCriteria><columnName>SOURCE</columnName>\
         <operator>DOES_NOT_CONTAIN</operator><value class=\"string\">x</value><ignoreCase>true</ignoreCase>\
         </metaDataSearchCriteria><metaDataSearchCriteria><value class=\"big-decimal\">1.5</value>\
         </metaDataSearchCriteria><metaDataSearchCriteria><value class=\"gregorian-calendar\"><time>1</time>\
         <timezone>Etc/UTC</timezone></value></metaDataSearchCriteria><metaDataSearchCriteria>\
         <value class=\"boolean\">true</value></metaDataSearchCriteria><metaDataSearchCriteria>\
         <value class=\"long\">-1</value></metaDataSearchCriteria></metaDataSearch></messageFilter>",
    ),
    (
        BodyKind::EventFilter,
        "<eventFilter><maxEventId>5</maxEventId><endDate><time>-1</time><timezone>GMT+05:30</timezone>\
         </endDate>\
         <outcome>FAILURE</outcome><ipAddress>10.0.0.1</ipAddress></eventFilter>",
    ),
];

const PRETTY_SET: &str = "\
<linked-hash-set>
  <string>3f2504e0-4f89-41d3-9a0c-0305e82c3301</string>
  <string>3f2504e0-4f89-41d3-9a0c-0305e82c3302</string>
</linked-hash-set>";

const PRETTY_HEADERS: &str = "\
<map>
  <entry>
    <string>3f2504e0-4f89-41d3-9a0c-0305e82c3301</string>
    <channelHeader>
      <revision>3</revision>
      <codeTemplatesChanged>false</codeTemplatesChanged>
    </channelHeader>
  </entry>
</map>";

const PRETTY_FILTER: &str = "\
<messageFilter>
  <startDate>
    <time>1795455204414</time>
    <timezone>America/New_York</timezone>
  </startDate>
  <includedMetaDataIds>
    <int>0</int>
    <int>1</int>
  </includedMetaDataIds>
  <contentSearch>
    <com.mirth.connect.model.filters.elements.ContentSearchElement>
      <contentCode>1</contentCode>
      <searches>
        <string>O&apos;Neil</string>
      </searches>
    </com.mirth.connect.model.filters.elements.ContentSearchElement>
  </contentSearch>
  <textSearchMetaDataColumns>
    <string>SOURCE</string>
  </textSearchMetaDataColumns>
  <attachment>false</attachment>
</messageFilter>";

const PRETTY_MESSAGE: &str = "\
<connectorMessage>
  <messageId>42</messageId>
  <metaDataId>0</metaDataId>
  <raw>
    <encrypted>false</encrypted>
    <contentType>RAW</contentType>
    <content>MSH|^~\\&amp;|A&#xd;PID|1&#xd;</content>
  </raw>
</connectorMessage>";
