//! What the service fixes for every delivery stream.
//!
//! From the API reference of `PutRecord` and `PutRecordBatch`. These are constants of the service; the quotas
//! per second differ by account and region and are settings.

/// Largest data of one record before base64, in bytes (1,000 KiB).
pub const RECORD_BYTES: usize = 1000 * 1024;

/// The longest part of a file that may hold no complete line, in bytes: of more, a piece can always be cut.
pub const MAX_INCOMPLETE_BYTES: usize = RECORD_BYTES;

/// Most records in one `PutRecordBatch`.
pub const BATCH_RECORDS: usize = 500;

/// Largest `PutRecordBatch` in bytes (4 MiB), counted on the wire: the data after base64.
pub const BATCH_WIRE_BYTES: usize = 4 * 1024 * 1024;

/// The step that billing rounds each record up to, in bytes (5 KiB).
pub const BILLING_STEP_BYTES: u64 = 5 * 1024;

/// Length of `len` bytes in padded base64.
pub const fn base64_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// The most lines in one record. What reads records back (a Lambda transformation, the destination's own parser) works
/// on a record as a whole.
pub const LINES_PER_RECORD: usize = 500;

/// The keys of an envelope besides the operator's, and besides that of the time.
pub const ENVELOPE_KEYS: [&str; 8] =
    ["message", "message_base64", "file", "offset", "host", "source", "id", CHANNEL_KEY];

/// The key of an envelope for what a container runtime calls a line's stream.
pub const CHANNEL_KEY: &str = "stream";

/// The key of an envelope for when a line was read, or written.
pub const TIME_KEY: &str = "time";

/// What an envelope comes to without its line, in bytes, at most: the parts below, a file's path, the name of a host (64
/// bytes), keys and numbers.
pub const ENVELOPE_BYTES: usize = 64 * 1024;

/// What the `fields` of an envelope may come to, in bytes of JSON.
pub const FIELDS_BYTES: usize = 16 * 1024;

/// What the fields of a path may come to, in bytes of JSON: a path that says more has none.
pub const PATH_FIELDS_BYTES: usize = 16 * 1024;

/// The longest key of an envelope for the time, in bytes of JSON.
pub const TIME_KEY_BYTES: usize = 256;

/// What a source's name may come to, in bytes of JSON.
pub const NAME_BYTES: usize = 4 * 1024;

/// The longest path that Linux takes, in bytes (`PATH_MAX`). A byte of it takes six in JSON at most.
pub const PATH_BYTES: usize = 4096;

const _: () = assert!(
    6 * PATH_BYTES + FIELDS_BYTES + PATH_FIELDS_BYTES + NAME_BYTES + TIME_KEY_BYTES + 6 * 64 + 1024
        <= ENVELOPE_BYTES,
    "every envelope leaves most of a record to its line"
);

/// What a record of `len` bytes is billed as, in bytes.
pub const fn billed_bytes(len: usize) -> u64 {
    (len as u64).div_ceil(BILLING_STEP_BYTES) * BILLING_STEP_BYTES
}

/// A key as whoever reads without regard to case takes it: keys that are one in upper case are one.
pub fn folded(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}
