//! The splitter against any bytes in any chunks: nothing is lost, joined or invented, whatever the file holds.
//!
//! The first bytes choose the settings and where the reads end; the rest is the file.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use standpipe::model::limits::RECORD_BYTES;
use standpipe::model::offset::Offset;
use standpipe::model::settings::Newline;
use standpipe::rules::split::{Ending, Split, Tail};

/// The lines that one pass over the file gives, reading `step` bytes more each time nothing came.
fn lines(file: &Bytes, newline: Newline, step: usize) -> Vec<(u64, u64, Option<Bytes>)> {
    let (mut at, mut len, mut found) = (0, step, Vec::new());
    loop {
        let end = (at + len).min(file.len());
        let tail = if end == file.len() { Tail::Final } else { Tail::Grows };
        let chunk = file.slice(at..end);
        let mut split = Split::new(&chunk, Offset::new(at as u64), newline, tail);
        for line in split.by_ref() {
            let (start, end) = (line.span.start().bytes(), line.span.end().bytes());
            let raw = &file[start as usize..end as usize];
            let newlines = raw.iter().filter(|byte| **byte == b'\n').count();
            match line.ending {
                Ending::Newline => assert!(newlines == 1 && raw.ends_with(b"\n")),
                Ending::Cut | Ending::EndOfFile => assert_eq!(newlines, 0),
            }
            if let Some(data) = &line.data {
                assert!(!data.is_empty() && data.len() <= RECORD_BYTES);
                assert!(data.starts_with(raw.strip_suffix(b"\n").unwrap_or(raw)));
            }
            found.push((start, end, line.data));
        }
        let consumed = split.consumed();
        if end == file.len() {
            assert_eq!(at + consumed, file.len(), "every byte is in a line");
            return found;
        }
        len = if consumed == 0 { len * 4 } else { step };
        at += consumed;
    }
}

fuzz_target!(|input: &[u8]| {
    let [settings, step, rest @ ..] = input else { return };
    let newline = if settings & 1 == 0 { Newline::Append } else { Newline::Strip };
    // Long lines out of few bytes.
    let times = if settings & 2 == 0 { 1 } else { 40_000 };
    let file = Bytes::from(rest.repeat(if rest.len() < 100 { times } else { 1 }));
    let whole = lines(&file, newline, file.len().max(1));
    assert_eq!(whole, lines(&file, newline, usize::from(*step) * usize::from(*step) + 1), "chunks change nothing");
    let mut next = 0;
    for (start, end, _) in &whole {
        assert_eq!(*start, next, "spans are contiguous");
        next = *end;
    }
});
