//! What a look showed, and nobody read before it was cut off.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::port::{Effect, Event, Hint, Observation, Observed, Opened, Read};
use crate::engine::report::Report;
use crate::engine::samples::disk::lines;
use crate::engine::samples::{at, identity, path, settings};
use crate::engine::{Engine, Memory};
use crate::model::hidden::Hidden;
use crate::model::settings::{MemorySettings, SourceId};

const SHOWN: u64 = 10_000;

/// Reads and looks are answered when the test says so, all else at once; the service never answers.
struct Slow {
    engine: Engine,
    looks: usize,
    reads: VecDeque<Read>,
    declared: u64,
}

impl Slow {
    fn new(buffer: u64) -> Self {
        let mut settings = settings(1);
        settings.memory = MemorySettings { buffer, buffer_per_file: buffer };
        let engine = Engine::try_new(settings, Memory::default(), 0, at(0)).expect("delays in order");
        Self { engine, looks: 0, reads: VecDeque::new(), declared: 0 }
    }

    fn tell(&mut self, event: Event, second: u64) {
        let mut waiting = vec![event];
        while let Some(event) = waiting.pop() {
            self.engine.handle(event, at(second));
            self.engine.check_laws();
            while let Some(effect) = self.engine.poll_effect() {
                waiting.extend(self.note(effect));
            }
        }
    }

    fn note(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Survey(_) => self.looks += 1,
            Effect::Read(read) => self.reads.push_back(read),
            Effect::Report(Report::Abandoned { bytes, .. }) => self.declared += bytes,
            Effect::Save(_) => return Some(Event::Saved(Ok(()))),
            Effect::Open(open) => {
                let (head, held, place) = (Bytes::new(), None, None);
                let name = open.path.file_stem().and_then(|stem| stem.to_str());
                let identity = identity(name.expect("a number").parse().expect("a number"));
                return Some(Event::Opened {
                    file: open.file,
                    result: Ok(Opened { identity, size: 0, head, held, place }),
                });
            }
            _ => {}
        }
        None
    }

    /// A look that was asked for is answered: files by their numbers, with sizes and when they were written last.
    fn show(&mut self, files: &[(u64, u64, u64)], second: u64) {
        assert!(self.looks > 0, "nobody looks in second {second}");
        self.looks -= 1;
        let files = files.iter().map(|(number, size, modified)| Observed {
            path: path(&format!("{number}.log")),
            target: None,
            identity: identity(*number),
            size: *size,
            owner: 0,
            modified: Some(Duration::from_secs(*modified)),
            is_matched: true,
            rotated_from: Vec::new(),
            is_told: false,
        });
        let (files, hidden, held) = (files.collect(), Hidden::default(), Vec::new());
        let unix_time = Duration::from_secs(second);
        let observation = Observation { source: SourceId(0), files, hidden, held, unix_time };
        self.tell(Event::Observed(observation), second);
    }

    /// The oldest read that was asked for is answered: with all of that content from where it begins, or, where it ends before
    /// that, with nothing of what is looked for.
    fn bring(&mut self, content: &[u8], modified: Option<u64>, second: u64) {
        self.bring_with_room(content, 0, modified, second);
    }

    /// As [`bring`](Self::bring), where so much room lies behind the content.
    fn bring_with_room(&mut self, content: &[u8], room: u64, modified: Option<u64>, second: u64) {
        let read = self.reads.pop_front().expect("a read was asked for");
        let from = usize::try_from(read.at.bytes()).expect("small");
        let is_same = from <= content.len();
        let bytes = if is_same { Bytes::copy_from_slice(&content[from..]) } else { Bytes::new() };
        let bytes = bytes.slice(..bytes.len().min(read.len));
        let (unix_time, modified) = (Duration::from_secs(second), modified.map(Duration::from_secs));
        self.tell(
            Event::Bytes { file: read.file, result: Ok(bytes), unix_time, modified, room, begins: is_same },
            second,
        );
    }

    /// Whatever is asked for is answered with what is there until the search for copies is over.
    fn come_to_rest(&mut self, content: &[u8], modified: u64, from: u64) {
        for second in from..from + 60 {
            self.tell(Event::Tick, second);
            while !self.reads.is_empty() {
                self.bring(content, Some(modified), second);
            }
            while self.looks > 0 {
                self.show(&[(1, content.len() as u64, modified)], second);
            }
        }
    }

    /// The first file is read to its end.
    fn read_first(content: &[u8]) -> Self {
        let mut slow = Self::new(64 << 20);
        slow.tell(Event::Tick, 1);
        slow.show(&[(1, content.len() as u64, 1)], 1);
        slow.bring(content, Some(1), 1);
        slow
    }
}

#[test]
fn what_a_look_showed_that_was_under_way_during_a_read_is_declared_whichever_comes_in_first() {
    for look_is_first in [false, true] {
        let content = lines("first", 0..9);
        let mut slow = Slow::read_first(&content);
        slow.tell(Event::Hint(Hint::Grown(path("1.log"))), 2);
        slow.tell(Event::Hint(Hint::Names), 2);
        slow.tell(Event::Tick, 3);
        if look_is_first {
            slow.show(&[(1, SHOWN, 3)], 4);
        }
        slow.bring(&content, Some(1), 4);
        if !look_is_first {
            slow.show(&[(1, SHOWN, 3)], 4);
        }
        slow.bring(b"", Some(5), 5);
        slow.come_to_rest(b"", 5, 6);
        assert_eq!(slow.declared, SHOWN - content.len() as u64, "the look is first: {look_is_first}");
    }
}

#[test]
fn what_a_look_shows_of_what_came_after_a_truncation_is_declared_when_that_is_cut_off_too() {
    let content = lines("first", 0..9);
    let mut slow = Slow::read_first(&content);
    slow.tell(Event::Hint(Hint::Grown(path("1.log"))), 2);
    slow.bring(b"", Some(3), 3);
    let other = lines("second", 0..9);
    slow.bring(&other, None, 3);
    slow.show(&[(1, SHOWN, 4)], 4);
    slow.bring(b"", Some(5), 5);
    slow.come_to_rest(b"", 5, 6);
    assert_eq!(slow.declared, SHOWN - other.len() as u64);
}

/// The service takes nothing, and other files fill the memory.
#[test]
fn what_looks_showed_of_a_file_that_waits_for_memory_is_declared_when_a_later_one_shows_less() {
    let mut slow = Slow::new(256 << 10);
    let much = lines("much", 0..100_000);
    let others: Vec<_> = (2..10).map(|number| (number, much.len() as u64, 1)).collect();
    slow.tell(Event::Tick, 1);
    slow.show(&others, 1);
    while !slow.reads.is_empty() {
        slow.bring(&much, None, 1);
    }
    let with = |size, modified| [&others[..], &[(1, size, modified)]].concat();
    let looks = [(0, 2), (SHOWN, 3), (10, 4), (SHOWN, 5), (20, 6), (20, 6), (30, 7)];
    for (second, (size, modified)) in (10..).step_by(30).zip(looks) {
        slow.tell(Event::Tick, second);
        slow.show(&with(size, modified), second);
        assert!(slow.reads.is_empty(), "there is room in second {second}: {:?}", slow.reads);
    }
    for second in 300..400 {
        slow.tell(Event::Tick, second);
        while slow.looks > 0 {
            slow.show(&with(30, 7), second);
        }
    }
    assert_eq!(slow.declared, 2 * SHOWN);
}

/// Nothing of it is taken in: what was read is part of a line.
#[test]
fn what_looks_show_of_room_that_a_read_found_was_not_seen_of_any_line() {
    let part = b"a part";
    let mut slow = Slow::new(64 << 20);
    slow.tell(Event::Tick, 1);
    slow.show(&[(1, SHOWN, 1)], 1);
    slow.bring_with_room(part, SHOWN - part.len() as u64, None, 1);
    for (second, size) in [(10, SHOWN), (20, SHOWN), (30, part.len() as u64)] {
        slow.tell(Event::Hint(Hint::Names), second);
        slow.show(&[(1, size, second)], second);
        let seen: Vec<_> = slow.engine.lives.states().map(|state| state.unread_bytes()).collect();
        assert!(seen.iter().all(|bytes| *bytes <= part.len() as u64), "in second {second}: {seen:?}");
    }
    while !slow.reads.is_empty() {
        slow.bring(part, Some(30), 31);
    }
    slow.come_to_rest(part, 30, 32);
    assert_eq!(slow.declared, 0);
}
