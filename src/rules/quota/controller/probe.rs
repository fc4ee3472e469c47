//! The question whether giving way helps, put by giving way.
//!
//! The rate is an eighth for a moment, long enough for others to answer in kind. Where refusals are our own doing, or
//! that of others who give way as well, they end, or fall with the rate. Where they do neither, whatever refuses goes on
//! whatever we do: a service that fails at random, or a neighbour who does not give way. Called by the controller.

use std::time::Duration;

use crate::model::time::Instant;

use super::Answer;

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

/// A probe under way.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// The share of refusals before, and the factor.
    share: f64,
    from: f64,
    before: f64,
    can_be_had: f64,
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
}

impl Probe {
    /// How far the rate falls.
    pub(super) const DEPTH: f64 = 8.0;

    /// For at most so long it is looked at what is refused.
    pub(super) const AT_MOST: Duration = Duration::from_secs(15);

    /// The share of refusals was `share` at a factor of `from`. The factor is `before` now; one of `can_be_had` is when
    /// refusals end.
    pub(super) fn new(share: f64, from: f64, (before, can_be_had): (f64, f64), now: Instant) -> Self {
        let look_from = now + SETTLING;
        Self { share, from, before, can_be_had, look_from, requests: 0, refused: 0.0, hits: 0 }
    }

    /// The share of refusals before.
    pub(super) fn share(&self) -> f64 {
        self.share
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
        let is_over = now >= self.look_from + Self::AT_MOST;
        let expected = f64::from(self.requests) * self.share;
        let tells_nothing = self.hits < HITS && expected < EXPECTED;
        let accepted =
            (f64::from(self.requests) - self.refused).max(f64::from(self.requests) * (1.0 - self.share));
        if (tells_nothing || accepted < ACCEPTED) && !is_over {
            return None;
        }
        let (before, share) = (self.share, self.share_now());
        Some(match (self.go_on(), share >= before * CONSTANT) {
            (false, _) => Finding::Helps,
            (true, true) => {
                Finding::NotOurs { share: f64::midpoint(before, share.min(before)), is_constant: true }
            }
            (true, false) => Finding::NotOurs { share: before, is_constant: false },
        })
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
