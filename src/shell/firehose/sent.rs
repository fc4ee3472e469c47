//! What the service says of a request, without what the request said.
//!
//! A service, or whatever answers in its place, may repeat a record in its message, and messages go to logs, terminals and
//! the dead letters' list, where no record belongs. Knows the records of one request, and finds their bytes in a text as
//! they were sent: raw, or in base64. Does not know what a text means.
//!
//! *Invariant:* no text that is returned has 16 bytes in a row of a record, or a whole line of eight or more. (What the
//! service makes of a record before it repeats it, nobody can tell.)

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::model::text::cut;

/// The most of a message that is kept, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 1024;

/// So many bytes in a row are no coincidence: shorter runs are words of any language.
const RUN: usize = 16;

/// A line that is shorter is found in too many messages that do not mean it.
const MIN_LINE_BYTES: usize = 8;

/// How many different texts of one answer are looked at. A service says the same of many records; one that does not would
/// have all of them compared with each.
const MAX_TEXTS: usize = 16;

/// What stands where a text was cut.
const MARK: &str = "… (the rest repeats what was sent)";

/// The records of one request, and the texts that were compared with them.
#[derive(Debug)]
pub(super) struct Sent<'a> {
    records: &'a [Bytes],
    known: HashMap<String, String>,
}

impl<'a> Sent<'a> {
    pub(super) fn new(records: &'a [Bytes]) -> Self {
        Self { records, known: HashMap::new() }
    }

    /// A text of the service up to where it repeats what was sent; of a long one no more than is kept is looked at.
    pub(super) fn clean(&mut self, text: &str) -> String {
        let text = &*cut(text, MAX_MESSAGE_BYTES + RUN);
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if self.known.len() >= MAX_TEXTS {
            return "…".to_owned();
        }
        let clean = match repeats_at(text.as_bytes(), self.records) {
            Some(at) => format!("{}{MARK}", &text[..text.floor_char_boundary(at)]),
            None => text.to_owned(),
        };
        self.known.insert(text.to_owned(), clean.clone());
        clean
    }
}

/// Where `text` begins to repeat one of the records.
fn repeats_at(text: &[u8], records: &[Bytes]) -> Option<usize> {
    let windows = Windows::of(text);
    let of_record = |data: &Bytes| {
        let encoded = STANDARD.encode(data);
        let lines = data.split(|byte| *byte == b'\n').filter_map(|line| short_line(text, line));
        let whole = short_line(text, encoded.trim_end_matches('=').as_bytes());
        lines.chain(whole).chain(windows.first_in(data)).chain(windows.first_in(encoded.as_bytes())).min()
    };
    records.iter().filter_map(of_record).min()
}

/// Where a line stands in the text that is too short for a run, and long enough to be meant.
fn short_line(text: &[u8], line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let is_looked_for = (MIN_LINE_BYTES..RUN).contains(&line.len());
    is_looked_for.then(|| memchr::memmem::find(text, line)).flatten()
}

/// Each run of a text by where it is first.
#[derive(Debug)]
struct Windows {
    first: HashMap<[u8; RUN], usize>,
    /// A bit for the hash of the first half of each run: most places of a record are passed over by it.
    marks: Box<[u64; MARKS]>,
}

/// Words of 64 bits.
const MARKS: usize = 1024;

impl Windows {
    fn of(text: &[u8]) -> Self {
        let mut windows = Self { first: HashMap::new(), marks: Box::new([0; MARKS]) };
        for (at, run) in text.array_windows::<RUN>().enumerate() {
            windows.first.entry(*run).or_insert(at);
            let (word, bit) = mark(run);
            windows.marks[word] |= bit;
        }
        windows
    }

    /// The first place in the text of a run that is in `data`.
    fn first_in(&self, data: &[u8]) -> Option<usize> {
        let is_marked = |run: &&[u8; RUN]| {
            let (word, bit) = mark(run);
            self.marks[word] & bit != 0
        };
        let places = data.array_windows::<RUN>().filter(is_marked).filter_map(|run| self.first.get(run));
        places.min().copied()
    }
}

/// Where the mark of a run is.
fn mark(run: &[u8; RUN]) -> (usize, u64) {
    let half = run.first_chunk::<8>().expect("a run is longer");
    // The golden ratio's bits spread what is alike over all of the marks.
    let hash = u64::from_le_bytes(*half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 54) as usize % MARKS, 1 << ((hash >> 48) & 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(text: &str, records: &[&str]) -> String {
        let records: Vec<_> = records.iter().map(|data| Bytes::copy_from_slice(data.as_bytes())).collect();
        Sent::new(&records).clean(text)
    }

    #[test]
    fn a_message_ends_where_it_begins_to_repeat_a_record() {
        let record = "2026-11-29 user=alice password=hunter2-and-more\nshort\npin=0000\n";
        let cut = [
            ("Invalid record: password=hunter2-and-more", "Invalid record:"),
            ("Invalid: 'alice password=hunter2'", "Invalid: '"),
            ("pin=0000 is no JSON", ""),
            ("at pin=0000", "at "),
        ];
        for (text, kept) in cut {
            let clean = clean(text, &["another", record]);
            assert!(clean.starts_with(kept) && clean.ends_with(MARK), "{text}: {clean}");
            assert!(!clean.contains("hunter2") && !clean.contains("0000"), "{text}: {clean}");
        }
        let encoded = STANDARD.encode(record);
        assert_eq!(clean(&format!("data {encoded} is bad"), &[record]), format!("data {MARK}"));
        assert_eq!(
            clean(&format!("data {}", STANDARD.encode("secret!")), &["secret!"]),
            format!("data {MARK}")
        );
        for text in
            ["Slow down.", "a short word, user=alice too", "", "1 validation error detected: Value null"]
        {
            assert_eq!(clean(text, &[record]), text);
        }
    }

    #[test]
    fn what_many_entries_say_is_compared_once_and_no_more_texts_than_a_few_are() {
        let records = [Bytes::from_static(b"something that was sent")];
        let mut sent = Sent::new(&records);
        for entry in 0..500 {
            assert_eq!(sent.clean("Internal failure."), "Internal failure.");
            let text = format!("of entry {entry}");
            let expected = if entry < MAX_TEXTS - 1 { text.clone() } else { "…".to_owned() };
            assert_eq!(sent.clean(&text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_run_of_a_record_is_left(
            record in "[ab]{16,64}", from in 0_usize..48, before in "[ab]{0,12}", after in "[ab]{0,12}",
        ) {
            let from = from.min(record.len() - RUN);
            let text = format!("{before}{}{after}", &record[from..from + RUN]);
            let clean = clean(&text, &[&record]);
            let kept = clean.strip_suffix(MARK).expect("it is cut");
            let mut runs = record.as_bytes().array_windows::<RUN>();
            let is_left = runs.any(|run| memchr::memmem::find(kept.as_bytes(), run).is_some());
            prop_assert!(!is_left, "{} of {}", kept, record);
        }
    }
}
