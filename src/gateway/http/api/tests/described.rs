//! Every endpoint as the description has it, so that what is tried with all of them is tried with a new one too.

use std::fmt::Write as _;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::IF_MATCH;
use axum::http::{Method, Request};
use serde_json::{Map, Value, json};

use super::site::request;
use crate::http::api::{BASE, description};
use adit_core::domain::id::ServerId;
use adit_net::identity::random;

/// One method of one path.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// Without the base; with the parameters in braces.
    pub(super) path: String,
    described: Value,
    schemas: Value,
}

/// Returns all of them, in the order of their paths.
pub(super) fn operations() -> Vec<Operation> {
    let described = serde_json::to_value(description()).unwrap();
    let schemas = described["components"]["schemas"].clone();
    let paths = described["paths"].as_object().unwrap();
    let mut all = Vec::new();
    for (path, methods) in paths.iter().collect::<BTreeMap<_, _>>() {
        for (method, operation) in methods.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let path = path.strip_prefix(BASE).unwrap().to_owned();
            all.push(Operation { method, path, described: operation.clone(), schemas: schemas.clone() });
        }
    }
    assert!(all.len() > 40, "{}", all.len());
    all
}

/// Returns an id that nothing has.
pub(super) fn no_id() -> String {
    ServerId::from_random(random::bytes()).to_string()
}

impl Operation {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Returns whether it is for everybody.
    pub(super) fn is_public(&self) -> bool {
        let needs = self.described["security"].as_array();
        needs.is_some_and(|needs| needs.iter().all(|need| need.as_object().is_some_and(Map::is_empty)))
    }

    pub(super) fn has_path_parameter(&self) -> bool {
        self.path.contains('{')
    }

    /// Returns the path with each of its parameters as `id`, and what the query must have.
    pub(super) fn path_of(&self, id: &str) -> String {
        let mut path = String::new();
        for (number, piece) in self.path.split(['{', '}']).enumerate() {
            path.push_str(if number % 2 == 0 { piece } else { id });
        }
        let parameters = self.described["parameters"].as_array().cloned().unwrap_or_default();
        let needed = parameters.iter().filter(|it| it["in"] == "query" && it["required"] == true);
        for (number, parameter) in needed.enumerate() {
            let name = parameter["name"].as_str().unwrap();
            path.push(if number == 0 { '?' } else { '&' });
            write!(path, "{name}={}", of_name(name).as_str().unwrap()).unwrap();
        }
        path
    }

    /// Returns a body with all fields it may have; those that name something are `named`.
    pub(super) fn body(&self, named: impl Fn(&str) -> String) -> Option<Map<String, Value>> {
        let content = self.described["requestBody"]["content"]["application/json"]["schema"].clone();
        if content.is_null() {
            return None;
        }
        let schema = self.resolved(&content);
        let mut body = Map::new();
        for (name, property) in schema["properties"].as_object().unwrap_or(&Map::new()) {
            body.insert(name.clone(), self.value(name, property, &named));
        }
        Some(body)
    }

    /// Returns the fields of the body that name something.
    pub(super) fn named_fields(&self) -> Vec<String> {
        let body = self.body(|name| format!("names {name}")).unwrap_or_default();
        let names = body.iter().filter(|(name, value)| **value == json!(format!("names {name}")));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Follows references, and takes the first of several that may stand there.
    fn resolved(&self, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            return self.resolved(&self.schemas[name]);
        }
        let several = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
        match several.and_then(|several| several.iter().find(|one| one["type"] != "null")) {
            Some(one) => self.resolved(one),
            None => schema.clone(),
        }
    }

    fn value(&self, name: &str, property: &Value, named: &impl Fn(&str) -> String) -> Value {
        let schema = self.resolved(property);
        let is = |word: &str| {
            let types = &schema["type"];
            types == word || types.as_array().is_some_and(|types| types.iter().any(|it| it == word))
        };
        match () {
            () if schema["format"] == "uuid" => json!(named(name)),
            () if schema["enum"].is_array() => schema["enum"][0].clone(),
            () if is("string") => of_name(name),
            () if is("boolean") => json!(true),
            () if is("integer") => json!(1),
            () if is("array") => json!([]),
            () => json!({}),
        }
    }

    /// Makes the request, with any state of what it changes.
    pub(super) fn request(&self, path: &str, body: Option<Map<String, Value>>) -> Request<Body> {
        let changes = matches!(self.method, Method::PUT | Method::PATCH | Method::DELETE);
        let headers: &[(&str, &str)] = if changes { &[(IF_MATCH.as_str(), "*")] } else { &[] };
        request(self.method.clone(), path, body.map(Value::Object), headers)
    }
}

/// Returns what fits a field of this name.
fn of_name(name: &str) -> Value {
    json!(match name {
        "protocol" => "mllp",
        "access" => "read-only",
        "life" => "24h",
        "tier" => "Standard",
        "role" => "auditor",
        "format" => "jsonl",
        "email" => "somebody@example.org",
        _ => "Some text",
    })
}
