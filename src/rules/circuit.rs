//! How a delivery stream stands with its service: sending, or held back as a whole.
//!
//! One request that fails says little, and only its records wait. Many in a row, with no success between them,
//! say that the service is down: then the whole stream waits, and one probe at a time asks whether it is back.
//! What only a person can mend (permission, key, credentials, a missing delivery stream) opens the stream at once; so does
//! a service that refuses record after record, of which the ladder counts how many.
//!
//! Knows outcomes in the order they came. Does not know records, and draws no lots.
//!
//! *Invariant:* while held, at most one request is under way, and the time between probes only grows.

use std::time::Duration;

use crate::model::settings::{Adaptive, Encryption};
use crate::model::time::Instant;
use crate::model::verdict::{Retry, RetryReason};

use super::retry::Backoff;

/// This many failures in a row, without a success, open the stream. At a failure rate of one half that happens
/// by chance to one request in 256, and then costs one initial delay.
const STREAK: u32 = 8;

/// Throttling that lowers the rate anyway opens the stream only after this long without a success: until then it may
/// just as well say that others take a large part of the quota.
const SILENCE: Duration = Duration::from_secs(3);

/// A request that had no answer for so long, and none that came since it left, says that nothing answers at all.
const UNANSWERED: Duration = Duration::from_secs(20);

/// The longest delay of a probe where nobody has to mend anything: whoever comes back is found within seconds. A thousand
/// daemons ask 250 times a second then.
const PROBE_PATIENCE: Duration = Duration::from_secs(8);

/// How often the operator is reminded of a stream that is held.
const REMINDER: Duration = Duration::from_secs(60);

/// The longest delay where credentials are missing or refused: they are renewed, and mended, by others, and a try that
/// finds none does not leave this machine.
const CREDENTIALS_PATIENCE: Duration = Duration::from_secs(4);

/// What a failure is to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    None,
    /// The stream is held from now on.
    Held,
    /// The stream has been held for another minute; so many rounds have failed since `since`.
    StillHeld {
        rounds: u32,
        since: Instant,
    },
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Send,
    /// Held: ask again then.
    NotBefore(Instant),
    /// A probe is under way, or a first record that has to be kept encrypted; its outcome decides.
    HalfOpen,
    /// Stopped: not with this configuration.
    Never,
}

/// What a stream's failures have come to.
#[derive(Clone, Debug)]
pub struct CircuitBreaker {
    backoff: Backoff,
    /// Whether throttling lowers the rate.
    adaptive: Adaptive,
    /// Failures since the last success.
    streak: u32,
    /// When the streak began.
    streak_began: Instant,
    /// When a request was answered last.
    answered_at: Option<Instant>,
    open: Option<Open>,
    /// Whether records leave one at a time, until an answer says that the service keeps them encrypted.
    awaits_encryption: bool,
}

/// A stream held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub why: Retry,
    /// When the stream was first held.
    pub since: Instant,
    /// When the next probe may go; `None` when only another configuration ends this.
    pub until: Option<Instant>,
    /// Rounds that failed, the first included.
    rounds: u32,
    /// When this round's delay began: what was sent before says nothing new.
    round_began: Instant,
    /// When the operator was told last.
    told: Instant,
}

impl CircuitBreaker {
    pub fn new(backoff: Backoff, adaptive: Adaptive) -> Self {
        Self {
            backoff,
            adaptive,
            streak: 0,
            streak_began: Instant::ZERO,
            answered_at: None,
            open: None,
            awaits_encryption: false,
        }
    }

    /// Lets one record at a time leave, until an answer says that the service keeps it encrypted.
    pub fn requiring(self, encryption: Encryption) -> Self {
        Self { awaits_encryption: encryption == Encryption::Required, ..self }
    }

    /// Whether no answer has said yet that the service keeps records encrypted, and one has to.
    pub fn awaits_encryption(&self) -> bool {
        self.awaits_encryption
    }

    /// An answer says that the service keeps records encrypted.
    pub fn encrypted(&mut self) {
        self.awaits_encryption = false;
    }

    /// Whether nothing may be sent under this configuration any more.
    pub fn is_stopped(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.until.is_none())
    }

    /// Whether one more request may be sent while `in_flight` are under way.
    pub fn may_send(&self, in_flight: usize, now: Instant) -> Permit {
        match &self.open {
            None if self.awaits_encryption && in_flight > 0 => Permit::HalfOpen,
            None => Permit::Send,
            Some(Open { until: None, .. }) => Permit::Never,
            Some(Open { until: Some(until), .. }) if now < *until => Permit::NotBefore(*until),
            Some(_) if in_flight > 0 => Permit::HalfOpen,
            Some(_) => Permit::Send,
        }
    }

    /// Some record of a request was accepted or judged: the service is there. Returns the open that this ends.
    pub fn answered(&mut self, now: Instant) -> Option<Open> {
        self.streak = 0;
        self.answered_at = Some(now);
        self.open.take_if(|open| open.until.is_some())
    }

    /// An answer says that nothing more may be sent. Returns whether that is news.
    pub fn stop(&mut self, why: Retry, now: Instant) -> bool {
        let is_news = self.open.as_ref().is_none_or(|open| open.until.is_some());
        if is_news {
            self.open = Some(Open { why, since: now, until: None, rounds: 1, round_began: now, told: now });
        }
        is_news
    }

    /// A request that was sent at `sent_at` failed as a whole, or was refused after as many as hold the stream. Says what
    /// is to be told of it.
    pub fn failed(&mut self, why: &Retry, sent_at: Instant, now: Instant, chance: f64) -> News {
        if self.streak == 0 {
            self.streak_began = now;
        }
        self.streak += 1;
        let is_patient = matches!(why.reason, RetryReason::Setup | RetryReason::Rejected);
        let slows_down = self.adaptive == Adaptive::On && why.reason == RetryReason::Throttled;
        let lasts = !slows_down || now.since(self.streak_began) >= SILENCE;
        let is_unanswered = why.reason == RetryReason::Network
            && now.since(sent_at) >= UNANSWERED
            && self.answered_at.is_none_or(|answered| answered < sent_at);
        match &mut self.open {
            None if is_patient || is_unanswered || (self.streak >= STREAK && lasts) => {
                self.hold(why, is_patient, now, chance)
            }
            None => News::None,
            Some(open) => {
                if sent_at >= open.round_began && open.until.is_some_and(|until| now >= until) {
                    open.rounds = open.rounds.saturating_add(1);
                    open.round_began = now;
                    let rounds = open.rounds;
                    let delay = delay(&self.backoff, why, is_patient, rounds, chance);
                    open.until = Some(now + delay);
                    open.why = why.clone();
                }
                if now.since(open.told) < REMINDER {
                    return News::None;
                }
                open.told = now;
                News::StillHeld { rounds: open.rounds, since: open.since }
            }
        }
    }

    /// Nothing was answered for so long that it has to be told, and no request has failed for it yet. What is under way goes on,
    /// and asks whether somebody is there.
    pub fn silent(&mut self, why: &Retry, now: Instant, chance: f64) -> News {
        match self.open {
            None => self.hold(why, false, now, chance),
            Some(_) => News::None,
        }
    }

    /// Holds the stream from now on.
    fn hold(&mut self, why: &Retry, is_patient: bool, now: Instant, chance: f64) -> News {
        let until = Some(now + delay(&self.backoff, why, is_patient, 1, chance));
        self.open =
            Some(Open { why: why.clone(), since: now, until, rounds: 1, round_began: now, told: now });
        News::Held
    }

    /// Lets the next probe go at once, unless nothing is sent under this configuration.
    pub fn ask(&mut self, now: Instant) {
        if let Some(Open { until: Some(until), .. }) = &mut self.open {
            *until = (*until).min(now);
        }
    }

    pub fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }
}

/// How long the next round waits.
fn delay(backoff: &Backoff, why: &Retry, is_patient: bool, rounds: u32, chance: f64) -> Duration {
    match is_patient {
        true if why.is_for_credentials() => backoff.patient_delay(chance).min(CREDENTIALS_PATIENCE),
        true => backoff.patient_delay(chance),
        false => backoff.bound(rounds).min(PROBE_PATIENCE).mul_f64(chance.clamp(0.0, 1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::RetrySettings;

    fn standing() -> CircuitBreaker {
        let settings = RetrySettings {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            stuck_after: Duration::from_secs(600),
        };
        CircuitBreaker::new(Backoff::try_new(settings).expect("the delays are in order"), Adaptive::On)
    }

    fn at(millis: u64) -> Instant {
        Instant::at(Duration::from_millis(millis))
    }

    fn why(reason: RetryReason) -> Retry {
        Retry::new(reason, "Code", "message")
    }

    #[test]
    fn where_encryption_is_required_one_record_at_a_time_leaves_until_an_answer_says_so() {
        let mut standing = standing().requiring(Encryption::Required);
        assert!(standing.awaits_encryption());
        assert_eq!(
            (standing.may_send(0, at(0)), standing.may_send(1, at(0))),
            (Permit::Send, Permit::HalfOpen)
        );
        standing.encrypted();
        assert_eq!((standing.awaits_encryption(), standing.may_send(63, at(0))), (false, Permit::Send));
        assert!(!super::tests::standing().requiring(Encryption::Optional).awaits_encryption());
    }

    #[test]
    fn failures_between_successes_hold_nothing() {
        let mut standing = standing();
        for _ in 0..100 {
            for _ in 0..STREAK - 1 {
                assert_eq!(standing.failed(&why(RetryReason::Server), at(0), at(1), 1.0), News::None);
            }
            assert_eq!(standing.answered(at(0)), None);
        }
        assert_eq!(standing.may_send(64, at(1)), Permit::Send);
    }

    #[test]
    fn a_row_of_failures_holds_the_stream_and_one_probe_at_a_time_ends_it() {
        let mut standing = standing();
        let held: Vec<_> =
            (0..STREAK).map(|_| standing.failed(&why(RetryReason::Network), at(0), at(10), 1.0)).collect();
        assert_eq!(held.iter().filter(|news| **news == News::Held).count(), 1);
        assert_eq!(standing.may_send(5, at(20)), Permit::NotBefore(at(110)));
        assert_eq!(standing.may_send(5, at(110)), Permit::HalfOpen);
        assert_eq!(standing.may_send(0, at(110)), Permit::Send);
        assert_eq!(standing.failed(&why(RetryReason::Network), at(110), at(120), 1.0), News::None);
        assert_eq!(
            standing.may_send(0, at(130)),
            Permit::NotBefore(at(320)),
            "the next delay is twice as long"
        );
        assert!(standing.answered(at(0)).is_some());
        assert_eq!(standing.may_send(5, at(130)), Permit::Send);
    }

    #[test]
    fn throttling_holds_a_stream_only_when_nothing_is_taken_for_long() {
        let mut standing = standing();
        for millis in (0..3000).step_by(100) {
            let news = standing.failed(&why(RetryReason::Throttled), at(millis), at(millis), 1.0);
            assert_eq!(news, News::None, "{millis} ms");
        }
        assert_eq!(standing.failed(&why(RetryReason::Throttled), at(2990), at(3000), 1.0), News::Held);

        let mut standing = CircuitBreaker { adaptive: Adaptive::Off, ..self::standing() };
        let held = (0..STREAK)
            .any(|_| standing.failed(&why(RetryReason::Throttled), at(0), at(10), 1.0) == News::Held);
        assert!(held, "without a rate that falls, only waiting helps");
    }

    #[test]
    fn requests_from_before_the_hold_do_not_prolong_it() {
        let mut standing = standing();
        for _ in 0..STREAK + 50 {
            standing.failed(&why(RetryReason::Server), at(0), at(10), 1.0);
        }
        assert_eq!(standing.may_send(0, at(11)), Permit::NotBefore(at(110)));
    }

    #[test]
    fn a_fault_that_a_person_must_mend_holds_at_once_and_patiently() {
        let mut standing = standing();
        assert_eq!(standing.failed(&why(RetryReason::Setup), at(0), at(0), 0.0), News::Held);
        assert_eq!(standing.may_send(0, at(1)), Permit::NotBefore(at(15_000)));
    }

    #[test]
    fn where_credentials_are_missing_or_refused_the_next_try_comes_within_five_seconds() {
        for code in
            ["MissingCredentials", "MissingRegion", "UnrecognizedClientException", "ExpiredTokenException"]
        {
            let mut standing = standing();
            let why = Retry { code: code.into(), ..why(RetryReason::Setup) };
            assert_eq!(standing.failed(&why, at(0), at(0), 1.0), News::Held);
            assert_eq!(standing.may_send(0, at(1)), Permit::NotBefore(at(4_000)), "{code}");
            standing.failed(&why, at(4_000), at(4_000), 1.0);
            assert_eq!(standing.may_send(0, at(4_001)), Permit::NotBefore(at(8_000)), "{code}");
        }
    }

    #[test]
    fn refusals_that_hold_the_stream_are_probed_patiently_and_any_acceptance_ends_it() {
        let mut standing = standing();
        assert_eq!(standing.failed(&why(RetryReason::Rejected), at(0), at(0), 0.0), News::Held);
        assert_eq!(standing.may_send(0, at(14_999)), Permit::NotBefore(at(15_000)));
        standing.failed(&why(RetryReason::Rejected), at(15_000), at(15_001), 0.0);
        assert_eq!(standing.may_send(0, at(15_002)), Permit::NotBefore(at(30_001)));
        assert!(standing.answered(at(0)).is_some());
        assert_eq!(standing.may_send(5, at(15_003)), Permit::Send);
    }

    #[test]
    fn an_endpoint_that_never_answers_holds_at_the_first_timeout_and_one_that_answers_others_does_not() {
        let mut standing = standing();
        assert_eq!(standing.failed(&why(RetryReason::Network), at(0), at(19_999), 1.0), News::None);
        assert_eq!(standing.failed(&why(RetryReason::Network), at(0), at(30_000), 1.0), News::Held);

        let mut standing = self::standing();
        standing.answered(at(5_000));
        assert_eq!(standing.failed(&why(RetryReason::Network), at(4_000), at(40_000), 1.0), News::None);
        assert_eq!(standing.failed(&why(RetryReason::Network), at(6_000), at(40_000), 1.0), News::Held);
    }

    #[test]
    fn however_long_an_outage_was_its_end_is_found_within_seconds() {
        let mut standing = standing();
        let mut now = 0;
        for _ in 0..STREAK + 20 {
            standing.failed(&why(RetryReason::Server), at(now), at(now), 1.0);
            let Permit::NotBefore(next) = standing.may_send(0, at(now)) else { continue };
            assert!(next <= at(now + 8_000));
            now = u64::try_from(next.since(Instant::ZERO).as_millis()).expect("small");
        }
        assert!(now > 60_000, "it was long enough for the longest delay");
    }

    #[test]
    fn what_is_stopped_stays_stopped_whatever_is_answered() {
        let mut standing = standing();
        assert!(standing.stop(Retry::not_encrypted(), at(0)));
        assert_eq!(standing.answered(at(0)), None);
        assert_eq!(standing.failed(&why(RetryReason::Server), at(0), at(1), 1.0), News::None);
        assert!(!standing.stop(Retry::not_encrypted(), at(2)), "it is no news");
        assert_eq!(standing.may_send(0, at(3_600_000)), Permit::Never);
        assert_eq!(standing.open().map(|open| open.since), Some(at(0)));
    }

    #[test]
    fn what_is_held_is_stopped_when_its_probe_was_not_encrypted() {
        let mut standing = standing();
        standing.failed(&why(RetryReason::Setup), at(0), at(0), 0.0);
        assert!(standing.stop(Retry::not_encrypted(), at(10)));
        assert_eq!(standing.may_send(0, at(3_600_000)), Permit::Never);
    }

    #[test]
    fn attempts_while_the_service_refuses_are_few() {
        let mut standing = standing();
        let (mut now, mut attempts) = (at(0), 0);
        while now < at(600_000) {
            match standing.may_send(0, now) {
                Permit::Send => {
                    attempts += 1;
                    standing.failed(&why(RetryReason::Server), now, now, 1.0);
                    now = now + Duration::from_millis(1);
                }
                Permit::NotBefore(until) => now = until,
                Permit::HalfOpen | Permit::Never => {
                    unreachable!("nothing is under way, and nobody stopped it")
                }
            }
        }
        assert!(attempts < 100, "{attempts} attempts in ten minutes");
    }

    #[test]
    fn what_stays_held_is_told_once_a_minute() {
        let mut standing = standing();
        let (mut now, mut told) = (at(0), Vec::new());
        while now < at(300_000) {
            match standing.failed(&why(RetryReason::Setup), now, now, 0.5) {
                News::None => {}
                news => told.push((now, news)),
            }
            now = now + Duration::from_secs(1);
        }
        assert_eq!(told.len(), 5, "{told:?}");
        assert_eq!(told[0], (at(0), News::Held));
        assert!(
            matches!(told[4], (_, News::StillHeld { rounds, since }) if rounds > 4 && since == at(0)),
            "{told:?}"
        );
    }
}
