//! How a followed file gets from one state to the next. Each transition names the states that it may come from.
//!
//! *Invariant (L11):* a file enters and leaves a queue together with the state that names the queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::settings::LaneId;
use crate::model::time::Instant;

use super::{Files, ReadQueue, Slot, State};
use crate::engine::files::file::{Name, Task};
use crate::engine::port::{FileId, Read};

/// How long an opening or a read may take before it is said to be late and its slot is free for another file: a disk
/// answers in milliseconds, and a file system that takes longer is in trouble.
const PATIENCE: Duration = Duration::from_secs(3);

/// The delays between tries of a file that cannot be opened or read.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);

impl Files {
    pub(super) fn set(&mut self, id: FileId, state: State) {
        self.leave_queue(id);
        self.known_mut(id).state.state = state;
        self.note_tick(id);
        self.enter_queue(id, state);
    }

    /// Puts a file into the queue that its state names.
    pub(super) fn enter_queue(&mut self, id: FileId, state: State) {
        let file = self.known(id);
        let (slot, queue) = (file.slot(), file.read_queue());
        match state {
            State::AwaitsDescriptor => self.to_open.entry(slot).or_default().push_back(id),
            State::Queued => {
                // A comparison costs no memory, and what is looked for may be gone soon.
                let is_compared =
                    matches!(file.task, Task::Comparing { .. } | Task::Alike { .. } | Task::Confirm(_));
                let turns = self.to_read.entry(queue).or_default();
                if is_compared { turns.push_front(id) } else { turns.push_back(id) }
            }
            State::Deferred { lane } => drop(self.deferred.entry(lane).or_default().insert(id)),
            State::Collecting { until } => drop(self.collecting.insert((until, id))),
            State::AtEnd => self.rest(id),
            // The lateness of an answer is said once.
            State::Opening { .. } | State::Reading { .. } if file.state.is_late => {}
            State::Opening { due, .. } | State::Reading { due, .. } => drop(self.awaited.insert((due, id))),
            State::Closed
            | State::Sought
            | State::FailsToOpen { .. }
            | State::FailsToRead { .. }
            | State::HeldBack { .. }
            | State::Blocked => {}
        }
    }

    /// Takes a file out of the queue that its state names.
    pub(super) fn leave_queue(&mut self, id: FileId) {
        let file = &self.by_id[&id];
        let slot = file.slot();
        match file.state() {
            State::AwaitsDescriptor => remove_turn(&mut self.to_open, slot, id),
            State::Queued => remove_turn(&mut self.to_read, file.read_queue(), id),
            State::Deferred { lane } => {
                if let Some(deferred) = self.deferred.get_mut(&lane) {
                    deferred.remove(&id);
                    if deferred.is_empty() {
                        self.deferred.remove(&lane);
                    }
                }
            }
            State::AtEnd => drop(self.at_end.remove(&(file.times.quiet_since, id))),
            State::Collecting { until } => drop(self.collecting.remove(&(until, id))),
            State::Opening { due, .. } | State::Reading { due, .. } => drop(self.awaited.remove(&(due, id))),
            State::Closed
            | State::Sought
            | State::FailsToOpen { .. }
            | State::FailsToRead { .. }
            | State::HeldBack { .. }
            | State::Blocked => {}
        }
    }

    pub(super) fn wrong(&self, id: FileId, to: &str) -> ! {
        panic!("L11: {:?} cannot become {to}: {:?}", id, self.by_id.get(&id));
    }

    /// There is something to read in a closed file: it waits for a descriptor.
    pub(in crate::engine) fn await_descriptor(&mut self, id: FileId) {
        match self.known(id).state() {
            State::Closed | State::Sought | State::FailsToOpen { .. } => {
                self.set(id, State::AwaitsDescriptor);
            }
            State::AwaitsDescriptor | State::Opening { .. } => {}
            _ => self.wrong(id, "AwaitsDescriptor"),
        }
    }

    /// The file that waits longest for a descriptor in a slot where an opening may begin.
    pub(in crate::engine) fn next_to_open(&self, may: impl Fn(Slot) -> bool) -> Option<FileId> {
        let mut fronts = self.to_open.iter().filter(|(slot, _)| may(**slot));
        fronts.find_map(|(_, turns)| turns.front().copied())
    }

    pub(in crate::engine) fn any_to_open(&self) -> bool {
        !self.to_open.is_empty()
    }

    /// AwaitsDescriptor → Opening.
    pub(in crate::engine) fn begin_opening(&mut self, id: FileId, now: Instant) {
        let (slot, due) = (self.known(id).slot(), now + PATIENCE);
        match self.known(id).state() {
            State::AwaitsDescriptor => self.set(id, State::Opening { slot, due }),
            _ => self.wrong(id, "Opening"),
        }
    }

    /// Opening → AtEnd: nothing that was seen is known to be unread yet.
    pub(in crate::engine) fn opened(&mut self, id: FileId) {
        match self.known(id).state() {
            State::Opening { .. } => self.set(id, State::AtEnd),
            _ => self.wrong(id, "AtEnd"),
        }
    }

    /// Opening → AwaitsDescriptor, first in its queue: the kernel had no descriptor.
    pub(in crate::engine) fn had_no_descriptor(&mut self, id: FileId) {
        match self.known(id).state() {
            State::Opening { .. } => {
                self.set(id, State::AwaitsDescriptor);
                let turns = self.to_open.entry(self.by_id[&id].slot()).or_default();
                turns.retain(|other| *other != id);
                turns.push_front(id);
            }
            _ => self.wrong(id, "AwaitsDescriptor"),
        }
    }

    /// Opening, or open and at its end → Closed.
    pub(in crate::engine) fn closed(&mut self, id: FileId) {
        match self.known(id).state() {
            State::Opening { .. } | State::AtEnd => self.set(id, State::Closed),
            _ => self.wrong(id, "Closed"),
        }
    }

    /// A closed file's name leads elsewhere: the file is looked for.
    pub(in crate::engine) fn seek(&mut self, id: FileId, now: Instant) {
        match self.known(id).state() {
            State::Closed
            | State::AwaitsDescriptor
            | State::Opening { .. }
            | State::Sought
            | State::FailsToOpen { .. } => {
                self.set(id, State::Sought);
                self.lose_name(id, now);
            }
            _ => self.wrong(id, "Sought"),
        }
    }

    /// There may be bytes that were not read. Returns whether an open file waits for its turn now.
    ///
    /// `is_finishing`: everything is read to its end, so that nothing waits for more lines; `has_ready`: lines of it
    /// wait to be sent.
    pub(in crate::engine) fn queue_read(&mut self, id: FileId, is_finishing: bool, has_ready: bool) {
        let Some(file) = self.by_id.get(&id) else { return };
        match file.state() {
            State::Closed | State::FailsToOpen { .. } => self.set(id, State::AwaitsDescriptor),
            State::AtEnd | State::FailsToRead { .. } => self.set(id, State::Queued),
            State::Collecting { .. } if is_finishing => self.set(id, State::Queued),
            // Behind a backlog it waits; a few lines of a file of which all others were sent do not.
            State::Deferred { .. } if !has_ready => self.set(id, State::Queued),
            State::Reading { read, reserved, slot, due, .. } => {
                self.set(id, State::Reading { read, reserved, slot, due, again: true });
            }
            State::HeldBack { .. } => self.set(id, State::HeldBack { grew: true }),
            State::AwaitsDescriptor
            | State::Opening { .. }
            | State::Sought
            | State::Queued
            | State::Deferred { .. }
            | State::Collecting { .. }
            | State::Blocked => {}
        }
    }

    /// Open → Queued, whatever it waits for, in the place that its task has there. Tells whether it is: what is blocked stays so.
    pub(in crate::engine) fn queue_at_once(&mut self, id: FileId) -> bool {
        use State::{AtEnd, Blocked, Collecting, Deferred, FailsToRead, Queued};
        match self.known(id).state() {
            Blocked => {}
            AtEnd | FailsToRead { .. } | Deferred { .. } | Collecting { .. } | Queued => self.set(id, Queued),
            _ => self.wrong(id, "Queued"),
        }
        self.known(id).state() == Queued
    }

    /// The queues in which files wait to be read, from the one on whose turn comes next: those of one slot share its reads.
    pub(in crate::engine) fn read_queues(&self) -> Vec<ReadQueue> {
        let (before, after): (Vec<_>, Vec<_>) =
            self.to_read.keys().copied().partition(|queue| Some(*queue) <= self.read_last);
        after.into_iter().chain(before).collect()
    }

    pub(in crate::engine) fn first_to_read(&self, queue: ReadQueue) -> Option<FileId> {
        self.to_read.get(&queue)?.front().copied()
    }

    pub(in crate::engine) fn queued(&self, queue: ReadQueue) -> usize {
        self.to_read.get(&queue).map_or(0, VecDeque::len)
    }

    /// Queued → the end of its queue: its turn has not come.
    pub(in crate::engine) fn pass_over(&mut self, id: FileId) {
        match self.known(id).state() {
            State::Queued => self.set(id, State::Queued),
            _ => self.wrong(id, "Queued"),
        }
    }

    /// Queued → Collecting.
    pub(in crate::engine) fn collect(&mut self, id: FileId, until: Instant) {
        match self.known(id).state() {
            State::Queued => self.set(id, State::Collecting { until }),
            _ => self.wrong(id, "Collecting"),
        }
    }

    /// Queued → Deferred.
    pub(in crate::engine) fn defer(&mut self, id: FileId, lane: LaneId) {
        match self.known(id).state() {
            State::Queued => self.set(id, State::Deferred { lane }),
            _ => self.wrong(id, "Deferred"),
        }
    }

    /// Queued → Reading.
    pub(in crate::engine) fn begin_reading(&mut self, id: FileId, read: Read, reserved: u64, now: Instant) {
        let (slot, due) = (self.known(id).slot(), now + PATIENCE);
        self.read_last = Some(self.known(id).read_queue());
        match self.known(id).state() {
            State::Queued => self.set(id, State::Reading { read, reserved, slot, due, again: false }),
            _ => self.wrong(id, "Reading"),
        }
    }

    /// Reading → AtEnd; returns what was asked for, what was reserved, and whether more came meanwhile.
    pub(in crate::engine) fn read_ended(&mut self, id: FileId) -> (Read, u64, bool) {
        match self.known(id).state() {
            State::Reading { read, reserved, again, .. } => {
                self.set(id, State::AtEnd);
                (read, reserved, again)
            }
            _ => self.wrong(id, "AtEnd"),
        }
    }

    /// Whether reads of an open file have failed before, and it still has its name: its descriptor may be bad. Before a look
    /// says so, that may be all that is left of it.
    pub(in crate::engine) fn goes_on_failing(&self, id: FileId) -> bool {
        let file = self.known(id);
        let is_named = file.name == Name::Matched && file.times.named_at > file.times.failing_since;
        file.state() == State::AtEnd && is_named && file.failures > 0
    }

    /// A read or an opening failed: the file is tried again after a while. Returns whether that is news.
    pub(in crate::engine) fn failed(&mut self, id: FileId, now: Instant) -> bool {
        let file = self.known_mut(id);
        file.failures = file.failures.saturating_add(1);
        let (first, state) = (file.failures == 1, file.state());
        if first {
            file.times.failing_since = now;
        }
        let delay = FIRST_RETRY.saturating_mul(1 << (file.failures - 1).min(10)).min(MAX_RETRY);
        let retry_at = now + delay;
        match state {
            State::Opening { .. } | State::Closed => self.set(id, State::FailsToOpen { retry_at }),
            State::AtEnd => self.set(id, State::FailsToRead { retry_at }),
            _ => self.wrong(id, "FailsToOpen or FailsToRead"),
        }
        first
    }

    /// AtEnd, or Queued → HeldBack.
    pub(in crate::engine) fn hold_back(&mut self, id: FileId) {
        match self.known(id).state() {
            State::AtEnd | State::Queued => self.set(id, State::HeldBack { grew: false }),
            _ => self.wrong(id, "HeldBack"),
        }
    }

    /// Whether a file that is held back grew since it was asked last.
    pub(in crate::engine) fn grew(&mut self, id: FileId) -> bool {
        match self.known(id).state() {
            State::HeldBack { grew } => {
                self.set(id, State::HeldBack { grew: false });
                grew
            }
            _ => false,
        }
    }

    /// HeldBack → Queued.
    pub(in crate::engine) fn release(&mut self, id: FileId) {
        match self.known(id).state() {
            State::HeldBack { .. } => self.set(id, State::Queued),
            _ => self.wrong(id, "Queued"),
        }
    }

    /// Gives those a turn whose lane has not enough any more.
    pub(in crate::engine) fn take_up_deferred(&mut self, is_hungry: impl Fn(LaneId) -> bool) {
        let hungry: Vec<_> = self.deferred.keys().copied().filter(|lane| is_hungry(*lane)).collect();
        for lane in hungry {
            for id in self.deferred.get(&lane).cloned().unwrap_or_default() {
                self.set(id, State::Queued);
            }
        }
    }

    pub(in crate::engine) fn any_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Gives those a turn whose lines were collected.
    pub(in crate::engine) fn take_up_collected(&mut self, now: Instant) {
        while let Some((until, id)) = self.collecting.first().copied()
            && until <= now
        {
            self.set(id, State::Queued);
            self.known_mut(id).end.collected = true;
        }
    }

    /// Lines at the end of a file wait for more until `due`.
    pub(in crate::engine) fn wait_for_more(&mut self, id: FileId, due: Instant) {
        self.waiting.insert((due, id));
    }

    /// Files at whose end lines have waited long enough for those that may belong to them.
    pub(in crate::engine) fn have_waited(&mut self, now: Instant) -> Vec<FileId> {
        let mut over = Vec::new();
        while let Some((due, id)) = self.waiting.first().copied()
            && due <= now
        {
            self.waiting.pop_first();
            over.extend(self.by_id.get(&id).filter(|file| file.waits_until(due)).map(|_| id));
        }
        over
    }

    /// Files of which an answer is late, each said once: their slots are free for others from now on.
    pub(in crate::engine) fn late(&mut self, now: Instant) -> Vec<FileId> {
        let mut late = Vec::new();
        while let Some((due, id)) = self.awaited.first().copied()
            && due <= now
        {
            self.awaited.pop_first();
            self.known_mut(id).state.is_late = true;
            late.push(id);
        }
        late
    }

    /// An answer has come; tells whether it was late.
    pub(in crate::engine) fn answered(&mut self, id: FileId) -> bool {
        std::mem::take(&mut self.known_mut(id).state.is_late)
    }

    /// When a file is to be read though nothing happens.
    pub(in crate::engine) fn deadline(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, FileId)>| set.first().map(|(due, _)| *due);
        [&self.collecting, &self.waiting, &self.awaited].into_iter().filter_map(first).min()
    }

    /// Files that are looked after every second: they have no name that is looked at, or are tried again.
    pub(in crate::engine) fn ticking(&self) -> Vec<FileId> {
        self.ticking.iter().copied().collect()
    }

    pub(in crate::engine) fn needs_tick(&self) -> bool {
        !self.ticking.is_empty()
    }
}

fn remove_turn<K: Ord>(turns: &mut BTreeMap<K, VecDeque<FileId>>, key: K, id: FileId) {
    if let Some(queue) = turns.get_mut(&key) {
        if queue.front() == Some(&id) {
            queue.pop_front();
        } else {
            queue.retain(|other| *other != id);
        }
        if queue.is_empty() {
            turns.remove(&key);
        }
    }
}
