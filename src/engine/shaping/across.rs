//! What a rotation cut: the end of a file and the beginning of the one that follows it, gathered as one text.
//!
//! Knows two texts, each of whole lines. Does not know which files they are of, nor when either was read.
//!
//! *Invariant (L1, L2):* the spans in each file are contiguous, and what settles together in one file settles together in the
//! other.

use bytes::Bytes;

use crate::engine::report::SourceCounts;
use crate::model::message::{ChunkEnd, Continues, Message};
use crate::model::offset::{Offset, Span};
use crate::rules::gather::{LineAggregator, Waits};

use super::pack::Pack;
use super::{Cut, Piece, Shape, Shaping, gather_line};

/// What became of the end of a file.
#[derive(Debug)]
pub(in crate::engine) enum Across {
    /// What comes next in the file that follows says whether the end goes on there: what whole lines wait for.
    Open(Option<Waits>),
    Divided(Box<Divided>),
}

/// The end of a file in pieces, with what says something of the beginning of the next file, too.
#[derive(Debug)]
pub(in crate::engine) struct Divided {
    /// Of the file alone, in its order from the position on.
    pub(in crate::engine) alone: Vec<(Span, Piece)>,
    /// Behind them, up to the end of the file.
    pub(in crate::engine) both: Vec<Both>,
    /// What is within spans of records of the file alone and in none of them.
    pub(in crate::engine) left_out: Vec<Span>,
    /// How many bytes at the beginning of the next file are done with.
    pub(in crate::engine) head_bytes: usize,
    /// How cutting stands behind these bytes.
    pub(in crate::engine) cut: Cut,
}

/// A piece that stands for the end of one file and the beginning of the next.
#[derive(Debug)]
pub(in crate::engine) struct Both {
    pub(in crate::engine) span: Span,
    /// In the next file.
    pub(in crate::engine) rest: Span,
    pub(in crate::engine) piece: Piece,
}

/// The messages that begin before the seam, with the state of cutting behind them; `None` where one that goes on behind the
/// seam cannot be told from what begins there.
fn of_first(messages: Vec<Message>, seam: Offset, gather: &LineAggregator<'_>) -> Option<Vec<Message>> {
    let covered = gather.covered();
    let first: Vec<_> = messages.into_iter().filter(|message| message.span.start() < seam).collect();
    let reaches = first.last().map(|message| message.span.end());
    // What began in the next file names that file, and settles with what began in this one.
    let is_mixed = first.iter().any(|message| message.at >= seam);
    let is_told = reaches == Some(covered) || gather.continues_there() == Continues::default();
    (!is_mixed && is_told).then_some(first)
}

impl Shape<'_> {
    /// Gathers the last lines of a file, which begin at `at`, with the first lines of the next, until all of the last lines
    /// belong to messages that are complete. Offsets go on behind the end of the file in the next one.
    pub(in crate::engine) fn apply_across(
        &self,
        at: Offset,
        (tail, next): (&[u8], &[u8]),
        cut: Cut,
        chunk_end: ChunkEnd,
        counts: &mut SourceCounts,
    ) -> Across {
        let seam = at.plus(tail.len() as u64);
        let text = Bytes::from([tail, next].concat());
        let mut gather = LineAggregator::new(self.multiline, self.max_message_bytes, at, cut.continues);
        let mut split = self.split(&text, at, chunk_end).beginning_inside(false);
        let mut messages = Vec::new();
        while gather.covered() < seam
            && let Some(line) = split.next()
        {
            gather_line(self.runtime, line, &mut gather);
            messages.extend(std::iter::from_fn(|| gather.pop()));
        }
        if gather.covered() < seam {
            gather.end(chunk_end);
            messages.extend(std::iter::from_fn(|| gather.pop()));
        }
        if gather.covered() < seam {
            return Across::Open(gather.waits());
        }
        let Some(messages) = of_first(messages, seam, &gather) else {
            return self.apply_across(at, (tail, &[]), cut, ChunkEnd::Closed, counts);
        };
        let cut =
            Cut { inside: Some(false), continues: gather.continues_there(), skipping_nuls: false, ..cut };
        Across::Divided(Box::new(self.divide(&messages, (at, seam), cut, counts)))
    }

    /// Messages that begin before the seam become pieces of one file, or of both.
    fn divide(
        &self,
        messages: &[Message],
        (at, seam): (Offset, Offset),
        mut cut: Cut,
        counts: &mut SourceCounts,
    ) -> Divided {
        let mut shaping = Shaping::new(self, counts);
        let mut pack = Pack::new(self.packing);
        for message in messages {
            // What says something of both files shares a record with nothing.
            if message.span.end() > seam {
                shaping.admit_pack(&mut pack);
            }
            shaping.take_message(message, &mut pack, &mut cut.drops);
        }
        shaping.admit_pack(&mut pack);
        let end = messages.last().map_or(at, |message| message.span.end());
        shaping.counts.bytes_read += end.since(at);
        let Shaping { pieces: mut alone, left_out, .. } = shaping;
        let both = match alone.last() {
            // Empty spans settle with the next one that is not empty.
            Some((last, _)) if last.end() > seam => {
                let before = alone[..alone.len() - 1].iter().rev();
                let empty = before.take_while(|(span, _)| span.is_empty()).count();
                alone.split_off(alone.len() - 1 - empty)
            }
            Some(_) | None => Vec::new(),
        };
        let both = both.into_iter().map(|(span, piece)| {
            let behind = Offset::new(span.end().bytes().saturating_sub(seam.bytes()));
            let span = Span::new(span.start(), span.end().min(seam));
            Both { span, rest: Span::new(Offset::ZERO, behind), piece }
        });
        let both = both.collect();
        let head_bytes = usize::try_from(end.since(seam)).expect("within what was read of the next file");
        Divided { alone, both, left_out, head_bytes, cut }
    }
}

#[cfg(test)]
mod tests;
