//! Idle files: which open files give their descriptors to files that wait for one, and how many.
//!
//! There may be more files than descriptors. What is read to its end, delivered and quiet needs no descriptor: it is
//! opened again when more is there, and known again by its identity. The files that were quiet longest are closed
//! first, several at once, so that the search for them is rare.
//!
//! Knows counts, limits and what is handed in of each open file. Does not know how a file is closed or found again.
//! Called by `engine/descriptors.rs` and `engine/opening.rs`.
//!
//! *Invariant:* a file with unread or unsettled bytes, or without a name, is never closed for want of descriptors.

use std::time::Duration;

use crate::model::time::Instant;

/// The fewest files that may be open: however few descriptors the kernel has left, some files are read.
const MIN_OPEN: usize = 4;

/// The part of all descriptors that is taken back at once: one in so many.
const TAKEN_BACK: usize = 8;

/// The most descriptors that are taken back at once: each costs something, and nothing else happens meanwhile.
const MAX_TAKEN_BACK: usize = 512;

/// When the search is repeated that found too few.
const SEARCH_EVERY: Duration = Duration::from_millis(100);

/// How long a limit holds that the kernel showed earlier than it was expected: others may have used its descriptors
/// for a moment only.
const SHORT_FOR: Duration = Duration::from_secs(60);

/// How long ago the end of a file that is closed may have been looked at.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// How many files may be open, and when it is worth looking for one to close.
#[derive(Debug)]
pub struct Allowance {
    /// How many there may be now.
    limit: usize,
    /// The limit that was set; the kernel may allow fewer for a while.
    configured: usize,
    short_until: Option<Instant>,
    /// None was found to close; when to look again.
    search_at: Option<Instant>,
}

impl Default for Allowance {
    /// Any number of files.
    fn default() -> Self {
        Self { limit: usize::MAX, configured: usize::MAX, short_until: None, search_at: None }
    }
}

impl Allowance {
    /// So many files may be open at once.
    pub fn set_limit(&mut self, limit: usize) {
        self.configured = limit.max(MIN_OPEN);
        self.limit = self.configured;
    }

    /// Forgets the limit that the kernel showed once its time is over.
    pub fn pass(&mut self, now: Instant) {
        if self.short_until.is_some_and(|until| until <= now) {
            self.short_until = None;
            self.limit = self.configured;
        }
    }

    /// Whether no further file may be opened beside `held` that are open.
    pub fn is_used_up(&self, held: usize) -> bool {
        held >= self.limit
    }

    /// The kernel had no descriptor beside `held` that are open. Returns how many there are, where that is news.
    pub fn ran_out(&mut self, held: usize, now: Instant) -> Option<usize> {
        let limit = held.max(MIN_OPEN);
        // Descriptors come back when files are closed; until then another try changes nothing.
        self.search_at = Some(now + SEARCH_EVERY);
        self.limit = limit;
        let is_news = self.short_until.replace(now + SHORT_FOR).is_none();
        is_news.then_some(limit)
    }

    /// A descriptor is free again: the next search may find more.
    pub fn released(&mut self) {
        self.search_at = None;
    }

    /// How many descriptors to take back now; `None` while the last search is fresh.
    pub fn search(&self, now: Instant) -> Option<usize> {
        let is_fresh = self.search_at.is_some_and(|at| now < at);
        (!is_fresh).then_some((self.limit / TAKEN_BACK).clamp(1, MAX_TAKEN_BACK))
    }

    /// A search has found some to close, or none.
    pub fn searched(&mut self, found: bool, now: Instant) {
        self.search_at = (!found).then(|| now + SEARCH_EVERY);
    }

    /// When to search again, should any file still wait.
    pub fn deadline(&self) -> Option<Instant> {
        self.search_at
    }
}

/// An open file that was read as far as it reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtEnd<K> {
    pub file: K,
    /// Whether a source matches a name of the file: by that name it is opened again.
    pub is_named: bool,
    /// Whether every record that was read of it is delivered or put aside.
    pub is_settled: bool,
    /// What was seen of it and belongs to no record, in bytes.
    pub unread_bytes: u64,
    /// How much of that is a last line without its newline, in bytes: read again when the file has grown.
    pub incomplete_bytes: u64,
    /// When its last complete line was read.
    pub quiet_since: Instant,
    /// When its end was looked at last.
    pub read_at: Instant,
}

impl<K> AtEnd<K> {
    fn is_idle(&self) -> bool {
        self.is_named && self.is_settled && self.unread_bytes <= self.incomplete_bytes
    }
}

/// What becomes of the files that were quiet longest, each list in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<K> {
    /// Files to close.
    pub close: Vec<K>,
    /// Files whose end was not looked at lately. A hint may have been lost: they are looked at once more, and closed
    /// another time.
    pub look_at: Vec<K>,
}

/// Chooses the `count` that are idle and were quiet longest. The search ends where they are found.
///
/// # Panics
/// When `files` do not come in the order in which they became quiet.
pub fn choose<K: Copy + Ord>(files: impl Iterator<Item = AtEnd<K>>, count: usize, now: Instant) -> Choice<K> {
    let idle: Vec<_> = files.filter(AtEnd::is_idle).take(count).collect();
    assert!(idle.is_sorted_by_key(|file| (file.quiet_since, file.file)), "the longest quiet come first");
    let (sure, stale): (Vec<_>, Vec<_>) =
        idle.into_iter().partition(|file| now.since(file.read_at) <= LOOKED_AT);
    let ids = |files: Vec<AtEnd<K>>| files.into_iter().map(|file| file.file).collect();
    Choice { close: ids(sure), look_at: ids(stale) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::at(Duration::from_millis(millis))
    }

    /// A file that was quiet since it began, and was just looked at.
    fn idle(file: u8) -> AtEnd<u8> {
        AtEnd {
            file,
            is_named: true,
            is_settled: true,
            unread_bytes: 0,
            incomplete_bytes: 0,
            quiet_since: at(0),
            read_at: at(60_000),
        }
    }

    fn chosen(files: &[AtEnd<u8>], count: usize) -> (Vec<u8>, Vec<u8>) {
        let mut files = files.to_vec();
        files.sort_by_key(|file| (file.quiet_since, file.file));
        let Choice { close, look_at } = choose(files.into_iter(), count, at(60_000));
        (close, look_at)
    }

    #[test]
    fn a_file_that_somebody_may_still_need_open_is_never_closed() {
        for (file, is_closed, why) in [
            (idle(1), true, "read, delivered and quiet"),
            (AtEnd { is_named: false, ..idle(1) }, false, "nothing leads to it once it is closed"),
            (AtEnd { is_settled: false, ..idle(1) }, false, "what is sent may have to be read again"),
            (AtEnd { unread_bytes: 1, ..idle(1) }, false, "there is more"),
            (AtEnd { unread_bytes: 5, incomplete_bytes: 5, ..idle(1) }, true, "a last line without newline"),
            (AtEnd { unread_bytes: 6, incomplete_bytes: 5, ..idle(1) }, false, "more than that line"),
            (AtEnd { quiet_since: at(60_000), ..idle(1) }, true, "quiet for no time, but none for longer"),
            (AtEnd { read_at: at(58_000), ..idle(1) }, true, "looked at two seconds ago"),
            (AtEnd { read_at: at(57_999), ..idle(1) }, false, "looked at too long ago"),
        ] {
            assert_eq!(chosen(&[file], 1).0 == [1], is_closed, "{why}: {file:?}");
        }
    }

    #[test]
    fn the_longest_quiet_come_first_and_those_that_were_not_looked_at_lately_take_their_place() {
        let quiet = |file, since| AtEnd { quiet_since: at(since), ..idle(file) };
        let stale = AtEnd { read_at: at(0), ..quiet(3, 20) };
        let files = [quiet(1, 40), quiet(2, 30), stale, quiet(4, 10), quiet(5, 10)];
        for (count, close, look_at) in [
            (1, vec![4], vec![]),
            (2, vec![4, 5], vec![]),
            (3, vec![4, 5], vec![3]),
            (4, vec![4, 5, 2], vec![3]),
            (9, vec![4, 5, 2, 1], vec![3]),
        ] {
            assert_eq!(chosen(&files, count), (close, look_at), "{count}");
        }
    }

    #[test]
    fn an_eighth_is_taken_back_at_once_and_never_less_than_one_or_more_than_a_few_hundred() {
        for (limit, count) in [(0, 1), (4, 1), (15, 1), (16, 2), (1000, 125), (4096, 512), (1 << 20, 512)] {
            let mut allowance = Allowance::default();
            allowance.set_limit(limit);
            assert_eq!(allowance.search(at(0)), Some(count), "{limit}");
        }
    }

    #[test]
    fn some_files_are_open_however_few_the_descriptors_are() {
        let mut allowance = Allowance::default();
        assert!(!allowance.is_used_up(1_000_000), "any number until a limit is set");
        allowance.set_limit(0);
        assert!(!allowance.is_used_up(3) && allowance.is_used_up(4));
        assert_eq!(allowance.ran_out(0, at(0)), Some(4));
        assert!(!allowance.is_used_up(3) && allowance.is_used_up(4));
    }

    #[test]
    fn a_search_that_found_none_is_repeated_after_a_moment_or_once_a_descriptor_is_free() {
        let mut allowance = Allowance::default();
        allowance.set_limit(8);
        assert_eq!((allowance.search(at(0)), allowance.deadline()), (Some(1), None));
        allowance.searched(false, at(0));
        assert_eq!((allowance.search(at(99)), allowance.deadline()), (None, Some(at(100))));
        assert_eq!(allowance.search(at(100)), Some(1));
        allowance.searched(false, at(100));
        allowance.released();
        assert_eq!((allowance.search(at(101)), allowance.deadline()), (Some(1), None));
        allowance.searched(true, at(101));
        assert_eq!(allowance.search(at(101)), Some(1), "there may be more");
    }

    #[test]
    fn what_the_kernel_lacks_is_told_once_and_forgotten_after_a_minute() {
        let mut allowance = Allowance::default();
        allowance.set_limit(100);
        assert_eq!(allowance.ran_out(49, at(0)), Some(49));
        assert_eq!(allowance.search(at(0)), None, "another try would change nothing");
        assert_eq!(allowance.ran_out(49, at(1_000)), None);
        allowance.pass(at(60_999));
        assert!(allowance.is_used_up(49));
        allowance.pass(at(61_000));
        assert!(!allowance.is_used_up(49) && allowance.is_used_up(100));
    }
}
