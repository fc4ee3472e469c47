//! What was read of a file becomes records: cut, unwrapped, gathered, wrapped, packed, or never sent.
//!
//! Knows one chunk and how its source wants it. Does not know files, incarnations, or when and how much is read: a
//! chunk goes in, spans with what becomes of them come out.
//!
//! *Invariant (L1):* what is done with one message is done with all of it: its pieces settle their lines together.

mod across;
mod block;
mod cut;
mod drops;
mod gzip;
#[cfg(test)]
mod laws;
mod messages;
mod pack;
mod shape;

use std::borrow::Cow;

use bytes::Bytes;

use crate::model::message::{ChunkEnd, Message, Part};
use crate::model::offset::{Offset, Span};
use crate::model::record::{Backing, MEMORY_OVERHEAD_BYTES, Rest, extra_bytes};
use crate::model::said::Said;
use crate::model::settings::{Oversize, Runtime};
use crate::rules::gather::{self, LineAggregator, Waits};
use crate::rules::split::{self, Ending, Split, leading_nuls};
use crate::rules::unwrap::unwrap;

use super::report::{Loss, SourceCounts};

pub(super) use self::across::{Across, Both, Divided};
use self::block::Block;
pub(super) use self::cut::Cut;
pub(super) use self::gzip::gzip_member;
use self::pack::Pack;
pub(super) use self::shape::{Shape, lies_inside, look_back, max_unread_bytes};

/// The shortest run of NULs at the beginning of a file that is a hole whatever is known of the file, in bytes: a sector. No
/// text begins with so many.
const MIN_HOLE_BYTES: usize = 512;

/// What becomes of one span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A record is sent for it.
    Send(Bytes, Backing),
    /// No byte of it is sent: it is empty, skipped, or counted as lost.
    Settle,
    /// A record of the span is never sent, and kept among the dead letters.
    DeadLetter(Bytes, Backing, Aside),
}

/// Why a record is never sent, and what the daemon knew where it made none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aside {
    pub(super) why: Unsendable,
    /// `None` where what is put aside is a record.
    pub(super) said: Option<Box<Said>>,
}

/// Why a record is never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsendable {
    /// What was said is longer than the operator, or a record, lets it be.
    Oversize,
    /// What was made of it is over a limit of records.
    Unfit,
}

/// What one chunk came to.
#[derive(Debug)]
pub(super) struct Shaped {
    /// Contiguous from the position.
    pub(super) pieces: Vec<(Span, Piece)>,
    /// What is within spans of records and in none of them, in the order of the file.
    pub(super) left_out: Vec<Span>,
    /// How many of the chunk's bytes belong to messages that are complete.
    pub(super) bytes: usize,
    /// What the whole lines behind them wait for.
    pub(super) waits: Option<Waits>,
    /// Whether it stopped before the chunk's end, because what it made of it is enough.
    pub(super) stopped: bool,
    /// How cutting stands behind those bytes.
    pub(super) cut: Cut,
    /// For each of the last pieces, what else it stands for.
    pub(super) rests: Vec<Option<Rest>>,
}

impl Shaped {
    /// Nothing of a chunk is complete, and what is whole in it waits.
    pub(super) fn nothing(waits: Option<Waits>, cut: Cut) -> Self {
        let (pieces, left_out, rests) = (Vec::new(), Vec::new(), Vec::new());
        Self { pieces, left_out, bytes: 0, waits, stopped: false, cut, rests }
    }
}

/// Spans on their way to be records.
#[derive(Debug)]
struct Shaping<'a> {
    shape: &'a Shape<'a>,
    counts: &'a mut SourceCounts,
    pieces: Vec<(Span, Piece)>,
    left_out: Vec<Span>,
    /// What the records made so far take beyond the bytes that were read, in bytes.
    grown: u64,
    /// How much that may be, in bytes: what is left of the chunk is read again.
    max_growth: u64,
    /// The number of the first piece of a message: another than zero where a dead letter holds the rest of one.
    first_piece: usize,
    /// What records are made in that share memory.
    block: Block,
    /// What the next message is made in.
    spare: Vec<u8>,
}

/// What a line is of what was written.
fn part_of(line: &split::Line) -> Part {
    match (line.continues, line.ending) {
        (false, Ending::Newline | Ending::EndOfFile) => Part::Whole,
        (false, Ending::Cut) => Part::Begins,
        (true, Ending::Cut) => Part::GoesOn,
        (true, Ending::Newline | Ending::EndOfFile) => Part::Ends,
    }
}

/// A line as its program wrote it; one that `runtime` did not write stays as it is.
fn unwrapped(runtime: Option<Runtime>, span: Span, line: Bytes) -> gather::Line {
    let Some(unwrapped) = runtime.and_then(|runtime| unwrap(runtime, &line)) else {
        return gather::Line { span, content: line, metadata: None, is_partial: false };
    };
    let content = match unwrapped.content {
        Cow::Borrowed(content) => line.slice_ref(content),
        Cow::Owned(content) => content.into(),
    };
    gather::Line { span, content, metadata: Some(unwrapped.metadata), is_partial: unwrapped.is_partial }
}

/// A line, or a piece of one, is taken in among those before it.
fn gather_line(runtime: Option<Runtime>, line: split::Line, gather: &mut LineAggregator<'_>) {
    let part = part_of(&line);
    let mut data = line.data.expect("every line has a byte where newlines are appended");
    if line.ending != Ending::Cut {
        data.truncate(data.len() - 1);
    }
    match part {
        Part::Whole => gather.take(unwrapped(runtime, line.span, data)),
        Part::Begins | Part::GoesOn | Part::Ends => gather.take_piece(line.span, data, part),
    }
}

impl Shape<'_> {
    /// Cuts what was read at `position` into records, until these have grown by more than `max_growth` bytes beyond
    /// what was read. One record at least is made, where there is one.
    pub(super) fn apply(
        &self,
        position: Offset,
        chunk: &Bytes,
        mut cut: Cut,
        (chunk_end, max_growth): (ChunkEnd, u64),
        counts: &mut SourceCounts,
    ) -> Shaped {
        let mut shaping = Shaping { max_growth, ..Shaping::new(self, counts) };
        let nuls = shaping.skip_nuls(position, chunk, &mut cut);
        let (position, chunk) = (position.plus(nuls as u64), chunk.slice(nuls..));
        let split = self.split(&chunk, position, chunk_end).beginning_inside(cut.inside.unwrap_or(false));
        let (bytes, waits) = match self.is_plain() {
            true => (shaping.take_lines(split, &mut cut), None),
            false => shaping.take_messages(split, position, chunk_end, &mut cut),
        };
        let stopped = shaping.has_enough();
        shaping.counts.bytes_read += (nuls + bytes) as u64;
        let Shaping { pieces, left_out, .. } = shaping;
        Shaped { pieces, left_out, stopped, bytes: nuls + bytes, ..Shaped::nothing(waits, cut) }
    }
}

/// What becomes of one message by itself, whose first piece is called by that number.
pub(super) fn remade(
    shape: &Shape<'_>,
    message: &Message,
    first_piece: usize,
    counts: &mut SourceCounts,
) -> Vec<Piece> {
    let mut shaping = Shaping { first_piece, ..Shaping::new(shape, counts) };
    shaping.take_alone(message);
    shaping.pieces.into_iter().map(|(_, piece)| piece).collect()
}

impl<'a> Shaping<'a> {
    fn new(shape: &'a Shape<'a>, counts: &'a mut SourceCounts) -> Self {
        let (pieces, left_out, block, spare) = (Vec::new(), Vec::new(), Block::default(), Vec::new());
        Self { shape, counts, pieces, left_out, grown: 0, max_growth: u64::MAX, first_piece: 0, block, spare }
    }
}

impl Shaping<'_> {
    fn has_enough(&self) -> bool {
        self.grown > self.max_growth
    }

    fn push(&mut self, span: Span, piece: Piece) {
        if let Piece::Send(data, backing) | Piece::DeadLetter(data, backing, _) = &piece {
            self.grown += extra_bytes(span, data, *backing) + MEMORY_OVERHEAD_BYTES;
        }
        self.pieces.push((span, piece));
    }

    /// Sends a slice of what was read.
    fn send(&mut self, span: Span, data: Bytes) {
        self.push(span, Piece::Send(data, Backing::Read));
    }

    /// Sends what has memory of its own.
    fn send_own(&mut self, span: Span, data: impl Into<Bytes>) {
        self.push(span, Piece::Send(data.into(), Backing::Own));
    }

    /// What has no byte to send is settled, in one piece with what was before it.
    fn pass_over(&mut self, span: Span) {
        match self.pieces.last_mut() {
            Some((before, Piece::Settle)) if before.end() == span.start() => {
                *before = Span::new(before.start(), span.end());
            }
            Some(_) | None => self.push(span, Piece::Settle),
        }
    }

    fn never_send(&mut self, span: Span, data: Bytes, why: Unsendable, said: Option<Said>) {
        self.push(span, Piece::DeadLetter(data, Backing::Own, Aside { why, said: said.map(Box::new) }));
    }

    /// Lines that are records as they stand in the file.
    fn take_lines(&mut self, mut split: Split<'_>, cut: &mut Cut) -> usize {
        let mut edge = self.shape.next_edge(split.next_line());
        split.keep_apart_at(edge);
        while !self.has_enough()
            && let Some(line) = split.next()
        {
            if edge.is_some_and(|edge| line.span.end() >= edge) {
                edge = self.shape.next_edge(line.span.end());
                split.keep_apart_at(edge);
            }
            self.counts.partial_lines_shipped += u64::from(line.ending == Ending::EndOfFile);
            let part = part_of(&line);
            self.counts.lines_read += line.lines as u64;
            let Some(data) = line.data else {
                self.counts.empty_lines += u64::from(part == Part::Whole);
                self.pass_over(line.span);
                continue;
            };
            match (part, self.shape.oversize) {
                (Part::Whole, _) | (Part::Ends, Oversize::Split) => self.send(line.span, data),
                (Part::Begins | Part::GoesOn, Oversize::Split) => {
                    self.counts.oversize.split += u64::from(part == Part::Begins);
                    self.send(line.span, data);
                }
                (Part::Begins, Oversize::Truncate) => {
                    self.counts.oversize.truncated += 1;
                    let mut data = data.to_vec();
                    data.extend_from_slice(&b"\n"[..self.shape.newline_bytes()]);
                    self.send_own(line.span, data);
                }
                (Part::GoesOn, Oversize::Truncate) => self.discard_rest(line.span, data.len()),
                (Part::Ends, Oversize::Truncate) => {
                    self.discard_rest(line.span, data.len() - self.shape.newline_bytes());
                }
                (_, Oversize::DeadLetter) => {
                    self.counts.oversize.dead_lettered += u64::from(part == Part::Begins);
                    let has_newline = part == Part::Ends && self.shape.newline_bytes() > 0;
                    let said = Said { at: line.span.start(), before: 0, has_newline, part, metadata: None };
                    self.never_send(line.span, data, Unsendable::Oversize, Some(said));
                }
            }
        }
        cut.inside = Some(split.is_inside());
        split.consumed()
    }

    /// Lines that become records once they are unwrapped, joined, grouped or wrapped.
    fn take_messages(
        &mut self,
        mut split: Split<'_>,
        start: Offset,
        chunk_end: ChunkEnd,
        cut: &mut Cut,
    ) -> (usize, Option<Waits>) {
        let shape = self.shape;
        let mut gather = LineAggregator::new(shape.multiline, shape.max_message_bytes, start, cut.continues);
        let mut pack = Pack::new(shape.packing);
        let mut edge = shape.next_edge(start);
        while !self.has_enough()
            && let Some(line) = split.next()
        {
            if edge.is_some_and(|edge| line.span.start() >= edge) {
                edge = shape.next_edge(line.span.start());
                gather.break_here();
                self.take_gathered(&mut gather, &mut pack, cut);
                self.admit_pack(&mut pack);
            }
            self.counts.partial_lines_shipped += u64::from(line.ending == Ending::EndOfFile);
            gather_line(shape.runtime, line, &mut gather);
            self.take_gathered(&mut gather, &mut pack, cut);
        }
        let stopped = self.has_enough();
        gather.end(if stopped { ChunkEnd::Open } else { chunk_end });
        self.take_gathered(&mut gather, &mut pack, cut);
        self.admit_pack(&mut pack);
        cut.inside = Some(split.is_inside());
        cut.continues = gather.continues_there();
        let bytes = usize::try_from(gather.covered().since(start)).expect("within the chunk");
        (bytes, gather.waits().filter(|_| !stopped))
    }

    /// The rest of a line of which the beginning is sent.
    fn discard_rest(&mut self, span: Span, len: usize) {
        self.counts.add_lost(Loss::Oversize, len as u64);
        self.pass_over(span);
    }

    /// Settles the NUL run at the beginning of a file; returns its length.
    fn skip_nuls(&mut self, position: Offset, chunk: &Bytes, cut: &mut Cut) -> usize {
        if !cut.skipping_nuls || chunk.is_empty() {
            return 0;
        }
        let nuls = leading_nuls(chunk);
        if cut.few_nuls_are_data && nuls < MIN_HOLE_BYTES {
            // Of a chunk of nothing else, the next read says more.
            cut.skipping_nuls = nuls == chunk.len();
            return 0;
        }
        cut.skipping_nuls = nuls == chunk.len();
        cut.few_nuls_are_data = false;
        if nuls > 0 {
            self.pass_over(Span::new(position, position.plus(nuls as u64)));
            self.counts.nul_bytes += nuls as u64;
        }
        nuls
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::incarnation::{IncarnationState, Whose};
    use crate::engine::report::OversizeCounts;
    use crate::model::identity::{Identity, Incarnation, Seen};
    use crate::model::limits::RECORD_BYTES;
    use crate::model::settings::{LineFilter, Newline, Packing, SourceId, StartPattern, StreamId};
    use crate::model::time::Instant;
    use crate::rules::history::{Head, History};

    fn state() -> IncarnationState {
        let identity = Identity { device: 1, inode: 2, birth_nanos: None };
        let whose = Whose {
            source: SourceId(0),
            stream: StreamId(0),
            stream_name: "stream".into(),
            path: Path::new("/a.log").into(),
            target: None,
            seen: Seen { first_nanos: 0, last_nanos: 0, owner: 0 },
            identity,
            origin: identity.into(),
        };
        IncarnationState::new(Incarnation(0), whose, History::beginning(), Head::default(), None)
    }

    #[test]
    fn l1_the_pieces_of_a_message_settle_its_lines_together() {
        let filter = LineFilter::default();
        let shape = Shape {
            newline: Newline::Append,
            packing: Packing::Off,
            max_message_bytes: 16,
            max_line_bytes: RECORD_BYTES - 1,
            max_piece_bytes: RECORD_BYTES - 1,
            oversize: Oversize::Split,
            runtime: Some(Runtime::Cri),
            multiline: None,
            filter: &filter,
            template: None,
            settled: &[],
        };
        let line = Bytes::from(format!("2026-11-24T08:15:42Z stdout F {}\n", "0123456789".repeat(4)));
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut state = state();
            let mut counts = SourceCounts::default();
            let shaped =
                shape.apply(Offset::ZERO, &line, Cut::default(), (ChunkEnd::Open, u64::MAX), &mut counts);
            assert_eq!(shaped.bytes, line.len());
            let end = Offset::new(line.len() as u64);
            drop(state.take_in(shaped, line.clone(), (end, true), Instant::ZERO));
            let records: Vec<_> = std::iter::from_fn(|| state.take_ready()).collect();
            let sent: Vec<_> = records.iter().map(|record| &record.data[..]).collect();
            assert_eq!(sent, [&b"0123456789012345"[..], b"6789012345678901", b"23456789\n"]);
            for (settled, piece) in order.into_iter().enumerate() {
                assert_eq!(state.frontier(), Offset::ZERO, "after {settled} of {order:?}");
                state.settle(&records[piece], crate::rules::ledger::Settlement::Delivered);
            }
            assert_eq!(state.frontier(), end);
        }
    }

    fn patterns(texts: &[&str]) -> Vec<StartPattern> {
        texts.iter().map(|text| StartPattern::try_new(text).expect("a regular expression")).collect()
    }

    fn sent(shaped: &Shaped) -> Vec<String> {
        let text = |(_, piece): &(Span, Piece)| match piece {
            Piece::Send(data, _) => Some(String::from_utf8_lossy(data).into_owned()),
            Piece::Settle | Piece::DeadLetter(..) => None,
        };
        shaped.pieces.iter().filter_map(text).collect()
    }

    /// What is kept, what is dropped, how lines share records; the file; what is sent, and how many lines are dropped.
    #[test]
    fn what_is_dropped_is_settled_and_counted_and_the_rest_is_sent() {
        let on = Packing::On {
            bytes: 1_000,
            delay: std::time::Duration::ZERO,
            compression: crate::model::settings::Compression::None,
        };
        type Row<'a> = (&'a [&'a str], &'a [&'a str], Packing, &'a str, &'a [&'a str], u64);
        let rows: &[Row<'_>] = &[
            (&["E"], &[], Packing::Off, "E 1\nI 2\nI 3\nE 4\n", &["E 1\n", "E 4\n"], 2),
            (&[], &["^I"], Packing::Off, "E 1\nI 2\nx I\n", &["E 1\n", "x I\n"], 1),
            (&["E", "W"], &["x$"], Packing::Off, "E\nW x\nW\nI\n", &["E\n", "W\n"], 2),
            (&["E"], &[], on, "I\nE 1\nI\nE 2\nI\n", &["E 1\nE 2\n"], 3),
            (
                &["^E"],
                &[],
                Packing::Off,
                "E3456789abcdef0123456789\nI3456789abcdefE123456789E\n",
                &["E3456789abcdef01", "23456789\n"],
                1,
            ),
            (&["^$"], &[], Packing::Off, "\nx\n", &["\n"], 1),
        ];
        for (keep, drop, packing, text, expected, dropped) in rows {
            let filter = LineFilter { keep: patterns(keep), drop: patterns(drop) };
            let shape = Shape {
                newline: Newline::Append,
                packing: *packing,
                max_message_bytes: 16,
                max_line_bytes: 16,
                max_piece_bytes: 16,
                oversize: Oversize::Split,
                runtime: None,
                multiline: None,
                filter: &filter,
                template: None,
                settled: &[],
            };
            let (mut counts, chunk) = (SourceCounts::default(), Bytes::from(text.to_string()));
            let whole = (ChunkEnd::Open, u64::MAX);
            let shaped = shape.apply(Offset::ZERO, &chunk, Cut::default(), whole, &mut counts);
            assert_eq!(
                (sent(&shaped), counts.dropped_lines),
                (expected.iter().map(|line| (*line).to_owned()).collect(), *dropped),
                "{text:?}"
            );
            assert_eq!(shaped.bytes, text.len());
            let mut next = Offset::ZERO;
            for (span, _) in &shaped.pieces {
                assert_eq!(span.start(), next, "{text:?}");
                next = span.end();
            }
            assert_eq!(next.bytes(), text.len() as u64, "{text:?}: all of it is settled");
        }
    }

    /// What is dropped, whether newlines are sent, what becomes of long lines; the file; lines, those dropped, those empty, and
    /// those that are too long.
    #[test]
    fn each_line_is_counted_once_whatever_becomes_of_it() {
        let long = "0123456789abcdef".repeat(3);
        let text = format!("I\n\n{long}\nx\nI{long}\n");
        let (append, strip) = (Newline::Append, Newline::Strip);
        for (drop, newline, oversize, dropped, empty, oversized) in [
            (&[][..], append, Oversize::Split, 0, 0, 2),
            (&[], strip, Oversize::Split, 0, 1, 2),
            (&[], append, Oversize::Truncate, 0, 0, 2),
            (&[], append, Oversize::DeadLetter, 0, 0, 2),
            (&["^I"], append, Oversize::Split, 2, 0, 1),
            (&["^I"], strip, Oversize::Truncate, 2, 1, 1),
        ] {
            let filter = LineFilter { keep: Vec::new(), drop: patterns(drop) };
            let shape = Shape {
                newline,
                packing: Packing::Off,
                max_message_bytes: 16,
                max_line_bytes: 16,
                max_piece_bytes: 16,
                oversize,
                runtime: None,
                multiline: None,
                filter: &filter,
                template: None,
                settled: &[],
            };
            // In one read, and in reads that end within lines.
            for step in [text.len(), 20] {
                let (mut counts, mut cut, mut at) = (SourceCounts::default(), Cut::default(), 0);
                let mut end = step;
                while at < text.len() {
                    let chunk = Bytes::from(text[at..end.min(text.len())].to_owned());
                    let whole = (ChunkEnd::Open, u64::MAX);
                    let shaped = shape.apply(Offset::new(at as u64), &chunk, cut, whole, &mut counts);
                    (at, cut, end) = (at + shaped.bytes, shaped.cut, end + step);
                }
                let name = format!("{drop:?} {newline:?} {oversize:?} {step}");
                assert_eq!(
                    (counts.lines_read, counts.dropped_lines, counts.empty_lines),
                    (5, dropped, empty),
                    "{name}"
                );
                let OversizeCounts { split, truncated, dead_lettered } = counts.oversize;
                assert_eq!(split + truncated + dead_lettered, oversized, "{name}");
            }
        }
    }

    /// How many NULs, whether the file is known to be truncated, and how many bytes of them are sent.
    #[test]
    fn nuls_at_the_beginning_are_a_hole_where_there_are_many_or_the_file_was_truncated() {
        let filter = LineFilter::default();
        let shape = Shape {
            newline: Newline::Append,
            packing: Packing::Off,
            max_message_bytes: RECORD_BYTES,
            max_line_bytes: RECORD_BYTES - 1,
            max_piece_bytes: RECORD_BYTES - 1,
            oversize: Oversize::Split,
            runtime: None,
            multiline: None,
            filter: &filter,
            template: None,
            settled: &[],
        };
        for (nuls, is_truncated, sent_nuls) in
            [(1, false, 1), (511, false, 511), (512, false, 0), (1, true, 0), (0, true, 0), (9_000, false, 0)]
        {
            let text = [&vec![0; nuls][..], b"line\n"].concat();
            let cut = Cut { skipping_nuls: true, few_nuls_are_data: !is_truncated, ..Cut::default() };
            let (mut counts, chunk) = (SourceCounts::default(), Bytes::from(text.clone()));
            let shaped = shape.apply(Offset::ZERO, &chunk, cut, (ChunkEnd::Open, u64::MAX), &mut counts);
            assert_eq!(sent(&shaped).concat().len(), sent_nuls + 5, "{nuls} {is_truncated}");
            assert_eq!(counts.nul_bytes, (nuls - sent_nuls) as u64, "{nuls} {is_truncated}");
            assert!(!shaped.cut.skipping_nuls, "{nuls} {is_truncated}");
        }
    }

    #[test]
    fn the_rest_of_a_line_is_judged_with_its_beginning_also_in_the_next_read() {
        let filter = LineFilter { keep: patterns(&["^E"]), drop: Vec::new() };
        let shape = Shape {
            newline: Newline::Append,
            packing: Packing::Off,
            max_message_bytes: 16,
            max_line_bytes: 16,
            max_piece_bytes: 16,
            oversize: Oversize::Split,
            runtime: None,
            multiline: None,
            filter: &filter,
            template: None,
            settled: &[],
        };
        for (first, rest, expected) in
            [("I3456789abcdef0", "E\n", &[][..]), ("E3456789abcdef0", "I\n", &["1I\n"][..])]
        {
            let mut counts = SourceCounts::default();
            let chunk = Bytes::from(format!("{first}1{}", "1"));
            let whole = (ChunkEnd::Open, u64::MAX);
            let shaped = shape.apply(Offset::ZERO, &chunk, Cut::default(), whole, &mut counts);
            let position = Offset::new(shaped.bytes as u64);
            let chunk = Bytes::from(format!("{}{rest}", &"11"[shaped.bytes - 15..]));
            let rest = shape.apply(position, &chunk, shaped.cut, whole, &mut counts);
            assert_eq!(sent(&rest), expected, "{first}");
            // An earlier process read the beginning: nothing says what became of it.
            let cut = Cut { inside: Some(true), ..Cut::default() };
            assert_eq!(sent(&shape.apply(position, &chunk, cut, whole, &mut counts)).len(), 1, "{first}");
        }
    }
}
