//! Lines that were shaped and share a record.
//!
//! Knows how much a record takes, and measures what it is given. Does not know what becomes of it.
//!
//! *Invariant:* a record is within the stream's limit, or holds one line alone, and never over what the service takes;
//! what it holds lies in its span, or in the span that follows where its own is empty.

use super::gzip::Member;
use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES};
use crate::model::offset::Span;
use crate::model::settings::{Compression, Packing};

/// How much is compressed at once, in bytes: little enough that what does not fit is compressed again at no great cost.
const STEP_BYTES: usize = 64 * 1024;

/// The most that one compressed record holds before it is compressed, in bytes: a reader of the record holds it all.
pub(super) const MAX_PLAIN_BYTES: usize = 8 * 1024 * 1024;

/// Shaped lines on their way into records.
#[derive(Debug)]
pub(super) struct Pack {
    /// The most bytes of one record; zero where lines share none.
    max_bytes: usize,
    span: Option<Span>,
    lines: Lines,
    /// Records that are complete, in order.
    done: Vec<Packed>,
}

/// A record that is complete.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) span: Span,
    pub(super) data: Vec<u8>,
    /// Whether the record is more lines than one may be: a message of so many lines came so.
    pub(super) is_over: bool,
}

/// Lines in the record that is not complete.
#[derive(Debug)]
enum Lines {
    Plain {
        data: Vec<u8>,
        count: usize,
    },
    Gzip {
        member: Box<Member>,
        /// What `member` holds ends here, where it holds something.
        held: Option<Span>,
        /// What is not compressed yet.
        waiting: Vec<Item>,
        waiting_bytes: usize,
    },
}

/// A shaped line, or a part of one.
#[derive(Debug)]
struct Item {
    span: Span,
    data: Vec<u8>,
}

impl Packed {
    /// The service counts no lines in what is compressed.
    fn of_member(span: Span, member: &mut Member) -> Self {
        Self { span, data: member.finish(), is_over: false }
    }
}

/// How many lines a reader finds in a record, each with its newline.
fn lines(record: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', record).count()
}

fn joined(before: Option<Span>, span: Span) -> Span {
    Span::new(before.map_or(span.start(), Span::start), span.end())
}

impl Pack {
    pub(super) fn new(packing: Packing) -> Self {
        let (max_bytes, lines) = match packing {
            Packing::Off => (0, Lines::Plain { data: Vec::new(), count: 0 }),
            Packing::On { bytes, compression: Compression::None, .. } => {
                (bytes.min(RECORD_BYTES), Lines::Plain { data: Vec::new(), count: 0 })
            }
            Packing::On { bytes, compression: Compression::Gzip, .. } => (
                bytes.min(RECORD_BYTES),
                Lines::Gzip { member: Box::default(), held: None, waiting: Vec::new(), waiting_bytes: 0 },
            ),
        };
        Self { max_bytes, span: None, lines, done: Vec::new() }
    }

    /// The next record that is complete.
    pub(super) fn pop(&mut self) -> Option<Packed> {
        (!self.done.is_empty()).then(|| self.done.remove(0))
    }

    /// Whether lines share no record: then each is one as it is made.
    pub(super) fn is_off(&self) -> bool {
        self.max_bytes == 0
    }

    /// Takes a line in: with those before it, where they share a record and there is room.
    pub(super) fn add(&mut self, span: Span, record: Vec<u8>) {
        if self.is_of_another(span) || !self.has_room(&record) {
            self.close();
        }
        self.span = Some(joined(self.span, span));
        match &mut self.lines {
            Lines::Plain { data, count } => {
                *count += lines(&record);
                if data.is_empty() {
                    *data = record;
                } else {
                    data.extend_from_slice(&record);
                }
            }
            Lines::Gzip { waiting, waiting_bytes, .. } => {
                *waiting_bytes += record.len();
                waiting.push(Item { span, data: record });
                if *waiting_bytes >= STEP_BYTES.min(self.max_bytes) {
                    self.compress();
                }
            }
        }
    }

    /// Takes in what shares a record with nothing.
    pub(super) fn add_alone(&mut self, span: Span, record: Vec<u8>) {
        self.close();
        self.add(span, record);
        self.close();
    }

    /// Has the lines that are not shipped settled with those before them. Returns whether there are any.
    pub(super) fn settle_with(&mut self, more: Span) -> bool {
        let Some(so_far) = self.span.filter(|_| self.max_bytes > 0) else { return false };
        self.span = Some(joined(Some(so_far), more));
        if let Lines::Gzip { held, waiting, .. } = &mut self.lines {
            match waiting.last_mut() {
                Some(last) => last.span = joined(Some(last.span), more),
                None => *held = Some(joined(*held, more)),
            }
        }
        true
    }

    /// What was taken in is complete.
    pub(super) fn close(&mut self) {
        self.compress();
        let Some(span) = self.span.take() else { return };
        match &mut self.lines {
            Lines::Plain { data, count } => {
                let is_over = self.max_bytes > 0 && std::mem::take(count) > LINES_PER_RECORD;
                self.done.push(Packed { span, data: std::mem::take(data), is_over });
            }
            Lines::Gzip { member, held, .. } => {
                if let Some(held) = held.take() {
                    self.done.push(Packed::of_member(held, member));
                }
            }
        }
    }

    fn has_room(&self, record: &[u8]) -> bool {
        match &self.lines {
            Lines::Plain { data, count } => {
                count + lines(record) <= LINES_PER_RECORD && data.len() + record.len() <= self.max_bytes
            }
            Lines::Gzip { member, waiting_bytes, .. } => {
                member.plain_bytes() + waiting_bytes + record.len() <= MAX_PLAIN_BYTES
            }
        }
    }

    /// Whether a message settles with what comes after it, and not with what is here. An empty span stands for lines of the
    /// next that is not empty: with lines before it in one record, these lines would be settled without it.
    fn is_of_another(&self, span: Span) -> bool {
        span.is_empty() && self.span.is_some_and(|so_far| !so_far.is_empty())
    }

    /// Compresses what waits.
    fn compress(&mut self) {
        if let Lines::Gzip { member, held, waiting, waiting_bytes } = &mut self.lines {
            *waiting_bytes = 0;
            let items = std::mem::take(waiting);
            Compressing { max_bytes: self.max_bytes, member, held, done: &mut self.done }.put(items);
        }
    }
}

/// Lines on their way into a member.
struct Compressing<'a> {
    max_bytes: usize,
    member: &'a mut Member,
    held: &'a mut Option<Span>,
    done: &'a mut Vec<Packed>,
}

impl Compressing<'_> {
    /// Puts lines into the member, as many of them as fit, and the others into the next ones.
    fn put(&mut self, items: Vec<Item>) {
        let Some(last) = items.last() else { return };
        let span = Span::new(items[0].span.start(), last.span.end());
        // A line that is more than the stream's limit by itself is a record all the same.
        let max = if items.len() == 1 && self.held.is_none() { RECORD_BYTES } else { self.max_bytes };
        let plain: Vec<&[u8]> = items.iter().map(|item| &item.data[..]).collect();
        if self.member.put(&plain.concat(), max) {
            *self.held = Some(joined(*self.held, span));
            return;
        }
        if let Some(held) = self.held.take() {
            self.done.push(Packed::of_member(held, self.member));
            return self.put(items);
        }
        self.member.finish();
        let (first, second) = halves(items);
        self.put(first);
        self.put(second);
    }
}

/// Lines in two parts; of one line that is too long for a member the bytes, of which the second half settles it.
fn halves(mut items: Vec<Item>) -> (Vec<Item>, Vec<Item>) {
    let second = items.split_off(items.len() / 2);
    if !items.is_empty() {
        return (items, second);
    }
    let in_two = |Item { span, mut data }| {
        let rest = data.split_off(data.len() / 2);
        let none = Span::new(Span::start(span), Span::start(span));
        (vec![Item { span: none, data }], vec![Item { span, data: rest }])
    };
    second.into_iter().next().map(in_two).unwrap_or_default()
}

#[cfg(test)]
mod tests;
