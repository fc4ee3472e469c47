//! The numbers of incarnations: which were given, and which no start gives again.
//!
//! Knows counting. Does not know incarnations.
//!
//! *Invariant:* a number below what is reserved is given to nobody else, also when the process is killed before anything
//! more is saved.

use crate::model::identity::{Incarnation, RESERVED_AT_ONCE};

/// Numbers for incarnations, upwards.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// A number that no incarnation has had.
    next: u64,
    /// The first number that a start after a crash may give.
    reserved: u64,
    /// What the save under way would make of it.
    reserving: u64,
}

impl Numbers {
    pub(super) fn new(next: u64, reserved: u64) -> Self {
        Self { next, reserved, reserving: reserved }
    }

    /// A number that no incarnation has had.
    pub(super) fn fresh(&mut self) -> Incarnation {
        self.next += 1;
        Incarnation(self.next - 1)
    }

    /// Whether a start after a crash gives this number to no other.
    pub(super) fn is_reserved(&self, incarnation: Incarnation) -> bool {
        incarnation.0 < self.reserved
    }

    /// What a save that begins now is to reserve. It is more seldom than numbers are given.
    pub(super) fn reserve(&mut self) -> u64 {
        if self.reserved < self.next + RESERVED_AT_ONCE / 2 {
            self.reserving = self.next + RESERVED_AT_ONCE;
        }
        self.reserving
    }

    /// The save under way came through.
    pub(super) fn reserved(&mut self) {
        self.reserved = self.reserving;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_reserved_once_a_save_that_says_so_came_through() {
        let mut numbers = Numbers::new(7, 7);
        let first = numbers.fresh();
        assert_eq!(first, Incarnation(7));
        assert!(!numbers.is_reserved(first));
        assert_eq!(numbers.reserve(), 8 + RESERVED_AT_ONCE);
        assert!(!numbers.is_reserved(first), "the save is under way");
        numbers.reserved();
        assert!(numbers.is_reserved(first));
        assert!(!numbers.is_reserved(Incarnation(8 + RESERVED_AT_ONCE)));
    }

    #[test]
    fn more_are_reserved_when_half_of_them_are_used_up() {
        let mut numbers = Numbers::new(1, 1 + RESERVED_AT_ONCE);
        for _ in 0..RESERVED_AT_ONCE / 2 {
            let _ = numbers.fresh();
            assert_eq!(numbers.reserve(), 1 + RESERVED_AT_ONCE, "the row is seldom written");
        }
        let _ = numbers.fresh();
        assert_eq!(numbers.reserve(), numbers.next + RESERVED_AT_ONCE);
    }
}
