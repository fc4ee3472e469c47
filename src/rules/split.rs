//! Bytes at an offset become lines; what has no newline yet is a value, not an error.
//!
//! Knows newlines and the service's largest record. Does not know files, streams or what comes next: the
//! engine hands it one chunk that starts where the last complete line ended, and reads the rest again when
//! more has come.
//!
//! *Invariant (L2):* the spans are contiguous from the chunk's start and end at line ends; a line that is too
//! long for one record ends where each of its pieces ends.

use bytes::Bytes;
use memchr::memchr;

use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES};
use crate::model::message::ChunkEnd;
use crate::model::offset::{Offset, Span};
use crate::model::settings::{Newline, Packing};

/// One line, one piece of a line that is too long, or several lines that share a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The bytes of the file that it stands for, newline included.
    pub span: Span,
    /// What is sent; `None` when no byte is left to send.
    pub data: Option<Bytes>,
    pub ending: Ending,
    /// Whether it goes on with a line of which a piece was cut.
    pub continues: bool,
    /// How many lines begin in it: none in a piece that goes on.
    pub lines: usize,
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By its newline.
    Newline,
    /// By the longest line: its next piece follows.
    Cut,
    /// By the end of a file that will not grow any more.
    EndOfFile,
}

/// Cuts one chunk, line by line.
#[derive(Debug)]
pub struct Split<'a> {
    chunk: &'a Bytes,
    /// Where the chunk begins in the file.
    at: Offset,
    /// How much of the chunk has been cut.
    cut: usize,
    newline: Newline,
    packing: Packing,
    /// Where a record ends at the latest that holds many lines, if it begins before.
    apart_at: Option<Offset>,
    /// The longest line without its newline, in bytes.
    longest: usize,
    /// The longest piece of one that is longer.
    max_piece_bytes: usize,
    /// Whether the next byte is of a line of which a piece was cut.
    inside: bool,
    tail: ChunkEnd,
}

impl<'a> Split<'a> {
    /// Lines without their newlines do not share a record, whatever `packing` says: nothing would tell them apart.
    pub fn new(chunk: &'a Bytes, at: Offset, newline: Newline, packing: Packing, tail: ChunkEnd) -> Self {
        let packing = if newline == Newline::Strip { Packing::Off } else { packing };
        // The newline counts against the record only where it is sent.
        let longest = match newline {
            Newline::Append => RECORD_BYTES - 1,
            Newline::Strip => RECORD_BYTES,
        };
        let max_piece_bytes = RECORD_BYTES;
        Self {
            chunk,
            at,
            cut: 0,
            newline,
            packing,
            apart_at: None,
            longest,
            max_piece_bytes,
            inside: false,
            tail,
        }
    }

    /// Cuts longer lines than these into pieces of at most so many bytes, if that is less than a record takes.
    #[must_use]
    pub fn cutting_at(mut self, longest: usize, max_piece_bytes: usize) -> Self {
        self.longest = self.longest.min(longest);
        self.max_piece_bytes = self.max_piece_bytes.min(longest).min(max_piece_bytes);
        self
    }

    /// Says whether the chunk begins in a line of which a piece was cut before.
    #[must_use]
    pub fn beginning_inside(mut self, inside: bool) -> Self {
        self.inside = inside;
        self
    }

    /// The next lines do not share a record with those behind this place.
    pub fn keep_apart_at(&mut self, place: Option<Offset>) {
        self.apart_at = place;
    }

    /// Where the next line begins.
    pub fn next_line(&self) -> Offset {
        self.at.plus(u64::try_from(self.cut).expect("a chunk fits in memory"))
    }

    /// Whether what comes next goes on with a line of which a piece was cut.
    pub fn is_inside(&self) -> bool {
        self.inside
    }

    /// Bytes of the chunk that belong to the lines handed out so far.
    pub fn consumed(&self) -> usize {
        self.cut
    }

    fn line(&mut self, content: usize, newline: usize, ending: Ending) -> Line {
        let from = self.cut;
        let to = from + content + newline;
        self.cut = to;
        let data = match (self.newline, ending) {
            (Newline::Append, Ending::EndOfFile) => {
                let mut data = Vec::with_capacity(content + 1);
                data.extend_from_slice(&self.chunk[from..to]);
                data.push(b'\n');
                Bytes::from(data)
            }
            (Newline::Append, Ending::Newline | Ending::Cut) => self.chunk.slice(from..to),
            (Newline::Strip, _) => self.chunk.slice(from..from + content),
        };
        let len = u64::try_from(from).expect("a chunk fits in memory");
        let end = u64::try_from(to).expect("a chunk fits in memory");
        let continues = std::mem::replace(&mut self.inside, ending == Ending::Cut);
        Line {
            span: Span::new(self.at.plus(len), self.at.plus(end)),
            data: (!data.is_empty()).then_some(data),
            ending,
            continues,
            lines: usize::from(!continues),
        }
    }

    fn one(&mut self) -> Option<Line> {
        let left = &self.chunk[self.cut..];
        // One byte more than a line or a piece: it says whether a line ends there, or a character would be cut in two.
        let most = self.longest.max(self.max_piece_bytes);
        let within = &left[..left.len().min(most + 1)];
        let is_final = self.tail == ChunkEnd::Closed;
        match memchr(b'\n', within) {
            Some(content) if content <= self.longest => Some(self.line(content, 1, Ending::Newline)),
            None if within.len() <= most && !is_final => None,
            None if left.is_empty() => None,
            None if left.len() <= self.longest => Some(self.line(left.len(), 0, Ending::EndOfFile)),
            end => {
                // The last piece is never a newline alone.
                let content = end.unwrap_or(left.len());
                let piece = character_end(within, self.max_piece_bytes.min(content - 1));
                Some(self.line(piece, 0, Ending::Cut))
            }
        }
    }

    /// Takes the lines behind it into its record, as long as they are whole and fit. They stand one behind the other in
    /// the chunk as they will in the record, so nothing is copied.
    fn pack(&mut self, first: Line, max_bytes: usize) -> Line {
        let from = self.cut - first.data.as_ref().map_or(0, Bytes::len);
        let apart_at = self.apart_at.filter(|place| *place > first.span.start());
        let mut lines = first.lines;
        while lines < LINES_PER_RECORD {
            let room = max_bytes.min(RECORD_BYTES).saturating_sub(self.cut - from);
            let before = apart_at.map_or(u64::MAX, |place| place.since(self.next_line()));
            let room = room.min(usize::try_from(before).unwrap_or(usize::MAX));
            let left = &self.chunk[self.cut..];
            let Some(content) = memchr(b'\n', &left[..left.len().min(room)]) else { break };
            self.cut += content + 1;
            lines += 1;
        }
        let end = self.next_line();
        let data = Some(self.chunk.slice(from..self.cut));
        Line { span: Span::new(first.span.start(), end), data, lines, ..first }
    }
}

impl Iterator for Split<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let line = self.one()?;
        Some(match (self.packing, line.ending) {
            (Packing::On { bytes, .. }, Ending::Newline) if !line.continues => self.pack(line, bytes),
            (Packing::On { .. }, _) | (Packing::Off, _) => line,
        })
    }
}

/// The largest index up to `most`, and less than four bytes before it, at which no UTF-8 character is cut in two; `most`
/// where the bytes are no UTF-8.
pub fn character_end(text: &[u8], most: usize) -> usize {
    let continues = |at: usize| text.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    if !continues(most) {
        return most;
    }
    let first = (most.saturating_sub(3)..most).rev().find(|at| !continues(*at));
    match first.map(|first| (first, text[first])) {
        Some((first, 0xc2..=0xf4)) if first > 0 => first,
        _ => most,
    }
}

/// How many bytes at the start of `chunk` are NUL: the hole that a writer without `O_APPEND` leaves when it goes
/// on at its old offset in a truncated file.
pub fn leading_nuls(chunk: &[u8]) -> usize {
    chunk.iter().position(|byte| *byte != 0).unwrap_or(chunk.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::limits::MAX_INCOMPLETE_BYTES;

    fn cut(chunk: &[u8], newline: Newline, tail: ChunkEnd) -> (Vec<Line>, usize) {
        let chunk = Bytes::copy_from_slice(chunk);
        let mut split = Split::new(&chunk, Offset::new(100), newline, Packing::Off, tail);
        let lines: Vec<_> = split.by_ref().collect();
        (lines, split.consumed())
    }

    fn data(lines: &[Line]) -> Vec<&[u8]> {
        lines.iter().map(|line| line.data.as_deref().unwrap_or_default()).collect()
    }

    #[test]
    fn each_line_keeps_its_bytes_and_its_newline() {
        let (lines, consumed) = cut(b"a\r\n\0\xff\n\nrest", Newline::Append, ChunkEnd::Open);
        assert_eq!(data(&lines), [&b"a\r\n"[..], b"\0\xff\n", b"\n"]);
        assert_eq!(consumed, 7);
        assert_eq!(lines[2].span, Span::new(Offset::new(106), Offset::new(107)));
    }

    #[test]
    fn a_last_line_without_newline_gets_one_when_nothing_more_comes() {
        let (lines, consumed) = cut(b"a\nrest", Newline::Append, ChunkEnd::Closed);
        assert_eq!(data(&lines), [&b"a\n"[..], b"rest\n"]);
        assert_eq!(consumed, 6);
        assert_eq!(lines[1].ending, Ending::EndOfFile);
        assert_eq!(lines[1].span.end(), Offset::new(106), "the added newline is not in the file");
    }

    #[test]
    fn without_newlines_an_empty_line_has_nothing_to_send() {
        let (lines, _) = cut(b"a\n\nb\n", Newline::Strip, ChunkEnd::Open);
        assert_eq!(lines[1].data, None);
        assert_eq!(data(&lines), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn a_line_at_the_limit_is_whole_and_one_byte_more_is_cut() {
        for (newline, longest) in [(Newline::Append, RECORD_BYTES - 1), (Newline::Strip, RECORD_BYTES)] {
            let mut text = vec![b'x'; longest];
            text.push(b'\n');
            let (lines, _) = cut(&text, newline, ChunkEnd::Open);
            assert_eq!(lines.len(), 1, "{newline:?}");
            assert_eq!(lines[0].data.as_ref().map(Bytes::len), Some(RECORD_BYTES));

            text.insert(0, b'y');
            let (lines, consumed) = cut(&text, newline, ChunkEnd::Open);
            assert_eq!(lines[0].ending, Ending::Cut);
            // Where the rest would be a newline alone, it gets a byte of the line.
            let piece = if newline == Newline::Append { RECORD_BYTES - 1 } else { RECORD_BYTES };
            assert_eq!(lines[0].data.as_ref().map(Bytes::len), Some(piece));
            assert_eq!(consumed, text.len());
        }
    }

    /// How long a line is, whether its newline is there, and what its pieces come to.
    #[test]
    fn the_last_piece_of_a_line_has_content() {
        const ONE: usize = RECORD_BYTES;
        for (len, is_closed, expected) in [
            (ONE, false, vec![ONE - 1, 2]),
            (ONE + 1, false, vec![ONE, 2]),
            (2 * ONE, false, vec![ONE, ONE - 1, 2]),
            (ONE - 1, true, vec![ONE]),
            (ONE, true, vec![ONE - 1, 2]),
            (2 * ONE, true, vec![ONE, ONE - 1, 2]),
        ] {
            let mut text = vec![b'x'; len];
            text.extend((!is_closed).then_some(b'\n'));
            let tail = if is_closed { ChunkEnd::Closed } else { ChunkEnd::Open };
            let (lines, consumed) = cut(&text, Newline::Append, tail);
            let lens: Vec<_> = data(&lines).iter().map(|piece| piece.len()).collect();
            assert_eq!((lens, consumed), (expected, text.len()), "{len} {is_closed}");
        }
        let text = Bytes::from([&b"x".repeat(25)[..], "é\nshort\n".as_bytes()].concat());
        let split = Split::new(&text, Offset::ZERO, Newline::Append, Packing::Off, ChunkEnd::Open);
        let lines: Vec<_> = split.cutting_at(20, 10).collect();
        let lens: Vec<_> = data(&lines).iter().map(|piece| piece.len()).collect();
        assert_eq!(lens, [10, 18, 6], "a rest that is no longer than a line is one piece");
    }

    #[test]
    fn a_chunk_longer_than_the_longest_incomplete_one_always_yields_a_piece() {
        let text = vec![b'x'; MAX_INCOMPLETE_BYTES + 1];
        for newline in [Newline::Append, Newline::Strip] {
            assert!(!cut(&text, newline, ChunkEnd::Open).0.is_empty(), "{newline:?}");
        }
    }

    #[test]
    fn a_leading_run_of_nuls_is_measured() {
        assert_eq!(leading_nuls(b"\0\0\0a\0"), 3);
        assert_eq!(leading_nuls(b"\0\0"), 2);
        assert_eq!(leading_nuls(b"a"), 0);
    }

    fn packed(chunk: &[u8], bytes: usize, tail: ChunkEnd) -> Vec<Line> {
        let chunk = Bytes::copy_from_slice(chunk);
        let delay = std::time::Duration::ZERO;
        let packing = Packing::On { bytes, delay, compression: crate::model::settings::Compression::None };
        Split::new(&chunk, Offset::new(100), Newline::Append, packing, tail).collect()
    }

    #[test]
    fn lines_share_a_record_as_long_as_they_are_whole_and_fit() {
        let lines = packed(b"a\nbb\nccc\ndddd\nrest", 7, ChunkEnd::Open);
        assert_eq!(data(&lines), [&b"a\nbb\n"[..], b"ccc\n", b"dddd\n"]);
        assert_eq!(lines.iter().map(|line| line.lines).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(lines[0].span, Span::new(Offset::new(100), Offset::new(105)));
        // A line that is longer than a pack is a record by itself, and so is one without its newline.
        let lines = packed(b"a\nlong line\nb\nrest", 4, ChunkEnd::Closed);
        assert_eq!(data(&lines), [&b"a\n"[..], b"long line\n", b"b\n", b"rest\n"]);
    }

    #[test]
    fn no_record_has_more_lines_or_bytes_than_one_may() {
        let lines = packed(&b"\n".repeat(1201), RECORD_BYTES, ChunkEnd::Open);
        assert_eq!(lines.iter().map(|line| line.lines).collect::<Vec<_>>(), [500, 500, 201]);
        let line = [&[b'x'; 300_000][..], b"\n"].concat();
        let lines = packed(&line.repeat(5), usize::MAX, ChunkEnd::Open);
        assert_eq!(lines.iter().map(|line| line.lines).collect::<Vec<_>>(), [3, 2]);
    }

    proptest! {
        /// Sharing records changes neither a byte nor its order, and no record holds half a line.
        #[test]
        fn records_of_many_lines_are_the_lines(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..600),
            bytes in 1usize..80,
        ) {
            let apart = cut(&text, Newline::Append, ChunkEnd::Closed).0;
            let together = packed(&text, bytes, ChunkEnd::Closed);
            prop_assert_eq!(data(&together).concat(), data(&apart).concat());
            prop_assert_eq!(together.iter().map(|line| line.lines).sum::<usize>(), apart.len());
            let ends: Vec<_> = apart.iter().map(|line| line.span.end()).collect();
            let mut next = Offset::new(100);
            for line in &together {
                prop_assert_eq!(line.span.start(), next);
                next = line.span.end();
                prop_assert!(ends.contains(&next));
                prop_assert!(line.lines == 1 || line.data.as_ref().is_some_and(|data| data.len() <= bytes));
            }
        }

        /// L2, and the promise that raw data is the file's bytes, unchanged.
        #[test]
        fn l2_any_chunking_splits_like_the_whole(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(0u8), any::<u8>()], 0..400),
            steps in proptest::collection::vec(1usize..60, 1..20),
        ) {
            let whole = cut(&text, Newline::Append, ChunkEnd::Closed).0;
            let mut pieces = Vec::new();
            let (mut from, mut len, mut step) = (0, 1, 0);
            while from < text.len() {
                let to = (from + len).min(text.len());
                let chunk = Bytes::copy_from_slice(&text[from..to]);
                let tail = if to == text.len() { ChunkEnd::Closed } else { ChunkEnd::Open };
                let at = Offset::new(100 + u64::try_from(from).expect("small"));
                let mut split = Split::new(&chunk, at, Newline::Append, Packing::Off, tail);
                pieces.extend(split.by_ref());
                if split.consumed() == 0 { len *= 2 } else { len = steps[step % steps.len()] }
                from += split.consumed();
                step += 1;
            }
            let mut next = Offset::new(100);
            for line in &pieces {
                prop_assert_eq!(line.span.start(), next);
                next = line.span.end();
            }
            prop_assert_eq!(pieces, whole);
        }
    }
}
