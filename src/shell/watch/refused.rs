//! Directories that the kernel does not let us watch.
//!
//! Whoever writes into a log directory chooses how many there are. Asking for each again with every look would cost what
//! they choose; so some are asked for again each time, in turn.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::Directory;
use super::trouble::Trouble;
use crate::model::identity::Identity;

/// How many are asked for again at a time.
const TRIES: usize = 64;

/// Directories that could not be watched when they were asked for last, and why.
#[derive(Debug, Default)]
pub(super) struct Refused {
    directories: BTreeMap<PathBuf, (Identity, Trouble)>,
    /// The last that was asked for again.
    last: PathBuf,
}

impl Refused {
    /// Those whose turn it is to be asked for again.
    pub(super) fn take_turn(&mut self) -> HashSet<PathBuf> {
        let behind = self.directories.range::<PathBuf, _>((Bound::Excluded(&self.last), Bound::Unbounded));
        let all = behind.chain(self.directories.iter());
        let turn: Vec<_> =
            all.map(|(path, _)| path.clone()).take(TRIES.min(self.directories.len())).collect();
        if let Some(last) = turn.last() {
            self.last.clone_from(last);
        }
        turn.into_iter().collect()
    }

    /// Why a directory is not asked for this time; `None` where it is.
    pub(super) fn known(&self, path: &Path, identity: Identity, again: &HashSet<PathBuf>) -> Option<Trouble> {
        let (refused, trouble) = self.directories.get(path)?;
        (*refused == identity && !again.contains(path)).then(|| trouble.clone())
    }

    pub(super) fn note(&mut self, path: &Path, identity: Identity, error: notify::Error) -> Trouble {
        let trouble = Trouble::of_directory(path, error);
        if !trouble.stops_watching() {
            self.directories.insert(path.to_owned(), (identity, trouble.clone()));
        }
        trouble
    }

    /// Only these directories are there.
    pub(super) fn retain(&mut self, directories: &BTreeMap<PathBuf, Directory>) {
        self.directories.retain(|path, _| directories.contains_key(path));
    }

    /// A directory is watched now.
    pub(super) fn forget(&mut self, path: &Path) {
        self.directories.remove(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64) -> Identity {
        Identity { device: 1, inode, birth_nanos: None }
    }

    #[test]
    fn each_is_asked_for_again_in_its_turn_and_a_new_one_at_once() {
        let mut refused = Refused::default();
        let path = |number: u64| PathBuf::from(format!("/log/{number:04}"));
        for number in 0..100 {
            refused.note(&path(number), identity(number), notify::Error::generic("denied"));
        }
        let mut asked = HashSet::new();
        for _ in 0..2 {
            let again = refused.take_turn();
            assert_eq!(again.len(), TRIES);
            let is_asked = |number: &u64| refused.known(&path(*number), identity(*number), &again).is_none();
            asked.extend((0..100).filter(is_asked));
        }
        assert_eq!(asked.len(), 100);
        let none = HashSet::new();
        assert!(refused.known(&path(1), identity(1), &none).is_some());
        assert!(refused.known(&path(1), identity(777), &none).is_none(), "another directory of that name");
        refused.forget(&path(1));
        assert!(refused.known(&path(1), identity(1), &none).is_none());
        refused.retain(&BTreeMap::new());
        assert!(refused.take_turn().is_empty());
    }
}
