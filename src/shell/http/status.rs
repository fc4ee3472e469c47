//! What `/status`, `/readyz` and `/healthz` say, field by field.
//!
//! Knows names and units; docs/operations.md explains them. `standpipe status` and the page read the same types, so
//! fields are added, never renamed.

mod events;
mod files;
mod health;
mod lane;
mod stream;

use serde::{Deserialize, Serialize};

use crate::engine::Detail;
use crate::engine::port::Watching;
use crate::model::time::Instant;

pub use self::events::Event;
pub use self::files::{File, Unread};
pub(super) use self::files::{Files, Query};
pub use self::health::{Health, Ready};
pub use self::lane::DeliveryStream;
pub use self::stream::{Axes, Stream};

use super::readiness::{self, Reason};
use super::snapshot::Snapshot;
use super::trouble::{amount, seconds};

/// Where the daemon runs, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What the machine is called.
    pub host: String,
    /// The path of the configuration file; absent where the command line alone says what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// The whole in a few numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Where the daemon runs, and with what.
    #[serde(flatten)]
    pub place: Place,
    /// How many files are followed.
    pub files: u64,
    /// Lines, and pieces of oversized lines, that became records since the daemon began.
    pub lines_read: u64,
    /// Records that the service accepted since the daemon began.
    pub records_delivered: u64,
    /// Bytes that are seen and not acknowledged.
    pub lag_bytes: u64,
    /// How long the oldest line that is not acknowledged has been seen to be there.
    pub lag_seconds: f64,
    /// Records that became dead letters since the daemon began.
    pub dead_letters: u64,
    /// Bytes that were declared lost since the daemon began.
    pub abandoned_bytes: u64,
}
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
    /// The whole in a few numbers, also where `files` is left out.
    #[serde(default)]
    pub summary: Summary,
    /// What happened lately, the latest first.
    #[serde(default)]
    pub events: Vec<Event>,
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

impl Summary {
    fn of(snapshot: &Snapshot, place: &Place) -> Self {
        let (lags, counts) = (snapshot.lags(), &snapshot.status.counts);
        Self {
            place: place.clone(),
            files: snapshot.status.files.count() as u64,
            lines_read: counts.sources.iter().map(|source| source.lines_read).sum(),
            records_delivered: counts.streams.iter().map(|stream| stream.records_delivered).sum(),
            lag_bytes: lags.iter().map(|lag| lag.bytes).sum(),
            lag_seconds: lags.iter().map(|lag| seconds(lag.oldest)).fold(0.0, f64::max),
            dead_letters: counts.streams.iter().flat_map(|stream| stream.dead_letters.values()).sum(),
            abandoned_bytes: counts.sources.iter().flat_map(|source| source.abandoned_bytes.values()).sum(),
        }
    }
}

impl Status {
    pub(super) fn of(snapshot: &Snapshot, place: &Place, detail: Detail) -> Self {
        let status = &snapshot.status;
        let reasons = readiness::reasons(snapshot);
        Self {
            version: env!("STANDPIPE_VERSION").to_owned(),
            uptime_seconds: seconds(status.at.since(Instant::ZERO)),
            ready: reasons.is_empty(),
            reasons,
            streams: Stream::all(snapshot),
            sources: sources(snapshot),
            files: match detail {
                Detail::Files => status.files.listed.iter().map(|file| File::of(snapshot, file)).collect(),
                Detail::Sums => Vec::new(),
            },
            unread: Unread::all(snapshot),
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
            summary: Summary::of(snapshot, place),
            events: Event::all(snapshot),
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
