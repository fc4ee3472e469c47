//! What is known of rates before anybody asks: of the process before this one, and of another delivery stream.
//!
//! *Invariant:* what a delivery stream's own answers say counts more than what is known of it otherwise.

use super::Streams;
use crate::model::checkpoint::KnownPart;
use crate::model::settings::LaneId;
use crate::model::time::Instant;

impl Streams {
    /// So much of rates an earlier process had lately: a fleet that is restarted goes on with the parts that it had found.
    pub(in crate::engine) fn begin_with(&mut self, known: &[KnownPart], now: Instant) {
        for id in self.lanes.ids() {
            let lane = &mut self.lanes[id];
            if let Some(known) = known.iter().find(|known| known.is_of(&lane.settings, id.place)) {
                lane.quota.begin_with(known.part(), now);
            }
        }
    }

    /// Files go from one lane to another, and so do those of whoever else asks there: where nobody asked the other yet, as
    /// much is taken of its rate.
    pub(super) fn begin_like(&mut self, from: LaneId, to: LaneId, now: Instant) {
        let part = self.lanes[from].quota.part();
        self.lanes[to].quota.begin_with(part, now);
    }

    /// What is had of rates by now, where that is not all.
    pub(in crate::engine) fn known_parts(&self) -> Vec<KnownPart> {
        let lanes = self.lanes.ids().into_iter().map(|id| (id, &self.lanes[id]));
        let known = lanes.map(|(id, lane)| KnownPart::of(&lane.settings, id.place, lane.quota.part()));
        known.flatten().collect()
    }
}
