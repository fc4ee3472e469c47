//! Which outages of a delivery stream are told by themselves: one that begins and ends again and again is told once a minute,
//! with a count.
//!
//! *Invariant:* that an outage is over is told where that it began was; and one that lasts is told within a minute.

use std::collections::BTreeMap;

use crate::engine::report::Report;
use crate::model::settings::LaneId;
use crate::model::time::Instant;
use crate::model::verdict::Retry;
use crate::rules::repeats::Repeats;

/// The outages within the last minute.
#[derive(Debug, Default)]
pub(super) struct Outages {
    begun: Repeats<LaneId>,
    /// Those that last, and were not told.
    untold: BTreeMap<LaneId, Retry>,
}

/// What is told of a delivery stream once a minute is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) lane: LaneId,
    /// Outages that were over before they were told.
    pub(super) count: u64,
    /// Why it is held now, where that was not told yet.
    pub(super) held: Option<Retry>,
}

impl Outages {
    /// Whether `report` is to be told now.
    pub(super) fn is_told(&mut self, report: &Report, now: Instant) -> bool {
        match report {
            Report::Held { lane, why } => {
                let is_new = self.begun.is_new(*lane, now);
                if !is_new {
                    self.untold.insert(*lane, why.clone());
                }
                is_new
            }
            Report::Resumed { lane, .. } => self.untold.remove(lane).is_none(),
            Report::StillHeld { lane, .. } | Report::Stopped { lane, .. } => {
                self.untold.remove(lane);
                true
            }
            _ => true,
        }
    }

    /// What is to be told of outages that were not.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Repeated> {
        let due = self.begun.due(now).into_iter();
        due.map(|(lane, count)| {
            let held = self.untold.remove(&lane);
            Repeated { lane, count: count - u64::from(held.is_some()), held }
        })
        .collect()
    }

    /// When to ask [`Outages::due`] again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.begun.deadline()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::settings::StreamId;
    use crate::model::verdict::RetryReason;

    const LANE: LaneId = LaneId { stream: StreamId(0), place: 0 };

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    fn why() -> Retry {
        Retry::new(RetryReason::Server, "InternalFailure", "no")
    }

    fn begins(outages: &mut Outages, seconds: u64) -> bool {
        outages.is_told(&Report::Held { lane: LANE, why: why() }, at(seconds))
    }

    fn ends(outages: &mut Outages, seconds: u64) -> bool {
        outages.is_told(&Report::Resumed { lane: LANE, after: Duration::from_secs(1) }, at(seconds))
    }

    #[test]
    fn one_outage_of_a_minute_is_told_and_the_others_are_counted() {
        let mut outages = Outages::default();
        assert_eq!((begins(&mut outages, 0), ends(&mut outages, 5)), (true, true));
        for seconds in [10, 20, 30] {
            assert_eq!((begins(&mut outages, seconds), ends(&mut outages, seconds + 5)), (false, false));
        }
        assert_eq!((outages.due(at(59)), outages.deadline()), (vec![], Some(at(60))));
        assert_eq!(outages.due(at(60)), [Repeated { lane: LANE, count: 3, held: None }]);
        assert_eq!((begins(&mut outages, 70), ends(&mut outages, 71)), (false, false), "one pair a minute");
        assert_eq!(outages.due(at(120)), [Repeated { lane: LANE, count: 1, held: None }]);
        assert_eq!(outages.due(at(180)), []);
        assert_eq!((begins(&mut outages, 200), ends(&mut outages, 201)), (true, true));
    }

    #[test]
    fn an_outage_that_lasts_is_told_within_a_minute_and_so_is_its_end() {
        let mut outages = Outages::default();
        assert_eq!((begins(&mut outages, 0), ends(&mut outages, 5)), (true, true));
        assert!(!begins(&mut outages, 50));
        assert_eq!(outages.due(at(60)), [Repeated { lane: LANE, count: 0, held: Some(why()) }]);
        assert!(ends(&mut outages, 65), "it was told");
        assert!(!begins(&mut outages, 70));
        let still = Report::StillHeld { lane: LANE, why: why(), tries: 9, after: Duration::from_secs(40) };
        assert!(outages.is_told(&still, at(110)) && ends(&mut outages, 111));
    }
}
