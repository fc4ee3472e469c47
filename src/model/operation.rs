//! The two ways to put records into a delivery stream.

/// One of the service's two operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// One record a request.
    PutRecord,
    /// Up to 500 records, 4 MiB together, a request.
    PutRecordBatch,
}
