use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What one event changes, whether that is to be durable together, and whether it is the mark of a file.
type Noted = (Vec<u64>, bool, bool);

fn changed(most: usize) -> Changed {
    Changed::new(NonZeroUsize::new(most).expect("above zero"))
}

fn set(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Incarnation> {
    numbers.into_iter().map(Incarnation).collect()
}

/// An event changes these.
fn note(changed: &mut Changed, numbers: impl IntoIterator<Item = u64>, together: bool) {
    numbers.into_iter().for_each(|number| changed.insert(Incarnation(number)));
    if together {
        changed.keep_together();
    }
    changed.event_ends();
}

/// A save begins; what it holds.
fn save(changed: &mut Changed) -> BTreeSet<Incarnation> {
    let portion = changed.take_portion(&BTreeSet::new(), false);
    changed.begun(&portion);
    portion
}

#[test]
fn a_save_holds_some_of_many_and_the_next_goes_on_behind_them() {
    let mut changed = changed(3);
    note(&mut changed, 0..8, false);
    assert_eq!(save(&mut changed), set([0, 1, 2]));
    note(&mut changed, [0, 1], false);
    assert_eq!(save(&mut changed), set([3, 4, 5]), "what changes all the time keeps nobody waiting");
    assert_eq!(save(&mut changed), set([0, 6, 7]));
    assert_eq!(save(&mut changed), set([1]));
    assert!(changed.is_empty());
}

#[test]
fn a_round_of_saves_ends_where_all_were_gone_through_and_leaves_nothing_that_changed_before_it() {
    let mut changed = changed(3);
    let held = |changed: &mut Changed| (save(changed).len(), changed.held());
    note(&mut changed, 0..7, false);
    assert_eq!(held(&mut changed), (3, Held::Some));
    note(&mut changed, 0..3, false);
    assert_eq!(held(&mut changed), (3, Held::Some));
    assert_eq!(held(&mut changed), (3, Held::LastOfRound), "the last one, and two that changed again");
    note(&mut changed, 0..9, false);
    assert_eq!(held(&mut changed), (3, Held::Some));
    assert_eq!(held(&mut changed), (3, Held::Some));
    assert_eq!(held(&mut changed), (3, Held::All));
}

#[test]
fn what_changed_with_one_event_and_belongs_together_is_in_the_next_save() {
    let mut changed = changed(2);
    note(&mut changed, 0..6, false);
    note(&mut changed, [9, 5], true);
    assert_eq!(save(&mut changed), set([0, 1, 5, 9]));
    assert_eq!(save(&mut changed), set([2, 3]), "and nothing is together for ever");
}

#[test]
fn marks_are_durable_in_the_order_in_which_they_were_made_and_before_all_else() {
    let mut changed = changed(2);
    note(&mut changed, 0..3, false);
    note(&mut changed, 10..15, false);
    (10..15).for_each(|mark| changed.add_mark(Incarnation(mark)));
    for (held, first_left) in [(set([10, 11]), Some(12)), (set([12, 13]), Some(14))] {
        assert_eq!((save(&mut changed), changed.first_mark()), (held, first_left.map(Incarnation)));
    }
    assert_eq!((save(&mut changed), changed.first_mark()), (set([0, 1, 14]), None));
}

#[test]
fn checkpoints_that_records_wait_for_come_before_others() {
    let mut changed = changed(2);
    note(&mut changed, 0..9, false);
    let portion = changed.take_portion(&set([7, 8, 20]), false);
    assert_eq!(portion, set([0, 1, 7, 8]));
}

#[test]
fn checkpoints_are_renewed_once_a_day_from_the_first_to_the_last() {
    let at = |hours: u64| Instant::at(Duration::from_secs(hours * 3600));
    let mut renewal = Renewal::since(at(0));
    assert_eq!(renewal.next(at(23)), None);
    assert_eq!(renewal.next(at(24)), Some(Incarnation(0)));
    renewal.next = Some(Incarnation(7));
    assert_eq!(renewal.next(at(25)), Some(Incarnation(7)));
    renewal.next = None;
    assert_eq!((renewal.next(at(47)), renewal.next(at(48))), (None, Some(Incarnation(0))));
}

proptest! {
    #[test]
    fn each_change_is_in_some_save_and_what_belongs_together_in_one(
        steps in prop::collection::vec(
            (
                prop::collection::vec((prop::collection::vec(0_u64..40, 0..6), any::<bool>(), any::<bool>()), 0..5),
                any::<bool>(),
            ),
            0..30,
        ),
        most in 1_usize..6,
    ) {
        let mut changed = changed(most);
        let (mut waiting, mut next_mark): (BTreeSet<Incarnation>, u64) = (BTreeSet::new(), 100);
        let mut groups: Vec<BTreeSet<Incarnation>> = Vec::new();
        // What waited when the last round ended, and whether no save failed since.
        let (mut of_last_round, mut was_round) = (BTreeSet::new(), false);
        for (events, succeeds) in steps {
            for (numbers, together, is_mark) in events as Vec<Noted> {
                let mark = is_mark.then_some(next_mark);
                note(&mut changed, numbers.iter().copied().chain(mark), together);
                mark.into_iter().for_each(|mark| changed.add_mark(Incarnation(mark)));
                next_mark += 1;
                let noted = set(numbers.into_iter().chain(mark));
                waiting.extend(noted.iter().copied());
                if together {
                    groups.push(noted);
                }
            }
            let portion = changed.take_portion(&BTreeSet::new(), false);
            let (together, marks) = changed.begun(&portion);
            let is_round = changed.held() != Held::Some;
            prop_assert!(groups.iter().all(|group| group.is_subset(&portion)), "{groups:?} in {portion:?}");
            prop_assert!(portion.is_subset(&waiting));
            prop_assert!(portion.len() <= 2 * most + together.len());
            let last_held = marks.last().copied();
            prop_assert!(
                changed.first_mark().is_none_or(|left| last_held.is_none_or(|held| held < left || together.contains(&held)))
            );
            if succeeds {
                waiting.retain(|incarnation| !portion.contains(incarnation));
                groups.clear();
                of_last_round.retain(|incarnation| !portion.contains(incarnation));
                if is_round {
                    prop_assert!(!was_round || of_last_round.is_empty(), "{of_last_round:?} are left");
                    (of_last_round, was_round) = (waiting.clone(), true);
                }
            } else {
                changed.take_back((portion, together, marks), |_| true);
                was_round = false;
            }
            prop_assert!(waiting.iter().all(|incarnation| changed.contains(*incarnation)));
        }
        let saves = std::iter::from_fn(|| (!changed.is_empty()).then(|| save(&mut changed)));
        let saved: BTreeSet<_> = saves.take(1_000).flatten().collect();
        prop_assert_eq!(saved, waiting);
    }
}
