//! Numbers that stand for other files than they did: what was opened is another file than the one that was meant.
//!
//! *Invariant:* a number keeps its descriptor, and what is under way of it.

use crate::engine::port::FileId;

use super::file::FollowedFile;
use super::{Files, State, StateOf};

impl Files {
    /// Another file was opened than the one that `id` stood for: `id` stands for `other` from now on, which is open, and
    /// the one that was meant is closed and gets another number, which is returned.
    pub(in crate::engine) fn replace(&mut self, id: FileId, other: FollowedFile) -> FileId {
        let meant = self.remove(id);
        let meant_id = FileId(self.next);
        self.next += 1;
        self.insert(meant_id, FollowedFile { state: StateOf::found(), ..meant });
        self.insert(id, FollowedFile { state: StateOf::of(State::AtEnd), ..other });
        meant_id
    }

    /// Another file was opened than the one that `id` stood for: that of `other`, which is not open. Each stands for what the
    /// other stood for: `id` is open, and what is under way of `other` goes on, for another file than its own.
    pub(in crate::engine) fn exchange(&mut self, id: FileId, other: FileId) {
        let (mut meant, mut found) = (self.remove(id), self.remove(other));
        let state = found.state;
        meant.kind.awaits_another = matches!(state.get(), State::Opening { .. });
        found.kind.awaits_another = false;
        self.insert(id, FollowedFile { state: StateOf::of(State::AtEnd), ..found });
        self.insert(other, FollowedFile { state, ..meant });
        self.enter_queue(other, state.get());
    }
}
