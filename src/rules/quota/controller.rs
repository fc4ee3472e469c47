//! The controller: which part of the rate refusals leave, as many daemons come to share one delivery stream.
//!
//! Each daemon is told the whole quota, and knows of the others only by being refused. A refusal lowers the rate by a
//! part of it, time brings it back by equal steps ([`Climb`]), and faster once nothing was refused for longer than chance
//! explains. Who sends more gives way by more ([`back_off`]), which makes it fair; who has little climbs slowly, which
//! makes it calm: the fewer a daemon's requests, the seldomer it is told that it has gone too far. The numbers below were
//! found by trying: `tests/fleet` measures what fleets of 2 to 200 make of them, and `docs/performance.md` has the figures.
//!
//! Giving way is for refusals that it mends. Where a share of the requests is refused for long, a [`Probe`] asks: the
//! rate falls for a moment, and what is then refused is compared. Where that is hardly less, the refusals are tolerated as
//! a share, only what is refused beyond it lowers the rate, and the probe is repeated later.
//!
//! Knows answers and time. Does not know rates: a factor of 1 is whatever is allowed.
//!
//! *Invariant (L18):* above 0, at most 1; lowered at most once per round trip, and not for long by a constant share of
//! refusals.

mod accepted;
mod asking;
mod known;
mod probe;
mod steps;
#[cfg(test)]
mod tests;
mod tolerance;
mod window;

use std::time::Duration;

use crate::model::time::Instant;

use self::accepted::Accepted;
use self::asking::Highest;
use self::probe::{Finding, MUCH, Probe};
use self::steps::{Climb, back_off};
use self::tolerance::Tolerance;
use self::window::Window;

/// A thousand daemons at the least factor together stay below the quota.
const MIN: f64 = 1.0 / 2048.0;

/// A factor does not fall by more in about a second: a service that counts by the second refuses in a row what comes
/// after its second is full, however little that is too much.
const STEEPEST: f64 = 13.0;

/// What comes back each second while refusals are tolerated: nobody is known to be in the way.
const TOLERANT_CLIMB_PER_SECOND: f64 = 0.15;

/// What was accepted lately can be had again: a factor that refusals in quick succession brought below that part of it
/// comes back to there, multiplied by e in each of so many parts of a second.
const REGAINED: f64 = 0.85;
const REGAIN_PER_SECOND: f64 = 1.0;

/// A factor goes up and down all the time; what is usual of it changes within about so many seconds.
const USUAL_SECONDS: f64 = 10.0;

/// How long the rate is left alone after giving way helped.
const REST: Duration = Duration::from_secs(5);

/// How long the same is not asked again: first, and at most.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);
const LAST_PATIENCE: Duration = Duration::from_secs(90);

/// What the service did with a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// The part of what a second allows that the accepted records used up.
    pub(super) accepted: f64,
    /// The part of the request that was refused for having been too much: 0 to 1.
    pub(super) refused: f64,
    pub(super) sent_at: Instant,
}

/// What throttling left.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    value: f64,
    /// What it was in the middle of the last while, probes left out.
    usual: f64,
    at: Instant,
    /// How it comes back; none before it was lowered.
    climb: Option<Climb>,
    /// Whether the service takes nothing: then time brings nothing back.
    is_silent: bool,
    /// Up to here it comes back fast.
    regain: f64,
    accepted: Accepted,
    tolerance: Tolerance,
    highest: Highest,
    window: Window,
    last_second: Window,
    stage: Stage,
    /// Whether a probe has found that giving way does not help, and another has not confirmed it yet.
    is_suspected: bool,
    /// What the last probe found, and how long it is believed.
    found_ours: bool,
    patience: Duration,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Refusals lower the rate; no probe before `rested`, and before `until` only for many.
    GivingWay { rested: Instant, until: Instant },
    /// The rate is lowered, to see whether that helps.
    Probing(Probe),
    /// A share of refusals is not ours to mend, until it is asked about again.
    Tolerating(Tolerated),
}

#[derive(Clone, Copy, Debug)]
struct Tolerated {
    share: f64,
    /// Whether as much is refused at any rate.
    is_constant: bool,
    until: Instant,
    /// In how many windows it was much more.
    risen: u32,
}

impl Controller {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            value: 1.0,
            usual: 1.0,
            at: now,
            climb: None,
            is_silent: false,
            regain: 0.0,
            accepted: Accepted::new(now),
            tolerance: Tolerance::default(),
            highest: Highest::new(),
            is_suspected: false,
            window: Window::new(now),
            last_second: Window::new(now),
            stage: Stage::GivingWay { rested: now, until: now },
            found_ours: true,
            patience: FIRST_PATIENCE / 2,
        }
    }

    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// Whether it is asked whether giving way helps against few refusals: the more requests, the sooner they tell.
    pub(super) fn asks_about_few(&self) -> bool {
        matches!(&self.stage, Stage::Probing(probe) if probe.is_little())
    }

    /// The service answered a request, and did not fail otherwise.
    pub(super) fn answered(&mut self, answer: Answer, now: Instant) {
        self.climb(now);
        self.is_silent = false;
        if answer.accepted > 0.0 {
            self.accepted.add(answer.accepted, now);
        }
        if let Stage::Probing(probe) = &mut self.stage {
            probe.note(&answer);
            return self.find(now);
        }
        if answer.refused > 0.0 && self.last_second.hits() == 0 {
            // A service that counts by the second begins to refuse when its second is full.
            self.last_second = Window::new(now);
        }
        self.last_second.add(answer.refused, self.value);
        self.window.add(answer.refused, self.value);
        if matches!(self.stage, Stage::GivingWay { .. }) {
            let excess = self.tolerance.charge(answer.refused, self.value);
            if excess > 0.0 {
                self.give_way(excess, answer.sent_at, now);
            }
        }
        self.consider_a_probe(now);
    }

    /// The service takes nothing at all any more, from nobody: once it does, as much can be had as before, and no more.
    ///
    /// Time that brought something back while nobody was refused would have all daemons begin again at the full rate.
    pub(super) fn silenced(&mut self, now: Instant) {
        let before = match &self.stage {
            Stage::Probing(probe) => probe.before() * REGAINED,
            Stage::GivingWay { .. } | Stage::Tolerating(_) => 0.0,
        };
        if before > 0.0 {
            self.stage = Stage::GivingWay { rested: now, until: now };
        }
        (self.window, self.last_second) = (Window::new(now), Window::new(now));
        // A throttle that closes entirely lowers the rate first; other failures do not.
        let had = match self.climb.is_some_and(|climb| climb.since() > self.accepted.last_at()) {
            true => self.accepted.at_last(),
            false => 0.0,
        };
        self.value = self.value.max(before).max(had);
        self.regain = self.value;
        self.is_silent = true;
    }

    pub(super) fn climb(&mut self, now: Instant) {
        let seconds = now.since(self.at).as_secs_f64();
        self.at = now;
        if self.is_silent {
            self.climb = self.climb.map(|climb| climb.begun_again(now));
            return;
        }
        self.highest.fade(seconds);
        if !matches!(self.stage, Stage::Probing(_)) {
            let weight = 1.0 - (-seconds / USUAL_SECONDS).exp();
            self.usual *= (self.value / self.usual).powf(weight);
        }
        let rate = match &self.stage {
            Stage::Probing(_) => return self.find(now),
            Stage::GivingWay { .. } => 0.0,
            Stage::Tolerating(_) => TOLERANT_CLIMB_PER_SECOND,
        };
        let Some(climb) = self.climb.filter(|_| self.value < 1.0) else { return };
        if self.value < self.regain {
            self.value = (self.value * (1.0 + seconds * REGAIN_PER_SECOND)).min(self.regain);
            return;
        }
        let step = climb.step().max(self.value * rate.max(climb.part_when_quiet(now)));
        self.value = (self.value + step * seconds).min(1.0);
    }

    /// More was refused than is tolerated, by so large a part of a request.
    fn give_way(&mut self, excess: f64, sent_at: Instant, now: Instant) {
        // It left before the last refusal was known.
        if self.climb.is_some_and(|climb| sent_at <= climb.since()) {
            return;
        }
        let floor = (self.last_second.highest() / STEEPEST).min(self.value);
        self.lower_to((self.value * (1.0 - back_off(self.value) * excess.sqrt())).max(floor), now);
        let lately = self.accepted.lately(now);
        self.regain = lately * REGAINED;
    }

    fn lower_to(&mut self, value: f64, now: Instant) {
        self.value = value.clamp(MIN, 1.0);
        self.climb = Some(Climb::new(self.value, now));
    }

    /// Draws the conclusion from a probe that knows enough.
    fn find(&mut self, now: Instant) {
        let Stage::Probing(probe) = &self.stage else { return };
        let (from, share_before) = (probe.from(), probe.share());
        match probe.finding(now) {
            None => return,
            Some(Finding::Helps) => {
                // Where little was refused, the rate was nearly right.
                let nearly_right = if probe.share() < MUCH { probe.from() } else { probe.can_be_had() };
                self.value = self.value.max(nearly_right * REGAINED);
                self.regain = self.value;
                let until = now + self.believe(true);
                self.stage = Stage::GivingWay { rested: now + REST, until };
            }
            Some(Finding::NotOurs { share, is_constant }) if self.found_ours && !self.is_suspected => {
                // Others may have begun just now, and give way as well: once more, when that is over.
                (self.is_suspected, self.regain) = (true, 0.0);
                let until = now + REST;
                self.stage = match probe.share() < MUCH {
                    true => {
                        self.value = self.value.max(probe.before());
                        Stage::Tolerating(Tolerated { share, is_constant, until, risen: 0 })
                    }
                    false => Stage::GivingWay { rested: until, until },
                };
            }
            Some(Finding::Nothing) => {
                (self.value, self.regain) = (self.value.max(probe.before()), 0.0);
                self.is_suspected = false;
                let until = now + self.patience.max(FIRST_PATIENCE);
                self.stage = Stage::GivingWay { rested: now + REST, until };
                (self.window, self.last_second) = (Window::new(now), Window::new(now));
                return;
            }
            Some(Finding::NotOurs { share, is_constant }) => {
                (self.value, self.regain) = (probe.from(), 0.0);
                let until = now + self.believe(false);
                self.stage = Stage::Tolerating(Tolerated { share, is_constant, until, risen: 0 });
            }
        }
        self.highest.probed(from, share_before);
        (self.window, self.last_second) = (Window::new(now), Window::new(now));
    }
}

impl Controller {
    /// How long a finding is believed: the longer, the oftener it was found.
    fn believe(&mut self, is_ours: bool) -> Duration {
        self.patience = match is_ours == self.found_ours {
            true => (self.patience * 2).min(LAST_PATIENCE),
            // Few requests tell it, and the other way round it costs more.
            false if is_ours => REST,
            false => FIRST_PATIENCE,
        };
        // What was found twice is believed again at once.
        (self.found_ours, self.is_suspected) = (is_ours, is_ours && !self.found_ours);
        self.patience
    }
}
