//! A delivery stream that misbehaves on demand, and checks what it is sent.

use std::collections::VecDeque;
use std::time::Duration;

use standpipe::engine::port::Put;
use standpipe::model::limits::{BATCH_RECORDS, BATCH_WIRE_BYTES, RECORD_BYTES, base64_len};
use standpipe::model::operation::Operation;
use standpipe::model::record_id::RecordId;
use standpipe::model::settings::QuotaSettings;
use standpipe::model::time::Instant;
use standpipe::model::verdict::{Encrypted, Outcome, Retry, RetryReason, Verdict};

use super::oracle::Oracle;
use super::reached::Reached;

/// A record that no service will ever take.
pub const POISON: &str = "poison";

/// A record that the service fails for as long as there is trouble.
pub const STUBBORN: &str = "stubborn";

/// What is the matter with a delivery stream, for as long as there is trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Illness {
    /// Every request fails.
    Down,
    /// Every request is refused for want of permission.
    Refusing,
    /// Every request is throttled.
    Throttling,
    /// Every request is refused, in words that blame its records.
    Rejecting,
    /// Answers take seconds.
    Slow,
    /// Requests are never answered.
    Silent,
}

/// How the service behaves: chances from 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub throttle: f64,
    pub server: f64,
    pub setup: f64,
    /// Of a batch's records.
    pub partial: f64,
    /// Accepted, and the answer lost.
    pub accept_then_lose: f64,
    pub nonsense: f64,
    pub illness: Option<Illness>,
    /// Whether stubborn records fail.
    pub stubborn: bool,
}

#[derive(Debug)]
pub struct Service {
    pub faults: Faults,
    /// Which stream it is.
    stream: usize,
    quota: QuotaSettings,
    /// Whether somebody mended the service: what was poison is taken.
    pub takes_poison: bool,
    /// When each request of the last second was sent, with its records and KiB.
    window: VecDeque<(Instant, u64, u64)>,
}

impl Service {
    pub fn new(stream: usize, faults: Faults, quota: QuotaSettings) -> Self {
        Self { stream, faults, quota, takes_poison: false, window: VecDeque::new() }
    }

    /// Another process sends from now on. It does not know what the one before it sent in the last second.
    pub fn next_sender(&mut self) {
        self.window.clear();
    }

    /// Other quotas are configured from now on.
    pub fn change(&mut self, quota: QuotaSettings) {
        self.quota = quota;
    }

    /// How much longer than usual an answer takes.
    pub fn lateness(&self) -> Duration {
        let is_slow = self.faults.illness == Some(Illness::Slow);
        if is_slow { Duration::from_secs(5) } else { Duration::ZERO }
    }

    /// L4 and L5 for a request that leaves now.
    pub fn check(&mut self, put: &Put, now: Instant) {
        let bytes: usize = put.records.iter().map(bytes::Bytes::len).sum();
        let wire: usize = put.records.iter().map(|data| base64_len(data.len()) + 12).sum();
        assert!((1..=BATCH_RECORDS).contains(&put.records.len()), "L4: {} records", put.records.len());
        assert!(wire <= BATCH_WIRE_BYTES, "L4: {wire} bytes on the wire");
        assert!(put.records.iter().all(|data| (1..=RECORD_BYTES).contains(&data.len())), "L4: record size");
        assert!(
            put.operation == Operation::PutRecordBatch || put.records.len() == 1,
            "L4: PutRecord is one record"
        );
        self.window.push_back((now, put.records.len() as u64, bytes.div_ceil(1024) as u64));
        while self.window.front().is_some_and(|(at, ..)| now.since(*at) >= Duration::from_secs(1)) {
            self.window.pop_front();
        }
        let allowed = |quota: f64| ((quota * self.quota.share) as u64).max(1);
        let requests = self.window.len() as u64;
        let records: u64 = self.window.iter().map(|(_, records, _)| records).sum();
        let kib: u64 = self.window.iter().map(|(.., kib)| kib).sum();
        assert!(
            requests <= allowed(self.quota.requests_per_second.get().into()),
            "L5: {requests} requests in a second"
        );
        assert!(
            records <= allowed(self.quota.records_per_second.get().into()),
            "L5: {records} records in a second"
        );
        assert!(kib <= allowed((self.quota.bytes_per_second / 1024) as f64), "L5: {kib} KiB in a second");
    }

    /// What becomes of a request, and the answer.
    pub fn answer(
        &self,
        put: &Put,
        rng: &mut fastrand::Rng,
        oracle: &mut Oracle,
        reached: &mut Reached,
    ) -> Outcome {
        let count = put.records.len();
        let all = |verdict: Verdict| vec![verdict; count];
        let faults = self.faults;
        let mut hit = |chance: f64| rng.f64() < chance;
        let verdicts = if let Some(verdict) = self.ill() {
            all(verdict)
        } else if hit(faults.setup) {
            all(retry(RetryReason::Setup))
        } else if hit(faults.throttle) {
            reached.throttled += 1;
            all(retry(RetryReason::Throttled))
        } else if hit(faults.server) {
            all(retry(RetryReason::Server))
        } else if !self.takes_poison && put.records.iter().any(|data| has(data, POISON)) {
            reached.refused += 1;
            if let [data] = &put.records[..] {
                oracle.refuse(data);
                reached.refused_records_of_many_lines += u64::from(has_many_lines(data));
            }
            all(Verdict::Rejected {
                code: "InvalidArgumentException".into(),
                message: "no".into(),
                answer: None,
            })
        } else if hit(faults.nonsense) {
            all(retry(RetryReason::Ambiguous))
        } else if hit(faults.accept_then_lose) {
            reached.accepted_then_lost += 1;
            put.records.iter().for_each(|data| oracle.accept_unheard(self.stream, data));
            all(retry(RetryReason::Network))
        } else {
            put.records.iter().map(|data| self.record(data, count, &mut hit, oracle, reached)).collect()
        };
        Outcome { verdicts, took: Duration::from_millis(10) }
    }

    /// What becomes of one record of a request that is answered.
    fn record(
        &self,
        data: &bytes::Bytes,
        count: usize,
        hit: &mut impl FnMut(f64) -> bool,
        oracle: &mut Oracle,
        reached: &mut Reached,
    ) -> Verdict {
        if count > 1 && hit(self.faults.partial) {
            reached.partial_failures += 1;
            return retry(RetryReason::Throttled);
        }
        if self.faults.stubborn && has(data, STUBBORN) {
            return retry(RetryReason::Server);
        }
        oracle.accept(self.stream, data);
        reached.accepted_records_of_many_lines += u64::from(has_many_lines(data));
        Verdict::Delivered { encrypted: Encrypted::No, id: Some(RecordId::alone("of the service", 0)) }
    }

    fn ill(&self) -> Option<Verdict> {
        match self.faults.illness? {
            Illness::Down => Some(retry(RetryReason::Server)),
            Illness::Refusing => Some(retry(RetryReason::Setup)),
            Illness::Throttling => Some(retry(RetryReason::Throttled)),
            Illness::Rejecting => Some(Verdict::Rejected {
                code: "InvalidArgumentException".into(),
                message: "no".into(),
                answer: None,
            }),
            Illness::Slow | Illness::Silent => None,
        }
    }
}

fn has_many_lines(data: &bytes::Bytes) -> bool {
    data.iter().filter(|byte| **byte == b'\n').count() > 1
}

pub fn has(data: &bytes::Bytes, word: &str) -> bool {
    memchr::memmem::find(data, word.as_bytes()).is_some()
}

fn retry(reason: RetryReason) -> Verdict {
    Verdict::Retry(Retry::new(reason, reason.label(), "simulated"))
}
