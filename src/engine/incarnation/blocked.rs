//! Records that are never accepted, and have no room among the dead letters.
//!
//! Knows which these are. Does not know how much room there is.

use super::{Blocked, IncarnationState};

impl IncarnationState {
    /// One record is never accepted and has no room among the dead letters. Returns whether no other has been blocked.
    pub(in crate::engine) fn block(&mut self, blocked: Blocked) -> bool {
        self.outgoing.blocked.push(blocked);
        self.outgoing.blocked.len() == 1
    }

    pub(in crate::engine) fn is_blocked(&self) -> bool {
        !self.outgoing.blocked.is_empty()
    }

    /// Those of the records that have had no room among the dead letters.
    pub(in crate::engine) fn take_blocked_if(
        &mut self,
        is_wanted: impl Fn(&Blocked) -> bool,
    ) -> Vec<Blocked> {
        let blocked = self.outgoing.get_mut().map(|outgoing| &mut outgoing.blocked);
        blocked
            .map(|blocked| blocked.extract_if(.., |blocked| is_wanted(blocked)).collect())
            .unwrap_or_default()
    }

    /// Whether the frontier will rise no further: all is settled, or what is not is blocked or lies behind it.
    pub(in crate::engine) fn has_come_to_rest(&self) -> bool {
        let is_blocked = self.is_blocked() || self.outgoing.led.is_blocked();
        self.is_settled() || (is_blocked && self.outgoing.outstanding == self.outgoing.blocked.len())
    }
}
