//! Where the bytes of one incarnation that are not settled came from, and which of them no record holds.
//!
//! Knows names and spans. Does not know records.
//!
//! *Invariant:* what is asked of bytes beyond the frontier is known.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::{IncarnationState, Names};
use crate::model::offset::{Offset, Span};

/// Names and gaps of what was read; nothing where all of that is settled.
#[derive(Debug, Default)]
pub(in crate::engine) struct Provenance(Option<Box<Read>>);

/// Names and gaps of what was read and is not settled.
#[derive(Debug, Default)]
struct Read {
    /// The names under which the file was read, each from where on.
    names: VecDeque<(Offset, Names)>,
    /// What was read and left out, in the order of the file.
    left_out: VecDeque<Span>,
}

impl Provenance {
    /// What lies from `position` on was read under these names; `left_out` of it is in no record, though between lines that
    /// are in one.
    pub(super) fn note_read(
        &mut self,
        position: Offset,
        names: (&Arc<Path>, &Option<Arc<Path>>),
        left_out: Vec<Span>,
    ) {
        let read = self.0.get_or_insert_default();
        if read.names.back().is_none_or(|(_, (path, target))| (path, target) != names) {
            read.names.push_back((position, (Arc::clone(names.0), names.1.clone())));
        }
        read.left_out.extend(left_out);
    }

    /// The names under which bytes were read that are not settled.
    fn read_as(&self, place: Offset) -> Option<&Names> {
        let names = &self.0.as_ref()?.names;
        let known = names.iter().rev().find(|(from, _)| *from <= place);
        known.or(names.front()).map(|(_, names)| names)
    }

    /// The parts of a span that were left out of its record.
    pub(in crate::engine) fn left_out_of(&self, span: Span) -> Vec<Span> {
        let Some(read) = &self.0 else { return Vec::new() };
        let from = read.left_out.partition_point(|gap| gap.start() < span.start());
        let within = read.left_out.iter().skip(from).take_while(|gap| gap.end() <= span.end());
        within.copied().collect()
    }

    /// Nobody asks of what lies before the frontier.
    pub(super) fn settle(&mut self, frontier: Offset) {
        let Some(read) = &mut self.0 else { return };
        while read.names.get(1).is_some_and(|(from, _)| *from <= frontier) {
            read.names.pop_front();
        }
        while read.left_out.front().is_some_and(|gap| gap.end() <= frontier) {
            read.left_out.pop_front();
        }
    }

    /// All that was read is settled: nobody asks of it any more.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// What the gaps take in memory, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |read| (read.left_out.len() * size_of::<Span>()) as u64)
    }
}

impl IncarnationState {
    /// Names and gaps of what was read.
    pub(in crate::engine) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The names under which the bytes at a place, which are not settled, were read.
    pub(in crate::engine) fn read_as(&self, place: Offset) -> (&Arc<Path>, &Option<Arc<Path>>) {
        let known = self.provenance.read_as(place).map(|(path, target)| (path, target));
        known.unwrap_or((&self.whose.path, &self.whose.target))
    }
}
