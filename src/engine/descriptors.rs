//! Descriptors of files that are followed: how many are held, and how many openings are under way in each slot.
//!
//! Counts; `rules/idle.rs` says how many there may be. Does not know files.
//!
//! *Invariant:* openings of one source or device never keep those of another from beginning.

use std::collections::BTreeMap;

use crate::model::time::Instant;
use crate::rules::idle::Allowance;

use super::files::Slot;

/// Openings under way at once in one slot: each may hold a thread.
const OPENINGS_AT_ONCE: usize = 8;

/// Descriptors of files that are followed.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    allowance: Allowance,
    /// Open, or being opened.
    held: usize,
    /// Openings under way that are not late.
    openings: BTreeMap<Slot, usize>,
}

impl Descriptors {
    /// So many files may be open at once.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.allowance.set_limit(limit);
    }

    /// A limit that the kernel showed is over after a time.
    pub(super) fn pass(&mut self, now: Instant) {
        self.allowance.pass(now);
    }

    /// Whether an opening may begin in this slot.
    pub(super) fn may_open(&self, slot: Slot) -> bool {
        self.openings.get(&slot).is_none_or(|openings| *openings < OPENINGS_AT_ONCE)
    }

    /// Whether no descriptor is left.
    pub(super) fn are_used_up(&self) -> bool {
        self.allowance.is_used_up(self.held)
    }

    pub(super) fn begin_opening(&mut self, slot: Slot) {
        self.held += 1;
        *self.openings.entry(slot).or_default() += 1;
    }

    /// An opening has ended, or is late; whether it holds a descriptor is said by [`release`](Self::release).
    pub(super) fn end_opening(&mut self, slot: Slot) {
        let openings = self.openings.get_mut(&slot).expect("an opening ends that began");
        *openings -= 1;
        if *openings == 0 {
            self.openings.remove(&slot);
        }
    }

    /// A descriptor is free again.
    pub(super) fn release(&mut self) {
        self.held -= 1;
        self.allowance.released();
    }

    /// The kernel had none. Returns how many there are, where that is news.
    pub(super) fn ran_out(&mut self, now: Instant) -> Option<usize> {
        self.allowance.ran_out(self.held, now)
    }

    /// How many descriptors to take back now; `None` while the last search is fresh.
    pub(super) fn search(&self, now: Instant) -> Option<usize> {
        self.allowance.search(now)
    }

    /// A search has found some to close, or none.
    pub(super) fn searched(&mut self, found: bool, now: Instant) {
        self.allowance.searched(found, now);
    }

    pub(super) fn deadline(&self, any_wait: bool) -> Option<Instant> {
        self.allowance.deadline().filter(|_| any_wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::SourceId;

    fn slot(device: u64) -> Slot {
        Slot { source: SourceId(0), device }
    }

    #[test]
    fn a_device_that_does_not_answer_takes_eight_openings_and_no_other_devices() {
        let mut descriptors = Descriptors::default();
        (0..8).for_each(|_| descriptors.begin_opening(slot(1)));
        assert!(!descriptors.may_open(slot(1)) && descriptors.may_open(slot(2)));
        descriptors.end_opening(slot(1));
        assert!(descriptors.may_open(slot(1)));
    }

    #[test]
    fn what_is_held_counts_against_the_limit_until_it_is_released() {
        let mut descriptors = Descriptors::default();
        descriptors.set_limit(8);
        (0..8).for_each(|_| descriptors.begin_opening(slot(1)));
        assert!(descriptors.are_used_up());
        descriptors.end_opening(slot(1));
        assert!(descriptors.are_used_up(), "it is open now");
        descriptors.release();
        assert!(!descriptors.are_used_up());
        assert_eq!(descriptors.ran_out(Instant::ZERO), Some(7));
        assert!(descriptors.are_used_up());
    }
}
