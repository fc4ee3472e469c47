//! Which delivery stream a file goes to, and files whose stream is still to be opened.
//!
//! Routes names to streams, as `model::route` says; asks for streams that are not open yet, and takes their files up once
//! they are. Does not know how a stream is opened: that is another configuration, which comes as a reload.
//!
//! *Invariant:* a file keeps the stream in which it was begun for as long as it is followed, whatever its path becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::model::identity::Identity;
use crate::model::route::{Destined, Route};
use crate::model::settings::{SourceId, StartAt, StreamId, Until};
use crate::model::time::Instant;

use super::Engine;
use super::families::Looked;
use super::files::file::Name;
use super::port::{Effect, FileId, Observed, WantedStreams};

/// A file whose stream is not open.
#[derive(Debug)]
struct Awaiting {
    stream: Arc<str>,
    observed: Observed,
    /// Whether it was there at the first start of its source.
    at_first_start: bool,
}

/// Files whose streams are not open, and streams that are asked for.
#[derive(Debug, Default)]
pub(super) struct Routing {
    awaiting: BTreeMap<(SourceId, Identity), Awaiting>,
    /// What is asked for and not answered.
    asked: BTreeSet<Arc<str>>,
    /// Streams that may make room for others: nothing was under way for them at the last look.
    unused: BTreeSet<StreamId>,
}

impl Engine {
    /// A source is looked at: where its files have opened as many streams as may be, some may make room.
    pub(super) fn note_unused(&mut self, source: SourceId) {
        let is_full = |route: &Route| matches!(route, Route::ByPath(by_path) if by_path.is_full);
        if is_full(&self.settings.sources[source.0].route) {
            self.unwanted.routing.unused = self.unused_streams().into_iter().collect();
        }
    }

    /// Where a file goes that a source shows.
    pub(super) fn destined(&self, source: SourceId, observed: &Observed) -> Destined {
        let route = &self.settings.sources[source.0].route;
        if let Route::ByPath(by_path) = route
            && by_path.is_full
            && by_path.open.iter().any(|(_, stream)| self.unwanted.routing.unused.contains(stream))
            && let Ok(name) = by_path.name(observed.real_path(), &observed.path)
            && !by_path.is_open(&name)
        {
            return Destined::Unopened(name.into());
        }
        match observed.rotated_from.first() {
            // It lies where its rotator put it, which may say nothing of where it is from.
            Some(original) if !observed.is_matched => self
                .stream_of_name(source, original)
                .map_or_else(|| route.of(original, original), Destined::To),
            Some(_) | None => route.of(observed.real_path(), &observed.path),
        }
    }

    /// The stream of a followed file of a source that has this name.
    fn stream_of_name(&self, source: SourceId, name: &Path) -> Option<StreamId> {
        let there = self.files.at(name).iter().map(|file| self.files.known(*file));
        there.filter(|file| file.source == source).map(|file| file.stream).next()
    }

    /// The delivery stream of a file that a source shows, if that is open.
    pub(super) fn stream_of(&self, source: SourceId, observed: &Observed) -> Option<StreamId> {
        if let Route::To(stream) = self.settings.sources[source.0].route {
            return Some(stream);
        }
        match self.destined(source, observed) {
            Destined::To(stream) => Some(stream),
            Destined::Unopened(_) | Destined::Nowhere(_) => None,
        }
    }

    /// The file that a source shows, if it is followed for a stream that the source's files go to.
    pub(super) fn followed(&self, source: SourceId, observed: &Observed) -> Option<FileId> {
        let identity = observed.identity;
        let here = self.stream_of(source, observed).and_then(|stream| self.files.of(stream, identity));
        here.or_else(|| match &self.settings.sources[source.0].route {
            Route::To(_) => None,
            // Its path may have said something else when it was begun.
            route @ Route::ByPath(_) => {
                let mut elsewhere =
                    route.streams().into_iter().filter_map(|stream| self.files.of(stream, identity));
                elsewhere.find(|id| self.files.known(*id).source == source)
            }
        })
    }

    /// Since when names of a source are looked at that no file had yet, for a stream. Whoever looked for one of the streams
    /// that paths name looked for all of them.
    pub(super) fn since_nanos(&self, source: SourceId, stream: &str) -> Option<i64> {
        let looked = self.looked(source);
        let is_of_paths = |name: &str| match &self.settings.sources[source.0].route {
            Route::To(_) => false,
            Route::ByPath(by_path) => by_path.may_make(name),
        };
        self.families.since_nanos(source, &looked, |name| name == stream || is_of_paths(name))
    }

    /// What a look at a source is known by to later processes.
    pub(super) fn looked(&self, source: SourceId) -> Looked {
        let settings = &self.settings.sources[source.0];
        let stream = match &settings.route {
            Route::To(stream) => Arc::clone(self.stream_name(*stream)),
            Route::ByPath(by_path) => by_path.template.text().into(),
        };
        (stream, Arc::clone(&settings.name))
    }

    /// The delivery streams that files of a source go to now.
    pub(super) fn streams_of(&self, source: SourceId) -> Vec<StreamId> {
        self.settings.sources[source.0].route.streams()
    }

    /// Whether files of a source may go to a stream.
    pub(super) fn leads_to(&self, source: SourceId, stream: StreamId) -> bool {
        self.settings.sources[source.0].route.leads_to(stream)
    }

    /// The delivery stream of this name, if it was ever configured.
    pub(super) fn stream_called(&self, name: &str) -> Option<StreamId> {
        self.settings.streams.iter().position(|stream| *stream.name == *name).map(StreamId)
    }

    /// The sources whose files may go to a stream.
    pub(super) fn sources_of(&self, stream: StreamId) -> Vec<SourceId> {
        let sources = (0..self.settings.sources.len()).map(SourceId);
        sources.filter(|source| self.leads_to(*source, stream)).collect()
    }

    /// Whether a file of this name, which a source reads, goes to `stream`.
    pub(super) fn sends(&self, source: SourceId, path: &Path, stream: StreamId) -> bool {
        match &self.settings.sources[source.0].route {
            Route::To(to) => *to == stream,
            route @ Route::ByPath(_) => match route.of(path, path) {
                Destined::To(to) => to == stream,
                Destined::Unopened(_) => false,
                // Another name of it, which is not known here, may have said where it goes.
                Destined::Nowhere(_) => self.leads_to(source, stream),
            },
        }
    }

    /// A file goes to no stream that is open: the stream is asked for, or the file is told.
    pub(super) fn await_stream(&mut self, source: SourceId, observed: &Observed, at_first_start: bool) {
        // What is found during a drain comes after the next start.
        if self.finishing.is_some() && self.settings.until != Until::EndOfFiles {
            return;
        }
        match self.destined(source, observed) {
            Destined::To(_) => {}
            Destined::Nowhere(why) => self.skip(source, Arc::clone(&observed.path), why),
            Destined::Unopened(stream) => {
                let observed = observed.clone();
                self.unwanted
                    .routing
                    .awaiting
                    .insert((source, observed.identity), Awaiting { stream, observed, at_first_start });
            }
        }
    }

    /// A file that a source matches is followed from now on.
    pub(super) fn begin_following(
        &mut self,
        (source, stream): (SourceId, StreamId),
        observed: &Observed,
        at_first_start: bool,
        now: Instant,
    ) {
        if self.is_told_apart(source, observed) {
            return;
        }
        self.note_family(stream, observed, self.surveys.unix_nanos());
        if at_first_start && self.settings.sources[source.0].start_at == StartAt::End {
            self.note_first_end(stream, observed, now);
        } else {
            self.mark_found((source, stream), observed, now);
        }
        self.follow((source, stream), observed, Name::Matched, now);
    }

    /// The names of a file are looked at since then.
    pub(super) fn note_family(&mut self, stream: StreamId, observed: &Observed, since_nanos: i64) {
        let name = Arc::clone(self.stream_name(stream));
        let (path, owner) = (Arc::clone(observed.real_path()), Some(observed.owner));
        self.families.note(&name, path, since_nanos, owner);
    }

    /// Asks for the streams that files wait for, once for each.
    pub(super) fn ask_for_streams(&mut self) {
        let wanted: BTreeSet<_> =
            self.unwanted.routing.awaiting.values().map(|waits| Arc::clone(&waits.stream)).collect();
        if wanted.is_subset(&self.unwanted.routing.asked) {
            return;
        }
        self.unwanted.routing.asked.extend(wanted.iter().cloned());
        let unused = self.unused_streams().into_iter().map(|stream| Arc::clone(self.stream_name(stream)));
        let wanted = WantedStreams { wanted: wanted.into_iter().collect(), unused: unused.collect() };
        self.effects.push_back(Effect::Want(wanted));
    }

    /// Streams that nothing is followed, held or sent for.
    pub fn unused_streams(&self) -> Vec<StreamId> {
        let of_files = self.files.iter().map(|(_, file)| file.stream);
        let of_lives = self.lives.states().map(|state| state.stream());
        let used: BTreeSet<_> = of_files.chain(of_lives).collect();
        let all = (0..self.settings.streams.len()).map(StreamId);
        all.filter(|stream| !used.contains(stream) && self.streams.is_empty(*stream)).collect()
    }

    /// Another configuration is there, or none that can be used: files whose streams are open now are begun, and others are
    /// asked for again when they are seen again.
    pub(super) fn take_up_awaiting(&mut self, now: Instant) {
        self.unwanted.routing.asked.clear();
        self.unwanted.routing.unused.clear();
        let is_finishing = self.finishing.is_some();
        for ((source, identity), waits) in std::mem::take(&mut self.unwanted.routing.awaiting) {
            let is_matched = waits.observed.is_matched;
            let is_left_out = is_matched && !self.leaving.takes(source, &waits.observed.path);
            if self.surveys.is_retired(source) || is_left_out {
                continue;
            }
            match self.stream_of(source, &waits.observed) {
                Some(stream) if self.files.of(stream, identity).is_some() => {}
                Some(stream) if !is_matched => {
                    self.follow_generation((source, stream), &waits.observed, now);
                }
                Some(stream) => {
                    self.unwanted.told.remove(&(source, Arc::clone(&waits.observed.path)));
                    // What came and was rotated away before the stream was open is one of its generations.
                    let since = self.since_nanos(source, self.stream_name(stream));
                    self.note_family(stream, &waits.observed, since.unwrap_or(i64::MAX));
                    self.begin_following((source, stream), &waits.observed, waits.at_first_start, now);
                }
                None if matches!(self.destined(source, &waits.observed), Destined::Nowhere(_)) => {
                    self.await_stream(source, &waits.observed, waits.at_first_start);
                }
                None if is_finishing => {
                    let why = format!("its stream {} cannot be opened", waits.stream);
                    self.skip(source, Arc::clone(&waits.observed.path), why);
                }
                None => {}
            }
        }
    }

    /// Nothing more is begun: what waits for a stream comes after the next start.
    pub(super) fn stop_awaiting(&mut self) {
        self.unwanted.routing = Routing::default();
    }

    /// Whether files that are to be read to their ends wait for streams.
    pub(super) fn awaits_streams(&self) -> bool {
        self.settings.until == Until::EndOfFiles && !self.unwanted.routing.awaiting.is_empty()
    }
}

#[cfg(test)]
mod tests;
