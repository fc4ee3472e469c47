//! A changed configuration, while lines are under way.
//!
//! Routes what `rules::reload` has merged to streams and files. Files of a source that is no longer configured, or
//! that ships elsewhere now, are let go of as soon as no read of them is under way; what was read of them is
//! delivered where it belonged, and their positions are kept. A file that has lost its name, and that this process holds
//! open, is read to its end: no configuration would find it again.
//!
//! *Invariant:* no record changes its stream, and no position is lost.

use std::collections::BTreeSet;

use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::retry::InvalidBackoff;

use super::Engine;
use super::files::State;
use super::files::file::{FollowedFile, Name};
use super::parting::Parting;
use super::port::Reload;
use super::report::{SourceCounts, StreamCounts};

impl Engine {
    /// # Errors
    /// When a stream's retry delays make no backoff; then nothing has changed.
    pub(super) fn on_reload(&mut self, reload: Reload, now: Instant) -> Result<(), InvalidBackoff> {
        let Reload { settings, retired } = reload;
        self.streams.change(&settings.streams, settings.checkpoint, now)?;
        self.counts.sources.resize_with(settings.sources.len(), SourceCounts::default);
        self.counts.streams.resize_with(settings.streams.len(), StreamCounts::default);
        self.saves.change_settings(settings.checkpoint);
        self.intake.change(settings.memory, settings.streams.len());

        let moved = self.settings.sources.iter().zip(&settings.sources).enumerate();
        let moved = moved.filter(|(_, (old, new))| old.stream != new.stream);
        let gone: BTreeSet<_> =
            moved.map(|(place, _)| SourceId(place)).chain(retired.iter().copied()).collect();
        // A source that is back before its files were let go of has never been away.
        let leaves = self.files.iter().filter(|(_, file)| gone.contains(&file.source) && !is_last_hold(file));
        self.leaving.files = leaves.map(|(id, _)| id).collect();
        let back = self.surveys.retired().difference(&retired);
        let look_beside: BTreeSet<StreamId> = back.map(|source| settings.sources[source.0].stream).collect();
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
        Ok(())
    }

    /// Lets go of the files that are to be let go of, unless one is just being opened or read.
    pub(super) fn let_go_of_leaving(&mut self, now: Instant) {
        for id in self.leaving.files.clone() {
            let Some(file) = self.files.get(id) else {
                self.leaving.files.remove(&id);
                continue;
            };
            if matches!(file.state(), State::Reading { .. } | State::Opening { .. }) {
                continue;
            }
            let (identity, stream, is_begun) = (file.identity, file.stream, file.incarnation().is_some());
            self.part(id, Parting::LeftInPlace, now);
            if !is_begun {
                // Whoever goes on with its names goes on with it, whatever it is called by then.
                let sources = (0..self.settings.sources.len()).map(SourceId);
                let of_stream = sources.filter(|source| self.stream_of(*source) == stream);
                of_stream
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|source| self.families.note_refused(source, identity));
            }
            self.surveys.want_all();
        }
    }
}

/// Whether a file can be read through its open descriptor alone: no source shows it any more.
fn is_last_hold(file: &FollowedFile) -> bool {
    file.name == Name::Lost && file.is_open()
}
