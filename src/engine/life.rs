//! One incarnation while it is read and delivered: its ledger, its recent bytes and the records that wait.
//!
//! Knows one file's content. Does not know where the file is open, nor the other files.
//!
//! *Invariant (L3):* offsets never leave the incarnation they belong to; a truncated file gets a new one of these.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation, Origin};
use crate::model::message::Continues;
use crate::model::offset::{Offset, Span};
use crate::model::record::Record;
use crate::model::settings::{SourceId, StreamId};
use crate::rules::arrivals::ArrivalTimes;
use crate::rules::history::{Head, History};
use crate::rules::ledger::{Ledger, Raised};

use super::report::SourceCounts;
use super::tail::Tail;

/// What one waiting record costs beyond its bytes, in bytes: its place in the queues and the ledger. Counted
/// against the memory budget, which a file of very short lines would otherwise exceed many times over.
pub(super) const MEMORY_OVERHEAD_BYTES: u64 = 96;

/// How much more a record sends than it stands for, in bytes.
fn beyond(span: Span, data: &Bytes) -> u64 {
    (data.len() as u64).saturating_sub(span.end().since(span.start()))
}

/// What becomes of the checkpoint of an incarnation that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// Its content is gone, or nothing could tell its file from another.
    Forgotten,
    /// Its file may be there, and may be wanted again.
    Kept,
}

/// One incarnation on its way.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) incarnation: Incarnation,
    pub(super) source: SourceId,
    pub(super) stream: StreamId,
    pub(super) path: Arc<Path>,
    pub(super) identity: Identity,
    pub(super) origin: Origin,
    pub(super) head: Head,
    pub(super) ledger: Ledger,
    pub(super) history: History,
    /// Records that have not been taken by a request, in the order of the file.
    pub(super) ready: VecDeque<Record>,
    /// What the data of records that are not settled has beyond the bytes of the file that they stand for.
    pub(super) extra_bytes: u64,
    /// Whether records name this incarnation: then none leaves before the database would know by its fingerprint, after
    /// a crash, that other lines are another incarnation's.
    pub(super) is_named: bool,
    /// How many bytes the fingerprint covers that the database is known to hold; `None` when it holds none.
    pub(super) known_by: Option<u16>,
    /// Records that are to become dead letters, before anything else is done.
    pub(super) aside: Vec<Record>,
    /// Records that were taken by a request, or put aside, and are not settled.
    pub(super) outstanding: usize,
    /// Those of them that the service refused while there was no room for more dead letters. They stay here, and
    /// with them the frontier, until the next start.
    pub(super) stuck: usize,
    /// Whether it waits for its turn in its stream.
    pub(super) in_turn: bool,
    /// Whether more may be read of it.
    pub(super) attached: bool,
    /// What becomes of its checkpoint when it is settled and nothing more is read of it.
    pub(super) afterwards: Afterwards,
    /// Where the last save that was begun stands, whether it came through or not.
    pub(super) checkpointed: Offset,
    /// What the state database is known to hold.
    pub(super) durable: Option<Offset>,
    /// How far the file was known to reach, in bytes: what lies beyond the position has no newline yet, or was
    /// not read.
    pub(super) seen_bytes: u64,
    /// Whether the position lies in a line of which a piece was cut; `None` until somebody looked.
    pub(super) inside: Option<bool>,
    /// Of which channels a line goes on there that is too long for one message.
    pub(super) continues: Continues,
    /// Whether everything so far was the NUL run of a truncated file.
    pub(super) skipping_nuls: bool,
    /// When what is not settled was first seen to be in the file.
    pub(super) seen: ArrivalTimes,
    /// When what is not settled was read.
    pub(super) read: ArrivalTimes,
}

impl Life {
    /// Of the file that `tail` reads, from where `history` stands; `known` is the checkpoint that it goes on from.
    pub(super) fn of(
        tail: &Tail,
        stream: StreamId,
        incarnation: Incarnation,
        history: History,
        head: Head,
        known: Option<&Checkpoint>,
    ) -> Self {
        Self {
            incarnation,
            source: tail.source,
            stream,
            path: Arc::clone(&tail.path),
            identity: tail.identity,
            origin: known.map_or(tail.identity.into(), |known| known.origin),
            head,
            ledger: Ledger::starting_at(history.position()),
            checkpointed: history.position(),
            history,
            ready: Default::default(),
            extra_bytes: 0,
            is_named: false,
            known_by: known.map(|known| known.fingerprint.len()),
            aside: Vec::new(),
            outstanding: 0,
            stuck: 0,
            in_turn: false,
            attached: true,
            afterwards: Afterwards::Forgotten,
            durable: known.map(|known| known.offset),
            seen_bytes: tail.size,
            inside: None,
            continues: Continues::default(),
            skipping_nuls: false,
            seen: ArrivalTimes::default(),
            read: ArrivalTimes::default(),
        }
    }

    /// What the memory budget is charged for this incarnation, in bytes.
    pub(super) fn buffered(&self) -> u64 {
        let unsettled = self.ledger.admitted().since(self.ledger.frontier());
        unsettled + self.extra_bytes + self.ledger.open() as u64 * MEMORY_OVERHEAD_BYTES
    }

    /// Where the next line begins.
    pub(super) fn position(&self) -> Offset {
        self.history.position()
    }

    /// Whether its records wait until its fingerprint is durable.
    pub(super) fn awaits_save(&self) -> bool {
        self.is_named && self.known_by.is_none_or(|covered| covered < self.head.fingerprint().len())
    }

    /// What records that were not taken yet have beyond the bytes of the file, in bytes.
    pub(super) fn growth(&self) -> u64 {
        self.extra_bytes + self.ready.len() as u64 * MEMORY_OVERHEAD_BYTES
    }

    /// What has no byte to send is settled.
    pub(super) fn pass_over(&mut self, span: Span) {
        let entry = self.ledger.admit(span);
        self.ledger.settle(entry);
    }

    /// Never to be sent: the engine makes a dead letter of it.
    pub(super) fn never_send(&mut self, span: Span, data: Bytes) {
        let entry = self.ledger.admit(span);
        self.extra_bytes += beyond(span, &data);
        self.outstanding += 1;
        self.aside.push(Record { incarnation: self.incarnation, entry, span, data, failures: 0 });
    }

    pub(super) fn admit(&mut self, span: Span, data: Bytes) {
        let entry = self.ledger.admit(span);
        self.extra_bytes += beyond(span, &data);
        self.ready.push_back(Record { incarnation: self.incarnation, entry, span, data, failures: 0 });
    }

    /// These bytes are settled or became records.
    pub(super) fn keep(&mut self, bytes: Bytes, counts: &mut SourceCounts) {
        counts.bytes_read += bytes.len() as u64;
        self.head.push(self.position(), &bytes);
        self.history.push(bytes);
        self.let_go();
    }

    /// One record is settled.
    pub(super) fn settle(&mut self, record: &Record) -> Raised {
        self.outstanding -= 1;
        self.extra_bytes -= beyond(record.span, &record.data);
        self.ledger.settle(record.entry)
    }

    /// The frontier may have risen: what lies before it needs no memory.
    pub(super) fn let_go(&mut self) {
        let frontier = self.ledger.frontier();
        self.history.settle(frontier);
        self.seen.settle(frontier);
        self.read.settle(frontier);
    }

    /// Whether everything that was read is settled.
    pub(super) fn is_settled(&self) -> bool {
        self.ledger.is_settled()
    }

    /// Whether its frontier will rise no further: all is settled, or what is not is stuck or lies behind it.
    pub(super) fn has_come_to_rest(&self) -> bool {
        self.is_settled() || (self.stuck > 0 && self.outstanding == self.stuck)
    }

    /// What a checkpoint taken now holds.
    pub(super) fn checkpoint(&self, stream: Arc<str>) -> Checkpoint {
        let offset = self.ledger.frontier();
        Checkpoint {
            incarnation: self.incarnation,
            stream,
            path: Arc::clone(&self.path),
            identity: self.identity,
            origin: self.origin,
            fingerprint: self.head.fingerprint(),
            offset,
            window: self.history.window(offset),
        }
    }
}
