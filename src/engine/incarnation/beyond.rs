//! What is settled behind a record that waits, and needs no memory.
//!
//! Knows how much of it there is, and when a look is worth its while. What may go the ledger says, and the history remembers
//! what a checkpoint needs of it.

use crate::model::offset::Offset;

use super::IncarnationState;

/// So many bytes that are settled beyond the frontier are worth a look at whether they can be let go of.
const LET_GO_BYTES: u64 = 256 * 1024;

/// Fewer are not let go of.
const LEAST_LET_GO_BYTES: u64 = 16 * 1024;

/// So many bytes, at least, are let go of for each place that has to be remembered instead.
const BYTES_FOR_A_MARK: u64 = 512;

/// What is settled beyond the frontier, and may be let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beyond {
    /// In bytes of the file.
    bytes: u64,
    /// How many there were at the last look at what may be let go of.
    looked_at: u64,
}

impl Beyond {
    pub(super) const NONE: Self = Self { bytes: 0, looked_at: 0 };

    /// So many more bytes are settled, and the frontier rose by so many.
    pub(super) fn note(&mut self, settled: u64, raised: u64) {
        self.bytes = (self.bytes + settled).saturating_sub(raised);
        self.looked_at = self.looked_at.min(self.bytes);
    }

    /// Whether a look is worth its while; the look is noted. Where nothing is `ready` to leave, nothing more may be read before
    /// some of it is let go of.
    fn look(&mut self, is_ready: bool) -> bool {
        let is_more = self.bytes > self.looked_at && self.bytes >= LEAST_LET_GO_BYTES;
        let is_worth = self.bytes >= self.looked_at + LET_GO_BYTES || (!is_ready && is_more);
        if is_worth {
            self.looked_at = self.bytes;
        }
        is_worth
    }

    /// Something has changed: what was looked at may be let go of now.
    pub(super) fn look_again(&mut self) {
        self.looked_at = 0;
    }
}

impl IncarnationState {
    /// Bytes that were read and are not settled.
    pub(in crate::engine) fn unsettled_bytes(&self) -> u64 {
        self.ledger.open_bytes()
    }

    /// From where on what was read is in memory.
    pub(super) fn held_from(&self) -> Offset {
        self.ledger.frontier().max(self.history.let_go_until())
    }

    /// What is settled beyond the frontier needs no memory where no record that is not settled needs it: one that waits for
    /// long keeps the file's frontier, and nothing of what was read behind it. Returns what the memory budget was charged
    /// before and is now, in bytes.
    pub(in crate::engine) fn let_go(&mut self) -> (u64, u64) {
        let before = self.buffered();
        let outgoing = self.outgoing.get_mut();
        if outgoing.is_some_and(|outgoing| outgoing.beyond.look(!outgoing.ready.is_empty())) {
            let (from, until) = (self.held_from(), self.ledger.apart_until());
            let bytes = until.bytes().saturating_sub(from.bytes());
            if bytes >= LEAST_LET_GO_BYTES {
                let edges = self.ledger.edges(from, until);
                if edges.len() as u64 * BYTES_FOR_A_MARK <= bytes {
                    self.history.let_go(&edges, until);
                }
            }
        }
        (before, self.buffered())
    }
}
