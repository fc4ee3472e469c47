//! What surveys and hints say: names that come, change and go.
//!
//! Routes what was seen to followed files. Does not open or read.
//!
//! *Invariant (L9):* whatever hints said or failed to say, every survey of a source compares all that is there with all
//! that is known of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::model::offset::Offset;
use crate::model::renamed::Renamed;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::rotation::is_moved;

use super::Engine;
use super::files::State;
use super::files::file::{FollowedFile, Name, Task, saved_names};
use super::incarnation::Names;
use super::port::{Effect, FileId, Hint, Observed, Survey};
use super::report::{Report, Rotation};

mod at_rest;

impl Engine {
    /// Begins the surveys that are due.
    pub(super) fn survey(&mut self, now: Instant) {
        for (source, also) in self.surveys.begin_due(now) {
            let held = self.held(source);
            let mut also: BTreeSet<_> = also.into_iter().collect();
            for stream in self.streams_of(source) {
                also.extend(self.lives.closed_directories(self.stream_name(stream)));
            }
            let also = also.into_iter().collect();
            let renamed = self.surveys.renames_mut().hand(source);
            self.effects.push_back(Effect::Survey(Survey { source, also, held, renamed }));
        }
    }

    pub(super) fn on_hint(&mut self, hint: Hint) {
        match hint {
            Hint::Grown(path) => {
                for file in self.files.at(&path).to_vec() {
                    self.files.known_mut(file).end.is_hinted = true;
                    self.queue_read(file);
                }
            }
            Hint::Renamed(renamed) => {
                self.note_renamed(&renamed);
                self.on_hint(Hint::Names);
            }
            // What comes and goes during a drain asks for no further look.
            Hint::Names if self.finishing.is_some() => {}
            Hint::Names => self.surveys.want_all(),
            Hint::Everything => {
                self.counts.watch_overflows += 1;
                if self.finishing.is_none() {
                    self.surveys.want_all();
                }
                self.files.want_all_read();
            }
        }
    }

    /// A file has another name than one that a source reads: it may be a log that nobody saw yet.
    fn note_renamed(&mut self, renamed: &Renamed) {
        for source in (0..self.settings.sources.len()).map(SourceId) {
            if !self.surveys.is_retired(source) {
                // Behind a link that is followed, files have other names than those that the source reads.
                let is_read =
                    self.leaving.takes(source, &renamed.from) || self.is_of_family(source, &renamed.from);
                self.surveys.renames_mut().note(source, renamed, is_read);
            }
        }
    }

    /// Whether a file of a source has or had this name, in the directory that holds it.
    fn is_of_family(&self, source: SourceId, name: &Arc<Path>) -> bool {
        let mut streams = self.streams_of(source).into_iter();
        streams.any(|stream| self.families.first_seen_nanos(self.stream_name(stream), [name]).is_some())
    }

    /// Opens a file again that was renamed, read to its end and closed, if it was written to since.
    pub(super) fn open_late(&mut self, source: SourceId, observed: &Observed, now: Instant) {
        let identity = observed.identity;
        let late = self.streams_of(source).into_iter().find(|stream| {
            self.files.of(*stream, identity).is_none()
                && !self.families.is_stranger(source, identity)
                && self.lives.has_late_lines(identity, observed.size, self.stream_name(*stream))
        });
        if let Some(stream) = late {
            self.follow((source, stream), observed, Name::Lost, now);
        }
    }

    /// A file that a source matches: it is new, or the source's already, or another source of the stream has it.
    pub(super) fn meet(
        &mut self,
        source: SourceId,
        observed: &Observed,
        at_first_start: bool,
        began: Instant,
        now: Instant,
    ) {
        let Some(id) = self.followed(source, observed) else {
            if self.surveys.is_too_late(source) && !self.is_unknown_inside(source, observed.identity) {
                return;
            }
            match self.stream_of(source, observed) {
                None => self.await_stream(source, observed, at_first_start),
                Some(stream) => self.begin_following((source, stream), observed, at_first_start, now),
            }
            return;
        };
        let file = self.files.known(id);
        if file.source == source {
            return;
        }
        if file.name == Name::Matched {
            return self.skip_shared(source, file.source, &observed.path);
        }
        self.unwanted.told.remove(&(source, Arc::clone(&observed.path)));
        // It was renamed from one source's names to another's: it goes on as what it is.
        self.hand_to(id, source);
        self.seen_again(id, observed, began, now);
    }

    pub(super) fn hand_to(&mut self, id: FileId, source: SourceId) {
        self.files.hand_to(id, source);
        if let Some(incarnation) = self.files.read_into(id) {
            self.lives.on_its_way_mut(incarnation).hand_to(source);
        }
    }

    pub(super) fn seen_again(&mut self, id: FileId, observed: &Observed, began: Instant, now: Instant) {
        self.files.find_name(id);
        self.files.known_mut(id).kind.is_unexplained = false;
        let source = self.files.known(id).source;
        self.fix_end(id, source, observed.size);
        let own = self.files.known(id).incarnation();
        let has_position = own.is_some_and(|own| self.lives.on_its_way(own).position() > Offset::ZERO);
        let may_be_another = self.may_be_another(id, began);
        let file = self.files.known_mut(id);
        file.times.named_at = began;
        file.size = observed.size;
        // What is blocked cannot be confirmed.
        let may_shrink = may_be_another && file.state() != State::Blocked;
        let shrinks = may_shrink && file.end.extent.shrinks(observed.size, observed.modified);
        file.end.extent.look(observed.size, observed.modified);
        let is_empty_as_before = observed.size == 0
            && observed.modified.is_some()
            && observed.modified == file.end.modified
            && file.end.extent.read_end_bytes == 0;
        if let (true, Some(incarnation)) = (is_empty_as_before, file.incarnation()) {
            self.lives.on_its_way_mut(incarnation).note_found_at(self.surveys.unix_nanos());
        }
        let file = self.files.known_mut(id);
        if file.path != observed.path || file.target != observed.target {
            let (source, from) = (file.source, Arc::clone(&file.path));
            let names = (Arc::clone(&observed.path), observed.target.clone());
            self.rename(id, names, Name::Matched, now);
            self.count_rotation(source, Rotation::Renamed);
            self.report(Report::Rotated { source, from, to: Some(Arc::clone(&observed.path)) });
        }
        if may_be_another && (shrinks || self.is_shorter_than_read(id, observed.size)) {
            self.confirm(id, now);
            if !has_position {
                // It waits to be read as what it is now: what this look showed of that may be gone by then, too.
                self.files.known_mut(id).end.extent.look(observed.size, observed.modified);
                self.note_seen(id, observed.size, now);
            }
            return;
        }
        let file = self.files.known(id);
        if file.state() == State::Sought {
            self.files.await_descriptor(id);
        }
        let file = self.files.known(id);
        let seen_bytes =
            file.incarnation().map(|incarnation| self.lives.on_its_way(incarnation).seen_bytes());
        let is_written = file.end.modified.zip(observed.modified).is_some_and(|(read, seen)| read != seen);
        // A size may be older than the last read; only a read says whether the content is the same.
        if !self.is_drained(id)
            && (seen_bytes.is_some_and(|seen_bytes| seen_bytes != observed.size) || is_written)
        {
            // What a look showed before a read found other content is not of this; a look that the same read asked for is.
            let is_of_this = file.times.read_at < began || file.times.attached_at <= began;
            if is_of_this && !file.end.extent.is_known_room(observed.size) {
                self.note_seen(id, observed.size, now);
            }
            self.queue_read(id);
        }
    }

    /// A look showed less than was read. It may be an old one (FUSE, SMB): only a read says so. It needs no memory, since the
    /// copy of what was cut off may not be there for long.
    fn confirm(&mut self, id: FileId, now: Instant) {
        let incarnation = self.files.known(id).incarnation().expect("it was read");
        // By its task it comes before files that wait for memory.
        self.files.known_mut(id).task = Task::Confirm(incarnation);
        if self.lives.on_its_way(incarnation).history().overlap() == 0 || !self.files.queue_at_once(id) {
            self.begin_again(id, now);
        }
    }

    fn is_shorter_than_read(&self, id: FileId, size: u64) -> bool {
        let incarnation = self.files.known(id).incarnation();
        incarnation.is_some_and(|own| size < self.lives.on_its_way(own).position().bytes())
    }

    /// Whether a file that is open holds perhaps another content since the last read, which the survey that was answered
    /// began after.
    fn may_be_another(&self, id: FileId, began: Instant) -> bool {
        let file = self.files.known(id);
        matches!(file.task, Task::Follow(_))
            && file.is_open()
            && !matches!(file.state(), State::Reading { .. })
            && file.times.read_at < began
    }

    pub(super) fn not_seen(&mut self, id: FileId, beside: Option<&Observed>, now: Instant) {
        let file = self.files.known(id);
        let is_closed = !file.is_open() && !matches!(file.state(), State::Opening { .. });
        let (source, from, before) = (file.source, Arc::clone(&file.path), file.name);
        match beside {
            Some(observed) if from != observed.path => {
                self.rename(id, (Arc::clone(&observed.path), None), Name::Lost, now);
                let is_unexplained = std::mem::take(&mut self.files.known_mut(id).kind.is_unexplained);
                if is_closed || is_unexplained || before == Name::Matched {
                    self.count_rotation(source, Rotation::Renamed);
                    let to = Some(Arc::clone(&observed.path));
                    self.report(Report::Rotated { source, from: Arc::clone(&from), to });
                }
            }
            None if is_closed => return self.not_found(id, now),
            _ => {}
        }
        if before == Name::Matched {
            let stream = self.files.known(id).stream;
            self.look_at_others((source, stream));
        }
        let file = self.files.known(id);
        if is_closed {
            self.files.lose_name(id, now);
            self.files.await_descriptor(id);
        } else if before == Name::Matched && file.incarnation().is_some() {
            self.files.lose_name(id, now);
            self.files.known_mut(id).kind.is_unexplained = beside.is_none();
            if beside.is_none_or(|observed| observed.path == from) {
                self.report(Report::Rotated { source, from, to: None });
            }
            self.queue_read(id);
        }
    }

    /// A file is no longer under the names of its source. Another source of the stream may match the name that it has
    /// now, and may have seen it while it was this one's.
    fn look_at_others(&mut self, (source, stream): (SourceId, StreamId)) {
        if self.finishing.is_some() {
            return;
        }
        for other in self.sources_of(stream).into_iter().filter(|other| *other != source) {
            self.surveys.want(other);
        }
    }

    /// Takes in a file that was found; it is opened when it has its turn.
    pub(super) fn follow(
        &mut self,
        whose: (SourceId, StreamId),
        observed: &Observed,
        name: Name,
        now: Instant,
    ) -> FileId {
        let (path, identity) = (Arc::clone(&observed.path), observed.identity);
        let mut file = FollowedFile::found(whose, path, identity, name, now);
        file.target.clone_from(&observed.target);
        file.family.clone_from(&observed.rotated_from);
        (file.times.found_nanos, file.kind.owner) = (self.surveys.unix_nanos(), observed.owner);
        file.kind.is_moved = is_moved(observed.identity, observed.modified);
        file.size = observed.size;
        file.end.extent.look(observed.size, observed.modified);
        let id = self.files.follow(file);
        self.fix_end(id, whose.0, observed.size);
        id
    }

    /// There may be bytes that were not read: the file waits for its turn.
    pub(super) fn queue_read(&mut self, id: FileId) {
        let Some(file) = self.files.get(id).filter(|_| !self.is_drained(id)) else { return };
        let state = file.incarnation().and_then(|incarnation| self.lives.state(incarnation));
        let has_ready = state.is_some_and(|state| !state.has_nothing_ready());
        self.files.queue_read(id, self.finishing.is_some(), has_ready);
    }

    /// A file has other names, and by them a source matches it, or none does.
    pub(super) fn rename(&mut self, id: FileId, (path, target): Names, name: Name, now: Instant) {
        self.note_former_name(id);
        self.files.rename(id, Arc::clone(&path), target.clone());
        if let Some(incarnation) = self.files.known(id).incarnation() {
            let (path, target) = saved_names((path, target), name);
            self.lives.rename(incarnation, path, target);
            self.saves.note_changed(incarnation, 0, now);
        }
    }

    pub(super) fn count_rotation(&mut self, source: SourceId, rotation: Rotation) {
        *self.counts.sources[source.0].rotations.entry(rotation).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Memory;
    use crate::engine::incarnation::Whose;
    use crate::engine::port::{Event, Held, Observation, Opened, Watching};
    use crate::engine::samples::{at, checkpoint, identity, path, settings, whose};
    use crate::model::checkpoint::Checkpoint;
    use crate::model::route::Route;

    /// Both sources ship into one stream; inotify tells of every change.
    fn engine() -> Engine {
        let mut settings = settings(2);
        settings.sources[1].route = Route::To(StreamId(0));
        let mut engine = Engine::try_new(settings, Memory::default(), 0, at(0)).expect("delays in order");
        engine.handle(Event::Watching(Watching::Full), at(0));
        engine
    }

    /// What is asked for at this moment, after an event; all but surveys is answered, of a file without content.
    fn surveys_after(engine: &mut Engine, event: Event, seconds: u64) -> Vec<SourceId> {
        let (mut surveys, mut waiting) = (Vec::new(), vec![event]);
        while let Some(event) = waiting.pop() {
            engine.handle(event, at(seconds));
            engine.check_laws();
            while let Some(effect) = engine.poll_effect() {
                waiting.extend(match effect {
                    Effect::Survey(survey) => {
                        surveys.push(survey.source);
                        None
                    }
                    Effect::Open(open) => {
                        let opened = Opened {
                            identity: identity(1),
                            size: 0,
                            head: Default::default(),
                            held: None,
                            place: None,
                        };
                        Some(Event::Opened { file: open.file, result: Ok(opened) })
                    }
                    Effect::Read(read) => {
                        let unix_time = std::time::Duration::from_secs(seconds);
                        let result = Ok(Default::default());
                        Some(Event::Bytes {
                            file: read.file,
                            result,
                            unix_time,
                            modified: None,
                            room: 0,
                            begins: true,
                        })
                    }
                    Effect::Save(_) => Some(Event::Saved(Ok(()))),
                    _ => None,
                });
            }
        }
        surveys
    }

    /// The source shows the one file under this name, or not at all.
    fn shows(source: usize, name: Option<&str>, seconds: u64) -> Event {
        let file = name.map(|name| Observed {
            path: path(name),
            target: None,
            identity: identity(1),
            size: 0,
            owner: 0,
            modified: None,
            is_matched: true,
            rotated_from: Vec::new(),
            is_told: false,
        });
        Event::Observed(Observation {
            source: SourceId(source),
            files: file.into_iter().collect(),
            hidden: crate::model::hidden::Hidden::default(),
            held: Vec::new(),
            unix_time: std::time::Duration::from_secs(seconds),
        })
    }

    #[test]
    fn a_source_is_looked_at_again_when_another_loses_a_file_to_its_names() {
        let mut engine = engine();
        assert_eq!(surveys_after(&mut engine, Event::Tick, 1).len(), 2);
        for (source, name) in [(0, Some("a/app.log")), (1, None)] {
            assert!(surveys_after(&mut engine, shows(source, name, 1), 1).is_empty());
        }
        assert_eq!(surveys_after(&mut engine, Event::Hint(Hint::Names), 10).len(), 2);
        // It was renamed: the source that it came to is asked before the one that it left.
        for (source, name) in [(1, Some("b/app.log")), (0, None)] {
            assert!(surveys_after(&mut engine, shows(source, name, 10), 10).is_empty());
        }
        let asked = (11..15).flat_map(|seconds| surveys_after(&mut engine, Event::Tick, seconds));
        assert_eq!(asked.collect::<Vec<_>>(), [SourceId(1)]);
        surveys_after(&mut engine, shows(1, Some("b/app.log"), 15), 15);
        let (_, file) = engine.files.iter().next().expect("it is followed");
        assert_eq!((file.source, file.name), (SourceId(1), Name::Matched));
    }

    /// What the source says at the next looks, and what the kernel does of the open file: the kinds that are counted.
    #[test]
    fn a_file_is_renamed_where_it_has_a_name_and_removed_where_it_has_none() {
        let beside = |name: &'static str| Some((name, false));
        let none: Option<(&str, bool)> = None;
        for (looks, is_removed, expected) in [
            (&[beside("a/app.log.1")][..], false, Some(Rotation::Renamed)),
            (&[none, beside("a/app.log.1")], false, Some(Rotation::Renamed)),
            (&[none, none], false, Some(Rotation::Renamed)),
            (&[none, none], true, Some(Rotation::Removed)),
            (&[Some(("a/other.log", true))], false, Some(Rotation::Renamed)),
            (&[Some(("a/app.log", true))], false, None),
        ] {
            let mut engine = engine();
            surveys_after(&mut engine, Event::Tick, 1);
            surveys_after(&mut engine, shows(0, Some("a/app.log"), 1), 1);
            for (seconds, name) in (10..).step_by(5).zip(looks) {
                surveys_after(&mut engine, Event::Hint(Hint::Names), seconds);
                let mut seen = shows(0, name.map(|(name, _)| name), seconds);
                if let (Event::Observed(observation), Some((_, is_matched))) = (&mut seen, name) {
                    observation.files[0].is_matched = *is_matched;
                }
                if let Event::Observed(observation) = &mut seen
                    && seconds > 10
                {
                    let file = engine.files.iter().next().expect("it is followed").0;
                    observation.held.push(Held {
                        file,
                        size: 0,
                        disk_bytes: 0,
                        is_removed,
                        is_disk_nearly_full: false,
                    });
                }
                surveys_after(&mut engine, seen, seconds);
            }
            let counted: Vec<_> = engine.counts.sources[0].rotations.clone().into_iter().collect();
            assert_eq!(counted, expected.map(|kind| (kind, 1)).into_iter().collect::<Vec<_>>(), "{looks:?}");
        }
    }

    #[test]
    fn a_file_that_was_renamed_while_nothing_ran_is_counted_when_it_is_found() {
        for (name, expected) in [("app.log.1", 1), ("app.log", 0)] {
            let whose = Whose { path: path("app.log"), identity: identity(1), ..whose(0, 1) };
            let known = Checkpoint { seen_bytes: 0, ..checkpoint(0, whose, 0) };
            let memory = Memory { checkpoints: vec![known], next_incarnation: 1, ..Memory::default() };
            let mut engine = Engine::try_new(settings(1), memory, 0, at(0)).expect("delays in order");
            engine.handle(Event::Watching(Watching::Full), at(0));
            surveys_after(&mut engine, Event::Tick, 1);
            surveys_after(&mut engine, shows(0, Some(name), 1), 1);
            let rotations = &engine.counts.sources[0].rotations;
            assert_eq!(rotations.get(&Rotation::Renamed).copied().unwrap_or(0), expected, "{name}");
        }
    }
}
