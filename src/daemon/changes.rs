//! Another configuration for a daemon that runs.
//!
//! Knows how sources, streams and ways to them keep their places, and how many requests the descriptors allow. Does
//! not know where a configuration comes from. Used by the driver; the command line makes the changes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::config::Config;
use crate::engine::Engine;
use crate::engine::port::{Event, Reload};
use crate::model::route::Route;
use crate::model::settings::{ByLane, LaneId, Settings, StreamId, StreamSettings};
use crate::model::text::plain_lines;
use crate::rules::reload::merge;
use crate::shell::files::{self, SourceFiles};
use crate::shell::firehose::Destination;
use crate::shell::http::snapshot::{About, ConfigAbout, LaneAbout, StreamAbout};

use super::Daemon;
use super::time::unix_time;

/// What somebody who has changed the configuration asks for.
#[derive(Clone, Debug)]
pub enum Change {
    To(Box<Changed>),
    /// The changed configuration cannot be used: the one before stays in effect.
    Unusable,
}

/// Another configuration, with what it takes to carry it out.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The new configuration.
    pub config: Config,
    /// In the order of the configuration.
    pub sources: Vec<SourceFiles>,
    /// In the order of the configuration.
    pub destinations: ByLane<Destination>,
    /// Whether somebody changed it; else streams were opened that files are found for.
    pub is_asked: bool,
}

/// Another configuration in which every source and stream that there was keeps its place.
pub(super) struct InPlace {
    /// Those that are no longer configured match no file.
    pub(super) sources: Vec<SourceFiles>,
    /// Those that are no longer configured stay as they were, for what is still to be sent.
    pub(super) destinations: ByLane<Destination>,
    pub(super) max_watches: usize,
    pub(super) about: About,
    pub(super) reload: Reload,
}

impl Changed {
    /// Puts this configuration in the places of the one before.
    pub(super) fn in_place(self, engine: &Engine, reached: &ByLane<Destination>, known: &About) -> InPlace {
        let Self { config, sources, destinations, is_asked } = self;
        let unused = engine.unused_streams().into_iter().collect();
        let merged = merge(engine.settings(), &fitted(config.settings.clone()), &unused);
        let about = about(&config, unix_time());
        let no_files = SourceFiles::default();
        let of_source = |new: &Option<usize>| new.map_or(&no_files, |new| &sources[new]).clone();
        let sources: Vec<_> = merged.sources.iter().map(of_source).collect();
        let streams = merged.streams.iter().zip(&merged.settings.streams).enumerate();
        let streams = streams.map(|(place, (new, settings))| StreamAbout {
            lanes: lanes_about(settings),
            ..new.map_or_else(|| known.streams[place].clone(), |new| about.streams[new].clone())
        });
        let streams = streams.collect();
        let destinations = ByLane::of(&merged.settings.streams, |id| {
            let lane = &merged.settings.streams[id.stream.0].spread.lanes[id.place];
            let new = merged.streams[id.stream.0].and_then(|stream| {
                let lanes = &config.settings.streams[stream].spread.lanes;
                let place = lanes.iter().position(|other| other.is_at(lane))?;
                Some(LaneId { stream: StreamId(stream), place })
            });
            new.map_or_else(|| reached[id].clone(), |new| destinations[new].clone())
        });
        let called = merged.settings.sources.iter().map(|source| Arc::clone(&source.name));
        let streams_of_sources = streams_of_sources(&merged.settings);
        // Streams that were opened beside others make no other configuration.
        let about = About {
            sources: called.collect(),
            streams_of_sources,
            streams,
            max_lag: about.max_lag,
            began: known.began,
            config: if is_asked { about.config } else { known.config.clone() },
        };
        let (retired, names) = (merged.retired(), sources.iter().map(SourceFiles::names).collect());
        let reload = Reload { is_changed: is_asked, settings: merged.settings, retired, names };
        InPlace { sources, destinations, max_watches: config.max_watches, about, reload }
    }
}

impl Daemon {
    /// Takes another configuration. Sources and streams keep their places; the engine is told which went.
    pub(super) fn change(&mut self, change: Change) {
        let Change::To(changed) = change else {
            let now = self.now();
            Arc::make_mut(&mut self.events).note_refused_reload(now);
            return self.tell(Event::ReloadRefused);
        };
        let old = self.tasks.destinations();
        let InPlace { sources, destinations, max_watches, about, reload } =
            changed.in_place(&self.engine, old, &self.about);
        let configured = sources.len() - reload.retired.len();
        self.tasks.reconfigure(sources, destinations, max_watches);
        // Streams that were opened beside others say nothing new of those.
        let known = |place: usize| {
            let before = self.about.streams.get(place).map(|stream| &stream.name);
            !reload.is_changed && before == Some(&about.streams[place].name)
        };
        let known: Vec<_> = (0..about.streams.len()).map(known).collect();
        self.about = Arc::new(about);
        if reload.is_changed {
            info!(sources = configured, "another configuration is in effect");
            let now = self.now();
            Arc::make_mut(&mut self.events).note_reload(now);
        }
        self.tell(Event::Reload(Box::new(reload)));
        self.tasks.identify(|stream| !known[stream.0]);
        self.tell_descriptors();
    }
}

/// The settings with no more requests at once than there are descriptors for.
pub(super) fn fitted(mut settings: Settings) -> Settings {
    let most = files::max_connections();
    let asked: u64 = settings.streams.iter().map(requests_at_once).sum();
    if asked > most {
        warn!(
            asked,
            most,
            "max_in_flight is more than there are descriptors for: fewer requests are made at once; raise the limit on \
             open files (LimitNOFILE in a unit, ulimit -n in a shell)"
        );
        for stream in &mut settings.streams {
            let part = u64::from(stream.max_in_flight.get()) * most / asked;
            let part = u32::try_from(part).expect("less than was asked for");
            stream.max_in_flight = NonZeroU32::new(part).unwrap_or(NonZeroU32::MIN);
        }
    }
    settings
}

/// The stream of each source that has but one.
fn streams_of_sources(settings: &Settings) -> Vec<Option<StreamId>> {
    let only = |route: &Route| match route {
        Route::To(stream) => Some(*stream),
        Route::ByPath(_) => None,
    };
    settings.sources.iter().map(|source| only(&source.route)).collect()
}

/// How many requests of a stream are made at once, to all of its delivery streams.
pub(super) fn requests_at_once(stream: &StreamSettings) -> u64 {
    u64::from(stream.max_in_flight.get()) * stream.spread.used().count().max(1) as u64
}

fn lanes_about(settings: &StreamSettings) -> Vec<LaneAbout> {
    let lanes = settings.spread.lanes.iter().enumerate();
    let about = lanes.map(|(place, lane)| LaneAbout {
        delivery_stream: lane.delivery_stream.to_string(),
        quota: settings.quota_of(place),
    });
    about.collect()
}

/// What answers say of this configuration, which is taken in `now`.
pub(super) fn about(config: &Config, now: Duration) -> About {
    let streams = config.streams.iter().zip(&config.settings.streams);
    About {
        sources: config.sources.iter().map(|source| Arc::clone(&source.name)).collect(),
        streams_of_sources: streams_of_sources(&config.settings),
        streams: streams
            .map(|(stream, settings)| StreamAbout {
                name: Arc::clone(&stream.name),
                delivery_stream: stream.delivery_stream.clone(),
                quota: settings.quota,
                packing: settings.packing,
                lanes: lanes_about(settings),
            })
            .collect(),
        max_lag: config.health.max_lag,
        began: now,
        config: ConfigAbout {
            hash: config.included.contents.to_string(),
            effective: plain_lines(&config.describe()).into(),
            since: now,
        },
    }
}
