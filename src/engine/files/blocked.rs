//! Files whose incarnation has a record for which there is no room among the dead letters.

use super::{Files, State};
use crate::engine::port::FileId;

impl Files {
    /// Queued → Blocked.
    pub(in crate::engine) fn block(&mut self, id: FileId) {
        match self.known(id).state() {
            State::Queued => self.set(id, State::Blocked),
            _ => self.wrong(id, "Blocked"),
        }
    }

    /// Blocked → Queued: there is room. A file whose turn had not come since it was blocked is in another state, and stays
    /// there.
    pub(in crate::engine) fn unblock(&mut self, id: FileId) {
        if self.known(id).state() == State::Blocked {
            self.set(id, State::Queued);
        }
    }
}
