//! The ways to the streams: who signs, and when one is looked for anew.
//!
//! Knows that nobody waits for them here. Does not know what a way is made of: the shell does.

use crate::model::settings::StreamId;
use crate::shell::firehose::Destination;

use super::{Done, Tasks};

impl Tasks {
    /// Finds out by whom requests of these streams are signed.
    pub(in crate::daemon) fn identify(&mut self, streams: impl IntoIterator<Item = StreamId>) {
        for stream in streams {
            let destination = self.destinations[stream.0].clone();
            self.spawn(async move { Done::Identified(stream, destination.identity().await) });
        }
    }

    /// Finds out by whom a stream's requests are signed, once there are credentials.
    pub(in crate::daemon) fn identify_later(&mut self, stream: StreamId) {
        let destination = self.destinations[stream.0].clone();
        self.spawn(async move {
            destination.ready().await;
            Done::Identified(stream, destination.identity().await)
        });
    }

    /// Looks for the way to a stream anew, for the next try, and takes it when it is known, unless another configuration
    /// came meanwhile.
    pub(in crate::daemon) fn connect_again(&mut self, stream: StreamId) {
        if self.connecting.insert(stream) {
            let destination = self.destinations[stream.0].connect_again();
            self.spawn(async move {
                destination.known().await;
                Done::Connected(stream, Box::new(destination))
            });
        }
    }

    /// Takes the way to a stream that was found anew.
    pub(in crate::daemon) fn connected(&mut self, stream: StreamId, destination: Destination) {
        self.connecting.remove(&stream);
        if destination.is_same_way_as(&self.destinations[stream.0]) {
            self.destinations[stream.0] = destination;
        }
    }
}
