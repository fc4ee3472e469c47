//! What a program said at once: a line, or several that belong together.

use bytes::Bytes;

use super::offset::{Offset, Span};

/// What a runtime may write around short lines, in bytes.
const AROUND_BYTES: usize = 64 * 1024;

/// How many bytes of a file may belong to messages that are not complete: with more, what there is of them is a message.
/// Twice the longest one leaves room for what runtimes write around parts, and for a second channel.
pub const fn max_incomplete_bytes(longest: usize) -> usize {
    2 * longest + AROUND_BYTES
}

/// One message, on its way from lines to records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The bytes of the file that are settled when it is. Empty when a later message stands for them: where two
    /// channels' lines are mixed, none of them is settled before all are.
    pub span: Span,
    /// Where its first line begins.
    pub at: Offset,
    /// Without the newline that ends it.
    pub content: Bytes,
    /// How many lines of the file it is; none where it is a piece of one that began before.
    pub lines: usize,
    pub metadata: Option<RuntimeMetadata>,
    pub part: Part,
}

/// Whether a message is all of what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The beginning of what is longer than a message may be.
    Begins,
    /// More of it.
    GoesOn,
    /// The last of it.
    Ends,
}

impl Part {
    /// What a piece of it is, which is its first, its last, both or neither.
    pub const fn piece(self, is_first: bool, is_last: bool) -> Self {
        let begins = is_first && matches!(self, Self::Whole | Self::Begins);
        let ends = is_last && matches!(self, Self::Whole | Self::Ends);
        match (begins, ends) {
            (true, true) => Self::Whole,
            (true, false) => Self::Begins,
            (false, true) => Self::Ends,
            (false, false) => Self::GoesOn,
        }
    }
}

/// Why a line that is a JSON object is quoted, where such lines are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmerged {
    /// A key is one of the record's own, in whatever case.
    ReservedKey,
    /// A key is there twice, in whatever case.
    DuplicateKey,
    /// Objects and lists lie in one another too deep.
    Nesting,
    /// With what stands around a line, the object is longer than a record.
    Size,
}

impl Unmerged {
    pub const ALL: [Self; 4] = [Self::ReservedKey, Self::DuplicateKey, Self::Nesting, Self::Size];

    /// As it appears in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ReservedKey => "reserved_key",
            Self::DuplicateKey => "duplicate_key",
            Self::Nesting => "nesting",
            Self::Size => "size",
        }
    }
}

/// What the end of a chunk means for the last line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkEnd {
    /// More may come: a line without its newline stays unread, and lines that may go on stay together.
    Open,
    /// Nothing came for a while: lines wait no longer for more, but for the rest of a part that nothing waits behind.
    Quiet,
    /// Nothing comes any more: what is left is the last line.
    Closed,
}

/// Per channel: whether a line that is too long for one message continues at the position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Continues {
    pub stdout: bool,
    pub stderr: bool,
}

impl Continues {
    /// The flag of one channel.
    pub const fn of(&mut self, channel: Channel) -> &mut bool {
        match channel {
            Channel::Stdout => &mut self.stdout,
            Channel::Stderr => &mut self.stderr,
        }
    }
}

/// What a container runtime says beside a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeMetadata {
    pub channel: Channel,
    /// When the line was written: RFC 3339, as the runtime spelled it.
    pub time: Box<str>,
}

/// Where a container's process wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Stdout,
    Stderr,
}

impl Channel {
    /// As the runtimes spell it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}
