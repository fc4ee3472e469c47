//! The share of refusals in a window of answers.
//!
//! Weighs a request by the part of it that was refused. Called by the controller, which says when a window ends.

use std::time::Duration;

use crate::model::time::Instant;

/// So many refusals are to be expected before fewer of them say anything: by chance, half of them come once in 400
/// windows.
const ENOUGH: f64 = 24.0;

/// Answers since some time.
#[derive(Clone, Debug)]
pub(super) struct Window {
    since: Instant,
    requests: u32,
    hits: u32,
    /// Requests and refusals, weighed so that each moment counts as much as any other, whatever the rate was.
    weight: f64,
    refused: f64,
    highest: f64,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, requests: 0, hits: 0, weight: 0.0, refused: 0.0, highest: 0.0 }
    }

    /// A request of which the part `refused` was refused, at a factor of `value`.
    pub(super) fn add(&mut self, refused: f64, value: f64) {
        self.requests += 1;
        self.highest = self.highest.max(value);
        self.weight += 1.0 / value;
        self.refused += refused / value;
        self.hits += u32::from(refused > 0.0);
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.since(self.since)
    }

    /// Requests of which anything was refused.
    pub(super) fn hits(&self) -> u32 {
        self.hits
    }

    /// The refused part of all that was asked for: 0 to 1.
    pub(super) fn share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.refused / self.weight }
    }

    /// How many requests would be hit at a factor of `value` in `time`, after a window of `age`.
    pub(super) fn hits_at(&self, value: f64, time: Duration, age: Duration) -> f64 {
        self.share() * self.weight * value * time.as_secs_f64() / age.as_secs_f64()
    }

    /// The highest factor.
    pub(super) fn highest(&self) -> f64 {
        self.highest
    }

    /// Whether a share like this one would have shown by now.
    pub(super) fn tells_of(&self, share: f64) -> bool {
        f64::from(self.requests) * share >= ENOUGH || share <= 0.0
    }
}
