//! Other settings for the delivery streams, and other delivery streams.
//!
//! Knows which lanes go on, come, and begin anew. Does not know why.
//!
//! *Invariant:* what is under way goes on: a lane begins anew only in the place of a stream that has nothing left.

use crate::model::settings::{ByLane, CheckpointSettings, LaneId, StreamId, StreamSettings};
use crate::model::time::Instant;
use crate::rules::retry::InvalidBackoff;

use super::activity::Activity;
use super::letters::Letters;
use super::{Lane, Spreading, Streams, of_lane};

impl Streams {
    /// Other settings, and maybe more streams. What is under way goes on.
    ///
    /// # Errors
    /// When a stream's retry delays make no backoff; then nothing has changed.
    pub(in crate::engine) fn change(
        &mut self,
        settings: &[StreamSettings],
        checkpoint: CheckpointSettings,
        now: Instant,
    ) -> Result<(), InvalidBackoff> {
        let lane = |id: LaneId| Lane::try_new(of_lane(settings, id), checkpoint, now);
        let mut fresh = ByLane::try_of(settings, |id| lane(id).map(Some))?;
        for stream in self.renamed(settings) {
            // Nothing was under way for the one that was here.
            self.lanes.clear(stream);
            self.activity.clear(stream);
            self.letters.clear(stream);
            self.spreadings[stream.0] = Spreading::new(&settings[stream.0].spread);
        }
        let mut take = |id: LaneId| fresh[id].take().expect("each lane is made once");
        for id in self.lanes.ids() {
            self.lanes[id].change(take(id), now);
        }
        self.lanes.extend(settings, take);
        self.activity.extend(settings, |_| Activity::default());
        self.letters.extend(settings, |_| Letters::default());
        for (spreading, stream) in self.spreadings.iter_mut().zip(settings) {
            spreading.change(&stream.spread, now);
        }
        let added = settings.iter().skip(self.spreadings.len());
        self.spreadings.extend(added.map(|stream| Spreading::new(&stream.spread)));
        if self.is_draining {
            self.drain();
        }
        Ok(())
    }

    /// The places that another stream takes.
    fn renamed(&self, settings: &[StreamSettings]) -> Vec<StreamId> {
        let is_renamed = |(stream, lanes): (StreamId, &[Lane])| {
            let before = lanes.first().map(|lane| &lane.settings.name);
            let after = settings.get(stream.0).map(|settings| &settings.name);
            (before != after).then_some(stream)
        };
        self.lanes.streams().filter_map(is_renamed).collect()
    }
}
