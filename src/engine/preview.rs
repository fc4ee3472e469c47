//! What the beginning of a file would become, without following it.
//!
//! Knows the settings of a source and of its stream, and what was read. Does not know files on their way, positions, or
//! what was delivered before. Called by `standpipe preview`.
//!
//! *Invariant:* records are made by the code that makes them for the daemon, from the file's first byte on.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::model::identity::{Identity, Incarnation};
use crate::model::message::ChunkEnd;
use crate::model::offset::{Offset, Span};
use crate::model::settings::{Format, SourceSettings, StreamSettings};
use crate::rules::envelope::EnvelopeTemplate;

use super::reading::fresh_bytes;
use super::report::SourceCounts;
use super::shaping::{Cut, Piece, Shape};

/// The beginning of one file.
#[derive(Clone, Debug)]
pub struct Beginning<'a> {
    pub path: &'a Path,
    /// What it leads to, where links stand on the way.
    pub target: Option<&'a Path>,
    pub identity: Identity,
    pub bytes: Bytes,
    /// When it was read, since 1970.
    pub unix_time: Duration,
}

/// What the beginning of a file comes to.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What becomes of which bytes of the file, one behind the other.
    pub pieces: Vec<(Span, Becomes)>,
    /// How many of the bytes that is: what is behind them waits for the rest of its line.
    pub bytes: usize,
    pub counts: SourceCounts,
}

/// What becomes of bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Becomes {
    Record(Bytes),
    /// Nothing: they are empty, dropped, skipped, or lost.
    NotSent,
    DeadLetter(Bytes),
}

/// Shapes the beginning of a file that nobody has read before, and that has been quiet for as long as a message waits.
pub fn preview(source: &SourceSettings, stream: &StreamSettings, file: &Beginning<'_>) -> Preview {
    let template = match &source.format {
        Format::Raw => None,
        Format::Json(envelope) => {
            let whose = (file.identity.into(), Incarnation(0));
            let files = (file.path, file.target);
            Some(EnvelopeTemplate::new(envelope, &source.name, files, whose, file.unix_time))
        }
    };
    let packing = stream.packing_within_quota();
    let shape = Shape::of(source, packing, template, &[]);
    let fresh = fresh_bytes(source, packing, false);
    let mut preview = Preview { pieces: Vec::new(), bytes: 0, counts: SourceCounts::default() };
    let (mut cut, mut len) = (Cut::of_new(), fresh);
    // Lines share a record only where they are read at once, so as much is taken in as the daemon would read.
    while preview.bytes < file.bytes.len() {
        let end = file.bytes.len().min(preview.bytes + len);
        let until = if end == file.bytes.len() { ChunkEnd::Quiet } else { ChunkEnd::Open };
        let chunk = file.bytes.slice(preview.bytes..end);
        let position = Offset::new(preview.bytes as u64);
        let shaped = shape.apply(position, &chunk, cut, (until, u64::MAX), &mut preview.counts);
        cut = shaped.cut;
        preview.bytes += shaped.bytes;
        preview.pieces.extend(shaped.pieces.into_iter().map(|(span, piece)| (span, Becomes::from(piece))));
        if shaped.bytes == 0 && until == ChunkEnd::Quiet {
            break;
        }
        // A message that is longer than what was read is looked at with more of it.
        len = if shaped.bytes == 0 { len * 4 } else { fresh };
    }
    preview
}

impl From<Piece> for Becomes {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Send(data, _) => Self::Record(data),
            Piece::Settle => Self::NotSent,
            Piece::DeadLetter(data, ..) => Self::DeadLetter(data),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::samples::settings;
    use crate::model::settings::{Compression, Packing};

    #[test]
    fn records_end_where_the_daemon_would_have_read_to() {
        let settings = settings(1);
        let (source, mut stream) = (&settings.sources[0], settings.streams[0].clone());
        let delay = Duration::ZERO;
        stream.packing = Packing::On { bytes: 1_000_000, delay, compression: Compression::Gzip };
        let identity = Identity { device: 1, inode: 2, birth_nanos: None };
        let bytes = Bytes::from([&b"line\n".repeat(100_000)[..], b"rest"].concat());
        let file =
            Beginning { path: Path::new("/a.log"), target: None, identity, bytes, unix_time: Duration::ZERO };
        let preview = preview(source, &stream, &file);
        let ends: Vec<_> = preview.pieces.iter().map(|(span, _)| span.end().bytes()).collect();
        assert_eq!(ends, [256 * 1024 / 5 * 5, 500_000]);
        assert_eq!((preview.bytes, preview.counts.lines_read), (500_000, 100_000));
        assert!(preview.pieces.iter().all(|(_, piece)| matches!(piece, Becomes::Record(_))));
    }
}
