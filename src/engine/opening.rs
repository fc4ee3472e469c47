//! Files are opened, and known again or begun.
//!
//! When no descriptor is left, `rules/idle.rs` says which files are closed; they are opened again when more is there,
//! and known again by their identity. A closed file that its name no longer leads to is looked for in its directory.
//!
//! *Invariant:* what is opened again under its name goes on only as the file that was closed.

mod another;
mod held;
mod marks;
mod missing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation, Seen};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::history::{Head, History};
use crate::rules::idle::{self, AtEnd};
use crate::rules::rotation::recognise;

use super::Engine;
use super::files::State;
use super::files::file::{FollowedFile, Name, Task};
use super::incarnation::{IncarnationState, Whose};
use super::lives::Afterwards;
use super::parting::Parting;
use super::port::{Effect, FileFault, FileId, Open, Opened};
use super::report::{Report, Start};

/// How far back from the end of a file its last line end is looked for at first, in bytes.
const FIND_END_BYTES: u64 = 1024 * 1024;

impl Engine {
    /// Opens files as far as descriptors reach.
    pub(super) fn open_waiting(&mut self, now: Instant) {
        self.descriptors.pass(now);
        while let Some(id) = self.files.next_to_open(|slot| {
            self.descriptors.may_open(slot)
                && !self.saves.awaits_look(slot.source, now)
                && !self.surveys.takings().is_marking(slot.source)
        }) {
            if self.descriptors.are_used_up() && !self.close_idle(now) {
                break;
            }
            self.files.begin_opening(id, now);
            let file = self.files.known(id);
            self.descriptors.begin_opening(file.slot());
            let (path, decompressed) = (Arc::clone(&file.path), file.kind.decompressed);
            let (source, held) = (file.source, self.held_at_name_of(id));
            self.effects.push_back(Effect::Open(Open { file: id, source, path, decompressed, held }));
        }
    }

    /// Closes files that need not be open; whether there were any.
    fn close_idle(&mut self, now: Instant) -> bool {
        let Some(count) = self.descriptors.search(now) else { return false };
        let at_end = self.files.at_end().filter_map(|(id, file)| self.at_end(id, file, now));
        let choice = idle::choose(at_end, count, now);
        for id in choice.look_at {
            self.queue_read(id);
        }
        self.descriptors.searched(!choice.close.is_empty(), now);
        for id in &choice.close {
            self.close_descriptor(*id);
        }
        !choice.close.is_empty()
    }

    /// What counts for whether a file may be closed, of one that is open, followed and at its end.
    fn at_end(&self, id: FileId, file: &FollowedFile, now: Instant) -> Option<AtEnd<FileId>> {
        let (State::AtEnd, Task::Follow(incarnation)) = (file.state(), file.task) else { return None };
        // An overflow may have left out what was written to it, and what is closed is lost with its name.
        if self.files.is_wanted(id) {
            return None;
        }
        let state = self.lives.on_its_way(incarnation);
        Some(AtEnd {
            file: id,
            is_named: file.name == Name::Matched,
            is_settled: state.is_settled(),
            unread_bytes: state.unread_bytes(),
            incomplete_bytes: file.end.partial.incomplete_bytes as u64,
            quiet_since: file.times.quiet_since,
            // Where a drain is over nothing is looked at again: to wait for that would be to wait for ever.
            read_at: if self.is_drained(id) { now } else { file.times.read_at },
        })
    }

    pub(super) fn close_descriptor(&mut self, id: FileId) {
        self.files.closed(id);
        self.descriptors.release();
        self.effects.push_back(Effect::Close(id));
    }

    pub(super) fn on_opened(&mut self, id: FileId, result: Result<Opened, FileFault>, now: Instant) {
        if let State::Opening { slot, .. } = self.files.known(id).state()
            && !self.note_answer(id)
        {
            self.descriptors.end_opening(slot);
        }
        if std::mem::take(&mut self.files.known_mut(id).kind.awaits_another) {
            return self.on_another_opened(id, result.is_ok(), now);
        }
        let opened = match result {
            Ok(opened) => opened,
            Err(fault) => return self.on_not_opened(id, fault, now),
        };
        self.files.opened(id);
        let file = self.files.known(id);
        self.families.forget_refused(file.source, file.identity);
        if let Some(held) = opened.held.filter(|held| self.may_go_on_as(id, *held)) {
            return self.go_on_as(id, held, opened.identity, now);
        }
        if !self.is_as_expected(id, &opened, now) {
            return;
        }
        let file = self.files.known_mut(id);
        let found_bytes = if matches!(file.task, Task::Begin) { file.size } else { 0 };
        // What a compressed file says of itself may be of one of its parts, or of a file that is not whole: only reads tell.
        let (found_bytes, size) = if file.kind.decompressed { (0, 0) } else { (found_bytes, opened.size) };
        file.end.extent.found_bytes = found_bytes.max(size);
        file.size = size;
        let file = self.files.known(id);
        let begins = matches!(file.task, Task::Begin) && !file.kind.only_as_copy;
        if begins && self.refuse_compressed(id, &opened.head, now) {
            return;
        }
        let file = self.files.known(id);
        let (source, path) = (file.source, Arc::clone(&file.path));
        // Of one that could not be read, only a read says so.
        if file.failures == 0 && self.unwanted.told.remove(&(source, Arc::clone(&path))).is_some() {
            self.report(Report::Readable { source, path });
        }
        match self.files.known(id).task {
            Task::Begin if self.files.known(id).kind.only_as_copy => {
                self.on_candidate_opened(id, &opened, now);
            }
            Task::Begin => self.begin(id, &opened, now),
            Task::FindEnd { .. } | Task::Comparing { own: None, .. } => self.queue_read(id),
            Task::Follow(_)
            | Task::Confirm(_)
            | Task::Recheck(_)
            | Task::Alike { .. }
            | Task::Comparing { .. } => {
                self.on_reopened(id, &opened, now);
            }
        }
    }

    /// A file is open for the first time: it goes on with what is known of it, or begins.
    fn begin(&mut self, id: FileId, opened: &Opened, now: Instant) {
        let file = self.files.known(id);
        let (source, stream, path) = (file.source, file.stream, Arc::clone(&file.path));
        let unmatched = file.name == Name::Lost;
        if let Some(parted) = self.lives.parted_of(opened.identity, stream) {
            return self.go_on_with(id, parted, now);
        }
        let mine = self.lives.stored_of(opened.identity, self.stream_name(stream));
        let found = recognise(opened.identity, opened.size, &opened.head, mine);
        let found =
            found.or_else(|| self.overwritten_since(id, (opened.identity, stream), &opened.head)).cloned();
        let kept = found.as_ref().map(|found| found.incarnation);
        let superseded = self.supersede(opened.identity, (source, stream), kept, now);
        let was_truncated = kept.is_none() && superseded.is_some();
        if found.is_none() && unmatched && opened.identity.birth_nanos.is_none() {
            // Without a birth time nothing says that this is a file a source ever showed.
            return self.part(id, Parting::Handed, now);
        }
        match found {
            // It was there at the first start, and only its size was looked at.
            Some(stored) if stored.fingerprint.is_empty() && stored.offset > Offset::ZERO => {
                let (incarnation, end) = (stored.incarnation, stored.offset);
                let file = self.files.known_mut(id);
                file.task = Task::FindEnd { incarnation, end, within: FIND_END_BYTES };
                file.compared.head = opened.head.clone();
            }
            Some(stored) => self.go_on_from(id, &stored, &opened.head, now),
            None => {
                let incarnation = self.lives.fresh();
                self.begin_life(id, incarnation, History::beginning(), Head::default(), None, now);
                self.files.known_mut(id).kind.is_new = true;
                if was_truncated {
                    self.lives.on_its_way_mut(incarnation).follows_a_truncation();
                }
                self.report(Report::Following { source, path, at: Offset::ZERO, why: Start::New });
            }
        }
        // It may have been cut off more than once.
        self.seek_unseen(id, superseded.flatten().filter(|_| !unmatched), now);
        self.note_seen(id, self.files.known(id).end.extent.found_bytes, now);
        self.queue_read(id);
    }

    /// A file that is open for the first time goes on from what is stored of it; `head` is what it begins with.
    fn go_on_from(&mut self, id: FileId, stored: &Checkpoint, head: &[u8], now: Instant) {
        let file = self.files.known(id);
        let (source, path, unmatched) = (file.source, Arc::clone(&file.path), file.name == Name::Lost);
        let is_at_beginning = stored.offset == Offset::ZERO;
        let history = History::resumed(stored.offset, stored.window, stored.digest());
        // As much as the fingerprint vouches for, or was read: what lies beyond may change before it is read.
        let read = usize::try_from(stored.offset.bytes()).unwrap_or(usize::MAX);
        let vouched = head.len().min(usize::from(stored.fingerprint.len()).max(read));
        let head = Head::of(&head[..vouched]);
        self.begin_life(id, stored.incarnation, history, head, Some(stored), now);
        let task = self.task_of(stored.incarnation);
        let file = self.files.known_mut(id);
        file.task = task;
        file.kind.is_new = is_at_beginning && stored.settled.is_empty();
        if is_at_beginning {
            // What an earlier process saw and is not there any more was cut off.
            let extent = &mut file.end.extent;
            extent.found_bytes = extent.found_bytes.max(stored.seen_bytes);
        }
        let is_mark = self.is_mark_of(id, stored);
        if is_mark && self.saves.is_unsaved(stored.incarnation) {
            self.lives.on_its_way_mut(stored.incarnation).is_not_durable();
        }
        let why = if is_mark { Start::New } else { Start::Checkpoint };
        if !is_mark {
            self.note_renamed_since(id, stored);
        }
        self.report(Report::Following { source, path, at: stored.offset, why });
        if !unmatched && !is_mark && is_at_beginning && stored.fingerprint.is_empty() {
            self.seek_unseen(id, stored.seen, now);
        }
    }

    /// A file has one content: once it is open, every checkpoint of it is either the one that goes on, or that of
    /// a life that is over. Returns when the first of these was seen, if there are any.
    fn supersede(
        &mut self,
        file: Identity,
        (source, stream): (SourceId, StreamId),
        kept: Option<Incarnation>,
        now: Instant,
    ) -> Option<Option<Seen>> {
        let name = self.stream_name(stream);
        let of = |stored: &Checkpoint| (stored.incarnation, stored.seen, stored.unread_bytes());
        let claimed = self.lives.stored_of(file, name).map(of);
        let others: Vec<_> = claimed.filter(|(incarnation, ..)| Some(*incarnation) != kept).collect();
        for (incarnation, _, unread) in &others {
            self.search_copies(*incarnation, source, *unread, Afterwards::Forgotten, now);
        }
        others.into_iter().map(|(_, seen, _)| seen).min_by_key(|seen| seen.map(|seen| seen.last_nanos))
    }

    /// From now on `id` is read into this incarnation. It is saved even before anything of it is settled: a file that is
    /// renamed before that must be found again.
    pub(super) fn begin_life(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        history: History,
        head: Head,
        known: Option<&Checkpoint>,
        now: Instant,
    ) {
        let whose = self.whose(id, known);
        let state = IncarnationState::new(incarnation, whose, history, head, known);
        self.attach(id, state, now);
    }

    /// The content of an open file was truncated: the next incarnation begins.
    pub(super) fn begin_after_truncation(&mut self, id: FileId, now: Instant) {
        let file = self.files.known(id);
        self.forget_seam((file.stream, file.identity));
        let (incarnation, mut whose) = (self.lives.fresh(), self.whose(id, None));
        whose.seen.last_nanos = whose.seen.last_nanos.max(self.surveys.unix_nanos());
        let state = IncarnationState::new(incarnation, whose, History::beginning(), Head::default(), None);
        self.attach(id, state, now);
        self.lives.on_its_way_mut(incarnation).follows_a_truncation();
    }

    fn whose(&self, id: FileId, known: Option<&Checkpoint>) -> Whose {
        let file = self.files.known(id);
        let (first_nanos, owner) = (file.times.found_nanos, file.kind.owner);
        let (path, target) = file.saved_names();
        Whose {
            source: file.source,
            stream: file.stream,
            stream_name: Arc::clone(self.stream_name(file.stream)),
            path,
            target,
            identity: file.identity,
            origin: known.map_or(file.identity.into(), |known| known.origin),
            seen: known.and_then(|known| known.seen).unwrap_or(Seen {
                first_nanos,
                last_nanos: first_nanos,
                owner,
            }),
        }
    }

    fn attach(&mut self, id: FileId, state: IncarnationState, now: Instant) {
        let incarnation = state.incarnation();
        let file = self.files.known_mut(id);
        (file.task, file.times.attached_at) = (Task::Follow(incarnation), now);
        self.lives.attach(id, state);
        self.saves.note_changed(incarnation, 0, now);
    }

    /// What is to be done first with a file that goes on with an incarnation.
    pub(super) fn task_of(&self, incarnation: Incarnation) -> Task {
        match self.lives.on_its_way(incarnation).to_confirm() {
            Some(_) => Task::Confirm(incarnation),
            None => Task::Follow(incarnation),
        }
    }

    /// Reading goes on where it stopped; the next read says whether it is still the same content.
    fn go_on_with(&mut self, id: FileId, incarnation: Incarnation, now: Instant) {
        let task = self.task_of(incarnation);
        let file = self.files.known_mut(id);
        (file.task, file.times.attached_at) = (task, now);
        let (source, path, identity) = (file.source, Arc::clone(&file.path), file.identity);
        let names = file.saved_names();
        let state = self.lives.reattach(incarnation, id, (source, names, identity));
        let at = state.position();
        self.saves.note_changed(incarnation, 0, now);
        self.report(Report::Following { source, path, at, why: Start::Checkpoint });
        self.queue_read(id);
    }

    /// A file that was closed for want of descriptors is open again.
    fn on_reopened(&mut self, id: FileId, opened: &Opened, now: Instant) {
        let incarnation = self.files.known(id).incarnation().expect("what is opened again was followed");
        if self.lives.on_its_way(incarnation).head().fingerprint().matches(&opened.head) {
            self.queue_read(id);
        } else if self.is_overwritten(id, incarnation, &opened.head) {
            // The bytes before the position say so, too.
            self.queue_read(id);
        } else {
            self.begin_again(id, now);
        }
    }

    /// A file could not be opened: neither for the first time, nor again.
    fn on_not_opened(&mut self, id: FileId, fault: FileFault, now: Instant) {
        let file = self.files.known(id);
        // No survey finds a file again that its source does not match.
        let is_kept = !matches!(file.task, Task::Begin) || file.name == Name::Lost;
        let only_as_copy = file.kind.only_as_copy;
        self.descriptors.release();
        match fault {
            FileFault::NoDescriptor => {
                if let Some(most) = self.descriptors.ran_out(now) {
                    self.report(Report::FewDescriptors { most });
                }
                self.files.had_no_descriptor(id);
            }
            _ if only_as_copy => {
                self.note_unknown_inside(id);
                self.part_unopened(id, now);
            }
            FileFault::Gone => self.seek(id, now),
            FileFault::Unreadable(why) if is_kept => self.on_read_failed(id, why, now),
            FileFault::Unreadable(why) => self.on_refused(id, why, now),
        }
    }

    /// A file that was never read cannot be opened: the next survey finds it again.
    fn on_refused(&mut self, id: FileId, why: String, now: Instant) {
        let file = self.files.known(id);
        let (source, path, identity) = (file.source, Arc::clone(&file.path), file.identity);
        self.part_unopened(id, now);
        self.forget_archive(source, identity);
        self.families.note_refused(source, identity);
        let before = self.unwanted.told.insert((source, Arc::clone(&path)), why.clone());
        if before.as_ref() != Some(&why) {
            self.report(Report::Unreadable { source, path, why });
        }
    }
}
