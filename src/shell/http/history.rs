//! The last ten minutes, for whoever opens the page now.
//!
//! Knows what streams delivered from one look to the next. Asks the daemon every two seconds for the snapshot that
//! anybody can ask for; keeps a bounded number of points.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use crate::model::text::plain_json;

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
    points: VecDeque<Point>,
    before: Option<Counted>,
}

/// The points, oldest first, written once a look for whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    /// Each point's JSON, with a comma between them.
    text: Bytes,
    /// When each point was, since the daemon began, and where it begins in the text.
    starts: Arc<[(f64, usize)]>,
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
            self.points.push_back(point);
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
            seen.send_replace(Points::of(&history.points));
        }
        tokio::time::sleep(EVERY).await;
    }
}

impl Points {
    fn of(points: &VecDeque<Point>) -> Self {
        let (mut text, mut starts) = (String::new(), Vec::with_capacity(points.len()));
        for point in points {
            text.push_str(if text.is_empty() { "" } else { "," });
            starts.push((point.at_seconds, text.len()));
            let point = serde_json::to_string(point).expect("it has text keys and finite numbers");
            text.push_str(&plain_json(point));
        }
        Self { text: Bytes::from(text), starts: starts.into() }
    }

    /// The answer of `/history` with the points later than `seconds` after the daemon began, in pieces: no point is written
    /// or copied for it.
    pub(super) fn since(&self, seconds: f64) -> [Bytes; 3] {
        let first = self.starts.iter().find(|(at, _)| *at > seconds);
        let from = first.map_or(self.text.len(), |(_, start)| *start);
        [Bytes::from_static(b"{\"points\":["), self.text.slice(from..), Bytes::from_static(b"]}\n")]
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
        assert_eq!(history.points.len(), MAX_POINTS);
        let points = Points::of(&history.points);
        let since = |seconds: f64| {
            let answer: serde_json::Value =
                serde_json::from_slice(&points.since(seconds).concat()).expect("it is JSON");
            answer["points"].as_array().expect("a list").len()
        };
        assert_eq!(since(0.0), MAX_POINTS);
        assert_eq!(since(looks as f64 - 1.5), 2);
        assert_eq!(since(looks as f64), 0);
        let empty = Points::default().since(0.0).concat();
        assert_eq!(empty, b"{\"points\":[]}\n");
        let [_, one, _] = points.since(100.0);
        let [_, other, _] = points.since(100.0);
        assert_eq!(one.as_ptr(), other.as_ptr(), "nothing is copied");
    }
}
