//! What the service accepts in a second, weighted by how long ago it was.
//!
//! Knows parts of what a second allows. Called by the controller.

use crate::model::time::Instant;

/// What was accepted counts for about so long, in seconds.
const LATELY: f64 = 1.0;

/// A sum that fades.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    part: f64,
    at: Instant,
    since: Instant,
}

impl Accepted {
    pub(super) fn new(now: Instant) -> Self {
        Self { part: 0.0, at: now, since: now }
    }

    pub(super) fn add(&mut self, part: f64, now: Instant) {
        self.part = self.faded(now) + part;
        self.at = now;
    }

    /// Whether nothing was ever accepted.
    pub(super) fn is_none(&self) -> bool {
        self.at == self.since
    }

    fn faded(&self, now: Instant) -> f64 {
        self.part * (-now.since(self.at).as_secs_f64() / LATELY).exp()
    }

    /// As a part of what a second allows; right after the start, of what it would have come to.
    pub(super) fn lately(&self, now: Instant) -> f64 {
        let counted = 1.0 - (-now.since(self.since).as_secs_f64() / LATELY).exp();
        (self.faded(now) / LATELY / counted.max(0.01)).min(1.0)
    }

    /// What was accepted lately at the time of the last request that was, as a part of what a second allows.
    pub(super) fn at_last(&self) -> f64 {
        self.lately(self.at)
    }

    /// When a request was accepted last.
    pub(super) fn last_at(&self) -> Instant {
        self.at
    }
}
