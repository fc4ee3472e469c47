//! Each law of docs/design.md, broken on purpose: its test must turn red.
//!
//! A mutant is a text of one file and what takes its place. Whether each text is still there is asked at every run; `just
//! mutants` makes them, one after the other, in a copy of the tree below `target/`, and runs the tests that are named.

#![expect(clippy::disallowed_methods, reason = "files and programs are looked at from outside")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

/// One law that no longer holds.
struct Mutant {
    law: &'static str,
    /// What goes wrong then.
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    red: Red,
}

/// The tests of which one must fail.
enum Red {
    /// Unit tests whose names contain this.
    Unit(&'static str),
    /// The simulation's tests whose names contain this.
    Simulation(&'static str),
    /// Families of the simulation's wider world, so many seeds of each.
    Families(&'static str, u32),
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        law: "L1",
        what: "the frontier passes spans that are not settled",
        file: "src/rules/ledger.rs",
        from: "            && !slot.state.is_open()\n        {\n            self.frontier = slot.end;",
        to: "            && slot.end > Offset::ZERO\n        {\n            self.frontier = slot.end;",
        red: Red::Unit("ledger::tests::l1_"),
    },
    Mutant {
        law: "L2",
        what: "a span may begin behind the last one",
        file: "src/rules/ledger.rs",
        from: "assert!(span.start() == self.admitted, \"L2",
        to: "assert!(span.start() >= self.admitted, \"L2",
        red: Red::Unit("ledger::tests::l2_"),
    },
    Mutant {
        law: "L3",
        what: "a window of the same length is taken for the same window",
        file: "src/rules/history.rs",
        from: "before.len() == self.overlap() && self.expected.matches(before)",
        to: "before.len() == self.overlap()",
        red: Red::Unit("history::tests"),
    },
    Mutant {
        law: "L4",
        what: "bytes are counted before base64",
        file: "src/rules/batch.rs",
        from: "self.wire_bytes + wire <= BATCH_WIRE_BYTES",
        to: "self.bytes + len <= BATCH_WIRE_BYTES",
        red: Red::Unit("l4_"),
    },
    Mutant {
        law: "L5",
        what: "what left is remembered for less than a second",
        file: "src/rules/quota.rs",
        from: "const WINDOW: Duration = Duration::from_millis(1_050);",
        to: "const WINDOW: Duration = Duration::from_millis(700);",
        red: Red::Unit("quota::tests"),
    },
    Mutant {
        law: "L6",
        what: "what is free of the streams' parts is given to others",
        file: "src/rules/budget.rs",
        from: "more == 0 || self.common + self.other + more <= self.settings.buffer - parts",
        to: "more == 0 || self.common + self.other + more <= self.settings.buffer + parts - parts",
        red: Red::Unit("budget::tests"),
    },
    Mutant {
        law: "L7",
        what: "a span may be settled twice",
        file: "src/rules/ledger.rs",
        from: "is_some_and(|slot| slot.state.is_open());\n        let Some(Flight",
        to: "is_some_and(|slot| slot.end > Offset::ZERO);\n        let Some(Flight",
        red: Red::Unit("ledger::tests::l7_"),
    },
    Mutant {
        law: "L8",
        what: "what a row says is believed whatever its checksum",
        file: "src/shell/store/rows.rs",
        from: "Ok((row.get::<_, i64>(3)? == meta.checksum()).then_some(meta))",
        to: "Ok((row.get::<_, i64>(3)? != meta.checksum() + 1).then_some(meta))",
        red: Red::Unit("store::tests"),
    },
    Mutant {
        law: "L9",
        what: "names are looked at only where a hint asks for it",
        file: "src/rules/cadence.rs",
        from: "            (false, Watching::Full) => lazy(SURVEY_EVERY),",
        to: "            (false, Watching::Full) => lazy(SURVEY_EVERY * 1_000_000),",
        red: Red::Simulation("no_line_is_lost_or_invented_in_any_seed"),
    },
    Mutant {
        law: "L10",
        what: "a last line without newline is a line",
        file: "src/rules/split.rs",
        from: "None if within.len() <= most && !is_final => None,",
        to: "None if within.len() <= most && !is_final && left.is_empty() => None,",
        red: Red::Simulation("no_line_is_lost_or_invented_in_any_seed"),
    },
    Mutant {
        law: "L11",
        what: "what a look shows of a file that is known wakes nobody",
        file: "src/engine/names.rs",
        from: "                self.note_seen(id, observed.size, now);\n            }\n            self.queue_read(id);",
        to: "                self.note_seen(id, observed.size, now);\n            }",
        red: Red::Simulation("no_line_is_lost_or_invented_in_any_seed"),
    },
    Mutant {
        law: "L12",
        what: "a second life of a file is not noticed",
        file: "src/engine/lives.rs",
        from: "state.stream() == stream && state.whose().identity == identity,",
        to: "state.stream() == stream && state.whose().identity == identity && false,",
        red: Red::Unit("engine::"),
    },
    Mutant {
        law: "L13",
        what: "what is lost is not declared",
        file: "src/engine/parting.rs",
        from: "            self.abandon(file.source, Arc::clone(&file.path), position, unread, why);\n",
        to: "            let _ = (file, position, unread, why);\n",
        red: Red::Unit("parting::tests"),
    },
    Mutant {
        law: "L14",
        what: "a copy that differs before its end is taken for one",
        file: "src/engine/copies/proof.rs",
        from: "if digest.to() == end && history.digest() != Some(*digest) {",
        to: "if digest.to() == end && history.digest().is_none() {",
        red: Red::Unit("l14_"),
    },
    Mutant {
        law: "L15",
        what: "streams have no part of the memory",
        file: "src/rules/budget.rs",
        from: "self.settings.buffer / 2 / (self.streams.len().max(1) as u64)",
        to: "self.settings.buffer / 2 / (self.streams.len().max(1) as u64) / 1_000_000",
        red: Red::Families("isolation", 40),
    },
    Mutant {
        law: "L16",
        what: "what is settled beyond the frontier is forgotten by a crash",
        file: "src/rules/ledger.rs",
        from: "!span.is_empty() && self.flight.known.get(behind)",
        to: "span.is_empty() && self.flight.known.get(behind)",
        red: Red::Unit("l16_"),
    },
    Mutant {
        law: "L17",
        what: "lines in a record are not counted",
        file: "src/rules/split.rs",
        from: "use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES};",
        to: "use crate::model::limits::RECORD_BYTES;\nconst LINES_PER_RECORD: usize = 1_000_000;",
        red: Red::Unit("split"),
    },
    Mutant {
        law: "L18",
        what: "refusals that giving way does not mend are given way to",
        file: "src/rules/quota/controller/probe.rs",
        from: "const HITS: u32 = 2;",
        to: "const HITS: u32 = 2_000_000;",
        red: Red::Unit("l18_"),
    },
    Mutant {
        law: "L19",
        what: "a service that refuses every record is believed",
        file: "src/rules/ladder.rs",
        from: "const REFUSALS: u32 = 10;",
        to: "const REFUSALS: u32 = 1_000_000;",
        red: Red::Unit("l19_"),
    },
    Mutant {
        law: "L20",
        what: "RecordIds are kept before their checkpoint",
        file: "src/engine/audit.rs",
        from: "is_before || checkpoint.settled.ranges()",
        to: "is_before || end >= start || checkpoint.settled.ranges()",
        red: Red::Simulation("no_line_is_lost_or_invented_in_any_seed"),
    },
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The laws of the table in docs/design.md.
fn laws() -> BTreeSet<String> {
    let document = read(&root().join("docs/design.md"));
    let rows = document.lines().filter_map(|line| line.strip_prefix("| L"));
    rows.filter_map(|row| row.split_once(" |")).map(|(number, _)| format!("L{number}")).collect()
}

#[test]
fn each_law_has_a_mutant() {
    let mutated: BTreeSet<_> = MUTANTS.iter().map(|mutant| mutant.law.to_owned()).collect();
    assert_eq!(mutated, laws(), "the mutants, and the laws of docs/design.md");
}

#[test]
fn what_is_mutated_is_there_once() {
    for Mutant { law, file, from, to, .. } in MUTANTS {
        let times = read(&root().join(file)).matches(from).count();
        assert_eq!(times, 1, "{law}: {file} must have this once: {from}");
        assert_ne!(from, to, "{law}: {file} would not change");
    }
}

/// A copy of what is in the repository, below `target/`, with a target directory of its own.
fn copy() -> PathBuf {
    let copy = root().join("target/mutants");
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git runs");
    assert!(listed.status.success(), "the tree is a clone");
    for name in String::from_utf8(listed.stdout).expect("UTF-8").split_terminator('\0') {
        let (from, to) = (root().join(name), copy.join(name));
        fs::create_dir_all(to.parent().expect("below the copy")).expect("a directory");
        // Not written where nothing changed: else everything is compiled anew.
        if fs::read(&to).ok() != fs::read(&from).ok() {
            fs::copy(&from, &to).expect("a file that is listed is there");
        }
    }
    copy
}

fn test(copy: &Path, red: &Red) -> Output {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--locked", "--quiet"]).current_dir(copy).stdin(Stdio::null());
    cargo.env("CARGO_TARGET_DIR", copy.join("target")).env_remove("STANDPIPE_SEED");
    match red {
        Red::Unit(name) => cargo.args(["--lib", "--", name]),
        Red::Simulation(name) => cargo.args(["--test", "simulation", "--", name]),
        Red::Families(names, seeds) => cargo
            .args(["--test", "simulation", "--", "the_wider_world_is_stood"])
            .envs([("STANDPIPE_FAMILIES", *names), ("STANDPIPE_SEEDS", &seeds.to_string())]),
    };
    cargo.output().expect("cargo runs")
}

/// `STANDPIPE_MUTANTS=L5,L14` makes those alone.
#[test]
#[ignore = "compiles the library once for each: `just mutants`"]
fn each_mutant_turns_its_test_red() {
    let chosen = env::var("STANDPIPE_MUTANTS").ok();
    let is_chosen = |law| chosen.as_ref().is_none_or(|laws| laws.split(',').any(|chosen| chosen == law));
    let copy = copy();
    let mut survivors = Vec::new();
    for Mutant { law, what, file, from, to, red } in MUTANTS.iter().filter(|mutant| is_chosen(mutant.law)) {
        let (path, whole) = (copy.join(file), read(&root().join(file)));
        fs::write(&path, whole.replacen(from, to, 1)).expect("the copy can be written");
        let output = test(&copy, red);
        fs::write(&path, &whole).expect("the copy can be written");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // One that does not compile shows nothing.
        let has_failed = said.lines().filter(|line| line.starts_with("test result: FAILED")).count() > 0;
        println!("{law}: {what}: {}", if has_failed { "red" } else { "SURVIVED" });
        if !has_failed {
            survivors.push(format!("{law}, {what}:\n{said}"));
        }
    }
    assert!(survivors.is_empty(), "no test fails with:\n{}", survivors.join("\n"));
}
