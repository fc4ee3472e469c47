//! When acknowledged progress is made durable.
//!
//! Knows how much has been settled since the last save, and when that was. Does not know what is saved or where.
//!
//! *Invariant:* one save is under way at a time, and nothing settled waits longer than the interval for one,
//! unless saving itself fails.

use std::time::Duration;

use crate::model::settings::CheckpointSettings;
use crate::model::time::Instant;

/// How long after a failed save the next is tried.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the checkpoints of files that are followed are saved though nothing changed.
///
/// A save says that checkpoints are in use. Those of files that no source has claimed for [`KEEP_UNCLAIMED`] are given up, and
/// what was not saved for so long is one of them.
pub const RENEW_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a checkpoint is kept that no file claims: its source may come back into the configuration.
pub const KEEP_UNCLAIMED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Decides when the next save is due.
#[derive(Clone, Debug)]
pub struct Pace {
    settings: CheckpointSettings,
    state: State,
    /// Since when something waits to be saved.
    waiting_since: Option<Instant>,
    /// Since when what the save under way holds has waited.
    saving_since: Option<Instant>,
    settled_bytes: u64,
    /// When the round of saves began that is under way, and how much was settled since: what changed before is in one of them.
    round: Option<(Instant, u64)>,
}

/// How much a save holds of what waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    All,
    /// Some of it; what is left waits on.
    Some,
    /// Some of it, with which those before it hold all that waited when the last round came to its end.
    LastOfRound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Saving,
    Failed(Instant),
}

/// What to do about saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    NotBefore(Instant),
    /// Nothing waits, or a save is under way.
    Nothing,
}

impl Pace {
    pub fn new(settings: CheckpointSettings) -> Self {
        Self {
            settings,
            state: State::Idle,
            waiting_since: None,
            saving_since: None,
            settled_bytes: 0,
            round: None,
        }
    }

    /// Other settings from now on.
    pub fn change(&mut self, settings: CheckpointSettings) {
        self.settings = settings;
    }

    /// Something changed that a save would hold; `bytes` of it were settled.
    pub fn changed(&mut self, bytes: u64, now: Instant) {
        self.waiting_since.get_or_insert(now);
        self.settled_bytes += bytes;
        self.round = self.round.map(|(began, settled)| (began, settled + bytes));
    }

    pub fn due(&self, now: Instant) -> Due {
        let Some(since) = self.waiting_since else {
            return Due::Nothing;
        };
        let at = match self.state {
            State::Saving => return Due::Nothing,
            State::Failed(at) => at + RETRY_AFTER,
            State::Idle if self.settled_bytes >= self.settings.max_bytes => return Due::Now,
            State::Idle => since + self.settings.interval,
        };
        if at <= now { Due::Now } else { Due::NotBefore(at) }
    }

    /// Whether a save that cannot wait (dead letters, the last one before leaving) may start.
    pub fn is_free(&self, now: Instant) -> bool {
        match self.state {
            State::Idle => true,
            State::Saving => false,
            State::Failed(at) => at + RETRY_AFTER <= now,
        }
    }

    /// What waited has come to nothing.
    pub fn cleared(&mut self) {
        self.waiting_since = None;
        self.settled_bytes = 0;
        self.round = None;
    }

    /// A save has begun. What is left has waited as long as all did, or no longer than the round took that ends.
    pub fn begun(&mut self, held: Held, now: Instant) {
        self.state = State::Saving;
        self.saving_since = self.waiting_since;
        match held {
            Held::All => self.cleared(),
            Held::Some => {}
            Held::LastOfRound => {
                if let Some((began, settled)) = self.round {
                    (self.waiting_since, self.settled_bytes) = (Some(began), settled);
                }
                self.round = Some((now, 0));
            }
        }
    }

    pub fn saved(&mut self) {
        self.state = State::Idle;
        self.saving_since = None;
    }

    /// The save failed: all that it held waits again.
    pub fn failed(&mut self, now: Instant) {
        self.state = State::Failed(now);
        self.round = None;
        self.waiting_since = Some(self.saving_since.take().unwrap_or(now));
    }

    /// Since when the oldest progress that is not durable has waited.
    pub fn unsaved_since(&self) -> Option<Instant> {
        self.saving_since.or(self.waiting_since)
    }

    pub fn is_saving(&self) -> bool {
        self.state == State::Saving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1000 })
    }

    fn at(millis: u64) -> Instant {
        Instant::at(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_not_durable_is_as_old_as_its_oldest_part_also_after_failures() {
        let mut pace = pace();
        assert_eq!(pace.unsaved_since(), None);
        pace.changed(1, at(100));
        pace.begun(Held::All, at(1_100));
        pace.changed(1, at(1_500));
        assert_eq!(pace.unsaved_since(), Some(at(100)));
        pace.failed(at(2_000));
        assert_eq!(pace.unsaved_since(), Some(at(100)));
        pace.begun(Held::All, at(3_000));
        pace.changed(1, at(3_500));
        pace.saved();
        assert_eq!(pace.unsaved_since(), Some(at(3_500)));
    }

    #[test]
    fn nothing_is_due_while_nothing_changed() {
        assert_eq!(pace().due(at(99_999)), Due::Nothing);
    }

    #[test]
    fn progress_is_due_one_interval_after_the_first_change() {
        let mut pace = pace();
        pace.changed(1, at(100));
        pace.changed(1, at(900));
        assert_eq!(pace.due(at(900)), Due::NotBefore(at(1100)));
        assert_eq!(pace.due(at(1100)), Due::Now);
    }

    #[test]
    fn another_interval_holds_for_what_waits_already() {
        let mut pace = pace();
        pace.changed(500, at(100));
        pace.change(CheckpointSettings { interval: Duration::from_millis(200), max_bytes: 1000 });
        assert_eq!(pace.due(at(100)), Due::NotBefore(at(300)));
        pace.change(CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 500 });
        assert_eq!(pace.due(at(100)), Due::Now);
    }

    #[test]
    fn much_progress_is_due_at_once() {
        let mut pace = pace();
        pace.changed(999, at(0));
        assert_eq!(pace.due(at(0)), Due::NotBefore(at(1000)));
        pace.changed(1, at(0));
        assert_eq!(pace.due(at(0)), Due::Now);
    }

    #[test]
    fn one_save_is_under_way_at_a_time() {
        let mut pace = pace();
        pace.changed(5000, at(0));
        pace.begun(Held::All, at(0));
        pace.changed(5000, at(1));
        assert_eq!(pace.due(at(9999)), Due::Nothing);
        pace.saved();
        assert_eq!(pace.due(at(9999)), Due::Now);
    }

    #[test]
    fn what_changes_faster_than_it_is_saved_waits_for_a_round_of_saves_and_not_for_ever() {
        let mut pace = pace();
        let round = |pace: &mut Pace, from: u64| {
            for (held, millis) in [(Held::Some, 0), (Held::Some, 100), (Held::LastOfRound, 200)] {
                pace.changed(300, at(from + millis));
                pace.begun(held, at(from + millis));
                pace.saved();
            }
        };
        round(&mut pace, 0);
        assert_eq!(pace.unsaved_since(), Some(at(0)), "what came first may be what this round did not hold");
        round(&mut pace, 300);
        assert_eq!((pace.unsaved_since(), pace.due(at(600))), (Some(at(200)), Due::NotBefore(at(1_200))));
        round(&mut pace, 1_200);
        assert_eq!(pace.unsaved_since(), Some(at(500)));
        pace.changed(200, at(1_401));
        assert_eq!(pace.due(at(1_401)), Due::Now, "1,100 bytes were settled since");
        pace.begun(Held::Some, at(1_401));
        pace.failed(at(1_402));
        round(&mut pace, 2_402);
        assert_eq!(pace.unsaved_since(), Some(at(500)), "what the save held that failed may be left");
        pace.begun(Held::All, at(3_000));
        assert_eq!((pace.unsaved_since(), pace.due(at(3_000))), (Some(at(500)), Due::Nothing));
        pace.saved();
        assert_eq!(pace.unsaved_since(), None);
    }

    #[test]
    fn a_failed_save_is_tried_again_after_a_second() {
        let mut pace = pace();
        pace.changed(5000, at(0));
        pace.begun(Held::All, at(0));
        pace.failed(at(10));
        assert_eq!(pace.due(at(10)), Due::NotBefore(at(1010)));
        assert!(!pace.is_free(at(10)));
        assert_eq!(pace.due(at(1010)), Due::Now);
    }
}
