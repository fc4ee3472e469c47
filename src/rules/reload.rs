//! What a changed configuration means for what is under way: which sources and streams go on, come and go.
//!
//! Sources and streams are the same as before when they are called the same. They keep their places, so that
//! whatever is under way keeps its meaning; what is no longer configured keeps its place too, and is retired.
//!
//! Knows two settings. Does not know files or records.
//!
//! *Invariant:* no place ever changes its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::settings::{
    LaneSettings, Settings, SourceId, SourceSettings, Spread, StreamId, StreamSettings,
};

/// The settings from now on, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    pub settings: Settings,
    /// For each source its place in the new settings; `None` when it is retired.
    pub sources: Vec<Option<usize>>,
    /// For each stream its place in the new settings; `None` when it is no longer configured.
    pub streams: Vec<Option<usize>>,
}

impl Merged {
    /// Sources that are no longer configured.
    pub fn retired(&self) -> BTreeSet<SourceId> {
        let places = self.sources.iter().enumerate();
        places.filter(|(_, new)| new.is_none()).map(|(place, _)| SourceId(place)).collect()
    }
}

/// Lays `new` over `old`. When the engine is done stays as it was: that is how the process was started.
pub fn merge(old: &Settings, new: &Settings) -> Merged {
    let streams = places(old.streams.iter().map(|it| &it.name), new.streams.iter().map(|it| &it.name));
    let sources = places(old.sources.iter().map(|it| &it.name), new.sources.iter().map(|it| &it.name));
    let place_of_stream = |stream: StreamId| {
        let place = streams.iter().position(|new| *new == Some(stream.0));
        StreamId(place.expect("every configured stream has a place"))
    };
    let settings = Settings {
        sources: sources
            .iter()
            .enumerate()
            .map(|(place, new_place)| match new_place {
                None => old.sources[place].clone(),
                Some(source) => {
                    let source = new.sources[*source].clone();
                    SourceSettings { stream: place_of_stream(source.stream), ..source }
                }
            })
            .collect(),
        streams: streams
            .iter()
            .enumerate()
            .map(|(place, new_place)| match new_place {
                None => old.streams[place].clone(),
                Some(stream) => match old.streams.get(place) {
                    None => new.streams[*stream].clone(),
                    Some(before) => {
                        let stream = new.streams[*stream].clone();
                        StreamSettings { spread: spread(&before.spread, stream.spread), ..stream }
                    }
                },
            })
            .collect(),
        until: old.until,
        ..new.clone()
    };
    Merged { settings, sources, streams }
}

/// Lays the lanes of `new` over those of `old`: one that goes on keeps its place, and so does one that is gone.
fn spread(old: &Spread, new: Spread) -> Spread {
    let goes_on = |lane: &LaneSettings| match new.lanes.iter().find(|fresh| lane.is_at(fresh)) {
        Some(fresh) => fresh.clone(),
        None => LaneSettings { is_used: false, ..lane.clone() },
    };
    let mut lanes: Vec<_> = old.lanes.iter().map(goes_on).collect();
    let added = new.lanes.iter().filter(|fresh| !old.lanes.iter().any(|lane| lane.is_at(fresh)));
    lanes.extend(added.cloned());
    Spread { lanes, ..new }
}

/// For each old name, and then for each that is new, its index among the new ones.
fn places<'a>(
    old: impl Iterator<Item = &'a Arc<str>>,
    new: impl Iterator<Item = &'a Arc<str>>,
) -> Vec<Option<usize>> {
    let new: Vec<_> = new.collect();
    let mut places: Vec<_> = old.map(|name| new.iter().position(|other| *other == name)).collect();
    let added = (0..new.len()).filter(|index| !places.contains(&Some(*index))).collect::<Vec<_>>();
    places.extend(added.into_iter().map(Some));
    places
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::model::settings::{
        Adaptive, Api, CheckpointSettings, Encryption, Format, LineFilter, MemorySettings, Newline, OnDrain,
        Order, Oversize, Packing, QuotaSettings, RetrySettings, Spread, StartAt, StreamSettings, Until,
    };

    /// Sources with their streams; each stream is in flight as often as its name is long.
    fn settings(sources: &[(&str, &str)], close_removed_after: u64) -> Settings {
        let some = |n: usize| NonZeroU32::new(u32::try_from(n).unwrap()).unwrap();
        let mut names: Vec<&str> = Vec::new();
        for (_, stream) in sources {
            if !names.contains(stream) {
                names.push(stream);
            }
        }
        let source = |(name, stream): &(&str, &str)| SourceSettings {
            name: (*name).into(),
            stream: StreamId(names.iter().position(|other| other == stream).unwrap()),
            start_at: StartAt::Beginning,
            newline: Newline::Append,
            format: Format::Raw,
            max_message_bytes: 1000,
            oversize: Oversize::Split,
            runtime: None,
            multiline: None,
            filter: LineFilter::default(),
            ignore_older: None,
            close_removed_after: Duration::from_secs(close_removed_after),
        };
        let stream = |name: &&str| StreamSettings {
            name: (*name).into(),
            api: Api::Auto,
            linger: Duration::ZERO,
            packing: Packing::Off,
            max_in_flight: some(name.len()),
            order: Order::Free,
            quota: QuotaSettings {
                requests_per_second: some(1),
                records_per_second: some(1),
                bytes_per_second: 1,
                share: 1.0,
                adaptive: Adaptive::On,
            },
            spread: Spread::to_one(*name),
            retry: RetrySettings {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(1),
                stuck_after: Duration::from_secs(1),
            },
            encryption: Encryption::Optional,
        };
        Settings {
            sources: sources.iter().map(source).collect(),
            streams: names.iter().map(stream).collect(),
            checkpoint: CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 },
            memory: MemorySettings { buffer: 1, buffer_per_file: 1 },
            until: Until::Drained,
            on_drain: OnDrain::KeepPartialLines,
        }
    }

    /// Names of the sources with those of their streams, in their places.
    fn shown(settings: &Settings) -> Vec<(&str, &str)> {
        let stream = |id: StreamId| &*settings.streams[id.0].name;
        settings.sources.iter().map(|source| (&*source.name, stream(source.stream))).collect()
    }

    #[test]
    fn whatever_is_configured_places_keep_their_names() {
        let old = settings(&[("a", "x"), ("b", "y")], 1);
        let new = settings(&[("c", "z"), ("b", "z"), ("a", "x")], 2);
        let merged = merge(&old, &new);
        assert_eq!(shown(&merged.settings), [("a", "x"), ("b", "z"), ("c", "z")]);
        assert_eq!(merged.sources, [Some(2), Some(1), Some(0)]);
        assert_eq!(merged.streams, [Some(1), None, Some(0)]);
        assert!(merged.settings.sources.iter().all(|source| source.close_removed_after.as_secs() == 2));
        assert!(merged.retired().is_empty());

        let back = merge(&merged.settings, &settings(&[("b", "y")], 3));
        assert_eq!(shown(&back.settings), [("a", "x"), ("b", "y"), ("c", "z")]);
        assert_eq!(back.retired(), BTreeSet::from([SourceId(0), SourceId(2)]));
        assert_eq!(back.streams, [None, Some(0), None]);
        let seconds: Vec<_> =
            back.settings.sources.iter().map(|source| source.close_removed_after.as_secs()).collect();
        assert_eq!(seconds, [2, 3, 2], "what is retired keeps its settings");
    }

    #[test]
    fn the_same_settings_change_nothing() {
        let old = settings(&[("a", "x"), ("b", "y")], 1);
        assert_eq!(merge(&old, &old).settings, old);
    }
}
