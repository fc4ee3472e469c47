//! Which of the checkpoints that changed one save holds: some thousands, however many files there are.
//!
//! Whoever else waits for the loop waits while a save is put together, and while its answer is taken in. So a save holds a
//! part of what changed, and the next one begins with what the last one left. What changed with one event may say what it says
//! only beside another: a record of two files, a dead letter and the position that passes it, a life and the one that it
//! follows. Such changes are in one save.
//!
//! *Invariant:* of what is to be durable together no save holds a part; a mark that was made earlier is durable earlier; each
//! change is in one of the next saves, however many others come.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use crate::model::identity::Incarnation;
use crate::model::time::Instant;
use crate::rules::checkpoint::{Held, RENEW_EVERY};

/// Incarnations whose checkpoint in the database is not what it would be now.
#[derive(Debug)]
pub(super) struct Changed {
    all: BTreeSet<Incarnation>,
    /// Those that changed with the event that is being handled.
    of_event: Vec<Incarnation>,
    /// Whether these are to be durable together.
    belongs_together: bool,
    /// Those that the next save holds in any case.
    together: BTreeSet<Incarnation>,
    /// Those that only say that a file was found.
    marks: BTreeSet<Incarnation>,
    /// Where the next save goes on.
    next: Incarnation,
    /// Whether the last one came to the end of all, and began anew.
    came_round: bool,
    /// About how many a save holds.
    pub(super) most: NonZeroUsize,
}

impl Changed {
    pub(super) fn new(most: NonZeroUsize) -> Self {
        Self {
            all: BTreeSet::new(),
            of_event: Vec::new(),
            belongs_together: false,
            together: BTreeSet::new(),
            marks: BTreeSet::new(),
            next: Incarnation(0),
            came_round: false,
            most,
        }
    }

    pub(super) fn insert(&mut self, incarnation: Incarnation) {
        self.all.insert(incarnation);
        self.of_event.push(incarnation);
    }

    pub(super) fn remove(&mut self, incarnation: Incarnation) {
        self.all.remove(&incarnation);
        self.together.remove(&incarnation);
        self.marks.remove(&incarnation);
    }

    pub(super) fn contains(&self, incarnation: Incarnation) -> bool {
        self.all.contains(&incarnation)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How much the save holds that begins: of what changed before the one with which the last round ended, that with which this
    /// one ends leaves nothing.
    pub(super) fn held(&self) -> Held {
        match (self.all.is_empty(), self.came_round) {
            (true, _) => Held::All,
            (false, true) => Held::LastOfRound,
            (false, false) => Held::Some,
        }
    }

    /// One of those that changed is the mark of a file.
    pub(super) fn add_mark(&mut self, mark: Incarnation) {
        self.marks.insert(mark);
    }

    pub(super) fn first_mark(&self) -> Option<Incarnation> {
        self.marks.first().copied()
    }

    pub(super) fn last_mark(&self) -> Option<Incarnation> {
        self.marks.last().copied()
    }

    /// What changes with this event is to be durable together.
    pub(super) fn keep_together(&mut self) {
        self.belongs_together = true;
    }

    pub(super) fn event_ends(&mut self) {
        if std::mem::take(&mut self.belongs_together) {
            self.together.extend(self.of_event.drain(..).filter(|changed| self.all.contains(changed)));
        }
        self.of_event.clear();
    }

    /// Takes what a save is to hold that begins now: what is to be durable together; then marks; where that leaves none of
    /// these, some that records wait for, and some of all in turn. All of it, where it `is_whole`.
    pub(super) fn take_portion(
        &mut self,
        awaited: &BTreeSet<Incarnation>,
        is_whole: bool,
    ) -> BTreeSet<Incarnation> {
        let most = self.most.get();
        self.came_round = false;
        if is_whole || self.all.len() <= most {
            return std::mem::take(&mut self.all);
        }
        let mut portion = self.together.clone();
        portion.extend(self.marks.iter().take(most));
        if self.marks.len() <= most {
            portion.extend(awaited.iter().filter(|awaited| self.all.contains(awaited)).take(most));
            let behind: Vec<_> = self.all.range(self.next..).take(most).collect();
            self.came_round = behind.len() < most;
            let before = self.all.range(..self.next).take(most - behind.len());
            let in_turn = behind.into_iter().chain(before);
            portion.extend(in_turn.inspect(|last| self.next = Incarnation(last.0 + 1)));
        }
        portion.retain(|changed| self.all.remove(changed));
        portion
    }

    /// A save begins that holds these. Returns those of them that were to be durable together, and the marks.
    pub(super) fn begun(
        &mut self,
        portion: &BTreeSet<Incarnation>,
    ) -> (BTreeSet<Incarnation>, BTreeSet<Incarnation>) {
        let marks = self.marks.extract_if(.., |mark| portion.contains(mark)).collect();
        (std::mem::take(&mut self.together), marks)
    }

    /// A save failed that held these, those to be durable together, and these marks.
    pub(super) fn take_back(
        &mut self,
        (portion, together, marks): (BTreeSet<Incarnation>, BTreeSet<Incarnation>, BTreeSet<Incarnation>),
        is_known: impl Fn(Incarnation) -> bool,
    ) {
        self.all.extend(portion.into_iter().filter(|incarnation| is_known(*incarnation)));
        let is_there = |incarnation: &Incarnation| self.all.contains(incarnation);
        self.together.extend(together.into_iter().filter(is_there));
        self.marks.extend(marks.into_iter().filter(is_there));
    }
}

/// Checkpoints that are saved once a day though nothing changed: some with each event, from one incarnation on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    began_at: Instant,
    /// Where it goes on, while it is under way.
    pub(super) next: Option<Incarnation>,
}

impl Renewal {
    pub(super) fn since(now: Instant) -> Self {
        Self { began_at: now, next: None }
    }

    pub(super) fn next(&mut self, now: Instant) -> Option<Incarnation> {
        if now.since(self.began_at) >= RENEW_EVERY {
            *self = Self { began_at: now, next: Some(Incarnation(0)) };
        }
        self.next
    }
}

#[cfg(test)]
mod tests;
