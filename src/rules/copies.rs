//! Patience with copies: how long a file is held back that may be one, and how long a copy is looked for.
//!
//! A rotator that copies a file and then cuts it off (copytruncate) is caught between the two. A new file that begins
//! like a followed one waits for what becomes of that; what was cut off waits for its copy. Neither may wait for ever:
//! a file that only looks alike is due like any other, and a loss must be said.
//!
//! Knows moments. Does not know files, names or contents. Called by `engine/copies/patience.rs`, once a second.
//!
//! *Invariant:* each wait ends, whatever is written meanwhile and whatever cannot be looked into.

use std::time::Duration;

use crate::model::time::Instant;

/// How long a file is held back since it last grew that says what another says, as far as it goes: the disk of a rotator
/// that copies may stand still for a while. It may go on growing for however long: nothing else is in it.
const PART_HELD_BACK: Duration = Duration::from_secs(60);

/// How long a file that begins like another is held back since it last grew, where the two cannot be compared: a rotator
/// cuts off as soon as it has copied.
const HELD_BACK: Duration = Duration::from_secs(5);

/// How long such a file is held back in all, though it goes on growing: a copy of some GiB is made in less.
const MAX_HELD_BACK: Duration = Duration::from_secs(60);

/// How long a copy is looked for after its original was cut off.
const SOUGHT: Duration = Duration::from_secs(10);

/// How long a copy is looked for whose directory cannot be looked into.
const MAX_SOUGHT: Duration = Duration::from_secs(3600);

/// A file that begins like another, and waits for what becomes of that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack {
    pub since: Instant,
    /// When it last grew.
    pub quiet_since: Instant,
    /// Whether it says what the other says, as far as it goes.
    pub is_part: bool,
    /// Whether the process is to be done soon, and nothing tells more of the file before that.
    pub is_finishing: bool,
}

impl HeldBack {
    /// Whether the file has waited long enough, and is a file like any other.
    pub fn is_over(&self, now: Instant) -> bool {
        let quiet = now.since(self.quiet_since);
        let is_long = match self.is_part {
            true => quiet >= PART_HELD_BACK,
            false => quiet >= HELD_BACK || now.since(self.since) >= MAX_HELD_BACK,
        };
        is_long || self.is_finishing
    }
}

/// The search for the copy of what was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    pub since: Instant,
    /// Whether the directory of the original was looked into since.
    pub has_looked: bool,
}

impl Search {
    /// Whether there is no copy, as far as can be told.
    pub fn is_over(&self, now: Instant) -> bool {
        now.since(self.since) >= if self.has_looked { SOUGHT } else { MAX_SOUGHT }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    #[test]
    fn what_says_the_same_is_held_back_for_a_minute_of_quiet_and_what_cannot_be_compared_for_five_seconds() {
        for (quiet_since, is_part, is_finishing, now, is_over) in [
            (0, false, false, 4, false),
            (0, false, false, 5, true),
            (4, false, false, 8, false),
            (4, false, false, 9, true),
            (59, false, false, 59, false),
            (60, false, false, 60, true),
            (0, false, true, 0, true),
            (0, true, false, 59, false),
            (0, true, false, 60, true),
            (290, true, false, 300, false),
            (0, true, true, 0, true),
        ] {
            let held = HeldBack { since: at(0), quiet_since: at(quiet_since), is_part, is_finishing };
            assert_eq!(held.is_over(at(now)), is_over, "{held:?} at {now} s");
        }
    }

    #[test]
    fn a_copy_is_looked_for_until_its_directory_was_looked_into_but_not_for_ever() {
        for (has_looked, now, is_over) in [
            (true, 9, false),
            (true, 10, true),
            (false, 10, false),
            (false, 3599, false),
            (false, 3600, true),
        ] {
            let search = Search { since: at(0), has_looked };
            assert_eq!(search.is_over(at(now)), is_over, "{search:?} at {now} s");
        }
    }

    proptest! {
        #[test]
        fn a_wait_that_is_over_stays_over(quiet in 0..100u64, is_part: bool, is_finishing: bool, now in 0..4_000u64, later: u16) {
            let (now, later) = (at(now), at(now + u64::from(later)));
            let held = HeldBack { since: at(0), quiet_since: at(quiet), is_part, is_finishing };
            prop_assert!(!held.is_over(now) || held.is_over(later));
            for has_looked in [false, true] {
                let search = Search { since: at(0), has_looked };
                prop_assert!(!search.is_over(now) || search.is_over(later));
            }
        }
    }
}
