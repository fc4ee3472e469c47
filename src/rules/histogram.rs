//! How long things took, in buckets that never change.
//!
//! Knows durations. Does not know what took them, nor how they are shown.
//!
//! *Invariant:* every observation is in exactly one bucket; a bucket's bound belongs to it.

use std::time::Duration;

/// Upper bounds: from a request on the same machine to what is given up at `request_timeout`, and beyond it to
/// delays that an outage makes. The last bucket has none.
pub const BOUNDS: [Duration; 18] = [
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_800),
    Duration::from_secs(7_200),
];

/// What was observed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    pub fn observe(&mut self, took: Duration) {
        self.buckets[BOUNDS.partition_point(|bound| *bound < took)] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// What was observed since `before`, which is an earlier state of this one.
    pub fn since(&self, before: &Self) -> Self {
        let buckets = std::array::from_fn(|index| self.buckets[index].saturating_sub(before.buckets[index]));
        Self { buckets, sum: self.sum.saturating_sub(before.sum) }
    }

    /// What was observed here and there.
    pub fn with(&self, other: &Self) -> Self {
        let buckets = std::array::from_fn(|index| self.buckets[index] + other.buckets[index]);
        Self { buckets, sum: self.sum.saturating_add(other.sum) }
    }

    /// The duration that `part` of the observations, 0 to 1, did not exceed, as far as the buckets tell; within a bucket they
    /// are taken for spread evenly, and what is beyond the last bound is said to be as long as that. `None` without any.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = self.count() as f64 * part;
        let (mut below, mut lower) = (0.0, Duration::ZERO);
        for (bound, count) in self.buckets() {
            let Some(bound) = bound else { break };
            if count > 0 && below + count as f64 >= wanted {
                let within = ((wanted - below) / count as f64).clamp(0.0, 1.0);
                return Some(lower + (bound - lower).mul_f64(within));
            }
            (below, lower) = (below + count as f64, bound);
        }
        (self.count() > 0).then_some(lower)
    }

    /// Each bucket's upper bound and its own observations; the last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        BOUNDS.iter().copied().map(Some).chain([None]).zip(self.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_the_last_takes_the_rest() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 60_000, 60_001, 100_000_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let filled: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            filled,
            [
                (Some(Duration::from_millis(1)), 2),
                (Some(Duration::from_micros(2_500)), 1),
                (Some(Duration::from_secs(60)), 1),
                (Some(Duration::from_secs(300)), 1),
                (None, 1),
            ]
        );
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.sum(), Duration::from_millis(100_120_004));
    }

    #[test]
    fn a_quantile_is_in_the_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (0..100).for_each(|_| histogram.observe(Duration::from_millis(7)));
        let before = histogram.clone();
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(7_500)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_millis(10)));
        (0..10).for_each(|_| histogram.observe(Duration::from_secs(100_000)));
        assert_eq!(histogram.quantile(0.99), Some(Duration::from_secs(7_200)), "beyond the last bound");
        let later = histogram.since(&before);
        assert_eq!((later.count(), later.quantile(0.5)), (10, Some(Duration::from_secs(7_200))));
        assert_eq!(histogram.since(&histogram), Histogram::default());
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS.is_sorted());
    }
}
