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
use super::again::Company;

/// What is under way, and how much may be. A crash repeats it, as it repeats what was acknowledged since the last checkpoint,
/// and the same bound holds for the bytes of both.
#[derive(Clone, Debug)]
pub(in crate::engine) struct InFlight {
    pub(in crate::engine) requests: usize,
    /// Those of them with dead letters, which prove nothing.
    letters: usize,
    /// Their data, in bytes.
    bytes: u64,
    /// Those that are sent again because they failed: since when each did, and its data, in bytes.
    failed: Vec<(Instant, u64)>,
    pub(super) may: UnderWay,
    patience: Patience,
}

impl InFlight {
    /// Nothing is.
    pub(super) fn new(may: UnderWay) -> Self {
        Self { requests: 0, letters: 0, bytes: 0, failed: Vec::new(), may, patience: Patience::default() }
    }

    /// Whether one more request may leave.
    pub(in crate::engine) fn has_room(&self) -> bool {
        self.may.has_room(self.requests, self.bytes)
    }

    /// Whether one more request may leave that has not failed. What fails while others are accepted that left later says
    /// nothing of how much may be under way, and no other waits for it.
    pub(super) fn has_room_beside_failed(&self, accepts_since: impl Fn(Instant) -> bool) -> bool {
        let apart = self.failed.iter().filter(|(since, _)| accepts_since(*since));
        let apart = apart.fold((0, 0), |(requests, sum), (_, bytes)| (requests + 1, sum + bytes));
        self.may.has_room_beside(apart, (self.requests, self.bytes))
    }

    /// Whether one more may leave that has failed, where one may that has not.
    pub(super) fn has_room_for_failed(&self, accepts_since: impl Fn(Instant) -> bool) -> bool {
        let unexplained = self.failed.iter().filter(|(since, _)| !accepts_since(*since)).count();
        self.may.has_room_for_failed(unexplained, self.failed.len())
    }

    /// A request with `bytes` of data leaves. Returns how much longer than configured it may take.
    pub(super) fn sent(&mut self, bytes: u64, company: Company, now: Instant) -> Duration {
        self.patience.sent(now);
        self.failed.extend(company.since().map(|since| (since, bytes)));
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

    /// A request with `bytes` of data is no longer under way.
    fn landed(&mut self, bytes: u64, company: Company) {
        self.requests -= 1;
        self.bytes -= bytes;
        let failed = company.since().map(|since| (since, bytes));
        if let Some(place) = self.failed.iter().position(|it| Some(*it) == failed) {
            self.failed.swap_remove(place);
        }
    }
}

impl Lane {
    /// A request with so many bytes of data, sent at `sent_at`, is no longer under way.
    pub(in crate::engine) fn landed(
        &mut self,
        (bytes, company): (u64, Company),
        verdicts: &[Verdict],
        sent_at: Instant,
        now: Instant,
    ) {
        let it = &mut self.in_flight;
        let before = (it.requests, it.bytes);
        it.landed(bytes, company);
        let left = it.requests - it.letters;
        let is_late =
            |verdict: &Verdict| matches!(verdict, Verdict::Retry(why) if why.reason == RetryReason::Network);
        if !verdicts.iter().all(is_late) {
            it.may.answered(sent_at, bytes, before.1, now);
            it.patience.answered(sent_at, bytes, left, now);
            return;
        }
        if !company.since().is_some_and(|since| self.ladder.has_accepted_since(since)) {
            it.may.timed_out(sent_at, before, now);
        }
        it.patience.timed_out(sent_at, left, now);
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
