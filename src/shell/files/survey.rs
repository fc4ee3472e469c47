//! Looking which files the sources mean.
//!
//! It knows how to walk a pattern through the tree and which kinds of names to leave alone. It does not know
//! what was there the last time, and opens no file. Called by the daemon for each survey of the engine, for each
//! source by itself: one whose file system hangs holds up no other.
//!
//! *Invariant:* every directory that can gain a matching name is reported, also when it is empty, and for one
//! that does not exist the nearest that does: watching exactly those misses no name.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::listing::{self, Entry, EntryKind};
use super::pattern::{FilePattern, MAX_DEPTH, Step};
use super::{Links, Look, Refusal, SourceFiles};
use crate::engine::port::{Observation, Observed, Survey};
use crate::model::settings::SourceId;

/// What a survey found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// Files in the order of their paths. Two names of one file are two.
    pub observation: Observation,
    /// Directories that can gain names that match, and those that hold the targets of followed links.
    pub directories: Vec<PathBuf>,
    /// Names that match and are not read.
    pub problems: Vec<Problem>,
}

/// A name that matches and is not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub path: PathBuf,
    /// `None` for a directory that the engine asked to look into.
    pub source: Option<SourceId>,
    pub reason: Refusal,
}

/// Looks at every file that one source matches, and at every file in the directories `also`.
///
/// Enters only directories in which something can match, lists each once, and asks the kernel once about each
/// file. A name that vanishes meanwhile is left out: the next survey tells.
pub fn survey_source(files: &SourceFiles, id: SourceId, also: &[Arc<Path>]) -> Surveyed {
    let mut round = Round::default();
    let source = Source { id, files };
    for pattern in &files.patterns {
        round.walk(source, pattern);
    }
    for directory in also {
        round.look_beside(directory);
    }
    Surveyed {
        observation: Observation {
            files: round.files.into_values().collect(),
            hidden: round.hidden.into_iter().collect(),
            held: Vec::new(),
        },
        directories: round.directories.into_iter().collect(),
        problems: round.problems.into_iter().collect(),
    }
}

/// Looks at all sources, one after the other, and at every file in the directories that the request names.
pub fn survey(sources: &[SourceFiles], request: &Survey) -> Surveyed {
    let of = |(index, files)| survey_source(files, SourceId(index), &request.also);
    Surveyed::union(sources.iter().enumerate().map(of))
}

impl Surveyed {
    /// What surveys of several sources found together, as if one survey had: each file, directory and problem once.
    pub fn union(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut files: BTreeMap<Arc<Path>, Observed> = BTreeMap::new();
        let (mut hidden, mut held) = (BTreeSet::new(), Vec::new());
        let (mut directories, mut problems) = (BTreeSet::new(), BTreeSet::new());
        for Self { observation, directories: also, problems: more } in parts {
            for file in observation.files {
                match files.entry(Arc::clone(&file.path)) {
                    Slot::Vacant(slot) => {
                        slot.insert(file);
                    }
                    Slot::Occupied(mut known) => {
                        let sources = &mut known.get_mut().sources;
                        sources.extend(file.sources);
                        sources.sort_unstable();
                        sources.dedup();
                    }
                }
            }
            hidden.extend(observation.hidden);
            held.extend(observation.held);
            directories.extend(also);
            problems.extend(more);
        }
        let observation =
            Observation { files: files.into_values().collect(), hidden: hidden.into_iter().collect(), held };
        let (directories, problems) = (directories.into_iter().collect(), problems.into_iter().collect());
        Self { observation, directories, problems }
    }
}

/// One survey under way.
#[derive(Default)]
struct Round {
    files: BTreeMap<PathBuf, Observed>,
    directories: BTreeSet<PathBuf>,
    problems: BTreeSet<Problem>,
    hidden: BTreeSet<Arc<Path>>,
    listed: HashMap<PathBuf, Result<Rc<[Entry]>, Errno>>,
}

#[derive(Clone, Copy)]
struct Source<'s> {
    id: SourceId,
    files: &'s SourceFiles,
}

impl Source<'_> {
    fn excludes(&self, path: &Path) -> bool {
        self.files.exclude.iter().any(|exclude| exclude.matches(path))
    }
}

/// How a name came to be looked at: what an operator wrote out is worth a word when it is a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Literally,
    ByGlob,
}

/// A directory on the way through a pattern.
struct Place {
    path: PathBuf,
    /// Index of the step that leads on from here.
    step: usize,
    /// How many directories deep into [`Step::Below`].
    depth: usize,
}

/// The way through one pattern.
struct Walk<'s> {
    source: Source<'s>,
    pattern: &'s FilePattern,
    near: Vec<Place>,
    /// Directories behind links: entered last, so that a directory is known by its own name rather than a link's.
    linked: Vec<Place>,
    /// Where it has been: device, inode and step. A directory is entered once for each step, so that no web of
    /// links can make the walk long.
    been: HashSet<(u64, u64, usize)>,
}

impl Round {
    fn walk(&mut self, source: Source<'_>, pattern: &FilePattern) {
        if pattern.is_literal() {
            if let Some(parent) = pattern.base().parent()
                && self.name(source, pattern.base(), Named::Literally) == Seen::There
            {
                self.directories.insert(parent.to_owned());
            } else {
                self.await_name(pattern.base());
            }
            return;
        }
        let base = Place { path: pattern.base().to_owned(), step: 0, depth: 0 };
        let mut walk = Walk { source, pattern, near: vec![base], linked: Vec::new(), been: HashSet::new() };
        while let Some(place) = walk.near.pop().or_else(|| walk.linked.pop()) {
            self.visit(&mut walk, place);
        }
    }

    fn visit(&mut self, walk: &mut Walk<'_>, place: Place) {
        let source = walk.source;
        match Look::at(&place.path, Links::Follow) {
            Ok(look) if look.kind == FileType::Directory => {
                let Look { identity, .. } = look;
                if !walk.been.insert((identity.device, identity.inode, place.step)) {
                    return;
                }
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return self.await_name(&place.path),
            Err(fault) => {
                self.await_name(&place.path);
                return self.refuse(source, &place.path, Refusal::of(fault));
            }
        }
        self.directories.insert(place.path.clone());
        let last = place.step + 1 == walk.pattern.steps().len();
        match &walk.pattern.steps()[place.step] {
            Step::Name(name) => {
                let path = place.path.join(name);
                if last {
                    self.name(source, &path, Named::Literally);
                } else {
                    match Look::at(&path, Links::Keep) {
                        Ok(look) => self.enter(walk, path, EntryKind::of(look.kind), place.step + 1, 0),
                        Err(Errno::NOENT | Errno::NOTDIR) => {}
                        Err(fault) => self.refuse(source, &path, Refusal::of(fault)),
                    }
                }
            }
            Step::Names(names) => {
                for entry in self.list(source, &place.path).iter().filter(|entry| names.is_match(&entry.name))
                {
                    let path = place.path.join(&entry.name);
                    if !last {
                        self.enter(walk, path, entry.kind, place.step + 1, 0);
                    } else if entry.kind != EntryKind::Directory {
                        self.name(source, &path, Named::ByGlob);
                    }
                }
            }
            Step::Below { levels } => {
                for entry in self.list(source, &place.path).iter() {
                    let path = place.path.join(&entry.name);
                    if entry.kind != EntryKind::Directory && walk.pattern.matches(&path) {
                        self.name(source, &path, Named::ByGlob);
                    }
                    let deeper = place.depth + 1;
                    let enters = match entry.kind {
                        EntryKind::Directory => true,
                        EntryKind::Link => source.files.follow_symlinks,
                        EntryKind::Other => false,
                    };
                    if enters && deeper <= *levels {
                        self.enter(walk, path, entry.kind, place.step, deeper);
                    } else if enters && deeper > MAX_DEPTH {
                        self.refuse(source, &path, Refusal::TooDeep(MAX_DEPTH));
                    }
                }
            }
        }
    }

    /// Goes on to a directory, or behind a link if that is allowed.
    fn enter(&mut self, walk: &mut Walk<'_>, path: PathBuf, kind: EntryKind, step: usize, depth: usize) {
        let place = Place { path, step, depth };
        match kind {
            EntryKind::Directory => walk.near.push(place),
            EntryKind::Link if leads_to_directory(&place.path) => {
                if walk.source.files.follow_symlinks {
                    walk.linked.push(place);
                } else {
                    self.refuse(walk.source, &place.path, Refusal::Link);
                }
            }
            EntryKind::Link | EntryKind::Other => {}
        }
    }

    /// Looks at a name that matches.
    fn name(&mut self, source: Source<'_>, path: &Path, named: Named) -> Seen {
        if source.excludes(path) {
            return Seen::Unknown;
        }
        if let Some(known) = self.files.get_mut(path)
            && (known.target.is_none() || source.files.follow_symlinks)
        {
            if !known.sources.contains(&source.id) {
                known.sources.push(source.id);
            }
            return Seen::There;
        }
        let look = match Look::at(path, Links::Keep) {
            Ok(look) => look,
            Err(Errno::NOENT | Errno::NOTDIR) => return Seen::Unknown,
            Err(fault) => {
                self.refuse(source, path, Refusal::of(fault));
                return Seen::Unknown;
            }
        };
        match look.kind {
            FileType::RegularFile => self.observe(path, None, look, Some(source.id)),
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
                if let Some(parent) = target.parent() {
                    self.directories.insert(parent.to_owned());
                }
                self.observe(link, Some(target), look, Some(source.id));
            }
            Ok((_, look)) if look.kind == FileType::Directory && named == Named::ByGlob => {}
            Ok((_, look)) => self.refuse(source, link, Refusal::NotRegular(look.noun())),
            Err(Errno::NOENT | Errno::NOTDIR) => self.refuse(source, link, Refusal::Dangling),
            Err(fault) => self.refuse(source, link, Refusal::of(fault)),
        }
    }

    /// Looks at what no source matches but may be a known file under another name.
    fn look_beside(&mut self, directory: &Path) {
        let entries = match self.entries(directory) {
            Ok(entries) => entries,
            Err(Errno::NOENT | Errno::NOTDIR) => return,
            Err(fault) => {
                self.note(Problem { path: directory.to_owned(), source: None, reason: Refusal::of(fault) });
                return;
            }
        };
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Other) {
            let path = directory.join(&entry.name);
            if !self.files.contains_key(&path)
                && let Ok(look) = Look::at(&path, Links::Keep)
                && look.kind == FileType::RegularFile
            {
                self.observe(&path, None, look, None);
            }
        }
    }

    fn observe(&mut self, path: &Path, target: Option<PathBuf>, look: Look, source: Option<SourceId>) {
        if let Slot::Vacant(slot) = self.files.entry(path.to_owned()) {
            slot.insert(Observed {
                path: Arc::from(path),
                target: target.map(Arc::from),
                identity: look.identity,
                size: look.size,
                sources: source.into_iter().collect(),
            });
        }
    }

    fn refuse(&mut self, source: Source<'_>, path: &Path, reason: Refusal) {
        self.note(Problem { path: path.to_owned(), source: Some(source.id), reason });
    }

    fn note(&mut self, problem: Problem) {
        if matches!(problem.reason, Refusal::Denied | Refusal::Failed(_)) {
            self.hidden.insert(Arc::from(problem.path.as_path()));
        }
        self.problems.insert(problem);
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

    /// The names in a directory of a source; none, and a problem, when it cannot be listed.
    fn list(&mut self, source: Source<'_>, directory: &Path) -> Rc<[Entry]> {
        self.entries(directory).unwrap_or_else(|fault| {
            if !matches!(fault, Errno::NOENT | Errno::NOTDIR) {
                self.refuse(source, directory, Refusal::of(fault));
            }
            Rc::default()
        })
    }

    fn entries(&mut self, directory: &Path) -> Result<Rc<[Entry]>, Errno> {
        if let Some(known) = self.listed.get(directory) {
            return known.clone();
        }
        let entries = listing::of(directory);
        self.listed.insert(directory.to_owned(), entries.clone());
        entries
    }
}

/// What came of looking at a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    There,
    /// Not there, not to be looked at, or excluded.
    Unknown,
}

fn leads_to_directory(path: &Path) -> bool {
    Look::at(path, Links::Follow).is_ok_and(|look| look.kind == FileType::Directory)
}

#[cfg(test)]
mod tests;
