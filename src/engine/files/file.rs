//! One followed file: which it is, what it is read for, and how far its end is known.
//!
//! Does not know what becomes of the lines: that is the incarnation's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::content::Digest;
use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::seldom::{Sayable, Seldom};
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::gather::Waits;

use super::extent::Extent;
use super::first_bytes::FirstBytes;
use super::{ReadQueue, Slot, State, StateOf};
use crate::engine::incarnation::Names;

/// One file that is followed, or to be followed.
#[derive(Debug)]
pub(in crate::engine) struct FollowedFile {
    pub(in crate::engine) source: SourceId,
    pub(in crate::engine) stream: StreamId,
    pub(in crate::engine) path: Arc<Path>,
    /// The name in the directory that holds the file, when it is not `path`; hints come under both.
    pub(in crate::engine) target: Option<Arc<Path>>,
    /// The names that a rotator may have made its name of, of those that its source matches.
    pub(in crate::engine) family: Vec<Arc<Path>>,
    pub(in crate::engine) identity: Identity,
    pub(in crate::engine) task: Task,
    pub(in crate::engine) state: StateOf,
    /// Whether some source matches a name of it.
    pub(in crate::engine) name: Name,
    /// Size in bytes when last looked at.
    pub(in crate::engine) size: u64,
    pub(in crate::engine) end: FileEnd,
    pub(in crate::engine) kind: Kind,
    pub(in crate::engine) times: Times,
    /// Failed tries in a row.
    pub(in crate::engine) failures: u32,
    pub(in crate::engine) compared: Seldom<Compared>,
}

/// What is known of a file's content while it is compared with another's.
#[derive(Debug, Default, PartialEq)]
pub(in crate::engine) struct Compared {
    /// The file's first bytes.
    pub(in crate::engine) head: Bytes,
    /// Of what was read of the file for the comparison.
    pub(in crate::engine) digest: Digest,
    /// How many bytes at its beginning are those of the file that it begins like.
    pub(in crate::engine) same_bytes: u64,
    /// When a byte was found that is another; what the other file says now may be another content than it had.
    pub(in crate::engine) differs_since: Option<Instant>,
}

impl Sayable for Compared {
    fn nothing() -> &'static Self {
        static NOTHING: Compared =
            Compared { head: Bytes::new(), digest: Digest::beginning(), same_bytes: 0, differs_since: None };
        &NOTHING
    }

    fn is_nothing(&self) -> bool {
        self == Self::nothing()
    }
}

/// What a file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Task {
    /// The file is opened for the first time.
    Begin,
    /// Looking for the last line end before `end`, to start there with this incarnation. `within` is how far back in bytes.
    FindEnd {
        incarnation: Incarnation,
        end: Offset,
        within: u64,
    },
    Follow(Incarnation),
    /// Followed, and a look showed less than was read: the bytes before the position say whether that is so.
    Confirm(Incarnation),
    /// Followed, and written to without growing: all that was read says whether it is still there.
    Recheck(Incarnation),
    /// Begins like a file from whose name its name may come: nothing is taken in until it says something else, or that
    /// file is cut off, or was not for a while.
    Alike {
        own: Incarnation,
        of: Incarnation,
    },
    /// Looking whether it is the copy of what was cut off. Without an incarnation of its own it is of no other interest.
    Comparing {
        own: Option<Incarnation>,
        of: Incarnation,
    },
}

/// Whether a file still has a name that a source matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Name {
    Matched,
    Lost,
}

/// The names of a file as a checkpoint holds them: where no source matches them, the real one stands there in any case.
pub(in crate::engine) fn saved_names((path, target): Names, name: Name) -> Names {
    let unmatched = (name == Name::Lost).then(|| Arc::clone(&path));
    (path, target.or(unmatched))
}

/// What is known of the end of a file.
#[derive(Debug, Default)]
pub(in crate::engine) struct FileEnd {
    pub(in crate::engine) partial: Seldom<Partial>,
    pub(in crate::engine) extent: Extent,
    /// Whether lines were collected long enough: the file is read to its end.
    pub(in crate::engine) collected: bool,
    /// Whether a last line without newline is a line.
    pub(in crate::engine) ships_last_line: bool,
    /// Whether the read under way, or the last one, began after the engine was told to finish.
    pub(in crate::engine) began_finishing: bool,
    /// Where the file ended, in bytes, when it was first looked at since the engine was told to finish.
    pub(in crate::engine) fixed_bytes: Option<u64>,
    /// Whether the file was read to its end since the engine was told to finish.
    pub(in crate::engine) finished: bool,
    /// When the file had been written last when it was read to its end, since 1970.
    pub(in crate::engine) modified: Option<Duration>,
    /// Whether a hint said that the file was written to, and it was not read to its end since.
    pub(in crate::engine) is_hinted: bool,
}

/// What is at the end of a file that does not end with a whole message, or may not be what it seems.
#[derive(Debug, Default, PartialEq)]
pub(in crate::engine) struct Partial {
    /// How much to ask for beyond the overlap, in bytes: grows while a line does not fit.
    pub(in crate::engine) asked_bytes: usize,
    /// How many bytes beyond the overlap were read last time and held nothing whole: fewer would be read in vain.
    pub(in crate::engine) barren_bytes: usize,
    /// How much belongs to no message that is complete, in bytes: it is read again when more comes.
    pub(in crate::engine) incomplete_bytes: usize,
    /// What the file begins with, as long as nothing of it was taken in.
    pub(in crate::engine) first_bytes: FirstBytes,
    /// Whole lines that wait: what for, where that begins or they end, and when that is long enough.
    waiting: Option<(Waits, Offset, Instant)>,
    /// Since when the file is known to have been written to without growing, and holds what it held.
    pub(in crate::engine) doubted_since: Option<Instant>,
}

impl Sayable for Partial {
    fn nothing() -> &'static Self {
        static NOTHING: Partial = Partial {
            asked_bytes: 0,
            barren_bytes: 0,
            incomplete_bytes: 0,
            first_bytes: FirstBytes::NOTHING,
            waiting: None,
            doubted_since: None,
        };
        &NOTHING
    }

    fn is_nothing(&self) -> bool {
        self == Self::nothing()
    }
}

impl FileEnd {
    /// So much belongs to no complete message, so much was read and held nothing whole, and so much is to be asked for.
    pub(in crate::engine) fn note_partial(&mut self, incomplete: usize, barren: usize, asked: usize) {
        if (incomplete, barren, asked) != (0, 0, 0) {
            self.partial.asked_bytes = asked;
        }
        if let Some(partial) = self.partial.get_mut() {
            (partial.incomplete_bytes, partial.barren_bytes, partial.asked_bytes) =
                (incomplete, barren, asked);
        }
        self.partial.settle();
    }

    /// So the file begins, as long as nothing of it was taken in.
    pub(in crate::engine) fn note_first_bytes(&mut self, bytes: FirstBytes) {
        if bytes != FirstBytes::NOTHING {
            self.partial.first_bytes = bytes;
        } else if let Some(partial) = self.partial.get_mut() {
            partial.first_bytes = bytes;
        }
        self.partial.settle();
    }

    /// Nothing speaks for a content that was written anew.
    pub(in crate::engine) fn forget_doubt(&mut self) {
        if let Some(partial) = self.partial.get_mut() {
            partial.doubted_since = None;
        }
        self.partial.settle();
    }
}

/// What was known of a file when it was found.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Kind {
    /// Nothing was known of it, and no byte of it was looked at.
    pub(in crate::engine) is_new: bool,
    /// The file was opened only because it may be the copy of another that was cut off.
    pub(in crate::engine) only_as_copy: bool,
    /// The file was opened only as such a copy, and was made after the last read of what was cut off.
    pub(in crate::engine) is_since_cut_off: bool,
    /// What is read is what a rotator compressed.
    pub(in crate::engine) decompressed: bool,
    /// The file was last written before it was made: whoever copied it kept that.
    pub(in crate::engine) is_moved: bool,
    /// The user ID that it belongs to.
    pub(in crate::engine) owner: u32,
    /// What is being opened is not this file: the answer tells nothing of it.
    pub(in crate::engine) awaits_another: bool,
    /// The name was lost, and nothing has said yet whether the file has another.
    pub(in crate::engine) is_unexplained: bool,
    /// The kernel says of the open file that it has no name left.
    pub(in crate::engine) is_removed: bool,
    /// The real path that it had before it was renamed last.
    pub(in crate::engine) former: Option<Arc<Path>>,
}

/// When things happened to a file.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Times {
    /// The last read ended.
    pub(in crate::engine) read_at: Instant,
    /// The incarnation that the file is read as began in it, or was found to go on there.
    pub(in crate::engine) attached_at: Instant,
    /// The last complete line was read, or the name was lost.
    pub(in crate::engine) quiet_since: Instant,
    /// The name was lost.
    pub(in crate::engine) lost_since: Instant,
    /// The file was held back.
    pub(in crate::engine) held_back_since: Instant,
    /// The first of the failures without a success since.
    pub(in crate::engine) failing_since: Instant,
    /// The latest look began that showed the file under its name, other than as it was.
    pub(in crate::engine) named_at: Instant,
    /// The latest look, by its number, that showed the file as it was.
    pub(in crate::engine) passed_over_in: u64,
    /// The first look at it, by the wall clock: nanoseconds since 1970.
    pub(in crate::engine) found_nanos: i64,
}

impl FollowedFile {
    /// A file that was just found under `path`, and is to be opened.
    pub(in crate::engine) fn found(
        (source, stream): (SourceId, StreamId),
        path: Arc<Path>,
        identity: Identity,
        name: Name,
        now: Instant,
    ) -> Self {
        Self {
            source,
            stream,
            path,
            target: None,
            family: Vec::new(),
            identity,
            task: Task::Begin,
            state: StateOf::found(),
            name,
            size: 0,
            end: FileEnd::default(),
            kind: Kind::default(),
            times: Times {
                read_at: now,
                attached_at: now,
                quiet_since: now,
                lost_since: now,
                held_back_since: now,
                failing_since: now,
                named_at: now,
                passed_over_in: 0,
                found_nanos: 0,
            },
            failures: 0,
            compared: Seldom::default(),
        }
    }

    /// The names that a checkpoint holds of it.
    pub(in crate::engine) fn saved_names(&self) -> Names {
        saved_names((Arc::clone(&self.path), self.target.clone()), self.name)
    }

    /// The name in the directory that holds the file.
    pub(in crate::engine) fn real_path(&self) -> &Arc<Path> {
        self.target.as_ref().unwrap_or(&self.path)
    }

    /// What it is doing. `files.rs` alone changes it.
    pub(in crate::engine) fn state(&self) -> State {
        self.state.get()
    }

    /// What its openings and reads are counted by.
    pub(in crate::engine) fn read_queue(&self) -> ReadQueue {
        ReadQueue { slot: self.slot(), stream: self.stream }
    }

    pub(in crate::engine) fn slot(&self) -> Slot {
        Slot { source: self.source, device: self.identity.device }
    }

    /// The incarnation that is read, once the file is open: its own.
    pub(in crate::engine) fn incarnation(&self) -> Option<Incarnation> {
        match self.task {
            Task::Follow(incarnation)
            | Task::Confirm(incarnation)
            | Task::Recheck(incarnation)
            | Task::Alike { own: incarnation, .. } => Some(incarnation),
            Task::Comparing { own, .. } => own,
            Task::Begin | Task::FindEnd { .. } => None,
        }
    }

    pub(in crate::engine) fn is_open(&self) -> bool {
        self.state().is_open()
    }

    /// No source matches a name of it from now on.
    pub(in crate::engine) fn lose_name(&mut self, now: Instant) {
        if self.name == Name::Matched {
            self.times.lost_since = now;
        }
        self.name = Name::Lost;
    }

    /// A source matches a name of it: its last line may still get its newline.
    pub(in crate::engine) fn find_name(&mut self) {
        self.name = Name::Matched;
        self.end.ships_last_line = false;
    }

    /// Whether it is looked after every second: hints no longer find it, or it is tried again.
    pub(in crate::engine) fn needs_tick(&self) -> bool {
        self.name == Name::Lost
            || matches!(
                self.state(),
                State::FailsToOpen { .. } | State::FailsToRead { .. } | State::HeldBack { .. }
            )
    }

    /// Lines wait. Returns until when, where that is news: for a part from `position` on they wait so long whatever comes,
    /// for more from when the last whole one came, which ends at `end`.
    pub(in crate::engine) fn wait(
        &mut self,
        what: Waits,
        (position, end): (Offset, Offset),
        due: Instant,
    ) -> Option<Instant> {
        let at = match what {
            Waits::ForAPart => position,
            Waits::ForMore => end,
        };
        if self.end.partial.waiting.is_some_and(|(known, known_at, _)| (known, known_at) == (what, at)) {
            return None;
        }
        self.end.partial.waiting = Some((what, at, due));
        Some(due)
    }

    pub(in crate::engine) fn waits_until(&self, due: Instant) -> bool {
        self.end.partial.doubted_since.is_some()
            || self.end.partial.waiting.is_some_and(|(_, _, known)| known == due)
    }

    /// Whether what waits in a file that is read to `position`, and whose last whole line ends at `end`, has waited long
    /// enough.
    pub(in crate::engine) fn has_waited(&self, position: Offset, end: Offset, now: Instant) -> bool {
        self.end.partial.waiting.is_some_and(|(what, at, due)| {
            let same = match what {
                Waits::ForAPart => at == position,
                Waits::ForMore => at == end,
            };
            same && due <= now
        })
    }

    /// Another incarnation begins: nothing that was learned of the last one's end holds.
    pub(in crate::engine) fn forget_end(&mut self) {
        let FileEnd { finished, mut extent, .. } = std::mem::take(&mut self.end);
        extent.forget();
        self.end = FileEnd { finished, extent, ..FileEnd::default() };
    }

    /// A read succeeded; returns whether that is news.
    pub(in crate::engine) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}
