//! What a rotation cut is joined: the last lines of a file with the first lines of the one that follows it.
//!
//! The end of a file stays unread in it, as anywhere, and is kept as text from the moment when the next file begins until the
//! lines of both say what belongs together. What says something of both files is a record of the first, and has an entry in
//! the ledgers of both.
//!
//! *Invariant (L1):* both ledgers take such a record in with one event, and settle it with one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Chunk, PART_PATIENCE};
use crate::engine::Engine;
use crate::engine::files::State;
use crate::engine::files::file::{FollowedFile, Task};
use crate::engine::port::FileId;
use crate::engine::seams::{Before, FileOfStream, PATIENCE, Tail};
use crate::engine::shaping::{Across, Divided, Shape, Shaped};
use crate::model::identity::Incarnation;
use crate::model::message::ChunkEnd;
use crate::model::offset::Offset;
use crate::model::time::Instant;
use crate::rules::gather::Waits;

/// How far a file is begun that follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// So many bytes belong to what the file before says last; what comes behind them is the file's own.
    Within(usize),
    /// Nothing of it is taken in: what is whole waits for more, until then at most.
    Open(Waits, Instant),
    /// Nothing of it is taken in before the one before is read to its end; the file waits for that.
    Held,
}

impl Engine {
    /// The first lines of a file: what of them belongs to what the file before says last is taken in.
    pub(super) fn begin_behind(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        chunk: &Chunk<'_>,
        now: Instant,
    ) -> Begun {
        let Some((of, before)) = self.families.seams().before(self.file_of_stream(id)) else {
            return Begun::Within(0);
        };
        let fresh = chunk.fresh();
        if memchr::memchr(b'\n', &fresh).is_none() && self.may_join(id, incarnation) {
            return Begun::Within(0);
        }
        match before.clone() {
            _ if !self.may_join(id, incarnation) || fresh[0] == 0 => {}
            Before::Unasked if self.ask_for_end(id, of, now) => return Begun::Held,
            Before::Asked { until } | Before::Reading { until } if now < until => {
                return self.hold_until(id, until);
            }
            Before::Tail { until, tail } => match self.file_at_end(of, &tail) {
                Some(first) => return self.join((first, id), (incarnation, chunk), (&tail, until), now),
                // A read of it is under way, which says what is left.
                None if now < until + PATIENCE => return self.hold_until(id, until + PATIENCE),
                None => {}
            },
            Before::Unasked | Before::Asked { .. } | Before::Reading { .. } | Before::Whole => {}
        }
        self.forget_seam(self.file_of_stream(id));
        Begun::Within(0)
    }

    /// Whether the first lines of a file are to be read that may belong to another.
    fn may_join(&self, id: FileId, incarnation: Incarnation) -> bool {
        let state = self.lives.on_its_way(incarnation);
        self.finishing.is_none()
            && self.joins_lines(self.files.known(id).source)
            && state.position() == Offset::ZERO
            && state.is_fresh_at_end()
    }

    /// The file before is to be read once more to its end. Returns whether that is waited for.
    fn ask_for_end(&mut self, id: FileId, of: FileOfStream, now: Instant) -> bool {
        let before = self.files.of(of.0, of.1);
        let is_read = before.map(|before| {
            let file = self.files.known(before);
            let is_delivered = file.state() == State::Closed && self.is_all_read(file);
            is_delivered || matches!(file.state(), State::Blocked | State::FailsToOpen { .. })
        });
        let is_looked_for = || self.lives.stored_of(of.1, self.stream_name(of.0)).next().is_some();
        match is_read {
            Some(true) => return false,
            None if !is_looked_for() => return false,
            Some(false) | None => {}
        }
        let until = now + PART_PATIENCE;
        let file = self.file_of_stream(id);
        self.families.seams_mut().ask(file, until);
        if let Some(before) = before {
            self.queue_read(before);
        }
        self.hold_until(id, until);
        true
    }

    fn is_all_read(&self, file: &FollowedFile) -> bool {
        let state = file.incarnation().and_then(|incarnation| self.lives.state(incarnation));
        state.is_some_and(|state| state.unread_bytes() == 0)
    }

    fn hold_until(&mut self, id: FileId, until: Instant) -> Begun {
        self.queue_read(id);
        if self.files.known(id).state() == State::Queued {
            self.files.collect(id, until);
        }
        Begun::Held
    }

    /// The file of which something was kept, where that is still what is left of it.
    fn file_at_end(&self, of: FileOfStream, tail: &Tail) -> Option<FileId> {
        let id = self.files.of(of.0, of.1)?;
        let file = self.files.known(id);
        let is_at_end = file.state() == State::AtEnd && file.task == Task::Follow(tail.incarnation);
        (is_at_end && self.lives.on_its_way(tail.incarnation).position() == tail.at).then_some(id)
    }

    /// A read of a file was taken in: if that was its end, and another follows, what says nothing whole there is kept for
    /// that one.
    pub(super) fn keep_end(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        (chunk, taken): (&Chunk<'_>, usize),
        stopped: bool,
    ) {
        let of = self.file_of_stream(id);
        let Some(next) = self.families.seams().follower(of) else { return };
        // What belongs to the file before this one is not handed on.
        if !chunk.at_end() || stopped || self.families.seams().before(of).is_some() {
            return;
        }
        let kept = match self.families.seams().before(next) {
            Some((_, Before::Reading { .. })) => None,
            Some((_, Before::Tail { tail, .. })) => Some(tail.clone()),
            Some((_, Before::Unasked | Before::Asked { .. } | Before::Whole)) | None => return,
        };
        let tail = self.tail(id, incarnation, &chunk.fresh().slice(taken..));
        let bytes = |tail: &Option<Tail>| tail.as_ref().map_or(0, Tail::bytes);
        self.intake.charge(of.0, (bytes(&kept), bytes(&tail)));
        let is_news = kept.is_none() || kept != tail;
        self.families.seams_mut().read_to_end(of, tail);
        let Some(next) = self.files.of(next.0, next.1) else { return };
        if is_news || matches!(self.files.known(next).state(), State::Collecting { .. }) {
            self.read_next_file(next);
        }
    }

    /// What is left at the end of a file, where the next one may go on with it: whole lines, and room for them.
    fn tail(&self, id: FileId, incarnation: Incarnation, left: &Bytes) -> Option<Tail> {
        let (file, state) = (self.files.known(id), self.lives.on_its_way(incarnation));
        let is_whole = left.last() == Some(&b'\n') && state.cut().inside != Some(true);
        let tail = Tail { incarnation, at: state.position(), text: Bytes::copy_from_slice(left) };
        let has_room = || self.intake.room(file.stream, state.buffered()) >= tail.bytes();
        (is_whole && state.is_fresh_at_end() && self.finishing.is_none() && has_room()).then_some(tail)
    }

    fn read_next_file(&mut self, id: FileId) {
        match self.files.known(id).state() {
            State::Collecting { .. } | State::AtEnd => drop(self.files.queue_at_once(id)),
            _ => self.queue_read(id),
        }
    }

    /// Gathers the end of the first file with what was read of the second, and takes in what belongs to both.
    fn join(
        &mut self,
        (first, second): (FileId, FileId),
        (incarnation, chunk): (Incarnation, &Chunk<'_>),
        (tail, until): (&Tail, Instant),
        now: Instant,
    ) -> Begun {
        let fresh = chunk.fresh();
        let whole_end = Offset::ZERO.plus(memchr::memrchr(b'\n', &fresh).map_or(0, |end| end as u64 + 1));
        let is_over = now >= until || self.files.known(second).has_waited(Offset::ZERO, whole_end, now);
        let chunk_end = if is_over { ChunkEnd::Quiet } else { ChunkEnd::Open };
        let across = self.gather_across(first, tail, &fresh, chunk_end, chunk.unix_time);
        let across = match across {
            Across::Open(_) if now >= until => {
                self.gather_across(first, tail, &[], ChunkEnd::Closed, chunk.unix_time)
            }
            across => across,
        };
        let divided = match across {
            Across::Open(waits) => return Begun::Open(waits.unwrap_or(Waits::ForAPart), until),
            Across::Divided(divided) => divided,
        };
        let head_bytes = divided.head_bytes;
        self.take_in_both((first, incarnation), tail, *divided, chunk.unix_time, now);
        self.remove_seam(self.file_of_stream(second));
        Begun::Within(head_bytes)
    }

    fn gather_across(
        &mut self,
        first: FileId,
        tail: &Tail,
        next: &[u8],
        chunk_end: ChunkEnd,
        unix_time: Duration,
    ) -> Across {
        let position = self.lives.on_its_way(tail.incarnation).cut();
        self.with_shape(first, tail.incarnation, unix_time, |shape: &Shape<'_>, counts| {
            shape.apply_across(tail.at, (&tail.text, next), position, chunk_end, counts)
        })
    }

    /// The end of the first file is done with, and so is what it goes on with in the second.
    fn take_in_both(
        &mut self,
        (first, second): (FileId, Incarnation),
        tail: &Tail,
        divided: Divided,
        unix_time: Duration,
        now: Instant,
    ) {
        let Divided { alone, both, left_out, head_bytes, cut } = divided;
        let mut rests = Vec::new();
        if head_bytes > 0 {
            let state = self.lives.on_its_way_mut(second);
            let before = state.buffered();
            rests = state.begin_within(&both, cut);
            let charge = (before, state.buffered());
            let stream = state.stream();
            self.intake.charge(stream, charge);
            self.saves.note_changed(second, 0, now);
            self.saves.keep_together();
        }
        let pieces = alone.into_iter().chain(both.into_iter().map(|both| (both.span, both.piece))).collect();
        let state = self.lives.on_its_way_mut(tail.incarnation);
        let cut = state.cut_at_end();
        let bytes = tail.text.len();
        let shaped = Shaped { pieces, rests, left_out, bytes, ..Shaped::nothing(None, cut) };
        let end = tail.at.plus(bytes as u64);
        let (change, dead) = state.take_in(shaped, tail.text.clone(), (end, false), now);
        self.offer_read(tail.incarnation, change, now);
        self.make_dead_letters(tail.incarnation, dead, unix_time, now);
        self.files.quieten(first, now);
        self.files.known_mut(first).end.note_partial(0, 0, 0);
    }

    fn file_of_stream(&self, id: FileId) -> FileOfStream {
        let file = self.files.known(id);
        (file.stream, file.identity)
    }

    /// The seam before a file is of no interest any more: the one before is cut by itself.
    pub(in crate::engine) fn forget_seam(&mut self, file: FileOfStream) {
        let Some((of, before)) = self.families.seams().before(file) else { return };
        let was_kept = *before != Before::Unasked && *before != Before::Whole;
        self.remove_seam(file);
        if let Some(first) = self.files.of(of.0, of.1).filter(|_| was_kept) {
            self.queue_read(first);
        }
    }

    fn remove_seam(&mut self, file: FileOfStream) {
        if let Some(tail) = self.families.seams_mut().remove(file) {
            self.intake.charge(file.0, (tail.bytes(), 0));
        }
    }

    /// Files that were not read in time, for want of memory or because their lane has enough to send: what was kept for them is
    /// cut by itself.
    pub(super) fn forget_overdue_seams(&mut self, now: Instant) {
        for file in self.families.seams().overdue(now) {
            self.forget_seam(file);
        }
    }

    /// A file is not followed any more: neither what it follows nor what follows it waits for the other.
    pub(in crate::engine) fn forget_seams_of(&mut self, file: FileOfStream) {
        self.families.seams_mut().forget_former_name(file);
        self.forget_seam(file);
        if let Some(next) = self.families.seams().follower(file) {
            self.forget_seam(next);
            if let Some(next) = self.files.of(next.0, next.1) {
                self.read_next_file(next);
            }
        }
    }

    /// A file is about to have another name, where what it says last may go on in the file that has this one next.
    pub(in crate::engine) fn note_former_name(&mut self, id: FileId) {
        let file = self.files.known(id);
        if self.joins_lines(file.source) {
            let (of, name) = (self.file_of_stream(id), Arc::clone(file.real_path()));
            self.families.seams_mut().note_former_name(of, name);
        }
    }

    /// Everything is to be read to its end: nothing waits for another file.
    pub(in crate::engine) fn forget_all_seams(&mut self) {
        for file in self.families.seams().files() {
            self.forget_seam(file);
        }
    }
}

#[cfg(test)]
mod tests;
