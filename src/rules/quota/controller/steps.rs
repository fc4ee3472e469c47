//! How far a factor falls with a refusal, and how fast it climbs again.
//!
//! Knows factors. Called by the controller.

/// What a refusal takes from a factor of 1: so little that two daemons that give way together leave less than a tenth
/// of the quota unused. Of a smaller factor it takes a smaller part, by this power of it …
const BACK_OFF: f64 = 0.2;
const BACK_OFF_POWER: f64 = 0.8;
/// … and at least, from any: with less, two hundred would be refused more than one request in fifty.
const MIN_BACK_OFF: f64 = 0.03;

/// What comes back each second, as a part of what the refusal left …
pub(super) const CLIMB_PER_SECOND: f64 = 0.03;
/// … and below this factor less, in proportion …
const SMALL: f64 = 1.0 / 17.0;
/// … and of a large factor at most this, divided by it: who has more gains less, so that a few daemons that started
/// unequal come to equal parts.
const LARGE_STEP: f64 = 0.003;

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
