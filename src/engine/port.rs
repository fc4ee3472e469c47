//! The engine's two doors: events in, effects out.
//!
//! The daemon and the simulation both drive the engine through these nouns and nothing else. Every effect that
//! asks a question is answered by exactly one event; effects without an answer say so.

mod likeness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::checkpoint::Save;
use crate::model::hidden::Hidden;
use crate::model::identity::{Fingerprint, Identity, Window};
use crate::model::offset::Offset;
use crate::model::operation::Operation;
use crate::model::renamed::Renamed;
use crate::model::settings::{LaneId, Settings, SourceId};
use crate::model::verdict::{Outcome, Retry};
use crate::rules::pattern::SourceNames;

pub use crate::model::watching::Watching;

use super::report::Report;

pub use self::likeness::{Likeness, Then};

/// One file that the engine holds open.
///
/// Given by the engine in [`Open`], never given to another file in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// One request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the engine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Look which files one source matches. Answered by [`Event::Observed`]; one is under way for each source.
    Survey(Survey),
    /// Open a file and look at its beginning. Answered by [`Event::Opened`].
    Open(Open),
    /// Read from an open file. Answered by [`Event::Bytes`]; one is under way for each file.
    Read(Read),
    /// Look how far an open file says what another says. Answered by [`Event::Compared`]; counts as a read of the file.
    Compare(Compare),
    /// Let go of an open file. No answer. Never sent while a read of it is under way, but perhaps while it is compared
    /// with; the same file may be opened again.
    Close(FileId),
    /// Send one request. Answered by [`Event::PutDone`].
    Put(Put),
    /// Make progress durable. Answered by [`Event::Saved`]; one is under way at a time.
    Save(Save),
    /// Tell what became of one letter of [`Event::Replay`]. No answer.
    Replayed { letter: LetterId, end: LetterEnd },
    /// Tell whoever asked by [`Event::Move`] what was done, once it is durable, or why nothing was. No answer.
    Moved { number: MoveId, result: Result<Vec<Moved>, NotMoved> },
    /// Open delivery streams that files are found for. Answered by [`Event::Reload`], with a configuration that has them or
    /// says why not, or by [`Event::ReloadRefused`].
    Want(WantedStreams),
    /// Tell the operator. No answer.
    Report(Report),
}

/// Every file that matches one source, and every file in some directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    pub source: SourceId,
    /// Directories whose other names are looked at too, because a file that was known is missing: it may have
    /// been renamed to a name that no source matches.
    pub also: Vec<Arc<Path>>,
    /// Open files to look at: whether they have a name anywhere.
    pub held: Vec<FileId>,
    /// Files that had names which the source matches, and what they are called now, whatever that is.
    pub renamed: Vec<Renamed>,
}

/// Which file to open, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub file: FileId,
    /// Its settings say whether links are followed.
    pub source: SourceId,
    pub path: Arc<Path>,
    /// Whether what is read of it is what was compressed (gzip) into it.
    pub decompressed: bool,
    /// Open files that had the name, of which one may be what is opened: the kernel is asked what their descriptors are now.
    pub held: Vec<FileId>,
}

/// Up to `len` bytes from `at`; fewer only at the end of the file. NULs that reach to the end, and do not begin among the
/// first `before` bytes, are no content yet: room that a program reserved for what it will write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub file: FileId,
    pub at: Offset,
    pub len: usize,
    /// How many of the bytes were read before, or are wanted as they are.
    pub before: usize,
    /// How the file begins, as far as it was read; empty where nothing is known of that, or the read begins there.
    pub begins: Fingerprint,
}

impl Read {
    /// A read whose bytes are wanted as they are, whatever the file holds else.
    pub fn as_it_is(file: FileId, at: Offset, len: usize) -> Self {
        Self { file, at, len, before: len, begins: Fingerprint::none() }
    }
}

/// Up to `len` bytes from `at` of two open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    pub file: FileId,
    pub with: FileId,
    pub at: Offset,
    pub len: usize,
}

/// One record by `PutRecord`, or many by `PutRecordBatch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub request: RequestId,
    /// Of which stream, and to which of its delivery streams.
    pub lane: LaneId,
    pub operation: Operation,
    /// The data of at least one record; exactly one for [`Operation::PutRecord`].
    pub records: Vec<Bytes>,
    /// How much longer than configured it may take: for its size, and for what shares the link.
    pub longer: Duration,
}

/// What the engine is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Hint(Hint),
    Observed(Observation),
    Opened {
        file: FileId,
        result: Result<Opened, FileFault>,
    },
    Bytes {
        file: FileId,
        result: Result<Bytes, FileFault>,
        /// The wall clock's time, which records may tell.
        unix_time: Duration,
        /// When the file was last written, since 1970, where the read reached its end and nothing came behind it
        /// meanwhile.
        modified: Option<Duration>,
        /// How many NULs lie behind the bytes, up to the end of the file, that are no content yet.
        room: u64,
        /// Whether the file began, after it was read, as [`Read::begins`] says.
        begins: bool,
    },
    Compared {
        file: FileId,
        result: Result<Likeness, FileFault>,
    },
    PutDone {
        request: RequestId,
        outcome: Outcome,
    },
    /// The answer to [`Effect::Save`].
    Saved(Result<(), String>),
    /// Dead letters were deleted from the state database: so many bytes on disk became free for each stream.
    DeadLettersDeleted(BTreeMap<Arc<str>, u64>),
    /// How far hints can be relied on has changed.
    Watching(Watching),
    /// So many files may be open at once. Without it, any number.
    Descriptors(usize),
    /// Nothing but time has passed.
    Tick,
    /// The configuration has changed. Never after [`Event::Drain`].
    Reload(Box<Reload>),
    /// The configuration has changed into one that cannot be used.
    ReloadRefused,
    /// Send dead letters again. Each gets one [`Effect::Replayed`].
    Replay(Vec<Letter>),
    /// Send no letter more that is not on its way.
    StopReplay,
    /// A person moves the position of a file. Answered by [`Effect::Moved`].
    Move(Box<Move>),
    /// Read what is there, deliver it, save, and be done.
    Drain,
    /// The time for that is over: save what is known at once. Nothing else that is asked for is done any more.
    Leave,
}

/// Another configuration for the sources and streams that there are, and for new ones behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// Whether somebody changed the configuration; else streams were opened that files are found for.
    pub is_changed: bool,
    /// As [`merge`](crate::rules::reload::merge) makes it: no source and no stream changes its place.
    pub settings: Settings,
    /// Sources that are no longer configured: no survey shows their files from now on.
    pub retired: BTreeSet<SourceId>,
    /// The names that each source reads from now on, in the order of the settings; where none are told, no name is left
    /// out.
    pub names: Vec<SourceNames>,
}

/// Delivery streams that the paths of files name, and that are not open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedStreams {
    /// The streams that files wait for.
    pub wanted: Vec<Arc<str>>,
    /// Streams that are open, and for which nothing is followed, held or under way.
    pub unused: Vec<Arc<str>>,
}

/// One dead letter, by its number in the state database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub i64);

/// A dead letter that is to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub id: LetterId,
    /// The stream as the configuration names it.
    pub stream: Arc<str>,
    /// What is sent for it, as [`records_of`](super::remaking::records_of) says.
    pub records: Vec<Bytes>,
}

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterEnd {
    /// The service has it: it is to be deleted.
    Accepted,
    /// The service does not take it, or cannot be asked; why.
    Kept(Retry),
    /// Nobody asked the service.
    NotSent,
}

/// One move that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId(pub u64);

/// Where a person wants one file to be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub number: MoveId,
    /// Only in this stream; otherwise in each in which the file has a position.
    pub stream: Option<Arc<str>>,
    pub path: Arc<Path>,
    /// The name behind links, where it is another than `path`.
    pub target: Option<Arc<Path>>,
    /// `None` when no file has the name any more: then positions are found by the name.
    pub identity: Option<Identity>,
    /// `None`: from the beginning, as a file of which nothing is known.
    pub to: Option<Position>,
}

/// A position that a person chose, and how to know the content before it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Where a line begins.
    pub offset: Offset,
    /// Of the file's beginning, no further than `offset`.
    pub fingerprint: Fingerprint,
    /// The bytes just before `offset`.
    pub window: Window,
}

/// A position that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub stream: Arc<str>,
    /// Where the file was before in this stream, if it had a position.
    pub from: Option<Offset>,
}

/// Why no position was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMoved {
    /// The file has none, and no stream was named.
    NoPosition,
    /// Everything is being read to its end: nothing begins any more.
    Stopping,
}

/// Where to look. Only ever a hint: one that is lost costs time, never data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This file has more bytes.
    Grown(Arc<Path>),
    /// Names have come, gone or changed somewhere.
    Names,
    /// One of them is another now.
    Renamed(Renamed),
    /// Hints were lost: look at everything.
    Everything,
}

/// The answer to a [`Survey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub source: SourceId,
    pub files: Vec<Observed>,
    /// What could not be looked at or into, and why says nothing of whether it is there (no permission, no descriptor,
    /// an I/O error): what is missing from `files` at or below these paths may be there.
    pub hidden: Hidden,
    /// The open files that were asked for.
    pub held: Vec<Held>,
    /// The wall clock's time when the survey began, since 1970: birth times are told by it.
    pub unix_time: Duration,
}

/// What the kernel says of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub file: FileId,
    /// Size in bytes.
    pub size: u64,
    /// The room it takes on its disk, in bytes: less than its size where it has holes, none where its content lies in
    /// its inode.
    pub disk_bytes: u64,
    /// Whether it has no name left in any directory: closing it frees its room.
    pub is_removed: bool,
    /// Whether its file system has next to no room left.
    pub is_disk_nearly_full: bool,
}

/// One regular file as it was seen under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub path: Arc<Path>,
    /// The name in the directory that holds the file, when it is not `path`: `path` is a link that is followed, or lies
    /// behind one.
    pub target: Option<Arc<Path>>,
    pub identity: Identity,
    /// Size in bytes.
    pub size: u64,
    /// User ID.
    pub owner: u32,
    /// When it was last written, since 1970; `None` when the file system does not say.
    pub modified: Option<Duration>,
    /// Whether the source matches it; otherwise it only lies beside those that it does.
    pub is_matched: bool,
    /// Of a file that the source does not match, or a rotator compressed: the real paths that the source does match, or would,
    /// and that a rotator may have renamed the file from.
    pub rotated_from: Vec<Arc<Path>>,
    /// Whether the kernel said that the file had such a name, which otherwise its name says.
    pub is_told: bool,
}

impl Observed {
    /// The name in the directory that holds the file.
    pub fn real_path(&self) -> &Arc<Path> {
        self.target.as_ref().unwrap_or(&self.path)
    }
}

/// A file that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Of the open file itself: what the name showed a moment ago may have been another.
    pub identity: Identity,
    /// Size in bytes; of what is compressed into it, as far as it can be told without reading it.
    pub size: u64,
    /// Its first bytes, up to [`HEAD_BYTES`](crate::model::identity::HEAD_BYTES).
    pub head: Bytes,
    /// The file of [`Open::held`] whose descriptor is now what was opened, if one is: overlayfs shows another file as soon as
    /// one of a lower layer is written to.
    pub held: Option<FileId>,
    /// Where it lies, if that is not where the name is: the name is a link, or behind one, and links are followed.
    pub place: Option<Arc<Path>>,
}

/// Why a file could not be opened or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// No file has that name any more.
    #[error("no such file")]
    Gone,
    /// The process or the machine has no descriptor left.
    #[error("too many open files")]
    NoDescriptor,
    /// The file is there, but is refused: no permission, not a regular file, a link, an I/O error.
    #[error("{0}")]
    Unreadable(String),
}
