//! Files that are let go of while they are there: their source is no longer configured, or reads other names.
//!
//! What was read of such a file is delivered, its position is kept, and nothing more of it is read, under whatever name:
//! the operator left it out. What is unread of it is no loss, and is told. A file that a source reads, and that was
//! renamed, is not left out: its name when a source read it tells. Nor is one that a source reads by a link.
//!
//! Knows the names that each source reads. Does not look whether a file is there.
//!
//! *Invariant:* a file is let go of only while nothing of it is under way with the file system.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::pattern::SourceNames;

use super::Engine;
use super::files::State;
use super::files::file::Name;
use super::moving::Moves;
use super::parting::Parting;
use super::port::FileId;
use super::report::Report;

/// Files that are to be let go of, and what says so.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// The names that each source reads; where none are told, no name is left out.
    names: Vec<SourceNames>,
    /// Files that are to be let go of as soon as nothing of them is under way.
    files: BTreeSet<FileId>,
    /// When another configuration came last.
    changed_at: Option<Instant>,
    /// Positions that a person moves: their files are let go of, and found again.
    pub(super) moves: Moves,
}

impl Leaving {
    pub(super) fn new(names: Vec<SourceNames>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Whether a source reads a file of this name, by its patterns.
    pub(super) fn takes(&self, source: SourceId, path: &Path) -> bool {
        self.names.get(source.0).is_none_or(|names| names.takes(path))
    }

    /// Another configuration: the names that each source reads from now on, and the files that are to be let go of. A file
    /// that was to be let go of, and is no longer, has never been away.
    pub(super) fn change(&mut self, names: Vec<SourceNames>, files: BTreeSet<FileId>, now: Instant) {
        (self.names, self.files) = (names, files);
        self.changed_at = Some(now);
    }

    /// Whether a survey that began then shows what was configured before: of what it shows, names are to be asked about.
    pub(super) fn is_outdated(&self, began: Instant) -> bool {
        self.changed_at.is_some_and(|changed| began <= changed)
    }

    /// A file that may be to be let go of goes by another number.
    pub(super) fn renumber(&mut self, before: FileId, now: FileId) {
        if self.files.contains(&before) {
            self.files.insert(now);
        }
    }

    /// Whether a file is to be let go of.
    pub(super) fn is_to_leave(&self, file: FileId) -> bool {
        self.files.contains(&file)
    }

    /// Whether a file is to be let go of, from now on.
    pub(super) fn set(&mut self, file: FileId, leaves: bool) {
        if leaves {
            self.files.insert(file);
        } else {
            self.files.remove(&file);
        }
    }

    /// A file was let go of.
    pub(super) fn remove(&mut self, file: FileId) {
        self.files.remove(&file);
    }
}

impl Engine {
    /// Whether no source ships a file of this name to a stream any more.
    pub(super) fn is_left_out(&self, stream: StreamId, path: &Path) -> bool {
        let sources = (0..self.settings.sources.len()).map(SourceId);
        let configured = sources.filter(|source| !self.surveys.is_retired(*source));
        let mut taking = configured.filter(|source| self.leaving.takes(*source, path));
        !taking.any(|source| self.sends(source, path, stream)) && !self.is_read_by_link(stream, path)
    }

    /// Whether a source reads, into a stream, a link that leads to this name.
    fn is_read_by_link(&self, stream: StreamId, path: &Path) -> bool {
        self.files.at(path).iter().any(|id| {
            let file = self.files.known(*id);
            let is_configured = !self.surveys.is_retired(file.source) && !self.leaving.is_to_leave(*id);
            let is_link = *file.path != *path && file.name != Name::Lost;
            file.stream == stream && is_link && is_configured
        })
    }

    /// Lets go of the files that are to be let go of, unless one is just being opened or read.
    pub(super) fn let_go_of_leaving(&mut self, now: Instant) {
        for id in self.leaving.files.clone() {
            let Some(file) = self.files.get(id) else {
                self.leaving.remove(id);
                continue;
            };
            if matches!(file.state(), State::Reading { .. } | State::Opening { .. }) {
                continue;
            }
            let (identity, source, stream) = (file.identity, file.source, file.stream);
            let path = Arc::clone(&file.path);
            // What may be a copy is looked for again with what it may be the copy of.
            let is_unread = file.incarnation().is_none() && !file.kind.only_as_copy;
            let is_left_out = self.is_left_out(stream, &path);
            if is_left_out {
                self.tell_left_out(id);
            }
            self.part(id, Parting::LeftInPlace, now);
            if is_unread {
                // Whoever goes on with its names goes on with it, whatever it is called by then; so does its own source, if that
                // is configured again.
                let go_on = match is_left_out {
                    false => self.sources_of(stream),
                    true if self.surveys.is_retired(source) => vec![source],
                    true => Vec::new(),
                };
                go_on.into_iter().for_each(|source| self.families.note_refused(source, identity));
            }
            // It may have been renamed since it was looked at, to a name that no source matches; whether a source reads links to
            // its name, the next look says.
            self.surveys.look_beside([stream]);
            self.surveys.want_all();
        }
    }

    fn tell_left_out(&mut self, id: FileId) {
        let file = self.files.known(id);
        let (stream, path) = (file.stream, Arc::clone(&file.path));
        let state = file.incarnation().map(|incarnation| self.lives.on_its_way(incarnation));
        let (at, unread) = match state {
            Some(state) => (state.position().bytes(), state.unread_bytes()),
            None => (0, file.size),
        };
        self.report(Report::LeftOut { stream, path, at, unread });
    }
}
