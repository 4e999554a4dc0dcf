use super::super::json::{BROKEN, UNFINISHED};
use super::super::{Scope, Unmaskable, unmaskable};
use super::{JSON, check_as, masked};
use adit_core::domain::limits;

#[track_caller]
fn check(body: &str, expected: &str) {
    check_as(Scope::Named, JSON, body, Ok(expected));
}

#[track_caller]
fn check_stays(body: &str) {
    check(body, body);
}

#[track_caller]
fn check_refused(body: &str, why: Unmaskable) {
    check_as(Scope::Named, JSON, body, Err(why));
}

#[test]
fn the_value_of_a_credentials_member_is_masked() {
    check(r#"{"c":{"password":"x","host":"h"}}"#, r#"{"c":{"password":"********","host":"h"}}"#);
    check(r#"{ "smtpPassword" : "a\"b\\" , "b":1}"#, r#"{ "smtpPassword" : "********" , "b":1}"#);
    check(r#"{"password":12345,"token":-1.5e3}"#, r#"{"password":"********","token":"********"}"#);
    check(r#"{"pass\u0077ord":"x\ud83d\ude00"}"#, r#"{"pass\u0077ord":"********"}"#);
    check(r#"{"password":"a","password":"b"}"#, r#"{"password":"********","password":"********"}"#);
    check(
        r#"{"password":{"@class":"string","$":"x"}}"#,
        r#"{"password":{"@class":"string","$":"********"}}"#,
    );
    check(
        r#"{"secret":{"a":[1,"b",{"c":"d"}],"e":null}}"#,
        r#"{"secret":{"a":["********","********",{"c":"********"}],"e":null}}"#,
    );
    check(r#"{"password":["a","b"]}"#, r#"{"password":["********","********"]}"#);
}

/// Mirth's JSON groups what an object wrote in a row by type: after a credential's name all is masked.
#[test]
fn values_of_a_row_are_masked_once_a_credentials_name_came() {
    let of = |bearer: &str, kept: &str| {
        format!(
            r#"{{"delegate":{{"@class":"x.CaseInsensitiveMap","@serialization":"custom","unserializable-parents":null,"x.CaseInsensitiveMap":{{"default":null,"float":0.75,"int":[16,2],"string":["host","authorization"],"list":[{{"string":"{kept}"}},{{"string":"{bearer}"}}]}}}}}}"#
        )
    };
    check(&of("Bearer x", "h"), &of("********", "********"));
    let plain = of("Bearer x", "h").replace("authorization", "accept");
    check_stays(&plain);
}

#[test]
fn what_stands_beside_it_passes_as_it_is() {
    check_stays("");
    check_stays(" \r\n\t");
    for scalar in ["5", "-0.1", "true", "null", r#""password""#, r#""\\""#] {
        check_stays(scalar);
    }
    check_stays(r#"{"quoteToken":"\"","quoteEscapeToken":"\\","useCredentials":true,"token":""}"#);
    check_stays(r#"{"a":"{\"password\":\"x\"}","b":[],"c":{},"d":[[1],{}]}"#);
    check_stays(r#"{"password":null,"passwordAuth":"x","usePassword":false}"#);
}

#[test]
fn the_value_of_a_maps_entry_is_masked_by_its_key() {
    check(
        r#"{"map":{"entry":[{"string":["token","x"]},{"string":["a","token"]}]}}"#,
        r#"{"map":{"entry":[{"string":["token","********"]},{"string":["a","token"]}]}}"#,
    );
    check(
        r#"{"map":{"@class":"m","entry":{"string":"Authorization","list":{"string":["a","b"]}}}}"#,
        r#"{"map":{"@class":"m","entry":{"string":"Authorization","list":{"string":["********","********"]}}}}"#,
    );
    check(
        r#"{"entry":{"string":{"@class":"s","$":"token"},"int":3}}"#,
        r#"{"entry":{"string":{"@class":"s","$":"token"},"int":"********"}}"#,
    );
    check(
        r#"{"entry":{"string":["a"],"map":{"entry":{"string":["password","x"]}}}}"#,
        r#"{"entry":{"string":["a"],"map":{"entry":{"string":["password","********"]}}}}"#,
    );
    check_stays(r#"{"entry":{"null":null,"string":"x"}}"#);
    check_stays(r#"{"entry":{"int":1,"string":"token"}}"#);
}

#[test]
fn a_property_is_masked_by_its_name_as_an_attribute_is_by_its_own() {
    check(
        r#"{"p":{"property":[{"@name":"password","$":"x"},{"@name":"url","$":"y"}]}}"#,
        r#"{"p":{"property":[{"@name":"password","$":"********"},{"@name":"url","$":"y"}]}}"#,
    );
    check(
        r#"{"property":{"@name":"password","@value":"x"},"a":{"@token":"y","@class":"z"}}"#,
        r#"{"property":{"@name":"password","@value":"********"},"a":{"@token":"********","@class":"z"}}"#,
    );
    // Before its name is known, it may be any.
    check(r#"{"property":{"$":"x","@name":"url"}}"#, r#"{"property":{"$":"********","@name":"url"}}"#);
}

#[test]
fn accounts_lose_only_their_passwords() {
    check(
        r#"{"credentials":{"@class":"m","entry":[{"string":["ann","x"]},{"string":["bob",7]}]}}"#,
        r#"{"credentials":{"@class":"m","entry":[{"string":["ann","********"]},{"string":["bob","********"]}]}}"#,
    );
}

#[test]
fn the_configuration_map_loses_every_value_but_no_key_or_comment() {
    let map = |value: &str| {
        format!(
            r#"{{"map":{{"@class":"linked-hash-map","entry":[{{"string":"db.password","com.mirth.connect.util.ConfigurationProperty":{{"value":{value},"comment":"c"}}}},{{"string":"pin","com.mirth.connect.util.ConfigurationProperty":{{"value":{value},"comment":1}}}},{{"string":["old",{value}]}}]}}}}"#
        )
    };
    check_as(Scope::ConfigurationMap, JSON, &map("1234"), Ok(&map("\"********\"")));
    let within = |value: &str| map(value).replace("\"map\"", "\"configurationMap\"");
    check(&within("1234"), &within("\"********\""));
}

#[test]
fn a_plug_ins_properties_lose_every_value_but_a_switch_or_whole_number() {
    let properties = |value: &str, secret: &str| {
        format!(
            r#"{{"properties":{{"property":[{{"@name":"url","$":"{value}"}},{{"@name":"on","$":true}},{{"@name":"size","$":1000}},{{"@name":"pin.token","$":{secret}}},{{"@name":"archiverOptions","$":"{value}"}}]}}}}"#
        )
    };
    check_as(Scope::Properties, JSON, &properties("x", "1"), Ok(&properties("********", "\"********\"")));
    let within = |value: &str, secret: &str| {
        let properties = properties(value, secret);
        let inner = &properties[1..properties.len() - 1];
        format!(r#"{{"pluginProperties":{{"entry":{{"string":"X",{inner}}}}},"on":"off"}}"#)
    };
    check(&within("y", "2"), &within("********", "\"********\""));
}

#[test]
fn what_is_no_well_formed_json_does_not_pass() {
    for broken in [
        "x",
        "}",
        "]",
        "{]",
        "[}",
        "{,}",
        "[,]",
        "{\"a\"}",
        "{\"a\",}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1,]",
        "{a:1}",
        "{'a':1}",
        "1 2",
        "{} {}",
        "[1 2]",
        "\"a\" \"b\"",
        "<a/>",
        "{\"a\":1}}",
        "\0",
    ] {
        check_refused(broken, BROKEN);
    }
    for unfinished in ["{", "[", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "[1", "\"a", "\"a\\", "[\"\\\""] {
        check_refused(unfinished, UNFINISHED);
    }
}

#[test]
fn what_is_longer_or_deeper_than_is_read_does_not_pass() {
    let masked = |body: &str| masked(Scope::Named, JSON, &[body.as_bytes()]);
    let name = "n".repeat(limits::MASK_TOKEN_BYTES_MAX + 1);
    assert_eq!(masked(&format!("{{\"{name}\":1}}")), Err(unmaskable("A name in Mirth's JSON is too long.")));
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(masked(&nested(limits::MASK_DEPTH_MAX)).is_ok());
    assert_eq!(
        masked(&nested(limits::MASK_DEPTH_MAX + 1)),
        Err(unmaskable("Mirth's JSON is nested deeper than is read here."))
    );
    let long = |value: &str| format!("{{\"password\":\"{value}\"}}");
    assert_eq!(masked(&long(&" ".repeat(limits::MASK_VALUE_BYTES_MAX + 1))), Ok(long("********")));
}
