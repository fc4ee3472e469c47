//! A changed configuration, while lines are under way.
//!
//! Routes what `rules::reload` has merged to streams and files. Files of a source that is no longer configured, or
//! that ships elsewhere now, are let go of as soon as no read of them is under way; what was read of them is
//! delivered where it belonged, and their positions are kept.
//!
//! *Invariant:* no record changes its stream, and no position is lost.

use std::collections::BTreeSet;

use crate::model::settings::SourceId;
use crate::model::time::Instant;
use crate::rules::checkpoint::RENEW_EVERY;
use crate::rules::retry::InvalidBackoff;

use super::Engine;
use super::life::Afterwards;
use super::port::{FileId, Reload};
use super::report::{SourceCounts, StreamCounts};
use super::stream::Stream;
use super::tail::Descriptor;

impl Engine {
    /// What the engine works by, with everything that was ever configured in its place.
    pub fn settings(&self) -> &crate::model::settings::Settings {
        &self.settings
    }

    /// # Errors
    /// When a stream's retry delays make no backoff; then nothing has changed.
    pub(super) fn on_reload(&mut self, reload: Reload, now: Instant) -> Result<(), InvalidBackoff> {
        let Reload { settings, retired } = reload;
        let fresh: Result<Vec<_>, _> = settings
            .streams
            .iter()
            .map(|stream| Stream::try_new(stream.clone(), settings.checkpoint, now))
            .collect();
        let mut fresh = fresh?.into_iter();
        for (stream, fresh) in self.streams.iter_mut().zip(fresh.by_ref()) {
            stream.change(fresh, now);
        }
        self.streams.extend(fresh);
        self.counts.sources.resize_with(settings.sources.len(), SourceCounts::default);
        self.counts.streams.resize_with(settings.streams.len(), StreamCounts::default);
        self.last_errors.resize(settings.streams.len(), None);
        self.pace.change(settings.checkpoint);

        let moved = self.settings.sources.iter().zip(&settings.sources).enumerate();
        let moved = moved.filter(|(_, (old, new))| old.stream != new.stream);
        let gone: BTreeSet<_> =
            moved.map(|(place, _)| SourceId(place)).chain(retired.iter().copied()).collect();
        let leaves = self.tails.iter().filter(|(_, tail)| gone.contains(&tail.source)).map(|(id, _)| *id);
        self.leaving.extend(leaves);
        // A source that is back before its files were let go of has never been away.
        let stays = |id: &FileId| self.tails.get(id).is_some_and(|tail| gone.contains(&tail.source));
        self.leaving.retain(stays);
        let comes_back = self.retired.iter().any(|source| !retired.contains(source));
        self.retired = retired;
        self.settings = settings;
        self.surveys.wanted = true;
        // What was renamed while its source was away is found beside its name, as after a restart.
        self.surveys.may_look_beside |= comes_back;
        self.counts.reloads += 1;
        // An order that has become free lets files go on that waited for an answer.
        for life in self.lives.values_mut() {
            self.streams[life.stream.0].offer(life, 0);
        }
        Ok(())
    }

    /// Lets go of the files that are to be let go of, unless one is just being opened or read.
    pub(super) fn let_go_of_leaving(&mut self, now: Instant) {
        if self.leaving.is_empty() {
            return;
        }
        for id in self.leaving.clone() {
            let Some(tail) = self.tails.get(&id) else {
                self.leaving.remove(&id);
                continue;
            };
            if tail.reading.is_some() || tail.descriptor == Descriptor::Opening {
                continue;
            }
            let (incarnation, source) = (tail.incarnation(), tail.source);
            self.leaving.remove(&id);
            self.drop_tail(id);
            if let Some(incarnation) = incarnation {
                self.parked.insert(incarnation, source);
                self.detach(incarnation, Afterwards::Kept, now);
            }
            self.surveys.wanted = true;
        }
    }

    /// Says once a day in the database that the checkpoints of files that are followed are in use: those that are
    /// not are given up after a time.
    pub(super) fn renew(&mut self, now: Instant) {
        if now.since(self.renewed_at) >= RENEW_EVERY {
            self.renewed_at = now;
            self.changed.extend(self.lives.keys());
            if !self.changed.is_empty() {
                self.pace.changed(0, now);
            }
        }
    }
}
