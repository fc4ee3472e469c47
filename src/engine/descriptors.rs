//! How many files may be open: there may be more files than descriptors.
//!
//! Knows counts and limits. Does not know files.
//!
//! *Invariant:* openings of one source or device never keep those of another from beginning.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::time::Instant;

use super::files::Slot;

/// Fewer are of no use: however few the kernel has left, some files are read.
const MIN: usize = 4;

/// Openings under way at once in one slot: each may hold a thread.
const OPENINGS_AT_ONCE: usize = 8;

/// The share of all descriptors that is taken back at once, so that the search for them is rare.
const TAKEN_BACK: usize = 8;

/// When the search is repeated that found too few.
const SEARCH_EVERY: Duration = Duration::from_millis(100);

/// How long a limit holds that the kernel showed earlier than it was expected.
const SHORT_FOR: Duration = Duration::from_secs(60);

/// Descriptors of files that are followed.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// How many there may be.
    limit: usize,
    /// The limit that was set; the kernel may allow fewer for a while.
    configured: usize,
    short_until: Option<Instant>,
    /// Open, or being opened.
    held: usize,
    /// Openings under way that are not late.
    openings: BTreeMap<Slot, usize>,
    /// None was found to close; when to look again.
    search_at: Option<Instant>,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self {
            limit: usize::MAX,
            configured: usize::MAX,
            short_until: None,
            held: 0,
            openings: BTreeMap::new(),
            search_at: None,
        }
    }
}

impl Descriptors {
    /// So many files may be open at once.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.configured = limit.max(MIN);
        self.limit = self.configured;
    }

    /// A limit that the kernel showed is over after a time.
    pub(super) fn pass(&mut self, now: Instant) {
        if self.short_until.is_some_and(|until| until <= now) {
            self.short_until = None;
            self.limit = self.configured;
        }
    }

    /// Whether an opening may begin in this slot.
    pub(super) fn may_open(&self, slot: Slot) -> bool {
        self.openings.get(&slot).is_none_or(|openings| *openings < OPENINGS_AT_ONCE)
    }

    /// Whether no descriptor is left.
    pub(super) fn are_used_up(&self) -> bool {
        self.held >= self.limit
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
        self.search_at = None;
    }

    /// The kernel had none. Returns how many there are, where that is news.
    pub(super) fn ran_out(&mut self, now: Instant) -> Option<usize> {
        let limit = self.held.max(MIN);
        // Descriptors come back when files are closed; until then another try changes nothing.
        self.search_at = Some(now + SEARCH_EVERY);
        self.limit = limit;
        let is_news = self.short_until.replace(now + SHORT_FOR).is_none();
        is_news.then_some(limit)
    }

    /// How many descriptors to take back now; `None` while the last search is fresh.
    pub(super) fn search(&self, now: Instant) -> Option<usize> {
        let is_fresh = self.search_at.is_some_and(|at| now < at);
        (!is_fresh).then_some((self.limit / TAKEN_BACK).max(1))
    }

    /// A search has found some to close, or none.
    pub(super) fn searched(&mut self, found: bool, now: Instant) {
        self.search_at = (!found).then(|| now + SEARCH_EVERY);
    }

    pub(super) fn deadline(&self, any_wait: bool) -> Option<Instant> {
        self.search_at.filter(|_| any_wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::SourceId;

    fn slot(device: u64) -> Slot {
        Slot { source: SourceId(0), device }
    }

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
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
    fn what_the_kernel_lacks_is_told_once_and_forgotten_after_a_minute() {
        let mut descriptors = Descriptors::default();
        descriptors.set_limit(100);
        (0..50).for_each(|_| descriptors.begin_opening(slot(1)));
        descriptors.release();
        assert_eq!(descriptors.ran_out(at(0)), Some(49));
        assert_eq!(descriptors.ran_out(at(1)), None);
        assert!(descriptors.are_used_up());
        descriptors.pass(at(60));
        assert!(descriptors.are_used_up());
        descriptors.pass(at(61));
        assert!(!descriptors.are_used_up());
    }
}
