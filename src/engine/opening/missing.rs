//! Files that are under no name when they are to be opened: they may go on in a copy, or compressed.
//!
//! *Invariant (L13):* what was seen of such a file is declared, or looked for in copies.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::files::file::Name;
use crate::engine::incarnation::Names;
use crate::engine::parting::Parting;
use crate::engine::port::FileId;
use crate::engine::report::{Loss, Report, Rotation};
use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Seen};
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;

impl Engine {
    /// The name of a file that is not open leads elsewhere, or nowhere: it is looked for under other names.
    pub(in crate::engine) fn seek(&mut self, id: FileId, now: Instant) {
        self.files.seek(id, now);
        let file = self.files.known(id);
        let (source, path) = (file.source, Arc::clone(file.real_path()));
        self.surveys.seek_beside(source, &path);
    }

    /// A file goes on from what is stored of it: it may have been renamed since, while nobody looked.
    pub(super) fn note_renamed_since(&mut self, id: FileId, stored: &Checkpoint) {
        let file = self.files.known(id);
        let (source, from, to) = (file.source, stored.real_path(), file.real_path());
        if from != to {
            let report = Report::Rotated { source, from: Arc::clone(from), to: Some(Arc::clone(to)) };
            self.count_rotation(source, Rotation::Renamed);
            self.report(report);
        }
    }

    /// A file that could not be opened is not followed any more.
    pub(super) fn part_unopened(&mut self, id: FileId, now: Instant) {
        self.files.closed(id);
        self.part(id, Parting::Handed, now);
    }

    /// A file that is not open has no name that was looked at.
    pub(in crate::engine) fn not_found(&mut self, id: FileId, now: Instant) {
        let file = self.files.known(id);
        let (source, path, size) = (file.source, Arc::clone(&file.path), file.size);
        if !self.surveys.has_looked_beside(source, file.real_path()) {
            return self.seek(id, now);
        }
        if file.name == Name::Matched && file.incarnation().is_some() {
            self.count_rotation(source, Rotation::Removed);
        }
        let file = self.files.known(id);
        match file.incarnation() {
            None if file.kind.only_as_copy => self.part(id, Parting::Handed, now),
            None => {
                let (identity, stream, names) = (file.identity, file.stream, (path, file.target.clone()));
                // No content was read of it: a copy may have been begun as soon as it was there.
                let first_nanos = file.times.found_nanos;
                let last_nanos = identity.birth_nanos.unwrap_or(first_nanos);
                let seen = Seen { first_nanos, last_nanos, owner: file.kind.owner };
                self.part(id, Parting::Handed, now);
                self.on_missed((source, stream), (names, identity), (seen, size), now);
            }
            // What was written to it since it was closed may be in a copy.
            Some(incarnation) if file.identity.birth_nanos.is_some() => {
                let unread = self.lives.on_its_way(incarnation).unread_bytes();
                self.part(id, Parting::Handed, now);
                self.search_removed(incarnation, source, unread, now);
            }
            Some(_) => self.part(id, Parting::Declared(Loss::Removed), now),
        }
    }

    /// A file was seen, and gone before it could be opened: it may go on in a copy, or compressed.
    fn on_missed(
        &mut self,
        (source, stream): (SourceId, StreamId),
        (names, identity): (Names, Identity),
        (seen, size): (Seen, u64),
        now: Instant,
    ) {
        let stored = self.lives.stored_of(identity, self.stream_name(stream));
        let stored: Vec<_> = stored.map(|stored| (stored.incarnation, stored.offset)).collect();
        let marks = self.marks_of(identity, stream);
        if size == 0 {
            self.forget_marks(identity, stream, now);
        }
        if stored.is_empty() && size > 0 {
            let incarnation = self.begin_unread(stream, names, identity, (seen, 0, size));
            return self.search_missed(incarnation, source, size, now);
        }
        for (incarnation, offset) in stored {
            if marks.contains(&incarnation) {
                if size > 0 {
                    self.lives.note_seen_of(incarnation, seen);
                    self.search_missed(incarnation, source, size, now);
                }
                continue;
            }
            self.search_removed(incarnation, source, size.saturating_sub(offset.bytes()), now);
        }
    }
}
