//! Copies and files that are like others, on a disk of three or four files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::port::{Effect, Event, FileFault, FileId, Hint, Likeness, Observation, Observed, Opened};
use crate::engine::report::Report;
use crate::engine::samples::{at, identity, path, settings};
use crate::engine::{Engine, Memory};
use crate::model::identity::{HEAD_BYTES, Identity};
use crate::model::time::Instant;
use crate::model::verdict::{Encrypted, Outcome, Verdict};
use crate::rules::rotation::family::rotated_from;

/// A file; its inode is the second of its birth.
struct OnDisk {
    inode: u64,
    content: Vec<u8>,
    modified: u64,
}

/// An engine with a disk, a service that accepts everything, and a clock.
struct World {
    engine: Engine,
    millis: u64,
    disk: BTreeMap<PathBuf, OnDisk>,
    open: BTreeMap<FileId, u64>,
    /// Whether the one source matches what rotators make of its files, too.
    matches_all: bool,
    sent: Vec<u8>,
    copied: usize,
}

fn lines(word: &str, numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|number| format!("{word} {number:05}\n").into_bytes()).collect()
}

impl World {
    fn new(matches_all: bool) -> Self {
        let engine = Engine::try_new(settings(1), Memory::default(), 0, at(0)).expect("delays in order");
        let (disk, open) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self { engine, millis: 10_000, disk, open, matches_all, sent: Vec::new(), copied: 0 };
        world.pass(1);
        world
    }

    fn now(&self) -> Instant {
        Instant::at(Duration::from_millis(self.millis))
    }

    /// A file of that content has the name from now on.
    fn make(&mut self, name: &str, content: &[u8]) {
        let inode = self.millis / 1_000;
        self.millis += 1_000;
        let file = OnDisk { inode, content: content.to_vec(), modified: self.millis };
        self.disk.insert(path(name).to_path_buf(), file);
    }

    /// The file has other content, and inotify says so.
    fn write(&mut self, name: &str, content: &[u8]) {
        self.touch(name);
        self.disk.get_mut(&*path(name)).expect("there").content = content.to_vec();
        self.tell(Event::Hint(Hint::Grown(path(name))));
    }

    fn touch(&mut self, name: &str) {
        self.millis += 10;
        self.disk.get_mut(&*path(name)).expect("there").modified = self.millis;
    }

    fn is_matched(&self, name: &Path) -> bool {
        self.matches_all || name.extension().is_some_and(|extension| extension == "log")
    }

    fn tell(&mut self, event: Event) {
        let mut waiting = vec![event];
        while let Some(event) = waiting.pop() {
            let now = self.now();
            self.engine.handle(event, now);
            self.engine.check_laws();
            while let Some(effect) = self.engine.poll_effect() {
                waiting.extend(self.answer(effect));
            }
        }
    }

    fn observed(&self, name: &Path, file: &OnDisk) -> Observed {
        let is_matched = self.is_matched(name);
        let names = rotated_from(name).into_iter().filter(|from| self.is_matched(from));
        Observed {
            path: Arc::from(name),
            target: None,
            identity: born(file.inode),
            size: file.content.len() as u64,
            owner: 0,
            modified: Some(Duration::from_millis(file.modified)),
            is_matched,
            rotated_from: if is_matched { Vec::new() } else { names.map(Arc::from).collect() },
        }
    }

    fn content(&self, file: FileId) -> Option<&OnDisk> {
        let inode = self.open[&file];
        self.disk.values().find(|on_disk| on_disk.inode == inode)
    }

    fn read(&self, file: FileId, at: u64, len: usize) -> Bytes {
        let content = self.content(file).map_or(&[][..], |file| &file.content);
        let from = usize::try_from(at).expect("small").min(content.len());
        Bytes::copy_from_slice(&content[from..(from + len).min(content.len())])
    }

    fn answer(&mut self, effect: Effect) -> Option<Event> {
        Some(match effect {
            Effect::Survey(survey) => Event::Observed(Observation {
                source: survey.source,
                files: self.disk.iter().map(|(name, file)| self.observed(name, file)).collect(),
                hidden: Vec::new(),
                held: Vec::new(),
                unix_time: Duration::from_millis(self.millis),
            }),
            Effect::Open(open) => {
                let found = self.disk.get(&*open.path).map(|found| {
                    let head = Bytes::copy_from_slice(&found.content[..found.content.len().min(HEAD_BYTES)]);
                    (
                        found.inode,
                        Opened { identity: born(found.inode), size: found.content.len() as u64, head },
                    )
                });
                let result = found.ok_or(FileFault::Gone).map(|(inode, opened)| {
                    self.open.insert(open.file, inode);
                    opened
                });
                Event::Opened { file: open.file, result }
            }
            Effect::Read(read) => {
                let bytes = self.read(read.file, read.at.bytes(), read.len);
                let modified = self.content(read.file).map(|file| Duration::from_millis(file.modified));
                let modified = modified.filter(|_| bytes.len() < read.len);
                let unix_time = Duration::from_millis(self.millis);
                Event::Bytes { file: read.file, result: Ok(bytes), unix_time, modified }
            }
            Effect::Compare(compare) => {
                let of = |file| self.read(file, compare.at.bytes(), compare.len);
                let likeness = Likeness::of(&of(compare.file), &of(compare.with), compare.len);
                Event::Compared { file: compare.file, result: Ok(likeness) }
            }
            Effect::Save(_) => Event::Saved(Ok(())),
            Effect::Put(put) => {
                self.sent.extend(put.records.iter().flatten());
                let verdicts = vec![Verdict::Delivered { encrypted: Encrypted::No }; put.records.len()];
                let outcome = Outcome { verdicts, took: Duration::ZERO };
                Event::PutDone { request: put.request, outcome }
            }
            Effect::Close(file) => {
                self.open.remove(&file);
                return None;
            }
            Effect::Moved { .. } | Effect::Replayed { .. } => return None,
            Effect::Report(report) => {
                self.copied += usize::from(matches!(report, Report::Copied { .. }));
                return None;
            }
        })
    }

    /// So many seconds pass, in steps; every fifth second everything is looked at.
    fn pass(&mut self, seconds: u64) {
        for step in 0..seconds * 4 {
            self.millis += 250;
            self.tell(if step % 20 == 0 { Event::Hint(Hint::Names) } else { Event::Tick });
        }
    }

    /// What was sent since it was asked last, in the order of the lines.
    fn take(&mut self) -> Vec<String> {
        let sent = String::from_utf8(std::mem::take(&mut self.sent)).expect("text");
        let mut sent: Vec<_> = sent.lines().map(str::to_owned).collect();
        sent.sort();
        sent
    }
}

fn born(second: u64) -> Identity {
    Identity { birth_nanos: i64::try_from(second * 1_000_000_000).ok(), ..identity(second) }
}

fn told(content: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = std::str::from_utf8(content).expect("text").lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_copy_goes_on_where_its_original_was_cut_off() {
    for matches_all in [false, true] {
        let mut world = World::new(matches_all);
        let content = lines("line", 0..500);
        world.make("app.log", &content);
        world.pass(6);
        assert_eq!(world.take(), told(&content));
        let grown = lines("line", 0..700);
        world.make("app.log.1", &grown);
        world.write("app.log", b"");
        world.pass(20);
        assert_eq!(world.take(), told(&lines("line", 500..700)), "all matched: {matches_all}");
        assert_eq!(world.copied, 1);
    }
}

#[test]
fn l14_a_file_that_begins_and_ends_like_one_that_was_cut_off_is_read_from_its_beginning() {
    let mut world = World::new(true);
    let content = lines("line", 0..500);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    let mut other = content.clone();
    other[3_000] = b'x';
    other.extend(lines("more", 0..10));
    world.make("app.log.1", &other);
    world.write("app.log", b"");
    world.pass(90);
    assert_eq!(world.take(), told(&other), "hidden are lines that nobody read");
    assert_eq!(world.copied, 0);
}

#[test]
fn a_generation_that_was_cut_off_unseen_is_read_in_its_copy() {
    let mut world = World::new(false);
    let content = lines("first", 0..300);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    // Cut off twice between two looks.
    world.make("app.log.2", &content);
    world.make("app.log.1", &lines("second", 0..20));
    world.write("app.log", &lines("third", 0..5));
    world.pass(30);
    let expected: Vec<_> =
        told(&lines("second", 0..20)).into_iter().chain(told(&lines("third", 0..5))).collect();
    assert_eq!(world.take(), expected);
}

#[test]
fn files_that_begin_alike_are_different_files_and_begun_within_two_seconds() {
    let mut world = World::new(true);
    let mut content = lines("header", 0..200);
    let mut other = content.clone();
    content.extend(lines("one", 0..3));
    other.extend(lines("two", 0..3));
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    world.make("app-1.log", &other);
    world.tell(Event::Hint(Hint::Names));
    world.pass(2);
    assert_eq!(world.take(), told(&other));
}

#[test]
fn a_slow_copy_is_held_back_for_as_long_as_it_says_the_same() {
    let mut world = World::new(true);
    let content = lines("line", 0..5_000);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    world.make("app.log.1", &content[..1_000]);
    for end in (2_000..content.len()).step_by(10_000) {
        world.write("app.log.1", &content[..end]);
        world.pass(40);
    }
    world.write("app.log.1", &content);
    world.pass(5);
    world.write("app.log", &lines("new", 0..5));
    world.pass(30);
    assert_eq!(world.take(), told(&lines("new", 0..5)), "nothing of the copy comes again");
    assert_eq!(world.copied, 1);
}

#[test]
fn a_file_that_is_rewritten_as_long_as_before_is_read_again() {
    let mut world = World::new(false);
    let mut content = lines("report", 0..400);
    world.make("app.log", &content);
    world.pass(6);
    assert_eq!(world.take(), told(&content));
    content[3_000] = b'x';
    world.write("app.log", &content);
    world.pass(6);
    assert_eq!(world.take(), told(&content));
    world.touch("app.log");
    world.pass(30);
    assert_eq!(world.take(), Vec::<String>::new(), "a touch says nothing new");
}

#[test]
fn a_small_file_that_is_written_anew_with_the_same_bytes_is_shipped_again_where_a_hint_says_so() {
    let mut world = World::new(false);
    world.make("last.log", b"backup OK\n");
    world.pass(6);
    assert_eq!(world.take(), ["backup OK"]);
    world.write("last.log", b"backup OK\n");
    world.pass(6);
    assert_eq!(world.take(), ["backup OK"]);
    world.touch("last.log");
    world.pass(30);
    assert_eq!(world.take(), Vec::<String>::new());
}

#[test]
fn what_a_rotator_made_of_a_file_is_not_looked_at_when_it_is_overwritten() {
    let mut world = World::new(true);
    let content = lines("line", 0..300);
    world.make("app.log.1", &content);
    world.make("app.log", &lines("new", 0..3));
    world.pass(6);
    drop(world.take());
    let mut shredded = content.clone();
    shredded[2_000..2_100].fill(b'#');
    world.write("app.log.1", &shredded);
    world.pass(30);
    assert_eq!(world.take(), Vec::<String>::new());
}
