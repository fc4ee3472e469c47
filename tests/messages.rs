//! docs/messages.md against the code: each line that is written at WARN or ERROR is there with its fields, and nothing
//! else is.
#![expect(clippy::disallowed_methods, reason = "what is read is the source tree and a document")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Messages that are no constant texts, each with a file that makes such a sentence, and the sentence as it stands there:
/// what is odd about the environment is found before anything logs, or told once for all streams.
const MADE_ELSEWHERE: [(&str, &str, &str); 5] = [
    (
        "{note}",
        "shell/aws.rs",
        "{name} has blanks, ends of lines or the like around its value: they are left out",
    ),
    ("{note}", "shell/aws.rs", "{name} is `{value}`, which has no effect: write true or false"),
    ("{note}", "shell/aws/connections.rs", "{name} {why}; write it as http://HOST:PORT"),
    ("{message}", "shell/aws/resolve.rs", "{by} is not written as a region is; it is taken for `{lower}`"),
    ("{message}", "shell/aws/resolve.rs", "{by} may be misspelt: {hint}; it is used as it is"),
];

/// One line of the log, as the code or the document has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    level: &'static str,
    message: String,
    fields: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(root().join("docs/messages.md")).unwrap()
}

/// The code of every file below `src/` that is not a test, in one text.
fn code() -> String {
    let (mut code, mut directories) = (String::new(), vec![root().join("src")]);
    while let Some(directory) = directories.pop() {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.file_stem().is_some_and(|stem| stem != "tests"));
        for path in paths {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                code += &without_tests(&fs::read_to_string(path).unwrap());
            }
        }
    }
    code
}

/// A file without comments and without items that are for tests alone, as rustfmt leaves them: such an item ends with
/// the next line that stands as far to the left and ends with a brace or a semicolon.
fn without_tests(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (mut code, mut skipped) = (String::new(), None);
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        if line.trim() == "#[cfg(test)]" {
            skipped = Some(indent(line));
        }
        match skipped {
            None => code += &format!("{line}\n"),
            Some(own) if own == indent(line) && line.ends_with(['}', ';']) => skipped = None,
            Some(_) => {}
        }
    }
    code
}

/// The length of the text literal that `code` begins with, in bytes.
fn literal_len(code: &str) -> usize {
    let mut is_escaped = false;
    for (at, letter) in code.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    panic!("a literal has no end: {code}");
}

/// What a literal says, which goes on behind the blanks of the next line where its own ends with a backslash.
fn said(literal: &str) -> String {
    let (mut text, mut rest) = (String::new(), &literal[1..literal.len() - 1]);
    while let Some((before, escaped)) = rest.split_once('\\') {
        text += before;
        match escaped.strip_prefix('\n') {
            Some(next) => rest = next.trim_start(),
            None => {
                let letter = escaped.chars().next().unwrap();
                text.push(letter);
                rest = &escaped[letter.len_utf8()..];
            }
        }
    }
    text + rest
}

/// The arguments of a macro; `code` begins behind its bracket.
fn arguments(code: &str) -> Vec<&str> {
    let (mut found, mut depth, mut begin, mut at) = (Vec::new(), 0, 0, 0);
    loop {
        let letter = code[at..].chars().next().unwrap();
        match letter {
            '(' | '[' | '{' => depth += 1,
            ',' if depth == 0 => {
                found.push(code[begin..at].trim());
                begin = at + 1;
            }
            ')' if depth == 0 => {
                found.extend(Some(code[begin..at].trim()).filter(|last| !last.is_empty()));
                return found;
            }
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        at += if letter == '"' { literal_len(&code[at..]) } else { letter.len_utf8() };
    }
}

/// The line that an invocation writes: the message is its first argument that is a literal, and before that are fields.
fn line(level: &'static str, arguments: &[&str]) -> Line {
    let place = arguments.iter().position(|argument| argument.starts_with('"'));
    let place = place.unwrap_or_else(|| panic!("no message: {arguments:?}"));
    let name = |field: &&str| field.split(" = ").next().unwrap().trim_start_matches(['%', '?']).to_owned();
    let fields: Vec<_> = arguments[..place].iter().map(name).collect();
    Line { level, message: said(arguments[place]), fields: fields.join(", ") }
}

/// Every line that `code` writes at WARN or ERROR.
fn written(code: &str) -> BTreeSet<Line> {
    let mut written = BTreeSet::new();
    for (level, call) in [("WARN", "warn!("), ("ERROR", "error!(")] {
        for (at, _) in code.match_indices(call) {
            written.insert(line(level, &arguments(&code[at + call.len()..])));
        }
    }
    written
}

/// Fields that are written as Debug has it, which is text of Rust, and no value.
fn debugged(code: &str) -> Vec<String> {
    let calls = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];
    let of_calls = calls.iter().flat_map(|call| code.match_indices(call).map(|(at, _)| at + call.len()));
    let fields = of_calls.flat_map(|at| arguments(&code[at..]));
    let fields = fields.take_while(|field| !field.is_empty()).filter(|field| !field.starts_with('"'));
    fields.filter(|field| field.starts_with('?') || field.contains("= ?")).map(str::to_owned).collect()
}

#[test]
fn fields_are_values_and_never_debug_text() {
    assert_eq!(debugged("info!(a, ?b, c = %d, e = ?f, \"said\");"), ["?b", "e = ?f"]);
    assert_eq!(debugged(&code()), [""; 0]);
}

/// A sentence as the document has it: an ellipsis for whatever is filled in.
fn shown(sentence: &str) -> String {
    let mut parts = sentence.split('{');
    let mut shown = parts.next().unwrap().to_owned();
    for part in parts {
        shown += &format!("…{}", part.split_once('}').unwrap().1);
    }
    shown.replace("… …", "…")
}

/// The rows of the document's tables that are about lines of the log.
fn documented(document: &str) -> BTreeSet<Line> {
    let row = |row: &str| {
        let mut cells = row.strip_prefix("| ")?.split(" | ");
        let first = cells.next()?;
        let level = ["WARN", "ERROR"].into_iter().find(|level| *level == first)?;
        let (message, fields) = (cells.next()?.to_owned(), cells.next()?.replace('*', ""));
        let told: Vec<_> = cells.collect();
        assert!(told.len() == 2 && told.iter().all(|cell| cell.contains('.')), "two sentences: {row}");
        Some(Line { level, message, fields: if fields == "–" { String::new() } else { fields } })
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn every_message_is_documented_and_none_that_nobody_writes() {
    let mut written = written(&code());
    assert!(written.len() > 45, "only {} messages were found", written.len());
    let varying: Vec<_> = written.extract_if(.., |line| line.message.contains('{')).collect();
    for (literal, file, sentence) in MADE_ELSEWHERE {
        let made_by = fs::read_to_string(root().join("src").join(file)).unwrap();
        assert!(made_by.contains(sentence), "src/{file} no longer says: {sentence}");
        let written_by = varying.iter().find(|line| line.message == literal);
        let written_by = written_by.unwrap_or_else(|| panic!("nothing logs {literal}"));
        written.insert(Line { message: shown(sentence), ..written_by.clone() });
    }
    for line in varying {
        let is_known = MADE_ELSEWHERE.iter().any(|(literal, ..)| *literal == line.message);
        assert!(is_known, "a constant text with fields can be searched for, this one cannot: {line:?}");
    }
    let documented = documented(&document());
    let missing: Vec<_> = written.difference(&documented).collect();
    let idle: Vec<_> = documented.difference(&written).collect();
    assert!(missing.is_empty() && idle.is_empty(), "docs/messages.md lacks {missing:#?}\nand has {idle:#?}");
}

#[test]
fn every_code_that_is_documented_as_ours_is_given_somewhere() {
    let (code, document) = (code(), document());
    let ours = document.split("## Codes").nth(1).unwrap();
    let codes: Vec<_> = ours.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert!(codes.len() >= 10, "only {codes:?}");
    for name in codes {
        assert!(code.contains(&format!("\"{name}\"")), "no code is {name}");
    }
}

/// The tests above are worth what this reading is worth.
#[test]
fn invocations_are_read_as_rustfmt_leaves_them() {
    let text = "#[cfg(test)]\nmod tests;\n\
                // warn!(\"a comment\");\n\
                fn first() {\n    tracing::warn!(\n        path = %path.map_or(\"(,\", |path| path), ?limit,\n        \
                \"one \\\n         \\\"two\\\", {name}\", name = \"three\"\n    );\n\
                \x20   #[cfg(test)]\n    error!(\"a statement\");\n}\n\
                #[cfg(test)]\nmod more {\n    fn none() {\n        warn!(\"a test\");\n    }\n}\n\
                fn last() {\n    error!(\"four\")\n}\n";
    let line = |level, message: &str, fields: &str| Line {
        level,
        message: message.to_owned(),
        fields: fields.to_owned(),
    };
    let expected = [line("ERROR", "four", ""), line("WARN", "one \"two\", {name}", "path, limit")];
    assert_eq!(written(&without_tests(text)), BTreeSet::from(expected));
    assert_eq!(shown("{by} {why}; it is `{lower}`"), "…; it is `…`");
    let document = "| level | message | fields | means | do |\n\
                    | WARN | four | – | A. | B. |\n\
                    | ERROR | five | *path*, *error* | A. | B. |\n";
    let expected = [line("ERROR", "five", "path, error"), line("WARN", "four", "")];
    assert_eq!(documented(document), BTreeSet::from(expected));
}
