//! How long a request may take beyond what is configured, and how long nothing may be answered at all.
//!
//! A thin link carries a large request late, and what is under way beside it shares the link: both are given the time that a
//! link of 20 kB a second takes. What has no answer even then is given twice the time from then on: it would be sent again
//! for ever. An endpoint that answers nothing is told before the time of a large request is over, unless as much took
//! as long before, and was answered.
//!
//! Knows sizes, and outcomes in the order they came. Does not know what is configured: the shell adds it.
//!
//! *Invariant:* never shorter than a link of 20 kB a second needs for the request alone.

use std::time::Duration;

use crate::model::time::Instant;

/// What a link is trusted to carry at least, in bytes on the wire a second …
const TRUSTED: f64 = 20_000.0;
/// … and after requests that were alone on it, and got no answer. With less, the time would outlast most outages: whoever
/// waits for an answer that was lost does not notice their end.
const LEAST_TRUSTED: f64 = 10_000.0;

/// The most time for what is under way beside a request: it bounds what a connection that died costs on a fast link.
const LONGEST_BESIDE: Duration = Duration::from_secs(30);

/// A request that is given up so soon says nothing of the link: no connection came about.
const SOON: Duration = Duration::from_secs(20);

/// When nothing was answered for so long, that is told: within a minute, whatever is configured.
const SILENCE: Duration = Duration::from_secs(45);

/// Answers that took as long may take longer the next time.
const SLOW: Duration = Duration::from_secs(20);

/// JSON and headers around the data of a request, in bytes.
const AROUND: f64 = 1024.0;

/// What the answers of one lane say of its link.
#[derive(Clone, Debug)]
pub struct Patience {
    /// In bytes on the wire a second.
    trusted: f64,
    /// Since when something is under way, and nothing was answered.
    silent_since: Option<Instant>,
    /// The data of the request that was answered last after a [`SLOW`] time, and how long it took.
    slow: Option<(u64, Duration)>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { trusted: TRUSTED, silent_since: None, slow: None }
    }
}

impl Patience {
    /// A request leaves whose answer says that somebody is there.
    pub fn sent(&mut self, now: Instant) {
        self.silent_since.get_or_insert(now);
    }

    /// How much longer than configured a request with `bytes` of data may take that leaves while `beside` are under way.
    pub fn longer(&self, bytes: u64, beside: u64) -> Duration {
        let carried =
            |bytes: u64| Duration::from_secs_f64((bytes as f64 * 4.0 / 3.0 + AROUND) / self.trusted);
        carried(bytes) + carried(beside).min(LONGEST_BESIDE)
    }

    /// A request that left at `sent_at` with `bytes` of data was answered, and `left` others are waited for.
    pub fn answered(&mut self, sent_at: Instant, bytes: u64, left: usize, now: Instant) {
        let took = now.since(sent_at);
        self.silent_since = (left > 0).then_some(now);
        if took >= SLOW {
            self.slow = Some((bytes, took));
        } else if self.slow.is_some_and(|(slow, _)| bytes >= slow / 2) {
            self.slow = None;
        }
        let carried = bytes as f64 / took.as_secs_f64().max(0.001);
        self.trusted = self.trusted.max(carried).min(TRUSTED);
    }

    /// A request that left at `sent_at` got no answer in time, and `left` others are waited for.
    pub fn timed_out(&mut self, sent_at: Instant, left: usize, now: Instant) {
        if left > 0 {
            return;
        }
        self.silent_since = None;
        if now.since(sent_at) >= SOON {
            self.trusted = (self.trusted / 2.0).max(LEAST_TRUSTED);
        }
    }

    /// When it is to be told that nothing was answered, while requests with `bytes` of data are under way.
    pub fn silent_at(&self, bytes: u64) -> Option<Instant> {
        let as_before = self.slow.filter(|(slow, _)| bytes >= slow / 2).map(|(_, took)| 2 * took);
        Some(self.silent_since? + as_before.unwrap_or_default().max(SILENCE))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    #[test]
    fn a_second_longer_for_each_20_kilobytes_of_a_request_and_of_what_is_beside_it_up_to_30() {
        let longer = |bytes: u64, beside: u64| Patience::default().longer(bytes, beside).as_secs();
        assert_eq!([longer(100, 0), longer(15_000, 0), longer(900_000, 0)], [0, 1, 60]);
        assert_eq!([longer(0, 15_000), longer(15_000, 150_000), longer(0, 1 << 20)], [1, 11, 30]);
    }

    #[test]
    fn what_was_alone_and_got_no_answer_has_twice_the_time_until_as_much_is_carried_sooner() {
        let mut patience = Patience::default();
        patience.timed_out(at(0), 1, at(90));
        assert_eq!(patience.longer(900_000, 0).as_secs(), 60, "others shared the link");
        patience.timed_out(at(0), 0, at(3));
        assert_eq!(patience.longer(900_000, 0).as_secs(), 60, "no connection came about");
        patience.timed_out(at(0), 0, at(90));
        assert_eq!(patience.longer(900_000, 0).as_secs(), 120);
        patience.timed_out(at(90), 0, at(240));
        assert_eq!(patience.longer(900_000, 0).as_secs(), 120, "and no more");
        patience.answered(at(240), 900_000, 0, at(350));
        assert_eq!(patience.longer(900_000, 0).as_secs(), 120);
        patience.answered(at(350), 900_000, 0, at(360));
        assert_eq!(patience.longer(900_000, 0).as_secs(), 60);
    }

    #[test]
    fn silence_is_told_within_a_minute_from_the_last_answer_or_what_was_sent_first() {
        let mut patience = Patience::default();
        assert_eq!(patience.silent_at(0), None);
        patience.sent(at(10));
        patience.sent(at(20));
        assert_eq!(patience.silent_at(2_000), Some(at(55)));
        patience.answered(at(10), 1_000, 1, at(30));
        assert_eq!(patience.silent_at(1_000), Some(at(75)));
        patience.answered(at(20), 1_000, 0, at(31));
        assert_eq!(patience.silent_at(0), None);
    }

    #[test]
    fn what_took_long_before_and_was_answered_is_waited_for_as_long_again() {
        let mut patience = Patience::default();
        patience.sent(at(0));
        patience.answered(at(0), 900_000, 0, at(60));
        patience.sent(at(60));
        assert_eq!(patience.silent_at(900_000), Some(at(180)));
        assert_eq!(patience.silent_at(1_000), Some(at(105)), "less is answered sooner");
        patience.answered(at(60), 900_000, 0, at(70));
        patience.sent(at(70));
        assert_eq!(patience.silent_at(900_000), Some(at(115)), "the link is faster by now");
    }

    proptest! {
        /// Whatever came before, a link of 20 kB a second carries a request in the time that it is given.
        #[test]
        fn a_request_has_the_time_that_it_takes(
            bytes in 1_u64..1_024_000, beside in 0_u64..1 << 22,
            before in proptest::collection::vec((any::<bool>(), 0_u64..200, 0_usize..3, 1_u64..1 << 20), 0..20),
        ) {
            let mut patience = Patience::default();
            for (is_answered, took, left, bytes) in before {
                patience.sent(at(0));
                match is_answered {
                    true => patience.answered(at(0), bytes, left, at(took)),
                    false => patience.timed_out(at(0), left, at(took)),
                }
            }
            let longer = patience.longer(bytes, beside).as_secs_f64();
            let alone = bytes as f64 * 4.0 / 3.0 / 20_000.0;
            prop_assert!(longer >= alone && longer <= 2.0 * alone + 30.2, "{longer} seconds");
        }
    }
}
