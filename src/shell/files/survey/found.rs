//! What a survey came upon: each name once.
//!
//! Knows names. Does not look at files, nor know what is wanted.
//!
//! *Invariant:* of two looks at one name that a source matches, the first counts, and a name that is matched does not lie beside.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

use crate::engine::port::Observed;

/// Files that a survey came upon. There may be a hundred thousand, and a map of them all would cost more than looking at them.
#[derive(Debug, Default)]
pub(super) struct Found {
    matched: Vec<Observed>,
    /// How many of them, the first ones, are in the order of their paths.
    sorted: usize,
    beside: BTreeMap<Arc<Path>, Observed>,
}

impl Found {
    /// A pattern has been walked through, on which each name comes once. Names that come again are those of another.
    pub(super) fn end_walk(&mut self) {
        self.matched.sort_by(|a, b| a.path.cmp(&b.path));
        self.matched.dedup_by(|later, first| later.path == first.path);
        self.sorted = self.matched.len();
    }

    /// Whether a name was found on an earlier walk, or beside what is matched.
    pub(super) fn holds(&self, path: &Path) -> bool {
        let sorted = &self.matched[..self.sorted];
        sorted.binary_search_by(|file| (*file.path).cmp(path)).is_ok() || self.beside.contains_key(path)
    }

    /// A name that the source matches.
    pub(super) fn add(&mut self, observed: Observed) {
        self.matched.push(observed);
    }

    /// A name that the source does not match; where it was found before, what it may have been made of is known better now.
    pub(super) fn add_beside(&mut self, observed: Observed) {
        match self.beside.entry(Arc::clone(&observed.path)) {
            Entry::Vacant(slot) => drop(slot.insert(observed)),
            Entry::Occupied(mut slot) => slot.get_mut().rotated_from = observed.rotated_from,
        }
    }

    /// The kernel said that a file which the source does not match had this name of it.
    pub(super) fn note_told(&mut self, path: &Path, from: &Arc<Path>) {
        if let Some(observed) = self.beside.get_mut(path) {
            observed.is_told = true;
            if !observed.rotated_from.contains(from) {
                observed.rotated_from.push(Arc::clone(from));
            }
        }
    }

    /// The names that the source matches.
    pub(super) fn matched(&self) -> impl Iterator<Item = &Observed> {
        self.matched.iter()
    }

    /// Everything, in the order of the paths.
    pub(super) fn into_files(mut self) -> Vec<Observed> {
        self.end_walk();
        let beside = std::mem::take(&mut self.beside).into_values();
        let beside: Vec<_> = beside.filter(|observed| !self.holds(&observed.path)).collect();
        if beside.is_empty() {
            return self.matched;
        }
        self.matched.extend(beside);
        self.end_walk();
        self.matched
    }
}
