//! What each incarnation is, what becomes of it, and what is found by inode and by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::closed::Unread;
use super::order::MAX_GONE;
use super::{Afterwards, CopySearch, Life, Lives, Over};
use crate::engine::incarnation::{IncarnationState, Whose};
use crate::engine::numbers::Numbers;
use crate::engine::port::FileId;
use crate::engine::report::Loss;
use crate::engine::samples::{at, beginning, checkpoint, identity, path, read, stream_name, whose};
use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::rules::rotation::originals;

const FILE: FileId = FileId(7);

fn search(afterwards: Afterwards) -> CopySearch {
    CopySearch {
        source: SourceId(0),
        stream: StreamId(0),
        unread: 0,
        why: Loss::Truncated,
        since: at(0),
        looked: false,
        afterwards,
    }
}

/// An incarnation of which one line waits to be sent.
fn unsettled(incarnation: u64, whose: Whose) -> IncarnationState {
    let mut state = beginning(incarnation, whose);
    read(&mut state, &["line\n"], at(0));
    state
}

fn settle_all(state: &mut IncarnationState) {
    while let Some(record) = state.take_ready() {
        state.settle(&record, crate::rules::ledger::Settlement::Delivered);
    }
}

/// One file of which the only life is attached.
fn attached() -> (Lives, Incarnation) {
    let mut lives = Lives::new(Vec::new(), Numbers::new(1, 0));
    let incarnation = lives.fresh();
    lives.attach(FILE, unsettled(incarnation.0, whose(0, 1)));
    (lives, incarnation)
}

fn parted(afterwards: Afterwards) -> (Lives, Incarnation) {
    let (mut lives, incarnation) = attached();
    lives.part(incarnation, afterwards);
    (lives, incarnation)
}

fn stored() -> (Lives, Incarnation) {
    (Lives::new(vec![checkpoint(1, whose(0, 1), 5)], Numbers::new(2, 0)), Incarnation(1))
}

fn stored_of(lives: &Lives) -> Vec<Incarnation> {
    lives.stored_of(identity(1), &stream_name(0)).map(|stored| stored.incarnation).collect()
}

#[test]
fn numbers_are_never_used_twice() {
    let mut lives = Lives::new(Vec::new(), Numbers::new(41, 0));
    assert_eq!([lives.fresh(), lives.fresh()], [Incarnation(41), Incarnation(42)]);
}

#[test]
fn a_stored_position_is_claimed_by_its_file_in_its_stream_and_by_nobody_else() {
    let (lives, incarnation) = stored();
    assert_eq!(stored_of(&lives), [incarnation]);
    assert_eq!(lives.stored_of(identity(2), &stream_name(0)).count(), 0);
    assert_eq!(lives.stored_of(identity(1), &stream_name(1)).count(), 0);
    let recycled = Identity { birth_nanos: Some(2), ..identity(1) };
    assert_eq!(lives.stored_of(recycled, &stream_name(0)).count(), 0);
    assert_eq!(lives.stored_at(&path("1.log")).count(), 1);
    assert_eq!(lives.stored_at(&path("2.log")).count(), 0);
}

#[test]
fn a_file_that_goes_on_with_its_stored_position_claims_it() {
    let (mut lives, incarnation) = stored();
    lives.attach(FILE, beginning(incarnation.0, whose(0, 1)));
    assert_eq!(stored_of(&lives), []);
    assert!(lives.state(incarnation).is_some());
    lives.check(|file| (file == FILE).then_some(incarnation));
}

#[test]
fn what_parted_ends_only_when_all_of_it_is_settled() {
    for (afterwards, end) in [(Afterwards::Kept, Over::Stored), (Afterwards::Forgotten, Over::Forgotten)] {
        let (mut lives, incarnation) = attached();
        assert_eq!(lives.end_if_over(incarnation), None, "it is attached");
        lives.part(incarnation, afterwards);
        assert_eq!(lives.end_if_over(incarnation), None, "a line of it is on its way");
        settle_all(lives.on_its_way_mut(incarnation));
        assert_eq!(lives.end_if_over(incarnation), Some(end));
        assert_eq!(lives.end_if_over(incarnation), None, "it has ended");
        assert!(lives.state(incarnation).is_none());
        let expected = (end == Over::Stored).then_some(Offset::new(5));
        assert_eq!(lives.checkpoint(incarnation).map(|checkpoint| checkpoint.offset), expected);
        assert_eq!(stored_of(&lives).len(), usize::from(end == Over::Stored));
    }
}

#[test]
fn what_parted_and_is_kept_is_found_again_by_its_file() {
    let (lives, incarnation) = parted(Afterwards::Kept);
    assert_eq!(lives.parted_of(identity(1), StreamId(0)), Some(incarnation));
    assert_eq!(lives.parted_of(identity(1), StreamId(1)), None);
    assert_eq!(lives.parted_of(identity(2), StreamId(0)), None);
    let (lives, _) = parted(Afterwards::Forgotten);
    assert_eq!(lives.parted_of(identity(1), StreamId(0)), None);
    let (lives, _) = attached();
    assert_eq!(lives.parted_of(identity(1), StreamId(0)), None);
}

#[test]
fn a_file_goes_on_with_what_had_parted_under_its_new_name() {
    let (mut lives, incarnation) = parted(Afterwards::Kept);
    let state = lives.reattach(incarnation, FileId(8), (SourceId(1), (path("b.log"), None), identity(3)));
    assert_eq!((state.whose().source, state.whose().identity), (SourceId(1), identity(3)));
    assert_eq!(*state.whose().path, *path("b.log"));
    assert!(!state.has_nothing_ready(), "what is on its way stays on its way");
    lives.check(|file| (file == FileId(8)).then_some(incarnation));
    assert_indexed(&lives);
}

#[test]
fn a_copy_goes_on_with_an_incarnation_that_is_looked_for() {
    let (mut lives, incarnation) = parted(Afterwards::Forgotten);
    lives.seek_copies(incarnation, search(Afterwards::Forgotten));
    lives.reattach(incarnation, FileId(8), (SourceId(0), (path("1.log.1"), None), identity(2)));
    assert!(!lives.is_sought(incarnation) && !lives.seeks());
    lives.check(|file| (file == FileId(8)).then_some(incarnation));
}

#[test]
fn what_is_looked_for_is_found_by_its_name_and_told_what_a_copy_must_show() {
    let (mut lives, incarnation) = parted(Afterwards::Forgotten);
    lives.seek_copies(incarnation, search(Afterwards::Forgotten));
    let sought = lives.sought_at(&[path("1.log").to_path_buf()], &[]).next().expect("it had that name");
    assert_eq!((sought.incarnation, sought.position), (incarnation, Offset::new(5)));
    assert!(sought.fingerprint.matches(b"line\nmore"));
    assert!(lives.history(incarnation).expect("it is looked for").continues(b"line\n"));
    assert_eq!(lives.stored_checkpoint(incarnation), None, "it was read by this process");
    assert!(lives.sought_at(&[path("2.log").to_path_buf()], &[]).next().is_none());
    lives.note_looked(incarnation);
    assert!(lives.sought(incarnation).expect("still").search.looked);
}

#[test]
fn a_search_that_found_nothing_leaves_what_there_was() {
    let (mut lives, incarnation) = parted(Afterwards::Forgotten);
    assert!(lives.stop_seeking(incarnation).is_none(), "it is not looked for");
    lives.seek_copies(incarnation, search(Afterwards::Kept));
    let (_, is_forgotten) = lives.stop_seeking(incarnation).expect("it was looked for");
    assert!(!is_forgotten);
    assert_eq!(lives.parted_of(identity(1), StreamId(0)), Some(incarnation), "as the search said");

    for (afterwards, left) in [(Afterwards::Kept, 1), (Afterwards::Forgotten, 0)] {
        let (mut lives, incarnation) = stored();
        lives.seek_copies(incarnation, search(afterwards));
        assert!(lives.stored_checkpoint(incarnation).is_some());
        let (_, is_forgotten) = lives.stop_seeking(incarnation).expect("it was looked for");
        assert_eq!(is_forgotten, left == 0);
        assert_eq!(stored_of(&lives).len(), left);
        assert_indexed(&lives);
    }
}

#[test]
fn a_position_may_be_claimed_while_copies_are_looked_for_only_when_it_is_kept() {
    for (afterwards, claimed) in [(Afterwards::Kept, 1), (Afterwards::Forgotten, 0)] {
        let (mut lives, incarnation) = stored();
        lives.seek_copies(incarnation, search(afterwards));
        assert_eq!(stored_of(&lives).len(), claimed);
        assert_eq!(lives.stored_at(&path("1.log")).count(), claimed);
        assert_eq!(lives.unread().count(), claimed);
    }
}

fn close(lives: &mut Lives, state: IncarnationState) {
    let incarnation = state.incarnation();
    lives.attach(FileId(incarnation.0), state);
    lives.part(incarnation, Afterwards::Kept);
    lives.end_if_over(incarnation);
    lives.note_closed(incarnation, at(1));
}

#[test]
fn of_files_that_come_and_go_a_thousand_positions_are_kept_and_of_those_that_are_there_all() {
    let mut lives = Lives::new(Vec::new(), Numbers::new(0, 0));
    let most = 3 * MAX_GONE as u64;
    for number in 0..most {
        close(&mut lives, beginning(number, whose(0, number)));
    }
    let gone = |lives: &mut Lives| {
        std::iter::from_fn(|| lives.give_way()).map(|gone| gone.incarnation.0).collect::<Vec<_>>()
    };
    assert!(gone(&mut lives).is_empty(), "nobody has looked");
    let stream = stream_name(0);
    let whole = (Incarnation(0), usize::MAX);
    for (asked, is_answered) in [(at(1), true), (at(2), false)] {
        lives.note_shown(whole, asked, |of, _| is_answered && *of == *stream, |_| false);
        assert!(gone(&mut lives).is_empty(), "asked at {asked:?}, answered {is_answered}");
    }
    let (mut from, mut parts) = (Incarnation(0), Vec::new());
    loop {
        let (done, next) = lives.note_shown((from, 1_024), at(2), |_, _| true, |file| file.inode < 1_500);
        parts.push(done);
        let Some(next) = next else { break };
        from = next;
    }
    assert_eq!(parts, [1_024, 1_024, 952, 0]);
    assert_eq!(gone(&mut lives), (1_500..most - MAX_GONE as u64).collect::<Vec<_>>());
    assert_eq!(lives.unread().count(), 2_500);
    assert_indexed(&lives);
}

#[test]
fn one_that_was_closed_and_is_read_again_or_on_its_way_is_not_forgotten() {
    let mut lives = Lives::new(Vec::new(), Numbers::new(0, 0));
    close(&mut lives, beginning(0, whose(0, 0)));
    close(&mut lives, unsettled(1, whose(0, 1)));
    lives.attach(FileId(0), beginning(0, whose(0, 0)));
    for number in 2..MAX_GONE as u64 + 3 {
        close(&mut lives, beginning(number, whose(0, number)));
    }
    lives.note_shown((Incarnation(0), usize::MAX), at(2), |_, _| true, |_| false);
    assert_eq!(lives.give_way().map(|gone| gone.incarnation), Some(Incarnation(2)));
    assert!(lives.state(Incarnation(0)).is_some() && lives.state(Incarnation(1)).is_some());
}

#[test]
fn unread_are_the_positions_in_files_that_are_not_read_each_with_the_source_that_it_was_let_go_of_with() {
    assert_eq!(attached().0.unread().count(), 0);
    assert_eq!(parted(Afterwards::Forgotten).0.unread().count(), 0);
    let (lives, _) = stored();
    let unread: Vec<_> = lives.unread().collect();
    let (path_of, stream) = (path("1.log"), stream_name(0));
    let expected = Unread {
        identity: identity(1),
        matched_path: Some(&path_of),
        real_path: &path_of,
        stream: &stream,
        position: unread[0].position,
        let_go_with: None,
    };
    assert_eq!(unread, [expected]);
    let (mut lives, incarnation) = parted(Afterwards::Kept);
    let let_go_with = |lives: &Lives| lives.unread().map(|unread| unread.let_go_with).collect::<Vec<_>>();
    assert_eq!(let_go_with(&lives), [None]);
    lives.let_go_of(incarnation, SourceId(3));
    assert_eq!(let_go_with(&lives), [Some(SourceId(3))]);
    lives.reattach(incarnation, FILE, (SourceId(0), (path("1.log"), None), identity(1)));
    lives.part(incarnation, Afterwards::Kept);
    assert_eq!(let_go_with(&lives), [None], "it was read for another source since");
}

#[test]
#[should_panic(expected = "L12")]
fn l12_a_file_in_a_stream_is_read_into_one_incarnation() {
    let (mut lives, _) = attached();
    let second = lives.fresh();
    lives.attach(FileId(8), beginning(second.0, whose(0, 1)));
}

#[test]
fn a_file_that_two_streams_want_has_a_life_in_each() {
    let (mut lives, first) = attached();
    let second = lives.fresh();
    lives.attach(FileId(8), beginning(second.0, whose(1, 1)));
    lives.check(|file| Some(if file == FILE { first } else { second }));
}

#[test]
#[should_panic(expected = "L12")]
fn l12_an_incarnation_is_attached_once() {
    let (mut lives, incarnation) = attached();
    lives.attach(FileId(8), beginning(incarnation.0, whose(0, 2)));
}

#[test]
#[should_panic(expected = "L12")]
fn l12_what_is_on_its_way_is_attached_again_with_its_records_or_not_at_all() {
    let (mut lives, incarnation) = parted(Afterwards::Kept);
    lives.attach(FileId(8), beginning(incarnation.0, whose(0, 1)));
}

#[test]
#[should_panic(expected = "L12")]
fn l12_only_what_had_parted_is_attached_again() {
    let (mut lives, incarnation) = attached();
    lives.reattach(incarnation, FileId(8), (SourceId(0), (path("1.log"), None), identity(1)));
}

#[test]
#[should_panic(expected = "L12")]
fn l12_what_is_attached_to_no_file_does_not_part() {
    let (mut lives, incarnation) = parted(Afterwards::Kept);
    lives.part(incarnation, Afterwards::Kept);
}

#[test]
#[should_panic(expected = "L12")]
fn l12_what_is_attached_to_no_file_is_not_moved() {
    let (mut lives, incarnation) = stored();
    lives.move_to(incarnation, FileId(8));
}

#[test]
#[should_panic(expected = "L12")]
fn l12_the_file_that_an_incarnation_names_is_the_one_that_is_read_into_it() {
    let (lives, _) = attached();
    lives.check(|_| None);
}

#[test]
fn an_incarnation_follows_its_file_to_another_number() {
    let (mut lives, incarnation) = attached();
    lives.move_to(incarnation, FileId(8));
    lives.check(|file| (file == FileId(8)).then_some(incarnation));
}

/// Inodes, names and searches lead to exactly the incarnations that have them.
fn assert_indexed(lives: &Lives) {
    let mut by_inode: BTreeSet<(u64, Incarnation)> = BTreeSet::new();
    let mut by_path: BTreeMap<std::path::PathBuf, BTreeSet<Incarnation>> = BTreeMap::new();
    let mut sought = BTreeSet::new();
    for (incarnation, life) in &lives.by_incarnation {
        let (identity, name) = match life {
            Life::Attached { state, .. } | Life::Parted { state, .. } => (state.whose().identity, None),
            Life::Stored(checkpoint) => (checkpoint.identity, Some(Arc::clone(&checkpoint.path))),
            Life::SoughtInCopies { subject, .. } => {
                sought.insert(*incarnation);
                match subject {
                    super::Subject::OnItsWay(state) => {
                        (state.whose().identity, Some(Arc::clone(&state.whose().path)))
                    }
                    super::Subject::Stored(checkpoint) => {
                        (checkpoint.identity, Some(Arc::clone(&checkpoint.path)))
                    }
                }
            }
        };
        by_inode.insert((identity.inode, *incarnation));
        if let Some(name) = name {
            for name in originals(&name).into_iter().chain([name.to_path_buf()]) {
                by_path.entry(name).or_default().insert(*incarnation);
            }
        }
    }
    assert_eq!(lives.by_inode, by_inode);
    let set_of = |few: &crate::engine::few::Few<Incarnation>| few.as_slice().iter().copied().collect();
    let indexed = lives.by_path.iter().map(|(path, few)| (path.to_path_buf(), set_of(few)));
    assert_eq!(indexed.collect::<BTreeMap<_, _>>(), by_path);
    assert_eq!(lives.sought, sought);
    let mut kin = lives.kin.emptied();
    for (incarnation, life) in &lives.by_incarnation {
        kin.add(*incarnation, life.known().path);
    }
    assert!(lives.kin.holds_as(&kin), "{:?} {kin:?}", lives.kin);
}

/// What an incarnation is, as a test remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Attached,
    /// Whether all of it is settled.
    Parted(bool, Afterwards),
    /// Whether all of it is settled, or that it is stored.
    Sought(Option<bool>, Afterwards),
    Stored,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Attach { stream: usize, inode: u64, is_settled: bool },
    Part(Afterwards),
    Settle,
    End,
    Seek(Afterwards),
    StopSeeking,
    Reattach { inode: u64 },
    Rename(u8),
    Close,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let afterwards = || prop_oneof![Just(Afterwards::Kept), Just(Afterwards::Forgotten)];
    let step = prop_oneof![
        3 => (0..2_usize, 0..4_u64, any::<bool>())
            .prop_map(|(stream, inode, is_settled)| Step::Attach { stream, inode, is_settled }),
        3 => afterwards().prop_map(Step::Part),
        2 => Just(Step::Settle),
        2 => Just(Step::End),
        2 => afterwards().prop_map(Step::Seek),
        1 => Just(Step::StopSeeking),
        2 => (0..4_u64).prop_map(|inode| Step::Reattach { inode }),
        1 => (0..3_u8).prop_map(Step::Rename),
        1 => Just(Step::Close),
    ];
    (0..6_usize, step)
}

/// Whether a file is read into some incarnation of a stream.
fn is_taken(lives: &Lives, model: &BTreeMap<Incarnation, Is>, inode: u64, stream: StreamId) -> bool {
    model.iter().any(|(incarnation, is)| {
        *is == Is::Attached
            && lives.on_its_way(*incarnation).stream() == stream
            && lives.on_its_way(*incarnation).whose().identity == identity(inode)
    })
}

/// Does one step with the lives and with what the test remembers of them.
fn take_step(lives: &mut Lives, model: &mut BTreeMap<Incarnation, Is>, choice: usize, step: Step) {
    if let Step::Attach { stream, inode, is_settled } = step {
        if !is_taken(lives, model, inode, StreamId(stream)) {
            let number = lives.fresh();
            let make = if is_settled { beginning } else { unsettled };
            lives.attach(FileId(number.0), make(number.0, whose(stream, inode)));
            model.insert(number, Is::Attached);
        }
        return;
    }
    let Some((incarnation, is)) = model.iter().nth(choice).map(|(incarnation, is)| (*incarnation, *is))
    else {
        return;
    };
    let is_settled = lives.state(incarnation).is_some_and(IncarnationState::is_settled);
    let after = match (step, is) {
        (Step::Part(afterwards), Is::Attached) => {
            lives.part(incarnation, afterwards);
            Some(Is::Parted(is_settled, afterwards))
        }
        (Step::Settle, Is::Attached | Is::Parted(..) | Is::Sought(Some(_), _)) => {
            settle_all(lives.on_its_way_mut(incarnation));
            Some(match is {
                Is::Parted(_, afterwards) => Is::Parted(true, afterwards),
                Is::Sought(Some(_), afterwards) => Is::Sought(Some(true), afterwards),
                Is::Attached | Is::Stored | Is::Sought(None, _) => is,
            })
        }
        (Step::End, _) => {
            let end = lives.end_if_over(incarnation);
            match is {
                Is::Parted(true, Afterwards::Kept) => {
                    assert_eq!(end, Some(Over::Stored));
                    Some(Is::Stored)
                }
                Is::Parted(true, Afterwards::Forgotten | Afterwards::Withdrawn) => {
                    assert_eq!(end, Some(Over::Forgotten));
                    None
                }
                Is::Attached | Is::Parted(false, _) | Is::Sought(..) | Is::Stored => {
                    assert_eq!(end, None);
                    Some(is)
                }
            }
        }
        (Step::Seek(afterwards), Is::Parted(..) | Is::Sought(..) | Is::Stored) => {
            lives.seek_copies(incarnation, search(afterwards));
            Some(match is {
                Is::Parted(settled, _) => Is::Sought(Some(settled), afterwards),
                Is::Sought(settled, _) => Is::Sought(settled, afterwards),
                Is::Stored | Is::Attached => Is::Sought(None, afterwards),
            })
        }
        (Step::StopSeeking, Is::Sought(settled, afterwards)) => {
            let (_, is_forgotten) = lives.stop_seeking(incarnation).expect("it is looked for");
            assert_eq!(is_forgotten, settled.is_none() && afterwards == Afterwards::Forgotten);
            match settled {
                Some(settled) => Some(Is::Parted(settled, afterwards)),
                None => (!is_forgotten).then_some(Is::Stored),
            }
        }
        (Step::Reattach { inode }, Is::Parted(..) | Is::Sought(Some(_), _)) => {
            let stream = lives.on_its_way(incarnation).stream();
            if is_taken(lives, model, inode, stream) {
                return;
            }
            let file = FileId(incarnation.0);
            lives.reattach(incarnation, file, (SourceId(0), (path("again.log"), None), identity(inode)));
            Some(Is::Attached)
        }
        (Step::Rename(name), Is::Attached) => {
            lives.rename(incarnation, path(&format!("renamed-{name}.log")), None);
            Some(is)
        }
        (Step::Close, _) => {
            lives.note_closed(incarnation, at(0));
            assert_eq!(lives.give_way(), None, "fewer than a thousand");
            Some(is)
        }
        (_, _) => Some(is),
    };
    match after {
        Some(after) => drop(model.insert(incarnation, after)),
        None => drop(model.remove(&incarnation)),
    }
}

proptest! {
    #[test]
    fn l12_indexes_agree_with_the_map_and_the_map_with_a_model_after_any_sequence(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut lives = Lives::new(vec![checkpoint(0, whose(0, 9), 3)], Numbers::new(1, 0));
        let mut model: BTreeMap<_, _> = [(Incarnation(0), Is::Stored)].into();
        for (choice, step) in steps {
            take_step(&mut lives, &mut model, choice, step);
            assert_indexed(&lives);
            let is_attached = |incarnation: &Incarnation| model.get(incarnation) == Some(&Is::Attached);
            lives.check(|file| Some(Incarnation(file.0)).filter(is_attached));
            prop_assert_eq!(
                lives.by_incarnation.keys().copied().collect::<Vec<_>>(),
                model.keys().copied().collect::<Vec<_>>()
            );
            let claimable = model.values().filter(|is| {
                matches!(is, Is::Stored | Is::Parted(_, Afterwards::Kept) | Is::Sought(_, Afterwards::Kept))
            });
            prop_assert_eq!(lives.unread().count(), claimable.count());
        }
    }
}
