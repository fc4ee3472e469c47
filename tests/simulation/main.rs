//! The deterministic simulation: the engine in a world that goes wrong, thousands of ways, checked after every step.
//!
//! A failure prints its seed. `STANDPIPE_SEED=n cargo test --test simulation` replays it,
//! `STANDPIPE_SEEDS=n` runs that many.

#![expect(clippy::disallowed_methods, reason = "seeds come from the environment")]
#![expect(unreachable_pub, reason = "the rooms of a test are for that test alone")]

mod disk;
mod identity;
mod oracle;
mod service;
mod world;

use std::time::Duration;

use world::{Reached, World};

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
    (132, "the same, of a file that was known, with no byte of it delivered"),
];

const ACTIONS: u64 = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a seed is a number"))
}

fn run(seed: u64, traced: bool) -> World {
    run_in(World::new, seed, traced)
}

fn run_in(new: fn(u64, bool) -> World, seed: u64, traced: bool) -> World {
    let outcome = std::panic::catch_unwind(|| {
        let mut world = new(seed, traced);
        world.run(ACTIONS);
        world
    });
    match outcome {
        Ok(world) => world,
        Err(panic) => {
            eprintln!(
                "seed {seed} failed: replay it with STANDPIPE_SEED={seed} (where lines share records, \
                 STANDPIPE_PACKED_SEED={seed}; where they have envelopes, STANDPIPE_ENVELOPE_SEED={seed}; where they are \
                 shaped, STANDPIPE_SHAPED_SEED={seed}) cargo test --test simulation"
            );
            std::panic::resume_unwind(panic)
        }
    }
}

/// What the seeds reach in such worlds; `None` when one seed is replayed, of these or of others.
fn all_seeds(new: fn(u64, bool) -> World, replayed: &str) -> Option<Reached> {
    if number("STANDPIPE_SEED").is_some() {
        return None;
    }
    if let Some(seed) = number(replayed) {
        eprintln!("{}", run_in(new, seed, true).trace);
        return None;
    }
    let mut sum = Reached::default();
    for seed in 0..number("STANDPIPE_SEEDS").unwrap_or(150) {
        sum.add(&run_in(new, seed, false).reached);
    }
    eprintln!("{sum:?}");
    Some(sum)
}

/// S21: hints that never come are among what the seeds bring; N4: so are records that are refused, alone and in
/// batches.
#[test]
fn no_line_is_lost_or_invented_in_any_seed() {
    if let Some(seed) = number("STANDPIPE_SEED") {
        let world = run(seed, true);
        println!("{}", world.trace);
        return;
    }
    let mut sum = Reached::default();
    let (mut written, mut excused) = (0, 0);
    let seeds = number("STANDPIPE_SEEDS").unwrap_or(400);
    for seed in KEPT.iter().map(|(seed, _)| *seed).chain(0..seeds) {
        let world = run(seed, false);
        sum.add(&world.reached);
        let lines = world.lines();
        written += lines.0;
        excused += lines.1;
    }
    println!("{written} lines, {excused} gone before they could be read; {sum:?}");
    sum.check();
}

/// The same where every line has an envelope, whose id no other line may ever have.
#[test]
fn no_line_is_lost_and_no_id_comes_twice_where_lines_have_envelopes() {
    let Some(sum) = all_seeds(World::enveloped, "STANDPIPE_ENVELOPE_SEED") else { return };
    assert!(sum.truncations_seen > 0 && sum.copies_inherited > 0 && sum.crashes > 0, "{sum:?}");
}

/// The same where lines are unwrapped, joined, grouped and cut, in every combination with each other and with envelopes
/// and packs.
#[test]
fn no_line_is_lost_or_invented_where_lines_are_shaped() {
    let Some(sum) = all_seeds(World::shaped, "STANDPIPE_SHAPED_SEED") else { return };
    assert!(sum.truncations_seen > 0 && sum.copies_inherited > 0 && sum.mixed_channels > 0, "{sum:?}");
}

/// The same where lines share records: what is acknowledged, refused or sent again is then a record of many.
#[test]
fn no_line_is_lost_or_invented_where_lines_share_records() {
    let Some(sum) = all_seeds(World::packed, "STANDPIPE_PACKED_SEED") else { return };
    assert!(sum.accepted_records_of_many_lines > 0 && sum.refused_records_of_many_lines > 0, "{sum:?}");
}

#[test]
fn the_same_seed_does_the_same_twice() {
    for seed in 0..10 {
        assert_eq!(run(seed, true).trace, run(seed, true).trace, "I16: seed {seed}");
    }
}

#[test]
fn a_removed_file_is_given_up_after_a_day_and_that_is_declared() {
    // A seed with a small memory.
    World::new(1, false).gives_up_what_is_removed(|world| {
        world.pass(Duration::from_secs(23 * 3600));
        assert_eq!(world.open_files(), 1, "not before");
        world.pass(Duration::from_secs(3600));
    });
}

#[test]
fn a_removed_file_is_given_up_when_its_disk_is_nearly_full_and_that_is_declared() {
    World::new(1, false).gives_up_what_is_removed(|world| {
        world.fill_the_disk();
        world.pass(Duration::from_secs(60));
    });
}
