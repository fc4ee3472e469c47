//! What a container runtime wrote against any bytes: no panic, and what is taken for its line says the same to others.

use serde_json::Value;
use standpipe::model::settings::Runtime;
use standpipe::rules::unwrap::unwrap;

/// The first byte chooses how much of a line is well formed already.
fn line(choice: u8, rest: &[u8]) -> Vec<u8> {
    let around: [&[u8]; 2] = match choice % 8 {
        0 => [b"2026-11-24T08:15:42.5+01:00 stderr ", b""],
        1 => [b"2026-11-24T08:15:42.123456789Z stdout P", b""],
        2 => [b"2026-11-24", b" stdout F text"],
        3 => [br#"{"log":""#, br#"\n","stream":"stdout","time":"2026-11-24T08:15:42.123456789Z"}"#],
        4 => [br#"{"log":""#, br#"","stream":"stderr","time":"2026-11-24T08:15:42Z","attrs":{"a":"b"}}"#],
        5 => [br#"{"log":"text","stream":"stdout","time":"2026-11-24T08:15:42Z""#, b"}"],
        _ => [b"", b""],
    };
    [around[0], rest, around[1]].concat()
}

pub(crate) fn run(input: &[u8]) {
    let [choice, rest @ ..] = input else { return };
    let line = &line(*choice, rest)[..];
    if let Some(found) = unwrap(Runtime::Cri, line) {
        let start = format!("{} {} ", found.metadata.time, found.metadata.channel.label());
        let tag = line.strip_prefix(start.as_bytes()).expect("it begins with its time and its stream");
        assert!(tag.starts_with(if found.is_partial { b"P" } else { b"F" }));
        let around =
            start.len() + tag.iter().position(|byte| *byte == b' ').map_or(tag.len(), |blank| blank + 1);
        assert_eq!(*found.content, line[around..]);
    }
    if let Some(found) = unwrap(Runtime::Docker, line) {
        // A number of another key may be none that fits into a Value.
        let Ok(value) = serde_json::from_slice::<Value>(line) else { return };
        let newline = if found.is_partial { "" } else { "\n" };
        let content = std::str::from_utf8(&found.content).expect("JSON is UTF-8");
        assert_eq!(value["log"], format!("{content}{newline}"));
        assert_eq!(
            (&value["time"], &value["stream"]),
            (&(*found.metadata.time).into(), &found.metadata.channel.label().into())
        );
    }
}
