//! Whose turn it is to be read, and how much.
//!
//! *Invariant (L6):* a read begins only when the memory budget has room for it.

use std::time::Duration;

use crate::engine::Engine;
use crate::engine::files::file::{Name, Task};
use crate::engine::files::{ReadQueue, State};
use crate::engine::incarnation::IncarnationState;
use crate::engine::intake::Intake;
use crate::engine::port::{Effect, FileId, Read};
use crate::engine::shaping::{look_back, max_unread_bytes};
use crate::engine::streams::Streams;
use crate::model::identity::Fingerprint;
use crate::model::offset::Offset;
use crate::model::settings::{Compression, Format, LaneId, Packing, SourceSettings};
use crate::model::time::Instant;

use super::READ_BYTES;

/// How much one read asks for of a file whose stream has enough, or whose lines become much longer, in bytes: the file
/// gets its turn all the same.
const SMALL_READ_BYTES: usize = 32 * 1024;

/// The shortest read that is worth a system call, in bytes.
const MIN_READ_BYTES: usize = 4 * 1024;

/// How much of what is incomplete is read again in a second, in bytes: a line of many MiB that grows bit by bit would
/// cost its square.
const AGAIN_BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;

/// What came of a queue's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Begun,
    /// Nothing of it is to be read now.
    Idle,
    /// Its files wait for memory.
    Starved,
}

impl Engine {
    /// Asks for the reads whose turn it is, as far as memory and slots allow.
    pub(in crate::engine) fn read(&mut self, now: Instant) {
        let (streams, intake) = (&self.streams, &self.intake);
        self.files.take_up_deferred(|lane| !has_enough(streams, intake, lane));
        self.forget_overdue_seams(now);
        self.files.take_up_collected(now);
        for id in self.files.have_waited(now) {
            self.queue_read(id);
        }
        self.intake.note_other(self.saves.unsaved_bytes() + self.streams.body_bytes());
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

    /// One read of the queue of a source, a device and a stream.
    fn read_next(&mut self, queue: ReadQueue, now: Instant) -> Turn {
        if !self.intake.may_read(queue.slot) {
            return Turn::Idle;
        }
        let mut turn = Turn::Idle;
        for _ in 0..self.files.queued(queue) {
            let Some(id) = self.files.first_to_read(queue) else { break };
            if let Some(delay) = self.collects(id) {
                self.files.collect(id, now + delay);
                continue;
            }
            if let Task::Alike { of, .. } = self.files.known(id).task {
                if self.compare_alike(id, of, now) {
                    return Turn::Begun;
                }
                continue;
            }
            let (mut read, min_len) = self.next_read(id);
            let file = self.files.known(id);
            let stream = file.stream;
            let compares = matches!(file.task, Task::Comparing { .. } | Task::Confirm(_) | Task::Recheck(_));
            let state = file.incarnation().filter(|_| !compares).map(|life| self.lives.on_its_way(life));
            if state.is_some_and(IncarnationState::is_blocked) {
                self.files.block(id);
                continue;
            }
            if let Some(lane) = state.map(|state| self.streams.lane_for(state))
                && has_enough(&self.streams, &self.intake, lane)
                && (self.streams.is_held_beside_others(lane)
                    || state.is_some_and(|state| !state.has_nothing_ready()))
            {
                self.files.defer(id, lane);
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
                // What half of it did not hold last time gets all of it.
                let is_long = file.end.partial.barren_bytes > 0 && min_len > room / 2;
                read.len = read.len.min(if is_long { room } else { (room / 2).max(min_len) });
            }
            let len = read.len as u64;
            let reserved = if compares { len } else { self.intake.reservation(stream, of_file, len) };
            self.begin_reading(id, read, reserved, now);
            return Turn::Begun;
        }
        turn
    }

    fn begin_reading(&mut self, id: FileId, read: Read, reserved: u64, now: Instant) {
        self.files.begin_reading(id, read, reserved, now);
        let file = self.files.known_mut(id);
        file.end.began_finishing = self.finishing.is_some();
        let (stream, slot, identity) = (file.stream, file.slot(), file.identity);
        self.families.seams_mut().read_begins((stream, identity));
        self.intake.begin(stream, slot, reserved);
        self.effects.push_back(Effect::Read(read));
    }

    /// How long lines, or what makes a line whole, are to be collected in this file before it is read, if that has not
    /// been done.
    fn collects(&self, id: FileId) -> Option<Duration> {
        let file = self.files.known(id);
        let packed = match self.settings.streams[file.stream.0].packing {
            Packing::On { delay, .. } => delay,
            Packing::Off => Duration::ZERO,
        };
        let delay = packed.max(until_read_again(file.end.partial.incomplete_bytes));
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
            Task::Confirm(incarnation) => {
                let state = self.lives.on_its_way(incarnation);
                let before_position = (state.position(), state.history().overlap());
                let (end, len) = state.to_confirm().unwrap_or(before_position);
                let at = end.minus(len as u64);
                (Read::as_it_is(id, at, len), len)
            }
            Task::Recheck(incarnation) => {
                let read = self.read_to_compare(id, incarnation);
                (read, read.len)
            }
            Task::FindEnd { end, within, .. } => {
                let at = end.minus(within);
                let len = usize::try_from(end.since(at)).expect("64 MiB at most");
                (Read::as_it_is(id, at, len), len)
            }
            Task::Follow(incarnation) => {
                let state = self.lives.on_its_way(incarnation);
                let source = &self.settings.sources[file.source.0];
                let looks = state.cut().inside.is_none();
                let look_back = if looks { look_back(source, state.position()) } else { 0 };
                let before = state.history().overlap().max(look_back);
                let packing = self.settings.streams[file.stream.0].packing;
                let is_enough = has_enough(&self.streams, &self.intake, self.streams.lane_for(state));
                let fresh = fresh_bytes(source, packing, is_enough);
                // A reload may have left less room for a message.
                let asked = file.end.partial.asked_bytes.min(max_unread_bytes(source) + 1);
                let at = state.position().minus(before as u64);
                // The bytes before the position may say the same where another content ends its lines alike.
                let begins =
                    if at == Offset::ZERO { Fingerprint::none() } else { state.head().fingerprint() };
                let read = Read { file: id, at, len: before + fresh.max(asked), before, begins };
                let min = asked.min(file.end.partial.barren_bytes + MIN_READ_BYTES).max(MIN_READ_BYTES);
                // Each answer makes a little room: requests of so little cost as much as full ones, and what is compressed
                // in records of so little would be billed as more than it is. What is held of the file itself will be
                // answered, and then there is room.
                let min = match packing.compression() {
                    _ if state.buffered() == 0 => min,
                    Compression::None => min.max(fresh.min(self.intake.worth_reading())),
                    Compression::Gzip => min.max(fresh),
                };
                (read, before + min)
            }
            Task::Begin | Task::Alike { .. } => {
                unreachable!("L11: {id:?} is queued and not to be read: {file:?}")
            }
        }
    }

    /// What a look showed that is younger than the read, and came in before it, was seen of what is read again.
    pub(super) fn recall_look(&mut self, id: FileId, now: Instant) {
        let Some(file) = self.files.get(id).filter(|file| file.state() != State::AtEnd) else { return };
        let extent = &file.end.extent;
        if extent.looked_bytes() > extent.read_end_bytes {
            self.note_seen(id, extent.looked_bytes(), now);
        }
    }
}

/// Whether so much waits in a lane that it has enough to send for a while.
fn has_enough(streams: &Streams, intake: &Intake, lane: LaneId) -> bool {
    intake.is_enough(streams.waiting_bytes(lane), streams.lanes_of(lane.stream))
}

/// How much is read at once of a file of which nothing is incomplete, in bytes.
pub(in crate::engine) fn fresh_bytes(source: &SourceSettings, packing: Packing, is_enough: bool) -> usize {
    // A short line in an envelope takes many times its room.
    let grows = source.format != Format::Raw;
    match packing.compression() {
        Compression::None if grows || is_enough => SMALL_READ_BYTES,
        // What is compressed does not grow, and of little each record would be billed as more than it is.
        Compression::None | Compression::Gzip => READ_BYTES,
    }
}

/// How long what is incomplete waits before it is read again. What one read takes anyway does not.
fn until_read_again(incomplete_bytes: usize) -> Duration {
    if incomplete_bytes <= READ_BYTES {
        return Duration::ZERO;
    }
    Duration::from_micros(incomplete_bytes as u64 * 1_000_000 / AGAIN_BYTES_PER_SECOND)
}
