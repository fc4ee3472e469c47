//! What reads, looks, answers and saves change in one incarnation.

mod shapes;

use bytes::Bytes;

use super::*;
use crate::engine::numbers::Numbers;
use crate::engine::samples::{at, beginning, checkpoint, path, read, send, shaped, whose};
use crate::engine::shaping::{Piece, Unsendable};
use crate::model::identity::Fingerprint;
use crate::model::offset::Span;
use crate::model::record::Backing;
use crate::model::verdict::{Retry, RetryReason};
use crate::rules::ledger::Settlement;

fn state() -> IncarnationState {
    beginning(1, whose(0, 1))
}

/// Takes in lines of which the file is known to have more, up to `end`.
fn read_up_to(state: &mut IncarnationState, lines: &[&str], (end, at_end): (u64, bool)) -> Change {
    let (shaped, kept) = shaped(state.position(), lines, send);
    state.take_in(shaped, kept, (Offset::new(end), at_end), at(0)).0
}

#[test]
fn what_was_seen_is_raised_by_looks_and_never_lowered_by_them() {
    let mut state = state();
    state.note_seen(10, at(1));
    state.note_seen(4, at(2));
    assert_eq!((state.seen_bytes(), state.unread_bytes()), (10, 10));
    assert_eq!(state.behind_since(), Some(at(1)));
}

#[test]
fn what_was_seen_is_raised_by_a_read_that_did_not_reach_the_end() {
    let mut state = state();
    state.note_seen(20, at(0));
    read_up_to(&mut state, &["line\n"], (8, false));
    assert_eq!((state.seen_bytes(), state.unread_bytes()), (20, 15), "a look saw more");
    read_up_to(&mut state, &["line\n"], (30, false));
    assert_eq!((state.seen_bytes(), state.unread_bytes()), (30, 20), "the read saw more");
}

#[test]
fn what_was_seen_is_what_a_read_says_that_reached_the_end() {
    let mut state = state();
    state.note_seen(20, at(0));
    read_up_to(&mut state, &["line\n"], (8, true));
    assert_eq!((state.seen_bytes(), state.unread_bytes()), (8, 3), "three bytes have no newline yet");
}

#[test]
fn another_file_that_goes_on_is_seen_up_to_the_position() {
    let mut state = state();
    read_up_to(&mut state, &["line\n"], (50, false));
    state.forget_seen();
    assert_eq!((state.seen_bytes(), state.unread_bytes()), (5, 0));
}

#[test]
fn nothing_is_behind_once_the_end_was_read_and_settled() {
    let mut state = state();
    state.note_seen(5, at(3));
    read(&mut state, &["line\n"], at(4));
    assert_eq!(state.behind_since(), Some(at(3)));
    let record = state.take_ready().expect("it was read");
    assert_eq!(state.read_at(&record), Some(at(4)));
    state.settle(&record, Settlement::Delivered);
    state.release();
    assert_eq!(state.behind_since(), None);
}

#[test]
fn memory_is_charged_for_what_is_read_and_returned_for_what_is_settled() {
    let mut state = state();
    let change = read_up_to(&mut state, &["line\n", "more\n"], (10, true));
    let charged = 10 + 2 * MEMORY_OVERHEAD_BYTES;
    assert_eq!(change.buffered, (0, charged));
    assert_eq!((change.fresh, change.settled), (2, 0));
    let change = read_up_to(&mut state, &["three\n"], (16, true));
    assert_eq!(change.buffered, (charged, 16 + 3 * MEMORY_OVERHEAD_BYTES), "before and after");
    let records: Vec<_> = std::iter::from_fn(|| state.take_ready()).collect();
    assert_eq!(state.settle(&records[1], Settlement::Delivered), 5, "beyond the frontier");
    assert_eq!(state.frontier(), Offset::ZERO, "the first is before it");
    assert_eq!(state.settle(&records[0], Settlement::Delivered), 5);
    assert_eq!(state.buffered(), 6 + MEMORY_OVERHEAD_BYTES);
    assert_eq!(state.settle(&records[2], Settlement::Delivered), 6);
    assert_eq!(state.buffered(), 0);
    assert!(state.is_settled() && state.has_come_to_rest());
}

#[test]
fn memory_is_charged_for_what_a_record_has_beyond_its_lines() {
    let mut state = state();
    let wrap = |_: Bytes| Piece::Send(Bytes::from_static(b"{\"message\":\"line\"}"), Backing::Own);
    let (shaped, kept) = shaped(Offset::ZERO, &["line\n"], wrap);
    let (change, _) = state.take_in(shaped, kept, (Offset::new(5), true), at(0));
    // The bytes that were read are kept, and the record's own beside them.
    assert_eq!(change.buffered, (0, 5 + 18 + MEMORY_OVERHEAD_BYTES));
    let record = state.take_ready().expect("it was read");
    state.settle(&record, Settlement::Delivered);
    assert_eq!(state.buffered(), 0);
}

#[test]
fn what_is_not_sent_is_settled_at_once_and_raises_the_frontier() {
    let mut state = state();
    let (shaped, kept) = shaped(Offset::ZERO, &["\n", "\n"], |_| Piece::Settle);
    let (change, dead) = state.take_in(shaped, kept, (Offset::new(2), true), at(0));
    assert_eq!((change.fresh, change.settled, dead.len()), (0, 2, 0));
    assert_eq!(change.buffered, (0, 0));
    assert!(state.has_unsaved_progress() && state.is_settled());
}

#[test]
fn dead_letters_are_handed_out_and_hold_the_frontier_until_they_are_settled() {
    let mut state = state();
    let (shaped, kept) = shaped(Offset::ZERO, &["too long\n", "line\n"], |data| match data.len() {
        9 => Piece::DeadLetter(data, Backing::Read, Aside { why: Unsendable::Oversize, said: None }),
        _ => send(data),
    });
    let (change, dead) = state.take_in(shaped, kept, (Offset::new(14), true), at(0));
    assert_eq!((change.fresh, dead.len()), (1, 1));
    assert_eq!(&dead[0].0.data[..], b"too long\n");
    assert!(state.has_outstanding(), "it is to be put aside");
    assert_eq!(state.frontier(), Offset::ZERO);
    state.settle(&dead[0].0, Settlement::DeadLetter);
    assert!(!state.has_outstanding());
    assert_eq!(state.frontier(), Offset::new(9));
}

#[test]
fn a_record_without_room_among_the_dead_letters_brings_the_incarnation_to_rest_where_it_is() {
    let mut state = state();
    read(&mut state, &["line\n", "more\n"], at(0));
    let first = state.take_ready().expect("two were read");
    let second = state.take_ready().expect("two were read");
    let blocked = |record: &Record| Blocked {
        record: record.clone(),
        why: Retry::new(RetryReason::Rejected, "code", "why"),
        unmade: None,
    };
    assert!(state.block(blocked(&first)), "the first that is blocked");
    assert!(!state.has_come_to_rest(), "another is under way");
    state.settle(&second, Settlement::Delivered);
    assert!(state.has_come_to_rest() && !state.is_settled());
    assert_eq!(state.frontier(), first.span.start());
    read(&mut state, &["last\n"], at(0));
    let last = state.take_ready().expect("it was read");
    assert!(!state.block(blocked(&last)), "it is known");
    assert_eq!(state.take_blocked_if(|_| true), [blocked(&first), blocked(&last)]);
    assert!(!state.is_blocked() && !state.has_come_to_rest());
}

#[test]
fn records_that_name_their_incarnation_wait_until_its_fingerprint_is_durable() {
    let mut state = state();
    read(&mut state, &["line\n"], at(0));
    assert!(!state.awaits_fingerprint(), "no record says which incarnation it is of");
    state.names_itself();
    assert!(state.awaits_fingerprint());
    state.saved(Offset::ZERO, 3);
    assert!(state.awaits_fingerprint(), "two bytes of its beginning are not covered");
    state.saved(Offset::ZERO, 5);
    assert!(!state.awaits_fingerprint());
    read(&mut state, &["more\n"], at(0));
    assert!(state.awaits_fingerprint(), "the fingerprint covers more now");
}

#[test]
fn records_leave_unsaved_only_where_a_crash_gives_their_id_to_no_other_line() {
    let (reserved, used_up) = (Numbers::new(2, 2), Numbers::new(1, 1));
    let mut state = state();
    state.names_itself();
    read(&mut state, &["line\n"], at(0));
    assert!(state.may_go_unsaved(&reserved), "nobody knows it: it gets another number");
    assert!(!state.may_go_unsaved(&used_up), "another file would get its number");
    state.saved(Offset::ZERO, 2);
    assert!(!state.may_go_unsaved(&reserved), "what begins with the two bytes would be taken for it");
    state.saved(Offset::new(5), 5);
    read(&mut state, &["more\n"], at(0));
    assert!(state.awaits_fingerprint() && state.may_go_unsaved(&reserved), "five bytes are the same");
    state.goes_unsaved();
    assert!(!state.awaits_fingerprint());
    state.saved(Offset::new(5), 5);
    assert!(state.awaits_fingerprint(), "it can be saved again");
}

#[test]
fn an_incarnation_that_goes_on_is_known_by_the_fingerprint_that_was_stored() {
    let whose = whose(0, 1);
    let mut known = checkpoint(1, whose.clone(), 5);
    known.fingerprint = Fingerprint::of(b"line\n");
    let history = History::resumed(known.offset, known.window, None);
    let mut state =
        IncarnationState::new(known.incarnation, whose, history, Head::of(b"line\n"), Some(&known));
    state.names_itself();
    assert!(!state.awaits_fingerprint());
    assert_eq!(state.durable(), Some(Offset::new(5)));
    assert_eq!((state.seen_bytes(), state.unread_bytes()), (5, 0));
    assert!(!state.has_unsaved_progress());
}

#[test]
fn progress_is_unsaved_from_a_settled_span_until_a_save_begins() {
    let mut state = state();
    read(&mut state, &["line\n"], at(0));
    assert!(!state.has_unsaved_progress());
    let record = state.take_ready().expect("it was read");
    state.settle(&record, Settlement::Delivered);
    assert!(state.has_unsaved_progress());
    state.save_begun();
    assert!(!state.has_unsaved_progress());
    assert_eq!(state.durable(), None, "it has only begun");
    state.saved(Offset::new(5), 5);
    assert_eq!(state.durable(), Some(Offset::new(5)));
}

#[test]
fn a_checkpoint_tells_the_frontier_the_beginning_and_the_bytes_before_it() {
    let mut state = state();
    read(&mut state, &["line\n", "more\n"], at(0));
    let record = state.take_ready().expect("two were read");
    state.settle(&record, Settlement::Delivered);
    state.rename(path("b.log"), None);
    let checkpoint = state.checkpoint();
    assert_eq!(checkpoint.offset, Offset::new(5));
    assert_eq!(*checkpoint.path, *path("b.log"));
    assert!(checkpoint.fingerprint.matches(b"line\nmore\n"));
    assert!(checkpoint.window.matches(b"line\n"));
}

#[test]
fn the_beginning_is_what_the_first_read_brought_and_not_what_was_seen_when_the_file_was_opened() {
    let head = Head::of(b"gone");
    let mut state = IncarnationState::new(Incarnation(1), whose(0, 1), History::beginning(), head, None);
    read(&mut state, &["line\n"], at(0));
    assert!(state.head().fingerprint().matches(b"line\n"));
}

#[test]
fn an_incarnation_waits_for_its_turn_once() {
    let mut state = state();
    assert!(state.enter_turn());
    assert!(!state.enter_turn());
    state.leave_turn();
    assert!(state.enter_turn());
}

#[test]
fn nuls_are_skipped_at_the_beginning_of_a_file_and_behind_nuls_that_were() {
    assert!(state().cut().skipping_nuls);
    let resumed = |before: &[u8]| {
        let window = crate::model::identity::Window::at_end_of(before);
        let history = History::resumed(Offset::new(before.len() as u64), window, None);
        let mut state = IncarnationState::new(Incarnation(1), whose(0, 1), history, Head::default(), None);
        state.recall(Bytes::copy_from_slice(before));
        state.cut().skipping_nuls
    };
    assert!(resumed(&[0; 300]), "another process was in the middle of them");
    assert!(!resumed(&[&[0; 300][..], b"\n"].concat()));
    assert!(!resumed(b"line\n"));
}

#[test]
fn what_a_life_skips_at_its_beginning_is_known_to_the_next_process() {
    let history = History::resumed(Offset::new(7), crate::model::identity::Window::default(), None);
    let begun = IncarnationState::new(Incarnation(1), whose(0, 1), history.clone(), Head::default(), None);
    let stored = begun.checkpoint();
    assert_eq!(stored.skipped_bytes, 7);
    let again = IncarnationState::new(Incarnation(1), whose(0, 1), history, Head::default(), Some(&stored));
    assert_eq!(again.checkpoint().skipped_bytes, 7);
    assert_eq!(state().checkpoint().skipped_bytes, 0);
}

const LINES: [&str; 5] = ["first\n", "second\n", "third\n", "fourth\n", "fifth\n"];

/// An incarnation of five lines of which those at `settled` were delivered.
fn settled_but_for_gaps(settled: &[usize]) -> IncarnationState {
    let mut state = state();
    read(&mut state, &LINES, at(0));
    let records: Vec<_> = std::iter::from_fn(|| state.take_ready()).collect();
    for place in settled {
        state.settle(&records[*place], Settlement::Delivered);
        state.release();
    }
    state
}

/// The next process: goes on from what the last one would have saved.
fn resumed(known: &Checkpoint) -> IncarnationState {
    let history = History::resumed(known.offset, known.window, None);
    IncarnationState::new(known.incarnation, whose(0, 1), history, Head::default(), Some(known))
}

fn all_ready(state: &mut IncarnationState) -> Vec<String> {
    let records = std::iter::from_fn(|| state.take_ready());
    records.map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

#[test]
fn what_is_settled_beyond_the_frontier_is_progress_and_is_not_sent_again_after_a_crash() {
    let mut state = settled_but_for_gaps(&[1, 2, 4]);
    assert!(state.has_unsaved_progress(), "the frontier did not move, and a save holds more");
    state.save_begun();
    assert!(!state.has_unsaved_progress());
    let known = state.checkpoint();
    let ranges: Vec<_> = known.settled.ranges().iter().map(ToString::to_string).collect();
    assert_eq!((known.offset, ranges), (Offset::ZERO, vec!["6..19".to_owned(), "26..32".to_owned()]));
    assert!(known.settled.window().matches(LINES.concat().as_bytes()));
    let mut next = resumed(&known);
    let (end, len) = next.to_confirm().expect("the file may have other content");
    assert_eq!((end, len), (Offset::new(32), 32));
    assert!(next.confirm(LINES.concat().as_bytes()));
    assert_eq!(next.to_confirm(), None);
    // A crash before anything is read keeps all of it, and so does one in the middle.
    assert_eq!(next.checkpoint().settled, known.settled);
    read(&mut next, &LINES[..2], at(0));
    assert_eq!(next.checkpoint().settled, known.settled);
    read(&mut next, &LINES[2..], at(0));
    assert_eq!(next.checkpoint().settled, known.settled);
    assert_eq!(all_ready(&mut next), ["first\n", "fourth\n"]);
}

#[test]
fn ranges_are_not_relied_on_in_a_file_with_other_content_where_they_end() {
    let known = settled_but_for_gaps(&[1, 2, 4]).checkpoint();
    for bytes in [&b"other content that is as long.."[..], b"shorter", b""] {
        let mut next = resumed(&known);
        assert!(!next.confirm(bytes));
        assert_eq!(next.checkpoint().settled, known.settled, "a copy of the file may still hold them");
        read(&mut next, &LINES, at(0));
        assert_eq!(all_ready(&mut next), LINES);
    }
    let mut next = resumed(&known);
    read(&mut next, &LINES, at(0));
    assert_eq!(all_ready(&mut next), LINES, "nobody has asked");
}

#[test]
fn pieces_of_a_message_go_the_way_of_its_bytes() {
    let known = settled_but_for_gaps(&[1, 2, 4]).checkpoint();
    let piece = |at: u64, len: u64| Span::new(Offset::new(at), Offset::new(at + len));
    let send = |data: &'static [u8]| send(Bytes::from_static(data));
    let mut next = resumed(&known);
    assert!(next.confirm(LINES.concat().as_bytes()));
    let pieces = vec![
        (piece(0, 0), send(b"fi")),
        (piece(0, 6), send(b"rst")),
        (piece(6, 0), send(b"sec")),
        (
            piece(6, 0),
            Piece::DeadLetter(
                Bytes::from_static(b"on"),
                Backing::Own,
                Aside { why: Unsendable::Oversize, said: None },
            ),
        ),
        (piece(6, 7), send(b"d")),
        (piece(13, 0), send(b"th")),
        // Cut otherwise than before: what was settled of it goes again.
        (piece(13, 13), send(b"ird and fourth")),
        (piece(26, 6), send(b"fifth")),
    ];
    let shaped = Shaped { pieces, bytes: 32, ..Shaped::nothing(None, Cut::default()) };
    let kept = Bytes::from(LINES.concat());
    let (_, dead) = next.take_in(shaped, kept, (Offset::new(32), true), at(0));
    assert!(dead.is_empty(), "it was put aside before");
    assert_eq!(all_ready(&mut next), ["fi", "rst", "th", "ird and fourth"]);
}

#[test]
fn nothing_fresh_leaves_while_much_is_settled_that_no_checkpoint_has_room_for() {
    let mut state = state();
    let lines = vec!["line\n"; 2 * (crate::model::settled::MAX_RANGES + 36)];
    read(&mut state, &lines, at(0));
    let records: Vec<_> = std::iter::from_fn(|| state.take_ready()).collect();
    for record in records.iter().skip(1).step_by(2) {
        state.settle(record, Settlement::Delivered);
    }
    for (max_bytes, is_held_back) in [(181, false), (180, true), (1, true)] {
        state.weigh_ranges(max_bytes);
        assert_eq!(
            state.holds_back(),
            is_held_back,
            "36 lines of 5 bytes are too many, and {max_bytes} allowed"
        );
    }
    assert_eq!(state.checkpoint().settled.ranges().len(), crate::model::settled::MAX_RANGES);
    for record in records.iter().step_by(2).skip(1).take(40) {
        state.settle(record, Settlement::Delivered);
    }
    state.weigh_ranges(1);
    assert!(!state.holds_back(), "ranges have merged");
}

/// Some records wait for long, and all others are settled: the checkpoint says what it would say without letting go, at
/// each step, and memory is charged for what waits alone.
#[test]
fn what_is_settled_behind_a_record_that_waits_takes_no_memory_and_the_checkpoint_says_the_same() {
    const LINES: usize = 20_000;
    let (mut state, mut model) = (state(), state());
    let lines: Vec<_> = (0..LINES).map(|number| format!("{number:0>99}\n")).collect();
    let waits = |number: u64| number == 3 || number % 7_000 == 500;
    let mut waiting = Vec::new();
    for chunk in lines.chunks(1_000) {
        let chunk: Vec<_> = chunk.iter().map(String::as_str).collect();
        let end = (state.position().plus(100_000).bytes(), false);
        read_up_to(&mut state, &chunk, end);
        read_up_to(&mut model, &chunk, end);
        while let (Some(record), Some(same)) = (state.take_ready(), model.take_ready()) {
            if waits(record.entry.0) {
                state.set_apart(record.entry, record.data.len() as u64);
                waiting.push((Record { backing: Backing::Own, ..record }, same));
                continue;
            }
            state.settle(&record, Settlement::Delivered);
            model.settle(&same, Settlement::Delivered);
        }
        state.release();
        state.let_go();
        model.release();
        assert_eq!(state.checkpoint(), model.checkpoint());
        assert_eq!(state.history().digest(), model.history().digest());
    }
    assert!(model.buffered() > 1_900_000, "{} bytes without letting go", model.buffered());
    assert!(
        state.buffered() < 600_000,
        "{} bytes are charged for {} records",
        state.buffered(),
        waiting.len()
    );
    for (record, same) in waiting {
        state.settle(&record, Settlement::Delivered);
        model.settle(&same, Settlement::Delivered);
        state.release();
        model.release();
        assert_eq!(state.checkpoint(), model.checkpoint());
        assert_eq!(state.history().digest(), model.history().digest());
    }
    assert_eq!((state.frontier(), state.buffered()), (state.position(), 0));
}

/// A thousand lines of so many bytes were read, and all but the first are delivered.
fn all_but_the_first(len: usize) -> (IncarnationState, Record) {
    let mut state = state();
    let lines = vec!["x".repeat(len - 1) + "\n"; 1_000];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    read_up_to(&mut state, &lines, (1_000 * len as u64, true));
    let first = state.take_ready().expect("it was read");
    while let Some(record) = state.take_ready() {
        state.settle(&record, Settlement::Delivered);
    }
    (state, first)
}

#[test]
fn a_record_that_needs_what_was_read_keeps_it() {
    let (mut state, first) = all_but_the_first(1_000);
    let (before, after) = state.let_go();
    assert_eq!((before, after >= 1_000_000), (after, true));
    state.settle(&first, Settlement::Delivered);
    assert_eq!(state.buffered(), 0);
}

/// After a restart the ranges of the process before are settled as they are read, and nothing else ever is.
#[test]
fn what_was_settled_before_is_let_go_of_once_the_record_before_it_needs_nothing_of_it() {
    let (mut state, first) = all_but_the_first(100);
    let (_, before) = state.let_go();
    assert!(before > 100_000, "{before}");
    state.set_apart(first.entry, 100);
    let (_, after) = state.let_go();
    assert!(after < 4_096, "{after}");
}
