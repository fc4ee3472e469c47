//! Whose fault a failure is: the stream's, a group's, or one record's.
//!
//! A group that fails as a whole is sent together once more, then in halves, down to single records. A record that
//! fails by itself is a suspect, and a suspect is blamed only while its stream takes others: a service that refuses
//! everything, whatever its words, says nothing of any record.
//!
//! *Refused* by itself, a record is blamed as soon as another is accepted that left no earlier, or when it is refused
//! again after that. Where nothing else is sent, refusals alone have to do: for as long as the stream had been quiet
//! before, and from a second to a minute. Ten records refused in a row, and none accepted between, hold the stream, and
//! nobody is blamed any more; once a record is accepted, the suspects are judged anew.
//!
//! *Failing* by itself for any other reason than throttling or setup, a record is told when that lasts, and blamed when
//! it has lasted for `stuck_after`, of which only the time counts in which others were accepted.
//!
//! Knows answers in the order they came, and records by a key. Does not know groups' contents or queues, and sends
//! nothing; the engine's streams ask it.
//!
//! *Invariant (L19):* a record is blamed only while its stream takes others.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::time::Instant;
use crate::model::verdict::{Retry, RetryReason};

/// So many times a group fails as a whole before it is halved: the first time may have been chance.
const WHOLE_FAILURES: u32 = 2;

/// So many records refused in a row, none accepted between, are the stream's doing.
const REFUSALS: u32 = 10;

/// A record that fails alone for so long, and so often, is told.
const TOLD_AFTER: Duration = Duration::from_secs(10);
const TOLD_FAILURES: u32 = 3;

/// How often the suspects are looked through for such a record.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shortest time for which a refused record waits for others to be accepted, before it is sent again.
pub const MIN_PATIENCE: Duration = Duration::from_secs(1);

/// What was accepted so long ago is taken for now: a request may take so long.
const JUST: Duration = Duration::from_secs(2);

/// The longest time for which refusals are waited out where nothing else is sent.
const MAX_PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a group that failed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sent together once more, and without company.
    Together,
    /// Each half is sent by itself.
    Halves,
    /// There is only one record: the ladder has come to its end.
    Alone,
}

/// What becomes of a group of so many records that has failed so often as a whole.
pub fn next_step(records: usize, failures: u32) -> Step {
    match (records, failures) {
        (..=1, _) => Step::Alone,
        (_, WHOLE_FAILURES..) => Step::Halves,
        _ => Step::Together,
    }
}

/// What becomes of a record that failed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The record is sent again, alone, and has failed so often; where `by` is given, it is decided then.
    Again { failures: u32, by: Option<Instant> },
    /// The record is not sent again.
    Blamed,
}

/// A record that failed by itself.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The last failure.
    pub why: Retry,
    /// When the record, or a group with it, failed first.
    pub since: Instant,
    failures: u32,
    /// When the request left that failed last.
    last_sent: Instant,
    /// When the request left that was refused first.
    refused_sent: Option<Instant>,
    /// Until when refusals are waited out where nothing else is sent.
    patient_until: Instant,
    /// For how long the record has failed while others were accepted.
    failing_for: Duration,
    /// The number of acceptances when a refusal was counted last.
    counted_at: Option<u64>,
    is_told: bool,
}

/// The suspects of one stream.
#[derive(Clone, Debug)]
pub struct Ladder<K> {
    stuck_after: Duration,
    suspects: BTreeMap<K, Suspect>,
    /// When the request left of which a record was accepted: the youngest one.
    accepted_sent: Option<Instant>,
    /// When a record was accepted last.
    accepted_at: Option<Instant>,
    acceptances: u64,
    /// Records refused since, each counted once.
    refused_in_a_row: u32,
    /// When the suspects are looked through next.
    next_look: Instant,
}

impl<K: Copy + Ord> Ladder<K> {
    /// No suspect; one that fails while others are accepted is blamed after `stuck_after`.
    pub fn new(stuck_after: Duration) -> Self {
        Self {
            stuck_after,
            suspects: BTreeMap::new(),
            accepted_sent: None,
            accepted_at: None,
            acceptances: 0,
            refused_in_a_row: 0,
            next_look: Instant::ZERO,
        }
    }

    /// Blames after another time from now on.
    pub fn change(&mut self, stuck_after: Duration) {
        self.stuck_after = stuck_after;
    }

    /// A record was accepted whose request left at `sent`.
    pub fn accepted(&mut self, key: K, sent: Instant, now: Instant) {
        self.suspects.remove(&key);
        self.accepted_sent = self.accepted_sent.max(Some(sent));
        self.accepted_at = Some(now);
        self.acceptances += 1;
        self.refused_in_a_row = 0;
    }

    /// Whether the service has just taken records.
    pub fn takes_others(&self, now: Instant) -> bool {
        self.accepted_at.is_some_and(|accepted| now.since(accepted) <= JUST)
    }

    /// Whether a record was accepted whose request left no earlier.
    pub fn has_accepted_since(&self, sent: Instant) -> bool {
        self.accepted_sent >= Some(sent)
    }

    /// A record was refused by itself, in a request that left at `sent`.
    pub fn refused(&mut self, key: K, why: Retry, sent: Instant, now: Instant) -> Fate {
        let quiet = self.accepted_at.map_or(MAX_PATIENCE, |accepted| now.since(accepted));
        let acceptances = self.acceptances;
        let suspect = self.suspect(key, why, sent, now);
        if suspect.refused_sent.is_none() {
            suspect.refused_sent = Some(sent);
            suspect.patient_until = now + quiet.clamp(MIN_PATIENCE, MAX_PATIENCE);
        }
        let is_repeated = suspect.failures > 1;
        let (first_sent, patient_until) = (suspect.refused_sent, suspect.patient_until);
        let failures = suspect.failures;
        if suspect.counted_at.replace(acceptances) != Some(acceptances) {
            self.refused_in_a_row += 1;
        }
        let takes_others = self.accepted_sent >= first_sent || now >= patient_until;
        if is_repeated && takes_others && !self.is_held() {
            self.suspects.remove(&key);
            return Fate::Blamed;
        }
        Fate::Again { failures, by: (patient_until > now).then_some(patient_until) }
    }

    /// A record failed by itself for a reason that is evidence, in a request that left at `sent`. The record, or a group
    /// with it, has failed since then.
    pub fn failed(&mut self, key: K, why: Retry, sent: Instant, (since, now): (Instant, Instant)) -> Fate {
        let (accepted_sent, stuck_after) = (self.accepted_sent, self.stuck_after);
        let before = self.suspects.get(&key).map(|suspect| suspect.last_sent);
        let suspect = self.suspect(key, why, sent, since);
        if let Some(before) = before.filter(|before| accepted_sent >= Some(*before)) {
            suspect.failing_for += sent.since(before);
        }
        let failures = suspect.failures;
        if suspect.failing_for >= stuck_after {
            self.suspects.remove(&key);
            return Fate::Blamed;
        }
        Fate::Again { failures, by: Some(sent + (stuck_after - suspect.failing_for)).filter(|by| *by > now) }
    }

    /// The suspect `key`, which failed once more.
    fn suspect(&mut self, key: K, why: Retry, sent: Instant, since: Instant) -> &mut Suspect {
        let suspect = self.suspects.entry(key).or_insert_with(|| Suspect {
            why: why.clone(),
            since,
            failures: 0,
            last_sent: sent,
            refused_sent: None,
            patient_until: since,
            failing_for: Duration::ZERO,
            counted_at: None,
            is_told: false,
        });
        suspect.failures = suspect.failures.saturating_add(1);
        (suspect.why, suspect.last_sent) = (why, sent);
        suspect
    }

    /// Whether others were accepted since the record began to fail: its failures say nothing of the stream. What is
    /// refused is counted.
    pub fn fails_for_itself(&self, key: K) -> bool {
        self.suspects.get(&key).is_some_and(|suspect| {
            suspect.why.reason != RetryReason::Rejected && self.has_accepted_since(suspect.since)
        })
    }

    /// Whether so many records were refused in a row that the stream is to be held.
    pub fn is_held(&self) -> bool {
        self.refused_in_a_row >= REFUSALS
    }

    /// The suspects that are to be blamed without being sent again: another record was accepted that left no earlier.
    pub fn proven(&self) -> Vec<K> {
        let is_proven =
            |suspect: &Suspect| suspect.refused_sent.is_some_and(|sent| self.accepted_sent >= Some(sent));
        self.suspects.iter().filter(|(_, suspect)| is_proven(suspect)).map(|(key, _)| *key).collect()
    }

    /// Blames the suspect `key`. Returns why.
    pub fn blame(&mut self, key: K) -> Option<Retry> {
        self.suspects.remove(&key).map(|suspect| suspect.why)
    }

    /// Suspects whose records are to be sent no more are none.
    pub fn forget(&mut self, is_gone: impl Fn(&K) -> bool) {
        self.suspects.retain(|key, _| !is_gone(key));
    }

    /// The stream takes records again: what was refused meanwhile is judged anew.
    pub fn acquit(&mut self) {
        for suspect in self.suspects.values_mut() {
            suspect.refused_sent = None;
        }
    }

    /// The records that have failed alone for long, while others were accepted or for what they are.
    pub fn stuck(&self, now: Instant) -> impl Iterator<Item = (K, &Suspect)> {
        let is_stuck = move |suspect: &Suspect| {
            suspect.failures >= TOLD_FAILURES
                && now.since(suspect.since) >= TOLD_AFTER
                && (suspect.why.reason == RetryReason::Rejected || self.accepted_sent >= Some(suspect.since))
        };
        self.suspects
            .iter()
            .filter(move |(_, suspect)| is_stuck(suspect))
            .map(|(key, suspect)| (*key, suspect))
    }

    /// The stuck records that were not told yet, each with its last failure and for how long it has failed.
    pub fn newly_stuck(&mut self, now: Instant) -> Vec<(K, Retry, Duration)> {
        if now < self.next_look {
            return Vec::new();
        }
        self.next_look = now + LOOK_EVERY;
        let untold = |(_, suspect): &(K, &Suspect)| !suspect.is_told;
        let stuck: Vec<K> = self.stuck(now).filter(untold).map(|(key, _)| key).collect();
        let mut tell = |key: K| {
            let suspect = self.suspects.get_mut(&key)?;
            suspect.is_told = true;
            Some((key, suspect.why.clone(), now.since(suspect.since)))
        };
        stuck.into_iter().filter_map(&mut tell).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STUCK_AFTER: Duration = Duration::from_secs(600);

    fn at(millis: u64) -> Instant {
        Instant::at(Duration::from_millis(millis))
    }

    fn why(reason: RetryReason) -> Retry {
        Retry::new(reason, "Code", "message")
    }

    fn ladder() -> Ladder<u32> {
        Ladder::new(STUCK_AFTER)
    }

    impl Ladder<u32> {
        /// Refused in a request that took a millisecond.
        fn refuse(&mut self, key: u32, millis: u64) -> Fate {
            self.refused(key, why(RetryReason::Rejected), at(millis - 1), at(millis))
        }

        fn fail(&mut self, key: u32, millis: u64) -> Fate {
            self.failed(key, why(RetryReason::Server), at(millis - 1), (at(millis), at(millis)))
        }

        fn accept(&mut self, millis: u64) {
            self.accepted(u32::MAX, at(millis - 1), at(millis));
        }
    }

    #[test]
    fn a_group_is_sent_together_twice_then_in_halves_and_a_single_record_is_alone() {
        let rows = [
            ((500, 1), Step::Together),
            ((500, 2), Step::Halves),
            ((2, 1), Step::Together),
            ((2, 7), Step::Halves),
            ((1, 1), Step::Alone),
            ((1, 9), Step::Alone),
        ];
        for ((records, failures), step) in rows {
            assert_eq!(next_step(records, failures), step, "{records} records, {failures} failures");
        }
    }

    #[test]
    fn throttling_and_setup_are_no_evidence() {
        let evidence: Vec<_> =
            RetryReason::ALL.into_iter().filter(|reason| why(*reason).is_evidence()).collect();
        assert_eq!(
            evidence,
            [RetryReason::Server, RetryReason::Network, RetryReason::Ambiguous, RetryReason::Rejected]
        );
    }

    #[test]
    fn a_refused_record_waits_until_another_is_accepted_that_left_no_earlier() {
        let mut ladder = ladder();
        ladder.accept(100);
        assert!(matches!(ladder.refuse(1, 200), Fate::Again { failures: 1, .. }));
        ladder.accepted(9, at(150), at(210));
        assert!(ladder.proven().is_empty(), "what left earlier was judged before");
        ladder.accepted(9, at(199), at(220));
        assert_eq!(ladder.proven(), [1]);
        assert_eq!(ladder.blame(1), Some(why(RetryReason::Rejected)));
        assert!(ladder.proven().is_empty());
    }

    #[test]
    fn a_record_that_is_refused_again_after_an_acceptance_is_blamed_at_once() {
        let mut ladder = ladder();
        ladder.refuse(1, 200);
        ladder.accept(300);
        assert_eq!(ladder.refuse(1, 310), Fate::Blamed);
    }

    /// The stream had been quiet for so long, in milliseconds: a record is put aside after so many of refusals alone.
    #[test]
    fn where_nothing_else_is_sent_refusals_are_waited_out_for_as_long_as_it_was_quiet_before() {
        for (quiet, patience) in [(10, 1_000), (7_000, 7_000), (3_600_000, 60_000)] {
            let mut ladder = ladder();
            ladder.accept(1_000);
            let refused = 1_000 + quiet;
            assert_eq!(
                ladder.refuse(1, refused),
                Fate::Again { failures: 1, by: Some(at(refused + patience)) },
                "{quiet}"
            );
            assert!(matches!(ladder.refuse(1, refused + patience - 1), Fate::Again { failures: 2, .. }));
            assert_eq!(ladder.refuse(1, refused + patience), Fate::Blamed, "{quiet}");
        }
        let mut ladder = ladder();
        assert!(matches!(ladder.refuse(1, 100), Fate::Again { .. }), "nothing was ever accepted");
        assert!(matches!(ladder.refuse(1, 60_099), Fate::Again { .. }));
        assert_eq!(ladder.refuse(1, 60_100), Fate::Blamed);
    }

    #[test]
    fn l19_ten_refused_in_a_row_hold_the_stream_and_none_is_blamed_until_it_takes_records_again() {
        let mut ladder = ladder();
        ladder.accept(1);
        for key in 0..10 {
            assert!(!ladder.is_held());
            assert!(matches!(ladder.refuse(key, 10 + u64::from(key)), Fate::Again { .. }), "{key}");
        }
        assert!(ladder.is_held());
        for millis in (100..3_600_000).step_by(15_000) {
            assert!(matches!(ladder.refuse(3, millis), Fate::Again { .. }), "{millis}");
        }
        ladder.accept(3_600_000);
        assert!(!ladder.is_held());
        ladder.acquit();
        assert!(ladder.proven().is_empty(), "what was refused meanwhile says nothing");
        assert!(matches!(ladder.refuse(3, 3_600_010), Fate::Again { .. }));
        ladder.accept(3_600_020);
        assert_eq!(ladder.proven(), [3], "refused while the stream takes others");
    }

    #[test]
    fn l19_one_record_refused_ten_times_is_not_ten_records() {
        let mut ladder = ladder();
        for time in 0..9 {
            ladder.refuse(1, 10 + time);
        }
        for key in 0..9 {
            ladder.refuse(key, 30);
        }
        assert!(!ladder.is_held());
        ladder.accept(40);
        for key in 20..29 {
            ladder.refuse(key, 50);
        }
        assert!(!ladder.is_held(), "an acceptance lies between");
    }

    /// How a record fails again and again: the time between, in seconds, and how often others are accepted between.
    fn blamed_after(step: u64, accepts: impl Fn(u64) -> bool) -> Option<u64> {
        let mut ladder = ladder();
        (1..200).map(|time| time * step * 1_000).find(|millis| {
            let fate = ladder.fail(1, *millis);
            if accepts(*millis) {
                ladder.accept(*millis + 500);
            }
            fate == Fate::Blamed
        })
    }

    #[test]
    fn a_record_that_fails_while_others_pass_is_blamed_after_stuck_after_and_else_never() {
        assert_eq!(blamed_after(30, |_| true), Some(630_000));
        assert_eq!(blamed_after(30, |_| false), None);
        let service_was_down = |millis| !(60_000..3_000_000).contains(&millis);
        let after = blamed_after(30, service_was_down).expect("others pass again");
        assert!(after > 3_500_000, "the time in which nothing passed does not count: {after}");
    }

    #[test]
    fn a_record_that_fails_alone_is_told_once_when_others_pass() {
        let mut ladder = ladder();
        for millis in [1_000, 2_000, 4_000, 8_000, 11_000] {
            ladder.fail(1, millis);
        }
        assert!(ladder.newly_stuck(at(11_000)).is_empty(), "nothing passes");
        ladder.accept(11_500);
        assert_eq!(ladder.stuck(at(10_900)).count(), 0, "not for long");
        assert_eq!(
            ladder.newly_stuck(at(12_600)),
            [(1, why(RetryReason::Server), Duration::from_millis(11_600))]
        );
        assert!(ladder.newly_stuck(at(13_700)).is_empty(), "told once");
        assert_eq!(ladder.stuck(at(13_700)).count(), 1);
        assert!(ladder.fails_for_itself(1) && !ladder.fails_for_itself(2));
        ladder.accepted(1, at(14_000), at(14_001));
        assert_eq!(ladder.stuck(at(14_002)).count(), 0);
    }

    #[test]
    fn a_decision_is_due_when_stuck_after_is_over() {
        let mut ladder = ladder();
        assert_eq!(ladder.fail(1, 1_001), Fate::Again { failures: 1, by: Some(at(601_000)) });
        ladder.accept(1_500);
        assert_eq!(ladder.fail(1, 601_001), Fate::Blamed);
    }

    proptest! {
        /// Whatever is refused, in whatever order and however slowly.
        #[test]
        fn l19_without_an_acceptance_at_most_nine_are_blamed(
            events in proptest::collection::vec((0..30_u32, 1..20_000_u64), 1..300)
        ) {
            let mut ladder = ladder();
            let (mut millis, mut blamed) = (1, 0);
            for (key, step) in events {
                millis += step;
                blamed += u32::from(ladder.refuse(key, millis) == Fate::Blamed);
            }
            prop_assert!(blamed <= 9, "{blamed} blamed");
        }
    }
}
