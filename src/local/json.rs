//! JSON as the embedded delivery stream writes it: compact, in one line.
//!
//! Knows nothing of what is written. Called by whoever answers a request or lists records.

use serde::Serialize;

/// `value` as compact JSON, without a newline at its end.
pub(super) fn json_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own shapes have string keys and no failing parts")
}
