//! Files that were opened under the names of others: a rotator renames between a look and an opening.
//!
//! *Invariant:* a descriptor of a file that is followed and not open is kept, whatever it was opened for: the file may have no
//! name any more.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::files::State;
use crate::engine::files::file::{FollowedFile, Name};
use crate::engine::port::{FileId, Opened};
use crate::model::time::Instant;
use crate::rules::rotation::same_file;

impl Engine {
    /// Whether the file that was opened is the one that was meant to be.
    ///
    /// If another has taken the name since the last look, that one is followed from here on, for nobody may have seen
    /// it, or ever see it again under this name; and the one that was meant is looked for.
    pub(super) fn is_as_expected(&mut self, id: FileId, opened: &Opened, now: Instant) -> bool {
        let file = self.files.known(id);
        if same_file(file.identity, opened.identity) {
            return true;
        }
        let (whose, name) = ((file.source, file.stream), file.name);
        // Where a link leads elsewhere since the look, what was opened lies there. If that is not told, the next look tells it.
        let is_nowhere = file.target.is_some() && opened.place.is_none();
        let followed = self.files.of(file.stream, opened.identity);
        if let Some(other) = followed.filter(|other| self.may_exchange(id, *other)) {
            self.exchange(id, other, now);
            return true;
        }
        if is_nowhere || followed.is_some() || name == Name::Lost {
            self.close_descriptor(id);
            self.seek(id, now);
            return false;
        }
        let path = Arc::clone(&file.path);
        let (found_nanos, owner) = (file.times.found_nanos, file.kind.owner);
        let mut other = FollowedFile::found(whose, path, opened.identity, name, now);
        (other.times.found_nanos, other.kind.owner) = (found_nanos, owner);
        other.target = opened.place.clone().filter(|_| file.target.is_some());
        let meant_incarnation = file.incarnation();
        let meant = self.files.replace(id, other);
        if let Some(incarnation) = meant_incarnation {
            self.lives.move_to(incarnation, meant);
        }
        self.leaving.renumber(id, meant);
        self.seek(meant, now);
        true
    }

    /// Whether what was opened for a file can be kept for another, whose it is.
    fn may_exchange(&self, id: FileId, other: FileId) -> bool {
        let (meant, found) = (self.files.known(id), self.files.known(other));
        !found.is_open() && !meant.kind.decompressed && !found.kind.decompressed
    }

    /// What was opened for a file is another that is not open: that is open now, and the first is looked for.
    fn exchange(&mut self, id: FileId, other: FileId, now: Instant) {
        let read_into = [id, other].map(|file| self.files.read_into(file));
        let leave = [id, other].map(|file| self.leaving.is_to_leave(file));
        self.files.exchange(id, other);
        for (incarnation, to) in read_into.into_iter().zip([other, id]) {
            if let Some(incarnation) = incarnation {
                self.lives.move_to(incarnation, to);
            }
        }
        for (leaves, to) in leave.into_iter().zip([other, id]) {
            self.leaving.set(to, leaves);
        }
        match self.files.known(other).state() {
            State::Opening { .. } => self.files.lose_name(other, now),
            _ => self.seek(other, now),
        }
    }

    /// What was to be opened was another file than the one that `id` stands for by now, which is looked for.
    pub(super) fn on_another_opened(&mut self, id: FileId, is_open: bool, now: Instant) {
        if is_open {
            self.files.opened(id);
            self.close_descriptor(id);
        } else {
            self.descriptors.release();
        }
        self.seek(id, now);
    }
}
