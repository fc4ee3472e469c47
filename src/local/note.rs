//! What the journal is told: records that were accepted, and chunks that are settled.
//!
//! Knows no files. Made by `service`, written down by `journal`.

use super::ids::Kept;

/// One chunk of one delivery stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChunkId {
    /// The delivery stream's name.
    pub stream: String,
    /// The number of the chunk in the delivery stream.
    pub number: u64,
}

/// One change that the journal has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// These records were accepted into the chunk.
    Keep(ChunkId, Kept),
    /// The chunk is settled.
    Forget(ChunkId),
}
