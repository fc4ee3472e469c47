//! What lies beside the files of a source: generations of them, and known files under other names.
//!
//! Looks at files that the source does not match. What they are is the engine's to say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::{Problem, Round, Source, survey_source};
use crate::shell::files::generations::Generations;
use crate::shell::files::listing::EntryKind;
use crate::shell::files::{Links, Look, Refusal, SourceFiles};

impl Round {
    /// Looks at what the source does not match, and what rotators may have made of what it does.
    pub(super) fn look_for_generations(&mut self, source: Source<'_>) {
        let generations = std::mem::take(&mut self.generations);
        let found = generations.found(|directory| self.entries(directory).ok(), &source.files.exclude);
        for (path, rotated_from) in found {
            self.observe_beside(&path, rotated_from);
        }
        let places = Generations::places(&self.files, &source.files.patterns);
        for pattern in &source.files.rotated {
            let files = SourceFiles { patterns: vec![pattern.clone()], ..SourceFiles::default() };
            let kept = survey_source(&files, source.id, &[], Duration::ZERO);
            self.directories.extend(kept.directories);
            kept.problems.into_iter().for_each(|problem| self.note(problem));
            for observed in kept.observation.files {
                let rotated_from = Generations::kept(observed.real_path(), &places);
                self.observe_beside(observed.real_path(), rotated_from);
            }
        }
    }

    /// Looks at a file that the source does not match.
    fn observe_beside(&mut self, path: &Path, rotated_from: Vec<Arc<Path>>) {
        if let Ok(look) = Look::at(path, Links::Keep)
            && look.kind == FileType::RegularFile
        {
            self.observe(path, None, look, false);
            if let Some(observed) = self.files.get_mut(path).filter(|observed| !observed.is_matched) {
                observed.rotated_from = rotated_from;
            }
        }
    }

    /// Looks at what no source matches but may be a known file under another name.
    pub(super) fn look_beside(&mut self, directory: &Path) {
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
            if !self.files.contains_key(&path) {
                self.observe_beside(&path, Vec::new());
            }
        }
    }
}
