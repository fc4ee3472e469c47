//! What `/readyz` and `/healthz` say, field by field.

use serde::{Deserialize, Serialize};

use crate::model::time::Instant;
use crate::shell::http::readiness::Reason;
use crate::shell::http::snapshot::Snapshot;
use crate::shell::http::trouble::{amount, seconds};

use super::{Place, Summary};

/// The answer of `/readyz`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Whether there is no reason.
    pub ready: bool,
    /// Why the daemon is not ready; empty when it is.
    pub reasons: Vec<Reason>,
}

/// The answer of `/healthz`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// Why the daemon is not ready; empty when it is.
    pub reasons: Vec<Reason>,
    /// The version of the daemon.
    pub version: String,
    /// Time since the daemon began.
    #[serde(deserialize_with = "amount")]
    pub uptime_seconds: f64,
    /// How many files are followed.
    pub files: u64,
    /// Bytes that are seen and not acknowledged, of all sources.
    pub lag_bytes: u64,
    /// How long the oldest line that is not acknowledged has been seen to be there.
    #[serde(deserialize_with = "amount")]
    pub lag_seconds: f64,
    /// How long the oldest progress that is not on disk has waited; 0 when all is.
    #[serde(deserialize_with = "amount")]
    pub checkpoint_age_seconds: f64,
    /// Records that became dead letters, of all streams.
    pub dead_letters: u64,
    /// Bytes that were declared lost, of all sources.
    pub abandoned_bytes: u64,
}

impl Ready {
    pub(in crate::shell::http) fn of(reasons: Vec<Reason>) -> Self {
        Self { ready: reasons.is_empty(), reasons }
    }
}

impl Health {
    pub(in crate::shell::http) fn of(snapshot: &Snapshot, reasons: Vec<Reason>) -> Self {
        let summary = Summary::of(snapshot, &Place::default());
        Self {
            ready: reasons.is_empty(),
            reasons,
            version: env!("STANDPIPE_VERSION").to_owned(),
            uptime_seconds: seconds(snapshot.status.at.since(Instant::ZERO)),
            files: summary.files,
            lag_bytes: summary.lag_bytes,
            lag_seconds: summary.lag_seconds,
            checkpoint_age_seconds: seconds(snapshot.age(snapshot.status.unsaved_since)),
            dead_letters: summary.dead_letters,
            abandoned_bytes: summary.abandoned_bytes,
        }
    }
}
