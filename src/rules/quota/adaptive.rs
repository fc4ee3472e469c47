//! The part of the rate that throttling leaves: how many daemons come to share one delivery stream.
//!
//! Each of them is told the whole quota, and knows of the others only by being refused. A refusal lowers the rate by a
//! part of it, time brings it back by equal steps. What makes it fair is that whoever sends more gives way by more
//! ([`back_off`]); what makes it calm is that whoever has little climbs slowly ([`step`]), for the fewer a daemon's
//! requests, the seldomer it is told that it has gone too far. The numbers below were found by trying: `tests/fleet`
//! measures what fleets of 2 to 200 make of them, and `docs/performance.md` has the figures.
//!
//! Knows refusals, acceptances and time. Does not know rates: a factor of 1 is whatever is allowed.
//!
//! *Invariant:* above 0, at most 1; lowered at most once per round trip.

use crate::model::time::Instant;

/// Two hundred daemons at the least factor together stay below the quota, and one that is down to it, with a quota of
/// 2,000 requests, still sends seven a second.
const MIN: f64 = 1.0 / 256.0;

/// What a refusal takes from a factor of 1: so little that two daemons that give way together leave less than a tenth
/// of the quota unused …
const BACK_OFF: f64 = 0.2;
/// … and at least, from any: with less, two hundred would be refused more than one request in fifty.
const MIN_BACK_OFF: f64 = 0.03;

/// What comes back each second, as a part of what the refusal left …
const CLIMB_PER_SECOND: f64 = 0.03;
/// … and below this factor less, in proportion.
const SMALL: f64 = 1.0 / 17.0;

/// Without a refusal for so long, whoever was in the way seems gone, and the steps grow with the square of the time,
const QUIET_SECONDS: f64 = 40.0;
/// up to this part of the factor each second.
const FASTEST_CLIMB_PER_SECOND: f64 = 0.3;

/// What was accepted lately can be had again: a factor that refusals in quick succession brought below that part of it
/// comes back to there, multiplied by e each second.
const REGAINED: f64 = 0.85;

/// What was accepted counts for about so long, in seconds.
const LATELY: f64 = 1.0;

/// What throttling left.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    value: f64,
    at: Instant,
    lowered_at: Option<Instant>,
    /// What a second brings back, until it has been quiet for long.
    step: f64,
    /// Up to here it comes back fast.
    regain: f64,
    accepted: Accepted,
}

impl Controller {
    pub(super) fn new(now: Instant) -> Self {
        let accepted = Accepted { part: 0.0, at: now, since: now };
        Self { value: 1.0, at: now, lowered_at: None, step: 0.0, regain: 0.0, accepted }
    }

    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// The service took a request that used up `part` of what a second allows.
    pub(super) fn accepted(&mut self, part: f64, now: Instant) {
        self.accepted.add(part, now);
    }

    /// A request that was sent at `sent_at` was refused for having been one too many.
    pub(super) fn throttled(&mut self, sent_at: Instant, now: Instant) {
        self.climb(now);
        // It left before the last refusal was known.
        if self.lowered_at.is_some_and(|lowered| sent_at <= lowered) {
            return;
        }
        self.lowered_at = Some(now);
        self.value = (self.value * (1.0 - back_off(self.value))).max(MIN);
        self.step = step(self.value);
        self.regain = self.accepted.lately(now) * REGAINED;
    }

    /// The service takes nothing at all any more, from nobody: once it does, as much can be had as before.
    pub(super) fn silenced(&mut self) {
        self.regain = self.accepted.at_last() * REGAINED;
    }

    pub(super) fn climb(&mut self, now: Instant) {
        let seconds = now.since(self.at).as_secs_f64();
        self.at = now;
        let Some(lowered_at) = self.lowered_at.filter(|_| self.value < 1.0) else { return };
        if self.value < self.regain {
            self.value = (self.value * (1.0 + seconds)).min(self.regain);
            return;
        }
        let quiet = now.since(lowered_at).as_secs_f64() / QUIET_SECONDS;
        let each_second = match quiet > 1.0 {
            false => self.step,
            true => {
                self.step.max(self.value * (CLIMB_PER_SECOND * quiet * quiet).min(FASTEST_CLIMB_PER_SECOND))
            }
        };
        self.value = (self.value + each_second * seconds).min(1.0);
    }
}

/// The part that a refusal takes: the larger, the more there is.
fn back_off(value: f64) -> f64 {
    (BACK_OFF * value.sqrt()).max(MIN_BACK_OFF)
}

/// What each second after a refusal brings back.
fn step(value: f64) -> f64 {
    value * CLIMB_PER_SECOND * (value / SMALL).min(1.0)
}

/// What the service accepts in a second, weighted by how long ago it was.
#[derive(Clone, Debug)]
struct Accepted {
    part: f64,
    at: Instant,
    since: Instant,
}

impl Accepted {
    fn add(&mut self, part: f64, now: Instant) {
        self.part = self.faded(now) + part;
        self.at = now;
    }

    fn faded(&self, now: Instant) -> f64 {
        self.part * (-now.since(self.at).as_secs_f64() / LATELY).exp()
    }

    /// As a part of what a second allows; right after the start, of what it would have come to.
    fn lately(&self, now: Instant) -> f64 {
        let counted = 1.0 - (-now.since(self.since).as_secs_f64() / LATELY).exp();
        (self.faded(now) / LATELY / counted.max(0.01)).min(1.0)
    }

    /// The factor at the time of the last request that was accepted.
    fn at_last(&self) -> f64 {
        self.lately(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::at(Duration::from_millis(millis))
    }

    /// As it is after `throttled` refusals, none of which came before the last was known.
    fn lowered(throttled: u64) -> Controller {
        let mut factor = Controller::new(at(0));
        (1..=throttled).for_each(|millis| factor.throttled(at(millis), at(millis)));
        factor
    }

    #[test]
    fn the_rate_is_lowered_once_per_round_trip() {
        let mut factor = Controller::new(at(0));
        factor.throttled(at(100), at(150));
        let once = factor.value();
        assert!((once - 0.8).abs() < 1e-9, "{once}");
        factor.throttled(at(120), at(150));
        assert_eq!(factor.value(), once);
        factor.throttled(at(151), at(200));
        assert!(factor.value() < once);
    }

    #[test]
    fn who_has_more_gives_way_by_more_and_none_by_nothing() {
        let parts: Vec<_> = [1.0, 0.25, 0.01, MIN].map(back_off).into();
        assert_eq!(parts, [0.2, 0.1, 0.03, 0.03]);
    }

    #[test]
    fn it_never_falls_below_the_least() {
        assert_eq!(lowered(10_000).value(), MIN);
    }

    #[test]
    fn it_comes_back_by_equal_steps() {
        let mut factor = lowered(1);
        let values: Vec<_> = (0..4)
            .map(|second| {
                factor.climb(at(1 + second * 1000));
                factor.value()
            })
            .collect();
        for pair in values.windows(2) {
            assert!((pair[1] - pair[0] - 0.8 * CLIMB_PER_SECOND).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn who_has_little_climbs_slowly() {
        assert_eq!(step(SMALL) / SMALL, CLIMB_PER_SECOND);
        assert_eq!(step(SMALL / 4.0) / (SMALL / 4.0), CLIMB_PER_SECOND / 4.0);
    }

    #[test]
    fn after_an_outage_it_is_back_within_a_minute() {
        let mut factor = Controller::new(at(0));
        (0..2000).for_each(|millis| factor.accepted(0.001, at(millis)));
        (2000..5000).for_each(|millis| factor.throttled(at(millis), at(millis)));
        assert_eq!(factor.value(), MIN);
        factor.silenced();
        (0..600).for_each(|tick| factor.climb(at(5000 + tick * 100)));
        assert_eq!(factor.value(), 1.0);
    }

    #[test]
    fn what_was_accepted_lately_is_soon_had_again_and_not_more() {
        let mut factor = Controller::new(at(0));
        (0..4000).for_each(|millis| factor.accepted(0.0005, at(millis)));
        (4000..4100).for_each(|millis| factor.throttled(at(millis), at(millis)));
        (0..50).for_each(|tick| factor.climb(at(4100 + tick * 100)));
        assert!((0.35..0.5).contains(&factor.value()), "{}", factor.value());
    }
}
