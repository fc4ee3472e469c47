//! Families: a name and those that rotators make of it, one for each generation of a log.
//!
//! - *generation*: a file that had a name once, and was renamed for another to take its place
//! - *missed*: a generation that came under a name and was rotated away while nobody looked
//!
//! Nobody has seen a missed generation under the name that a source matches; its present name and its age tell what it
//! is. Knows names and birth times. Does not know content: whether a file is a copy of a generation that is known is for
//! whoever reads it to find out.
//!
//! *Invariant:* a file that was there before its family was first looked at is never taken for a missed generation.

use std::path::{Path, PathBuf};

use super::uncompressed;

/// What rotators add to a name besides numbers and dates.
const WORDS: [&str; 5] = ["old", "bak", "prev", "orig", "save"];

/// How much older than the clock says a file may be, in nanoseconds: kernels stamp files by a clock that ticks every few
/// milliseconds (every 10 at most, `CONFIG_HZ=100`).
const SLACK_NANOS: i64 = 50_000_000;

/// The names that a file of this name may have had before a rotator renamed it.
///
/// Rotators add a number (`app.log.1`, `app-1.log`), a date (`app.log-20261125`, `app.2026-11-25.log`), both
/// (`0.log.20261125-080000`) or a word (`app.log.old`). What else is added makes another program's name:
/// `app-audit.log` is no generation of `app.log`.
pub fn rotated_from(path: &Path) -> Vec<PathBuf> {
    let before = uncompressed(path);
    let plain = before.as_deref().unwrap_or(path);
    let Some(name) = plain.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let mut names = heads(name);
    if let Some(dot) = name.rfind('.').filter(|dot| *dot > 0) {
        let (stem, extension) = name.split_at(dot);
        names.extend(heads(stem).into_iter().map(|head| head + extension));
    }
    names.retain(|head| head != name);
    names.sort_unstable();
    names.dedup();
    let renamed = names.iter().map(|head| plain.with_file_name(head));
    renamed.chain(before.clone()).collect()
}

/// The name of a file's family: its own without what a rotator has surely added.
///
/// A number at the very end (`app.log.1`), a date (`app-20261125.log`) and a word (`app.log.old`) are of a rotator. A short
/// number elsewhere may be a part of the name: `worker-1.log` and `worker-2.log` are two families.
pub fn family_name(path: &Path) -> PathBuf {
    let before = uncompressed(path);
    let plain = before.as_deref().unwrap_or(path);
    let Some(name) = plain.file_name().and_then(|name| name.to_str()) else { return plain.to_owned() };
    let extension = name.rfind('.').filter(|dot| *dot > 0).map_or("", |dot| &name[dot..]);
    let stem = &name[..name.len() - extension.len()];
    let whole = heads(name).into_iter().filter(|head| is_surely_added(&name[head.len()..], true));
    let within = heads(stem).into_iter().filter(|head| is_surely_added(&stem[head.len()..], false));
    let names = whole.chain(within.map(|head| head + extension));
    // A name without a letter, such as an address, is none that a number was added to.
    let names = names.filter(|name| name.contains(char::is_alphabetic));
    names.min_by_key(String::len).map_or_else(|| plain.to_owned(), |name| plain.with_file_name(name))
}

/// Whether only a rotator adds this; `at_end` says whether an extension follows.
fn is_surely_added(text: &str, at_end: bool) -> bool {
    let parts: Vec<&str> = text[1..].split(['.', '-', '_']).collect();
    let has_digits =
        |part: &str, count: usize| part.chars().take_while(char::is_ascii_digit).count() >= count;
    let is_year = |part: &str| part.len() == 4 && (part.starts_with("19") || part.starts_with("20"));
    match parts[..] {
        [only] if at_end && text.starts_with('.') => !only.is_empty(),
        [first, ..] if WORDS.contains(&first) || has_digits(first, 8) => true,
        [year, month, ..] => is_year(year) && has_digits(month, 2),
        _ => false,
    }
}

/// What is left of a name without what a rotator may have added to its end: one for each way to see it.
fn heads(name: &str) -> Vec<String> {
    let cuts = name.char_indices().skip(1).filter(|(_, letter)| matches!(letter, '.' | '-' | '_'));
    cuts.filter(|(at, _)| is_addition(&name[*at..])).map(|(at, _)| name[..at].to_owned()).collect()
}

/// Whether a rotator adds this to a name: numbers, dates and times, or a word.
fn is_addition(text: &str) -> bool {
    let parts = text[1..].split(['.', '-', '_']);
    let is_number = |part: &str| {
        let time = part.strip_suffix('Z').unwrap_or(part);
        time.starts_with(|letter: char| letter.is_ascii_digit())
            && time.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, 'T' | ':'))
    };
    parts.clone().all(|part| is_number(part) || WORDS.contains(&part)) && parts.count() <= 7
}

/// What is known of a family when a file is found that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// When the family was first looked at, in nanoseconds since 1970.
    pub first_seen_nanos: i64,
    /// The birth time of the file that has the family's own name, where that file was known before.
    pub current_nanos: Option<i64>,
}

/// Whether a file was born after a moment by the clock, as far as clocks tell; both in nanoseconds since 1970.
pub fn is_since(birth_nanos: i64, moment_nanos: i64) -> bool {
    birth_nanos.saturating_add(SLACK_NANOS) > moment_nanos
}

/// Whether a file that nobody knows, born at `birth_nanos`, is a missed generation of a family.
///
/// A missed generation is younger than the first look at the family, and older than the file that has the name now: what is
/// younger than that one cannot have had the name, and is at most a copy. Without a birth time nothing tells.
pub fn is_missed(birth_nanos: Option<i64>, family: Family) -> bool {
    birth_nanos.is_some_and(|birth| {
        is_since(birth, family.first_seen_nanos) && family.current_nanos.is_none_or(|current| birth < current)
    })
}

/// Which of a family's generations had the family's own name before the file that has it now: the youngest of those that are
/// older. Each comes with its birth time, in nanoseconds since 1970.
///
/// Where a generation has no birth time, or two were born at the same moment, nothing tells which one it was.
pub fn directly_before<T>(
    birth_nanos: Option<i64>,
    generations: impl IntoIterator<Item = (T, Option<i64>)>,
) -> Option<T> {
    let birth = birth_nanos?;
    let mut older = Vec::new();
    for (generation, born) in generations {
        let born = born?;
        if born <= birth {
            older.push((born, generation));
        }
    }
    older.sort_by_key(|(born, _)| *born);
    let (born, latest) = older.pop()?;
    let is_clear = born < birth && older.last().is_none_or(|(before, _)| *before < born);
    is_clear.then_some(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rotators_add_leads_back_to_the_name() {
        for (rotated, name) in [
            ("app.log.1", "app.log"),
            ("app.log-20261125", "app.log"),
            ("app.log-20261125-1763913600", "app.log"),
            ("app.log-20261125.1", "app.log"),
            ("app-20261125.log", "app.log"),
            ("app.2026-11-25.log", "app.log"),
            ("app.2026-11-25T08:00:00Z.log", "app.log"),
            ("app.1.log", "app.log"),
            ("app-2026-11-25-08-00-00.log", "app.log"),
            ("access_log.1", "access_log"),
            ("app.log.old", "app.log"),
            ("app.log.bak", "app.log"),
            (".hidden.1", ".hidden"),
            ("0.log.20261125-080000", "0.log"),
            ("0.log.20261125-080000.gz", "0.log"),
            ("app.log.2.gz", "app.log"),
            ("app.log.gz", "app.log"),
        ] {
            let found = rotated_from(&Path::new("/log").join(rotated));
            assert!(found.contains(&Path::new("/log").join(name)), "{rotated}: {found:?}");
        }
    }

    #[test]
    fn a_family_has_the_name_without_what_a_rotator_surely_added() {
        for (name, family) in [
            ("app.log", "app.log"),
            ("app.log.1", "app.log"),
            ("app.log.2.gz", "app.log"),
            ("app.log-20261125", "app.log"),
            ("app.log-20261125.1", "app.log"),
            ("app.log-20261125-1763913600.gz", "app.log"),
            ("app-20261125.log", "app.log"),
            ("app-2026-11-25.log", "app.log"),
            ("app.2026-11-25T08:00:00Z.log", "app.log"),
            ("app.log.old", "app.log"),
            ("0.log", "0.log"),
            ("0.log.20261125-080000", "0.log"),
            ("access_log.1", "access_log"),
            ("worker-1.log", "worker-1.log"),
            ("worker-1.log.3", "worker-1.log"),
            ("worker-12", "worker-12"),
            ("app.1.log", "app.1.log"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.200.111.112.log", "10.200.111.112.log"),
            ("postgresql-2026-11-25_080000.log", "postgresql.log"),
        ] {
            assert_eq!(family_name(&Path::new("/log").join(name)), Path::new("/log").join(family), "{name}");
        }
    }

    #[test]
    fn other_programs_names_lead_nowhere() {
        for (other, name) in [
            ("app.log", "app.log"),
            ("app-audit.log", "app.log"),
            ("app.log.tmp", "app.log"),
            ("app.log.swp", "app.log"),
            ("app.log~", "app.log"),
            ("app2.log", "app.log"),
            ("app.err", "app.log"),
            ("1.log", "0.log"),
        ] {
            let found = rotated_from(&Path::new("/log").join(other));
            assert!(!found.contains(&Path::new("/log").join(name)), "{other}: {found:?}");
        }
    }

    /// Each row: when the family was first seen, the birth of what has its name now and was known, that of the file that
    /// nobody knows, and whether that was missed. In seconds. The table is the specification.
    #[test]
    fn missed_generations() {
        type Row = (&'static str, i64, Option<i64>, Option<i64>, bool);
        let rows: &[Row] = &[
            ("came and was rotated away since the first look", 100, None, Some(200), true),
            ("before what was seen under the name meanwhile", 100, Some(300), Some(200), true),
            ("there before anybody looked", 100, None, Some(50), false),
            ("stamped by a clock that is a little behind", 100, None, Some(100), true),
            ("made beside a file that is known: a copy at most", 100, Some(200), Some(300), false),
            ("nothing tells its age", 100, None, None, false),
        ];
        let nanos = |seconds: i64| seconds * 1_000_000_000;
        for (name, first, current, birth, expected) in rows {
            let family = Family { first_seen_nanos: nanos(*first), current_nanos: current.map(nanos) };
            assert_eq!(is_missed(birth.map(nanos), family), *expected, "{name}");
        }
    }

    /// Each row: the birth of the file that has the name now, those of its generations, and which of them it follows.
    #[test]
    fn the_generation_directly_before() {
        type Row = (&'static str, Option<i64>, &'static [Option<i64>], Option<usize>);
        let rows: &[Row] = &[
            ("none", Some(30), &[], None),
            ("one", Some(30), &[Some(20)], Some(0)),
            ("the youngest, in whatever order", Some(30), &[Some(10), Some(25), Some(20)], Some(1)),
            ("what was made since is a copy at most", Some(30), &[Some(40), Some(20)], Some(1)),
            ("only what was made since", Some(30), &[Some(40)], None),
            ("two of one moment", Some(30), &[Some(20), Some(20)], None),
            ("two of one moment before the one", Some(30), &[Some(20), Some(20), Some(25)], Some(2)),
            ("one of the moment of the file itself", Some(30), &[Some(20), Some(30)], None),
            ("one that nothing tells the age of", Some(30), &[Some(20), None], None),
            ("nothing tells the age of the file", None, &[Some(20)], None),
        ];
        for (name, birth, generations, expected) in rows {
            let generations = generations.iter().copied().enumerate();
            assert_eq!(directly_before(*birth, generations), *expected, "{name}");
        }
    }
}
