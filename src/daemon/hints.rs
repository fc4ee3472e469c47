//! When hints are taken: each at once, or several together where lines wait for company anyway.
//!
//! A busy file makes a hint for each line, and each would wake two threads. Where every stream lets its lines wait for
//! others, hints are gathered: those that follow others closely, and those that come while lines wait, for what is read
//! until these leave leaves with them.
//!
//! Knows for how long, and until when, lines wait. Does not know files or streams: the engine does. Used by the driver.
//!
//! *Invariant:* a hint is left for [`MAX_LEFT`] at most, and not at all after none came for that long.

use std::time::{Duration, Instant as Clock};

use crate::engine::Gathering;
use crate::engine::port::Hint;
use crate::model::time::Instant;
use crate::shell::watch;

/// How long before lines have waited long enough hints are taken: it takes as long to read what is to go with them.
const BEFORE: Duration = Duration::from_micros(500);

/// The longest that hints are left: a bound on what else they may be late for, such as the name of a new file.
const MAX_LEFT: Duration = Duration::from_millis(5);

/// The longest that hints are gathered while no line waits: with what lines wait for after that, half of them take less than
/// 6 ms in all.
const MAX_GATHERED: Duration = Duration::from_micros(1500);

/// What the kernel hints at, and when it was taken last.
#[derive(Debug)]
pub(super) struct Hints {
    watch: watch::Hints,
    taken_at: Instant,
    left_until: Option<Instant>,
}

impl Hints {
    pub(super) fn new(watch: watch::Hints) -> Self {
        Self { watch, taken_at: Instant::ZERO, left_until: None }
    }

    /// Leaves hints for a while, where lines wait for company.
    pub(super) fn leave(&mut self, gathering: Gathering, began: Clock, now: Instant) {
        let until = left_until(self.taken_at, gathering).filter(|until| now < *until);
        if self.left_until != until {
            self.watch.leave(until.map(|until| began + until.since(Instant::ZERO)));
            self.left_until = until;
        }
    }

    /// Waits until there is something to look at that is not left. Nothing is lost when it is dropped while it waits.
    pub(super) async fn next(&mut self) -> Vec<Hint> {
        self.watch.next().await
    }

    /// All hints there were were taken.
    pub(super) fn taken(&mut self, now: Instant) {
        self.taken_at = now;
    }
}

fn left_until(taken_at: Instant, gathering: Gathering) -> Option<Instant> {
    match gathering {
        Gathering::Unwanted => None,
        Gathering::Awaited { until, .. } if taken_at + BEFORE < until => {
            let before = Instant::at(until.since(Instant::ZERO).saturating_sub(BEFORE));
            Some(before.min(taken_at + MAX_LEFT))
        }
        Gathering::Awaited { patience, .. } | Gathering::Welcome { patience } => {
            Some(taken_at + (patience / 2).min(MAX_GATHERED))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Instant {
        Instant::at(Duration::from_micros(micros))
    }

    /// Until when hints are left that were last taken at 10 ms.
    #[test]
    fn hints_are_left_only_where_lines_wait_anyway_and_never_for_long() {
        let patience = Duration::from_millis(5);
        let until = |until| Gathering::Awaited { until: us(until), patience };
        let welcome = |millis| Gathering::Welcome { patience: Duration::from_millis(millis) };
        let table = [
            ("nobody waits for others", Gathering::Unwanted, None),
            ("no line waits", welcome(5), Some(11_500)),
            ("no line waits, and none would for long", welcome(1), Some(10_500)),
            ("no line waits, and each would for long", welcome(1000), Some(11_500)),
            ("lines wait", until(15_000), Some(14_500)),
            ("lines wait for long", until(1_000_000), Some(15_000)),
            ("lines are about to leave, with what was read", until(10_500), Some(11_500)),
        ];
        for (name, company, expected) in table {
            assert_eq!(left_until(us(10_000), company), expected.map(us), "{name}");
        }
    }
}
