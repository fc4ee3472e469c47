//! The cadence of surveys: how long until the next look at a source, and how long a look may take.
//!
//! Hints say where to look at once; the cadence bounds what a lost hint, or one that never comes, costs in time, and
//! what a busy directory costs in work.
//!
//! Knows what asks for a look and how far hints can be relied on. Does not know sources or files. Called by
//! `engine/surveys.rs`.
//!
//! *Invariant:* surveys take at most a tenth of the time, unless one takes longer than six seconds, and a source is looked at
//! also when nothing ever asks for it.

use std::time::Duration;

use crate::model::time::Instant;
use crate::model::watching::Watching;

/// How long until the next look at everything when hints can be relied on: it finds what mmap writers and lost
/// hints leave.
const SURVEY_EVERY: Duration = Duration::from_secs(20);

/// How long until the next look where hints cannot be relied on.
const SURVEY_EVERY_UNWATCHED: Duration = Duration::from_secs(1);

/// How long until the next look while files wait for memory: what happens to one that is not read is seen by surveys
/// alone.
const SURVEY_EVERY_STARVED: Duration = Duration::from_secs(5);

/// The least time between surveys that hints ask for, so that a directory with much coming and going costs a
/// bounded part of a core; also that many times what the last survey took.
const SURVEY_GAP: Duration = Duration::from_millis(50);
const SURVEY_GAP_FACTOR: u32 = 10;

/// The longest that a survey of an idle source is put off because the last one took long: a file system that was slow once is
/// looked at again soon.
const SURVEY_GAP_MAX: Duration = Duration::from_secs(60);

/// How long a survey may take before its source is said to be silent: a tree of 100,000 files takes less.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often files without a name are looked after: hints no longer find them.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// What the time until the next look at a source depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Whether something asks for a look as soon as may be.
    pub is_wanted: bool,
    /// Whether everything is over once this look is answered: then it is not put off.
    pub is_last: bool,
    pub watching: Watching,
    /// Whether files wait for memory to be read.
    pub is_starved: bool,
    /// How long the last survey took.
    pub took: Duration,
}

impl Pace {
    /// When the next survey begins, if the last one began at `began`.
    pub fn next_after(&self, began: Instant) -> Instant {
        let gap = self.took * SURVEY_GAP_FACTOR;
        let lazy = |every: Duration| every.max(gap.min(SURVEY_GAP_MAX));
        let delay = match (self.is_wanted, self.watching) {
            _ if self.is_last => SURVEY_GAP,
            (true, _) => SURVEY_GAP.max(gap),
            (false, Watching::Full) if self.is_starved => lazy(SURVEY_EVERY_STARVED),
            (false, Watching::Full) => lazy(SURVEY_EVERY),
            (false, Watching::Partial) => lazy(SURVEY_EVERY_UNWATCHED),
        };
        began + delay
    }
}

/// When a survey that began at `began` and is not answered is late.
pub fn late_at(began: Instant) -> Instant {
    began + PATIENCE
}

/// When files without a name are looked after again, if they are now.
pub fn next_tick(now: Instant) -> Instant {
    now + TICK_EVERY
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAZY: Pace = Pace {
        is_wanted: false,
        is_last: false,
        watching: Watching::Full,
        is_starved: false,
        took: Duration::ZERO,
    };

    fn delay_millis(pace: Pace) -> u128 {
        pace.next_after(Instant::ZERO).since(Instant::ZERO).as_millis()
    }

    #[test]
    fn the_less_hints_say_the_more_often_a_source_is_looked_at() {
        let watching = Watching::Partial;
        let took = Duration::from_millis(30);
        for (pace, millis, why) in [
            (LAZY, 20_000, "hints tell"),
            (Pace { is_starved: true, ..LAZY }, 5_000, "what is not read is not asked"),
            (Pace { watching, ..LAZY }, 1_000, "hints may not come"),
            (Pace { watching, is_starved: true, ..LAZY }, 1_000, "the more often of the two"),
            (Pace { took, ..LAZY }, 20_000, "a survey of 30 ms is cheap at this pace"),
            (
                Pace { watching, took: took * 10, ..LAZY },
                3_000,
                "a tree of many names costs a tenth of a core",
            ),
            (Pace { watching, took: took * 1_000, ..LAZY }, 60_000, "and one that hung is asked again"),
            (Pace { is_last: true, is_wanted: true, took: took * 10, ..LAZY }, 50, "nothing comes after it"),
            (Pace { is_wanted: true, ..LAZY }, 50, "asked for"),
            (Pace { is_wanted: true, took, ..LAZY }, 300, "ten times what the last took"),
            (Pace { is_wanted: true, took: took / 10, ..LAZY }, 50, "the least time"),
            (Pace { is_wanted: true, watching, is_starved: true, ..LAZY }, 50, "asked for, whatever else"),
        ] {
            assert_eq!(delay_millis(pace), millis, "{why}: {pace:?}");
        }
    }

    #[test]
    fn a_survey_is_late_after_half_a_minute_and_files_without_a_name_have_their_second() {
        let now = Instant::at(Duration::from_secs(7));
        assert_eq!(late_at(now), Instant::at(Duration::from_secs(37)));
        assert_eq!(next_tick(now), Instant::at(Duration::from_secs(8)));
    }

    proptest! {
        #[test]
        fn surveys_that_hints_ask_for_take_at_most_a_tenth_of_the_time(took in 0..100_000u64) {
            let took = Duration::from_millis(took);
            let delay = delay_millis(Pace { is_wanted: true, took, ..LAZY });
            prop_assert!(delay >= 50 && delay >= 10 * took.as_millis(), "{} ms", delay);
        }
    }
}
