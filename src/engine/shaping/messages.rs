//! Messages become records: whole ones alone or with others, long ones as `oversize` says.
//!
//! What becomes of a message follows from what was made of it. Knows one message at a time. Does not know lines, nor what
//! comes next.
//!
//! *Invariant (L17):* what does not fit into a record is never sent as one; all of it is among the dead letters, with why.

use bytes::Bytes;

use crate::engine::report::Loss;
use crate::model::limits::RECORD_BYTES;
use crate::model::message::{Message, Part};
use crate::model::offset::Span;
use crate::model::record::Backing;
use crate::model::said::Said;
use crate::model::settings::{Newline, Oversize};
use crate::rules::gather::LineAggregator;
use crate::rules::split::character_end;

use super::drops::Drops;
use super::pack::{Pack, Packed};
use super::shape::Made;
use super::{Cut, Piece, Shaping, Unsendable};

impl Shaping<'_> {
    /// Messages that are complete.
    pub(super) fn take_gathered(&mut self, gather: &mut LineAggregator<'_>, pack: &mut Pack, cut: &mut Cut) {
        while let Some(message) = gather.pop() {
            self.take_message(&message, pack, &mut cut.drops);
        }
    }

    pub(super) fn take_message(&mut self, message: &Message, pack: &mut Pack, drops: &mut Drops) {
        let shape = self.shape;
        let Message { span, content, part, .. } = message;
        self.counts.lines_read += message.lines as u64;
        if !shape.filter.is_empty() && drops.judge(shape.filter, message) {
            self.counts.dropped_lines += message.lines as u64;
            return self.drop_span(*span, pack);
        }
        if shape.runtime.is_some() && message.metadata.is_none() && matches!(part, Part::Whole | Part::Begins)
        {
            self.counts.unparsed_lines += message.lines as u64;
        }
        // Of empty lines that stand together, there is nothing but what stood between them.
        let says_nothing = || content.iter().all(|byte| *byte == b'\n');
        if shape.newline == Newline::Strip && shape.template.is_none() && says_nothing() {
            self.counts.empty_lines += if *part == Part::Whole { message.lines as u64 } else { 0 };
            self.admit_pack(pack);
            return self.pass_over(*span);
        }
        let mut made = shape.make(message, content, self.first_piece, std::mem::take(&mut self.spare));
        if let Some(why) = made.unmerged {
            *self.counts.unmerged_lines.entry(why).or_default() += message.lines as u64;
        }
        if *part == Part::Whole && made.taken == content.len() {
            shape.end(&mut made.data);
            return self.send_whole(*span, made.data, pack);
        }
        self.admit_pack(pack);
        match (shape.oversize, part) {
            (Oversize::Split, _) => self.take_pieces(message, made, pack),
            (Oversize::Truncate, Part::Whole | Part::Begins) if made.taken == 0 && !content.is_empty() => {
                self.put_aside(message, 0, Unsendable::Unfit);
            }
            (Oversize::Truncate, Part::Whole | Part::Begins) => {
                self.counts.oversize.truncated += 1;
                self.counts.add_lost(Loss::Oversize, (content.len() - made.taken) as u64);
                shape.end(&mut made.data);
                self.send_alone(*span, made.data, pack);
            }
            (Oversize::Truncate, Part::GoesOn | Part::Ends) => {
                self.discard_rest(*span, content.len());
            }
            (Oversize::DeadLetter, _) => {
                self.counts.oversize.dead_lettered += u64::from(matches!(part, Part::Whole | Part::Begins));
                self.put_aside(message, 0, Unsendable::Oversize);
            }
        }
    }

    /// Settles what is not shipped: by itself, or, where lines share records, with the record that it follows.
    fn drop_span(&mut self, span: Span, pack: &mut Pack) {
        if !pack.settle_with(span) {
            self.admit_pack(pack);
            return self.pass_over(span);
        }
        match self.left_out.last_mut() {
            _ if span.is_empty() => {}
            Some(before) if before.end() == span.start() => *before = Span::new(before.start(), span.end()),
            Some(_) | None => self.left_out.push(span),
        }
    }

    /// Several records of one message, of which the first is made: only the last settles its lines, so that they go again
    /// together or not at all.
    fn take_pieces(&mut self, message: &Message, first: Made, pack: &mut Pack) {
        let shape = self.shape;
        let start = message.span.start();
        let (mut made, mut gone) = (first, 0);
        let begins = matches!(message.part, Part::Whole | Part::Begins);
        self.counts.oversize.split += u64::from(begins && (made.taken > 0 || message.content.is_empty()));
        for piece in self.first_piece + 1.. {
            let rest = &message.content[gone..];
            if made.taken == 0 && !rest.is_empty() {
                return self.put_aside(message, gone, Unsendable::Unfit);
            }
            let is_last = made.taken == rest.len();
            let ends = is_last && matches!(message.part, Part::Whole | Part::Ends);
            // Raw pieces one behind the other are the line; objects are told apart like any others.
            if ends || shape.template.is_some() {
                shape.end(&mut made.data);
            }
            let span = if is_last { message.span } else { Span::new(start, start) };
            if made.data.is_empty() {
                self.pass_over(span);
            } else {
                self.send_alone(span, made.data, pack);
            }
            if is_last {
                break;
            }
            gone += made.taken;
            made = shape.make(message, &message.content[gone..], piece, Vec::new());
        }
    }

    /// Puts aside what was said but for the `gone` bytes that were sent, in pieces that were records; only the last settles
    /// its lines.
    fn put_aside(&mut self, message: &Message, gone: usize, why: Unsendable) {
        let (start, Message { at, metadata, part, .. }) = (message.span.start(), message);
        let mut rest = message.content.slice(gone..);
        let said = |rest: &Bytes, part: Part, has_newline: bool| {
            let before = (message.content.len() - rest.len()) as u64;
            Some(Said { at: *at, before, has_newline, part, metadata: metadata.clone() })
        };
        let mut is_first = gone == 0;
        while rest.len() > RECORD_BYTES - 1 {
            let said = said(&rest, part.piece(is_first, false), false);
            let piece = rest.split_to(character_end(&rest, RECORD_BYTES - 1));
            self.never_send(Span::new(start, start), piece, why, said);
            is_first = false;
        }
        let ends = matches!(part, Part::Whole | Part::Ends) && self.shape.newline == Newline::Append;
        let said = said(&rest, part.piece(is_first, true), ends);
        if ends {
            rest = [&rest[..], b"\n"].concat().into();
        }
        self.never_send(message.span, rest, why, said);
    }

    /// What becomes of a message of which `first_piece` says how its first piece is called, as a whole.
    pub(super) fn take_alone(&mut self, message: &Message) {
        let mut pack = Pack::new(self.shape.packing);
        self.take_message(message, &mut pack, &mut Drops::default());
        self.admit_pack(&mut pack);
    }

    /// Sends all of a message: with others, where they share a record.
    fn send_whole(&mut self, span: Span, record: Vec<u8>, pack: &mut Pack) {
        if !pack.is_off() {
            pack.add(span, record);
            return self.take_packed(pack);
        }
        match self.block.put(&record) {
            Some(data) => {
                self.push(span, Piece::Send(data, Backing::Shared));
                self.spare = record;
            }
            None => self.send_own(span, record.into_boxed_slice()),
        }
    }

    /// Sends what shares a record with nothing.
    fn send_alone(&mut self, span: Span, record: Vec<u8>, pack: &mut Pack) {
        pack.add_alone(span, record);
        self.take_packed(pack);
    }

    /// Sends what was packed, complete or not.
    pub(super) fn admit_pack(&mut self, pack: &mut Pack) {
        pack.close();
        self.take_packed(pack);
    }

    fn take_packed(&mut self, pack: &mut Pack) {
        while let Some(Packed { span, data, is_over }) = pack.pop() {
            let data = data.into_boxed_slice();
            match is_over {
                true => self.never_send(span, data.into(), Unsendable::Unfit, None),
                false => self.send_own(span, data),
            }
        }
    }
}
