//! Incarnations whose files were closed since the start, or let go of with their sources.
//!
//! Knows which closed last. Does not know what becomes of their files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::SourceId;
use crate::model::time::Instant;

use super::{Life, Lives};

/// A position in a file that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Unread<'a> {
    pub(in crate::engine) identity: Identity,
    /// The file's name when a source read it last; `None` of a file that had lost that name since.
    pub(in crate::engine) matched_path: Option<&'a Arc<Path>>,
    /// The name in the directory that holds the file.
    pub(in crate::engine) real_path: &'a Arc<Path>,
    pub(in crate::engine) stream: &'a Arc<str>,
    pub(in crate::engine) position: Offset,
    /// The source with which it was let go of, if it was.
    pub(in crate::engine) let_go_with: Option<SourceId>,
}

impl Lives {
    /// An incarnation was let go of with its source, and is wanted again only when the source is.
    pub(in crate::engine) fn let_go_of(&mut self, incarnation: Incarnation, source: SourceId) {
        self.let_go.insert(incarnation, source);
    }

    /// The sources with which incarnations were let go of that are not read since.
    pub(in crate::engine) fn sources_let_go_of(&self) -> BTreeSet<SourceId> {
        self.let_go.values().copied().collect()
    }

    /// Positions in files that are not read.
    pub(in crate::engine) fn unread(&self) -> impl Iterator<Item = Unread<'_>> {
        self.by_incarnation.iter().filter_map(|(incarnation, life)| {
            let let_go_with = self.let_go.get(incarnation).copied();
            if let Some(stored) = life.claimable() {
                return Some(Unread {
                    identity: stored.identity,
                    matched_path: (!stored.has_lost_its_name()).then_some(&stored.path),
                    real_path: stored.real_path(),
                    stream: &stored.stream,
                    position: stored.offset,
                    let_go_with,
                });
            }
            let state = life.state().filter(|_| life.is_parted_and_kept())?;
            let whose = state.whose();
            Some(Unread {
                identity: whose.identity,
                matched_path: (whose.target.as_ref() != Some(&whose.path)).then_some(&whose.path),
                real_path: whose.real_path(),
                stream: &whose.stream_name,
                position: state.position(),
                let_go_with,
            })
        })
    }

    /// The file of an incarnation was closed.
    pub(in crate::engine) fn note_closed(&mut self, incarnation: Incarnation, now: Instant) {
        if let Some(life) = self.by_incarnation.get(&incarnation) {
            let path = life.known().path;
            self.closed.push(incarnation, path.parent().unwrap_or(path), now);
        }
    }

    /// A look that was asked for at `asked` shows, in the directories of the closed files of some streams, whatever `is_there`
    /// says is there; of those that it does not answer for, it says nothing. Goes through so many, from this one on, and
    /// tells how many that were, and the next one.
    pub(in crate::engine) fn note_shown(
        &mut self,
        some: (Incarnation, usize),
        asked: Instant,
        is_answered: impl Fn(&str, &Path) -> bool,
        is_there: impl Fn(&Identity) -> bool,
    ) -> (usize, Option<Incarnation>) {
        let some: Vec<_> = self.closed.some(some, asked).collect();
        for (incarnation, was_closed) in &some {
            let Some(life) = self.by_incarnation.get(incarnation).filter(|_| *was_closed) else { continue };
            let known = life.known();
            if is_answered(life.stream_name(), known.path) {
                self.closed.note_shown(*incarnation, is_there(&known.identity));
            }
        }
        (some.len(), some.last().map(|(last, _)| Incarnation(last.0 + 1)))
    }

    /// Where files come and go fast, the one that was closed first in the directory with most of them is forgotten, and its
    /// checkpoint returned.
    pub(in crate::engine) fn give_way(&mut self) -> Option<Checkpoint> {
        loop {
            let oldest = self.closed.pop()?;
            let stored = self.by_incarnation.get(&oldest).and_then(Life::claimable).cloned();
            if stored.is_some() {
                drop(self.take(oldest));
                return stored;
            }
        }
    }

    /// The directories of files of this stream that were closed since the start: such a file may be written to under
    /// another name, by a program that holds it open.
    pub(in crate::engine) fn closed_directories(&self, stream: &str) -> BTreeSet<Arc<Path>> {
        let stored = self.closed.iter().filter_map(|closed| self.by_incarnation.get(&closed)?.claimable());
        let of_stream = stored.filter(|stored| *stored.stream == *stream);
        of_stream.filter_map(|stored| stored.real_path().parent().map(Arc::from)).collect()
    }

    /// Whether a file that was closed since the start is longer than it was read: lines came late.
    pub(in crate::engine) fn has_late_lines(&self, file: Identity, size: u64, stream: &str) -> bool {
        let mut stored = self.stored_of(file, stream);
        stored.any(|stored| self.closed.contains(stored.incarnation) && stored.offset.bytes() < size)
    }
}
