//! One stream, field by field.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::report::StreamCounts;
use crate::engine::{LaneStatus, StreamStatus};
use crate::model::settings::{Adaptive, Compression, Packing, QuotaSettings, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::Retry;
use crate::shell::http::snapshot::{Lag, Snapshot, StreamAbout};
use crate::shell::http::state::{Facts, StreamState};
use crate::shell::http::status::lane::DeliveryStream;
use crate::shell::http::trouble::{StuckRecord, Trouble, amount, seconds};

/// So many codes of dead letters are listed; what has others is counted all the same.
const MAX_CODES: usize = 16;

/// One stream: what it does now, and what it has done since the daemon began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// The stream's name in the configuration.
    pub name: String,
    /// The delivery stream's name at the service; of several, the first one's.
    pub delivery_stream: String,
    /// Where its files are spread over several delivery streams: each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivery_streams: Vec<DeliveryStream>,
    /// What the stream does: `"idle"`, `"sending"`, `"catching_up"`, `"slowed"`, `"throttled"`, `"stuck"`, `"held"` or
    /// `"rejecting"`.
    pub state: String,
    /// What that means, for a person.
    #[serde(default)]
    pub means: String,
    /// Requests that are sent and not answered.
    pub in_flight_requests: u64,
    /// Records that are read and in no request that is under way, those that wait to be sent again among them.
    pub waiting_records: u64,
    /// What the last second used of each full quota, 0 to 1; `share` is the part that may be.
    pub used: Axes,
    /// Requests, records and bytes that left in the last second, as they were sent.
    pub rate: Axes,
    /// What may leave in one second now: the quotas, of them the share, of that what throttling has left.
    #[serde(default)]
    pub limit: Axes,
    /// The full quotas: requests, records and bytes a second.
    pub quota: Axes,
    /// The part of each quota that may be used, 0 to 1.
    #[serde(deserialize_with = "amount")]
    pub share: f64,
    /// The part of the rate that throttling has left, 0 to 1; 1 without `adaptive`.
    #[serde(deserialize_with = "amount")]
    pub adaptive_factor: f64,
    /// Whether the rate follows throttling.
    pub adaptive: bool,
    /// Records that the service accepted.
    pub records_delivered: u64,
    /// Bytes of the records that the service accepted.
    pub bytes_delivered: u64,
    /// Bytes that are paid for: each record rounded up to 5 KiB.
    pub billed_bytes: u64,
    /// Bytes of files that those records stand for.
    #[serde(default)]
    pub file_bytes_delivered: u64,
    /// Whether lines share records.
    #[serde(default)]
    pub packing: bool,
    /// What becomes of records of many lines: `"none"` or `"gzip"`.
    #[serde(default)]
    pub compression: String,
    /// Requests that were answered or given up.
    pub requests: u64,
    /// Requests of which the service throttled a record.
    pub throttled: u64,
    /// Records that were sent again, by reason.
    pub retries: BTreeMap<String, u64>,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Those records by code, the most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead_letter_codes: Vec<DeadLetterCode>,
    /// Bytes of the stream's files that are seen and not acknowledged.
    #[serde(default)]
    pub lag_bytes: u64,
    /// How long the oldest of the stream's lines that are not acknowledged has been seen to be there.
    #[serde(default, deserialize_with = "amount")]
    pub lag_seconds: f64,
    /// How long ago the service accepted a record last; absent when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_seconds_ago: Option<f64>,
    /// Records that have failed alone for long, though others pass.
    #[serde(default)]
    pub stuck_records: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<StuckRecord>,
    /// Why nothing is accepted now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Trouble>,
    /// The last failure, also when the stream has recovered since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Trouble>,
    /// What to do about the state, or what would carry more lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// One value for each quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Axes {
    /// Requests.
    #[serde(deserialize_with = "amount")]
    pub requests: f64,
    /// Records.
    #[serde(deserialize_with = "amount")]
    pub records: f64,
    /// Bytes.
    #[serde(deserialize_with = "amount")]
    pub bytes: f64,
}

/// Dead letters with one code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterCode {
    /// The service's code, or one of standpipe's own.
    pub code: String,
    /// How many there are since the daemon began.
    pub count: u64,
    /// What was said of the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Axes {
    fn each(self, of: impl Fn(f64) -> f64) -> Self {
        Self { requests: of(self.requests), records: of(self.records), bytes: of(self.bytes) }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
        }
    }

    /// The largest part of `limit`, 0 to 1.
    fn largest_part_of(self, limit: Self) -> f64 {
        let pairs =
            [(self.requests, limit.requests), (self.records, limit.records), (self.bytes, limit.bytes)];
        pairs
            .into_iter()
            .map(|(rate, limit)| if limit > 0.0 { rate / limit } else { 0.0 })
            .fold(0.0, f64::max)
    }
}

impl Stream {
    /// Each stream, in the order of the configuration.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        let lags = snapshot.stream_lags();
        snapshot
            .streams()
            .zip(lags)
            .map(|((about, stream), lag)| Self::of(snapshot, about, stream, lag))
            .collect()
    }

    fn of(snapshot: &Snapshot, about: &StreamAbout, stream: &StreamStatus, lag: Lag) -> Self {
        let StreamId(index) = stream.stream;
        let counts = &snapshot.status.counts.streams[index];
        let used = || stream.lanes.iter().filter(|lane| lane.is_used);
        let of = |lane: &LaneStatus| full(&about.lanes[lane.lane.place].quota);
        let quota = used().fold(Axes::default(), |sum, lane| sum.plus(of(lane)));
        let now = |lane: &LaneStatus| of(lane).each(|axis| axis * about.quota.share * lane.factor);
        let limit = used().fold(Axes::default(), |sum, lane| sum.plus(now(lane)));
        let rate = sent(stream);
        let facts = facts(snapshot, stream, lag, rate.largest_part_of(limit));
        let state = StreamState::of(&facts);
        let trouble = |why: &Retry, since: Instant| Trouble::of(snapshot, why, since);
        Self {
            name: about.name.to_string(),
            delivery_stream: about.delivery_stream.clone(),
            delivery_streams: DeliveryStream::all(snapshot, about, stream),
            state: state.label().to_owned(),
            means: state.means().to_owned(),
            in_flight_requests: stream.in_flight as u64,
            waiting_records: stream.waiting as u64,
            used: Axes {
                requests: stream.used.requests,
                records: stream.used.records,
                bytes: stream.used.bytes,
            },
            rate,
            limit,
            quota,
            share: about.quota.share,
            adaptive_factor: stream.factor,
            adaptive: about.quota.adaptive == Adaptive::On,
            records_delivered: counts.records_delivered,
            bytes_delivered: counts.bytes_delivered,
            billed_bytes: counts.billed_bytes,
            file_bytes_delivered: counts.file_bytes_delivered,
            packing: about.packing != Packing::Off,
            compression: match about.packing.compression() {
                Compression::None => "none",
                Compression::Gzip => "gzip",
            }
            .to_owned(),
            requests: counts.requests.values().sum(),
            throttled: counts.throttled,
            retries: counts.retries.iter().map(|(why, count)| (why.label().to_owned(), *count)).collect(),
            dead_letters: counts.dead_letters.values().sum(),
            dead_letter_codes: codes(snapshot, stream.stream, counts),
            lag_bytes: lag.bytes,
            lag_seconds: seconds(lag.oldest),
            delivered_seconds_ago: facts.since_delivered.map(seconds),
            stuck_records: stream.stuck_records as u64,
            stuck: stream.stuck.iter().map(|record| StuckRecord::of(snapshot, record)).collect(),
            held: stream.held.as_ref().map(|(why, since)| trouble(why, *since)),
            last_error: stream.last_error.as_ref().map(|(at, why)| trouble(why, *at)),
            advice: state.advice(&facts).map(str::to_owned),
        }
    }
}

fn full(quota: &QuotaSettings) -> Axes {
    Axes {
        requests: f64::from(quota.requests_per_second.get()),
        records: f64::from(quota.records_per_second.get()),
        bytes: quota.bytes_per_second as f64,
    }
}

fn sent(stream: &StreamStatus) -> Axes {
    let sent = stream.sent;
    Axes { requests: sent.requests as f64, records: sent.records as f64, bytes: sent.bytes as f64 }
}

fn facts<'a>(snapshot: &Snapshot, stream: &'a StreamStatus, lag: Lag, used: f64) -> Facts<'a> {
    let ago = |at: Option<Instant>| -> Option<Duration> { at.map(|at| snapshot.status.at.since(at)) };
    Facts {
        held: stream.held.as_ref().map(|(why, _)| why),
        stuck_records: stream.stuck_records,
        blocked_files: stream.blocked_files,
        since_delivered: ago(stream.delivered_at),
        since_throttled: ago(stream.throttled_at),
        factor: stream.factor,
        is_busy: stream.in_flight > 0 || stream.waiting > 0,
        oldest: lag.oldest,
        used,
        batches_would_help: stream.batches_would_help,
    }
}

/// The dead letters of a stream by code, the most first.
fn codes(snapshot: &Snapshot, stream: StreamId, counts: &StreamCounts) -> Vec<DeadLetterCode> {
    let mut codes: Vec<(&Arc<str>, u64)> =
        counts.dead_letters.iter().map(|(code, count)| (code, *count)).collect();
    codes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told = codes.into_iter().take(MAX_CODES).map(|(code, count)| DeadLetterCode {
        code: code.to_string(),
        count,
        message: snapshot.events.first_letter(stream, code).map(|message| message.to_string()),
    });
    told.collect()
}
