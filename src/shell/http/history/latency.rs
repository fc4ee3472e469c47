//! How long the records of the last minute took, from being read to being accepted.
//!
//! Knows histograms that only grow, look by look; the difference of two is what came between them.

use std::collections::VecDeque;

use crate::rules::histogram::Histogram;
use crate::shell::http::snapshot::Counted;

/// How many looks make a minute.
const LOOKS: usize = 30;

/// The histograms of all streams at each look of the last minute, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency(VecDeque<Vec<Histogram>>);

impl Latency {
    /// Another look.
    pub(super) fn note(&mut self, counted: &Counted) {
        let streams = &counted.counts.streams;
        self.push(streams.iter().map(|stream| stream.delivery_took.clone()).collect());
    }

    fn push(&mut self, streams: Vec<Histogram>) {
        if self.0.len() > LOOKS {
            self.0.pop_front();
        }
        self.0.push_back(streams);
    }

    /// What `part` of the records of the last minute did not exceed, in seconds; `None` when there were none.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let none = Histogram::default();
        let before = first.iter().chain(std::iter::repeat(&none));
        let minute = last.iter().zip(before).map(|(now, before)| now.since(before));
        let sum = minute.reduce(|sum, stream| sum.with(&stream))?;
        Some(super::super::trouble::seconds(sum.quantile(part)?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_older_than_a_minute_counts_no_more_and_streams_count_together() {
        let mut latency = Latency::default();
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        (0..1_000).for_each(|_| one.observe(Duration::from_secs(60)));
        latency.push(vec![one.clone()]);
        assert_eq!(latency.quantile(0.5), None, "nothing came since");
        (0..50).for_each(|_| one.observe(Duration::from_millis(1)));
        (0..50).for_each(|_| other.observe(Duration::from_secs(1)));
        latency.push(vec![one.clone(), other.clone()]);
        assert_eq!((latency.quantile(0.5), latency.quantile(1.0)), (Some(0.001), Some(1.0)));
        (0..LOOKS + 1).for_each(|_| latency.push(vec![one.clone(), other.clone()]));
        assert_eq!(latency.quantile(0.5), None);
    }
}
