//! Which lane of its stream a file goes to, and what moves when that changes.
//!
//! Carries out what the rule says. Does not know which files there are: who asks has their states.
//!
//! *Invariant:* what a lane lets go of of a file, another takes over at once, and what is under way stays where it is until
//! its answer comes.

use std::collections::{BTreeMap, BTreeSet};

use super::Streams;
use crate::engine::incarnation::IncarnationState;
use crate::engine::port::LetterId;
use crate::model::identity::Incarnation;
use crate::model::record::Record;
use crate::model::settings::{LaneId, StreamId};
use crate::model::time::Instant;
use crate::rules::spread::{Health, family};

impl Streams {
    /// How the lanes of a stream stand with their services.
    fn health(&self, stream: StreamId) -> Vec<Health> {
        let lanes = self.lanes.of_stream(stream).iter();
        let lanes = lanes.map(|lane| Health {
            held_since: lane.circuit.open().map(|open| open.since),
            is_stopped: lane.circuit.is_stopped(),
        });
        lanes.collect()
    }

    /// How many lanes of a stream are configured.
    pub(in crate::engine) fn lanes_of(&self, stream: StreamId) -> usize {
        self.spreadings[stream.0].used().len().max(1)
    }

    /// Whether the files of a stream can go to more than one lane.
    pub(in crate::engine) fn is_spread(&self, stream: StreamId) -> bool {
        self.spreadings[stream.0].is_spread()
    }

    /// The lane that carries an incarnation, or that would.
    pub(in crate::engine) fn lane_for(&self, state: &IncarnationState) -> LaneId {
        let stream = state.stream();
        let spreading = &self.spreadings[stream.0];
        let place = match state.lane() {
            Some(place) => place,
            None if !spreading.is_spread() => 0,
            None => spreading.lane_of(state.family(), None, &self.health(stream)),
        };
        LaneId { stream, place }
    }

    /// The lane that carries an incarnation from now on, if none did before.
    pub(super) fn settle_in(&self, state: &mut IncarnationState) -> LaneId {
        let lane = self.lane_for(state);
        state.set_lane(lane.place);
        lane
    }

    /// The lane for a dead letter that is sent again; `None` when no such stream is known.
    pub(super) fn lane_for_letter(&self, name: &str, letter: LetterId) -> Option<LaneId> {
        let is_of_name = |stream: &StreamId| {
            let lanes = self.lanes.of_stream(*stream);
            lanes.first().is_some_and(|lane| *lane.settings.name == *name)
        };
        let stream = (0..self.spreadings.len()).map(StreamId).find(is_of_name)?;
        let spreading = &self.spreadings[stream.0];
        if !spreading.is_spread() {
            return Some(LaneId { stream, place: 0 });
        }
        let place = spreading.lane_of(family(&letter.0.to_le_bytes()), None, &self.health(stream));
        Some(LaneId { stream, place })
    }

    /// What the records that wait in a lane cost in memory, in bytes.
    pub(in crate::engine) fn waiting_bytes(&self, lane: LaneId) -> u64 {
        self.lanes[lane].waiting_bytes()
    }

    /// Whether a lane is held, and is not the only one of its stream.
    pub(in crate::engine) fn is_held_beside_others(&self, lane: LaneId) -> bool {
        self.is_spread(lane.stream) && self.lanes[lane].circuit.open().is_some()
    }

    /// The lanes whose files have to be handed on by now.
    pub(in crate::engine) fn advance(&mut self, now: Instant) -> Vec<LaneId> {
        let mut passed = Vec::new();
        for stream in self.spread_streams() {
            let health = self.health(stream);
            let places = self.spreadings[stream.0].advance(&health, now);
            passed.extend(places.into_iter().map(|place| LaneId { stream, place }));
            if self.spreadings[stream.0].end_probes(now) {
                self.changed.insert(stream);
            }
        }
        passed
    }

    /// The lanes that are to be asked by one of their files.
    pub(in crate::engine) fn to_probe(&self, now: Instant) -> Vec<LaneId> {
        let of_stream = |stream: StreamId| {
            let places = self.spreadings[stream.0].to_probe(&self.health(stream), now);
            places.into_iter().map(move |place| LaneId { stream, place })
        };
        self.spread_streams().into_iter().flat_map(of_stream).collect()
    }

    fn spread_streams(&self) -> Vec<StreamId> {
        (0..self.spreadings.len()).map(StreamId).filter(|stream| self.is_spread(*stream)).collect()
    }

    /// When time alone changes next where files go.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        let change = |stream: StreamId| self.spreadings[stream.0].next_change(&self.health(stream), now);
        self.spread_streams().into_iter().filter_map(change).min()
    }

    /// Whether an incarnation would be carried by this lane if all were well, and is carried by another.
    pub(in crate::engine) fn is_away_from(&self, lane: LaneId, state: &IncarnationState) -> bool {
        state.stream() == lane.stream
            && state.lane() != Some(lane.place)
            && self.spreadings[lane.stream.0].home(state.family()) == lane.place
    }

    /// Something was read of an incarnation: its own lane may be asked by it.
    pub(in crate::engine) fn note_fresh(&mut self, state: &IncarnationState, now: Instant) {
        let stream = state.stream();
        if !self.is_spread(stream) || state.has_nothing_ready() {
            return;
        }
        let lane = LaneId { stream, place: self.spreadings[stream.0].home(state.family()) };
        let health = self.health(stream)[lane.place];
        if self.spreadings[stream.0].wants_probe(lane.place, health, now) {
            self.askers.entry(lane).or_insert(state.incarnation());
        }
    }

    /// Files by which their own lanes are to be asked.
    pub(in crate::engine) fn take_askers(&mut self) -> BTreeMap<LaneId, Incarnation> {
        std::mem::take(&mut self.askers)
    }

    /// Asks a lane by the records of an incarnation that comes back to it.
    pub(in crate::engine) fn probe(&mut self, lane: LaneId, state: &mut IncarnationState, now: Instant) {
        self.spreadings[lane.stream.0].probe(lane.place, state.incarnation(), now);
        self.lanes[lane].circuit.ask(now);
        self.move_to(lane, state, now);
    }

    /// No file has anything to send by which a lane could be asked.
    pub(in crate::engine) fn put_off_probe(&mut self, lane: LaneId, now: Instant) {
        self.spreadings[lane.stream.0].put_off_probe(lane.place, now);
    }

    /// The streams in which other lanes may carry files by now, and the lanes that carry theirs again.
    pub(in crate::engine) fn take_changed(&mut self) -> (BTreeSet<StreamId>, Vec<LaneId>) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.recovered))
    }

    /// A request of a lane was answered: one that is asked by it carries its files again, or hands them on again.
    pub(super) fn note_probe(&mut self, lane: LaneId, is_accepted: bool, sent_at: Instant, now: Instant) {
        if self.spreadings[lane.stream.0].answered(lane.place, is_accepted, sent_at, now) {
            self.changed.insert(lane.stream);
            self.recovered.extend(is_accepted.then_some(lane));
        }
    }

    /// Moves an incarnation to the lane that is to carry it by now. Returns the lane that carried it, when that was another.
    pub(in crate::engine) fn reassign(
        &mut self,
        state: &mut IncarnationState,
        now: Instant,
    ) -> Option<LaneId> {
        let stream = state.stream();
        let (spreading, before) = (&self.spreadings[stream.0], state.lane()?);
        if !spreading.is_spread() || spreading.is_probe(before, state.incarnation()) {
            return None;
        }
        let place = spreading.lane_of(state.family(), Some(before), &self.health(stream));
        if place == before {
            return None;
        }
        self.move_to(LaneId { stream, place }, state, now);
        Some(LaneId { stream, place: before })
    }

    fn move_to(&mut self, lane: LaneId, state: &mut IncarnationState, now: Instant) {
        if let Some(before) = state.lane() {
            let before = LaneId { stream: lane.stream, place: before };
            self.begin_like(before, lane, now);
            let records = self.lanes[before].let_go(state);
            state.put_back(records);
        }
        state.set_lane(lane.place);
        self.lanes[lane].take_over(state);
    }

    /// A request of a lane was answered whose incarnation another lane carries by now: what of it was not taken goes on
    /// there. Returns that.
    pub(in crate::engine) fn recall(&mut self, from: LaneId, state: &mut IncarnationState) -> u64 {
        let records = self.lanes[from].recall(state.incarnation());
        let bytes = records.iter().map(|record: &Record| record.span.len()).sum();
        if !records.is_empty() {
            let lane = self.settle_in(state);
            self.lanes[lane].take_up(state, records);
        }
        bytes
    }
}
