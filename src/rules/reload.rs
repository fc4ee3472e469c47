//! What a changed configuration means for what is under way: which sources and streams go on, come and go.
//!
//! Sources and streams are the same as before when they are called the same. They keep their places, so that
//! whatever is under way keeps its meaning; what is no longer configured keeps its place too, and is retired.
//!
//! Knows two settings. Does not know files or records.
//!
//! *Invariant:* no place changes its name while anything is under way for it.

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

/// Lays `new` over `old`. When the engine is done stays as it was: that is how the process was started. A stream for which
/// nothing is under way, one of `unused`, leaves its place to a new one when it is no longer configured: streams that paths
/// name come and go for as long as the process runs.
pub fn merge(old: &Settings, new: &Settings, unused: &BTreeSet<StreamId>) -> Merged {
    let is_free = |place: usize| unused.contains(&StreamId(place));
    let streams =
        places(old.streams.iter().map(|it| &it.name), new.streams.iter().map(|it| &it.name), is_free);
    let sources =
        places(old.sources.iter().map(|it| &it.name), new.sources.iter().map(|it| &it.name), |_| false);
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
                    SourceSettings { route: source.route.moved(place_of_stream), ..source }
                }
            })
            .collect(),
        streams: streams
            .iter()
            .enumerate()
            .map(|(place, new_place)| match new_place {
                None => old.streams[place].clone(),
                Some(stream) => match old.streams.get(place) {
                    Some(before) if before.name == new.streams[*stream].name => {
                        let stream = new.streams[*stream].clone();
                        StreamSettings { spread: spread(&before.spread, stream.spread), ..stream }
                    }
                    Some(_) | None => new.streams[*stream].clone(),
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

/// For each old name its index among the new ones. Those that are new follow in the places that are free, then behind.
fn places<'a>(
    old: impl Iterator<Item = &'a Arc<str>>,
    new: impl Iterator<Item = &'a Arc<str>>,
    is_free: impl Fn(usize) -> bool,
) -> Vec<Option<usize>> {
    let new: Vec<_> = new.collect();
    let mut places: Vec<_> = old.map(|name| new.iter().position(|other| *other == name)).collect();
    let added: Vec<_> = (0..new.len()).filter(|index| !places.contains(&Some(*index))).collect();
    let mut added = added.into_iter();
    for (place, free) in places.iter_mut().enumerate().filter(|(_, taken)| taken.is_none()) {
        if is_free(place) {
            *free = added.next();
        }
    }
    places.extend(added.map(Some));
    places
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::model::route::Route;
    use crate::model::settings::{
        Adaptive, Api, Audit, CheckpointSettings, Encryption, Format, LineFilter, MemorySettings, Newline,
        OnDrain, Order, Oversize, Packing, QuotaSettings, RetrySettings, Spread, StartAt, StreamSettings,
        Until,
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
            route: Route::To(StreamId(names.iter().position(|other| other == stream).unwrap())),
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
            audit: Audit::Off,
        };
        Settings {
            sources: sources.iter().map(source).collect(),
            streams: names.iter().map(stream).collect(),
            checkpoint: CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 },
            memory: MemorySettings { buffer: 1, buffer_per_file: 1 },
            files_at_once: std::num::NonZeroUsize::MIN,
            checkpoints_at_once: std::num::NonZeroUsize::MIN,
            until: Until::Drained,
            on_drain: OnDrain::KeepPartialLines,
        }
    }

    /// Names of the sources with those of their streams, in their places.
    fn shown(settings: &Settings) -> Vec<(&str, &str)> {
        let stream = |id: StreamId| &*settings.streams[id.0].name;
        let stream_of = |source: &SourceSettings| stream(source.route.streams()[0]);
        settings.sources.iter().map(|source| (&*source.name, stream_of(source))).collect()
    }

    #[test]
    fn whatever_is_configured_places_keep_their_names() {
        let old = settings(&[("a", "x"), ("b", "y")], 1);
        let new = settings(&[("c", "z"), ("b", "z"), ("a", "x")], 2);
        let merged = merge(&old, &new, &BTreeSet::new());
        assert_eq!(shown(&merged.settings), [("a", "x"), ("b", "z"), ("c", "z")]);
        assert_eq!(merged.sources, [Some(2), Some(1), Some(0)]);
        assert_eq!(merged.streams, [Some(1), None, Some(0)]);
        assert!(merged.settings.sources.iter().all(|source| source.close_removed_after.as_secs() == 2));
        assert!(merged.retired().is_empty());

        let back = merge(&merged.settings, &settings(&[("b", "y")], 3), &BTreeSet::new());
        assert_eq!(shown(&back.settings), [("a", "x"), ("b", "y"), ("c", "z")]);
        assert_eq!(back.retired(), BTreeSet::from([SourceId(0), SourceId(2)]));
        assert_eq!(back.streams, [None, Some(0), None]);
        let seconds: Vec<_> =
            back.settings.sources.iter().map(|source| source.close_removed_after.as_secs()).collect();
        assert_eq!(seconds, [2, 3, 2], "what is retired keeps its settings");
    }

    #[test]
    fn a_stream_that_went_leaves_its_place_once_nothing_is_under_way_for_it() {
        let old = settings(&[("a", "x"), ("b", "y")], 1);
        let new = settings(&[("a", "x"), ("b", "z")], 1);
        let busy = merge(&old, &new, &BTreeSet::from([StreamId(0)]));
        assert_eq!(
            (shown(&busy.settings), busy.streams),
            (vec![("a", "x"), ("b", "z")], vec![Some(0), None, Some(1)])
        );
        let idle = merge(&old, &new, &BTreeSet::from([StreamId(0), StreamId(1)]));
        assert_eq!(
            (shown(&idle.settings), idle.streams),
            (vec![("a", "x"), ("b", "z")], vec![Some(0), Some(1)])
        );
    }

    #[test]
    fn the_same_settings_change_nothing() {
        let old = settings(&[("a", "x"), ("b", "y")], 1);
        assert_eq!(merge(&old, &old, &BTreeSet::from([StreamId(0)])).settings, old);
    }
}
