//! What lies beside the files of a source: generations of them, and known files under other names.
//!
//! Looks at files that the source does not match. What they are is the engine's to say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::{Problem, Round, Source, observed, survey_source};
use crate::engine::port::Observed;
use crate::model::renamed::Renamed;
use crate::model::settings::SourceId;
use crate::shell::files::directory::{Directory, EntryKind};
use crate::shell::files::generations::Origins;
use crate::shell::files::way::Fault;
use crate::shell::files::{Links, Refusal, SourceFiles};

/// What a survey looks at beside what the source matches.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// Directories of which every file is looked at.
    pub also: &'a [Arc<Path>],
    /// Files that had names which the source matches, and have other names.
    pub renamed: &'a [Renamed],
}

impl Round {
    /// Looks into the directory of what a link leads to: for what comes there, and for its generations.
    pub(super) fn look_around(
        &mut self,
        source: Source<'_>,
        link: &Path,
        target: &Path,
    ) -> Result<(), Refusal> {
        let Some(parent) = target.parent() else { return Ok(()) };
        if !source.files.reach().holds(link, target) {
            return Err(Refusal::Elsewhere(target.to_owned()));
        }
        if let Some(refusal) = self.places.refuse_on_the_way(parent) {
            return Err(refusal);
        }
        self.directories.insert(parent.to_owned());
        self.generations.of_file(parent, target);
        Ok(())
    }

    /// Looks at what the source does not match, and what rotators may have made of what it does.
    pub(super) fn look_for_generations(&mut self, source: Source<'_>, kept: Vec<Arc<Path>>) {
        let generations = std::mem::take(&mut self.generations);
        // Names are put together only where files are kept elsewhere that may have had them.
        let origins = match kept.is_empty() {
            true => Origins::default(),
            false => generations.origins(self.files.matched(), &source.files.patterns),
        };
        let list = |path: &Path| self.entries(path, &Directory::open(path, Links::Keep).ok()?).ok();
        let found = generations.found(list, &source.files.exclude);
        for (path, rotated_from) in found {
            self.observe_alone(&path, rotated_from);
        }
        for path in kept {
            self.observe_alone(&path, origins.of(&path));
        }
    }

    /// Looks at files that had names of the source, whatever they are called now.
    pub(super) fn look_at_renamed(&mut self, source: Source<'_>, renamed: &[Renamed]) {
        for Renamed { from, to } in renamed {
            if !self.files.holds(to) && !source.files.exclude.matches(to) {
                self.observe_alone(to, Vec::new());
            }
            self.files.note_told(to, from);
        }
    }

    /// Looks where the source says that rotators put its files, before it is known which names those may have had.
    pub(super) fn look_for_kept(&mut self, source: Source<'_>) -> Vec<Arc<Path>> {
        let mut kept = Vec::new();
        for pattern in &source.files.rotated {
            let files = SourceFiles { patterns: vec![pattern.clone()], ..SourceFiles::default() };
            let surveyed = survey_source(&files, source.id, &[], Duration::ZERO);
            self.directories.extend(surveyed.directories);
            self.hidden.extend(surveyed.observation.hidden);
            self.problems.extend(surveyed.problems);
            kept.extend(surveyed.observation.files.iter().map(|file| Arc::clone(file.real_path())));
        }
        kept.iter().for_each(|path| self.generations.note_kept(path));
        kept
    }

    /// Looks at a file that the source does not match, in a directory that is not open. `path` has no links.
    fn observe_alone(&mut self, path: &Path, rotated_from: Vec<Arc<Path>>) {
        let open = path.parent().and_then(|directory| Directory::open(directory, Links::Keep).ok());
        if let Some(open) = open {
            self.observe_beside(&open, path, rotated_from);
        }
    }

    /// Looks at a file that the source does not match.
    fn observe_beside(&mut self, open: &Directory, path: &Path, rotated_from: Vec<Arc<Path>>) {
        if let Some(Ok(look)) = path.file_name().map(|name| open.look(name))
            && look.kind == FileType::RegularFile
        {
            self.files.add_beside(Observed { rotated_from, ..observed(Arc::from(path), None, look, false) });
        }
    }

    /// Looks at what no source matches but may be a known file under another name.
    pub(super) fn look_beside(&mut self, source: SourceId, directory: &Path) {
        let opened = Directory::open(directory, Links::Keep);
        let listed = opened.and_then(|open| Ok((self.entries(directory, &open)?, open)));
        let (entries, open) = match listed {
            Ok(listed) => listed,
            Err(Fault::Kernel(Errno::NOENT | Errno::NOTDIR)) => return,
            Err(Fault::Kernel(fault)) => return self.cannot_look(source, directory, Refusal::of(fault)),
            Err(Fault::Refused(refusal)) => return self.cannot_look(source, directory, refusal),
        };
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Other) {
            if !self.files.holds(&entry.path) {
                self.observe_beside(&open, &entry.path, Vec::new());
            }
        }
    }

    fn cannot_look(&mut self, source: SourceId, directory: &Path, reason: Refusal) {
        self.note(Problem { path: directory.to_owned(), source, reason });
    }
}
