//! When it is worth asking whether giving way helps, and how far the rate falls for it.
//!
//! Much is refused where many begin at once, or a neighbour does not give way: then the rate falls eightfold. Where a share
//! of a few in a hundred is refused of who has nearly all of the rate, hardly anybody else can be there, and a service that
//! fails at random is likely: that is asked about soon, and shortly, with half of the rate and requests that are small and
//! many. Daemons that share a quota are refused as much while each has nearly its part. Of those, whoever halves its rate leaves a
//! part of the quota free that the others need seconds to fill, and then takes their refusals for nobody's doing: such a
//! question waits until a share has lasted, and is put where an eighth of the rate would tell.
//!
//! Called by the controller with each answer.

use std::time::Duration;

use crate::model::time::Instant;

use super::probe::{FEW, MUCH, Probe};
use super::window::Window;
use super::{Controller, REGAINED, Stage, Tolerated};

/// The share of refusals that is worth a probe when it lasts …
const WORTH_A_PROBE: f64 = 0.003;
/// … below [`FEW`], where large fleets at rest are refused 2 %, and more for a while when all of one come at once.
const WORTH_A_PROBE_OF_LITTLE: f64 = 0.1;
/// From this factor on it has the quota to itself: of two that share one, each has half.
const NEARLY_ALL: f64 = 0.8;
/// So many hits must be expected of a probe about what has lasted.
const TELLING: f64 = 5.0;
/// Much is worth a probe after so long, as a service that counts by the second refuses nothing or everything for parts of one.
const SOON: Duration = Duration::from_secs(1);

const ENOUGH_OF_A_SECOND: Duration = Duration::from_secs(4);
/// So many requests must have been hit of what was refused soon …
const HITS: u32 = 12;
/// … and so many of a daemon that has nearly all of the rate, whatever is refused of it. Everybody else is asked after a while.
const SOON_HITS: u32 = 8;
const LASTING: Duration = Duration::from_secs(10);

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

/// Who had nearly all of the rate, and had much refused at no time since, is taken for alone for so long, in seconds: two
/// questions about few refusals, the first of which told nothing or the wrong thing.
const ALONE_SECONDS: f64 = 60.0;

/// The highest factor of the last while, and the share of refusals at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Highest {
    value: f64,
    share: f64,
    /// For so many seconds more it is taken for alone.
    alone_seconds: f64,
}

impl Highest {
    /// Nothing is known yet of anybody else.
    pub(super) fn new() -> Self {
        Self { value: 0.0, share: 0.0, alone_seconds: ALONE_SECONDS }
    }

    /// There are others, or were.
    pub(super) fn note_others(&mut self) {
        self.alone_seconds = 0.0;
    }

    /// A probe told something of this factor.
    pub(super) fn probed(&mut self, value: f64, share: f64) {
        (self.value, self.share) = (value, share);
    }

    fn note(&mut self, window: &Window) {
        if window.highest() >= self.value {
            self.probed(window.highest(), window.share());
        }
        // Who begins among many is refused much at first.
        if window.share() >= MUCH {
            self.note_others();
        } else if window.highest() >= NEARLY_ALL {
            self.alone_seconds = ALONE_SECONDS;
        }
    }

    /// So many seconds have gone by.
    pub(super) fn fade(&mut self, seconds: f64) {
        self.value *= (1.0 - seconds / REMEMBERED_SECONDS).max(0.0);
        self.alone_seconds -= seconds;
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

    /// Whether it had nearly all of the rate lately, and little was refused of it.
    fn is_alone(&self) -> bool {
        self.highest.alone_seconds > 0.0 || self.value >= NEARLY_ALL.max(self.highest.value)
    }

    /// Lowers the rate, at which the share of refusals is `share`.
    fn ask(&mut self, share: f64, now: Instant) {
        let (before, highest) = (self.value, self.highest);
        // Where it was higher a while ago, what was refused there is what giving way is compared with.
        let (from, at_highest) = match highest.value > before {
            true => (highest.value, highest.share),
            false => (before, share),
        };
        let is_little = share < MUCH && self.is_alone();
        let (compared, lowered) = if is_little {
            // What a few requests were refused at the highest factor says less than what was refused since.
            let compared = if at_highest < FAR_MORE * share { share } else { at_highest };
            (compared, before / Probe::SMALL_DEPTH)
        } else {
            (at_highest, (from / Probe::DEPTH).min(before))
        };
        // What was sent in spite of refusals says nothing of what can be had once they end; what was accepted does.
        let can_be_had = match self.stage {
            Stage::Tolerating(_) => before.min(self.accepted.lately(now)),
            Stage::GivingWay { .. } | Stage::Probing(_) => before,
        };
        self.stage = Stage::Probing(Probe::new((compared, is_little), from, (before, can_be_had), now));
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

    /// The share of refusals that lasts, or shows soon where nearly all of the rate was had, if it is worth a probe.
    fn lasting(&mut self, until: Instant, now: Instant) -> Option<f64> {
        let (age, share) = (self.window.age(now), self.window.share());
        let from = self.highest.value.max(self.value);
        let is_enough = age >= SOON && self.window.hits() >= SOON_HITS;
        let is_soon = is_enough && share < MUCH && self.is_alone();
        if age < LASTING && !is_soon {
            return None;
        }
        let window = std::mem::replace(&mut self.window, Window::new(now));
        let worth = if from < FEW { WORTH_A_PROBE_OF_LITTLE } else { WORTH_A_PROBE };
        let would_tell = || window.hits_at(from / Probe::DEPTH, Probe::AT_MOST, age) >= TELLING;
        (now >= until && share >= worth && (is_soon || would_tell())).then_some(share)
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
