//! The deterministic simulation: the engine in a world that goes wrong, thousands of ways, checked after every step.
//!
//! A failure prints the actions that lead to it, as few as were found, and how to do them again:
//! `STANDPIPE_SEED=world:seed` or `world:seed:actions` selects what the test `replay` does; the other tests run as
//! ever. `STANDPIPE_SEEDS=n` runs that many seeds of each world. `STANDPIPE_OPEN=1` also runs the families of trouble
//! that the engine does not stand yet.

#![expect(clippy::disallowed_methods, reason = "seeds come from the environment")]
#![expect(unreachable_pub, reason = "the rooms of a test are for that test alone")]

mod actions;
mod audit;
mod climate;
mod copiers;
mod cuts;
mod disk;
mod effects;
mod excuse;
mod families;
mod identity;
mod link;
mod oracle;
mod process;
mod proofs;
mod reached;
mod replay;
mod rotators;
mod service;
mod special;
mod world;
mod writers;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use climate::Kind;
use families::{FAMILIES, Standing};
use reached::Reached;
use replay::{Selection, run_or_shrink};
use world::World;

/// Seeds that found something once, each with its story.
const KEPT: &[(u64, &str)] = &[
    (45, "the checkpoint of a life that was over led to a file that had been delivered long ago"),
    (68, "a survey's size, older than the last read, made a file that only grew look truncated"),
    (
        470,
        "a file was seen, and renamed before it was opened: its tail took the next file of that name for it",
    ),
    (
        176,
        "a file was opened under a name that another had when it was seen, and was renamed before anybody saw it",
    ),
    (312, "an old file was opened as a possible copy, and its own checkpoint was not looked at any more"),
    (629, "the directory of a copy could not be looked into until the search for it was over"),
    (2111, "a file was closed for others although a hint of more in it was lost"),
    (167, "a file was truncated between its opening and its first read: a fingerprint of bytes never read"),
    (194, "a source was away while a copy was made of its file, of which records were still under way"),
    (449, "without birth times, a copy took the inode of a file that was gone, and was taken for that"),
    (132, "without birth times, the same with a file that was known, with no byte of it delivered"),
];

/// Actions of the wider world that failed once, as few as were found, each with its story.
const KEPT_ACTIONS: &[(&str, &str)] = &[
    (
        "lanes:285:6-7,97,113-114,127-128,132",
        "a file was seen and not begun when its source left, and had another name when that came back",
    ),
    ("copies:168:5", "a file was cut off three times between its first look and its first read"),
    (
        "copies:75:70-72,77-87",
        "a generation that nobody saw was opened for one that is looked for, and belonged to another",
    ),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a seed is a number"))
}

/// What these seeds of a world reach.
fn all_seeds(kind: Kind, seeds: impl Iterator<Item = u64>) -> Reached {
    let mut sum = Reached::default();
    let (mut written, mut excused) = (0, 0);
    for seed in seeds {
        let world = run_or_shrink(kind, seed).unwrap_or_else(|told| panic!("{told}"));
        sum.add(&world.reached);
        written += world.oracle.written();
        excused += world.oracle.excused();
    }
    eprintln!("{kind}: {written} lines, {excused} excused; {sum:?}");
    sum
}

fn seeds(unless_asked: u64) -> std::ops::Range<u64> {
    0..number("STANDPIPE_SEEDS").unwrap_or(unless_asked)
}

/// Hints that never come are among what the seeds bring, and so are records that are refused, alone and in batches.
#[test]
fn no_line_is_lost_or_invented_in_any_seed() {
    let kept = KEPT.iter().map(|(seed, _)| *seed);
    all_seeds(Kind::Plain, kept.chain(seeds(320))).check(Kind::Plain);
}

/// No other line may ever have the id of an envelope.
#[test]
fn no_line_is_lost_and_no_id_comes_twice_where_lines_have_envelopes() {
    all_seeds(Kind::Enveloped, seeds(120)).check(Kind::Enveloped);
}

/// Lines are unwrapped, joined, grouped and cut, in every combination with each other and with envelopes and packs.
#[test]
fn no_line_is_lost_or_invented_where_lines_are_shaped() {
    all_seeds(Kind::Shaped, seeds(120)).check(Kind::Shaped);
}

/// What is acknowledged, refused or sent again is a record of many lines.
#[test]
fn no_line_is_lost_or_invented_where_lines_share_records() {
    all_seeds(Kind::Packed, seeds(120)).check(Kind::Packed);
}

/// Every family that holds, and on demand those that are open, or those that are named: each failure is told, then the
/// test fails. A thread for each processor takes the next family.
#[test]
fn the_wider_world_is_stood() {
    let is_asked_for = std::env::var_os("STANDPIPE_OPEN").is_some();
    let named = std::env::var("STANDPIPE_FAMILIES").ok();
    let is_named = |family: families::Family| {
        named.as_ref().map(|named| named.split(',').any(|name| name == family.name()))
    };
    let chosen = FAMILIES.into_iter().filter_map(|(family, standing)| match standing {
        _ if is_named(family) == Some(false) => None,
        Standing::Holds => Some((family, "holds")),
        Standing::Open(what) if is_asked_for || is_named(family) == Some(true) => Some((family, what)),
        Standing::Open(_) => None,
    });
    let chosen = Mutex::new(chosen);
    let next = || chosen.lock().expect("no thread failed while it asked").next();
    let failures = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((family, told)) = next() {
                    failures.fetch_add(failed_seeds(Kind::Wide(family), told), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(failures.into_inner(), 0, "seeds failed, as told above");
}

/// How many of the seeds of a family failed.
fn failed_seeds(kind: Kind, told: &str) -> usize {
    let (mut failed, mut sum) = (Vec::new(), Reached::default());
    for seed in seeds(20) {
        let outcome = match failed.is_empty() {
            true => run_or_shrink(kind, seed),
            false => replay::run(kind, seed, None, false).map_err(|failure| failure.message),
        };
        match outcome {
            Ok(world) => sum.add(&world.reached),
            Err(told) => {
                eprintln!("{told}");
                failed.push(seed);
            }
        }
    }
    if failed.is_empty() && seeds(20).end >= 20 {
        sum.check(kind);
    }
    eprintln!("{kind} ({told}): {} seeds failed: {failed:?}", failed.len());
    failed.len()
}

/// What `STANDPIPE_SEED` selects; without it, that the recorded actions of a run are that run again.
#[test]
fn replay() {
    if let Ok(selected) = std::env::var("STANDPIPE_SEED") {
        let selection = Selection::parse(&selected);
        let selection = selection.expect("STANDPIPE_SEED is world:seed or world:seed:actions");
        let (trace, outcome) = replay::replay(&selection);
        println!("{trace}");
        match outcome {
            Err(failure) if selection.kept.is_some() => panic!("{}", failure.message),
            Err(failure) => panic!("{}", replay::told(selection.kind, selection.seed, &failure)),
            Ok(_) => return,
        }
    }
    for kind in [Kind::Plain, Kind::Shaped, Kind::Wide(families::Family::Streams)] {
        let selection = Selection { kind, seed: 6, kept: None };
        let (trace, outcome) = replay::replay(&selection);
        let actions = (0..outcome.expect("the seed holds").actions.len()).collect();
        let (again, _) = replay::replay(&Selection { kept: Some(actions), ..selection });
        assert!(trace == again, "{kind}: the recorded actions are not the run");
    }
}

#[test]
fn what_failed_once_holds() {
    for (selected, story) in KEPT_ACTIONS {
        let selection = Selection::parse(selected).expect("a world, a seed and actions");
        let (_, outcome) = replay::replay(&selection);
        assert!(outcome.is_ok(), "{selected}: {story}");
    }
}

#[test]
fn one_seed_does_the_same_twice() {
    for seed in 0..10 {
        let selection = Selection { kind: Kind::Plain, seed, kept: None };
        let (first, second) = (replay::replay(&selection).0, replay::replay(&selection).0);
        assert!(first == second, "I16: seed {seed}");
    }
}

#[test]
fn a_removed_file_is_given_up_after_a_day_and_that_is_declared() {
    // A seed with a small memory.
    World::new(Kind::Plain, 1, false).gives_up_what_is_removed(|world| {
        world.pass(Duration::from_secs(23 * 3600));
        assert_eq!(world.open.len(), 1, "not before");
        world.pass(Duration::from_secs(3600));
    });
}

#[test]
fn a_removed_file_is_given_up_when_its_disk_is_nearly_full_and_that_is_declared() {
    World::new(Kind::Plain, 1, false).gives_up_what_is_removed(|world| {
        world.let_files_take_room(false);
        world.fill_the_disk();
        world.pass(Duration::from_secs(3600));
        assert_eq!(world.open.len(), 1, "giving it up would free no room");
        world.let_files_take_room(true);
        world.pass(Duration::from_secs(60));
    });
}
