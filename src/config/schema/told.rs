//! What the example tells of each key: a description, and the default.
//!
//! Knows how the example is laid out: a comment stands before what it speaks of, a key that is switched off follows its
//! mark at once, and one without a default says so behind it. Tests of the example hold the defaults to what is true.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ANY_NAME;
use crate::config::EXAMPLE;

/// Descriptions and defaults by the path of their key, with dots.
#[derive(Debug)]
pub(super) struct Told {
    descriptions: BTreeMap<String, String>,
    defaults: BTreeMap<String, Value>,
}

/// What a line of the example is.
enum Line<'a> {
    Table(&'a str),
    /// `key = value  # note`; whether it is switched off, and so shows a default.
    Key {
        text: &'a str,
        is_off: bool,
    },
    Prose(&'a str),
    Blank,
}

impl Told {
    pub(super) fn of_example() -> Self {
        let mut told = Self { descriptions: BTreeMap::new(), defaults: BTreeMap::new() };
        let (mut path, mut of_table, mut prose) = (String::new(), String::new(), String::new());
        let mut is_used = false;
        for line in EXAMPLE.lines().map(Line::of) {
            match line {
                // The text before a table is of its keys, too, as far as they have none of their own.
                Line::Table(name) => {
                    path = name.replace("app-logs", ANY_NAME);
                    told.describe(&path, &prose);
                    of_table = std::mem::take(&mut prose);
                }
                Line::Key { text, is_off } => {
                    told.key(&path, text, is_off, if prose.is_empty() { &of_table } else { &prose });
                    is_used = true;
                }
                Line::Prose(text) => {
                    if std::mem::take(&mut is_used) {
                        prose.clear();
                    }
                    prose = format!("{prose} {text}").trim().to_owned();
                }
                Line::Blank => prose.clear(),
            }
        }
        told
    }

    pub(super) fn description(&self, path: &str) -> Option<&str> {
        self.descriptions.get(path).map(String::as_str)
    }

    /// The description of a key; that of the tables in it, where the operator names them.
    pub(super) fn of(&self, path: &str) -> Option<&str> {
        self.description(path).or_else(|| self.description(&format!("{path}.{ANY_NAME}")))
    }

    pub(super) fn default(&self, path: &str) -> Option<&Value> {
        self.defaults.get(path)
    }

    fn describe(&mut self, path: &str, description: &str) {
        if !description.is_empty() {
            self.descriptions.entry(path.to_owned()).or_insert_with(|| description.to_owned());
        }
    }

    /// Takes in a key, and the keys of tables in braces, which share its description.
    fn key(&mut self, table: &str, text: &str, is_off: bool, description: &str) {
        let document: toml::Table = text.parse().expect("each key of the example is TOML by itself");
        let (key, value) = document.into_iter().next().expect("it is a key");
        let path = if table.is_empty() { key } else { format!("{table}.{key}") };
        let has_default = is_off && !text.contains("# no default");
        self.describe(&path, description);
        let entries = value.as_array().into_iter().flatten().filter_map(toml::Value::as_table);
        for (inner, value) in value.as_table().into_iter().chain(entries).flatten() {
            let path = format!("{path}.{inner}");
            self.describe(&path, description);
            if has_default {
                self.set_default(path, value);
            }
        }
        if has_default {
            self.set_default(path, &value);
        }
    }

    fn set_default(&mut self, path: String, value: &toml::Value) {
        let value = serde_json::to_value(value).expect("the example's values are those of JSON");
        self.defaults.insert(path, value);
    }
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let is_key = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
        match line.strip_prefix('#') {
            Some(text) if text.starts_with(':') => Self::Blank,
            // Another form of a key shows no default.
            Some(text) if text.starts_with("or ") => Self::Key { text: &text[3..], is_off: false },
            Some(text) if is_key(text) => Self::Key { text, is_off: true },
            Some(text) => Self::Prose(text.trim()),
            None if line.starts_with('[') => Self::Table(line.trim_matches(['[', ']'])),
            None if is_key(line) => Self::Key { text: line, is_off: false },
            None => Self::Blank,
        }
    }
}
