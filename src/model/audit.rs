//! Which record of the service holds which bytes of a file.

use std::path::Path;
use std::sync::Arc;

use super::identity::{Identity, Incarnation, Origin};
use super::offset::Span;
use super::record::Entry;
use super::record_id::RecordId;

/// Days for which acknowledgements are kept.
pub const KEEP_DAYS: u32 = 7;

/// One record that the service took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The place of the record among those of its file: pieces of one message are in this order.
    pub entry: Entry,
    /// The bytes of the file that it stands for, newline included. Of several records of one message all but the last have
    /// none: together they stand for the next span that is not empty.
    pub span: Span,
    /// Parts of `span` that were read and left out of the record, in order.
    pub left_out: Vec<Span>,
    pub id: RecordId,
}

/// The file that records are of, and where they went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedFile {
    pub incarnation: Incarnation,
    /// The stream as the configuration names it.
    pub stream: Arc<str>,
    /// The stream as the service names it.
    pub delivery_stream: Arc<str>,
    /// The name by which the bytes were read.
    pub path: Arc<Path>,
    /// The name behind links, where it is another than `path`.
    pub target: Option<Arc<Path>>,
    pub identity: Identity,
    pub origin: Origin,
}

/// Records of one file that become durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditBlock {
    pub file: AuditedFile,
    /// In the order of their entries.
    pub records: Vec<Acknowledged>,
    /// What all blocks of the stream may take in the state database, in bytes.
    pub max_bytes: u64,
}
