//! What goes wrong with a stream, field by field, as `/status` says it.
//!
//! Knows names and units; `status` holds the entries, and `readiness` the advice. Fields are added, never renamed.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::engine;
use crate::model::time::Instant;
use crate::model::verdict::Retry;

use super::readiness;
use super::snapshot::Snapshot;

/// The largest number that is taken for an amount: beyond every counter of 64 bits.
const MAX_AMOUNT: f64 = 1e20;

/// What went wrong, and what to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trouble {
    /// The kind of failure, as in metrics.
    pub reason: String,
    /// The service's error code, or one of standpipe's own.
    pub code: String,
    /// What the service or the network said.
    pub message: String,
    /// The number that the service gave the request; absent where nothing answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What to do about it, for a person.
    pub advice: String,
    /// How long ago it happened, or has lasted.
    #[serde(deserialize_with = "amount")]
    pub age_seconds: f64,
}

/// A record that fails alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StuckRecord {
    /// The name of the file with the record's line.
    pub path: String,
    /// Where the record's line begins in its file, in bytes.
    pub offset: u64,
    /// The service's error code, or one of standpipe's own.
    pub code: String,
    /// What the service or the network said.
    pub message: String,
    /// The number that the service gave the last request; absent where nothing answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// How long the record has failed alone.
    #[serde(deserialize_with = "amount")]
    pub age_seconds: f64,
}

impl Trouble {
    pub(super) fn of(snapshot: &Snapshot, why: &Retry, since: Instant) -> Self {
        Self {
            reason: why.reason.label().to_owned(),
            code: why.code.to_string(),
            message: why.message.to_string(),
            request_id: why.request_id().map(str::to_owned),
            advice: readiness::advice(why).to_owned(),
            age_seconds: seconds(snapshot.status.at.since(since)),
        }
    }
}

impl StuckRecord {
    pub(super) fn of(snapshot: &Snapshot, record: &engine::StuckRecord) -> Self {
        Self {
            path: record.path.display().to_string(),
            offset: record.offset.bytes(),
            code: record.why.code.to_string(),
            message: record.why.message.to_string(),
            request_id: record.why.request_id().map(str::to_owned),
            age_seconds: seconds(snapshot.status.at.since(record.since)),
        }
    }
}

/// A number of whoever answers at the port of a daemon: no daemon says less than nothing, or more than there is of anything.
pub(super) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    match (0.0..=MAX_AMOUNT).contains(&value) {
        true => Ok(value),
        false => Err(serde::de::Error::custom(format!("{value:e} is no amount"))),
    }
}

/// Rounded to milliseconds: nobody reads more.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
