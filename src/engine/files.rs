//! Followed files: what each is doing, and what wakes it.
//!
//! A file is in exactly one [`State`]; the variant says what brings it on, and the queues here hold exactly the files
//! whose state names them (`files/turns.rs`). Knows names and states. Does not know content, nor what becomes of lines.
//!
//! *Invariant (L11):* after every event each file is in the queue that its state names, and in no other.

mod alike;
mod at_end;
mod blocked;
mod by_name;
mod exchange;
mod extent;
pub(super) mod file;
pub(super) mod first_bytes;
#[cfg(test)]
mod tests;
mod turns;
mod walks;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use crate::model::identity::{Identity, Incarnation};
use crate::model::settings::{LaneId, SourceId, StreamId};
use crate::model::time::Instant;

use self::by_name::ByName;
use self::file::{FollowedFile, Name, Task};
use self::walks::Walks;
use super::port::{FileId, Read};

/// What openings and reads under way are counted by: what hangs in one file system, or in one source, holds up nothing
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) source: SourceId,
    pub(super) device: u64,
}

/// What a followed file is doing. Each variant names what wakes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Closed, and everything that was seen of it is read. Woken by a hint or a survey.
    Closed,
    /// Closed. Woken by the queue of openings of its slot.
    AwaitsDescriptor,
    /// Woken by the answer to [`Effect::Open`](super::port::Effect::Open), which is late from `due` on.
    Opening { slot: Slot, due: Instant },
    /// Closed; its name leads elsewhere, or nowhere. Woken by the survey that finds it, or does not find it, beside its
    /// name.
    Sought,
    /// Closed, because it could not be opened. Woken by the deadline, or before by a hint or a survey.
    FailsToOpen { retry_at: Instant },
    /// Open. Woken by the queue of reads of its slot.
    Queued,
    /// Open. Woken when its lane has sent enough of what was read.
    Deferred { lane: LaneId },
    /// Open. Woken when enough lines for a record may have come.
    Collecting { until: Instant },
    /// Woken by the answer to [`Effect::Read`](super::port::Effect::Read), which is late from `due` on. The read has
    /// reserved so many bytes of memory; `again` says that more came meanwhile.
    Reading { read: Read, reserved: u64, slot: Slot, due: Instant, again: bool },
    /// Open, and read as far as it was seen. Woken by a hint, a survey, or what its last lines wait for.
    AtEnd,
    /// Open, and could not be read. Woken by the deadline, or before by a hint or a survey.
    FailsToRead { retry_at: Instant },
    /// Open, and begins like another file. Woken by what becomes of that file, or the deadline; `grew` says that more
    /// came meanwhile.
    HeldBack { grew: bool },
    /// Open. Its next record has no room among the dead letters: woken by no event of this process.
    Blocked,
}

/// The state of one file. Only this room writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateOf {
    state: State,
    /// Whether an answer that is awaited is late.
    is_late: bool,
}

impl StateOf {
    /// A file that was just found.
    pub(super) fn found() -> Self {
        Self::of(State::Closed)
    }

    fn of(state: State) -> Self {
        Self { state, is_late: false }
    }

    pub(super) fn get(self) -> State {
        self.state
    }

    pub(super) fn is_late(self) -> bool {
        self.is_late
    }
}

impl State {
    /// What an opening or a read under way is counted by.
    ///
    /// # Panics
    /// L11: when none is under way.
    pub(super) fn slot(self) -> Slot {
        match self {
            Self::Opening { slot, .. } | Self::Reading { slot, .. } => slot,
            other => panic!("L11: no answer is awaited in {other:?}"),
        }
    }

    /// Whether the kernel holds a descriptor of the file for this process.
    pub(super) fn is_open(self) -> bool {
        match self {
            Self::Queued
            | Self::Deferred { .. }
            | Self::Collecting { .. }
            | Self::Reading { .. }
            | Self::AtEnd
            | Self::FailsToRead { .. }
            | Self::HeldBack { .. }
            | Self::Blocked => true,
            Self::Closed
            | Self::AwaitsDescriptor
            | Self::Opening { .. }
            | Self::Sought
            | Self::FailsToOpen { .. } => false,
        }
    }
}

/// Files that are read one after the other: what holds one of them up holds up all. A source whose paths name its streams has
/// files of many, of which each may be at the end of its own part of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReadQueue {
    pub(super) slot: Slot,
    pub(super) stream: StreamId,
}

/// Queues of files, one for each way to be held up.
type Turns<Q> = BTreeMap<Q, VecDeque<FileId>>;

/// Every file that is followed.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_id: BTreeMap<FileId, Box<FollowedFile>>,
    by_identity: HashMap<(StreamId, Identity), FileId>,
    by_name: ByName,
    /// Files that wait to be opened.
    to_open: Turns<Slot>,
    /// Files that wait to be read.
    to_read: Turns<ReadQueue>,
    /// The queue that had its turn last.
    read_last: Option<ReadQueue>,
    /// Files of streams that have enough to send.
    deferred: BTreeMap<LaneId, BTreeSet<FileId>>,
    /// Files at their ends, by since when they are quiet.
    at_end: BTreeSet<(Instant, FileId)>,
    /// Files whose lines are collected, by when they are to be read.
    collecting: BTreeSet<(Instant, FileId)>,
    /// Files at whose end lines wait for more, by when that is long enough. An entry may be stale: a file is skipped
    /// that waits for another moment.
    waiting: BTreeSet<(Instant, FileId)>,
    /// Files whose answer is awaited, by when it is late.
    awaited: BTreeSet<(Instant, FileId)>,
    /// Files that were held back because they begin like another; some may be files like any other by now.
    alike: BTreeSet<FileId>,
    /// Files that are looked after every second.
    ticking: BTreeSet<FileId>,
    walks: Walks,
    next: u64,
}

impl Files {
    /// Takes in a file; it is opened when it has its turn.
    ///
    /// # Panics
    /// When the file is followed for this stream already (L12).
    pub(super) fn follow(&mut self, file: FollowedFile) -> FileId {
        let id = FileId(self.next);
        self.next += 1;
        self.insert(id, file);
        self.await_descriptor(id);
        id
    }

    fn insert(&mut self, id: FileId, file: FollowedFile) {
        let before = self.by_identity.insert((file.stream, file.identity), id);
        assert!(before.is_none(), "L12: {:?} is followed as {before:?} already", file.identity);
        if file.state() == State::AtEnd {
            self.at_end.insert((file.times.quiet_since, id));
        }
        self.by_id.insert(id, Box::new(file));
        self.index(id);
        self.note_tick(id);
    }

    fn note_tick(&mut self, id: FileId) {
        if self.by_id[&id].needs_tick() {
            self.ticking.insert(id);
        } else {
            self.ticking.remove(&id);
        }
    }

    /// No source matches a name of the file from now on.
    pub(super) fn lose_name(&mut self, id: FileId, now: Instant) {
        self.known_mut(id).lose_name(now);
        self.quieten(id, now);
        self.note_tick(id);
    }

    /// A source matches a name of the file again.
    pub(super) fn find_name(&mut self, id: FileId) {
        self.known_mut(id).find_name();
        self.note_tick(id);
    }

    pub(super) fn get(&self, id: FileId) -> Option<&FollowedFile> {
        self.by_id.get(&id).map(|file| &**file)
    }

    /// The file behind an answer, or behind an entry of a queue.
    pub(super) fn known(&self, id: FileId) -> &FollowedFile {
        self.by_id.get(&id).expect("a file is kept while something of it is under way")
    }

    pub(super) fn known_mut(&mut self, id: FileId) -> &mut FollowedFile {
        self.by_id.get_mut(&id).expect("a file is kept while something of it is under way")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (FileId, &FollowedFile)> {
        self.by_id.iter().map(|(id, file)| (*id, &**file))
    }

    /// What the file that is found next will be called.
    pub(super) fn next_id(&self) -> FileId {
        FileId(self.next)
    }

    /// The file of this identity in this stream, whichever source shows it.
    pub(super) fn of(&self, stream: StreamId, identity: Identity) -> Option<FileId> {
        self.by_identity.get(&(stream, identity)).copied()
    }

    /// The files that hints under a name concern.
    pub(super) fn at(&self, path: &Path) -> &[FileId] {
        self.by_name.at(path)
    }

    /// The files that had this real path before they were renamed.
    pub(super) fn formerly_at(&self, path: &Path) -> &[FileId] {
        self.by_name.formerly_at(path)
    }

    /// Lets go of a file. Its descriptor, if it has one, is the caller's to close.
    pub(super) fn remove(&mut self, id: FileId) -> FollowedFile {
        self.leave_queue(id);
        self.unindex(id);
        self.ticking.remove(&id);
        let file = self.by_id.remove(&id).expect("a file is let go of once");
        let key = (file.stream, file.identity);
        if self.by_identity.get(&key) == Some(&id) {
            self.by_identity.remove(&key);
        }
        *file
    }

    /// The file has another name.
    pub(super) fn rename(&mut self, id: FileId, path: Arc<Path>, target: Option<Arc<Path>>) {
        self.unindex(id);
        let file = self.known_mut(id);
        let former = Arc::clone(file.real_path());
        file.path = path;
        file.target = target;
        if former != *file.real_path() {
            file.kind.former = Some(former);
        }
        self.index(id);
    }

    /// Another source of the file's stream shows it from now on.
    pub(super) fn hand_to(&mut self, id: FileId, source: SourceId) {
        self.leave_queue(id);
        let state = self.known(id).state();
        self.known_mut(id).source = source;
        self.enter_queue(id, state);
    }

    /// The kernel says of the file's descriptor that it is another file by now.
    ///
    /// # Panics
    /// When that file is followed for the stream already (L12).
    pub(super) fn identify(&mut self, id: FileId, identity: Identity) {
        self.leave_queue(id);
        let file = self.known_mut(id);
        let (stream, before, state) = (file.stream, file.identity, file.state());
        file.identity = identity;
        self.by_identity.remove(&(stream, before));
        let other = self.by_identity.insert((stream, identity), id);
        assert!(other.is_none(), "L12: {identity:?} is followed as {other:?} already");
        self.enter_queue(id, state);
    }

    fn index(&mut self, id: FileId) {
        self.by_name.add(id, &self.by_id[&id]);
    }

    fn unindex(&mut self, id: FileId) {
        self.by_name.remove(id, &self.by_id[&id]);
    }

    /// L11: the queues hold exactly the files whose state names them.
    pub(super) fn check(&self) {
        let in_state = |wanted: fn(&State) -> bool| -> BTreeSet<FileId> {
            self.iter().filter(|(_, file)| wanted(&file.state())).map(|(id, _)| id).collect()
        };
        let once = |name: &str, queue: Vec<FileId>, wanted: fn(&State) -> bool| {
            let set: BTreeSet<_> = queue.iter().copied().collect();
            assert!(set.len() == queue.len(), "L11: {name} holds a file twice");
            assert!(set == in_state(wanted), "L11: {name} holds {set:?}, not {:?}", in_state(wanted));
        };
        let flat = |queues: Vec<&VecDeque<FileId>>| queues.into_iter().flatten().copied().collect();
        once("to_open", flat(self.to_open.values().collect()), |state| *state == State::AwaitsDescriptor);
        once("to_read", flat(self.to_read.values().collect()), |state| *state == State::Queued);
        let deferred = self.deferred.values().flatten().copied().collect();
        once("deferred", deferred, |state| matches!(state, State::Deferred { .. }));
        let collecting = self.collecting.iter().map(|(_, id)| *id).collect();
        once("collecting", collecting, |state| matches!(state, State::Collecting { .. }));
        self.check_at_end();
        let ticking = self.iter().filter(|(_, file)| file.needs_tick()).map(|(id, _)| id).collect();
        assert!(self.ticking == ticking, "L11: looked after are {:?}, not {ticking:?}", self.ticking);
        let awaited = self.awaited.iter().map(|(_, id)| *id);
        for id in awaited {
            let state = self.known(id).state();
            assert!(
                matches!(state, State::Opening { .. } | State::Reading { .. }),
                "L11: an answer is awaited of {id:?}, which is {state:?}"
            );
        }
        for (id, file) in self.iter() {
            assert!(self.by_identity.get(&(file.stream, file.identity)) == Some(&id), "L12: {file:?}");
            let is_alike = matches!(file.task, Task::Alike { .. });
            assert!(!is_alike || self.alike.contains(&id), "L11: {file:?}");
            assert!(is_alike || !matches!(file.state(), State::HeldBack { .. }), "L11: {file:?}");
            assert!(!is_alike || file.state() != State::AtEnd, "L11: {file:?}");
            assert!((file.name == Name::Matched) || file.state() != State::Closed, "L11: {file:?}");
        }
    }

    /// Which incarnation a file is read into.
    pub(super) fn read_into(&self, id: FileId) -> Option<Incarnation> {
        self.by_id.get(&id)?.incarnation()
    }
}
