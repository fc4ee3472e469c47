//! Messages that `keep_lines` and `drop_lines` leave out.
//!
//! What is too long for one message comes in parts, and the parts in several reads. Knows what became of the beginning.
//!
//! *Invariant:* what is decided of the beginning of a message holds for all of it that one process reads.

use crate::model::message::{Continues, Message, Part};
use crate::model::settings::LineFilter;

/// Whether the rest of what is too long for one message is dropped, as its beginning was.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Drops {
    line: bool,
    channels: Continues,
}

impl Drops {
    /// Whether a message is dropped. A rest whose beginning an earlier process read is not.
    pub(super) fn judge(&mut self, filter: &LineFilter, message: &Message) -> bool {
        let rest = match &message.metadata {
            None => &mut self.line,
            Some(metadata) => self.channels.of(metadata.channel),
        };
        match message.part {
            Part::Whole => filter.drops(&message.content),
            Part::Begins => {
                *rest = filter.drops(&message.content);
                *rest
            }
            Part::GoesOn => *rest,
            Part::Ends => std::mem::take(rest),
        }
    }
}
