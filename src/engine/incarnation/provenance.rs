//! Where the bytes of one incarnation that are not settled came from, and which of them no record holds.
//!
//! Knows names and spans. Does not know records.
//!
//! *Invariant:* what is asked of bytes beyond the frontier is known.

use std::collections::VecDeque;

use super::{IncarnationState, Names};
use crate::model::offset::{Offset, Span};

/// Names and gaps of what was read.
#[derive(Debug)]
pub(in crate::engine) struct Provenance {
    /// The names under which the file was read, each from where on.
    names: VecDeque<(Offset, Names)>,
    /// What was read and left out, in the order of the file.
    left_out: VecDeque<Span>,
}

impl Provenance {
    /// The file has these names when it is read first.
    pub(super) fn new(names: Names) -> Self {
        Self { names: [(Offset::ZERO, names)].into(), left_out: VecDeque::new() }
    }

    /// What lies from `position` on was read under these names; `left_out` of it is in no record, though between lines that
    /// are in one.
    pub(super) fn note_read(&mut self, position: Offset, names: (&Names, Vec<Span>)) {
        let (names, left_out) = names;
        if self.names.back().is_none_or(|(_, last)| last != names) {
            self.names.push_back((position, names.clone()));
        }
        self.left_out.extend(left_out);
    }

    /// The names under which the bytes at a place were read.
    pub(in crate::engine) fn read_as(&self, place: Offset) -> &Names {
        let known = self.names.iter().rev().find(|(from, _)| *from <= place);
        known.or(self.names.front()).map(|(_, names)| names).expect("a file is read under a name")
    }

    /// The parts of a span that were left out of its record.
    pub(in crate::engine) fn left_out_of(&self, span: Span) -> Vec<Span> {
        let from = self.left_out.partition_point(|gap| gap.start() < span.start());
        let within = self.left_out.iter().skip(from).take_while(|gap| gap.end() <= span.end());
        within.copied().collect()
    }

    /// Nobody asks of what lies before the frontier.
    pub(super) fn settle(&mut self, frontier: Offset) {
        while self.names.get(1).is_some_and(|(from, _)| *from <= frontier) {
            self.names.pop_front();
        }
        while self.left_out.front().is_some_and(|gap| gap.end() <= frontier) {
            self.left_out.pop_front();
        }
    }

    /// What the gaps take in memory, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        (self.left_out.len() * size_of::<Span>()) as u64
    }
}

impl IncarnationState {
    /// Names and gaps of what was read.
    pub(in crate::engine) fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}
