//! A JSON Schema of the configuration, for editors and checks.
//!
//! Made of the readers' own declarations, so that it knows exactly the keys that they read; descriptions and defaults are
//! those of the example, which tests hold to what is true. Says what each value may be by itself: what must hold between
//! values is the reader's alone to judge.

mod told;

use serde_json::{Map, Value, json};

use self::told::Told;
use super::typed;
use super::units::{DURATION_PATTERN, SIZE_PATTERN, show_duration, show_size};
use super::walk::{Shape, TableShape, declared};

/// A text that the environment completes may become anything.
const REFERENCE: &str = r"\$\{";

/// The name of a table that the operator chooses, in the paths of keys.
const ANY_NAME: &str = "*";

/// The schema, as JSON (draft 7, which editors for TOML know).
pub fn schema() -> String {
    let mut schema = table("", &declared(typed::document), &Told::of_example());
    schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".to_owned(), json!("standpipe's configuration"));
    format!("{:#}\n", Value::Object(schema))
}

/// The schema of the table at `path`.
fn table(path: &str, shape: &TableShape, told: &Told) -> Map<String, Value> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let properties: Map<_, _> = shape
        .keys()
        .map(|(key, shape)| {
            let path = below(key);
            let mut schema = value(&path, shape, told);
            let bounds = bounds(shape);
            let description: Vec<&str> = [told.of(&path), bounds.as_deref()].into_iter().flatten().collect();
            if !description.is_empty() {
                schema.insert("description".to_owned(), json!(description.join(" ")));
            }
            if let Some(default) = told.default(&path) {
                schema.insert("default".to_owned(), default.clone());
            }
            (key.to_owned(), Value::Object(schema))
        })
        .collect();
    let others = match &shape.named {
        Some(named) => {
            let path = below(ANY_NAME);
            let mut schema = table(&path, named, told);
            if let Some(description) = told.description(&path) {
                schema.insert("description".to_owned(), json!(description));
            }
            Value::Object(schema)
        }
        None => json!(false),
    };
    let mut schema = object(json!({ "type": "object", "additionalProperties": others }));
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
    if !shape.required.is_empty() {
        schema.insert("required".to_owned(), json!(shape.required));
    }
    schema
}

/// The schema of the value at `path`, without what is told of it.
fn value(path: &str, shape: &Shape, told: &Told) -> Map<String, Value> {
    let reference = || json!({ "type": "string", "pattern": REFERENCE });
    let or_pattern = |pattern: &str| json!({ "type": "string", "pattern": format!("{pattern}|{REFERENCE}") });
    object(match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::Members => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
        }
        Shape::Choice(words) => json!({ "anyOf": [{ "enum": words }, reference()] }),
        Shape::Switch => json!({ "anyOf": [{ "type": "boolean" }, reference()] }),
        Shape::Count { min, max } => {
            json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, reference()] })
        }
        Shape::Share => {
            json!({ "anyOf": [{ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }, reference()] })
        }
        Shape::Duration { .. } => or_pattern(DURATION_PATTERN),
        Shape::DurationOrOff { .. } => or_pattern(&format!("^off$|{DURATION_PATTERN}")),
        Shape::Size { min, max } => json!({ "anyOf": [
            { "type": "integer", "minimum": min, "maximum": max },
            or_pattern(SIZE_PATTERN)
        ] }),
        Shape::Table(shape) => return table(path, shape, told),
        Shape::Tables(shape) => json!({ "type": "array", "items": table(path, shape, told) }),
        Shape::TextsOrTables(shape) => {
            json!({ "type": "array", "items": { "anyOf": [{ "type": "string" }, table(path, shape, told)] } })
        }
        Shape::WordOrTable(words, shape) => {
            json!({ "anyOf": [{ "enum": words }, reference(), table(path, shape, told)] })
        }
    })
}

/// The bounds of a value that is written as a text: a pattern cannot say them.
fn bounds(shape: &Shape) -> Option<String> {
    match shape {
        Shape::Duration { min, max } => {
            Some(format!("From {} to {}.", show_duration(*min), show_duration(*max)))
        }
        Shape::DurationOrOff { min, max } => {
            Some(format!("From {} to {}, or \"off\".", show_duration(*min), show_duration(*max)))
        }
        Shape::Size { min, max } => Some(format!("From {} to {}.", show_size(*min), show_size(*max))),
        Shape::Text
        | Shape::Texts
        | Shape::Members
        | Shape::Choice(_)
        | Shape::Switch
        | Shape::Count { .. }
        | Shape::Share
        | Shape::Table(_)
        | Shape::Tables(_)
        | Shape::TextsOrTables(_)
        | Shape::WordOrTable(..) => None,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => unreachable!("every schema here is an object: {other}"),
    }
}

#[cfg(test)]
mod tests;
