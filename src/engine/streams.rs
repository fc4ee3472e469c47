//! The delivery streams, and the requests under way to them.
//!
//! Routes outcomes to each stream's circuit breaker, quota and backoff, and says what becomes of each record. Does not
//! know files, nor where what is settled is saved.
//!
//! *Invariant (L7):* each record of a request gets exactly one end: delivered, put aside, or sent again.

mod activity;
mod letters;
mod sending;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::identity::Incarnation;
use crate::model::operation::Operation;
use crate::model::record::Record;
use crate::model::record_id::RecordId;
use crate::model::settings::{CheckpointSettings, Encryption, StreamId, StreamSettings};
use crate::model::time::Instant;
use crate::model::verdict::{Encrypted, Outcome, Retry, RetryReason, Verdict};
use crate::rules::circuit::News;
use crate::rules::judge::{Whole, as_a_whole, end_of, failure, is_delivered, is_plain, of_the_stream};
use crate::rules::ladder::{Fate, Suspect};
use crate::rules::retry::InvalidBackoff;

use super::incarnation::IncarnationState;
use super::port::RequestId;
use super::report::{Report, StreamCounts};
use super::status::{StreamStatus, StuckRecord};
use super::stream::{Company, Place, Stream};

pub(super) use self::letters::Ends;

use self::activity::Activity;
use self::letters::{Letters, Parts, SentLetters};

/// So many stuck records of a stream are named; all are counted.
const MAX_STUCK_SHOWN: usize = 10;

/// One request under way.
#[derive(Debug)]
struct Sent {
    stream: StreamId,
    operation: Operation,
    records: Vec<Record>,
    company: Company,
    at: Instant,
}

/// All delivery streams.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    requests: HashMap<RequestId, Sent>,
    /// Dead letters that are sent again, by stream.
    letters: Vec<Letters>,
    sent_letters: HashMap<RequestId, SentLetters>,
    parts: Parts,
    activity: Vec<Activity>,
    /// Draws the jitter of backoff.
    rng: fastrand::Rng,
    next_request: u64,
    /// Whether everything is to be delivered and be done.
    pub(super) is_draining: bool,
}

/// What an answer means for its records.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) stream: StreamId,
    pub(super) delivered: Vec<(Record, Encrypted, Option<RecordId>)>,
    /// To be put aside: what the service said of each last.
    pub(super) rejected: Vec<(Record, Retry)>,
    /// Records of which it is news that they fail alone, and for how long they have.
    pub(super) stuck: Vec<(Place, Retry, Duration)>,
    pub(super) reports: Vec<Report>,
}

impl Judged {
    fn new(stream: StreamId) -> Self {
        Self { stream, delivered: Vec::new(), rejected: Vec::new(), stuck: Vec::new(), reports: Vec::new() }
    }
}

impl Streams {
    /// # Errors
    /// When a stream's retry delays make no backoff.
    pub(super) fn try_new(
        settings: &[StreamSettings],
        checkpoint: CheckpointSettings,
        seed: u64,
        now: Instant,
    ) -> Result<Self, InvalidBackoff> {
        let streams: Result<Vec<_>, _> =
            settings.iter().map(|stream| Stream::try_new(stream.clone(), checkpoint, now)).collect();
        Ok(Self {
            streams: streams?,
            requests: HashMap::new(),
            letters: settings.iter().map(|_| Letters::default()).collect(),
            sent_letters: HashMap::new(),
            parts: Parts::default(),
            activity: vec![Activity::default(); settings.len()],
            rng: fastrand::Rng::with_seed(seed),
            next_request: 0,
            is_draining: false,
        })
    }

    /// Other settings, and maybe more streams. What is under way goes on.
    ///
    /// # Errors
    /// When a stream's retry delays make no backoff; then nothing has changed.
    pub(super) fn change(
        &mut self,
        settings: &[StreamSettings],
        checkpoint: CheckpointSettings,
        now: Instant,
    ) -> Result<(), InvalidBackoff> {
        let fresh: Result<Vec<_>, _> =
            settings.iter().map(|stream| Stream::try_new(stream.clone(), checkpoint, now)).collect();
        let mut fresh = fresh?.into_iter();
        for (place, (stream, fresh)) in self.streams.iter_mut().zip(fresh.by_ref()).enumerate() {
            if stream.settings.name == fresh.settings.name {
                stream.change(fresh, now);
            } else {
                // Nothing was under way for the one that was here.
                *stream = fresh;
                (self.activity[place], self.letters[place]) = (Activity::default(), Letters::default());
            }
        }
        self.streams.extend(fresh);
        self.activity.resize_with(settings.len(), Activity::default);
        self.letters.resize_with(settings.len(), Letters::default);
        if self.is_draining {
            self.drain();
        }
        Ok(())
    }

    /// Everything is to be delivered and be done: no record waits for others any more.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        self.streams.iter_mut().for_each(Stream::drain);
    }

    /// `state` has records ready, the last `fresh` of them new.
    pub(super) fn offer(&mut self, state: &mut IncarnationState, fresh: usize) {
        self.streams[state.stream().0].offer(state, fresh);
    }

    /// Takes every record of an incarnation out of the queues of its stream. What is under way stays so.
    pub(super) fn withdraw(&mut self, state: &mut IncarnationState) -> Vec<Record> {
        self.streams[state.stream().0].withdraw(state)
    }

    /// Whether nothing of a stream waits or is under way, neither records nor letters.
    pub(super) fn is_empty(&self, stream: StreamId) -> bool {
        self.streams[stream.0].is_empty()
            && self.letters[stream.0].is_empty()
            && self.requests.values().all(|sent| sent.stream != stream)
            && self.sent_letters.values().all(|sent| sent.stream() != stream)
    }

    /// What the records that wait in a stream cost in memory, in bytes.
    pub(super) fn waiting_bytes(&self, stream: StreamId) -> u64 {
        self.streams[stream.0].waiting_bytes()
    }

    pub(super) fn any_under_way(&self) -> bool {
        !self.requests.is_empty() || !self.sent_letters.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.streams.iter().filter_map(|stream| stream.deadline).min()
    }

    /// A request has its outcome.
    ///
    /// # Panics
    /// When the outcome has not exactly one verdict for each record: the shell calls such an answer ambiguous.
    pub(super) fn judge(
        &mut self,
        request: RequestId,
        outcome: Outcome,
        encryption: impl Fn(StreamId) -> Encryption,
        counts: &mut [StreamCounts],
        now: Instant,
    ) -> Judged {
        let sent = self.requests.remove(&request).expect("an outcome comes once for each request");
        assert_eq!(outcome.verdicts.len(), sent.records.len(), "L7: one verdict for each record");
        let (stream, counts) = (sent.stream, &mut counts[sent.stream.0]);
        let bytes = sizes_of(sent.records.iter().map(|record| &record.data));
        self.streams[stream.0].landed(bytes, &outcome.verdicts, sent.at, now);
        self.count(&sent, &outcome, counts, now);
        let (Outcome { verdicts, .. }, sent_at) = (outcome, sent.at);
        let (failed, refused) = (of_the_stream(&verdicts, false), of_the_stream(&verdicts, true));
        let insists = encryption(stream) == Encryption::Required;
        let is_plain = verdicts.iter().any(is_plain);
        if insists && !is_plain && verdicts.iter().any(is_delivered) {
            self.streams[stream.0].circuit.encrypted();
        }
        let mut judged = Judged::new(stream);
        let single = (sent.records.len() == 1).then(|| Place::of(&sent.records[0]));
        match as_a_whole(&verdicts) {
            Some(Whole::Refused) => self.streams[stream.0].halve(sent.records, sent.company, now),
            Some(Whole::Failed(why)) => {
                *counts.retries.entry(why.reason).or_default() += verdicts.len() as u64;
                let records = sent.records.into_iter().map(failed_once_more).collect();
                let chance = self.rng.f64();
                self.streams[stream.0].send_group_again(records, sent.company, chance, now);
            }
            None => self.judge_each(sent, verdicts, &mut judged, counts, now),
        }
        let why = if self.streams[stream.0].ladder.is_held() { refused } else { failed };
        let is_evidence = why.as_ref().is_some_and(Retry::is_evidence);
        if !(is_evidence && single.is_some_and(|place| self.fails_for_itself(stream, place))) {
            judged.reports.extend(self.judge_stream(stream, why, sent_at, now));
        }
        if insists && is_plain {
            judged.reports.extend(self.stop_for_encryption(stream, now));
        }
        judged.stuck = self.streams[stream.0].ladder.newly_stuck(now);
        judged
    }

    /// Whether a record's failure says nothing of the stream, which takes others.
    fn fails_for_itself(&self, stream: StreamId, place: Place) -> bool {
        let stream = &self.streams[stream.0];
        stream.circuit.open().is_none() && stream.ladder.fails_for_itself(place)
    }

    /// What becomes of each record of an answer that tells them apart.
    fn judge_each(
        &mut self,
        sent: Sent,
        verdicts: Vec<Verdict>,
        judged: &mut Judged,
        counts: &mut StreamCounts,
        now: Instant,
    ) {
        let Sent { records, at, company, .. } = sent;
        let stream = &mut self.streams[judged.stream.0];
        let (was_held, count) = (stream.ladder.is_held(), records.len());
        for (record, _) in records.iter().zip(&verdicts).filter(|(_, verdict)| is_delivered(verdict)) {
            stream.ladder.accepted(Place::of(record), at, now);
        }
        let (mut again, mut decided_by) = (Vec::new(), None);
        for (record, verdict) in records.into_iter().zip(verdicts) {
            let place = Place::of(&record);
            let (why, fate) = match verdict {
                Verdict::Delivered { encrypted, id } => {
                    judged.delivered.push((record, encrypted, id));
                    continue;
                }
                Verdict::Rejected { code, message } => {
                    let why = Retry { reason: RetryReason::Rejected, code, message };
                    (why.clone(), Some(stream.ladder.refused(place, why, at, now)))
                }
                Verdict::Retry(why) if why.is_evidence() => {
                    let since = company.since().unwrap_or(now);
                    (why.clone(), Some(stream.ladder.failed(place, why, at, (since, now))))
                }
                Verdict::Retry(why) => (why, None),
            };
            if fate == Some(Fate::Blamed) {
                judged.rejected.push((record, why));
                continue;
            }
            *counts.retries.entry(why.reason).or_default() += 1;
            let record = failed_once_more(record);
            match fate {
                Some(Fate::Again { failures, by }) if count == 1 || why.reason == RetryReason::Rejected => {
                    stream.send_suspect_again(record, why.reason, (failures, by), self.rng.f64(), now);
                }
                Some(Fate::Again { by, .. }) => {
                    again.push(record);
                    decided_by = decided_by.into_iter().chain(by).min();
                }
                Some(Fate::Blamed) | None => again.push(record),
            }
        }
        let failures = again.iter().map(|record| record.failures).max().unwrap_or(1);
        let due = now + stream.backoff.delay(failures, self.rng.f64());
        let company = if again.len() == count { company } else { Company::Open };
        stream.send_again(again, decided_by.map_or(due, |by| due.min(by)), company);
        if !judged.delivered.is_empty() {
            judged.rejected.extend(stream.judge_suspects(was_held, now));
        }
    }

    /// Counts a request's end, and notes what the answer says of quota and last error.
    fn count(&mut self, sent: &Sent, outcome: &Outcome, counts: &mut StreamCounts, now: Instant) {
        let verdicts = &outcome.verdicts;
        *counts.requests.entry((sent.operation, end_of(verdicts))).or_default() += 1;
        counts.request_took.entry(sent.operation).or_default().observe(outcome.took);
        let sizes: Vec<_> = sent.records.iter().map(|record| record.data.len()).collect();
        self.streams[sent.stream.0].note_answer(&sizes, verdicts, sent.at, now);
        let mut retries = verdicts.iter().filter_map(failure);
        counts.throttled += u64::from(retries.any(|why| why.reason == RetryReason::Throttled));
        let activity = &mut self.activity[sent.stream.0];
        activity.note_answer(verdicts, now);
        activity.note_error(verdicts, now);
    }

    /// What a request says of the stream as a whole: that it failed, and `why`, or that the service is there.
    fn judge_stream(
        &mut self,
        id: StreamId,
        why: Option<Retry>,
        sent_at: Instant,
        now: Instant,
    ) -> Option<Report> {
        let stream = &mut self.streams[id.0];
        let Some(why) = why else {
            let open = stream.circuit.answered()?;
            return Some(Report::Resumed { stream: id, after: now.since(open.since) });
        };
        match stream.circuit.failed(&why, sent_at, now, self.rng.f64()) {
            News::None => None,
            News::Held => {
                stream.quota.silenced(now);
                Some(Report::Held { stream: id, why })
            }
            News::StillHeld { rounds, since } => {
                Some(Report::StillHeld { stream: id, why, tries: rounds, after: now.since(since) })
            }
        }
    }

    /// What was accepted without encryption stays accepted; nothing follows it where that is not wanted.
    fn stop_for_encryption(&mut self, stream: StreamId, now: Instant) -> Option<Report> {
        let why = Retry::not_encrypted();
        self.streams[stream.0].circuit.stop(why.clone(), now).then(|| {
            self.activity[stream.0].last_error = Some((now, why.clone()));
            Report::Stopped { stream, why }
        })
    }

    /// Whether a stream takes nothing under this configuration.
    pub(super) fn is_stopped(&self, stream: StreamId) -> bool {
        self.streams[stream.0].circuit.is_stopped()
    }

    /// Whether some stream takes nothing under this configuration.
    pub(super) fn any_stopped(&self) -> bool {
        self.streams.iter().any(|stream| stream.circuit.is_stopped())
    }

    /// How each stream stands; `path` says under which name an incarnation is known.
    pub(super) fn status(
        &mut self,
        path: impl Fn(Incarnation) -> Arc<Path>,
        now: Instant,
    ) -> Vec<StreamStatus> {
        let stuck_record = |(place, suspect): (Place, &Suspect)| StuckRecord {
            path: path(place.incarnation),
            offset: place.offset,
            why: suspect.why.clone(),
            since: suspect.since,
        };
        let streams = self.streams.iter_mut().zip(&self.activity).enumerate();
        let status = streams.map(|(index, (stream, activity))| StreamStatus {
            stream: StreamId(index),
            in_flight: stream.in_flight.requests,
            waiting: stream.waiting(),
            used: stream.quota.used(now),
            factor: stream.quota.factor(),
            held: stream.circuit.open().map(|open| (open.why.clone(), open.since)),
            last_error: activity.last_error.clone(),
            sent: activity.sent.last_second(now),
            delivered_at: activity.delivered_at,
            throttled_at: activity.throttled_at,
            blocked_files: 0,
            batches_would_help: stream.bottleneck.lasts(now),
            stuck_records: stream.ladder.stuck(now).count(),
            stuck: stream.ladder.stuck(now).take(MAX_STUCK_SHOWN).map(stuck_record).collect(),
        });
        status.collect()
    }
}

/// What the data of a request has, in bytes.
fn sizes_of<'a>(data: impl Iterator<Item = &'a Bytes>) -> u64 {
    data.map(|data| data.len() as u64).sum()
}

fn failed_once_more(record: Record) -> Record {
    Record { failures: record.failures.saturating_add(1), ..record }
}
