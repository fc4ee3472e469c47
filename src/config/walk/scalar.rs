//! Values that hold no others: their types, their ranges, and the words for what is wrong with them.
//!
//! Knows how each kind of value is spelled; which key has which kind is the reader's to say.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::de::DeValue;

use super::{Section, Shape, Typed, json, unexpected};
use crate::config::env::{self, Completed};
use crate::config::expanded::Expanded;
use crate::config::units::{parse_duration, parse_size, show_duration, show_size};

const TEXT: &str = "a text in quotes";

impl Section<'_, '_, '_> {
    /// A text that `parse` understands.
    pub(in crate::config) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Typed<T>> {
        self.scalar(key, Shape::Text, TEXT, |scalar| scalar.text().map(&parse))
    }

    /// A list of texts that `parse` understands, those that are right.
    pub(in crate::config) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Typed<T>>> {
        let path = self.path_of(key);
        self.shape.declare(key, Shape::Texts);
        let (value, place, _) = self.ask(key)?;
        let DeValue::Array(items) = value else {
            let message = unexpected("a list in brackets, [\"…\"]", value);
            self.walk.faults.push(place, path, message);
            return None;
        };
        let mut values = Vec::with_capacity(items.len());
        for item in items.iter() {
            let parse = |scalar: &Scalar| scalar.text().map(&parse);
            let typed = self.value(&path, item.get_ref(), &item.span(), TEXT, parse);
            values.extend(typed);
        }
        Some(values)
    }

    /// A list of texts, each of which may be a table instead: what each of them comes to, where it is right.
    pub(in crate::config) fn texts_or_tables<T>(
        &mut self,
        key: &'static str,
        of_text: impl Fn(&str) -> Result<T, String>,
        mut read: impl FnMut(&mut Section<'_, '_, '_>) -> Option<T>,
    ) -> Option<Typed<Vec<Typed<T>>>> {
        let path = self.path_of(key);
        let (_, shape) = self.walk.section(path.clone(), self.place.clone(), None, |none| read(none));
        self.shape.declare(key, Shape::TextsOrTables(shape));
        let (value, place, _) = self.ask(key)?;
        let DeValue::Array(items) = value else {
            let message = unexpected("a list in brackets, [\"…\"]", value);
            self.walk.faults.push(place, path, message);
            return None;
        };
        let mut values = Vec::with_capacity(items.len());
        for item in items.iter() {
            if let DeValue::Table(table) = item.get_ref() {
                let place = self.walk.place(&item.span());
                let (value, _) =
                    self.walk.section(path.clone(), place.clone(), Some(table), |entry| read(entry));
                values.extend(value.map(|value| Typed { value, place, key: path.clone() }));
                continue;
            }
            let parse = |scalar: &Scalar| scalar.text().map(&of_text);
            values.extend(self.value(
                &path,
                item.get_ref(),
                &item.span(),
                "a text in quotes, or a table",
                parse,
            ));
        }
        Some(Typed { value: values, place, key: path })
    }

    /// A table whose keys are the operator's own, each with a value that holds no others: as keys and JSON.
    pub(in crate::config) fn json_members(
        &mut self,
        key: &'static str,
    ) -> Option<Typed<Vec<(String, String)>>> {
        let path = self.path_of(key);
        self.shape.declare(key, Shape::Members);
        let (value, place, _) = self.ask(key)?;
        let DeValue::Table(table) = value else {
            let message = unexpected("a table in braces, { name = \"value\" }", value);
            self.walk.faults.push(place, path, message);
            return None;
        };
        let mut members = Vec::new();
        for (name, item) in table {
            let path = format!("{path}.{}", name.get_ref());
            let expected = "a text, a number, true or false";
            let typed = self.value(&path, item.get_ref(), &item.span(), expected, |scalar| {
                Some(match scalar {
                    Scalar::Text(text) => Ok(json(text)),
                    Scalar::Number(number) => Ok(number.to_string()),
                    Scalar::Fraction(fraction) if fraction.is_finite() => Ok(fraction.to_string()),
                    Scalar::Fraction(_) => Err(format!("is no number that JSON has; write {expected}")),
                    Scalar::Switch(switch) => Ok(switch.to_string()),
                })
            });
            members.extend(typed.map(|typed| (name.get_ref().to_string(), typed.value)));
        }
        Some(Typed { value: members, place, key: path })
    }

    /// One of a few words.
    pub(in crate::config) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<Typed<T>> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let expected = quoted(words.iter().copied(), " or ");
        self.scalar(key, Shape::Choice(words.clone()), &expected, |scalar| {
            let text = scalar.text()?;
            let known = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            Some(known.ok_or_else(|| {
                let words = quoted(words.iter().copied(), ", ");
                format!("`{text}` is not one of the choices; write one of {words}")
            }))
        })
    }

    pub(in crate::config) fn switch(&mut self, key: &'static str) -> Option<Typed<bool>> {
        self.scalar(key, Shape::Switch, "true or false", |scalar| match scalar {
            Scalar::Switch(switch) => Some(Ok(*switch)),
            Scalar::Text(_) | Scalar::Number(_) | Scalar::Fraction(_) => None,
        })
    }

    /// A whole number from `from` to `to`.
    pub(in crate::config) fn count(&mut self, key: &'static str, from: u32, to: u32) -> Option<Typed<u32>> {
        let expected = format!("a whole number from {from} to {to}");
        self.scalar(key, Shape::Count { min: from, max: to }, &expected, |scalar| match scalar {
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
    pub(in crate::config) fn share(&mut self, key: &'static str) -> Option<Typed<f64>> {
        let expected = "a number above 0 and at most 1, such as 0.9";
        self.scalar(key, Shape::Share, expected, |scalar| {
            let share = match scalar {
                Scalar::Fraction(fraction) => *fraction,
                // Whole numbers other than 0 and 1 are out of range, however they round.
                Scalar::Number(number) => *number as f64,
                Scalar::Text(_) | Scalar::Switch(_) => return None,
            };
            let in_range = share > 0.0 && share <= 1.0;
            Some(if in_range { Ok(share) } else { Err(format!("{share} is out of range; write {expected}")) })
        })
    }

    /// A duration between `from` and `to`, both included.
    pub(in crate::config) fn duration(
        &mut self,
        key: &'static str,
        from: Duration,
        to: Duration,
    ) -> Option<Typed<Duration>> {
        let shape = Shape::Duration { min: from, max: to };
        self.scalar(key, shape, "a duration such as \"250ms\", \"5s\" or \"1m\"", |scalar| {
            scalar.text().map(|text| duration_within(text, from, to))
        })
    }

    /// A duration between `from` and `to`, both included, or "off".
    pub(in crate::config) fn duration_or_off(
        &mut self,
        key: &'static str,
        from: Duration,
        to: Duration,
    ) -> Option<Typed<Option<Duration>>> {
        let shape = Shape::DurationOrOff { min: from, max: to };
        self.scalar(key, shape, "a duration such as \"1m\", or \"off\"", |scalar| {
            Some(match scalar.text()? {
                "off" => Ok(None),
                text => duration_within(text, from, to).map(Some),
            })
        })
    }

    /// A size between `from` and `to` bytes, both included.
    pub(in crate::config) fn size(&mut self, key: &'static str, from: u64, to: u64) -> Option<Typed<u64>> {
        self.scalar(
            key,
            Shape::Size { min: from, max: to },
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
        shape: Shape,
        expected: &str,
        parse: impl Fn(&Scalar) -> Option<Result<T, String>>,
    ) -> Option<Typed<T>> {
        self.shape.declare(key, shape);
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
        let mut origin = Origin::default();
        let scalar = match value {
            DeValue::String(text) => {
                let completed = self.expand(key, text, span)?;
                origin = Origin(completed.variables);
                Scalar::Text(completed.text.into_owned())
            }
            DeValue::Integer(digits) => match i128::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Scalar::Number(number),
                Err(_) => {
                    self.walk.faults.push(place, key, format!("{digits} is out of range; write {expected}"));
                    return None;
                }
            },
            // TOML's spelling of a float is Rust's.
            DeValue::Float(digits) => Scalar::Fraction(digits.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(switch) => Scalar::Switch(*switch),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.walk.faults.push(place, key, unexpected(expected, value));
                return None;
            }
        };
        // The environment has texts alone: where one is not wanted, it stands for what it spells.
        let parsed = parse(&scalar).or_else(|| parse(&origin.spelt(&scalar)?));
        let message = match parsed {
            Some(Ok(value)) => return Some(Typed { value, place, key: key.to_owned() }),
            Some(Err(message)) => message,
            None => unexpected(expected, value),
        };
        self.walk.faults.push(place, key, origin.name(message));
        None
    }

    /// `text` with references to the environment replaced; a fault points at the reference itself where its
    /// spelling in the file is that of the value.
    fn expand<'v>(&mut self, key: &str, text: &'v str, span: &Range<usize>) -> Option<Completed<'v>> {
        let bad = match env::expand(text, self.walk.env) {
            Ok(completed) => return Some(completed),
            Err(bad) => bad,
        };
        let written = self.walk.text.get(span.clone()).unwrap_or_default();
        let offset = written.find(&bad.typed).unwrap_or(0);
        let place = self.walk.place(&(span.start + offset..span.end));
        self.walk.faults.push(place, key, bad.message);
        None
    }
}

/// The variables of the environment that a text is made of.
#[derive(Default)]
struct Origin(BTreeMap<String, Option<String>>);

impl Origin {
    /// What a text spells that the environment has a part in: true, false or a number.
    fn spelt(&self, scalar: &Scalar) -> Option<Scalar> {
        let text = scalar.text().filter(|_| !self.0.is_empty())?.trim();
        if let Ok(switch) = text.parse() {
            Some(Scalar::Switch(switch))
        } else if let Ok(number) = text.parse() {
            Some(Scalar::Number(number))
        } else {
            text.parse().ok().map(Scalar::Fraction)
        }
    }

    /// A fault's message that names the variables, and shows none of their values that may be a secret.
    fn name(self, message: String) -> String {
        if self.0.is_empty() {
            return message;
        }
        let names: Vec<_> = self.0.keys().map(|name| format!("${{{name}}}")).collect();
        let values = Expanded::of(self.0.into_iter().filter_map(|(name, value)| Some((name, value?))));
        format!("{}; the value comes from {}", values.mask(&message), names.join(" and "))
    }
}

fn duration_within(text: &str, from: Duration, to: Duration) -> Result<Duration, String> {
    let Some(duration) = parse_duration(text) else {
        return Err(format!("`{text}` is not a duration; write it as \"250ms\", \"5s\" or \"1m\""));
    };
    let (low, high) = (show_duration(from), show_duration(to));
    let in_range = (from..=to).contains(&duration);
    if in_range {
        Ok(duration)
    } else {
        Err(format!("{text} is out of range; write a duration from {low} to {high}"))
    }
}

/// `words` in quotes, with `between` before the last of them and commas elsewhere.
fn quoted<'k>(words: impl Iterator<Item = &'k str>, between: &str) -> String {
    let mut words: Vec<_> = words.map(|word| format!("\"{word}\"")).collect();
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{}{between}{last}", words.join(", ")),
        last => last.unwrap_or_default(),
    }
}

/// A value that holds no others, its references to the environment replaced.
enum Scalar {
    Text(String),
    Number(i128),
    Fraction(f64),
    Switch(bool),
}

impl Scalar {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Fraction(_) | Self::Switch(_) => None,
        }
    }
}
