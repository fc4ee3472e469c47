//! Generations that came under a name and were rotated away while nobody looked: found beside it, and read whole.
//!
//! A file that begins like a generation that is known may be a copy of it (a rotator moves to another file system by
//! copying, or compresses): it is compared before a line of it is taken in. Who may have made the file is looked at, too:
//! whoever else may write to the directory gets nothing shipped.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::model::checkpoint::FirstLook;
use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::route::Destined;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::rotation::family::{Family, is_missed};
use crate::rules::rotation::{is_younger, uncompressed};

use super::Engine;
use super::archives::Origins;
use super::files::file::{FollowedFile, Name};
use super::files::first_bytes::FirstBytes;
use super::port::{FileId, Observation, Observed};

impl Engine {
    /// Follows what a look shows at this place, beside the files of a source, if that is a missed generation of one.
    pub(super) fn follow_missed(
        &mut self,
        observation: &Observation,
        place: usize,
        origins: &Origins,
        now: Instant,
    ) {
        let (source, observed) = (observation.source, &observation.files[place]);
        if !origins.is_whole(observed) {
            return;
        }
        let there = |name: &Path| origins.get(name, observation);
        match self.destined(source, observed) {
            Destined::To(stream) if self.was_missed((source, self.stream_name(stream)), observed, there) => {
                self.follow_generation((source, stream), observed, now);
            }
            Destined::To(_) => self.families.note_not_missed(source, observed.identity),
            // All that is left of what came for that stream may be what was rotated away.
            Destined::Unopened(stream) if self.was_missed((source, &stream), observed, there) => {
                self.await_stream(source, observed, false);
            }
            Destined::Unopened(_) | Destined::Nowhere(_) => {}
        }
    }

    /// Whether a file that lies beside those of a source may be a missed generation that nobody looked at yet.
    pub(super) fn may_be_missed(&self, source: SourceId, observed: &Observed, is_known: bool) -> bool {
        !observed.rotated_from.is_empty()
            && (!is_known || self.is_refused_and_not_followed(source, observed))
            && !self.families.is_stranger(source, observed.identity)
    }

    /// A source was looked at. The first look ever, which is returned, is to be durable, whatever it showed: what comes under its
    /// names from now on is new, also to a later process that finds it renamed.
    pub(super) fn note_look(&mut self, source: SourceId) -> Option<FirstLook> {
        let (looked, nanos) = (self.looked(source), self.surveys.unix_nanos());
        self.families.note_look(source, nanos);
        let is_first = self.families.note_first_look(looked.clone(), nanos);
        let (stream, source) = looked;
        is_first.then_some(FirstLook { stream, source, nanos })
    }

    /// Whether a file could not be opened under its name, and is to be tried under another.
    fn is_refused_and_not_followed(&self, source: SourceId, observed: &Observed) -> bool {
        self.families.is_refused(source, observed.identity) && self.followed(source, observed).is_none()
    }

    /// A missed generation is read whole, decompressed if need be.
    pub(super) fn follow_generation(
        &mut self,
        whose: (SourceId, StreamId),
        observed: &Observed,
        now: Instant,
    ) {
        // The file that has the name now is known by then, and would tell a start after a crash that this one is older.
        self.mark_generation(whose, observed, now);
        let id = self.follow(whose, observed, Name::Lost, now);
        self.files.known_mut(id).kind.decompressed = uncompressed(&observed.path).is_some();
    }

    /// Whether a file that nobody knows is a missed generation; `there` is what the look showed by a real path.
    pub(super) fn was_missed<'a>(
        &self,
        (source, stream): (SourceId, &str),
        observed: &Observed,
        there: impl Fn(&Path) -> Option<&'a Observed>,
    ) -> bool {
        if self.families.is_refused(source, observed.identity) {
            return true;
        }
        let names = &observed.rotated_from;
        let since = self.families.first_seen_nanos(stream, names);
        let Some(first_seen_nanos) = since.or_else(|| self.since_nanos(source, stream)) else {
            return false;
        };
        let current = names.iter().filter_map(|name| there(name)).filter(|there| there.is_matched);
        // Where it is told that the file had the name, no time need say so.
        let known = current.filter(|current| !observed.is_told && self.is_known(source, current));
        let current_nanos = known.filter_map(|known| known.identity.birth_nanos).max();
        is_missed(observed.identity.birth_nanos, Family { first_seen_nanos, current_nanos })
            && self.families.may_be_of(stream, names, observed.owner)
    }

    /// A generation of the same family that is known, not looked for, and begins like `bytes`, which a missed one begins
    /// with: the latest before `tried`.
    pub(super) fn known_generation_alike(
        &self,
        id: FileId,
        bytes: &[u8],
        tried: Option<Incarnation>,
    ) -> Option<Incarnation> {
        let file = self.files.known(id);
        if file.name != Name::Lost || file.family.is_empty() {
            return None;
        }
        let stream = self.stream_name(file.stream);
        let mut known = self.lives.known_of_family(stream, names_of_family(file), tried);
        let alike = known.find(|known| {
            known.identity != file.identity
                && known.position > Offset::ZERO
                && !known.fingerprint.is_empty()
                && is_younger(file.identity, known.identity)
                && !self.lives.is_sought(known.incarnation)
                && known.fingerprint.matches(bytes)
        });
        alike.map(|known| known.incarnation)
    }

    /// Whether an archive that says `bytes` and no more was made of a file that is open, and of which nothing was taken in
    /// yet: a group to which more may belong is all that it holds. No position says so.
    pub(super) fn is_archive_of_what_waits(&self, id: FileId, bytes: &[u8]) -> bool {
        self.waiting_original(id, |first| first.are_all_of(bytes)).is_some()
    }

    /// The file that an archive which begins with `bytes` may have been made of, if that is open, and no more of it was read
    /// than part of its first lines: what both say is to be compared.
    pub(super) fn begun_in_what_waits(&self, id: FileId, bytes: &[u8]) -> Option<Incarnation> {
        self.waiting_original(id, |first| first.begin(bytes))
    }

    /// A file that is open, of which nothing was taken in yet, and of which an archive may have been made by their names and
    /// by what was read of it.
    fn waiting_original(&self, id: FileId, is_like: impl Fn(&FirstBytes) -> bool) -> Option<Incarnation> {
        let file = self.files.known(id);
        if !file.kind.decompressed || file.name != Name::Lost || file.family.is_empty() {
            return None;
        }
        let stream = self.stream_name(file.stream);
        let mut known = self.lives.known_of_family(stream, names_of_family(file), None);
        let found = known.find(|known| {
            let original = self.lives.file_of(known.incarnation).map(|original| self.files.known(original));
            known.identity != file.identity
                && known.position == Offset::ZERO
                && is_younger(file.identity, known.identity)
                && original
                    .is_some_and(|original| original.is_open() && is_like(&original.end.partial.first_bytes))
        });
        found.map(|known| known.incarnation)
    }

    /// Whether no file claims an incarnation that a file is compared with, and none will: its own was looked for under all
    /// names, and is not there. While it may be, a copy is of no interest; should its content be gone, copies are looked for.
    pub(super) fn has_no_file(&self, id: FileId, of: Incarnation) -> bool {
        let stored = self.lives.stored_checkpoint(of).filter(|_| self.lives.is_stored(of));
        let stream = self.files.known(id).stream;
        stored.is_some_and(|stored| {
            self.files.of(stream, stored.identity).is_none()
                && !self.families.is_unclaimed(stored.identity)
                && !self.surveys.is_to_look_beside(stream, stored.real_path())
        })
    }

    /// A missed generation is a copy of one that is known: where that one has lost its file, its life goes on in the
    /// copy; otherwise the copy is of no interest.
    pub(super) fn on_known_copy(&mut self, id: FileId, own: Incarnation, of: Incarnation, now: Instant) {
        if self.has_no_file(id, of) {
            return self.inherit(id, Some(own), of, now);
        }
        self.drop_copy(id, own, now);
    }
}

/// The names of which a rotator may have made that of a file. Where rotators put what they rotate, the last parts are left of
/// the names that files had: those in the file's directory.
fn names_of_family(file: &FollowedFile) -> BTreeSet<Arc<Path>> {
    let last_parts = file.family.iter().filter_map(|name| name.file_name());
    let beside = last_parts.map(|name| Arc::from(file.real_path().with_file_name(name)));
    file.family.iter().cloned().chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Memory;
    use crate::engine::port::{Effect, Event, Opened};
    use crate::engine::samples::disk::{World, lines, told};
    use crate::engine::samples::{at, checkpoint, identity, path, settings, whose};
    use crate::model::checkpoint::Checkpoint;
    use crate::model::identity::{Identity, Seen};

    /// A file that was born in the second of its inode's number.
    fn file(inode: u64, name: &str, owner: u32) -> Observed {
        let is_matched = name == "app.log";
        Observed {
            path: path(name),
            target: None,
            identity: Identity { birth_nanos: i64::try_from(inode * 1_000_000_000).ok(), ..identity(inode) },
            size: 5,
            owner,
            modified: None,
            is_matched,
            rotated_from: if is_matched { Vec::new() } else { vec![path("app.log")] },
            is_told: false,
        }
    }

    fn engine(checkpoints: Vec<Checkpoint>) -> Engine {
        let memory = Memory { checkpoints, next_incarnation: 1, ..Memory::default() };
        Engine::try_new(settings(1), memory, 0, at(0)).expect("delays in order")
    }

    /// Looks at these files so many seconds after 1970, and opens whatever is asked for; tells what that is.
    fn look(engine: &mut Engine, seconds: u64, files: &[Observed]) -> Vec<String> {
        let (mut opened, mut waiting) = (Vec::new(), vec![Event::Tick]);
        while let Some(event) = waiting.pop() {
            engine.handle(event, at(seconds));
            engine.check_laws();
            while let Some(effect) = engine.poll_effect() {
                waiting.extend(match effect {
                    Effect::Survey(survey) => Some(Event::Observed(Observation {
                        source: survey.source,
                        files: files.to_vec(),
                        hidden: crate::model::hidden::Hidden::default(),
                        held: Vec::new(),
                        unix_time: Duration::from_secs(seconds),
                    })),
                    Effect::Open(open) => {
                        let found = files.iter().find(|file| file.path == open.path).expect("it is there");
                        opened.push(found.path.file_name().expect("named").to_string_lossy().into_owned());
                        let head = format!("{:04}\n", found.identity.inode).into_bytes().into();
                        let result =
                            Ok(Opened { identity: found.identity, size: 5, head, held: None, place: None });
                        Some(Event::Opened { file: open.file, result })
                    }
                    Effect::Save(_) => Some(Event::Saved(Ok(()))),
                    _ => None,
                });
            }
        }
        opened
    }

    #[test]
    fn a_log_that_nobody_saw_is_found_under_whatever_name_somebody_saw_it_get() {
        for (is_told, is_twice, by_links) in [
            (true, false, false),
            (true, true, false),
            (true, false, true),
            (true, true, true),
            (false, false, false),
        ] {
            let mut world = World::new(false);
            world.by_links = by_links;
            world.restart();
            world.make("app.log", &lines("first", 0..3));
            world.pass(6);
            world.rename_silently("app.log", "app.log.1");
            world.make("app.log", &lines("second", 0..3));
            if is_told {
                world.rename("app.log", "odd");
            } else {
                world.rename_silently("app.log", "odd");
            }
            if is_twice {
                world.rename("odd", "stranger");
            }
            world.make("app.log", &lines("third", 0..3));
            world.pass(12);
            let second = if is_told { lines("second", 0..3) } else { Vec::new() };
            let expected = told(&[lines("first", 0..3), second, lines("third", 0..3)].concat());
            assert_eq!(world.take(), expected, "told {is_told}, twice {is_twice}, links {by_links}");
        }
        // What had another name all along is nobody's.
        let mut world = World::new(false);
        world.restart();
        world.make("app.log", &lines("first", 0..3));
        world.make("strange", &lines("strange", 0..3));
        world.pass(6);
        world.rename("strange", "stranger");
        world.pass(12);
        assert_eq!(world.take(), told(&lines("first", 0..3)));
    }

    /// More generations that nobody saw come than positions are kept of when their files are gone, all delivered and closed.
    fn world_of_many() -> World {
        let mut world = World::new(false);
        world.restart();
        world.make("app.log", &lines("app", 0..3));
        world.pass(6);
        let mut expected = lines("app", 0..3);
        for number in 0..1_020 {
            let content = lines(&format!("file {number}"), 0..2);
            world.make(&format!("{number}.log.1"), &content);
            expected.extend(content);
        }
        world.pass(20);
        assert!(world.take() == told(&expected), "each line once");
        world
    }

    #[test]
    fn many_generations_that_nobody_saw_are_sent_once_each_while_they_lie_there() {
        let mut world = world_of_many();
        world.write("0.log.1", &lines("file 0", 0..3));
        world.pass(10);
        assert_eq!(world.take(), told(&lines("file 0", 2..3)), "a late line");
        world.restart();
        world.write_silently("0.log.1", &lines("file 0", 0..4));
        world.pass(15);
        assert_eq!(world.take(), told(&lines("file 0", 3..4)), "and one while nobody ran");
    }

    #[test]
    fn many_generations_that_were_away_are_not_sent_again_once_they_are_back() {
        let mut world = world_of_many();
        let rename = |world: &mut World, from: &str, to: &str| {
            for number in 0..1_020 {
                world.rename_silently(&format!("{from}{number}.log.1"), &format!("{to}{number}.log.1"));
            }
            world.pass(10);
        };
        rename(&mut world, "", "away/");
        rename(&mut world, "away/", "");
        let again = world.take();
        assert!(again.is_empty(), "{} lines", again.len());
    }

    #[test]
    fn what_came_and_was_rotated_away_between_two_looks_is_opened() {
        let mut engine = engine(Vec::new());
        assert_eq!(look(&mut engine, 20, &[file(10, "app.log", 33)]), ["app.log"]);
        let rotated = [file(70, "app.log", 33), file(60, "app.log.1", 33), file(10, "app.log.2", 33)];
        let mut opened = look(&mut engine, 80, &rotated);
        opened.sort();
        assert_eq!(opened, ["app.log", "app.log.1"]);
    }

    #[test]
    fn a_copy_that_lay_beside_a_file_is_no_generation_when_that_is_rotated() {
        let mut engine = engine(Vec::new());
        assert_eq!(look(&mut engine, 20, &[file(10, "app.log", 33)]), ["app.log"]);
        for seconds in [160, 200] {
            let copied = [file(10, "app.log", 33), file(150, "app.log.bak", 33)];
            assert!(look(&mut engine, seconds, &copied).is_empty());
        }
        let rotated = [file(230, "app.log", 33), file(10, "app.log.1", 33), file(150, "app.log.bak", 33)];
        assert_eq!(look(&mut engine, 240, &rotated), ["app.log"]);
    }

    #[test]
    fn a_look_at_names_that_are_just_changing_hides_no_generation() {
        let mut engine = engine(Vec::new());
        assert_eq!(look(&mut engine, 20, &[file(10, "app.log", 33)]), ["app.log"]);
        // The first name was looked at before two rotations, the other after.
        assert!(look(&mut engine, 160, &[file(10, "app.log", 33), file(150, "app.log.1", 33)]).is_empty());
        let rotated = [file(159, "app.log", 33), file(150, "app.log.1", 33), file(10, "app.log.2", 33)];
        assert!(look(&mut engine, 200, &rotated).contains(&"app.log.1".to_owned()));
    }

    #[test]
    fn another_users_file_is_no_generation_also_after_a_restart() {
        for (owner, expected) in [(33, vec!["app.log.1"]), (0, vec!["app.log.1"]), (7, vec![])] {
            let seen = Some(Seen { first_nanos: 20_000_000_000, last_nanos: 20_000_000_000, owner: 33 });
            let known = Checkpoint { path: path("app.log"), seen, ..checkpoint(0, whose(0, 10), 5) };
            let mut engine = engine(vec![known]);
            assert_eq!(look(&mut engine, 80, &[file(60, "app.log.1", owner)]), expected, "{owner}");
        }
    }
}
