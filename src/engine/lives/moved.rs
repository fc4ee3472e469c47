//! Incarnations whose positions a person moves.
//!
//! Knows which positions a file has. Does not know what takes their place.

use std::path::Path;
use std::sync::Arc;

use super::{Afterwards, Life, Lives};
use crate::engine::port::FileId;
use crate::model::identity::{Identity, Incarnation, Seen};
use crate::model::offset::Offset;
use crate::rules::rotation::same_file;

/// One position of a file.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Placed {
    pub(in crate::engine) incarnation: Incarnation,
    pub(in crate::engine) stream: Arc<str>,
    /// The file that is read into the incarnation.
    pub(in crate::engine) file: Option<FileId>,
    /// Every byte before it is settled.
    pub(in crate::engine) offset: Offset,
    pub(in crate::engine) seen: Option<Seen>,
}

impl Lives {
    /// The positions of a file, found by its name where it has no `identity` because it is gone; in one stream, or in all.
    pub(in crate::engine) fn placed(
        &self,
        identity: Option<Identity>,
        path: &Path,
        stream: Option<&str>,
    ) -> Vec<Placed> {
        let all = self.by_incarnation.keys().filter_map(|incarnation| self.checkpoint(*incarnation));
        let of_file = all.filter(|checkpoint| match identity {
            Some(identity) => same_file(checkpoint.identity, identity),
            None => *checkpoint.path == *path,
        });
        let of_stream =
            of_file.filter(|checkpoint| stream.is_none_or(|stream| *checkpoint.stream == *stream));
        let placed = of_stream.map(|checkpoint| Placed {
            incarnation: checkpoint.incarnation,
            file: self.file_of(checkpoint.incarnation),
            offset: checkpoint.offset,
            seen: checkpoint.seen,
            stream: checkpoint.stream,
        });
        placed.collect()
    }

    /// Nothing of an incarnation is saved any more. Returns whether records of it may be under way: then it is kept until
    /// they are answered.
    pub(in crate::engine) fn withdraw(&mut self, incarnation: Incarnation) -> bool {
        self.closed.remove(incarnation);
        self.let_go.remove(&incarnation);
        let state = match self.take(incarnation) {
            Some(Life::Parted { state, .. }) => state,
            Some(Life::SoughtInCopies { subject: super::Subject::OnItsWay(state), .. }) => state,
            Some(Life::SoughtInCopies { .. } | Life::Stored(_)) | None => return false,
            Some(Life::Attached { file, .. }) => {
                panic!("L12: {incarnation:?} is withdrawn, and {file:?} is read into it")
            }
        };
        self.put(incarnation, Life::Parted { state, afterwards: Afterwards::Withdrawn });
        true
    }
}
