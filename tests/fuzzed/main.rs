//! The fuzz targets at random, with any compiler: what is kept in `tests/fuzz/corpus`, and changes of it.
//!
//! Nothing here knows which input reached new code, as libFuzzer does (`docs/design.md`, "Longer proofs"). The changes follow
//! from a seed, which a failure prints with the input: `STANDPIPE_FUZZ_SEED=N` makes the same ones again.
//! `STANDPIPE_FUZZ_SECONDS=60` goes on for that long instead of a count.
#![expect(clippy::disallowed_methods, reason = "the corpus is files, and the longer run is bounded by time")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../fuzz/targets/answers.rs"]
mod answers;
#[path = "../fuzz/targets/config.rs"]
mod config;
#[path = "../fuzz/targets/envelope.rs"]
mod envelope;
#[path = "../fuzz/targets/gather.rs"]
mod gather;
#[path = "../fuzz/targets/heads.rs"]
mod heads;
#[path = "../fuzz/targets/rows.rs"]
mod rows;
#[path = "../fuzz/targets/shape.rs"]
mod shape;
#[path = "../fuzz/targets/split.rs"]
mod split;
#[path = "../fuzz/targets/unwrap.rs"]
mod unwrap;

/// How many changes of each are tried where no time is named.
const CHANGES: u64 = 300;

/// The most that an input grows to, in bytes.
const MAX_BYTES: usize = 4096;

/// What parsers look for.
const WORDS: [&[u8]; 24] = [
    b"\n",
    b"\0",
    b"\xff",
    b"\r\n",
    b"\r\n\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\xef\xbb\xbf",
    b",",
    b":",
    b"${",
    b"}",
    b" = ",
    b"null",
    b"18446744073709551616",
    b"-1",
    b"\"RecordId\":\"x\"",
    b"\xed\xa0\x80",
    b" P ",
];

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{dir:?}: {error}"))
        .map(|entry| entry.expect("a name").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{dir:?} has no input");
    paths.into_iter().map(|path| std::fs::read(path).expect("readable")).collect()
}

/// One change of an input.
fn change(input: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut fastrand::Rng) {
    let at = rng.usize(..=input.len());
    let until = rng.usize(at..=input.len());
    match rng.u8(..8) {
        0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
        1 if at < input.len() => input[at] = rng.u8(..),
        2 => drop(input.drain(at..until)),
        3 => drop(input.splice(at..at, WORDS[rng.usize(..WORDS.len())].iter().copied())),
        4 => {
            let piece = input[at..until].to_vec();
            drop(input.splice(at..at, piece));
        }
        5 => {
            let other = &others[rng.usize(..others.len())];
            let from = rng.usize(..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        6 => input.insert(at, rng.u8(..)),
        _ => {
            let other = &others[rng.usize(..others.len())];
            let from = rng.usize(..=other.len());
            let piece = other[from..rng.usize(from..=other.len())].to_vec();
            drop(input.splice(at..until, piece));
        }
    }
    input.truncate(MAX_BYTES);
}

fn try_one(name: &str, seed: u64, input: &[u8], run: fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        eprintln!("{name}: seed {seed}, input {}", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn drive(name: &str, run: fn(&[u8])) {
    let number =
        |variable: &str| std::env::var(variable).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (seed, seconds) = (number("STANDPIPE_FUZZ_SEED").unwrap_or(1), number("STANDPIPE_FUZZ_SECONDS"));
    let (mut rng, began) = (fastrand::Rng::with_seed(seed), Instant::now());
    let known = corpus(name);
    known.iter().for_each(|input| try_one(name, seed, input, run));
    let mut tried = known.len() as u64;
    let goes_on = |tried: u64| match seconds {
        Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
        None => tried < CHANGES,
    };
    while goes_on(tried) {
        let mut input = known[rng.usize(..known.len())].clone();
        for _ in 0..rng.usize(1..=8) {
            change(&mut input, &known, &mut rng);
        }
        try_one(name, seed, &input, run);
        tried += 1;
    }
    eprintln!("{name}: {tried} inputs from seed {seed}");
}

macro_rules! targets {
    ($($name:ident),*) => {
        mod at_random {
            $(
                #[test]
                fn $name() {
                    super::drive(stringify!($name), super::$name::run);
                }
            )*
        }
    };
}

targets!(answers, config, envelope, gather, heads, rows, shape, split, unwrap);
