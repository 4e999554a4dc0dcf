//! The stand-in's `application.wadl`, in the form that Jersey 2.35 gives it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::operations::OPERATIONS;

/// A class of a plug-in whose path is a parameter: Jersey chooses it before `/extensions`.
const SHADOW: &str = "<resource path=\"/extensions/{x}\"><resource path=\"/{y}\">\
                      <method id=\"peek\" name=\"GET\"/></resource></resource>";

/// Renders every operation that is served, below the address that the client used, and those of the plug-in.
pub(super) fn render(host: &str, context: &str, plug_in: bool) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n\
         <application xmlns=\"http://wadl.dev.java.net/2009/02\">\n    \
         <doc xmlns:jersey=\"http://jersey.java.net/\" jersey:generatedBy=\"Jersey: 2.35 2021-09-03 06:05:01\"/>\n    \
         <doc xmlns:jersey=\"http://jersey.java.net/\" jersey:hint=\"This is simplified WADL with user and core \
         resources only. To get full WADL with extended resources use the query parameter detail. Link: \
         https://{host}{context}/application.wadl?detail=true\"/>\n    \
         <grammars>\n        <include href=\"application.wadl/xsd0.xsd\">\n            \
         <doc title=\"Generated\" xml:lang=\"en\"/>\n        </include>\n    </grammars>\n    \
         <resources base=\"https://{host}{context}/\">\n"
    );
    for (class, paths) in resources() {
        put(&mut text, 8, &format!("<resource path=\"{class}\">"));
        for (path, methods) in paths {
            let indent = if path.is_empty() { 12 } else { 16 };
            if !path.is_empty() {
                put(&mut text, 12, &format!("<resource path=\"{path}\">"));
                for parameter in path.split('/').filter_map(parameter_name) {
                    put(&mut text, 16, &parameter_element(parameter, "template"));
                }
            }
            for (method, name) in methods {
                put_method(&mut text, indent, method, name);
            }
            if !path.is_empty() {
                put(&mut text, 12, "</resource>");
            }
        }
        put(&mut text, 8, "</resource>");
    }
    if plug_in {
        put(&mut text, 8, SHADOW);
    }
    text + "    </resources>\n</application>\n"
}

type Methods = Vec<(&'static str, &'static str)>;

/// Returns the resources by class and path, in their order.
fn resources() -> BTreeMap<&'static str, BTreeMap<&'static str, Methods>> {
    let mut resources: BTreeMap<_, BTreeMap<_, Methods>> = BTreeMap::new();
    for operation in &OPERATIONS {
        let methods = resources.entry(operation.class).or_default().entry(operation.path).or_default();
        methods.push((operation.method, operation.name));
    }
    resources
}

fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn parameter_element(name: &str, style: &str) -> String {
    format!(
        "<param xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" name=\"{name}\" style=\"{style}\" type=\"xs:string\"/>"
    )
}

fn put_method(text: &mut String, indent: usize, method: &str, name: &str) {
    put(text, indent, &format!("<method id=\"{name}\" name=\"{method}\">"));
    if matches!(method, "POST" | "PUT") {
        put(text, indent + 4, "<request>");
        put(text, indent + 8, "<representation mediaType=\"application/xml\"/>");
        put(text, indent + 4, "</request>");
    }
    put(text, indent + 4, "<response>");
    put(text, indent + 8, "<representation mediaType=\"application/xml\"/>");
    put(text, indent + 8, "<representation mediaType=\"application/json\"/>");
    put(text, indent + 4, "</response>");
    put(text, indent, "</method>");
}

fn put(text: &mut String, indent: usize, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:indent$}{line}", "");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_stands_in_the_wadl_once_even_a_plug_ins() {
        let text = render("mirth:8443", "/api", false);
        assert_eq!(text.matches("<method ").count(), OPERATIONS.len());
        assert!(text.contains("<resources base=\"https://mirth:8443/api/\">"));
        let plug_in = text.split("<resource path=\"/extensions/bedboard\">").nth(1).unwrap();
        assert!(plug_in.trim_start().starts_with("<resource path=\"/_clear\">"), "{plug_in}");
    }
}
