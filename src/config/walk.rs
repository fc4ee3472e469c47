//! Reads a TOML document value by value, and goes on after a mistake.
//!
//! Knows types and places; does not know which keys there are: a key is known because a reader asks for it, so
//! a key that nobody reads is reported as unknown, with the nearest that somebody does. Serde would stop at the
//! first fault and lose the place of every value that is right by itself but wrong beside another.

mod scalar;
mod shape;

use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Faults, Place};
use crate::model::text::cut;

pub(super) use shape::{Shape, TableShape};

/// A value, and where it was written under which key.
#[derive(Clone, Debug)]
pub(super) struct Typed<T> {
    pub(super) value: T,
    pub(super) place: Place,
    pub(super) key: String,
}

impl<T> Typed<T> {
    /// The place and the key without the value, to compare with those of values of other types.
    pub(super) fn spot(&self) -> Typed<()> {
        Typed { value: (), place: self.place.clone(), key: self.key.clone() }
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { place: self.place.clone(), key: self.key.clone(), message: message.into() }
    }
}

/// The text of a document and the faults found in it, shared by all its tables.
pub(super) struct Walk<'a> {
    file: Arc<str>,
    text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
    faults: &'a mut Faults,
    purpose: Purpose,
}

/// Why a document is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// For what is in it.
    Values,
    /// For what could be in it: tables that are not there are read, too.
    Shape,
}

/// What `read` accepts.
pub(super) fn declared<T>(read: impl FnOnce(&mut Section<'_, '_, '_>) -> T) -> TableShape {
    // Nothing is there, so that what is missing is told, and nobody hears it.
    let mut faults = Faults::default();
    let mut walk = Walk { purpose: Purpose::Shape, ..Walk::new("", "", &|_| None, &mut faults) };
    let place = Place::File(walk.file.clone());
    walk.section(String::new(), place, None, read).1
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        file: &str,
        text: &'a str,
        env: &'a dyn Fn(&str) -> Option<String>,
        faults: &'a mut Faults,
    ) -> Self {
        Self { file: file.into(), text, env, faults, purpose: Purpose::Values }
    }

    /// Parses the document and has `read` read it; `None` after a syntax error, when nothing can be relied on.
    /// What was asked for in it comes with what was read.
    pub(super) fn document<T>(
        &mut self,
        read: impl FnOnce(&mut Section<'_, '_, 'a>) -> T,
    ) -> Option<(T, TableShape)> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            let place = Place::File(self.file.clone());
            return Some(self.section(String::new(), place, Some(document.get_ref()), read));
        }
        for error in errors {
            let place = self.place(&error.span().unwrap_or_default());
            self.faults.push(place, "syntax", format!("{}; correct the TOML", error.message()));
        }
        None
    }

    fn section<T>(
        &mut self,
        path: String,
        place: Place,
        table: Option<&DeTable<'_>>,
        read: impl FnOnce(&mut Section<'_, '_, 'a>) -> T,
    ) -> (T, TableShape) {
        let mut section =
            Section { walk: self, path, place, table, shape: TableShape::default(), confined: None };
        let value = read(&mut section);
        section.refuse_unknown();
        (value, section.shape)
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::Text {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// One table, or the lack of one: then every key is absent.
pub(super) struct Section<'w, 't, 'a> {
    walk: &'w mut Walk<'a>,
    path: String,
    place: Place,
    table: Option<&'t DeTable<'t>>,
    /// What was asked for.
    shape: TableShape,
    /// What is said of other keys, instead of a key that may be meant.
    confined: Option<&'static str>,
}

impl<'t, 'a> Section<'_, 't, 'a> {
    /// Where the table begins.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Has `message` said of each key that is not asked for.
    pub(super) fn confine(&mut self, message: &'static str) {
        self.confined = Some(message);
    }

    /// Whether the table is in the document.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// The table of `key`, read by `read`; an empty one when it is absent.
    pub(super) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, '_, 'a>) -> T,
    ) -> T {
        let path = self.path_of(key);
        let (table, place) = match self.ask(key) {
            None => (None, self.place.clone()),
            Some((DeValue::Table(table), place, _)) => (Some(table), place),
            Some((other, place, _)) => {
                let message = unexpected(&format!("a table, [{path}]"), other);
                self.walk.faults.push(place.clone(), path.clone(), message);
                (None, place)
            }
        };
        let (value, shape) = self.walk.section(path, place, table, read);
        self.shape.declare(key, Shape::Table(shape));
        value
    }

    /// Whether `key` is in the table.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.get(key).is_some())
    }

    /// The table of `key`, or one of a few words that stands for a whole table.
    pub(super) fn word_or_table<W: Copy, T>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, W)],
        of_word: impl FnOnce(Option<Typed<W>>) -> T,
        read: impl FnOnce(&mut Section<'_, '_, 'a>) -> T,
    ) -> T {
        let value = self.table.and_then(|table| table.get(key));
        if value.is_some_and(|value| matches!(value.get_ref(), DeValue::String(_))) {
            return of_word(self.choice(key, words));
        }
        let value = self.table(key, read);
        self.shape.extend_by_words(key, words.iter().map(|(word, _)| *word).collect());
        value
    }

    /// Every table of the array of tables `key`.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_, '_, 'a>) -> T,
    ) -> Vec<T> {
        let path = self.path_of(key);
        let message = |value: &DeValue<'_>| {
            let brackets = format!("[[{path}]]");
            unexpected(&format!("{brackets}, with two brackets, for each"), value)
        };
        let items = match self.ask(key) {
            None => {
                if self.walk.purpose == Purpose::Shape {
                    let (_, shape) = self.walk.section(path, self.place.clone(), None, read);
                    self.shape.declare(key, Shape::Tables(shape));
                }
                return Vec::new();
            }
            Some((DeValue::Array(items), _, _)) => items,
            Some((other, place, _)) => {
                self.walk.faults.push(place, &path, message(other));
                return Vec::new();
            }
        };
        let mut values = Vec::with_capacity(items.len());
        for item in items.iter() {
            let place = self.walk.place(&item.span());
            match item.get_ref() {
                DeValue::Table(table) => {
                    let (value, shape) = self.walk.section(path.clone(), place, Some(table), &mut read);
                    values.push(value);
                    self.shape.declare(key, Shape::Tables(shape));
                }
                other => self.walk.faults.push(place, &path, message(other)),
            }
        }
        values
    }

    /// Every table in this one, whose keys are names of the operator's choice.
    pub(super) fn named_tables<T>(
        &mut self,
        mut read: impl FnMut(Typed<String>, &mut Section<'_, '_, 'a>) -> T,
    ) -> Vec<T> {
        let mut values = Vec::new();
        if self.walk.purpose == Purpose::Shape {
            let place = self.place.clone();
            let name = Typed { value: String::new(), place: place.clone(), key: self.path.clone() };
            let (_, shape) = self.walk.section(self.path.clone(), place, None, |section| read(name, section));
            self.shape.named = Some(Box::new(shape));
        }
        for (key, value) in self.table.into_iter().flatten() {
            let name = key.get_ref().to_string();
            let path = format!("{}.{name}", self.path);
            let place = self.walk.place(&key.span());
            match value.get_ref() {
                DeValue::Table(table) => {
                    let name = Typed { value: name, place: place.clone(), key: path.clone() };
                    let (value, shape) =
                        self.walk.section(path, place, Some(table), |section| read(name, section));
                    values.push(value);
                    self.shape.named = Some(Box::new(shape));
                }
                other => {
                    let message = unexpected(&format!("a table, [{path}]"), other);
                    self.walk.faults.push(place, &path, message);
                }
            }
        }
        // The names are the operator's own, so none is unknown.
        self.table = None;
        values
    }

    /// Reports that `key` has to be there, and a list to have entries.
    pub(super) fn require(&mut self, key: &'static str, what: &str) {
        self.shape.required.insert(key);
        let (place, lack) = match self.ask(key) {
            None => (self.place.clone(), "missing"),
            Some((DeValue::Array(items), place, _)) if items.is_empty() => (place, "empty"),
            Some(_) => return,
        };
        self.walk.faults.push(place, self.path_of(key), format!("is {lack}; {what}"));
    }

    fn ask(&mut self, key: &'static str) -> Option<(&'t DeValue<'t>, Place, Range<usize>)> {
        self.shape.ask(key);
        let value = self.table?.get(key)?;
        Some((value.get_ref(), self.walk.place(&value.span()), value.span()))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn refuse_unknown(&mut self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.shape.names().any(|known| known == name) {
                continue;
            }
            let message = match (self.confined, nearest(name, self.shape.names())) {
                _ if is_credential(name) => CREDENTIALS.to_owned(),
                (Some(message), _) => message.to_owned(),
                (None, Some(near)) => format!("unknown key; did you mean `{near}`?"),
                (None, None) => {
                    let known = self.shape.names().collect::<Vec<_>>().join(", ");
                    format!("unknown key; known here: {known}")
                }
            };
            let place = self.walk.place(&key.span());
            self.walk.faults.push(place, self.path_of(name), message);
        }
    }
}

/// What is said of a key for credentials.
const CREDENTIALS: &str = "credentials have no place in this file, which others may read; give the host, pod or task a role, name \
                           a profile of ~/.aws/credentials as `profile` in [aws], or set AWS_ACCESS_KEY_ID, \
                           AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment (docs/aws.md)";

/// Whether somebody who writes this key has credentials in mind, as AWS or other programs call them.
fn is_credential(key: &str) -> bool {
    let key: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let names = [
        "accesskeyid",
        "accesskey",
        "secretaccesskey",
        "secretkey",
        "sessiontoken",
        "securitytoken",
        "credentials",
    ];
    names.contains(&key.strip_prefix("aws").unwrap_or(&key))
}

/// The word most like `name`, if any is like it at all.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Below this, what Jaro and Winkler call similar is no longer a slip of the finger.
    const ALIKE: f64 = 0.8;
    let scored = known.into_iter().map(|word| (strsim::jaro_winkler(name, word), word));
    let best = scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, word)| word)
}

/// Writes a text as a JSON string.
pub(super) fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// What is said of a value of another kind than is expected.
fn unexpected(expected: &str, value: &DeValue<'_>) -> String {
    /// A text that is longer is cut: its line and column are told.
    const MAX_TEXT_BYTES: usize = 40;
    let found = match value {
        DeValue::String(text) if text.len() > MAX_TEXT_BYTES => {
            format!("{:?}", format!("{}…", cut(text, MAX_TEXT_BYTES)))
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(digits) => digits.to_string(),
        DeValue::Float(digits) => digits.to_string(),
        DeValue::Boolean(switch) => switch.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    format!("expected {expected}, found {found}")
}
