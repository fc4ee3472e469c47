//! How each stream stands, for whoever asks.
//!
//! Knows how to read lanes. Changes nothing but meters that look at the time.

use std::path::Path;
use std::sync::Arc;

use super::Streams;
use crate::engine::lane::Place;
use crate::engine::status::{LaneStatus, StreamStatus, StuckRecord};
use crate::model::identity::Incarnation;
use crate::model::settings::{LaneId, StreamId};
use crate::model::time::Instant;
use crate::rules::ladder::Suspect;
use crate::rules::meter::Amount;
use crate::rules::quota::Use;

/// So many stuck records of a stream are named; all are counted.
const MAX_STUCK_SHOWN: usize = 10;

impl Streams {
    /// How each stream stands; `path` says under which name an incarnation is known.
    pub(in crate::engine) fn status(
        &mut self,
        path: impl Fn(Incarnation) -> Arc<Path>,
        now: Instant,
    ) -> Vec<StreamStatus> {
        let streams = (0..self.spreadings.len()).map(StreamId).collect::<Vec<_>>();
        streams.into_iter().map(|stream| self.stream_status(stream, &path, now)).collect()
    }

    /// What throttling left of the rate of each stream: of several lanes, where it left the least.
    pub(in crate::engine) fn factors(&self) -> Vec<f64> {
        let streams = (0..self.spreadings.len()).map(StreamId);
        let factor = |stream: StreamId| {
            let places = 0..self.lanes.of_stream(stream).len();
            let used = places.filter(|place| self.spreadings[stream.0].is_used(*place));
            used.map(|place| self.lanes[LaneId { stream, place }].quota.factor()).fold(1.0, f64::min)
        };
        streams.map(factor).collect()
    }

    fn stream_status(
        &mut self,
        stream: StreamId,
        path: &impl Fn(Incarnation) -> Arc<Path>,
        now: Instant,
    ) -> StreamStatus {
        let places = 0..self.lanes.of_stream(stream).len();
        let lanes: Vec<_> = places.map(|place| self.lane_status(LaneId { stream, place }, now)).collect();
        let used = || lanes.iter().filter(|lane| lane.is_used);
        let all = || (0..lanes.len()).map(|place| LaneId { stream, place });
        let activities = || all().map(|lane| &self.activity[lane]);
        let held = match used().all(|lane| lane.held.is_some()) {
            true => used().filter_map(|lane| lane.held.clone()).min_by_key(|(_, since)| *since),
            false => None,
        };
        let stuck_record = |(place, suspect): (Place, &Suspect)| StuckRecord {
            path: path(place.incarnation),
            offset: place.offset,
            why: suspect.why.clone(),
            since: suspect.since,
        };
        let stuck = all().flat_map(|lane| self.lanes[lane].ladder.stuck(now));
        let stuck = stuck.take(MAX_STUCK_SHOWN).map(stuck_record).collect();
        StreamStatus {
            stream,
            in_flight: lanes.iter().map(|lane| lane.in_flight).sum(),
            waiting: lanes.iter().map(|lane| lane.waiting).sum(),
            used: used().fold(Use::default(), |most, lane| most.max(lane.used)),
            factor: used().map(|lane| lane.factor).fold(1.0, f64::min),
            held,
            last_error: activities().filter_map(|it| it.last_error.clone()).max_by_key(|(at, _)| *at),
            sent: lanes.iter().fold(Amount::default(), |sum, lane| sum.plus(lane.sent)),
            delivered_at: activities().filter_map(|it| it.delivered_at).max(),
            throttled_at: activities().filter_map(|it| it.throttled_at).max(),
            blocked_files: 0,
            batches_would_help: all().any(|lane| self.lanes[lane].bottleneck.lasts(now)),
            stuck_records: all().map(|lane| self.lanes[lane].ladder.stuck(now).count()).sum(),
            stuck,
            lanes,
        }
    }

    fn lane_status(&mut self, id: LaneId, now: Instant) -> LaneStatus {
        let LaneId { stream, place } = id;
        let standing = self.spreadings[stream.0].standing(place);
        let (lane, activity) = (&mut self.lanes[id], &self.activity[id]);
        LaneStatus {
            lane: id,
            is_used: self.spreadings[stream.0].is_used(place),
            standing,
            files: 0,
            late_files: 0,
            in_flight: lane.in_flight.requests,
            waiting: lane.waiting(),
            used: lane.quota.used(now),
            factor: lane.quota.factor(),
            held: lane.circuit.open().map(|open| (open.why.clone(), open.since)),
            last_error: activity.last_error.clone(),
            sent: activity.sent.last_second(now),
        }
    }
}
