//! Checkpoints that no file has claimed, found by the file's inode: there may be a hundred thousand.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation};
use crate::rules::rotation::same_file;

/// Unclaimed checkpoints. Whatever else changes, a file and its checkpoint agree in the inode.
#[derive(Debug, Default)]
pub(super) struct Stored {
    by_inode: BTreeMap<u64, Vec<Checkpoint>>,
    /// The inodes that were saved under each name, once for each checkpoint.
    by_path: HashMap<Arc<Path>, Vec<u64>>,
}

impl Stored {
    pub(super) fn new(checkpoints: Vec<Checkpoint>) -> Self {
        let mut stored = Self::default();
        checkpoints.into_iter().for_each(|checkpoint| stored.push(checkpoint));
        stored
    }

    pub(super) fn push(&mut self, checkpoint: Checkpoint) {
        self.by_path.entry(Arc::clone(&checkpoint.path)).or_default().push(checkpoint.identity.inode);
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

    /// Those of files that had this name when they were saved.
    pub(super) fn at<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Checkpoint> {
        let inodes = self.by_path.get(path).into_iter().flatten();
        let stored = inodes.filter_map(|inode| self.by_inode.get(inode)).flatten();
        stored.filter(move |stored| *stored.path == *path)
    }

    /// Takes out those of one file in one stream.
    pub(super) fn take(&mut self, file: Identity, stream: &str) -> Vec<Checkpoint> {
        let taken: Vec<_> = self.of(file, stream).cloned().collect();
        self.retain(file.inode, |stored| taken.iter().all(|taken| taken.incarnation != stored.incarnation));
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
            of_inode.retain(|stored| {
                let keeps = keep(stored);
                if !keeps && let Some(inodes) = self.by_path.get_mut(&stored.path) {
                    let place = inodes.iter().position(|other| *other == inode);
                    place.map(|place| inodes.swap_remove(place));
                    if inodes.is_empty() {
                        self.by_path.remove(&stored.path);
                    }
                }
                keeps
            });
            if of_inode.is_empty() {
                self.by_inode.remove(&inode);
            }
        }
    }
}
