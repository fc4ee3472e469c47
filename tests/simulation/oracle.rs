//! Knows every line that was ever written, and what became of it.
//!
//! A line is *due* to the streams whose sources matched its file: each has to accept it or to have it among its dead
//! letters in the end. What lets a line go is an [`Excuse`], and each excuse names what it rests on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::disk::LineNumber;
use super::excuse::Excuse;

/// A line that is like many others.
pub const ALIKE: &[u8] = b"alive\n";

/// The most streams of a world.
pub const STREAMS: usize = 4;

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
    /// Excuses that this world does not take.
    withdrawn: BTreeSet<Excuse>,
    /// How many lines may have come twice, and why.
    repeats_excused: BTreeMap<Excuse, u64>,
    pub repeats: u64,
    /// Bytes of unread lines that were seen and are gone: to be declared.
    pub undeclared_bytes: u64,
    /// How often the rest of a line came that was to be left out.
    pub rests: u64,
    /// How often anything changed.
    pub changes: u64,
    /// How many lines that are all alike were written, and came.
    alike: (u64, u64),
    /// How many records were put aside that the service would have taken.
    blamed_wrongly: u64,
    cuts: Vec<Cut>,
}

/// A place at which a rotation cut what a program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The line before it.
    pub last: LineNumber,
    /// The line behind it; the same where that is cut.
    pub first: LineNumber,
    /// Whether nothing keeps the two from being joined.
    pub is_certain: bool,
    pub is_joined: bool,
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
    /// The streams that it is due to, a bit each.
    due: u8,
    /// How often each stream accepted it.
    accepted: [u32; STREAMS],
    /// The service said that it will never take it: a dead letter, once that is durable.
    refused: bool,
    /// The streams that have it among their dead letters, a bit each.
    dead_lettered: u8,
    excused: Option<Excuse>,
}

impl Line {
    /// The streams that have it, a bit each.
    fn settled(&self) -> u8 {
        let accepted = self.accepted.iter().enumerate().filter(|(_, count)| **count > 0);
        accepted.fold(self.dead_lettered, |settled, (stream, _)| settled | 1 << stream)
    }
}

impl Oracle {
    /// Whether lines may come in pieces, or cut short, and what excuses nothing.
    pub fn expecting(pieces: Pieces, withdrawn: BTreeSet<Excuse>) -> Self {
        Self { pieces, withdrawn, ..Self::default() }
    }

    /// A new line: its number and its text. `kind` makes some lines special.
    pub fn write(&mut self, kind: &str, padding: usize) -> (LineNumber, Vec<u8>) {
        let number = self.lines.len();
        // Padded with its own number: a window in the middle of a long line must not look like any other.
        let mut text = format!("{number:08} {kind} ");
        let filler = format!("{number:x}.");
        while text.len() < padding {
            text.push_str(&filler);
        }
        text.push('\n');
        self.add(text)
    }

    /// A new line of exactly so many bytes; at least 12.
    pub fn write_exactly(&mut self, bytes: usize) -> (LineNumber, Vec<u8>) {
        let number = self.lines.len();
        let filler = format!("{number:x}.").repeat(bytes / 2);
        self.add(format!("{number:08} {}\n", &filler[..bytes - 10]))
    }

    fn add(&mut self, text: String) -> (LineNumber, Vec<u8>) {
        let number = self.lines.len();
        let text = text.into_bytes();
        self.lines.push(Line::default());
        self.by_text.insert(text.clone(), number);
        self.texts.push(text.clone());
        (number, text)
    }

    /// So many lines that are like others.
    pub fn write_alike(&mut self, lines: u32) {
        self.alike.0 += u64::from(lines);
    }

    /// How many of the lines that are alike have not come.
    pub fn alike_missing(&self) -> u64 {
        self.alike.0.saturating_sub(self.alike.1)
    }

    /// The line is in a file that is for these streams, a bit each.
    pub fn is_due(&mut self, number: LineNumber, streams: u8) {
        self.lines[number].due |= streams;
    }

    /// The line is due to nobody: it is never completed.
    pub fn is_not_due(&mut self, number: LineNumber) {
        self.lines[number].due = 0;
    }

    /// A new line that may be cut: what is in it says where it stands. `goes_on` says that it belongs to the one
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
        self.add(text)
    }

    /// What is on both sides of a cut belongs together.
    pub fn expect_joined(&mut self, cut: Cut) {
        self.cuts.push(cut);
    }

    /// Whether the line itself is in two files.
    pub fn is_cut(&self, number: LineNumber) -> bool {
        self.cuts.iter().any(|cut| cut.last == number && cut.first == number)
    }

    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    fn note_joined(&mut self, data: &[u8]) {
        if self.cuts.is_empty() {
            return;
        }
        let found = self.found(data);
        let whole = |number: LineNumber| found.contains(&(number, None));
        for cut in self.cuts.iter_mut().filter(|cut| whole(cut.last) && whole(cut.first)) {
            cut.is_joined = true;
        }
    }

    /// The service accepted this record.
    pub fn accept(&mut self, stream: usize, data: &[u8]) {
        self.changes += 1;
        self.note_joined(data);
        for number in self.numbers(data) {
            let line = &mut self.lines[number];
            line.accepted[stream] += 1;
            self.repeats += u64::from(line.accepted[stream] > 1);
            self.fragile.remove(&number);
        }
    }

    /// The service accepted this record, and nobody is told.
    pub fn accept_unheard(&mut self, stream: usize, data: &[u8]) {
        self.excuse_repeats(
            Excuse::AnswerLost,
            1 + data.iter().filter(|byte| **byte == b'\n').count() as u64,
        );
        self.accept(stream, data);
    }

    /// So many lines may come twice.
    pub fn excuse_repeats(&mut self, why: Excuse, lines: u64) {
        if !self.withdrawn.contains(&why) {
            *self.repeats_excused.entry(why).or_default() += lines;
        }
    }

    /// How many lines may have come twice.
    pub fn repeats_excused(&self) -> u64 {
        self.repeats_excused.values().sum()
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
    pub fn dead_letter(&mut self, stream: usize, data: &[u8]) {
        self.changes += 1;
        for number in self.numbers(data) {
            self.lines[number].dead_lettered |= 1 << stream;
            self.fragile.remove(&number);
        }
    }

    /// L19: a record was put aside that the service would have taken. Where it takes none, and few are sent, that happens
    /// to nine at most.
    pub fn blame_wrongly(&mut self) {
        self.blamed_wrongly += 1;
        assert!(
            self.blamed_wrongly <= 9,
            "L19: {} records were blamed for their stream",
            self.blamed_wrongly
        );
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
        if line == ALIKE {
            self.alike.1 += 1;
            return Vec::new();
        }
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
            let at = memchr::memmem::find(whole, piece)?;
            Some((number, at))
        })
    }

    /// Whether every stream that the line is due to has it.
    pub fn is_settled(&self, number: LineNumber) -> bool {
        self.is_settled_in(number, u8::MAX)
    }

    /// Whether a stream accepted the line, which is nowhere else.
    pub fn is_only_accepted(&self, number: LineNumber, stream: usize) -> bool {
        let line = &self.lines[number];
        line.accepted[stream] > 0 && !line.refused && line.dead_lettered == 0 && line.excused.is_none()
    }

    /// Whether those of these streams that the line is due to have it.
    pub fn is_settled_in(&self, number: LineNumber, streams: u8) -> bool {
        let line = &self.lines[number];
        line.due & streams & !line.settled() == 0
    }

    /// The line's bytes are gone; `was_read` says whether the daemon has them.
    pub fn bytes_gone(&mut self, number: LineNumber, was_read: bool, why: Excuse) {
        self.changes += 1;
        if was_read && !self.is_settled(number) {
            self.fragile.insert(number);
        } else {
            self.excuse(number, why);
        }
    }

    /// The line need not come any more.
    pub fn excuse(&mut self, number: LineNumber, why: Excuse) {
        self.changes += 1;
        if !self.withdrawn.contains(&why) {
            self.lines[number].excused.get_or_insert(why);
        }
    }

    /// The daemon's memory is gone.
    pub fn crashed(&mut self) {
        for number in std::mem::take(&mut self.fragile) {
            self.excuse(number, Excuse::OnlyInMemory);
        }
    }

    /// L10, once the world is quiet.
    pub fn check_complete(&self) {
        for (number, line) in self.lines.iter().enumerate() {
            let settled = self.is_settled(number);
            assert!(settled || line.excused.is_some(), "L10: line {number} was lost: {line:?}");
        }
        for cut in self.cuts.iter().filter(|cut| cut.is_certain) {
            assert!(cut.is_joined, "what a rotation cut was not joined: {cut:?}");
        }
    }

    pub fn is_excused_by(&self, number: LineNumber, why: Excuse) -> bool {
        self.lines[number].excused == Some(why)
    }

    pub fn is_excused(&self, number: LineNumber) -> bool {
        self.lines[number].excused.is_some()
    }

    pub fn is_fragile(&self, number: LineNumber) -> bool {
        self.fragile.contains(&number)
    }

    pub fn has_fragile(&self) -> bool {
        !self.fragile.is_empty()
    }

    pub fn text(&self, number: LineNumber) -> &[u8] {
        &self.texts[number]
    }

    /// How many lines the stream has accepted, each counted once.
    /// How often the line came that came most often.
    pub fn most_often(&self) -> u32 {
        self.lines.iter().flat_map(|line| line.accepted).max().unwrap_or(0)
    }

    pub fn accepted(&self, stream: usize) -> usize {
        self.lines.iter().filter(|line| line.accepted[stream] > 0).count()
    }

    /// To how many streams the lines are due, at least.
    pub fn least_due(&self) -> u32 {
        self.lines.iter().map(|line| line.due.count_ones()).min().unwrap_or(1)
    }

    /// How many lines two streams have accepted.
    pub fn sent_to_two(&self) -> u64 {
        let two = |line: &&Line| line.accepted.iter().filter(|count| **count > 0).count() > 1;
        self.lines.iter().filter(two).count() as u64
    }

    pub fn written(&self) -> usize {
        self.lines.len()
    }

    pub fn excused(&self) -> usize {
        self.lines.iter().filter(|line| line.excused.is_some()).count()
    }
}
