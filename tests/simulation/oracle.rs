//! Knows every line that was ever written, and what became of it.
//!
//! *must*: the line has to be accepted or dead-lettered in the end. A line is excused only when its bytes were
//! gone before the daemon read them, or gone when it crashed with them in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::LineNumber;

#[derive(Debug, Default)]
pub struct Oracle {
    lines: Vec<Line>,
    by_text: BTreeMap<Vec<u8>, LineNumber>,
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
    fn numbers(&self, data: &[u8]) -> Vec<LineNumber> {
        let number = |line| {
            let known = self.by_text.get(line);
            *known.unwrap_or_else(|| {
                panic!("L10: a line that nobody wrote: {:?}", String::from_utf8_lossy(line))
            })
        };
        data.split_inclusive(|byte| *byte == b'\n').map(number).collect()
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
