//! Lines that share compressed records: the lines, within every limit.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;
use crate::engine::report::SourceCounts;
use crate::engine::samples::settings;
use crate::engine::shaping::{Cut, Piece, Shape};
use crate::model::message::ChunkEnd;
use crate::model::offset::Offset;
use crate::model::settings::{Oversize, SourceSettings, StartPattern};

fn gzip(bytes: usize) -> Packing {
    Packing::On { bytes, delay: Duration::ZERO, compression: Compression::Gzip }
}

/// The records of a whole file, each with its span; what is settled without one is none.
fn records(source: &SourceSettings, packing: Packing, text: &[u8]) -> Vec<(Span, Bytes)> {
    let mut counts = SourceCounts::default();
    let whole = (ChunkEnd::Closed, u64::MAX);
    let shape = Shape::of(source, packing, None, &[]);
    let shaped = shape.apply(Offset::ZERO, &Bytes::copy_from_slice(text), Cut::default(), whole, &mut counts);
    let mut next = Offset::ZERO;
    for (span, _) in &shaped.pieces {
        assert_eq!(span.start(), next, "L2");
        next = span.end();
    }
    assert_eq!(next.bytes(), text.len() as u64);
    let sent = |(span, piece)| match piece {
        Piece::Send(data, _) => Some((span, data)),
        Piece::Settle | Piece::DeadLetter(..) => None,
    };
    shaped.pieces.into_iter().filter_map(sent).collect()
}

/// One member, to its last byte.
fn plain(member: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = GzDecoder::new(member);
    decoder.read_to_end(&mut plain).expect("a gzip member");
    assert!(decoder.into_inner().is_empty(), "nothing behind it");
    plain
}

/// A line of `len` bytes of `kinds` kinds, without its newline.
fn line(seed: u64, len: usize, kinds: u8) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| rng.u8(b' '..b' ' + kinds)).collect()
}

#[test]
fn a_record_holds_as_many_lines_as_compress_into_it() {
    let source = settings(1).sources.remove(0);
    let text: Vec<u8> =
        (0..60_000_u64).flat_map(|seed| [line(seed, 99, 4), b"\n".to_vec()].concat()).collect();
    for max in [5 * 1024, 100_000, RECORD_BYTES] {
        let records = records(&source, gzip(max), &text);
        let all: Vec<u8> = records.iter().flat_map(|(_, data)| plain(data)).collect();
        assert_eq!(all.len(), text.len());
        assert!(all == text, "the lines, in order");
        for (_, data) in &records[..records.len() - 1] {
            assert!((max / 2..=max).contains(&data.len()), "{} bytes of {max}", data.len());
        }
    }
}

#[test]
fn a_record_holds_no_more_than_a_reader_is_to_hold() {
    let source = settings(1).sources.remove(0);
    let text = b"the same again\n".repeat(1_200_000);
    let records = records(&source, gzip(RECORD_BYTES), &text);
    let lens: Vec<_> = records.iter().map(|(_, data)| plain(data).len()).collect();
    assert_eq!(lens.iter().sum::<usize>(), text.len());
    assert!(lens.len() == 3 && lens.iter().all(|len| *len <= MAX_PLAIN_BYTES), "{lens:?}");
}

/// A line of random bytes becomes longer by what gzip says around it.
#[test]
fn l17_a_line_that_fills_a_record_and_does_not_compress_is_two_members_that_settle_together() {
    let source = settings(1).sources.remove(0);
    let mut rng = fastrand::Rng::with_seed(7);
    let random = std::iter::repeat_with(|| rng.u8(..)).filter(|byte| *byte != b'\n');
    let text = [b"first\n".to_vec(), random.take(RECORD_BYTES - 1).collect(), b"\nlast\n".to_vec()].concat();
    let records = records(&source, gzip(RECORD_BYTES), &text);
    assert!(records.iter().all(|(_, data)| data.len() <= RECORD_BYTES), "L17");
    let spans: Vec<_> = records.iter().map(|(span, _)| (span.start().bytes(), span.end().bytes())).collect();
    let end = (6 + RECORD_BYTES) as u64;
    assert_eq!(spans, [(0, 6), (6, 6), (6, end + 5)], "the second half settles the line");
    assert!(records.iter().flat_map(|(_, data)| plain(data)).eq(text.iter().copied()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Compressed records are what records are without, whatever is dropped, too long, cut in pieces, or does not compress.
    #[test]
    fn l17_compressed_records_say_what_plain_ones_do_and_none_is_over_a_limit(
        lines in prop::collection::vec(
            (any::<u64>(), prop_oneof![40 => 0..300_usize, 2 => 30_000..120_000_usize, 1 => RECORD_BYTES - 600..RECORD_BYTES + 600], 1..90_u8),
            1..60,
        ),
        bytes in prop_oneof![1..300_usize, 5_000..200_000_usize, Just(RECORD_BYTES)],
        longest in prop_oneof![Just(16), Just(5_000), Just(RECORD_BYTES), Just(4 * RECORD_BYTES)],
        oversize in prop_oneof![Just(Oversize::Split), Just(Oversize::Truncate), Just(Oversize::DeadLetter)],
        drops: bool,
    ) {
        let text: Vec<u8> =
            lines.iter().flat_map(|(seed, len, kinds)| [line(*seed, *len, *kinds), b"\n".to_vec()].concat()).collect();
        let mut source = settings(1).sources.remove(0);
        (source.max_message_bytes, source.oversize) = (longest, oversize);
        if drops {
            source.filter.drop.push(StartPattern::try_new("^[ -$]").expect("a regular expression"));
        }
        let compressed = records(&source, gzip(bytes), &text);
        let (mut said, mut expected) = (Vec::new(), Vec::new());
        for (_, data) in &compressed {
            let plain = plain(data);
            prop_assert!(data.len() <= RECORD_BYTES, "L17: {} bytes", data.len());
            let lines = memchr::memchr_iter(b'\n', &plain).count();
            prop_assert!(data.len() <= bytes || lines <= 1, "{} bytes of {bytes} in {lines} lines", data.len());
            said.extend(plain);
        }
        records(&source, Packing::Off, &text).into_iter().for_each(|(_, data)| expected.extend_from_slice(&data));
        prop_assert!(said == expected, "{} bytes, and {}", said.len(), expected.len());
        prop_assert_eq!(records(&source, gzip(bytes), &text), compressed, "the same again");
    }
}
