//! How much went by in the last second.
//!
//! Knows amounts and when they came. Keeps eleven tenths of a second, however much comes: whoever asks gets the sum of the
//! ten that are over, so that an amount is seen for one second, whenever it came.
//!
//! *Invariant:* what is noted is in exactly one tenth of a second.

use std::time::Duration;

use crate::model::time::Instant;

/// How long one slot is.
const SLOT: Duration = Duration::from_millis(100);

/// The slots of one second, and the one that is not over yet.
const SLOTS: usize = 11;

/// What left in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub requests: u64,
    pub records: u64,
    /// Data of the records, before base64.
    pub bytes: u64,
}

impl Amount {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// Amounts of the last second.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    slots: [Amount; SLOTS],
    /// The number of the newest slot, counted from the beginning of time.
    newest: u64,
}

impl Meter {
    /// So much went by now.
    pub fn note(&mut self, amount: Amount, now: Instant) {
        let number = number(now);
        // However long nothing came, no slot is emptied twice.
        for stale in (self.newest + 1..=number).rev().take(SLOTS) {
            self.slots[place(stale)] = Amount::default();
        }
        self.newest = self.newest.max(number);
        let slot = &mut self.slots[place(self.newest)];
        slot.requests += amount.requests;
        slot.records += amount.records;
        slot.bytes += amount.bytes;
    }

    /// What went by in the ten slots before that of `now`.
    pub fn last_second(&self, now: Instant) -> Amount {
        let now = number(now);
        let kept = (self.newest + 1).saturating_sub(SLOTS as u64)..=self.newest;
        let wanted = now.saturating_sub(SLOTS as u64 - 1)..now;
        let mut sum = Amount::default();
        for number in wanted.filter(|number| kept.contains(number)) {
            let slot = self.slots[place(number)];
            sum.requests += slot.requests;
            sum.records += slot.records;
            sum.bytes += slot.bytes;
        }
        sum
    }
}

fn number(now: Instant) -> u64 {
    now.nanos() / SLOT.as_nanos() as u64
}

fn place(number: u64) -> usize {
    (number % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::at(Duration::from_millis(millis))
    }

    fn records(records: u64) -> Amount {
        Amount { requests: 1, records, bytes: records * 10 }
    }

    #[test]
    fn an_amount_is_seen_for_one_second_from_the_end_of_its_slot_on() {
        let mut meter = Meter::default();
        meter.note(records(7), at(5_030));
        for (millis, expected) in [(5_030, 0), (5_099, 0), (5_100, 7), (6_099, 7), (6_100, 0), (60_000, 0)] {
            assert_eq!(meter.last_second(at(millis)).records, expected, "at {millis} ms");
        }
        assert_eq!(meter.last_second(at(5_100)), records(7));
    }

    #[test]
    fn a_steady_rate_is_the_rate_however_long_nothing_came_before() {
        let mut meter = Meter::default();
        for quiet in [0, 3, 1_000] {
            let from = quiet * 1_000 + 100_000;
            for step in 0..300 {
                meter.note(records(2), at(from + step * 10));
            }
            assert_eq!(meter.last_second(at(from + 2_999)).records, 200, "after {quiet} s");
        }
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_ten_slots_that_are_over(
            mut times in prop::collection::vec(0_u64..5_000, 1..200),
            asked in 5_000_u64..7_000,
        ) {
            times.sort_unstable();
            let mut meter = Meter::default();
            times.iter().for_each(|millis| meter.note(records(1), at(*millis)));
            let slots = (asked / 100).saturating_sub(10)..asked / 100;
            let expected = times.iter().filter(|millis| slots.contains(&(*millis / 100))).count() as u64;
            prop_assert_eq!(meter.last_second(at(asked)).records, expected);
        }
    }
}
