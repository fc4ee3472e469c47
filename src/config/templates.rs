//! Streams that paths name: set up as the nearest table says, once a file is there for one.
//!
//! Knows the settings of streams that may come. Does not know files, nor when a stream is to be opened.
//!
//! *Invariant:* a name is one stream, whichever source makes it, and whether a source also names it itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Config, Stream};
use crate::model::route::{NameGlob, Route};
use crate::model::settings::{StreamId, StreamSettings};

/// How streams are set up whose names one table is for.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamTemplate {
    /// The names that it is for.
    pub(super) names: NameGlob,
    /// The way to such a stream, but for its name.
    pub(super) stream: Stream,
    /// How records reach it, but for its name.
    pub(super) settings: StreamSettings,
}

impl Config {
    /// Whether files may go to streams that no source names.
    pub fn has_templates(&self) -> bool {
        self.settings.sources.iter().any(|source| matches!(source.route, Route::ByPath(_)))
    }

    /// Whether a path could make a stream of this name.
    pub fn may_open(&self, name: &str) -> bool {
        self.settings.sources.iter().any(|source| match &source.route {
            Route::To(_) => false,
            Route::ByPath(by_path) => by_path.may_make(name),
        })
    }

    /// This configuration with the streams called `names` open, those of each source in that order up to its `max_streams`.
    #[must_use]
    pub fn with_streams<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut config = self.clone();
        for name in names {
            let places: Vec<_> = config.places_for(name);
            if places.is_empty() {
                continue;
            }
            let Some(stream) = config.stream_called(name) else { continue };
            for place in places {
                if let Route::ByPath(by_path) = &mut config.settings.sources[place].route {
                    by_path.open.push((name.into(), stream));
                }
            }
        }
        for source in &mut config.settings.sources {
            if let Route::ByPath(by_path) = &mut source.route {
                by_path.is_full = by_path.open.len() >= by_path.max_streams;
            }
        }
        config
    }

    /// The sources that may open a stream of this name, and have not as many as they may.
    fn places_for(&self, name: &str) -> Vec<usize> {
        let sources = self.settings.sources.iter().enumerate();
        let opening = sources.filter(|(_, source)| match &source.route {
            Route::To(_) => false,
            Route::ByPath(by_path) => {
                by_path.open.len() < by_path.max_streams
                    && by_path.may_make(name)
                    && by_path.open.iter().all(|(open, _)| **open != *name)
            }
        });
        opening.map(|(place, _)| place).collect()
    }

    /// The stream of this name, which is opened where there is none. One that another stream is at the service is that
    /// one: both would use the whole of its quotas.
    fn stream_called(&mut self, name: &str) -> Option<StreamId> {
        if let Some(place) = self.streams.iter().position(|stream| *stream.name == *name) {
            return Some(StreamId(place));
        }
        let template = self.templates.iter().find(|template| template.names.matches(name))?;
        let name: Arc<str> = name.into();
        let mut stream = Stream { name: Arc::clone(&name), ..template.stream.clone() };
        let mut settings = StreamSettings { name: Arc::clone(&name), ..template.settings.clone() };
        // A table that is for one name may say what that is at the service.
        if NameGlob::is_glob(template.names.text()) {
            stream.delivery_stream = name.to_string();
            for lane in &mut settings.spread.lanes {
                lane.delivery_stream = Arc::clone(&name);
            }
        }
        let is_at = |other: &Stream, one: &Stream| {
            (&other.delivery_stream, &other.region, &other.endpoint_url, &other.role_arn)
                == (&one.delivery_stream, &one.region, &one.endpoint_url, &one.role_arn)
        };
        let is_same =
            |other: &Stream| other.lanes().any(|other| stream.lanes().any(|one| is_at(&other, &one)));
        if let Some(place) = self.streams.iter().position(is_same) {
            return Some(StreamId(place));
        }
        self.settings.streams.push(settings);
        self.streams.push(stream);
        Some(StreamId(self.streams.len() - 1))
    }

    /// The names of the streams that are open because a path made them.
    pub fn opened(&self) -> BTreeSet<Arc<str>> {
        let routes = self.settings.sources.iter().map(|source| &source.route);
        let open = routes.flat_map(|route| match route {
            Route::To(_) => &[][..],
            Route::ByPath(by_path) => &by_path.open[..],
        });
        open.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// The streams among `wanted` that are not open because a source has as many as it may.
    pub fn lacks<'n>(&self, wanted: impl IntoIterator<Item = &'n Arc<str>>) -> bool {
        let opened = self.opened();
        wanted.into_iter().any(|name| self.may_open(name) && !opened.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn load(text: &str) -> Config {
        Config::from_text(Path::new("c.toml"), text, &|_| None).expect("valid")
    }

    const TEAMS: &str = r#"
        [[source]]
        paths = ["/log/*/*.log"]
        path_fields = '^/log/(?<team>[^/]+)/'
        stream = "logs-{team}"
        streams = ["logs-*"]
        max_streams = 3
        default_stream = "other"
        [[source]]
        paths = ["/fixed"]
        stream = "fixed"
        [stream.fixed]
        delivery_stream = "logs-shared"
        [stream.default]
        max_in_flight = 7
        [stream."logs-*"]
        api = "auto"
        [stream."logs-eu-*"]
        region = "eu-west-1"
        [stream.logs-pay]
        packing = "on"
    "#;

    #[test]
    fn a_stream_is_set_up_by_the_table_that_says_most_of_its_name() {
        let config = load(TEAMS).with_streams(["logs-a", "logs-eu-b", "logs-pay"]);
        let names: Vec<_> = config.streams.iter().map(|stream| &*stream.delivery_stream).collect();
        assert_eq!(names, ["other", "logs-shared", "logs-a", "logs-eu-b", "logs-pay"]);
        let [_, _, a, eu, pay] = &config.settings.streams[..] else { panic!("five") };
        for stream in [a, eu, pay] {
            assert_eq!(stream.max_in_flight.get(), 7);
        }
        use crate::model::settings::{Api, Packing};
        assert_eq!((a.api, eu.api, pay.api), (Api::Auto, Api::PutRecord, Api::PutRecord));
        assert!(pay.packing != Packing::Off && a.packing == Packing::Off);
        assert_eq!(config.streams[3].region.as_deref(), Some("eu-west-1"));
        assert_eq!(
            config.opened().iter().map(|name| &**name).collect::<Vec<_>>(),
            ["logs-a", "logs-eu-b", "logs-pay"]
        );
    }

    #[test]
    fn no_more_are_open_than_max_streams_and_one_that_is_another_at_the_service_is_that_one() {
        let wanted: Vec<Arc<str>> = ["logs-shared", "logs-a", "logs-b", "logs-c"].map(Arc::from).to_vec();
        let config = load(TEAMS);
        assert!(config.lacks(&wanted));
        let config = config.with_streams(wanted.iter().map(|name| &**name));
        let Route::ByPath(by_path) = &config.settings.sources[0].route else { panic!("a template") };
        let open: Vec<_> = by_path.open.iter().map(|(name, stream)| (&**name, stream.0)).collect();
        assert_eq!(open, [("logs-shared", 1), ("logs-a", 2), ("logs-b", 3)]);
        assert!(by_path.is_full && config.lacks(&wanted) && !config.lacks(&wanted[..3]));
        assert_eq!(by_path.default, Some(StreamId(0)));
    }

    #[test]
    fn only_names_that_a_path_could_make_are_opened() {
        let config = load(TEAMS);
        assert!(config.has_templates() && config.may_open("logs-x"));
        for name in ["x", "other", "logs-", "fixed", "logs-a b"] {
            let opened = config.with_streams([name]).opened();
            assert_eq!(opened.is_empty(), name != "logs-", "{name}");
        }
        assert!(!load("[[source]]\npaths = [\"/a\"]\nstream = \"s\"").has_templates());
    }
}
