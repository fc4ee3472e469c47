//! One incarnation while it is read and delivered: its ledger, its recent bytes and the records that wait.
//!
//! Knows one file's content. Does not know where the file is open, nor the other files.
//!
//! *Invariant (L3):* offsets never leave the incarnation they belong to; a truncated file gets a new one of these.

mod across;
mod beyond;
mod blocked;
mod idle;
mod lane;
mod naming;
mod provenance;
mod ready;
mod saving;
mod settling;
#[cfg(test)]
mod tests;
mod whose;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation, WINDOW_BYTES, unix_nanos};
use crate::model::offset::Offset;
use crate::model::record::{MEMORY_OVERHEAD_BYTES, Record};
use crate::model::said::Unmade;
use crate::model::seldom::Seldom;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::Retry;
use crate::rules::arrivals::ArrivalTimes;
use crate::rules::history::{Head, History};
use crate::rules::ledger::Ledger;

use self::across::Led;
use self::lane::Lane;
use self::provenance::Provenance;
use self::settling::Earlier;
pub(super) use self::whose::{Names, Whose};
use super::shaping::{Aside, Cut, Shaped};

/// What is known of one incarnation on its way from its file to the service.
#[derive(Debug)]
pub(super) struct IncarnationState {
    incarnation: Incarnation,
    whose: Whose,
    head: Head,
    ledger: Ledger,
    history: History,
    outgoing: Seldom<Outgoing>,
    durability: Durability,
    cut: Cut,
    /// How many bytes at the beginning are not read, because the source starts at the end.
    skipped_bytes: u64,
    /// How far the file was known to reach, in bytes, by reads and by looks: what lies beyond the position has no
    /// newline yet, or was not read.
    seen_bytes: u64,
    arrivals: Seldom<Arrivals>,
    lane: Lane,
    provenance: Provenance,
}

/// Records of one incarnation that are not settled.
#[derive(Debug, Default)]
struct Outgoing {
    /// Records that have not been taken by a request, in the order of the file.
    ready: VecDeque<Record>,
    /// How many of them, the first ones, had been taken before, and came back.
    returned: usize,
    /// What records that are not settled take beyond the bytes that were read, in bytes.
    extra_bytes: u64,
    /// Records that were taken by a request, or are to become dead letters, and are not settled.
    outstanding: usize,
    /// Those of them that are never accepted while there is no room for more dead letters. They stay here, and with
    /// them the frontier, until there is room.
    blocked: Vec<Blocked>,
    /// Whether the incarnation waits for its turn in its stream.
    in_turn: bool,
    /// Whether nothing fresh leaves, because what would be acknowledged has no room in a checkpoint.
    is_withheld: bool,
    beyond: beyond::Beyond,
    led: Led,
}

/// A record that is to become a dead letter, and has no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    pub(super) record: Record,
    /// Why it is not accepted.
    pub(super) why: Retry,
    /// What it takes to make records of it, where it is none.
    pub(super) unmade: Option<Box<Unmade>>,
}

/// What the state database is known to hold of one incarnation.
#[derive(Debug)]
struct Durability {
    /// Whether records name this incarnation: then none leaves before the database would know by its fingerprint, after
    /// a crash, that other lines are another incarnation's.
    is_named: bool,
    /// Whether records leave all the same, as nothing can be saved.
    goes_unsaved: bool,
    /// How many bytes the fingerprint covers that the database is known to hold; `None` when it holds none.
    known_by: Option<u16>,
    /// Where the last save that was begun stands, whether it came through or not: the frontier, and the ledger's revision.
    checkpointed: (Offset, u64),
    /// How far that save says that the file reaches, in bytes.
    extent_checkpointed: u64,
    /// The frontier that is durable.
    durable: Option<Offset>,
    /// Whether the file still holds what an earlier process settled beyond the frontier.
    earlier: Earlier,
}

/// When bytes of one incarnation were first noticed.
#[derive(Debug, Default)]
struct Arrivals {
    /// First seen to be in the file.
    seen: ArrivalTimes,
    read: ArrivalTimes,
}

/// What one read or one answer changed in an incarnation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    /// Bytes of memory budget before and after.
    pub(super) buffered: (u64, u64),
    /// Records that became ready.
    pub(super) fresh: usize,
    /// By how much the frontier rose, in bytes.
    pub(super) settled: u64,
}

impl IncarnationState {
    /// An incarnation that is read from where `history` stands; `known` is the checkpoint that it goes on from.
    pub(super) fn new(
        incarnation: Incarnation,
        whose: Whose,
        history: History,
        head: Head,
        known: Option<&Checkpoint>,
    ) -> Self {
        let position = history.position();
        let settled = known.filter(|known| known.offset == position).map(|known| &known.settled);
        // Without a window nothing would tell that the file still holds them.
        let settled = settled.filter(|settled| !settled.window().is_empty());
        let durability = Durability {
            is_named: false,
            goes_unsaved: false,
            known_by: known.map(|known| known.fingerprint.len()),
            checkpointed: (position, 0),
            extent_checkpointed: known.map_or(0, |known| known.seen_bytes),
            durable: known.map(|known| known.offset),
            earlier: Earlier::of(settled),
        };
        Self {
            incarnation,
            lane: Lane::of(&whose),
            whose,
            head,
            ledger: Ledger::resuming(position, settled.map_or(&[], |settled| settled.ranges())),
            history,
            outgoing: Seldom::default(),
            durability,
            cut: Cut { skipping_nuls: position == Offset::ZERO, ..Cut::of_new() },
            skipped_bytes: known.map_or(position.bytes(), |known| known.skipped_bytes),
            seen_bytes: position.bytes(),
            arrivals: Seldom::default(),
            provenance: Provenance::default(),
        }
    }

    /// The file had other content: a writer without `O_APPEND` may leave a hole of whatever length at its beginning.
    pub(super) fn follows_a_truncation(&mut self) {
        self.cut.few_nuls_are_data = false;
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(super) fn whose(&self) -> &Whose {
        &self.whose
    }

    pub(super) fn stream(&self) -> StreamId {
        self.whose.stream
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn cut(&self) -> Cut {
        self.cut
    }

    /// Where the next line begins.
    pub(super) fn position(&self) -> Offset {
        self.history.position()
    }

    /// Every byte before it is settled.
    pub(super) fn frontier(&self) -> Offset {
        self.ledger.frontier()
    }

    pub(super) fn durable(&self) -> Option<Offset> {
        self.durability.durable
    }

    /// How far the file was known to reach, in bytes.
    pub(super) fn seen_bytes(&self) -> u64 {
        self.seen_bytes
    }

    /// What was seen and not read, in bytes.
    pub(super) fn unread_bytes(&self) -> u64 {
        self.seen_bytes.saturating_sub(self.position().bytes())
    }

    /// When the oldest byte that is not settled was first seen.
    pub(super) fn behind_since(&self) -> Option<Instant> {
        self.arrivals.seen.oldest()
    }

    /// When a record was read.
    pub(super) fn read_at(&self, record: &Record) -> Option<Instant> {
        self.arrivals.read.of(record.span.start())
    }

    /// What the memory budget is charged for this incarnation, in bytes.
    pub(super) fn buffered(&self) -> u64 {
        let held = self.ledger.admitted().since(self.held_from());
        held + self.history.marks_bytes()
            + self.provenance.bytes()
            + self.outgoing.extra_bytes
            + self.ledger.pieces() as u64 * MEMORY_OVERHEAD_BYTES
    }

    /// Another file, or another name, goes on with this incarnation.
    pub(super) fn goes_on_in(&mut self, source: SourceId, (path, target): Names, identity: Identity) {
        self.whose.source = source;
        self.whose.identity = identity;
        self.durability.earlier.doubt();
        self.rename(path, target);
    }

    /// The file is known to be another, with the same content.
    pub(super) fn identify(&mut self, identity: Identity) {
        self.whose.identity = identity;
    }

    /// The file was renamed.
    pub(super) fn rename(&mut self, path: Arc<Path>, target: Option<Arc<Path>>) {
        self.whose.path = path;
        self.whose.target = target;
    }

    /// What is older than this is not a missed generation of the file's family; returns whether that is news.
    pub(super) fn note_first_seen(&mut self, first_nanos: i64) -> bool {
        let seen = &mut self.whose.seen;
        let is_news = seen.first_nanos < first_nanos;
        seen.first_nanos = seen.first_nanos.max(first_nanos);
        is_news
    }

    /// A read found the content at this time since 1970.
    pub(super) fn note_read_at(&mut self, unix_time: Duration) {
        self.whose.seen.last_nanos = unix_nanos(unix_time);
    }

    /// A look found the file as it was read last, at this time in nanoseconds since 1970.
    pub(super) fn note_found_at(&mut self, unix_nanos: i64) {
        self.whose.seen.last_nanos = self.whose.seen.last_nanos.max(unix_nanos);
    }

    /// Another source of the same stream shows the file from now on.
    pub(super) fn hand_to(&mut self, source: SourceId) {
        self.whose.source = source;
    }

    /// A look says that the file reaches up to `size`.
    pub(super) fn note_seen(&mut self, size: u64, now: Instant) {
        self.seen_bytes = self.seen_bytes.max(size);
        self.arrivals.seen.note(Offset::new(size), now);
        self.release();
    }

    /// What was seen of another file says nothing of the one that goes on from here.
    pub(super) fn forget_seen(&mut self) {
        self.seen_bytes = self.position().bytes();
    }

    /// The bytes before the position were read and are the ones of last time.
    ///
    /// Where all of them are NULs, the position lies in the run at the beginning of a file: lines end in newlines.
    pub(super) fn recall(&mut self, before: Bytes) {
        let is_nul = before.len() >= WINDOW_BYTES && before.iter().all(|byte| *byte == 0);
        self.cut.skipping_nuls |= is_nul;
        self.cut.few_nuls_are_data &= !is_nul;
        self.history.recall(before);
    }

    /// Somebody looked whether the position lies in a line of which a piece was cut.
    pub(super) fn note_inside(&mut self, inside: bool) {
        self.cut.inside = Some(inside);
    }

    /// Takes in what was read at the position; `end` is where the read ended, and the file too when `at_end`.
    ///
    /// Returns what changed, and the records that are never to be sent, with why.
    pub(super) fn take_in(
        &mut self,
        shaped: Shaped,
        kept: Bytes,
        (end, at_end): (Offset, bool),
        now: Instant,
    ) -> (Change, Vec<(Record, Aside)>) {
        let (before, ready, frontier) = (self.buffered(), self.outgoing.ready.len(), self.frontier());
        if self.position() == Offset::ZERO {
            // No byte before the position vouches for what was seen when it was opened: it may be gone.
            self.head = Head::default();
        }
        if !shaped.pieces.is_empty() || !shaped.left_out.is_empty() {
            let names = (&self.whose.path, &self.whose.target);
            self.provenance.note_read(self.history.position(), names, shaped.left_out);
        }
        let dead = self.admit(shaped.pieces, shaped.rests);
        self.cut = shaped.cut;
        self.head.push(self.position(), &kept);
        self.history.push(kept);
        self.seen_bytes = if at_end { end.bytes() } else { self.seen_bytes.max(end.bytes()) };
        let (position, arrivals) = (self.position(), &mut *self.arrivals);
        arrivals.read.note(position, now);
        arrivals.seen.note(end, now);
        if at_end && !shaped.stopped {
            arrivals.seen.cut(position);
        }
        self.release();
        self.let_go();
        let change = Change {
            buffered: (before, self.buffered()),
            fresh: self.outgoing.ready.len() - ready,
            settled: self.frontier().since(frontier),
        };
        (change, dead)
    }

    /// The frontier may have risen: what lies before it needs no memory.
    pub(super) fn release(&mut self) {
        let frontier = self.ledger.frontier();
        self.history.settle(frontier);
        if let Some(arrivals) = self.arrivals.get_mut() {
            arrivals.seen.settle(frontier);
            arrivals.read.settle(frontier);
        }
        // Of many files, most are idle: what only a busy one needs is given back.
        self.arrivals.settle();
        if self.is_settled() {
            self.provenance.forget();
            self.rest();
        }
    }

    /// Whether everything that was read is settled.
    pub(super) fn is_settled(&self) -> bool {
        self.ledger.is_settled()
    }
}
