//! The house stands: every file under `src/` imports lower floors only, and only the upper ones wait.
#![expect(clippy::disallowed_methods, reason = "what is looked at is the source tree")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms and their floors. A file in no room fails the test: it must be given a floor first.
const FLOORS: [(&str, u8); 8] = [
    ("model", 0),
    ("rules", 1),
    ("engine", 2),
    ("shell", 3),
    ("config", 3),
    ("local", 3),
    ("daemon", 4),
    ("cli", 4),
];

/// Imports that stay on their floor, each for a reason.
const NEIGHBOURS: [(&str, &str); 5] = [
    // The configuration compiles patterns, so that what a glob means is said once.
    ("config", "rules::pattern"),
    // How a stream stands decides when to probe; how long that is, is backoff's to say, and said once.
    ("rules::circuit", "rules::retry"),
    // How to reach a stream at AWS is said by the configuration, in words that only this shell needs.
    ("shell::firehose", "config"),
    ("shell::aws", "config"),
    // Both are the top floor: the command line starts the daemon.
    ("cli", "daemon"),
];

/// Rooms in which something may be waited for.
const WAITING: [&str; 4] = ["shell", "local", "daemon", "cli"];

/// How libraries that say what a glob means are named in code.
const GLOB_LIBRARIES: [&str; 6] = ["fnmatch", "glob::", "glob_match", "globset", "wax::", "wildmatch"];

#[test]
fn every_file_imports_lower_floors_only() {
    let mut wrong = Vec::new();
    for file in files() {
        for import in imports(&file) {
            if let Some(why) = forbidden(&file.module, &import.path) {
                wrong.push(format!(
                    "{}:{}: {}: {why}",
                    file.path.display(),
                    import.line,
                    import.path.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_upper_floors_wait() {
    let wrong: Vec<_> = files()
        .iter()
        .filter(|file| !WAITING.contains(&file.module[0].as_str()))
        .flat_map(|file| {
            code(&file.text)
                .filter(|(_, line)| words(line).any(|word| word == "async" || word == "await"))
                .map(|(number, _)| format!("{}:{number}", file.path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "async below the shells:\n{}", wrong.join("\n"));
}

/// What a glob means is said once: whoever else compiled one would have another opinion.
#[test]
fn only_one_rule_knows_globs() {
    let wrong: Vec<_> = files()
        .iter()
        .filter(|file| !starts_with(&file.module, "rules::pattern"))
        .flat_map(|file| {
            code(&file.text)
                .filter(|(_, line)| GLOB_LIBRARIES.iter().any(|library| line.contains(library)))
                .map(|(number, _)| format!("{}:{number}", file.path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "globs beside rules/pattern:\n{}", wrong.join("\n"));
}

/// A circle of modules can only be understood, and changed, all at once.
///
/// A module and what lies below it count as one: a parent names its children, and they name what it defines. What a
/// parent only hands on from a child (`pub use`) belongs to that child.
#[test]
fn no_modules_import_each_other_in_circles() {
    let files: Vec<_> =
        files().into_iter().filter(|file| !file.module.contains(&"tests".to_owned())).collect();
    let names: BTreeSet<String> = files.iter().map(|file| file.module.join("::")).collect();
    let handed_on: BTreeMap<String, String> = files.iter().flat_map(|file| handed_on(file, &names)).collect();
    let mut graph: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (file, name) in files.iter().zip(files.iter().map(|file| file.module.join("::"))) {
        let name = names.get(&name).expect("it is one of them");
        let used = uses(file).into_iter().filter_map(|path| home(&path.join("::"), &names, &handed_on));
        let apart = used.filter(|used| !is_below(used, name) && !is_below(name, used));
        graph.entry(name).or_default().extend(apart);
    }
    let in_circles: Vec<_> = graph
        .keys()
        .filter(|name| reaches(&graph, name, name))
        .map(|name| {
            let back = graph[name].iter().filter(|used| reaches(&graph, used, name));
            format!("{name} uses {}", back.cloned().collect::<Vec<_>>().join(", "))
        })
        .collect();
    assert!(in_circles.is_empty(), "these modules import each other in circles:\n{}", in_circles.join("\n"));
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 200, "hardly any imports were found");
}

/// Whether a way along the imports leads from `from` to `to`, with at least one step.
fn reaches(graph: &BTreeMap<&str, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(next) = waiting.pop() {
        for used in graph.get(next).into_iter().flatten() {
            if used == to {
                return true;
            }
            if seen.insert(used) {
                waiting.push(used);
            }
        }
    }
    false
}

/// Whether `module` is `above`, or lies below it.
fn is_below(module: &str, above: &str) -> bool {
    module.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module that defines what `path` names; `None` for what is no module of this crate.
fn home(path: &str, names: &BTreeSet<String>, handed_on: &BTreeMap<String, String>) -> Option<String> {
    let mut path = path.to_owned();
    // What a parent hands on, its child may hand on, too.
    while let Some((from, to)) = handed_on.iter().find(|(from, _)| is_below(&path, from)) {
        path = format!("{to}{}", &path[from.len()..]);
    }
    while !names.contains(&path) {
        path.truncate(path.rfind("::")?);
    }
    Some(path)
}

/// What a module hands on from its children: the path that others use, and the one where it is defined.
fn handed_on(file: &Source, names: &BTreeSet<String>) -> Vec<(String, String)> {
    let name = file.module.join("::");
    statements(&code_of(file))
        .into_iter()
        .filter(|(is_public, _)| *is_public)
        .flat_map(|(_, tree)| expand(&tree))
        .filter_map(|path| {
            let own = path.trim_start_matches("self::").trim_start_matches("crate::");
            let child = format!("{name}::{}", own.split("::").next()?);
            let (_, last) = own.rsplit_once("::")?;
            let (from, to) = (format!("{name}::{last}"), format!("{name}::{own}"));
            // A child that is called like what it defines is found without help.
            (names.contains(&child) && !is_below(&to, &from)).then_some((from, to))
        })
        .collect()
}

/// Every path of this crate that the file names outside of its tests, from the crate's root.
fn uses(file: &Source) -> Vec<Vec<String>> {
    let code = Source { path: file.path.clone(), module: file.module.clone(), text: code_of(file) };
    let inline = imports(&code).into_iter().map(|import| import.path).filter(|path| path[0] != "{");
    let stated = statements(&code.text).into_iter().flat_map(|(_, tree)| expand(&tree)).filter_map(|path| {
        let mut parts: Vec<String> = path.split("::").map(str::to_owned).collect();
        let depth = parts.iter().take_while(|part| *part == "super").count();
        if parts[0] == "crate" {
            return Some(parts.split_off(1));
        }
        let base = file.module.len() - depth;
        let rest = parts.split_off(depth);
        (depth > 0).then(|| file.module[..base].iter().cloned().chain(rest).collect())
    });
    inline.chain(stated).filter(|path: &Vec<String>| !path.is_empty()).collect()
}

/// A file's code without comments and without the tests at its end.
fn code_of(file: &Source) -> String {
    let lines: Vec<&str> = code(&file.text).map(|(_, line)| line).collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
    let tests = tests.or_else(|| lines.iter().position(|line| line.starts_with("mod tests {")));
    let own = &lines[..tests.unwrap_or(lines.len())];
    own.iter().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The `use` statements, each without `use` and semicolon, and whether it is public in any way.
fn statements(code: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in code.lines() {
        let begins = line.strip_prefix("use ").map(|rest| (false, rest)).or_else(|| {
            let (public, rest) = line.split_once(" use ").or_else(|| line.split_once(")use "))?;
            public.starts_with("pub").then_some((true, rest))
        });
        if let (None, Some((is_public, rest))) = (&open, begins) {
            open = Some((is_public, rest.to_owned()));
        } else if let Some((_, text)) = &mut open {
            text.push_str(line.trim());
        }
        if let Some((_, text)) = &mut open
            && text.ends_with(';')
        {
            text.pop();
            found.extend(open.take());
        }
    }
    found
}

/// Every path of a `use` tree: `a::{b, c::{self, d}}` is `a::b`, `a::c` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((base, group)) = tree.split_once('{') else {
        let path = tree.trim().split(" as ").next().unwrap();
        return vec![path.trim_end_matches("::self").to_owned()];
    };
    let group = group.trim_end().trim_end_matches('}');
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    // The last brace of a nested group was taken off with the outer one.
    let whole = format!("{group}{}", "}".repeat(group.matches('{').count() - group.matches('}').count()));
    for (at, character) in whole.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&whole[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&whole[start..]);
    let paths = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).flat_map(expand);
    paths
        .map(
            |path| {
                if path == "self" { base.trim_end_matches("::").to_owned() } else { format!("{base}{path}") }
            },
        )
        .collect()
}

#[test]
fn groups_of_imports_are_read_path_by_path() {
    assert_eq!(expand("a::b"), ["a::b"]);
    assert_eq!(expand("a::{self, b, c::{d, e as f}, g}"), ["a", "a::b", "a::c::d", "a::c::e", "a::g"]);
    assert_eq!(expand("a::{b::{c, d}}"), ["a::b::c", "a::b::d"]);
    let text = "use a::{\n    b,\n    c,\n};\npub(super) use d::E;\nfn f() {}\n";
    assert_eq!(statements(text), [(false, "a::{b,c,}".to_owned()), (true, "d::E".to_owned())]);
}

/// The two tests above are worth what this reading is worth.
#[test]
fn imports_are_read_from_every_spelling() {
    let file = Source {
        path: PathBuf::from("src/rules/split.rs"),
        module: vec!["rules".to_owned(), "split".to_owned()],
        text: "//! See [`crate::shell`].\n\
               use crate::model::offset::Offset; // not crate::shell\n\
               use super::retry::Backoff;\n\
               pub(super) fn f(_: crate::engine::Engine) {}\n\
               use crate::{config, daemon};\n\
               mod tests {\n    use super::super::quota::Cost;\n    use super::*;\n}\n"
            .to_owned(),
    };
    let found: Vec<_> = imports(&file).iter().map(|import| import.path.join("::")).collect();
    assert_eq!(
        found,
        [
            "model::offset::Offset",
            "rules::retry::Backoff",
            "engine::Engine",
            "{",
            "rules::quota::Cost",
            "rules::split"
        ]
    );
}

#[test]
fn a_lower_floor_may_be_used_and_no_other() {
    let verdict = |from: &str, to: &str| {
        let parts = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
        forbidden(&parts(from), &parts(to)).is_none()
    };
    for (from, to, fine) in [
        ("engine::follow", "rules::ledger::Ledger", true),
        ("engine::follow", "engine::port", true),
        ("engine", "shell::files", false),
        ("engine", "config::Config", false),
        ("model::record", "rules::split", false),
        ("rules::circuit", "rules::retry::Backoff", true),
        ("rules::retry", "rules::circuit", false),
        ("rules::batch", "rules::quota", false),
        ("config::build", "model::settings", true),
        ("config::build", "rules::quota", false),
        ("config::typed", "rules::pattern::Pattern", true),
        ("shell::files", "rules::pattern::Pattern", true),
        ("shell::firehose", "config::Stream", true),
        ("shell::store", "config::Config", false),
        ("shell::watch", "shell::files::Look", true),
        ("shell::watch", "daemon", false),
        ("local::quota", "local::limits", true),
        ("local::limits", "model::limits", false),
        ("cli::run", "daemon::Daemon", true),
        ("daemon", "cli", false),
        ("daemon", "attic", false),
    ] {
        assert_eq!(verdict(from, to), fine, "{from} uses {to}");
    }
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Why the module `from` must not name `to`; `None` when it may. Both are paths below the crate's root.
fn forbidden(from: &[String], to: &[String]) -> Option<&'static str> {
    let allowed = NEIGHBOURS.iter().any(|(user, used)| starts_with(from, user) && starts_with(to, used));
    let (room, used) = (from[0].as_str(), to[0].as_str());
    let (Some(mine), Some(its)) = (floor(room), floor(used)) else {
        return Some("not a room with a floor; write one path a line, and give a new room its floor here");
    };
    match (room, used) {
        _ if allowed => None,
        // Rules do not know each other: what one says reaches another through the engine.
        ("rules", "rules") => (from.get(1) != to.get(1)).then_some("a rule knows no other rule"),
        _ if room == used => None,
        ("local", _) => Some("the embedded delivery stream imports nothing of the daemon"),
        ("config", _) if used != "model" => Some("the configuration knows settings only"),
        _ if its >= mine => Some("not a lower floor"),
        _ => None,
    }
}

fn starts_with(path: &[String], prefix: &str) -> bool {
    prefix.split("::").enumerate().all(|(index, part)| path.get(index).is_some_and(|name| name == part))
}

struct Source {
    path: PathBuf,
    /// Below the crate's root: `src/engine/follow.rs` is engine, follow.
    module: Vec<String>,
    text: String,
}

/// Every file below `src/` but the map and the binary, which belong to no room.
fn files() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).unwrap().with_extension("");
                let mut module: Vec<_> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
                module.pop_if(|last| last == "mod");
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path, module, text });
            }
        }
    }
    found.retain(|file| !matches!(file.module[0].as_str(), "lib" | "main"));
    assert!(found.len() > 50, "only {} files were found", found.len());
    found
}

struct Import {
    line: usize,
    path: Vec<String>,
}

/// Every path of this crate that the file names, in a `use` or in the middle of a line.
fn imports(file: &Source) -> Vec<Import> {
    let mut found = Vec::new();
    let mut inside = 0;
    for (line, text) in code(&file.text) {
        // rustfmt puts the ends of a file's own inner modules into the first column.
        if text.starts_with("mod ") && text.ends_with('{') {
            inside = 1;
        } else if text.starts_with('}') {
            inside = 0;
        }
        for (at, _) in text.match_indices("crate::") {
            if !text[..at].ends_with(['$', '_']) {
                let path = path_from(&text[at + "crate::".len()..]);
                found.push(Import { line, path });
            }
        }
        let mut rest = text;
        while let Some(at) = rest.find("super::") {
            let mut depth = 0;
            rest = &rest[at..];
            while let Some(after) = rest.strip_prefix("super::") {
                depth += 1;
                rest = after;
            }
            let kept = (file.module.len() + inside).saturating_sub(depth);
            let inner = (inside == 1).then(|| "tests".to_owned());
            let mut path: Vec<_> = file.module.iter().cloned().chain(inner).take(kept).collect();
            path.extend(path_from(rest).into_iter().filter(|name| name != "{"));
            found.push(Import { line, path });
        }
    }
    found.retain(|import| !import.path.is_empty());
    found
}

/// The names at the start of `text`, as far as they are joined by `::`; `{` for a group.
fn path_from(text: &str) -> Vec<String> {
    let end = text
        .find(|character: char| !(character.is_alphanumeric() || character == '_' || character == ':'))
        .unwrap_or(text.len());
    let names: Vec<_> = text[..end].split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match names.is_empty() && text.starts_with('{') {
        true => vec!["{".to_owned()],
        false => names,
    }
}

/// The lines of a file without comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| {
        let comment = match line.trim_start().starts_with("//") {
            true => Some(0),
            false => line.find(" //"),
        };
        (index + 1, line[..comment.unwrap_or(line.len())].trim_end())
    })
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !(character.is_alphanumeric() || character == '_'))
}
