//! What the engine is told to do: the part of the configuration that it needs, valid by construction.

mod multiline;
mod spread;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

use super::limits::{ENVELOPE_KEYS, TIME_KEY};
use super::path_fields::PathFields;
use super::route::Route;

pub use super::ids::{SourceId, StreamId};

pub use self::multiline::{Grouping, Multiline, Preset};
pub use self::spread::{ByLane, LaneId, LaneSettings, Spread};

/// Everything the engine is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub sources: Vec<SourceSettings>,
    pub streams: Vec<StreamSettings>,
    pub checkpoint: CheckpointSettings,
    pub memory: MemorySettings,
    /// How many of the files that a survey shows are gone through with one event: whoever else waits is heard in between.
    pub files_at_once: NonZeroUsize,
    /// About how many checkpoints one save holds, but for those that are to be durable together.
    pub checkpoints_at_once: NonZeroUsize,
    pub until: Until,
    pub on_drain: OnDrain,
}

/// How the lines of one source become records.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSettings {
    pub name: Arc<str>,
    pub route: Route,
    pub start_at: StartAt,
    pub newline: Newline,
    pub format: Format,
    /// The longest message, in bytes without its newline.
    pub max_message_bytes: usize,
    pub oversize: Oversize,
    /// The container runtime that wrote the lines around what was said.
    pub runtime: Option<Runtime>,
    pub multiline: Option<Multiline>,
    pub filter: LineFilter,
    /// Files that were last written longer ago are not begun.
    pub ignore_older: Option<Duration>,
    /// How long a file without a name is kept open after its last byte was read and settled.
    pub close_removed_after: Duration,
}

/// What becomes of what is too long for one record, or for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// The message is sent as several records.
    Split,
    /// The beginning of the message is sent, and the rest is lost.
    Truncate,
    /// The message is never sent, and kept among the dead letters.
    DeadLetter,
}

/// Who wrote a container's output into files, and so what stands around each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// The Container Runtime Interface's logs: containerd and CRI-O.
    Cri,
    /// Docker's `json-file`.
    Docker,
}

/// Which messages are shipped: by what they say, without the newline and without what a runtime wrote around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineFilter {
    /// Where there are any, one of them has to match.
    pub keep: Vec<StartPattern>,
    /// None of them may match.
    pub drop: Vec<StartPattern>,
}

impl LineFilter {
    /// Whether every message is shipped.
    pub fn is_empty(&self) -> bool {
        self.keep.is_empty() && self.drop.is_empty()
    }

    /// Whether a message is not shipped.
    pub fn drops(&self, message: &[u8]) -> bool {
        let any = |patterns: &[StartPattern]| patterns.iter().any(|pattern| pattern.is_match(message));
        any(&self.drop) || !(self.keep.is_empty() || any(&self.keep))
    }
}

/// A regular expression over bytes.
#[derive(Clone, Debug)]
pub struct StartPattern(Regex);

impl StartPattern {
    /// # Errors
    /// When `text` is not a regular expression, or one that would take too much memory.
    pub fn try_new(text: &str) -> Result<Self, regex::Error> {
        Regex::new(text).map(Self)
    }

    pub fn is_match(&self, line: &[u8]) -> bool {
        self.0.is_match(line)
    }

    /// As the operator wrote it.
    pub fn text(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for StartPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for StartPattern {}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The line's bytes.
    Raw,
    /// A JSON object with the line, and where it is from.
    Json(Envelope),
}

/// What a JSON object says beside the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub host: Arc<str>,
    /// The operator's own: keys, and values as JSON.
    pub fields: Vec<(Arc<str>, Arc<str>)>,
    /// Whether a line that is a JSON object itself becomes part of it instead of being quoted.
    pub merge: bool,
    /// What the path of a file says beside its lines.
    pub path_fields: Option<PathFields>,
    /// The key for when a line was read, or written.
    pub time_key: Arc<str>,
    pub time_format: TimeFormat,
}

/// How an object says a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// As a text.
    Rfc3339,
    /// As a number: milliseconds since 1970.
    EpochMillis,
}

/// What an object says where the operator said nothing.
impl Default for Envelope {
    fn default() -> Self {
        Self {
            host: "".into(),
            fields: Vec::new(),
            merge: false,
            path_fields: None,
            time_key: TIME_KEY.into(),
            time_format: TimeFormat::Rfc3339,
        }
    }
}

impl Envelope {
    /// Every key that a record may have beside those of its line.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let own = self.fields.iter().map(|(key, _)| &**key);
        let of_path = self.path_fields.iter().flat_map(PathFields::names);
        ENVELOPE_KEYS.into_iter().chain([&*self.time_key]).chain(of_path).chain(own)
    }
}

/// Where reading begins in a file that was already there at the first start without checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    Beginning,
    End,
}

/// Whether a record keeps the newline that ended its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newline {
    /// Every record ends in one, also when the file's last line did not.
    Append,
    /// No record has one; an empty line has no byte left to send and is skipped.
    Strip,
}

/// How records reach one delivery stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSettings {
    /// The stream as the configuration names it.
    pub name: Arc<str>,
    pub api: Api,
    /// How long a record may wait for others to share its request, where one can be shared.
    pub linger: Duration,
    pub packing: Packing,
    /// The most requests under way at once.
    pub max_in_flight: NonZeroU32,
    pub order: Order,
    /// The quotas of each delivery stream that names none of its own.
    pub quota: QuotaSettings,
    /// The delivery streams that the files are spread over.
    pub spread: Spread,
    pub retry: RetrySettings,
    pub encryption: Encryption,
    pub audit: Audit,
}

impl StreamSettings {
    /// How long a record waits for others. Zero where each record has a request to itself, and where lines were collected
    /// already before they were made a record.
    pub fn patience(&self) -> Duration {
        match (self.api, self.packing) {
            (Api::PutRecord, _) | (_, Packing::On { .. }) => Duration::ZERO,
            (Api::Auto | Api::PutRecordBatch, Packing::Off) => self.linger,
        }
    }

    /// How lines share records. A record that is larger than what the quota lets through in a second exceeds it, however
    /// long it waits: so much is packed at most.
    pub fn packing_within_quota(&self) -> Packing {
        let kib = |(_, quota): (usize, QuotaSettings)| (quota.bytes_per_second / 1024) as f64 * quota.share;
        let least = self.quotas().map(kib).fold(f64::INFINITY, f64::min);
        let second = (least as usize).max(1).saturating_mul(1024);
        match self.packing {
            Packing::Off => Packing::Off,
            Packing::On { bytes, delay, compression } => {
                Packing::On { bytes: bytes.min(second), delay, compression }
            }
        }
    }
}

/// Whether the RecordIds of what the service took are kept, with the bytes that they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audit {
    Off,
    On {
        /// What the RecordIds of the stream may take in the state database, in bytes.
        max_bytes: u64,
    },
}

impl Audit {
    /// Whether RecordIds are kept.
    pub const fn is_on(&self) -> bool {
        matches!(self, Self::On { .. })
    }
}

/// What is done about an acknowledgement that does not say that the record is kept under server-side encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Records that are kept without encryption are counted.
    Optional,
    /// Nothing more is sent to the stream.
    Required,
}

/// Which operations carry the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Each record by `PutRecord`.
    PutRecord,
    /// `PutRecordBatch` while more than one record waits, `PutRecord` otherwise.
    Auto,
    /// Always `PutRecordBatch`.
    PutRecordBatch,
}

impl Api {
    /// As it stands in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::PutRecord => "put_record",
            Self::Auto => "auto",
            Self::PutRecordBatch => "put_record_batch",
        }
    }
}

/// How many lines a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Each line is a record of its own.
    Off,
    /// Lines that follow one another in a file share a record.
    On {
        /// The most bytes of one record, as it is sent.
        bytes: usize,
        /// How long lines are collected in their file before they are read.
        delay: Duration,
        compression: Compression,
    },
}

impl Packing {
    /// What becomes of lines that share a record.
    pub const fn compression(self) -> Compression {
        match self {
            Self::Off => Compression::None,
            Self::On { compression, .. } => compression,
        }
    }
}

/// Whether records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    /// Each record is a gzip member: one behind the other they are a gzip file.
    Gzip,
}

/// Whether the records of one file may overtake one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Many requests under way for one file: fast, and a later line may arrive first.
    Free,
    /// One request under way for each file: its records arrive in order.
    PerFile,
}

/// The delivery stream's quotas, and our part of them. Both operations count together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuotaSettings {
    pub requests_per_second: NonZeroU32,
    pub records_per_second: NonZeroU32,
    pub bytes_per_second: u64,
    /// The part of each quota that may be used: above 0, at most 1.
    pub share: f64,
    pub adaptive: Adaptive,
}

/// Whether throttling lowers the rate, so that many daemons on one delivery stream share it fairly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adaptive {
    On,
    Off,
}

/// How long to wait before what failed is sent again: full jitter below an exponential bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    pub initial: Duration,
    pub max: Duration,
    /// For how long a record may fail alone, while others of its stream are accepted, before it becomes a dead letter.
    pub stuck_after: Duration,
}

/// When acknowledged progress is made durable: as soon as either is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    pub interval: Duration,
    pub max_bytes: u64,
}

/// What may be read but not yet settled, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// All files together.
    pub buffer: u64,
    pub buffer_per_file: u64,
}

/// When the engine is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When it is told to drain.
    Drained,
    /// When every matching file was read to its end, a last line without newline included, and settled.
    EndOfFiles,
}

/// What a drain does with a last line that has no newline yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrain {
    KeepPartialLines,
    ShipPartialLines,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_records_of_their_own_and_can_share_a_request_wait() {
        let compression = Compression::None;
        let packed = Packing::On { bytes: 1000, delay: Duration::from_secs(1), compression };
        let table = [
            (Api::PutRecord, Packing::Off, 0),
            (Api::PutRecord, packed, 0),
            (Api::Auto, Packing::Off, 5),
            (Api::Auto, packed, 0),
            (Api::PutRecordBatch, Packing::Off, 5),
            (Api::PutRecordBatch, packed, 0),
        ];
        for (api, packing, millis) in table {
            let linger = Duration::from_millis(5);
            let settings = StreamSettings { api, packing, linger, ..settings() };
            assert_eq!(settings.patience().as_millis(), millis, "{api:?}, {packing:?}");
        }
    }

    #[test]
    fn lines_share_no_record_that_is_more_than_the_quota_lets_through_in_a_second() {
        let delay = Duration::from_secs(1);
        // The quota in bytes, its share, what may be packed, and what is.
        let table = [
            (5_000_000, 0.9, 1_024_000, 1_024_000),
            (1_048_576, 0.9, 1_024_000, 943_104),
            (204_800, 0.5, 1_024_000, 102_400),
            (204_800, 0.5, 5_000, 5_000),
            (1, 0.1, 5_000, 1_024),
        ];
        for (bytes_per_second, share, bytes, expected) in table {
            let mut settings = settings();
            (settings.quota.bytes_per_second, settings.quota.share) = (bytes_per_second, share);
            assert_eq!(settings.packing_within_quota(), Packing::Off);
            for compression in [Compression::None, Compression::Gzip] {
                settings.packing = Packing::On { bytes, delay, compression };
                let expected = Packing::On { bytes: expected, delay, compression };
                assert_eq!(settings.packing_within_quota(), expected);
            }
        }
    }

    fn settings() -> StreamSettings {
        let one = NonZeroU32::MIN;
        let second = Duration::from_secs(1);
        StreamSettings {
            name: "s".into(),
            api: Api::Auto,
            linger: Duration::ZERO,
            packing: Packing::Off,
            max_in_flight: one,
            order: Order::Free,
            quota: QuotaSettings {
                requests_per_second: one,
                records_per_second: one,
                bytes_per_second: 1,
                share: 1.0,
                adaptive: Adaptive::Off,
            },
            spread: Spread::to_one("s"),
            retry: RetrySettings { initial: second, max: second, stuck_after: second },
            encryption: Encryption::Optional,
            audit: Audit::Off,
        }
    }
}
