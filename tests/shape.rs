//! The shape of the source: files, functions and structs of a size that one reader can hold in mind, and comments that
//! begin with a noun.
//!
//! A file is one noun, a function fits a screen, and a struct with many fields is several nouns that nobody has named
//! yet. Each limit alone is arbitrary; without one, every file grows by a little with every change. The tests here read
//! the source as rustfmt leaves it, line by line, and print everything that is over a limit.
#![expect(clippy::disallowed_methods, reason = "what is looked at is the source tree")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of one file, without its unit tests.
const MAX_FILE_LINES: usize = 400;

/// The most lines of one function, from its signature to its closing brace.
const MAX_FUNCTION_LINES: usize = 60;

/// The most fields of one struct.
const MAX_FIELDS: usize = 15;

/// Structs that may have more fields than [`MAX_FIELDS`], by file and name: lists for people, which decide nothing.
const LONG_LISTS: [(&str, &str); 2] = [
    // The options of one command: a field for each.
    ("cli/local.rs", "LocalArgs"),
    // An entry of `/status`: a field for each key of the JSON object, as docs/operations.md lists them.
    ("shell/http/status/stream.rs", "Stream"),
];

/// Where doc comments begin with a noun: folders and files below `src/`.
const PLAIN_SPOKEN: [&str; 9] =
    ["lib.rs", "model/", "rules/", "shell/", "config/", "local/", "cli/", "daemon.rs", "daemon/"];

/// How no doc comment begins: with words that mean something only to a reader of the lines above.
const PRONOUNS: [&str; 12] = [
    "The same",
    "It ",
    "Its ",
    "They ",
    "Their ",
    "One that ",
    "Of it ",
    "Of them ",
    "Of these ",
    "Of those ",
    "Of which ",
    "Of whom ",
];

#[test]
fn no_file_is_too_long() {
    let over = sources().into_iter().filter_map(|source| {
        let lines = source.lines.len();
        (lines > MAX_FILE_LINES).then(|| format!("{}: {lines} lines", source.name))
    });
    assert_none(over.collect(), &format!("over {MAX_FILE_LINES} lines without tests; split by noun"));
}

#[test]
fn no_function_is_too_long() {
    let over = sources().into_iter().flat_map(|source| {
        let long = functions(&source.lines).into_iter().filter(|item| item.size > MAX_FUNCTION_LINES);
        long.map(|item| format!("{}:{}: {}: {} lines", source.name, item.line, item.name, item.size))
            .collect::<Vec<_>>()
    });
    assert_none(over.collect(), &format!("over {MAX_FUNCTION_LINES} lines; name a part of it"));
}

#[test]
fn no_struct_has_too_many_fields() {
    let over = sources().into_iter().flat_map(|source| {
        let large = structs(&source.lines).into_iter().filter(|item| {
            item.size > MAX_FIELDS && !LONG_LISTS.contains(&(source.name.as_str(), item.name.as_str()))
        });
        large
            .map(|item| format!("{}:{}: {}: {} fields", source.name, item.line, item.name, item.size))
            .collect::<Vec<_>>()
    });
    assert_none(over.collect(), &format!("over {MAX_FIELDS} fields; name what belongs together"));
}

#[test]
fn every_exemption_is_needed() {
    let sources = files();
    for (file, name) in LONG_LISTS {
        let source = sources.iter().find(|source| source.name == file);
        let found =
            source.and_then(|source| structs(&source.lines).into_iter().find(|item| item.name == name));
        assert!(found.is_some_and(|item| item.size > MAX_FIELDS), "{file}: {name} needs no exemption");
    }
    for folder in PLAIN_SPOKEN {
        assert!(sources.iter().any(|source| source.name.starts_with(folder)), "{folder} has no file");
    }
}

#[test]
fn no_doc_comment_begins_with_a_pronoun() {
    let mut wrong = Vec::new();
    for source in files() {
        if PLAIN_SPOKEN.iter().any(|place| source.name.starts_with(place)) {
            for (line, text) in doc_beginnings(&source.all) {
                if PRONOUNS.iter().any(|pronoun| text.starts_with(pronoun)) {
                    wrong.push(format!("{}:{line}: {text}", source.name));
                }
            }
        }
    }
    assert_none(wrong, "a doc comment is read without its neighbours; name what it is about");
}

/// The tests above are worth what this reading is worth.
#[test]
fn items_are_read_as_rustfmt_leaves_them() {
    let text = "//! It is a module.\n\
                \n\
                /// A struct.\n\
                pub struct Three<'a> {\n    /// One that counts.\n    pub(super) one: u8,\n    pub(in crate::one) two: &'a str,\n    r#three: u8,\n}\n\
                struct Unit;\n\
                impl Three<'_> {\n    pub(in crate::one) const fn long(\n        self,\n    ) -> u8 {\n        fn inner() {\n        }\n        1\n    }\n}\n\
                trait Promise {\n    fn only(&self);\n}\n\
                #[cfg(test)]\nmod elsewhere;\n\
                fn last() {}\n\
                #[cfg(test)]\nmod tests {\n    fn not_counted() {\n    }\n}\n";
    let all: Vec<_> = text.lines().map(str::to_owned).collect();
    let lines = without_tests(&all);
    let seen = |items: Vec<Item>| {
        items.into_iter().map(|item| (item.line, item.name, item.size)).collect::<Vec<_>>()
    };
    assert_eq!(lines.last().map(String::as_str), Some("fn last() {}"));
    assert_eq!(seen(structs(&lines)), [(4, "Three".to_owned(), 3)]);
    assert_eq!(
        seen(functions(&lines)),
        [(12, "long".to_owned(), 7), (15, "inner".to_owned(), 2), (25, "last".to_owned(), 1)]
    );
    assert_eq!(test_modules(&all), ["elsewhere"]);
    let beginnings: Vec<_> = doc_beginnings(&all).map(|(line, text)| format!("{line} {text}")).collect();
    assert_eq!(beginnings, ["1 It is a module.", "3 A struct.", "5 One that counts."]);
}

fn assert_none(wrong: Vec<String>, why: &str) {
    assert!(wrong.is_empty(), "{why}:\n{}", wrong.join("\n"));
}

/// One file below `src/` that is not only a test.
struct Source {
    /// The path below `src/`.
    name: String,
    /// Every line.
    all: Vec<String>,
    /// The lines without the unit tests at the end.
    lines: Vec<String>,
}

/// Something with a size, and where it begins.
struct Item {
    line: usize,
    name: String,
    size: usize,
}

/// The files that the limits hold for.
fn sources() -> Vec<Source> {
    files()
}

/// Every file below `src/` but those that are test modules as a whole, sorted by name.
fn files() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => paths.push(path),
                false => {}
            }
        }
    }
    paths.sort();
    let mut tests = Vec::new();
    let mut found = Vec::new();
    for path in paths {
        let all: Vec<_> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        let children = children_of(&path);
        tests.extend(test_modules(&all).into_iter().map(|name| children.join(name)));
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        found.push((path, Source { name, lines: without_tests(&all), all }));
    }
    // A test module is `tests.rs` and everything in `tests/`.
    found.retain(|(path, _)| !tests.iter().any(|test| path.with_extension("").starts_with(test)));
    assert!(found.len() > 50, "only {} files were found", found.len());
    found.into_iter().map(|(_, source)| source).collect()
}

/// The directory of a file's child modules.
fn children_of(path: &Path) -> PathBuf {
    let stem = path.with_extension("");
    match path.file_name().is_some_and(|name| name == "mod.rs" || name == "lib.rs" || name == "main.rs") {
        true => path.parent().unwrap().to_owned(),
        false => stem,
    }
}

/// The names of modules in files of their own that exist for tests only.
fn test_modules(lines: &[String]) -> Vec<String> {
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    pairs.filter_map(|pair| pair[1].split_once("mod ")?.1.strip_suffix(';').map(str::to_owned)).collect()
}

/// A file's lines up to the module of its unit tests, each with a visibility of one word.
fn without_tests(lines: &[String]) -> Vec<String> {
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
    let lines = lines[..tests.unwrap_or(lines.len())].iter();
    let plain = |line: &String| match line.split_once("pub(in ") {
        Some((before, behind)) if before.trim().is_empty() => {
            format!("{before}pub{}", behind.split_once(')').map_or("", |(_, behind)| behind))
        }
        _ => line.clone(),
    };
    lines.map(plain).collect()
}

/// Every function with a body; the size is in lines.
fn functions(lines: &[String]) -> Vec<Item> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if let Some(name) = named(line, "fn") {
            let Some(end) = end_of(lines, index) else { continue };
            found.push(Item { line: index + 1, name, size: end - index + 1 });
        }
    }
    found
}

/// Every struct with named fields; the size is how many there are.
fn structs(lines: &[String]) -> Vec<Item> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if let Some(name) = named(line, "struct") {
            let Some(end) = end_of(lines, index) else { continue };
            let indent = indent(line) + 4;
            let size =
                lines[index..=end].iter().filter(|line| indent == self::indent(line) && is_field(line));
            found.push(Item { line: index + 1, name, size: size.count() });
        }
    }
    found
}

/// The name that a line declares with `keyword`, if the line does.
fn named(line: &str, keyword: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let qualifier = |word: &&str| matches!(*word, "const" | "async" | "unsafe") || word.starts_with("pub");
    let declares = words.find(|word| !qualifier(word))? == keyword;
    let name = words.next().filter(|_| declares)?;
    let end = name.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(name.len());
    Some(name[..end].to_owned())
}

/// The index of the line that closes what begins at `index`: the first as far to the left that closes a brace. `None`
/// for a declaration without a body.
fn end_of(lines: &[String], index: usize) -> Option<usize> {
    let indent = indent(&lines[index]);
    for (at, line) in lines.iter().enumerate().skip(index) {
        if self::indent(line) == indent {
            if line.ends_with(';') {
                return None;
            }
            if line.trim_start().starts_with('}') || at == index && line.ends_with('}') {
                return Some(at);
            }
        }
    }
    None
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_field(line: &str) -> bool {
    let line = line.trim_start();
    let name = line.rfind("pub").map_or(line, |_| line.split_once(' ').map_or("", |(_, rest)| rest));
    let Some((name, _)) = name.split_once(": ") else { return false };
    let name = name.strip_prefix("r#").unwrap_or(name);
    !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

/// The first line of every doc comment, with its number.
fn doc_beginnings(lines: &[String]) -> impl Iterator<Item = (usize, &str)> {
    let doc = |line: &str| ["///", "//!"].iter().any(|mark| line.trim_start().starts_with(mark));
    lines.iter().enumerate().filter_map(move |(index, line)| {
        let begins = doc(line) && !index.checked_sub(1).is_some_and(|before| doc(&lines[before]));
        begins.then(|| (index + 1, line.trim_start()[3..].trim()))
    })
}
