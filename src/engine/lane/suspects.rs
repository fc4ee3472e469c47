//! Groups and records that failed for what may be their own fault.
//!
//! Carries out what the ladder says: halves, records that are sent alone, and those that are put aside.

use std::time::Duration;

use crate::model::record::Record;
use crate::model::time::Instant;
use crate::model::verdict::{Retry, RetryReason};
use crate::rules::ladder::{self, Step};

use super::Lane;
use super::again::Company;

/// After a hold the suspects are sent again one after the other, so far apart that others are accepted between.
const RETRIAL_STEP: Duration = Duration::from_millis(250);

impl Lane {
    /// `records` were refused as a whole: each half goes again by itself.
    pub(in crate::engine) fn halve(&mut self, records: Vec<Record>, company: Company, now: Instant) {
        self.again.add_halves(records, company.since().unwrap_or(now));
    }

    /// `records`, sent at `sent_at`, failed as a whole once more, for a reason that may be one of them. What got no answer,
    /// though others did that left later, is not waited for once more as it is.
    pub(in crate::engine) fn send_group_again(
        &mut self,
        records: Vec<Record>,
        company: Company,
        (why, sent_at): (RetryReason, Instant),
        chance: f64,
        now: Instant,
    ) {
        let failures = company.failures() + 1;
        let is_passed = why == RetryReason::Network && self.ladder.has_accepted_since(sent_at);
        match ladder::next_step(records.len(), failures) {
            Step::Together if is_passed => self.halve(records, company, now),
            Step::Halves => self.halve(records, company, now),
            Step::Together | Step::Alone => {
                let due = now + self.retry_delay(failures, chance, now);
                let since = company.since().unwrap_or(now);
                self.send_again(records, due, Company::Closed { failures, since });
            }
        }
    }

    /// `record` failed or was refused by itself, so often: alone again, and at the latest when it is to be decided.
    pub(in crate::engine) fn send_suspect_again(
        &mut self,
        record: Record,
        why: RetryReason,
        (failures, by): (u32, Option<Instant>),
        chance: f64,
        now: Instant,
    ) {
        let delay = self.retry_delay(failures, chance, now);
        let is_refused = why == RetryReason::Rejected;
        let due = now + if is_refused { delay.max(ladder::MIN_PATIENCE) } else { delay };
        let due = by.map_or(due, |by| due.min(by));
        if is_refused {
            self.again.add_refused(record, due);
        } else {
            self.send_again(vec![record], due, Company::Closed { failures, since: now });
        }
    }

    /// Some record was accepted: suspects that were refused are blamed, or, where the stream `was_held` for refusals, judged
    /// anew. Returns those that are to be put aside, with what the service said.
    pub(in crate::engine) fn judge_suspects(&mut self, was_held: bool, now: Instant) -> Vec<(Record, Retry)> {
        if was_held {
            self.ladder.acquit();
            self.again.stagger_refused(now, RETRIAL_STEP);
            return Vec::new();
        }
        if !self.again.has_refused() {
            return Vec::new();
        }
        let mut blamed = Vec::new();
        for place in self.ladder.proven() {
            // One that is under way is judged by its own answer.
            if let Some(record) = self.again.take_refused(place) {
                let why = self.ladder.blame(place).expect("only suspects are proven");
                blamed.push((record, why));
            }
        }
        blamed
    }

    /// Whether the stream is held for what may be the fault of the records that failed: others ask better.
    pub(super) fn probes_with_others(&self) -> bool {
        self.circuit.open().is_some_and(|open| open.why.is_evidence())
    }
}
