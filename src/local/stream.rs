//! One delivery stream.
//!
//! Knows its quotas, its key, its buffer and its counts, and lets records in by them. Deliberately knows nothing
//! of faults, of other delivery streams, of clocks or files: `service` owns it and hands everything in.
//!
//! *Invariant:* a record that got a RecordId is in the buffer, and one that did not is not.

use std::time::Duration;

use bytes::Bytes;

use super::buffer::{Buffer, Buffering, Chunk, Refused};
use super::ids::{Kept, Labels, RecordId, RecordIds};
use super::quota::{Quota, Window};
use super::records::Records;
use super::refusal::{Kind, Refusal};
use super::request::Operation;
use super::stats::{Counts, StreamReport};

/// The state of the key that a delivery stream is encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Usable,
    /// Disabled, deleted, or not ours: nothing is accepted.
    Invalid,
}

/// Where a delivery stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Created by request, and takes nothing before this time.
    CreatingUntil(Duration),
    Active,
    /// Takes nothing more, and is gone once everything it took is delivered.
    Deleting,
}

/// What one request brought in.
#[derive(Debug)]
pub(super) struct Taken {
    /// One verdict for each record, in the request's order.
    pub verdicts: Vec<Result<RecordId, Refusal>>,
    /// The number of the chunk that took them, and the accepted records; `None` when no record was accepted.
    pub kept: Option<(u64, Kept)>,
}

/// One delivery stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// When the delivery stream was created, since 1970.
    pub created_at: Duration,
    pub phase: Phase,
    key: Key,
    window: Window,
    buffer: Buffer,
    counts: Counts,
}

impl Stream {
    pub(super) fn new(quota: Quota, buffering: Buffering, key: Key, created_at: Duration) -> Self {
        Self {
            created_at,
            phase: Phase::Active,
            key,
            window: Window::new(quota),
            buffer: Buffer::new(buffering),
            counts: Counts::default(),
        }
    }

    /// The phase of the delivery stream at `now`.
    pub(super) fn phase_at(&self, now: Duration) -> Phase {
        match self.phase {
            Phase::CreatingUntil(ready) if ready <= now => Phase::Active,
            phase @ (Phase::CreatingUntil(_) | Phase::Active | Phase::Deleting) => phase,
        }
    }

    /// Lets in what the key and the quotas allow: one verdict for each record, in the request's order.
    ///
    /// `losers` are records of a batch that fail in any case. Errors: the whole request is refused, and nothing
    /// of it is in.
    pub(super) fn take(
        &mut self,
        operation: Operation,
        records: &Records,
        losers: Option<&[bool]>,
        ids: &mut RecordIds,
        now: Duration,
    ) -> Result<Taken, Refusal> {
        if self.key == Key::Invalid {
            return Err(Refusal::new(
                Kind::InvalidKmsResource,
                "The key of the delivery stream is not usable.",
            ));
        }
        let admitted = self.admit(operation, records, losers, now).ok_or_else(Refusal::slow_down)?;

        let data = if admitted.iter().all(|fits| *fits) {
            records.data().to_vec()
        } else {
            let fitting = records.iter().zip(&admitted).filter(|(_, fits)| **fits);
            fitting.flat_map(|(data, _)| data).copied().collect()
        };
        let fitting = records.iter().zip(&admitted).filter(|(_, fits)| **fits);
        let length =
            |(data, _): (&[u8], &bool)| u32::try_from(data.len()).expect("a record has 1,000 KiB at most");
        let labels = Labels { first: ids.next(), lengths: fitting.map(length).collect() };
        let kept = (!labels.lengths.is_empty()).then(|| {
            let kept = Kept { data: Bytes::from(data), labels };
            (self.buffer.push(&kept, now), kept)
        });
        let verdict = |(index, fits): (usize, &bool)| {
            if *fits {
                Ok(ids.give())
            } else if losers.is_some_and(|losers| losers[index]) {
                Err(Refusal::new(Kind::Internal, "Internal service failure."))
            } else {
                Err(Refusal::slow_down())
            }
        };
        let verdicts = admitted.iter().enumerate().map(verdict).collect();
        Ok(Taken { verdicts, kept })
    }

    /// Which records fit; `None` when the request as a whole does not.
    fn admit(
        &mut self,
        operation: Operation,
        records: &Records,
        losers: Option<&[bool]>,
        now: Duration,
    ) -> Option<Vec<bool>> {
        match (operation, losers) {
            (Operation::PutRecord, _) => {
                let bytes = records.data().len() as u64;
                self.window.admit_one(bytes, now).then(|| vec![true])
            }
            (Operation::PutRecordBatch, None) => self.window.admit_batch(records.sizes(), now),
            (Operation::PutRecordBatch, Some(losers)) => {
                // What fails by itself uses no quota up.
                let survivors =
                    records.sizes().zip(losers).filter(|(_, lost)| !**lost).map(|(bytes, _)| bytes);
                let mut verdicts = self.window.admit_batch(survivors, now)?.into_iter();
                let verdict = |lost: &bool| !*lost && verdicts.next().expect("one verdict for each survivor");
                Some(losers.iter().map(verdict).collect())
            }
        }
    }

    /// Counts one request by its outcome, and its records by their verdicts.
    pub(super) fn count(
        &mut self,
        operation: Operation,
        outcome: &'static str,
        records: Option<&Records>,
        verdicts: Option<&[Result<RecordId, Refusal>]>,
    ) {
        self.counts.request(operation.label(), outcome);
        for (index, bytes) in records.into_iter().flat_map(Records::sizes).enumerate() {
            let accepted = verdicts.is_some_and(|verdicts| verdicts[index].is_ok());
            let amount = if accepted { &mut self.counts.accepted } else { &mut self.counts.rejected };
            amount.grow(1, bytes);
        }
    }

    /// The chunk to deliver now, if any.
    pub(super) fn due(&mut self, now: Duration) -> Option<Chunk> {
        self.buffer.next(now)
    }

    /// When to ask [`Stream::due`] again.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.buffer.deadline()
    }

    /// The chunk under way is at the destination; says which it is.
    pub(super) fn delivered(&mut self) -> u64 {
        let chunk = self.buffer.delivered();
        self.counts.delivered.grow(chunk.records, chunk.data.len() as u64);
        self.counts.delivered_files += 1;
        chunk.number
    }

    /// The destination refused the chunk under way; says whether it is gone with that.
    pub(super) fn refused(&mut self, now: Duration) -> Refused {
        let outcome = self.buffer.refused(now);
        if let Refused::Dropped(chunk) = &outcome {
            self.counts.dropped.grow(chunk.records, chunk.data.len() as u64);
        }
        outcome
    }

    /// Makes everything accepted so far due; says up to which chunk that reaches.
    pub(super) fn flush(&mut self) -> u64 {
        self.buffer.flush()
    }

    /// Whether everything up to that chunk is settled.
    pub(super) fn reached(&self, chunk: u64) -> bool {
        self.buffer.settled_count() >= chunk
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.buffer.held_bytes()
    }

    pub(super) fn report(&self) -> StreamReport<'_> {
        StreamReport {
            counts: &self.counts,
            peak_per_second: self.window.peak(),
            buffered_bytes: self.buffer.held_bytes(),
        }
    }
}
