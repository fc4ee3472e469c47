//! Checkpoints that no file has claimed, found by the file's inode: there may be a hundred thousand.

use std::collections::BTreeMap;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation};
use crate::rules::rotation::same_file;

/// Unclaimed checkpoints. Whatever else changes, a file and its checkpoint agree in the inode.
#[derive(Debug, Default)]
pub(super) struct Stored {
    by_inode: BTreeMap<u64, Vec<Checkpoint>>,
}

impl Stored {
    pub(super) fn new(checkpoints: Vec<Checkpoint>) -> Self {
        let mut stored = Self::default();
        checkpoints.into_iter().for_each(|checkpoint| stored.push(checkpoint));
        stored
    }

    pub(super) fn push(&mut self, checkpoint: Checkpoint) {
        self.by_inode.entry(checkpoint.identity.inode).or_default().push(checkpoint);
    }

    /// By inode.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Checkpoint> {
        self.by_inode.values().flatten()
    }

    /// Those of one file in one stream.
    pub(super) fn of(&self, file: Identity, stream: &str) -> impl Iterator<Item = &Checkpoint> {
        let of_inode = self.by_inode.get(&file.inode).into_iter().flatten();
        of_inode.filter(move |stored| *stored.stream == *stream && same_file(stored.identity, file))
    }

    /// Takes out those of one file in one stream.
    pub(super) fn take(&mut self, file: Identity, stream: &str) -> Vec<Incarnation> {
        let taken: Vec<_> = self.of(file, stream).map(|stored| stored.incarnation).collect();
        self.retain(file.inode, |stored| !taken.contains(&stored.incarnation));
        taken
    }

    /// Takes out one; tells whether it was there.
    pub(super) fn remove(&mut self, incarnation: Incarnation) -> bool {
        let found = self.iter().find(|stored| stored.incarnation == incarnation);
        let Some(inode) = found.map(|stored| stored.identity.inode) else { return false };
        self.retain(inode, |stored| stored.incarnation != incarnation);
        true
    }

    fn retain(&mut self, inode: u64, keep: impl Fn(&Checkpoint) -> bool) {
        if let Some(of_inode) = self.by_inode.get_mut(&inode) {
            of_inode.retain(keep);
            if of_inode.is_empty() {
                self.by_inode.remove(&inode);
            }
        }
    }
}
