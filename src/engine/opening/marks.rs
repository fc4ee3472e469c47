//! Files that were found and are not open yet: that they were found is durable before anything of them is read.
//!
//! After a crash, a file that was renamed meanwhile, and of which nothing durable tells, is one of those that lay beside its
//! source's names all the time. So it gets a checkpoint at its beginning, a mark, unless a start would know by its age that
//! it came since the last one.
//!
//! *Invariant:* what is opened is known after a crash, under whatever name it is then; where nothing can be saved, files
//! are read all the same.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::files::file::{Name, saved_names};
use crate::engine::incarnation::{IncarnationState, Names};
use crate::engine::port::{FileId, Observed};
use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Fingerprint, Identity, Incarnation, Seen, Window};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::settled::Settled;
use crate::model::time::Instant;
use crate::rules::rotation::uncompressed;

impl Engine {
    /// The file reaches up to `size`, by a look at it; the next read puts right what is not so.
    pub(in crate::engine) fn note_seen(&mut self, id: FileId, size: u64, now: Instant) {
        if let Some(incarnation) = self.files.known(id).incarnation() {
            self.lives.on_its_way_mut(incarnation).note_seen(size, now);
            self.note_extent(incarnation, now);
        }
    }

    /// How far a file reaches is to be durable: should the file be gone at the next start, that is what is lost.
    pub(in crate::engine) fn note_extent(&mut self, incarnation: Incarnation, now: Instant) {
        if self.lives.state(incarnation).is_some_and(IncarnationState::has_unsaved_extent) {
            self.saves.note_changed(incarnation, 0, now);
        }
    }

    /// A file was there at the first start of a source that starts at the end: where it ended is durable before any of the
    /// source's files is opened, so that what is written from now on is read, whatever becomes of this process.
    pub(in crate::engine) fn note_first_end(&mut self, stream: StreamId, observed: &Observed, now: Instant) {
        let names = (Arc::clone(&observed.path), observed.target.clone());
        let nanos = self.surveys.unix_nanos();
        let seen = Seen { first_nanos: nanos, last_nanos: nanos, owner: observed.owner };
        let incarnation = self.begin_unread(stream, names, observed.identity, (seen, observed.size, 0));
        self.saves.note_changed(incarnation, 0, now);
    }

    /// An incarnation of a file that was seen and not opened yet: what lies before `at` is not to be read, and what lies
    /// between that and `reach` was seen.
    pub(in crate::engine) fn begin_unread(
        &mut self,
        stream: StreamId,
        (path, target): Names,
        identity: Identity,
        (seen, at, reach): (Seen, u64, u64),
    ) -> Incarnation {
        let incarnation = self.lives.fresh();
        self.lives.store(Checkpoint {
            incarnation,
            stream: Arc::clone(self.stream_name(stream)),
            path,
            target,
            identity,
            origin: identity.into(),
            seen: Some(seen),
            fingerprint: Fingerprint::default(),
            skipped_bytes: at,
            offset: Offset::new(at),
            window: Window::default(),
            settled: Settled::default(),
            seen_bytes: reach,
            proof: None,
        });
        incarnation
    }

    /// A file that is about to be followed gets a mark, if nothing is known of it and only a mark would tell.
    pub(in crate::engine) fn mark_found(
        &mut self,
        (source, stream): (SourceId, StreamId),
        observed: &Observed,
        now: Instant,
    ) {
        let (name, nanos) = (self.stream_name(stream), self.surveys.unix_nanos());
        if self.is_remembered(stream, observed.identity)
            || self.families.would_find((name, &self.looked(source)), observed.identity, nanos)
        {
            return;
        }
        self.mark((source, stream), observed, Name::Matched, now);
    }

    /// A generation that nobody saw under its name is about to be followed, and gets a mark if nothing is known of it.
    pub(in crate::engine) fn mark_generation(
        &mut self,
        (source, stream): (SourceId, StreamId),
        observed: &Observed,
        now: Instant,
    ) {
        if !self.is_remembered(stream, observed.identity) {
            self.mark((source, stream), observed, Name::Lost, now);
        }
    }

    /// Whether something is known of a file that is not followed.
    pub(in crate::engine) fn is_remembered(&self, stream: StreamId, file: Identity) -> bool {
        self.lives.parted_of(file, stream).is_some()
            || self.lives.stored_of(file, self.stream_name(stream)).next().is_some()
    }

    fn mark(
        &mut self,
        (source, stream): (SourceId, StreamId),
        observed: &Observed,
        name: Name,
        now: Instant,
    ) {
        let names = saved_names((Arc::clone(&observed.path), observed.target.clone()), name);
        let nanos = self.surveys.unix_nanos();
        let seen = Seen { first_nanos: nanos, last_nanos: nanos, owner: observed.owner };
        // How much was compressed into a file, only reading it says.
        let reach = if uncompressed(observed.real_path()).is_some() { 0 } else { observed.size };
        let incarnation = self.begin_unread(stream, names, observed.identity, (seen, 0, reach));
        self.saves.note_changed(incarnation, 0, now);
        self.saves.await_mark(source, incarnation, now);
    }

    /// Whether a checkpoint is the mark of a file by the look that found it: nothing is known of it from before.
    pub(super) fn is_mark_of(&self, id: FileId, stored: &Checkpoint) -> bool {
        let found_nanos = self.files.known(id).times.found_nanos;
        is_unread(stored) && stored.seen.is_some_and(|seen| seen.first_nanos == found_nanos)
    }

    /// Checkpoints of a file of which nothing was read.
    pub(super) fn marks_of(&self, file: Identity, stream: StreamId) -> Vec<Incarnation> {
        let stored = self.lives.stored_of(file, self.stream_name(stream));
        stored.filter(|stored| is_unread(stored)).map(|stored| stored.incarnation).collect()
    }

    /// A file is not to be read as itself: nothing of it needs to be known.
    pub(in crate::engine) fn forget_marks(&mut self, file: Identity, stream: StreamId, now: Instant) {
        for mark in self.marks_of(file, stream) {
            self.lives.withdraw(mark);
            self.saves.forget(mark, now);
        }
    }
}

fn is_unread(stored: &Checkpoint) -> bool {
    stored.offset.bytes() == 0 && stored.fingerprint.is_empty() && stored.settled.is_empty()
}
