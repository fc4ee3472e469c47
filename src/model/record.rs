//! One line on its way.

use bytes::Bytes;

use super::identity::Incarnation;
use super::offset::Span;

/// The place of a span in its ledger: counted upwards by one from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(pub u64);

/// What one waiting record costs beyond its bytes, in bytes: its place in the queues and the ledger, as measured on
/// 64-bit Linux. Counted against the memory budget, which a file of very short lines would otherwise exceed many times.
pub const MEMORY_OVERHEAD_BYTES: u64 = 96;

/// Whose memory a record's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A slice of what was read, which is kept anyway until the record is settled.
    Read,
    /// A slice of memory that a few records share which were made one after the other of what was read.
    Shared,
    /// Memory of its own: the data was joined, wrapped or cut.
    Own,
}

/// What is sent for one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub incarnation: Incarnation,
    pub entry: Entry,
    /// The bytes of the file that it stands for, newline included.
    pub span: Span,
    /// The bytes that the service gets.
    pub data: Bytes,
    pub backing: Backing,
    /// How often it has been sent without being accepted.
    pub failures: u32,
    /// What else it stands for, where a rotation cut what it says.
    pub rest: Option<Box<Rest>>,
}

/// What a record stands for at the beginning of the file that follows its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    pub incarnation: Incarnation,
    pub entry: Entry,
    pub span: Span,
}

impl Record {
    /// The incarnations in whose ledgers it has an entry.
    pub fn incarnations(&self) -> impl Iterator<Item = Incarnation> + use<> {
        std::iter::once(self.incarnation).chain(self.rest.as_ref().map(|rest| rest.incarnation))
    }

    /// How many bytes of files it stands for.
    pub fn file_bytes(&self) -> u64 {
        self.span.len() + self.rest.as_ref().map_or(0, |rest| rest.span.len())
    }
}

/// What a record of `data`, which stands for `span`, takes beyond the bytes that were read, in bytes.
pub fn extra_bytes(span: Span, data: &Bytes, backing: Backing) -> u64 {
    match backing {
        Backing::Read => (data.len() as u64).saturating_sub(span.len()),
        Backing::Shared | Backing::Own => data.len() as u64,
    }
}
