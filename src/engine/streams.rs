//! The delivery streams, and the requests under way to them.
//!
//! Routes outcomes to each lane's circuit breaker, quota and backoff, and says what becomes of each record. Does not
//! know files, nor where what is settled is saved.
//!
//! *Invariant (L7):* each record of a request gets exactly one end: delivered, put aside, or sent again.

mod activity;
mod changing;
mod gathering;
mod judged;
mod known_parts;
mod letters;
mod sending;
mod spreading;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use crate::model::identity::Incarnation;
use crate::model::operation::Operation;
use crate::model::record::Record;
use crate::model::settings::{ByLane, CheckpointSettings, Encryption, LaneId, StreamId, StreamSettings};
use crate::model::time::Instant;
use crate::model::verdict::{Outcome, Retry, RetryReason, Verdict};
use crate::rules::circuit::News;
use crate::rules::judge::{Whole, as_a_whole, end_of, failure, is_delivered, is_plain, of_the_stream};
use crate::rules::ladder::Fate;
use crate::rules::retry::InvalidBackoff;
use crate::rules::spread::Spreading;

use super::incarnation::IncarnationState;
use super::lane::{Company, Lane, Place};
use super::port::RequestId;
use super::report::{Report, StreamCounts};

pub use self::gathering::Gathering;
pub(super) use self::letters::Ends;

use self::activity::Activity;
pub(super) use self::judged::{Apart, Judged};
use self::letters::{Letters, Parts, SentLetters};

/// One request under way.
#[derive(Debug)]
struct Sent {
    lane: LaneId,
    operation: Operation,
    records: Vec<Record>,
    company: Company,
    at: Instant,
}

/// All delivery streams.
#[derive(Debug)]
pub(super) struct Streams {
    lanes: ByLane<Lane>,
    requests: HashMap<RequestId, Sent>,
    /// Data of all requests under way, in bytes.
    under_way_bytes: u64,
    /// Dead letters that are sent again.
    letters: ByLane<Letters>,
    sent_letters: HashMap<RequestId, SentLetters>,
    parts: Parts,
    activity: ByLane<Activity>,
    /// By stream: which lane carries which files.
    spreadings: Vec<Spreading>,
    /// Streams in which other lanes may carry files by now.
    changed: BTreeSet<StreamId>,
    /// Files with something to send, by which their own lanes are to be asked.
    askers: BTreeMap<LaneId, Incarnation>,
    /// Lanes that carry their files again.
    recovered: Vec<LaneId>,
    /// When time alone changes next which lane carries a file.
    next_change: Option<Instant>,
    /// Draws the jitter of backoff.
    rng: fastrand::Rng,
    next_request: u64,
    /// Whether everything is to be delivered and be done.
    pub(super) is_draining: bool,
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
        let lane = |id: LaneId| Lane::try_new(of_lane(settings, id), checkpoint, now);
        Ok(Self {
            lanes: ByLane::try_of(settings, lane)?,
            requests: HashMap::new(),
            under_way_bytes: 0,
            letters: ByLane::of(settings, |_| Letters::default()),
            sent_letters: HashMap::new(),
            parts: Parts::default(),
            activity: ByLane::of(settings, |_| Activity::default()),
            spreadings: settings.iter().map(|stream| Spreading::new(&stream.spread)).collect(),
            changed: BTreeSet::new(),
            askers: BTreeMap::new(),
            recovered: Vec::new(),
            next_change: None,
            rng: fastrand::Rng::with_seed(seed),
            next_request: 0,
            is_draining: false,
        })
    }

    /// Everything is to be delivered and be done: no record waits for others any more.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        self.lanes.values_mut().for_each(Lane::drain);
    }

    /// What the bodies of all requests under way take in memory beside the records, in bytes.
    pub(super) fn body_bytes(&self) -> u64 {
        self.under_way_bytes.div_ceil(3) * 4
    }

    /// `state` has records ready, the last `fresh` of them new.
    pub(super) fn offer(&mut self, state: &mut IncarnationState, fresh: usize) {
        let lane = self.settle_in(state);
        self.lanes[lane].offer(state, fresh);
    }

    /// Takes every record of an incarnation out of the queues of its lane. What is under way stays so.
    pub(super) fn withdraw(&mut self, state: &mut IncarnationState) -> Vec<Record> {
        let lane = self.lane_for(state);
        self.lanes[lane].withdraw(state)
    }

    /// Whether nothing of a stream waits or is under way, neither records nor letters.
    pub(super) fn is_empty(&self, stream: StreamId) -> bool {
        self.lanes.of_stream(stream).iter().all(Lane::is_empty)
            && self.letters.of_stream(stream).iter().all(Letters::is_empty)
            && self.requests.values().all(|sent| sent.lane.stream != stream)
            && self.sent_letters.values().all(|sent| sent.lane().stream != stream)
    }

    pub(super) fn any_under_way(&self) -> bool {
        !self.requests.is_empty() || !self.sent_letters.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.deadline).chain(self.next_change).min()
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
        let (lane, counts) = (sent.lane, &mut counts[sent.lane.stream.0]);
        let bytes = sizes_of(sent.records.iter().map(|record| &record.data));
        self.under_way_bytes -= bytes;
        self.lanes[lane].landed((bytes, sent.company), &outcome.verdicts, sent.at, now);
        self.count(&sent, &outcome, counts, now);
        let (Outcome { verdicts, .. }, sent_at) = (outcome, sent.at);
        let (failed, refused) = (of_the_stream(&verdicts, false), of_the_stream(&verdicts, true));
        let insists = encryption(lane.stream) == Encryption::Required;
        let is_plain = verdicts.iter().any(is_plain);
        if insists && !is_plain && verdicts.iter().any(is_delivered) {
            self.lanes[lane].circuit.encrypted();
        }
        let mut judged = Judged::new(lane);
        if self.is_spread(lane.stream) {
            judged.incarnations = sent.records.iter().map(|record| record.incarnation).collect();
            judged.is_unsure = verdicts.iter().any(may_be_taken);
        }
        let single = (sent.records.len() == 1).then(|| Place::of(&sent.records[0]));
        match as_a_whole(&verdicts) {
            Some(Whole::Refused) => self.lanes[lane].halve(sent.records, sent.company, now),
            Some(Whole::Failed(why)) => {
                *counts.retries.entry(why.reason).or_default() += verdicts.len() as u64;
                let may_last = verdicts.len() == 1 || self.lanes[lane].takes_others(now);
                let records = sent.records.into_iter();
                let records = records.map(|record| judged.goes_again(record, may_last)).collect();
                let chance = self.rng.f64();
                let failure = (why.reason, sent_at);
                self.lanes[lane].send_group_again(records, sent.company, failure, chance, now);
            }
            None => self.judge_each(sent, verdicts, &mut judged, counts, now),
        }
        let why = if self.lanes[lane].ladder.is_held() { refused } else { failed };
        let fails = why.as_ref().is_some_and(|why| why.reason != RetryReason::Throttled);
        let is_evidence = why.as_ref().is_some_and(Retry::is_evidence);
        if !(is_evidence && single.is_some_and(|place| self.fails_for_itself(lane, place))) {
            judged.reports.extend(self.judge_lane(lane, why, sent_at, now));
        }
        if insists && is_plain {
            judged.reports.extend(self.stop_for_encryption(lane, now));
        }
        if self.is_spread(lane.stream) {
            let is_accepted = !judged.delivered.is_empty();
            if is_accepted || fails {
                self.note_probe(lane, is_accepted, sent_at, now);
            }
        }
        judged.stuck = self.lanes[lane].ladder.newly_stuck(now);
        judged
    }

    /// Whether a record's failure says nothing of the delivery stream, which takes others.
    fn fails_for_itself(&self, lane: LaneId, place: Place) -> bool {
        let lane = &self.lanes[lane];
        lane.circuit.open().is_none() && lane.ladder.fails_for_itself(place)
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
        let lane = &mut self.lanes[judged.lane];
        let (was_held, count) = (lane.ladder.is_held(), records.len());
        let may_last = count == 1 || lane.takes_others(now);
        for (record, _) in records.iter().zip(&verdicts).filter(|(_, verdict)| is_delivered(verdict)) {
            lane.ladder.accepted(Place::of(record), at, now);
        }
        let (mut again, mut decided_by) = (Vec::new(), None);
        for (record, verdict) in records.into_iter().zip(verdicts) {
            let place = Place::of(&record);
            let (why, fate) = match verdict {
                Verdict::Delivered { encrypted, id } => {
                    judged.delivered.push((record, encrypted, id));
                    continue;
                }
                Verdict::Rejected { code, message, answer } => {
                    let why = Retry { answer, ..Retry::new(RetryReason::Rejected, code, message) };
                    (why.clone(), Some(lane.ladder.refused(place, why, at, now)))
                }
                Verdict::Retry(why) if why.is_evidence() => {
                    let since = company.since().unwrap_or(now);
                    (why.clone(), Some(lane.ladder.failed(place, why, at, (since, now))))
                }
                Verdict::Retry(why) => (why, None),
            };
            if fate == Some(Fate::Blamed) {
                judged.rejected.push((record, why));
                continue;
            }
            *counts.retries.entry(why.reason).or_default() += 1;
            let record = judged.goes_again(record, may_last);
            match fate {
                Some(Fate::Again { failures, by }) if count == 1 || why.reason == RetryReason::Rejected => {
                    lane.send_suspect_again(record, why.reason, (failures, by), self.rng.f64(), now);
                }
                Some(Fate::Again { by, .. }) => {
                    again.push(record);
                    decided_by = decided_by.into_iter().chain(by).min();
                }
                Some(Fate::Blamed) | None => again.push(record),
            }
        }
        let failures = again.iter().map(|record| record.failures).max().unwrap_or(1);
        let due = now + lane.retry_delay(failures, self.rng.f64(), now);
        let company = if again.len() == count { company } else { Company::Open };
        lane.send_again(again, decided_by.map_or(due, |by| due.min(by)), company);
        if !judged.delivered.is_empty() {
            judged.rejected.extend(lane.judge_suspects(was_held, now));
        }
    }

    /// Counts a request's end, and notes what the answer says of quota and last error.
    fn count(&mut self, sent: &Sent, outcome: &Outcome, counts: &mut StreamCounts, now: Instant) {
        let verdicts = &outcome.verdicts;
        *counts.requests.entry((sent.operation, end_of(verdicts))).or_default() += 1;
        counts.request_took.entry(sent.operation).or_default().observe(outcome.took);
        let sizes: Vec<_> = sent.records.iter().map(|record| record.data.len()).collect();
        self.lanes[sent.lane].note_answer(&sizes, verdicts, sent.at, now);
        let mut retries = verdicts.iter().filter_map(failure);
        counts.throttled += u64::from(retries.any(|why| why.reason == RetryReason::Throttled));
        let activity = &mut self.activity[sent.lane];
        activity.note_answer(verdicts, now);
        activity.note_error(verdicts, now);
    }

    /// What a request says of the lane as a whole: that it failed, and `why`, or that the service is there.
    fn judge_lane(
        &mut self,
        id: LaneId,
        why: Option<Retry>,
        sent_at: Instant,
        now: Instant,
    ) -> Option<Report> {
        let lane = &mut self.lanes[id];
        let Some(why) = why else {
            let open = lane.circuit.answered(now)?;
            return Some(Report::Resumed { lane: id, after: now.since(open.since) });
        };
        match lane.circuit.failed(&why, sent_at, now, self.rng.f64()) {
            News::None => None,
            News::Held => {
                lane.quota.silenced(now);
                Some(Report::Held { lane: id, why })
            }
            News::StillHeld { rounds, since } => {
                Some(Report::StillHeld { lane: id, why, tries: rounds, after: now.since(since) })
            }
        }
    }

    /// What was accepted without encryption stays accepted; nothing follows it where that is not wanted.
    fn stop_for_encryption(&mut self, lane: LaneId, now: Instant) -> Option<Report> {
        let why = Retry::not_encrypted();
        self.lanes[lane].circuit.stop(why.clone(), now).then(|| {
            self.activity[lane].last_error = Some((now, why.clone()));
            Report::Stopped { lane, why }
        })
    }

    /// Whether a stream takes nothing under this configuration.
    pub(super) fn is_stopped(&self, stream: StreamId) -> bool {
        let used = self.spreadings[stream.0].used();
        used.into_iter().all(|place| self.lanes[LaneId { stream, place }].circuit.is_stopped())
    }

    /// Whether some stream takes nothing under this configuration.
    pub(super) fn any_stopped(&self) -> bool {
        (0..self.spreadings.len()).any(|stream| self.is_stopped(StreamId(stream)))
    }
}

/// The settings of one lane: those of its stream, with its own quotas.
fn of_lane(settings: &[StreamSettings], LaneId { stream, place }: LaneId) -> StreamSettings {
    let settings = &settings[stream.0];
    StreamSettings { quota: settings.quota_of(place), ..settings.clone() }
}

/// What the data of a request has, in bytes.
fn sizes_of<'a>(data: impl Iterator<Item = &'a Bytes>) -> u64 {
    data.map(|data| data.len() as u64).sum()
}

/// Whether a record that goes again may have been taken all the same.
fn may_be_taken(verdict: &Verdict) -> bool {
    let is_unsure = |why: &Retry| matches!(why.reason, RetryReason::Network | RetryReason::Ambiguous);
    matches!(verdict, Verdict::Retry(why) if is_unsure(why))
}
