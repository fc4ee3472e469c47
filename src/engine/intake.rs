//! How much may be read at once: slots for each source and device, and the memory budget.
//!
//! The one backpressure is here: a read begins only while what is read and not settled is within the budget; what
//! waits, waits in the files.
//!
//! Knows counts. Does not know files or content.
//!
//! *Invariant (L6):* what is held and what reads under way may bring is within the budget. (L15) A file system that does
//! not answer keeps its own slots, for a while, and no others.

use std::collections::BTreeMap;

use crate::model::settings::{MemorySettings, StreamId};
use crate::rules::budget::Budget;

use super::files::Slot;

/// Reads under way at once in one slot: enough to hide one slow file behind others.
const READS_AT_ONCE: usize = 4;

/// With this part of the memory budget waiting in it, a stream of one lane has enough to send for a while. Reading further ahead
/// would cost memory and buy nothing.
const ENOUGH_OF_BUFFER: u64 = 16;

/// By how much records may outgrow the bytes that one read brought, in bytes: what is left is read again. Lines of a byte
/// in envelopes come to hundreds of times their size.
const MAX_GROWTH_BYTES: u64 = 4 * 1024 * 1024;

/// What reading may take.
#[derive(Debug)]
pub(super) struct Intake {
    settings: MemorySettings,
    budget: Budget,
    /// Reads under way that are not late.
    reads: BTreeMap<Slot, usize>,
}

impl Intake {
    pub(super) fn new(settings: MemorySettings, streams: usize) -> Self {
        Self { settings, budget: Budget::new(settings, streams), reads: BTreeMap::new() }
    }

    pub(super) fn change(&mut self, settings: MemorySettings, streams: usize) {
        self.settings = settings;
        self.budget.change(settings, streams);
    }

    /// Whether a read may begin in this slot.
    pub(super) fn may_read(&self, slot: Slot) -> bool {
        self.reads.get(&slot).is_none_or(|reads| *reads < READS_AT_ONCE)
    }

    /// How many bytes a read may bring for this stream now, in a file of which `of_file` bytes are held.
    pub(super) fn room(&self, stream: StreamId, of_file: u64) -> u64 {
        self.budget.room(stream, of_file)
    }

    /// How much room is worth a read while answers will make more, in bytes.
    pub(super) fn worth_reading(&self) -> usize {
        usize::try_from(self.budget.worth_reading()).unwrap_or(usize::MAX)
    }

    /// How much a read of `len` bytes reserves, in bytes: that, and what records may take beyond it.
    pub(super) fn reservation(&self, stream: StreamId, of_file: u64, len: u64) -> u64 {
        let room = self.budget.room(stream, of_file).saturating_sub(len);
        len + room.min(MAX_GROWTH_BYTES)
    }

    /// Whether one file may hold so many bytes more.
    pub(super) fn fits_into_file(&self, of_file: u64, len: u64) -> bool {
        self.budget.fits_into_file(of_file, len)
    }

    /// Whether a lane in which so many bytes wait, one of `lanes` of its stream, has enough to send for a while. All of
    /// them leave room: one that is held keeps nothing from the others.
    pub(super) fn is_enough(&self, waiting_bytes: u64, lanes: usize) -> bool {
        waiting_bytes >= self.settings.buffer / (ENOUGH_OF_BUFFER / 2 * (lanes as u64 + 1))
    }

    /// A read begins that may bring `reserved` bytes, with what records take beyond it.
    pub(super) fn begin(&mut self, stream: StreamId, slot: Slot, reserved: u64) {
        *self.reads.entry(slot).or_default() += 1;
        self.budget.reserve(stream, reserved);
    }

    /// A read has ended, or is late: its slot is free.
    pub(super) fn leave_slot(&mut self, slot: Slot) {
        let reads = self.reads.get_mut(&slot).expect("a read leaves its slot once");
        *reads -= 1;
        if *reads == 0 {
            self.reads.remove(&slot);
        }
    }

    /// A read has ended: what came of it is charged with [`charge`](Self::charge).
    pub(super) fn release(&mut self, stream: StreamId, reserved: u64) {
        self.budget.release(stream, reserved);
    }

    /// Dead letters that are not durable yet, and bodies of requests, hold so much, in bytes.
    pub(super) fn note_other(&mut self, bytes: u64) {
        self.budget.note_other(bytes);
    }

    /// What is held for a stream has changed from one figure to another, in bytes.
    pub(super) fn charge(&mut self, stream: StreamId, change: (u64, u64)) {
        self.budget.charge(stream, change);
    }

    /// What is held, in bytes.
    pub(super) fn buffered(&self) -> u64 {
        self.budget.buffered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::SourceId;

    #[test]
    fn a_device_that_does_not_answer_keeps_its_own_slots_and_no_others() {
        let settings = MemorySettings { buffer: 1000, buffer_per_file: 1000 };
        let mut intake = Intake::new(settings, 1);
        let slot = |device| Slot { source: SourceId(0), device };
        (0..4).for_each(|_| intake.begin(StreamId(0), slot(1), 10));
        assert!(!intake.may_read(slot(1)) && intake.may_read(slot(2)));
        intake.leave_slot(slot(1));
        assert!(intake.may_read(slot(1)));
        assert_eq!(intake.buffered(), 0, "what is reserved is not held");
    }
}
