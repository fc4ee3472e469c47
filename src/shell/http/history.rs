//! The last hour, for whoever opens the page now.
//!
//! Knows what streams delivered from one look to the next. Asks the daemon every two seconds for what it has counted, which
//! costs the same however many files there are; keeps a point for each look of the last minutes, and one for several looks of the rest.
//!
//! *Invariant:* points are in the order of their times, and bounded in number.

mod latency;
mod points;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::Handle;
use super::snapshot::Counted;
use super::status::Axes;

use self::latency::Latency;
pub(super) use self::points::Points;

/// How often the daemon is looked at.
const EVERY: Duration = Duration::from_secs(2);

/// How many looks are kept as they were: five minutes.
const MAX_FINE: usize = 150;

/// How many looks are one point of the hour.
const LOOKS: usize = 10;

/// How many such points are kept: one hour.
const MAX_COARSE: usize = 180;

/// What was delivered, look by look.
#[derive(Clone, Debug, Default)]
struct History {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
    latency: Latency,
    /// The last look.
    before: Option<Look>,
    /// The look that the next point of the hour begins with, and how many looks ago that was.
    long_before: Option<(Look, usize)>,
}

/// Rates since the point before.
#[derive(Clone, Debug, Serialize)]
struct Point {
    /// Since the daemon began.
    at_seconds: f64,
    /// Lines that were read, a second, of all sources.
    lines: f64,
    /// Records that were accepted, a second, of all streams.
    records: f64,
    /// From reading a record to its acknowledgement, over the last minute: what half of the records did not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_seconds: Option<f64>,
    /// Likewise, 99 of 100 records.
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_seconds: Option<f64>,
    /// By the stream's name.
    streams: BTreeMap<String, Rates>,
}

/// What one stream delivered, a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Rates {
    #[serde(flatten)]
    axes: Axes,
    /// The part of the rate that throttling left at the end, 0 to 1.
    factor: f64,
    /// Requests of which the service throttled a record since the point before.
    #[serde(skip_serializing_if = "is_zero")]
    throttled: u64,
}

/// Counters at one look.
#[derive(Clone, Debug, Default)]
struct Look {
    at: Duration,
    lines: u64,
    records: u64,
    streams: BTreeMap<String, StreamCounted>,
}

#[derive(Clone, Copy, Debug)]
struct StreamCounted {
    axes: Axes,
    factor: f64,
    throttled: u64,
}

impl History {
    /// Another look. Returns whether there is a new point.
    fn note(&mut self, now: Look) -> bool {
        let Some(before) = &self.before else {
            self.long_before = Some((now.clone(), 0));
            self.before = Some(now);
            return false;
        };
        let Some(point) = Point::between(before, &now, &self.latency) else {
            // Both looks fell on one moment.
            return false;
        };
        push(&mut self.fine, point, MAX_FINE);
        if let Some((_, looks)) = &mut self.long_before {
            *looks += 1;
            if *looks == LOOKS {
                self.coarse_point(now.clone());
            }
        }
        self.before = Some(now);
        true
    }

    fn coarse_point(&mut self, now: Look) {
        let Some((first, _)) = self.long_before.replace((now.clone(), 0)) else { return };
        if let Some(point) = Point::between(&first, &now, &self.latency) {
            push(&mut self.coarse, point, MAX_COARSE);
        }
    }

    /// Each point, in the order of their times: those of the hour as far as no others are kept.
    fn points(&self) -> impl Iterator<Item = &Point> {
        let from = self.fine.front().map_or(f64::INFINITY, |point| point.at_seconds);
        self.coarse.iter().take_while(move |point| point.at_seconds < from).chain(&self.fine)
    }
}

fn push(points: &mut VecDeque<Point>, point: Point, most: usize) {
    if points.len() == most {
        points.pop_front();
    }
    points.push_back(point);
}

impl Point {
    /// What was counted from one look to a later one; `None` when no time went by.
    fn between(before: &Look, now: &Look, latency: &Latency) -> Option<Self> {
        let seconds = now.at.saturating_sub(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let rate = |now: f64, before: f64| rounded((now - before).max(0.0) / seconds);
        let streams = now.streams.iter().filter_map(|(name, now)| {
            let before = before.streams.get(name)?;
            let axes = Axes {
                requests: rate(now.axes.requests, before.axes.requests),
                records: rate(now.axes.records, before.axes.records),
                bytes: rate(now.axes.bytes, before.axes.bytes),
            };
            let throttled = now.throttled.saturating_sub(before.throttled);
            Some((name.clone(), Rates { axes, factor: rounded(now.factor), throttled }))
        });
        Some(Self {
            at_seconds: rounded(now.at.as_secs_f64()),
            lines: rate(now.lines as f64, before.lines as f64),
            records: rate(now.records as f64, before.records as f64),
            p50_seconds: latency.quantile(0.5),
            p99_seconds: latency.quantile(0.99),
            streams: streams.collect(),
        })
    }
}

/// To three digits behind the point: nobody sees more.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Looks at the daemon for ever, and publishes what it saw.
pub(super) async fn watch(handle: Handle, seen: watch::Sender<Points>) {
    let mut history = History::default();
    loop {
        if let Some(counted) = handle.counted().await {
            history.latency.note(&counted);
            if history.note(look(&counted)) {
                seen.send_replace(Points::of(history.points()));
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn look(counted: &Counted) -> Look {
    let Counted { about, at, counts, factors } = counted;
    let streams = about.streams.iter().zip(&counts.streams).zip(factors);
    let streams = streams.map(|((about, counts), factor)| {
        let axes = Axes {
            requests: counts.requests.values().sum::<u64>() as f64,
            records: counts.records_delivered as f64,
            bytes: counts.bytes_delivered as f64,
        };
        let counted = StreamCounted { axes, factor: *factor, throttled: counts.throttled };
        (about.name.to_string(), counted)
    });
    Look {
        at: at.since(Default::default()),
        lines: counts.sources.iter().map(|source| source.lines_read).sum(),
        records: counts.streams.iter().map(|stream| stream.records_delivered).sum(),
        streams: streams.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(seconds: u64, records: f64) -> Look {
        let axes = Axes { requests: records / 2.0, records, bytes: records * 100.0 };
        let stream = StreamCounted { axes, factor: 0.5, throttled: seconds };
        Look {
            at: Duration::from_secs(seconds),
            lines: records as u64 * 3,
            records: records as u64,
            streams: [("s".to_owned(), stream)].into(),
        }
    }

    #[test]
    fn a_point_is_what_was_counted_since_the_look_before() {
        let mut history = History::default();
        let looks = [(10, 100.0), (12, 300.0), (12, 300.0), (14, 300.0)];
        let new: Vec<_> = looks.map(|(seconds, records)| history.note(counts(seconds, records))).into();
        assert_eq!(new, [false, true, false, true]);
        let points: Vec<_> =
            history.points().map(|point| (point.at_seconds, point.streams["s"].axes)).collect();
        assert_eq!(
            points,
            [
                (12.0, Axes { requests: 50.0, records: 100.0, bytes: 10_000.0 }),
                (14.0, Axes { requests: 0.0, records: 0.0, bytes: 0.0 })
            ]
        );
        let first = history.points().next().expect("a point");
        assert_eq!((first.lines, first.records, first.streams["s"].throttled), (300.0, 100.0, 2));
    }

    #[test]
    fn an_hour_is_kept_the_last_minutes_of_it_look_by_look() {
        let mut history = History::default();
        for look in 0..=4_000_u64 {
            history.note(counts(look * 2, look as f64 * 10.0));
        }
        let times: Vec<_> = history.points().map(|point| point.at_seconds).collect();
        assert!(times.is_sorted() && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        assert_eq!((history.fine.len(), history.coarse.len()), (MAX_FINE, MAX_COARSE));
        let covered = times[times.len() - 1] - times[0];
        assert!((3_400.0..=3_600.0).contains(&covered), "{covered} s");
        assert!(
            history.points().all(|point| point.streams["s"].axes.records == 5.0),
            "one rate, however many looks"
        );
    }
}
