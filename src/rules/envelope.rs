//! A line becomes a JSON object that says where it is from.
//!
//! Knows JSON and what an envelope says. Does not know where lines begin or end, nor which file is open.
//!
//! An object is made and then measured: whether a line is merged, how much of a long one goes into a record, and whether
//! anything does, follows from the object that came of it.
//!
//! *Invariant:* no object is longer than it may be or has a newline inside; the line's bytes can be had back from it,
//! whatever they are, but for the mark of its encoding at the beginning of a file; and no two lines that were ever read
//! into one state database have one `id`, while a line that is sent again has the one it had.

mod filling;
mod merging;
mod quoting;

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::model::identity::{Incarnation, Origin};
use crate::model::limits::{CHANNEL_KEY, PATH_FIELDS_BYTES, folded};
use crate::model::message::{Message, Part, Unmerged};
use crate::model::settings::{Envelope, TimeFormat};

use self::filling::{base64_within, text_within};
use self::merging::{Merging, merging};
use self::quoting::{put_decimal, put_hex, put_text};

/// What an editor may write at the beginning of a file to say that it is UTF-8: no part of its first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Envelopes of lines that are read together: what they share is put down once, as JSON.
#[derive(Debug)]
pub struct EnvelopeTemplate<'a> {
    envelope: &'a Envelope,
    /// From the comma behind the line to the offset.
    before_offset: Vec<u8>,
    /// From behind the offset to where the `id` says it again.
    before_id: Vec<u8>,
    /// From behind the `id` to the time.
    before_time: Vec<u8>,
    /// When the lines were read.
    time: String,
    /// From behind the time, and what a runtime says, to the end.
    end: Vec<u8>,
    /// The keys of ours in lower case, in order.
    keys: Vec<String>,
}

/// What became of a text.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrapped {
    pub object: Vec<u8>,
    /// How many bytes at the beginning of the text are in the object: all of them, or as many as fit. None where not even
    /// the envelope does.
    pub taken: usize,
    /// Why the text is quoted although it is a JSON object, and objects are merged.
    pub unmerged: Option<Unmerged>,
}

impl<'a> EnvelopeTemplate<'a> {
    /// For lines of a file, read `unix_time`. The file goes by the path that its source matched, and, where that leads
    /// through a link, has another real one.
    pub fn new(
        envelope: &'a Envelope,
        source: &str,
        (file, real): (&Path, Option<&Path>),
        (origin, incarnation): (Origin, Incarnation),
        unix_time: Duration,
    ) -> Self {
        let time = match envelope.time_format {
            TimeFormat::Rfc3339 => {
                json(&humantime::format_rfc3339_millis(UNIX_EPOCH + unix_time).to_string())
            }
            TimeFormat::EpochMillis => unix_time.as_millis().to_string(),
        };
        let (host, source) = (json(&envelope.host), json(source));
        let id = format!("{:x}-{:x}-{:x}", origin.device, origin.inode, incarnation.0);
        let mut keys: Vec<String> = envelope.keys().map(folded).collect();
        keys.sort_unstable();
        let mut end = path_fields(envelope, real.unwrap_or(file), file);
        for (key, value) in &envelope.fields {
            end.extend_from_slice(format!(",{}:{value}", json(key)).as_bytes());
        }
        end.push(b'}');
        Self {
            envelope,
            before_offset: format!(",\"file\":{},\"offset\":", json(&file.to_string_lossy())).into_bytes(),
            before_id: format!(",\"host\":{host},\"source\":{source},\"id\":\"{id}:").into_bytes(),
            before_time: format!("\",{}:", json(&envelope.time_key)).into_bytes(),
            time,
            end,
            keys,
        }
    }

    /// The object of up to `max_bytes` for `text`, which is the content of `message`, or what is left of it when `piece`
    /// objects hold its beginning. Only what is whole is merged. The object is made in `spare`, whatever that holds.
    pub fn wrap(
        &self,
        message: &Message,
        text: &[u8],
        piece: usize,
        max_bytes: usize,
        mut spare: Vec<u8>,
    ) -> Wrapped {
        let mark = if piece == 0 { mark_len(message, text) } else { 0 };
        let said = &text[mark..];
        let mut unmerged = None;
        if self.envelope.merge && message.part == Part::Whole && text.len() == message.content.len() {
            match self.merged(message, said, max_bytes, &mut spare) {
                Ok(Some(object)) => return Wrapped { object, taken: text.len(), unmerged },
                Ok(None) => {}
                Err(why) => unmerged = Some(why),
            }
        }
        let (object, taken) = match self.whole(message, said, piece, max_bytes, &mut spare) {
            Some(object) => (object, text.len()),
            None => {
                let (object, taken) = self.beginning(message, said, piece, max_bytes);
                (object, if taken == 0 { 0 } else { mark + taken })
            }
        };
        Wrapped { object, taken, unmerged }
    }

    /// The object that the line itself is, with our members behind its own; `None` where the line is no object.
    fn merged(
        &self,
        message: &Message,
        text: &[u8],
        max_bytes: usize,
        spare: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Unmerged> {
        let own = match merging(text, &self.keys) {
            Merging::NoObject => return Ok(None),
            Merging::Quoted(why) => return Err(why),
            Merging::Members(own) => own,
        };
        let mut object = self.begun(own.len(), std::mem::take(spare));
        object.extend_from_slice(own.as_bytes());
        self.finish(&mut object, message, 0);
        if object.len() <= max_bytes { Ok(Some(object)) } else { Err(Unmerged::Size) }
    }

    /// The object with all of `text`, if that is not too long.
    fn whole(
        &self,
        message: &Message,
        text: &[u8],
        piece: usize,
        max_bytes: usize,
        spare: &mut Vec<u8>,
    ) -> Option<Vec<u8>> {
        // No text is shorter in JSON.
        if text.len() > max_bytes {
            return None;
        }
        let mut object = self.begun(text.len(), std::mem::take(spare));
        match std::str::from_utf8(text) {
            Ok(text) => {
                object.extend_from_slice(b"\"message\":");
                put_text(&mut object, text);
            }
            Err(_) => put_base64(&mut object, text),
        }
        self.finish(&mut object, message, piece);
        (object.len() <= max_bytes).then_some(object)
    }

    /// The object with as much of the beginning of `text` as fits, and how much that is, in bytes.
    fn beginning(&self, message: &Message, text: &[u8], piece: usize, max_bytes: usize) -> (Vec<u8>, usize) {
        let mut around = Vec::new();
        self.finish(&mut around, message, piece);
        let mut object = self.begun(max_bytes, Vec::new());
        let base64_bytes =
            base64_within(max_bytes, object.len() + "\"message_base64\":\"\"".len() + around.len());
        object.extend_from_slice(b"\"message\":");
        let room = max_bytes.saturating_sub(object.len() + around.len());
        // No text is shorter in JSON.
        let within = &text[..text.len().min(room)];
        let valid = match std::str::from_utf8(within) {
            Ok(valid) => valid,
            Err(fault) => std::str::from_utf8(&within[..fault.valid_up_to()]).expect("valid up to there"),
        };
        // What is left of the last character was cut off here.
        let is_text =
            valid.len() == within.len() || (within.len() < text.len() && within.len() - valid.len() < 4);
        let taken = if is_text || valid.len() >= base64_bytes {
            text_within(&mut object, valid, room)
        } else {
            let taken = base64_bytes.min(text.len());
            object.truncate(1);
            put_base64(&mut object, &text[..taken]);
            taken
        };
        object.extend_from_slice(&around);
        (object, taken)
    }

    /// An object with room for a text of `len` bytes that needs no escapes.
    fn begun(&self, len: usize, mut object: Vec<u8>) -> Vec<u8> {
        let shared = [&self.before_offset, &self.before_id, &self.before_time, &self.end];
        let shared: usize = shared.into_iter().map(Vec::len).sum();
        object.clear();
        object.reserve_exact(len + shared + 128);
        object.push(b'{');
        object
    }

    /// What stands behind the line.
    fn finish(&self, object: &mut Vec<u8>, message: &Message, piece: usize) {
        let Message { at, metadata, .. } = message;
        let is_first = object.last() == Some(&b'{');
        object.extend_from_slice(&self.before_offset[usize::from(is_first)..]);
        put_decimal(object, at.bytes());
        object.extend_from_slice(&self.before_id);
        put_hex(object, at.bytes());
        if piece > 0 {
            object.push(b'.');
            put_decimal(object, piece as u64);
        }
        object.extend_from_slice(&self.before_time);
        match metadata {
            None => object.extend_from_slice(self.time.as_bytes()),
            Some(metadata) => {
                match self.envelope.time_format {
                    TimeFormat::Rfc3339 => put_text(object, &metadata.time),
                    TimeFormat::EpochMillis => {
                        object.extend_from_slice(epoch_millis(&metadata.time).as_bytes());
                    }
                }
                object.extend_from_slice(b",\"");
                object.extend_from_slice(CHANNEL_KEY.as_bytes());
                object.extend_from_slice(b"\":");
                put_text(object, metadata.channel.label());
            }
        }
        object.extend_from_slice(&self.end);
    }
}

/// What the path says, as members of an object behind others.
fn path_fields(envelope: &Envelope, real: &Path, matched: &Path) -> Vec<u8> {
    let mut members = Vec::new();
    for (name, value) in envelope.path_fields.iter().flat_map(|fields| fields.of(real, matched)) {
        members.extend_from_slice(format!(",{}:{}", json(name), json(&value)).as_bytes());
    }
    if members.len() <= PATH_FIELDS_BYTES { members } else { Vec::new() }
}

/// A time that a runtime wrote as milliseconds since 1970; as it stands where it names no time that there is.
fn epoch_millis(time: &str) -> String {
    match OffsetDateTime::parse(time, &Rfc3339) {
        Ok(time) => time.unix_timestamp_nanos().div_euclid(1_000_000).to_string(),
        Err(_) => json(time),
    }
}

/// How long the mark of its encoding is, where `text` is the beginning of the first line of a file, in bytes.
fn mark_len(message: &Message, text: &[u8]) -> usize {
    // Around what a program wrote in a container, a runtime wrote the file.
    let begins_file = message.at.bytes() == 0 && message.metadata.is_none();
    match message.part {
        Part::Whole | Part::Begins if begins_file && text.starts_with(BYTE_ORDER_MARK) => {
            BYTE_ORDER_MARK.len()
        }
        Part::Whole | Part::Begins | Part::GoesOn | Part::Ends => 0,
    }
}

fn put_base64(object: &mut Vec<u8>, text: &[u8]) {
    object.extend_from_slice(b"\"message_base64\":\"");
    object.extend_from_slice(STANDARD.encode(text).as_bytes());
    object.push(b'"');
}

/// A text as JSON.
fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::model::limits::{ENVELOPE_BYTES, FIELDS_BYTES, NAME_BYTES, RECORD_BYTES, TIME_KEY_BYTES};
    use crate::model::message::{Channel, RuntimeMetadata};
    use crate::model::offset::{Offset, Span};
    use crate::model::path_fields::PathFields;

    const ORIGIN: (Origin, Incarnation) = (Origin { device: 0xfe01, inode: 0x2a }, Incarnation(7));

    fn envelope(merge: bool) -> Envelope {
        let fields = vec![("env".into(), "\"prod\"".into()), ("shard".into(), "3".into())];
        Envelope { host: "web-1".into(), fields, merge, ..Envelope::default() }
    }

    fn template<'a>(envelope: &'a Envelope, file: &str) -> EnvelopeTemplate<'a> {
        EnvelopeTemplate::new(envelope, "app", (Path::new(file), None), ORIGIN, Duration::from_secs(1))
    }

    fn wrap(envelope: &Envelope, line: &[u8]) -> String {
        let file = (Path::new("/var/log/app/a.log"), None);
        let sleeve =
            EnvelopeTemplate::new(envelope, "app", file, ORIGIN, Duration::from_millis(1_763_942_400_123));
        let wrapped = sleeve.wrap(&message(line), line, 0, RECORD_BYTES - 1, Vec::new());
        assert_eq!(wrapped.taken, line.len());
        String::from_utf8(wrapped.object).expect("JSON is UTF-8")
    }

    fn message(content: &[u8]) -> Message {
        let at = Offset::new(4096);
        let content = Bytes::copy_from_slice(content);
        Message { span: Span::new(at, at), at, content, lines: 1, metadata: None, part: Part::Whole }
    }

    fn text_of(object: &Value) -> Vec<u8> {
        match (&object["message"], &object["message_base64"]) {
            (Value::String(text), Value::Null) => text.clone().into_bytes(),
            (Value::Null, Value::String(text)) => STANDARD.decode(text).expect("base64"),
            _ => panic!("neither text nor base64, or both: {object}"),
        }
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
        let merged = wrap(&envelope(true), b" {\"level\":\"info\",\n \"n\":1.0e3 } ");
        assert!(merged.starts_with(r#"{"level":"info",  "n":1.0e3,"file":"#), "{merged}");
        for line in [r#"[1]"#, "{", r#"{"a":1,"A":2}"#, r#"{"Time":5}"#, r#"{"message":"m"}"#, r#"{"ENV":1}"#]
        {
            let metadata: Value =
                serde_json::from_str(&wrap(&envelope(true), line.as_bytes())).expect("JSON");
            assert_eq!(metadata["message"], line);
        }
        assert!(wrap(&envelope(true), b"{}").starts_with(r#"{"file":"/var/log/app/a.log","offset":4096"#));
        assert!(wrap(&envelope(false), b"{}").starts_with(r#"{"message":"{}""#), "only when it is asked for");
    }

    #[test]
    fn why_an_object_is_quoted_is_told_and_of_what_is_none_nothing() {
        let (quotes, long) = ("\"\",".repeat(300_000), "x".repeat(RECORD_BYTES));
        let dense = format!(r#"{{"a":[{}]}}"#, quotes.trim_end_matches(','));
        let (nested, long) =
            (format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64)), format!(r#"{{"p":"{long}"}}"#));
        let table = [
            ("plain", None, true),
            (r#"{"a":1}"#, None, true),
            (r#"{"id":1}"#, Some(Unmerged::ReservedKey), true),
            (r#"{"Shard":1}"#, Some(Unmerged::ReservedKey), true),
            (r#"{"a":1,"a":1}"#, Some(Unmerged::DuplicateKey), true),
            (&nested, Some(Unmerged::Nesting), true),
            // In quotes, each of its own takes twice the room.
            (&dense, None, true),
            (&long, Some(Unmerged::Size), false),
        ];
        let envelope = envelope(true);
        let template = template(&envelope, "/a.log");
        for (line, unmerged, is_whole) in table {
            let start = &line[..line.len().min(40)];
            let wrapped =
                template.wrap(&message(line.as_bytes()), line.as_bytes(), 0, RECORD_BYTES - 1, Vec::new());
            assert_eq!((wrapped.unmerged, wrapped.taken == line.len()), (unmerged, is_whole), "{start}");
            assert!(wrapped.object.len() < RECORD_BYTES, "{start}: {}", wrapped.object.len());
        }
    }

    #[test]
    fn the_mark_of_its_encoding_is_no_part_of_a_files_first_line() {
        let of = |envelope: &Envelope, at: u64, line: &[u8]| {
            let message = Message { at: Offset::new(at), ..message(line) };
            let wrapped = template(envelope, "/a.log").wrap(&message, line, 0, RECORD_BYTES - 1, Vec::new());
            assert_eq!(wrapped.taken, line.len());
            String::from_utf8(wrapped.object).expect("JSON is UTF-8")
        };
        assert!(of(&envelope(true), 0, b"\xef\xbb\xbf{\"n\":1}").starts_with(r#"{"n":1,"file""#));
        assert!(of(&envelope(false), 0, b"\xef\xbb\xbfline").starts_with(r#"{"message":"line","file""#));
        assert!(of(&envelope(false), 0, b"\xef\xbb\xbf").starts_with(r#"{"message":"","file""#));
        assert!(of(&envelope(true), 9, b"\xef\xbb\xbf{}").starts_with("{\"message\":\"\u{feff}{}\""));
    }

    /// What stands around a line when all of it is as long as it may be.
    fn around_the_longest() -> (Envelope, String, Message) {
        let value = format!("\"{}\"", "x".repeat(FIELDS_BYTES - 10));
        let fields = vec![("f".into(), value.into())];
        // Of the path as much as may be.
        let path_fields = PathFields::try_new("^/(?<path>(?-u:.){2725})").ok();
        let time_key = "\u{1}".repeat((TIME_KEY_BYTES - 2) / 6).into();
        let host = "\u{1}".repeat(64).into();
        let envelope = Envelope { host, fields, path_fields, time_key, ..Envelope::default() };
        let metadata =
            RuntimeMetadata { channel: Channel::Stdout, time: "2026-11-24T08:15:42.123456789+11:30".into() };
        let at = Offset::new(u64::MAX);
        let message = Message { at, span: Span::new(at, at), metadata: Some(metadata), ..message(b"") };
        (envelope, format!("/{}", "\u{1}".repeat(4094)), message)
    }

    #[test]
    fn the_largest_envelope_leaves_most_of_a_record_to_the_line() {
        let (envelope, path, message) = around_the_longest();
        let name = "x".repeat(NAME_BYTES - 2);
        let template =
            EnvelopeTemplate::new(&envelope, &name, (Path::new(&path), None), ORIGIN, Duration::from_secs(1));
        let wrapped = template.wrap(&message, b"", 999_999, RECORD_BYTES - 1, Vec::new());
        let len = wrapped.object.len();
        assert!((60 * 1024..ENVELOPE_BYTES).contains(&len), "{len}");
    }

    #[test]
    fn pieces_fill_their_records_and_give_the_line_back() {
        let (envelope, path, around) = around_the_longest();
        let template = template(&envelope, &path);
        let text = |unit: &str| unit.repeat(1_300_000 / unit.len()).into_bytes();
        let late = [&[b'"'; 900_000][..], &[0xff; 900_000]].concat();
        let lines = [text("a"), text("\""), text("\u{1}"), text("a\u{1f600}"), vec![0xff; 2_000_000], late];
        for line in lines {
            let message = Message { content: line.clone().into(), ..around.clone() };
            let (mut rest, mut back) = (&line[..], Vec::new());
            for piece in 0.. {
                let wrapped = template.wrap(&message, rest, piece, RECORD_BYTES - 1, Vec::new());
                let object: Value = serde_json::from_slice(&wrapped.object).expect("JSON");
                back.extend(text_of(&object));
                let is_last = wrapped.taken == rest.len();
                let len = wrapped.object.len();
                assert!(len < RECORD_BYTES && (is_last || len > RECORD_BYTES - 10), "{piece}: {len}");
                rest = &rest[wrapped.taken..];
                if is_last {
                    break;
                }
            }
            assert!(back == line);
        }
        let wrapped = template.wrap(&message(b"a"), b"a", 0, 100, Vec::new());
        assert_eq!(wrapped.taken, 0, "no room for the envelope itself");
    }

    #[test]
    fn what_a_runtime_says_stands_beside_the_line_and_pieces_are_numbered() {
        let metadata =
            RuntimeMetadata { channel: Channel::Stderr, time: "2026-11-24T08:15:42.5+01:00".into() };
        let (envelope, file) = (envelope(true), (Path::new("/a.log"), None));
        let sleeve = EnvelopeTemplate::new(&envelope, "app", file, ORIGIN, Duration::from_secs(1));
        let message = Message { metadata: Some(metadata), ..message(b"{\"a\":1}") };
        let wrap = |text: &[u8], piece| {
            let wrapped = sleeve.wrap(&message, text, piece, RECORD_BYTES - 1, Vec::new());
            serde_json::from_slice::<Value>(&wrapped.object).expect("JSON")
        };
        let metadata = wrap(&message.content, 0);
        assert_eq!(
            (&metadata["time"], &metadata["stream"]),
            (&"2026-11-24T08:15:42.5+01:00".into(), &"stderr".into())
        );
        assert_eq!((&metadata["a"], &metadata["id"]), (&1.into(), &"fe01-2a-7:1000".into()));
        let metadata = wrap(b"{}", 2);
        assert_eq!(
            (&metadata["message"], &metadata["id"]),
            (&"{}".into(), &"fe01-2a-7:1000.2".into()),
            "a piece is a text"
        );
    }

    #[test]
    fn what_the_path_says_stands_before_the_fields_unless_it_is_too_much() {
        let (link, real) = (Path::new("/link.log"), Path::new("/log/shop\"\u{1}.log"));
        let path_fields = PathFields::try_new("^/log/(?<app>.+)[.]log").ok();
        let envelope = Envelope { path_fields, ..envelope(true) };
        let of = |files| {
            let template = EnvelopeTemplate::new(&envelope, "app", files, ORIGIN, Duration::from_secs(1));
            let line = br#"{"App":1}"#;
            let wrapped = template.wrap(&message(line), line, 0, RECORD_BYTES - 1, Vec::new());
            assert_eq!(wrapped.unmerged, Some(Unmerged::ReservedKey), "whatever this path says");
            String::from_utf8(wrapped.object).expect("JSON is UTF-8")
        };
        let time = r#""time":"1970-01-01T00:00:01.000Z""#;
        let with = format!(r#"{time},"app":"shop\"\u0001","env":"prod","shard":3}}"#);
        let without = format!(r#"{time},"env":"prod","shard":3}}"#);
        assert!(of((link, Some(real))).ends_with(&with), "{}", of((link, Some(real))));
        assert!(of((real, None)).ends_with(&with));
        assert!(of((link, None)).ends_with(&without));
        assert!(of((real, Some(link))).ends_with(&without), "the real path tells");
        let long = format!("/log/{}.log", "\u{1}".repeat(3_000));
        assert!(of((Path::new(&long), None)).ends_with(&without));
    }

    #[test]
    fn a_time_has_the_name_and_the_form_that_were_asked_for() {
        let table = [
            (None, "1763942400123"),
            (Some("2026-11-24T08:15:42.123456789Z"), "1795508142123"),
            (Some("2026-11-24T08:15:42.999999999+01:30"), "1795502742999"),
            (Some("1969-12-31T23:59:59.9995Z"), "-1"),
            (Some("2026-13-24T08:15:42Z"), "\"2026-13-24T08:15:42Z\""),
        ];
        let time_key = "@timestamp".into();
        let envelope = Envelope { time_key, time_format: TimeFormat::EpochMillis, ..envelope(true) };
        let (files, read) = ((Path::new("/a.log"), None), Duration::from_millis(1_763_942_400_123));
        let template = EnvelopeTemplate::new(&envelope, "app", files, ORIGIN, read);
        for (written, told) in table {
            let metadata =
                written.map(|time| RuntimeMetadata { channel: Channel::Stdout, time: time.into() });
            let line = br#"{"time":"the program's"}"#;
            let message = Message { metadata, ..message(line) };
            let wrapped = template.wrap(&message, line, 0, RECORD_BYTES - 1, Vec::new());
            let object = String::from_utf8(wrapped.object).expect("JSON is UTF-8");
            assert!(object.starts_with(r#"{"time":"the program's","file""#), "the key is free: {object}");
            assert!(object.contains(&format!(r#","@timestamp":{told},"#)), "{object}");
        }
    }

    proptest! {
        #[test]
        fn any_line_can_be_had_back(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let metadata: Value = serde_json::from_str(&wrap(&envelope(false), &line)).expect("JSON");
            prop_assert_eq!(text_of(&metadata), line);
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
