//! What the operator is told: events worth a log line, and counts of everything.
//!
//! Knows the words. Does not know how they are written out: the daemon logs reports, the health endpoint shows
//! counts.
//!
//! *Invariant:* every byte that was read and not delivered is in a count, with a reason.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::message::Unmerged;
use crate::model::offset::Offset;
use crate::model::settings::{LaneId, SourceId, StreamId};
use crate::model::verdict::{RequestEnd, Retry, RetryReason};
use crate::rules::histogram::Histogram;

use crate::model::operation::Operation;

/// One event for the log, reported when it happens and not while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A file is followed from here on.
    Following { source: SourceId, path: Arc<Path>, at: Offset, why: Start },
    /// A file could not be opened or read; it is tried again.
    Unreadable { source: SourceId, path: Arc<Path>, why: String },
    /// A file that a source matches is not read, and will not be.
    Skipped { source: SourceId, path: Arc<Path>, why: String },
    /// No file matches a source at the first look at it.
    Matchless { source: SourceId },
    /// A file that was refused can be read again.
    Readable { source: SourceId, path: Arc<Path> },
    /// A source's file system does not answer: nothing of it is taken for gone, and the other sources go on.
    Silent { source: SourceId },
    /// A source's file system answers again.
    Speaks { source: SourceId },
    /// A followed file has another name now, or none that a source matches.
    Rotated { source: SourceId, from: Arc<Path>, to: Option<Arc<Path>> },
    /// The content that was read is no longer there: the file is read again from its beginning.
    Truncated { source: SourceId, path: Arc<Path>, read: Offset },
    /// A file is the copy that was made of another before that was truncated.
    Copied { source: SourceId, path: Arc<Path>, of: Arc<Path> },
    /// Bytes vanished before they could be read: a declared loss.
    Abandoned { source: SourceId, path: Arc<Path>, from: Offset, bytes: u64, why: Loss },
    /// A file that was closed, or read by an earlier process, is under no name, and no copy of it was found. `at` is how
    /// far the file was read.
    Gone { source: SourceId, path: Arc<Path>, at: Offset },
    /// The configuration leaves a file out that was followed, or of which a position is stored: it is read up to here, its
    /// position is kept, and so many bytes were seen beyond.
    LeftOut { stream: StreamId, path: Arc<Path>, at: u64, unread: u64 },
    /// The kernel has no more descriptors: so many files are open, and others wait.
    FewDescriptors { most: usize },
    /// A file without a name was read to its end, delivered and let go.
    Closed { source: SourceId, path: Arc<Path> },
    /// A lane's records wait: its service fails.
    Held { lane: LaneId, why: Retry },
    /// A lane's records still wait, and so many tries have failed.
    StillHeld { lane: LaneId, why: Retry, tries: u32, after: Duration },
    /// A lane's records wait for another configuration: the service keeps what it takes without encryption.
    Stopped { lane: LaneId, why: Retry },
    /// Lines have waited for the quota of requests alone for a while: batches would carry them.
    BatchesWouldHelp { stream: StreamId },
    /// The service answers again.
    Resumed { lane: LaneId, after: Duration },
    /// Files of a lane that has been held for long go on at others.
    HandedOn { lane: LaneId, files: usize },
    /// A lane takes records again, and has its files back.
    TakenBack { lane: LaneId, files: usize },
    /// A record that can never be accepted was put aside.
    DeadLettered { stream: StreamId, path: Arc<Path>, offset: Offset, why: Retry },
    /// A record fails alone, for so long by now; nothing else waits for it.
    RecordStuck { stream: StreamId, path: Arc<Path>, offset: Offset, why: Retry, after: Duration },
    /// Of messages that were too long only the beginning is sent.
    Shortened { source: SourceId, path: Arc<Path>, messages: u64 },
    /// A record can never be accepted, and there is no room for more dead letters: its file waits there.
    Stuck { source: SourceId, path: Arc<Path>, offset: Offset, why: Retry },
    /// Progress could not be made durable; it is tried again.
    NotSaved { why: String },
    /// Progress is durable again.
    SavedAgain,
}

/// Why reading starts where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing was known of the file.
    New,
    /// A checkpoint of the file was known.
    Checkpoint,
    /// The file was there at the first start, and its source starts at the end.
    End,
    /// The file is the copy of another that was read so far.
    Copy,
}

/// Why bytes were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// The file was truncated before the bytes were read.
    Truncated,
    /// The file was removed while it was closed.
    Removed,
    /// The file was removed, and a day was not enough to deliver it.
    HeldTooLong,
    /// The file was removed, and its disk is nearly full.
    DiskFull,
    /// The bytes were behind the beginning of a message that was too long, and `oversize = "truncate"`.
    Oversize,
}

impl Loss {
    pub const ALL: [Self; 5] =
        [Self::Truncated, Self::Removed, Self::HeldTooLong, Self::DiskFull, Self::Oversize];

    /// As it appears in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Removed => "removed",
            Self::HeldTooLong => "held_too_long",
            Self::DiskFull => "disk_full",
            Self::Oversize => "oversize",
        }
    }
}

/// What happened to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rotation {
    Renamed,
    Removed,
    Truncated,
    /// A copy was found of what was truncated.
    Copied,
}

impl Rotation {
    pub const ALL: [Self; 4] = [Self::Renamed, Self::Removed, Self::Truncated, Self::Copied];

    /// As it appears in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Renamed => "renamed",
            Self::Removed => "removed",
            Self::Truncated => "truncated",
        }
    }
}

/// Everything counted of one source since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Lines of files that were read, each once, whatever became of them.
    pub lines_read: u64,
    /// Bytes of the files that became settled or became records.
    pub bytes_read: u64,
    /// Empty lines that had no byte to send.
    pub empty_lines: u64,
    /// NUL bytes skipped at the beginning of files.
    pub nul_bytes: u64,
    pub partial_lines_shipped: u64,
    /// Lines that `keep_lines` and `drop_lines` leave out.
    pub dropped_lines: u64,
    /// Lines that the container runtime did not write as it should have.
    pub unparsed_lines: u64,
    /// Lines that are JSON objects and were quoted, though such lines are merged.
    pub unmerged_lines: BTreeMap<Unmerged, u64>,
    pub oversize: OversizeCounts,
    pub abandoned_bytes: BTreeMap<Loss, u64>,
    pub rotations: BTreeMap<Rotation, u64>,
}

/// What became of messages that were too long, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OversizeCounts {
    /// Messages that were sent in pieces.
    pub split: u64,
    /// Messages of which the beginning was sent.
    pub truncated: u64,
    /// Messages that became dead letters.
    pub dead_lettered: u64,
}

impl SourceCounts {
    pub(super) fn add_lost(&mut self, why: Loss, bytes: u64) {
        if bytes > 0 {
            *self.abandoned_bytes.entry(why).or_default() += bytes;
        }
    }
}

/// Everything counted of one stream since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    pub records_delivered: u64,
    pub bytes_delivered: u64,
    /// Each record rounded up to 5 KiB.
    pub billed_bytes: u64,
    /// Bytes of files that the delivered records stand for.
    pub file_bytes_delivered: u64,
    /// Accepted records of which the service said that it keeps them encrypted.
    pub records_encrypted: u64,
    pub requests: BTreeMap<(Operation, RequestEnd), u64>,
    /// From sending a request to its end.
    pub request_took: BTreeMap<Operation, Histogram>,
    /// From reading a record to its acknowledgement.
    pub delivery_took: Histogram,
    /// Records sent again.
    pub retries: BTreeMap<RetryReason, u64>,
    /// Requests of which at least one record was throttled.
    pub throttled: u64,
    pub dead_letters: BTreeMap<Arc<str>, u64>,
}

/// Counts of the whole daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub commits: u64,
    pub commit_failures: u64,
    /// Configurations that took effect since the start, and those that could not be used.
    pub reloads: u64,
    pub reloads_refused: u64,
    /// Bytes that were under way to one delivery stream when their file was handed on to another, and that nobody knows to be
    /// taken: sent again, they may be there twice.
    pub handed_on_bytes: u64,
    /// Times that hints were lost and everything was looked at.
    pub watch_overflows: u64,
    pub sources: Vec<SourceCounts>,
    pub streams: Vec<StreamCounts>,
}
