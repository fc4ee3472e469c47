//! The splitter against any bytes in any chunks: nothing is lost, joined or invented, whatever the file holds.
//!
//! The first bytes choose the settings and where the reads end; the rest is the file.

use std::time::Duration;

use bytes::Bytes;
use standpipe::model::limits::{LINES_PER_RECORD, RECORD_BYTES};
use standpipe::model::message::ChunkEnd;
use standpipe::model::offset::Offset;
use standpipe::model::settings::{Compression, Newline, Packing};
use standpipe::rules::split::{Ending, Line, Split};

#[derive(Clone, Copy)]
struct Settings {
    newline: Newline,
    packing: Packing,
    longest: usize,
    piece: usize,
}

/// The lines that one pass over the file gives, reading `step` bytes more each time nothing came.
fn lines(file: &Bytes, settings: Settings, step: usize) -> Vec<Line> {
    let (mut at, mut len, mut inside, mut found) = (0, step, false, Vec::new());
    loop {
        let end = (at + len).min(file.len());
        let tail = if end == file.len() { ChunkEnd::Closed } else { ChunkEnd::Open };
        let chunk = file.slice(at..end);
        let mut split = Split::new(&chunk, Offset::new(at as u64), settings.newline, settings.packing, tail)
            .cutting_at(settings.longest, settings.piece)
            .beginning_inside(inside);
        for line in split.by_ref() {
            check(file, settings, &line);
            found.push(line);
        }
        inside = split.is_inside();
        let consumed = split.consumed();
        if end == file.len() {
            assert_eq!(at + consumed, file.len(), "every byte is in a line");
            return found;
        }
        assert!(consumed > 0 || len <= RECORD_BYTES, "a piece can be cut of what is longer than a record");
        len = if consumed == 0 { len * 4 } else { step };
        at += consumed;
    }
}

fn check(file: &Bytes, settings: Settings, line: &Line) {
    let raw = &file[line.span.start().bytes() as usize..line.span.end().bytes() as usize];
    let newlines = raw.iter().filter(|byte| **byte == b'\n').count();
    // Of a line that was cut, the piece that it begins with counts.
    let ends = line.lines + usize::from(line.continues);
    match line.ending {
        Ending::Newline => assert!(newlines == ends && raw.ends_with(b"\n")),
        Ending::Cut => assert!(
            newlines == 0
                && raw.len() <= settings.longest.min(settings.piece)
                && !file[line.span.end().bytes() as usize..].starts_with(b"\n")
        ),
        Ending::EndOfFile => assert!(newlines + 1 == ends && !raw.ends_with(b"\n")),
    }
    assert!(line.lines == usize::from(!line.continues) || matches!(settings.packing, Packing::On { .. }));
    assert!(line.lines <= LINES_PER_RECORD);
    if let Some(data) = &line.data {
        assert!(!data.is_empty() && data.len() <= RECORD_BYTES);
        assert!(data.starts_with(raw.strip_suffix(b"\n").unwrap_or(raw)));
    }
}

pub(crate) fn run(input: &[u8]) {
    let [choice, step, longest, rest @ ..] = input else { return };
    let packing = Packing::On { bytes: 200_000, delay: Duration::ZERO, compression: Compression::None };
    let settings = Settings {
        newline: if choice & 1 == 0 { Newline::Append } else { Newline::Strip },
        packing: if choice & 4 == 0 { Packing::Off } else { packing },
        longest: if choice & 8 == 0 { RECORD_BYTES } else { 16 + usize::from(*longest) },
        piece: if choice & 16 == 0 { RECORD_BYTES } else { 16 + usize::from(*longest) / 2 },
    };
    // Long lines out of few bytes, where it takes long lines to be cut.
    let times = if choice & 10 == 2 { 40_000 } else { 1 };
    let file = Bytes::from(rest.repeat(if rest.len() < 100 { times } else { 1 }));
    let whole = lines(&file, settings, file.len().max(1));
    let chunked = lines(&file, settings, usize::from(*step) * usize::from(*step) + 1);
    for found in [&whole, &chunked] {
        let (mut next, mut inside) = (0, false);
        for line in found {
            assert_eq!(line.span.start().bytes(), next, "spans are contiguous");
            assert_eq!(line.continues, inside, "a piece knows that it is one");
            next = line.span.end().bytes();
            inside = line.ending == Ending::Cut;
        }
    }
    if matches!(settings.packing, Packing::Off) {
        assert_eq!(whole, chunked, "chunks change nothing");
    } else {
        let sent =
            |lines: &[Line]| lines.iter().filter_map(|line| line.data.clone()).collect::<Vec<_>>().concat();
        assert_eq!(sent(&whole), sent(&chunked), "chunks change no byte");
    }
}
