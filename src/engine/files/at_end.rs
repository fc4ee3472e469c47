//! Files at their ends, in the order in which they became quiet: which of them are closed for want of descriptors is asked
//! while thousands of others wait to be opened.
//!
//! Knows since when each is quiet. Does not know whether it may be closed.
//!
//! *Invariant:* each file whose state is [`State::AtEnd`] is here under the moment since which it is quiet, and no other is.

use std::collections::BTreeSet;

use crate::model::time::Instant;

use super::file::FollowedFile;
use super::{Files, State};
use crate::engine::port::FileId;

impl Files {
    /// Files at their ends, the one that was quiet longest first.
    pub(in crate::engine) fn at_end(&self) -> impl Iterator<Item = (FileId, &FollowedFile)> {
        self.at_end.iter().map(|(_, id)| (*id, self.known(*id)))
    }

    /// A file is quiet since this moment: a line of it was read, or nothing that was known of its end holds any more.
    pub(in crate::engine) fn quieten(&mut self, id: FileId, now: Instant) {
        let is_at_end = self.at_end.remove(&(self.known(id).times.quiet_since, id));
        self.known_mut(id).times.quiet_since = now;
        if is_at_end {
            self.rest(id);
        }
    }

    /// A file comes to its end.
    pub(super) fn rest(&mut self, id: FileId) {
        self.at_end.insert((self.known(id).times.quiet_since, id));
    }

    pub(super) fn check_at_end(&self) {
        let at_end = self.iter().filter(|(_, file)| file.state() == State::AtEnd);
        let at_end: BTreeSet<_> = at_end.map(|(id, file)| (file.times.quiet_since, id)).collect();
        assert!(self.at_end == at_end, "L11: at their ends are {:?}, not {at_end:?}", self.at_end);
    }
}
