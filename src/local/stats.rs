//! What happened at each delivery stream, counted.
//!
//! Knows counts and their shape as JSON (`GET /_standpipe/stats`). Written by `stream` and `service`, read by
//! tests and benches.

use std::collections::BTreeMap;

use serde::Serialize;

use super::faults::Fault;
use super::quota::Usage;

/// Everything, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub streams: BTreeMap<&'a str, StreamReport<'a>>,
    /// How often each fault was made to happen.
    pub faults: &'a BTreeMap<Fault, u64>,
    /// Bytes that are accepted and neither delivered nor dropped, all delivery streams together.
    pub buffered_bytes: u64,
}

/// One delivery stream, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct StreamReport<'a> {
    #[serde(flatten)]
    pub counts: &'a Counts,
    /// The most that any one second has let in, for each of requests, records and bytes by itself.
    pub peak_per_second: Usage,
    pub buffered_bytes: u64,
}

/// The counts of one delivery stream since the server began.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Requests by operation, then by outcome: `ok`, `partial`, the code of an error, or the label of a fault that left
    /// the client without a proper answer.
    pub requests: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    pub accepted: Amount,
    /// Records of well-formed requests that were not accepted.
    pub rejected: Amount,
    /// Records that are durable at the destination.
    pub delivered: Amount,
    pub delivered_files: u64,
    /// Records that are gone after 24 hours without a destination.
    pub dropped: Amount,
}

impl Counts {
    pub(super) fn request(&mut self, operation: &'static str, outcome: &'static str) {
        *self.requests.entry(operation).or_default().entry(outcome).or_default() += 1;
    }
}

/// Some records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Amount {
    pub records: u64,
    /// Bytes of data before base64.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn grow(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
    }
}
