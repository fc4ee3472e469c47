//! Controllers in a closed loop with a toy of a service, on an invented clock.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::steps::{quiet_seconds, step};
use super::*;

/// Requests a second that a factor of 1 stands for.
const ALLOWED: f64 = 1_800.0;
const ROUND_TRIP: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(5);

fn at(millis: u64) -> Instant {
    Instant::at(Duration::from_millis(millis))
}

/// What the service does, beside counting.
#[derive(Clone, Copy, Debug)]
struct Service {
    /// Requests of all senders in any second.
    quota: f64,
    /// The share that it refuses whatever comes.
    refuses: f64,
    /// Into how many records a request goes that are refused one by one; 0 when it is refused as a whole.
    records: u32,
    /// Requests a second of a neighbour that does not give way.
    neighbour: f64,
    /// Whether records share requests, of which there are 128 a second then, as long as an eighth of the rate is left.
    in_batches: bool,
}

const AMPLE: Service = Service { quota: 1e9, refuses: 0.0, records: 0, neighbour: 0.0, in_batches: false };

struct Toy {
    service: Service,
    rng: fastrand::Rng,
    now: Instant,
    /// Accepted in the last second.
    window: VecDeque<Instant>,
    controllers: Vec<Controller>,
    /// Of each controller, then of the neighbour: parts of requests that are not sent yet.
    due: Vec<f64>,
    /// When each was sent, by whom, which part of what a second allows it is, and how much of it is refused.
    under_way: VecDeque<(Instant, usize, f64, f64)>,
    accepted: Vec<f64>,
}

impl Toy {
    fn new(service: Service, controllers: usize, seed: u64) -> Self {
        Self {
            service,
            rng: fastrand::Rng::with_seed(seed),
            now: at(0),
            window: VecDeque::new(),
            controllers: vec![Controller::new(at(0)); controllers],
            due: vec![0.0; controllers + 1],
            under_way: VecDeque::new(),
            accepted: vec![0.0; controllers],
        }
    }

    /// The refused part of a request that arrives now.
    fn answer(&mut self) -> f64 {
        while self.window.front().is_some_and(|then| self.now.since(*then) >= Duration::from_secs(1)) {
            self.window.pop_front();
        }
        let Service { quota, refuses, records, .. } = self.service;
        let refused = match records {
            0 => f64::from(self.rng.f64() < refuses),
            _ => {
                let refused = (0..records).filter(|_| self.rng.f64() < refuses).count();
                refused as f64 / f64::from(records)
            }
        };
        if refused == 1.0 || self.window.len() as f64 >= quota {
            return 1.0;
        }
        self.window.push_back(self.now);
        refused
    }

    /// Runs for so long; returns what each controller had accepted of what a second allows, a second.
    fn run(&mut self, time: Duration) -> Vec<f64> {
        let (end, before) = (self.now + time, self.accepted.clone());
        while self.now < end {
            self.now = self.now + TICK;
            self.learn();
            self.send();
        }
        let parts = self.accepted.iter().zip(before);
        parts.map(|(after, before)| (after - before) / time.as_secs_f64()).collect()
    }

    fn learn(&mut self) {
        while let Some((sent_at, who, part, refused)) = self.under_way.front().copied()
            && self.now.since(sent_at) >= ROUND_TRIP
        {
            self.under_way.pop_front();
            let answer = Answer { accepted: (1.0 - refused) * part, refused, sent_at };
            self.controllers[who].answered(answer, self.now);
        }
    }

    fn send(&mut self) {
        let mut senders: Vec<usize> = Vec::new();
        for (who, due) in self.due.iter_mut().enumerate() {
            let rate = match self.controllers.get_mut(who) {
                Some(controller) => {
                    controller.climb(self.now);
                    controller.value() / part_of_a_request(controller, self.service.in_batches)
                }
                None => self.service.neighbour,
            };
            *due += rate * TICK.as_secs_f64();
            senders.extend(std::iter::repeat_n(who, *due as usize));
            *due = due.fract();
        }
        self.rng.shuffle(&mut senders);
        for who in senders {
            let refused = self.answer();
            if let Some(controller) = self.controllers.get(who) {
                let part = part_of_a_request(controller, self.service.in_batches);
                self.accepted[who] += (1.0 - refused) * part;
                self.under_way.push_back((self.now, who, part, refused));
            }
        }
    }
}

/// What a request is of what a second allows.
fn part_of_a_request(controller: &Controller, in_batches: bool) -> f64 {
    match in_batches {
        true if !controller.asks_about_few() => (controller.value() / 128.0).max(1.0 / 1024.0),
        true | false => 1.0 / ALLOWED,
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// What one daemon has accepted over a minute, once the world has been as it is for half of one.
fn throughput(service: Service, seed: u64) -> f64 {
    let mut toy = Toy::new(service, 1, seed);
    toy.run(30 * SECOND);
    toy.run(60 * SECOND)[0]
}

#[test]
fn l18_a_constant_share_of_refusals_costs_little_more_than_itself() {
    for (refuses, records) in [
        (0.001, 0),
        (0.01, 0),
        (0.02, 0),
        (0.1, 0),
        (0.3, 0),
        (0.5, 0),
        (0.8, 0),
        (0.001, 35),
        (0.01, 35),
        (0.03, 35),
        (0.1, 35),
        (0.5, 35),
    ] {
        for seed in 0..5 {
            let had = throughput(Service { refuses, records, ..AMPLE }, seed);
            assert!(
                had >= 0.8 * (1.0 - refuses),
                "L18: {had:.3} with {refuses} of {records} refused, seed {seed}"
            );
        }
    }
}

/// A few in a hundred, before anything is known of the service.
#[test]
fn l18_holds_from_the_tenth_second_on_whether_records_share_requests_or_not() {
    let shares = [0.01, 0.02, 0.05];
    for (in_batches, refuses) in shares.into_iter().flat_map(|share| [(true, share), (false, share)]) {
        for seed in 0..10 {
            let mut toy = Toy::new(Service { refuses, in_batches, ..AMPLE }, 1, seed);
            toy.run(10 * SECOND);
            let had = toy.run(50 * SECOND)[0];
            assert!(
                had >= 0.8 * (1.0 - refuses),
                "L18: {had:.3} with {refuses} refused, in batches: {in_batches}, seed {seed}"
            );
        }
    }
}

/// Of two that share a quota each has half, and more for a while. Whoever asks then, by giving way a little, leaves a part to the
/// other, and is answered by what the other does: five in batches took that for a service that fails, until 77 % was refused.
#[test]
fn only_who_has_nearly_all_of_the_rate_to_itself_asks_about_a_few_refusals() {
    for (part, much_at_first, refused_of, asks) in [
        (0.1, false, 50, false),
        (0.33, false, 100, false),
        (0.5, false, 100, false),
        (0.7, false, 50, false),
        (1.0, false, 50, true),
        // One of many that begin together has the whole rate for a moment.
        (1.0, true, 50, false),
    ] {
        let mut controller = Controller::new(at(0));
        controller.begin_with(part, at(0));
        let mut asked = false;
        // So many that what was found by an eighth of the rate is not believed any longer.
        let requests = if much_at_first { 5_600 } else { 1_200_u64 };
        for request in 0..requests {
            let is_refused =
                request % refused_of == refused_of - 1 || much_at_first && request < 150 && request % 2 == 0;
            let sent_at = at(8 * request);
            let answer = Answer { accepted: 0.0, refused: f64::from(is_refused), sent_at };
            controller.answered(answer, sent_at + ROUND_TRIP);
            asked |= controller.asks_about_few();
        }
        assert_eq!(
            asked, asks,
            "{part} of the rate, much refused at first: {much_at_first}, 1 of {refused_of}"
        );
    }
}

#[test]
fn a_share_of_a_few_in_a_thousand_costs_little() {
    for (refuses, seed) in [(0.002, 1), (0.005, 2), (0.005, 3), (0.008, 4)] {
        let had = throughput(Service { refuses, ..AMPLE }, seed);
        assert!(had >= 0.7, "{had:.3} with {refuses} refused, seed {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn l18_holds_for_any_share(refuses in 0.01..0.9_f64, records in 0..100_u32, seed in 0..1_000_u64) {
        let had = throughput(Service { refuses, records, ..AMPLE }, seed);
        prop_assert!(had >= 0.8 * (1.0 - refuses), "L18: {had:.3}");
    }
}

#[test]
fn beside_a_neighbour_that_does_not_give_way_at_least_half_of_the_proportional_part_is_had() {
    for (part, seed) in [(1.1, 1), (1.2, 2), (1.2, 3), (1.5, 4), (2.0, 5), (4.0, 6)] {
        let quota = 2_000.0;
        let had = throughput(Service { quota, neighbour: part * quota, ..AMPLE }, seed);
        let proportional = quota / (ALLOWED + part * quota);
        assert!(had >= 0.5 * proportional, "{had:.3} of {proportional:.3} beside {part}");
    }
}

#[test]
fn a_neighbour_that_leaves_room_is_not_crowded_out() {
    let service = Service { quota: 2_000.0, neighbour: 1_000.0, ..AMPLE };
    let mut toy = Toy::new(service, 1, 1);
    toy.run(10 * SECOND);
    let had = toy.run(60 * SECOND)[0] * ALLOWED;
    assert!((850.0..=1_000.5).contains(&had), "{had}");
}

#[test]
fn five_that_start_together_use_the_quota_from_the_first_seconds_on() {
    for seed in 0..5 {
        let mut toy = Toy::new(Service { quota: 1_000.0, ..AMPLE }, 5, seed);
        let had = toy.run(20 * SECOND).iter().sum::<f64>() * ALLOWED;
        assert!(had >= 850.0, "{had:.0} a second of 1000, seed {seed}");
    }
}

#[test]
fn five_with_a_quota_above_what_each_is_allowed_use_it_from_the_first_seconds_on() {
    let mean = (0..5).map(|seed| {
        let mut toy = Toy::new(Service { quota: 2_000.0, ..AMPLE }, 5, seed);
        toy.run(20 * SECOND).iter().sum::<f64>() * ALLOWED
    });
    let mean = mean.sum::<f64>() / 5.0;
    assert!(mean >= 0.85 * 2_000.0, "{mean:.0} a second of 2000");
}

#[test]
fn a_quota_that_is_doubled_is_found_within_a_minute() {
    for (controllers, seed) in [(1, 1), (2, 2), (5, 3), (20, 4)] {
        let mut toy = Toy::new(Service { quota: 800.0, ..AMPLE }, controllers, seed);
        toy.run(60 * SECOND);
        toy.service.quota = 1_600.0;
        toy.run(60 * SECOND);
        let had = toy.run(5 * SECOND).iter().sum::<f64>() * ALLOWED;
        assert!(had >= 0.85 * 1_600.0, "{had:.0} a second, {controllers} daemons");
    }
}

#[test]
fn refusals_that_end_are_tolerated_no_longer() {
    for seed in 1..5 {
        let mut toy = Toy::new(Service { refuses: 0.3, quota: 900.0, ..AMPLE }, 1, seed);
        toy.run(60 * SECOND);
        toy.service.refuses = 0.0;
        // As much is refused as before, so that nothing tells it before the finding is asked about again.
        toy.run(LAST_PATIENCE.as_secs() as u32 * SECOND);
        toy.run(10 * SECOND);
        let sent = toy.controllers[0].value() * ALLOWED;
        assert!((750.0..=1_000.0).contains(&sent), "{sent:.0} a second of 900, seed {seed}");
    }
}

#[test]
fn after_an_outage_it_is_back_within_seconds() {
    for outage_seconds in [60, 3600] {
        let mut toy = Toy::new(AMPLE, 1, 1);
        toy.run(10 * SECOND);
        toy.service.refuses = 1.0;
        toy.run(3 * SECOND);
        let controller = &mut toy.controllers[0];
        controller.silenced(toy.now);
        toy.under_way.clear();
        toy.now = toy.now + SECOND * outage_seconds;
        toy.service.refuses = 0.0;
        toy.run(10 * SECOND);
        assert!(toy.controllers[0].value() >= 0.9, "{}", toy.controllers[0].value());
    }
}

/// The service takes nothing for a minute, and nobody is refused for having been too much meanwhile.
#[test]
fn a_fleet_that_comes_back_after_an_outage_begins_with_what_each_had() {
    for (controllers, seed) in [(2, 1), (20, 2), (100, 3)] {
        let mut toy = Toy::new(Service { quota: 2_000.0, ..AMPLE }, controllers, seed);
        toy.run(30 * SECOND);
        let had: Vec<_> = toy.controllers.iter().map(Controller::value).collect();
        toy.controllers.iter_mut().for_each(|controller| controller.silenced(toy.now));
        toy.under_way.clear();
        toy.now = toy.now + 60 * SECOND;
        for (controller, had) in toy.controllers.iter_mut().zip(had) {
            controller.climb(toy.now);
            let now = controller.value();
            assert!(now >= had && now <= had.max(3.0 / controllers as f64), "{had} then {now}");
        }
        let back = toy.run(10 * SECOND).iter().sum::<f64>() * ALLOWED;
        assert!((0.9 * 2_000.0..=2_000.0).contains(&back), "{back:.0} a second, {controllers} daemons");
    }
}

/// Where all others are gone meanwhile.
#[test]
fn a_small_part_that_was_had_before_grows_to_all_within_two_minutes() {
    for part in [0.002, 0.02, 0.3] {
        let mut toy = Toy::new(AMPLE, 1, 1);
        toy.controllers[0].begin_with(part, at(0));
        assert_eq!((toy.controllers[0].value(), toy.controllers[0].learned()), (part, part));
        toy.run(Duration::from_secs(120));
        assert!(toy.controllers[0].value() > 0.95, "{part}: {}", toy.controllers[0].value());
    }
}

#[test]
fn what_is_learned_follows_the_factor_and_not_each_of_its_steps() {
    let mut toy = Toy::new(Service { quota: 2_000.0, ..AMPLE }, 10, 3);
    toy.run(Duration::from_secs(60));
    let (mut factors, mut learned) = (0.0_f64, 0.0_f64);
    let spread = |each: Vec<f64>| {
        let (least, most) =
            each.iter().fold((1.0_f64, 0.0_f64), |(least, most), part| (least.min(*part), most.max(*part)));
        most / least
    };
    for _ in 0..100 {
        toy.run(Duration::from_millis(300));
        factors = factors.max(spread(toy.controllers.iter().map(Controller::value).collect()));
        learned = learned.max(spread(toy.controllers.iter().map(Controller::learned).collect()));
    }
    assert!(learned < factors, "{learned} of {factors}");
}

#[test]
fn who_is_not_refused_for_longer_than_chance_explains_climbs_faster_than_by_steps() {
    let mut controller = without_credit();
    controller.lower_to(0.2, at(1));
    let (from, step) = (0.2, step(0.2));
    let by_steps = |seconds: f64| from + step * seconds;
    let quiet = quiet_seconds(from);
    let after = |seconds: f64| at((seconds * 1_000.0) as u64 + 1);
    controller.regain = 0.0;
    controller.climb(after(0.9 * quiet));
    assert!((controller.value() - by_steps(0.9 * quiet)).abs() < 1e-3, "{}", controller.value());
    for tenth in 9..30 {
        controller.climb(after(f64::from(tenth) * 0.1 * quiet));
    }
    assert!(controller.value() > by_steps(3.0 * quiet), "{}", controller.value());
}

#[test]
fn large_fleets_wait_longer_than_small_ones_before_quiet_tells_anything() {
    let seconds: Vec<_> = [0.01, 0.09, 0.11, 0.25, 0.5, 1.0].map(|value| quiet_seconds(value).round()).into();
    assert_eq!(seconds, [40.0, 40.0, 3.0, 7.0, 29.0, 40.0], "{seconds:?}");
}

proptest! {
    #[test]
    fn quiet_takes_from_two_to_forty_seconds_and_never_lowers(value in MIN..1.0_f64, seconds in 0.0..200.0_f64) {
        prop_assert!((2.0..=40.0).contains(&quiet_seconds(value)));
        let part = Climb::new(value, at(0)).part_when_quiet(at((seconds * 1_000.0) as u64));
        prop_assert!((0.0..=0.3).contains(&part), "{part}");
    }
}

fn refused(sent_millis: u64) -> Answer {
    Answer { accepted: 0.0, refused: 1.0, sent_at: at(sent_millis) }
}

/// As it is once there is no more credit.
fn without_credit() -> Controller {
    let mut controller = Controller::new(at(0));
    while controller.value() == 1.0 {
        controller.answered(refused(1), at(1));
    }
    controller
}

#[test]
fn the_rate_is_lowered_once_per_round_trip() {
    let mut controller = without_credit();
    let once = controller.value();
    assert!((once - 0.8).abs() < 0.1, "{once}");
    controller.answered(refused(1), at(2));
    assert!((controller.value() - once).abs() < 1e-3);
    controller.answered(refused(2), at(3));
    assert!(controller.value() < once);
}

#[test]
fn a_small_part_of_a_request_lowers_it_by_little() {
    let (mut part, whole) = (Controller::new(at(0)), without_credit());
    for _ in 0..1_000 {
        part.answered(Answer { refused: 0.01, ..refused(1) }, at(1));
        if part.value() < 1.0 {
            break;
        }
    }
    assert!((whole.value() + 0.1..1.0).contains(&part.value()), "{}", part.value());
}

#[test]
fn who_has_more_gives_way_by_more_and_none_by_nothing() {
    let parts: Vec<_> = [1.0, 0.25, 0.15, 0.01, MIN].map(back_off).into();
    let expected = [0.2, 0.066, 0.0438, 0.03, 0.03];
    assert!(parts.iter().zip(expected).all(|(part, expected)| (part - expected).abs() < 1e-4), "{parts:?}");
}

#[test]
fn who_has_little_climbs_slowly_and_who_has_much_by_a_smaller_part() {
    let parts: Vec<_> = [0.01, 0.05, 0.1, 0.4, 1.0].map(|value| step(value) / value).into();
    assert!(parts[0] < parts[1] && parts[2] > parts[3] && parts[3] > parts[4], "{parts:?}");
}
