//! Entries of a ledger that are settled one behind the other.
//!
//! Knows entries. Does not know bytes.
//!
//! *Invariant:* between two runs an entry is open, and each run holds an entry of which a record left.

use std::collections::BTreeMap;

/// Runs of settled entries behind the first open one.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(BTreeMap<u64, Rest>);

#[derive(Clone, Copy, Debug)]
struct Rest {
    last: u64,
    has_dead_letters: bool,
}

/// One run, from its first entry to its last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) has_dead_letters: bool,
}

impl Runs {
    pub(super) const NONE: Self = Self(BTreeMap::new());

    /// One more entry is settled; joins it with all that are settled beside it.
    ///
    /// An entry of which nothing was to be sent is looked at until it joins a run, and never again: all entries together
    /// cost as many steps as there are, and a search for each run.
    pub(super) fn add(&mut self, entry: u64, is_dead_letter: bool, is_settled: impl Fn(u64) -> bool) {
        let (mut first, mut last, mut has_dead_letters) = (entry, entry, is_dead_letter);
        while let Some(before) = first.checked_sub(1)
            && is_settled(before)
        {
            first = before;
            if let Some((start, run)) = self.0.range(..=before).next_back().map(|(start, run)| (*start, *run))
                && run.last == before
            {
                first = start;
                has_dead_letters |= run.has_dead_letters;
                self.0.remove(&start);
            }
        }
        while is_settled(last + 1) {
            last += 1;
            if let Some(run) = self.0.remove(&last) {
                last = run.last;
                has_dead_letters |= run.has_dead_letters;
            }
        }
        self.0.insert(first, Rest { last, has_dead_letters });
    }

    /// The first entry of the run that holds `entry`, if one does.
    pub(super) fn holding(&self, entry: u64) -> Option<u64> {
        let (first, run) = self.0.range(..=entry).next_back()?;
        (run.last >= entry).then_some(*first)
    }

    /// Entries before `first` are behind the frontier.
    pub(super) fn drop_before(&mut self, first: u64) {
        while let Some(run) = self.0.first_entry()
            && *run.key() < first
        {
            run.remove();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Run> {
        self.0.iter().map(|(first, Rest { last, has_dead_letters })| Run {
            first: *first,
            last: *last,
            has_dead_letters: *has_dead_letters,
        })
    }
}
