//! Every transition from every state, and the queues after any sequence of them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Files, ReadQueue, Slot, State};
use crate::engine::files::file::{FollowedFile, Name, Task};
use crate::engine::port::{FileId, Read};
use crate::engine::samples::{at, identity, path};
use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::{LaneId, SourceId, StreamId};

const OWN: Incarnation = Incarnation(1);
const OTHER: Incarnation = Incarnation(2);
const SLOT: Slot = Slot { source: SourceId(0), device: 1 };
const QUEUE: ReadQueue = ReadQueue { slot: SLOT, stream: StreamId(0) };
const LANE: LaneId = LaneId { stream: StreamId(0), place: 0 };

fn found(stream: usize, device: u64, inode: u64) -> FollowedFile {
    let whose = (SourceId(0), StreamId(stream));
    let identity = Identity { device, ..identity(inode) };
    FollowedFile::found(whose, path(&format!("{inode}.log")), identity, Name::Matched, at(0))
}

fn reading(id: FileId, again: bool) -> State {
    let read = Read { before: 0, ..Read::as_it_is(id, Offset::ZERO, 10) };
    State::Reading { read, reserved: 20, slot: SLOT, due: at(3), again }
}

/// Every state, once.
fn states() -> Vec<State> {
    let states = vec![
        State::Closed,
        State::AwaitsDescriptor,
        State::Opening { slot: SLOT, due: at(3) },
        State::Sought,
        State::FailsToOpen { retry_at: at(1) },
        State::Queued,
        State::Deferred { lane: LANE },
        State::Collecting { until: at(5) },
        reading(FileId(0), false),
        State::AtEnd,
        State::FailsToRead { retry_at: at(1) },
        State::HeldBack { grew: false },
        State::Blocked,
    ];
    // Without a wildcard: a new variant does not compile until it has its place in the list above.
    let place = |state: &State| match state {
        State::Closed => 0,
        State::AwaitsDescriptor => 1,
        State::Opening { .. } => 2,
        State::Sought => 3,
        State::FailsToOpen { .. } => 4,
        State::Queued => 5,
        State::Deferred { .. } => 6,
        State::Collecting { .. } => 7,
        State::Reading { .. } => 8,
        State::AtEnd => 9,
        State::FailsToRead { .. } => 10,
        State::HeldBack { .. } => 11,
        State::Blocked => 12,
    };
    assert_eq!(states.iter().map(place).collect::<Vec<_>>(), (0..13).collect::<Vec<_>>());
    states
}

fn hold_back(files: &mut Files, id: FileId) {
    files.begin_alike(id, OWN, OTHER);
    files.hold_back(id);
}

fn release(files: &mut Files, id: FileId) {
    files.release(id);
    files.known_mut(id).task = Task::Follow(OWN);
}

/// One file that came to `state` by transitions alone.
fn in_state(state: State) -> (Files, FileId) {
    let mut files = Files::default();
    let id = files.follow(found(0, 1, 1));
    let open = |files: &mut Files| {
        files.begin_opening(id, at(0));
        files.opened(id);
        files.known_mut(id).task = Task::Follow(OWN);
    };
    let queue = |files: &mut Files| {
        open(files);
        files.queue_read(id, false, false);
    };
    match state {
        State::AwaitsDescriptor => {}
        State::Opening { .. } => files.begin_opening(id, at(0)),
        State::Closed => {
            open(&mut files);
            files.closed(id);
        }
        State::Sought => files.seek(id, at(0)),
        State::FailsToOpen { .. } => {
            files.begin_opening(id, at(0));
            files.failed(id, at(0));
        }
        State::AtEnd => open(&mut files),
        State::FailsToRead { .. } => {
            open(&mut files);
            files.failed(id, at(0));
        }
        State::HeldBack { .. } => {
            open(&mut files);
            hold_back(&mut files, id);
        }
        State::Queued => queue(&mut files),
        State::Deferred { lane } => {
            queue(&mut files);
            files.defer(id, lane);
        }
        State::Collecting { until } => {
            queue(&mut files);
            files.collect(id, until);
        }
        State::Reading { read, .. } => {
            queue(&mut files);
            files.begin_reading(id, read, 20, at(0));
        }
        State::Blocked => {
            queue(&mut files);
            files.block(id);
        }
    }
    assert_eq!(files.known(id).state(), state);
    files.check();
    (files, id)
}

/// One transition: what it does, and where it leads from each state that it may come from.
struct Transition {
    name: &'static str,
    apply: fn(&mut Files, FileId),
    leads: Vec<(State, State)>,
}

/// `leads` and, unchanged, every state that it does not name.
fn or_stays(mut leads: Vec<(State, State)>) -> Vec<(State, State)> {
    for state in states() {
        if !leads.iter().any(|(from, _)| *from == state) {
            leads.push((state, state));
        }
    }
    leads
}

fn transitions() -> Vec<Transition> {
    use State::{AtEnd, AwaitsDescriptor, Blocked, Closed, Deferred, Queued, Sought};
    let opening = State::Opening { slot: SLOT, due: at(3) };
    let fails_to_open = State::FailsToOpen { retry_at: at(1) };
    let fails_to_read = State::FailsToRead { retry_at: at(1) };
    let (held_back, grown) = (State::HeldBack { grew: false }, State::HeldBack { grew: true });
    let collecting = State::Collecting { until: at(5) };
    let (read, again) = (reading(FileId(0), false), reading(FileId(0), true));
    let row = |name, apply, leads| Transition { name, apply, leads };
    vec![
        row(
            "await_descriptor",
            |files, id| files.await_descriptor(id),
            vec![
                (Closed, AwaitsDescriptor),
                (Sought, AwaitsDescriptor),
                (fails_to_open, AwaitsDescriptor),
                (AwaitsDescriptor, AwaitsDescriptor),
                (opening, opening),
            ],
        ),
        row("begin_opening", |files, id| files.begin_opening(id, at(0)), vec![(AwaitsDescriptor, opening)]),
        row("opened", |files, id| files.opened(id), vec![(opening, AtEnd)]),
        row("had_no_descriptor", |files, id| files.had_no_descriptor(id), vec![(opening, AwaitsDescriptor)]),
        row("closed", |files, id| files.closed(id), vec![(opening, Closed), (AtEnd, Closed)]),
        row(
            "seek",
            |files, id| files.seek(id, at(0)),
            [Closed, AwaitsDescriptor, opening, Sought, fails_to_open].map(|from| (from, Sought)).to_vec(),
        ),
        row(
            "queue_read",
            |files, id| files.queue_read(id, false, false),
            or_stays(vec![
                (Closed, AwaitsDescriptor),
                (fails_to_open, AwaitsDescriptor),
                (AtEnd, Queued),
                (fails_to_read, Queued),
                (Deferred { lane: LANE }, Queued),
                (read, again),
                (held_back, grown),
            ]),
        ),
        row(
            "queue_read with lines ready, when finishing",
            |files, id| files.queue_read(id, true, true),
            or_stays(vec![
                (Closed, AwaitsDescriptor),
                (fails_to_open, AwaitsDescriptor),
                (AtEnd, Queued),
                (fails_to_read, Queued),
                (collecting, Queued),
                (read, again),
                (held_back, grown),
            ]),
        ),
        row("pass_over", |files, id| files.pass_over(id), vec![(Queued, Queued)]),
        row("collect", |files, id| files.collect(id, at(5)), vec![(Queued, collecting)]),
        row("defer", |files, id| files.defer(id, LANE), vec![(Queued, Deferred { lane: LANE })]),
        row("block", |files, id| files.block(id), vec![(Queued, Blocked)]),
        row(
            "begin_reading",
            |files, id| {
                files.begin_reading(
                    id,
                    Read { before: 0, ..Read::as_it_is(id, Offset::ZERO, 10) },
                    20,
                    at(0),
                );
            },
            vec![(Queued, read)],
        ),
        row(
            "read_ended",
            |files, id| {
                files.read_ended(id);
            },
            vec![(read, AtEnd)],
        ),
        row(
            "failed",
            |files, id| {
                files.known_mut(id).failures = 0;
                files.failed(id, at(0));
            },
            vec![(opening, fails_to_open), (Closed, fails_to_open), (AtEnd, fails_to_read)],
        ),
        row("hold_back", hold_back, vec![(AtEnd, held_back), (Queued, held_back)]),
        row(
            "grew",
            |files, id| {
                files.grew(id);
            },
            or_stays(vec![]),
        ),
        row("release", release, vec![(held_back, Queued)]),
        row(
            "take_up_deferred",
            |files, _| files.take_up_deferred(|_| true),
            or_stays(vec![(Deferred { lane: LANE }, Queued)]),
        ),
        row(
            "take_up_collected",
            |files, _| files.take_up_collected(at(5)),
            or_stays(vec![(collecting, Queued)]),
        ),
    ]
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[test]
fn l11_each_transition_leads_where_it_says_and_is_refused_from_every_other_state() {
    for Transition { name, apply, leads } in transitions() {
        for from in states() {
            let (mut files, id) = in_state(from);
            let result = catch_unwind(AssertUnwindSafe(|| apply(&mut files, id)));
            match leads.iter().find(|(allowed, _)| *allowed == from) {
                Some((_, to)) => {
                    assert!(result.is_ok(), "{name} from {from:?}");
                    assert_eq!(files.known(id).state(), *to, "{name} from {from:?}");
                    files.check();
                }
                None => {
                    let panic = result.expect_err(&format!("{name} is refused from {from:?}"));
                    assert!(message_of(&*panic).contains("L11"), "{name} from {from:?}");
                    assert_eq!(files.known(id).state(), from, "{name} from {from:?}");
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_let_go_of_is_in_no_queue_and_under_no_name() {
    for state in states() {
        let (mut files, id) = in_state(state);
        let file = files.remove(id);
        assert_eq!(file.state(), state);
        files.check();
        assert!(files.at(&path("1.log")).is_empty(), "{state:?}");
        assert_eq!(files.of(StreamId(0), identity(1)), None);
        assert!(!files.any_to_open() && !files.any_deferred() && !files.needs_tick(), "{state:?}");
        assert!(files.read_queues().is_empty() && files.collecting.is_empty(), "{state:?}");
    }
}

#[test]
fn a_file_for_which_the_kernel_had_no_descriptor_is_opened_before_those_that_came_later() {
    let mut files = Files::default();
    let first = files.follow(found(0, 1, 1));
    let second = files.follow(found(0, 1, 2));
    assert_eq!(files.next_to_open(|_| true), Some(first));
    files.begin_opening(first, at(0));
    assert_eq!(files.next_to_open(|_| true), Some(second));
    files.had_no_descriptor(first);
    assert_eq!(files.next_to_open(|_| true), Some(first));
    files.check();
}

#[test]
fn a_device_that_may_not_open_holds_up_its_own_files_only() {
    let mut files = Files::default();
    files.follow(found(0, 1, 1));
    let other = files.follow(found(0, 2, 2));
    assert_eq!(files.next_to_open(|slot| slot.device != 1), Some(other));
    assert_eq!(files.next_to_open(|_| false), None);
}

/// Files that are queued to be read, of one stream and device, in the order in which they came.
fn queued(count: u64) -> (Files, Vec<FileId>) {
    let mut files = Files::default();
    let ids: Vec<_> = (0..count).map(|inode| files.follow(found(0, 1, inode))).collect();
    for id in &ids {
        files.begin_opening(*id, at(0));
        files.opened(*id);
        files.known_mut(*id).task = Task::Follow(OWN);
        files.queue_read(*id, false, false);
    }
    (files, ids)
}

#[test]
fn files_are_read_in_the_order_in_which_they_came_and_one_that_is_passed_over_is_last() {
    let (mut files, ids) = queued(3);
    assert_eq!(files.first_to_read(QUEUE), Some(ids[0]));
    files.pass_over(ids[0]);
    assert_eq!(files.to_read[&QUEUE], [ids[1], ids[2], ids[0]]);
}

#[test]
fn files_of_one_source_wait_for_none_of_another_stream_and_each_stream_has_its_turn() {
    let mut files = Files::default();
    let ids: Vec<_> = (0..3).map(|stream| files.follow(found(stream, 1, stream as u64))).collect();
    for id in &ids {
        files.begin_opening(*id, at(0));
        files.opened(*id);
        files.known_mut(*id).task = Task::Follow(OWN);
        files.queue_read(*id, false, false);
    }
    let firsts = |files: &Files| -> Vec<_> {
        files.read_queues().into_iter().filter_map(|queue| files.first_to_read(queue)).collect()
    };
    assert_eq!(firsts(&files), ids);
    let read = |file| Read { before: 0, ..Read::as_it_is(file, Offset::ZERO, 1) };
    files.begin_reading(ids[0], read(ids[0]), 1, at(0));
    files.read_ended(ids[0]);
    files.queue_read(ids[0], false, false);
    assert_eq!(firsts(&files), [ids[1], ids[2], ids[0]], "the one that was read is last");
    files.begin_reading(ids[2], read(ids[2]), 1, at(0));
    assert_eq!(firsts(&files), [ids[0], ids[1]]);
}

#[test]
fn a_comparison_goes_before_everything_else() {
    let (mut files, ids) = queued(3);
    let compared = ids[2];
    files.begin_reading(compared, Read { before: 0, ..Read::as_it_is(compared, Offset::ZERO, 1) }, 1, at(0));
    files.read_ended(compared);
    files.known_mut(compared).task = Task::Comparing { own: None, of: OTHER };
    files.queue_read(compared, false, false);
    assert_eq!(files.first_to_read(QUEUE), Some(compared));
}

#[test]
fn what_came_during_a_read_is_told_once_it_ended() {
    for more in [false, true] {
        let (mut files, id) = in_state(reading(FileId(0), false));
        if more {
            files.queue_read(id, false, false);
        }
        let (read, reserved, again) = files.read_ended(id);
        assert_eq!((read.len, reserved, again), (10, 20, more));
    }
}

#[test]
fn what_came_while_a_file_was_held_back_is_told_once() {
    let (mut files, id) = in_state(State::HeldBack { grew: false });
    assert!(!files.grew(id));
    files.queue_read(id, false, false);
    assert!(files.grew(id));
    assert!(!files.grew(id));
}

#[test]
fn only_the_first_of_many_failures_is_news_and_the_delay_doubles_up_to_half_a_minute() {
    let (mut files, id) = in_state(State::Opening { slot: SLOT, due: at(3) });
    let mut delays = Vec::new();
    for failure in 0..7 {
        assert_eq!(files.failed(id, at(100)), failure == 0);
        let State::FailsToOpen { retry_at } = files.known(id).state() else { panic!("it failed") };
        delays.push(retry_at.since(at(100)).as_secs());
        files.await_descriptor(id);
        files.begin_opening(id, at(0));
    }
    assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn lines_that_wait_are_told_when_they_waited_long_enough_and_not_when_they_wait_anew() {
    use crate::rules::gather::Waits;
    let (mut files, id) = in_state(State::AtEnd);
    let end = (Offset::ZERO, Offset::new(9));
    let due = files.known_mut(id).wait(Waits::ForMore, end, at(5)).expect("it is news");
    files.wait_for_more(id, due);
    assert_eq!(files.deadline(), Some(at(5)));
    assert!(files.have_waited(at(4)).is_empty());
    let more = (Offset::ZERO, Offset::new(10));
    let later = files.known_mut(id).wait(Waits::ForMore, more, at(7)).expect("more came");
    files.wait_for_more(id, later);
    assert!(files.have_waited(at(6)).is_empty(), "the first entry is stale");
    assert_eq!(files.have_waited(at(7)), [id]);
    assert!(files.have_waited(at(9)).is_empty());
}

#[test]
fn another_file_that_took_the_name_takes_the_number_and_the_one_that_was_meant_gets_another() {
    let (mut files, id) = in_state(State::AtEnd);
    let meant = files.replace(id, found(0, 1, 2));
    assert_ne!(meant, id);
    assert_eq!(files.known(id).identity, identity(2));
    assert_eq!(files.known(id).state(), State::AtEnd);
    assert_eq!(files.known(meant).identity, identity(1));
    assert_eq!(files.known(meant).state(), State::Closed);
    assert_eq!(files.read_into(meant), Some(OWN));
    assert_eq!(files.of(StreamId(0), identity(1)), Some(meant));
    assert_eq!(files.of(StreamId(0), identity(2)), Some(id));
    assert_eq!(files.at(&path("1.log")), [meant]);
    assert_eq!(files.at(&path("2.log")), [id]);
    files.check();
}

#[test]
#[should_panic(expected = "L12")]
fn l12_a_file_is_followed_once_for_each_stream() {
    let mut files = Files::default();
    files.follow(found(0, 1, 1));
    files.follow(found(1, 1, 1));
    files.follow(found(0, 1, 1));
}

#[test]
fn a_file_is_found_under_its_name_and_under_the_one_that_a_link_leads_to() {
    let (mut files, id) = in_state(State::AtEnd);
    files.rename(id, path("link.log"), Some(path("target.log")));
    assert!(files.at(&path("1.log")).is_empty());
    assert_eq!(files.at(&path("link.log")), [id]);
    assert_eq!(files.at(&path("target.log")), [id]);
    files.rename(id, path("b.log"), None);
    assert!(files.at(&path("link.log")).is_empty() && files.at(&path("target.log")).is_empty());
    assert_eq!(files.at(&path("b.log")), [id]);
}

/// The queues that hold a file, by name.
fn queues_of(files: &Files, id: FileId) -> Vec<&'static str> {
    let mut holding = Vec::new();
    let mut note = |name, entries: usize| holding.extend(std::iter::repeat_n(name, entries));
    note("to_open", files.to_open.values().flatten().filter(|other| **other == id).count());
    note("to_read", files.to_read.values().flatten().filter(|other| **other == id).count());
    note("deferred", files.deferred.values().flatten().filter(|other| **other == id).count());
    note("collecting", files.collecting.iter().filter(|(_, other)| *other == id).count());
    note("at_end", files.at_end.iter().filter(|(_, other)| *other == id).count());
    holding
}

/// The queue that a state names.
fn queue_named_by(state: State) -> Vec<&'static str> {
    match state {
        State::AwaitsDescriptor => vec!["to_open"],
        State::Queued => vec!["to_read"],
        State::Deferred { .. } => vec!["deferred"],
        State::Collecting { .. } => vec!["collecting"],
        State::AtEnd => vec!["at_end"],
        State::Closed
        | State::Opening { .. }
        | State::Sought
        | State::FailsToOpen { .. }
        | State::Reading { .. }
        | State::FailsToRead { .. }
        | State::HeldBack { .. }
        | State::Blocked => vec![],
    }
}

/// What is done with one of the files.
#[derive(Clone, Copy, Debug)]
enum Step {
    Transition(usize),
    Rename { name: u8, target: Option<u8> },
    LoseName,
    FindName,
    Quieten { seconds: u64 },
    Remove,
    Follow { stream: usize, device: u64 },
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        20 => (0..transitions().len()).prop_map(Step::Transition),
        2 => (0..4_u8, proptest::option::of(0..4_u8)).prop_map(|(name, target)| Step::Rename { name, target }),
        1 => Just(Step::LoseName),
        1 => Just(Step::FindName),
        2 => (0..4_u64).prop_map(|seconds| Step::Quieten { seconds }),
        1 => Just(Step::Remove),
        3 => (0..2_usize, 1..3_u64).prop_map(|(stream, device)| Step::Follow { stream, device }),
    ];
    (0..8_usize, step)
}

/// Whether the transition may be taken from `state`; whatever a variant carries.
fn may(transition: &Transition, state: State) -> bool {
    let kind = std::mem::discriminant(&state);
    transition.leads.iter().any(|(from, _)| std::mem::discriminant(from) == kind)
}

proptest! {
    #[test]
    fn l11_queues_and_indexes_hold_what_states_and_names_say_after_any_sequence(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let transitions = transitions();
        let mut files = Files::default();
        let mut names: BTreeMap<FileId, BTreeSet<Arc<std::path::Path>>> = BTreeMap::new();
        let mut inode = 0;
        for (choice, step) in steps {
            let id = files.ids_within(FileId(0)..files.next_id(), usize::MAX).get(choice).copied();
            match (step, id) {
                (Step::Follow { stream, device }, _) => {
                    inode += 1;
                    let id = files.follow(found(stream, device, inode));
                    names.insert(id, [path(&format!("{inode}.log"))].into());
                }
                (Step::Transition(which), Some(id)) => {
                    let transition = &transitions[which];
                    // A file without a name is not closed to be opened again: nothing would lead to it.
                    let is_lost = files.known(id).name == Name::Lost;
                    let is_for_one = !transition.name.starts_with("take_up");
                    if is_for_one && (!may(transition, files.known(id).state())
                        || (transition.name == "closed" && is_lost))
                    {
                        continue;
                    }
                    (transition.apply)(&mut files, id);
                }
                (Step::Rename { name, target }, Some(id)) => {
                    let name = path(&format!("shared-{name}.log"));
                    let target = target.map(|target| path(&format!("target-{target}.log")));
                    files.rename(id, Arc::clone(&name), target.clone());
                    names.insert(id, std::iter::once(name).chain(target).collect());
                }
                (Step::LoseName, Some(id)) if files.known(id).state() != State::Closed => {
                    files.lose_name(id, at(0));
                }
                (Step::FindName, Some(id)) => files.find_name(id),
                (Step::Quieten { seconds }, Some(id)) => files.quieten(id, at(seconds)),
                (Step::Remove, Some(id)) => {
                    files.remove(id);
                    names.remove(&id);
                }
                (_, _) => {}
            }
            files.check();
            let quiet: Vec<_> = files.at_end().map(|(id, file)| (file.times.quiet_since, id)).collect();
            prop_assert!(quiet.is_sorted(), "the longest quiet come first: {:?}", quiet);
            for (id, file) in files.iter() {
                prop_assert_eq!(queues_of(&files, id), queue_named_by(file.state()));
            }
            let under: BTreeSet<_> = names.values().flatten().collect();
            prop_assert_eq!(files.by_name.paths().collect::<BTreeSet<_>>(), under.clone());
            for name in under {
                let expected: BTreeSet<_> =
                    names.iter().filter(|(_, names)| names.contains(name)).map(|(id, _)| *id).collect();
                prop_assert_eq!(files.at(name).len(), expected.len());
                prop_assert_eq!(files.at(name).iter().copied().collect::<BTreeSet<_>>(), expected);
            }
        }
    }
}
