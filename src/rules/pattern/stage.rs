//! A walk along the ways of a pattern, one directory at a time.
//!
//! A [`Stage`] is what a pattern still asks for in one directory of the walk. Knows names only; whoever walks says
//! which there are.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path};

use super::syntax::{Part, Way};

/// How far along its ways a pattern has come in one directory.
///
/// *Invariant:* positions are sorted, each way and part once; where one is at `**`, another is at the part behind,
/// for `**` may be no directory at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage<'p> {
    ways: &'p [Way],
    max_depth: usize,
    positions: Vec<Position>,
}

/// What comes of entering a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'p> {
    pub stage: Stage<'p>,
    /// Whether the pattern asked for the directory by a name or by a glob for names, rather than by `**` alone.
    pub named: bool,
    /// Whether a `**` ends here because it would go too deep.
    pub too_deep: bool,
}

/// One place on a pattern's ways, to remember where a walk has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    way: usize,
    part: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// What is asked for next.
    at: Mark,
    /// How many directories a `**` has gone down; of other parts zero.
    depth: usize,
}

impl<'p> Stage<'p> {
    pub(super) fn begin(ways: &'p [Way], max_depth: usize) -> Self {
        let mut stage = Self { ways, max_depth, positions: Vec::new() };
        for way in 0..ways.len() {
            stage.reach(Mark { way, part: 0 }, 0);
        }
        stage
    }

    /// Whether nothing in this directory, or below, can match.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Whether the file `name` in this directory matches.
    pub fn takes(&self, name: &OsStr) -> bool {
        self.parts().any(|(part, rest)| rest.is_empty() && part.fits(name))
    }

    /// Whether every file in this directory and below, at whatever depth, matches.
    pub fn takes_all_below(&self) -> bool {
        self.parts().any(|(part, rest)| match rest {
            [last] => *part == Part::Below && last.fits_all(),
            _ => false,
        })
    }

    /// Goes on into the directory `name`.
    pub fn enter(&self, name: &OsStr) -> Step<'p> {
        let mut stage = Self { positions: Vec::new(), ..*self };
        let (mut named, mut too_deep) = (false, false);
        for &Position { at, depth } in &self.positions {
            let way = &self.ways[at.way];
            match &way[at.part] {
                Part::Below if depth < self.max_depth => stage.reach(at, depth + 1),
                Part::Below => too_deep = true,
                part if at.part + 1 < way.len() && part.fits(name) => {
                    named = true;
                    stage.reach(Mark { part: at.part + 1, ..at }, 0);
                }
                Part::Name(_) | Part::Names(_) => {}
            }
        }
        // Of two depths of one `**` the lesser stays, which leads further.
        stage.positions.sort_unstable_by_key(|position| (position.at, position.depth));
        stage.positions.dedup_by_key(|position| position.at);
        Step { stage, named, too_deep }
    }

    /// The names that are asked for here, when no others can match or lead on: nobody needs to list the directory,
    /// which may be forbidden.
    pub fn names(&self) -> Option<BTreeSet<&'p OsStr>> {
        self.parts()
            .map(|(part, _)| match part {
                Part::Name(name) => Some(name.as_os_str()),
                Part::Names(_) | Part::Below => None,
            })
            .collect()
    }

    /// Drops what `is_new` denies: a directory that was reached twice, by links, need not be walked twice.
    pub fn retain(&mut self, mut is_new: impl FnMut(Mark) -> bool) {
        self.positions.retain(|position| is_new(position.at));
    }

    /// Whether the file `below` this directory matches.
    pub(super) fn takes_path(&self, below: &Path) -> bool {
        let Some(name) = below.file_name() else {
            return false;
        };
        let parent = below.parent().unwrap_or(Path::new(""));
        self.enter_path(parent).takes(name)
    }

    /// Goes on into the directory `below` this one.
    pub(super) fn enter_path(&self, below: &Path) -> Self {
        let mut stage = self.clone();
        for component in below.components() {
            match component {
                Component::Normal(name) => stage = stage.enter(name).stage,
                // No surveyed path has one.
                _ => stage.positions.clear(),
            }
        }
        stage
    }

    /// What is asked for, each with what comes behind.
    fn parts(&self) -> impl Iterator<Item = (&'p Part, &'p [Part])> {
        self.positions.iter().map(|Position { at, .. }| {
            let (part, rest) =
                self.ways[at.way][at.part..].split_first().expect("a position is before an end");
            (part, rest)
        })
    }

    fn reach(&mut self, at: Mark, depth: usize) {
        self.positions.push(Position { at, depth });
        // The part behind is no `**`: two of them are one.
        if self.ways[at.way][at.part] == Part::Below {
            self.positions.push(Position { at: Mark { part: at.part + 1, ..at }, depth: 0 });
        }
    }
}
