//! The end of a drain with files that are held back: whoever is to be done soon does not wait for what may become of a file.
//!
//! Where the original was removed, and all of it was delivered, its life goes on in the copy at once, since a start would not
//! find the original under any name. While the original is there, nothing tells a copy from another program's file with the
//! same lines: it is read, since there may be no next start.
//!
//! *Invariant:* what a drain does not read of a file that is held back was delivered from an original that was removed.

use crate::engine::Engine;
use crate::engine::files::State;
use crate::engine::parting::Parting;
use crate::engine::port::FileId;
use crate::model::identity::Incarnation;
use crate::model::time::Instant;

/// What is to be done in a drain with a file that is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtTheEnd {
    /// What is under way tells more.
    Waits,
    /// The life of the original, whose file this is, goes on in it.
    TakesOver(FileId),
    /// The file is one like any other.
    IsRead,
}

impl Engine {
    /// What is to be done with a file that is held back because it begins like that of `of`, when the process is to be done.
    pub(super) fn at_the_end_of_a_drain(&self, id: FileId, of: Incarnation) -> AtTheEnd {
        let file = self.files.known(id);
        let Some(original) = self.lives.file_of(of) else {
            // Whether the file of a stored position is there, the looks of the drain tell; then it is looked for in copies.
            let is_to_come = self.lives.is_stored(of) && !self.surveys.all_finished();
            return if is_to_come { AtTheEnd::Waits } else { AtTheEnd::IsRead };
        };
        if !matches!(file.state(), State::HeldBack { .. }) {
            return AtTheEnd::Waits;
        }
        let is_read = self.is_read(original);
        if !self.is_part_of(id, of) {
            // It says something else, which a read of the original confirms, or the two were not open at once so far.
            let is_to_come = match file.compared.differs_since {
                Some(_) => !is_read,
                None => file.compared.same_bytes == 0,
            };
            return if is_to_come { AtTheEnd::Waits } else { AtTheEnd::IsRead };
        }
        let kind = &self.files.known(original).kind;
        if !is_read || kind.is_unexplained || !self.lives.on_its_way(of).has_come_to_rest() {
            return AtTheEnd::Waits;
        }
        if kind.is_removed && self.may_be_handed(id, of) && self.files.known(original).state() == State::AtEnd
        {
            return AtTheEnd::TakesOver(original);
        }
        AtTheEnd::IsRead
    }

    /// Does in a drain with a file that is held back what is to be done, where that is not to read it.
    pub(super) fn end_with_alike(&mut self, of: Incarnation, end: AtTheEnd, now: Instant) {
        match end {
            AtTheEnd::Waits => {
                // The next look tells what became of the name of the original.
                let original = self.lives.file_of(of).map(|original| self.files.known(original));
                if let Some(original) = original.filter(|original| original.kind.is_unexplained) {
                    self.surveys.want_before_the_end(original.source);
                }
            }
            AtTheEnd::TakesOver(original) => self.part(original, Parting::Delivered, now),
            AtTheEnd::IsRead => {}
        }
    }
}
