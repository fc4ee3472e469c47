//! What is stored of an incarnation, and what of it is durable.
//!
//! Knows what a checkpoint is made of. Does not know when one is saved.

use std::sync::Arc;

use crate::model::checkpoint::{Checkpoint, Proof};
use crate::model::offset::Offset;

use super::IncarnationState;

impl IncarnationState {
    /// What a checkpoint taken now holds.
    pub(in crate::engine) fn checkpoint(&self) -> Checkpoint {
        let offset = self.frontier();
        Checkpoint {
            incarnation: self.incarnation,
            stream: Arc::clone(&self.whose.stream_name),
            path: Arc::clone(&self.whose.path),
            target: self.whose.target.clone(),
            identity: self.whose.identity,
            origin: self.whose.origin,
            seen: Some(self.whose.seen),
            skipped_bytes: self.skipped_bytes,
            fingerprint: self.head.fingerprint(),
            offset,
            window: self.history.window(offset),
            settled: self.settled(offset),
            seen_bytes: self.extent(),
            proof: self.history.settled().map(Proof::from),
        }
    }

    /// How far the file was known to reach, in bytes, as a checkpoint says it.
    fn extent(&self) -> u64 {
        if self.seen_bytes > self.frontier().bytes() { self.seen_bytes } else { 0 }
    }

    /// A save of what is settled and seen has begun.
    pub(in crate::engine) fn save_begun(&mut self) {
        self.durability.checkpointed = (self.frontier(), self.ledger.revision());
        self.durability.extent_checkpointed = self.extent();
    }

    /// Whether what was seen is not what the last save held.
    pub(in crate::engine) fn has_unsaved_extent(&self) -> bool {
        self.durability.extent_checkpointed != self.extent()
    }

    /// A save is durable; `covered` is how many bytes its fingerprint covers.
    pub(in crate::engine) fn saved(&mut self, offset: Offset, covered: u16) {
        self.durability.durable = Some(offset);
        self.durability.known_by = Some(covered);
        self.durability.goes_unsaved = false;
    }
}
