//! How long to wait before what failed is sent again.
//!
//! Full jitter: any delay from nothing to an exponentially growing bound, so that many daemons that failed
//! together do not come back together. Retries have no end; only the bound has.
//!
//! Knows how often something failed. Does not know why, and draws no lots: chance is handed in.

use std::time::Duration;

use thiserror::Error;

use crate::model::settings::RetrySettings;

/// The longest delay of a record where the service takes others meanwhile.
const BESIDE_OTHERS: Duration = Duration::from_secs(1);

/// After so many failures a record waits longer, whatever becomes of others: where half of all requests are refused at
/// random, one in a million comes so far.
const BY_CHANCE: u32 = 20;

/// A bound that doubles with each failure, from `initial` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

/// Why settings make no backoff.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidBackoff {
    #[error("the initial delay must be above zero")]
    NoDelay,
    #[error("the initial delay must not be above the longest")]
    InitialAboveMax,
}

impl Backoff {
    /// # Errors
    /// When the delays are zero or the wrong way round.
    pub fn try_new(settings: RetrySettings) -> Result<Self, InvalidBackoff> {
        let RetrySettings { initial, max, .. } = settings;
        match (initial.is_zero(), initial > max) {
            (true, _) => Err(InvalidBackoff::NoDelay),
            (_, true) => Err(InvalidBackoff::InitialAboveMax),
            _ => Ok(Self { initial, max }),
        }
    }

    /// The longest delay after `failures` failures (at least one).
    pub fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    /// The delay after `failures` failures of a record, while the service takes others: it has room, and refuses at random
    /// rather than for being asked too often. Longer delays would send nothing less, since the pace is the quota's, and
    /// hold back all that a file has behind the record.
    pub fn delay_beside_others(&self, failures: u32, chance: f64) -> Duration {
        let later = self.bound(failures.saturating_sub(BY_CHANCE).max(1));
        self.bound(failures).min(later.max(BESIDE_OTHERS)).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// The delay after `failures` failures; `chance` is drawn from 0 to 1.
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        self.bound(failures).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// The delay after a failure that only a person can mend: around the longest, whatever came before.
    pub fn patient_delay(&self, chance: f64) -> Duration {
        self.max.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::try_new(RetrySettings {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            stuck_after: Duration::from_secs(600),
        })
        .expect("the delays are in order")
    }

    #[test]
    fn the_bound_doubles_up_to_the_longest_delay() {
        let bounds: Vec<_> = [1, 2, 3, 9, 10, 4_000_000_000].map(|n| backoff().bound(n).as_millis()).into();
        assert_eq!(bounds, [100, 200, 400, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn the_delay_is_anything_below_the_bound() {
        assert_eq!(backoff().delay(3, 0.0), Duration::ZERO);
        assert_eq!(backoff().delay(3, 0.5), Duration::from_millis(200));
        assert_eq!(backoff().delay(3, 1.0), Duration::from_millis(400));
    }

    #[test]
    fn beside_others_a_record_waits_a_second_at_most_until_it_has_failed_too_often_for_chance() {
        let bounds = [1, 2, 4, 5, 20, 24, 25, 29, 30, 40, 4_000_000_000];
        let bounds = bounds.map(|n| backoff().delay_beside_others(n, 1.0).as_millis());
        assert_eq!(bounds, [100, 200, 800, 1_000, 1_000, 1_000, 1_600, 25_600, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_patient_delay_is_at_least_half_of_the_longest() {
        assert_eq!(backoff().patient_delay(0.0), Duration::from_secs(15));
        assert_eq!(backoff().patient_delay(1.0), Duration::from_secs(30));
    }

    #[test]
    fn delays_that_make_no_sense_are_refused() {
        let new = |initial, max| {
            Backoff::try_new(RetrySettings {
                initial: Duration::from_secs(initial),
                max: Duration::from_secs(max),
                stuck_after: Duration::from_secs(600),
            })
        };
        assert_eq!(new(0, 1), Err(InvalidBackoff::NoDelay));
        assert_eq!(new(2, 1), Err(InvalidBackoff::InitialAboveMax));
    }
}
