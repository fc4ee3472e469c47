//! The spans of a ledger behind its frontier, each from where the one before it ends.
//!
//! Knows entries and offsets. Does not know what follows from a settled span.
//!
//! *Invariant:* a slot that stands for several entries stands for settled ones of one run, or for passed ones of none, so that
//! each edge of a run is an edge of a slot; slots are in the order of entries, without gaps.

use std::collections::VecDeque;

use crate::model::offset::{Offset, Span};

use super::runs::Runs;

/// So few slots are not worth a look at whether some can be made one.
const FEW: usize = 1024;

/// One entry, or settled ones that lie one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// The first entry.
    pub(super) first: u64,
    /// The end of the first entry that is not empty; where all are empty, their end.
    pub(super) head: Offset,
    /// Where the last entry begins.
    tail: Offset,
    pub(super) end: Offset,
    pub(super) state: SlotState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    Open {
        /// The record needs nothing of what was read.
        is_apart: bool,
    },
    /// Nothing was sent, nor would be.
    Passed,
    Settled,
}

impl Slot {
    /// Bytes of the last entry.
    pub(super) fn last_len(&self) -> u64 {
        self.end.since(self.tail)
    }

    /// Whether the last entry is empty.
    pub(super) fn ends_empty(&self) -> bool {
        self.last_len() == 0
    }
}

impl SlotState {
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// Slots from the first open one on.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    slots: VecDeque<Slot>,
    /// The entry of the next span.
    next: u64,
    /// How many slots there were after the last look at which of them can be made one.
    compact_len: usize,
}

impl Slots {
    pub(super) const NONE: Self = Self::starting_at(0);

    /// No slots; the next span is this entry.
    pub(super) const fn starting_at(next: u64) -> Self {
        Self { slots: VecDeque::new(), next, compact_len: 0 }
    }

    /// Takes in the next span; returns its entry.
    pub(super) fn push(&mut self, span: Span) -> u64 {
        let (first, end) = (self.next, span.end());
        self.next += 1;
        let state = SlotState::Open { is_apart: false };
        self.slots.push_back(Slot { first, head: end, tail: span.start(), end, state });
        first
    }

    pub(super) fn pop_front(&mut self) {
        self.slots.pop_front();
        self.compact_len = self.compact_len.min(self.slots.len());
    }

    pub(super) fn front(&self) -> Option<&Slot> {
        self.slots.front()
    }

    /// The first entry that is not behind the frontier.
    pub(super) fn first(&self) -> u64 {
        self.slots.front().map_or(self.next, |slot| slot.first)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    pub(super) fn get(&self, entry: u64) -> Option<&Slot> {
        self.slots.get(self.place(entry)?)
    }

    pub(super) fn get_mut(&mut self, entry: u64) -> Option<&mut Slot> {
        let place = self.place(entry)?;
        self.slots.get_mut(place)
    }

    /// Slots that hold entries from `first` to `last`.
    pub(super) fn within(&self, first: u64, last: u64) -> impl Iterator<Item = &Slot> {
        let from = self.place(first).unwrap_or(self.slots.len());
        self.slots.range(from..).take_while(move |slot| slot.first <= last)
    }

    fn place(&self, entry: u64) -> Option<usize> {
        let first = self.slots.front()?.first;
        let guess = usize::try_from(entry.checked_sub(first)?).ok()?;
        if entry >= self.next {
            return None;
        }
        // Where no slot before it stands for several, it is there.
        match self.slots.get(guess) {
            Some(slot) if slot.first == entry => Some(guess),
            Some(_) | None => Some(self.slots.partition_point(|slot| slot.first <= entry) - 1),
        }
    }

    /// Makes settled entries that lie one behind the other one slot, where there may be many of them.
    pub(super) fn compact_if_many(&mut self, frontier: Offset, runs: &Runs) {
        if self.slots.len() >= 2 * self.compact_len.max(FEW) {
            self.compact(frontier, runs);
        }
    }

    /// Makes settled entries that lie one behind the other one slot.
    pub(super) fn compact(&mut self, frontier: Offset, runs: &Runs) {
        let mut compact: VecDeque<Slot> = VecDeque::new();
        // Where the last of them begins.
        let mut start = frontier;
        for slot in self.slots.drain(..) {
            match compact.back_mut() {
                Some(last)
                    if !last.state.is_open()
                        && !slot.state.is_open()
                        && runs.holding(last.first) == runs.holding(slot.first) =>
                {
                    if last.end == start {
                        last.head = slot.head;
                    }
                    if slot.state == SlotState::Settled {
                        last.state = SlotState::Settled;
                    }
                    (last.tail, last.end) = (slot.tail, slot.end);
                }
                last => {
                    start = last.map_or(frontier, |last| last.end);
                    compact.push_back(slot);
                }
            }
        }
        compact.shrink_to_fit();
        self.compact_len = compact.len();
        self.slots = compact;
    }
}
