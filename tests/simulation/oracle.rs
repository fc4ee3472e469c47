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
    pieces: Pieces,
    lines: Vec<Line>,
    texts: Vec<Vec<u8>>,
    by_text: BTreeMap<Vec<u8>, LineNumber>,
    by_id: BTreeMap<String, LineNumber>,
    by_generation: BTreeMap<(u64, LineNumber, usize), String>,
    /// Lines whose bytes exist only in the daemon's memory.
    fragile: BTreeSet<LineNumber>,
    /// Requests whose records may have been accepted without the daemon knowing, and crashes.
    pub excuses_for_repeats: u64,
    pub repeats: u64,
    /// How often the rest of a line came that was to be left out.
    pub rests: u64,
}

/// What else than a line may be in a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pieces {
    #[default]
    None,
    /// Pieces that come to all of it.
    All,
    /// Its beginning, and then no more.
    First,
}

#[derive(Debug, Default)]
struct Line {
    /// What came of it in pieces: where each begins, and ends.
    pieces: BTreeMap<usize, usize>,
    accepted: u64,
    /// The service said that it will never take it: a dead letter, once that is durable.
    refused: bool,
    dead_lettered: bool,
    excused: bool,
}

impl Oracle {
    /// Whether lines may come in pieces, or cut short.
    pub fn expecting(pieces: Pieces) -> Self {
        Self { pieces, ..Self::default() }
    }

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
        self.texts.push(text.clone());
        (number, text)
    }

    /// The same for a line that may be cut: what is in it says where it stands. `goes_on` says that it belongs to the one
    /// before; the last piece of `limit` bytes is never too short to be known.
    pub fn write_cells(
        &mut self,
        kind: &str,
        padding: usize,
        goes_on: bool,
        limit: usize,
    ) -> (LineNumber, Vec<u8>) {
        let number = self.lines.len();
        let mut text = format!("{}{number:08} {kind} ", if goes_on { " " } else { "" });
        let mut cell = 0;
        while text.len() < padding || (text.len() > limit && text.len() % limit < 40) {
            text.push_str(&format!("{number:x}.{cell:x}/"));
            cell += 1;
        }
        text.push('\n');
        let text = text.into_bytes();
        self.lines.push(Line::default());
        self.by_text.insert(text.clone(), number);
        self.texts.push(text.clone());
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
        self.excuses_for_repeats += 1 + data.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.accept(data);
    }

    /// The service refused this record for what it is.
    pub fn refuse(&mut self, data: &[u8]) {
        for (number, _) in self.found(data) {
            self.lines[number].refused = true;
        }
    }

    pub fn is_rejected(&self, number: LineNumber) -> bool {
        self.lines[number].refused
    }

    /// This record is durable among the dead letters.
    pub fn dead_letter(&mut self, data: &[u8]) {
        for number in self.numbers(data) {
            self.lines[number].dead_lettered = true;
            self.fragile.remove(&number);
        }
    }

    /// The lines that are all there with this record.
    fn numbers(&mut self, data: &[u8]) -> Vec<LineNumber> {
        let mut numbers = Vec::new();
        for (number, piece) in self.found(data) {
            let Some((from, to)) = piece else {
                numbers.push(number);
                continue;
            };
            if self.pieces == Pieces::First {
                self.rests += u64::from(from > 0);
                numbers.extend((from == 0).then_some(number));
                continue;
            }
            let pieces = &mut self.lines[number].pieces;
            let end = pieces.entry(from).or_default();
            *end = to.max(*end);
            let reached = pieces.iter().fold(
                0,
                |reached, (from, to)| {
                    if *from <= reached { reached.max(*to) } else { reached }
                },
            );
            // The newline is no piece's.
            if reached + 1 >= self.texts[number].len() {
                pieces.clear();
                numbers.push(number);
            }
        }
        numbers
    }

    /// The lines in this record, each with the part of it that is, unless that is all.
    fn found(&mut self, data: &[u8]) -> Vec<(LineNumber, Option<(usize, usize)>)> {
        data.split_inclusive(|byte| *byte == b'\n').flat_map(|line| self.lines_of(line)).collect()
    }

    fn lines_of(&mut self, line: &[u8]) -> Vec<(LineNumber, Option<(usize, usize)>)> {
        if !line.starts_with(b"{") {
            return vec![self.line(line)];
        }
        let told = envelope(line).expect("it begins like one");
        let message = told["message"].as_str().expect("the lines here are texts");
        let id = told["id"].as_str().expect("every line has one");
        let found: Vec<_> =
            message.split('\n').map(|line| self.line(format!("{line}\n").as_bytes())).collect();
        let (number, piece) = found[0];
        let first = *self.by_id.entry(id.to_owned()).or_insert(number);
        assert_eq!(first, number, "two lines have the id {id}: whoever drops repeats by it loses one");
        // One incarnation has one name, whichever file it goes on in.
        let generation = generation(line).expect("every line has one");
        let key = (generation, number, piece.map_or(0, |(from, _)| from));
        let first = self.by_generation.entry(key).or_insert_with(|| id.to_owned());
        assert_eq!(first, id, "a line that is sent again has another id");
        found
    }

    fn line(&self, text: &[u8]) -> (LineNumber, Option<(usize, usize)>) {
        if let Some(number) = self.by_text.get(text) {
            return (*number, None);
        }
        let piece = text.strip_suffix(b"\n").unwrap_or(text);
        let found = (self.pieces != Pieces::None).then(|| self.piece(piece)).flatten();
        let (number, from) = found
            .unwrap_or_else(|| panic!("L10: a line that nobody wrote: {:?}", String::from_utf8_lossy(text)));
        (number, Some((from, from + piece.len())))
    }

    /// Which line this is a piece of, and where in it: its cells say so.
    fn piece(&self, piece: &[u8]) -> Option<(LineNumber, usize)> {
        let text = std::str::from_utf8(piece).ok()?;
        let beginning = text.trim_start_matches(' ').get(..8).and_then(|number| number.parse().ok());
        let of_cell = || {
            let (_, rest) = text.split_once('/')?;
            usize::from_str_radix(rest.split_once('.')?.0, 16).ok()
        };
        let candidates = [beginning, of_cell()];
        candidates.into_iter().flatten().find_map(|number: LineNumber| {
            let whole = self.texts.get(number)?;
            let at = whole.windows(piece.len()).position(|window| window == piece)?;
            Some((number, at))
        })
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
