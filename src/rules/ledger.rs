//! Spans in flight and settled; the frontier between what is done and what is not.
//!
//! The central rule. Spans are admitted in the order of the file and settled in any order; the frontier is the
//! end of the contiguous settled prefix, and only the frontier may be checkpointed. The highest acknowledged
//! span says nothing: one before it may still be lost.
//!
//! Knows offsets. Does not know what settles a span (an acknowledgement, durable dead letters, nothing to send).
//!
//! *Invariant (L1, L2):* `frontier ≤ start of every unsettled span`; spans are contiguous and without overlap.

use std::collections::VecDeque;

use crate::model::offset::{Offset, Span};
use crate::model::record::Entry;

/// The spans of one incarnation that are not yet behind its frontier.
#[derive(Clone, Debug)]
pub struct Ledger {
    frontier: Offset,
    admitted: Offset,
    /// The entry of the front of `open`.
    first: u64,
    open: VecDeque<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    end: Offset,
    settled: bool,
}

/// What fell behind the frontier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    pub bytes: u64,
    pub entries: u64,
}

impl Ledger {
    /// A ledger of which everything before `frontier` is settled.
    pub fn starting_at(frontier: Offset) -> Self {
        Self { frontier, admitted: frontier, first: 0, open: VecDeque::new() }
    }

    /// Takes in the next span of the file.
    ///
    /// # Panics
    /// When the span does not begin where the last one ended (L2). An empty one settles nothing by itself: the frontier
    /// stays before what follows it until that is settled too.
    pub fn admit(&mut self, span: Span) -> Entry {
        assert!(span.start() == self.admitted, "L2: span {span} must begin at {}", self.admitted);
        self.admitted = span.end();
        self.open.push_back(Slot { end: span.end(), settled: false });
        Entry(self.first + self.open.len() as u64 - 1)
    }

    /// Marks one span as settled, and raises the frontier as far as that allows.
    ///
    /// # Panics
    /// When the entry was never admitted or is settled already: an acknowledgement was counted twice (L7).
    pub fn settle(&mut self, entry: Entry) -> Raised {
        let slot =
            entry.0.checked_sub(self.first).and_then(|index| self.open.get_mut(usize::try_from(index).ok()?));
        match slot {
            Some(slot) if !slot.settled => slot.settled = true,
            _ => panic!("L7: {entry:?} is settled already or was never admitted"),
        }
        let before = (self.frontier, self.first);
        while let Some(slot) = self.open.front()
            && slot.settled
        {
            self.frontier = slot.end;
            self.first += 1;
            self.open.pop_front();
        }
        Raised { bytes: self.frontier.since(before.0), entries: self.first - before.1 }
    }

    /// Every byte before it is settled.
    pub fn frontier(&self) -> Offset {
        self.frontier
    }

    /// The end of the last span taken in.
    pub fn admitted(&self) -> Offset {
        self.admitted
    }

    /// Spans that are not behind the frontier.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is in flight.
    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: u64 = 10;

    fn span(index: u64) -> Span {
        Span::new(Offset::new(index * LINE), Offset::new((index + 1) * LINE))
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
                    let raised = ledger.settle(Entry(*entry));
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

    #[test]
    fn spans_may_come_while_others_are_settled() {
        let mut ledger = Ledger::starting_at(Offset::ZERO);
        let first = ledger.admit(span(0));
        ledger.settle(first);
        let second = ledger.admit(span(1));
        let third = ledger.admit(span(2));
        assert_eq!(ledger.settle(third), Raised::default());
        assert_eq!(ledger.settle(second), Raised { bytes: 20, entries: 2 });
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
        let entry = ledger.admit(span(0));
        ledger.settle(entry);
        ledger.settle(entry);
    }
}
