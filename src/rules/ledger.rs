//! Spans in flight and settled; the frontier between what is done and what is not, and what is done beyond it.
//!
//! The central rule. Spans are admitted in the order of the file and settled in any order; the frontier is the
//! end of the contiguous settled prefix. The highest acknowledged span says nothing: one before it may still be lost.
//! What is settled beyond the frontier are ranges: a checkpoint holds the frontier and the ranges, and after a restart
//! spans that lie within one range are settled at once.
//!
//! Knows offsets. Does not know what settles a span (an acknowledgement, durable dead letters, nothing to send).
//!
//! *Invariant (L1, L2):* `frontier ≤ start of every unsettled span`; spans are contiguous and without overlap; no range
//! holds a byte of an unsettled span, or of a span that settles with one.

mod runs;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::model::offset::{Offset, Span};
use crate::model::record::Entry;
use crate::model::seldom::{Sayable, Seldom};
use crate::model::settled::MAX_RANGES;

use self::runs::Runs;
use self::slots::{Slot, SlotState, Slots};

/// The spans of one incarnation that are not yet behind its frontier.
#[derive(Clone, Debug)]
pub struct Ledger {
    frontier: Offset,
    admitted: Offset,
    /// How often what a checkpoint holds has changed.
    revision: u64,
    /// The entry of the next span, while none is in flight.
    next: u64,
    flight: Seldom<Flight>,
}

/// What an idle file has none of.
#[derive(Clone, Debug, Default)]
struct Flight {
    /// From the first open span on.
    slots: Slots,
    /// What is settled in `slots`.
    runs: Runs,
    /// Bytes of open spans.
    open_bytes: u64,
    /// Ranges that an earlier process settled, as far as they are not admitted yet.
    known: VecDeque<Span>,
}

impl Sayable for Flight {
    fn nothing() -> &'static Self {
        static NOTHING: Flight =
            Flight { slots: Slots::NONE, runs: Runs::NONE, open_bytes: 0, known: VecDeque::new() };
        &NOTHING
    }

    fn is_nothing(&self) -> bool {
        self.slots.len() == 0 && self.known.is_empty()
    }
}

/// How a span was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// There was nothing to send, nor would there be if the span were read again.
    Nothing,
    /// The service took the record.
    Delivered,
    /// The record is a dead letter: sent again, it would be one twice.
    DeadLetter,
}

/// What one settled span changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// By how much the frontier rose, in bytes.
    pub bytes: u64,
    /// Entries that fell behind the frontier.
    pub entries: u64,
}

/// What is settled beyond the frontier, as far as a checkpoint holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    pub held: Vec<Span>,
    /// Bytes of ranges that no checkpoint has room for.
    pub over_bytes: u64,
}

impl Ledger {
    /// A ledger of which everything before `frontier` is settled.
    pub fn starting_at(frontier: Offset) -> Self {
        Self::resuming(frontier, &[])
    }

    /// A ledger of which everything before `frontier` is settled, and `ranges` beyond it.
    pub fn resuming(frontier: Offset, ranges: &[Span]) -> Self {
        let mut flight = Seldom::<Flight>::default();
        if !ranges.is_empty() {
            flight.known = ranges.iter().copied().collect();
        }
        Self { frontier, admitted: frontier, revision: 0, next: 0, flight }
    }

    /// Takes in the next span of the file.
    ///
    /// # Panics
    /// When the span does not begin where the last one ended (L2). An empty one settles nothing by itself: the frontier
    /// stays before what follows it until that is settled too.
    pub fn admit(&mut self, span: Span) -> Entry {
        assert!(span.start() == self.admitted, "L2: span {span} must begin at {}", self.admitted);
        self.admitted = span.end();
        if self.flight.get_mut().is_none() {
            self.flight.slots = Slots::starting_at(self.next);
        }
        let flight = &mut *self.flight;
        let entry = flight.slots.push(span);
        flight.open_bytes += span.len();
        while let Some(range) = flight.known.pop_front() {
            if range.end() > self.admitted {
                flight.known.push_front(Span::new(range.start().max(self.admitted), range.end()));
                break;
            }
        }
        Entry(entry)
    }

    /// Marks one span as settled, and raises the frontier as far as that allows.
    ///
    /// # Panics
    /// When the entry was never admitted or is settled already: an acknowledgement was counted twice (L7).
    pub fn settle(&mut self, entry: Entry, how: Settlement) -> Raised {
        let flight = self.flight.get_mut();
        let is_open = |flight: &Flight| flight.slots.get(entry.0).is_some_and(|slot| slot.state.is_open());
        let Some(Flight { slots, runs, open_bytes, .. }) = flight.filter(|flight| is_open(flight)) else {
            panic!("L7: {entry:?} is settled already or was never admitted");
        };
        let slot = slots.get_mut(entry.0).expect("just seen");
        slot.state = if how == Settlement::Nothing { SlotState::Passed } else { SlotState::Settled };
        *open_bytes -= slot.last_len();
        if how != Settlement::Nothing {
            self.revision += 1;
            let is_settled = |entry| slots.get(entry).is_some_and(|slot| !slot.state.is_open());
            runs.add(entry.0, how == Settlement::DeadLetter, is_settled);
        }
        let before = (self.frontier, slots.first());
        while let Some(slot) = slots.front()
            && !slot.state.is_open()
        {
            self.frontier = slot.end;
            slots.pop_front();
        }
        runs.drop_before(slots.first());
        slots.compact_if_many(self.frontier, runs);
        let raised = Raised { bytes: self.frontier.since(before.0), entries: slots.first() - before.1 };
        self.next = slots.first();
        self.flight.settle();
        raised
    }

    /// The record of an open span needs nothing more of what was read.
    pub fn set_apart(&mut self, entry: Entry) {
        if let Some(slot) = self.flight.get_mut().and_then(|flight| flight.slots.get_mut(entry.0))
            && slot.state.is_open()
        {
            slot.state = SlotState::Open { is_apart: true };
        }
    }

    /// Up to where no record needs anything of what was read.
    pub fn apart_until(&self) -> Offset {
        let mut until = self.frontier;
        for slot in self.flight.slots.iter() {
            if slot.state == (SlotState::Open { is_apart: false }) {
                return until;
            }
            until = slot.end;
        }
        until
    }

    /// Where, between `from` and `until`, a frontier or a range may come to end.
    pub fn edges(&mut self, from: Offset, until: Offset) -> Vec<Offset> {
        if let Some(Flight { slots, runs, .. }) = self.flight.get_mut() {
            slots.compact(self.frontier, runs);
        }
        let edges = std::iter::once(self.frontier).chain(self.flight.slots.iter().map(|slot| slot.end));
        let mut edges: Vec<_> = edges.filter(|edge| (from..until).contains(edge)).collect();
        edges.dedup();
        edges
    }

    /// Whether an earlier process settled all of a span that was not admitted yet.
    pub fn knows(&self, span: Span) -> bool {
        let behind = self.flight.known.partition_point(|range| range.end() < span.end());
        !span.is_empty() && self.flight.known.get(behind).is_some_and(|range| range.start() <= span.start())
    }

    /// Ranges that an earlier process settled, as far as they are not admitted yet.
    pub fn known(&self) -> impl Iterator<Item = Span> {
        self.flight.known.iter().copied()
    }

    /// What is settled beyond the frontier. Where that is more than a checkpoint holds, dead letters go first, because
    /// nobody wants them twice, and then what has most bytes.
    pub fn ranges(&self) -> Ranges {
        let mut found: Vec<(Span, bool)> =
            Vec::with_capacity(self.flight.runs.len() + self.flight.known.len());
        for run in self.flight.runs.iter() {
            if let Some(span) = self.covered(run.first, run.last) {
                found.push((span, run.has_dead_letters));
            }
        }
        for known in self.known() {
            match found.last_mut() {
                // What was read of a range since goes on in what was not.
                Some((last, comes_first)) if last.end() == known.start() => {
                    (*last, *comes_first) = (Span::new(last.start(), known.end()), true);
                }
                Some(_) | None => found.push((known, true)),
            }
        }
        let mut over_bytes = 0;
        if found.len() > MAX_RANGES {
            found.sort_by_key(|(span, comes_first)| std::cmp::Reverse((*comes_first, span.len())));
            over_bytes = found.drain(MAX_RANGES..).map(|(span, _)| span.len()).sum();
            found.sort_by_key(|(span, _)| span.start());
        }
        Ranges { held: found.into_iter().map(|(span, _)| span).collect(), over_bytes }
    }

    /// Bytes that are settled beyond the frontier and for which no checkpoint has room.
    pub fn over_bytes(&self) -> u64 {
        if self.flight.runs.len() + self.flight.known.len() <= MAX_RANGES {
            0
        } else {
            self.ranges().over_bytes
        }
    }

    /// Changes whenever a checkpoint taken now may hold something else than before.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Every byte before it is settled.
    pub fn frontier(&self) -> Offset {
        self.frontier
    }

    /// The end of the last span taken in.
    pub fn admitted(&self) -> Offset {
        self.admitted
    }

    /// How much memory the spans that are not behind the frontier take, in pieces: each open one is one, and so are settled
    /// ones that lie one behind the other, sooner or later.
    pub fn pieces(&self) -> usize {
        self.flight.slots.len()
    }

    /// Bytes that were taken in and are not settled.
    pub fn open_bytes(&self) -> u64 {
        self.flight.open_bytes
    }

    /// Whether nothing is in flight.
    pub fn is_settled(&self) -> bool {
        self.flight.slots.len() == 0
    }

    /// The bytes that the settled entries from `first` to `last` stand for.
    ///
    /// Empty spans settle with the next one that is not empty: of pieces of one message only the last has its bytes. So
    /// where an empty span is open just before, the first bytes are not settled.
    fn covered(&self, first: u64, last: u64) -> Option<Span> {
        let end_of = |entry: u64| self.flight.slots.get(entry).map_or(self.admitted, |slot| slot.end);
        let front = self.flight.slots.first();
        let start_of = |entry: u64| if entry <= front { self.frontier } else { end_of(entry - 1) };
        let mut start = start_of(first);
        let is_beheaded = first > front && self.flight.slots.get(first - 1).is_some_and(Slot::ends_empty);
        if is_beheaded {
            start = self.flight.slots.within(first, last).find(|slot| slot.end > start)?.head;
        }
        let end = end_of(last);
        (start < end).then(|| Span::new(start, end))
    }
}
