use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::config::fault::Faults;
use crate::config::walk::Walk;
use crate::config::{Config, MINIMAL, example};

fn parsed() -> Value {
    serde_json::from_str(&schema()).expect("the schema is JSON")
}

/// Whether the schema accepts a document, by a library that has its own idea of schemas.
fn accepts(text: &str) -> bool {
    let document: toml::Table = text.parse().expect("it is TOML");
    let document = serde_json::to_value(document).expect("it has no dates");
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    compiler.add_resource("standpipe.schema.json", parsed()).expect("a name for the schema");
    let compiled = compiler.compile("standpipe.schema.json", &mut schemas).expect("it is a schema");
    schemas.validate(&document, compiled).is_ok()
}

fn loads(text: &str) -> bool {
    let env = |name: &str| (name == "N").then(|| "7".to_owned());
    Config::from_text(Path::new("c.toml"), text, &env).is_ok()
}

/// Adds the path of every key in the schema of a table, and what is told of each.
fn collect(path: &str, schema: &Value, keys: &mut BTreeSet<String>) {
    let of = |schema: &'_ Value| schema["anyOf"].as_array().cloned().unwrap_or_default();
    let forms = of(schema).into_iter().chain(of(&schema["items"]));
    let forms = forms.chain([schema["items"].clone(), schema.clone()]);
    for form in forms {
        for (key, inner) in form["properties"].as_object().into_iter().flatten() {
            let key = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(&key, inner, keys);
            assert!(inner["description"].is_string(), "{key} has no description");
            keys.insert(key);
        }
        if let Some(Value::Object(_)) =
            form.get("additionalProperties").filter(|named| named.get("properties").is_some())
        {
            collect(&format!("{path}.*"), &form["additionalProperties"], keys);
        }
    }
}

/// Adds the path of every key of a document.
fn written(path: &str, table: &toml::Table, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        let key =
            if path.is_empty() { key.clone() } else { format!("{path}.{}", key.replace("app-logs", "*")) };
        match value {
            toml::Value::Table(table) => written(&key, table, keys),
            toml::Value::Array(items) => {
                items.iter().filter_map(toml::Value::as_table).for_each(|table| written(&key, table, keys));
            }
            _ => {}
        }
        // The name of a stream is the operator's.
        if key != "stream.*" {
            keys.insert(key);
        }
    }
}

#[test]
fn the_schema_has_exactly_the_keys_of_the_example() {
    let (mut known, mut shown) = (BTreeSet::new(), BTreeSet::new());
    collect("", &parsed(), &mut known);
    for form in example::forms() {
        written("", &form.parse().expect("the example is TOML"), &mut shown);
    }
    assert_eq!(known, shown);
    assert!(known.contains("stream.*.quota.share") && known.contains("source.multiline.preset"), "{known:?}");
}

/// What is declared without a document is what is asked for with one: no key is known only when it is there.
#[test]
fn readers_ask_for_what_they_declare() {
    let declared = declared(typed::document);
    let mut faults = Faults::default();
    let [_, every_key, _] = example::forms();
    let mut walk = Walk::new("a.toml", &every_key, &|_| None, &mut faults);
    let (_, asked) = walk.document(typed::document).expect("the example is TOML");
    let source = |shape: &TableShape| match shape.keys().find(|(key, _)| *key == "source") {
        Some((_, Shape::Tables(source))) => source.clone(),
        other => panic!("{other:?}"),
    };
    let names = |shape: &TableShape| shape.names().collect::<Vec<_>>();
    assert_eq!(names(&asked), names(&declared));
    assert_eq!(names(&source(&asked)), names(&source(&declared)));
    for (asked, declared) in asked.keys().zip(declared.keys()) {
        if asked.0 != "source" {
            assert_eq!(asked, declared);
        }
    }
}

#[test]
fn what_loads_is_accepted_and_what_the_schema_refuses_does_not_load() {
    let source = "paths = [\"/a\"]\nstream = \"s\"\n";
    for text in example::forms() {
        assert!(accepts(&text), "{text}");
    }
    assert!(accepts(MINIMAL));
    // What is written, and whether the schema accepts it; it loads then.
    let table = [
        ("", "[[source]]\n", true),
        ("", "[[source]]\nmultiline = \"java\"\n", true),
        ("", "[[source]]\nmultiline = { start = \"^a\" }\n", true),
        ("", "[[source]]\nformat = \"json\"\nfields = { a = 1, b = \"x\", c = true, d = 1.5 }\n", true),
        ("", "[[source]]\nmax_line_bytes = 1000\n", true),
        ("[stream.s]\nmax_in_flight = 3\n[stream.default]\napi = \"auto\"\n", "[[source]]\n", true),
        ("[shutdown]\ntimeout = \"1m 30s\"\n", "[[source]]\n", true),
        ("[aws]\nregion = \"eu-west-${N}\"\n", "[[source]]\n", true),
        ("stat_dir = \"/x\"\n", "[[source]]\n", false),
        ("state_dir = 1\n", "[[source]]\n", false),
        ("[log]\nlevel = \"loud\"\n", "[[source]]\n", false),
        ("[log]\ncolour = true\n", "[[source]]\n", false),
        ("[shutdown]\ntimeout = 5\n", "[[source]]\n", false),
        ("[shutdown]\ntimeout = \"5 parsecs\"\n", "[[source]]\n", false),
        ("[memory]\nbuffer = \"64M\"\n", "[[source]]\n", false),
        ("[memory]\nbuffer = 10\n", "[[source]]\n", false),
        ("[memory]\nmax_watches = -1\n", "[[source]]\n", false),
        ("[stream.s]\nmax_in_flight = 0\n", "[[source]]\n", false),
        ("[stream.s]\nmax_in_flight = 1.5\n", "[[source]]\n", false),
        ("[stream.s]\nquota = { share = 1.1 }\n", "[[source]]\n", false),
        ("[stream.s]\nquota = { burst = 1 }\n", "[[source]]\n", false),
        ("[stream.s]\nordered = \"yes\"\n", "[[source]]\n", false),
        ("[stream]\ns = 3\n", "[[source]]\n", false),
        ("", "[source]\n", false),
        ("", "[[source]]\nmultiline = \"cobol\"\n", false),
        ("", "[[source]]\nmultiline = { begin = \"^a\" }\n", false),
        ("", "[[source]]\nfields = { a = [1] }\nformat = \"json\"\n", false),
        ("", "[[source]]\nexclude = \"*.gz\"\n", false),
    ];
    for (before, after, is_right) in table {
        let text = format!("{before}{after}{source}");
        assert_eq!(accepts(&text), is_right, "{text}");
        assert_eq!(loads(&text), is_right, "{text}");
    }
    for text in ["[[source]]\npaths = [\"/a\"]\n", "[[source]]\nstream = \"s\"\n"] {
        assert!(!accepts(text) && !loads(text), "{text}");
    }
}

#[test]
fn defaults_and_descriptions_are_those_of_the_example() {
    let schema = parsed();
    let source = &schema["properties"]["source"]["items"]["properties"];
    let stream = &schema["properties"]["stream"]["additionalProperties"]["properties"];
    for (value, default) in [
        (&schema["properties"]["state_dir"], json!("/var/lib/standpipe")),
        (&source["start_at"], json!("beginning")),
        (&source["exclude"], json!([])),
        (&source["ignore_older"], Value::Null),
        (&source["link_targets"], Value::Null),
        (&stream["max_in_flight"], json!(64)),
        (&stream["quota"]["properties"]["share"], json!(0.9)),
        (&schema["properties"]["memory"]["properties"]["max_watches"], json!(8192)),
    ] {
        assert_eq!(value["default"], default, "{value}");
    }
    let told = stream["pack_delay"]["description"].as_str().expect("a text");
    assert!(told.starts_with("\"on\": lines that follow one another in a file share a record"), "{told}");
    assert!(told.ends_with(" From 1ms to 1m."), "{told}");
}

#[test]
fn a_stream_without_a_name_at_the_service_has_no_default_for_it() {
    let stream = &parsed()["properties"]["stream"]["additionalProperties"]["properties"];
    assert!(stream["delivery_stream"]["type"].is_string(), "{}", stream["delivery_stream"]);
    assert!(stream["delivery_stream"].get("default").is_none(), "the default is the table's name");
}
