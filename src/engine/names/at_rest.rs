//! Files that a survey shows as they were read, under the names that they had: most of them, at most times.
//!
//! Such a look says nothing that is news, and all that is done about it is to note that the file was shown. What is not sure
//! to be so goes the whole way.
//!
//! *Invariant:* whether a file is passed over here or not, what the engine knows afterwards is the same.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::files::State;
use crate::engine::files::file::{Name, Task};
use crate::engine::port::{FileId, Observed};
use crate::model::identity::Identity;
use crate::model::settings::SourceId;
use crate::model::time::Instant;
use crate::rules::rotation::uncompressed;

impl Engine {
    /// Whether files of a source that are shown as they were may be passed over in a look that began then: nobody compares all
    /// that was shown with anything else.
    pub(super) fn may_pass_over(&self, source: SourceId, began: Instant) -> bool {
        self.finishing.is_none()
            && !self.leaving.is_outdated(began)
            && !self.lives.seeks()
            && !self.surveys.looks_beside(source)
            && !self.unwanted.any_compressed(source)
    }

    /// Passes over a file that is shown as it was, and notes that it was shown; whether it is one.
    pub(super) fn pass_over_at_rest(&mut self, source: SourceId, observed: &Observed) -> bool {
        let Some(id) = self.followed(source, observed).filter(|id| self.is_as_it_was(*id, source, observed))
        else {
            return false;
        };
        let look = self.surveys.look();
        let file = self.files.known_mut(id);
        file.times.passed_over_in = look;
        file.end.extent.look(observed.size, observed.modified);
        true
    }

    /// Whether the look that is being taken in passed over a file.
    pub(super) fn is_passed_over(&self, id: FileId) -> bool {
        self.files.known(id).times.passed_over_in == self.surveys.look()
    }

    /// Of a file that was passed over, other names are of no interest.
    pub(super) fn forget_other_names(&self, source: SourceId, seen: &mut BTreeMap<Identity, &Observed>) {
        seen.retain(|_, observed| self.followed(source, observed).is_none_or(|id| !self.is_passed_over(id)));
    }

    /// Whether a file of a source is at rest, and a look shows it under its name as it was read to its end.
    fn is_as_it_was(&self, id: FileId, source: SourceId, observed: &Observed) -> bool {
        let file = self.files.known(id);
        let Task::Follow(incarnation) = file.task else { return false };
        let is_at_rest = matches!(file.state(), State::AtEnd | State::Closed)
            && file.source == source
            && file.name == Name::Matched
            && file.failures == 0
            && !file.end.ships_last_line
            && !file.kind.is_unexplained
            && !file.kind.decompressed;
        let is_same = observed.is_matched
            && observed.rotated_from.is_empty()
            && observed.modified.is_some()
            && observed.modified == file.end.modified
            && observed.size == file.size
            // Of an empty file it is noted when it was found empty.
            && observed.size > 0
            && observed.path == file.path
            && observed.target == file.target
            && uncompressed(&observed.path).is_none();
        is_at_rest && is_same && self.lives.on_its_way(incarnation).seen_bytes() == observed.size
    }
}
