//! The JSON around a line against any bytes: the record is JSON, and gives the line back, whole or in pieces.
//!
//! The first byte chooses whether objects are merged, and whether a line is long.
#![no_main]

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;
use standpipe::model::identity::{Incarnation, Origin};
use standpipe::model::limits::RECORD_BYTES;
use standpipe::model::message::{Message, Part};
use standpipe::model::offset::{Offset, Span};
use standpipe::model::settings::Envelope;
use standpipe::rules::envelope::EnvelopeTemplate;

fn text(object: &Value) -> Option<Vec<u8>> {
    match (&object["message"], &object["message_base64"]) {
        (Value::String(text), Value::Null) => Some(text.clone().into_bytes()),
        (Value::Null, Value::String(text)) => STANDARD.decode(text).ok(),
        _ => None,
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, line @ ..] = input else { return };
    let fields = vec![("env".into(), "\"prod\"".into()), ("a".into(), "1".into())];
    let envelope = Envelope { host: "web-1".into(), fields, merge: choice & 1 == 1 };
    let place = (Origin { device: 1, inode: 2 }, Incarnation(3));
    let sleeve = EnvelopeTemplate::new(&envelope, "app", Path::new("/a.log"), place, Duration::from_secs(1));
    // Long lines out of few bytes.
    let line = line.repeat(if choice & 30 != 30 { 1 } else { 300_000 / line.len().max(1) + 1 });
    let message = Message {
        span: Span::new(Offset::ZERO, Offset::new(line.len() as u64 + 1)),
        at: Offset::ZERO,
        content: Bytes::from(line.clone()),
        lines: 1,
        metadata: None,
        part: Part::Whole,
    };
    let fits = sleeve.fits(&line);
    if fits < line.len() {
        let (mut rest, mut back) = (&line[..], Vec::new());
        for piece in 0.. {
            let (now, later) = rest.split_at(sleeve.fits(rest));
            let record = sleeve.wrap(&message, now, piece);
            assert!(record.len() < RECORD_BYTES && !now.is_empty());
            let object = serde_json::from_slice(&record).expect("JSON");
            back.extend(text(&object).expect("a piece is a text"));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(back, line);
        return;
    }
    let record = sleeve.wrap(&message, &line, 0);
    assert!(record.len() < RECORD_BYTES);
    assert!(!record.contains(&b'\n') || envelope.merge, "a record is a line, unless the line brought more");
    let Ok(object) = serde_json::from_slice::<Value>(&record) else {
        assert!(
            serde_json::from_slice::<IgnoredAny>(&record).is_ok(),
            "JSON, with a number that fits into no Value"
        );
        assert!(envelope.merge && serde_json::from_slice::<IgnoredAny>(&line).is_ok());
        return;
    };
    match serde_json::from_slice::<Value>(&line) {
        Ok(Value::Object(own)) if envelope.merge && text(&object) != Some(line.clone()) => {
            for (key, value) in own {
                assert_eq!(object[&key], value, "{key}");
            }
        }
        _ => assert_eq!(text(&object).expect("a text"), line),
    }
    let ours = |key: &str| object.get(key).is_some();
    assert!(["file", "offset", "host", "source", "id", "time", "env", "a"].into_iter().all(ours));
});
