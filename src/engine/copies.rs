//! Copies that a rotator makes of a file before it cuts it off (copytruncate).
//!
//! What was cut off before it was read is in the copy, and what was delivered is not to be delivered again: the copy
//! goes on with the incarnation of its original. A new file that begins like a followed one, under a name that comes
//! from its, is held back for as long as it says the same: if the original is cut off, it is compared with what was read of
//! that, and may be the copy; if not, it is a file like any other (`copies/alike.rs`).
//!
//! - *alike*: begins like a file whose name its name comes from
//! - *cut off*: an incarnation whose file no longer has its content
//!
//! *Invariant (L14):* only an incarnation that was cut off, or removed, is inherited, and only by a file that says the same
//! from its first byte to the position. In doubt a file is read from its beginning.

mod alike;
mod ends;
mod moved;
mod patience;
mod proof;
mod renumbered;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Fingerprint, HEAD_BYTES, Identity, Incarnation, Seen};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::history::{Head, History};
use crate::rules::rotation::{is_younger, originals, uncompressed};

use super::Engine;
use super::archives::Origins;
use super::files::State;
use super::files::file::{Name, Task};
use super::lives::{Afterwards, CopySearch, Sought};
use super::parting::Parting;
use super::port::{FileId, Observation, Observed, Opened};
use super::report::{Loss, Report, Rotation, Start};

/// How many files without a source are compared for each that was cut off, of those that are no generations which came
/// since: the youngest.
const MAX_COMPARED: usize = 3;

impl Engine {
    /// The file of an incarnation that parted, or is stored, has other content, or is gone: its copy is looked for,
    /// unless nothing was read of it. `unread` bytes were seen beyond what was read.
    pub(super) fn search_copies(
        &mut self,
        incarnation: Incarnation,
        source: SourceId,
        unread: u64,
        afterwards: Afterwards,
        now: Instant,
    ) {
        self.search((incarnation, source), (unread, Loss::Truncated), afterwards, now);
    }

    /// A file was removed while it was closed: what was written to it since may be in a copy.
    pub(super) fn search_removed(
        &mut self,
        incarnation: Incarnation,
        source: SourceId,
        unread: u64,
        now: Instant,
    ) {
        self.search((incarnation, source), (unread, Loss::Removed), Afterwards::Kept, now);
    }

    /// A file was removed before it was opened: whatever was in it may be in a copy.
    pub(super) fn search_missed(
        &mut self,
        incarnation: Incarnation,
        source: SourceId,
        unread: u64,
        now: Instant,
    ) {
        self.search((incarnation, source), (unread, Loss::Removed), Afterwards::Forgotten, now);
    }

    /// A file was written to since it was `seen`, and perhaps cut off: what came and went unseen may be in a copy, of which
    /// nothing else is known.
    pub(super) fn seek_unseen(&mut self, id: FileId, seen: Option<Seen>, now: Instant) {
        let file = self.files.known(id);
        let (source, stream, identity) = (file.source, file.stream, file.identity);
        let names = file.saved_names();
        let Some(seen) = seen.filter(|_| identity.birth_nanos.is_some()) else { return };
        let incarnation = self.begin_unread(stream, names, identity, (seen, 0, 0));
        self.search_copies(incarnation, source, 0, Afterwards::Forgotten, now);
    }

    fn search(
        &mut self,
        (incarnation, source): (Incarnation, SourceId),
        (unread, why): (u64, Loss),
        afterwards: Afterwards,
        now: Instant,
    ) {
        let stream = self.stream_called(self.lives.stream_name(incarnation));
        let stream = stream.expect("a life is looked for while its stream is configured");
        let search = CopySearch { source, stream, unread, why, since: now, looked: false, afterwards };
        self.lives.seek_copies(incarnation, search);
        let sought = self.lives.sought(incarnation).expect("just begun");
        // Nothing of it needs to be found when nothing was there. Where the file is still there, a generation may have come
        // and been cut off since.
        if sought.position == Offset::ZERO && unread == 0 && why == Loss::Removed {
            return self.resolve(incarnation, now);
        }
        let path = Arc::clone(sought.path);
        self.surveys.seek_beside(source, &path);
        for (id, own) in self.files.alike_to(incarnation) {
            self.compare_with(id, Some(own), incarnation);
            self.take_up_alike(id);
        }
    }

    /// The content that was read is no longer in the file: it is read again, as another incarnation.
    pub(super) fn begin_again(&mut self, id: FileId, now: Instant) {
        let file = self.files.known_mut(id);
        let old = file.incarnation().expect("a file begins again after it began");
        let (source, path) = (file.source, Arc::clone(&file.path));
        let was_held_back = matches!(file.state(), State::HeldBack { .. });
        file.forget_end();
        self.files.quieten(id, now);
        let state = self.lives.on_its_way(old);
        let (read, unread, seen) = (state.position(), state.unread_bytes(), state.whose().seen);
        if read > Offset::ZERO || unread > 0 {
            self.count_rotation(source, Rotation::Truncated);
            self.report(Report::Truncated { source, path, read });
        }
        self.lives.part(old, Afterwards::Forgotten);
        self.search_copies(old, source, unread, Afterwards::Forgotten, now);
        self.end_if_over(old, now);
        self.begin_after_truncation(id, now);
        // It may have been cut off more than once.
        self.seek_unseen(id, Some(seen), now);
        if was_held_back {
            self.files.release(id);
        }
        self.queue_read(id);
    }

    /// The first bytes of a file that nothing is known of; whether it waits for what becomes of another.
    pub(super) fn is_held_back(&mut self, id: FileId, own: Incarnation, bytes: &Bytes, now: Instant) -> bool {
        if self.is_archive_of_what_waits(id, bytes) {
            self.drop_copy(id, own, now);
            return true;
        }
        let file = self.files.known(id);
        if !file.kind.is_new || bytes.is_empty() {
            return false;
        }
        let (identity, stream) = (file.identity, file.stream);
        let names = originals(file.real_path());
        let renumbered = self.seek_renumbered(id, bytes, now);
        let cut_off = renumbered.or_else(|| self.next_cut_off(id, bytes, None));
        let generation = if cut_off.is_none() { self.known_generation_alike(id, bytes, None) } else { None };
        let cut_off = cut_off.or(generation);
        let alike = if cut_off.is_some() {
            None
        } else {
            let beside = names.iter().find_map(|name| self.known_alike(name, stream, identity, bytes));
            let moved = beside.or_else(|| self.moved_from(id, bytes));
            moved.or_else(|| self.begun_in_what_waits(id, bytes))
        };
        let file = self.files.known_mut(id);
        file.kind.is_new = false;
        if cut_off.is_none() && alike.is_none() {
            return false;
        }
        file.compared.head = bytes.slice(..bytes.len().min(HEAD_BYTES));
        if let Some(of) = cut_off {
            self.compare_with(id, Some(own), of);
        } else if let Some(of) = alike {
            file.times.held_back_since = now;
            self.files.quieten(id, now);
            self.files.begin_alike(id, own, of);
        }
        self.queue_read(id);
        true
    }

    /// A file of that name that is followed, or was before this process began, and begins like `bytes`.
    fn known_alike(
        &self,
        name: &Path,
        stream: StreamId,
        identity: Identity,
        bytes: &[u8],
    ) -> Option<Incarnation> {
        let is_alike = |other: Identity, fingerprint: Fingerprint, position: Offset| {
            other != identity
                && position > Offset::ZERO
                && !fingerprint.is_empty()
                && fingerprint.matches(bytes)
                && is_younger(identity, other)
        };
        let named = self.files.at(name).iter().chain(self.files.formerly_at(name));
        let followed = named.filter_map(|file| self.files.read_into(*file));
        let mut followed = followed.filter(|incarnation| {
            let state = self.lives.on_its_way(*incarnation);
            state.stream() == stream
                && is_alike(state.whose().identity, state.head().fingerprint(), state.position())
        });
        let mut stored = self.lives.stored_at(name).filter(|stored| {
            *stored.stream == **self.stream_name(stream)
                && is_alike(stored.identity, stored.fingerprint, stored.offset)
        });
        followed.next().or_else(|| stored.next().map(|stored| stored.incarnation))
    }

    pub(super) fn inherit(&mut self, id: FileId, own: Option<Incarnation>, of: Incarnation, now: Instant) {
        let (original, position) = self.lives.place(of);
        if let Some(own) = own {
            self.lives.part(own, Afterwards::Forgotten);
            self.end_if_over(own, now);
        }
        let file = self.files.known_mut(id);
        file.task = Task::Follow(of);
        file.kind.only_as_copy = false;
        let head = file.compared.take().head;
        self.files.quieten(id, now);
        let file = self.files.known(id);
        let (source, path, identity, size) = (file.source, Arc::clone(&file.path), file.identity, file.size);
        if let Some(stored) = self.lives.stored_checkpoint(of).cloned() {
            let read = usize::try_from(stored.offset.bytes()).unwrap_or(usize::MAX);
            let vouched = head.len().min(usize::from(stored.fingerprint.len()).max(read));
            let history = History::resumed(stored.offset, stored.window, stored.digest());
            self.begin_life(id, of, history, Head::of(&head[..vouched]), Some(&stored), now);
        } else {
            let names = self.files.known(id).saved_names();
            self.lives.reattach(of, id, (source, names, identity)).forget_seen();
            self.saves.note_changed(of, 0, now);
        }
        self.files.known_mut(id).task = self.task_of(of);
        let why = match original == *self.files.known(id).real_path() {
            // The same file, under another device number.
            true => Start::Checkpoint,
            false => {
                self.count_rotation(source, Rotation::Copied);
                self.report(Report::Copied { source, path: Arc::clone(&path), of: original });
                Start::Copy
            }
        };
        self.report(Report::Following { source, path, at: position, why });
        self.note_seen(id, size, now);
        self.queue_read(id);
    }

    /// Opens files that no source shows and that may be the copies that are looked for.
    pub(super) fn open_candidates<'a>(
        &mut self,
        observation: &'a Observation,
        beside: impl Iterator<Item = &'a Observed>,
        now: Instant,
    ) {
        if !self.lives.seeks() {
            return;
        }
        let Observation { source, ref hidden, .. } = *observation;
        let mut candidates: BTreeMap<Incarnation, Vec<&Observed>> = BTreeMap::new();
        for observed in beside {
            for of in self.may_be_copy_of(source, observed) {
                candidates.entry(of).or_default().push(observed);
            }
        }
        let origins = Origins::of(candidates.values().flatten().copied(), observation);
        for (of, mut found) in candidates {
            found.retain(|observed| origins.is_whole(observed));
            found.sort_by_key(|observed| std::cmp::Reverse(observed.identity.birth_nanos));
            // One that is shorter than what was seen is not whole, or never will be.
            let Some(sought) = self.lives.sought(of) else { continue };
            let (stream, seen) = (sought.search.stream, sought.position.bytes() + sought.search.unread);
            let is_whole =
                |observed: &&Observed| uncompressed(&observed.path).is_some() || observed.size >= seen;
            if found.iter().any(is_whole) {
                found.retain(is_whole);
            }
            let is_since = |observed: &Observed| sought.is_older_than(observed.identity);
            let is_generation =
                |observed: &&Observed| is_since(observed) && !observed.rotated_from.is_empty();
            let (generations, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_generation);
            let compared = generations.into_iter().chain(others.into_iter().take(MAX_COMPARED));
            let compared: Vec<_> = compared.map(|observed| (observed, is_since(observed))).collect();
            for (observed, is_since_cut_off) in compared {
                let Some(known) = self.files.of(stream, observed.identity) else {
                    let id = self.follow((source, stream), observed, Name::Lost, now);
                    let kind = &mut self.files.known_mut(id).kind;
                    (kind.only_as_copy, kind.is_since_cut_off) = (true, is_since_cut_off);
                    kind.decompressed = uncompressed(&observed.path).is_some();
                    continue;
                };
                // Of another that is looked for it may be what came since, and this one need not be the first of them.
                let kind = &mut self.files.known_mut(known).kind;
                kind.is_since_cut_off |= kind.only_as_copy && is_since_cut_off;
            }
        }
        for of in self.lives.all_sought() {
            let sought = self.lives.sought(of).expect("just listed");
            let path = Arc::clone(sought.path);
            if sought.search.source != source || !self.surveys.has_looked_beside(source, &path) {
                continue;
            }
            if hidden.holds(&path) {
                self.surveys.seek_beside(source, &path);
            } else {
                self.lives.note_looked(of);
            }
        }
    }

    /// Those that are looked for, and of which a file may be the copy by its name, size and age.
    fn may_be_copy_of(&self, source: SourceId, observed: &Observed) -> Vec<Incarnation> {
        let is_compressed = uncompressed(&observed.path).is_some();
        let names = originals(observed.real_path());
        let sought = self.lives.sought_at(&names, &observed.rotated_from).filter(|sought| {
            sought.search.source == source
                && self.surveys.has_looked_beside(source, sought.path)
                && (is_compressed
                    || observed.size >= sought.position.bytes()
                    || sought.is_older_than(observed.identity))
                && observed.identity != sought.identity
                && is_younger(observed.identity, sought.identity)
                && self.may_be_copied(sought, observed.identity, observed.real_path())
                && self.files.of(sought.search.stream, observed.identity).is_none()
                && self.families.may_be_of(self.stream_name(sought.search.stream), [sought.path], observed.owner)
                // It has a place of its own to go on from; without a birth time, its inode may just be used again.
                && (observed.identity.birth_nanos.is_none()
                    || self.lives.stored_of(observed.identity, self.stream_name(sought.search.stream)).next().is_none())
        });
        sought.map(|sought| sought.incarnation).collect()
    }

    /// Whether a file may be the copy of one that is looked for by its age; of one of which nothing was read, by its name, too,
    /// and only if it has no life of its own.
    pub(super) fn may_be_copied(&self, sought: &Sought<'_>, file: Identity, path: &Path) -> bool {
        sought.may_be_copied(file, path)
            && (sought.position > Offset::ZERO || !self.is_remembered(sought.search.stream, file))
    }

    /// A file is open that may be such a copy.
    pub(super) fn on_candidate_opened(&mut self, id: FileId, opened: &Opened, now: Instant) {
        let file = self.files.known(id);
        let (stream, decompressed) = (file.stream, file.kind.decompressed);
        let is_of = |stored: &Checkpoint| stored.fingerprint.matches(&opened.head);
        let has_own_place =
            !decompressed && self.lives.stored_of(opened.identity, self.stream_name(stream)).any(is_of);
        if has_own_place {
            return self.part(id, Parting::Handed, now);
        }
        self.files.known_mut(id).compared.head = opened.head.clone();
        match self.next_cut_off(id, &opened.head, None) {
            Some(of) => {
                self.compare_with(id, None, of);
                self.queue_read(id);
            }
            None => self.go_on_with_unread(id, now),
        }
    }

    /// No copy is found: what was not read is lost.
    pub(in crate::engine) fn resolve(&mut self, of: Incarnation, now: Instant) {
        let Some(sought) = self.lives.sought(of) else { return };
        let (path, at) = (Arc::clone(sought.path), sought.position);
        let Some((search, is_forgotten)) = self.lives.stop_seeking(of) else { return };
        if search.unread > 0 {
            self.abandon(search.source, path, at, search.unread, search.why);
            self.forget_extent(of, now);
        } else if (search.afterwards == Afterwards::Kept || is_forgotten)
            && (at > Offset::ZERO || search.why == Loss::Removed)
        {
            // How much came after the last look of an earlier process, nobody knows.
            self.report(Report::Gone { source: search.source, path, at });
        }
        if is_forgotten {
            self.saves.forget(of, now);
        }
        self.end_if_over(of, now);
    }
}
