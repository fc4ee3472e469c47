use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::engine::samples::settings;
use crate::engine::shaping::Shaped;
use crate::model::limits::RECORD_BYTES;
use crate::model::message::Channel;
use crate::model::settings::{
    Compression, Grouping, LineFilter, Multiline, Oversize, Packing, Preset, Runtime, SourceSettings,
    StartPattern,
};

/// Where the last lines of the first file begin.
const AT: Offset = Offset::new(1_000);

fn grouped(grouping: Grouping) -> SourceSettings {
    let multiline = Multiline { grouping, max_lines: 500, timeout: Duration::from_secs(2) };
    SourceSettings { multiline: Some(multiline), ..settings(1).sources.remove(0) }
}

fn starting_with_digits() -> SourceSettings {
    grouped(Grouping::Start(StartPattern::try_new("^[0-9]").expect("a regular expression")))
}

fn of_runtime(runtime: Runtime) -> SourceSettings {
    SourceSettings { runtime: Some(runtime), ..settings(1).sources.remove(0) }
}

/// A line of a container as a runtime writes it; what is a part of one ends with `…`.
fn written(runtime: Runtime, channel: Channel, text: &str) -> String {
    let (label, part) = (channel.label(), text.strip_suffix('…'));
    let text = part.unwrap_or(text);
    match runtime {
        Runtime::Cri => {
            let tag = if part.is_some() { 'P' } else { 'F' };
            format!("2026-11-24T08:15:42Z {label} {tag} {text}\n")
        }
        Runtime::Docker => {
            let newline = if part.is_some() { "" } else { "\\n" };
            format!(r#"{{"log":"{text}{newline}","stream":"{label}","time":"2026-11-24T08:15:42Z"}}"#) + "\n"
        }
    }
}

fn across(source: &SourceSettings, tail: &str, next: &str, chunk_end: ChunkEnd) -> Across {
    let shape = Shape::of(source, Packing::Off, None, &[]);
    let mut counts = SourceCounts::default();
    shape.apply_across(AT, (tail.as_bytes(), next.as_bytes()), Cut::default(), chunk_end, &mut counts)
}

fn text(piece: &Piece) -> String {
    match piece {
        Piece::Send(data, _) => String::from_utf8_lossy(data).into_owned(),
        Piece::DeadLetter(data, ..) => format!("dead: {}", String::from_utf8_lossy(data)),
        Piece::Settle => "-".to_owned(),
    }
}

/// What is said of the first file alone, what of both, and how many bytes of the second file that takes; `None` while more is
/// waited for. The spans are those of the law.
fn told(
    source: &SourceSettings,
    tail: &str,
    next: &str,
    chunk_end: ChunkEnd,
) -> Option<(Vec<String>, Vec<String>, usize)> {
    let Across::Divided(divided) = across(source, tail, next, chunk_end) else { return None };
    let (mut first, mut second) = (AT, Offset::ZERO);
    let of_both = divided.both.iter().map(|both| (both.span, both.rest));
    let of_first = divided.alone.iter().map(|(span, _)| (*span, Span::new(Offset::ZERO, Offset::ZERO)));
    for (span, rest) in of_first.chain(of_both) {
        assert_eq!((span.start(), rest.start()), (first, second), "L2");
        (first, second) = (span.end(), rest.end());
    }
    assert_eq!(first, AT.plus(tail.len() as u64), "all of the first file is done with");
    assert_eq!(second.bytes(), divided.head_bytes as u64);
    let alone = divided.alone.iter().map(|(_, piece)| text(piece)).collect();
    Some((alone, divided.both.iter().map(|both| text(&both.piece)).collect(), divided.head_bytes))
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn lines_go_on_in_the_next_file_until_one_of_it_begins_another_group() {
    let source = starting_with_digits();
    type Expected = Option<(&'static [&'static str], &'static [&'static str], usize)>;
    let rows: [(&str, &str, &str, ChunkEnd, Expected); 7] = [
        ("it goes on", "1\n a\n", " b\n2\n", ChunkEnd::Open, Some((&[], &["1\n a\n b\n"], 3))),
        ("it begins another", "1\n a\n", "2\n b\n", ChunkEnd::Open, Some((&["1\n a\n"], &[], 0))),
        ("it may go on", "1\n a\n", " b\n", ChunkEnd::Open, None),
        ("it does not within the time", "1\n a\n", " b\n", ChunkEnd::Quiet, Some((&[], &["1\n a\n b\n"], 3))),
        ("a line has no newline yet", "1\n", " b\n c", ChunkEnd::Quiet, Some((&[], &["1\n b\n"], 3))),
        ("nothing of it is there", "1\n a\n", "", ChunkEnd::Closed, Some((&["1\n a\n"], &[], 0))),
        ("the end goes on from nowhere", " z\n", " b\n2\n", ChunkEnd::Open, Some((&[], &[" z\n b\n"], 3))),
    ];
    for (name, tail, next, chunk_end, expected) in rows {
        let expected = expected.map(|(alone, both, head)| (owned(alone), owned(both), head));
        assert_eq!(told(&source, tail, next, chunk_end), expected, "{name}");
    }
}

#[test]
fn a_stack_trace_goes_on_in_the_state_in_which_the_first_file_ended() {
    let java = grouped(Grouping::Traces(Preset::Java));
    let (tail, next) = ("E: no\n  at a.b(c)\n", "  at d.e(f)\nCaused by: x\nready\n");
    let expected = (vec![], owned(&["E: no\n  at a.b(c)\n  at d.e(f)\nCaused by: x\n"]), 25);
    assert_eq!(told(&java, tail, next, ChunkEnd::Open), Some(expected));
    // Python's last line of a trace is one only behind frames.
    let python = grouped(Grouping::Traces(Preset::Python));
    let tail = "Traceback (most recent call last):\n  File \"a\", line 1\n";
    let whole = format!("{tail}    b()\nValueError: c\n");
    let expected = (vec![], vec![whole], 22);
    assert_eq!(told(&python, tail, "    b()\nValueError: c\nd\n", ChunkEnd::Open), Some(expected));
}

#[test]
fn parts_of_a_line_of_a_container_are_joined_with_the_rest_in_the_next_file() {
    for runtime in [Runtime::Cri, Runtime::Docker] {
        let source = of_runtime(runtime);
        let out = |text: &str| written(runtime, Channel::Stdout, text);
        let err = |text: &str| written(runtime, Channel::Stderr, text);
        let tail = out("a…") + &out("b…");
        let next = out("c…") + &out("d") + &out("e");
        let head = (out("c…") + &out("d")).len();
        let expected = Some((vec![], owned(&["abcd\n"]), head));
        assert_eq!(told(&source, &tail, &next, ChunkEnd::Open), expected, "{runtime:?}");

        assert_eq!(
            told(&source, &tail, &out("c…"), ChunkEnd::Quiet),
            None,
            "{runtime:?}: the rest is missing"
        );

        // A whole line of the other channel stands before the rest: each names the file in which it begins.
        let mixed = out("a…") + &err("w");
        let expected = Some((vec![], owned(&["w\n", "ab\n"]), out("b").len()));
        assert_eq!(told(&source, &mixed, &out("b"), ChunkEnd::Open), expected, "{runtime:?}");
        let next = err("w") + &out("b");
        let expected = Some((owned(&["a\n"]), vec![], 0));
        assert_eq!(told(&source, &out("a…"), &next, ChunkEnd::Open), expected, "{runtime:?}");
    }
}

#[test]
fn what_is_left_out_is_done_with_in_both_files() {
    let drop = vec![StartPattern::try_new("b").expect("a regular expression")];
    let source = SourceSettings { filter: LineFilter { drop, keep: Vec::new() }, ..starting_with_digits() };
    assert_eq!(told(&source, "1\n a\n", " b\n2\n", ChunkEnd::Open), Some((vec![], owned(&["-"]), 3)));
}

#[test]
fn pieces_of_what_is_too_long_for_a_record_settle_together_in_both_files() {
    let out = |text: &str| written(Runtime::Cri, Channel::Stdout, text);
    let (tail, next) = (out(&("a".repeat(RECORD_BYTES - 100_000) + "…")), out(&"b".repeat(200_000)));
    for (oversize, expected) in [(Oversize::Split, 2), (Oversize::Truncate, 1), (Oversize::DeadLetter, 2)] {
        let max_message_bytes = 4 * RECORD_BYTES;
        let source = SourceSettings { oversize, max_message_bytes, ..of_runtime(Runtime::Cri) };
        let (alone, both, head) = told(&source, &tail, &next, ChunkEnd::Open).expect("the line is whole");
        assert_eq!((alone.len(), both.len(), head), (0, expected, next.len()), "{oversize:?}");
        let said: usize = both.iter().map(|piece| piece.matches(['a', 'b']).count()).sum();
        let whole = RECORD_BYTES + 100_000;
        let lost = if oversize == Oversize::Truncate { 100_001 } else { 0 };
        let words = if oversize == Oversize::DeadLetter { 2 } else { 0 };
        assert_eq!(said, whole - lost + words, "{oversize:?}");
    }
}

/// Lines with a word of their own each, some of which go on with the one before.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let begins = prop::collection::vec(any::<bool>(), 2..20);
    begins.prop_map(|begins| {
        let line =
            |(number, begins): (usize, bool)| format!("{}<{number}>\n", if begins { "1" } else { " " });
        begins.into_iter().enumerate().map(line).collect()
    })
}

fn parts(runtime: Runtime) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(any::<(bool, bool)>(), 2..20).prop_map(move |parts| {
        let part = |(number, (is_part, is_error)): (usize, (bool, bool))| {
            let channel = if is_error { Channel::Stderr } else { Channel::Stdout };
            written(runtime, channel, &format!("<{number}>{}", if is_part { "…" } else { "" }))
        };
        parts.into_iter().enumerate().map(part).collect()
    })
}

/// The records of a file that is read to an end at which something may be missing, and how many bytes of it they take.
fn read(source: &SourceSettings, packing: Packing, text: &str, at: Offset, chunk_end: ChunkEnd) -> Shaped {
    let shape = Shape::of(source, packing, None, &[]);
    let text = Bytes::copy_from_slice(text.as_bytes());
    shape.apply(at, &text, Cut::default(), (chunk_end, u64::MAX), &mut SourceCounts::default())
}

/// What was made of lines that are in two files, the second of which begins with the line of that number.
fn read_in_two(source: &SourceSettings, packing: Packing, lines: &[String], cut: usize) -> Vec<String> {
    let (first, second) = (lines[..cut].concat(), lines[cut..].concat());
    let before = read(source, packing, &first, Offset::ZERO, ChunkEnd::Open);
    let texts = |pieces: &[(Span, Piece)]| pieces.iter().map(|(_, piece)| text(piece)).collect::<Vec<_>>();
    let mut all = texts(&before.pieces);
    let (at, tail) = (Offset::new(before.bytes as u64), &first[before.bytes..]);
    let shape = Shape::of(source, packing, None, &[]);
    let mut counts = SourceCounts::default();
    let mut across = |next: &[u8], chunk_end| {
        shape.apply_across(at, (tail.as_bytes(), next), before.cut, chunk_end, &mut counts)
    };
    let divided = match across(second.as_bytes(), ChunkEnd::Quiet) {
        Across::Divided(divided) => divided,
        Across::Open(_) => match across(&[], ChunkEnd::Closed) {
            Across::Divided(divided) => divided,
            Across::Open(_) => panic!("nothing comes any more"),
        },
    };
    all.extend(texts(&divided.alone));
    all.extend(divided.both.iter().map(|both| text(&both.piece)));
    let rest = read(source, packing, &second[divided.head_bytes..], Offset::ZERO, ChunkEnd::Closed);
    all.extend(texts(&rest.pieces));
    all
}

proptest! {
    /// Wherever a rotation cuts a file, its groups are those of a file that was not cut.
    #[test]
    fn groups_that_are_cut_are_those_of_one_file(lines in lines(), cut in 1_usize..20) {
        let (source, cut) = (starting_with_digits(), cut.min(lines.len()));
        let whole = read(&source, Packing::Off, &lines.concat(), Offset::ZERO, ChunkEnd::Closed);
        let whole: Vec<_> = whole.pieces.iter().map(|(_, piece)| text(piece)).collect();
        prop_assert_eq!(read_in_two(&source, Packing::Off, &lines, cut), whole);
    }

    /// Whatever stands between parts, and whether lines share records or not, nothing is lost or comes twice.
    #[test]
    fn l2_what_is_cut_is_neither_lost_nor_comes_twice(
        lines in prop_oneof![lines(), parts(Runtime::Cri), parts(Runtime::Docker)], cut in 1_usize..20,
        runtime in prop::sample::select(&[None, Some(Runtime::Cri), Some(Runtime::Docker)]),
        longest in prop::sample::select(&[8_usize, 1_000]), pack in prop::sample::select(&[0_usize, 30, 2_000]),
    ) {
        let source = SourceSettings { runtime, max_message_bytes: longest, ..starting_with_digits() };
        let packing = match pack {
            0 => Packing::Off,
            bytes => Packing::On { bytes, delay: Duration::ZERO, compression: Compression::None },
        };
        let all = read_in_two(&source, packing, &lines, cut.min(lines.len())).concat();
        for number in 0..lines.len() {
            prop_assert_eq!(all.matches(&format!("<{number}>")).count(), 1, "{}: {}", number, all);
        }
    }
}
