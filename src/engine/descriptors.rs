//! Who may hold a file open: there may be more files than descriptors.
//!
//! Files wait here for their turn to be opened. When none is left, files that are read to their end, delivered and
//! quiet are closed, the one that was quiet longest first; they are opened again when more is there, and known again
//! by their identity. A closed file that its name no longer leads to is looked for in its directory.
//!
//! *Invariant:* a file with unread or unsettled bytes is never closed for want of descriptors.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::time::Instant;
use crate::rules::rotation::same_file;

use super::Engine;
use super::life::Afterwards;
use super::port::{Effect, FileFault, FileId, Open, Opened};
use super::report::{Loss, Report};
use super::tail::{Descriptor, Name, Phase, Tail, Turn};

/// Fewer are of no use: however few the kernel has left, some files are read.
const MIN: usize = 4;

/// Openings under way at once: each may hold a thread.
const OPENINGS_AT_ONCE: usize = 8;

/// The share of all descriptors that is taken back at once, so that the search for them is rare.
const TAKEN_BACK: usize = 8;

/// When the search is repeated that found too few.
const SEARCH_EVERY: Duration = Duration::from_millis(100);

/// How long ago the end of a file that is closed may have been looked at.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// How long a limit holds that the kernel showed earlier than it was expected.
const SHORT_FOR: Duration = Duration::from_secs(60);

/// Descriptors of files that are followed.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// How many there may be.
    most: usize,
    /// How many there were to be: the kernel may have fewer for a while.
    told: usize,
    short_until: Option<Instant>,
    /// Open, or being opened.
    held: usize,
    openings: usize,
    /// Files that wait to be opened.
    turns: VecDeque<FileId>,
    /// None was found to close; when to look again.
    search_at: Option<Instant>,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self {
            most: usize::MAX,
            told: usize::MAX,
            short_until: None,
            held: 0,
            openings: 0,
            turns: VecDeque::new(),
            search_at: None,
        }
    }
}

impl Descriptors {
    pub(super) fn opening_is_over(&mut self) {
        self.openings -= 1;
    }

    pub(super) fn release(&mut self) {
        self.held -= 1;
        self.search_at = None;
    }
}

impl Engine {
    pub(super) fn on_descriptors(&mut self, most: usize) {
        let most = most.max(MIN);
        self.descriptors.most = most;
        self.descriptors.told = most;
    }

    /// The file is to be opened when there is a descriptor for it.
    pub(super) fn await_descriptor(&mut self, id: FileId) {
        let tail = self.tails.get_mut(&id).expect("a tail waits while it is kept");
        if tail.descriptor == Descriptor::None {
            tail.descriptor = Descriptor::Awaited;
            self.descriptors.turns.push_back(id);
        }
    }

    /// Opens files as far as descriptors reach.
    pub(super) fn open_waiting(&mut self, now: Instant) {
        let descriptors = &mut self.descriptors;
        if descriptors.short_until.is_some_and(|until| until <= now) {
            descriptors.short_until = None;
            descriptors.most = descriptors.told;
        }
        while self.descriptors.openings < OPENINGS_AT_ONCE
            && let Some(id) = self.descriptors.turns.front().copied()
        {
            let waits = self.tails.get(&id).is_some_and(|tail| tail.descriptor == Descriptor::Awaited);
            if waits && self.descriptors.held >= self.descriptors.most && !self.close_idle(now) {
                break;
            }
            self.descriptors.turns.pop_front();
            if !waits {
                continue;
            }
            let tail = self.tails.get_mut(&id).expect("just seen");
            tail.descriptor = Descriptor::Opening;
            let (path, decompressed) = (Arc::clone(&tail.path), tail.decompressed);
            let open = Open { tail: id, source: tail.source, path, decompressed };
            self.descriptors.held += 1;
            self.descriptors.openings += 1;
            self.effects.push_back(Effect::Open(open));
        }
    }

    pub(super) fn descriptor_deadline(&self) -> Option<Instant> {
        self.descriptors.search_at.filter(|_| !self.descriptors.turns.is_empty())
    }

    /// Closes files that need not be open; whether there were any.
    fn close_idle(&mut self, now: Instant) -> bool {
        if self.descriptors.search_at.is_some_and(|at| now < at) {
            return false;
        }
        let idle = self.tails.keys().filter(|id| self.is_idle(**id));
        let mut idle: Vec<_> = idle.map(|id| (self.tails[id].quiet_since, *id)).collect();
        idle.sort_unstable();
        idle.truncate((self.descriptors.most / TAKEN_BACK).max(1));
        let (sure, stale): (Vec<_>, Vec<_>) =
            idle.into_iter().partition(|(_, id)| now.since(self.tails[id].read_at) <= LOOKED_AT);
        // A hint may have been lost: what was not looked at lately is looked at once more.
        for (_, id) in stale {
            self.wake(id);
        }
        self.descriptors.search_at = sure.is_empty().then(|| now + SEARCH_EVERY);
        for (_, id) in &sure {
            self.close_descriptor(*id);
        }
        !sure.is_empty()
    }

    /// Read to its end, all of it settled, and nothing says that there is more.
    fn is_idle(&self, id: FileId) -> bool {
        let tail = &self.tails[&id];
        tail.descriptor == Descriptor::Open
            && tail.name == Name::Matched
            && matches!(tail.phase, Phase::Following(_))
            && tail.reading.is_none()
            && tail.turn == Turn::None
            && !tail.dirty
            && tail.retry_at.is_none()
            && tail.incarnation().is_some_and(|incarnation| {
                let life = &self.lives[&incarnation];
                life.is_settled() && life.seen_bytes <= life.position().bytes()
            })
    }

    pub(super) fn close_descriptor(&mut self, id: FileId) {
        let tail = self.tails.get_mut(&id).expect("a descriptor is closed while its tail is kept");
        tail.descriptor = Descriptor::None;
        self.descriptors.release();
        self.effects.push_back(Effect::Close(id));
    }

    /// Whether the file that was opened is the one that was meant to be.
    ///
    /// If another has taken the name since the last look, that one is followed from here on, for nobody may have seen
    /// it, or ever see it again under this name; and the one that was meant is looked for.
    pub(super) fn is_as_expected(&mut self, id: FileId, opened: &Opened, now: Instant) -> bool {
        let tail = &self.tails[&id];
        if same_file(tail.identity, opened.identity) {
            return true;
        }
        let (source, name) = (tail.source, tail.name);
        let known = self.by_file.contains_key(&(source, opened.identity));
        if known || name == Name::Lost {
            self.close_descriptor(id);
            self.seek(id);
            return false;
        }
        let meant_id = FileId(self.next_tail);
        self.next_tail += 1;
        self.unindex(id);
        let mut meant = self.tails.remove(&id).expect("just seen");
        let mut other = Tail::opening(source, Arc::clone(&meant.path), opened.identity, name, false, now);
        other.descriptor = Descriptor::Open;
        other.target.clone_from(&meant.target);
        meant.descriptor = Descriptor::None;
        if self.leaving.contains(&id) {
            self.leaving.insert(meant_id);
        }
        self.by_file.insert((source, meant.identity), meant_id);
        self.by_file.insert((source, opened.identity), id);
        self.tails.insert(meant_id, meant);
        self.tails.insert(id, other);
        self.index(meant_id);
        self.index(id);
        self.seek(meant_id);
        true
    }

    /// A file that was closed for want of descriptors is open again.
    pub(super) fn on_reopened(&mut self, id: FileId, opened: &Opened, now: Instant) {
        let tail = self.tails.get_mut(&id).expect("a tail is kept while it is opened");
        tail.size = opened.size;
        let incarnation = tail.incarnation().expect("what is opened again was followed");
        if self.lives[&incarnation].head.fingerprint().matches(&opened.head) {
            self.wake(id);
        } else {
            self.begin_again(id, now);
        }
    }

    /// A file could not be opened: neither for the first time, nor again.
    pub(super) fn on_not_opened(&mut self, id: FileId, fault: FileFault, now: Instant) {
        let tail = self.tails.get_mut(&id).expect("a tail is kept while it is opened");
        tail.descriptor = Descriptor::None;
        let is_opening = matches!(tail.phase, Phase::Opening { .. });
        self.descriptors.release();
        if tail.only_as_copy && fault != FileFault::NoDescriptor {
            return self.drop_tail(id);
        }
        match fault {
            FileFault::NoDescriptor => {
                let descriptors = &mut self.descriptors;
                let most = descriptors.held.max(MIN);
                // Descriptors come back when files are closed; until then another try changes nothing.
                descriptors.search_at = Some(now + SEARCH_EVERY);
                if descriptors.short_until.is_none() {
                    self.effects.push_back(Effect::Report(Report::FewDescriptors { most }));
                }
                descriptors.most = most;
                descriptors.short_until = Some(now + SHORT_FOR);
                tail.descriptor = Descriptor::Awaited;
                self.descriptors.turns.push_front(id);
            }
            FileFault::Gone => self.seek(id),
            FileFault::Unreadable(why) if is_opening => self.on_refused(id, why),
            FileFault::Unreadable(_) => self.on_read_failed(id, fault, now),
        }
    }

    /// The name of a file that is not open leads elsewhere, or nowhere: it is looked for under other names.
    pub(super) fn seek(&mut self, id: FileId) {
        let tail = self.tails.get_mut(&id).expect("a tail is sought while it is kept");
        tail.name = Name::Lost;
        self.needs_tick = true;
        let path = Arc::clone(&tail.path);
        self.surveys.seek_beside(&path);
    }

    /// A file that is not open has no name that was looked at.
    pub(super) fn not_found(&mut self, id: FileId, now: Instant) {
        let tail = &self.tails[&id];
        if !self.surveys.has_looked_beside(&tail.path) {
            return self.seek(id);
        }
        if tail.only_as_copy {
            return self.drop_tail(id);
        }
        let (source, path, size) = (tail.source, Arc::clone(&tail.path), tail.size);
        let incarnation = tail.incarnation();
        self.drop_tail(id);
        let Some(incarnation) = incarnation else {
            return self.report(Report::Missed { source, path, bytes: size });
        };
        let life = &self.lives[&incarnation];
        let (from, lost) = (life.position(), life.seen_bytes.saturating_sub(life.position().bytes()));
        self.keep_closed(incarnation, now);
        if lost > 0 {
            self.abandon(source, path, from, lost, Loss::Removed);
        }
        // What was written to it since it was closed may be in a copy.
        let stored = self.stored.iter().find(|stored| stored.incarnation == incarnation);
        if let Some(stored) = stored.cloned() {
            self.stored_cut_off(stored, source, Afterwards::Kept, now);
        }
    }
}
