//! The two clocks: the one that moves deadlines, and the one that people read.

use std::time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH};

use crate::model::time::Instant;

/// The wall clock, for records that tell when their lines were read; before 1970 it is 1970.
pub(super) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Waits until `deadline`, or for ever.
pub(super) async fn until(began: Clock, deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until((began + at.since(Instant::ZERO)).into()).await,
        None => std::future::pending().await,
    }
}
