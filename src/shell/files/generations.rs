//! Names beside those that a source matches, as rotators make them: which files may be generations of which.
//!
//! Collects the places of a survey and compares names. Does not look at files; what is a missed generation is the
//! engine's to say. Used by the survey.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
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
}

impl Generations {
    /// A file of this name is the source's, in this directory.
    pub(super) fn of_file(&mut self, directory: &Path, file: &Path) {
        self.names.extend(file.file_name().map(|name| directory.join(name)));
    }

    /// A directory was listed in which the source takes some names, and leaves out others.
    pub(super) fn among(
        &mut self,
        directory: &Path,
        entries: &[Entry],
        takes: impl Fn(&OsStr) -> bool,
        leaves_out: impl Fn(&OsStr) -> bool,
    ) {
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Other) {
            if takes(&entry.name) || leaves_out(&entry.name) {
                continue;
            }
            let path = directory.join(&entry.name);
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
        mut list: impl FnMut(&Path) -> Option<Rc<[Entry]>>,
        exclude: &Exclude,
    ) -> BTreeMap<PathBuf, Vec<Arc<Path>>> {
        let directories: BTreeSet<_> = self.names.iter().filter_map(|name| name.parent()).collect();
        let listed: Vec<_> =
            directories.iter().filter_map(|directory| Some((*directory, list(directory)?))).collect();
        for (directory, entries) in listed {
            for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Other) {
                let path = directory.join(&entry.name);
                let mut names = rotated_from(&path);
                names.retain(|name| self.names.contains(name));
                if !names.is_empty() && !self.names.contains(&path) && !exclude.matches(&path) {
                    self.found.entry(path).or_insert_with(|| names.into_iter().map(Arc::from).collect());
                }
            }
        }
        self.found
    }

    /// The real paths that a source matches, or spells out, by their last names.
    pub(super) fn places(files: &BTreeMap<PathBuf, Observed>, patterns: &[Pattern]) -> BTreeSet<Arc<Path>> {
        let matched = files.values().filter(|file| file.is_matched).map(|file| Arc::clone(file.real_path()));
        matched.chain(patterns.iter().filter_map(Pattern::file).map(Arc::from)).collect()
    }

    /// Which of these places a file that is kept elsewhere may come from: by its last name, as it is or as a rotator
    /// makes it.
    pub(super) fn kept(path: &Path, places: &BTreeSet<Arc<Path>>) -> Vec<Arc<Path>> {
        let mut names = rotated_from(path);
        names.push(path.to_owned());
        let is_named = |place: &&Arc<Path>| names.iter().any(|name| name.file_name() == place.file_name());
        places.iter().filter(is_named).cloned().collect()
    }
}
