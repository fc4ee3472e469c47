//! How a source wants its lines: what is cut where, and what stands around it.

use bytes::Bytes;

use crate::model::limits::{ENVELOPE_BYTES, MAX_INCOMPLETE_BYTES, RECORD_BYTES};
use crate::model::message::{ChunkEnd, Message, Unmerged, max_incomplete_bytes};
use crate::model::offset::{Offset, Span};
use crate::model::settings::{
    Compression, Format, LineFilter, Multiline, Newline, Oversize, Packing, Runtime, SourceSettings,
};
use crate::rules::envelope::{EnvelopeTemplate, Wrapped};
use crate::rules::split::{Split, character_end};

/// How the lines of one file become records.
#[derive(Debug)]
pub(in crate::engine) struct Shape<'a> {
    pub(in crate::engine) newline: Newline,
    pub(in crate::engine) packing: Packing,
    pub(in crate::engine) max_message_bytes: usize,
    pub(super) max_line_bytes: usize,
    pub(super) max_piece_bytes: usize,
    pub(in crate::engine) oversize: Oversize,
    pub(in crate::engine) runtime: Option<Runtime>,
    pub(in crate::engine) multiline: Option<&'a Multiline>,
    pub(in crate::engine) filter: &'a LineFilter,
    pub(in crate::engine) template: Option<EnvelopeTemplate<'a>>,
    /// Ranges that an earlier process settled: no record lies on both sides of an edge of one, so that what is cut as
    /// before is in one range or in none.
    pub(in crate::engine) settled: &'a [Span],
}

impl<'a> Shape<'a> {
    pub(in crate::engine) fn of(
        source: &'a SourceSettings,
        packing: Packing,
        template: Option<EnvelopeTemplate<'a>>,
        settled: &'a [Span],
    ) -> Self {
        Self {
            newline: source.newline,
            packing,
            max_message_bytes: source.max_message_bytes,
            max_line_bytes: max_line_bytes(source),
            max_piece_bytes: max_piece_bytes(source),
            oversize: source.oversize,
            runtime: source.runtime,
            multiline: source.multiline.as_ref(),
            filter: &source.filter,
            template,
            settled,
        }
    }

    /// Whether a record is what stands in the file: then nothing is copied.
    pub(super) fn is_plain(&self) -> bool {
        self.runtime.is_none()
            && self.multiline.is_none()
            && self.template.is_none()
            && self.filter.is_empty()
            && self.packing.compression() == Compression::None
    }

    pub(super) fn split<'c>(&self, chunk: &'c Bytes, at: Offset, chunk_end: ChunkEnd) -> Split<'c> {
        // An empty line has an envelope, too, and lines share a record only once they are shaped.
        match (self.is_plain(), self.oversize) {
            (true, Oversize::Split) => Split::new(chunk, at, self.newline, self.packing, chunk_end)
                .cutting_at(self.max_message_bytes, self.max_message_bytes),
            (is_plain, _) => {
                let (newline, packing) =
                    if is_plain { (self.newline, self.packing) } else { (Newline::Append, Packing::Off) };
                Split::new(chunk, at, newline, packing, chunk_end)
                    .cutting_at(self.max_line_bytes, self.max_piece_bytes)
            }
        }
    }

    /// The next edge of a settled range behind a place.
    pub(super) fn next_edge(&self, place: Offset) -> Option<Offset> {
        let edges = self.settled.iter().flat_map(|range| [range.start(), range.end()]);
        edges.into_iter().find(|edge| *edge > place)
    }

    pub(super) fn newline_bytes(&self) -> usize {
        match self.newline {
            Newline::Append => 1,
            Newline::Strip => 0,
        }
    }

    /// What the beginning of `text` comes to, which is what `message` says from its piece of that number on: as much of it
    /// as one record holds, with its newline. It is written into `spare`, whatever that holds.
    pub(super) fn make(&self, message: &Message, text: &[u8], piece: usize, mut spare: Vec<u8>) -> Made {
        let max_bytes = RECORD_BYTES - self.newline_bytes();
        let cut = match self.oversize {
            Oversize::Split => piece_within,
            Oversize::Truncate | Oversize::DeadLetter => beginning_within,
        };
        let within = &text[..cut(text, self.max_message_bytes)];
        match &self.template {
            Some(template) => {
                let Wrapped { object, taken, unmerged } =
                    template.wrap(message, within, piece, max_bytes, spare);
                Made { data: object, taken, unmerged }
            }
            None => {
                let taken = cut(within, max_bytes);
                spare.clear();
                spare.reserve_exact(taken + 1);
                spare.extend_from_slice(&within[..taken]);
                Made { data: spare, taken, unmerged: None }
            }
        }
    }

    /// The newline that ends a record.
    pub(super) fn end(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(&b"\n"[..self.newline_bytes()]);
    }
}

/// What was made of the beginning of a text.
#[derive(Debug)]
pub(super) struct Made {
    /// Has room for a newline within what a record takes.
    pub(super) data: Vec<u8>,
    /// How much of the text that is, in bytes; nothing of one that is not empty where a record cannot hold even what stands
    /// around it.
    pub(super) taken: usize,
    pub(super) unmerged: Option<Unmerged>,
}

/// Where the beginning of `text` ends that is at most so long.
fn beginning_within(text: &[u8], most: usize) -> usize {
    if text.len() <= most { text.len() } else { character_end(text, most) }
}

/// Where a piece of `text` ends that is at most so long: what is left says more than line breaks.
fn piece_within(text: &[u8], most: usize) -> usize {
    let said = text.iter().rposition(|byte| *byte != b'\n').unwrap_or(text.len());
    if text.len() <= most { text.len() } else { character_end(text, most.min(said)) }
}

/// The longest line of a file that is looked at as a whole, in bytes: longer ones come in pieces.
fn max_line_bytes(source: &SourceSettings) -> usize {
    // A runtime writes more around a line than the line may be long. A piece that stands for its line gets a newline.
    let is_plain = source.runtime.is_none()
        && source.multiline.is_none()
        && source.format == Format::Raw
        && source.filter.is_empty();
    let most = if is_plain && source.newline == Newline::Strip { RECORD_BYTES } else { RECORD_BYTES - 1 };
    source.max_message_bytes.max(if source.runtime.is_some() { RECORD_BYTES } else { 0 }).min(most)
}

/// The longest piece of a line that is longer, in bytes. With an envelope around it, it is to be one record, and not one
/// and a bit. Of what is truncated the first piece is all that is shipped.
fn max_piece_bytes(source: &SourceSettings) -> usize {
    let longest = max_line_bytes(source);
    match (source.oversize, &source.format) {
        (Oversize::Split, Format::Json(_)) => longest.min(RECORD_BYTES - ENVELOPE_BYTES),
        (Oversize::Split | Oversize::Truncate | Oversize::DeadLetter, Format::Json(_) | Format::Raw) => {
            longest
        }
    }
}

/// Whether anything depends on whether a piece is the rest of a line: with `oversize = "split"` only whether it is judged
/// as a message of its own.
fn has_to_know_the_inside(source: &SourceSettings) -> bool {
    source.oversize != Oversize::Split || !source.filter.is_empty()
}

/// How much before the position says whether it lies in a line of which a piece was cut, in bytes; none where nothing
/// depends on it.
pub(in crate::engine) fn look_back(source: &SourceSettings, position: Offset) -> usize {
    if !has_to_know_the_inside(source) {
        return 0;
    }
    let max_line_bytes = max_line_bytes(source);
    match usize::try_from(position.bytes()) {
        // The shortest piece lacks three bytes of a character.
        Ok(position) if position < max_piece_bytes(source).saturating_sub(3) => 0,
        Ok(position) => position.min(max_line_bytes + 1),
        Err(_) => max_line_bytes + 1,
    }
}

/// Whether the position, which lies `before` bytes behind the beginning of `text`, is inside a line of which a piece was
/// cut: where it would be cut first, or behind more than a line is. A line that was shipped without its newline, at the end
/// of its file, goes on as one of its own. So does what follows a hole of NULs: if these were data, it is sent where it
/// could be left out.
pub(in crate::engine) fn lies_inside(source: &SourceSettings, text: &[u8], before: usize) -> bool {
    if !has_to_know_the_inside(source) {
        return false;
    }
    let line = &text[memchr::memrchr2(b'\n', 0, &text[..before]).map_or(0, |end| end + 1)..];
    let gone = before - (text.len() - line.len());
    gone > max_line_bytes(source) || (gone > 0 && gone == character_end(line, max_piece_bytes(source)))
}

/// The longest read that may bring nothing whole, in bytes.
pub(in crate::engine) fn max_unread_bytes(source: &SourceSettings) -> usize {
    let gathered = source.runtime.is_some() || source.multiline.is_some();
    MAX_INCOMPLETE_BYTES + if gathered { max_incomplete_bytes(source.max_message_bytes) } else { 0 }
}
