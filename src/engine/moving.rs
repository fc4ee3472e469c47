//! Positions that a person moves while files are followed.
//!
//! The file is let go of with everything that was read of it and is not delivered, a checkpoint at the new position takes
//! the place of those that were there, and the file is found again as after a start: whoever opens it goes on from that
//! checkpoint. Old and new change in one save, and the person is answered once that is durable.
//!
//! *Invariant:* from the move on, no save holds the old position, and no answer to a request that left before raises one.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation};
use crate::model::record::Record;
use crate::model::settings::StreamId;
use crate::model::settled::Settled;
use crate::model::time::Instant;
use crate::rules::ledger::Settlement;

use super::Engine;
use super::files::State;
use super::incarnation::Blocked;
use super::lives::Placed;
use super::parting::Parting;
use super::port::{Effect, FileId, Move, Moved, NotMoved, Position};

/// What a person moves.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Positions that are moved as soon as nothing is being read of their files.
    waiting: Vec<Move>,
    /// Incarnations that were withdrawn while requests with records of theirs were under way.
    withdrawn: BTreeSet<Incarnation>,
}

impl Moves {
    /// Whether a record is not sent any more, nor put aside: what says something of the next file, too, is.
    pub(super) fn is_withdrawn(&self, record: &Record) -> bool {
        record.rest.is_none() && self.withdrawn.contains(&record.incarnation)
    }
}

impl Engine {
    pub(super) fn on_move(&mut self, asked: Move) {
        if self.finishing.is_some() {
            let (number, result) = (asked.number, Err(NotMoved::Stopping));
            return self.effects.push_back(Effect::Moved { number, result });
        }
        self.leaving.moves.waiting.push(asked);
    }

    /// Moves the positions of files of which nothing is just being read.
    pub(super) fn carry_out_moves(&mut self, now: Instant) {
        for asked in std::mem::take(&mut self.leaving.moves.waiting) {
            let found = self.lives.placed(asked.identity, &asked.path, asked.stream.as_deref());
            let files = self.files_to_move(&asked, &found);
            let is_busy = |id: &FileId| {
                matches!(self.files.known(*id).state(), State::Reading { .. } | State::Opening { .. })
            };
            if files.iter().any(is_busy) {
                self.leaving.moves.waiting.push(asked);
                continue;
            }
            self.carry_out_move(asked, found, files, now);
        }
    }

    /// The followed files of a move: whichever is read into one of the positions, or is about to begin as one.
    fn files_to_move(&self, asked: &Move, found: &[Placed]) -> BTreeSet<FileId> {
        let streams = (0..self.settings.streams.len()).map(StreamId);
        let meant = streams
            .filter(|stream| asked.stream.as_ref().is_none_or(|name| name == self.stream_name(*stream)));
        let of_identity = asked
            .identity
            .into_iter()
            .flat_map(|identity| meant.clone().filter_map(move |stream| self.files.of(stream, identity)));
        of_identity.chain(found.iter().filter_map(|placed| placed.file)).collect()
    }

    fn carry_out_move(&mut self, asked: Move, found: Vec<Placed>, files: BTreeSet<FileId>, now: Instant) {
        let Move { number, stream, identity, to, .. } = &asked;
        let mut streams: BTreeSet<Arc<str>> = found.iter().map(|placed| Arc::clone(&placed.stream)).collect();
        streams.extend(stream.iter().filter(|_| to.is_some()).cloned());
        if streams.is_empty() {
            let (number, result) = (*number, Err(NotMoved::NoPosition));
            return self.effects.push_back(Effect::Moved { number, result });
        }
        for id in files {
            self.part(id, Parting::Moved, now);
        }
        for placed in &found {
            self.saves.forget(placed.incarnation, now);
            self.saves.fingerprint_is_durable(placed.incarnation);
            if self.lives.withdraw(placed.incarnation) {
                self.leaving.moves.withdrawn.insert(placed.incarnation);
            }
        }
        self.withdraw_records(now);
        let mut moved = Vec::with_capacity(streams.len());
        for name in &streams {
            let of_stream = || found.iter().filter(|placed| placed.stream == *name);
            if let (Some(to), Some(identity)) = (to, identity) {
                let seen = of_stream().find_map(|placed| placed.seen);
                let checkpoint = self.checkpoint_at(&asked, *to, *identity, name);
                self.saves.note_changed(checkpoint.incarnation, 0, now);
                self.lives.store(Checkpoint { seen, ..checkpoint });
            }
            let from = of_stream().map(|placed| placed.offset).max();
            moved.push(Moved { stream: Arc::clone(name), from });
        }
        // The files are found again as after a start, also where they have been renamed.
        let ids = (0..self.settings.streams.len()).map(StreamId);
        let look_beside = ids.filter(|id| streams.contains(self.stream_name(*id))).collect();
        let retired = self.surveys.retired().clone();
        self.surveys.change(self.settings.sources.len(), retired, look_beside);
        self.saves.await_answer(asked.number, moved, now);
    }

    fn checkpoint_at(
        &mut self,
        asked: &Move,
        to: Position,
        identity: Identity,
        stream: &Arc<str>,
    ) -> Checkpoint {
        let Position { offset, fingerprint, window } = to;
        Checkpoint {
            incarnation: self.lives.fresh(),
            stream: Arc::clone(stream),
            path: Arc::clone(&asked.path),
            target: asked.target.clone(),
            identity,
            origin: identity.into(),
            seen: None,
            // What lies before is skipped by somebody who knows.
            skipped_bytes: 0,
            fingerprint,
            offset,
            window,
            settled: Settled::default(),
            seen_bytes: 0,
            proof: None,
        }
    }

    /// Takes out of all queues what was read of incarnations that were withdrawn. An answer may have put it there again.
    ///
    /// What stands for the beginning of the next file, too, goes its way as if a request had it: nothing else brings those
    /// bytes.
    pub(super) fn withdraw_records(&mut self, now: Instant) {
        for incarnation in self.leaving.moves.withdrawn.clone() {
            if let Some(state) = self.lives.state_mut(incarnation) {
                let mut records = self.streams.withdraw(state);
                let is_of_one = |blocked: &Blocked| blocked.record.rest.is_none();
                records.extend(state.take_blocked_if(is_of_one).into_iter().map(|blocked| blocked.record));
                if !state.has_nothing_ready() {
                    // No save names the incarnation any more.
                    state.goes_unsaved();
                    self.streams.offer(state, 0);
                }
                for record in records {
                    self.settle(&record, Settlement::Nothing);
                }
                self.end_if_over(incarnation, now);
            }
            if self.lives.state(incarnation).is_none() {
                self.leaving.moves.withdrawn.remove(&incarnation);
            }
        }
    }
}

#[cfg(test)]
mod tests;
