//! The two clocks: the one that moves deadlines, and the one that people read.

use std::time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH};

use crate::model::settings::StreamSettings;
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

/// The longest that a hint waits for others.
const MAX_HINT_PACE: Duration = Duration::from_millis(10);

/// How often hints are taken: half as long as lines wait for others anyway, and each at once where one does not.
pub(super) fn hint_pace(streams: &[StreamSettings]) -> Duration {
    half_the_least(streams.iter().map(StreamSettings::collects))
}

fn half_the_least(waits: impl Iterator<Item = Duration>) -> Duration {
    waits.min().map_or(Duration::ZERO, |wait| (wait / 2).min(MAX_HINT_PACE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_wait_for_others_only_where_all_lines_do() {
        for (waits, expected) in
            [(&[][..], 0), (&[0], 0), (&[4], 2), (&[500], 10), (&[4, 0], 0), (&[1_000, 4], 2)]
        {
            let pace = half_the_least(waits.iter().copied().map(Duration::from_millis));
            assert_eq!(pace, Duration::from_millis(expected), "{waits:?}");
        }
    }
}
