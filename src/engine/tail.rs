//! One file, as the engine follows it.
//!
//! Knows how far reading has come in the file that is open now, and whether more may be there. Does not know what
//! becomes of the lines: that is the incarnation's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::SourceId;
use crate::model::time::Instant;
use crate::rules::gather::Waits;

use super::port::Read;

/// How much one read asks for unless a line is longer, in bytes.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// The delays between tries of a file that cannot be read.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);

/// One file that is followed, or to be followed.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) source: SourceId,
    pub(super) path: Arc<Path>,
    /// The other name that hints come under.
    pub(super) target: Option<Arc<Path>>,
    pub(super) identity: Identity,
    pub(super) phase: Phase,
    pub(super) descriptor: Descriptor,
    /// Whether some source matches a name of it.
    pub(super) name: Name,
    /// Size in bytes when last looked at.
    pub(super) size: u64,
    /// Whether there may be bytes that were not read.
    pub(super) dirty: bool,
    /// Whether it waits for its turn to be read.
    pub(super) turn: Turn,
    /// Whether its lines were collected long enough: it is read to its end.
    pub(super) collected: bool,
    /// The read that is under way.
    pub(super) reading: Option<Read>,
    /// When the last one ended.
    pub(super) read_at: Instant,
    /// How much to ask for at least beyond the overlap, in bytes: grows while a line does not fit.
    pub(super) at_least_bytes: usize,
    /// How much at its end belongs to no message that is complete, in bytes: it is read again when more comes.
    pub(super) incomplete_bytes: usize,
    /// Whole lines that wait: what for, where that begins or how far the file reached, and when that is long enough.
    waiting: Option<(Waits, Offset, Instant)>,
    /// When its last complete line was read, or it lost its name.
    pub(super) quiet_since: Instant,
    /// When it lost its name, or was opened without.
    pub(super) lost_since: Instant,
    /// What is left at the end, without newline, is a line.
    pub(super) last_line: LastLine,
    /// Whether it was read to its end since the engine was told to finish.
    pub(super) finished: bool,
    /// Nothing was known of it, and no byte of it was looked at.
    pub(super) is_new: bool,
    /// Whether it was opened only because it may be the copy of what was cut off.
    pub(super) only_as_copy: bool,
    /// Whether what is read is what a rotator compressed.
    pub(super) decompressed: bool,
    /// Its first bytes, while they are compared.
    pub(super) head: Bytes,
    pub(super) held_back_since: Instant,
    /// Failed tries in a row, and when the next is.
    failures: u32,
    pub(super) retry_at: Option<Instant>,
}

/// What a tail is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Opening {
        /// Whether it was there at the first start.
        at_first_start: bool,
    },
    /// Looking for the last line end, to start there.
    FindingEnd,
    Following(Incarnation),
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

/// Whether the file can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Descriptor {
    /// It is closed: nothing of it is unread as far as is known, or nobody knows where it is.
    None,
    /// It waits to be opened.
    Awaited,
    Opening,
    Open,
}

/// Whether a file waits to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    /// Among those that are read next.
    Queued,
    /// Until its stream has sent more of what was read.
    Deferred,
    /// Until enough lines for a record may have come.
    Collecting,
}

/// Whether a file still has a name that a source matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Matched,
    Lost,
}

/// What becomes of a last line without newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastLine {
    /// Its newline may still come.
    Waits,
    /// Nothing more comes: it is shipped.
    Ships,
}

impl Tail {
    pub(super) fn opening(
        source: SourceId,
        path: Arc<Path>,
        identity: Identity,
        name: Name,
        at_first_start: bool,
        now: Instant,
    ) -> Self {
        Self {
            source,
            path,
            target: None,
            identity,
            phase: Phase::Opening { at_first_start },
            descriptor: Descriptor::None,
            name,
            size: 0,
            dirty: false,
            turn: Turn::None,
            collected: false,
            reading: None,
            read_at: now,
            at_least_bytes: 0,
            incomplete_bytes: 0,
            waiting: None,
            quiet_since: now,
            lost_since: now,
            last_line: LastLine::Waits,
            finished: false,
            is_new: false,
            only_as_copy: false,
            decompressed: false,
            head: Bytes::new(),
            held_back_since: now,
            failures: 0,
            retry_at: None,
        }
    }

    /// The incarnation that is read, once the file is open: its own.
    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        match self.phase {
            Phase::Following(incarnation) | Phase::Alike { own: incarnation, .. } => Some(incarnation),
            Phase::Comparing { own, .. } => own,
            Phase::Opening { .. } | Phase::FindingEnd => None,
        }
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
        if self.waiting.is_some_and(|(known, known_at, _)| (known, known_at) == (what, at)) {
            return None;
        }
        self.waiting = Some((what, at, due));
        Some(due)
    }

    pub(super) fn waits_until(&self, due: Instant) -> bool {
        self.waiting.is_some_and(|(_, _, known)| known == due)
    }

    /// Whether what waits in a file that is read to `position`, and reaches to `end`, has waited long enough.
    pub(super) fn has_waited(&self, position: Offset, end: Offset, now: Instant) -> bool {
        self.waiting.is_some_and(|(what, at, due)| {
            let same = match what {
                Waits::ForAPart => at == position,
                Waits::ForMore => at == end,
            };
            same && due <= now
        })
    }

    /// Another incarnation begins: nothing that was learned of the last one's end holds.
    pub(super) fn forget_end(&mut self) {
        self.waiting = None;
        self.at_least_bytes = 0;
        self.incomplete_bytes = 0;
        self.collected = false;
    }

    /// A read failed; returns whether that is news.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let delay = FIRST_RETRY.saturating_mul(1 << (self.failures - 1).min(10)).min(MAX_RETRY);
        self.retry_at = Some(now + delay);
        self.failures == 1
    }

    /// A read succeeded; returns whether that is news.
    pub(super) fn succeeded(&mut self) -> bool {
        self.retry_at = None;
        std::mem::take(&mut self.failures) > 0
    }
}
