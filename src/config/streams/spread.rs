//! The delivery streams of one stream: which there are, and when files change between them.
//!
//! Knows what must hold between entries. Does not know which file goes where.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Levels, Streams};
use crate::config::fault::Faults;
use crate::config::typed::Entry;
use crate::config::walk::Typed;
use crate::config::{Config, Stream};
use crate::model::settings::{ByLane, LaneSettings, Spread};

/// More delivery streams than a machine fills.
const MAX_LANES: usize = 16;

/// How long a delivery stream is held before its files are handed on, where nothing else is said: far longer than the
/// service takes to recover by itself as a rule.
pub(super) const SPREAD_AFTER: Duration = Duration::from_secs(60);

impl Streams<'_> {
    /// The lanes of the stream called `name`, which is in `region`.
    pub(super) fn spread(
        &self,
        name: &str,
        levels: Levels<'_>,
        region: Option<&str>,
        faults: &mut Faults,
    ) -> Spread {
        let failover = levels.typed(|table| &table.spread.failover_after);
        let mut spread = Spread {
            spread_after: levels.value(|table| &table.spread.spread_after).unwrap_or(Some(SPREAD_AFTER)),
            failover_after: failover.and_then(|typed| typed.value),
            salt: self.host.into(),
            ..Spread::to_one("")
        };
        let named = levels.own.and_then(|table| table.spread.delivery_stream.as_ref());
        let entries = levels.own.and_then(|table| table.spread.delivery_streams.as_ref());
        if let Some(entries) = entries {
            refuse_beside(named.is_some(), entries, faults);
        }
        let one = || (named.map_or(name, |typed| &typed.value).to_owned(), region.map(str::to_owned));
        let entries = entries.map_or(&[][..], |typed| &typed.value);
        let of_entry =
            |entry: &Entry| (entry.name.clone(), entry.region.clone().or_else(|| region.map(str::to_owned)));
        let mut lanes: Vec<_> = entries.iter().map(|typed| of_entry(&typed.value)).collect();
        if lanes.is_empty() {
            lanes.push(one());
        }
        refuse_twice(entries, &lanes, faults);
        let first = lanes[0].1.clone();
        let is_elsewhere = |lane: &(String, Option<String>)| lane.1 != first;
        if spread.failover_after.is_none()
            && let Some(entry) = entries.iter().zip(&lanes).find(|(_, lane)| is_elsewhere(lane))
        {
            faults.add(entry.0.fault(
                "is in another region than the first one, and nothing says when files go there; add failover_after = \"5m\", \
                 or leave it out",
            ));
        }
        let is_own = levels.own.is_some_and(|table| table.spread.failover_after.is_some());
        if let Some(typed) = failover.filter(|typed| typed.value.is_some() && is_own)
            && !lanes.iter().any(is_elsewhere)
        {
            faults.add(typed.fault(
                "says when files go to another region, and there is none; add { name = \"…\", region = \"…\" } to \
                 delivery_streams, or leave it out",
            ));
        }
        let lane = |lane: &(String, Option<String>)| LaneSettings {
            delivery_stream: lane.0.as_str().into(),
            region: lane.1.as_deref().map(Arc::from),
            // What is wrong with quotas is told of the stream.
            quota: (lane.1.as_deref() != region)
                .then(|| levels.quota(lane.1.as_deref(), &mut Faults::default())),
            is_standby: is_elsewhere(lane),
            is_used: true,
        };
        spread.lanes = lanes.iter().map(lane).collect();
        spread
    }

    /// Where the destination of a stream is typed, if it is.
    pub(super) fn place_of_destination(&self, name: &str) -> Option<Typed<()>> {
        let table = self.table(name)?;
        let one = table.spread.delivery_stream.as_ref().map(Typed::spot);
        one.or_else(|| table.spread.delivery_streams.as_ref().map(Typed::spot))
    }
}

/// So many entries, and nothing else that says where the stream goes.
fn refuse_beside(has_one: bool, entries: &Typed<Vec<Typed<Entry>>>, faults: &mut Faults) {
    if has_one {
        faults.add(entries.fault("stands beside delivery_stream; leave one of the two out"));
    }
    let count = entries.value.len();
    if !(1..=MAX_LANES).contains(&count) {
        faults.add(entries.fault(format!("has {count} entries; name 1 to {MAX_LANES} delivery streams")));
    }
}

/// A delivery stream that stands there twice would have its quota twice.
fn refuse_twice(entries: &[Typed<Entry>], lanes: &[(String, Option<String>)], faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (entry, lane) in entries.iter().zip(lanes) {
        if !seen.insert(lane) {
            faults.add(
                entry.fault(format!("`{}` stands there before; name each delivery stream once", lane.0)),
            );
        }
    }
}

impl Stream {
    /// The stream as it is reached at each of its delivery streams, in the order of the lanes.
    pub fn lanes(&self) -> impl Iterator<Item = Self> {
        let others = self.others.iter().map(|(delivery_stream, region)| Self {
            delivery_stream: delivery_stream.clone(),
            region: region.clone(),
            others: Vec::new(),
            ..self.clone()
        });
        std::iter::once(Self { others: Vec::new(), ..self.clone() }).chain(others)
    }
}

impl Config {
    /// What `make` makes of each stream at each of its delivery streams.
    pub fn by_lane<T>(&self, mut make: impl FnMut(&Stream) -> T) -> ByLane<T> {
        self.streams.iter().map(|stream| stream.lanes().map(|lane| make(&lane)).collect()).collect()
    }
}
