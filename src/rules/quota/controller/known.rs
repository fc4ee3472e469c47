//! A factor that is known beforehand, and what of a factor is worth knowing later.

use crate::model::time::Instant;

use super::Controller;

impl Controller {
    /// Goes on with what was learned before: so much was left of the rate.
    pub(in crate::rules::quota) fn begin_with(&mut self, value: f64, now: Instant) {
        if value < 1.0 {
            self.lower_to(value, now);
            (self.regain, self.usual) = (self.value, self.value);
            self.highest.note_others();
        }
    }

    /// Whether the service was ever heard of.
    pub(in crate::rules::quota) fn is_untried(&self) -> bool {
        self.climb.is_none() && self.accepted.is_none()
    }

    /// What refusals have left of the rate in the middle of the last while.
    pub(in crate::rules::quota) fn learned(&self) -> f64 {
        self.usual
    }
}
