//! One question before each request: may it go now, or when?
//!
//! Two guards answer. governor's cell-rate limiters pace: they admit `rate × T + burst` in a window T, so both
//! are chosen with `rate × 1 s + burst = share × quota`; a cost above the burst is paid in instalments. Paid
//! that way, a large request would still leave in one piece at the end, with a full second's worth right behind
//! it; so what left in the last second, and a little before, is remembered too, and the law is checked as it stands.
//!
//! Bytes are counted in KiB, rounded up: in single bytes governor's nanosecond intervals run 0.4 % fast at
//! 5 MiB/s, in KiB 0.0003 %.
//!
//! *Invariant (L5):* in any one-second window, admitted ≤ share × quota on each of the three axes; only a single
//! request that is larger than that goes alone.

mod controller;
mod known;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};

use crate::model::settings::{Adaptive, QuotaSettings};
use crate::model::time::Instant;

use self::controller::{Answer, Controller};

const SECOND: Duration = Duration::from_secs(1);

/// The service counts what comes in a second, not what leaves: requests that a busy machine delays arrive with those behind
/// them. What so long a time may hold is what a second may, which costs nothing beside [`BURST_PART`].
const WINDOW: Duration = Duration::from_millis(1_050);

/// The burst's part of what one second allows: large enough that coarse timers do not cost throughput, small
/// enough that a backlog uses 95 % of it.
const BURST_PART: u32 = 20;

/// A request holds at most this part of what a second allows: requests that fill a second only in part leave the
/// rest of it unused, and few large ones tell too seldom that the quota is reached.
const LARGEST_PART: f64 = 1.0 / 128.0;
/// However low the rate, this part of what a second allows at the full rate is not too much.
const LARGEST_PART_AT_LEAST: f64 = 1.0 / 1024.0;

/// A request that takes longer to pay for at the rate of now is large.
const LARGE_SECONDS: f64 = 0.25;

/// When nothing was asked for so long, the process was stopped or starved, or had nothing to do.
const PAUSE: Duration = Duration::from_millis(250);

/// What was admitted so shortly before a pause may not have left before it.
const LEAVING: Duration = Duration::from_millis(100);

/// What one request uses up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub requests: u32,
    pub records: u32,
    /// Data before base64.
    pub kib: u32,
}

impl Cost {
    /// One request with `records` records of `bytes` bytes in all.
    pub fn of_request(records: usize, bytes: usize) -> Self {
        let count = |n: usize| u32::try_from(n).expect("a request is at most 500 records of 4 MiB");
        Self { requests: 1, records: count(records), kib: count(bytes.div_ceil(1024)) }
    }

    fn axes(self) -> [u32; 3] {
        [self.requests, self.records, self.kib]
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The request is paid for: send it.
    Now,
    /// Ask again with the same request, not before this.
    NotBefore(Instant),
}

/// How much of each quota one second allows and used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Use {
    pub requests: f64,
    pub records: f64,
    pub bytes: f64,
}

impl Use {
    /// The greater of both, for each quota.
    pub fn max(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            records: self.records.max(other.records),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

/// The quotas of one delivery stream, as far as they are ours.
#[derive(Debug)]
pub struct Quota {
    clock: ManualClock,
    axes: [Axis; 3],
    /// What left in the last window, oldest first.
    sent: VecDeque<(Instant, Cost)>,
    /// The sum of what was sent, for requests, records and bytes.
    sent_sum: [u64; 3],
    /// The full quotas, an axis each, for [`Quota::used`].
    full: [f64; 3],
    adaptive: Adaptive,
    controller: Controller,
    /// When [`Quota::note_pause`] was last called.
    woken: Instant,
}

#[derive(Debug)]
struct Axis {
    clock: ManualClock,
    limiter: RateLimiter<NotKeyed, InMemoryState, ManualClock, NoOpMiddleware<Duration>>,
    burst: u32,
    /// What may leave in one second.
    allowed: u64,
    /// What rounding to whole cells left unpaid, below one cell.
    fraction: f64,
}

/// A request that is being paid for, in instalments where it is large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Payment {
    cost: Cost,
    /// What is left to pay, at the full rate: what an instalment costs is decided when it is paid.
    owed: [f64; 3],
}

impl Payment {
    /// Nothing of `cost` is paid yet.
    pub fn of(cost: Cost) -> Self {
        Self { cost, owed: cost.axes().map(f64::from) }
    }

    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether only the law over the last second is left to wait for.
    pub fn is_paid(&self) -> bool {
        self.owed.iter().all(|owed| *owed <= 0.0)
    }
}

impl Quota {
    pub fn new(settings: QuotaSettings, now: Instant) -> Self {
        let clock = ManualClock::at(now);
        let quotas = [
            u64::from(settings.requests_per_second.get()),
            u64::from(settings.records_per_second.get()),
            settings.bytes_per_second / 1024,
        ];
        let axes = quotas.map(|quota| Axis::new(quota, settings.share, &clock));
        Self {
            axes,
            full: quotas.map(|quota| quota as f64),
            clock,
            sent: VecDeque::new(),
            sent_sum: [0; 3],
            adaptive: settings.adaptive,
            controller: Controller::new(now),
            woken: now,
        }
    }

    /// Told whenever something happens, before [`admit`](Self::admit) is asked: `under_way` requests have no answer.
    ///
    /// A process that was stopped right after an admission sends when it goes on: what has just been admitted then
    /// counts as leaving now.
    pub fn note_pause(&mut self, under_way: usize, now: Instant) {
        let last = std::mem::replace(&mut self.woken, now);
        if now.since(last) < PAUSE {
            return;
        }
        for (at, _) in self.sent.iter_mut().rev().take(under_way) {
            if last.since(*at) > LEAVING {
                break;
            }
            *at = now;
        }
    }

    /// These quotas in place of `earlier`, whose requests were sent all the same: what left in the last second
    /// counts against the new ones, and so does what throttling has taught.
    pub fn take_over(&mut self, earlier: Self) {
        let Self { sent, sent_sum, controller, .. } = earlier;
        (self.sent, self.sent_sum) = (sent, sent_sum);
        if self.adaptive == Adaptive::On {
            self.controller = controller;
        }
    }

    /// Whether this request may leave now. It is asked for again, with what was paid of it, until it may.
    pub fn admit(&mut self, payment: &mut Payment, now: Instant) -> Admission {
        if let Some(at) = self.pay(payment, now) {
            return Admission::NotBefore(at);
        }
        if let Some(at) = self.window_not_before(payment.cost) {
            return Admission::NotBefore(at);
        }
        self.sent.push_back((now, payment.cost));
        for (sum, part) in self.sent_sum.iter_mut().zip(payment.cost.axes()) {
            *sum += u64::from(part);
        }
        Admission::Now
    }

    /// Pays what can be paid now, at the price of now; says when to go on, if more is owed.
    fn pay(&mut self, payment: &mut Payment, now: Instant) -> Option<Instant> {
        self.ready(now);
        let factor = self.controller.value();
        let mut next: Option<Instant> = None;
        for (owed, axis) in payment.owed.iter_mut().zip(&mut self.axes) {
            if let Some(wait) = axis.pay(owed, factor, u32::MAX) {
                let at = now + wait;
                next = Some(next.map_or(at, |earlier| earlier.min(at)));
            }
        }
        next
    }

    /// Pays of a large request about what `small`, which passed it, cost; says when to go on, if that was not possible.
    pub fn pay_in_turn(&mut self, payment: &mut Payment, small: Cost, now: Instant) -> Option<Instant> {
        self.ready(now);
        let factor = self.controller.value();
        let seconds = |(axis, part): (&Axis, u32)| f64::from(part) / axis.allowed as f64;
        let turn = self.axes.iter().zip(small.axes()).map(seconds).fold(0.0, f64::max) / factor;
        let mut next: Option<Instant> = None;
        for (owed, axis) in payment.owed.iter_mut().zip(&mut self.axes) {
            let most = (axis.allowed as f64 * turn).ceil().max(1.0) as u32;
            if let Some(wait) = axis.pay(owed, factor, most) {
                let at = now + wait;
                next = Some(next.map_or(at, |earlier| earlier.min(at)));
            }
        }
        next
    }

    fn ready(&mut self, now: Instant) {
        self.clock.set(now);
        self.controller.climb(now);
        self.forget_sent(now);
    }

    /// The service took `accepted` of a request that was sent at `sent_at`, and refused the part `refused` of it, 0 to 1,
    /// for having been too much.
    pub fn answered(&mut self, accepted: Cost, refused: f64, sent_at: Instant, now: Instant) {
        if self.adaptive == Adaptive::Off {
            return;
        }
        let parts =
            self.axes.iter().zip(accepted.axes()).map(|(axis, part)| f64::from(part) / axis.allowed as f64);
        let accepted = parts.fold(0.0, f64::max);
        self.controller.answered(Answer { accepted, refused, sent_at }, now);
    }

    /// The service takes nothing at all any more.
    pub fn silenced(&mut self, now: Instant) {
        self.controller.silenced(now);
    }

    /// The part of the rate that throttling left: above 0, at most 1.
    pub fn factor(&self) -> f64 {
        self.controller.value()
    }

    /// Whether a request would take long to pay for: small ones may pass it.
    pub fn is_large(&self, cost: Cost) -> bool {
        let factor = self.controller.value();
        let part = |(axis, part): (&Axis, u32)| f64::from(part) / (axis.allowed as f64 * factor);
        self.axes.iter().zip(cost.axes()).map(part).fold(0.0, f64::max) > LARGE_SECONDS
    }

    /// What the last second used of the full quotas, 0 to 1 each.
    pub fn used(&self, now: Instant) -> Use {
        let mut sum = self.sent_sum;
        for (_, cost) in self.sent.iter().take_while(|(at, _)| now.since(*at) >= SECOND) {
            subtract(&mut sum, *cost);
        }
        let part = |axis: usize| sum[axis] as f64 / self.full[axis].max(1.0);
        Use { requests: part(0), records: part(1), bytes: part(2) }
    }

    /// The most that one request should hold: records, and bytes before base64.
    pub fn largest_request(&self) -> (usize, usize) {
        let part = (self.controller.value() * LARGEST_PART).max(LARGEST_PART_AT_LEAST);
        // As many requests as there may be tell soonest what is refused of them.
        let of_each = if self.controller.asks_about_few() { 1.0 / self.axes[0].allowed as f64 } else { 1.0 };
        let part = |axis: usize| self.axes[axis].allowed as f64 * part.min(of_each);
        ((part(1) as usize).max(1), (part(2) * 1024.0) as usize)
    }

    /// When enough of the last window has gone by for `cost` to fit, if it does not now.
    fn window_not_before(&self, cost: Cost) -> Option<Instant> {
        let allowed = |axis: usize| self.axes[axis].allowed;
        let cost = cost.axes();
        let fits = |sum: &[u64; 3]| (0..3).all(|axis| sum[axis] + u64::from(cost[axis]) <= allowed(axis));
        let mut sum = self.sent_sum;
        let mut last = None;
        for (at, part) in &self.sent {
            if fits(&sum) {
                break;
            }
            subtract(&mut sum, *part);
            last = Some(*at + WINDOW);
        }
        last
    }

    fn forget_sent(&mut self, now: Instant) {
        while let Some((at, cost)) = self.sent.front()
            && now.since(*at) >= WINDOW
        {
            subtract(&mut self.sent_sum, *cost);
            self.sent.pop_front();
        }
    }
}

fn subtract(sum: &mut [u64; 3], cost: Cost) {
    for (sum, part) in sum.iter_mut().zip(cost.axes()) {
        *sum -= u64::from(part);
    }
}

impl Axis {
    fn new(quota: u64, share: f64, clock: &ManualClock) -> Self {
        let allowed = ((quota as f64 * share) as u64).max(1);
        let cells = u32::try_from(allowed).unwrap_or(u32::MAX);
        let burst = (cells / BURST_PART).max(1);
        let rate = cells.saturating_sub(burst).max(1);
        let cells = |n: u32| NonZeroU32::new(n).expect("a rate and a burst are at least one");
        let rate = Rate::per_second(cells(rate)).allow_burst(cells(burst));
        let limiter = RateLimiter::direct_with_clock(rate, clock.clone());
        Self { clock: clock.clone(), limiter, burst, allowed, fraction: 0.0 }
    }

    /// Pays of `owed`, in whole cells and at most `most` of them; returns how long to wait for more, if that is why it
    /// was not enough. A lowered rate makes each request dearer, so that pacing stays with the limiter.
    fn pay(&mut self, owed: &mut f64, factor: f64, most: u32) -> Option<Duration> {
        let mut left = most;
        loop {
            let due = *owed / factor + self.fraction;
            let Some(cells) = NonZeroU32::new((due as u32).min(self.burst).min(left)) else {
                if due < 1.0 && *owed > 0.0 {
                    (*owed, self.fraction) = (0.0, due);
                }
                return None;
            };
            match self.limiter.check_n(cells).expect("an instalment is at most the burst") {
                Ok(()) => {
                    left -= cells.get();
                    let rest = due - f64::from(cells.get());
                    self.fraction = self.fraction.min(rest);
                    *owed = (rest - self.fraction) * factor;
                }
                Err(not_until) => return Some(not_until.wait_time_from(self.clock.now())),
            }
        }
    }
}

/// governor's clock, set by hand before each question.
#[derive(Clone, Debug)]
struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    fn at(now: Instant) -> Self {
        Self(Arc::new(AtomicU64::new(now.nanos())))
    }

    fn set(&self, now: Instant) {
        self.0.store(now.nanos(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(requests: u32, records: u32, bytes: u64, share: f64) -> QuotaSettings {
        QuotaSettings {
            requests_per_second: NonZeroU32::new(requests).expect("above zero"),
            records_per_second: NonZeroU32::new(records).expect("above zero"),
            bytes_per_second: bytes,
            share,
            adaptive: Adaptive::On,
        }
    }

    fn defaults() -> Quota {
        Quota::new(settings(2000, 5000, 5_000_000, 0.9), Instant::ZERO)
    }

    #[test]
    fn what_was_had_before_counts_until_the_service_answers_and_only_where_refusals_are_learned_from() {
        let mut quota = defaults();
        assert!((quota.part() - 1.0).abs() < f64::EPSILON);
        quota.begin_with(0.25, Instant::ZERO);
        quota.begin_with(0.5, Instant::ZERO);
        assert!((quota.part() - 0.25).abs() < f64::EPSILON, "what is known first");
        let mut asked = defaults();
        let cost = Cost::of_request(1, 100);
        asked.answered(cost, 0.0, Instant::ZERO, Instant::at(Duration::from_secs(1)));
        asked.begin_with(0.25, Instant::at(Duration::from_secs(1)));
        assert!((asked.part() - 1.0).abs() < f64::EPSILON, "the service knows better");
        let off = QuotaSettings { adaptive: Adaptive::Off, ..settings(2000, 5000, 5_000_000, 0.9) };
        let mut fixed = Quota::new(off, Instant::ZERO);
        fixed.begin_with(0.25, Instant::ZERO);
        assert!((fixed.part() - 1.0).abs() < f64::EPSILON);
    }

    /// Sends `costs` one after the other, as soon as each may leave, until `until`; timers are `late` by up to that.
    fn drain(
        quota: &mut Quota,
        costs: impl Iterator<Item = Cost>,
        until: Duration,
        late: Duration,
    ) -> Vec<(Instant, Cost)> {
        let mut now = Instant::ZERO;
        let mut sent = Vec::new();
        for cost in costs {
            let mut payment = Payment::of(cost);
            loop {
                if now >= Instant::at(until) {
                    return sent;
                }
                match quota.admit(&mut payment, now) {
                    Admission::Now => break sent.push((now, cost)),
                    Admission::NotBefore(at) => {
                        assert!(at > now, "the answer lies in the future");
                        now = at + late;
                    }
                }
            }
        }
        sent
    }

    /// A request that was sent and refused at once.
    fn throttle(quota: &mut Quota, now: Instant) {
        quota.answered(Cost::default(), 1.0, now, now);
    }

    fn busiest_second(sent: &[(Instant, Cost)]) -> [u64; 3] {
        let mut most = [0; 3];
        for (index, (from, _)) in sent.iter().enumerate() {
            let mut sum = [0u64; 3];
            for (_, cost) in sent[index..].iter().take_while(|(at, _)| at.since(*from) < SECOND) {
                for (sum, part) in sum.iter_mut().zip(cost.axes()) {
                    *sum += u64::from(part);
                }
            }
            for (most, sum) in most.iter_mut().zip(sum) {
                *most = (*most).max(sum);
            }
        }
        most
    }

    const MILLI: Duration = Duration::from_millis(1);

    /// Every three seconds nothing is asked for in 50 ms, and then what was missed at once; what leaves in the next
    /// 50 ms is held up on its way, and arrives together.
    #[test]
    fn what_is_late_on_the_way_by_up_to_a_twentieth_of_a_second_is_not_too_much_where_it_arrives() {
        let within = |now: Instant| (now.since(Instant::ZERO).as_micros() % 3_000_000) as u64;
        let wait = |micros: u64| Duration::from_micros(micros);
        let (mut quota, mut now, mut arrived) = (defaults(), Instant::ZERO, Vec::new());
        let cost = Cost::of_request(1, 200);
        while now < Instant::at(Duration::from_secs(20)) {
            let mut payment = Payment::of(cost);
            while let Admission::NotBefore(at) = quota.admit(&mut payment, now) {
                now = if (400_000..450_000).contains(&within(at)) {
                    at + wait(450_000 - within(at))
                } else {
                    at
                };
            }
            let is_held_up = (450_000..500_000).contains(&within(now));
            let arrives = if is_held_up { now + wait(500_000 - within(now)) } else { now };
            arrived.push((arrives, cost));
        }
        assert!(arrived.len() >= 20 * 1800 * 93 / 100, "{} requests in 20 s", arrived.len());
        assert!(busiest_second(&arrived)[0] <= 1800, "{:?}", busiest_second(&arrived));
    }

    #[test]
    fn a_backlog_of_single_records_uses_over_ninety_percent_of_what_is_allowed() {
        let sent = drain(
            &mut defaults(),
            std::iter::repeat(Cost::of_request(1, 200)),
            Duration::from_secs(20),
            MILLI,
        );
        assert!(sent.len() >= 20 * 1800 * 93 / 100, "{} requests in 20 s", sent.len());
        assert!(busiest_second(&sent)[0] <= 1800);
    }

    #[test]
    fn a_backlog_of_full_batches_uses_over_ninety_percent_of_the_records() {
        let batch = Cost::of_request(500, 500 * 200);
        let sent = drain(&mut defaults(), std::iter::repeat(batch), Duration::from_secs(20), MILLI);
        let records = sent.len() * 500;
        assert!(records >= 20 * 4500 * 90 / 100, "{records} records in 20 s");
        assert!(busiest_second(&sent)[1] <= 4500);
    }

    #[test]
    fn a_large_record_is_paid_in_instalments_and_leaves_whole() {
        let large = Cost::of_request(1, 1_024_000);
        let sent = drain(&mut defaults(), std::iter::repeat(large), Duration::from_secs(20), MILLI);
        let kib = sent.len() * 1000;
        assert!(kib >= 20 * 4394 * 80 / 100, "{kib} KiB in 20 s");
        assert!(busiest_second(&sent)[2] <= 4394);
    }

    #[test]
    fn a_request_above_what_a_second_allows_goes_alone() {
        let mut quota = Quota::new(settings(10, 10, 500 * 1024, 1.0), Instant::ZERO);
        let large = Cost::of_request(1, 1_024_000);
        let sent = drain(&mut quota, std::iter::repeat(large), Duration::from_secs(60), MILLI);
        assert!(sent.len() >= 25, "{}", sent.len());
        assert_eq!(busiest_second(&sent)[0], 1);
    }

    #[test]
    fn waking_late_is_not_made_up_for_with_a_burst_over_the_quota() {
        let late = Duration::from_millis(700);
        let sent = drain(
            &mut defaults(),
            std::iter::repeat(Cost::of_request(1, 200)),
            Duration::from_secs(20),
            late,
        );
        assert!(busiest_second(&sent)[0] <= 1800);
    }

    #[test]
    fn a_lowered_factor_lowers_the_rate() {
        let mut quota = defaults();
        for millis in 0..12 {
            throttle(&mut quota, Instant::ZERO + MILLI * millis);
        }
        let factor = quota.factor();
        assert!((0.2..0.5).contains(&factor), "{factor}");
        let sent = drain(&mut quota, std::iter::repeat(Cost::of_request(1, 200)), SECOND, MILLI);
        let (least, most) = (1800.0 * factor * 0.9, 1800.0 * factor * 1.2);
        assert!((least..most).contains(&(sent.len() as f64)), "{} requests in the first second", sent.len());
    }

    #[test]
    fn requests_are_small_while_it_is_asked_about_few_refusals() {
        let (mut quota, mut millis) = (defaults(), 0);
        let taken = Cost::of_request(35, 35 * 200);
        // However low the rate, four records are not too many for a request else.
        while quota.largest_request().0 > 2 {
            assert!(millis < 5_000, "{:?} at {}", quota.largest_request(), quota.factor());
            let now = Instant::at(MILLI * millis);
            let (taken, refused) = if millis % 30 == 0 { (Cost::default(), 1.0) } else { (taken, 0.0) };
            quota.answered(taken, refused, now, now);
            millis += 1;
        }
        assert!(millis >= 1_000, "before a second has gone by nothing is asked");
    }

    #[test]
    fn what_is_sent_after_a_pause_counts_from_then_on() {
        let at = |millis| Instant::at(MILLI * millis);
        let mut quota = defaults();
        quota.note_pause(0, at(1000));
        assert_eq!(quota.admit(&mut Payment::of(Cost::of_request(1, 1)), at(1000)), Admission::Now);
        // The process was stopped between the admission and the call, and goes on two seconds later.
        quota.note_pause(1, at(3000));
        assert!(quota.used(at(3000)).requests > 0.0);
        quota.note_pause(1, at(3200));
        quota.note_pause(1, at(4000));
        assert_eq!(quota.used(at(4000)).requests, 0.0, "it has long left");
    }

    #[test]
    fn without_adaptive_throttling_changes_nothing() {
        let mut quota = Quota::new(
            QuotaSettings { adaptive: Adaptive::Off, ..settings(10, 10, 10_000, 1.0) },
            Instant::ZERO,
        );
        throttle(&mut quota, Instant::ZERO);
        assert_eq!(quota.factor(), 1.0);
    }

    proptest! {
        #[test]
        fn l5_no_one_second_window_exceeds_the_share_on_any_axis(
            requests in 1u32..3000,
            records in 1u32..6000,
            kib in 1u64..6000,
            share in 0.05f64..=1.0,
            late in 0u64..40,
            costs in proptest::collection::vec((1usize..=500, 1usize..4_000_000), 1..200),
            throttled in proptest::collection::vec(any::<bool>(), 4),
        ) {
            let mut quota = Quota::new(settings(requests, records, kib * 1024, share), Instant::ZERO);
            for (index, hit) in throttled.iter().enumerate() {
                if *hit {
                    throttle(&mut quota, Instant::at(MILLI * u32::try_from(index).expect("small")));
                }
            }
            let (max_records, max_bytes) = quota.largest_request();
            let costs = costs.into_iter().map(|(records, bytes)| {
                Cost::of_request(records.min(max_records), bytes.min(max_bytes))
            });
            let sent = drain(&mut quota, costs, Duration::from_secs(600), MILLI * u32::try_from(late).expect("small"));
            let allowed = |quota: f64| ((quota * share) as u64).max(1);
            let most = busiest_second(&sent);
            prop_assert!(most[0] <= allowed(f64::from(requests)), "L5: {} requests", most[0]);
            prop_assert!(most[1] <= allowed(f64::from(records)), "L5: {} records", most[1]);
            prop_assert!(most[2] <= allowed(kib as f64), "L5: {} KiB", most[2]);
        }
    }
}
