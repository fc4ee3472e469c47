//! The engine's time: it is handed in, never asked for.

use std::ops::Add;
use std::time::Duration;

/// A moment on the driver's monotonic clock, in nanoseconds since the driver began.
///
/// Not `std::time::Instant`: that one can only be had from a clock, and the simulation has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment the driver began.
    pub const ZERO: Self = Self(0);

    /// The moment `elapsed` after the driver began; saturates after 584 years.
    pub fn at(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the driver began.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        let later = u64::try_from(later.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(later))
    }
}
