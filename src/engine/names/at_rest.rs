//! Files that a survey shows as they were read, under the names that they had: most of them, at most times.
//!
//! Such a look says nothing that is news, and all that is done about it is to note that the file was shown. What is not sure
//! to be so goes the whole way.
//!
//! *Invariant:* whether a file is passed over here or not, what the engine knows afterwards is the same.

use std::path::Path;
use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::files::State;
use crate::engine::files::file::{Name, Task};
use crate::engine::port::{FileId, Observed};
use crate::model::settings::SourceId;
use crate::model::time::Instant;
use crate::rules::rotation::uncompressed;

impl Engine {
    /// Whether files of a source that are shown as they were may be passed over in a look that began then: nobody compares all
    /// that was shown with anything else.
    pub(in crate::engine) fn may_pass_over(&self, source: SourceId, began: Instant) -> bool {
        self.finishing.is_none()
            && !self.leaving.is_outdated(began)
            && !self.lives.seeks()
            && !self.surveys.looks_beside(source)
            && !self.unwanted.any_compressed(source)
    }

    /// Passes over a file that is shown as it was, and notes that it was shown; whether it is one.
    pub(in crate::engine) fn pass_over_at_rest(&mut self, source: SourceId, observed: &Observed) -> bool {
        let Some(id) = self.followed(source, observed).filter(|id| self.is_as_it_was(*id, source, observed))
        else {
            return false;
        };
        let look = self.surveys.look();
        let file = self.files.known_mut(id);
        file.times.passed_over_in = look;
        file.end.extent.look(observed.size, observed.modified);
        true
    }

    /// Whether the look that is being taken in passed over a file.
    pub(in crate::engine) fn is_passed_over(&self, id: FileId) -> bool {
        self.files.known(id).times.passed_over_in == self.surveys.look()
    }

    /// Whether a file of a source is at rest, and a look shows it under its name as it was read to its end.
    fn is_as_it_was(&self, id: FileId, source: SourceId, observed: &Observed) -> bool {
        let file = self.files.known(id);
        let Task::Follow(incarnation) = file.task else { return false };
        let is_at_rest = matches!(file.state(), State::AtEnd | State::Closed)
            && file.source == source
            && file.name == Name::Matched
            && file.failures == 0
            && !file.end.ships_last_line
            && !file.kind.is_unexplained
            && !file.kind.decompressed;
        let is_as_read = observed.is_matched
            && observed.rotated_from.is_empty()
            && observed.modified.is_some()
            && observed.modified == file.end.modified
            && observed.size == file.size
            // Of an empty file it is noted when it was found empty.
            && observed.size > 0
            && is_same(&observed.path, &file.path)
            && match (&observed.target, &file.target) {
                (None, None) => true,
                (Some(seen), Some(known)) => is_same(seen, known),
                (None, Some(_)) | (Some(_), None) => false,
            }
            && uncompressed(&observed.path).is_none();
        is_at_rest && is_as_read && self.lives.on_its_way(incarnation).seen_bytes() == observed.size
    }
}

/// Whether a name is written as another, which is nearly always the same memory: a listing is used many times.
fn is_same(one: &Arc<Path>, other: &Arc<Path>) -> bool {
    Arc::ptr_eq(one, other) || one.as_os_str() == other.as_os_str()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::engine::Memory;
    use crate::engine::port::{Effect, Event, Observation, Opened};
    use crate::engine::samples::{at, identity, path, settings};
    use crate::model::verdict::{Encrypted, Outcome, Verdict};

    const LINE: &[u8] = b"a line\n";

    fn file(name: &str, inode: u64, size: usize, modified: u64) -> Observed {
        Observed {
            path: path(name),
            target: None,
            identity: identity(inode),
            size: size as u64,
            owner: 0,
            modified: Some(Duration::from_secs(modified)),
            is_matched: true,
            rotated_from: Vec::new(),
            is_told: false,
        }
    }

    /// A look shows these files; what is asked for after that is answered, of files of one line.
    fn look(engine: &mut Engine, files: Vec<Observed>, seconds: u64) -> Vec<FileId> {
        engine.handle(Event::Tick, at(seconds));
        let modified = files.first().and_then(|file| file.modified);
        let unix_time = Duration::from_secs(seconds);
        let (mut waiting, mut read) = (Vec::new(), Vec::new());
        let observation = Observation {
            source: SourceId(0),
            files,
            hidden: Default::default(),
            held: Vec::new(),
            unix_time,
        };
        waiting.push(Event::Observed(observation));
        while let Some(event) = waiting.pop() {
            engine.handle(event, at(seconds));
            engine.check_laws();
            while let Some(effect) = engine.poll_effect() {
                waiting.extend(match effect {
                    Effect::Open(open) => {
                        let head = Bytes::from_static(LINE);
                        let opened = Opened { identity: identity(1), size: 7, head, held: None, place: None };
                        Some(Event::Opened { file: open.file, result: Ok(opened) })
                    }
                    Effect::Read(asked) => {
                        read.push(asked.file);
                        let from = usize::try_from(asked.at.bytes()).expect("small");
                        let result = Ok(Bytes::from_static(&LINE[from..]));
                        Some(Event::Bytes {
                            file: asked.file,
                            result,
                            unix_time,
                            modified,
                            room: 0,
                            begins: true,
                        })
                    }
                    Effect::Put(put) => {
                        let delivered = Verdict::Delivered { encrypted: Encrypted::No, id: None };
                        let verdicts = vec![delivered; put.records.len()];
                        let outcome = Outcome { verdicts, took: Duration::ZERO };
                        Some(Event::PutDone { request: put.request, outcome })
                    }
                    Effect::Save(_) => Some(Event::Saved(Ok(()))),
                    _ => None,
                });
            }
        }
        read
    }

    fn passed_over(engine: &Engine) -> Vec<bool> {
        engine.files.iter().map(|(id, _)| engine.is_passed_over(id)).collect()
    }

    #[test]
    fn a_file_is_passed_over_only_while_a_look_shows_it_as_it_was_read() {
        let mut engine = Engine::try_new(settings(1), Memory::default(), 0, at(0)).expect("delays in order");
        look(&mut engine, vec![file("a.log", 1, 7, 5)], 1);
        assert_eq!(passed_over(&engine), [false], "it was found");
        assert!(look(&mut engine, vec![file("a.log", 1, 7, 5)], 30).is_empty());
        assert_eq!(passed_over(&engine), [true]);
        for (size, modified) in [(8, 5), (7, 6)] {
            let mut engine =
                Engine::try_new(settings(1), Memory::default(), 0, at(0)).expect("delays in order");
            look(&mut engine, vec![file("a.log", 1, 7, 5)], 1);
            assert!(!look(&mut engine, vec![file("a.log", 1, size, modified)], 30).is_empty(), "it is read");
            assert_eq!(passed_over(&engine), [false], "{size} bytes at {modified}");
        }
    }

    #[test]
    fn another_name_of_a_file_that_is_passed_over_is_none_that_it_got() {
        let mut engine = Engine::try_new(settings(1), Memory::default(), 0, at(0)).expect("delays in order");
        look(&mut engine, vec![file("b.log", 1, 7, 5)], 1);
        for names in [["a.log", "b.log"], ["b.log", "c.log"]] {
            look(&mut engine, names.map(|name| file(name, 1, 7, 5)).into(), 30);
            assert_eq!(passed_over(&engine), [true], "{names:?}");
            assert!(engine.counts.sources[0].rotations.is_empty(), "{names:?}");
            assert_eq!(engine.files.iter().next().expect("followed").1.path, path("b.log"));
        }
        look(&mut engine, vec![file("a.log", 1, 7, 5)], 60);
        assert_eq!(passed_over(&engine), [false], "it was renamed");
        assert_eq!(engine.files.iter().next().expect("followed").1.path, path("a.log"));
    }
}
