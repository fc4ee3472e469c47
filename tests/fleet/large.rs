//! Fleets of up to 1,000 daemons on 1 to 16 delivery streams, in which something happens.
//!
//! A hundred daemons by default; `STANDPIPE_FLEETS=all` takes a thousand, for the better part of an hour.

use std::ops::Range;
use std::time::Duration;

use super::daemons::Fleet;
use super::plan::Plan;
use super::{SETTLED, all, fairness};

/// What some delivery streams took for a while.
#[derive(Debug)]
struct Taken {
    /// Accepted, as a part of the quotas.
    goodput: f64,
    /// The part of its quota that the delivery stream took that took least.
    least: f64,
    /// The least of the delivery streams' indices, each over the daemons that have files there.
    fairness: f64,
    /// Requests of which a record was throttled, as a part of all.
    rejected: f64,
    /// The most daemons that asked one delivery stream.
    daemons: usize,
}

/// Runs a fleet on until then, and measures what these delivery streams take meanwhile.
fn measure(fleet: &mut Fleet, places: Range<usize>, until: Duration) -> Taken {
    let (began, before) = (fleet.now, fleet.accepted());
    fleet.forget_asked();
    fleet.run_until(until);
    let seconds = fleet.now.since(began).as_secs_f64();
    let (plan, after) = (fleet.plan, fleet.accepted());
    let quota = plan.bottleneck_records_per_second() / plan.lanes as f64 * seconds;
    let of_place = |place: usize| {
        let there = (0..plan.daemons).filter(|daemon| fleet.has_asked(*daemon, place));
        there.map(|daemon| (after[daemon][place] - before[daemon][place]) as f64).collect::<Vec<_>>()
    };
    let each: Vec<_> = places.clone().map(of_place).collect();
    let parts: Vec<_> = each.iter().map(|daemons| daemons.iter().sum::<f64>() / quota).collect();
    let counted = || fleet.services[places.clone()].iter().map(|service| &service.counted);
    let requests: u64 = counted().map(|counted| counted.requests).sum();
    let rejected: u64 = counted().map(|counted| counted.rejected).sum();
    Taken {
        goodput: parts.iter().sum::<f64>() / parts.len() as f64,
        least: parts.iter().copied().fold(f64::INFINITY, f64::min),
        fairness: each.iter().map(|daemons| fairness(daemons)).fold(1.0, f64::min),
        rejected: rejected as f64 / requests.max(1) as f64,
        daemons: each.iter().map(Vec::len).max().unwrap_or_default(),
    }
}

fn show(what: &str, plan: Plan, taken: &Taken) {
    println!(
        "{:>4} daemons {:>2} streams ({:>4} on one) {:<9} {what:<25} goodput {:>5.1} % (least {:>5.1} %)  fairness {:.3}  rejected {:>5.2} %",
        plan.daemons,
        plan.lanes,
        taken.daemons,
        format!("{:?}", plan.api),
        taken.goodput * 100.0,
        taken.least * 100.0,
        taken.fairness,
        taken.rejected * 100.0
    );
}

/// Daemons that one delivery stream is shared fairly by: see `docs/performance.md`.
const FAIR_TO: usize = 200;

fn check(what: &str, plan: Plan, taken: &Taken) {
    show(what, plan, taken);
    assert!(taken.goodput >= 0.95 && taken.least >= 0.95, "{what}: {plan:?}: {taken:?}");
    assert!(taken.daemons > FAIR_TO || taken.fairness >= 0.95, "{what}: {plan:?}: {taken:?}");
}

/// No position has passed a line that no service has, and nobody was left out.
fn check_lost(fleet: &Fleet) {
    let plan = fleet.plan;
    assert_eq!(fleet.lost(), (0, 0), "{plan:?}: lines lost, files of which nothing came");
    println!("{:>4} daemons {:>2} streams: {} lines came twice", plan.daemons, plan.lanes, fleet.repeated());
}

/// Daemons, delivery streams, and files of each daemon.
fn sizes() -> &'static [(usize, usize, u64)] {
    if all() { &[(100, 1, 1), (100, 4, 8), (1000, 1, 1), (1000, 8, 1)] } else { &[(100, 1, 1)] }
}

fn of_size((daemons, lanes, files): (usize, usize, u64)) -> Plan {
    Plan { daemons, lanes, files, seed: 6, ..Plan::default() }
}

#[test]
fn a_fleet_under_steady_overload_uses_every_delivery_stream_and_shares_each() {
    for plan in sizes().iter().copied().map(of_size) {
        let mut fleet = Fleet::new(plan);
        fleet.run_until(SETTLED);
        let taken = measure(&mut fleet, 0..plan.lanes, SETTLED + Duration::from_secs(30));
        check("steady", plan, &taken);
        check_lost(&fleet);
    }
}

/// What each daemon had found of the rate is in its state.
#[test]
fn a_fleet_that_is_restarted_bit_by_bit_goes_on_where_it_was() {
    let rows: &[(usize, usize, u64)] = match all() {
        true => &[(100, 1, 60), (100, 1, 300)],
        false => &[(50, 1, 30)],
    };
    for (daemons, lanes, seconds) in rows.iter().copied() {
        let plan = of_size((daemons, lanes, 1));
        let mut fleet = Fleet::new(plan);
        fleet.run_until(SETTLED);
        let before = fleet.repeated();
        for daemon in 0..daemons {
            let delay = Duration::from_millis(2_000 + seconds * 1_000 * daemon as u64 / daemons as u64);
            fleet.restart(daemon, delay, daemon % 2 == 0);
        }
        let taken = measure(&mut fleet, 0..lanes, SETTLED + Duration::from_secs(seconds + 5));
        let repeated = (fleet.repeated() - before) as f64 / daemons as f64;
        let what = format!("all restarted in {seconds} s");
        show(&what, plan, &taken);
        println!("{daemons:>4} daemons {lanes:>2} streams: {repeated:.1} lines repeated by each restart");
        assert!(taken.goodput >= 0.95 && taken.fairness >= 0.95, "{what}: {plan:?}: {taken:?}");
        assert!(taken.rejected < 0.05, "{what}: {plan:?}: {taken:?}");
        check_lost(&fleet);
    }
}

/// Whoever shared the delivery streams of one region comes to those of the other.
#[test]
fn a_fleet_whose_region_fails_goes_to_another_and_comes_back() {
    for size in if all() { &[(100, 2, 4)] } else { &[(20, 1, 1)] } {
        let plan = Plan { standby: true, ..of_size(*size) };
        let seconds = |seconds| SETTLED + Duration::from_secs(seconds);
        let mut fleet = Fleet::new(plan);
        for service in &mut fleet.services[..plan.lanes] {
            service.outage = Some(SETTLED..seconds(90));
        }
        fleet.run_until(seconds(60));
        let elsewhere = measure(&mut fleet, plan.lanes..2 * plan.lanes, seconds(90));
        show("in the other region", plan, &elsewhere);
        fleet.run_until(seconds(130));
        let back = measure(&mut fleet, 0..plan.lanes, seconds(160));
        show("back again", plan, &back);
        for taken in [&elsewhere, &back] {
            assert!(taken.goodput >= 0.95 && taken.fairness >= 0.95, "{plan:?}: {taken:?}");
            assert!(taken.rejected < 0.05, "{plan:?}: {taken:?}");
        }
        check_lost(&fleet);
    }
}

#[test]
fn i21_a_tenant_with_all_the_lines_does_not_slow_another() {
    for size in if all() { &[(1, 1, 1), (100, 4, 8)][..] } else { &[(1, 1, 1), (50, 1, 1)] } {
        let plan = Plan { quiet_files: 1, ..of_size(*size) };
        let mut fleet = Fleet::new(plan);
        fleet.run_until(SETTLED);
        fleet.quiet_took.clear();
        let loud = measure(&mut fleet, 0..plan.lanes, SETTLED + Duration::from_secs(30));
        show("the loud tenant", plan, &loud);
        let took = &mut fleet.quiet_took;
        took.sort_unstable();
        let (half, most) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "{:>4} daemons {:>2} streams: a quiet tenant's {} lines took {half:?}, at most {most:?}",
            plan.daemons,
            plan.lanes,
            took.len()
        );
        assert!(took.len() as f64 >= 29.0 * plan.daemons as f64, "{plan:?}: {} lines", took.len());
        assert!(most < Duration::from_secs(5), "{plan:?}: {most:?}");
        // What a daemon alone leaves of the quota is not for a fleet to use.
        assert!(plan.daemons == 1 || loud.goodput >= 0.95, "{plan:?}: {loud:?}");
        assert!(loud.fairness >= 0.95, "{plan:?}: {loud:?}");
        assert_eq!(fleet.lost(), (0, 0), "{plan:?}");
    }
}
