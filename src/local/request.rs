//! Requests that bring records: a delivery stream, an operation, the records.
//!
//! Names only. Made by `api`, carried out by `service` and its delivery streams.

use super::records::Records;
use super::refusal::Refusal;

/// The two operations that take records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    PutRecord,
    PutRecordBatch,
}

impl Operation {
    /// The name of the operation in `X-Amz-Target` and in statistics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::PutRecord => "PutRecord",
            Self::PutRecordBatch => "PutRecordBatch",
        }
    }
}

/// One request that brings records.
#[derive(Debug)]
pub(super) struct Put {
    /// The delivery stream's name.
    pub stream: String,
    /// The operation that brought the records.
    pub operation: Operation,
    /// The records, or the first rule that they break.
    pub records: Result<Records, Refusal>,
}
