//! What is under way in a lane, and what its answers say of the link.
//!
//! Carries out what the rules say of how much may be under way, and for how long.

use std::time::Duration;

use crate::model::time::Instant;
use crate::model::verdict::{Retry, RetryReason, Verdict};
use crate::rules::circuit::News;
use crate::rules::patience::Patience;
use crate::rules::under_way::UnderWay;

use super::Lane;

/// What is under way, and how much may be. A crash repeats it, as it repeats what was acknowledged since the last checkpoint,
/// and the same bound holds for the bytes of both.
#[derive(Clone, Debug)]
pub(in crate::engine) struct InFlight {
    pub(in crate::engine) requests: usize,
    /// Those of them with dead letters, which prove nothing.
    letters: usize,
    /// Their data, in bytes.
    bytes: u64,
    pub(super) may: UnderWay,
    patience: Patience,
}

impl InFlight {
    /// Nothing is.
    pub(super) fn new(may: UnderWay) -> Self {
        Self { requests: 0, letters: 0, bytes: 0, may, patience: Patience::default() }
    }

    /// Whether one more request may leave.
    pub(in crate::engine) fn has_room(&self) -> bool {
        self.may.has_room(self.requests, self.bytes)
    }

    /// A request with `bytes` of data leaves. Returns how much longer than configured it may take.
    pub(in crate::engine) fn sent(&mut self, bytes: u64, now: Instant) -> Duration {
        self.patience.sent(now);
        self.leaves(bytes)
    }

    /// A request with letters leaves.
    pub(in crate::engine) fn sent_letters(&mut self, bytes: u64) -> Duration {
        self.letters += 1;
        self.leaves(bytes)
    }

    /// A request with letters is about to land.
    pub(in crate::engine) fn letters_land(&mut self) {
        self.letters -= 1;
    }

    fn leaves(&mut self, bytes: u64) -> Duration {
        let longer = self.patience.longer(bytes, self.bytes);
        self.requests += 1;
        self.bytes += bytes;
        longer
    }

    /// A request with `bytes` of data that was sent at `sent_at` is no longer under way.
    fn landed(&mut self, bytes: u64, verdicts: &[Verdict], sent_at: Instant, now: Instant) {
        let before = (self.requests, self.bytes);
        self.requests -= 1;
        self.bytes -= bytes;
        let left = self.requests - self.letters;
        let is_late =
            |verdict: &Verdict| matches!(verdict, Verdict::Retry(why) if why.reason == RetryReason::Network);
        if verdicts.iter().all(is_late) {
            self.may.timed_out(sent_at, before, now);
            self.patience.timed_out(sent_at, left, now);
        } else {
            self.may.answered(sent_at, bytes, before.1, now);
            self.patience.answered(sent_at, bytes, left, now);
        }
    }
}

impl Lane {
    /// A request with so many bytes of data, sent at `sent_at`, is no longer under way.
    pub(in crate::engine) fn landed(
        &mut self,
        bytes: u64,
        verdicts: &[Verdict],
        sent_at: Instant,
        now: Instant,
    ) {
        self.in_flight.landed(bytes, verdicts, sent_at, now);
    }

    /// The most that one request should hold: records, and bytes before base64.
    pub(in crate::engine) fn largest_request(&self) -> (usize, usize) {
        let (records, bytes) = self.quota.largest_request();
        let carried = usize::try_from(self.in_flight.may.largest_request()).unwrap_or(usize::MAX);
        (self.in_flight.may.records(records), bytes.min(carried))
    }

    /// When it is to be told that nothing is answered, unless the lane is held already.
    pub(in crate::engine) fn silent_at(&self) -> Option<Instant> {
        let at = self.in_flight.patience.silent_at(self.in_flight.bytes)?;
        self.circuit.open().is_none().then_some(at)
    }

    /// Holds the lane when nothing was answered for too long, though no request's time is over. Returns why.
    pub(in crate::engine) fn hold_if_silent(&mut self, chance: f64, now: Instant) -> Option<Retry> {
        self.silent_at().filter(|at| *at <= now)?;
        let why = Retry::silent();
        (self.circuit.silent(&why, now, chance) == News::Held).then(|| {
            self.quota.silenced(now);
            why
        })
    }
}
