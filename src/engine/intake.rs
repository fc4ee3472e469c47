//! From reads to records: whose turn it is to be read, and what was read.
//!
//! The one backpressure is here: a read is asked for only while the bytes that are read and not settled are under
//! the memory budget; what waits, waits in the files.
//!
//! *Invariant (L6):* buffered + reserved ≤ budget when a read is asked for.

use std::time::Duration;

use bytes::Bytes;

use crate::model::identity::Incarnation;
use crate::model::message::ChunkEnd;
use crate::model::offset::Offset;
use crate::model::settings::{Format, Packing};
use crate::model::time::Instant;
use crate::rules::envelope::EnvelopeTemplate;
use crate::rules::gather::Waits;
use crate::rules::history::{Head, History};

use super::Engine;
use super::life::Life;
use super::port::{Effect, FileFault, FileId, Read};
use super::report::{Report, Start};
use super::shape::{Shape, lies_inside, look_back, max_unread_bytes};
use super::tail::{Descriptor, Name, Phase, READ_BYTES, Turn};

/// Reads under way at once: enough to hide one slow file behind others.
const READS_AT_ONCE: usize = 4;

/// With this part of the memory budget waiting in it, a stream has enough to send for a while. Reading further ahead
/// would cost memory and buy nothing.
const ENOUGH_OF_BUFFER: u64 = 16;

/// What is read at once of a file whose stream has enough, or whose lines become much longer, in bytes: it gets its
/// turn all the same.
const SMALL_READ_BYTES: usize = 32 * 1024;

/// How long whole lines wait for the rest of a part before them: a runtime writes it at once.
const PART_PATIENCE: Duration = Duration::from_secs(5);

/// How much of what is incomplete is read again in a second, in bytes: a line of many MiB that grows bit by bit would
/// cost its square.
const AGAIN_BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;

/// How far back from the end of a file its last line end is looked for.
const FIND_END_BYTES: u64 = 1024 * 1024;

impl Engine {
    /// There may be bytes that were not read: the tail waits for its turn.
    pub(super) fn wake(&mut self, id: FileId) {
        let Some(tail) = self.tails.get_mut(&id) else {
            return;
        };
        tail.dirty = true;
        if tail.descriptor != Descriptor::Open {
            // Of a file that is looked for, the path is not its path.
            if tail.name == Name::Matched {
                self.await_descriptor(id);
            }
            return;
        }
        let opening = matches!(tail.phase, Phase::Opening { .. });
        let has_turn = match tail.turn {
            Turn::None => false,
            Turn::Queued => true,
            Turn::Collecting => self.finishing.is_none(),
            // Behind a backlog it waits; a few lines of a file of which all others were sent do not.
            Turn::Deferred => tail.incarnation().is_some_and(|life| !self.lives[&life].ready.is_empty()),
        };
        if !opening && tail.reading.is_none() && !has_turn {
            tail.turn = Turn::Queued;
            match tail.phase {
                // Costs no memory, and what is looked for may be gone soon.
                Phase::Comparing { .. } => self.read_turns.push_front(id),
                _ => self.read_turns.push_back(id),
            }
        }
    }

    /// Asks for the reads whose turn it is, as far as memory allows.
    pub(super) fn read(&mut self, now: Instant) {
        let mut passed_over = Vec::new();
        self.surveys.starved = false;
        self.take_up_deferred();
        self.take_up_collected(now);
        self.take_up_waiting(now);
        while self.reads_under_way < READS_AT_ONCE
            && let Some(id) = self.read_turns.pop_front()
        {
            if let Some(delay) = self.collects(id) {
                self.collecting.insert((now + delay, id));
                self.tails.get_mut(&id).expect("a tail in turn is open").turn = Turn::Collecting;
                continue;
            }
            let Some(read) = self.next_read(id) else {
                if let Some(tail) = self.tails.get_mut(&id) {
                    tail.turn = Turn::None;
                }
                continue;
            };
            let len = read.len as u64;
            let compares = matches!(self.tails[&id].phase, Phase::Comparing { .. });
            let life = self.tails[&id].incarnation().filter(|_| !compares).map(|life| &self.lives[&life]);
            if life.is_some_and(|life| life.stuck > 0) {
                passed_over.push(id);
                continue;
            }
            if let Some(life) = life.filter(|life| !life.ready.is_empty() && self.has_enough(life)) {
                self.deferred.entry(life.stream).or_default().push(id);
                self.tails.get_mut(&id).expect("a tail in turn is open").turn = Turn::Deferred;
                continue;
            }
            let life = life.map(Life::buffered);
            let taken = self.buffered + self.unsaved_dead_letter_bytes + self.reserved;
            if !compares && taken + len > self.settings.memory.buffer {
                self.read_turns.push_front(id);
                self.surveys.starved = true;
                break;
            }
            if life.unwrap_or(0) + len > self.settings.memory.buffer_per_file {
                self.surveys.starved = true;
                passed_over.push(id);
                continue;
            }
            let tail = self.tails.get_mut(&id).expect("a tail in turn is open");
            tail.turn = Turn::None;
            tail.dirty = false;
            tail.reading = Some(read);
            self.reads_under_way += 1;
            self.reserved += len;
            self.effects.push_back(Effect::Read(read));
        }
        self.read_turns.extend(passed_over);
        self.surveys.starved |= self.deferred.values().any(|deferred| !deferred.is_empty());
    }

    /// Gives those a turn whose stream has not enough any more.
    fn take_up_deferred(&mut self) {
        let enough = self.settings.memory.buffer / ENOUGH_OF_BUFFER;
        let hungry =
            self.deferred.extract_if(.., |stream, _| self.streams[stream.0].waiting_bytes() < enough);
        for id in hungry.flat_map(|(_, deferred)| deferred) {
            if let Some(tail) = self.tails.get_mut(&id).filter(|tail| tail.turn == Turn::Deferred) {
                tail.turn = Turn::Queued;
                self.read_turns.push_back(id);
            }
        }
    }

    /// How long lines, or what makes a line whole, are to be collected in this file before it is read, if that has not
    /// been done.
    fn collects(&self, id: FileId) -> Option<Duration> {
        let tail = self.tails.get(&id)?;
        let stream = self.settings.sources[tail.source.0].stream;
        let packed = match self.settings.streams[stream.0].packing {
            Packing::On { delay, .. } => delay,
            Packing::Off => Duration::ZERO,
        };
        let delay = packed.max(until_read_again(tail.incomplete_bytes));
        // What is about to go, or may be a copy, does not wait.
        let can_wait = matches!(tail.phase, Phase::Following(_))
            && tail.name == Name::Matched
            && !tail.is_new
            && !tail.collected
            && self.finishing.is_none();
        (can_wait && !delay.is_zero()).then_some(delay)
    }

    /// Gives those a turn whose lines were collected.
    fn take_up_collected(&mut self, now: Instant) {
        while let Some((due, id)) = self.collecting.first().copied()
            && due <= now
        {
            self.collecting.pop_first();
            if let Some(tail) = self.tails.get_mut(&id).filter(|tail| tail.turn == Turn::Collecting) {
                tail.turn = Turn::Queued;
                tail.collected = true;
                self.read_turns.push_back(id);
            }
        }
    }

    /// Lines have waited long enough for those that may belong to them.
    fn take_up_waiting(&mut self, now: Instant) {
        while let Some((due, id)) = self.waiting.first().copied()
            && due <= now
        {
            self.waiting.pop_first();
            if self.tails.get(&id).is_some_and(|tail| tail.waits_until(due)) {
                self.wake(id);
            }
        }
    }

    /// Whether the life's stream has more to send than it can soon.
    fn has_enough(&self, life: &Life) -> bool {
        self.streams[life.stream.0].waiting_bytes() >= self.settings.memory.buffer / ENOUGH_OF_BUFFER
    }

    fn next_read(&self, id: FileId) -> Option<Read> {
        let tail = self.tails.get(&id)?;
        Some(match tail.phase {
            Phase::Opening { .. } | Phase::Alike { .. } => return None,
            Phase::Comparing { of, .. } => self.read_to_compare(id, of),
            Phase::FindingEnd => {
                let at = Offset::new(tail.size).minus(FIND_END_BYTES);
                let len = usize::try_from(Offset::new(tail.size).since(at)).expect("a mebibyte at most");
                Read { tail: id, at, len }
            }
            Phase::Following(incarnation) => {
                let life = &self.lives[&incarnation];
                let source = &self.settings.sources[tail.source.0];
                let look_back = if life.inside.is_none() { look_back(source, life.position()) } else { 0 };
                let before = life.history.overlap().max(look_back);
                // A short line in an envelope takes many times its room.
                let grows = source.format != Format::Raw;
                let fresh = if grows || self.has_enough(life) { SMALL_READ_BYTES } else { READ_BYTES };
                Read {
                    tail: id,
                    at: life.history.position().minus(before as u64),
                    // A reload may have left less room for a message.
                    len: before + fresh.max(tail.at_least_bytes.min(max_unread_bytes(source) + 1)),
                }
            }
        })
    }

    pub(super) fn on_bytes(
        &mut self,
        id: FileId,
        result: Result<Bytes, FileFault>,
        unix_time: Duration,
        now: Instant,
    ) {
        let tail = self.tails.get_mut(&id).expect("a tail is kept while it is read");
        let read = tail.reading.take().expect("bytes come for a read");
        self.reads_under_way -= 1;
        self.reserved -= read.len as u64;
        tail.read_at = now;
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(fault) => {
                return match tail.phase {
                    // Nothing can be said of it: it is read for its own sake, or not at all.
                    Phase::Comparing { own, of } => self.on_compared(id, own, of, &[], now),
                    _ => self.on_read_failed(id, fault, now),
                };
            }
        };
        if tail.succeeded() {
            let (source, path) = (tail.source, tail.path.clone());
            self.report(Report::Readable { source, path });
        }
        match self.tails[&id].phase {
            Phase::Opening { .. } => unreachable!("a file is read after it was opened"),
            Phase::FindingEnd => self.on_end_found(id, read, &bytes, now),
            Phase::Following(incarnation) => {
                self.on_chunk(id, incarnation, read, (&bytes, unix_time), now);
            }
            Phase::Alike { .. } => self.wake(id),
            Phase::Comparing { own, of } => self.on_compared(id, own, of, &bytes, now),
        }
    }

    pub(super) fn on_read_failed(&mut self, id: FileId, fault: FileFault, now: Instant) {
        let finishing = self.finishing.is_some();
        let tail = self.tails.get_mut(&id).expect("a tail is kept while it is read");
        // The next try comes from looking after tails with a retry, not from the turn.
        tail.dirty = false;
        tail.finished |= finishing;
        self.needs_tick = true;
        if tail.failed(now) {
            let (source, path) = (tail.source, tail.path.clone());
            self.report(Report::Unreadable { source, path, why: fault.to_string() });
        }
    }

    /// The first start of a source that starts at the end: right after the last newline.
    fn on_end_found(&mut self, id: FileId, read: Read, bytes: &Bytes, now: Instant) {
        let keep = memchr::memrchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1);
        let position = read.at.plus(keep as u64);
        let before = bytes.slice(..keep);
        let mut history = History::resumed(position, crate::model::identity::Window::at_end_of(&before));
        history.recall(before);
        history.settle(position);
        let head = if read.at == Offset::ZERO { Head::of(bytes) } else { Head::default() };
        let incarnation = self.fresh_incarnation();
        self.begin_life(id, incarnation, history, head, None);
        let tail = &self.tails[&id];
        let (source, path) = (tail.source, tail.path.clone());
        self.report(Report::Following { source, path, at: position, why: Start::End });
        self.pace.changed(0, now);
        self.wake(id);
    }

    fn on_chunk(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        read: Read,
        (bytes, unix_time): (&Bytes, Duration),
        now: Instant,
    ) {
        let life = self.lives.get_mut(&incarnation).expect("a followed life is kept");
        let before = usize::try_from(life.position().since(read.at)).expect("a window, or a line");
        let overlap = life.history.overlap();
        if bytes.len() < before || !life.history.continues(&bytes[before - overlap..before]) {
            return self.begin_again(id, now);
        }
        let names = self.settings.sources[life.source.0].format != Format::Raw;
        if names && life.position() == Offset::ZERO && !life.head.fingerprint().matches(bytes) {
            // No window says so, but the lines that this incarnation named may have been others.
            return self.begin_again(id, now);
        }
        life.history.recall(bytes.slice(before - overlap..before));
        if life.inside.is_none() {
            let source = &self.settings.sources[life.source.0];
            let looked_at = look_back(source, life.position());
            life.inside = Some(lies_inside(source, &bytes[before - looked_at..], looked_at));
        }
        if life.position() == Offset::ZERO && self.is_held_back(id, incarnation, bytes, now) {
            return;
        }
        let fresh = bytes.slice(before..);
        let at_end = bytes.len() < read.len;

        let tail = &self.tails[&id];
        let source = &self.settings.sources[tail.source.0];
        let packing = self.settings.streams[source.stream.0].packing;
        let position = self.lives[&incarnation].position();
        let end = position.plus(fresh.len() as u64);
        let chunk_end = match at_end {
            true if self.ships_last_line(tail) => ChunkEnd::Closed,
            true if self.finishing.is_some() || tail.has_waited(position, end, now) => ChunkEnd::Quiet,
            true | false => ChunkEnd::Open,
        };
        let counts = &mut self.counts.sources[tail.source.0];
        let life = self.lives.get_mut(&incarnation).expect("a followed life is kept");
        let (buffered, ready, frontier) = (life.buffered(), life.ready.len(), life.ledger.frontier());
        let whose = (life.origin, incarnation);
        let sleeve = match &source.format {
            Format::Raw => None,
            Format::Json(envelope) => {
                Some(EnvelopeTemplate::new(envelope, &source.name, &tail.path, whose, unix_time))
            }
        };
        life.is_named |= sleeve.is_some();
        let shape = Shape::of(source, packing, sleeve);
        let truncated = counts.oversize.truncated;
        let taken = life.take_in(&fresh, &shape, chunk_end, counts);
        let truncated = counts.oversize.truncated - truncated;
        let reached_end = at_end;
        let at_end = at_end && !taken.stopped;
        life.seen_bytes = if reached_end { end.bytes() } else { life.seen_bytes.max(end.bytes()) };
        life.read.note(life.position(), now);
        life.seen.note(end, now);
        let life_position = life.position();
        if at_end {
            life.seen.cut(life.position());
        }
        life.let_go();
        self.buffered = self.buffered + life.buffered() - buffered;
        self.streams[life.stream.0].offer(life, life.ready.len() - ready);
        if life.awaits_save() && !life.ready.is_empty() {
            self.unnamed.insert(incarnation);
            self.changed.insert(incarnation);
        }
        let settled = life.ledger.frontier().since(frontier);
        if settled > 0 {
            self.changed.insert(incarnation);
            self.pace.changed(settled, now);
        }

        let add_dead_letter = std::mem::take(&mut life.aside);
        self.make_dead_letters(incarnation, add_dead_letter, now);

        let finishing = self.finishing.is_some();
        let tail = self.tails.get_mut(&id).expect("a tail is kept while it is read");
        if taken.bytes > 0 {
            tail.quiet_since = now;
        }
        tail.collected &= !at_end;
        tail.incomplete_bytes = if at_end { fresh.len() - taken.bytes } else { 0 };
        let source = &self.settings.sources[tail.source.0];
        tail.at_least_bytes = match taken.bytes {
            // A message that is longer than what was read: the next read asks for more, up to what must yield one.
            0 if !at_end => ((read.len - before) * 4).clamp(READ_BYTES, max_unread_bytes(source) + 1),
            // One read finds again what is there, and what came.
            _ if tail.incomplete_bytes > READ_BYTES => {
                (tail.incomplete_bytes + READ_BYTES).min(max_unread_bytes(source) + 1)
            }
            _ => 0,
        };
        if at_end && let Some(what) = taken.waits {
            let patience = match (what, &source.multiline) {
                (Waits::ForMore, Some(multiline)) => multiline.timeout,
                _ => PART_PATIENCE,
            };
            if let Some(due) = tail.wait(what, (life_position, end), now + patience) {
                self.waiting.insert((due, id));
            }
        }
        if truncated > 0 {
            let (source, path) = (tail.source, tail.path.clone());
            self.report(Report::Shortened { source, path, messages: truncated });
        }
        let tail = self.tails.get_mut(&id).expect("a tail is kept while it is read");
        if !at_end || tail.dirty {
            self.wake(id);
        } else {
            tail.finished |= finishing;
        }
    }
}

/// How long what is incomplete waits before it is read again. What one read takes anyway does not.
fn until_read_again(incomplete_bytes: usize) -> Duration {
    if incomplete_bytes <= READ_BYTES {
        return Duration::ZERO;
    }
    Duration::from_micros(incomplete_bytes as u64 * 1_000_000 / AGAIN_BYTES_PER_SECOND)
}
