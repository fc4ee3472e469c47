//! From records to durable progress: requests leave, outcomes settle spans, frontiers are saved.
//!
//! Routes outcomes to `rules::circuit`, `rules::quota` and the ledgers, and what is settled to `rules::checkpoint`.
//!
//! *Invariant:* what passes the frontier was acknowledged, or is in the dead_letters that every save carries until one
//! succeeds: a dead letter and the checkpoint behind it are durable together or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::model::checkpoint::{DeadLetter, Save};
use crate::model::identity::Incarnation;
use crate::model::limits::billed_bytes;
use crate::model::offset::Offset;
use crate::model::record::Record;
use crate::model::settings::{Encryption, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::{Encrypted, Outcome, Retry, RetryReason, Verdict};
use crate::rules::checkpoint::{Due, MAX_DEAD_LETTER_BYTES};
use crate::rules::circuit::News;
use crate::rules::quota::Cost;

use super::port::{Effect, Put, RequestId};
use super::report::{Report, RequestEnd};
use super::{Engine, Sent};

/// How many error codes dead letters are counted by; the service chooses their names, and others become one.
const MAX_CODES_COUNTED: usize = 16;

/// The code of what was never sent, among those of the service.
const OVERSIZE: &str = "Oversize";

/// What a save under way holds.
#[derive(Debug)]
pub(super) struct Saving {
    offsets: Vec<(Incarnation, Offset, u16)>,
    forgotten: Vec<Incarnation>,
    parted: BTreeSet<Incarnation>,
    /// From the front of the dead_letters.
    dead_letters: usize,
}

impl Engine {
    /// Sends every request that may leave now.
    pub(super) fn send(&mut self, now: Instant) {
        for (index, stream) in self.streams.iter_mut().enumerate() {
            while let Some(request) = stream.next(&mut self.lives, now) {
                let id = RequestId(self.next_request);
                self.next_request += 1;
                self.effects.push_back(Effect::Put(Put {
                    request: id,
                    stream: StreamId(index),
                    operation: request.operation,
                    records: request.records.iter().map(|record| record.data.clone()).collect(),
                }));
                let (stream, operation, records) = (StreamId(index), request.operation, request.records);
                self.requests.insert(id, Sent { stream, operation, records, at: now });
            }
            if std::mem::take(&mut stream.advise) {
                let stream = StreamId(index);
                self.effects.push_back(Effect::Report(Report::BatchesWouldHelp { stream }));
            }
        }
    }

    /// # Panics
    /// When the outcome has not exactly one verdict for each record: the shell calls such an answer ambiguous.
    pub(super) fn on_put_done(&mut self, request: RequestId, outcome: Outcome, now: Instant) {
        let sent = self.requests.remove(&request).expect("an outcome comes once for each request");
        assert_eq!(outcome.verdicts.len(), sent.records.len(), "L7: one verdict for each record");
        let stream = sent.stream;
        self.streams[stream.0].landed(&sent.records);
        self.judge_request(&sent, &outcome, now);

        if sent.records.len() > 1 && outcome.verdicts.iter().all(is_rejected) {
            return self.bisect(stream, sent.records, now);
        }
        self.insist_on_encryption(stream, &outcome.verdicts, now);
        let mut again = Vec::new();
        let mut touched = BTreeSet::new();
        for (record, verdict) in sent.records.into_iter().zip(outcome.verdicts) {
            match verdict {
                Verdict::Delivered { encrypted } => {
                    let counts = &mut self.counts.streams[stream.0];
                    counts.records_delivered += 1;
                    counts.bytes_delivered += record.data.len() as u64;
                    counts.billed_bytes += billed_bytes(record.data.len());
                    counts.records_encrypted += u64::from(encrypted == Encrypted::Yes);
                    let life = &self.lives[&record.incarnation];
                    if let Some(read) = life.read.of(record.span.start()) {
                        counts.delivery_took.observe(now.since(read));
                    }
                    touched.insert(record.incarnation);
                    self.settle(&record);
                }
                Verdict::Rejected { code, message } => {
                    if self.is_room_for(&record) {
                        touched.insert(record.incarnation);
                        self.add_dead_letter(stream, &record, code, message);
                        self.settle(&record);
                    } else {
                        self.block(&record);
                    }
                }
                Verdict::Retry(why) => {
                    *self.counts.streams[stream.0].retries.entry(why.reason).or_default() += 1;
                    again.push(Record { failures: record.failures.saturating_add(1), ..record });
                }
            }
        }
        let failures = again.iter().map(|record| record.failures).max().unwrap_or(1);
        let delay = self.streams[stream.0].backoff.delay(failures, self.rng.f64());
        self.streams[stream.0].send_again(again, now + delay, false);
        for incarnation in touched {
            self.after_settling(incarnation, now);
        }
    }

    /// What the outcome says of the stream as a whole.
    fn judge_request(&mut self, sent: &Sent, outcome: &Outcome, now: Instant) {
        let verdicts = &outcome.verdicts;
        let retries: Vec<&Retry> = verdicts
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::Retry(why) => Some(why),
                Verdict::Delivered { .. } | Verdict::Rejected { .. } => None,
            })
            .collect();
        let end = match (retries.len(), verdicts.iter().filter(|verdict| is_rejected(verdict)).count()) {
            (0, 0) => RequestEnd::Delivered,
            (retries, _) if retries == verdicts.len() => RequestEnd::Failed,
            (_, refused) if refused == verdicts.len() => RequestEnd::Rejected,
            _ => RequestEnd::Partial,
        };
        let counts = &mut self.counts.streams[sent.stream.0];
        *counts.requests.entry((sent.operation, end)).or_default() += 1;
        counts.request_took.entry(sent.operation).or_default().observe(outcome.took);
        let stream = &mut self.streams[sent.stream.0];
        let accepted =
            sent.records.iter().zip(verdicts).filter(|(_, verdict)| !matches!(verdict, Verdict::Retry(_)));
        let (records, bytes) =
            accepted.fold((0, 0), |(records, bytes), (record, _)| (records + 1, bytes + record.data.len()));
        if records > 0 {
            stream.quota.accepted(Cost::of_request(records, bytes), now);
        }
        if retries.iter().any(|why| why.reason == RetryReason::Throttled) {
            counts.throttled += 1;
            // A service that takes nothing at all is not asked for its share.
            if stream.circuit.open().is_none() {
                stream.quota.throttled(sent.at, now);
            }
        }
        if let Some(why) = retries.first() {
            self.last_errors[sent.stream.0] = Some((now, (*why).clone()));
        }
        let stream_id = sent.stream;
        match (end, retries.first()) {
            (RequestEnd::Failed, Some(why)) => {
                match stream.circuit.failed(why, sent.at, now, self.rng.f64()) {
                    News::None => {}
                    News::Held => {
                        stream.quota.silenced();
                        self.report(Report::Held { stream: stream_id, why: (*why).clone() });
                    }
                    News::StillHeld { rounds, since } => {
                        let (why, after) = ((*why).clone(), now.since(since));
                        self.report(Report::StillHeld { stream: stream_id, why, tries: rounds, after });
                    }
                }
            }
            _ => {
                if let Some(open) = stream.circuit.answered() {
                    self.report(Report::Resumed { stream: stream_id, after: now.since(open.since) });
                }
            }
        }
    }

    /// What was accepted without encryption stays accepted; nothing follows it where that is not wanted.
    fn insist_on_encryption(&mut self, stream: StreamId, verdicts: &[Verdict], now: Instant) {
        let is_plain = |verdict: &Verdict| matches!(verdict, Verdict::Delivered { encrypted: Encrypted::No });
        let required = self.settings.streams[stream.0].encryption == Encryption::Required;
        if required && verdicts.iter().any(is_plain) {
            let why = Retry::not_encrypted();
            if self.streams[stream.0].circuit.stop(why.clone(), now) {
                self.last_errors[stream.0] = Some((now, why.clone()));
                self.report(Report::Stopped { stream, why });
            }
        }
    }

    /// One record spoils its batch: each half goes again by itself.
    fn bisect(&mut self, stream: StreamId, mut records: Vec<Record>, now: Instant) {
        let second = records.split_off(records.len() / 2);
        self.streams[stream.0].send_again(records, now, true);
        self.streams[stream.0].send_again(second, now, true);
    }

    /// What is too long for a record never leaves.
    pub(super) fn make_dead_letters(&mut self, incarnation: Incarnation, records: Vec<Record>, now: Instant) {
        if records.is_empty() {
            return;
        }
        let life = &self.lives[&incarnation];
        let (stream, longest) = (life.stream, self.settings.sources[life.source.0].max_message_bytes);
        let message: Arc<str> = format!("a line of more than {longest} bytes, or than a record takes").into();
        for record in records {
            if self.is_room_for(&record) {
                self.add_dead_letter(stream, &record, OVERSIZE.into(), Arc::clone(&message));
                self.settle(&record);
            } else {
                self.block(&record);
            }
        }
        self.after_settling(incarnation, now);
    }

    fn is_room_for(&self, record: &Record) -> bool {
        let held = self.dead_letter_bytes + self.unsaved_dead_letter_bytes;
        held + record.data.len() as u64 <= MAX_DEAD_LETTER_BYTES
    }

    /// Nothing is dropped: the record keeps its place in the file, and the file is read no further.
    fn block(&mut self, record: &Record) {
        let life = self.lives.get_mut(&record.incarnation).expect("a life is kept until it is settled");
        life.stuck += 1;
        if life.stuck == 1 {
            let (source, path) = (life.source, Arc::clone(&life.path));
            self.report(Report::Stuck { source, path, offset: record.span.start() });
        }
    }

    fn add_dead_letter(&mut self, stream: StreamId, record: &Record, code: Arc<str>, message: Arc<str>) {
        let counted = &mut self.counts.streams[stream.0].dead_letters;
        let known = counted.len() < MAX_CODES_COUNTED || counted.contains_key(&code);
        *counted.entry(if known { Arc::clone(&code) } else { "other".into() }).or_default() += 1;
        let life = &self.lives[&record.incarnation];
        let path = Arc::clone(&life.path);
        self.unsaved_dead_letter_bytes += record.data.len() as u64;
        self.dead_letters.push(DeadLetter {
            stream: Arc::clone(&self.settings.streams[stream.0].name),
            source: Arc::clone(&self.settings.sources[life.source.0].name),
            path: Arc::clone(&path),
            offset: record.span.start(),
            code: Arc::clone(&code),
            message: Arc::clone(&message),
            data: record.data.clone(),
        });
        let offset = record.span.start();
        self.report(Report::DeadLettered { stream, path, offset, code, message });
    }

    fn settle(&mut self, record: &Record) {
        let life = self.lives.get_mut(&record.incarnation).expect("a life is kept until it is settled");
        let before = life.buffered();
        let raised = life.settle(record);
        self.buffered -= before - life.buffered();
        self.settled_bytes += raised.bytes;
    }

    /// What follows from settled spans, once for all that one outcome settled.
    fn after_settling(&mut self, incarnation: Incarnation, now: Instant) {
        let bytes = std::mem::take(&mut self.settled_bytes);
        let life = self.lives.get_mut(&incarnation).expect("a life is kept until it is settled");
        life.let_go();
        let stream = life.stream;
        self.streams[stream.0].offer(life, 0);
        if life.checkpointed != life.ledger.frontier() {
            self.changed.insert(incarnation);
            self.pace.changed(bytes, now);
        }
        self.forget_if_over(incarnation, now);
    }

    /// Starts the save that is due.
    pub(super) fn save(&mut self, now: Instant) {
        let cannot_wait = !self.dead_letters.is_empty()
            || !self.unnamed.is_empty()
            || self.finishing.is_some_and(|finishing| finishing.surveyed)
                && self.everything_is_read()
                && self.everything_is_settled();
        let due = match self.pace.due(now) {
            Due::Now => true,
            Due::NotBefore(_) | Due::Nothing => cannot_wait && self.pace.is_free(now),
        };
        if !due || self.saving.is_some() {
            return;
        }
        if !self.saves_wait() {
            self.pace.cleared();
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let forgotten: Vec<_> = std::mem::take(&mut self.forgotten).into_iter().collect();
        let mut checkpoints = Vec::with_capacity(changed.len());
        for incarnation in &changed {
            let life = self.lives.get_mut(incarnation).expect("a changed life is kept");
            life.checkpointed = life.ledger.frontier();
            let stream = Arc::clone(&self.settings.streams[life.stream.0].name);
            checkpoints.push(life.checkpoint(stream));
        }
        let parted = std::mem::take(&mut self.parting);
        let offsets = checkpoints
            .iter()
            .map(|saved| (saved.incarnation, saved.offset, saved.fingerprint.len()))
            .collect();
        if !parted.is_empty() {
            let parted = self.stored.iter().filter(|stored| parted.contains(&stored.incarnation));
            checkpoints.extend(parted.cloned());
        }
        self.saving = Some(Saving {
            offsets,
            parted,
            forgotten: forgotten.clone(),
            dead_letters: self.dead_letters.len(),
        });
        self.pace.begun();
        let dead_letters = self.dead_letters.clone();
        self.effects.push_back(Effect::Save(Save { checkpoints, forgotten, dead_letters }));
    }

    pub(super) fn on_saved(&mut self, result: Result<(), String>, now: Instant) {
        let saving = self.saving.take().expect("an answer comes for the save under way");
        match result {
            Ok(()) => {
                self.counts.commits += 1;
                self.last_commit = now;
                self.pace.saved();
                for (incarnation, offset, covered) in saving.offsets {
                    if let Some(life) = self.lives.get_mut(&incarnation) {
                        (life.durable, life.known_by) = (Some(offset), Some(covered));
                        if !life.awaits_save() && self.unnamed.remove(&incarnation) {
                            self.streams[life.stream.0].offer(life, 0);
                        }
                    }
                }
                let written = self.dead_letters.drain(..saving.dead_letters);
                self.dead_letter_bytes += written.map(|letter| letter.data.len() as u64).sum::<u64>();
                self.unsaved_dead_letter_bytes =
                    self.dead_letters.iter().map(|letter| letter.data.len() as u64).sum();
                if self.not_saved.take().is_some() {
                    self.report(Report::SavedAgain);
                }
            }
            Err(why) => {
                self.counts.commit_failures += 1;
                self.pace.failed(now);
                let alive = saving.offsets.iter().map(|(life, ..)| *life);
                self.changed.extend(alive.filter(|life| self.lives.contains_key(life)));
                self.forgotten.extend(saving.forgotten);
                let still = self.stored.iter().map(|stored| stored.incarnation);
                self.parting.extend(still.filter(|life| saving.parted.contains(life)));
                if self.not_saved.replace(why.clone()).is_none() {
                    self.report(Report::NotSaved { why });
                }
            }
        }
    }

    /// Whether something would be lost by a crash now, or is being saved.
    pub(super) fn saves_wait(&self) -> bool {
        self.saving.is_some()
            || !self.changed.is_empty()
            || !self.forgotten.is_empty()
            || !self.parting.is_empty()
            || !self.dead_letters.is_empty()
    }

    pub(super) fn save_deadline(&self, now: Instant) -> Option<Instant> {
        match self.pace.due(now) {
            Due::Now => Some(now + Duration::from_millis(1)),
            Due::NotBefore(at) => Some(at),
            Due::Nothing => None,
        }
    }
}

fn is_rejected(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Rejected { .. })
}
