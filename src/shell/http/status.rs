//! What `/status`, `/readyz` and `/healthz` say, field by field.
//!
//! Knows names and units; `docs/status.md` explains them. `standpipe status` and the page read the same types, so
//! fields are added, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::port::Watching;
use crate::engine::{FileState, FileStatus, StreamStatus};
use crate::model::settings::{Adaptive, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::Retry;

use super::readiness::{self, Reason};
use super::snapshot::{Snapshot, StreamAbout, lag_bytes};
use super::trouble::{StuckRecord, Trouble, amount, seconds};

/// The whole answer of `/status`. Ages and uptimes are in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of the daemon.
    pub version: String,
    /// Time since the daemon began.
    #[serde(deserialize_with = "amount")]
    pub uptime_seconds: f64,
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// Why the daemon is not ready; empty when it is.
    pub reasons: Vec<Reason>,
    /// Each stream, in the order of the configuration.
    pub streams: Vec<Stream>,
    /// Each source, in the order of the configuration.
    pub sources: Vec<Source>,
    /// Each followed file.
    pub files: Vec<File>,
    /// Files that a source names or matches and that are not read: up to 1,000 that cannot be opened, and 1,000 others.
    pub unread: Vec<Unread>,
    /// How many more there are.
    #[serde(default)]
    pub unread_beyond: u64,
    /// How far progress is saved.
    pub checkpoint: Checkpoint,
    /// Bytes that are read and not acknowledged, in memory.
    pub buffered_bytes: u64,
    /// How far the kernel tells of changes: `"full"`, or `"partial"` when some directory cannot be watched and is
    /// surveyed instead.
    pub watching: String,
    /// How often inotify's queue overflowed.
    pub watch_overflows: u64,
}

/// One stream: what it does now, and what it has done since the daemon began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// The stream's name in the configuration.
    pub name: String,
    /// The delivery stream's name at the service.
    pub delivery_stream: String,
    /// What the stream does: `"idle"`, `"sending"` or `"held"`.
    pub state: String,
    /// Requests that are sent and not answered.
    pub in_flight_requests: u64,
    /// Records that are read and not yet in a request.
    pub waiting_records: u64,
    /// What the last second used of each full quota, 0 to 1; `share` is the part that may be.
    pub used: Axes,
    /// Requests, records and bytes that left in the last second.
    pub rate: Axes,
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
    /// Requests that were answered or given up.
    pub requests: u64,
    /// Requests of which the service throttled a record.
    pub throttled: u64,
    /// Records that were sent again, by reason.
    pub retries: BTreeMap<String, u64>,
    /// Records that became dead letters.
    pub dead_letters: u64,
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
    /// What would carry more lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// One value for each quota.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

/// One source: how late it is, and what was read of it since the daemon began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// The source's name.
    pub name: String,
    /// How many files of the source are followed.
    pub files: u64,
    /// Bytes that were seen in the source's files and are not acknowledged.
    pub lag_bytes: u64,
    /// How long the oldest line that is not acknowledged has been seen to be there.
    #[serde(deserialize_with = "amount")]
    pub lag_seconds: f64,
    /// Lines, and pieces of oversized lines, that became records.
    pub lines_read: u64,
    /// Bytes of files that were read.
    pub bytes_read: u64,
    /// Bytes that were declared lost.
    pub abandoned_bytes: u64,
}

/// One followed file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    /// The source's name.
    pub source: String,
    /// The name under which the file was last seen.
    pub path: String,
    /// The device number of the file.
    pub device: u64,
    /// The inode number of the file.
    pub inode: u64,
    /// `"followed"`, `"draining"` (renamed or removed) or `"truncated"` (its content is gone; what was read of it
    /// is under way).
    pub state: String,
    /// Size when last seen, in bytes.
    pub size: u64,
    /// Offset at which the next line begins, in bytes.
    pub read: u64,
    /// Offset before which everything is acknowledged, in bytes.
    pub acknowledged: u64,
    /// Offset before which everything is acknowledged and saved to disk, in bytes.
    pub durable: u64,
    /// Bytes that are seen and not acknowledged.
    pub lag_bytes: u64,
    /// How long the oldest line that is not acknowledged has been seen to be there.
    #[serde(deserialize_with = "amount")]
    pub lag_seconds: f64,
}

/// A name that a source names or matches and that is not read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unread {
    /// The source's name; absent for a directory that was looked into for another reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The name that is not read.
    pub path: String,
    /// Why the name is not read.
    pub reason: String,
}

/// How far progress is saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How long the oldest progress that is not on disk has waited; 0 when all is.
    #[serde(deserialize_with = "amount")]
    pub age_seconds: f64,
    /// Commits since the daemon began.
    pub commits: u64,
    /// Commits that failed since the daemon began.
    pub failures: u64,
    /// Why the last commit failed; absent when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

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
    pub(super) fn of(reasons: Vec<Reason>) -> Self {
        Self { ready: reasons.is_empty(), reasons }
    }
}

impl Health {
    pub(super) fn of(snapshot: &Snapshot, reasons: Vec<Reason>) -> Self {
        let lags = snapshot.lags();
        let counts = &snapshot.status.counts;
        Self {
            ready: reasons.is_empty(),
            reasons,
            version: env!("STANDPIPE_VERSION").to_owned(),
            uptime_seconds: seconds(snapshot.status.at.since(Instant::ZERO)),
            files: snapshot.status.files.len() as u64,
            lag_bytes: lags.iter().map(|lag| lag.bytes).sum(),
            lag_seconds: lags.iter().map(|lag| seconds(lag.oldest)).fold(0.0, f64::max),
            checkpoint_age_seconds: seconds(snapshot.age(snapshot.status.unsaved_since)),
            dead_letters: counts.streams.iter().flat_map(|stream| stream.dead_letters.values()).sum(),
            abandoned_bytes: counts.sources.iter().flat_map(|source| source.abandoned_bytes.values()).sum(),
        }
    }
}

impl Status {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let status = &snapshot.status;
        let reasons = readiness::reasons(snapshot);
        Self {
            version: env!("STANDPIPE_VERSION").to_owned(),
            uptime_seconds: seconds(status.at.since(Instant::ZERO)),
            ready: reasons.is_empty(),
            reasons,
            streams: snapshot.streams().map(|(about, stream)| Stream::of(snapshot, about, stream)).collect(),
            sources: sources(snapshot),
            files: status.files.iter().map(|file| File::of(snapshot, file)).collect(),
            unread: unread(snapshot),
            unread_beyond: snapshot.status.unreadable.beyond as u64 + snapshot.problems.beyond,
            checkpoint: Checkpoint {
                age_seconds: seconds(snapshot.age(status.unsaved_since)),
                commits: status.counts.commits,
                failures: status.counts.commit_failures,
                error: status.not_saved.clone(),
            },
            buffered_bytes: status.buffered_bytes,
            watching: match status.watching {
                Watching::Full => "full",
                Watching::Partial => "partial",
            }
            .to_owned(),
            watch_overflows: status.counts.watch_overflows,
        }
    }
}

impl Stream {
    fn of(snapshot: &Snapshot, about: &StreamAbout, stream: &StreamStatus) -> Self {
        let StreamId(index) = stream.stream;
        let counts = &snapshot.status.counts.streams[index];
        let quota = Axes {
            requests: f64::from(about.quota.requests_per_second.get()),
            records: f64::from(about.quota.records_per_second.get()),
            bytes: about.quota.bytes_per_second as f64,
        };
        let used =
            Axes { requests: stream.used.requests, records: stream.used.records, bytes: stream.used.bytes };
        let trouble = |why: &Retry, since: Instant| Trouble::of(snapshot, why, since);
        let busy = stream.in_flight > 0 || stream.waiting > 0;
        Self {
            name: about.name.to_string(),
            delivery_stream: about.delivery_stream.clone(),
            state: match (&stream.held, busy) {
                (Some(_), _) => "held",
                (None, true) => "sending",
                (None, false) => "idle",
            }
            .to_owned(),
            in_flight_requests: stream.in_flight as u64,
            waiting_records: stream.waiting as u64,
            used,
            rate: Axes {
                requests: used.requests * quota.requests,
                records: used.records * quota.records,
                bytes: used.bytes * quota.bytes,
            },
            quota,
            share: about.quota.share,
            adaptive_factor: stream.factor,
            adaptive: about.quota.adaptive == Adaptive::On,
            records_delivered: counts.records_delivered,
            bytes_delivered: counts.bytes_delivered,
            billed_bytes: counts.billed_bytes,
            requests: counts.requests.values().sum(),
            throttled: counts.throttled,
            retries: counts.retries.iter().map(|(why, count)| (why.label().to_owned(), *count)).collect(),
            dead_letters: counts.dead_letters.values().sum(),
            stuck_records: stream.stuck_records as u64,
            stuck: stream.stuck.iter().map(|record| StuckRecord::of(snapshot, record)).collect(),
            held: stream.held.as_ref().map(|(why, since)| trouble(why, *since)),
            last_error: stream.last_error.as_ref().map(|(at, why)| trouble(why, *at)),
            advice: stream.batches_would_help.then(|| readiness::BATCHES_WOULD_HELP.to_owned()),
        }
    }
}

impl File {
    fn of(snapshot: &Snapshot, file: &FileStatus) -> Self {
        Self {
            source: snapshot.source(file.source).to_string(),
            path: file.path.display().to_string(),
            device: file.identity.device,
            inode: file.identity.inode,
            state: match file.state {
                FileState::Followed => "followed",
                FileState::Draining => "draining",
                FileState::Truncated => "truncated",
            }
            .to_owned(),
            size: file.size,
            read: file.read.bytes(),
            acknowledged: file.acknowledged.bytes(),
            durable: file.durable.map_or(0, |offset| offset.bytes()),
            lag_bytes: lag_bytes(file),
            lag_seconds: seconds(snapshot.age(file.behind_since)),
        }
    }
}

fn sources(snapshot: &Snapshot) -> Vec<Source> {
    let counts = &snapshot.status.counts.sources;
    let lags = snapshot.lags();
    let named = snapshot.about.sources.iter().zip(lags).zip(counts);
    named
        .map(|((name, lag), counts)| Source {
            name: name.to_string(),
            files: lag.files as u64,
            lag_bytes: lag.bytes,
            lag_seconds: seconds(lag.oldest),
            lines_read: counts.lines_read,
            bytes_read: counts.bytes_read,
            abandoned_bytes: counts.abandoned_bytes.values().sum(),
        })
        .collect()
}

fn unread(snapshot: &Snapshot) -> Vec<Unread> {
    let name = |source| snapshot.source(source).to_string();
    let refused = snapshot.status.unreadable.named.iter().map(|(source, path, reason)| Unread {
        source: Some(name(*source)),
        path: path.display().to_string(),
        reason: reason.clone(),
    });
    let problems = snapshot.problems.named.iter().map(|problem| Unread {
        source: problem.source.map(name),
        path: problem.path.display().to_string(),
        reason: problem.reason.to_string(),
    });
    refused.chain(problems).collect()
}
