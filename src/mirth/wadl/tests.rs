use super::*;

/// In the form Jersey 2.35 writes it: a root resource may come in several pieces, and every resource
/// has an OPTIONS of its own.
const WADL: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<application xmlns="http://wadl.dev.java.net/2009/02">
    <doc xmlns:jersey="http://jersey.java.net/" jersey:generatedBy="Jersey: 2.35 2021-09-03"/>
    <doc xmlns:jersey="http://jersey.java.net/" jersey:hint="This is simplified WADL &amp; more"/>
    <grammars><include href="application.wadl/xsd0.xsd"><doc title="Generated" xml:lang="en"/></include></grammars>
    <resources base="https://mirth:8443/api/">
        <resource path="/channels">
            <method id="getChannels" name="GET">
                <request><param xmlns:xs="http://www.w3.org/2001/XMLSchema" name="channelId" style="query" type="xs:string"/></request>
                <response><representation mediaType="application/xml"/></response>
            </method>
            <method id="apply" name="OPTIONS"/>
            <resource path="{channelId}/messages/{messageId}">
                <param name="channelId" style="template"/>
                <method id="getMessageContent" name="GET"/>
                <method id="burnMessage" name="POST"/>
            </resource>
            <resource path="/{id: [^/]+}/status"><method name="GET"/></resource>
        </resource>
        <resource path="/extensions/foo">
            <resource path="files/{path: [a-z]{1,3}/.*}"><method name="GET"/></resource>
            <resource path=""><method name="GET"/><method name="GET"/></resource>
        </resource>
        <resource path="/channels"><method id="createChannel" name="POST"/></resource>
        <resource path="application.wadl">
            <method id="getWadl" name="GET"/>
            <resource path="{path}"><method id="getExternalGrammar" name="GET"/></resource>
        </resource>
    </resources>
</application>"#;

fn listed(method: &str, path: &str) -> ListedOperation {
    let is_plug_in = path.starts_with("/extensions/") && !path.starts_with("/extensions/{");
    let root_segments = if is_plug_in { 2 } else { 1 };
    ListedOperation { method: String::from(method), path: String::from(path), root_segments }
}

#[test]
fn jerseys_list_is_read_with_nested_paths_but_without_what_jersey_adds() {
    assert_eq!(
        read(WADL).expect("reads"),
        [
            listed("GET", "/channels"),
            listed("GET", "/channels/{channelId}/messages/{messageId}"),
            listed("GET", "/channels/{id}/status"),
            listed("GET", "/extensions/foo"),
            listed("GET", "/extensions/foo/files/{+path}"),
            listed("POST", "/channels"),
            listed("POST", "/channels/{channelId}/messages/{messageId}"),
        ]
    );
}

#[test]
fn what_no_table_lists_is_unknown() {
    assert_eq!(
        unknown_operations(&read(WADL).expect("reads")),
        [
            listed("GET", "/extensions/foo"),
            listed("GET", "/extensions/foo/files/{+path}"),
            listed("POST", "/channels/{channelId}/messages/{messageId}"),
        ]
    );
    let known: Vec<_> = OPERATIONS.all().iter().map(|known| listed(known.method, known.template)).collect();
    assert_eq!(unknown_operations(&known), []);
}

fn in_class(root_segments: usize, path: &str) -> ListedOperation {
    ListedOperation { method: String::from("GET"), path: String::from(path), root_segments }
}

#[test]
fn a_known_path_of_a_class_with_a_parameter_is_unknown() {
    let foreign = in_class(2, "/extensions/{x}/properties");
    let own = in_class(1, "/extensions/{extensionName}/properties");
    assert_eq!(unknown_operations(&[own, foreign.clone()]), [foreign]);
}

/// Jersey lists no method of a resource that another object answers for, which it finds as it goes.
#[test]
fn a_resource_without_methods_may_serve_all_below_it() {
    let listed = read("<resource path=\"/extensions\"><resource path=\"/foo\"/></resource>").expect("reads");
    let below = ListedOperation { method: "*".into(), path: "/extensions/foo/{+}".into(), root_segments: 1 };
    assert_eq!(listed, [below]);
    assert_eq!(unknown_operations(&listed), listed);
}

#[test]
fn an_operation_that_two_classes_have_is_unknown() {
    let both = [in_class(1, "/server/settings"), in_class(2, "/server/settings")];
    assert_eq!(unknown_operations(&both), both);
    assert_eq!(unknown_operations(&both[..1]), []);
}

#[test]
fn a_parameter_that_is_not_a_plain_one_is_unknown() {
    for path in
        ["/channels/{+id}", "/channels/{id}.json", "/channels/{a}-{b}", "/channels/v{id}", "/{channels}"]
    {
        assert_eq!(unknown_operations(&[listed("GET", path)]), [listed("GET", path)]);
    }
}

#[test]
fn a_list_that_cannot_be_trusted_to_be_whole_is_no_list() {
    let is = |document: &str, expected: fn(&WadlError) -> bool| {
        let error = read(document).expect_err(document);
        assert!(expected(&error), "{error}");
    };
    is("", |error| matches!(error, WadlError::Empty));
    is("<html><body>Login</body></html>", |error| matches!(error, WadlError::Empty));
    is("<application><resources></application>", |error| matches!(error, WadlError::Xml(_)));
    is(&WADL[..WADL.len() / 2], |error| matches!(error, WadlError::Xml(_) | WadlError::Truncated));
    is("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a/>", |error| {
        matches!(error, WadlError::DocType)
    });
    is("<resource path=\"&evil;\"><method name=\"GET\"/></resource>", |error| {
        matches!(error, WadlError::Attribute)
    });
    is(&"<resource path=\"a\">".repeat(33), |error| matches!(error, WadlError::TooLarge));
}

/// What is listed is named in logs, in the audit and in answers.
#[test]
fn an_operation_that_could_not_be_printed_makes_the_whole_list_none() {
    let written = |path: &str, method: &str| {
        read(&format!("<resource path=\"{path}\"><method name=\"{method}\"/></resource>"))
    };
    for unprintable in ["&#10;", "&#13;", "&#27;[2J", "&#9;", "&#127;", "&#x85;", "&#x202e;", "é"] {
        let path = written(&format!("/a{unprintable}b"), "GET");
        assert!(matches!(path, Err(WadlError::Characters)), "path {unprintable}: {path:?}");
        let parameter = written(&format!("/{{a{unprintable}b: .*}}"), "GET");
        assert!(matches!(parameter, Err(WadlError::Characters)), "parameter {unprintable}: {parameter:?}");
        let method = written("/a", &format!("GET{unprintable}x"));
        assert!(matches!(method, Err(WadlError::Characters)), "method {unprintable}: {method:?}");
    }
    assert!(matches!(written("/a", "GET x"), Err(WadlError::Characters)));
    assert_eq!(written("/a b/{c : .*}", "GET").expect("reads"), [in_class(2, "/a b/{+c}")]);
}

#[test]
fn a_slash_inside_a_pattern_parts_no_segments() {
    assert_eq!(segments("/a/{b: x{2}/y}/c"), ["a", "{b: x{2}/y}", "c"]);
    assert_eq!(segments("//a/"), ["a"]);
    assert_eq!(plain("{ id : [^/]+? }"), "{id}");
    assert_eq!(plain("{id : .*}"), "{+id}");
    assert_eq!(plain("{id: \\d+}"), "{id}");
    assert_eq!(plain("{id: x{2}}"), "{+id}");
    assert_eq!(plain("{a}.json"), "{a}.json");
    assert_eq!(plain("{a}-{b}"), "{a}-{b}");
}

/// As Swagger's own resources stand in the list of every server from 4.4 on.
#[test]
fn a_parameter_that_is_one_of_a_few_words_is_spelt_out() {
    let paths = |template: &str| {
        let document = format!("<resource path=\"{template}\"><method name=\"GET\"/></resource>");
        read(&document).expect("reads").into_iter().map(|listed| listed.path).collect::<Vec<_>>()
    };
    assert_eq!(paths("/openapi.{type:json|yaml}"), ["/openapi.json", "/openapi.yaml"]);
    assert_eq!(paths("/a/{b: x | y }/c"), ["/a/{+b}/c"], "blanks belong to the pattern");
    assert_eq!(paths("/a.{b:x}/{c}"), ["/a.{b:x}/{c}"]);
    assert_eq!(paths("/a.{b:x|.*}"), ["/a.{b:x|.*}"]);
    assert_eq!(paths("/a.{b:a|b|c|d|e|f|g|h|i}"), ["/a.{b:a|b|c|d|e|f|g|h|i}"]);
    assert_eq!(paths("/a.{b:}"), ["/a.{b:}"]);
}

#[test]
fn what_swagger_adds_to_every_server_is_known() {
    let document = "<resources><resource path=\"/openapi.{type:json|yaml}\"><method name=\"GET\"/></resource>\
                    <resource path=\"/openapi\"><method name=\"GET\"/><method name=\"GET\"/></resource></resources>";
    assert_eq!(unknown_operations(&read(document).expect("reads")), []);
}
