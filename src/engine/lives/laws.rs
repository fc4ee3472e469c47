//! What must hold of incarnations between two events.

use std::collections::BTreeSet;

use super::{Life, Lives};
use crate::engine::port::FileId;
use crate::model::identity::Incarnation;

impl Lives {
    /// L12: one file in one stream has at most one attached incarnation, and each attached one is `read` into by the
    /// file that it names.
    pub(in crate::engine) fn check(&self, read: impl Fn(FileId) -> Option<Incarnation>) {
        let mut seen = BTreeSet::new();
        for (_, incarnation) in &self.by_inode {
            if let Life::Attached { file, state } = &self.by_incarnation[incarnation] {
                let whose = state.whose();
                assert!(
                    seen.insert((whose.stream, whose.identity)),
                    "L12: two lives of {:?} in {}",
                    whose.identity,
                    whose.stream_name
                );
                assert!(
                    read(*file) == Some(*incarnation),
                    "L12: {incarnation:?} is attached to {file:?}, which reads into {:?}",
                    read(*file)
                );
            }
        }
    }
}
