//! Reads a TOML document value by value, and goes on after a mistake.
//!
//! Knows types and places; does not know which keys there are: a key is known because a reader asks for it, so
//! a key that nobody reads is reported as unknown, with the nearest that somebody does. Serde would stop at the
//! first fault and lose the place of every value that is right by itself but wrong beside another.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::env;
use super::fault::{Fault, Faults, Place};
use super::units::{parse_duration, parse_size, show_duration, show_size};

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
        Typed {
            value: (),
            place: self.place.clone(),
            key: self.key.clone(),
        }
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            place: self.place.clone(),
            key: self.key.clone(),
            message: message.into(),
        }
    }
}

/// What is the same for a whole document.
pub(super) struct Walk<'a> {
    file: Arc<str>,
    text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
    faults: &'a mut Faults,
    /// Every key that was asked for, with dots.
    known: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        file: &str,
        text: &'a str,
        env: &'a dyn Fn(&str) -> Option<String>,
        faults: &'a mut Faults,
    ) -> Self {
        Self {
            file: file.into(),
            text,
            env,
            faults,
            known: BTreeSet::new(),
        }
    }

    /// Parses the document and has `read` read it; `None` after a syntax error, when nothing can be relied on.
    pub(super) fn document<T>(&mut self, read: impl FnOnce(&mut Section<'_, '_, 'a>) -> T) -> Option<T> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            let place = Place::File(self.file.clone());
            return Some(self.section(String::new(), place, Some(document.get_ref()), read));
        }
        for error in errors {
            let place = self.place(&error.span().unwrap_or_default());
            self.faults
                .push(place, "syntax", format!("{}; correct the TOML", error.message()));
        }
        None
    }

    /// The keys that a reader asked for, tables included.
    #[cfg(test)]
    pub(super) fn known(self) -> BTreeSet<String> {
        self.known
    }

    fn section<T>(
        &mut self,
        path: String,
        place: Place,
        table: Option<&DeTable<'_>>,
        read: impl FnOnce(&mut Section<'_, '_, 'a>) -> T,
    ) -> T {
        let mut section = Section {
            walk: self,
            path,
            place,
            table,
            asked: Vec::new(),
        };
        let value = read(&mut section);
        section.refuse_unknown();
        value
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
    asked: Vec<&'static str>,
}

impl<'t, 'a> Section<'_, 't, 'a> {
    /// Where the table begins.
    pub(super) fn place(&self) -> &Place {
        &self.place
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
                let message = format!("is {}; write a table, [{path}]", kind(other));
                self.walk.faults.push(place.clone(), path.clone(), message);
                (None, place)
            }
        };
        self.walk.section(path, place, table, read)
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
            format!(
                "is {}; write {brackets}, with two brackets, for each",
                kind(value)
            )
        };
        let items = match self.ask(key) {
            None => return Vec::new(),
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
                    values.push(self.walk.section(path.clone(), place, Some(table), &mut read));
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
        for (key, value) in self.table.into_iter().flatten() {
            let name = key.get_ref().to_string();
            let path = format!("{}.{name}", self.path);
            let place = self.walk.place(&key.span());
            match value.get_ref() {
                DeValue::Table(table) => {
                    let name = Typed {
                        value: name,
                        place: place.clone(),
                        key: path.clone(),
                    };
                    values.push(
                        self.walk
                            .section(path, place, Some(table), |section| read(name, section)),
                    );
                }
                other => {
                    let message = format!("is {}; write a table, [{path}]", kind(other));
                    self.walk.faults.push(place, &path, message);
                }
            }
        }
        // The names are the operator's own, so none is unknown.
        self.table = None;
        values
    }

    /// Reports that `key` has to be there.
    pub(super) fn require(&mut self, key: &'static str, what: &str) {
        if !self.table.is_some_and(|table| table.contains_key(key)) {
            self.walk.faults.push(
                self.place.clone(),
                self.path_of(key),
                format!("is missing; {what}"),
            );
        }
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Typed<T>> {
        self.scalar(key, "a text in quotes", |scalar| match scalar {
            Scalar::Text(text) => Some(parse(text)),
            Scalar::Number(_) | Scalar::Fraction(_) | Scalar::Switch(_) => None,
        })
    }

    /// A list of texts that `parse` understands, those that are right.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Typed<T>>> {
        let path = self.path_of(key);
        let (value, place, _) = self.ask(key)?;
        let DeValue::Array(items) = value else {
            let message = format!("is {}; write a list in brackets, [\"…\"]", kind(value));
            self.walk.faults.push(place, path, message);
            return None;
        };
        let mut values = Vec::with_capacity(items.len());
        for item in items.iter() {
            let typed = self.value(
                &path,
                item.get_ref(),
                &item.span(),
                "a text in quotes",
                |scalar| match scalar {
                    Scalar::Text(text) => Some(parse(text)),
                    Scalar::Number(_) | Scalar::Fraction(_) | Scalar::Switch(_) => None,
                },
            );
            values.extend(typed);
        }
        Some(values)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<Typed<T>> {
        self.parsed(key, |text| {
            let known = choices
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value);
            known.ok_or_else(|| {
                let words = quoted(choices.iter().map(|(word, _)| *word));
                format!("`{text}` is not one of the choices; write one of {words}")
            })
        })
    }

    pub(super) fn switch(&mut self, key: &'static str) -> Option<Typed<bool>> {
        self.scalar(key, "true or false", |scalar| match scalar {
            Scalar::Switch(switch) => Some(Ok(*switch)),
            Scalar::Text(_) | Scalar::Number(_) | Scalar::Fraction(_) => None,
        })
    }

    /// A whole number from `from` to `to`.
    pub(super) fn count(&mut self, key: &'static str, from: u32, to: u32) -> Option<Typed<u32>> {
        let expected = format!("a whole number from {from} to {to}");
        self.scalar(key, &expected, |scalar| match scalar {
            Scalar::Number(number) => Some(
                u32::try_from(*number)
                    .ok()
                    .filter(|count| (from..=to).contains(count))
                    .ok_or_else(|| format!("{number} is out of range; write {expected}")),
            ),
            Scalar::Text(_) | Scalar::Fraction(_) | Scalar::Switch(_) => None,
        })
    }

    /// A number above 0, at most 1.
    pub(super) fn share(&mut self, key: &'static str) -> Option<Typed<f64>> {
        let expected = "a number above 0 and at most 1, such as 0.9";
        self.scalar(key, expected, |scalar| {
            let share = match scalar {
                Scalar::Fraction(fraction) => *fraction,
                // Whole numbers other than 0 and 1 are out of range, however they round.
                Scalar::Number(number) => *number as f64,
                Scalar::Text(_) | Scalar::Switch(_) => return None,
            };
            let in_range = share > 0.0 && share <= 1.0;
            Some(if in_range {
                Ok(share)
            } else {
                Err(format!("{share} is out of range; write {expected}"))
            })
        })
    }

    /// A duration between `from` and `to`, both included.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        from: Duration,
        to: Duration,
    ) -> Option<Typed<Duration>> {
        self.scalar(key, "a duration such as \"250ms\", \"5s\" or \"1m\"", |scalar| {
            let Scalar::Text(text) = scalar else { return None };
            let Some(duration) = parse_duration(text) else {
                let message = format!("`{text}` is not a duration; write it as \"250ms\", \"5s\" or \"1m\"");
                return Some(Err(message));
            };
            let (low, high) = (show_duration(from), show_duration(to));
            let in_range = (from..=to).contains(&duration);
            Some(if in_range {
                Ok(duration)
            } else {
                Err(format!(
                    "{text} is out of range; write a duration from {low} to {high}"
                ))
            })
        })
    }

    /// A size between `from` and `to` bytes, both included.
    pub(super) fn size(&mut self, key: &'static str, from: u64, to: u64) -> Option<Typed<u64>> {
        self.scalar(
            key,
            "a size such as \"1000KiB\", \"5MB\" or a number of bytes",
            |scalar| {
                let (size, shown) = match scalar {
                    Scalar::Text(text) => match parse_size(text) {
                        Some(size) => (Some(size), text.clone()),
                        None => {
                            let examples = "\"1000KiB\", \"5MB\" or a number of bytes";
                            return Some(Err(format!("`{text}` is not a size; write it as {examples}")));
                        }
                    },
                    Scalar::Number(number) => (u64::try_from(*number).ok(), number.to_string()),
                    Scalar::Fraction(_) | Scalar::Switch(_) => return None,
                };
                let (low, high) = (show_size(from), show_size(to));
                let in_range = size.filter(|size| (from..=to).contains(size));
                Some(
                    in_range
                        .ok_or_else(|| format!("{shown} is out of range; write a size from {low} to {high}")),
                )
            },
        )
    }

    fn scalar<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&Scalar) -> Option<Result<T, String>>,
    ) -> Option<Typed<T>> {
        let path = self.path_of(key);
        let (value, _, span) = self.ask(key)?;
        self.value(&path, value, &span, expected, parse)
    }

    /// One value; `parse` answers `None` for a type that is not `expected`.
    fn value<T>(
        &mut self,
        key: &str,
        value: &DeValue<'_>,
        span: &Range<usize>,
        expected: &str,
        parse: impl Fn(&Scalar) -> Option<Result<T, String>>,
    ) -> Option<Typed<T>> {
        let place = self.walk.place(span);
        let scalar = match value {
            DeValue::String(text) => Scalar::Text(self.expand(key, text, span)?),
            DeValue::Integer(digits) => match i128::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Scalar::Number(number),
                Err(_) => {
                    self.walk
                        .faults
                        .push(place, key, format!("{digits} is out of range; write {expected}"));
                    return None;
                }
            },
            // TOML's spelling of a float is Rust's.
            DeValue::Float(digits) => Scalar::Fraction(digits.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(switch) => Scalar::Switch(*switch),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.walk
                    .faults
                    .push(place, key, format!("is {}; write {expected}", kind(value)));
                return None;
            }
        };
        match parse(&scalar) {
            Some(Ok(value)) => {
                return Some(Typed {
                    value,
                    place,
                    key: key.to_owned(),
                });
            }
            Some(Err(message)) => self.walk.faults.push(place, key, message),
            None => self
                .walk
                .faults
                .push(place, key, format!("is {}; write {expected}", kind(value))),
        }
        None
    }

    /// `text` with references to the environment replaced; a fault points at the reference itself where its
    /// spelling in the file is that of the value.
    fn expand(&mut self, key: &str, text: &str, span: &Range<usize>) -> Option<String> {
        match env::expand(text, self.walk.env) {
            Ok(expanded) => Some(expanded.into_owned()),
            Err(bad) => {
                let written = self.walk.text.get(span.clone()).unwrap_or_default();
                let offset = written.find(&bad.typed).unwrap_or(0);
                let place = self.walk.place(&(span.start + offset..span.end));
                self.walk.faults.push(place, key, bad.message);
                None
            }
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<(&'t DeValue<'t>, Place, Range<usize>)> {
        self.asked.push(key);
        let path = self.path_of(key);
        self.walk.known.insert(path);
        let value = self.table?.get(key)?;
        Some((value.get_ref(), self.walk.place(&value.span()), value.span()))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn refuse_unknown(&mut self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let advice = match nearest(name, self.asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            let place = self.walk.place(&key.span());
            self.walk
                .faults
                .push(place, self.path_of(name), format!("unknown key; {advice}"));
        }
    }
}

/// The word most like `name`, if any is like it at all.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Below this, what Jaro and Winkler call similar is no longer a slip of the finger.
    const ALIKE: f64 = 0.8;
    let scored = known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(name, word), word));
    let best = scored
        .filter(|(score, _)| *score >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, word)| word)
}

/// `words` in quotes, with commas.
fn quoted<'k>(words: impl Iterator<Item = &'k str>) -> String {
    words
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A value that holds no others, its references to the environment replaced.
enum Scalar {
    Text(String),
    Number(i128),
    Fraction(f64),
    Switch(bool),
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
