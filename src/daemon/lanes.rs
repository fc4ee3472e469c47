//! Lanes for blocking work on files: one source that hangs takes its own lane and no other's.
//!
//! A system call in a dead network file system may never come back, and each one that hangs keeps a thread. Knows how
//! much is under way for each source and what waits behind it. Does not know what the work is. Used by the driver's
//! tasks.
//!
//! *Invariant:* never more than [`MAX_AT_ONCE`] pieces of work are under way in all lanes together, not counting what
//! was under way when sources were added. With no more sources than that, a lane whose own work comes back never waits
//! for another.

use std::collections::VecDeque;

use crate::model::settings::SourceId;

/// The threads that the process may have for blocking work, in all.
pub const MAX_THREADS: usize = 512;

/// The part of [`MAX_THREADS`] that work on files may take. The others are for the resolver of host names, which uses
/// the same threads, for credentials, and for the watch: a stream goes on though every source hangs.
pub(super) const MAX_AT_ONCE: usize = MAX_THREADS - 64;

/// The most that one source may have under way: more threads than this make no disk faster.
const MAX_IN_LANE: usize = 32;

/// The way of one source's work. Sources share a lane only where there are more than [`MAX_AT_ONCE`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileLane(usize);

/// All lanes, with the work of type `W` that waits in them.
#[derive(Debug)]
pub(super) struct Lanes<W> {
    lanes: Vec<Lane<W>>,
    /// How much may be under way in each.
    slots: usize,
}

#[derive(Debug)]
struct Lane<W> {
    under_way: usize,
    waiting: VecDeque<W>,
}

impl<W> Lanes<W> {
    pub(super) fn new(sources: usize) -> Self {
        let mut lanes = Self { lanes: Vec::new(), slots: 0 };
        lanes.resize(sources);
        lanes
    }

    /// Makes lanes for so many sources. Lanes are never taken away: their work may still hang.
    pub(super) fn resize(&mut self, sources: usize) {
        let count = sources.clamp(1, MAX_AT_ONCE).max(self.lanes.len());
        self.lanes.resize_with(count, || Lane { under_way: 0, waiting: VecDeque::new() });
        self.slots = (MAX_AT_ONCE / count).clamp(1, MAX_IN_LANE);
    }

    pub(super) fn of(&self, source: SourceId) -> FileLane {
        FileLane(source.0 % self.lanes.len())
    }

    /// Gives the work back when it may begin now; keeps it until its turn otherwise.
    pub(super) fn enter(&mut self, lane: FileLane, work: W) -> Option<W> {
        let slots = self.slots;
        let lane = &mut self.lanes[lane.0];
        if lane.under_way >= slots {
            lane.waiting.push_back(work);
            return None;
        }
        lane.under_way += 1;
        Some(work)
    }

    /// Notes that work of the lane has come back; returns what may begin in its place.
    pub(super) fn leave(&mut self, lane: FileLane) -> Option<W> {
        let slots = self.slots;
        let lane = &mut self.lanes[lane.0];
        lane.under_way = lane.under_way.checked_sub(1).expect("only what has entered leaves");
        if lane.under_way >= slots {
            // There are more sources than when this began.
            return None;
        }
        let next = lane.waiting.pop_front()?;
        lane.under_way += 1;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_whose_work_never_comes_back_holds_up_no_other() {
        for sources in [1, 2, 3, 14, 15, 100, 447, MAX_AT_ONCE] {
            let mut lanes = Lanes::new(sources);
            let hanging = (0..sources).filter(|source| source % 2 == 1);
            for source in hanging {
                let lane = lanes.of(SourceId(source));
                for work in 0..1000 {
                    lanes.enter(lane, work);
                }
            }
            for source in (0..sources).step_by(2) {
                let lane = lanes.of(SourceId(source));
                assert_eq!(lanes.enter(lane, 7), Some(7), "source {source} of {sources}");
                assert_eq!(lanes.leave(lane), None);
            }
        }
    }

    #[test]
    fn all_sources_together_leave_threads_to_others() {
        for sources in [1, 2, 13, 14, 15, 300, MAX_AT_ONCE, MAX_AT_ONCE + 1, 10_000] {
            let mut lanes = Lanes::new(sources);
            let begun = (0..sources)
                .flat_map(|source| (0..40).map(move |_| SourceId(source)))
                .filter(|source| lanes.enter(lanes.of(*source), ()).is_some())
                .count();
            assert!(begun <= MAX_AT_ONCE, "{begun} for {sources} sources");
        }
    }

    #[test]
    fn what_waits_begins_in_its_order_when_something_comes_back() {
        let mut lanes = Lanes::new(MAX_AT_ONCE);
        let lane = lanes.of(SourceId(3));
        assert_eq!([lanes.enter(lane, 1), lanes.enter(lane, 2), lanes.enter(lane, 3)], [Some(1), None, None]);
        assert_eq!([lanes.leave(lane), lanes.leave(lane), lanes.leave(lane)], [Some(2), Some(3), None]);
    }

    #[test]
    fn more_sources_leave_less_to_each_also_of_what_is_under_way() {
        let mut lanes = Lanes::new(1);
        let lane = lanes.of(SourceId(0));
        for work in 0..40 {
            lanes.enter(lane, work);
        }
        lanes.resize(MAX_AT_ONCE);
        for _ in 0..MAX_IN_LANE - 1 {
            assert_eq!(lanes.leave(lane), None);
        }
        assert_eq!(lanes.leave(lane), Some(32), "the last that was under way has left");
    }
}
