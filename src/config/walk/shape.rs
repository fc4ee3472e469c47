//! The shape of what a reader accepts: which keys there are, and what each may hold.
//!
//! Knows kinds and bounds, as the readers give them when they ask for a key: what is asked for and what is declared are one
//! call, so neither can be without the other. Does not know how a schema is written.

use std::collections::BTreeSet;
use std::time::Duration;

/// What one key may hold.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Shape {
    Text,
    /// A list of texts.
    Texts,
    /// A table whose keys are the operator's own, each with a value that holds no others.
    Members,
    /// One of these words.
    Choice(Vec<&'static str>),
    Switch,
    /// A whole number, both bounds included.
    Count {
        min: u32,
        max: u32,
    },
    /// A number above 0, at most 1.
    Share,
    /// Both bounds included.
    Duration {
        min: Duration,
        max: Duration,
    },
    /// A duration, both bounds included, or the word "off".
    DurationOrOff {
        min: Duration,
        max: Duration,
    },
    /// Bytes, both bounds included.
    Size {
        min: u64,
        max: u64,
    },
    Table(TableShape),
    /// An array of tables.
    Tables(TableShape),
    /// A list of texts, each of which may be a table instead.
    TextsOrTables(TableShape),
    /// One of these words, or a table in its place.
    WordOrTable(Vec<&'static str>, TableShape),
}

/// What one table may hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::config) struct TableShape {
    keys: Vec<(&'static str, Option<Shape>)>,
    /// Keys that have to be there.
    pub(in crate::config) required: BTreeSet<&'static str>,
    /// What stands under each name, in a table whose keys are the operator's own.
    pub(in crate::config) named: Option<Box<TableShape>>,
}

impl TableShape {
    /// Every key, in the order in which readers ask for them.
    pub(in crate::config) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|(key, _)| *key)
    }

    /// Every key with what it may hold.
    pub(in crate::config) fn keys(&self) -> impl Iterator<Item = (&'static str, &Shape)> {
        self.keys.iter().map(|(key, shape)| (*key, shape.as_ref().expect("a key that is asked for is read")))
    }

    /// Notes that there is such a key.
    pub(super) fn ask(&mut self, key: &'static str) {
        if !self.names().any(|known| known == key) {
            self.keys.push((key, None));
        }
    }

    /// Notes what `key` may hold.
    pub(super) fn declare(&mut self, key: &'static str, shape: Shape) {
        self.ask(key);
        let declared = self.keys.iter_mut().find(|(known, _)| *known == key);
        declared.expect("it was asked for").1 = Some(shape);
    }

    /// Notes that one of `words` may stand in place of the table `key`.
    pub(super) fn extend_by_words(&mut self, key: &'static str, words: Vec<&'static str>) {
        let declared = self.keys.iter_mut().find(|(known, _)| *known == key);
        if let Some((_, Some(shape))) = declared
            && let Shape::Table(table) = shape
        {
            *shape = Shape::WordOrTable(words, std::mem::take(table));
        }
    }
}
