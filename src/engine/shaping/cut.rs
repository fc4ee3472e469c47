//! What shaping has to know of what came before a chunk.
//!
//! *Invariant:* a position at which nothing is known can be told from one at which nothing continues.

use super::drops::Drops;
use crate::model::message::Continues;

/// How cutting stands at a position.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Cut {
    /// Whether the position lies in a line of which a piece was cut; `None` until somebody looked.
    pub(in crate::engine) inside: Option<bool>,
    /// Per channel: whether a joined line that is too long for one message continues at the position.
    pub(in crate::engine) continues: Continues,
    /// What becomes of the rest of a message of which the beginning was judged.
    pub(in crate::engine) drops: Drops,
    /// Whether everything so far was a run of NULs: what a writer without `O_APPEND` leaves at the beginning of a file that
    /// was truncated, and no data.
    pub(in crate::engine) skipping_nuls: bool,
    /// Whether a short run of them is data: where nothing says that the file was truncated, UTF-16 may begin so.
    pub(in crate::engine) few_nuls_are_data: bool,
}

impl Cut {
    /// For a file that is read from its first byte, and of which nothing is known.
    pub(in crate::engine) fn of_new() -> Self {
        Self { skipping_nuls: true, few_nuls_are_data: true, ..Self::default() }
    }
}
