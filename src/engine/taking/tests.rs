use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::engine::Memory;
use crate::engine::files::file::Name;
use crate::engine::port::{Effect, Opened, Reload};
use crate::engine::samples::{at, identity, path, settings};
use crate::model::hidden::Hidden;
use crate::model::settings::Settings;
use crate::model::verdict::{Encrypted, Outcome, Verdict};

/// A look shows each file so: where it is, under which of its names, how long it is, and how often it was written.
type Shown = Option<(Place, usize, u64)>;

/// A file's name, whether the source matches it, its size, and how far it is read.
type Known = (String, bool, u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    OfSource,
    RenamedInSource,
    Beside,
    Hidden,
}

fn few(files: usize) -> Settings {
    let mut settings = settings(1);
    settings.files_at_once = NonZeroUsize::new(files).expect("above zero");
    settings
}

fn name_of(inode: usize, place: Place) -> String {
    match place {
        Place::OfSource | Place::Hidden => format!("{inode}.log"),
        Place::RenamedInSource => format!("{inode}-b.log"),
        Place::Beside => format!("{inode}.log.1"),
    }
}

fn observation(shown: &[Shown], seconds: u64) -> Observation {
    let mut hidden = Hidden::default();
    let mut files = Vec::new();
    for (inode, shown) in shown.iter().enumerate() {
        let Some((place, len, modified)) = *shown else { continue };
        let name = path(&name_of(inode, place));
        if place == Place::Hidden {
            hidden.insert(&name);
            continue;
        }
        let is_matched = place != Place::Beside;
        files.push(Observed {
            path: name,
            target: None,
            identity: identity(inode as u64),
            size: len as u64,
            owner: 0,
            modified: Some(Duration::from_secs(modified)),
            is_matched,
            rotated_from: if is_matched { Vec::new() } else { vec![path(&name_of(inode, Place::OfSource))] },
            is_told: false,
        });
    }
    let unix_time = Duration::from_secs(seconds);
    Observation { source: SourceId(0), files, hidden, held: Vec::new(), unix_time }
}

/// How far the look is taken in: parts that are whole count as one file.
fn progress(engine: &Engine) -> Option<(u8, usize)> {
    let taking = engine.surveys.takings().now.as_ref()?;
    Some(match taking.stage {
        Stage::Naming(from) => (0, from),
        Stage::Keeping(from) => (1, usize::try_from(from.inode).expect("small")),
        Stage::Sorting(from) => (2, from),
        Stage::Origins(from) => (3, from),
        Stage::Missed(from) => (4, from),
        Stage::Finding(from) => (5, from),
        Stage::Comparing(from) => (6, usize::try_from(from.0).expect("small")),
        Stage::Archives(from) => (7, from),
        Stage::Meeting(from) => (8, from),
        Stage::Beside => (9, 0),
        Stage::Late(from) => (10, from),
        Stage::Closed(from) => (11, usize::try_from(from.0).expect("small")),
        Stage::Copies => (12, 0),
        Stage::Seams => (13, 0),
        Stage::Forgetting => (14, 0),
        Stage::Ending => (15, usize::MAX - taking.observation.files.len()),
    })
}

fn lines(len: usize) -> Bytes {
    Bytes::from(b"a line\n".repeat(len / 7))
}

/// What a world of files of whole lines shows, and an engine that reads them.
struct World {
    engine: Engine,
    shown: Vec<Shown>,
    opened: BTreeMap<FileId, usize>,
    reports: Vec<String>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let engine = Engine::try_new(settings, Memory::default(), 0, at(0)).expect("delays in order");
        Self { engine, shown: Vec::new(), opened: BTreeMap::new(), reports: Vec::new() }
    }

    /// A look shows this, and is taken in; tells after how many events.
    fn look(&mut self, shown: &[Shown], seconds: u64) -> usize {
        self.engine.handle(Event::Tick, at(seconds));
        self.answer(seconds, |effect| !matches!(effect, Effect::Survey(_)));
        self.shown = shown.to_vec();
        let mut event = Event::Observed(observation(shown, seconds));
        let most = self.engine.settings.files_at_once.get();
        for events in 1.. {
            let before = progress(&self.engine).unwrap_or_default();
            self.engine.handle(event, at(seconds));
            self.engine.check_laws();
            let Some(now) = progress(&self.engine) else { return events };
            assert!(now > before || events == 1, "nothing was done at {now:?}");
            // Numbers of files that are gone are gone through for nothing.
            let number = |place: usize| FileId(place as u64);
            let gone_through = match now.0 {
                stage if stage > before.0 => 0,
                6 => self.engine.files.ids_within(number(before.1)..number(now.1), usize::MAX).len(),
                // Of those that are kept by number, there may be any between two.
                1 | 11 => 0,
                _ => now.1 - before.1,
            };
            assert!(gone_through <= most, "from {before:?} to {now:?} with one event");
            assert!(self.engine.next_deadline(at(seconds)).is_some_and(|due| due <= at(seconds) + NEXT_PART));
            event = Event::Tick;
        }
        unreachable!("it is taken in some time");
    }

    /// Everything that is asked for is answered.
    fn answer(&mut self, seconds: u64, wanted: impl Fn(&Effect) -> bool) {
        while let Some(effect) = self.engine.poll_effect() {
            if !wanted(&effect) {
                continue;
            }
            self.answer_to(effect, seconds);
        }
    }

    /// One thing that is asked for is answered, but for a look.
    fn answer_to(&mut self, effect: Effect, seconds: u64) {
        let event = match effect {
            Effect::Open(open) => {
                let is_it = |(inode, shown): &(usize, &Shown)| {
                    shown.is_some_and(|(place, ..)| *path(&name_of(*inode, place)) == *open.path)
                };
                let found = self.shown.iter().enumerate().find(is_it);
                let result = match found {
                    Some((inode, Some((_, len, _)))) => {
                        self.opened.insert(open.file, inode);
                        let head = lines(*len);
                        let size = head.len() as u64;
                        Ok(Opened { identity: identity(inode as u64), size, head, held: None, place: None })
                    }
                    _ => Err(crate::engine::port::FileFault::Gone),
                };
                Event::Opened { file: open.file, result }
            }
            Effect::Read(read) => {
                let shown = self.shown[self.opened[&read.file]];
                let content = lines(shown.map_or(0, |(_, len, _)| len));
                let from = usize::try_from(read.at.bytes()).expect("small").min(content.len());
                Event::Bytes {
                    file: read.file,
                    result: Ok(content.slice(from..)),
                    unix_time: Duration::from_secs(seconds),
                    modified: shown.map(|(_, _, modified)| Duration::from_secs(modified)),
                    room: 0,
                    begins: true,
                }
            }
            Effect::Put(put) => {
                let delivered = Verdict::Delivered { encrypted: Encrypted::No, id: None };
                let verdicts = vec![delivered; put.records.len()];
                Event::PutDone { request: put.request, outcome: Outcome { verdicts, took: Duration::ZERO } }
            }
            Effect::Save(_) => Event::Saved(Ok(())),
            Effect::Report(report) => {
                self.reports.push(format!("{report:?}"));
                return;
            }
            _ => return,
        };
        self.engine.handle(event, at(seconds));
        self.engine.check_laws();
    }

    /// What is known of each file, and what was told.
    fn known(mut self) -> (BTreeMap<Identity, Known>, Vec<String>) {
        let of_file = |(id, file): (FileId, &crate::engine::files::file::FollowedFile)| {
            let read = self.engine.files.read_into(id).and_then(|own| self.engine.lives.state(own));
            let position = read.map_or(0, |state| state.position().bytes());
            let name = file.path.to_string_lossy().into_owned();
            (file.identity, (name, file.name == Name::Matched, file.size, position))
        };
        let files = self.engine.files.iter().map(of_file).collect();
        self.reports.sort();
        (files, self.reports)
    }
}

fn shown() -> impl Strategy<Value = Shown> {
    let place = prop_oneof![
        6 => Just(Place::OfSource),
        1 => Just(Place::RenamedInSource),
        1 => Just(Place::Beside),
        1 => Just(Place::Hidden),
    ];
    // What is written grows.
    prop::option::weighted(0.8, (place, 0_u64..4).prop_map(|(place, n)| (place, 7 * (1 + n as usize), 5 + n)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_known_after_some_looks_is_the_same_by_however_many_files_they_are_taken_in(
        looks in prop::collection::vec(prop::collection::vec(shown(), 12), 1..6),
        most in 1_usize..5,
    ) {
        let (mut whole, mut parts) = (World::new(few(usize::MAX)), World::new(few(most)));
        for (shown, seconds) in looks.iter().zip((30..).step_by(30)) {
            prop_assert_eq!(whole.look(shown, seconds), 1);
            parts.look(shown, seconds);
            whole.answer(seconds, |_| true);
            parts.answer(seconds, |_| true);
        }
        prop_assert_eq!(whole.known(), parts.known());
    }
}

#[test]
fn of_however_many_files_no_event_goes_through_more_than_a_few() {
    let mut world = World::new(few(100));
    let shown = vec![Some((Place::OfSource, 7, 5)); 3_000];
    // They are named, met as new and let go of by parts, and what cannot be divided is done at once, with an event each.
    assert_eq!(world.look(&shown, 30), 30 + 30 + 4 + 30);
}

#[test]
fn another_configuration_finds_no_look_that_is_taken_in_by_half() {
    let mut world = World::new(few(2));
    let shown = vec![Some((Place::OfSource, 7, 5)); 40];
    world.engine.handle(Event::Tick, at(1));
    world.engine.handle(Event::Observed(observation(&shown, 1)), at(1));
    assert!(world.engine.surveys.takings().any() && world.engine.files.iter().next().is_none());
    let settings = world.engine.settings.clone();
    let (retired, names) = (BTreeSet::new(), Vec::new());
    world
        .engine
        .handle(Event::Reload(Box::new(Reload { is_changed: true, settings, retired, names })), at(1));
    assert!(!world.engine.surveys.takings().any());
    assert_eq!(world.engine.files.iter().count(), 40);
}

#[test]
fn a_drain_that_begins_while_a_look_is_taken_in_reads_all_that_this_and_the_next_one_show() {
    for (most, before) in [(1, 1), (2, 1), (2, 30), (7, 9), (usize::MAX, 1)] {
        let mut world = World::new(few(most));
        let shown = vec![Some((Place::OfSource, 7, 5)); 40];
        world.shown = shown.clone();
        world.engine.handle(Event::Tick, at(1));
        world.answer(1, |effect| !matches!(effect, Effect::Survey(_)));
        world.engine.handle(Event::Observed(observation(&shown, 1)), at(1));
        (1..before).for_each(|_| world.engine.handle(Event::Tick, at(1)));
        world.engine.handle(Event::Drain, at(1));
        for seconds in 2..2_000 {
            while let Some(effect) = world.engine.poll_effect() {
                if matches!(effect, Effect::Survey(_)) {
                    world.engine.handle(Event::Observed(observation(&shown, seconds)), at(seconds));
                } else {
                    world.answer_to(effect, seconds);
                }
            }
            if world.engine.is_done() {
                break;
            }
            world.engine.handle(Event::Tick, at(seconds));
        }
        assert!(world.engine.is_done(), "{most} at once, after {before}");
        let (known, _) = world.known();
        assert!(known.len() == 40 && known.values().all(|(_, _, size, read)| (*size, *read) == (7, 7)));
    }
}

#[test]
fn nothing_of_a_first_look_is_opened_before_all_of_it_is_marked_and_nothing_saved_before_all_ends_are_noted()
{
    for (start_at, saves) in [(StartAt::Beginning, true), (StartAt::End, false)] {
        let mut settings = few(1);
        settings.sources[0].start_at = start_at;
        settings.checkpoint.interval = Duration::ZERO;
        let memory = Memory { first_start: true, ..Memory::default() };
        let mut engine = Engine::try_new(settings, memory, 0, at(0)).expect("delays in order");
        let shown = vec![Some((Place::OfSource, 7, 5)); 8];
        engine.handle(Event::Tick, at(1));
        engine.handle(Event::Observed(observation(&shown, 1)), at(1));
        let mut saved = false;
        for millis in 0.. {
            while let Some(effect) = engine.poll_effect() {
                let is_marking = engine.surveys.takings().is_marking(SourceId(0));
                assert!(!is_marking || !matches!(effect, Effect::Open(_)), "{start_at:?}, event {millis}");
                assert!(is_marking || engine.files.iter().count() == 8);
                if matches!(effect, Effect::Save(_)) {
                    saved |= is_marking;
                    engine.handle(Event::Saved(Ok(())), at(1));
                }
            }
            if !engine.surveys.takings().is_marking(SourceId(0)) {
                break;
            }
            engine.handle(Event::Tick, Instant::at(Duration::from_millis(1_000 + millis)));
        }
        assert_eq!(saved, saves, "{start_at:?}");
    }
}
