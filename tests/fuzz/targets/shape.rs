//! Law L17 against any file: whatever the settings, all of it becomes records within their limits, or is settled, or is put
//! aside.
//!
//! The first bytes choose the settings, the rest is the file: of containers where these write it, else as it is.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use standpipe::config::Config;
use standpipe::engine::preview::{Becomes, Beginning, preview};
use standpipe::model::identity::Identity;
use standpipe::model::limits::{LINES_PER_RECORD, RECORD_BYTES};

fn settings(choice: [u8; 3]) -> String {
    let [shape, long, packed] = choice;
    let pick = |from: &[&str], by: u8| from[usize::from(by) % from.len()].to_owned();
    let mut source = pick(&["", "format = \"json\"\n", "format = \"json\"\nmerge_json = true\n"], shape);
    source += &pick(&["", "parse = \"cri\"\n", "parse = \"docker\"\n"], shape / 3);
    source +=
        &pick(&["", "multiline = \"java\"\n", "multiline = \"go\"\n", "drop_lines = [\"^#\"]\n"], shape / 9);
    source += &pick(&["", "max_line_bytes = 16\n", "max_line_bytes = 100\n"], long);
    source += &pick(&["", "oversize = \"truncate\"\n", "oversize = \"dead_letter\"\n"], long / 3);
    let stream = pick(
        &[
            "",
            "packing = \"on\"\n",
            "packing = \"on\"\npack_bytes = 1000\n",
            "packing = \"on\"\ncompression = \"gzip\"\n",
        ],
        packed,
    );
    format!("[[source]]\npaths = [\"/a.log\"]\nstream = \"s\"\n{source}[stream.s]\n{stream}")
}

pub(crate) fn run(input: &[u8]) {
    let [shape, long, packed, rest @ ..] = input else { return };
    let text = settings([*shape, *long, *packed]);
    // Some of the choices exclude one another.
    let Ok(config) = Config::from_text(Path::new("a.toml"), &text, &|_| None) else { return };
    let (source, stream) = (&config.settings.sources[0], &config.settings.streams[0]);
    let bytes = Bytes::copy_from_slice(rest);
    let file = Beginning {
        path: Path::new("/a.log"),
        target: None,
        identity: Identity { device: 1, inode: 2, birth_nanos: None },
        bytes: bytes.clone(),
        unix_time: Duration::from_secs(1),
    };
    let made = preview(source, stream, &file);
    let mut next = 0;
    for (span, becomes) in &made.pieces {
        // The pieces of one message settle its lines with the last of them.
        assert!(span.start().bytes() == next || span.is_empty(), "spans are contiguous: {text}");
        next = next.max(span.end().bytes());
        match becomes {
            Becomes::Record(data) => {
                assert!(!data.is_empty() && data.len() <= RECORD_BYTES, "{} bytes: {text}", data.len());
                let lines = data.iter().filter(|byte| **byte == b'\n').count();
                let is_text = !text.contains("gzip");
                assert!(
                    !is_text || !text.contains("packing") || lines <= LINES_PER_RECORD,
                    "{lines} lines: {text}"
                );
                if is_text && text.contains("json") {
                    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        let object: serde_json::Value = serde_json::from_slice(line).expect("JSON");
                        assert!(object.is_object());
                    }
                }
            }
            Becomes::NotSent => {}
            Becomes::DeadLetter(data) => assert!(data.len() <= RECORD_BYTES),
        }
    }
    assert_eq!(next, made.bytes as u64, "nothing is left out: {text}");
    let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    assert!(
        made.bytes >= whole || text.contains("parse") || text.contains("multiline"),
        "whole lines wait: {text}"
    );
}
