//! How far a factor falls with a refusal, and how fast it climbs again: by equal steps, and faster once nothing is refused.
//!
//! Knows factors and time. Called by the controller.

use crate::model::time::Instant;

/// What a refusal takes from a factor of 1: so little that two daemons that give way together leave less than a tenth
/// of the quota unused. Of a smaller factor it takes a smaller part, by this power of it …
const BACK_OFF: f64 = 0.2;
const BACK_OFF_POWER: f64 = 0.8;
/// … and at least, from any: with less, two hundred would be refused more than one request in fifty.
const MIN_BACK_OFF: f64 = 0.03;

/// What comes back each second, as a part of what the refusal left …
const CLIMB_PER_SECOND: f64 = 0.03;
/// … and below this factor less, in proportion …
const SMALL: f64 = 1.0 / 17.0;
/// … and of a large factor at most this, divided by it: who has more gains less, so that a few daemons that started
/// unequal come to equal parts.
const LARGE_STEP: f64 = 0.003;

/// Without a refusal for so long, whoever was in the way seems gone, and the steps grow with the square of the time,
const QUIET_SECONDS: f64 = 40.0;
/// up to this part of the factor each second.
const FASTEST_CLIMB_PER_SECOND: f64 = 0.3;

/// From this factor on it is a fleet of ten at most, in which each is refused often enough to notice that it is not …
const OFTEN_REFUSED: f64 = 0.1;
/// … for so many times what lies between two refusals where they balance the steps (by chance, once in twenty), and so long
/// at least.
const INTERVALS: f64 = 3.0;
const QUIET_SECONDS_AT_LEAST: f64 = 2.0;
/// The steps are so many times as large then, before they grow.
const QUIET_STEPS: f64 = 2.0;

/// The part that a refusal takes: the larger, the more there is.
pub(super) fn back_off(value: f64) -> f64 {
    (BACK_OFF * value.powf(BACK_OFF_POWER)).max(MIN_BACK_OFF)
}

/// What each second after a refusal brings back: of a factor in the middle the most, so that large ones come down to the
/// others, and small ones stay calm.
pub(super) fn step(value: f64) -> f64 {
    let part = value * CLIMB_PER_SECOND * (value / SMALL).min(1.0);
    part.min(LARGE_STEP / value)
}

/// For how long nothing is refused, in seconds, before it tells that there is room, after the factor was lowered to
/// `value`.
pub(super) fn quiet_seconds(value: f64) -> f64 {
    if value < OFTEN_REFUSED {
        return QUIET_SECONDS;
    }
    let between_refusals = back_off(value) * value / step(value);
    (INTERVALS * between_refusals).clamp(QUIET_SECONDS_AT_LEAST, QUIET_SECONDS)
}

/// How a factor comes back, since it was lowered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Climb {
    since: Instant,
    from: f64,
}

impl Climb {
    /// The factor was lowered to `from`.
    pub(super) fn new(from: f64, now: Instant) -> Self {
        Self { since: now, from }
    }

    /// What lies before `now` tells nothing of others.
    pub(super) fn begun_again(self, now: Instant) -> Self {
        Self { since: now, ..self }
    }

    /// When the factor was lowered.
    pub(super) fn since(self) -> Instant {
        self.since
    }

    /// What a second brings back.
    pub(super) fn step(self) -> f64 {
        step(self.from)
    }

    /// The part of the factor that a second brings back at least, once it has been quiet for long; 0 before.
    pub(super) fn part_when_quiet(self, now: Instant) -> f64 {
        let quiet = now.since(self.since).as_secs_f64() / quiet_seconds(self.from);
        if quiet <= 1.0 {
            return 0.0;
        }
        let part = match self.from < OFTEN_REFUSED {
            true => CLIMB_PER_SECOND,
            false => QUIET_STEPS * self.step() / self.from,
        };
        (part * quiet * quiet).min(FASTEST_CLIMB_PER_SECOND)
    }
}
