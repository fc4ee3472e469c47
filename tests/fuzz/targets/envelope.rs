//! The JSON around a line against any bytes: the record is JSON within its limit and on one line, has no key twice, and gives
//! the line back, whole or in pieces.
//!
//! The first byte chooses whether objects are merged, whether a line is long, and whether records are short.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
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

/// The keys in lower case of an object that was made of the object `line`; `None` where the line is a text in it.
fn merged(object: &[u8], line: &[u8]) -> Option<Vec<String>> {
    let Keys(keys) = serde_json::from_slice(object).expect("JSON");
    let is_quoted = keys.iter().any(|key| key == "message" || key == "message_base64");
    (!is_quoted && serde_json::from_slice::<IgnoredAny>(line).is_ok()).then_some(keys)
}

struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> Visitor<'de> for OfMap {
            type Value = Keys;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Keys, M::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
                    keys.push(key.to_lowercase());
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

pub(crate) fn run(input: &[u8]) {
    let [choice, line @ ..] = input else { return };
    let fields = vec![("env".into(), "\"prod\"".into()), ("a".into(), "1".into())];
    let envelope = Envelope { host: "web-1".into(), fields, merge: choice & 1 == 1, ..Envelope::default() };
    let place = (Origin { device: 1, inode: 2 }, Incarnation(3));
    let template =
        EnvelopeTemplate::new(&envelope, "app", (Path::new("/a.log"), None), place, Duration::from_secs(1));
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
    // Little room is a record for short lines; a newline is to fit behind the object, too.
    let most = if choice & 32 == 32 { 400 + usize::from(*choice) } else { RECORD_BYTES - 1 };
    let mark = if line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let first = template.wrap(&message, &line, 0, most, Vec::new());
    assert!(first.unmerged.is_none() || envelope.merge, "only what is to be merged is counted");
    if let Some(members) = merged(&first.object, &line[mark..]).filter(|_| envelope.merge) {
        assert!(first.taken == line.len() && first.object.len() <= most && first.unmerged.is_none());
        assert!(!first.object.contains(&b'\n'), "an object has no newline inside");
        let mut keys = members;
        keys.sort();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a key is there twice: {keys:?}");
        let ours = ["env", "file", "host", "id", "offset", "source", "a", "time"];
        assert!(ours.iter().all(|key| keys.iter().any(|known| known == key)));
        return;
    }
    let (mut rest, mut back, mut wrapped) = (&line[..], Vec::new(), first);
    for piece in 1.. {
        assert!(wrapped.object.len() <= most && !wrapped.object.contains(&b'\n'));
        assert!(wrapped.taken > 0 || rest.is_empty());
        let object = serde_json::from_slice(&wrapped.object).expect("JSON");
        back.extend(text(&object).expect("a piece is a text"));
        rest = &rest[wrapped.taken..];
        if rest.is_empty() {
            break;
        }
        wrapped = template.wrap(&message, rest, piece, most, Vec::new());
    }
    assert_eq!(back, line[mark..]);
}
