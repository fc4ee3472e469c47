//! The bar of one pass over the files: how far it is, how fast, and what it waits for.
//!
//! Knows a terminal and how things stand. Does not know how they came to stand so: a status is handed in.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::Config;
use crate::engine::{Status, StreamStatus};
use crate::model::text::plain;
use crate::model::time::Instant;

/// The time over which lines a second are counted.
const RATE_OVER: Duration = Duration::from_secs(3);

/// How long a stream is shown as throttled after the service said so.
const THROTTLED_FOR: Duration = Duration::from_secs(3);

/// Lines wait for a quota of which this part is used of what may be.
const MOST: f64 = 0.8;

/// The bar, where standard error is a terminal; it is not seen before it is [shown](Bar::begin).
pub(super) fn of_terminal() -> Option<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:20} {percent:>3}% {wide_msg}");
    let hidden = || ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::hidden());
    io::stderr().is_terminal().then(|| hidden().with_style(style.expect("the template names known fields")))
}

/// A stream's name, and the share of its quotas that may be used.
type Known = (Arc<str>, f64);

/// A bar that is seen, and what it compares with.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    /// The streams, in the order of the settings.
    streams: Vec<Known>,
    /// How many lines were delivered when, the oldest first.
    past: VecDeque<(Instant, u64)>,
}

impl Bar {
    pub(super) fn begin(bar: ProgressBar, config: &Config) -> Self {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let streams = config.settings.streams.iter();
        let streams = streams.map(|stream| (Arc::clone(&stream.name), stream.quota.share)).collect();
        Self { bar, streams, past: VecDeque::new() }
    }

    pub(super) fn show(&mut self, status: &Status) {
        self.bar.set_length(status.files.listed.iter().map(|file| file.size).sum::<u64>().max(1));
        self.bar.set_position(status.files.listed.iter().map(|file| file.acknowledged.bytes()).sum());
        let lines = delivered(status);
        let rate = self.rate(lines, status.at);
        self.bar
            .set_message(format!("{lines} lines, {rate:.0} lines/s, {}", waits_for(status, &self.streams)));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Lines a second of late.
    fn rate(&mut self, lines: u64, now: Instant) -> f64 {
        while self.past.get(1).is_some_and(|(at, _)| now.since(*at) >= RATE_OVER) {
            self.past.pop_front();
        }
        self.past.push_back((now, lines));
        let (at, before) = self.past[0];
        let seconds = now.since(at).as_secs_f64();
        if seconds > 0.0 { lines.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

/// How many lines are delivered. Lines are counted when they are read, so those on their way are taken to be as long as the
/// others: once nothing is on its way, the number is exact.
fn delivered(status: &Status) -> u64 {
    let sources = status.counts.sources.iter();
    let lines: u64 = sources.clone().map(|source| source.lines_read).sum();
    let unsent: u64 = sources.clone().map(|source| source.dropped_lines + source.empty_lines).sum();
    let read: u64 = sources.map(|source| source.bytes_read).sum();
    let under_way: u64 = status.files.listed.iter().map(|file| file.unsettled_bytes).sum();
    let lines = u128::from(lines.saturating_sub(unsent));
    let settled = lines * u128::from(read.saturating_sub(under_way)) / u128::from(read.max(1));
    u64::try_from(settled).unwrap_or(u64::MAX)
}

/// What keeps lines from being delivered faster.
fn waits_for(status: &Status, known: &[Known]) -> String {
    if let Some(why) = &status.not_saved {
        return plain(format!("waiting for the disk: {why}"));
    }
    if !status.stuck.is_empty() {
        return "waiting for room among the dead letters".to_owned();
    }
    let of_streams = waits_of_streams(&status.streams, status.at, known);
    of_streams.unwrap_or_else(|| match status.silent.is_empty() {
        true => "reading".to_owned(),
        false => "waiting for a file system that does not answer".to_owned(),
    })
}

/// What lines wait for at the service: a stream that takes none, one that is throttled, the fullest quota, answers.
fn waits_of_streams(streams: &[StreamStatus], now: Instant, known: &[Known]) -> Option<String> {
    let of = |stream: &StreamStatus| match known.get(stream.stream.0) {
        Some((name, _)) if streams.len() > 1 => format!("stream {}", plain(&**name)),
        Some(_) | None => "the stream".to_owned(),
    };
    let held = streams.iter().find_map(|stream| Some((stream, &stream.held.as_ref()?.0)));
    if let Some((stream, why)) = held {
        return Some(format!("{} is held: {}", of(stream), plain(&*why.code)));
    }
    let is_throttled = |at: Instant| now.since(at) < THROTTLED_FOR;
    if let Some(stream) = streams.iter().find(|stream| stream.throttled_at.is_some_and(is_throttled)) {
        return Some(format!("{} is throttled", of(stream)));
    }
    let quotas = streams.iter().flat_map(|stream| {
        let (used, share) = (stream.used, known.get(stream.stream.0).map_or(1.0, |(_, share)| *share));
        let may = share * stream.factor;
        [("requests", used.requests), ("records", used.records), ("bytes", used.bytes)]
            .map(|(quota, used)| (stream, quota, used, used / may))
    });
    let fullest = quotas.max_by(|one, other| one.3.total_cmp(&other.3));
    if let Some((stream, quota, used, _)) = fullest.filter(|fullest| fullest.3 >= MOST) {
        return Some(format!("waiting for the {quota} quota of {}, {:.0}% used", of(stream), used * 100.0));
    }
    streams.iter().any(|stream| stream.in_flight > 0).then(|| "waiting for answers".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::StreamId;
    use crate::model::verdict::{Retry, RetryReason};
    use crate::rules::meter::Amount;
    use crate::rules::quota::Use;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    fn stream(place: usize, used: Use) -> StreamStatus {
        StreamStatus {
            stream: StreamId(place),
            in_flight: 0,
            waiting: 0,
            used,
            factor: 1.0,
            held: None,
            last_error: None,
            sent: Amount::default(),
            delivered_at: None,
            throttled_at: None,
            blocked_files: 0,
            batches_would_help: false,
            stuck_records: 0,
            stuck: Vec::new(),
            lanes: Vec::new(),
        }
    }

    #[test]
    fn the_fullest_quota_is_named_unless_a_stream_takes_nothing_or_is_throttled() {
        let known = [("a", 0.9), ("b", 0.1)].map(|(name, share)| (Arc::from(name), share));
        let used = |requests, records, bytes| Use { requests, records, bytes };
        let mut streams = vec![stream(0, used(0.1, 0.896, 0.3)), stream(1, used(0.02, 0.0, 0.0))];
        let told = |streams: &[StreamStatus]| waits_of_streams(streams, at(10), &known);
        let alone = "waiting for the records quota of the stream, 90% used";
        assert_eq!(told(&streams[..1]).as_deref(), Some(alone));
        assert_eq!(told(&streams).as_deref(), Some("waiting for the records quota of stream a, 90% used"));
        streams[1].used.bytes = 0.1;
        assert_eq!(told(&streams).as_deref(), Some("waiting for the bytes quota of stream b, 10% used"));
        streams[1].throttled_at = Some(at(9));
        assert_eq!(told(&streams).as_deref(), Some("stream b is throttled"));
        let code = "Access\x1bDenied";
        streams[0].held = Some((Retry::new(RetryReason::Setup, code, "no"), at(1)));
        assert!(told(&streams).expect("held").starts_with("stream a is held: Access"));
        assert!(!told(&streams).expect("held").contains('\x1b'));
        let mut quiet = stream(0, Use::default());
        assert_eq!(told(&[quiet.clone()]), None);
        quiet.in_flight = 1;
        assert_eq!(told(&[quiet]).as_deref(), Some("waiting for answers"));
    }

    #[test]
    fn lines_a_second_are_those_of_the_last_seconds() {
        let mut bar = Bar { bar: ProgressBar::hidden(), streams: Vec::new(), past: VecDeque::new() };
        let rates = [(0, 0), (1, 100), (2, 200), (3, 300), (4, 300), (7, 300)];
        let rates = rates.map(|(seconds, lines)| bar.rate(lines, at(seconds)).round());
        assert_eq!(rates, [0.0, 100.0, 100.0, 100.0, 67.0, 0.0]);
    }
}
