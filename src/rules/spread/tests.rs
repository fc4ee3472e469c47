//! Where files go, and when they change.

use proptest::prelude::*;

use super::*;

fn spread(names: &[&str]) -> Spread {
    let lane = |name: &&str| {
        let (name, region) =
            name.split_once('@').map_or((*name, None), |(name, region)| (name, Some(region)));
        LaneSettings {
            delivery_stream: name.into(),
            region: region.map(Into::into),
            quota: None,
            is_standby: region.is_some_and(|region| region.starts_with('-')),
            is_used: true,
        }
    };
    let lanes = names.iter().map(lane).collect();
    Spread { lanes, salt: "host".into(), spread_after: Some(MINUTE), failover_after: None }
}

const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Instant {
    Instant::at(Duration::from_secs(seconds))
}

fn well(lanes: usize) -> Vec<Health> {
    vec![Health::default(); lanes]
}

fn families(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|number| family(format!("/var/log/app-{number}.log").as_bytes()))
}

fn homes(spreading: &Spreading) -> Vec<usize> {
    families(4_000).map(|family| spreading.home(family)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_lane_that_comes_takes_about_its_part_and_moves_nothing_else(lanes in 1_usize..16, salt: u16) {
        let names: Vec<_> = (0..=lanes).map(|lane| format!("logs-{salt}-{lane}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let before = homes(&Spreading::new(&spread(&names[..lanes])));
        let after = homes(&Spreading::new(&spread(&names)));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        prop_assert!(moved.iter().all(|(_, after)| **after == lanes), "only to the one that came");
        let part = moved.len() as f64 / before.len() as f64;
        let fair = 1.0 / (lanes + 1) as f64;
        prop_assert!(part <= fair + 0.05, "{part} of the files moved, {fair} is fair");
        prop_assert!(part >= fair - 0.05, "{part} of the files moved, {fair} is fair");
    }

    #[test]
    fn files_go_where_they_went_whatever_the_order_of_the_lanes(turn in 0_usize..5) {
        let mut names = ["a", "b", "c", "d", "e@r"];
        let before = Spreading::new(&spread(&names));
        let before: Vec<_> = homes(&before).into_iter().map(|place| names[place]).collect();
        names.rotate_left(turn);
        let after: Vec<_> = homes(&Spreading::new(&spread(&names))).into_iter().map(|at| names[at]).collect();
        prop_assert_eq!(before, after);
    }
}

#[test]
fn where_a_file_goes_stays_the_same_over_versions() {
    let spreading = Spreading::new(&spread(&["logs-1", "logs-2", "logs-3", "logs-4"]));
    let places: Vec<_> = families(12).map(|family| spreading.home(family)).collect();
    assert_eq!(places, GOLDEN, "a hash that changes moves every file of every fleet");
}

const GOLDEN: [usize; 12] = [2, 3, 3, 2, 2, 0, 2, 0, 1, 2, 3, 3];

#[test]
fn files_of_one_name_on_many_machines_are_spread() {
    let mut places = [0; 4];
    for host in 0..400 {
        let lanes = Spread { salt: format!("host-{host}").into(), ..spread(&["a", "b", "c", "d"]) };
        places[Spreading::new(&lanes).home(family(b"/var/log/app.log"))] += 1;
    }
    assert!(places.iter().all(|count| (70..=130).contains(count)), "{places:?}");
}

#[test]
fn one_lane_has_every_file_and_nothing_ever_changes() {
    let mut one = Spreading::new(&spread(&["logs"]));
    let held = [Health { held_since: Some(at(0)), is_stopped: false }];
    assert!(families(100).all(|family| one.lane_of(family, None, &held) == 0));
    assert!(one.advance(&held, at(10_000)).is_empty());
    assert_eq!(one.next_change(&held, at(0)), None);
}

/// Where the first 100 families are.
fn spread_now(spreading: &Spreading, before: &mut [Option<usize>], health: &[Health]) -> Vec<usize> {
    for (family, current) in families(100).zip(before.iter_mut()) {
        *current = Some(spreading.lane_of(family, *current, health));
    }
    before.iter().flatten().copied().collect()
}

#[test]
fn files_of_a_lane_that_is_held_go_to_the_next_and_come_back_after_a_probe() {
    let mut spreading = Spreading::new(&spread(&["a", "b", "c"]));
    let (mut health, mut current) = (well(3), vec![None; 100]);
    let first = spread_now(&spreading, &mut current, &health);
    health[0].held_since = Some(at(100));
    assert!(spreading.advance(&health, at(159)).is_empty());
    assert_eq!(spreading.next_change(&health, at(159)), Some(at(160)));
    assert_eq!(spreading.advance(&health, at(160)), [0]);
    let second = spread_now(&spreading, &mut current, &health);
    assert!(!second.contains(&0), "nothing is left there");
    let others = first.iter().zip(&second).filter(|(first, _)| **first != 0);
    assert!(others.clone().all(|(first, second)| first == second), "nothing else moves");
    assert!(second.contains(&1) && second.contains(&2), "each goes to its own next");

    assert!(spreading.to_probe(&health, at(219)).is_empty());
    assert_eq!(spreading.to_probe(&health, at(220)), [0]);
    spreading.put_off_probe(0, at(220));
    assert!(spreading.to_probe(&health, at(220)).is_empty(), "no file has anything to send");
    assert!(spreading.wants_probe(0, health[0], at(220)), "the next that has will do");
    assert_eq!(spreading.to_probe(&health, at(221)), [0]);
    spreading.probe(0, Incarnation(7), at(221));
    assert!(spreading.is_probe(0, Incarnation(7)) && !spreading.is_probe(0, Incarnation(8)));
    assert!(!spreading.answered(0, false, at(220), at(229)), "an answer to an earlier request");
    assert!(spreading.answered(0, false, at(229), at(230)), "it fails still");
    assert!(spreading.to_probe(&health, at(289)).is_empty());
    spreading.probe(0, Incarnation(7), at(290));
    health[0].held_since = None;
    assert!(spreading.answered(0, true, at(290), at(291)));
    assert_eq!(spread_now(&spreading, &mut current, &health), first, "all are back");
    assert!(!spreading.answered(0, true, at(291), at(292)), "and that is no news");
}

#[test]
fn a_probe_without_an_answer_ends() {
    let mut spreading = Spreading::new(&spread(&["a", "b"]));
    let health = [Health { held_since: Some(at(0)), is_stopped: false }, Health::default()];
    assert_eq!(spreading.advance(&health, at(60)), [0]);
    spreading.probe(0, Incarnation(1), at(120));
    assert_eq!(spreading.next_change(&health, at(120)), Some(at(180)));
    assert!(!spreading.end_probes(at(179)) && spreading.end_probes(at(180)));
    assert_eq!(spreading.standing(0), Standing::HandedOn { probe_at: at(240), look_at: at(240) });
}

/// Each row: since when each lane is held, and the lanes that hand their files on by then. The first two are of the own
/// region, the others on standby; after a minute files are spread, after five they go to the other region.
#[test]
fn when_files_are_handed_on() {
    type Row = (&'static str, [Option<u64>; 4], u64, &'static [usize]);
    let rows: &[Row] = &[
        ("all are well", [None, None, None, None], 9_000, &[]),
        ("one is held for less than a minute", [Some(0), None, None, None], 59, &[]),
        ("one is held for a minute", [Some(0), None, None, None], 60, &[0]),
        ("both are held for a minute", [Some(0), Some(0), None, None], 60, &[]),
        ("both are held for a minute, one for long", [Some(0), Some(240), None, None], 300, &[]),
        ("both are held for five minutes", [Some(0), Some(0), None, None], 300, &[0, 1]),
        ("all are held but one", [Some(0), Some(0), Some(0), None], 300, &[0, 1, 2]),
        ("all are held", [Some(0), Some(0), Some(0), Some(0)], 9_000, &[]),
    ];
    for (name, held, now, expected) in rows {
        let lanes = Spread { failover_after: Some(5 * MINUTE), ..spread(&["a", "b", "c@-r", "d@-r"]) };
        let mut spreading = Spreading::new(&lanes);
        let health = held.map(|since| Health { held_since: since.map(at), is_stopped: false });
        assert!(families(50).all(|family| spreading.home(family) < 2), "standby is nobody's home");
        let mut passed = spreading.advance(&health, at(*now));
        passed.sort_unstable();
        assert_eq!(passed, *expected, "{name}");
        let mut again = spreading.advance(&health, at(*now));
        again.retain(|place| passed.contains(place));
        assert!(again.is_empty(), "{name}: once");
    }
}

#[test]
fn files_go_to_another_region_and_all_of_them_back() {
    let lanes = Spread { failover_after: Some(5 * MINUTE), ..spread(&["a", "b", "c@-r", "d@-r"]) };
    let mut spreading = Spreading::new(&lanes);
    let (mut health, mut current) = (well(4), vec![None; 100]);
    let first = spread_now(&spreading, &mut current, &health);
    (health[0].held_since, health[1].held_since) = (Some(at(0)), Some(at(0)));
    assert_eq!(spreading.advance(&health, at(300)), [0, 1]);
    let away = spread_now(&spreading, &mut current, &health);
    assert!(away.iter().all(|place| *place >= 2) && away.contains(&2) && away.contains(&3));
    spreading.probe(1, Incarnation(1), at(400));
    assert!(spreading.answered(1, true, at(400), at(401)));
    health[1].held_since = None;
    let back = spread_now(&spreading, &mut current, &health);
    assert!(back.iter().all(|place| *place == 1), "one of the region carries all");
    spreading.probe(0, Incarnation(1), at(460));
    assert!(spreading.answered(0, true, at(460), at(461)));
    health[0].held_since = None;
    assert_eq!(spread_now(&spreading, &mut current, &health), first);
}

#[test]
fn no_file_is_handed_to_a_lane_that_is_held() {
    let mut spreading = Spreading::new(&spread(&["a", "b", "c"]));
    let mut health = well(3);
    let (mut current, held) = (vec![None; 100], at(50));
    let first = spread_now(&spreading, &mut current, &health);
    (health[0].held_since, health[1].held_since) = (Some(at(0)), Some(held));
    assert_eq!(spreading.advance(&health, at(60)), [0]);
    let second = spread_now(&spreading, &mut current, &health);
    assert!(first.iter().zip(&second).all(|(first, second)| *second == if *first == 0 { 2 } else { *first }));
    health[1].held_since = None;
    assert_eq!(spread_now(&spreading, &mut current, &health), second, "what has found a lane stays there");
}

#[test]
fn what_is_off_hands_nothing_on_and_a_change_asks_at_once() {
    let off = Spread { spread_after: None, ..spread(&["a", "b"]) };
    let health = [Health { held_since: Some(at(0)), is_stopped: false }, Health::default()];
    let mut spreading = Spreading::new(&off);
    assert!(spreading.advance(&health, at(100_000)).is_empty());
    spreading.change(&spread(&["a", "b"]), at(100_000));
    assert_eq!(spreading.advance(&health, at(100_000)), [0]);
    spreading.change(&spread(&["a", "b", "c"]), at(100_001));
    assert_eq!(spreading.to_probe(&well(3), at(100_001)), [0]);
    spreading.change(&off, at(100_002));
    assert_eq!(spreading.standing(0), Standing::Carries);
}

#[test]
fn a_lane_that_is_not_configured_any_more_carries_nothing() {
    let mut gone = spread(&["a", "b"]);
    gone.lanes[0].is_used = false;
    let spreading = Spreading::new(&gone);
    assert!(families(50).all(|family| spreading.lane_of(family, Some(0), &well(2)) == 1));
}

#[test]
fn what_is_stopped_is_not_asked() {
    let mut spreading = Spreading::new(&spread(&["a", "b"]));
    let health = [Health { held_since: Some(at(0)), is_stopped: true }, Health::default()];
    assert_eq!(spreading.advance(&health, at(60)), [0]);
    assert!(spreading.to_probe(&health, at(1_000)).is_empty());
    assert_eq!(spreading.next_change(&health, at(60)), None);
}
