//! One delivery stream that keeps its quota to the letter, for everyone together.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use standpipe::engine::port::Put;
use standpipe::model::time::Instant;
use standpipe::model::verdict::{Encrypted, Retry, RetryReason, Verdict};

pub const REQUESTS: u64 = 2_000;
pub const RECORDS: u64 = 5_000;
pub const BYTES: u64 = 5_000_000;

/// At the beginning of an outage, records are taken of which nobody hears.
const UNHEARD: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Counted {
    pub requests: u64,
    /// Requests of which at least one record was throttled.
    pub rejected: u64,
}

/// What became of one record: whether the service has it, and what it says.
pub type Answer = (bool, Verdict);

#[derive(Debug)]
pub struct Service {
    /// Records that it takes in any second.
    pub records: u64,
    /// What was let in during the last second.
    window: VecDeque<(Instant, [u64; 3])>,
    used: [u64; 3],
    /// When it takes nothing.
    pub outage: Option<Range<Duration>>,
    pub counted: Counted,
}

impl Default for Service {
    fn default() -> Self {
        let (window, counted) = (VecDeque::new(), Counted::default());
        Self { records: RECORDS, window, used: [0; 3], outage: None, counted }
    }
}

impl Service {
    pub fn forget(&mut self) {
        self.counted = Counted::default();
    }

    /// A request arrives; a record that does not fit into the last second is refused, and uses nothing up.
    pub fn answer(&mut self, put: &Put, now: Instant) -> Vec<Answer> {
        let since = self
            .outage
            .as_ref()
            .filter(|outage| now >= Instant::at(outage.start) && now < Instant::at(outage.end));
        match since.map(|outage| now.since(Instant::at(outage.start))) {
            None => self.take(put, now),
            Some(since) if since < UNHEARD => {
                let taken = self.take(put, now).into_iter();
                let late = || failed(RetryReason::Network, "Timeout");
                taken.map(|(is_taken, _)| (is_taken, late())).collect()
            }
            Some(_) => {
                put.records.iter().map(|_| (false, failed(RetryReason::Server, "InternalFailure"))).collect()
            }
        }
    }

    fn take(&mut self, put: &Put, now: Instant) -> Vec<Answer> {
        while let Some((at, cost)) = self.window.front()
            && now.since(*at) >= Duration::from_secs(1)
        {
            self.used.iter_mut().zip(cost).for_each(|(used, part)| *used -= part);
            self.window.pop_front();
        }
        self.counted.requests += 1;
        let mut cost = [1, 0, 0];
        let called = self.used[0] < REQUESTS;
        let verdicts: Vec<_> = put
            .records
            .iter()
            .map(|data| {
                let after = [self.used[1] + cost[1] + 1, self.used[2] + cost[2] + data.len() as u64];
                if called && after[0] <= self.records && after[1] <= BYTES {
                    cost[1] += 1;
                    cost[2] += data.len() as u64;
                    return (true, Verdict::Delivered { encrypted: Encrypted::No, id: None });
                }
                (false, failed(RetryReason::Throttled, "ServiceUnavailableException"))
            })
            .collect();
        self.counted.rejected += u64::from(cost[1] < put.records.len() as u64);
        if called && cost[1] > 0 {
            self.used.iter_mut().zip(cost).for_each(|(used, part)| *used += part);
            self.window.push_back((now, cost));
        }
        verdicts
    }
}

fn failed(reason: RetryReason, code: &str) -> Verdict {
    Verdict::Retry(Retry::new(reason, code, "Not now."))
}
