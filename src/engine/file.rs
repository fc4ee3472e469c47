//! One followed file: which it is, what it is read for, and how far its end is known.
//!
//! Does not know what becomes of the lines: that is the incarnation's.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::gather::Waits;

use super::files::{Slot, State, StateOf};

/// One file that is followed, or to be followed.
#[derive(Debug)]
pub(super) struct FollowedFile {
    pub(super) source: SourceId,
    pub(super) stream: StreamId,
    pub(super) path: Arc<Path>,
    /// The other name that hints come under.
    pub(super) target: Option<Arc<Path>>,
    pub(super) identity: Identity,
    pub(super) task: Task,
    pub(super) state: StateOf,
    /// Whether some source matches a name of it.
    pub(super) name: Name,
    /// Size in bytes when last looked at.
    pub(super) size: u64,
    pub(super) end: FileEnd,
    pub(super) kind: Kind,
    pub(super) times: Times,
    /// Failed tries in a row.
    pub(super) failures: u32,
    /// Whether an answer that is awaited is late.
    pub(super) is_late: bool,
    /// Its first bytes, while they are compared.
    pub(super) head: Bytes,
}

/// What a file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// It is opened for the first time.
    Begin {
        /// Whether it was there at the first start.
        at_first_start: bool,
    },
    /// Looking for the last line end, to start there.
    FindEnd,
    Follow(Incarnation),
    /// Begins like a file from whose name its name may come: nothing is taken in until that file is cut off, or was
    /// not for a while.
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
pub(super) enum Name {
    Matched,
    Lost,
}

/// What is known of the end of a file.
#[derive(Debug, Default)]
pub(super) struct FileEnd {
    /// How much to ask for at least beyond the overlap, in bytes: grows while a line does not fit.
    pub(super) min_read_bytes: usize,
    /// How much belongs to no message that is complete, in bytes: it is read again when more comes.
    pub(super) incomplete_bytes: usize,
    /// How far the furthest read reached, in bytes.
    pub(super) read_end_bytes: u64,
    /// Whole lines that wait: what for, where that begins or how far the file reached, and when that is long enough.
    waiting: Option<(Waits, Offset, Instant)>,
    /// Whether lines were collected long enough: the file is read to its end.
    pub(super) collected: bool,
    /// Whether a last line without newline is a line.
    pub(super) ships_last_line: bool,
    /// Whether the file was read to its end since the engine was told to finish.
    pub(super) finished: bool,
}

/// What was known of a file when it was found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kind {
    /// Nothing was known of it, and no byte of it was looked at.
    pub(super) is_new: bool,
    /// It was opened only because it may be the copy of what was cut off.
    pub(super) only_as_copy: bool,
    /// What is read is what a rotator compressed.
    pub(super) decompressed: bool,
}

/// When things happened to a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The last read ended.
    pub(super) read_at: Instant,
    /// The last complete line was read, or the name was lost.
    pub(super) quiet_since: Instant,
    /// The name was lost.
    pub(super) lost_since: Instant,
    /// The file was held back.
    pub(super) held_back_since: Instant,
}

impl FollowedFile {
    /// A file that was just found under `path`, and is to be opened.
    pub(super) fn found(
        (source, stream): (SourceId, StreamId),
        path: Arc<Path>,
        identity: Identity,
        name: Name,
        at_first_start: bool,
        now: Instant,
    ) -> Self {
        Self {
            source,
            stream,
            path,
            target: None,
            identity,
            task: Task::Begin { at_first_start },
            state: StateOf::found(),
            name,
            size: 0,
            end: FileEnd::default(),
            kind: Kind::default(),
            times: Times { read_at: now, quiet_since: now, lost_since: now, held_back_since: now },
            failures: 0,
            is_late: false,
            head: Bytes::new(),
        }
    }

    /// What it is doing. `files.rs` alone changes it.
    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    /// What its openings and reads are counted by.
    pub(super) fn slot(&self) -> Slot {
        Slot { source: self.source, device: self.identity.device }
    }

    /// The incarnation that is read, once the file is open: its own.
    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        match self.task {
            Task::Follow(incarnation) | Task::Alike { own: incarnation, .. } => Some(incarnation),
            Task::Comparing { own, .. } => own,
            Task::Begin { .. } | Task::FindEnd => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().is_open()
    }

    /// No source matches a name of it from now on.
    pub(super) fn lose_name(&mut self, now: Instant) {
        if self.name == Name::Matched {
            self.times.lost_since = now;
        }
        self.name = Name::Lost;
        self.times.quiet_since = now;
    }

    /// A source matches a name of it: its last line may still get its newline.
    pub(super) fn find_name(&mut self) {
        self.name = Name::Matched;
        self.end.ships_last_line = false;
    }

    /// Whether it is looked after every second: hints no longer find it, or it is tried again.
    pub(super) fn needs_tick(&self) -> bool {
        self.name == Name::Lost
            || matches!(
                self.state(),
                State::FailsToOpen { .. } | State::FailsToRead { .. } | State::HeldBack { .. }
            )
    }

    /// Lines wait. Returns until when, where that is news: for a part from `position` on they wait so long whatever comes,
    /// for more from when the last came.
    pub(super) fn wait(
        &mut self,
        what: Waits,
        (position, end): (Offset, Offset),
        due: Instant,
    ) -> Option<Instant> {
        let at = match what {
            Waits::ForAPart => position,
            Waits::ForMore => end,
        };
        if self.end.waiting.is_some_and(|(known, known_at, _)| (known, known_at) == (what, at)) {
            return None;
        }
        self.end.waiting = Some((what, at, due));
        Some(due)
    }

    pub(super) fn waits_until(&self, due: Instant) -> bool {
        self.end.waiting.is_some_and(|(_, _, known)| known == due)
    }

    /// Whether what waits in a file that is read to `position`, and reaches to `end`, has waited long enough.
    pub(super) fn has_waited(&self, position: Offset, end: Offset, now: Instant) -> bool {
        self.end.waiting.is_some_and(|(what, at, due)| {
            let same = match what {
                Waits::ForAPart => at == position,
                Waits::ForMore => at == end,
            };
            same && due <= now
        })
    }

    /// Another incarnation begins: nothing that was learned of the last one's end holds.
    pub(super) fn forget_end(&mut self) {
        let finished = self.end.finished;
        self.end = FileEnd { finished, ..FileEnd::default() };
    }

    /// A read succeeded; returns whether that is news.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}
