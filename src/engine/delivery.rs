//! From records to durable progress: requests leave, outcomes settle spans, frontiers and settled ranges are saved.
//!
//! *Invariant:* what passes the frontier, or lies in a settled range, was acknowledged, or is among the dead letters that
//! every save carries until one succeeds: a dead letter and the checkpoint that covers it are durable together or not at
//! all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::checkpoint::DeadLetter;
use crate::model::identity::Incarnation;
use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES, billed_bytes};
use crate::model::record::Record;
use crate::model::said::{SaidIn, Unmade};
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::{Encrypted, Outcome, Retry, RetryReason};

use super::Engine;
use super::incarnation::{Blocked, IncarnationState};
use super::port::{Effect, RequestId};
use super::report::Report;
use super::shaping::{Aside, Unsendable};
use super::streams::{Apart, Ends};
use crate::rules::dead_letters::cut_message;
use crate::rules::ledger::Settlement;

/// How many error codes dead letters are counted by; the service chooses their names, and others become one.
const MAX_CODES_COUNTED: usize = 16;

/// The codes of what was never sent, among those of the service.
const OVERSIZE: &str = "Oversize";
const UNFIT: &str = "RecordLimit";

impl Engine {
    /// Sends every request that may leave now.
    pub(super) fn send(&mut self, now: Instant) {
        let (puts, reports, ends) = self.streams.send(&mut self.lives, now);
        self.tell_letters(ends);
        self.effects.extend(puts.into_iter().map(Effect::Put));
        self.effects.extend(reports.into_iter().map(Effect::Report));
    }

    /// Tells what became of letters, once nothing of them is on its way.
    pub(super) fn tell_letters(&mut self, ends: Ends) {
        let ends = self.streams.whole_letters(ends);
        self.effects.extend(ends.into_iter().map(|(letter, end)| Effect::Replayed { letter, end }));
    }

    pub(super) fn on_put_done(&mut self, request: RequestId, outcome: Outcome, now: Instant) {
        let streams = &self.settings.streams;
        let encryption = |stream: StreamId| streams[stream.0].encryption;
        let letters =
            self.streams.judge_letters(request, &outcome, encryption, &mut self.counts.streams, now);
        if let Some((ends, reports)) = letters {
            self.effects.extend(reports.into_iter().map(Effect::Report));
            return self.tell_letters(ends);
        }
        let judged = self.streams.judge(request, outcome, encryption, &mut self.counts.streams, now);
        self.effects.extend(judged.reports.into_iter().map(Effect::Report));
        self.carry_after(judged.lane, judged.incarnations, judged.is_unsure);
        let stream = judged.lane.stream;
        for (place, why, after) in judged.stuck {
            let path = Arc::clone(&self.lives.on_its_way(place.incarnation).whose().path);
            self.report(Report::RecordStuck { stream, path, offset: place.offset, why, after });
        }
        for Apart { incarnation, entry, more_bytes } in judged.apart {
            let state = self.lives.on_its_way_mut(incarnation);
            let before = state.buffered();
            state.set_apart(entry, more_bytes);
            let _ = state.let_go();
            self.intake.charge(stream, (before, state.buffered()));
        }
        let mut touched: BTreeSet<Incarnation> = BTreeSet::new();
        let mut settled = 0;
        for (record, encrypted, id) in judged.delivered {
            self.count_delivered(stream, &record, encrypted, now);
            self.note_acknowledged(judged.lane, &record, id);
            touched.extend(record.incarnations());
            settled += self.settle(&record, Settlement::Delivered);
        }
        for (record, why) in judged.rejected {
            touched.extend(record.incarnations());
            if self.leaving.moves.is_withdrawn(&record) {
                self.settle(&record, Settlement::Nothing);
                continue;
            }
            let blocked = Blocked { record, why, unmade: None };
            settled += self.set_aside(stream, blocked);
        }
        for incarnation in touched {
            self.after_settling(incarnation, std::mem::take(&mut settled), now);
        }
        self.withdraw_records(now);
    }

    fn count_delivered(&mut self, stream: StreamId, record: &Record, encrypted: Encrypted, now: Instant) {
        let counts = &mut self.counts.streams[stream.0];
        counts.records_delivered += 1;
        counts.bytes_delivered += record.data.len() as u64;
        counts.billed_bytes += billed_bytes(record.data.len());
        counts.file_bytes_delivered += record.file_bytes();
        counts.records_encrypted += u64::from(encrypted == Encrypted::Yes);
        if let Some(read) = self.lives.on_its_way(record.incarnation).read_at(record) {
            counts.delivery_took.observe(now.since(read));
        }
    }

    /// What is too long for a record, or would be none, never leaves.
    pub(super) fn make_dead_letters(
        &mut self,
        incarnation: Incarnation,
        records: Vec<(Record, Aside)>,
        unix_time: Duration,
        now: Instant,
    ) {
        if records.is_empty() {
            return;
        }
        let whose = self.lives.on_its_way(incarnation).whose();
        let (stream, source) = (whose.stream, &self.settings.sources[whose.source.0]);
        let file = SaidIn { origin: whose.origin, incarnation, unix_time };
        let limit = source.max_message_bytes;
        let oversize: Arc<str> = format!("a line of more than {limit} bytes, or than a record takes").into();
        let unfit: Arc<str> = format!(
            "with what stands around it this is more than the {RECORD_BYTES} bytes of a record, or than the \
             {LINES_PER_RECORD} lines of one that lines share"
        )
        .into();
        let touched: BTreeSet<_> =
            records.iter().flat_map(|(record, _)| record.incarnations()).chain([incarnation]).collect();
        let mut settled = 0;
        for (record, Aside { why, said }) in records {
            let (code, message) = match why {
                Unsendable::Oversize => (OVERSIZE, &oversize),
                Unsendable::Unfit => (UNFIT, &unfit),
            };
            let unmade = said.map(|said| Box::new(Unmade { said: *said, file }));
            let why = Retry::new(RetryReason::Rejected, code, Arc::clone(message));
            settled += self.set_aside(stream, Blocked { record, why, unmade });
        }
        for incarnation in touched {
            self.after_settling(incarnation, std::mem::take(&mut settled), now);
        }
    }

    /// A record that is never accepted becomes a dead letter, or, where there is no room for more of them, keeps its
    /// place in the file, and the file is read no further. Returns how many bytes of the file that settles.
    fn set_aside(&mut self, stream: StreamId, blocked: Blocked) -> u64 {
        let letter = self.dead_letter(&blocked);
        if self.saves.has_room_for(&letter) {
            self.add_dead_letter(stream, letter, blocked.why);
            return self.settle(&blocked.record, Settlement::DeadLetter);
        }
        let (offset, why) = (blocked.record.span.start(), blocked.why.clone());
        if let Some((source, path)) = self.block(blocked) {
            self.report(Report::Stuck { source, path, offset, why });
        }
        0
    }

    /// A record is never accepted and has no room among the dead letters. Returns whose it is, where no other of its file was
    /// blocked.
    fn block(&mut self, blocked: Blocked) -> Option<(SourceId, Arc<Path>)> {
        if let Some(rest) = &blocked.record.rest {
            self.lives.on_its_way_mut(rest.incarnation).note_rest_blocked(true);
        }
        let state = self.lives.on_its_way_mut(blocked.record.incarnation);
        let whose = state.whose();
        let (source, path) = (whose.source, Arc::clone(&whose.path));
        state.block(blocked).then_some((source, path))
    }

    /// The records of a file that have had no room among the dead letters, to be tried again or done with.
    pub(super) fn take_blocked(&mut self, incarnation: Incarnation) -> Vec<Blocked> {
        let blocked = self.lives.on_its_way_mut(incarnation).take_blocked_if(|_| true);
        for rest in blocked.iter().filter_map(|blocked| blocked.record.rest.as_ref()) {
            self.lives.on_its_way_mut(rest.incarnation).note_rest_blocked(false);
        }
        blocked
    }

    /// Dead letters were deleted: records that had no room among them may have room now, and their files go on.
    pub(super) fn on_dead_letters_deleted(&mut self, freed: &BTreeMap<Arc<str>, u64>, now: Instant) {
        for (stream, bytes) in freed {
            self.saves.room_mut().free(stream, *bytes);
        }
        let blocked =
            self.lives.states().filter(|state| state.is_blocked()).map(IncarnationState::incarnation);
        for incarnation in blocked.collect::<Vec<_>>() {
            let stream = self.lives.on_its_way(incarnation).stream();
            let mut touched = BTreeSet::from([incarnation]);
            let mut settled = 0;
            for blocked in self.take_blocked(incarnation) {
                let letter = self.dead_letter(&blocked);
                if self.saves.has_room_for(&letter) {
                    self.add_dead_letter(stream, letter, blocked.why);
                    touched.extend(blocked.record.incarnations());
                    settled += self.settle(&blocked.record, Settlement::DeadLetter);
                } else {
                    self.block(blocked);
                }
            }
            let goes_on = !self.lives.on_its_way(incarnation).is_blocked();
            if let Some(file) = self.lives.file_of(incarnation).filter(|_| goes_on) {
                self.files.unblock(file);
            }
            for incarnation in touched {
                self.after_settling(incarnation, std::mem::take(&mut settled), now);
            }
        }
    }

    /// What is kept of a record that is never accepted.
    fn dead_letter(&self, Blocked { record, why, unmade }: &Blocked) -> DeadLetter {
        let whose = self.lives.on_its_way(record.incarnation).whose();
        DeadLetter {
            stream: Arc::clone(&whose.stream_name),
            source: Arc::clone(&self.settings.sources[whose.source.0].name),
            path: Arc::clone(&whose.path),
            target: whose.target.clone(),
            offset: record.span.start(),
            code: cut_message(&why.code),
            message: cut_message(&why.message),
            data: record.data.clone(),
            unmade: unmade.clone(),
        }
    }

    fn add_dead_letter(&mut self, stream: StreamId, letter: DeadLetter, why: Retry) {
        let (path, offset, code) = (Arc::clone(&letter.path), letter.offset, Arc::clone(&letter.code));
        let counted = &mut self.counts.streams[stream.0].dead_letters;
        let known = counted.len() < MAX_CODES_COUNTED || counted.contains_key(&code);
        *counted.entry(if known { Arc::clone(&code) } else { "other".into() }).or_default() += 1;
        self.saves.add_dead_letter(letter);
        self.report(Report::DeadLettered { stream, path, offset, why });
    }

    /// Says of some followed files that their checkpoints are in use, while that is due: they are saved though nothing changed.
    pub(super) fn renew(&mut self, now: Instant) {
        let Some(from) = self.saves.renewal(now) else { return };
        let mut followed = self.lives.incarnations_from(from);
        let some: Vec<_> = followed.by_ref().take(self.settings.files_at_once.get()).collect();
        let next = followed.next();
        some.into_iter().for_each(|incarnation| self.saves.note_changed(incarnation, 0, now));
        self.saves.renewed(next);
    }

    /// Settles a record in each ledger that has an entry of it. Returns how many bytes of files that settles, before a frontier or
    /// beyond it.
    pub(super) fn settle(&mut self, record: &Record, how: Settlement) -> u64 {
        let state = self.lives.on_its_way_mut(record.incarnation);
        let before = state.buffered();
        let settled = state.settle(record, how);
        let (stream, after) = (state.stream(), state.buffered());
        self.intake.charge(stream, (before, after));
        let Some(rest) = &record.rest else { return settled };
        self.saves.keep_together();
        let state = self.lives.on_its_way_mut(rest.incarnation);
        let before = state.buffered();
        let of_rest = state.settle_rest(rest, how);
        let (stream, after) = (state.stream(), state.buffered());
        self.intake.charge(stream, (before, after));
        settled + of_rest
    }

    /// What follows from settled spans, once for all that one outcome settled: `settled` bytes in all.
    fn after_settling(&mut self, incarnation: Incarnation, settled: u64, now: Instant) {
        let max_bytes = self.settings.checkpoint.max_bytes;
        let state = self.lives.on_its_way_mut(incarnation);
        state.release();
        let (stream, charge) = (state.stream(), state.let_go());
        self.intake.charge(stream, charge);
        state.weigh_ranges(max_bytes);
        self.streams.offer(state, 0);
        if state.has_unsaved_progress() {
            self.saves.note_changed(incarnation, settled, now);
        }
        self.end_if_over(incarnation, now);
    }

    /// Starts the save that is due.
    pub(super) fn save(&mut self, now: Instant) {
        self.saves.event_ends();
        if self.holds_saves() {
            return;
        }
        let is_last = self.surveys.all_finished() && self.note_what_is_left();
        let Some(changed) = self.saves.take_due(is_last, now) else { return };
        let mut checkpoints = Vec::with_capacity(changed.len());
        for incarnation in &changed {
            if let Some(state) = self.lives.state_mut(*incarnation) {
                state.save_begun();
            }
            checkpoints.extend(self.lives.checkpoint(*incarnation));
        }
        let mut save = self.saves.begin(changed, checkpoints, now);
        let lives = &self.lives;
        let is_known = |incarnation| lives.is_known(incarnation);
        save.audit = self.saves.acknowledgements_mut().due(&save, is_known);
        save.reserved = self.lives.numbers_mut().reserve();
        save.parts = Some(self.streams.known_parts());
        self.effects.push_back(Effect::Save(save));
    }

    /// Where nothing can be saved, records that name their incarnations leave all the same, unless other lines could be
    /// named alike after a crash.
    pub(super) fn go_unsaved(&mut self, now: Instant) {
        if !self.saves.is_in_trouble(now) {
            return;
        }
        for incarnation in self.saves.take_awaiting() {
            let may = self.lives.state(incarnation).map(|state| state.may_go_unsaved(self.lives.numbers()));
            match (may, self.lives.state_mut(incarnation)) {
                (Some(true), Some(state)) => {
                    state.goes_unsaved();
                    self.streams.offer(state, 0);
                }
                (Some(false), _) => self.saves.await_at_all_events(incarnation),
                _ => {}
            }
        }
    }

    pub(super) fn on_saved(&mut self, result: Result<(), String>, now: Instant) {
        match result {
            Ok(()) => {
                self.counts.commits += 1;
                let saved = self.saves.came_through();
                self.lives.numbers_mut().reserved();
                for (incarnation, offset, covered) in saved.offsets {
                    self.families.note_durable(self.lives.stream_name(incarnation));
                    let Some(state) = self.lives.state_mut(incarnation) else { continue };
                    state.saved(offset, covered);
                    if state.awaits_fingerprint() {
                        if !state.has_nothing_ready() {
                            self.saves.await_fingerprint(incarnation, now);
                        }
                    } else if self.saves.fingerprint_is_durable(incarnation) {
                        self.streams.offer(state, 0);
                    }
                }
                let moved = saved.moved.into_iter();
                self.effects.extend(moved.map(|(number, moved)| Effect::Moved { number, result: Ok(moved) }));
                if saved.is_again {
                    self.report(Report::SavedAgain);
                }
            }
            Err(why) => {
                self.counts.commit_failures += 1;
                let lives = &self.lives;
                let is_known = |incarnation| lives.is_saved(incarnation);
                if self.saves.failed(why.as_str().into(), is_known, now) {
                    self.report(Report::NotSaved { why });
                }
            }
        }
    }
}
