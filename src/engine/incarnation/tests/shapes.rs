//! A crash in the middle, whatever lines look like and however they are cut afterwards.

use std::io::Read as _;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::engine::report::SourceCounts;
use crate::engine::shaping::Shape;
use crate::model::limits::RECORD_BYTES;
use crate::model::message::ChunkEnd;
use crate::model::settings::{
    Compression, Grouping, LineFilter, Multiline, Newline, Oversize, Packing, Runtime, SourceSettings,
    StartPattern,
};
use crate::rules::ledger::Settlement;

/// How lines become records.
#[derive(Clone, Copy, Debug)]
struct Cutting {
    packing: Packing,
    multiline: Option<&'static str>,
    runtime: Option<Runtime>,
    max_message_bytes: usize,
}

fn packed(bytes: usize, compression: Compression) -> Packing {
    Packing::On { bytes, delay: Duration::ZERO, compression }
}

fn any_shape() -> impl Strategy<Value = Cutting> {
    let packing = prop_oneof![
        Just(Packing::Off),
        Just(packed(60, Compression::None)),
        Just(packed(RECORD_BYTES, Compression::None)),
        Just(packed(60, Compression::Gzip)),
        Just(packed(RECORD_BYTES, Compression::Gzip)),
    ];
    let multiline = prop_oneof![Just(None), Just(Some("^[0-4]")), Just(Some("a$"))];
    let max = prop_oneof![Just(RECORD_BYTES), Just(24)];
    (packing, multiline, any::<bool>(), max).prop_map(|(packing, multiline, unwraps, max_message_bytes)| {
        Cutting { packing, multiline, runtime: unwraps.then_some(Runtime::Cri), max_message_bytes }
    })
}

fn source(how: Cutting) -> SourceSettings {
    let mut source = crate::engine::samples::settings(1).sources.remove(0);
    source.newline = Newline::Append;
    source.oversize = Oversize::Split;
    source.max_message_bytes = how.max_message_bytes;
    source.runtime = how.runtime;
    source.filter = LineFilter::default();
    source.multiline = how.multiline.map(|start| Multiline {
        grouping: Grouping::Start(StartPattern::try_new(start).expect("a regular expression")),
        max_lines: 4,
        timeout: Duration::from_secs(2),
    });
    source
}

/// Lines that no other is like, as a container's runtime writes them.
fn file(lines: &[(u8, u8, bool, bool)]) -> String {
    let line = |(number, (first, len, is_stderr, is_partial)): (usize, &(u8, u8, bool, bool))| {
        let channel = if *is_stderr { "stderr" } else { "stdout" };
        // The last line of a channel is whole: a process that begins behind the first pieces of a line that never ends
        // does not know of them, and ends the last one with a newline.
        let goes_on = lines[number + 1..].iter().any(|(_, _, other, _)| other == is_stderr);
        let kind = if *is_partial && goes_on { "P" } else { "F" };
        let filler = "ab".repeat(usize::from(*len));
        format!("2026-11-24T08:15:42Z {channel} {kind} {}-{number:03}-{filler}\n", first % 10)
    };
    lines.iter().enumerate().map(line).collect()
}

/// Reads the file on from the position in steps of so many bytes, up to `until` of them.
fn read_on(state: &mut IncarnationState, text: &str, how: Cutting, step: usize, until: usize) {
    let source = source(how);
    let bytes = Bytes::from(text.to_owned());
    let mut len = step;
    loop {
        let from = state.position().bytes() as usize;
        let end = (from + len).min(until);
        let chunk = bytes.slice(from..end);
        let chunk_end = if end == text.len() { ChunkEnd::Closed } else { ChunkEnd::Open };
        let settled = state.settled_earlier();
        let shape = Shape::of(&source, how.packing, None, &settled);
        let mut counts = SourceCounts::default();
        let shaped = shape.apply(state.position(), &chunk, state.cut(), (chunk_end, u64::MAX), &mut counts);
        let taken = shaped.bytes;
        let kept = chunk.slice(..taken);
        let (_, dead) = state.take_in(shaped, kept, (Offset::new(end as u64), end == text.len()), at(0));
        assert!(dead.is_empty());
        if end == until {
            return;
        }
        // A message that is longer than what was read: the next read asks for more.
        len = if taken == 0 { len * 2 } else { step };
    }
}

/// What records say, one behind the other.
fn said(records: &[Bytes], how: Cutting) -> Vec<u8> {
    let all = records.concat();
    match how.packing.compression() {
        Compression::None => all,
        Compression::Gzip => {
            let mut text = Vec::new();
            let read = flate2::read::MultiGzDecoder::new(&all[..]).read_to_end(&mut text);
            assert!(read.is_ok() || all.is_empty(), "{read:?}");
            text
        }
    }
}

fn begun() -> IncarnationState {
    let mut state = state();
    state.note_inside(false);
    state
}

fn next_process(state: &IncarnationState, text: &str) -> IncarnationState {
    let mut next = resumed(&state.checkpoint());
    next.note_inside(false);
    if let Some((end, len)) = next.to_confirm() {
        let end = end.bytes() as usize;
        assert!(next.confirm(&text.as_bytes()[end - len..end]));
        assert_eq!(next.to_confirm(), None);
    }
    next
}

/// Delivers what `is_delivered` says, in turn; returns what was not, as it would be sent again: all records of a span.
fn deliver(state: &mut IncarnationState, mut is_delivered: impl FnMut() -> bool) -> Vec<Bytes> {
    let records: Vec<_> = std::iter::from_fn(|| state.take_ready()).collect();
    let (mut waiting, mut pieces, mut all_delivered) = (Vec::new(), Vec::new(), true);
    for record in records {
        let delivered = is_delivered();
        if delivered {
            state.settle(&record, Settlement::Delivered);
            state.release();
        }
        all_delivered &= delivered;
        pieces.push(record.data.clone());
        if !record.span.is_empty() {
            if !all_delivered {
                waiting.append(&mut pieces);
            }
            (pieces, all_delivered) = (Vec::new(), true);
        }
    }
    waiting
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// With the same configuration, what was not delivered comes again as it was, and nothing else does.
    #[test]
    fn l16_after_a_crash_exactly_what_was_not_delivered_is_sent(
        lines in prop::collection::vec((any::<u8>(), 0_u8..20, any::<bool>(), any::<bool>()), 8..60),
        how in any_shape(),
        steps in (1_usize..400, 1_usize..400),
        crashes in prop::collection::vec(prop::collection::vec(0_u8..4, 64), 1..4),
    ) {
        let text = file(&lines);
        let mut state = begun();
        read_on(&mut state, &text, how, steps.0, text.len());
        for answers in crashes {
            let mut answers = answers.into_iter();
            let waiting = deliver(&mut state, || answers.next().is_none_or(|answer| answer > 0));
            let mut next = next_process(&state, &text);
            read_on(&mut next, &text, how, steps.1, text.len());
            let mut again = next_process(&next, &text);
            read_on(&mut again, &text, how, steps.0, text.len());
            let sent: Vec<_> = std::iter::from_fn(|| next.take_ready()).map(|record| record.data).collect();
            // Which lines share a record depends on where reads end; and in groups over two channels, on where the first of
            // them begins, for what was delivered between them is not counted again.
            let both_channels = lines.iter().any(|line| line.2) && lines.iter().any(|line| !line.2);
            let spans_two = how.multiline.is_some() && how.runtime.is_some() && both_channels;
            let is_shared = how.packing != Packing::Off || spans_two;
            if is_shared {
                prop_assert_eq!(said(&sent, how), said(&waiting, how));
            } else {
                prop_assert_eq!(&sent, &waiting);
            }
            state = again;
        }
    }

    /// With another configuration some lines may come again, and none is lost: what was not settled is sent.
    #[test]
    fn l1_after_a_crash_no_line_is_lost_to_another_configuration(
        lines in prop::collection::vec((any::<u8>(), 0_u8..20, any::<bool>(), Just(false)), 8..60),
        hows in (any_shape(), any_shape()),
        steps in (1_usize..400, 1_usize..400),
        until in 0_usize..4_000,
        answers in prop::collection::vec(0_u8..3, 64),
    ) {
        let text = file(&lines);
        let (mut before, mut after) = hows;
        // Lines that are cut, or joined and cut, are known by no text.
        (before.max_message_bytes, after.max_message_bytes) = (RECORD_BYTES, RECORD_BYTES);
        let mut state = begun();
        read_on(&mut state, &text, before, steps.0, until.min(text.len()));
        let mut answers = answers.into_iter();
        let waiting = said(&deliver(&mut state, || answers.next().is_none_or(|answer| answer > 0)), before);
        let mut next = next_process(&state, &text);
        read_on(&mut next, &text, after, steps.1, text.len());
        let sent: Vec<_> = std::iter::from_fn(|| next.take_ready()).map(|record| record.data).collect();
        let (sent, waiting) = (said(&sent, after), String::from_utf8(waiting).expect("texts"));
        let position = state.position().bytes() as usize;
        let unread = text[position..].lines().map(|line| line.rsplit(' ').next().expect("a line has words"));
        let waiting = waiting.lines().map(|line| line.rsplit(' ').next().expect("a line has words"));
        for line in waiting.chain(unread) {
            prop_assert!(memchr::memmem::find(&sent, line.as_bytes()).is_some(), "L1: {line} is lost");
        }
    }
}
