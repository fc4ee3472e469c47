//! One line on its way.

use bytes::Bytes;

use super::identity::Incarnation;
use super::offset::Span;

/// The place of a span in its ledger: counted upwards by one from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(pub u64);

/// What is sent for one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub incarnation: Incarnation,
    pub entry: Entry,
    /// The bytes of the file that it stands for, newline included.
    pub span: Span,
    /// The bytes that the service gets.
    pub data: Bytes,
    /// How often it has been sent without being accepted.
    pub failures: u32,
}
