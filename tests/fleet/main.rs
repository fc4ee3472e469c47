//! Fleets: 2 to 1,000 daemons, each believing that it has the delivery streams' quotas for itself.
//!
//! Whole engines on an invented clock, with files that never end, in front of services that keep their quotas
//! strictly and tell nobody how many there are. What must come out: the quota is used, each daemon gets its part,
//! and little is refused.
//!
//! `STANDPIPE_FLEETS=all cargo test --test fleet -- --nocapture` prints the table of `docs/performance.md`.

#![expect(clippy::disallowed_methods, reason = "the choice of fleets comes from the environment")]
#![expect(clippy::print_stdout, reason = "the figures are for docs/performance.md")]
#![expect(unreachable_pub, reason = "the rooms of a test are for that test alone")]

mod content;
mod daemons;
mod large;
mod machine;
mod plan;
mod service;

use std::time::Duration;

use daemons::Fleet;
use plan::Plan;
use service::Service;
use standpipe::model::settings::Api;

/// By then a fleet must have settled.
const SETTLED: Duration = Duration::from_secs(60);
/// For so long it is then measured.
const MEASURED: Duration = Duration::from_secs(30);

/// What a fleet came to.
#[derive(Debug)]
struct Result {
    /// Accepted, as a part of the quota that is the bottleneck.
    goodput: f64,
    /// Jain's index of the daemons' accepted records: 1 when all are equal, 1/n when one has everything.
    fairness: f64,
    /// Requests of which a record was throttled, as a part of all.
    rejected: f64,
}

fn run(plan: Plan) -> Result {
    let mut fleet = Fleet::new(plan);
    fleet.run_until(SETTLED);
    let before = fleet.accepted();
    fleet.services.iter_mut().for_each(Service::forget);
    fleet.run_until(SETTLED + MEASURED);
    let of_daemon = |services: &Vec<u64>| services.iter().sum::<u64>();
    let after = fleet.accepted();
    let each: Vec<f64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| (of_daemon(after) - of_daemon(before)) as f64)
        .collect();
    let sum: f64 = each.iter().sum();
    let counted = || fleet.services.iter().map(|service| &service.counted);
    let (rejected, requests) = counted().fold((0, 0), |(rejected, requests), counted| {
        (rejected + counted.rejected, requests + counted.requests)
    });
    let quota = plan.bottleneck_records_per_second();
    Result {
        goodput: sum / MEASURED.as_secs_f64() / quota,
        fairness: fairness(&each),
        rejected: rejected as f64 / requests.max(1) as f64,
    }
}

/// Jain's index: 1 when all are equal, 1/n when one has everything.
fn fairness(each: &[f64]) -> f64 {
    let (sum, squares) =
        each.iter().fold((0.0, 0.0), |(sum, squares), part| (sum + part, squares + part * part));
    sum * sum / (each.len() as f64 * squares)
}

/// Whether the fleets of `docs/performance.md` are wanted, and not those that are soon done.
fn all() -> bool {
    std::env::var("STANDPIPE_FLEETS").is_ok_and(|value| value == "all")
}

fn plans() -> Vec<Plan> {
    let sizes: &[usize] = if all() { &[2, 3, 5, 10, 20, 50, 100, 150, 200] } else { &[2, 20, 200] };
    let apis = [Api::PutRecord, Api::Auto];
    apis.into_iter()
        .flat_map(|api| sizes.iter().map(move |daemons| Plan { daemons: *daemons, api, ..Plan::default() }))
        .collect()
}

fn check(plan: Plan) {
    let result = run(plan);
    println!(
        "{:>4} daemons {:>2} streams {:<10} {:<5} goodput {:>5.1} %  fairness {:.3}  rejected {:>4.2} %",
        plan.daemons,
        plan.lanes,
        format!("{:?}", plan.api),
        if plan.late { "late" } else { "" },
        result.goodput * 100.0,
        result.fairness,
        result.rejected * 100.0
    );
    assert!(result.goodput >= 0.90, "{plan:?}: {result:?}");
    assert!(result.fairness >= 0.95, "{plan:?}: {result:?}");
    assert!(result.rejected < 0.02, "{plan:?}: {result:?}");
}

/// Where few large requests are refused by chance, one seed says little: the same rates, begun a moment apart, come out
/// otherwise. So the mean of several is held, and none may be far off.
fn check_mean(plan: Plan, seeds: std::ops::Range<u64>) {
    let results: Vec<_> = seeds.map(|seed| run(Plan { seed, ..plan })).collect();
    let each: Vec<_> = results.iter().map(|result| result.fairness).collect();
    let mean = each.iter().sum::<f64>() / each.len() as f64;
    println!("{plan:?}: fairness {mean:.3} of {each:.3?}");
    assert!(mean >= 0.95 && each.iter().all(|fairness| *fairness >= 0.80), "{plan:?}: {each:.3?}");
    for result in &results {
        assert!(result.goodput >= 0.90 && result.rejected < 0.02, "{plan:?}: {result:?}");
    }
}

#[test]
fn n2_a_few_daemons_in_batches_get_about_the_same() {
    for daemons in [2, 3, 5] {
        check_mean(Plan { daemons, ..Plan::default() }, 1..13);
    }
}

#[test]
fn n2_fleets_of_2_to_200_daemons_use_the_quota_share_it_fairly_and_are_seldom_refused() {
    for plan in plans() {
        if all() { check_mean(plan, 1..4) } else { check(plan) }
    }
}

#[test]
fn n2_daemons_that_come_late_get_their_part() {
    for api in [Api::PutRecord, Api::Auto] {
        check_mean(Plan { daemons: 20, api, late: true, ..Plan::default() }, 1..5);
    }
}

/// Each believes that it may send 4,500 records a second, or 1,800 requests.
#[test]
fn five_daemons_that_start_together_use_a_strict_quota_of_2500_records_from_the_first_seconds_on() {
    let first = Duration::from_secs(20);
    for (api, quota) in [(Api::PutRecord, 2_000.0), (Api::Auto, 2_500.0)] {
        let goodput = |seed| {
            let mut fleet = Fleet::new(Plan { daemons: 5, api, seed, ..Plan::default() });
            fleet.services[0].records = 2_500;
            fleet.run_until(first);
            let taken: u64 = fleet.accepted().into_iter().flatten().sum();
            taken as f64 / first.as_secs_f64() / quota
        };
        let each: Vec<_> = (1..6).map(goodput).collect();
        let mean = each.iter().sum::<f64>() / each.len() as f64;
        println!("five daemons {api:?}: in the first 20 s {mean:.3} of the quota, {each:.3?}");
        assert!(mean >= 0.85 && each.iter().all(|goodput| *goodput >= 0.80), "{api:?}: {each:.3?}");
    }
}

/// Records that the services take from a fleet in a second, once it has settled.
fn records_per_second(plan: Plan) -> f64 {
    let mut fleet = Fleet::new(plan);
    fleet.run_until(SETTLED);
    let taken = |fleet: &Fleet| fleet.accepted().into_iter().flatten().sum::<u64>();
    let before = taken(&fleet);
    fleet.run_until(SETTLED + MEASURED);
    (taken(&fleet) - before) as f64 / MEASURED.as_secs_f64()
}

#[test]
fn four_delivery_streams_carry_four_times_what_one_does() {
    let plan = |lanes| Plan { lanes, files: 64, seed: 4, ..Plan::default() };
    let one = records_per_second(plan(1));
    for lanes in [2, 4, 8, 16] {
        let many = records_per_second(plan(lanes));
        println!("{lanes:>2} delivery streams: {many:.0} records a second, {:.2} times one", many / one);
        assert!(many >= 0.975 * lanes as f64 * one, "{many} of {lanes}, {one} of one");
    }
}

/// Each daemon has files at every delivery stream, of the same names as all others.
#[test]
fn a_fleet_uses_several_delivery_streams_and_shares_them_though_its_files_are_called_alike() {
    let sizes: &[(usize, usize)] = if all() { &[(20, 2), (20, 4), (100, 4)] } else { &[(20, 4)] };
    for (daemons, lanes) in sizes.iter().copied() {
        let files = 8 * lanes as u64;
        check(Plan { daemons, lanes, files, seed: 5, ..Plan::default() });
    }
}

#[test]
fn a_backlog_that_batches_would_carry_is_told_once_and_no_other() {
    let plan = Plan { api: Api::PutRecord, seed: 3, ..Plan::default() };
    let advised = |plan| {
        let mut fleet = Fleet::new(plan);
        fleet.run_until(Duration::from_secs(60));
        fleet.advised()
    };
    assert_eq!(advised(plan), 1);
    assert_eq!(advised(Plan { api: Api::Auto, ..plan }), 0, "it sends batches");
    assert_eq!(advised(Plan { line_bytes: 4_000, ..plan }), 0, "the quota of bytes is as full");
}
