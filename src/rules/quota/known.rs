//! What is known of a rate before anybody asks for it, and what is to be known later.
//!
//! *Invariant:* the answers of the service say more.

use crate::model::settings::Adaptive;
use crate::model::time::Instant;

use super::Quota;

impl Quota {
    /// The part of the rate that throttling left: above 0, at most 1.
    pub fn part(&self) -> f64 {
        self.controller.learned()
    }

    /// So much of the rate is taken to be ours, as long as the service was not asked.
    pub fn begin_with(&mut self, part: f64, now: Instant) {
        if self.adaptive == Adaptive::On && self.controller.is_untried() {
            self.controller.begin_with(part, now);
        }
    }
}
