//! The question whether giving way helps, put by giving way.
//!
//! The rate is an eighth for a moment, or half where little is refused of nearly all, long enough for others to answer in kind. Where
//! refusals are our own doing, or that of others who give way as well, they end, or fall with the rate. Where they do
//! neither, whatever refuses goes on whatever we do: a service that fails at random, or a neighbour who does not give way.
//!
//! Where little is refused of nearly all, each request weighs: how much likelier is what became of it where as much is refused as before
//! than where next to nothing is. It is asked no longer than until that is plain, and never for long: others climb
//! meanwhile, and are refused again. Called by the controller.

use std::time::Duration;

use crate::model::time::Instant;

use super::Answer;

/// A factor as of a fleet of four, one of which leaves room that the others do not fill at once.
pub(super) const FEW: f64 = 0.25;
/// From this share on much is refused.
pub(super) const MUCH: f64 = 0.08;

/// What was sent so shortly after the rate fell was refused for what came before: ours, and that of others.
const SETTLING: Duration = Duration::from_millis(500);
/// For at least so long it is then looked at, as a service that counts by the second refuses in waves.
const LOOKING: Duration = Duration::from_secs(1);

/// So many hits tell that refusals go on …
const HITS: u32 = 2;
/// … and so few where this many were to be expected, that they do not.
const EXPECTED: f64 = 10.0;
/// So many must have been accepted, or should have been, before their share tells anything.
const ACCEPTED: f64 = 5.0;

/// Refusals that fell to less than this part of their share have ended, by and large.
const ENDED: f64 = 0.2;
/// Refusals of which so much is left are the same at any rate.
const CONSTANT: f64 = 0.7;
/// Where so many times as much of each request is accepted, the rate was what was wrong.
const EASED: f64 = 2.5;
/// A service that refuses more is taken for one that is down.
const DOWN: f64 = 0.98;

/// Where little is refused, refusals that fell to this part of their share have ended …
const ENDED_OF_LITTLE: f64 = 0.05;
/// … and the logarithm of how much likelier one is than the other tells from here on: 20 to 1 that refusals go on, 90 to 1
/// that they ended. A daemon that is told wrongly that they ended has less than it could for half a minute.
const TELLS_THAT_THEY_GO_ON: f64 = 3.0;
const TELLS_THAT_THEY_ENDED: f64 = -4.5;
/// Where fewer refusals than this were to be expected once it was looked at, it would take too long.
const EXPECTED_SOON: f64 = 0.75;

/// A probe under way.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// The share of refusals before, and the factor.
    share: f64,
    from: f64,
    before: f64,
    can_be_had: f64,
    is_little: bool,
    look_from: Instant,
    requests: u32,
    refused: f64,
    hits: u32,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Finding {
    /// Giving way helps: refusals fell with the rate.
    Helps,
    /// Refusals did not fall: which share of them is to be expected at the rate of before, and whether at any rate.
    NotOurs { share: f64, is_constant: bool },
    /// There are too few requests to tell.
    Nothing,
}

impl Probe {
    /// How far the rate falls, and how far where little is refused.
    pub(super) const DEPTH: f64 = 8.0;
    pub(super) const SMALL_DEPTH: f64 = 2.0;

    /// For at most so long it is looked at what is refused, and for so long where that is little.
    pub(super) const AT_MOST: Duration = Duration::from_secs(15);
    const AT_MOST_AT_LITTLE: Duration = Duration::from_secs(4);

    /// The share of refusals was `share` at a factor of `from`, which is little of what one has that is alone, or not. The
    /// factor is `before` now; one of `can_be_had` is when refusals end.
    pub(super) fn new(
        (share, is_little): (f64, bool),
        from: f64,
        (before, can_be_had): (f64, f64),
        now: Instant,
    ) -> Self {
        let look_from = now + SETTLING;
        Self { share, from, before, can_be_had, is_little, look_from, requests: 0, refused: 0.0, hits: 0 }
    }

    /// The share of refusals before.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// Whether that is little.
    pub(super) fn is_little(&self) -> bool {
        self.is_little
    }

    pub(super) fn from(&self) -> f64 {
        self.from
    }

    pub(super) fn before(&self) -> f64 {
        self.before
    }

    /// The factor that can be had when refusals have ended.
    pub(super) fn can_be_had(&self) -> f64 {
        self.can_be_had
    }

    pub(super) fn note(&mut self, answer: &Answer) {
        if answer.sent_at >= self.look_from {
            self.requests += 1;
            self.refused += answer.refused;
            self.hits += u32::from(answer.refused > 0.0);
        }
    }

    /// What is known by now, if it is enough.
    pub(super) fn finding(&self, now: Instant) -> Option<Finding> {
        if now < self.look_from + LOOKING {
            return None;
        }
        let looked = now.since(self.look_from);
        let go_on = match self.is_little {
            true => match self.evidence() {
                evidence if evidence >= TELLS_THAT_THEY_GO_ON && self.hits >= HITS => true,
                evidence if evidence <= TELLS_THAT_THEY_ENDED => false,
                _ if looked >= Self::AT_MOST_AT_LITTLE || self.expected() < EXPECTED_SOON => {
                    return Some(Finding::Nothing);
                }
                _ => return None,
            },
            false if looked < Self::AT_MOST && self.tells_nothing() => return None,
            false => self.go_on(),
        };
        let (before, share) = (self.share, self.share_now());
        Some(match (go_on, share >= before * CONSTANT) {
            (false, _) => Finding::Helps,
            (true, true) => {
                Finding::NotOurs { share: f64::midpoint(before, share.min(before)), is_constant: true }
            }
            (true, false) => Finding::NotOurs { share: before, is_constant: false },
        })
    }

    /// How many refusals were to be expected, if their share is what it was.
    fn expected(&self) -> f64 {
        f64::from(self.requests) * self.share
    }

    fn tells_nothing(&self) -> bool {
        let requests = f64::from(self.requests);
        let accepted = (requests - self.refused).max(requests * (1.0 - self.share));
        self.hits < HITS && self.expected() < EXPECTED || accepted < ACCEPTED
    }

    /// The logarithm of how much likelier is what was refused where refusals go on than where they ended. Of a request
    /// that is refused in part, each such part counts as one.
    fn evidence(&self) -> f64 {
        let hits = f64::from(self.hits);
        let part = if self.hits > 0 { self.refused / hits } else { 1.0 };
        let passed = (f64::from(self.requests) / part - hits).max(0.0);
        let ended = self.share * ENDED_OF_LITTLE;
        hits * (self.share / ended).ln() + passed * ((1.0 - self.share) / (1.0 - ended)).ln()
    }

    fn share_now(&self) -> f64 {
        self.refused / f64::from(self.requests.max(1))
    }

    /// Whether hardly any refusal is left.
    pub(super) fn ended(&self) -> bool {
        self.share_now() < self.share * ENDED
    }

    /// Whether refusals go on.
    fn go_on(&self) -> bool {
        let (before, now) = (self.share, self.share_now());
        self.hits >= HITS && !self.ended() && now < DOWN && (1.0 - now) < EASED * (1.0 - before)
    }
}
