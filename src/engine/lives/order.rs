//! In which order files were closed, by directory: whoever makes files come and go fast has their own forgotten.
//!
//! *Invariant:* what the last look showed never gives way; what gives way is the oldest of the directory that has most.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::model::identity::Incarnation;
use crate::model::time::Instant;

/// How many are kept that the last look did not show: where files come and go fast, most of them are gone for good.
pub(super) const MAX_GONE: usize = 1_000;

/// How many are kept that were closed since the last look: nobody knows whether they are there. A thousand take less than
/// a MiB.
pub(super) const MAX_NEW: usize = 20_000;

/// What the last look says of a file that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// No look was begun since it was closed.
    NotYet,
    There,
    Gone,
}

/// Incarnations in the order of closing, by directory.
#[derive(Debug, Default)]
struct Order {
    /// The oldest first.
    directories: BTreeMap<Arc<Path>, BTreeSet<(u64, Incarnation)>>,
    /// How many each directory has.
    sizes: BTreeSet<(usize, Arc<Path>)>,
    len: usize,
}

impl Order {
    fn insert(&mut self, directory: &Arc<Path>, entry: (u64, Incarnation)) {
        self.change(directory, |of_directory| of_directory.insert(entry));
        self.len += 1;
    }

    fn remove(&mut self, directory: &Arc<Path>, entry: (u64, Incarnation)) {
        self.change(directory, |of_directory| of_directory.remove(&entry));
        self.len -= 1;
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

    /// The oldest of the directory that has most.
    fn first_to_go(&self) -> Option<Incarnation> {
        let (_, directory) = self.sizes.last()?;
        self.directories.get(directory)?.first().map(|(_, oldest)| *oldest)
    }
}

#[derive(Debug)]
struct Place {
    directory: Arc<Path>,
    /// Which it was in the order of closing.
    number: u64,
    closed_at: Instant,
    shown: Shown,
}

/// Incarnations whose files were closed.
#[derive(Debug, Default)]
pub(super) struct Closed {
    places: BTreeMap<Incarnation, Place>,
    not_looked_for: Order,
    gone: Order,
    next: u64,
}

impl Closed {
    /// The file of one, in this directory, was closed.
    pub(super) fn push(&mut self, incarnation: Incarnation, directory: &Path, now: Instant) {
        self.remove(incarnation);
        let (directory, number): (Arc<Path>, _) = (directory.into(), self.next);
        self.next += 1;
        self.not_looked_for.insert(&directory, (number, incarnation));
        let place = Place { directory, number, closed_at: now, shown: Shown::NotYet };
        self.places.insert(incarnation, place);
    }

    pub(super) fn remove(&mut self, incarnation: Incarnation) {
        if let Some(Place { directory, number, shown, .. }) = self.places.remove(&incarnation)
            && let Some(order) = self.order(shown)
        {
            order.remove(&directory, (number, incarnation));
        }
    }

    /// Those in their order that may give way, if what is shown of a file lets it.
    fn order(&mut self, shown: Shown) -> Option<&mut Order> {
        match shown {
            Shown::NotYet => Some(&mut self.not_looked_for),
            Shown::Gone => Some(&mut self.gone),
            Shown::There => None,
        }
    }

    /// A look that was asked for after a file was closed shows it, or does not.
    pub(super) fn note_shown(&mut self, incarnation: Incarnation, is_there: bool) {
        let Some(place) = self.places.get_mut(&incarnation) else { return };
        let shown = if is_there { Shown::There } else { Shown::Gone };
        let (before, directory, number) = (place.shown, Arc::clone(&place.directory), place.number);
        if before == shown {
            return;
        }
        place.shown = shown;
        if let Some(order) = self.order(before) {
            order.remove(&directory, (number, incarnation));
        }
        if let Some(order) = self.order(shown) {
            order.insert(&directory, (number, incarnation));
        }
    }

    /// Takes one that gives way to others, if there are too many.
    pub(super) fn pop(&mut self) -> Option<Incarnation> {
        let oldest = if self.gone.len > MAX_GONE {
            self.gone.first_to_go()?
        } else if self.not_looked_for.len > MAX_NEW {
            self.not_looked_for.first_to_go()?
        } else {
            return None;
        };
        self.remove(oldest);
        Some(oldest)
    }

    pub(super) fn contains(&self, incarnation: Incarnation) -> bool {
        self.places.contains_key(&incarnation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Incarnation> {
        self.places.keys().copied()
    }

    /// So many from this one on, and whether each was closed when a look was asked for.
    pub(super) fn some(
        &self,
        (from, most): (Incarnation, usize),
        asked: Instant,
    ) -> impl Iterator<Item = (Incarnation, bool)> {
        let some = self.places.range(from..).take(most);
        some.map(move |(incarnation, place)| (*incarnation, place.closed_at < asked))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AT: Instant = Instant::ZERO;

    fn popped(closed: &mut Closed) -> Vec<u64> {
        std::iter::from_fn(|| closed.pop()).map(|popped| popped.0).collect()
    }

    #[test]
    fn the_oldest_of_the_directory_that_has_most_gives_way() {
        let mut closed = Closed::default();
        let (ours, strangers) = (Path::new("/log/app"), Path::new("/log/stranger"));
        for number in [7, 3] {
            closed.push(Incarnation(number), ours, AT);
        }
        let most = 100..103 + MAX_NEW as u64;
        for number in most.clone() {
            closed.push(Incarnation(number), strangers, AT);
        }
        closed.push(Incarnation(100), strangers, AT);
        assert_eq!(popped(&mut closed), (101..106).collect::<Vec<_>>(), "the first was closed once more");
        assert!(closed.contains(Incarnation(7)) && closed.contains(Incarnation(3)));
        closed.remove(Incarnation(7));
        // Of those that are gone, fewer are kept.
        for number in most.chain([3]) {
            closed.note_shown(Incarnation(number), false);
        }
        assert_eq!(popped(&mut closed).len(), MAX_NEW - 1 - MAX_GONE);
        assert!(closed.contains(Incarnation(3)) && closed.contains(Incarnation(100)));
        for number in closed.iter().collect::<Vec<_>>() {
            closed.remove(number);
        }
        for Order { directories, sizes, len } in [&closed.gone, &closed.not_looked_for] {
            assert!(directories.is_empty() && sizes.is_empty() && *len == 0);
        }
    }

    #[test]
    fn what_a_look_shows_does_not_give_way() {
        let mut closed = Closed::default();
        let there = || (0..3 * MAX_GONE as u64).map(Incarnation);
        let directory = Path::new("/log");
        for incarnation in there() {
            closed.push(incarnation, directory, AT);
            closed.note_shown(incarnation, true);
        }
        let late = Incarnation(1_000_000);
        closed.push(late, directory, AT + Duration::from_secs(1));
        let asked = AT + Duration::from_millis(1);
        let before = closed.some((Incarnation(0), usize::MAX), asked).filter(|(_, is_before)| *is_before);
        assert_eq!(before.count(), 3 * MAX_GONE, "a look says nothing of what was closed after it");
        assert!(popped(&mut closed).is_empty());
        for incarnation in there() {
            closed.note_shown(incarnation, false);
            closed.note_shown(incarnation, false);
        }
        let expected: Vec<_> = (0..2 * MAX_GONE as u64).collect();
        assert_eq!(popped(&mut closed), expected);
        assert!(closed.contains(late));
    }
}
