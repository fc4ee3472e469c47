//! The share of refusals that lowers nothing.
//!
//! Each request earns a little credit, each refusal uses some up, and only what there is no credit for counts: a share
//! in the long run, which a cluster of refusals by chance does not exceed. Called by the controller.

/// Of a daemon that has a large part of the rate, so much may be refused without any consequence. A service that fails
/// now and then is no neighbour.
const OF_MUCH: f64 = 0.0035;
/// The part of the rate that counts as large. Below it less is tolerated: the smaller the part, the more daemons there
/// are, and what all of them tolerate adds up.
const MUCH: f64 = 1.0 / 6.0;

/// The most refusals that there may be credit for.
const MAX_CREDIT: f64 = 5.0;
const LEAST_CREDIT: f64 = 0.1;

/// The credit.
#[derive(Clone, Debug)]
pub(super) struct Tolerance {
    credit: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { credit: MAX_CREDIT }
    }
}

impl Tolerance {
    /// A request was answered at a factor of `value`, the part `refused` of it with a refusal. Returns what is beyond
    /// the tolerance.
    pub(super) fn charge(&mut self, refused: f64, value: f64) -> f64 {
        let earned = OF_MUCH * (value / MUCH).min(1.0);
        let credit = (self.credit + earned).min(MAX_CREDIT * value.max(LEAST_CREDIT)) - refused;
        self.credit = credit.max(0.0);
        (-credit).clamp(0.0, 1.0)
    }
}
