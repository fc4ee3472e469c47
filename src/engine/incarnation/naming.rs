//! Records that name their incarnation: they wait until the database would know it after a crash.

use super::IncarnationState;
use crate::engine::numbers::Numbers;
use crate::model::offset::Offset;

impl IncarnationState {
    /// Records say from now on which incarnation they are of.
    pub(in crate::engine) fn names_itself(&mut self) {
        self.durability.is_named = true;
    }

    /// Whether records may leave though nothing can be saved. After a crash the file goes on from a position that is
    /// durable, behind content that is the same; or nobody knows the file, and it gets another number.
    pub(in crate::engine) fn may_go_unsaved(&self, numbers: &Numbers) -> bool {
        match self.durability.durable {
            Some(durable) => durable > Offset::ZERO,
            None => numbers.is_reserved(self.incarnation),
        }
    }

    /// What an earlier look noted of the file is not durable yet: after a crash nobody would know it.
    pub(in crate::engine) fn is_not_durable(&mut self) {
        (self.durability.durable, self.durability.known_by) = (None, None);
    }

    /// Records leave from now on until something is saved.
    pub(in crate::engine) fn goes_unsaved(&mut self) {
        self.durability.goes_unsaved = true;
    }

    /// Whether records wait until the fingerprint is durable.
    pub(in crate::engine) fn awaits_fingerprint(&self) -> bool {
        let covers = self.head.fingerprint().len();
        let waits = self.durability.is_named && !self.durability.goes_unsaved;
        waits && self.durability.known_by.is_none_or(|covered| covered < covers)
    }
}
