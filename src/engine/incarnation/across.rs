//! Bytes at the beginning of an incarnation that a record of the one before stands for.
//!
//! Knows their place in the ledger. Does not know the record: that waits, and goes again, with the incarnation that it began
//! in.
//!
//! *Invariant (L1):* the frontier stays before such bytes until the record is settled.

use super::IncarnationState;
use crate::engine::shaping::{Both, Cut, Piece};
use crate::model::record::Rest;
use crate::rules::ledger::Settlement;

/// Records of the incarnation before that stand for bytes of this one, and have no room among the dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Led {
    blocked: usize,
}

impl Led {
    pub(super) const NONE: Self = Self { blocked: 0 };

    pub(super) fn is_blocked(self) -> bool {
        self.blocked > 0
    }
}

impl IncarnationState {
    /// Takes the first bytes of the file into the ledger, which belong to what the incarnation before says last; `cut` is how
    /// cutting stands behind them. Returns, for each piece of which a record is made, what else that stands for.
    pub(in crate::engine) fn begin_within(&mut self, pieces: &[Both], cut: Cut) -> Vec<Option<Rest>> {
        let names = (&self.whose.path, &self.whose.target);
        self.provenance.note_read(self.history.position(), names, Vec::new());
        self.cut = cut;
        let rests = pieces.iter().map(|Both { rest: span, piece, .. }| {
            let entry = self.ledger.admit(*span);
            if *piece == Piece::Settle {
                let _ = self.ledger.settle(entry, Settlement::Nothing);
                return None;
            }
            self.ledger.set_apart(entry);
            Some(Rest { incarnation: self.incarnation, entry, span: *span })
        });
        rests.collect()
    }

    /// A record of the incarnation before is settled that stands for bytes of this one. Returns how many these are.
    pub(in crate::engine) fn settle_rest(&mut self, rest: &Rest, how: Settlement) -> u64 {
        let raised = self.ledger.settle(rest.entry, how);
        self.outgoing.beyond.note(rest.span.len(), raised.bytes);
        self.provenance.settle(self.ledger.frontier());
        rest.span.len()
    }

    /// Such a record has no room among the dead letters; or is tried again.
    pub(in crate::engine) fn note_rest_blocked(&mut self, is_blocked: bool) {
        let blocked = &mut self.outgoing.led.blocked;
        *blocked = if is_blocked { *blocked + 1 } else { blocked.saturating_sub(1) };
    }

    /// Whether the end of the file may be handed to the one that follows: an earlier process settled nothing of it.
    pub(in crate::engine) fn is_fresh_at_end(&self) -> bool {
        self.ledger.known().next().is_none() && self.to_confirm().is_none() && !self.is_blocked()
    }

    /// How cutting stands where a file ends of which nothing goes on in the same file.
    pub(in crate::engine) fn cut_at_end(&self) -> Cut {
        Cut { inside: Some(false), few_nuls_are_data: self.cut.few_nuls_are_data, ..Cut::default() }
    }
}
