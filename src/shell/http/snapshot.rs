//! How everything stands at one moment, with the names that an answer needs.
//!
//! Knows values only. The daemon makes it; the answers are written from it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use crate::engine::report::Counts;
use crate::engine::{FileStatus, FileSums, Status, StreamStatus};
use crate::model::settings::{ByLane, LaneId, Packing, QuotaSettings, SourceId, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::Retry;
use crate::shell::files::problems::Problems;

use super::events::Events;

/// The daemon at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Names and limits, which stay the same between configurations.
    pub about: Arc<About>,
    /// The engine's status.
    pub status: Status,
    /// Files that a source names or matches and that cannot be used.
    pub problems: Problems,
    /// What is missing for any request to make sense; empty entries where nothing is.
    pub missing: ByLane<Option<Retry>>,
    /// The regions that requests go to, as far as they are known.
    pub regions: ByLane<Option<String>>,
    /// What happened lately.
    pub events: Arc<Events>,
    /// The answers that were made from it.
    pub written: Written,
}

/// What the daemon has counted up to one moment: as much as is asked for all the time, and costs the same however many files
/// there are.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Names, which stay the same between configurations.
    pub about: Arc<About>,
    pub at: Instant,
    /// Since the daemon began.
    pub counts: Counts,
    /// What throttling left of the rate of each stream, 0 to 1, in the order of the settings.
    pub factors: Vec<f64>,
}

/// Answers that hold everything, each written when it is first asked for: however many ask, there is one.
#[derive(Clone, Debug, Default)]
pub struct Written([OnceLock<Bytes>; 6]);

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Status,
    Brief,
    Ready,
    Health,
    Metrics,
    OpenMetrics,
}

impl Written {
    /// The answer to `page`, which `write` makes if nobody has asked for it before.
    pub(super) fn page(&self, page: Page, write: impl FnOnce() -> String) -> Bytes {
        let Self(pages) = self;
        pages[page as usize].get_or_init(|| Bytes::from(write())).clone()
    }
}

/// What stays the same from one moment to the next.
#[derive(Clone, Debug)]
pub struct About {
    /// The names of the sources, in the order of the settings.
    pub sources: Vec<Arc<str>>,
    /// Where the lines of each source go.
    pub streams_of_sources: Vec<Option<StreamId>>,
    /// The streams, in the order of the settings.
    pub streams: Vec<StreamAbout>,
    /// How old the oldest undelivered line may be before the daemon is not ready.
    pub max_lag: Option<Duration>,
    /// When the daemon began, as time since 1970.
    pub began: Duration,
    /// The configuration that is in effect.
    pub config: ConfigAbout,
}

/// One configuration among others.
#[derive(Clone, Debug)]
pub struct ConfigAbout {
    /// A hash of its files, in hexadecimal digits.
    pub hash: String,
    /// What it amounts to, in lines as `standpipe check` prints them, without secrets and escaped.
    pub effective: Arc<str>,
    /// When it was taken in, as time since 1970.
    pub since: Duration,
}

/// One stream's settings, as far as an operator compares with them.
#[derive(Clone, Debug)]
pub struct StreamAbout {
    /// The stream's name in the configuration.
    pub name: Arc<str>,
    /// The delivery stream's name at the service.
    pub delivery_stream: String,
    /// The full quotas and the share of them that may be used, of each delivery stream that names none of its own.
    pub quota: QuotaSettings,
    /// The delivery streams that its files are spread over, in the order of the settings.
    pub lanes: Vec<LaneAbout>,
    /// How lines share records.
    pub packing: Packing,
}

/// One of the delivery streams of a stream.
#[derive(Clone, Debug)]
pub struct LaneAbout {
    /// The delivery stream's name at the service.
    pub delivery_stream: String,
    /// The full quotas and the share of them that may be used.
    pub quota: QuotaSettings,
}

impl About {
    /// The name of a delivery stream, where its stream has others beside it.
    pub fn delivery_stream_beside_others(&self, lane: LaneId) -> Option<&str> {
        let lanes = &self.streams[lane.stream.0].lanes;
        (lanes.len() > 1).then(|| &*lanes[lane.place].delivery_stream)
    }
}

/// How late one source, or one stream, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How many of its files are followed.
    pub files: usize,
    /// Bytes that were seen in those files and are not acknowledged.
    pub bytes: u64,
    /// How long the oldest line that is not acknowledged has been seen to be there.
    pub oldest: Duration,
}

impl Snapshot {
    /// How late each source is, in the order of the settings.
    pub fn lags(&self) -> Vec<Lag> {
        self.lags_of(&self.status.files.of_sources)
    }

    /// How late the files of each stream are, in the order of the settings.
    pub fn stream_lags(&self) -> Vec<Lag> {
        self.lags_of(&self.status.files.of_streams)
    }

    fn lags_of(&self, sums: &[FileSums]) -> Vec<Lag> {
        let lag = |sums: &FileSums| Lag {
            files: sums.files,
            bytes: sums.behind_bytes,
            oldest: self.age(sums.behind_since),
        };
        sums.iter().map(lag).collect()
    }

    /// How many files are named or matched and not read.
    pub fn unread(&self) -> u64 {
        self.status.unreadable.count() as u64 + self.problems.count()
    }

    /// How long ago `since` was; zero for what never was.
    pub fn age(&self, since: Option<Instant>) -> Duration {
        since.map_or(Duration::ZERO, |since| self.status.at.since(since))
    }

    /// The name of a source.
    pub fn source(&self, source: SourceId) -> &Arc<str> {
        &self.about.sources[source.0]
    }

    /// Each stream with its settings.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamAbout, &StreamStatus)> {
        self.about.streams.iter().zip(&self.status.streams)
    }
}

/// What a file is known to hold beyond what is acknowledged, in bytes.
pub fn lag_bytes(file: &FileStatus) -> u64 {
    file.size.max(file.read.bytes()).saturating_sub(file.acknowledged.bytes())
}
