//! L17, asked of any shape.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Cut, Piece, Shape, Unsendable, lies_inside, look_back};
use crate::engine::report::SourceCounts;
use crate::engine::samples::settings;
use crate::model::identity::{Incarnation, Origin};
use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES};
use crate::model::message::ChunkEnd;
use crate::model::offset::Offset;
use crate::model::path_fields::PathFields;
use crate::model::settings::{
    Compression, Envelope, Format, Grouping, Multiline, Newline, Oversize, Packing, Runtime, SourceSettings,
    StartPattern,
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
    const OBJECTS: [&[u8]; 5] = [
        br#"{"a":"b\n","n":1}"#,
        br#"{"Time":1}"#,
        b"{\"a\":[1,\n2\n],\"ENV\":1}",
        b"{\"a\":\n{\"b\":\"x\"}\n}",
        b"\xef\xbb\xbf{\"a\":1}",
    ];
    let object = prop::sample::select(&OBJECTS[..]);
    let object = object.prop_map(<[u8]>::to_vec);
    let dense = (RECORD_BYTES - 700..RECORD_BYTES)
        .prop_map(|len| format!(r#"{{"a":[{}"",""]}}"#, r#""","#.repeat(len / 3)).into_bytes());
    let object = prop_oneof![20 => object, 1 => dense];
    let line = prop_oneof![4 => (text, 1..3_usize), 1 => (object, 1..700_usize), 1 => (Just(b"x".to_vec()), 400..1_200_usize)];
    let ended = |(text, times): (Vec<u8>, usize)| [text, b"\n".to_vec()].concat().repeat(times);
    prop::collection::vec(line.prop_map(ended), 1..6).prop_map(|lines| lines.concat())
}

fn source() -> impl Strategy<Value = SourceSettings> {
    let format = prop_oneof![
        Just(Format::Raw),
        any::<[bool; 3]>().prop_map(|[merge, has_fields, has_path_fields]| {
            let fields = has_fields.then(|| ("env".into(), "\"prod\"".into())).into_iter().collect();
            let path_fields =
                has_path_fields.then(|| PathFields::try_new("(?<a>[a-z]+)[.]log$").ok()).flatten();
            Format::Json(Envelope { host: "web-1".into(), fields, merge, path_fields, ..Envelope::default() })
        })
    ];
    let multiline = prop_oneof![2 => Just(None), 1 => Just(Some("^a")), 2 => Just(Some(r"^\{"))];
    let multiline = (multiline, 1..=LINES_PER_RECORD).prop_map(|(start, max_lines)| {
        let start = StartPattern::try_new(start?).expect("a regular expression");
        let grouping = Grouping::Start(start);
        Some(Multiline { grouping, max_lines, timeout: Duration::from_secs(2) })
    });
    let newline = prop_oneof![Just(Newline::Append), Just(Newline::Strip)];
    let oversize = prop_oneof![Just(Oversize::Split), Just(Oversize::Truncate), Just(Oversize::DeadLetter)];
    let runtime = prop_oneof![3 => Just(None), 1 => Just(Some(Runtime::Cri))];
    let longest = prop_oneof![Just(16), Just(RECORD_BYTES), Just(4 * RECORD_BYTES)];
    (format, newline, oversize, runtime, longest, multiline).prop_map(
        |(format, newline, oversize, runtime, longest, multiline)| {
            let source = settings(1).sources.remove(0);
            SourceSettings {
                format,
                newline,
                oversize,
                runtime,
                max_message_bytes: longest,
                multiline,
                ..source
            }
        },
    )
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
        let file = (Path::new("/var/log/app/a.log"), None);
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
        let is_single = packing == Packing::Off && source.multiline.is_none();
        for (span, piece) in &shaped.pieces {
            let data = match piece {
                Piece::Settle => continue,
                Piece::DeadLetter(data, _, why) => {
                    prop_assert_eq!(why.why, Unsendable::Oversize, "{:?} of {} bytes", span, data.len());
                    continue;
                }
                Piece::Send(data, _) => data,
            };
            prop_assert!((1..=RECORD_BYTES).contains(&data.len()), "{} bytes for {span:?}", data.len());
            prop_assert!(&data[..] != b"\n" || is_json || span.len() == 1 || source.runtime.is_some(), "a newline alone for {span:?}");
            let text = data.strip_suffix(b"\n").unwrap_or(data);
            let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
            prop_assert!(lines.len() <= LINES_PER_RECORD, "{} lines in {span:?}", lines.len());
            prop_assert!(!(is_single || is_json && packing == Packing::Off) || lines.len() == 1, "{} lines in {span:?}", lines.len());
            if is_json {
                for line in lines {
                    let keys = serde_json::from_slice::<Keys>(line);
                    prop_assert!(keys.is_ok(), "{span:?}: {:?}", keys.err());
                    let Keys(mut keys) = keys.expect("so it is");
                    let all = keys.len();
                    keys.sort_unstable();
                    keys.dedup();
                    prop_assert_eq!(keys.len(), all, "a key of {:?} is there twice: {:?}", span, keys);
                }
            }
        }
    }
}

/// The keys of an object in lower case.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> serde::de::Visitor<'de> for OfMap {
            type Value = Keys;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<Keys, M::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                    keys.push(key.to_lowercase());
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

/// Lines that belong together, `oversize`, whether newlines are sent; what is sent. No record is a line break alone but the
/// one of an empty line.
#[test]
fn l17_empty_lines_that_belong_together_are_no_record_of_line_breaks() {
    let cut_at = |max_message_bytes| {
        let start = StartPattern::try_new("^a").expect("a regular expression");
        let grouping = Grouping::Start(start);
        let multiline = Some(Multiline { grouping, max_lines: 500, timeout: Duration::from_secs(2) });
        SourceSettings { multiline, max_message_bytes, ..settings(1).sources.remove(0) }
    };
    let long = "b".repeat(RECORD_BYTES);
    let (less, least) = (&long[1..], &long[2..]);
    let begun = format!("{less}\n");
    type Row<'a> = (String, Oversize, Newline, Vec<&'a str>, u64);
    let rows: Vec<Row<'_>> = vec![
        ("\n\n".into(), Oversize::Split, Newline::Strip, vec![], 2),
        ("\n\n\n".into(), Oversize::Truncate, Newline::Strip, vec![], 3),
        ("\n\n".into(), Oversize::Split, Newline::Append, vec!["\n\n"], 0),
        ("a\n\n".into(), Oversize::Split, Newline::Strip, vec!["a\n"], 0),
        (format!("{less}\n\n\n"), Oversize::Split, Newline::Strip, vec![least, "b\n\n"], 0),
        (format!("{less}\n\n"), Oversize::Split, Newline::Append, vec![least, "b\n\n"], 0),
        (format!("{less}\n\n\n"), Oversize::Truncate, Newline::Strip, vec![&begun], 0),
    ];
    for (text, oversize, newline, expected, empty) in rows {
        let source = SourceSettings { oversize, newline, ..cut_at(2 * RECORD_BYTES) };
        let shape = Shape::of(&source, Packing::Off, None, &[]);
        let mut counts = SourceCounts::default();
        let whole = (ChunkEnd::Quiet, u64::MAX);
        let shaped =
            shape.apply(Offset::ZERO, &Bytes::from(text.clone()), Cut::default(), whole, &mut counts);
        let sent = shaped.pieces.iter().filter_map(|(_, piece)| match piece {
            Piece::Send(data, _) => Some(std::str::from_utf8(data).expect("text")),
            Piece::Settle | Piece::DeadLetter(..) => None,
        });
        let sent: Vec<_> = sent.collect();
        let lens: Vec<_> = sent.iter().map(|data| data.len()).collect();
        let name = format!("{} bytes, {oversize:?}, {newline:?}: {lens:?}", text.len());
        assert!(sent == expected, "{name}");
        assert_eq!((shaped.bytes, counts.empty_lines), (text.len(), empty), "{name}");
    }
}

/// What goes beyond what the configuration lets through becomes a dead letter with all of its bytes, and its reason.
#[test]
fn what_fits_into_no_record_is_put_aside() {
    let envelope = Envelope {
        host: "web-1".into(),
        fields: vec![("f".into(), format!("\"{}\"", "x".repeat(RECORD_BYTES)).into())],
        merge: true,
        ..Envelope::default()
    };
    let whose = (Origin { device: 1, inode: 2 }, Incarnation(3));
    let docker = Some(Runtime::Docker);
    let (delay, compression) = (Duration::ZERO, Compression::None);
    let on = Packing::On { bytes: RECORD_BYTES, delay, compression };
    let inside =
        format!(r#"{{"log":"{}\n","stream":"stdout","time":"2026-11-24T08:15:42Z"}}"#, r"x\n".repeat(500));
    for (name, is_json, runtime, packing, line, expected) in [
        ("an envelope", true, None, Packing::Off, "line", "line\n".to_owned()),
        ("an object", true, None, Packing::Off, r#"{"a":1}"#, "{\"a\":1}\n".to_owned()),
        ("many lines", false, docker, on, &inside, format!("{}\n", "x\n".repeat(500))),
    ] {
        for oversize in [Oversize::Split, Oversize::Truncate] {
            let source = SourceSettings { runtime, oversize, ..settings(1).sources.remove(0) };
            let mut shape = Shape::of(&source, packing, None, &[]);
            shape.template = is_json.then(|| {
                let files = (Path::new("/a.log"), None);
                EnvelopeTemplate::new(&envelope, "app", files, whose, Duration::from_secs(1))
            });
            let (mut counts, text) = (SourceCounts::default(), Bytes::from(format!("{line}\n")));
            let whole = (ChunkEnd::Open, u64::MAX);
            let shaped = shape.apply(Offset::ZERO, &text, Cut::default(), whole, &mut counts);
            let [(span, Piece::DeadLetter(data, _, super::Aside { why: Unsendable::Unfit, .. }))] =
                &shaped.pieces[..]
            else {
                panic!("{name}, {oversize:?}: {:?}", shaped.pieces);
            };
            assert_eq!(
                (span.len(), &data[..]),
                (text.len() as u64, expected.as_bytes()),
                "{name}, {oversize:?}"
            );
        }
    }
}

/// Whoever goes on after a restart knows from the bytes before the position whether it lies in a line that was cut.
#[test]
fn where_a_line_was_cut_is_known_from_the_bytes_before() {
    let text = Bytes::from(format!("{}\nshort\n{}\n", "aé".repeat(900_000), "b".repeat(1_000_000)));
    let json = Format::Json(Envelope { host: "web-1".into(), ..Envelope::default() });
    for format in [Format::Raw, json] {
        for oversize in [Oversize::Split, Oversize::Truncate, Oversize::DeadLetter] {
            let mut source =
                SourceSettings { format: format.clone(), oversize, ..settings(1).sources.remove(0) };
            source.filter.drop = vec![StartPattern::try_new("nothing").expect("a regular expression")];
            let shape = Shape::of(&source, Packing::Off, None, &[]);
            let mut split = shape.split(&text, Offset::ZERO, ChunkEnd::Open);
            let mut pieces = 0;
            while split.next().is_some() {
                let position = split.next_line();
                let at = usize::try_from(position.bytes()).expect("small");
                let before = look_back(&source, position);
                let inside = before > 0 && lies_inside(&source, &text[at - before..], before);
                assert_eq!(inside, split.is_inside(), "{oversize:?} at {at}");
                pieces += 1;
            }
            assert!(pieces > 4, "{oversize:?}: {pieces}");
        }
    }
}
