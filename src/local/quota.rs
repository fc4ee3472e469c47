//! What a delivery stream takes in one second.
//!
//! A sliding window over the requests that were let in, exact at every instant: no bucket that refills, so no
//! burst of twice the quota around a tick. Knows no clock: `now` is handed in, as the time since the server
//! began. Called by `stream` for each request.
//!
//! *Invariant:* in no half-open second `[t, t + 1 s)` is more let in than the quota, on each of the three axes,
//! both operations together.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

const WINDOW: Duration = Duration::from_secs(1);

/// What each delivery stream takes in a second. 0 means: without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Calls of `PutRecord` and `PutRecordBatch` together.
    pub requests: u64,
    /// Records of both operations together.
    pub records: u64,
    /// Bytes of data before base64.
    pub bytes: u64,
}

impl Quota {
    /// No limit at all.
    pub const NONE: Self = Self { requests: 0, records: 0, bytes: 0 };
}

impl Default for Quota {
    /// 2,000 requests, 5,000 records, 5 MB: the default of the API reference of `PutRecord`.
    fn default() -> Self {
        Self { requests: 2_000, records: 5_000, bytes: 5_000_000 }
    }
}

/// Use of the three quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Usage {
    pub requests: u64,
    pub records: u64,
    pub bytes: u64,
}

impl Usage {
    fn grow(&mut self, by: Self) {
        self.requests += by.requests;
        self.records += by.records;
        self.bytes += by.bytes;
    }

    fn shrink(&mut self, by: Self) {
        self.requests -= by.requests;
        self.records -= by.records;
        self.bytes -= by.bytes;
    }

    fn fits(&self, quota: Quota) -> bool {
        let within = |used: u64, allowed: u64| allowed == 0 || used <= allowed;
        within(self.requests, quota.requests)
            && within(self.records, quota.records)
            && within(self.bytes, quota.bytes)
    }
}

/// What one delivery stream let in during the last second.
#[derive(Debug)]
pub(super) struct Window {
    quota: Quota,
    /// The requests of the last second, oldest first.
    admitted: VecDeque<(Duration, Usage)>,
    used: Usage,
    peak: Usage,
}

impl Window {
    pub(super) fn new(quota: Quota) -> Self {
        Self { quota, admitted: VecDeque::new(), used: Usage::default(), peak: Usage::default() }
    }

    /// Whether a `PutRecord` of `bytes` is let in. A refused one uses nothing up.
    pub(super) fn admit_one(&mut self, bytes: u64, now: Duration) -> bool {
        self.forget(now);
        let cost = Usage { requests: 1, records: 1, bytes };
        let fits = self.after(cost).fits(self.quota);
        if fits {
            self.take(cost, now);
        }
        fits
    }

    /// Which records of a `PutRecordBatch` are let in, each judged in its turn; `None` when the call itself is
    /// one too many.
    ///
    /// A small record behind one that did not fit may still fit: the order at the destination is that of
    /// acceptance, not that of the request.
    pub(super) fn admit_batch(
        &mut self,
        sizes: impl Iterator<Item = u64>,
        now: Duration,
    ) -> Option<Vec<bool>> {
        self.forget(now);
        let mut cost = Usage { requests: 1, records: 0, bytes: 0 };
        if !self.after(cost).fits(self.quota) {
            return None;
        }
        let verdicts = sizes
            .map(|bytes| {
                let mut more = cost;
                more.grow(Usage { requests: 0, records: 1, bytes });
                let fits = self.after(more).fits(self.quota);
                if fits {
                    cost = more;
                }
                fits
            })
            .collect();
        self.take(cost, now);
        Some(verdicts)
    }

    /// The most that any one second has let in, for each of requests, records and bytes by itself.
    pub(super) fn peak(&self) -> Usage {
        self.peak
    }

    fn after(&self, cost: Usage) -> Usage {
        let mut sum = self.used;
        sum.grow(cost);
        sum
    }

    fn take(&mut self, cost: Usage, now: Duration) {
        self.used.grow(cost);
        self.admitted.push_back((now, cost));
        self.peak = Usage {
            requests: self.peak.requests.max(self.used.requests),
            records: self.peak.records.max(self.used.records),
            bytes: self.peak.bytes.max(self.used.bytes),
        };
    }

    fn forget(&mut self, now: Duration) {
        while let Some(&(at, cost)) = self.admitted.front() {
            if now.saturating_sub(at) < WINDOW {
                break;
            }
            self.used.shrink(cost);
            self.admitted.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_stream_takes_2000_requests_5000_records_or_5_mb_a_second() {
        let mut window = Window::new(Quota::default());
        assert_eq!((0..2_001).filter(|_| window.admit_one(1, MILLISECOND)).count(), 2_000);

        let mut window = Window::new(Quota::default());
        let admitted: usize = (0..11)
            .map(|_| window.admit_batch([1; 500].into_iter(), MILLISECOND).expect("11 calls are few"))
            .map(|verdicts| verdicts.into_iter().filter(|fits| *fits).count())
            .sum();
        assert_eq!(admitted, 5_000);

        let mut window = Window::new(Quota::default());
        assert_eq!((0..6).filter(|_| window.admit_one(1_000_000, MILLISECOND)).count(), 5);
    }

    #[test]
    fn both_operations_count_together() {
        let mut window = Window::new(Quota { requests: 2, records: 4, bytes: 0 });
        assert!(window.admit_one(1, ms(0)));
        assert_eq!(window.admit_batch([1; 4].into_iter(), ms(1)), Some(vec![true, true, true, false]));
        assert!(!window.admit_one(1, ms(2)), "the third request");
        assert_eq!(window.admit_batch([1; 1].into_iter(), ms(3)), None, "the third request");
    }

    #[test]
    fn a_request_is_forgotten_one_second_later_and_not_before() {
        let mut window = Window::new(Quota { requests: 1, records: 0, bytes: 0 });
        assert!(window.admit_one(1, ms(500)));
        assert!(!window.admit_one(1, ms(1_500) - Duration::from_nanos(1)));
        assert!(window.admit_one(1, ms(1_500)));
    }

    #[test]
    fn a_refused_request_uses_nothing_up() {
        let mut window = Window::new(Quota { requests: 0, records: 0, bytes: 10 });
        assert!(!window.admit_one(11, ms(0)));
        assert!(window.admit_one(10, ms(0)));
        assert_eq!(window.peak(), Usage { requests: 1, records: 1, bytes: 10 });
    }

    #[test]
    fn a_small_record_fits_behind_one_that_did_not() {
        let mut window = Window::new(Quota { requests: 0, records: 0, bytes: 10 });
        assert_eq!(window.admit_batch([6, 5, 4].into_iter(), ms(0)), Some(vec![true, false, true]));
    }

    #[test]
    fn no_quota_lets_everything_in() {
        let mut window = Window::new(Quota::NONE);
        assert!((0..10_000).all(|_| window.admit_one(1_000_000, ms(0))));
    }

    proptest::proptest! {
        #[test]
        fn no_sliding_second_lets_in_more_than_the_quota(
            requests in proptest::collection::vec((0u64..400, proptest::collection::vec(0u64..40, 1..6)), 1..120),
        ) {
            let quota = Quota { requests: 5, records: 12, bytes: 150 };
            let mut window = Window::new(quota);
            let mut now = Duration::ZERO;
            let mut admitted: Vec<(Duration, Usage)> = Vec::new();
            for (step, sizes) in requests {
                now += ms(step);
                let mut cost = Usage { requests: 1, records: 0, bytes: 0 };
                if let [bytes] = sizes[..] {
                    if !window.admit_one(bytes, now) {
                        continue;
                    }
                    cost.grow(Usage { requests: 0, records: 1, bytes });
                } else {
                    let Some(verdicts) = window.admit_batch(sizes.iter().copied(), now) else { continue };
                    for (bytes, _) in sizes.iter().zip(verdicts).filter(|(_, fits)| *fits) {
                        cost.grow(Usage { requests: 0, records: 1, bytes: *bytes });
                    }
                }
                admitted.push((now, cost));
                // The fullest second ends with the newest request.
                let mut sum = Usage::default();
                for (_, cost) in admitted.iter().filter(|(at, _)| now - *at < WINDOW) {
                    sum.grow(*cost);
                }
                assert!(sum.fits(quota), "quota: {sum:?} in one second");
            }
        }
    }
}
