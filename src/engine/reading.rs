//! Whose turn it is to be read, and what was read.
//!
//! *Invariant (L6):* a read begins only when the budget admits it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::identity::{Incarnation, Window};
use crate::model::message::ChunkEnd;
use crate::model::offset::Offset;
use crate::model::settings::{Format, OnDrain, Packing};
use crate::model::time::Instant;
use crate::rules::envelope::EnvelopeTemplate;
use crate::rules::gather::Waits;
use crate::rules::history::{Head, History};

use super::Engine;
use super::files::Slot;
use super::files::file::{FollowedFile, Name, Task};
use super::incarnation::IncarnationState;
use super::port::{Effect, FileFault, FileId, Read};
use super::report::{Report, Start};
use super::shaping::{Shape, Shaped, lies_inside, look_back, max_unread_bytes};

/// How much one read asks for unless a line is longer, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// How much one read asks for of a file whose stream has enough, or whose lines become much longer, in bytes: the file
/// gets its turn all the same.
const SMALL_READ_BYTES: usize = 32 * 1024;

/// The shortest read that is worth a system call, in bytes.
const MIN_READ_BYTES: usize = 4 * 1024;

/// How long whole lines wait for the rest of a part before them: a runtime writes it at once.
const PART_PATIENCE: Duration = Duration::from_secs(5);

/// How much of what is incomplete is read again in a second, in bytes: a line of many MiB that grows bit by bit would
/// cost its square.
const AGAIN_BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;

/// How far back from the end of a file its last line end is looked for.
const FIND_END_BYTES: u64 = 1024 * 1024;

/// What came of a queue's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Begun,
    /// Nothing of it is to be read now.
    Idle,
    /// Its files wait for memory.
    Starved,
}

/// What one read brought.
#[derive(Clone, Copy, Debug)]
struct Chunk<'a> {
    read: Read,
    /// From before the position on.
    bytes: &'a Bytes,
    /// How many of them lie before the position.
    before: usize,
    /// The wall clock, which records may tell.
    unix_time: Duration,
    /// How much memory records may take beyond what was read, in bytes.
    max_growth: u64,
    /// Whether the file has more than when the read began.
    again: bool,
}

impl Chunk<'_> {
    fn fresh(&self) -> Bytes {
        self.bytes.slice(self.before..)
    }

    fn at_end(&self) -> bool {
        self.bytes.len() < self.read.len
    }
}

impl Engine {
    /// Asks for the reads whose turn it is, as far as memory and slots allow.
    pub(super) fn read(&mut self, now: Instant) {
        self.files.take_up_deferred(|stream| !self.intake.is_enough(self.streams.waiting_bytes(stream)));
        self.files.take_up_collected(now);
        for id in self.files.have_waited(now) {
            self.queue_read(id);
        }
        self.intake.note_dead_letters(self.saves.unsaved_dead_letter_bytes());
        let mut is_starved = self.files.any_deferred();
        loop {
            let mut has_begun = false;
            for queue in self.files.read_queues() {
                let turn = self.read_next(queue, now);
                has_begun |= turn == Turn::Begun;
                is_starved |= turn == Turn::Starved;
            }
            if !has_begun {
                break;
            }
        }
        self.surveys.set_starved(is_starved);
    }

    /// One read of the queue of a source and a device.
    fn read_next(&mut self, queue: Slot, now: Instant) -> Turn {
        if !self.intake.may_read(queue) {
            return Turn::Idle;
        }
        let mut turn = Turn::Idle;
        for _ in 0..self.files.queued(queue) {
            let Some(id) = self.files.first_to_read(queue) else { break };
            if let Some(delay) = self.collects(id) {
                self.files.collect(id, now + delay);
                continue;
            }
            let (mut read, min_len) = self.next_read(id);
            let file = self.files.known(id);
            let stream = file.stream;
            let compares = matches!(file.task, Task::Comparing { .. });
            let state = file.incarnation().filter(|_| !compares).map(|life| self.lives.on_its_way(life));
            if state.is_some_and(IncarnationState::is_blocked) {
                self.files.block(id);
                continue;
            }
            let is_enough = self.intake.is_enough(self.streams.waiting_bytes(stream));
            if is_enough && state.is_some_and(|state| !state.has_nothing_ready()) {
                self.files.defer(id);
                continue;
            }
            let of_file = state.map_or(0, IncarnationState::buffered);
            if !compares {
                let room = usize::try_from(self.intake.room(stream, of_file)).unwrap_or(usize::MAX);
                if min_len > room {
                    if self.intake.fits_into_file(of_file, min_len as u64) {
                        return Turn::Starved;
                    }
                    self.files.pass_over(id);
                    turn = Turn::Starved;
                    continue;
                }
                // Where little is free, little is read: half of it, for records take more than the bytes they stand for.
                read.len = read.len.min((room / 2).max(min_len));
            }
            let len = read.len as u64;
            let reserved = if compares { len } else { self.intake.reservation(stream, of_file, len) };
            self.files.begin_reading(id, read, reserved, now);
            self.intake.begin(stream, queue, reserved);
            self.effects.push_back(Effect::Read(read));
            return Turn::Begun;
        }
        turn
    }

    /// How long lines, or what makes a line whole, are to be collected in this file before it is read, if that has not
    /// been done.
    fn collects(&self, id: FileId) -> Option<Duration> {
        let file = self.files.known(id);
        let packed = match self.settings.streams[file.stream.0].packing {
            Packing::On { delay, .. } => delay,
            Packing::Off => Duration::ZERO,
        };
        let delay = packed.max(until_read_again(file.end.incomplete_bytes));
        // What is about to go, or may be a copy, does not wait.
        let can_wait = matches!(file.task, Task::Follow(_))
            && file.name == Name::Matched
            && !file.kind.is_new
            && !file.end.collected
            && self.finishing.is_none();
        (can_wait && !delay.is_zero()).then_some(delay)
    }

    /// What is to be read next of a file, and how many bytes of it at least: fewer would bring nothing whole.
    fn next_read(&self, id: FileId) -> (Read, usize) {
        let file = self.files.known(id);
        match file.task {
            Task::Comparing { of, .. } => {
                let read = self.read_to_compare(id, of);
                (read, read.len)
            }
            Task::FindEnd => {
                let at = Offset::new(file.size).minus(FIND_END_BYTES);
                let len = usize::try_from(Offset::new(file.size).since(at)).expect("a mebibyte at most");
                (Read { file: id, at, len }, len)
            }
            Task::Follow(incarnation) => {
                let state = self.lives.on_its_way(incarnation);
                let source = &self.settings.sources[file.source.0];
                let looks = state.cut().inside.is_none();
                let look_back = if looks { look_back(source, state.position()) } else { 0 };
                let before = state.history().overlap().max(look_back);
                // A short line in an envelope takes many times its room.
                let grows = source.format != Format::Raw;
                let is_enough = self.intake.is_enough(self.streams.waiting_bytes(file.stream));
                let fresh = if grows || is_enough { SMALL_READ_BYTES } else { READ_BYTES };
                // A reload may have left less room for a message.
                let least = file.end.min_read_bytes.min(max_unread_bytes(source) + 1);
                let at = state.position().minus(before as u64);
                let read = Read { file: id, at, len: before + fresh.max(least) };
                (read, before + least.max(MIN_READ_BYTES))
            }
            Task::Begin { .. } | Task::Alike { .. } => {
                unreachable!("L11: {id:?} is queued and not to be read: {file:?}")
            }
        }
    }

    pub(super) fn on_bytes(
        &mut self,
        id: FileId,
        result: Result<Bytes, FileFault>,
        unix_time: Duration,
        now: Instant,
    ) {
        let slot = self.files.known(id).state().slot();
        if !self.note_answer(id) {
            self.intake.leave_slot(slot);
        }
        let (read, reserved, again) = self.files.read_ended(id);
        let file = self.files.known_mut(id);
        file.times.read_at = now;
        let stream = file.stream;
        self.intake.release(stream, reserved);
        let task = self.files.known(id).task;
        let bytes = match (result, task) {
            (Ok(bytes), _) => bytes,
            // Nothing can be said of it: it is read for its own sake, or not at all.
            (Err(_), Task::Comparing { own, of }) => return self.on_compared(id, own, of, &[], now),
            (Err(fault), _) => return self.on_read_failed(id, fault.to_string(), now),
        };
        let file = self.files.known_mut(id);
        if file.succeeded() {
            let (source, path) = (file.source, Arc::clone(&file.path));
            self.report(Report::Readable { source, path });
        }
        match task {
            Task::FindEnd => self.on_end_found(id, read, &bytes, now),
            Task::Follow(incarnation) => {
                let position = self.lives.on_its_way(incarnation).position();
                let before = usize::try_from(position.since(read.at)).expect("a window, or a line");
                let max_growth = reserved - read.len as u64;
                let chunk = Chunk { read, bytes: &bytes, before, unix_time, max_growth, again };
                self.on_chunk(id, incarnation, chunk, now);
            }
            Task::Comparing { own, of } => self.on_compared(id, own, of, &bytes, now),
            Task::Begin { .. } | Task::Alike { .. } => {
                unreachable!("L11: {id:?} was read, and was not to be: {task:?}")
            }
        }
        if again {
            self.queue_read(id);
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
            self.report(Report::Unreadable { source, path, why });
        }
    }

    /// The first start of a source that starts at the end: right after the last newline.
    fn on_end_found(&mut self, id: FileId, read: Read, bytes: &Bytes, now: Instant) {
        let keep = memchr::memrchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1);
        let position = read.at.plus(keep as u64);
        let before = bytes.slice(..keep);
        let mut history = History::resumed(position, Window::at_end_of(&before));
        history.recall(before);
        history.settle(position);
        let head = if read.at == Offset::ZERO { Head::of(bytes) } else { Head::default() };
        let incarnation = self.lives.fresh();
        self.begin_life(id, incarnation, history, head, None, now);
        let file = self.files.known(id);
        let (source, path) = (file.source, Arc::clone(&file.path));
        self.report(Report::Following { source, path, at: position, why: Start::End });
        self.queue_read(id);
    }

    fn on_chunk(&mut self, id: FileId, incarnation: Incarnation, chunk: Chunk<'_>, now: Instant) {
        if !self.is_same_content(id, incarnation, &chunk) {
            return self.begin_again(id, now);
        }
        self.recall(id, incarnation, &chunk);
        let state = self.lives.on_its_way(incarnation);
        if state.position() == Offset::ZERO && self.is_held_back(id, incarnation, chunk.bytes, now) {
            return;
        }
        let fresh = chunk.fresh();
        let position = self.lives.on_its_way(incarnation).position();
        let end = position.plus(fresh.len() as u64);
        let shaped = self.shape(id, incarnation, &chunk, (position, end), now);
        let grew = end.bytes() > self.files.known(id).end.read_end_bytes;
        self.files.known_mut(id).end.read_end_bytes = end.bytes();
        let taken = Taken { bytes: shaped.bytes, waits: shaped.waits, stopped: shaped.stopped, grew };
        let kept = fresh.slice(..shaped.bytes);
        let state = self.lives.on_its_way_mut(incarnation);
        let (change, dead) = state.take_in(shaped, kept, (end, chunk.at_end()), now);
        let stream = state.stream();
        self.intake.charge(stream, change.buffered);
        let state = self.lives.on_its_way_mut(incarnation);
        self.streams.offer(state, change.fresh);
        if state.awaits_fingerprint() && !state.has_nothing_ready() {
            self.saves.await_fingerprint(incarnation, now);
        }
        if change.settled > 0 {
            self.saves.note_changed(incarnation, change.settled, now);
        }
        self.make_dead_letters(incarnation, dead, now);
        self.note_end(id, incarnation, &chunk, &taken, end, now);
    }

    /// Whether the bytes before the position are those of last time.
    fn is_same_content(&self, id: FileId, incarnation: Incarnation, chunk: &Chunk<'_>) -> bool {
        let state = self.lives.on_its_way(incarnation);
        let (bytes, before, overlap) = (chunk.bytes, chunk.before, state.history().overlap());
        if bytes.len() < before || !state.history().continues(&bytes[before - overlap..before]) {
            return false;
        }
        // At the beginning no window says so, but the lines that this incarnation named may have been others.
        let names = self.settings.sources[self.files.known(id).source.0].format != Format::Raw;
        !names || state.position() != Offset::ZERO || state.head().fingerprint().matches(bytes)
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

    /// Cuts what was read into records.
    fn shape(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        chunk: &Chunk<'_>,
        (position, end): (Offset, Offset),
        now: Instant,
    ) -> Shaped {
        let file = self.files.known(id);
        let source = &self.settings.sources[file.source.0];
        let packing = self.settings.streams[file.stream.0].packing;
        let chunk_end = match chunk.at_end() {
            true if self.ships_last_line(file) => ChunkEnd::Closed,
            true if self.finishing.is_some() || file.has_waited(position, end, now) => ChunkEnd::Quiet,
            true | false => ChunkEnd::Open,
        };
        let state = self.lives.on_its_way_mut(incarnation);
        let template = match &source.format {
            Format::Raw => None,
            Format::Json(envelope) => {
                state.names_itself();
                let whose = (state.whose().origin, incarnation);
                let unix_time = chunk.unix_time;
                Some(EnvelopeTemplate::new(envelope, &source.name, &file.path, whose, unix_time))
            }
        };
        let counts = &mut self.counts.sources[file.source.0];
        let truncated = counts.oversize.truncated;
        let shape = Shape::of(source, packing, template);
        let shaped =
            shape.apply(position, &chunk.fresh(), state.cut(), (chunk_end, chunk.max_growth), counts);
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
        end: Offset,
        now: Instant,
    ) {
        let is_finishing = self.finishing.is_some();
        let position = self.lives.on_its_way(incarnation).position();
        let at_end = chunk.at_end() && !taken.stopped;
        let file = self.files.known_mut(id);
        let source = &self.settings.sources[file.source.0];
        if taken.bytes > 0 || taken.grew {
            file.times.quiet_since = now;
        }
        let fresh = chunk.bytes.len() - chunk.before;
        file.end.collected &= !at_end;
        file.end.incomplete_bytes = if at_end { fresh - taken.bytes } else { 0 };
        file.end.min_read_bytes = match taken.bytes {
            // A message that is longer than what was read: the next read asks for more, up to what must yield one.
            0 if !at_end => {
                let asked = (chunk.read.len - chunk.before) * 4;
                asked.min(max_unread_bytes(source) + 1)
            }
            // One read finds again what is there, and what came.
            _ if file.end.incomplete_bytes > READ_BYTES => {
                (file.end.incomplete_bytes + READ_BYTES).min(max_unread_bytes(source) + 1)
            }
            _ => 0,
        };
        if at_end && let Some(what) = taken.waits {
            let patience = match (what, &source.multiline) {
                (Waits::ForMore, Some(multiline)) => multiline.timeout,
                _ => PART_PATIENCE,
            };
            if let Some(due) = file.wait(what, (position, end), now + patience) {
                self.files.wait_for_more(id, due);
            }
        }
        if !at_end {
            self.queue_read(id);
        } else if !chunk.again {
            self.files.known_mut(id).end.finished |= is_finishing;
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
    stopped: bool,
    /// Whether the read reached further than any before.
    grew: bool,
}

/// How long what is incomplete waits before it is read again. What one read takes anyway does not.
fn until_read_again(incomplete_bytes: usize) -> Duration {
    if incomplete_bytes <= READ_BYTES {
        return Duration::ZERO;
    }
    Duration::from_micros(incomplete_bytes as u64 * 1_000_000 / AGAIN_BYTES_PER_SECOND)
}
