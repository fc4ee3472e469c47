//! How much may be under way at once: requests, and bytes of data.
//!
//! A thin link, or a service that is late, is told by requests that get no answer in time: they halve both, once for all
//! that left before. Every success adds one request, and what it carried.
//!
//! Knows outcomes in the order they came. Does not know rates: the quota has them.
//!
//! *Invariant:* one request may always be under way, however large; never more than was configured.

use crate::model::time::Instant;

/// So many requests may be under way however large they are, as long as all are answered in time: one large record must
/// not wait for another.
const REQUESTS_OF_ANY_SIZE: usize = 4;

/// The limits of one stream, and where they stand.
#[derive(Clone, Debug)]
pub struct UnderWay {
    max_requests: usize,
    max_bytes: u64,
    requests: usize,
    bytes: u64,
    halved_at: Option<Instant>,
}

impl UnderWay {
    /// All of it is allowed.
    pub fn new(max_requests: usize, max_bytes: u64) -> Self {
        Self { max_requests, max_bytes, requests: max_requests, bytes: max_bytes, halved_at: None }
    }

    /// The limits of `fresh`; what was learned stays.
    pub fn take_limits_of(&mut self, fresh: &Self) {
        let Self { max_requests, max_bytes, .. } = *fresh;
        let (requests, bytes) = match self.halved_at {
            Some(_) => (self.requests.min(max_requests), self.bytes.min(max_bytes)),
            None => (max_requests, max_bytes),
        };
        *self = Self { max_requests, max_bytes, requests, bytes, halved_at: self.halved_at };
    }

    /// Whether one more may leave while `requests` with `bytes` of data are under way.
    pub fn has_room(&self, requests: usize, bytes: u64) -> bool {
        let of_any_size = match self.halved_at {
            Some(_) => 1,
            None => REQUESTS_OF_ANY_SIZE,
        };
        requests == 0 || (requests < self.requests && (bytes < self.bytes || requests < of_any_size))
    }

    /// A request with `bytes` of data was answered.
    pub fn answered(&mut self, bytes: u64) {
        self.requests = (self.requests + 1).min(self.max_requests);
        self.bytes = (self.bytes + bytes).min(self.max_bytes);
        if self.requests == self.max_requests && self.bytes == self.max_bytes {
            self.halved_at = None;
        }
    }

    /// A request that left at `sent_at` got no answer in time, while `requests` with `bytes` of data were under way.
    pub fn timed_out(&mut self, sent_at: Instant, (requests, bytes): (usize, u64), now: Instant) {
        // It left when there was more under way than is allowed by now.
        if self.halved_at.is_some_and(|halved| sent_at <= halved) {
            return;
        }
        self.halved_at = Some(now);
        self.requests = (requests.min(self.requests) / 2).max(1);
        self.bytes = (bytes.min(self.bytes) / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    #[test]
    fn a_few_large_requests_pass_each_other_until_one_gets_no_answer_in_time() {
        let mut under_way = UnderWay::new(64, 1_000);
        assert!(under_way.has_room(3, 5_000));
        assert!(!under_way.has_room(4, 5_000));
        under_way.timed_out(at(0), (4, 5_000), at(30));
        assert!(under_way.has_room(0, 0), "one may always leave");
        assert!(!under_way.has_room(1, 1_250), "what gets no answer is not sent four at once");
    }

    #[test]
    fn requests_of_one_time_halve_it_once_and_later_ones_again() {
        let mut under_way = UnderWay::new(64, 1 << 20);
        for _ in 0..64 {
            under_way.timed_out(at(0), (64, 64_000), at(30));
        }
        assert!(under_way.has_room(31, 31_000) && !under_way.has_room(32, 31_000));
        under_way.timed_out(at(31), (32, 32_000), at(61));
        assert!(under_way.has_room(15, 15_000) && !under_way.has_room(16, 15_000));
    }

    #[test]
    fn every_success_adds_one() {
        let mut under_way = UnderWay::new(8, 8_000);
        under_way.timed_out(at(0), (8, 8_000), at(30));
        assert!(!under_way.has_room(4, 3_000));
        under_way.answered(1_000);
        assert!(under_way.has_room(4, 3_000) && !under_way.has_room(5, 3_000));
        (0..10).for_each(|_| under_way.answered(1_000));
        assert!(under_way.has_room(7, 7_999) && !under_way.has_room(8, 7_999), "and never more than allowed");
    }
}
