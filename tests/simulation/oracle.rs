//! Knows every line that was ever written, and what became of it.
//!
//! *must*: the line has to be accepted or dead-lettered in the end. A line is excused only when its bytes were
//! gone before the daemon read them, or gone when it crashed with them in memory.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::disk::LineNumber;

/// A line of a record, when it is an envelope.
fn envelope(line: &[u8]) -> Option<Value> {
    line.starts_with(b"{").then(|| serde_json::from_slice(line).expect("an envelope is JSON"))
}

/// The incarnation that an envelope names.
pub fn generation(line: &[u8]) -> Option<u64> {
    let told = envelope(line)?;
    let id = told["id"].as_str().expect("every envelope has one");
    let generation = id.split(['-', ':']).nth(2).expect("device, inode, generation");
    Some(u64::from_str_radix(generation, 16).expect("in hex"))
}

#[derive(Debug, Default)]
pub struct Oracle {
    lines: Vec<Line>,
    by_text: BTreeMap<Vec<u8>, LineNumber>,
    by_id: BTreeMap<String, LineNumber>,
    by_generation: BTreeMap<(u64, LineNumber), String>,
    /// Lines whose bytes exist only in the daemon's memory.
    fragile: BTreeSet<LineNumber>,
    /// Requests whose records may have been accepted without the daemon knowing, and crashes.
    pub excuses_for_repeats: u64,
    pub repeats: u64,
}

#[derive(Debug, Default)]
struct Line {
    accepted: u64,
    /// The service said that it will never take it: a dead letter, once that is durable.
    refused: bool,
    dead_lettered: bool,
    excused: bool,
}

impl Oracle {
    /// A new line: its number and its text. `kind` makes some lines special.
    pub fn write(&mut self, kind: &str, padding: usize) -> (LineNumber, Vec<u8>) {
        let number = self.lines.len();
        // Padded with its own number: a window in the middle of a long line must not look like any other.
        let mut text = format!("{number:08} {kind} ");
        while text.len() < padding {
            text.push_str(&format!("{number:x}."));
        }
        text.push('\n');
        let text = text.into_bytes();
        self.lines.push(Line::default());
        self.by_text.insert(text.clone(), number);
        (number, text)
    }

    /// The service accepted this record.
    pub fn accept(&mut self, data: &[u8]) {
        for number in self.numbers(data) {
            self.lines[number].accepted += 1;
            self.repeats += u64::from(self.lines[number].accepted > 1);
            self.fragile.remove(&number);
        }
    }

    /// The same, and nobody is told.
    pub fn accept_unheard(&mut self, data: &[u8]) {
        self.excuses_for_repeats += self.numbers(data).len() as u64;
        self.accept(data);
    }

    /// The service refused this record for what it is.
    pub fn refuse(&mut self, data: &[u8]) {
        for number in self.numbers(data) {
            self.lines[number].refused = true;
        }
    }

    pub fn is_refused(&self, number: LineNumber) -> bool {
        self.lines[number].refused
    }

    /// This record is durable among the dead letters.
    pub fn dead_letter(&mut self, data: &[u8]) {
        for number in self.numbers(data) {
            self.lines[number].dead_lettered = true;
            self.fragile.remove(&number);
        }
    }

    /// The lines that share this record.
    fn numbers(&mut self, data: &[u8]) -> Vec<LineNumber> {
        data.split_inclusive(|byte| *byte == b'\n').map(|line| self.number(line)).collect()
    }

    fn number(&mut self, line: &[u8]) -> LineNumber {
        let known = |text: &[u8]| {
            let number = self.by_text.get(text).copied();
            number.unwrap_or_else(|| {
                panic!("L10: a line that nobody wrote: {:?}", String::from_utf8_lossy(text))
            })
        };
        if !line.starts_with(b"{") {
            return known(line);
        }
        let told = envelope(line).expect("it begins like one");
        let text = format!("{}\n", told["message"].as_str().expect("the lines here are texts"));
        let (number, id) = (known(text.as_bytes()), told["id"].as_str().expect("every line has one"));
        let first = *self.by_id.entry(id.to_owned()).or_insert(number);
        assert_eq!(first, number, "two lines have the id {id}: whoever drops repeats by it loses one");
        // One incarnation has one name, whichever file it goes on in.
        let generation = generation(line).expect("every line has one");
        let first = self.by_generation.entry((generation, number)).or_insert_with(|| id.to_owned());
        assert_eq!(first, id, "a line that is sent again has another id");
        number
    }

    pub fn is_settled(&self, number: LineNumber) -> bool {
        let line = &self.lines[number];
        line.accepted > 0 || line.dead_lettered
    }

    /// The line's bytes are gone; `was_read` says whether the daemon has them.
    pub fn bytes_gone(&mut self, number: LineNumber, was_read: bool) {
        if was_read && !self.is_settled(number) {
            self.fragile.insert(number);
        } else {
            self.lines[number].excused = true;
        }
    }

    /// The daemon's memory is gone.
    pub fn crashed(&mut self) {
        for number in std::mem::take(&mut self.fragile) {
            self.lines[number].excused = true;
        }
    }

    /// L10, once the world is quiet.
    pub fn check_complete(&self) {
        for (number, line) in self.lines.iter().enumerate() {
            let settled = self.is_settled(number);
            assert!(settled || line.excused, "L10: line {number} was lost: {line:?}");
        }
    }

    pub fn is_excused(&self, number: LineNumber) -> bool {
        self.lines[number].excused
    }

    pub fn is_fragile(&self, number: LineNumber) -> bool {
        self.fragile.contains(&number)
    }

    pub fn has_fragile(&self) -> bool {
        !self.fragile.is_empty()
    }

    pub fn written(&self) -> usize {
        self.lines.len()
    }

    pub fn excused(&self) -> usize {
        self.lines.iter().filter(|line| line.excused).count()
    }
}
