//! L17, asked of any shape.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Cut, Piece, Shape};
use crate::engine::report::SourceCounts;
use crate::engine::samples::settings;
use crate::model::identity::{Incarnation, Origin};
use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES};
use crate::model::message::ChunkEnd;
use crate::model::offset::Offset;
use crate::model::settings::{
    Compression, Envelope, Format, Newline, Oversize, Packing, Runtime, SourceSettings,
};
use crate::rules::envelope::EnvelopeTemplate;

/// What a line is made of, and how often: a byte that JSON writes as one, two or six, or an object that may be merged.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let unit = prop_oneof![
        Just(&b"a"[..]),
        Just(&b"\""[..]),
        Just(&b"\x01"[..]),
        Just(&b"\xff"[..]),
        Just(&b"\xf0\x9f\x98\x80"[..])
    ];
    let long = prop_oneof![6 => 0..40_usize, 1 => RECORD_BYTES / 6 - 40..RECORD_BYTES / 6 + 40, 1 => RECORD_BYTES - 40..RECORD_BYTES + 40];
    let text = (unit, long).prop_map(|(unit, times)| unit.repeat(times / unit.len()));
    let object = Just(br#"{"a":"b\n","n":1}"#.to_vec());
    let line = prop_oneof![4 => (text, 1..3_usize), 1 => (object, 1..700_usize), 1 => (Just(b"x".to_vec()), 400..1_200_usize)];
    let ended = |(text, times): (Vec<u8>, usize)| [text, b"\n".to_vec()].concat().repeat(times);
    prop::collection::vec(line.prop_map(ended), 1..6).prop_map(|lines| lines.concat())
}

fn source() -> impl Strategy<Value = SourceSettings> {
    let format = prop_oneof![
        Just(Format::Raw),
        any::<bool>().prop_map(|merge| {
            let fields = vec![("env".into(), "\"prod\"".into())];
            Format::Json(Envelope { host: "web-1".into(), fields, merge })
        })
    ];
    let newline = prop_oneof![Just(Newline::Append), Just(Newline::Strip)];
    let oversize = prop_oneof![Just(Oversize::Split), Just(Oversize::Truncate), Just(Oversize::DeadLetter)];
    let runtime = prop_oneof![3 => Just(None), 1 => Just(Some(Runtime::Cri))];
    let longest = prop_oneof![Just(16), Just(RECORD_BYTES), Just(4 * RECORD_BYTES)];
    (format, newline, oversize, runtime, longest).prop_map(|(format, newline, oversize, runtime, longest)| {
        let source = settings(1).sources.remove(0);
        SourceSettings { format, newline, oversize, runtime, max_message_bytes: longest, ..source }
    })
}

fn packing() -> impl Strategy<Value = Packing> {
    let on = (1..=RECORD_BYTES).prop_map(|bytes| Packing::On {
        bytes,
        delay: Duration::ZERO,
        compression: Compression::None,
    });
    prop_oneof![Just(Packing::Off), on]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn l17_no_record_is_over_a_limit_and_no_object_has_a_newline_inside(
        text in lines(), source in source(), packing in packing(),
    ) {
        // The configuration refuses to pack lines that nothing tells apart.
        let packing = if source.newline == Newline::Append { packing } else { Packing::Off };
        let file = Path::new("/var/log/app/a.log");
        let template = match &source.format {
            Format::Raw => None,
            Format::Json(envelope) => {
                let whose = (Origin { device: 1, inode: 2 }, Incarnation(3));
                Some(EnvelopeTemplate::new(envelope, "app", file, whose, Duration::from_secs(1)))
            }
        };
        let is_json = template.is_some();
        let shape = Shape::of(&source, packing, template, &[]);
        let mut counts = SourceCounts::default();
        let whole = (ChunkEnd::Quiet, u64::MAX);
        let shaped = shape.apply(Offset::ZERO, &Bytes::from(text), Cut::default(), whole, &mut counts);
        for (span, piece) in &shaped.pieces {
            let Piece::Send(data, _) = piece else { continue };
            prop_assert!((1..=RECORD_BYTES).contains(&data.len()), "{} bytes for {span:?}", data.len());
            let text = data.strip_suffix(b"\n").unwrap_or(data);
            let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
            prop_assert!(lines.len() <= LINES_PER_RECORD, "{} lines in {span:?}", lines.len());
            prop_assert!(packing != Packing::Off || lines.len() == 1, "{} lines in {span:?}", lines.len());
            if is_json {
                for line in lines {
                    let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line);
                    prop_assert!(object.is_ok(), "{span:?}: {:?}", object.err());
                }
            }
        }
    }
}
