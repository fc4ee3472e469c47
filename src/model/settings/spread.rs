//! Over which delivery streams the files of one stream are spread, and when they change between them.
//!
//! Knows names and patience. Which file goes where is for `rules::spread` to say.

use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use super::{QuotaSettings, StreamId, StreamSettings};

/// One of the lanes of a stream: a delivery stream at the service, with its own quota, queue and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    pub stream: StreamId,
    /// Index in [`Spread::lanes`] of that stream.
    pub place: usize,
}

/// The lanes of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// At least one. What is no longer configured keeps its place.
    pub lanes: Vec<LaneSettings>,
    /// What tells this machine from others, whose files have the same names: each spreads its files otherwise.
    pub salt: Arc<str>,
    /// How long a lane is held before its files are handed on to others; `None`: they wait for it.
    pub spread_after: Option<Duration>,
    /// How long all lanes of the first lane's region are held before the files go to another region; `None`: they wait.
    pub failover_after: Option<Duration>,
}

/// One lane.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneSettings {
    /// The delivery stream's name at the service.
    pub delivery_stream: Arc<str>,
    /// The region, where one is named for this lane or its stream.
    pub region: Option<Arc<str>>,
    /// The quotas of this delivery stream, where they are not those of the stream's settings.
    pub quota: Option<QuotaSettings>,
    /// Whether the lane carries files only while the lanes of the first lane's region do not.
    pub is_standby: bool,
    /// Whether the lane is still configured: to one that is not, no file is given.
    pub is_used: bool,
}

impl LaneSettings {
    /// Whether both are one delivery stream.
    pub fn is_at(&self, other: &Self) -> bool {
        self.delivery_stream == other.delivery_stream && self.region == other.region
    }
}

impl Spread {
    /// All files go to one delivery stream.
    pub fn to_one(delivery_stream: impl Into<Arc<str>>) -> Self {
        let lane = LaneSettings {
            delivery_stream: delivery_stream.into(),
            region: None,
            quota: None,
            is_standby: false,
            is_used: true,
        };
        Self { lanes: vec![lane], salt: "".into(), spread_after: None, failover_after: None }
    }

    /// The lanes that are configured, with their places.
    pub fn used(&self) -> impl Iterator<Item = (usize, &LaneSettings)> {
        self.lanes.iter().enumerate().filter(|(_, lane)| lane.is_used)
    }
}

impl StreamSettings {
    /// The quotas of one lane.
    pub fn quota_of(&self, place: usize) -> QuotaSettings {
        self.spread.lanes[place].quota.unwrap_or(self.quota)
    }

    /// The quotas of the lanes that are configured, with their places.
    pub fn quotas(&self) -> impl Iterator<Item = (usize, QuotaSettings)> {
        self.spread.used().map(|(place, _)| (place, self.quota_of(place)))
    }
}

/// Something for each lane of each stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByLane<T>(Vec<Vec<T>>);

impl<T> Default for ByLane<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByLane<T> {
    /// What `make` makes for each lane of these streams.
    pub fn of(streams: &[StreamSettings], mut make: impl FnMut(LaneId) -> T) -> Self {
        let mut all = Self::default();
        all.extend(streams, &mut make);
        all
    }

    /// As [`of`](Self::of), where `make` may fail.
    ///
    /// # Errors
    /// The first error of `make`.
    pub fn try_of<E>(
        streams: &[StreamSettings],
        mut make: impl FnMut(LaneId) -> Result<T, E>,
    ) -> Result<Self, E> {
        let of_stream = |(stream, settings): (usize, &StreamSettings)| {
            let places = 0..settings.spread.lanes.len();
            places.map(|place| make(LaneId { stream: StreamId(stream), place })).collect()
        };
        Ok(Self(streams.iter().enumerate().map(of_stream).collect::<Result<_, E>>()?))
    }

    /// Adds what `make` makes for each lane that has come.
    pub fn extend(&mut self, streams: &[StreamSettings], mut make: impl FnMut(LaneId) -> T) {
        self.0.resize_with(streams.len().max(self.0.len()), Vec::new);
        for (stream, (lanes, settings)) in self.0.iter_mut().zip(streams).enumerate() {
            let places = lanes.len()..settings.spread.lanes.len();
            lanes.extend(places.map(|place| make(LaneId { stream: StreamId(stream), place })));
        }
    }

    /// Takes out what the lanes of one stream have: [`extend`](Self::extend) makes it anew.
    pub fn clear(&mut self, stream: StreamId) {
        self.0[stream.0].clear();
    }

    /// Each stream with what its lanes have.
    pub fn streams(&self) -> impl Iterator<Item = (StreamId, &[T])> {
        self.0.iter().enumerate().map(|(stream, lanes)| (StreamId(stream), &lanes[..]))
    }

    /// What the lanes of one stream have.
    pub fn of_stream(&self, stream: StreamId) -> &[T] {
        &self.0[stream.0]
    }

    /// What `make` makes of what each lane has.
    pub fn map<U>(&self, mut make: impl FnMut(&T) -> U) -> ByLane<U> {
        ByLane(self.0.iter().map(|lanes| lanes.iter().map(&mut make).collect()).collect())
    }

    /// All lanes, in the order of the streams.
    pub fn ids(&self) -> Vec<LaneId> {
        let lanes = |(stream, lanes): (usize, &Vec<T>)| {
            (0..lanes.len()).map(move |place| LaneId { stream: StreamId(stream), place })
        };
        self.0.iter().enumerate().flat_map(lanes).collect()
    }

    /// What each lane has, in the order of [`ids`](Self::ids).
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    /// What each lane has, in the order of [`ids`](Self::ids).
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }

    /// What each lane has, in the order of [`ids`](Self::ids).
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }
}

impl<T> FromIterator<Vec<T>> for ByLane<T> {
    fn from_iter<I: IntoIterator<Item = Vec<T>>>(streams: I) -> Self {
        Self(streams.into_iter().collect())
    }
}

impl<T> Index<LaneId> for ByLane<T> {
    type Output = T;

    fn index(&self, lane: LaneId) -> &T {
        &self.0[lane.stream.0][lane.place]
    }
}

impl<T> IndexMut<LaneId> for ByLane<T> {
    fn index_mut(&mut self, lane: LaneId) -> &mut T {
        &mut self.0[lane.stream.0][lane.place]
    }
}
