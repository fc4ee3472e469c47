//! Looking which files the sources mean.
//!
//! The survey knows how to walk through the tree and which kinds of names to leave alone; where a pattern leads is
//! [`Pattern`]'s to say. It does not know which files were there the last time, and opens none. Called by the daemon for
//! each survey of the engine.
//!
//! *Invariant:* every directory that can gain a name which a source reads is reported, also when it is empty, and
//! for one that does not exist the nearest that does: watching exactly those misses no name. A directory of which
//! everything is excluded is not even looked at.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::dangling;
use super::directory::{Directory, Entry, EntryKind};
use super::generations::Generations;
use super::places::Places;
use super::problems::{Noted, Problem, Problems};
use super::{Links, Look, Refusal, SourceFiles};
use crate::engine::port::{Observation, Observed};
use crate::model::hidden::Hidden;
use crate::model::settings::SourceId;
use crate::rules::pattern::{MAX_DEPTH, Pattern, Step};

pub use self::beside::Beside;
pub use self::listings::Listings;

use self::found::Found;
use self::walk::{Place, Walk};

/// What a survey found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Files in the order of their paths. Two names of one file are two.
    pub observation: Observation,
    /// Directories that can gain names that a source reads, and those that hold the targets of followed links.
    pub directories: Vec<PathBuf>,
    /// Names that match and are not read.
    pub problems: Problems,
}

/// Looks at every file that one source matches, and at every file in the directories `also`. `unix_time` is the wall
/// clock's time now.
///
/// Enters only directories in which something can match, lists each once, and asks the kernel once about each
/// file. A name that vanishes meanwhile is left out: the next survey tells.
pub fn survey_source(files: &SourceFiles, id: SourceId, also: &[Arc<Path>], unix_time: Duration) -> Surveyed {
    survey_again(files, id, Beside { also, renamed: &[] }, (unix_time, &mut Listings::default()))
}

/// Looks as [`survey_source`] does, also at files that were renamed, and lists only directories that have changed since they
/// were listed for `listings`.
pub fn survey_again(
    files: &SourceFiles,
    id: SourceId,
    beside: Beside<'_>,
    (unix_time, listings): (Duration, &mut Listings),
) -> Surveyed {
    let listings_before = std::mem::take(listings);
    let places = Places::beside(&files.state_dir);
    let mut round = Round { places, unix_time, listings: listings_before, ..Round::default() };
    let source = Source { id, files };
    let kept = round.look_for_kept(source);
    for pattern in &files.patterns {
        round.walk(source, pattern);
        round.files.end_walk();
    }
    round.look_for_generations(source, kept);
    round.look_at_renamed(source, beside.renamed);
    for directory in beside.also {
        round.look_beside(id, directory);
    }
    round.listings.end_round();
    *listings = round.listings;
    Surveyed {
        observation: Observation {
            source: id,
            files: round.files.into_files(),
            hidden: round.hidden,
            held: Vec::new(),
            unix_time,
        },
        directories: round.directories.into_iter().collect(),
        problems: round.problems.into_problems(),
    }
}

/// One survey under way.
#[derive(Default)]
struct Round {
    places: Places,
    files: Found,
    directories: BTreeSet<PathBuf>,
    problems: Noted,
    hidden: Hidden,
    listed: HashMap<PathBuf, Result<Arc<[Entry]>, Errno>>,
    listings: Listings,
    unix_time: Duration,
    generations: Generations,
}

#[derive(Clone, Copy)]
struct Source<'s> {
    id: SourceId,
    files: &'s SourceFiles,
}

/// How a name came to be looked at: what an operator wrote out is worth a word when it is a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Literally,
    ByGlob,
}

impl Round {
    fn walk<'s>(&mut self, source: Source<'s>, pattern: &'s Pattern) {
        if let Some(refusal) = self.places.refuse_on_the_way(pattern.base()) {
            return self.refuse(source, pattern.file().unwrap_or(pattern.base()), refusal);
        }
        if let Some(file) = pattern.file() {
            if source.files.exclude.matches(file) {
                return;
            }
            let real = real_directory(pattern.base());
            self.generations.of_file(&real, file);
            let seen = match self.open(source, pattern.base()) {
                Some(open) => {
                    let real = Some(&*real).filter(|real| *real != pattern.base());
                    let entry = Entry::new(Arc::from(file), EntryKind::Other);
                    self.name((source, Named::Literally), &entry, (&open, real))
                }
                None => Seen::Unknown,
            };
            if seen == Seen::There {
                self.directories.insert(pattern.base().to_owned());
            } else {
                self.await_name(file);
            }
            return;
        }
        let path = pattern.base().to_owned();
        let excluded = source.files.exclude.at(&path);
        if excluded.takes_all_below() {
            return;
        }
        let real = real_directory(&path);
        let base = Place::new((path, real), pattern.begin(), excluded);
        let kept = self.generations.kept_by(pattern);
        let mut walk = Walk { source, near: vec![base], linked: Vec::new(), been: HashSet::new(), kept };
        while let Some(place) = walk.near.pop().or_else(|| walk.linked.pop()) {
            self.visit(&mut walk, place);
        }
    }

    fn visit<'s>(&mut self, walk: &mut Walk<'s>, mut place: Place<'s>) {
        let source = walk.source;
        let Some(open) = self.open(source, &place.path) else { return self.await_name(&place.path) };
        if let Some(refusal) = self.places.refuse(&place.path, &open.look) {
            return self.refuse(source, &place.path, refusal);
        }
        let identity = open.look.identity;
        place.stage.retain(|mark| walk.been.insert((identity.device, identity.inode, mark)));
        if place.stage.is_empty() {
            return;
        }
        self.directories.insert(place.path.clone());
        for name in walk.kept.iter().filter(|name| place.takes(name)) {
            self.generations.may_be_of(&place.real, name);
        }
        match place.stage.names() {
            Some(names) => {
                for name in names {
                    if place.takes(name) {
                        self.generations.of_file(&place.real, Path::new(name));
                    }
                    self.take_named(walk, (&place, &open), name);
                }
            }
            None => {
                let entries = self.list(source, &place.path, &open);
                let others = entries.iter().filter(|entry| !self.take_listed(walk, (&place, &open), entry));
                let others: Vec<_> = others.collect();
                self.generations.among(
                    &place.real,
                    &others,
                    |name| place.takes(name),
                    |name| place.excluded.takes(name),
                );
            }
        }
    }

    /// Looks at a name that the pattern spells out.
    fn take_named<'s>(&mut self, walk: &mut Walk<'s>, (place, open): (&Place<'s>, &Directory), name: &OsStr) {
        let source = walk.source;
        let step = place.stage.enter(name);
        if step.stage.is_empty() {
            if place.takes(name) {
                let entry = Entry::new(Arc::from(place.path.join(name)), EntryKind::Other);
                self.name((source, Named::Literally), &entry, (open, place.within()));
            }
            return;
        }
        let path = place.path.join(name);
        match open.look(name) {
            Ok(look) => {
                let kind = EntryKind::of(look.kind);
                self.take_listed(walk, (place, open), &Entry::new(Arc::from(path), kind));
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(_) if place.excluded.enter(name).stage.takes_all_below() => {}
            Err(fault) => self.refuse(source, &path, Refusal::of(fault)),
        }
    }

    /// Looks at a name that is there, if the pattern asks for it; tells whether it does, for a file.
    fn take_listed<'s>(
        &mut self,
        walk: &mut Walk<'s>,
        (place, open): (&Place<'s>, &Directory),
        entry: &Entry,
    ) -> bool {
        let is_taken = entry.kind != EntryKind::Directory && place.takes(entry.name());
        if is_taken {
            self.name((walk.source, Named::ByGlob), entry, (open, place.within()));
        }
        if entry.kind != EntryKind::Other {
            let step = place.stage.enter(entry.name());
            if !step.stage.is_empty() || step.too_deep {
                self.enter(walk, place, entry, step);
            }
        }
        is_taken
    }

    /// Goes on to a directory, or behind a link if that is allowed.
    fn enter<'s>(&mut self, walk: &mut Walk<'s>, place: &Place<'s>, entry: &Entry, step: Step<'s>) {
        let (source, path) = (walk.source, entry.path.to_path_buf());
        let excluded = place.excluded.enter(entry.name()).stage;
        if excluded.takes_all_below() {
            return;
        }
        let is_link = entry.kind == EntryKind::Link;
        if is_link && !source.files.follow_symlinks {
            // A `**` comes by many links that nobody asked for.
            if step.named && leads_to_directory(&path) {
                self.refuse(source, &path, Refusal::Link);
            }
            return;
        }
        if is_link && !leads_to_directory(&path) {
            return;
        }
        if step.too_deep {
            self.refuse(source, &path, Refusal::TooDeep(MAX_DEPTH));
        }
        if !step.stage.is_empty() {
            let real = if is_link { real_directory(&path) } else { place.real.join(entry.name()) };
            if is_link && !source.files.reach().leads_through(&real) {
                return self.refuse(source, &path, Refusal::Elsewhere(real));
            }
            let next = Place::new((path, real), step.stage, excluded);
            if is_link { &mut walk.linked } else { &mut walk.near }.push(next);
        }
    }

    /// Looks at a name that matches and is not excluded, in its directory, and with what the directory is called without
    /// links, where that is something else.
    fn name(
        &mut self,
        (source, named): (Source<'_>, Named),
        entry: &Entry,
        (open, real): (&Directory, Option<&Path>),
    ) -> Seen {
        let path = &entry.path;
        if self.files.holds(path) {
            return Seen::There;
        }
        let look = match open.look(entry.name()) {
            Ok(look) => look,
            Err(Errno::NOENT | Errno::NOTDIR) => return Seen::Unknown,
            Err(fault) => {
                self.refuse(source, path, Refusal::of(fault));
                return Seen::Unknown;
            }
        };
        match look.kind {
            FileType::RegularFile => {
                let target = real.map(|real| real.join(entry.name())).filter(|target| **target != **path);
                if let Some(target) =
                    target.as_ref().filter(|target| !source.files.reach().holds(path, target))
                {
                    self.refuse(source, path, Refusal::Elsewhere(target.clone()));
                    return Seen::There;
                }
                self.files.add(observed(Arc::clone(path), target, look, true));
            }
            FileType::Symlink if source.files.follow_symlinks => self.follow(source, path, named),
            FileType::Symlink => self.refuse(source, path, Refusal::Link),
            FileType::Directory if named == Named::ByGlob => {}
            _ => self.refuse(source, path, Refusal::NotRegular(look.noun())),
        }
        Seen::There
    }

    /// Looks at what a link leads to.
    ///
    /// The target is looked at under its own name: that is the one which hints come under.
    fn follow(&mut self, source: Source<'_>, link: &Path, named: Named) {
        let found = std::fs::canonicalize(link)
            .map_err(|fault| Errno::from_io_error(&fault).unwrap_or(Errno::IO))
            .and_then(|target| Look::at(&target, Links::Keep).map(|look| (target, look)));
        match found {
            Ok((target, look)) if look.kind == FileType::RegularFile => {
                if let Err(refusal) = self.look_around(source, link, &target) {
                    return self.refuse(source, link, refusal);
                }
                self.files.add(observed(Arc::from(link), Some(target), look, true));
            }
            Ok((_, look)) if look.kind == FileType::Directory && named == Named::ByGlob => {}
            Ok((_, look)) => self.refuse(source, link, Refusal::NotRegular(look.noun())),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                // The next file of that name is to be seen as soon as it comes.
                let beside = dangling::missing(link).map(|target| self.look_around(source, link, &target));
                self.refuse(source, link, beside.and_then(Result::err).unwrap_or(Refusal::Dangling));
            }
            Err(fault) => self.refuse(source, link, Refusal::of(fault)),
        }
    }

    fn refuse(&mut self, source: Source<'_>, path: &Path, reason: Refusal) {
        self.note(Problem { path: path.to_owned(), source: source.id, reason });
    }

    fn note(&mut self, problem: Problem) {
        let problem = Problem { reason: problem.reason.at(&problem.path), ..problem };
        if matches!(problem.reason, Refusal::Denied(_) | Refusal::Failed(_)) {
            self.hidden.insert(&problem.path);
        }
        self.problems.note(problem);
    }

    /// Reports the directory in which the way to `path` can appear: the nearest that exists.
    fn await_name(&mut self, path: &Path) {
        for ancestor in path.ancestors().skip(1) {
            if self.directories.contains(ancestor) {
                return;
            }
            if leads_to_directory(ancestor) {
                self.directories.insert(ancestor.to_owned());
                return;
            }
        }
    }
}

/// What came of looking at a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    There,
    /// Not there, or not to be looked at.
    Unknown,
}

fn observed(path: Arc<Path>, target: Option<PathBuf>, look: Look, is_matched: bool) -> Observed {
    Observed {
        path,
        target: target.map(Arc::from),
        identity: look.identity,
        size: look.size,
        owner: look.owner,
        modified: look.modified,
        is_matched,
        rotated_from: Vec::new(),
        is_told: false,
    }
}

/// A directory without the links on the way to it; as it is called, where it is not there.
fn real_directory(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn leads_to_directory(path: &Path) -> bool {
    Look::at(path, Links::Follow).is_ok_and(|look| look.kind == FileType::Directory)
}

mod beside;
mod found;
mod listed;
mod listings;
#[cfg(test)]
mod tests;
mod walk;
