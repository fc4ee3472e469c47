//! When it is worth asking whether giving way helps, and how far the rate falls for it.
//!
//! Much is refused where many begin at once, or a neighbour does not give way: then the rate falls eightfold. A share of a few
//! in a hundred is either a service that fails at random, or what daemons that share a quota are refused while each has
//! nearly its part. Of those, whoever halves its rate leaves a part of the quota free that the others need seconds to fill:
//! until then nobody is refused, and requests that are small and many tell within a second or two.
//!
//! Called by the controller with each answer.

use std::time::Duration;

use crate::model::time::Instant;

use super::probe::{FEW, MUCH, Probe};
use super::window::Window;
use super::{Controller, REGAINED, Stage, Tolerated};

/// The share of refusals that is worth a probe when it lasts for so many of them …
const WORTH_A_PROBE: f64 = 0.003;
/// … of a factor below this, as of a fleet of three or four, of which one asks while another climbs …
const HALF: f64 = 0.5;
const WORTH_A_PROBE_OF_HALF: f64 = 0.008;
/// … below [`FEW`], where large fleets at rest are refused 2 %, and more for a while when all of one come at once.
const WORTH_A_PROBE_OF_LITTLE: f64 = 0.1;
/// So many hits must be expected of a probe that is asked with little of the rate.
const TELLING: f64 = 5.0;
/// Much is worth a probe after so long, as a service that counts by the second refuses nothing or everything for parts of one.
const SOON: Duration = Duration::from_secs(1);

const ENOUGH_OF_A_SECOND: Duration = Duration::from_secs(4);
/// So many requests must have been hit of what was refused soon …
const HITS: u32 = 12;
/// … and so many of what lasts, …
const LASTING_HITS: u32 = 8;
/// … for so long, where it is much, or little is left of the rate, …
const LASTING: Duration = Duration::from_secs(10);
/// … or within so long, where there are few requests.
const LONGEST: Duration = Duration::from_secs(40);

/// What was refused at the highest factor is what little is compared with, where it was so many times as much.
const FAR_MORE: f64 = 3.0;

/// Refusals that rose to so much of what is tolerated are worth a probe, and so are those that fell to so little …
const RISEN: f64 = 1.25;
const RISEN_FOR_LONG: u32 = 4;
const FALLEN: f64 = 0.5;
/// … and those that fell below this are over.
const ENDED: f64 = 0.25;

/// The highest factor of the last while is forgotten within about so many seconds.
const REMEMBERED_SECONDS: f64 = 30.0;

/// The highest factor of the last while, and the share of refusals at it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Highest {
    pub(super) value: f64,
    pub(super) share: f64,
}

impl Highest {
    fn note(&mut self, window: &Window) {
        if window.highest() >= self.value {
            *self = Self { value: window.highest(), share: window.share() };
        }
    }

    /// So many seconds have gone by.
    pub(super) fn fade(&mut self, seconds: f64) {
        self.value *= (1.0 - seconds / REMEMBERED_SECONDS).max(0.0);
    }
}

impl Controller {
    /// Asks whether giving way helps, where so much is refused that it should be known.
    pub(super) fn consider_a_probe(&mut self, now: Instant) {
        let share = match self.stage {
            Stage::GivingWay { rested, until } => self.much(rested, now).or_else(|| self.lasting(until, now)),
            Stage::Tolerating(tolerated) => {
                let tells = self.window.age(now) >= SOON && self.window.tells_of(tolerated.share);
                let share = tells.then(|| std::mem::replace(&mut self.window, Window::new(now)).share());
                share.filter(|share| self.has_changed(tolerated, *share, now))
            }
            Stage::Probing(_) => None,
        };
        if let Some(share) = share {
            self.ask(share, now);
        }
    }

    /// Lowers the rate, at which the share of refusals is `share`.
    fn ask(&mut self, share: f64, now: Instant) {
        let (before, highest) = (self.value, self.highest);
        // Where it was higher a while ago, what was refused there is what giving way is compared with.
        let (from, at_highest) = match highest.value > before {
            true => (highest.value, highest.share),
            false => (before, share),
        };
        let (compared, lowered) = if share >= MUCH {
            (at_highest, (from / Probe::DEPTH).min(before))
        } else {
            // What a few requests were refused at the highest factor says less than what was refused since.
            let compared = if at_highest < FAR_MORE * share { share } else { at_highest };
            (compared, before / Probe::SMALL_DEPTH)
        };
        // What was sent in spite of refusals says nothing of what can be had once they end; what was accepted does.
        let can_be_had = match self.stage {
            Stage::Tolerating(_) => before.min(self.accepted.lately(now)),
            Stage::GivingWay { .. } | Stage::Probing(_) => before,
        };
        self.stage = Stage::Probing(Probe::new(compared, from, (before, can_be_had), now));
        self.lower_to(lowered, now);
    }

    /// The share of refusals of about the last second, if that is much.
    fn much(&mut self, rested: Instant, now: Instant) -> Option<f64> {
        let age = self.last_second.age(now);
        let is_enough = age >= SOON && self.last_second.hits() >= HITS;
        if !is_enough && age < ENOUGH_OF_A_SECOND {
            return None;
        }
        let window = std::mem::replace(&mut self.last_second, Window::new(now));
        self.highest.note(&window);
        let is_worth_it = is_enough && now >= rested && window.share() >= MUCH;
        (is_worth_it && self.highest.value.max(self.value) >= FEW).then_some(window.share())
    }

    /// The share of refusals that lasts, if it is worth a probe.
    fn lasting(&mut self, until: Instant, now: Instant) -> Option<f64> {
        let (age, share) = (self.window.age(now), self.window.share());
        let from = self.highest.value.max(self.value);
        let is_enough = age >= SOON && self.window.hits() >= LASTING_HITS;
        let is_soon = is_enough && from >= FEW && share < MUCH;
        if age < LASTING && !is_soon || age < LONGEST && !is_enough {
            return None;
        }
        // Of a fleet that is large, one that asks sends too few requests for an answer.
        let asked = Probe::AT_MOST.as_secs_f64() / age.as_secs_f64() / Probe::DEPTH;
        let would_tell = from >= FEW || f64::from(self.window.hits()) * asked >= TELLING;
        self.window = Window::new(now);
        let worth = match from {
            from if from < FEW => WORTH_A_PROBE_OF_LITTLE,
            from if from < HALF => WORTH_A_PROBE_OF_HALF,
            _ => WORTH_A_PROBE,
        };
        (is_enough && would_tell && now >= until && share >= worth).then_some(share)
    }

    /// Takes in the share of refusals in a window, where some are tolerated. Returns whether another probe is due.
    ///
    /// Refusals that changed by themselves may be ours after all: of others that give way, or that came. Where they were
    /// the same at any rate, what is beyond is taken for too high a rate first.
    fn has_changed(&mut self, tolerated: Tolerated, share: f64, now: Instant) -> bool {
        if share < tolerated.share * ENDED {
            self.stage = Stage::GivingWay { rested: now, until: now };
            return false;
        }
        let has_risen = share > tolerated.share * RISEN + WORTH_A_PROBE;
        let risen = if has_risen { tolerated.risen + 1 } else { 0 };
        self.stage = Stage::Tolerating(Tolerated { risen, ..tolerated });
        if has_risen && tolerated.is_constant && risen < RISEN_FOR_LONG {
            self.lower_to(self.value * (1.0 - share) / (1.0 - tolerated.share) * REGAINED, now);
            return false;
        }
        now >= tolerated.until || has_risen || share < tolerated.share * FALLEN
    }
}
