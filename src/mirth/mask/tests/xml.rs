use super::super::xml::{BROKEN, UNFINISHED};
use super::super::{Scope, Unmaskable, unmaskable};
use super::{XML, check_as, masked};
use adit_core::domain::limits;

#[track_caller]
fn check(body: &str, expected: &str) {
    check_as(Scope::Named, XML, body, Ok(expected));
}

#[track_caller]
fn check_stays(body: &str) {
    check(body, body);
}

#[track_caller]
fn check_refused(body: &str, why: Unmaskable) {
    check_as(Scope::Named, XML, body, Err(why));
}

#[test]
fn the_text_of_a_credentials_element_is_masked() {
    check("<c><password>x</password></c>", "<c><password>********</password></c>");
    check("<c><smtpPassword>a&amp;b</smtpPassword></c>", "<c><smtpPassword>********</smtpPassword></c>");
    check("<password class=\"string\">x</password>", "<password class=\"string\">********</password>");
    check("<a><clientSecret >x</clientSecret ></a>", "<a><clientSecret >********</clientSecret ></a>");
    check(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<token>123</token>\n",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<token>********</token>\n",
    );
}

#[test]
fn a_byte_order_mark_passes_in_the_first_place_alone_however_the_answer_is_cut() {
    check("\u{feff}<password>x</password>", "\u{feff}<password>********</password>");
    check_stays("\u{feff}\n<a/>");
    for late in ["\t\u{feff}<a/>", "\n\u{feff}", " \u{feff} <a/>", "\u{feff}\u{feff}<a/>"] {
        check_refused(late, BROKEN);
    }
}

#[test]
fn what_stands_beside_it_passes_as_it_is() {
    check_stays("<c>\r\n  <host>h&lt;&#xd;é</host><password/><password></password><port>1</port>\n</c>");
    check_stays("<c><quoteToken>&quot;</quoteToken><quoteEscapeToken>\\</quoteEscapeToken></c>");
    check_stays("<c><!-- a > b --><x a='>' b=\"/>\"/><![CDATA[<password>]]></c>");
    check_stays("<c><useTemporaryCredentials>false</useTemporaryCredentials></c>");
    check_stays("<c><passwordEnabled>true</passwordEnabled><script>var password = 'x';</script></c>");
    check_stays("");
}

#[test]
fn below_a_credentials_element_all_text_is_masked_but_no_element() {
    check(
        "<c>\n <secret class=\"x\">\n  <a>1</a>\n  <b><password>2</password></b>3\n </secret><d>4</d></c>",
        "<c>\n <secret class=\"x\">\n  <a>********</a>\n  <b><password>********</password></b>********</secret><d>4</d></c>",
    );
    check("<password>a<![CDATA[b]]>c</password>", "<password>********</password>");
    check("<password><![CDATA[<a>]]></password>", "<password>********</password>");
    check_stays("<password><![CDATA[]]></password>");
    check_stays("<secret> <x/> </secret>");
}

#[test]
fn the_value_of_a_maps_entry_is_masked_by_its_key() {
    check(
        "<map><entry><string>Authorization</string><list>\n<string>Basic x</string></list></entry>\
         <entry><string>Accept</string><list><string>*/*</string></list></entry></map>",
        "<map><entry><string>Authorization</string><list>\n<string>********</string></list></entry>\
         <entry><string>Accept</string><list><string>*/*</string></list></entry></map>",
    );
    check(
        "<m><entry>\n <string> db.password </string>\n <int>5</int><null/></entry></m>",
        "<m><entry>\n <string> db.password </string>\n <int>0</int><null/></entry></m>",
    );
    // Entries in the value of an entry, and after it.
    check(
        "<m><entry><string>a</string><map><entry><string>token</string><string>x</string></entry></map></entry>\
         <entry><string>b</string><string>token</string></entry></m>",
        "<m><entry><string>a</string><map><entry><string>token</string><string>********</string></entry></map></entry>\
         <entry><string>b</string><string>token</string></entry></m>",
    );
    check(
        "<m><entry><string/><string>x</string></entry><entry><null/><password>x</password></entry></m>",
        "<m><entry><string/><string>x</string></entry><entry><null/><password>********</password></entry></m>",
    );
    // A key that is spelled in another way, and one that is an object.
    check(
        "<entry><string>pass&#119;ord</string><a>x</a></entry>",
        "<entry><string>pass&#119;ord</string><a>********</a></entry>",
    );
    check(
        "<entry><k><![CDATA[token]]></k><a>x</a></entry>",
        "<entry><k><![CDATA[token]]></k><a>********</a></entry>",
    );
    check("<entry><k><n>token</n></k><a>x</a></entry>", "<entry><k><n>token</n></k><a>********</a></entry>");
}

#[test]
fn a_long_key_is_known_by_its_end() {
    let key = "k".repeat(10_000);
    let body = format!("<entry><s>{key}.password</s><s>x</s></entry>");
    let expected = format!("<entry><s>{key}.password</s><s>********</s></entry>");
    assert_eq!(masked(Scope::Named, XML, &[body.as_bytes()]).unwrap(), expected);
}

#[test]
fn a_property_is_masked_by_its_name_as_an_attribute_is_by_its_own() {
    check(
        "<p><property name=\"keystore.storepass\">x</property><property name=\"url\">y</property></p>",
        "<p><property name=\"keystore.storepass\">********</property><property name=\"url\">y</property></p>",
    );
    check(
        "<p><property value='x' name='password'/><property name='a' value='b'/><entry key='token'>x</entry></p>",
        "<p><property value='********' name='password'/><property name='a' value='b'/><entry key='token'>********</entry></p>",
    );
    check(
        "<p password = \"x>y\" token='' secret=\"true\"/>",
        "<p password = \"********\" token='' secret=\"true\"/>",
    );
}

#[test]
fn accounts_lose_only_their_passwords() {
    check(
        "<p><credentials class=\"linked-hash-map\"><entry><string>ann</string><string>x</string></entry>\
         <entry><string>bob</string><string>y</string></entry></credentials><credentials>z</credentials></p>",
        "<p><credentials class=\"linked-hash-map\"><entry><string>ann</string><string>********</string></entry>\
         <entry><string>bob</string><string>********</string></entry></credentials><credentials>********</credentials></p>",
    );
}

#[test]
fn the_configuration_map_loses_every_value_but_no_key_or_comment() {
    let map = |value: &str| {
        format!(
            "<map>\n  <entry>\n    <string>db.password</string>\n    \
             <com.mirth.connect.util.ConfigurationProperty>\n      <value>{value}</value>\n      \
             <comment>ours</comment>\n    </com.mirth.connect.util.ConfigurationProperty>\n  </entry>\n  <entry>\
             <string>pin</string><com.mirth.connect.util.ConfigurationProperty><value>{value}</value><comment/>\
             </com.mirth.connect.util.ConfigurationProperty></entry><entry><string>old</string><string>{value}\
             </string></entry></map>"
        )
    };
    check_as(Scope::ConfigurationMap, XML, &map("1234"), Ok(&map("********")));
    let within = |value: &str| map(value).replace("map>", "configurationMap>");
    let whole = |value: &str| format!("<c><a>1234</a>{}<b>1234</b></c>", within(value));
    check(&whole("1234"), &whole("********"));
}

#[test]
fn a_plug_ins_properties_lose_every_value_but_a_switch_or_whole_number() {
    let properties = |value: &str, secret: &str| {
        format!(
            "<properties>\n  <property name=\"url\">{value}</property>\n  <property name=\"on\">true</property>\n  \
             <property name=\"size\">1000</property>\n  <property name=\"bind.password\">{secret}</property>\n  \
             <property name=\"none\"></property><property name=\"xml\">{value}</property>\n</properties>"
        )
    };
    check_as(Scope::Properties, XML, &properties("a&lt;b&gt;", "1"), Ok(&properties("********", "********")));
    let within = |value: &str, secret: &str| {
        let properties = properties(value, secret);
        format!("<c><pluginProperties><entry><string>X</string>{properties}</entry></pluginProperties></c>")
    };
    check(&within("y", "2"), &within("********", "********"));
    // A connector's are known by their names.
    check_stays("<c><pluginProperties><a.B version=\"4\"><realm>r</realm></a.B></pluginProperties></c>");
}

#[test]
fn what_the_data_pruners_view_reads_as_xml_stays_xml() {
    let properties = |password: &str| {
        format!(
            "<properties><property name=\"pollingProperties\">&lt;p version=&quot;4&quot;&gt;\n  \
             &lt;pollingType&gt;INTERVAL&lt;/pollingType&gt;&#xd;\n&lt;/p&gt;</property><property \
             name=\"archiverOptions\">&lt;o&gt;&lt;password&gt;{password}&lt;/password&gt;&lt;/o&gt;</property></properties>"
        )
    };
    check_as(Scope::Properties, XML, &properties("x&amp;amp;y"), Ok(&properties("********")));
    let other = |value: &str| format!("<p><property name=\"archiverOptions\">{value}</property></p>");
    for odd in ["canary", "&lt;a&gt;", "&lt;a/&gt;&#x20;", "&lt;a/&gt;&nbsp;", "&lt;!DOCTYPE a&gt;&lt;a/&gt;"]
    {
        check_as(Scope::Properties, XML, &other(odd), Ok(&other("********")));
    }
}

#[test]
fn an_object_that_mirth_began_anew_is_masked_from_there_too() {
    check(
        "<list><m><password>a</password><x>b|__>==INVALID==<__|<list><password>c</password></list>",
        "<list><m><password>********</password><x>b|__>==INVALID==<__|<list><password>********</password></list>",
    );
}

#[test]
fn an_object_in_whose_start_tag_mirth_began_anew_is_masked_from_there_too() {
    check(
        "<list><m><password>a</password><x class=\"y\"|__>==INVALID==<__|<list><password>c</password></list>",
        "<list><m><password>********</password><x class=\"y\"|__>==INVALID==<__|<list><password>********</password></list>",
    );
}

/// As Apache's `CaseInsensitiveMap` writes the headers of an HTTP Listener's message.
#[test]
fn values_are_told_from_keys_where_an_object_wrote_them_in_a_row() {
    let of = |bearer: &str, cookie: &str| {
        format!(
            "<h><delegate class=\"org.apache.commons.collections4.map.CaseInsensitiveMap\" serialization=\"custom\">\
             <unserializable-parents/><org.apache.commons.collections4.map.CaseInsensitiveMap><default/>\
             <float>0.75</float><int>16</int><int>2</int>\
             <string>host</string><list><string>kept</string></list>\
             <string>authorization</string><list>\n<string>{bearer}</string></list>\
             <string>accept</string><list><string>*/*</string></list>\
             <string>Cookie</string><string>{cookie}</string></org.apache.commons.collections4.map.CaseInsensitiveMap>\
             </delegate><password/></h>"
        )
    };
    check(&of("Bearer x", "y"), &of("********", "********"));
}

#[test]
fn what_is_no_well_formed_xml_does_not_pass() {
    for broken in [
        "text",
        "{\"a\":1}",
        "<a/>text",
        "<a/><b/>",
        "</a>",
        "<a></a></a>",
        "<a><></a>",
        "<a>< b/></a>",
        "<a b/>",
        "<a b=c/>",
        "<a b='<'/>",
        "<a b='c'd='e'/>",
        "<a/ >",
        "<!DOCTYPE a><a/>",
        "<a><!ENTITY x></a>",
        "<![CDATA[a]]><a/>",
        "<\0a/>",
    ] {
        check_refused(broken, BROKEN);
    }
    for unfinished in
        ["<", "<a", "<a>", "<a><b></b>", "<a><!-- </a>", "<a><![CDATA[ </a>", "<a b='></a>", "<?a"]
    {
        check_refused(unfinished, UNFINISHED);
    }
    let comment = unmaskable("Mirth's XML has a comment in the place of a value.");
    check_refused("<password><!-- x --></password>", comment);
}

#[test]
fn what_is_longer_or_deeper_than_is_read_does_not_pass() {
    let name = "n".repeat(limits::MASK_TOKEN_BYTES_MAX + 1);
    let masked = |body: &str| masked(Scope::Named, XML, &[body.as_bytes()]);
    assert_eq!(
        masked(&format!("<a {name}")),
        Err(unmaskable("A tag of Mirth's answer is longer than is read here."))
    );
    let nested = |depth: usize| ["<a>".repeat(depth), "</a>".repeat(depth)].concat();
    assert!(masked(&nested(limits::MASK_DEPTH_MAX)).is_ok());
    assert_eq!(
        masked(&nested(limits::MASK_DEPTH_MAX + 1)),
        Err(unmaskable("Mirth's XML is nested deeper than is read here."))
    );
    let long = |value: &str| format!("<a><password>{value}</password></a>");
    let value = " ".repeat(limits::MASK_VALUE_BYTES_MAX + 1);
    assert_eq!(masked(&long(&value)), Ok(long("********")));
}
