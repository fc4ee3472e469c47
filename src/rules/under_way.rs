//! How much may be under way at once: requests, and bytes of data.
//!
//! Nobody knows a link beforehand. Little is under way at first, and each prompt answer to what filled that adds what it
//! answered, so that it doubles with each round trip: a fast link has all of it within some. Where answers come no longer
//! promptly, more under way would only wait longer; so on any link little more is under way than what it carries in two
//! seconds, and one that gets many times thinner still answers in time. Late answers halve the bytes, once for all that
//! left before; so do requests that get no answer in time, which halve the number of requests, too. Every success adds one.
//! Two requests may be under way however often that happens, if they are small: what is never answered leaves room for others.
//!
//! Knows outcomes in the order they came, and how long they took. Does not know rates: the quota has them.
//!
//! *Invariant:* one request may always be under way, however large; never more than was configured.

use std::time::Duration;

use crate::model::time::Instant;

/// So many requests may be under way however large they are, as long as all bytes are allowed and answers come promptly: one
/// large record must not wait for another.
const REQUESTS_OF_ANY_SIZE: usize = 4;

/// So many requests without an answer leave.
const LEAST_REQUESTS: usize = 2;

/// What may be under way on a link of which nothing is known: a link of 20 kB a second carries it in 4.4 s.
const FIRST_BYTES: u64 = 64 * 1024;

/// The least that requests without an answer leave.
const LEAST_BYTES: u64 = 4 * 1024;

/// An answer within this time says that there is room for more. Far ones, of a service that is busy, take less.
const PROMPT: Duration = Duration::from_secs(2);

/// An answer after this time is late for the link, or for the service, and not for the quota.
const LINK_BOUND: Duration = Duration::from_millis(500);

/// So many times as many records share a request then: with lines of 100 bytes, headers take 2 % of the link in place of 15 %.
const MORE_RECORDS: usize = 8;

/// An answer after this time says that too much is under way.
const LATE: Duration = Duration::from_secs(8);

/// The limits of one stream, and where they stand.
#[derive(Clone, Debug)]
pub struct UnderWay {
    max_requests: usize,
    max_bytes: u64,
    requests: usize,
    bytes: u64,
    /// What left before says nothing more of how much is too much.
    halved_at: Option<Instant>,
    /// How long the last answer took; `None` before the first one, and after a time-out.
    took: Option<Duration>,
}

impl UnderWay {
    /// All requests are allowed, and the bytes that any link carries in time.
    pub fn new(max_requests: usize, max_bytes: u64) -> Self {
        let bytes = max_bytes.min(FIRST_BYTES);
        Self { max_requests, max_bytes, requests: max_requests, bytes, halved_at: None, took: None }
    }

    /// The limits of `fresh`; what was learned stays.
    pub fn take_limits_of(&mut self, fresh: &Self) {
        let Self { max_requests, max_bytes, .. } = *fresh;
        let requests = match self.requests == self.max_requests {
            true => max_requests,
            false => self.requests.min(max_requests),
        };
        (self.requests, self.bytes) = (requests, self.bytes.min(max_bytes));
        (self.max_requests, self.max_bytes) = (max_requests, max_bytes);
    }

    /// Whether one more may leave while `requests` with `bytes` of data are under way.
    pub fn has_room(&self, requests: usize, bytes: u64) -> bool {
        let of_any_size = if self.is_wide() { REQUESTS_OF_ANY_SIZE } else { 1 };
        requests == 0 || (requests < self.requests && (bytes < self.bytes || requests < of_any_size))
    }

    /// Whether one more may leave while `all` are under way, requests and bytes of data, of which others than the service or the
    /// link keep `apart` from being answered.
    pub fn has_room_beside(&self, apart: (usize, u64), all: (usize, u64)) -> bool {
        let is_allowed = all.0 < self.max_requests && all.1 < self.max_bytes;
        self.has_room(all.0, all.1) || (is_allowed && self.has_room(all.0 - apart.0, all.1 - apart.1))
    }

    /// Whether one more that failed may be sent again while `failed` are, of which `unexplained` may have failed for how much is
    /// under way: of those, half of what may be under way are, and of all half of what is ever allowed. Others have room beside.
    pub fn has_room_for_failed(&self, unexplained: usize, failed: usize) -> bool {
        unexplained < (self.requests / 2).max(1) && failed < (self.max_requests / 2).max(1)
    }

    /// The most bytes that records should share a request for: half of what may be under way, so that the next leaves before
    /// the answer. A link that carries all that is allowed promptly carries any.
    pub fn largest_request(&self) -> u64 {
        if self.is_wide() { u64::MAX } else { self.bytes / 2 }
    }

    /// How many records should share a request, where `records` would: more where the link is what they wait for, since the
    /// headers of each request take of what it carries.
    pub fn records(&self, records: usize) -> usize {
        let waits = self.took.is_some_and(|took| took > LINK_BOUND);
        if waits { records.saturating_mul(MORE_RECORDS) } else { records }
    }

    /// A request that left at `sent_at` with `bytes` of data was answered, while `under_way` were, its own among them.
    pub fn answered(&mut self, sent_at: Instant, bytes: u64, under_way: u64, now: Instant) {
        let took = now.since(sent_at);
        self.requests = (self.requests + 1).min(self.max_requests);
        self.took = Some(took);
        if took <= PROMPT && under_way >= self.bytes / 2 {
            self.bytes = (self.bytes + bytes).min(self.max_bytes);
        }
        let least = self.bytes.min(FIRST_BYTES);
        if took > LATE && self.is_news(sent_at) {
            (self.bytes, self.halved_at) = ((self.bytes / 2).max(least), Some(now));
        }
    }

    /// A request that left at `sent_at` got no answer in time, while `requests` with `bytes` of data were under way.
    pub fn timed_out(&mut self, sent_at: Instant, (requests, bytes): (usize, u64), now: Instant) {
        self.took = None;
        if self.is_news(sent_at) {
            let least = self.bytes.min(LEAST_BYTES);
            self.halved_at = Some(now);
            self.requests = (requests.min(self.requests) / 2).max(LEAST_REQUESTS.min(self.max_requests));
            self.bytes = (bytes.min(self.bytes) / 2).max(least).max(1);
        }
    }

    /// Whether it did not leave when there was more under way than is allowed by now.
    fn is_news(&self, sent_at: Instant) -> bool {
        self.halved_at.is_none_or(|halved| sent_at > halved)
    }

    /// Whether all that is allowed may be under way, and is answered promptly.
    fn is_wide(&self) -> bool {
        self.took.is_some_and(|took| took <= PROMPT) && self.bytes == self.max_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    /// All of it is allowed.
    fn grown(max_requests: usize, max_bytes: u64) -> UnderWay {
        let mut under_way = UnderWay::new(max_requests, max_bytes);
        while !under_way.is_wide() {
            under_way.answered(at(0), under_way.bytes, under_way.bytes, at(0));
        }
        under_way
    }

    #[test]
    fn a_few_large_requests_pass_each_other_until_one_gets_no_answer_in_time() {
        let mut under_way = grown(64, 1_000);
        assert!(under_way.has_room(3, 5_000));
        assert!(!under_way.has_room(4, 5_000));
        under_way.timed_out(at(0), (4, 5_000), at(30));
        assert!(under_way.has_room(0, 0), "one may always leave");
        assert!(!under_way.has_room(1, 1_250), "what gets no answer is not sent four at once");
    }

    #[test]
    fn on_a_link_that_is_not_known_one_large_request_leaves_at_a_time() {
        let mut under_way = UnderWay::new(64, MIB);
        assert!(under_way.has_room(0, 0) && !under_way.has_room(1, 900_000));
        under_way.answered(at(0), 900_000, 900_000, at(12));
        assert!(!under_way.has_room(1, 900_000), "twelve seconds are late");
    }

    #[test]
    fn what_is_prompt_doubles_with_each_round_and_all_is_allowed_after_a_few() {
        let mut under_way = UnderWay::new(64, MIB);
        let mut rounds = 0;
        while !under_way.is_wide() {
            let bytes = under_way.bytes;
            (0..8).for_each(|_| under_way.answered(at(0), bytes / 8, bytes, at(1)));
            rounds += 1;
        }
        assert_eq!((rounds, under_way.largest_request()), (4, u64::MAX));
    }

    /// Seconds that an answer takes, and bytes allowed after it, from 256 KiB.
    #[test]
    fn prompt_answers_add_others_leave_it_and_late_ones_halve_it() {
        let kib = |seconds: u64, bytes: u64, under_way: u64| {
            let mut allowed = UnderWay { bytes: 256 << 10, ..UnderWay::new(64, MIB) };
            allowed.answered(at(0), bytes << 10, under_way << 10, at(seconds));
            allowed.bytes >> 10
        };
        assert_eq!(
            [kib(1, 32, 256), kib(2, 32, 256), kib(3, 32, 256), kib(8, 32, 256)],
            [288, 288, 256, 256]
        );
        assert_eq!(kib(9, 32, 256), 128);
        assert_eq!(kib(1, 32, 127), 256, "a link that was not filled says nothing of how much it carries");
    }

    #[test]
    fn late_answers_leave_what_any_link_carries_and_more_than_was_left_by_worse() {
        let mut under_way = grown(64, MIB);
        (0..20).for_each(|round| under_way.answered(at(20 * round + 1), 1_000, 1_000, at(20 * round + 19)));
        assert_eq!(under_way.bytes, FIRST_BYTES);
        under_way.timed_out(at(500), (2, 40_000), at(530));
        assert_eq!((under_way.bytes, under_way.largest_request()), (20_000, 10_000));
        under_way.answered(at(531), 1_000, 1_000, at(541));
        assert_eq!(under_way.bytes, 20_000);
    }

    #[test]
    fn more_records_share_a_request_while_the_link_is_what_they_wait_for() {
        let mut under_way = UnderWay::new(64, MIB);
        let mut after = |millis: u64| {
            under_way.answered(at(0), 100, 100, Instant::at(Duration::from_millis(millis)));
            under_way.records(35)
        };
        assert_eq!([after(400), after(501), after(9_000), after(20)], [35, 280, 280, 35]);
        under_way.answered(at(0), 100, 100, at(3));
        under_way.timed_out(at(3), (1, 100), at(33));
        assert_eq!(under_way.records(35), 35, "a group that got no answer is not sent with others");
    }

    #[test]
    fn requests_of_one_time_halve_it_once_and_later_ones_again() {
        let mut under_way = grown(64, 1 << 20);
        for _ in 0..64 {
            under_way.timed_out(at(0), (64, 64_000), at(30));
        }
        assert!(under_way.has_room(31, 31_000) && !under_way.has_room(32, 31_000));
        under_way.timed_out(at(31), (32, 32_000), at(61));
        assert!(under_way.has_room(15, 15_000) && !under_way.has_room(16, 15_000));
    }

    #[test]
    fn what_is_never_answered_leaves_room_for_others_and_never_more_than_is_allowed() {
        let mut under_way = grown(8, 1_000);
        (0..9).for_each(|round| under_way.timed_out(at(40 * round + 1), (1, 10), at(40 * round + 31)));
        assert!(under_way.has_room(1, 9) && !under_way.has_room(2, 9), "two, however often");
        assert!(under_way.has_room_for_failed(0, 3) && !under_way.has_room_for_failed(1, 3));
        assert!(!under_way.has_room_for_failed(0, 4), "half of eight");
        assert!(!under_way.has_room_beside((0, 0), (2, 20)) && under_way.has_room_beside((1, 10), (2, 20)));
        assert!(under_way.has_room_beside((7, 70), (7, 70)) && !under_way.has_room_beside((8, 80), (8, 80)));
        assert!(!under_way.has_room_beside((1, 990), (2, 1_000)), "no more bytes than are allowed");
        assert!(under_way.has_room_beside((0, 0), (0, 0)), "one may always leave");
        let wide = grown(8, 1_000);
        assert!(wide.has_room_beside((0, 0), (3, 5_000)), "a few of any size, as without what fails");
        assert!(UnderWay::new(1, 1_000).has_room_for_failed(0, 0));
        let mut one = grown(1, 1_000);
        one.timed_out(at(0), (1, 10), at(30));
        assert!(!one.has_room(1, 10) && !one.has_room_beside((1, 10), (1, 10)));
    }

    #[test]
    fn every_success_adds_one() {
        let mut under_way = grown(8, 8_000);
        under_way.timed_out(at(0), (8, 8_000), at(30));
        assert!(!under_way.has_room(4, 3_000));
        under_way.answered(at(31), 1_000, 4_000, at(31));
        assert!(under_way.has_room(4, 3_000) && !under_way.has_room(5, 3_000));
        (0..10).for_each(|_| under_way.answered(at(31), 1_000, 8_000, at(31)));
        assert!(under_way.has_room(7, 7_999) && !under_way.has_room(8, 7_999), "and never more than allowed");
    }

    #[test]
    fn what_was_learned_stays_under_other_limits() {
        let mut under_way = grown(64, MIB);
        under_way.take_limits_of(&UnderWay::new(8, 2 * MIB));
        assert_eq!((under_way.requests, under_way.bytes), (8, MIB));
        under_way.timed_out(at(0), (8, MIB), at(30));
        under_way.take_limits_of(&UnderWay::new(64, 100_000));
        assert_eq!((under_way.requests, under_way.bytes), (4, 100_000));
    }

    proptest! {
        /// A link that requests share evenly, always filled: what is under way is soon no more than it carries in 8 seconds.
        #[test]
        fn little_more_is_under_way_than_a_link_carries_promptly(
            rates in proptest::collection::vec(15_000_u64..2_000_000, 1..6), request in 200_u64..40_000,
        ) {
            let mut under_way = UnderWay::new(64, MIB);
            let (mut flows, mut now) = (Vec::<(Instant, f64)>::new(), Instant::ZERO);
            for rate in rates {
                let until = now + Duration::from_secs(600);
                while now < until {
                    while under_way.has_room(flows.len(), flows.len() as u64 * request) {
                        flows.push((now, request as f64));
                    }
                    let step = Duration::from_millis(20);
                    now = now + step;
                    let part = rate as f64 * step.as_secs_f64() / flows.len() as f64;
                    flows.iter_mut().for_each(|(_, left)| *left -= part);
                    let bytes = flows.len() as u64 * request;
                    for (sent_at, _) in flows.extract_if(.., |(_, left)| *left <= 0.0) {
                        under_way.answered(sent_at, request, bytes, now);
                    }
                }
                let carried = (8 * rate).max(FIRST_BYTES) + request;
                let bytes = flows.len() as u64 * request;
                prop_assert!(bytes <= carried, "{bytes} bytes at {rate} a second");
                // With less, the link would be idle whenever an answer is on its way.
                let allowed = under_way.bytes;
                prop_assert!(allowed >= rate.min(MIB).min(64 * request), "{allowed} bytes at {rate} a second");
            }
        }
    }
}
