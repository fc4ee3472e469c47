//! When which part of a file was first noticed.
//!
//! Knows ends and moments. Does not know what was noticed: growth that an operator waits for, or bytes that were
//! read. The engine keeps one of each for a file, to say how old the oldest line is that has not arrived.
//!
//! *Invariant:* an answer is never later than the truth. Where marks had to be merged, it may be earlier.

use std::collections::VecDeque;

use crate::model::offset::Offset;
use crate::model::time::Instant;

/// The most marks kept for one file: a file that grows faster than it is delivered makes one with every look.
const MAX_MARKS: usize = 64;

/// Ends that were noticed, oldest first; offsets and moments both grow.
#[derive(Clone, Debug, Default)]
pub struct ArrivalTimes(VecDeque<(Offset, Instant)>);

impl ArrivalTimes {
    /// Nothing that matters was noticed.
    pub const NONE: Self = Self(VecDeque::new());

    /// Whether nothing that matters was noticed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything before `end` is there by `now`.
    pub fn note(&mut self, end: Offset, now: Instant) {
        if self.0.back().is_none_or(|(last, _)| *last < end) {
            if self.0.len() == MAX_MARKS {
                self.merge();
            }
            self.0.push_back((end, now));
        }
    }

    /// Nothing before `frontier` matters any more.
    pub fn settle(&mut self, frontier: Offset) {
        while self.0.front().is_some_and(|(end, _)| *end <= frontier) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            // An idle file keeps no room for marks.
            self.0 = VecDeque::new();
        }
    }

    /// What lies beyond `end` is no line yet: it is as new as its newline will be.
    pub fn cut(&mut self, end: Offset) {
        let covering = self.0.partition_point(|(last, _)| *last < end);
        self.0.truncate(covering + 1);
        if let Some((last, _)) = self.0.get_mut(covering) {
            *last = end;
        }
    }

    /// When the oldest part that matters was noticed.
    pub fn oldest(&self) -> Option<Instant> {
        self.0.front().map(|(_, at)| *at)
    }

    /// When the part that begins at `start` was noticed.
    pub fn of(&self, start: Offset) -> Option<Instant> {
        self.0.get(self.0.partition_point(|(end, _)| *end <= start)).map(|(_, at)| *at)
    }

    /// Every second mark goes; its part takes the moment of the older one before it.
    fn merge(&mut self) {
        let mut merged = VecDeque::with_capacity(MAX_MARKS);
        while let Some((end, at)) = self.0.pop_front() {
            let end = self.0.pop_front().map_or(end, |(next, _)| next);
            merged.push_back((end, at));
        }
        self.0 = merged;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    fn marks(pairs: &[(u64, u64)]) -> ArrivalTimes {
        let mut marks = ArrivalTimes::default();
        for (end, seconds) in pairs {
            marks.note(Offset::new(*end), at(*seconds));
        }
        marks
    }

    #[test]
    fn the_oldest_part_is_the_first_beyond_the_frontier() {
        let mut marks = marks(&[(10, 1), (20, 2), (20, 3), (30, 4)]);
        assert_eq!(marks.oldest(), Some(at(1)));
        marks.settle(Offset::new(9));
        assert_eq!(marks.oldest(), Some(at(1)));
        marks.settle(Offset::new(10));
        assert_eq!(marks.oldest(), Some(at(2)));
        marks.settle(Offset::new(30));
        assert_eq!(marks.oldest(), None);
    }

    #[test]
    fn a_part_belongs_to_the_first_mark_that_covers_it() {
        let marks = marks(&[(10, 1), (20, 2)]);
        for (start, seconds) in [(0, 1), (9, 1), (10, 2), (19, 2)] {
            assert_eq!(marks.of(Offset::new(start)), Some(at(seconds)), "{start}");
        }
        assert_eq!(marks.of(Offset::new(20)), None);
    }

    #[test]
    fn an_incomplete_line_is_not_late() {
        let mut waiting = marks(&[(10, 1), (25, 2)]);
        waiting.cut(Offset::new(20));
        assert_eq!(waiting.of(Offset::new(19)), Some(at(2)));
        waiting.settle(Offset::new(20));
        assert_eq!(waiting.oldest(), None);
        waiting.note(Offset::new(26), at(9));
        assert_eq!(waiting.oldest(), Some(at(9)));

        let mut only_incomplete = marks(&[(10, 1), (15, 2), (25, 3)]);
        only_incomplete.cut(Offset::new(10));
        only_incomplete.settle(Offset::new(10));
        assert_eq!(only_incomplete.oldest(), None);
    }

    proptest! {
        #[test]
        fn merged_marks_are_few_and_never_later_than_the_truth(
            steps in prop::collection::vec((1_u64..50, 0_u64..5), 1..500),
            frontier in 0_u64..5_000,
        ) {
            let (mut end, mut now) = (0, 0);
            let mut truth = Vec::new();
            let mut marks = ArrivalTimes::default();
            for (grown, later) in steps {
                (end, now) = (end + grown, now + later);
                truth.push((end, now));
                marks.note(Offset::new(end), at(now));
                prop_assert!(marks.0.len() <= MAX_MARKS);
            }
            marks.settle(Offset::new(frontier));
            match truth.iter().find(|(end, _)| *end > frontier) {
                Some((_, first)) => {
                    prop_assert!(marks.oldest().is_some_and(|oldest| oldest <= at(*first)));
                    prop_assert!(marks.of(Offset::new(frontier)).is_some_and(|of| of <= at(*first)));
                }
                None => prop_assert_eq!(marks.oldest(), None),
            }
        }
    }
}
