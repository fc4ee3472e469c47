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
use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES};
use crate::model::offset::{Offset, Span};
use crate::model::record::Record;
use crate::model::settings::{Newline, Packing, SourceId, StreamId};
use crate::rules::envelope::{self, Sleeve};
use crate::rules::history::{Head, History};
use crate::rules::ledger::{Ledger, Raised};
use crate::rules::marks::Marks;
use crate::rules::split::{Ending, Split, Tail, leading_nuls};

use super::report::SourceCounts;

/// What one waiting record costs beyond its bytes, in bytes: its place in the queues and the ledger. Counted
/// against the memory budget, which a file of very short lines would otherwise exceed many times over.
pub(super) const RECORD_OVERHEAD_BYTES: u64 = 96;

/// How the lines of one file become records.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    pub(super) newline: Newline,
    pub(super) packing: Packing,
    pub(super) sleeve: Option<Sleeve<'a>>,
}

impl Shape<'_> {
    fn split<'c>(&self, chunk: &'c Bytes, at: Offset, tail: Tail) -> Split<'c> {
        match self.sleeve {
            None => Split::new(chunk, at, self.newline, self.packing, tail),
            // An empty line has an envelope, too, and lines share a record only once they are wrapped.
            Some(_) => {
                Split::new(chunk, at, Newline::Append, Packing::Off, tail).cutting_at(envelope::LINE_BYTES)
            }
        }
    }
}

/// Wrapped lines that share a record.
#[derive(Debug, Default)]
struct Pack {
    span: Option<Span>,
    data: Vec<u8>,
    lines: usize,
}

impl Pack {
    fn has_room(&self, more: usize, packing: Packing) -> bool {
        let most = match packing {
            Packing::Off => 0,
            Packing::On { bytes, .. } => bytes.min(RECORD_BYTES),
        };
        self.lines < LINES_PER_RECORD && self.data.len() + more <= most
    }

    fn add(&mut self, span: Span, wrapped: &[u8]) {
        let start = self.span.map_or(span.start(), Span::start);
        self.span = Some(Span::new(start, span.end()));
        self.data.extend_from_slice(wrapped);
        self.lines += 1;
    }
}

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
    /// Records that were taken by a request and are not settled.
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
    /// Whether everything so far was the NUL run of a truncated file.
    pub(super) skipping_nuls: bool,
    /// When what is not settled was first seen to be in the file.
    pub(super) seen: Marks,
    /// When what is not settled was read.
    pub(super) read: Marks,
}

impl Life {
    /// What the memory budget is charged for this incarnation, in bytes.
    pub(super) fn buffered(&self) -> u64 {
        let unsettled = self.ledger.admitted().since(self.ledger.frontier());
        unsettled + self.extra_bytes + self.ledger.open() as u64 * RECORD_OVERHEAD_BYTES
    }

    /// Where the next line begins.
    pub(super) fn position(&self) -> Offset {
        self.history.position()
    }

    /// Whether its records wait until its fingerprint is durable.
    pub(super) fn awaits_save(&self) -> bool {
        self.is_named && self.known_by.is_none_or(|covered| covered < self.head.fingerprint().len())
    }

    /// Cuts what was read at the position into records. Returns how many bytes belong to complete lines.
    pub(super) fn take_in(
        &mut self,
        chunk: &Bytes,
        shape: &Shape<'_>,
        tail: Tail,
        counts: &mut SourceCounts,
    ) -> usize {
        if self.position() == Offset::ZERO {
            // No byte before the position vouches for what was seen when it was opened: it may be gone.
            self.head = Head::default();
        }
        let nuls = self.skip_nuls(chunk, counts);
        let chunk = chunk.slice(nuls..);
        let mut split = shape.split(&chunk, self.position(), tail);
        let mut pack = Pack::default();
        for line in split.by_ref() {
            match line.ending {
                Ending::Newline => {}
                Ending::Cut => counts.oversize_pieces += 1,
                Ending::EndOfFile => counts.partial_lines_shipped += 1,
            }
            let Some(data) = line.data else {
                counts.empty_lines += 1;
                let entry = self.ledger.admit(line.span);
                self.ledger.settle(entry);
                continue;
            };
            counts.lines_read += line.lines as u64;
            let Some(sleeve) = &shape.sleeve else {
                self.admit(line.span, data);
                continue;
            };
            let content = match line.ending {
                Ending::Newline | Ending::EndOfFile => &data[..data.len() - 1],
                Ending::Cut => &data[..],
            };
            let mut wrapped = sleeve.wrap(content, line.span.start());
            if shape.newline == Newline::Append {
                wrapped.push(b'\n');
            }
            if !pack.has_room(wrapped.len(), shape.packing) {
                self.admit_pack(&mut pack);
            }
            pack.add(line.span, &wrapped);
        }
        self.admit_pack(&mut pack);
        let consumed = split.consumed();
        self.keep(chunk.slice(..consumed), counts);
        nuls + consumed
    }

    fn admit(&mut self, span: Span, data: Bytes) {
        let entry = self.ledger.admit(span);
        self.extra_bytes += beyond(span, &data);
        self.ready.push_back(Record { incarnation: self.incarnation, entry, span, data, failures: 0 });
    }

    fn admit_pack(&mut self, pack: &mut Pack) {
        if let Some(span) = pack.span.take() {
            self.admit(span, Bytes::from(std::mem::take(&mut pack.data).into_boxed_slice()));
        }
        pack.lines = 0;
    }

    fn skip_nuls(&mut self, chunk: &Bytes, counts: &mut SourceCounts) -> usize {
        if !self.skipping_nuls || chunk.is_empty() {
            return 0;
        }
        let nuls = leading_nuls(chunk);
        self.skipping_nuls = nuls == chunk.len();
        if nuls > 0 {
            let start = self.position();
            let entry = self.ledger.admit(Span::new(start, start.plus(nuls as u64)));
            self.ledger.settle(entry);
            counts.nul_bytes += nuls as u64;
            self.keep(chunk.slice(..nuls), counts);
        }
        nuls
    }

    fn keep(&mut self, bytes: Bytes, counts: &mut SourceCounts) {
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
