//! The service's limits, as the embedded delivery stream keeps them.
//!
//! An independent opinion: written down from the API reference of the service, not taken from the daemon's model,
//! so that a wrong number in either shows in the tests. Read by every room that judges a request.

use std::time::Duration;

/// Largest data of one record before base64, in bytes (1,000 KiB).
pub(super) const RECORD_BYTES: usize = 1_024_000;

/// Most records in one `PutRecordBatch`.
pub(super) const BATCH_RECORDS: usize = 500;

/// Largest `PutRecordBatch`, in bytes (4 MiB): its records' data as base64.
pub(super) const BATCH_WIRE_BYTES: usize = 4_194_304;

/// How long a record waits for its destination before it is gone: 24 hours from its acceptance.
pub(super) const RETENTION: Duration = Duration::from_secs(86_400);

/// Longest name of a delivery stream, in characters.
pub(super) const NAME_LENGTH: usize = 64;

/// Most delivery streams in one account and region.
pub(super) const STREAMS: usize = 5_000;

/// Largest request body that is read, in bytes (16 MiB).
///
/// Four times the largest that is allowed, so that a request beyond a documented limit is answered with the
/// documented error, and only nonsense is cut off.
pub(super) const BODY_BYTES: usize = 16 * 1024 * 1024;

/// How long a client may take for what it sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    /// For the head of a request, also of the next one: SDKs keep connections without a request for shorter than that, or
    /// notice that they were closed.
    pub head: Duration,
    /// For a request's body, from its head on: a link of 10 kB a second takes more than two minutes for the largest record.
    pub body: Duration,
}

/// The time limits that hold.
pub(super) const TIME_LIMITS: TimeLimits =
    TimeLimits { head: Duration::from_secs(60), body: Duration::from_secs(180) };

/// All request bodies that are held at one time, in bytes (256 MiB), as far as they have come; who sends more is told to
/// slow down.
pub(super) const BODIES_BYTES: usize = 256 * 1024 * 1024;

/// The account that all delivery streams belong to: it appears in ARNs and messages.
pub(super) const ACCOUNT: &str = "000000000000";
