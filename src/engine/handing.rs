//! Files that go on at another delivery stream of their stream, because theirs is held for long, or takes records again.
//!
//! Routes what the lanes say to the incarnations. What waits goes along; what is under way stays until it is answered, and
//! what of it was not taken then follows.
//!
//! *Invariant (L7):* a record is with one lane at a time: in a queue of the lane that carries its file, or under way.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::identity::Incarnation;
use crate::model::settings::{LaneId, StreamId};
use crate::model::time::Instant;

use super::Engine;
use super::incarnation::IncarnationState;
use super::lane::Ready;
use super::lives::Lives;
use super::report::Report;

/// Lanes send what incarnations have ready.
impl Ready for Lives {
    fn ready(&mut self, incarnation: Incarnation) -> &mut IncarnationState {
        self.on_its_way_mut(incarnation)
    }
}

impl Engine {
    /// Hands on the files of lanes that are held for long, and gives lanes that take records again theirs back.
    pub(super) fn hand_on(&mut self, now: Instant) {
        let passed = self.streams.advance(now);
        let (mut changed, recovered) = self.streams.take_changed();
        changed.extend(passed.iter().map(|lane| lane.stream));
        let moved = self.reassign(&changed, now);
        for lane in passed {
            let files = moved.iter().filter(|((from, _), _)| *from == lane).map(|(_, files)| files).sum();
            self.report(Report::HandedOn { lane, files });
        }
        for lane in recovered {
            let files = moved.iter().filter(|((_, to), _)| *to == lane).map(|(_, files)| files).sum();
            self.report(Report::TakenBack { lane, files });
        }
        self.ask_lanes(now);
    }

    /// Asks each lane that is due to be asked by one of its files, if any has something to send.
    fn ask_lanes(&mut self, now: Instant) {
        let askers = self.streams.take_askers();
        let mut due: BTreeSet<LaneId> = askers.keys().copied().collect();
        due.extend(self.streams.to_probe(now));
        for lane in due {
            let asker = self.asker(lane, askers.get(&lane).copied());
            match asker.and_then(|asker| self.lives.state_mut(asker)) {
                Some(state) => self.streams.probe(lane, state, now),
                None => self.streams.put_off_probe(lane, now),
            }
        }
    }

    /// A file of a lane that has something to send, and is elsewhere: this one, if it still does, or any.
    fn asker(&self, lane: LaneId, noted: Option<Incarnation>) -> Option<Incarnation> {
        let may_ask = |state: &&IncarnationState| {
            let is_away = self.streams.is_away_from(lane, state);
            is_away && !state.has_nothing_ready() && !state.holds_back()
        };
        let noted = noted.and_then(|noted| self.lives.state(noted)).filter(may_ask);
        let asker = noted.or_else(|| self.lives.states().find(may_ask));
        asker.map(IncarnationState::incarnation)
    }

    /// Another configuration has come: each file goes to the lane that is its own by now.
    pub(super) fn spread_anew(&mut self, now: Instant) {
        let all = (0..self.settings.streams.len()).map(StreamId).collect();
        self.reassign(&all, now);
    }

    /// Moves files of these streams to the lanes that are to carry them. Returns how many, by the lanes from which and to
    /// which they went.
    fn reassign(&mut self, streams: &BTreeSet<StreamId>, now: Instant) -> BTreeMap<(LaneId, LaneId), usize> {
        let mut moved = BTreeMap::new();
        if !streams.iter().any(|stream| self.streams.is_spread(*stream)) {
            return moved;
        }
        let of_streams = |state: &&mut IncarnationState| streams.contains(&state.stream());
        for state in self.lives.states_mut().filter(of_streams) {
            if let Some(from) = self.streams.reassign(state, now) {
                *moved.entry((from, self.streams.lane_for(state))).or_default() += 1;
            }
        }
        moved
    }

    /// A request of a lane was answered: what others carry by now, and was not taken, goes on there.
    pub(super) fn carry_after(&mut self, lane: LaneId, incarnations: BTreeSet<Incarnation>, is_unsure: bool) {
        for incarnation in incarnations {
            let state = self.lives.on_its_way_mut(incarnation);
            if state.lane() == Some(lane.place) {
                continue;
            }
            let bytes = self.streams.recall(lane, state);
            if is_unsure {
                self.counts.handed_on_bytes += bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests;
