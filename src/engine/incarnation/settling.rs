//! What is settled of one incarnation, by this process and by earlier ones, and what a checkpoint says of it.
//!
//! Spans that an earlier process settled beyond the frontier are settled again as they are read, and nothing of them is
//! sent: all of a record lies in one range, or all of it is sent. So a file that is cut otherwise than before, because its
//! configuration changed or a group of lines had waited too long, repeats some lines and loses none.
//!
//! *Invariant:* no range of an earlier process is relied on before the bytes at its end were read and are those of then.

use crate::model::identity::Window;
use crate::model::offset::{Offset, Span};
use crate::model::record::{Backing, Entry, Record, Rest, extra_bytes};
use crate::model::settled::Settled;
use crate::rules::ledger::Settlement;

use super::IncarnationState;
use crate::engine::shaping::{Aside, Piece};

/// What is known of the ranges that an earlier process settled beyond the frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    /// There are none.
    Nothing,
    /// The bytes just before the end of the last range are to be these.
    Unconfirmed(Window),
    /// The bytes just before the end of the last range are these.
    Confirmed(Window),
}

impl Earlier {
    pub(super) fn of(settled: Option<&Settled>) -> Self {
        match settled.filter(|settled| !settled.is_empty()) {
            Some(settled) => Self::Unconfirmed(settled.window()),
            None => Self::Nothing,
        }
    }

    /// Another file goes on: whether that one holds the ranges is asked again.
    pub(super) fn doubt(&mut self) {
        if let Self::Confirmed(window) = *self {
            *self = Self::Unconfirmed(window);
        }
    }
}

impl IncarnationState {
    /// Takes spans into the ledger, and records that are to be sent into the queue. Returns those that are never sent.
    ///
    /// `rests` says of each of the last spans what else its record stands for.
    pub(super) fn admit(
        &mut self,
        pieces: Vec<(Span, Piece)>,
        rests: Vec<Option<Rest>>,
    ) -> Vec<(Record, Aside)> {
        let mut dead = Vec::new();
        let mut known = self.settled_before(&pieces).into_iter();
        let without = pieces.len() - rests.len();
        let rests = std::iter::repeat_n(None, without).chain(rests);
        for ((span, piece), rest) in pieces.into_iter().zip(rests) {
            let entry = self.ledger.admit(span);
            let (incarnation, failures, rest) = (self.incarnation, 0, rest.map(Box::new));
            if known.next().unwrap_or(false) {
                let raised = self.ledger.settle(entry, Settlement::Delivered);
                self.outgoing.beyond.note(span.len(), raised.bytes);
                continue;
            }
            if let Piece::Send(_, backing) | Piece::DeadLetter(_, backing, _) = &piece
                && *backing != Backing::Read
            {
                self.ledger.set_apart(entry);
            }
            match piece {
                Piece::Settle => drop(self.ledger.settle(entry, Settlement::Nothing)),
                Piece::Send(data, backing) => {
                    self.outgoing.extra_bytes += extra_bytes(span, &data, backing);
                    let record = Record { incarnation, entry, span, data, backing, failures, rest };
                    self.outgoing.ready.push_back(record);
                }
                Piece::DeadLetter(data, backing, aside) => {
                    self.outgoing.extra_bytes += extra_bytes(span, &data, backing);
                    self.outgoing.outstanding += 1;
                    dead.push((Record { incarnation, entry, span, data, backing, failures, rest }, aside));
                }
            }
        }
        dead
    }

    /// For each piece, whether an earlier process settled it; nothing when it settled none. An empty span is a piece of
    /// the next that is not empty, and goes the way of that.
    fn settled_before(&self, pieces: &[(Span, Piece)]) -> Vec<bool> {
        let mut known = Vec::new();
        if !matches!(self.durability.earlier, Earlier::Confirmed(_)) || self.ledger.known().next().is_none() {
            return known;
        }
        for (index, (span, _)) in pieces.iter().enumerate().filter(|(_, (span, _))| !span.is_empty()) {
            known.resize(index + 1, self.ledger.knows(*span));
        }
        known
    }

    /// Where records are kept apart: the ranges that an earlier process settled and that were not read again.
    pub(in crate::engine) fn settled_earlier(&self) -> Vec<Span> {
        match self.durability.earlier {
            Earlier::Confirmed(_) => self.ledger.known().collect(),
            Earlier::Nothing | Earlier::Unconfirmed(_) => Vec::new(),
        }
    }

    /// What is to be read before ranges of an earlier process are relied on: where it ends, and how many bytes it is.
    pub(in crate::engine) fn to_confirm(&self) -> Option<(Offset, usize)> {
        let Earlier::Unconfirmed(window) = self.durability.earlier else { return None };
        let end = self.ledger.known().last()?.end();
        Some((end, usize::from(window.len())))
    }

    /// Whether the bytes that [`to_confirm`](Self::to_confirm) named are those of then: otherwise the file has other
    /// content.
    pub(in crate::engine) fn confirm(&mut self, bytes: &[u8]) -> bool {
        let Earlier::Unconfirmed(window) = self.durability.earlier else { return true };
        let is_there = bytes.len() == usize::from(window.len()) && window.matches(bytes);
        if is_there {
            self.durability.earlier = Earlier::Confirmed(window);
        }
        is_there
    }

    /// One record is settled: delivered, or put among the dead letters. Returns how many bytes of the file it settles.
    pub(in crate::engine) fn settle(&mut self, record: &Record, how: Settlement) -> u64 {
        self.outgoing.outstanding -= 1;
        self.outgoing.extra_bytes -= extra_bytes(record.span, &record.data, record.backing);
        let raised = self.ledger.settle(record.entry, how);
        self.outgoing.beyond.note(record.span.len(), raised.bytes);
        self.provenance.settle(self.ledger.frontier());
        record.span.len()
    }

    /// The data of a record, which goes again, is memory of its own from now on, and takes so many bytes more.
    pub(in crate::engine) fn set_apart(&mut self, entry: Entry, more_bytes: u64) {
        self.outgoing.extra_bytes += more_bytes;
        self.outgoing.beyond.look_again();
        self.ledger.set_apart(entry);
    }

    /// Withholds what was never sent while more than `max_bytes` are settled for which a checkpoint has no room, or lets it
    /// go again. What is under way, and goes again, closes gaps.
    pub(in crate::engine) fn weigh_ranges(&mut self, max_bytes: u64) {
        let is_withheld = self.ledger.over_bytes() >= max_bytes.max(1);
        if self.outgoing.is_withheld != is_withheld {
            self.outgoing.is_withheld = is_withheld;
        }
    }

    /// What is settled beyond the frontier, as far as a checkpoint holds it.
    pub(super) fn settled(&self, frontier: Offset) -> Settled {
        let ranges = self.ledger.ranges().held;
        let Some(end) = ranges.last().map(|range| range.end()) else { return Settled::default() };
        let window = match self.durability.earlier {
            Earlier::Unconfirmed(window) | Earlier::Confirmed(window) if end > self.position() => window,
            Earlier::Nothing | Earlier::Unconfirmed(_) | Earlier::Confirmed(_) => self.history.window(end),
        };
        Settled::try_new(frontier, ranges, window).expect("ranges of a ledger are in order and apart")
    }

    /// Whether what is settled is not what the last save held.
    pub(in crate::engine) fn has_unsaved_progress(&self) -> bool {
        self.durability.checkpointed != (self.frontier(), self.ledger.revision())
    }
}
