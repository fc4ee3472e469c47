//! What files without an end say: each line which it is.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Lines that are made at a time.
const LINES: u64 = 1024;
/// Pieces of one file that are kept: the daemons of a fleet read about the same of theirs at a time.
const KEPT: usize = 16;

/// The same for the files of all daemons that have one name.
#[derive(Debug)]
pub struct Content {
    line_bytes: u64,
    files: BTreeMap<u64, BTreeMap<u64, Bytes>>,
}

impl Content {
    pub fn new(line_bytes: usize) -> Self {
        Self { line_bytes: line_bytes as u64, files: BTreeMap::new() }
    }

    /// A part of a file.
    pub fn read(&mut self, file: u64, from: u64, len: usize) -> Bytes {
        let piece_bytes = LINES * self.line_bytes;
        let first = self.piece(file, from / piece_bytes);
        let start = usize::try_from(from % piece_bytes).expect("within a piece");
        if start + len <= first.len() {
            return first.slice(start..start + len);
        }
        let mut bytes = first[start..].to_vec();
        let mut next = from / piece_bytes + 1;
        while bytes.len() < len {
            bytes.extend_from_slice(&self.piece(file, next));
            next += 1;
        }
        bytes.truncate(len);
        bytes.into()
    }

    fn piece(&mut self, file: u64, number: u64) -> Bytes {
        let pieces = self.files.entry(file).or_default();
        if let Some(piece) = pieces.get(&number) {
            return piece.clone();
        }
        let line_bytes = usize::try_from(self.line_bytes).expect("small");
        let mut piece = Vec::with_capacity(usize::try_from(LINES).expect("small") * line_bytes);
        let fill = vec![b'x'; line_bytes];
        for line in number * LINES..(number + 1) * LINES {
            let end = piece.len() + line_bytes - 1;
            piece.extend_from_slice(format!("{file:04} {line:010} ").as_bytes());
            piece.extend_from_slice(&fill[..end - piece.len()]);
            piece.push(b'\n');
        }
        let piece = Bytes::from(piece);
        pieces.insert(number, piece.clone());
        if pieces.len() > KEPT {
            pieces.pop_first();
        }
        piece
    }
}

/// Of which file a record is, and which of its lines.
pub fn line_of(record: &[u8]) -> (u64, usize) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    (number(&record[..4]), usize::try_from(number(&record[5..15])).expect("small"))
}

/// Which lines of one daemon's files the services have, and how often.
#[derive(Debug, Default)]
pub struct Ledger {
    files: BTreeMap<u64, Vec<u8>>,
    /// Lines that came once more.
    pub repeated: u64,
}

impl Ledger {
    /// A service took a record. Returns whether it has it for the first time.
    pub fn accept(&mut self, file: u64, line: usize) -> bool {
        let lines = self.files.entry(file).or_default();
        if lines.len() <= line {
            lines.resize(line + 1, 0);
        }
        lines[line] = lines[line].saturating_add(1);
        self.repeated += u64::from(lines[line] > 1);
        lines[line] == 1
    }

    /// How many of these lines no service has.
    pub fn missing(&self, file: u64, lines: std::ops::Range<usize>) -> usize {
        let there = self.files.get(&file).map_or(&[][..], |lines| lines);
        lines.filter(|line| there.get(*line).is_none_or(|times| *times == 0)).count()
    }

    /// The files of which anything was taken.
    pub fn files(&self) -> usize {
        self.files.len()
    }
}
