//! The ways to the streams: who signs, and when one is looked for anew.
//!
//! Knows that nobody waits for them here. Does not know what a way is made of: the shell does.

use crate::model::settings::{LaneId, StreamId};
use crate::shell::firehose::Destination;

use super::{Done, Tasks};

impl Tasks {
    /// Finds out by whom requests of these streams are signed, at each of their delivery streams.
    pub(in crate::daemon) fn identify(&mut self, streams: impl Fn(StreamId) -> bool) {
        let lanes = self.destinations.ids().into_iter().filter(|lane| streams(lane.stream));
        for lane in lanes {
            let destination = self.destinations[lane].clone();
            self.spawn(async move { Done::Identified(lane, destination.identity().await) });
        }
    }

    /// Finds out by whom a stream's requests are signed, once there are credentials.
    pub(in crate::daemon) fn identify_later(&mut self, lane: LaneId) {
        let destination = self.destinations[lane].clone();
        self.spawn(async move {
            destination.ready().await;
            Done::Identified(lane, destination.identity().await)
        });
    }

    /// Looks for the way to a stream anew, for the next try, and takes it when it is known, unless another configuration
    /// came meanwhile.
    pub(in crate::daemon) fn connect_again(&mut self, lane: LaneId) {
        if self.connecting.insert(lane) {
            let destination = self.destinations[lane].connect_again();
            self.spawn(async move {
                destination.known().await;
                Done::Connected(lane, Box::new(destination))
            });
        }
    }

    /// Takes the way to a stream that was found anew.
    pub(in crate::daemon) fn connected(&mut self, lane: LaneId, destination: Destination) {
        self.connecting.remove(&lane);
        if destination.is_same_way_as(&self.destinations[lane]) {
            self.destinations[lane] = destination;
        }
    }
}
