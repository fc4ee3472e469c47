//! A delivery stream that misbehaves on demand, and checks what it is sent.

use std::collections::VecDeque;
use std::time::Duration;

use standpipe::engine::port::Put;
use standpipe::model::limits::{BATCH_RECORDS, BATCH_WIRE_BYTES, RECORD_BYTES, base64_len};
use standpipe::model::operation::Operation;
use standpipe::model::settings::QuotaSettings;
use standpipe::model::time::Instant;
use standpipe::model::verdict::{Encrypted, Outcome, Retry, RetryReason, Verdict};

use super::oracle::Oracle;
use super::world::Reached;

/// A record that no service will ever take.
pub const POISON: &str = "poison";

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
}

#[derive(Debug)]
pub struct Service {
    pub faults: Faults,
    quota: QuotaSettings,
    /// When each request of the last second was sent, with its records and KiB.
    window: VecDeque<(Instant, u64, u64)>,
}

impl Service {
    pub fn new(faults: Faults, quota: QuotaSettings) -> Self {
        Self { faults, quota, window: VecDeque::new() }
    }

    /// Another process sends from now on. It does not know what the one before it sent in the last second.
    pub fn next_sender(&mut self) {
        self.window.clear();
    }

    /// Other quotas are configured from now on.
    pub fn change(&mut self, quota: QuotaSettings) {
        self.quota = quota;
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
        let verdicts = if hit(faults.setup) {
            all(retry(RetryReason::Setup))
        } else if hit(faults.throttle) {
            reached.throttled += 1;
            all(retry(RetryReason::Throttled))
        } else if hit(faults.server) {
            all(retry(RetryReason::Server))
        } else if put.records.iter().any(is_poison) {
            reached.refused += 1;
            if let [data] = &put.records[..] {
                oracle.refuse(data);
                reached.refused_records_of_many_lines += u64::from(has_many_lines(data));
            }
            all(Verdict::Rejected { code: "InvalidArgumentException".into(), message: "no".into() })
        } else if hit(faults.nonsense) {
            all(retry(RetryReason::Ambiguous))
        } else if hit(faults.accept_then_lose) {
            reached.accepted_then_lost += 1;
            put.records.iter().for_each(|data| oracle.accept_unheard(data));
            all(retry(RetryReason::Network))
        } else {
            put.records
                .iter()
                .map(|data| {
                    if count > 1 && hit(faults.partial) {
                        reached.partial_failures += 1;
                        retry(RetryReason::Throttled)
                    } else {
                        oracle.accept(data);
                        reached.accepted_records_of_many_lines += u64::from(has_many_lines(data));
                        Verdict::Delivered { encrypted: Encrypted::No }
                    }
                })
                .collect()
        };
        Outcome { verdicts, took: Duration::from_millis(10) }
    }
}

fn has_many_lines(data: &bytes::Bytes) -> bool {
    data.iter().filter(|byte| **byte == b'\n').count() > 1
}

fn is_poison(data: &bytes::Bytes) -> bool {
    data.windows(POISON.len()).any(|window| window == POISON.as_bytes())
}

fn retry(reason: RetryReason) -> Verdict {
    Verdict::Retry(Retry { reason, code: reason.label().into(), message: "simulated".into() })
}
