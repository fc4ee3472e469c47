//! Whose turn it is to be read, and what was read.
//!
//! *Invariant (L6):* a read begins only when the budget admits it.

mod at_the_end;
mod joining;
mod overwritten;
mod rewritten;
#[cfg(test)]
mod tests;
mod turns;

use self::joining::Begun;
pub(super) use self::turns::fresh_bytes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::identity::Incarnation;
use crate::model::message::ChunkEnd;
use crate::model::offset::Offset;
use crate::model::settings::{Format, OnDrain};
use crate::model::time::Instant;
use crate::rules::envelope::EnvelopeTemplate;
use crate::rules::gather::Waits;

use super::Engine;
use super::files::file::{FollowedFile, Task};
use super::incarnation::Change;
use super::port::{FileFault, FileId, Read};
use super::report::{Report, SourceCounts};
use super::shaping::{Shape, Shaped, lies_inside, look_back, max_unread_bytes};

/// How much one read asks for unless a line is longer, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// How long whole lines wait for the rest of a part before them: a runtime writes it at once.
const PART_PATIENCE: Duration = Duration::from_secs(5);

/// What one read brought.
#[derive(Clone, Copy, Debug)]
struct Chunk<'a> {
    read: Read,
    /// From before the position on, as far as a drain takes it in.
    bytes: &'a Bytes,
    /// How many bytes the read brought, those behind the end of a drain among them.
    brought: usize,
    /// How many of them lie before the position.
    before: usize,
    /// The wall clock, which records may tell.
    unix_time: Duration,
    /// When the file was written last, if the read reached its end.
    modified: Option<Duration>,
    /// How much room was found behind what was brought, up to the end of the file, in bytes.
    room: u64,
    /// How much memory records may take beyond what was read, in bytes.
    max_growth: u64,
    /// Whether the read is to be taken for the last of the file: a drain ends in it.
    is_last: bool,
    /// Whether the file begins as before.
    begins: bool,
}

impl Chunk<'_> {
    fn fresh(&self) -> Bytes {
        self.bytes.slice(self.before..)
    }

    fn at_end(&self) -> bool {
        self.is_last || self.reached_end()
    }

    /// How far the room reaches that was found behind the content, if there was any.
    fn room_end(&self) -> Option<u64> {
        (self.room > 0).then(|| self.read.at.bytes() + self.brought as u64 + self.room)
    }

    /// Whether the read reached the end of the file.
    fn reached_end(&self) -> bool {
        self.brought < self.read.len
    }
}

impl Engine {
    /// A read is over, whatever came of it: its slot and what was reserved for it are free. Returns what was to be read, how many
    /// bytes were reserved for it, and whether the file is to be read again.
    pub(super) fn end_read(&mut self, id: FileId, now: Instant) -> (Read, u64, bool) {
        let slot = self.files.known(id).state().slot();
        if !self.note_answer(id) {
            self.intake.leave_slot(slot);
        }
        let (read, reserved, again) = self.files.read_ended(id);
        let file = self.files.known_mut(id);
        file.times.read_at = now;
        let stream = file.stream;
        self.intake.release(stream, reserved);
        (read, reserved, again)
    }

    pub(super) fn on_bytes(
        &mut self,
        id: FileId,
        result: Result<Bytes, FileFault>,
        (unix_time, modified, room, begins): (Duration, Option<Duration>, u64, bool),
        now: Instant,
    ) {
        let (read, reserved, again) = self.end_read(id, now);
        let task = self.files.known(id).task;
        let bytes = match (result, task) {
            (Ok(bytes), _) => bytes,
            // Nothing can be said of it: it is read for its own sake, or not at all.
            (Err(_), Task::Comparing { own, of }) => {
                return self.on_compared(id, (own, of), read, &Bytes::new(), now);
            }
            (Err(fault), _) => return self.on_read_failed(id, fault.to_string(), now),
        };
        let file = self.files.known_mut(id);
        if file.succeeded() {
            let (source, path) = (file.source, Arc::clone(&file.path));
            self.unwanted.told.remove(&(source, Arc::clone(&path)));
            self.report(Report::Readable { source, path });
        }
        match task {
            Task::FindEnd { incarnation, .. } => self.on_end_found(id, incarnation, read, &bytes, now),
            Task::Follow(incarnation) => {
                let state = self.lives.on_its_way(incarnation);
                let (position, seen) = (state.position(), state.whose().seen);
                let before = usize::try_from(position.since(read.at)).expect("a window, or a line");
                let max_growth = reserved - read.len as u64;
                let end = self.end_of_drain(id, read, before, &bytes);
                let (brought, is_last) = (bytes.len(), end.is_some());
                let bytes = &bytes.slice(..end.unwrap_or(brought));
                let chunk = Chunk {
                    read,
                    bytes,
                    brought,
                    before,
                    unix_time,
                    modified,
                    room,
                    max_growth,
                    is_last,
                    begins,
                };
                self.on_chunk(id, incarnation, chunk, now);
                self.note_modified(id, (incarnation, seen), modified, now);
            }
            Task::Recheck(incarnation) => self.on_rechecked(id, incarnation, read, &bytes, now),
            Task::Confirm(incarnation) => self.on_confirmed(id, incarnation, &bytes, now),
            Task::Comparing { own, of } => self.on_compared(id, (own, of), read, &bytes, now),
            Task::Begin | Task::Alike { .. } => {
                unreachable!("L11: {id:?} was read, and was not to be: {task:?}")
            }
        }
        if again {
            self.queue_read(id);
            self.recall_look(id, now);
        }
    }

    /// A file could not be read, or not be opened again.
    pub(super) fn on_read_failed(&mut self, id: FileId, why: String, now: Instant) {
        let is_finishing = self.finishing.is_some();
        // A descriptor that went bad (a network file system lost its file) stays so: a file with a name is opened anew.
        if self.files.goes_on_failing(id) {
            self.close_descriptor(id);
        }
        let is_news = self.files.failed(id, now);
        let file = self.files.known_mut(id);
        file.end.finished |= is_finishing;
        if is_news {
            let (source, path) = (file.source, Arc::clone(&file.path));
            self.unwanted.told.insert((source, Arc::clone(&path)), why.clone());
            self.surveys.want(source);
            self.report(Report::Unreadable { source, path, why });
        }
    }

    fn on_chunk(&mut self, id: FileId, incarnation: Incarnation, chunk: Chunk<'_>, now: Instant) {
        if !self.is_same_content(id, incarnation, &chunk) || self.was_emptied(id, incarnation, &chunk) {
            return self.on_other_content(id, incarnation, &chunk, now);
        }
        if self.waited_unread(id, incarnation, &chunk) {
            let seen = self.lives.on_its_way(incarnation).whose().seen;
            self.seek_unseen(id, Some(seen), now);
        }
        self.recall(id, incarnation, &chunk);
        self.lives.on_its_way_mut(incarnation).note_read_at(chunk.unix_time);
        let state = self.lives.on_its_way(incarnation);
        // When the file was opened there may have been nothing in it.
        if state.position() == Offset::ZERO && self.refuse_compressed(id, chunk.bytes, now) {
            return;
        }
        let state = self.lives.on_its_way(incarnation);
        if state.position() == Offset::ZERO && self.is_held_back(id, incarnation, chunk.bytes, now) {
            return;
        }
        let fresh = chunk.fresh();
        let position = self.lives.on_its_way(incarnation).position();
        let end = position.plus(fresh.len() as u64);
        // What has no newline yet, such as a progress bar, makes no whole lines before it wait longer.
        let whole_end = position.plus(memchr::memrchr(b'\n', &fresh).map_or(0, |end| end as u64 + 1));
        let grew = self.files.known_mut(id).end.extent.read_up_to(end.bytes(), chunk.room_end());
        let (within, shaped, until) = match self.begin_behind(id, incarnation, &chunk, now) {
            Begun::Held => return self.note_first_bytes(id, incarnation, chunk.bytes),
            Begun::Open(waits, until) => {
                let cut = self.lives.on_its_way(incarnation).cut();
                (0, Shaped::nothing(Some(waits), cut), Some(until))
            }
            Begun::Within(within) => {
                let chunk = Chunk { before: chunk.before + within, ..chunk };
                let begins = position.plus(within as u64);
                (within, self.shape(id, incarnation, &chunk, (begins, whole_end), now), None)
            }
        };
        let (bytes, waits, stopped) = (within + shaped.bytes, shaped.waits, shaped.stopped);
        let taken = Taken { bytes, waits, until, stopped, grew };
        let kept = fresh.slice(..bytes);
        let state = self.lives.on_its_way_mut(incarnation);
        let (change, dead) = state.take_in(shaped, kept, (end, chunk.at_end()), now);
        self.offer_read(incarnation, change, now);
        self.make_dead_letters(incarnation, dead, chunk.unix_time, now);
        self.note_end(id, incarnation, &chunk, &taken, whole_end, now);
        self.note_first_bytes(id, incarnation, chunk.bytes);
        self.keep_end(id, incarnation, (&chunk, bytes), stopped);
    }

    /// What was read of a file was taken in: what of it is to be sent goes its way, and what changed is to be durable.
    fn offer_read(&mut self, incarnation: Incarnation, change: Change, now: Instant) {
        let state = self.lives.on_its_way_mut(incarnation);
        self.intake.charge(state.stream(), change.buffered);
        self.streams.offer(state, change.fresh);
        self.streams.note_fresh(state, now);
        if state.awaits_fingerprint() && !state.has_nothing_ready() {
            self.saves.await_fingerprint(incarnation, now);
        }
        if change.settled > 0 {
            self.saves.note_changed(incarnation, change.settled, now);
        }
        self.note_extent(incarnation, now);
    }

    /// The bytes before the position are the ones of last time: what they tell is kept.
    fn recall(&mut self, id: FileId, incarnation: Incarnation, chunk: &Chunk<'_>) {
        let source = &self.settings.sources[self.files.known(id).source.0];
        let state = self.lives.on_its_way_mut(incarnation);
        let overlap = state.history().overlap();
        state.recall(chunk.bytes.slice(chunk.before - overlap..chunk.before));
        if state.cut().inside.is_none() {
            let looked_at = look_back(source, state.position());
            state.note_inside(lies_inside(source, &chunk.bytes[chunk.before - looked_at..], looked_at));
        }
    }

    /// Cuts what was read into records; `whole_end` is where the last whole line ends.
    fn shape(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        chunk: &Chunk<'_>,
        (position, whole_end): (Offset, Offset),
        now: Instant,
    ) -> Shaped {
        let file = self.files.known(id);
        let chunk_end = match chunk.at_end() {
            true if self.families.seams().keeps((file.stream, file.identity), now) => ChunkEnd::Open,
            true if self.ships_last_line(file) => ChunkEnd::Closed,
            true if self.finishing.is_some() || file.has_waited(position, whole_end, now) => ChunkEnd::Quiet,
            true | false => ChunkEnd::Open,
        };
        let cut = self.lives.on_its_way(incarnation).cut();
        self.with_shape(id, incarnation, chunk.unix_time, |shape, counts| {
            shape.apply(position, &chunk.fresh(), cut, (chunk_end, chunk.max_growth), counts)
        })
    }

    /// What comes of lines of a file by the shape that its source wants.
    fn with_shape<T>(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        unix_time: Duration,
        apply: impl FnOnce(&Shape<'_>, &mut SourceCounts) -> T,
    ) -> T {
        let file = self.files.known(id);
        let source = &self.settings.sources[file.source.0];
        let packing = self.settings.streams[file.stream.0].packing_within_quota();
        let state = self.lives.on_its_way_mut(incarnation);
        let settled = state.settled_earlier();
        let template = match &source.format {
            Format::Raw => None,
            Format::Json(envelope) => {
                state.names_itself();
                let whose = (state.whose().origin, incarnation);
                let files = (&*file.path, file.target.as_deref());
                Some(EnvelopeTemplate::new(envelope, &source.name, files, whose, unix_time))
            }
        };
        let counts = &mut self.counts.sources[file.source.0];
        let truncated = counts.oversize.truncated;
        let shape = Shape::of(source, packing, template, &settled);
        let shaped = apply(&shape, counts);
        let messages = counts.oversize.truncated - truncated;
        if messages > 0 {
            let (source, path) = (file.source, Arc::clone(&file.path));
            self.report(Report::Shortened { source, path, messages });
        }
        shaped
    }

    /// What a read said of the end of its file.
    fn note_end(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        chunk: &Chunk<'_>,
        taken: &Taken,
        whole_end: Offset,
        now: Instant,
    ) {
        let position = self.lives.on_its_way(incarnation).position();
        let at_end = chunk.at_end() && !taken.stopped;
        if taken.bytes > 0 || taken.grew {
            self.files.quieten(id, now);
        }
        let file = self.files.known_mut(id);
        let source = &self.settings.sources[file.source.0];
        let fresh = chunk.bytes.len() - chunk.before;
        if let Some(modified) = chunk.modified {
            file.end.extent.read_to_end(modified);
        }
        file.end.collected &= !at_end;
        let incomplete = if at_end { fresh - taken.bytes } else { 0 };
        let barren = if taken.bytes == 0 { fresh } else { incomplete };
        let asked = match taken.bytes {
            // A message that is longer than what was read: the next read asks for more, up to what must yield one.
            0 if !at_end => {
                let asked = (chunk.read.len - chunk.before) * 4;
                asked.min(max_unread_bytes(source) + 1)
            }
            // One read finds again what is there, and what came.
            _ if incomplete > READ_BYTES => (incomplete + READ_BYTES).min(max_unread_bytes(source) + 1),
            _ => 0,
        };
        file.end.note_partial(incomplete, barren, asked);
        if at_end && let Some(what) = taken.waits {
            let patience = match (what, &source.multiline) {
                (Waits::ForMore, Some(multiline)) => multiline.timeout,
                _ => PART_PATIENCE,
            };
            let due = taken.until.map_or(now + patience, |until| until.min(now + patience));
            if let Some(due) = file.wait(what, (position, whole_end), due) {
                self.files.wait_for_more(id, due);
            }
        }
        let file = self.files.known_mut(id);
        if at_end {
            file.end.finished |= file.end.began_finishing;
        } else {
            self.queue_read(id);
        }
    }

    /// Whether a last line without newline in this file is shipped at its end.
    fn ships_last_line(&self, file: &FollowedFile) -> bool {
        self.finishing == Some(OnDrain::ShipPartialLines) || file.end.ships_last_line
    }
}

/// How much of a chunk belongs to messages that are complete, and what the rest waits for.
#[derive(Clone, Copy, Debug)]
struct Taken {
    bytes: usize,
    waits: Option<Waits>,
    /// How long they wait at most.
    until: Option<Instant>,
    stopped: bool,
    /// Whether the read reached further than any before.
    grew: bool,
}
