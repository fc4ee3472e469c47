//! A line becomes a JSON object that says where it is from.
//!
//! Knows JSON and what an envelope says. Does not know where lines begin or end, nor which file is open.
//!
//! *Invariant:* the line's bytes can be had back from the record, whatever they are; and no two lines that were ever
//! read into one state database have one `id`, while a line that is sent again has the one it had.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::model::identity::{Incarnation, Origin};
use crate::model::limits::{CHANNEL_KEY, FIELDS_BYTES, RECORD_BYTES, base64_len};
use crate::model::message::{Message, Part};
use crate::model::offset::{Offset, Span};
use crate::model::settings::Envelope;

/// The longest text of which every envelope is a record, in bytes: a byte takes six at most (`\u0000`).
const ANY_TEXT_BYTES: usize = 144 * 1024;

/// The longest path that Linux takes, twice (the file, and a source that is called after one), a host's name, numbers.
const PLACE_BYTES: usize = 2 * 6 * 4096 + 6 * 64 + 1024;

const _: () =
    assert!(6 * ANY_TEXT_BYTES + FIELDS_BYTES + PLACE_BYTES <= RECORD_BYTES, "every envelope is a record");

/// What may come on top of an empty line's envelope, in bytes: an offset of 20 digits, in an id too, the number of a piece,
/// what a runtime says, and the newline.
const AROUND_BYTES: usize = 20 + 20 + 8 + 64 + 1;

/// What the line's own key does to one of ours with the same name, when a line is merged.
const PREFIX: &str = "standpipe_";

/// Envelopes of lines that are read together: what they share is put down once.
#[derive(Debug)]
pub struct EnvelopeTemplate<'a> {
    envelope: &'a Envelope,
    /// As JSON.
    file: String,
    host: String,
    source: String,
    time: String,
    /// What stands before the offset.
    id: String,
    /// About what it comes to beside the line, in bytes: so much is not allocated twice, nor in vain.
    room: usize,
}

impl<'a> EnvelopeTemplate<'a> {
    /// For lines of `file`, read `unix_time`.
    pub fn new(
        envelope: &'a Envelope,
        source: &str,
        file: &Path,
        (origin, incarnation): (Origin, Incarnation),
        unix_time: Duration,
    ) -> Self {
        let time = humantime::format_rfc3339_millis(UNIX_EPOCH + unix_time);
        let mut sleeve = Self {
            envelope,
            file: json(&file.to_string_lossy()),
            host: json(&envelope.host),
            source: json(source),
            time: format!("\"{time}\""),
            id: format!("{:x}-{:x}-{:x}", origin.device, origin.inode, incarnation.0),
            room: 0,
        };
        let empty = Message {
            span: Span::new(Offset::ZERO, Offset::ZERO),
            at: Offset::ZERO,
            content: Bytes::new(),
            lines: 1,
            metadata: None,
            part: Part::Whole,
        };
        sleeve.room = sleeve.wrap(&empty, &[], 0).len() + AROUND_BYTES;
        sleeve
    }

    /// The object for `text`, which is the content of `message`, or the piece of that number when it takes several:
    /// only what is whole is merged, and only while the object is a record with its newline. A line's keys can make the
    /// names of ours as long as they like.
    pub fn wrap(&self, message: &Message, text: &[u8], piece: usize) -> Vec<u8> {
        let is_all = text.len() == message.content.len() && message.part == Part::Whole;
        let whole = std::str::from_utf8(text).ok().filter(|_| self.envelope.merge && is_all);
        let merged = whole.and_then(members).map(|own| self.write(message, text, piece, Some(own)));
        let fitting = merged.filter(|object| object.len() < RECORD_BYTES);
        fitting.unwrap_or_else(|| self.write(message, text, piece, None))
    }

    /// The object with the line's own members, or with its text.
    fn write(
        &self,
        message: &Message,
        line: &[u8],
        piece: usize,
        own: Option<(&str, Vec<String>)>,
    ) -> Vec<u8> {
        let Message { at, metadata, .. } = message;
        let mut object = Object { bytes: Vec::with_capacity(line.len() + self.room), taken: Vec::new() };
        object.bytes.push(b'{');
        match (own, std::str::from_utf8(line)) {
            (Some((members, keys)), _) => {
                object.bytes.extend_from_slice(members.as_bytes());
                object.taken = keys;
            }
            (None, Ok(text)) => object.put_text("message", text),
            (None, Err(_)) => object.put("message_base64", &format!("\"{}\"", STANDARD.encode(line))),
        }
        object.put("file", &self.file);
        object.put("offset", &at.bytes().to_string());
        object.put("host", &self.host);
        object.put("source", &self.source);
        object.put(
            "id",
            &match piece {
                0 => format!("\"{}:{:x}\"", self.id, at.bytes()),
                _ => format!("\"{}:{:x}.{piece}\"", self.id, at.bytes()),
            },
        );
        match metadata {
            None => object.put("time", &self.time),
            Some(metadata) => {
                object.put_text("time", &metadata.time);
                object.put_text(CHANNEL_KEY, metadata.channel.label());
            }
        }
        for (key, value) in &self.envelope.fields {
            object.put(key, value);
        }
        object.bytes.push(b'}');
        object.bytes
    }

    /// How much of the beginning of `text` fits into one object, and that into a record with its newline, in bytes. Never
    /// nothing.
    pub fn fits(&self, text: &[u8]) -> usize {
        let room = RECORD_BYTES - 1 - self.room;
        if let Ok(text) = std::str::from_utf8(text) {
            let mut left = room;
            let end = text.char_indices().find(|(_, character)| {
                let takes = written(*character);
                let fits = takes <= left;
                left = left.saturating_sub(takes);
                !fits
            });
            return end.map_or(text.len(), |(at, _)| at);
        }
        // A piece of it may be a text.
        if base64_len(text.len()) <= room {
            return text.len();
        }
        ANY_TEXT_BYTES.min(text.len())
    }
}

/// What a character takes in a JSON text, in bytes.
fn written(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
}

/// A JSON object that is being written.
struct Object {
    bytes: Vec<u8>,
    /// The keys that the line brought.
    taken: Vec<String>,
}

impl Object {
    /// `value` is JSON.
    fn put(&mut self, key: &str, value: &str) {
        self.begin(key);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn put_text(&mut self, key: &str, value: &str) {
        self.begin(key);
        self.write(value);
    }

    fn begin(&mut self, key: &str) {
        let mut name = Cow::Borrowed(key);
        while self.taken.iter().any(|taken| *taken == name) {
            name.to_mut().insert_str(0, PREFIX);
        }
        if self.bytes.len() > 1 {
            self.bytes.push(b',');
        }
        self.write(&name);
        self.bytes.push(b':');
    }

    fn write(&mut self, text: &str) {
        serde_json::to_writer(&mut self.bytes, text).expect("a text is JSON, and a vector takes it");
    }
}

/// A text as JSON.
fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// What stands between the braces of a JSON object, unchanged, and its keys.
fn members(text: &str) -> Option<(&str, Vec<String>)> {
    let blank = [' ', '\t', '\r', '\n'];
    let trimmed = text.trim_matches(blank);
    let inside = trimmed.strip_prefix('{')?.strip_suffix('}')?;
    let Keys(keys) = serde_json::from_str(trimmed).ok()?;
    Some((inside.trim_matches(blank), keys))
}

/// The keys of an object; its values are looked at only as far as they have to be JSON.
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
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::model::message::{Channel, RuntimeMetadata};

    const ORIGIN: (Origin, Incarnation) = (Origin { device: 0xfe01, inode: 0x2a }, Incarnation(7));

    fn envelope(merge: bool) -> Envelope {
        let fields = vec![("env".into(), "\"prod\"".into()), ("shard".into(), "3".into())];
        Envelope { host: "web-1".into(), fields, merge }
    }

    fn wrap(envelope: &Envelope, line: &[u8]) -> String {
        let file = Path::new("/var/log/app/a.log");
        let sleeve =
            EnvelopeTemplate::new(envelope, "app", file, ORIGIN, Duration::from_millis(1_763_942_400_123));
        String::from_utf8(sleeve.wrap(&message(line), line, 0)).expect("JSON is UTF-8")
    }

    fn message(content: &[u8]) -> Message {
        let at = Offset::new(4096);
        let content = Bytes::copy_from_slice(content);
        Message { span: Span::new(at, at), at, content, lines: 1, metadata: None, part: Part::Whole }
    }

    #[test]
    fn a_line_is_quoted_beside_where_it_is_from() {
        assert_eq!(
            wrap(&envelope(false), b"say \"hi\"\t\x01\r"),
            r#"{"message":"say \"hi\"\t\u0001\r","file":"/var/log/app/a.log","offset":4096,"host":"web-1","source":"app","id":"fe01-2a-7:1000","time":"2025-11-24T00:00:00.123Z","env":"prod","shard":3}"#
        );
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_carried_in_base64() {
        let metadata: Value = serde_json::from_str(&wrap(&envelope(false), b"caf\xe9")).expect("JSON");
        assert_eq!((&metadata["message_base64"], &metadata["message"]), (&"Y2Fm6Q==".into(), &Value::Null));
    }

    #[test]
    fn an_object_is_merged_and_anything_else_is_quoted() {
        let merged = wrap(&envelope(true), b" {\"level\":\"info\", \"n\":1.0e3,\"time\":5 } ");
        assert!(merged.starts_with(r#"{"level":"info", "n":1.0e3,"time":5,"file":"#), "{merged}");
        let metadata: Value = serde_json::from_str(&merged).expect("JSON");
        assert_eq!(
            (&metadata["time"], &metadata["standpipe_time"]),
            (&5.into(), &"2025-11-24T00:00:00.123Z".into())
        );
        for line in [r#"[1]"#, "{", r#"{"a":1}x"#, r#"{"a":}"#, "12", "", r#"{"a" "b"}"#] {
            let metadata: Value =
                serde_json::from_str(&wrap(&envelope(true), line.as_bytes())).expect("JSON");
            assert_eq!(metadata["message"], line);
        }
        let metadata: Value = serde_json::from_str(&wrap(&envelope(true), b"{}")).expect("JSON");
        assert_eq!((&metadata["offset"], &metadata["message"]), (&4096.into(), &Value::Null));
        assert!(wrap(&envelope(false), b"{}").starts_with(r#"{"message":"{}""#), "only when it is asked for");
    }

    /// A line of so many bytes whose keys make the names of ours as long as may be, in an envelope of its own.
    fn with_long_names(bytes: usize) -> String {
        let names = ["file", "offset", "host", "source", "id", "time"];
        let keys =
            (0..150).flat_map(|count| names.map(|name| format!("\"{}{name}\":0", PREFIX.repeat(count))));
        let keys = keys.collect::<Vec<_>>().join(",");
        let line = format!(r#"{{{keys},"p":"{}"}}"#, "x".repeat(bytes - keys.len() - 8));
        wrap(&envelope(true), line.as_bytes())
    }

    #[test]
    fn a_lines_keys_make_no_object_longer_than_a_record() {
        for bytes in [900_000, 1_018_000, 1_020_500] {
            let wrapped = with_long_names(bytes);
            assert!(wrapped.len() < RECORD_BYTES, "{bytes}: {}", wrapped.len());
        }
        assert!(with_long_names(900_000).contains("standpipe_standpipe_time"), "merged while there is room");
    }

    #[test]
    fn the_largest_envelope_is_a_record() {
        let fields = vec![("f".into(), format!("\"{}\"", "x".repeat(FIELDS_BYTES - 6)).into())];
        let envelope = Envelope { host: "h".repeat(64).into(), fields, merge: false };
        let path = format!("/{}", "\u{1}".repeat(4094));
        let sleeve =
            EnvelopeTemplate::new(&envelope, &path, Path::new(&path), ORIGIN, Duration::from_secs(1));
        let metadata =
            RuntimeMetadata { channel: Channel::Stdout, time: "2026-11-24T08:15:42.123456789+11:30".into() };
        let at = Offset::new(u64::MAX);
        let wrapped = |text: &[u8]| {
            let message =
                Message { at, span: Span::new(at, at), metadata: Some(metadata.clone()), ..message(text) };
            sleeve.wrap(&message, text, 999_999).len()
        };
        assert!(wrapped(&[1; ANY_TEXT_BYTES]) < RECORD_BYTES);
        // As much as fits, and not much less.
        for unit in ["a", "\"", "\u{1}", "\u{1f600}"] {
            let text = unit.repeat(RECORD_BYTES);
            let fits = sleeve.fits(text.as_bytes());
            let len = wrapped(&text.as_bytes()[..fits]);
            assert!((RECORD_BYTES - 300..RECORD_BYTES).contains(&len), "{unit:?}: {len}");
        }
        let bytes = [0xff; 600_000];
        assert_eq!(sleeve.fits(&bytes), 600_000);
        assert!(wrapped(&bytes) < RECORD_BYTES);
        let bytes = [&[1; 900_000][..], b"\xff"].concat();
        assert!(wrapped(&bytes[..sleeve.fits(&bytes)]) < RECORD_BYTES);
    }

    #[test]
    fn what_a_runtime_says_stands_beside_the_line_and_pieces_are_numbered() {
        let metadata =
            RuntimeMetadata { channel: Channel::Stderr, time: "2026-11-24T08:15:42.5+01:00".into() };
        let (envelope, file) = (envelope(true), Path::new("/a.log"));
        let sleeve = EnvelopeTemplate::new(&envelope, "app", file, ORIGIN, Duration::from_secs(1));
        let message = Message { metadata: Some(metadata), ..message(b"{\"a\":1}") };
        let metadata: Value =
            serde_json::from_slice(&sleeve.wrap(&message, &message.content, 0)).expect("JSON");
        assert_eq!(
            (&metadata["time"], &metadata["stream"]),
            (&"2026-11-24T08:15:42.5+01:00".into(), &"stderr".into())
        );
        assert_eq!((&metadata["a"], &metadata["id"]), (&1.into(), &"fe01-2a-7:1000".into()));
        let metadata: Value = serde_json::from_slice(&sleeve.wrap(&message, b"{}", 2)).expect("JSON");
        assert_eq!(
            (&metadata["message"], &metadata["id"]),
            (&"{}".into(), &"fe01-2a-7:1000.2".into()),
            "a piece is a text"
        );
    }

    proptest! {
        #[test]
        fn any_line_can_be_had_back(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let metadata: Value = serde_json::from_str(&wrap(&envelope(false), &line)).expect("JSON");
            let back = match (&metadata["message"], &metadata["message_base64"]) {
                (Value::String(text), Value::Null) => text.clone().into_bytes(),
                (Value::Null, Value::String(text)) => STANDARD.decode(text).expect("base64"),
                _ => panic!("neither text nor base64, or both: {metadata}"),
            };
            prop_assert_eq!(back, line);
        }

        #[test]
        fn any_object_is_merged_with_all_of_its_members(
            members in proptest::collection::btree_map("[a-z\"\\\\\u{e9}]{0,6}", any::<i32>(), 0..6),
        ) {
            let line = serde_json::to_string(&members).expect("JSON");
            let metadata: Value = serde_json::from_str(&wrap(&envelope(true), line.as_bytes())).expect("JSON");
            for (key, value) in &members {
                prop_assert_eq!(&metadata[key], *value);
            }
        }
    }
}
