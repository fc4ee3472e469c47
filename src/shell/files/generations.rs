//! Names beside those that a source matches, as rotators make them: which files may be generations of which.
//!
//! Collects the places of a survey and compares names. Does not look at files; what is a missed generation is the
//! engine's to say. Used by the survey.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{Entry, EntryKind};
use crate::engine::port::Observed;
use crate::rules::pattern::{Exclude, Pattern};
use crate::rules::rotation::family::rotated_from;

/// The places of one survey, in directories without links.
#[derive(Debug, Default)]
pub(super) struct Generations {
    /// Names that are matched where not all of the directory was listed: written out, or the targets of links.
    names: BTreeSet<PathBuf>,
    /// Files that are not matched, each with the names it may have had.
    found: BTreeMap<PathBuf, Vec<Arc<Path>>>,
    /// Last names of files that are kept elsewhere, as they are and as they may have been.
    kept: BTreeSet<OsString>,
    /// Names that the source takes, and that such files may have had, whether or not a file has them now.
    possible: BTreeSet<PathBuf>,
}

/// The names that files which are kept elsewhere may have had, by their last names.
#[derive(Debug, Default)]
pub(super) struct Origins(HashMap<OsString, Vec<Arc<Path>>>);

impl Generations {
    /// A file of this name is the source's, in this directory.
    pub(super) fn of_file(&mut self, directory: &Path, file: &Path) {
        self.names.extend(file.file_name().map(|name| directory.join(name)));
    }

    /// A directory was listed in which the source takes some names, and leaves out others: these are those that it does not
    /// take.
    pub(super) fn among(
        &mut self,
        directory: &Path,
        others: &[&Entry],
        takes: impl Fn(&OsStr) -> bool,
        leaves_out: impl Fn(&OsStr) -> bool,
    ) {
        for entry in others.iter().filter(|entry| entry.kind == EntryKind::Other) {
            if leaves_out(entry.name()) {
                continue;
            }
            let path = directory.join(entry.name());
            let mut names = rotated_from(&path);
            names.retain(|name| name.file_name().is_some_and(&takes));
            if !names.is_empty() {
                self.found.insert(path, names.into_iter().map(Arc::from).collect());
            }
        }
    }

    /// Every file that may be a generation, with the names that it may have had.
    pub(super) fn found(
        mut self,
        mut list: impl FnMut(&Path) -> Option<Arc<[Entry]>>,
        exclude: &Exclude,
    ) -> BTreeMap<PathBuf, Vec<Arc<Path>>> {
        let directories: BTreeSet<_> = self.names.iter().filter_map(|name| name.parent()).collect();
        let listed: Vec<_> =
            directories.iter().filter_map(|directory| Some((*directory, list(directory)?))).collect();
        for (directory, entries) in listed {
            for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Other) {
                let path = directory.join(entry.name());
                let mut names = rotated_from(&path);
                names.retain(|name| self.names.contains(name));
                if !names.is_empty() && !self.names.contains(&path) && !exclude.matches(&path) {
                    self.found.entry(path).or_insert_with(|| names.into_iter().map(Arc::from).collect());
                }
            }
        }
        self.found
    }

    /// A file is kept where the source says that rotators put its files.
    pub(super) fn note_kept(&mut self, path: &Path) {
        self.kept.extend(last_names(path));
    }

    /// The last names of kept files that a pattern may take somewhere.
    pub(super) fn kept_by(&self, pattern: &Pattern) -> Vec<OsString> {
        self.kept.iter().filter(|name| pattern.may_end_in(name)).cloned().collect()
    }

    /// The source takes a name in this directory that kept files may have had.
    pub(super) fn may_be_of(&mut self, directory: &Path, name: &OsStr) {
        self.possible.insert(directory.join(name));
    }

    /// The real paths that kept files may have had: those that the source matches, and those that it would match.
    pub(super) fn origins<'f>(
        &self,
        matched: impl Iterator<Item = &'f Observed>,
        patterns: &[Pattern],
    ) -> Origins {
        let matched = matched.map(|file| Arc::clone(file.real_path()));
        let spelled = patterns.iter().filter_map(Pattern::file).map(Arc::from);
        let possible = self.names.iter().chain(&self.possible).map(|path| Arc::from(path.as_path()));
        let (mut origins, mut known) = (Origins::default(), BTreeSet::new());
        for path in matched.chain(spelled).chain(possible) {
            if let Some(name) = path.file_name().map(OsStr::to_owned)
                && known.insert(Arc::clone(&path))
            {
                origins.0.entry(name).or_default().push(path);
            }
        }
        origins
    }
}

impl Origins {
    /// Which names a kept file may have had: by its last name, as it is or as a rotator makes it.
    pub(super) fn of(&self, path: &Path) -> Vec<Arc<Path>> {
        last_names(path).into_iter().filter_map(|name| self.0.get(&name)).flatten().cloned().collect()
    }
}

/// The last name of a file, and those that a rotator may have made it of.
fn last_names(path: &Path) -> BTreeSet<OsString> {
    let before = rotated_from(path);
    let paths = before.iter().map(PathBuf::as_path).chain([path]);
    paths.filter_map(Path::file_name).map(OsStr::to_owned).collect()
}
