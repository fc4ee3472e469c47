//! What the README and the documents tell people to type is there: commands, flags, configuration, links.
#![expect(clippy::disallowed_methods, reason = "what is read is the documents")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use standpipe::config::Config;

struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// The fenced blocks in `language`, with the line on which each begins.
    fn blocks(&self, language: &str) -> Vec<(usize, String)> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, bool, String)> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(name)) => open = Some((index + 2, name == language, String::new())),
                (Some((_, _, block)), None) => *block += &format!("{line}\n"),
                (Some(_), Some(_)) => {
                    let (first, wanted, block) = open.take().unwrap();
                    blocks.extend(wanted.then_some((first, block)));
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block has no end", self.path.display());
        blocks
    }

    /// The text outside of fenced blocks.
    fn prose(&self) -> String {
        let mut inside = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            let fence = line.starts_with("```");
            inside ^= fence;
            if !inside && !fence {
                prose += &format!("{line}\n");
            }
        }
        prose
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "packaging/README.md",
        "packaging/helm/standpipe/README.md",
    ]
    .iter()
    .map(|path| root().join(path))
    .collect();
    for directory in ["docs", "docs/decisions", "docs/try"] {
        let entries = fs::read_dir(root().join(directory)).unwrap();
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert!(paths.len() >= 3, "only {paths:?}");
    paths.into_iter().map(|path| Document { text: fs::read_to_string(&path).unwrap(), path }).collect()
}

/// The options of the binary and of each of its subcommands, as its help spells them.
fn help() -> BTreeMap<String, Vec<String>> {
    let words = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_standpipe")).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let flags = |help: &str| {
        help.lines()
            .map(str::trim_start)
            .filter(|line| line.starts_with('-'))
            .flat_map(|line| line.split([' ', ',']).filter(|word| word.starts_with('-')))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let commands = |help: &str| {
        let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
        // One command a line; lines that stand further right go on with what was said.
        let names = commands.split("\n\n").next().unwrap().lines().filter(|line| !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let main = words(&["--help"]);
    let mut help = BTreeMap::new();
    for name in commands(&main) {
        let own = words(&[&name, "--help"]);
        let mut known = flags(&own);
        for inner in commands(&own) {
            known.extend(flags(&words(&[&name, &inner, "--help"])));
        }
        help.insert(name, known);
    }
    assert!(help["run"].contains(&"--once".to_owned()), "{help:?}");
    help.insert(String::new(), flags(&main));
    help
}

/// What is wrong with the arguments of one call, if anything.
fn judge(help: &BTreeMap<String, Vec<String>>, args: &[&str]) -> Result<(), String> {
    let (name, rest) = match args.first() {
        Some(first) if !first.starts_with('-') => (*first, &args[1..]),
        _ => ("", args),
    };
    let known = help.get(name).ok_or_else(|| format!("there is no command {name:?}"))?;
    for flag in rest.iter().filter(|arg| arg.starts_with('-')) {
        let flag = flag.split('=').next().unwrap();
        if !known.iter().any(|known| known == flag) {
            return Err(format!("`{name}` has no {flag}"));
        }
    }
    Ok(())
}

/// The arguments that a line of a shell gives to standpipe, for each time that it calls it.
fn calls(line: &str) -> Vec<Vec<&str>> {
    line.split(['|', ';', '&'])
        .filter_map(|command| {
            let mut words = command.split_whitespace().peekable();
            while words.next_if(|word| *word == "sudo" || word.contains('=')).is_some() {}
            match words.next()? {
                "cargo" if words.peek() == Some(&"run") => {
                    Some(words.skip_while(|word| *word != "--").skip(1).collect())
                }
                "docker" if words.peek() == Some(&"run") => {
                    Some(words.skip_while(|word| *word != "standpipe").skip(1).collect())
                }
                program if program == "standpipe" || program.ends_with("/standpipe") => Some(words.collect()),
                _ => None,
            }
        })
        .collect()
}

#[test]
fn every_command_and_flag_in_the_documents_exists() {
    let help = help();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for (first, block) in document.blocks("console") {
            for (index, line) in block.lines().enumerate() {
                let Some(line) = line.strip_prefix("$ ") else {
                    continue;
                };
                for args in calls(line) {
                    seen += 1;
                    if let Err(why) = judge(&help, &args) {
                        wrong.push(format!("{}:{}: {why}", document.path.display(), first + index));
                    }
                }
            }
        }
        // And in the middle of a sentence.
        for span in document.prose().split('`').skip(1).step_by(2) {
            for args in calls(span).iter().filter(|args| !args.is_empty()) {
                if let Err(why) = judge(&help, args) {
                    wrong.push(format!("{}: `{span}`: {why}", document.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(seen >= 5, "only {seen} calls were found");
}

#[test]
fn a_command_or_flag_that_does_not_exist_is_noticed() {
    let help = help();
    for (line, fine) in [
        ("standpipe run --once --local=x /a.log", true),
        ("standpipe run --twice", false),
        ("standpipe fly", false),
        ("standpipe --version", true),
        ("cargo run --release -- check -c x", true),
        ("cargo run --release -- check -x x", false),
        ("docker run --rm -v a:b standpipe run --often", false),
        ("seq 3 | sudo target/release/standpipe local --dirt", false),
    ] {
        let calls = calls(line);
        assert_eq!(calls.len(), 1, "{line}");
        assert_eq!(judge(&help, &calls[0]).is_ok(), fine, "{line}");
    }
}

/// What is wrong with a configuration by the schema that the library prints, if anything.
fn judged_by_schema(text: &str) -> Result<(), String> {
    let document: toml::Table = text.parse().unwrap();
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    let schema = serde_json::from_str(&standpipe::config::schema()).unwrap();
    compiler.add_resource("standpipe.schema.json", schema).unwrap();
    let compiled = compiler.compile("standpipe.schema.json", &mut schemas).unwrap();
    let document = serde_json::to_value(document).unwrap();
    schemas.validate(&document, compiled).map_err(|why| why.to_string())
}

/// The configurations that stand beside documents and packages, as files of their own.
fn configurations() -> Vec<PathBuf> {
    let mut found = vec![root().join("config.example.toml")];
    let mut directories = vec![root().join("docs"), root().join("packaging")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_toml = path.extension().is_some_and(|extension| extension == "toml");
            if path.is_dir() {
                directories.push(path);
            } else if is_toml && fs::read_to_string(&path).unwrap().contains("[[source]]") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_configuration_that_is_shipped_is_right_by_the_schema() {
    let configurations = configurations();
    assert!(configurations.len() >= 5, "{configurations:?}");
    let mut wrong = Vec::new();
    let texts = configurations.into_iter().map(|path| (fs::read_to_string(&path).unwrap(), path));
    let blocks = documents().into_iter().flat_map(|document| {
        let blocks = document.blocks("toml").into_iter();
        blocks.map(|(_, block)| (block, document.path.clone())).collect::<Vec<_>>()
    });
    for (text, path) in texts.chain(blocks) {
        // A template of Helm's is TOML where it is filled in alone.
        if text.parse::<toml::Table>().is_ok()
            && let Err(why) = judged_by_schema(&text)
        {
            wrong.push(format!("{}: {why}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(judged_by_schema("[log]\nlevel = 3\n").is_err() && judged_by_schema("shutdwn = {}\n").is_err());
}

#[test]
fn every_configuration_in_the_documents_loads() {
    let mut seen = 0;
    for document in documents() {
        for (line, block) in document.blocks("toml") {
            seen += 1;
            // As the DaemonSet sets it.
            let env = |name: &str| (name == "NODE_NAME").then(|| "node-1".to_owned());
            if let Err(faults) = Config::from_text(&document.path, &block, &env) {
                panic!("the block at line {line}:\n{faults}");
            }
        }
    }
    assert!(seen >= 2, "only {seen} blocks were found");
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for document in documents() {
        let directory = document.path.parent().unwrap();
        for link in document.prose().split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                assert!(directory.join(target).exists(), "{}: {target}", document.path.display());
            }
        }
    }
}

#[test]
fn the_example_names_every_table_that_the_readme_names() {
    let example = fs::read_to_string(root().join("config.example.toml")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for key in
        ["health.listen", "checkpoint.interval", "checkpoint.max_bytes", "memory.buffer", "shutdown.timeout"]
    {
        let (table, name) = key.split_once('.').unwrap();
        assert!(readme.contains(key), "the README no longer speaks of {key}");
        let keys = example.split(&format!("[{table}]")).nth(1).unwrap();
        assert!(keys.contains(&format!("#{name} = ")), "{key}");
    }
}

/// Every file below `src` and `tests` whose name ends like one of these, with its text.
fn sources(extensions: &[&str]) -> Vec<Document> {
    let mut found = Vec::new();
    let mut directories = vec![root().join("src"), root().join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|own| extensions.iter().any(|wanted| own == *wanted)) {
                found.push(Document { text: fs::read_to_string(&path).unwrap(), path });
            }
        }
    }
    found
}

/// The last cell of a table's row, in which the tests are named that hold what the row says.
fn tests_in(row: &str) -> impl Iterator<Item = &str> {
    row.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or_default().split('`').skip(1).step_by(2)
}

/// Rows of tables that begin with a code of one of these letters.
fn rows<'t>(text: &'t str, letters: &str) -> Vec<&'t str> {
    let code = Regex::new(&format!(r"^\| ({letters})[0-9]+ \|")).unwrap();
    text.lines().filter(|line| code.is_match(line)).collect()
}

#[test]
fn every_test_that_the_design_names_exists() {
    let code: String = sources(&["rs"]).into_iter().map(|file| file.text).collect();
    let design = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let failures = fs::read_to_string(root().join("docs/failures.md")).unwrap();
    let laws = rows(&design, "L");
    assert!(laws.len() >= 10, "ten laws");
    for row in laws.into_iter().chain(rows(&failures, "P|CK|S|N|H|I")) {
        assert!(row.starts_with("| L") || tests_in(row).next().is_some(), "no test: {row}");
        // A law is held by a test, or by a whole file of them.
        for test in tests_in(row) {
            let exists = match test.ends_with(".rs") {
                true => root().join(test).is_file(),
                false => code.contains(&format!("fn {test}(")),
            };
            assert!(exists, "{row}\nno test is called {test}");
        }
    }
}

#[test]
fn every_code_of_a_fault_or_law_is_explained() {
    let design = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let failures = fs::read_to_string(root().join("docs/failures.md")).unwrap();
    let mut known: Vec<&str> = Vec::new();
    for row in rows(&design, "L").into_iter().chain(rows(&failures, "P|CK|S|N|H|I")) {
        known.push(row.split(['|', ' ']).find(|cell| !cell.is_empty()).unwrap());
    }
    let code = Regex::new(r"\b(?:CK|S|N|P|H|I|L)[0-9]{1,2}\b").unwrap();
    let mut seen = 0;
    let mut unknown = Vec::new();
    for file in sources(&["rs", "tsv"]) {
        for (index, line) in file.text.lines().enumerate() {
            for found in code.find_iter(line) {
                seen += 1;
                if !known.contains(&found.as_str()) {
                    unknown.push(format!("{}:{}: {}", file.path.display(), index + 1, found.as_str()));
                }
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "neither docs/failures.md nor docs/design.md has a row for\n{}",
        unknown.join("\n")
    );
    assert!(seen > 100, "only {seen} codes were found");
}
