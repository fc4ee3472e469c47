//! In which order files were closed, by directory: whoever makes files come and go fast has their own forgotten.
//!
//! *Invariant:* what gives way is the oldest of the directory that has most.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::model::identity::Incarnation;

/// Incarnations whose files were closed.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// The directory of each, and which it was in the order of closing.
    places: BTreeMap<Incarnation, (Arc<Path>, u64)>,
    /// The oldest first.
    directories: BTreeMap<Arc<Path>, BTreeSet<(u64, Incarnation)>>,
    /// How many each directory has.
    sizes: BTreeSet<(usize, Arc<Path>)>,
    next: u64,
}

impl Closed {
    /// The file of one, in this directory, was closed.
    pub(super) fn push(&mut self, incarnation: Incarnation, directory: &Path) {
        self.remove(incarnation);
        let directory: Arc<Path> = directory.into();
        let place = self.next;
        self.next += 1;
        self.places.insert(incarnation, (Arc::clone(&directory), place));
        self.change(&directory, |of_directory| of_directory.insert((place, incarnation)));
    }

    pub(super) fn remove(&mut self, incarnation: Incarnation) {
        if let Some((directory, place)) = self.places.remove(&incarnation) {
            self.change(&directory, |of_directory| of_directory.remove(&(place, incarnation)));
        }
    }

    fn change(
        &mut self,
        directory: &Arc<Path>,
        change: impl FnOnce(&mut BTreeSet<(u64, Incarnation)>) -> bool,
    ) {
        let of_directory = self.directories.entry(Arc::clone(directory)).or_default();
        self.sizes.remove(&(of_directory.len(), Arc::clone(directory)));
        change(of_directory);
        match of_directory.len() {
            0 => drop(self.directories.remove(directory)),
            size => drop(self.sizes.insert((size, Arc::clone(directory)))),
        }
    }

    /// Takes the one that gives way to others.
    pub(super) fn pop(&mut self) -> Option<Incarnation> {
        let (_, directory) = self.sizes.last()?;
        let (_, oldest) = *self.directories.get(directory)?.first()?;
        self.remove(oldest);
        Some(oldest)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, incarnation: Incarnation) -> bool {
        self.places.contains_key(&incarnation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Incarnation> {
        self.places.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_directory_that_has_most_gives_way() {
        let mut closed = Closed::default();
        let ours = Path::new("/log/app");
        for number in [7, 3] {
            closed.push(Incarnation(number), ours);
        }
        for number in 100..2_100 {
            closed.push(Incarnation(number), Path::new("/log/stranger"));
        }
        closed.push(Incarnation(100), Path::new("/log/stranger"));
        let popped: Vec<_> =
            std::iter::from_fn(|| (closed.len() > 10).then(|| closed.pop()).flatten()).collect();
        assert_eq!(popped.first(), Some(&Incarnation(101)), "the first was closed once more");
        assert!(closed.contains(Incarnation(7)) && closed.contains(Incarnation(3)));
        closed.remove(Incarnation(7));
        let rest: Vec<_> = std::iter::from_fn(|| closed.pop()).collect();
        assert_eq!((rest.len(), rest.contains(&Incarnation(100))), (9, true));
        assert!(closed.iter().next().is_none() && closed.sizes.is_empty() && closed.directories.is_empty());
    }
}
