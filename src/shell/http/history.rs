//! The last ten minutes, for whoever opens the page now.
//!
//! Knows what streams delivered from one look to the next. Asks the daemon every two seconds for the snapshot that
//! anybody can ask for; keeps a bounded number of points.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::Handle;
use super::snapshot::Snapshot;
use super::status::Axes;

/// How often the daemon is looked at.
const EVERY: Duration = Duration::from_secs(2);

/// How many looks are kept: ten minutes.
const MAX_POINTS: usize = 300;

/// What was delivered, look by look.
#[derive(Clone, Debug, Default)]
struct History {
    points: VecDeque<Arc<Point>>,
    before: Option<Counted>,
}

/// The answer of `/history`: oldest first.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Points {
    points: Vec<Arc<Point>>,
}

/// Rates since the point before.
#[derive(Clone, Debug, Serialize)]
struct Point {
    /// Since the daemon began.
    at_seconds: f64,
    /// A second, by the stream's name.
    streams: BTreeMap<String, Axes>,
}

/// Counters at one look.
#[derive(Clone, Debug)]
struct Counted {
    at: Duration,
    streams: BTreeMap<String, Axes>,
}

impl History {
    /// Another look.
    fn note(&mut self, now: Counted) {
        if let Some(before) = &self.before {
            let seconds = now.at.saturating_sub(before.at).as_secs_f64();
            if seconds <= 0.0 {
                // The daemon gave out the snapshot of the last look again.
                return;
            }
            let rate = |now: f64, before: f64| (now - before).max(0.0) / seconds;
            let rates = now.streams.iter().filter_map(|(name, now)| {
                let before = before.streams.get(name)?;
                let rates = Axes {
                    requests: rate(now.requests, before.requests),
                    records: rate(now.records, before.records),
                    bytes: rate(now.bytes, before.bytes),
                };
                Some((name.clone(), rates))
            });
            let point = Point { at_seconds: now.at.as_secs_f64(), streams: rates.collect() };
            if self.points.len() == MAX_POINTS {
                self.points.pop_front();
            }
            self.points.push_back(Arc::new(point));
        }
        self.before = Some(now);
    }
}

/// Looks at the daemon for ever, and publishes what it saw.
pub(super) async fn watch(handle: Handle, seen: watch::Sender<Points>) {
    let mut history = History::default();
    loop {
        if let Some(snapshot) = handle.snapshot().await {
            history.note(counted(&snapshot));
            seen.send_replace(Points { points: history.points.iter().cloned().collect() });
        }
        tokio::time::sleep(EVERY).await;
    }
}

impl Points {
    /// The points later than `seconds` after the daemon began.
    pub(super) fn since(&self, seconds: f64) -> Self {
        let points = self.points.iter().filter(|point| point.at_seconds > seconds);
        Self { points: points.cloned().collect() }
    }
}

fn counted(snapshot: &Snapshot) -> Counted {
    let streams = snapshot.about.streams.iter().zip(&snapshot.status.counts.streams);
    let streams = streams.map(|(about, counts)| {
        let sum = Axes {
            requests: counts.requests.values().sum::<u64>() as f64,
            records: counts.records_delivered as f64,
            bytes: counts.bytes_delivered as f64,
        };
        (about.name.to_string(), sum)
    });
    Counted { at: snapshot.status.at.since(Default::default()), streams: streams.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(seconds: u64, records: f64) -> Counted {
        let axes = Axes { requests: records / 2.0, records, bytes: records * 100.0 };
        Counted { at: Duration::from_secs(seconds), streams: [("s".to_owned(), axes)].into() }
    }

    #[test]
    fn a_point_is_what_was_counted_since_the_look_before() {
        let mut history = History::default();
        for (seconds, records) in [(10, 100.0), (12, 300.0), (12, 300.0), (14, 300.0)] {
            history.note(counted(seconds, records));
        }
        let points: Vec<_> =
            history.points.iter().map(|point| (point.at_seconds, point.streams["s"])).collect();
        assert_eq!(
            points,
            [
                (12.0, Axes { requests: 50.0, records: 100.0, bytes: 10_000.0 }),
                (14.0, Axes { requests: 0.0, records: 0.0, bytes: 0.0 })
            ]
        );
    }

    #[test]
    fn ten_minutes_are_kept_and_found_by_their_time() {
        let mut history = History::default();
        let looks = MAX_POINTS as u64 + 50;
        for look in 0..=looks {
            history.note(counted(look, 0.0));
        }
        let points = Points { points: history.points.into() };
        assert_eq!(points.points.len(), MAX_POINTS);
        assert_eq!(points.since(0.0).points.len(), MAX_POINTS);
        assert_eq!(points.since(looks as f64 - 1.5).points.len(), 2);
        assert_eq!(points.since(looks as f64).points.len(), 0);
    }
}
