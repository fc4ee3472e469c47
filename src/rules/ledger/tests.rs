//! Every order, every crash, and cuts that are not those of the process before.

use proptest::prelude::*;

use super::*;

const LINE: u64 = 10;

fn at(bytes: u64) -> Offset {
    Offset::new(bytes)
}

fn span(index: u64) -> Span {
    Span::new(at(index * LINE), at((index + 1) * LINE))
}

fn orders(entries: Vec<u64>) -> Vec<Vec<u64>> {
    if entries.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in entries.iter().enumerate() {
        let mut rest = entries.clone();
        rest.remove(index);
        for mut order in orders(rest) {
            order.insert(0, *first);
            all.push(order);
        }
    }
    all
}

/// Exhaustive: every order of up to six acknowledgements, looked at after each of them (each is a crash
/// point). The model is the definition: the longest settled prefix.
#[test]
fn l1_the_frontier_is_the_contiguous_settled_prefix_in_every_order_of_six() {
    for count in 1..=6 {
        for order in orders((0..count).collect()) {
            let mut ledger = Ledger::starting_at(Offset::ZERO);
            for index in 0..count {
                assert_eq!(ledger.admit(span(index)), Entry(index));
            }
            let mut settled = Vec::new();
            for entry in &order {
                let before = ledger.frontier();
                let raised = ledger.settle(Entry(*entry), Settlement::Delivered);
                settled.push(*entry);
                let prefix = (0..count).take_while(|index| settled.contains(index)).count() as u64;
                assert_eq!(ledger.frontier(), Offset::new(prefix * LINE), "L1: {order:?} at {settled:?}");
                assert_eq!(raised.bytes, ledger.frontier().since(before));
                assert_eq!(raised.entries * LINE, raised.bytes);
            }
            assert!(ledger.is_settled());
        }
    }
}

/// The spans of entries, of which some are empty: pieces that settle with the next one that is not.
fn cut(is_empty: u64, count: u64) -> Vec<Span> {
    let mut from = 0;
    let mut spans = Vec::new();
    for index in 0..count {
        let len = if is_empty >> index & 1 == 1 && index + 1 < count { 0 } else { LINE };
        spans.push(Span::new(at(from), at(from + len)));
        from += len;
    }
    spans
}

/// Which bytes are settled, by the definition: those of spans of which all pieces are.
fn settled_bytes(spans: &[Span], settled: &[u64]) -> Vec<Span> {
    let mut found = Vec::new();
    let mut from = 0;
    for (index, span) in spans.iter().enumerate().filter(|(_, span)| !span.is_empty()) {
        if (from..=index).all(|piece| settled.contains(&(piece as u64))) {
            found.push(*span);
        }
        from = index + 1;
    }
    found
}

/// Exhaustive: six records, whichever of them pieces of one message, in every order, with a crash after each answer.
/// The next process sends what was not settled, and nothing else.
#[test]
fn l16_after_a_crash_what_was_settled_is_known_and_the_rest_is_not_in_every_order_of_six() {
    for count in 1..=6 {
        for order in orders((0..count).collect()) {
            for is_empty in 0..1 << (count - 1) {
                let spans = cut(is_empty, count);
                let mut ledger = Ledger::starting_at(Offset::ZERO);
                for span in &spans {
                    ledger.admit(*span);
                }
                for answers in 1..=order.len() {
                    let settled = &order[..answers];
                    ledger.settle(Entry(settled[answers - 1]), Settlement::Delivered);
                    let expected = settled_bytes(&spans, settled);
                    check_crash(&ledger, &spans, &expected);
                }
            }
        }
    }
}

fn check_crash(ledger: &Ledger, spans: &[Span], expected: &[Span]) {
    let ranges = ledger.ranges();
    assert!(ranges.held.iter().all(|range| range.start() > ledger.frontier()), "{ranges:?}");
    let mut next = Ledger::resuming(ledger.frontier(), &ranges.held);
    for span in spans.iter().filter(|span| span.end() > ledger.frontier() && !span.is_empty()) {
        assert_eq!(next.knows(*span), expected.contains(span), "L16: {span} of {spans:?}: {ranges:?}");
        let is_known = next.knows(*span);
        let entry = next.admit(*span);
        if is_known {
            next.settle(entry, Settlement::Delivered);
        }
        // A crash while the file is read again forgets nothing.
        let again = Ledger::resuming(next.frontier(), &next.ranges().held);
        for span in expected.iter().filter(|span| span.end() > next.frontier()) {
            assert!(
                again.knows(*span) || span.start() < next.frontier(),
                "L16: {span} is forgotten: {next:?}"
            );
        }
    }
    assert_eq!(next.known().count(), 0, "all of it was read again");
}

#[test]
fn a_span_is_known_only_where_one_range_holds_all_of_it() {
    let ledger = Ledger::resuming(at(10), &[Span::new(at(20), at(40)), Span::new(at(50), at(60))]);
    for (start, end, is_known) in [
        (20, 40, true),
        (20, 21, true),
        (30, 40, true),
        (10, 20, false),
        (19, 40, false),
        (20, 41, false),
        (20, 60, false),
        (40, 50, false),
        (50, 60, true),
        (60, 61, false),
        (25, 25, false),
    ] {
        assert_eq!(ledger.knows(Span::new(at(start), at(end))), is_known, "{start}..{end}");
    }
}

#[test]
fn a_record_across_the_edge_of_a_range_is_sent_whole_and_the_rest_stays_known() {
    let mut ledger = Ledger::resuming(at(0), &[Span::new(at(20), at(60))]);
    let entry = ledger.admit(Span::new(at(0), at(30)));
    assert_eq!(ledger.ranges().held, [Span::new(at(30), at(60))]);
    let known = Span::new(at(30), at(40));
    assert!(ledger.knows(known));
    let again = ledger.admit(known);
    ledger.settle(again, Settlement::Delivered);
    assert_eq!(ledger.ranges().held, [Span::new(at(30), at(60))], "what is read goes on in what is not");
    ledger.settle(entry, Settlement::Delivered);
    assert_eq!((ledger.frontier(), ledger.ranges().held), (at(40), vec![Span::new(at(40), at(60))]));
}

#[test]
fn what_was_never_sent_makes_no_range_and_joins_those_beside_it() {
    let mut ledger = Ledger::starting_at(Offset::ZERO);
    let entries: Vec<_> = (0..8).map(|index| ledger.admit(span(index))).collect();
    for nothing in [1, 3, 5, 7] {
        ledger.settle(entries[nothing], Settlement::Nothing);
    }
    let revision = ledger.revision();
    assert_eq!(ledger.ranges(), Ranges::default(), "read again, it is passed over again");
    ledger.settle(entries[4], Settlement::Delivered);
    assert_ne!(ledger.revision(), revision);
    assert_eq!(ledger.ranges().held, [Span::new(at(30), at(60))]);
    ledger.settle(entries[2], Settlement::Delivered);
    assert_eq!(ledger.ranges().held, [Span::new(at(10), at(60))]);
    ledger.settle(entries[0], Settlement::Delivered);
    assert_eq!((ledger.frontier(), ledger.ranges()), (at(60), Ranges::default()));
}

#[test]
fn of_more_ranges_than_a_checkpoint_holds_dead_letters_go_first_and_then_the_longest() {
    let mut ledger = Ledger::starting_at(Offset::ZERO);
    let most = MAX_RANGES as u64;
    // A record that waits before each range; one range is longer, and the last is a dead letter.
    let entries: Vec<_> = (0..2 * most + 6).map(|index| ledger.admit(span(index))).collect();
    let settled = |entry: usize| entry % 2 == 1 || entry == 4;
    for (index, entry) in entries.iter().enumerate().filter(|(index, _)| settled(*index)) {
        let is_last = index + 1 == entries.len();
        ledger.settle(*entry, if is_last { Settlement::DeadLetter } else { Settlement::Delivered });
    }
    let ranges = ledger.ranges();
    assert_eq!(ranges.held.len(), MAX_RANGES);
    assert!(ranges.held.contains(&Span::new(at(3 * LINE), at(6 * LINE))), "{ranges:?}");
    assert_eq!(ranges.held.last().map(|range| range.end()), Some(ledger.admitted()));
    assert!(ranges.held.windows(2).all(|pair| pair[0].end() < pair[1].start()), "in order");
    // Of 67 gaps two have nothing between them.
    assert_eq!((ranges.over_bytes, ledger.over_bytes()), (2 * LINE, 2 * LINE));
    ledger.settle(entries[2], Settlement::Delivered);
    ledger.settle(entries[6], Settlement::Delivered);
    assert_eq!(ledger.over_bytes(), 0, "ranges have merged");
}

#[test]
fn spans_may_come_while_others_are_settled() {
    let mut ledger = Ledger::starting_at(Offset::ZERO);
    let first = ledger.admit(span(0));
    ledger.settle(first, Settlement::Delivered);
    let second = ledger.admit(span(1));
    let third = ledger.admit(span(2));
    assert_eq!(ledger.settle(third, Settlement::Delivered), Raised::default());
    assert_eq!(ledger.settle(second, Settlement::Nothing), Raised { bytes: 20, entries: 2 });
    assert_eq!(ledger.frontier(), ledger.admitted());
}

#[test]
#[should_panic(expected = "L2")]
fn l2_a_gap_is_refused() {
    Ledger::starting_at(Offset::ZERO).admit(span(1));
}

#[test]
#[should_panic(expected = "L7")]
fn l7_settling_twice_is_refused() {
    let mut ledger = Ledger::starting_at(Offset::ZERO);
    let first = ledger.admit(span(0));
    ledger.settle(first, Settlement::Delivered);
    ledger.settle(first, Settlement::Delivered);
}

#[test]
#[should_panic(expected = "L7")]
fn l7_settling_twice_is_refused_behind_what_is_open_too() {
    let mut ledger = Ledger::starting_at(Offset::ZERO);
    let _ = ledger.admit(span(0));
    let second = ledger.admit(span(1));
    ledger.settle(second, Settlement::Delivered);
    ledger.settle(second, Settlement::Delivered);
}

proptest! {
    /// Processes one after the other, each cutting the file otherwise: no byte is taken for settled that never was, and
    /// none that a checkpoint held is forgotten unless it lies in a record with one that was not settled.
    #[test]
    fn l1_no_cut_of_a_later_process_takes_a_byte_for_settled_that_is_not(
        processes in prop::collection::vec(prop::collection::vec((1_u64..40, 0_u8..4), 1..30), 1..6),
    ) {
        let mut settled = vec![false; 2_000];
        let (mut frontier, mut held) = (Offset::ZERO, Vec::new());
        for cuts in processes {
            let mut ledger = Ledger::resuming(frontier, &held);
            for (len, what) in cuts {
                let span = Span::new(ledger.admitted(), ledger.admitted().plus(len));
                let bytes = span.start().bytes() as usize..span.end().bytes() as usize;
                let is_known = ledger.knows(span);
                let was_held = held.iter().any(|range: &Span| range.start() <= span.start() && range.end() >= span.end());
                prop_assert!(!is_known || settled[bytes.clone()].iter().all(|byte| *byte), "L1: {span}");
                prop_assert_eq!(is_known, was_held, "L16: {}", span);
                let entry = ledger.admit(span);
                if is_known || what == 0 {
                    ledger.settle(entry, Settlement::Delivered);
                    settled[bytes].fill(true);
                }
            }
            (frontier, held) = (ledger.frontier(), ledger.ranges().held);
            prop_assert!(settled[..frontier.bytes() as usize].iter().all(|byte| *byte), "L1");
            for range in &held {
                let bytes = range.start().bytes() as usize..range.end().bytes() as usize;
                prop_assert!(settled[bytes].iter().all(|byte| *byte), "L1: {range}");
            }
        }
    }
}

proptest! {
    /// Whichever entries are settled in which order, of whatever sizes, and whenever settled ones are made one: everything
    /// that is asked of the ledger has the same answer.
    #[test]
    fn what_is_settled_side_by_side_is_kept_as_one_and_says_the_same(
        lens in prop::collection::vec(0_u64..4, 1..40),
        order in prop::collection::vec((0_usize..40, 0_u8..4, prop::bool::ANY), 1..80),
    ) {
        let (mut compact, mut plain) = (Ledger::starting_at(at(7)), Ledger::starting_at(at(7)));
        let (mut open, mut admitted) = (Vec::new(), 0);
        for (which, how, makes_one) in order {
            if admitted < lens.len() && how != 3 {
                let span = Span::new(plain.admitted(), plain.admitted().plus(lens[admitted]));
                prop_assert_eq!(compact.admit(span), plain.admit(span));
                open.push(Entry(admitted as u64));
                admitted += 1;
            }
            if how > 0 && !open.is_empty() {
                let entry = open.swap_remove(which % open.len());
                let how = [Settlement::Nothing, Settlement::Delivered, Settlement::DeadLetter][usize::from(how) - 1];
                prop_assert_eq!(compact.settle(entry, how), plain.settle(entry, how));
            }
            if makes_one {
                let edges = compact.edges(compact.frontier(), compact.admitted());
                let mut asked: Vec<_> = compact.ranges().held.iter().map(|range| range.end()).collect();
                asked.push(compact.frontier());
                asked.retain(|edge| *edge < compact.admitted());
                prop_assert!(asked.iter().all(|edge| edges.contains(edge)), "{asked:?} of {edges:?}");
            }
            prop_assert_eq!(compact.frontier(), plain.frontier());
            prop_assert_eq!(compact.ranges(), plain.ranges());
            prop_assert_eq!(compact.is_settled(), plain.is_settled());
            let unsettled: u64 = open.iter().map(|entry: &Entry| lens[entry.0 as usize]).sum();
            prop_assert_eq!((compact.open_bytes(), plain.open_bytes()), (unsettled, unsettled));
            prop_assert!(compact.pieces() <= plain.pieces());
        }
    }
}

#[test]
fn a_million_settled_spans_behind_an_open_one_are_a_few_pieces() {
    let mut ledger = Ledger::starting_at(Offset::ZERO);
    let first = ledger.admit(span(0));
    for index in 1..1_000_000 {
        let entry = ledger.admit(span(index));
        ledger.settle(entry, Settlement::Delivered);
    }
    assert!(ledger.pieces() < 3_000, "{} pieces", ledger.pieces());
    assert_eq!(ledger.ranges().held, [Span::new(at(LINE), at(1_000_000 * LINE))]);
    assert_eq!(ledger.settle(first, Settlement::Delivered).entries, 1_000_000);
}

#[test]
fn records_need_what_was_read_until_they_are_set_apart() {
    let mut ledger = Ledger::starting_at(Offset::ZERO);
    let entries: Vec<_> = (0..4).map(|index| ledger.admit(span(index))).collect();
    assert_eq!(ledger.apart_until(), at(0));
    ledger.set_apart(entries[0]);
    ledger.settle(entries[1], Settlement::Delivered);
    assert_eq!(ledger.apart_until(), at(2 * LINE));
    ledger.settle(entries[3], Settlement::Delivered);
    ledger.set_apart(entries[2]);
    assert_eq!(ledger.apart_until(), at(4 * LINE));
}
