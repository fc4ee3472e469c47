//! docs/messages.md against the code: each line that is written at WARN or ERROR is there, and nothing else is.
#![expect(clippy::disallowed_methods, reason = "the sources are files")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Messages that are texts of others: what is missing on the way to AWS, each in its own words.
const OF_OTHERS: [&str; 2] = ["{note}", "{message}"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the sources") {
        let path = entry.expect("a name").path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

/// The text literal that begins behind the quote at the beginning of `code`, and what comes behind it.
fn literal(code: &str) -> (String, &str) {
    let (mut text, mut rest) = (String::new(), &code[1..]);
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match letter {
            '"' => break,
            '\\' => {
                let escaped = rest.chars().next().expect("a literal ends with a quote");
                rest = &rest[escaped.len_utf8()..];
                match escaped {
                    // The text goes on behind the blanks of the next line.
                    '\n' => rest = rest.trim_start(),
                    other => text.push(other),
                }
            }
            other => text.push(other),
        }
    }
    (text, rest)
}

/// The last text literal of a macro's arguments, which begin behind its bracket: the message.
fn message(mut code: &str) -> String {
    let (mut depth, mut last) = (1, String::new());
    while depth > 0 {
        match code.as_bytes().first() {
            Some(b'"') => {
                let (text, rest) = literal(code);
                (last, code) = (text, rest);
                continue;
            }
            Some(b'(') => depth += 1,
            Some(b')') => depth -= 1,
            Some(_) => {}
            None => panic!("a macro ends with its bracket"),
        }
        code = &code[code.chars().next().map_or(1, char::len_utf8)..];
    }
    last
}

fn written() -> BTreeSet<(&'static str, String)> {
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    let mut written = BTreeSet::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("readable");
        let code = text.split("#[cfg(test)]\nmod tests").next().expect("something");
        for (level, call) in [("WARN", "warn!("), ("ERROR", "error!(")] {
            for (at, _) in code.match_indices(call) {
                written.insert((level, message(&code[at + call.len()..])));
            }
        }
    }
    written.retain(|(_, message)| !OF_OTHERS.contains(&message.as_str()));
    written
}

fn documented() -> BTreeSet<(&'static str, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/messages.md");
    let text = fs::read_to_string(path).expect("the document");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let found = cells.next()?;
        let level = ["WARN", "ERROR"].into_iter().find(|level| *level == found)?;
        Some((level, cells.next()?.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_message_is_documented_and_none_that_nobody_writes() {
    let (written, documented) = (written(), documented());
    assert!(written.len() > 40, "the messages are found: {}", written.len());
    let missing: Vec<_> = written.difference(&documented).collect();
    let idle: Vec<_> = documented.difference(&written).collect();
    assert!(missing.is_empty() && idle.is_empty(), "docs/messages.md lacks {missing:#?}\nand has {idle:#?}");
}
