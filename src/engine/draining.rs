//! Drains: what is still to be read once the engine is told to finish, and when that is done.
//!
//! The end of each file is fixed when the drain begins: by the first look at its source that began since. What writers
//! append behind it, and files that come later, are for the next start: else a drain beside writers would never end.
//!
//! *Invariant:* a file whose end was reached is not read again in the same drain, whatever hints and looks say.

use std::time::Duration;

use bytes::Bytes;

use crate::model::settings::{CheckpointSettings, SourceId};

use super::Engine;
use super::port::{FileId, Held, Read};

impl Engine {
    pub(super) fn on_drain(&mut self) {
        if self.finishing.is_some() {
            return;
        }
        self.finishing = Some(self.settings.on_drain);
        self.surveys.finish();
        self.stop_awaiting();
        self.streams.drain();
        let ends = self.streams.stop_letters();
        self.tell_letters(ends);
        self.forget_all_seams();
        self.files.want_all_read();
    }

    /// Goes on with what is to be done with every file, for some of them.
    pub(super) fn read_all(&mut self, most: usize) {
        for file in self.files.next_of_all(most) {
            self.queue_read(file);
        }
    }

    /// The time is over: nothing waits for a better moment to be saved.
    pub(super) fn on_leave(&mut self) {
        let at_once = CheckpointSettings { interval: Duration::ZERO, max_bytes: 1 };
        self.saves.change_settings(at_once);
        self.saves.hold_nothing_back();
    }

    /// The size of a file of `source` that was looked at is where a drain ends in it, if the look began since the drain,
    /// and none did before.
    pub(super) fn fix_end(&mut self, id: FileId, source: SourceId, size: u64) {
        if self.surveys.fixes_ends(source) {
            self.files.known_mut(id).end.fixed_bytes.get_or_insert(size);
        }
    }

    pub(super) fn fix_held_ends(&mut self, source: SourceId, held: &[Held]) {
        for Held { file, size, .. } in held {
            if self.files.get(*file).is_some() {
                self.fix_end(*file, source, *size);
            }
        }
    }

    /// Whether a drain is over for this file.
    pub(super) fn is_drained(&self, id: FileId) -> bool {
        self.finishing.is_some() && self.files.get(id).is_some_and(|file| file.end.finished)
    }

    /// How much of what was read a drain takes in, where it ends in there: the line in which the fixed end lies is whole.
    /// `before` bytes lie before the position.
    pub(super) fn end_of_drain(&self, id: FileId, read: Read, before: usize, bytes: &Bytes) -> Option<usize> {
        let file = self.files.known(id);
        // Of what is compressed, only reading says how long it is.
        let fixed = file.end.fixed_bytes.filter(|_| self.finishing.is_some() && !file.kind.decompressed)?;
        let position = read.at.plus(before as u64);
        let left = usize::try_from(fixed.saturating_sub(position.bytes())).unwrap_or(usize::MAX);
        let fresh = bytes.get(before..)?;
        if left == 0 {
            return Some(before);
        }
        let last = fresh.get(left - 1)?;
        if *last == b'\n' {
            return Some(before + left);
        }
        memchr::memchr(b'\n', &fresh[left..]).map(|newline| before + left + newline + 1)
    }

    /// Everything that was there when the drain began is read, or cannot be, and what was read is settled.
    ///
    /// What was found last that is not is asked first: to go through all that there is, each time that anything happens, would
    /// make the end of many files cost their square.
    pub(super) fn everything_is_read_and_settled(&self) -> bool {
        !self.streams.any_under_way()
            && !self.lives.was_restless()
            && self.unread_file().is_none()
            && self.lives.restless().is_none()
    }

    /// Notes what is found that is not read, or not settled; whether there is nothing.
    pub(super) fn note_what_is_left(&mut self) -> bool {
        if self.streams.any_under_way() || self.lives.was_restless() {
            return false;
        }
        if let Some(unread) = self.unread_file() {
            self.files.note_found(unread);
            return false;
        }
        let restless = self.lives.restless();
        self.lives.note_restless(restless);
        restless.is_none()
    }

    /// A file of which that is not so.
    pub(super) fn unread_file(&self) -> Option<FileId> {
        self.files.find(|id| !self.is_read(id))
    }

    /// What was there of a file when the drain began is read, or cannot be.
    pub(super) fn is_read(&self, id: FileId) -> bool {
        let is_blocked = |incarnation| self.lives.on_its_way(incarnation).is_blocked();
        let file = self.files.known(id);
        file.end.finished || file.incarnation().is_some_and(is_blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Memory;
    use crate::engine::port::{Effect, Event, Hint, Observation, Observed, Opened};
    use crate::engine::samples::{at, identity, path, settings};
    use crate::model::settings::{Encryption, Settings, Until};
    use crate::model::time::Instant;
    use crate::model::verdict::{Encrypted, Outcome, Verdict};

    const LINE: &[u8] = &{
        let mut line = [b'x'; 1024];
        line[1023] = b'\n';
        line
    };

    /// A file that a program goes on writing to, whatever the engine does.
    struct Beside {
        engine: Engine,
        content: Vec<u8>,
        /// How many lines the program writes each time.
        lines: usize,
        millis: u64,
        reads: Vec<Read>,
        opened: Vec<FileId>,
        saved_to: u64,
    }

    impl Beside {
        fn new(settings: Settings) -> Self {
            let engine = Engine::try_new(settings, Memory::default(), 0, at(0)).expect("delays in order");
            let mut this = Self {
                engine,
                content: LINE.repeat(400),
                lines: 300,
                millis: 0,
                reads: Vec::new(),
                opened: Vec::new(),
                saved_to: 0,
            };
            this.tell(Event::Tick);
            this
        }

        fn tell(&mut self, event: Event) {
            self.engine.handle(event, Instant::at(Duration::from_millis(self.millis)));
            self.engine.check_laws();
        }

        fn observed(&self, inode: u64) -> Observed {
            let (path, size) = (path(&format!("{inode}.log")), self.content.len() as u64);
            Observed {
                path,
                target: None,
                identity: identity(inode),
                size,
                owner: 0,
                modified: None,
                is_matched: true,
                rotated_from: Vec::new(),
                is_told: false,
            }
        }

        /// Carries out everything that is asked for, and lets the writer write before each of it; `false` when nothing is.
        fn turn(&mut self, files: u64) -> bool {
            let Some(effect) = self.engine.poll_effect() else { return false };
            self.millis += 5;
            if self.content.len() < 16 << 20 {
                self.content.extend_from_slice(&LINE.repeat(self.lines));
            }
            self.tell(Event::Hint(Hint::Grown(path("1.log"))));
            self.tell(Event::Hint(Hint::Names));
            match effect {
                Effect::Survey(survey) => {
                    let files = (1..=files).map(|inode| self.observed(inode)).collect();
                    let source = survey.source;
                    self.tell(Event::Observed(Observation {
                        source,
                        unix_time: Duration::ZERO,
                        files,
                        hidden: crate::model::hidden::Hidden::default(),
                        held: Vec::new(),
                    }));
                }
                Effect::Open(open) => {
                    self.opened.push(open.file);
                    let inode = if *open.path == *path("1.log") { 1 } else { 2 };
                    let head = Bytes::copy_from_slice(&self.content[..1024]);
                    let opened = Opened {
                        identity: identity(inode),
                        size: self.content.len() as u64,
                        head,
                        held: None,
                        place: None,
                    };
                    self.tell(Event::Opened { file: open.file, result: Ok(opened) });
                }
                Effect::Read(read) => {
                    self.reads.push(read);
                    let from = usize::try_from(read.at.bytes()).expect("small").min(self.content.len());
                    let until = (from + read.len).min(self.content.len());
                    let result = Ok(Bytes::copy_from_slice(&self.content[from..until]));
                    self.tell(Event::Bytes {
                        file: read.file,
                        result,
                        unix_time: Duration::ZERO,
                        modified: None,
                        room: 0,
                        begins: true,
                    });
                }
                Effect::Put(put) => {
                    let verdict = Verdict::Delivered { encrypted: Encrypted::No, id: None };
                    let verdicts = vec![verdict; put.records.len()];
                    self.tell(Event::PutDone {
                        request: put.request,
                        outcome: Outcome { verdicts, took: Duration::ZERO },
                    });
                }
                Effect::Save(save) => {
                    let saved = save.checkpoints.iter().map(|saved| saved.offset.bytes()).max();
                    self.saved_to = self.saved_to.max(saved.unwrap_or(0));
                    self.tell(Event::Saved(Ok(())));
                }
                Effect::Compare(_)
                | Effect::Close(_)
                | Effect::Report(_)
                | Effect::Want(_)
                | Effect::Moved { .. }
                | Effect::Replayed { .. } => {}
            }
            true
        }

        /// Goes on until the engine is done; `false` when it is not within two minutes.
        fn is_done_in_time(&mut self, files: impl Fn(&Self) -> u64) -> bool {
            while self.millis < 120_000 {
                for _ in 0..200 {
                    if self.engine.is_done() {
                        return true;
                    }
                    let files = files(self);
                    if !self.turn(files) {
                        break;
                    }
                }
                self.millis += 1000;
                self.tell(Event::Tick);
            }
            false
        }
    }

    fn quick() -> Settings {
        let mut settings = settings(1);
        let fast = std::num::NonZeroU32::new(1_000_000).expect("above zero");
        settings.streams[0].quota.records_per_second = fast;
        settings.streams[0].quota.requests_per_second = fast;
        settings.streams[0].quota.bytes_per_second = 1 << 40;
        settings
    }

    #[test]
    fn what_waits_for_a_stream_that_takes_nothing_does_not_make_a_drain_wait_and_is_not_done() {
        let mut settings = quick();
        settings.streams[0].encryption = Encryption::Required;
        let mut beside = Beside::new(settings);
        while beside.turn(1) {}
        assert!(beside.engine.streams.any_stopped(), "the service says that it keeps nothing encrypted");
        assert!(!beside.engine.is_left_with_stopped_streams(), "nobody stops");
        beside.tell(Event::Drain);
        assert!(!beside.is_done_in_time(|_| 1), "lines are left");
        assert!(beside.engine.is_left_with_stopped_streams());
        assert_eq!(beside.saved_to, LINE.len() as u64, "one record was the first and the last");
    }

    #[test]
    fn in_a_drain_and_in_one_pass_no_record_waits_for_others() {
        let mut once = settings(1);
        once.until = Until::EndOfFiles;
        for (settings, event) in [(settings(1), Event::Drain), (once, Event::Tick)] {
            let is_one_pass = settings.until == Until::EndOfFiles;
            let mut engine = Engine::try_new(settings, Memory::default(), 0, at(0)).expect("delays in order");
            assert_eq!(engine.streams.is_draining, is_one_pass);
            engine.handle(event, at(0));
            assert!(engine.streams.is_draining);
        }
    }

    #[test]
    fn a_drain_beside_a_writer_ends_behind_the_end_that_its_file_had() {
        let mut beside = Beside::new(quick());
        while beside.reads.is_empty() {
            assert!(beside.turn(1));
        }
        beside.tell(Event::Drain);
        let size = beside.content.len() as u64;
        assert!(beside.is_done_in_time(|_| 1), "it reads what comes, for ever");
        assert!(beside.saved_to >= size, "{} of {size}", beside.saved_to);
        let written = beside.content.len() as u64;
        assert!(
            beside.saved_to < written,
            "a survey later the end was fixed: {} of {written}",
            beside.saved_to
        );
    }

    #[test]
    fn one_pass_begins_no_file_that_comes_after_its_first_look() {
        let mut settings = quick();
        settings.until = Until::EndOfFiles;
        let mut beside = Beside::new(settings);
        assert!(beside.is_done_in_time(|beside| if beside.reads.is_empty() { 1 } else { 2 }));
        beside.opened.sort();
        beside.opened.dedup();
        assert_eq!(beside.opened.len(), 1, "another came, and is for the next pass");
    }

    #[test]
    fn what_a_file_grew_by_between_the_look_that_fixes_its_end_and_its_opening_is_not_missed_there() {
        let mut settings = quick();
        settings.until = Until::EndOfFiles;
        let mut beside = Beside { lines: 1, content: LINE.repeat(10), ..Beside::new(settings) };
        assert!(beside.is_done_in_time(|_| 1));
        let (written, counts) = (beside.content.len() as u64, &beside.engine.counts.sources[0]);
        assert!(beside.saved_to < written, "its end was fixed: {} of {written}", beside.saved_to);
        assert!(counts.rotations.is_empty(), "{:?}", counts.rotations);
        assert!(counts.abandoned_bytes.is_empty(), "{:?}", counts.abandoned_bytes);
    }

    #[test]
    fn what_is_known_when_the_time_is_over_is_saved_however_long_the_interval_is() {
        let mut settings = quick();
        settings.checkpoint.interval = Duration::from_secs(3600);
        settings.checkpoint.max_bytes = 1 << 40;
        let mut beside = Beside::new(settings);
        for _ in 0..50 {
            beside.turn(1);
        }
        assert_eq!(beside.saved_to, 0);
        beside.tell(Event::Leave);
        while beside.turn(1) && beside.saved_to == 0 {}
        assert!(beside.saved_to > 0);
    }
}
