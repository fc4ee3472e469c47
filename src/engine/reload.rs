//! A changed configuration, while lines are under way.
//!
//! Routes what `rules::reload` has merged to streams and files. Files of a source that is no longer configured go on with
//! one that reads the same names, if there is one. Those that no source ships there, by their names, are let go of
//! (`leaving.rs`). A file that has lost its name, and that this process holds open, is read to its end: no configuration
//! would find it again.
//!
//! *Invariant:* no record changes its stream, and no position is lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::route::Route;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::retry::InvalidBackoff;
use crate::rules::rotation::originals;

use super::Engine;
use super::files::file::{FollowedFile, Name};
use super::port::Reload;
use super::report::{SourceCounts, StreamCounts};

impl Engine {
    /// # Errors
    /// When a stream's retry delays make no backoff; then nothing has changed.
    pub(super) fn on_reload(&mut self, reload: Reload, now: Instant) -> Result<(), InvalidBackoff> {
        let Reload { is_changed, settings, retired, names } = reload;
        // A place that another stream takes begins anew.
        let kept = self.settings.streams.iter().zip(&settings.streams).enumerate();
        let taken: Vec<_> =
            kept.filter(|(_, (old, new))| old.name != new.name).map(|(place, _)| place).collect();
        taken.iter().for_each(|place| self.counts.streams[*place] = StreamCounts::default());
        self.streams.change(&settings.streams, settings.checkpoint, now)?;
        self.counts.sources.resize_with(settings.sources.len(), SourceCounts::default);
        self.counts.streams.resize_with(settings.streams.len(), StreamCounts::default);
        self.saves.change_settings(settings.checkpoint);
        self.intake.change(settings.memory, settings.streams.len());

        let routes: Vec<_> = settings.sources.iter().map(|source| &source.route).collect();
        let goes_elsewhere = |file: &FollowedFile| match routes.get(file.source.0) {
            Some(Route::To(stream)) => *stream != file.stream,
            Some(route @ Route::ByPath(_)) => !route.leads_to(file.stream),
            None => true,
        };
        let is_taken = |file: &FollowedFile| {
            file.name == Name::Lost || names.get(file.source.0).is_none_or(|names| names.takes(&file.path))
        };
        let is_gone =
            |file: &FollowedFile| retired.contains(&file.source) || goes_elsewhere(file) || !is_taken(file);
        let leaves = self.files.iter().filter(|(_, file)| is_gone(file) && !is_last_hold(file));
        let leaves = leaves.map(|(id, _)| id).collect();
        let back = self.surveys.retired().difference(&retired).copied();
        // What was left out may have been renamed before it is wanted again.
        let left_out = self.lives.sources_let_go_of().difference(&retired).copied().collect::<Vec<_>>();
        let back: BTreeSet<_> = back.chain(left_out).collect();
        let look_beside: BTreeSet<StreamId> =
            back.iter().flat_map(|source| settings.sources[source.0].route.streams()).collect();
        // Positions of a stream that is only open now may be of files that were renamed since.
        let opened = taken.into_iter().chain(self.settings.streams.len()..settings.streams.len());
        let look_beside = look_beside.into_iter().chain(opened.map(StreamId)).collect();
        let left_out = self.left_out();
        self.leaving.change(names, leaves, now);
        let before = self.settings.sources.len();
        self.settings = settings;
        self.go_on_as_sources_from(before);
        self.saves.room_mut().change(super::stream_names(&self.settings));
        self.surveys.change(self.settings.sources.len(), retired, look_beside);
        self.hand_to_successors(&back, now);
        let forsaken: Vec<_> =
            self.surveys.take_forsaken().into_iter().flat_map(|source| self.streams_of(source)).collect();
        self.surveys.look_beside(forsaken);
        self.look_for_what_is_back(left_out);
        self.counts.reloads += u64::from(is_changed);
        self.take_up_awaiting(now);
        // An order that has become free lets files go on that waited for an answer.
        for state in self.lives.states_mut() {
            self.streams.offer(state, 0);
        }
        self.spread_anew(now);
        Ok(())
    }

    /// Sources from that place on are new: their streams are looked at since those were that they share them with.
    fn go_on_as_sources_from(&mut self, before: usize) {
        for source in (before..self.settings.sources.len()).map(SourceId) {
            let of_stream = (0..before).map(SourceId);
            let streams = self.streams_of(source);
            let of_stream =
                of_stream.filter(|known| streams.iter().any(|stream| self.leads_to(*known, *stream)));
            of_stream
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|known| self.families.goes_on_as(known, source));
        }
    }

    /// What belongs to a source that is no longer configured, or reads its name no longer, goes on with one that reads it into
    /// the same stream, as it is: nothing is closed, and whatever is renamed or cut off meanwhile is no other case than at any
    /// time.
    fn hand_to_successors(&mut self, back: &BTreeSet<SourceId>, now: Instant) {
        let orphans = self
            .files
            .iter()
            .filter(|(id, file)| self.surveys.is_retired(file.source) || self.leaving.is_to_leave(*id));
        let files: Vec<_> = orphans
            .filter_map(|(id, file)| {
                let former = originals(file.real_path());
                let names = file.family.iter().chain(&file.kind.former).map(|name| &**name);
                let names = names.chain(former.iter().map(PathBuf::as_path));
                // What has its name has no other.
                let names = names.filter(|_| file.name == Name::Lost).chain([&*file.path]);
                let names = names.chain(file.target.as_deref());
                Some((id, self.successor(file.stream, names)?))
            })
            .collect();
        for (id, source) in files {
            let identity = self.files.known(id).identity;
            self.hand_to(id, source);
            self.leaving.remove(id);
            self.families.forget_refused(source, identity);
        }
        for of in self.lives.all_sought() {
            let sought = self.lives.sought(of).expect("just listed");
            let (before, stream, path) =
                (sought.search.source, sought.search.stream, Arc::clone(sought.path));
            let former = originals(&path);
            let names = former.iter().map(PathBuf::as_path).chain([&*path]);
            let successor = match self.surveys.is_retired(before) {
                true => self.successor(stream, names),
                false => Some(before).filter(|before| back.contains(before)),
            };
            if let Some(source) = successor {
                self.lives.hand_search_to(of, source, now);
                self.surveys.seek_beside(source, &path);
            }
        }
    }

    /// The source that reads one of these names into a stream.
    fn successor<'a>(&self, stream: StreamId, names: impl Iterator<Item = &'a Path>) -> Option<SourceId> {
        let names: Vec<_> = names.collect();
        let mut sources = (0..self.settings.sources.len()).map(SourceId);
        sources.find(|source| {
            let ships = |name: &&Path| self.leaving.takes(*source, name) && self.sends(*source, name, stream);
            !self.surveys.is_retired(*source) && names.iter().any(ships)
        })
    }

    /// Positions in files that the configuration leaves out, whichever process let go of them: each with its stream and the
    /// file's name when a source read it.
    fn left_out(&self) -> Vec<(StreamId, Arc<Path>)> {
        let unread = self.lives.unread().filter_map(|unread| {
            let stream = self.stream_called(unread.stream)?;
            unread.matched_path.map(|path| (stream, path))
        });
        let left_out = unread.filter(|(stream, path)| self.is_left_out(*stream, path));
        left_out.map(|(stream, path)| (stream, Arc::clone(path))).collect()
    }

    /// Files of these names were left out. Where one is wanted again, it may have been renamed since, and is looked for.
    fn look_for_what_is_back(&mut self, left_out: Vec<(StreamId, Arc<Path>)>) {
        let back = left_out.into_iter().filter(|(stream, path)| !self.is_left_out(*stream, path));
        let back: Vec<_> = back.map(|(stream, _)| stream).collect();
        self.surveys.look_beside(back);
    }
}

/// Whether a file can be read through its open descriptor alone: no source shows it any more.
fn is_last_hold(file: &FollowedFile) -> bool {
    file.name == Name::Lost && file.is_open()
}
