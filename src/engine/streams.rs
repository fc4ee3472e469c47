//! The delivery streams, and the requests under way to them.
//!
//! Routes outcomes to each stream's circuit breaker, quota and backoff, and says what becomes of each record. Does not
//! know files, nor where what is settled is saved.
//!
//! *Invariant (L7):* each record of a request gets exactly one end: delivered, rejected, or sent again.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::model::operation::Operation;
use crate::model::record::Record;
use crate::model::settings::{CheckpointSettings, Encryption, StreamId, StreamSettings};
use crate::model::time::Instant;
use crate::model::verdict::{Encrypted, Outcome, Retry, RetryReason, Verdict};
use crate::rules::circuit::News;
use crate::rules::retry::InvalidBackoff;

use super::incarnation::IncarnationState;
use super::port::{Put, RequestId};
use super::report::{Report, RequestEnd, StreamCounts};
use super::status::StreamStatus;
use super::stream::{Ready, Stream};

/// One request under way.
#[derive(Debug)]
struct Sent {
    stream: StreamId,
    operation: Operation,
    records: Vec<Record>,
    at: Instant,
}

/// All delivery streams.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    requests: HashMap<RequestId, Sent>,
    last_errors: Vec<Option<(Instant, Retry)>>,
    /// Draws the jitter of backoff.
    rng: fastrand::Rng,
    next_request: u64,
}

/// What an answer means for its records.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) stream: StreamId,
    pub(super) delivered: Vec<(Record, Encrypted)>,
    /// Never accepted: the code and the message of the service beside each.
    pub(super) rejected: Vec<(Record, std::sync::Arc<str>, std::sync::Arc<str>)>,
    pub(super) reports: Vec<Report>,
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
            last_errors: vec![None; settings.len()],
            rng: fastrand::Rng::with_seed(seed),
            next_request: 0,
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
        for (stream, fresh) in self.streams.iter_mut().zip(fresh.by_ref()) {
            stream.change(fresh, now);
        }
        self.streams.extend(fresh);
        self.last_errors.resize(settings.len(), None);
        Ok(())
    }

    /// `state` has records ready, the last `fresh` of them new.
    pub(super) fn offer(&mut self, state: &mut IncarnationState, fresh: usize) {
        self.streams[state.stream().0].offer(state, fresh);
    }

    /// What the records that wait in a stream cost in memory, in bytes.
    pub(super) fn waiting_bytes(&self, stream: StreamId) -> u64 {
        self.streams[stream.0].waiting_bytes()
    }

    pub(super) fn any_under_way(&self) -> bool {
        !self.requests.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.streams.iter().filter_map(|stream| stream.deadline).min()
    }

    /// Every request that may leave now, and what the operator is to be told.
    pub(super) fn send(&mut self, ready: &mut impl Ready, now: Instant) -> (Vec<Put>, Vec<Report>) {
        let (mut puts, mut reports) = (Vec::new(), Vec::new());
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let id = StreamId(index);
            while let Some(request) = stream.next(ready, now) {
                let number = RequestId(self.next_request);
                self.next_request += 1;
                let (operation, records) = (request.operation, request.records);
                puts.push(Put {
                    request: number,
                    stream: id,
                    operation,
                    records: records.iter().map(|record| record.data.clone()).collect(),
                });
                self.requests.insert(number, Sent { stream: id, operation, records, at: now });
            }
            if std::mem::take(&mut stream.advise) {
                reports.push(Report::BatchesWouldHelp { stream: id });
            }
        }
        (puts, reports)
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
        let stream = sent.stream;
        let counts = &mut counts[stream.0];
        self.streams[stream.0].landed(&sent.records, &outcome.verdicts, sent.at, now);
        let mut judged = Judged { stream, delivered: Vec::new(), rejected: Vec::new(), reports: Vec::new() };
        judged.reports.extend(self.judge_request(&sent, &outcome, counts, now));
        if sent.records.len() > 1 && outcome.verdicts.iter().all(is_rejected) {
            self.bisect(stream, sent.records, now);
            return judged;
        }
        if encryption(stream) == Encryption::Required {
            judged.reports.extend(self.insist_on_encryption(stream, &outcome.verdicts, now));
        }
        let mut again = Vec::new();
        for (record, verdict) in sent.records.into_iter().zip(outcome.verdicts) {
            match verdict {
                Verdict::Delivered { encrypted } => judged.delivered.push((record, encrypted)),
                Verdict::Rejected { code, message } => judged.rejected.push((record, code, message)),
                Verdict::Retry(why) => {
                    *counts.retries.entry(why.reason).or_default() += 1;
                    again.push(Record { failures: record.failures.saturating_add(1), ..record });
                }
            }
        }
        let failures = again.iter().map(|record| record.failures).max().unwrap_or(1);
        let delay = self.streams[stream.0].backoff.delay(failures, self.rng.f64());
        self.streams[stream.0].send_again(again, now + delay, false);
        judged
    }

    /// What the outcome says of the stream as a whole.
    fn judge_request(
        &mut self,
        sent: &Sent,
        outcome: &Outcome,
        counts: &mut StreamCounts,
        now: Instant,
    ) -> Option<Report> {
        let verdicts = &outcome.verdicts;
        let retries: Vec<&Retry> = verdicts
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::Retry(why) => Some(why),
                Verdict::Delivered { .. } | Verdict::Rejected { .. } => None,
            })
            .collect();
        let end = end_of(verdicts, retries.len());
        *counts.requests.entry((sent.operation, end)).or_default() += 1;
        counts.request_took.entry(sent.operation).or_default().observe(outcome.took);
        let stream = &mut self.streams[sent.stream.0];
        stream.note_answer(&sent.records, verdicts, sent.at, now);
        counts.throttled += u64::from(retries.iter().any(|why| why.reason == RetryReason::Throttled));
        if let Some(why) = retries.first() {
            self.last_errors[sent.stream.0] = Some((now, (*why).clone()));
        }
        let id = sent.stream;
        let (RequestEnd::Failed, Some(why)) = (end, retries.first()) else {
            let open = stream.circuit.answered()?;
            return Some(Report::Resumed { stream: id, after: now.since(open.since) });
        };
        match stream.circuit.failed(why, sent.at, now, self.rng.f64()) {
            News::None => None,
            News::Held => {
                stream.quota.silenced(now);
                Some(Report::Held { stream: id, why: (*why).clone() })
            }
            News::StillHeld { rounds, since } => {
                let (why, after) = ((*why).clone(), now.since(since));
                Some(Report::StillHeld { stream: id, why, tries: rounds, after })
            }
        }
    }

    /// What was accepted without encryption stays accepted; nothing follows it where that is not wanted.
    fn insist_on_encryption(
        &mut self,
        stream: StreamId,
        verdicts: &[Verdict],
        now: Instant,
    ) -> Option<Report> {
        let is_plain = |verdict: &Verdict| matches!(verdict, Verdict::Delivered { encrypted: Encrypted::No });
        if !verdicts.iter().any(is_plain) {
            return None;
        }
        let why = Retry::not_encrypted();
        self.streams[stream.0].circuit.stop(why.clone(), now).then(|| {
            self.last_errors[stream.0] = Some((now, why.clone()));
            Report::Stopped { stream, why }
        })
    }

    /// One record spoils its batch: each half goes again by itself.
    fn bisect(&mut self, stream: StreamId, mut records: Vec<Record>, now: Instant) {
        let second = records.split_off(records.len() / 2);
        self.streams[stream.0].send_again(records, now, true);
        self.streams[stream.0].send_again(second, now, true);
    }

    pub(super) fn status(&mut self, now: Instant) -> Vec<StreamStatus> {
        let streams = self.streams.iter_mut().zip(&self.last_errors).enumerate();
        let status = streams.map(|(index, (stream, last_error))| StreamStatus {
            stream: StreamId(index),
            in_flight: stream.in_flight,
            waiting: stream.waiting(),
            used: stream.quota.used(now),
            factor: stream.quota.factor(),
            held: stream.circuit.open().map(|open| (open.why.clone(), open.since)),
            last_error: last_error.clone(),
            batches_would_help: stream.bottleneck.lasts(now),
        });
        status.collect()
    }
}

fn is_rejected(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Rejected { .. })
}

fn end_of(verdicts: &[Verdict], retries: usize) -> RequestEnd {
    match (retries, verdicts.iter().filter(|verdict| is_rejected(verdict)).count()) {
        (0, 0) => RequestEnd::Delivered,
        (retries, _) if retries == verdicts.len() => RequestEnd::Failed,
        (_, rejected) if rejected == verdicts.len() => RequestEnd::Rejected,
        _ => RequestEnd::Partial,
    }
}
