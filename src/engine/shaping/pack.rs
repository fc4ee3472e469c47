//! Lines that were shaped and share a record.
//!
//! Knows how much a record takes, and measures what it is given. Does not know what becomes of it.
//!
//! *Invariant:* a pack has room for what it takes in, or is empty; what it holds lies in its span, or in the span that
//! follows where its own is empty.

use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES};
use crate::model::offset::Span;
use crate::model::settings::Packing;

/// Shaped lines that share a record.
#[derive(Debug, Default)]
pub(super) struct Pack {
    pub(super) span: Option<Span>,
    pub(super) data: Vec<u8>,
    pub(super) lines: usize,
}

impl Pack {
    pub(super) fn has_room(&self, record: &[u8], packing: Packing) -> bool {
        let most = match packing {
            Packing::Off => return false,
            Packing::On { bytes, .. } => bytes.min(RECORD_BYTES),
        };
        self.data.len() + record.len() <= most && self.lines + lines(record) <= LINES_PER_RECORD
    }

    /// Whether a message settles with what comes after it, and not with what is here. An empty span stands for lines of the
    /// next that is not empty: with lines before it in one record, these lines would be settled without it.
    pub(super) fn is_of_another(&self, span: Span) -> bool {
        span.is_empty() && self.span.is_some_and(|so_far| !so_far.is_empty())
    }

    pub(super) fn add(&mut self, span: Span, record: Vec<u8>) {
        let start = self.span.map_or(span.start(), Span::start);
        self.span = Some(Span::new(start, span.end()));
        self.lines += lines(&record);
        if self.data.is_empty() {
            self.data = record;
        } else {
            self.data.extend_from_slice(&record);
        }
    }

    /// Whether the record is more than one may be: a message of so many lines came so.
    pub(super) fn is_over(&self, packing: Packing) -> bool {
        packing != Packing::Off && self.lines > LINES_PER_RECORD
    }
}

/// How many lines a reader finds in a record, each with its newline.
fn lines(record: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', record).count()
}
