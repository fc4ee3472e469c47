//! How files and incarnations part: the one way out for bytes that were seen.
//!
//! *Invariant (L13):* bytes that were seen in a followed file leave as delivered, as handed on to another life, or as
//! declared lost with their number.

use std::path::Path;
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::settings::SourceId;
use crate::model::time::Instant;

use super::lives::{Afterwards, Over};
use super::port::{Effect, FileId};
use super::report::{Loss, Report, Rotation};
use super::{Engine, families};

/// What becomes of the bytes of a file that were seen and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// There are none.
    Delivered,
    /// Another life takes over: the same incarnation in another file, or the search for copies.
    Handed,
    /// The bytes stay in the file, which the configuration leaves out: read when a source takes it again.
    LeftInPlace,
    /// The bytes stay in the file, which is found again and read from where a person wants.
    Moved,
    /// The bytes are no lines, and stay in the file, which is compressed.
    Refused,
    /// The bytes are lost.
    Declared(Loss),
}

impl Engine {
    /// Lets go of a file: it is closed, and its incarnation, if it has one, parts.
    ///
    /// # Panics
    /// L13: when everything is said to be read, and is not.
    pub(super) fn part(&mut self, id: FileId, parting: Parting, now: Instant) {
        if let (Parting::Declared(why), Some(incarnation)) = (parting, self.files.read_into(id)) {
            let state = self.lives.on_its_way(incarnation);
            let (position, unread) = (state.position(), state.unread_bytes());
            let file = self.files.known(id);
            self.abandon(file.source, Arc::clone(&file.path), position, unread, why);
            self.forget_extent(incarnation, now);
        }
        let file = self.files.remove(id);
        self.leaving.remove(id);
        self.forget_seams_of((file.stream, file.identity));
        if file.kind.is_unexplained {
            // Nobody found it under another name for as long as it was looked for.
            self.count_rotation(file.source, Rotation::Removed);
        }
        if file.is_open() {
            self.descriptors.release();
            self.effects.push_back(Effect::Close(id));
        }
        let Some(incarnation) = file.incarnation() else { return };
        let state = self.lives.on_its_way(incarnation);
        // Without a birth time nothing could tell the file from another.
        let afterwards = match state.whose().identity.birth_nanos {
            _ if matches!(parting, Parting::Refused | Parting::Moved) => Afterwards::Forgotten,
            None if parting != Parting::LeftInPlace => Afterwards::Forgotten,
            _ => Afterwards::Kept,
        };
        match parting {
            Parting::Delivered => {
                let unread = state.unread_bytes();
                assert!(unread == 0, "L13: {unread} bytes of {file:?} were not read");
            }
            Parting::LeftInPlace => self.lives.let_go_of(incarnation, file.source),
            Parting::Handed | Parting::Refused | Parting::Moved | Parting::Declared(_) => {}
        }
        self.lives.part(incarnation, afterwards);
        if afterwards == Afterwards::Kept && parting != Parting::LeftInPlace {
            // It may still be there under another name, or come back, or be asked for.
            self.lives.note_closed(incarnation, now);
            self.let_give_way(now);
        }
        if parting == Parting::Delivered {
            self.hand_to_copy(incarnation, now);
        }
        self.end_if_over(incarnation, now);
    }

    /// Of files that were closed, and are gone by the last look, only so many positions are kept.
    pub(super) fn let_give_way(&mut self, now: Instant) {
        while let Some(oldest) = self.lives.give_way() {
            self.forget(&oldest, now);
        }
    }

    /// The checkpoint of a closed file is forgotten. What is known of its family remembers that it was there: the file would
    /// be taken for a missed generation.
    fn forget(&mut self, oldest: &Checkpoint, now: Instant) {
        self.saves.forget(oldest.incarnation, now);
        let Some(birth) = oldest.identity.birth_nanos else { return };
        self.families.forget(&oldest.stream, oldest.real_path(), birth);
        for incarnation in self.lives.relatives(oldest) {
            if self.lives.note_first_seen(incarnation, families::after(birth)) {
                self.saves.note_changed(incarnation, 0, now);
            }
        }
    }

    /// An incarnation is over once it parted and all of it is settled: its checkpoint is forgotten, or kept.
    pub(super) fn end_if_over(&mut self, incarnation: Incarnation, now: Instant) {
        match self.lives.end_if_over(incarnation) {
            None => {}
            Some(Over::Forgotten) => self.saves.forget(incarnation, now),
            Some(Over::Stored) => self.saves.note_changed(incarnation, 0, now),
        }
    }

    /// What was seen of an incarnation is declared lost: no start declares it once more.
    pub(super) fn forget_extent(&mut self, incarnation: Incarnation, now: Instant) {
        if self.lives.forget_extent(incarnation) {
            self.saves.note_changed(incarnation, 0, now);
        }
    }

    /// Declares a loss.
    pub(super) fn abandon(&mut self, source: SourceId, path: Arc<Path>, from: Offset, bytes: u64, why: Loss) {
        if bytes > 0 {
            self.counts.sources[source.0].add_lost(why, bytes);
            self.report(Report::Abandoned { source, path, from, bytes, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::Memory;
    use crate::engine::port::{Event, FileFault, Held, Observation, Observed, Opened};
    use crate::engine::samples::{at, identity, path, settings};

    fn observed(size: u64) -> Observed {
        Observed {
            path: path("a.log"),
            target: None,
            identity: identity(1),
            size,
            owner: 0,
            modified: None,
            is_matched: true,
            rotated_from: Vec::new(),
            is_told: false,
        }
    }

    fn look(engine: &mut Engine, files: Vec<Observed>, held: Vec<Held>, seconds: u64) {
        let observation = Observation {
            source: SourceId(0),
            files,
            hidden: crate::model::hidden::Hidden::default(),
            held,
            unix_time: std::time::Duration::ZERO,
        };
        engine.handle(Event::Observed(observation), at(seconds));
    }

    fn reports(engine: &mut Engine) -> Vec<Report> {
        let effects = std::iter::from_fn(|| engine.poll_effect());
        effects
            .filter_map(|effect| match effect {
                Effect::Report(report) => Some(report),
                _ => None,
            })
            .collect()
    }

    fn fail_read(engine: &mut Engine, seconds: u64) {
        let result = Err(FileFault::Unreadable("EIO".to_owned()));
        let unix_time = std::time::Duration::ZERO;
        engine.handle(
            Event::Bytes { file: FileId(0), result, unix_time, modified: None, room: 0, begins: true },
            at(seconds),
        );
    }

    /// An engine that has read ten bytes of a file, and seen thirty.
    fn engine_behind() -> Engine {
        let mut engine = Engine::try_new(settings(1), Memory::default(), 0, at(0)).expect("delays in order");
        engine.handle(Event::Tick, at(0));
        look(&mut engine, vec![observed(10)], Vec::new(), 0);
        engine.handle(Event::Saved(Ok(())), at(0));
        let file = FileId(0);
        let opened = Opened {
            identity: identity(1),
            size: 10,
            head: Bytes::from_static(b"123456789\n"),
            held: None,
            place: None,
        };
        engine.handle(Event::Opened { file, result: Ok(opened) }, at(0));
        let result = Ok(Bytes::from_static(b"123456789\n"));
        engine.handle(
            Event::Bytes {
                file,
                result,
                unix_time: std::time::Duration::ZERO,
                modified: None,
                room: 0,
                begins: true,
            },
            at(0),
        );
        engine.handle(Event::Tick, at(20));
        look(&mut engine, vec![observed(30)], Vec::new(), 20);
        fail_read(&mut engine, 20);
        engine.check_laws();
        drop(reports(&mut engine));
        engine
    }

    #[test]
    fn l13_what_a_look_saw_of_a_file_that_is_given_up_is_declared_to_the_byte() {
        let mut engine = engine_behind();
        engine.handle(Event::Tick, at(40));
        let held =
            Held { file: FileId(0), size: 30, disk_bytes: 4096, is_removed: true, is_disk_nearly_full: true };
        look(&mut engine, Vec::new(), Vec::new(), 40);
        fail_read(&mut engine, 59);
        engine.handle(Event::Tick, at(60));
        look(&mut engine, Vec::new(), vec![held], 60);
        let lost = |report: &Report| match report {
            Report::Abandoned { from, bytes, why, .. } => Some((from.bytes(), *bytes, *why)),
            _ => None,
        };
        let lost: Vec<_> = reports(&mut engine).iter().filter_map(lost).collect();
        assert_eq!(lost, [(10, 20, Loss::DiskFull)]);
        let counts = engine.status(at(60)).counts;
        assert_eq!(counts.sources[0].abandoned_bytes[&Loss::DiskFull], 20);
        engine.check_laws();
    }

    #[test]
    #[should_panic(expected = "L13: 20 bytes")]
    fn l13_a_file_with_bytes_that_were_seen_and_not_read_is_never_let_go_of_as_delivered() {
        let mut engine = engine_behind();
        engine.part(FileId(0), Parting::Delivered, at(60));
    }
}
