//! A changed configuration, while lines are under way.
//!
//! Routes what `rules::reload` has merged to streams and files. Files of a source that is no longer configured, that
//! ships elsewhere now, or that reads their names no longer, are let go of (`leaving.rs`). A file that has lost its name,
//! and that this process holds open, is read to its end: no configuration would find it again.
//!
//! *Invariant:* no record changes its stream, and no position is lost.

use std::collections::BTreeSet;

use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::retry::InvalidBackoff;

use super::Engine;
use super::files::file::{FollowedFile, Name};
use super::port::Reload;
use super::report::{SourceCounts, StreamCounts};

impl Engine {
    /// # Errors
    /// When a stream's retry delays make no backoff; then nothing has changed.
    pub(super) fn on_reload(&mut self, reload: Reload, now: Instant) -> Result<(), InvalidBackoff> {
        let Reload { settings, retired, names } = reload;
        self.streams.change(&settings.streams, settings.checkpoint, now)?;
        self.counts.sources.resize_with(settings.sources.len(), SourceCounts::default);
        self.counts.streams.resize_with(settings.streams.len(), StreamCounts::default);
        self.saves.change_settings(settings.checkpoint);
        self.intake.change(settings.memory, settings.streams.len());

        let moved = self.settings.sources.iter().zip(&settings.sources).enumerate();
        let moved = moved.filter(|(_, (old, new))| old.stream != new.stream);
        let gone: BTreeSet<_> =
            moved.map(|(place, _)| SourceId(place)).chain(retired.iter().copied()).collect();
        let is_taken = |file: &FollowedFile| {
            file.name == Name::Lost || names.get(file.source.0).is_none_or(|names| names.takes(&file.path))
        };
        let is_gone = |file: &FollowedFile| gone.contains(&file.source) || !is_taken(file);
        let leaves = self.files.iter().filter(|(_, file)| is_gone(file) && !is_last_hold(file));
        let leaves = leaves.map(|(id, _)| id).collect();
        let back = self.surveys.retired().difference(&retired).copied();
        // What was left out may have been renamed before it is wanted again.
        let left_out = self.lives.sources_let_go_of().difference(&retired).copied().collect::<Vec<_>>();
        let back: BTreeSet<_> = back.chain(left_out).collect();
        let look_beside: BTreeSet<StreamId> =
            back.into_iter().map(|source| settings.sources[source.0].stream).collect();
        self.leaving.change(names, leaves, now);
        let before = self.settings.sources.len();
        self.settings = settings;
        for source in (before..self.settings.sources.len()).map(SourceId) {
            let of_stream = (0..before).map(SourceId);
            let of_stream = of_stream.filter(|known| self.stream_of(*known) == self.stream_of(source));
            of_stream
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|known| self.families.goes_on_as(known, source));
        }
        self.saves.room_mut().change(super::stream_names(&self.settings));
        self.surveys.change(self.settings.sources.len(), retired, look_beside);
        self.counts.reloads += 1;
        // An order that has become free lets files go on that waited for an answer.
        for state in self.lives.states_mut() {
            self.streams.offer(state, 0);
        }
        self.spread_anew();
        Ok(())
    }
}

/// Whether a file can be read through its open descriptor alone: no source shows it any more.
fn is_last_hold(file: &FollowedFile) -> bool {
    file.name == Name::Lost && file.is_open()
}
