//! Incarnations that are looked for in copies.
//!
//! Knows which are looked for, and what would show a copy. Does not look.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Fingerprint, Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::history::History;

use super::{Afterwards, Life, Lives, Subject};
use crate::engine::report::Loss;

/// A search for copies of one incarnation.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct CopySearch {
    /// The source that goes on with a copy.
    pub(in crate::engine) source: SourceId,
    pub(in crate::engine) stream: StreamId,
    /// What was seen beyond the position, in bytes, and why it is lost when no copy is found.
    pub(in crate::engine) unread: u64,
    pub(in crate::engine) why: Loss,
    pub(in crate::engine) since: Instant,
    /// Whether the directory was looked into since.
    pub(in crate::engine) looked: bool,
    /// What becomes of the checkpoint when no copy is found.
    pub(in crate::engine) afterwards: Afterwards,
}

/// What is known of an incarnation that is looked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Sought<'a> {
    pub(in crate::engine) incarnation: Incarnation,
    pub(in crate::engine) search: &'a CopySearch,
    pub(in crate::engine) path: &'a Arc<Path>,
    pub(in crate::engine) identity: Identity,
    pub(in crate::engine) fingerprint: Fingerprint,
    pub(in crate::engine) position: Offset,
}

impl Lives {
    /// Copies of one that parted, or is stored, are looked for from now on.
    pub(in crate::engine) fn seek_copies(&mut self, incarnation: Incarnation, search: CopySearch) {
        let subject = match self.take(incarnation) {
            Some(Life::Parted { state, .. }) => Subject::OnItsWay(state),
            Some(Life::Stored(checkpoint)) => Subject::Stored(checkpoint),
            Some(Life::SoughtInCopies { subject, .. }) => subject,
            other => panic!("copies of {incarnation:?} cannot be looked for: {other:?}"),
        };
        self.put(incarnation, Life::SoughtInCopies { search, subject });
    }

    /// No copy of it is looked for any more. Returns what was known, and whether the database is to forget it.
    pub(in crate::engine) fn stop_seeking(&mut self, incarnation: Incarnation) -> Option<(CopySearch, bool)> {
        if !self.is_sought(incarnation) {
            return None;
        }
        let Some(Life::SoughtInCopies { search, subject }) = self.take(incarnation) else {
            unreachable!("just seen");
        };
        let mut is_forgotten = false;
        match (subject, search.afterwards) {
            (Subject::OnItsWay(state), afterwards) => {
                self.put(incarnation, Life::Parted { state, afterwards });
            }
            (Subject::Stored(checkpoint), Afterwards::Kept) => {
                self.put(incarnation, Life::Stored(checkpoint));
            }
            (Subject::Stored(_), Afterwards::Forgotten) => is_forgotten = true,
        }
        Some((search, is_forgotten))
    }

    pub(in crate::engine) fn is_sought(&self, incarnation: Incarnation) -> bool {
        self.sought.contains(&incarnation)
    }

    /// Whether copies of any are looked for.
    pub(in crate::engine) fn seeks(&self) -> bool {
        !self.sought.is_empty()
    }

    pub(in crate::engine) fn sought(&self, incarnation: Incarnation) -> Option<Sought<'_>> {
        let Some(Life::SoughtInCopies { search, subject }) = self.by_incarnation.get(&incarnation) else {
            return None;
        };
        Some(match subject {
            Subject::OnItsWay(state) => Sought {
                incarnation,
                search,
                path: &state.whose().path,
                identity: state.whose().identity,
                fingerprint: state.head().fingerprint(),
                position: state.position(),
            },
            Subject::Stored(checkpoint) => Sought {
                incarnation,
                search,
                path: &checkpoint.path,
                identity: checkpoint.identity,
                fingerprint: checkpoint.fingerprint,
                position: checkpoint.offset,
            },
        })
    }

    /// Those that are looked for and whose files had one of these names.
    pub(in crate::engine) fn sought_at(&self, names: &[PathBuf]) -> impl Iterator<Item = Sought<'_>> {
        let of_names = names.iter().filter_map(|name| self.by_path.get(name.as_path())).flatten();
        of_names.filter_map(|incarnation| self.sought(*incarnation))
    }

    /// All that are looked for.
    pub(in crate::engine) fn all_sought(&self) -> Vec<Incarnation> {
        self.sought.iter().copied().collect()
    }

    /// The directory of one that is looked for was looked into.
    pub(in crate::engine) fn note_looked(&mut self, incarnation: Incarnation) {
        if let Some(Life::SoughtInCopies { search, .. }) = self.by_incarnation.get_mut(&incarnation) {
            search.looked = true;
        }
    }

    /// The bytes that must come before the position of one that is looked for.
    pub(in crate::engine) fn sought_history(&self, incarnation: Incarnation) -> Option<History> {
        match self.by_incarnation.get(&incarnation)? {
            Life::SoughtInCopies { subject: Subject::OnItsWay(state), .. } => Some(state.history().clone()),
            Life::SoughtInCopies { subject: Subject::Stored(checkpoint), .. } => {
                Some(History::resumed(checkpoint.offset, checkpoint.window))
            }
            Life::Attached { .. } | Life::Parted { .. } | Life::Stored(_) => None,
        }
    }

    /// The checkpoint of one that is looked for and was not read by this process.
    pub(in crate::engine) fn sought_checkpoint(&self, incarnation: Incarnation) -> Option<&Checkpoint> {
        self.by_incarnation.get(&incarnation).filter(|_| self.is_sought(incarnation))?.stored()
    }
}
