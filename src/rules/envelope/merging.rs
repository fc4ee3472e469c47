//! Whether a line is a JSON object that becomes part of its record.
//!
//! Knows JSON, and which keys are ours. Does not know what they say, nor how much a record takes.
//!
//! *Invariant:* the members that come out stand on one line, and with ours behind them no key is there twice, whatever the
//! case in which a reader compares them.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::model::limits::folded;
use crate::model::message::Unmerged;

/// How deep objects and lists may lie in one another, the line's own object included. Readers bound their recursion:
/// Json.NET and System.Text.Json stop at 64, serde_json at 128.
const MAX_LEVELS: usize = 64;

/// What stands around the tokens of JSON.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Whether a line can be merged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Merging<'t> {
    /// What stands between the braces, its bytes unchanged but for ends of lines, which became blanks.
    Members(Cow<'t, str>),
    Quoted(Unmerged),
    NoObject,
}

/// Looks at a line; `ours` are keys in lower case and in order.
pub(super) fn merging<'t>(text: &'t [u8], ours: &[String]) -> Merging<'t> {
    let Some(text) = std::str::from_utf8(text).ok().map(|text| text.trim_matches(BLANKS)) else {
        return Merging::NoObject;
    };
    let Some(inside) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return Merging::NoObject;
    };
    let Ok(Keys(mut keys)) = serde_json::from_str(text) else { return Merging::NoObject };
    let survey = Survey::of(text.as_bytes());
    if survey.has_half_character {
        return Merging::NoObject;
    }
    if keys.iter().any(|key| ours.binary_search_by(|own| own.as_str().cmp(key)).is_ok()) {
        return Merging::Quoted(Unmerged::ReservedKey);
    }
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Merging::Quoted(Unmerged::DuplicateKey);
    }
    if survey.levels > MAX_LEVELS {
        return Merging::Quoted(Unmerged::Nesting);
    }
    let inside = inside.trim_matches(BLANKS);
    Merging::Members(match survey.has_newline {
        // No string of JSON has one inside.
        true => inside.replace(['\n', '\r'], " ").into(),
        false => inside.into(),
    })
}

/// What is seen of the tokens of a text that is JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Survey {
    levels: usize,
    has_newline: bool,
    /// Whether a string has half of a character that is written as two (`"\ud800"`): serde_json refuses it where it is read,
    /// and so do others.
    has_half_character: bool,
}

impl Survey {
    fn of(text: &[u8]) -> Self {
        let (mut survey, mut level, mut at) = (Self::default(), 0_usize, 0);
        while let Some(byte) = text.get(at) {
            at += 1;
            match byte {
                b'{' | b'[' => {
                    level += 1;
                    survey.levels = survey.levels.max(level);
                }
                b'}' | b']' => level = level.saturating_sub(1),
                b'\n' => survey.has_newline = true,
                b'"' => at += survey.string(&text[at..]),
                _ => {}
            }
        }
        survey
    }

    /// Looks at what follows the beginning of a string; returns how long that is, in bytes.
    fn string(&mut self, text: &[u8]) -> usize {
        let mut at = 0;
        while let Some(found) = memchr2(b'"', b'\\', &text[at..]) {
            at += found;
            if text[at] == b'"' {
                return at + 1;
            }
            let (units, len) = escape(&text[at..]);
            self.has_half_character |= units == Units::Half;
            at += len;
        }
        text.len()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Units {
    Whole,
    Half,
}

/// The escape at the beginning of `text`, with the second one of a pair, and how long that is, in bytes.
fn escape(text: &[u8]) -> (Units, usize) {
    match (unit(text), unit(text.get(6..).unwrap_or_default())) {
        (None, _) => (Units::Whole, 2),
        (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (Units::Whole, 12),
        (Some(0xd800..0xe000), _) => (Units::Half, 6),
        (Some(_), _) => (Units::Whole, 6),
    }
}

/// The UTF-16 code unit that is written at the beginning of `text`, if that is `\u` with its digits.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The keys of an object, folded; its values are looked at only as far as they have to be JSON.
struct Keys<'de>(Vec<Cow<'de, str>>);

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> Visitor<'de> for OfMap {
            type Value = Keys<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Keys<'de>, M::Error> {
                let mut keys = Vec::new();
                while let Some((Key(key), IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

/// A key, folded: what is so already is not copied.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfString;

        impl<'de> Visitor<'de> for OfString {
            type Value = Key<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                let is_folded = key.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
                Ok(Key(if is_folded { key.into() } else { folded(key).into() }))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(folded(key).into()))
            }
        }

        deserializer.deserialize_str(OfString)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(text: &str) -> Merging<'_> {
        let mut ours = ["file", "message", "straße"].map(folded);
        ours.sort_unstable();
        merging(text.as_bytes(), &ours)
    }

    fn nested(levels: usize) -> String {
        format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
    }

    #[test]
    fn an_object_is_merged_unless_its_keys_or_its_levels_forbid_it() {
        let members = |text: &'static str| Merging::Members(text.into());
        let quoted = Merging::Quoted;
        let (most, more) = (nested(64), nested(65));
        let table: Vec<(&str, Merging<'_>)> = vec![
            (r#" {"level":"info", "n":1.0e3 }  "#, members(r#""level":"info", "n":1.0e3"#)),
            ("{}", members("")),
            (r#"{"":1}"#, members(r#""":1"#)),
            ("{\n \"a\": 1,\r\n \"b\":\"x\\n\"\n}", members("\"a\": 1,   \"b\":\"x\\n\"")),
            (r#"{"a":{"file":1,"b":[{"b":2}]}}"#, members(r#""a":{"file":1,"b":[{"b":2}]}"#)),
            (
                r#"{"a":"\ud83d\ude00 \\ud800 \" {[","b":1}"#,
                members(r#""a":"\ud83d\ude00 \\ud800 \" {[","b":1"#),
            ),
            (r#"{"a":1e999999}"#, members(r#""a":1e999999"#)),
            (r#"{"file":1}"#, quoted(Unmerged::ReservedKey)),
            (r#"{"a":1,"FiLe":1}"#, quoted(Unmerged::ReservedKey)),
            (r#"{"\u0066ile":1}"#, quoted(Unmerged::ReservedKey)),
            (r#"{"STRAßE":1}"#, quoted(Unmerged::ReservedKey)),
            // One in upper case, though not in lower.
            (r#"{"STRASSE":1}"#, quoted(Unmerged::ReservedKey)),
            (r#"{"me\u017f\u017fage":1}"#, quoted(Unmerged::ReservedKey)),
            (r#"{"s":1,"ſ":2}"#, quoted(Unmerged::DuplicateKey)),
            (r#"{"a":1,"b":2,"a":3}"#, quoted(Unmerged::DuplicateKey)),
            (r#"{"a":1,"\u0061":3}"#, quoted(Unmerged::DuplicateKey)),
            (r#"{"äb":1,"ÄB":3}"#, quoted(Unmerged::DuplicateKey)),
            (r#"{"a":1,"a":2,"file":3}"#, quoted(Unmerged::ReservedKey)),
            (&more, quoted(Unmerged::Nesting)),
            (r#"{"a":"\ud800"}"#, Merging::NoObject),
            (r#"{"a":"\ude00\ud83d"}"#, Merging::NoObject),
            (r#"{"\ud800":1}"#, Merging::NoObject),
        ];
        for (text, expected) in table {
            assert_eq!(look(text), expected, "{text}");
        }
        assert_eq!(look(&most), Merging::Members(most[1..most.len() - 1].into()));
        assert_eq!(look(&nested(100_000)), Merging::Quoted(Unmerged::Nesting));
    }

    #[test]
    fn what_is_no_object_is_none() {
        let no_objects = [
            "[1]",
            "{",
            r#"{"a":1}x"#,
            r#"{"a":}"#,
            "12",
            "",
            r#"{"a" "b"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":NaN}"#,
            "\u{b}{}",
        ];
        for text in no_objects {
            assert_eq!(look(text), Merging::NoObject, "{text}");
        }
        assert_eq!(merging(b"{\"a\":\"\xff\"}", &[]), Merging::NoObject);
    }

    proptest! {
        #[test]
        fn members_say_on_one_line_what_they_said(
            keys in prop::collection::btree_set("[a-z\"\\\\\u{e9}\n]{0,6}", 0..6), value in "[a-z\\\\\"\n{\\[\u{1f600}]{0,9}",
        ) {
            let object: serde_json::Map<_, _> =
                keys.into_iter().map(|key| (key, serde_json::json!([{ "x": value }]))).collect();
            prop_assume!(!object.contains_key("file") && !object.contains_key("message"));
            let line = serde_json::to_string_pretty(&object).expect("JSON");
            let Merging::Members(members) = look(&line) else { panic!("{line} is merged") };
            prop_assert!(!members.contains(['\n', '\r']));
            let back: serde_json::Map<_, _> = serde_json::from_str(&format!("{{{members}}}")).expect("JSON");
            prop_assert_eq!(back, object);
        }
    }
}
