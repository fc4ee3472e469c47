//! Files that are spread over lanes, and services that fail, fall silent and recover.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::engine::port::{Effect, Event, Hint, Observation, Observed, Opened, Put, Read, Reload};
use crate::engine::samples::{identity, path, settings};
use crate::engine::{Memory, Status};
use crate::model::checkpoint::KnownPart;
use crate::model::settings::{Api, LaneSettings, Order, Settings, Spread};
use crate::model::verdict::{Encrypted, Outcome, Retry, RetryReason, Verdict};
use crate::rules::spread::Standing;

/// What a service does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Takes,
    Fails,
    /// Of two records in a row, one is taken.
    TakesHalf,
    /// Answers come once the mode is another: nobody knows that what was sent is taken.
    Hangs,
}

/// Some files, one stream, and a service for each of its lanes.
struct World {
    engine: Engine,
    millis: u64,
    /// Lines written to each file, by name.
    written: BTreeMap<String, usize>,
    modes: Vec<Mode>,
    under_way: Vec<Put>,
    /// What each lane took.
    taken: Vec<Vec<String>>,
    told: Vec<Report>,
}

fn of_lanes(names: &[&str]) -> Settings {
    let mut settings = settings(1);
    let lane = |name: &&str| LaneSettings {
        delivery_stream: (*name).into(),
        region: None,
        quota: None,
        is_standby: name.starts_with("away"),
        is_used: true,
    };
    settings.streams[0].api = Api::PutRecordBatch;
    settings.streams[0].spread = Spread {
        lanes: names.iter().map(lane).collect(),
        salt: "host".into(),
        spread_after: Some(Duration::from_secs(60)),
        failover_after: names.iter().any(|name| name.starts_with("away")).then_some(Duration::from_secs(300)),
    };
    settings
}

impl World {
    fn new(settings: Settings, files: usize) -> Self {
        let lanes = settings.streams[0].spread.lanes.len();
        let engine = Engine::try_new(settings, Memory::default(), 0, Instant::ZERO).expect("delays in order");
        let mut world = Self {
            engine,
            millis: 0,
            written: (0..files).map(|file| (format!("{file}.log"), 0)).collect(),
            modes: vec![Mode::Takes; lanes],
            under_way: Vec::new(),
            taken: vec![Vec::new(); lanes],
            told: Vec::new(),
        };
        world.tell(Event::Tick);
        world
    }

    fn now(&self) -> Instant {
        Instant::at(Duration::from_millis(self.millis))
    }

    fn content(&self, name: &str) -> Vec<u8> {
        (0..self.written[name]).flat_map(|number| format!("{name} {number:06}\n").into_bytes()).collect()
    }

    fn name_of(&self, inode: u64) -> String {
        format!("{}.log", inode - 1)
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

    fn answer(&mut self, effect: Effect) -> Option<Event> {
        let unix_time = Duration::from_millis(self.millis);
        Some(match effect {
            Effect::Survey(survey) => {
                let files = self.written.keys().map(|name| self.observed(name)).collect();
                let (hidden, held) = (Default::default(), Vec::new());
                Event::Observed(Observation { source: survey.source, files, hidden, held, unix_time })
            }
            Effect::Open(open) => {
                let name = open.path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
                let (content, Observed { identity, size, .. }) = (self.content(&name), self.observed(&name));
                let head = Bytes::copy_from_slice(&content[..content.len().min(1024)]);
                Event::Opened {
                    file: open.file,
                    result: Ok(Opened { identity, size, head, held: None, place: None }),
                }
            }
            Effect::Read(Read { file, at, len, .. }) => {
                let content = self.content(&self.name_of(self.engine.files.known(file).identity.inode));
                let from = (at.bytes() as usize).min(content.len());
                let bytes = Bytes::copy_from_slice(&content[from..(from + len).min(content.len())]);
                Event::Bytes { file, result: Ok(bytes), unix_time, modified: None, room: 0, begins: true }
            }
            Effect::Save(_) => Event::Saved(Ok(())),
            Effect::Put(put) => {
                self.under_way.push(put);
                return None;
            }
            Effect::Report(report) => {
                self.told.push(report);
                return None;
            }
            _ => return None,
        })
    }

    fn observed(&self, name: &str) -> Observed {
        let number: u64 = name.trim_end_matches(".log").parse().expect("a number");
        Observed {
            path: path(name),
            target: None,
            identity: identity(number + 1),
            size: self.content(name).len() as u64,
            owner: 0,
            modified: None,
            is_matched: true,
            rotated_from: Vec::new(),
            is_told: false,
        }
    }

    fn write(&mut self, lines: usize) {
        let names: Vec<_> = self.written.keys().cloned().collect();
        for name in names {
            *self.written.get_mut(&name).expect("there") += lines;
            self.tell(Event::Hint(Hint::Grown(path(&name))));
        }
    }

    /// Lets time pass; what is under way is answered within a tenth of a second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.millis += 100;
            let (hang, land): (Vec<_>, Vec<_>) = std::mem::take(&mut self.under_way)
                .into_iter()
                .partition(|put| self.modes[put.lane.place] == Mode::Hangs);
            self.under_way = hang;
            land.into_iter().for_each(|put| self.land(&put));
            self.tell(Event::Tick);
        }
    }

    fn land(&mut self, put: &Put) {
        let mode = self.modes[put.lane.place];
        let takes = |data: &Bytes| match mode {
            Mode::Takes => true,
            Mode::TakesHalf => data[data.len() - 2].is_multiple_of(2),
            Mode::Fails | Mode::Hangs => false,
        };
        let verdict = |data: &Bytes| match takes(data) {
            true => Verdict::Delivered { encrypted: Encrypted::No, id: None },
            false => retry(RetryReason::Server),
        };
        let verdicts = put.records.iter().map(verdict).collect();
        let texts = put.records.iter().filter(|data| takes(data));
        let texts = texts.map(|data| String::from_utf8_lossy(data).into_owned());
        self.taken[put.lane.place].extend(texts);
        self.outcome(put, verdicts);
    }

    fn outcome(&mut self, put: &Put, verdicts: Vec<Verdict>) {
        let outcome = Outcome { verdicts, took: Duration::from_millis(100) };
        self.tell(Event::PutDone { request: put.request, outcome });
    }

    /// What hangs is taken, and its answer is lost.
    fn lose_answers(&mut self) {
        for put in std::mem::take(&mut self.under_way) {
            let texts = put.records.iter().map(|data| String::from_utf8_lossy(data).into_owned());
            self.taken[put.lane.place].extend(texts);
            let verdicts = vec![retry(RetryReason::Network); put.records.len()];
            self.outcome(&put, verdicts);
        }
    }

    fn status(&mut self) -> Status {
        let now = self.now();
        self.engine.status(now)
    }

    fn files(&mut self) -> Vec<usize> {
        self.status().streams[0].lanes.iter().map(|lane| lane.files).collect()
    }

    fn standing(&mut self, place: usize) -> Standing {
        self.status().streams[0].lanes[place].standing
    }

    fn reload(&mut self, settings: Settings) {
        let settings =
            crate::rules::reload::merge(&self.engine.settings, &settings, &Default::default()).settings;
        let lanes = settings.streams[0].spread.lanes.len();
        self.modes.resize(lanes, Mode::Takes);
        self.taken.resize_with(lanes, Vec::new);
        let (retired, names) = (Default::default(), Vec::new());
        self.tell(Event::Reload(Box::new(Reload { is_changed: true, settings, retired, names })));
    }

    /// How often lines were taken beyond once.
    ///
    /// Panics where one was not.
    fn repeats(&self) -> usize {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.taken.iter().flatten().for_each(|line| *counts.entry(line).or_default() += 1);
        let due: usize = self.written.values().sum();
        assert_eq!(counts.len(), due, "each line was taken");
        counts.values().sum::<usize>() - due
    }

    fn handed_on(&self) -> Vec<(usize, usize)> {
        let handed = |report: &Report| match report {
            Report::HandedOn { lane, files } => Some((lane.place, *files)),
            _ => None,
        };
        self.told.iter().filter_map(handed).collect()
    }

    fn taken_back(&self) -> Vec<(usize, usize)> {
        let back = |report: &Report| match report {
            Report::TakenBack { lane, files } => Some((lane.place, *files)),
            _ => None,
        };
        self.told.iter().filter_map(back).collect()
    }
}

fn retry(reason: RetryReason) -> Verdict {
    Verdict::Retry(Retry::new(reason, "Code", "later"))
}

#[test]
fn each_file_goes_to_one_lane_and_every_lane_has_files() {
    let mut world = World::new(of_lanes(&["a", "b", "c"]), 60);
    world.write(5);
    world.pass(5);
    assert_eq!(world.repeats(), 0);
    let files = world.files();
    assert!(files.iter().all(|files| (8..=32).contains(files)), "{files:?}");
    for (place, taken) in world.taken.iter().enumerate() {
        let names: BTreeSet<_> = taken.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names.len(), files[place], "none of them has been anywhere else");
    }
}

#[test]
fn files_of_a_lane_that_fails_go_on_at_another_and_come_back_and_nothing_is_lost_or_sent_twice() {
    let mut world = World::new(of_lanes(&["a", "b"]), 20);
    world.write(5);
    world.pass(5);
    let before = world.files();
    world.modes[0] = Mode::Fails;
    world.write(50);
    world.pass(30);
    assert_eq!(world.files(), before, "half a minute is not long");
    world.pass(40);
    assert_eq!(world.files(), [0, 20]);
    assert_eq!(world.handed_on(), [(0, before[0])], "told once");
    assert_eq!(world.repeats(), 0, "all of it was taken by the other");

    // Every minute one file asks, and goes on at the other when that fails.
    for _ in 0..20 {
        world.write(3);
        world.pass(10);
    }
    assert_eq!(world.repeats(), 0);
    assert_eq!(world.handed_on().len(), 1);
    world.modes[0] = Mode::Takes;
    for _ in 0..10 {
        world.write(3);
        world.pass(10);
    }
    assert_eq!(world.standing(0), Standing::Carries);
    assert_eq!(world.files(), before, "they are back");
    let [(0, files)] = world.taken_back()[..] else { panic!("{:?}", world.taken_back()) };
    assert!(files >= before[0] - 1, "the probe was back before");
    assert_eq!(world.repeats(), 0);
    assert_eq!(world.status().counts.handed_on_bytes, 0);
}

#[test]
fn a_lane_that_is_held_takes_no_reads_and_no_memory_from_the_others() {
    let mut settings = of_lanes(&["a", "b"]);
    settings.memory.buffer = 16 << 20;
    let quota = &mut settings.streams[0].quota;
    quota.records_per_second = 100_000.try_into().expect("above zero");
    quota.bytes_per_second = 100 << 20;
    let mut world = World::new(settings, 20);
    world.write(1);
    world.pass(2);
    world.modes[0] = Mode::Fails;
    world.write(10_000);
    world.pass(15);
    let status = world.status();
    let late = status.files.listed.iter().filter(|file| file.acknowledged.bytes() < file.size).count();
    assert_eq!(late, status.streams[0].lanes[0].files, "those of the other lane are through");
    world.pass(60);
    assert_eq!(world.repeats(), 0);
}

#[test]
fn what_was_under_way_when_its_file_was_handed_on_may_come_twice_and_is_counted() {
    let mut world = World::new(of_lanes(&["a", "b"]), 20);
    world.write(5);
    world.pass(5);
    world.modes[0] = Mode::Fails;
    world.write(5);
    world.pass(30);
    // The probe of the lane hangs, and is taken: only its answer is lost, after its file has gone on elsewhere.
    world.modes[0] = Mode::Hangs;
    world.pass(40);
    assert_eq!(world.files()[0], 0);
    assert!(!world.under_way.is_empty(), "a probe hangs");
    world.lose_answers();
    world.pass(10);
    let repeats = world.repeats();
    assert!(repeats > 0);
    let counted = world.status().counts.handed_on_bytes;
    assert_eq!(counted, repeats as u64 * "10.log 000000\n".len() as u64 - short_names(&world), "to the byte");
}

/// How many bytes the lines of files with short names are shorter by, of those that came twice.
fn short_names(world: &World) -> u64 {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    world.taken.iter().flatten().for_each(|line| *counts.entry(line).or_default() += 1);
    let longest = "10.log 000000\n".len();
    counts.iter().map(|(line, count)| (count - 1) * (longest - line.len()) as u64).sum()
}

#[test]
fn what_was_sent_before_goes_along_and_is_not_withheld_with_what_is_fresh() {
    let mut settings = of_lanes(&["a", "b"]);
    settings.checkpoint.max_bytes = 1;
    settings.memory.buffer = 1 << 20;
    let mut world = World::new(settings, 4);
    world.modes = vec![Mode::TakesHalf; 2];
    world.write(2_000);
    world.pass(20);
    world.modes = vec![Mode::Fails, Mode::Takes];
    world.pass(90);
    assert!(!world.handed_on().is_empty());
    world.pass(60);
    assert_eq!(world.repeats(), 0);
}

#[test]
fn in_order_lines_of_a_file_are_in_order_at_each_delivery_stream() {
    let mut settings = of_lanes(&["a", "b"]);
    settings.streams[0].order = Order::PerFile;
    let mut world = World::new(settings, 6);
    for (second, mode) in
        [(0, Mode::Takes), (1, Mode::Fails), (2, Mode::Fails), (3, Mode::Takes), (4, Mode::Takes)]
    {
        world.modes[second % 2] = mode;
        for _ in 0..10 {
            world.write(2);
            world.pass(13);
        }
    }
    world.modes = vec![Mode::Takes; 2];
    world.pass(400);
    assert_eq!(world.repeats(), 0);
    assert!(!world.handed_on().is_empty());
    for taken in &world.taken {
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        for line in taken {
            let (name, number) = line.split_once(' ').expect("two words");
            assert!(last.insert(name, number).is_none_or(|before| before < number), "{line}");
        }
    }
}

#[test]
fn a_lane_that_is_added_takes_its_part_with_the_positions_kept_and_one_that_is_left_out_gives_all_back() {
    let mut world = World::new(of_lanes(&["a", "b", "c"]), 60);
    world.write(5);
    world.pass(3);
    let before = world.files();
    world.modes[1] = Mode::Fails;
    world.write(5);
    world.pass(2);
    world.reload(of_lanes(&["a", "b", "c", "d"]));
    world.write(5);
    world.modes[1] = Mode::Takes;
    world.pass(40);
    let with_four = world.files();
    assert!(with_four[..3].iter().zip(&before).all(|(after, before)| after <= before));
    assert!((5..=25).contains(&with_four[3]), "{with_four:?}");
    world.reload(of_lanes(&["d", "a", "c"]));
    world.write(5);
    world.pass(5);
    let files = world.files();
    assert_eq!((files[1], files.iter().sum::<usize>()), (0, 60));
    world.reload(of_lanes(&["a", "b", "c"]));
    world.write(5);
    world.pass(5);
    assert_eq!(world.files()[..3], before, "each is where it was");
    assert_eq!(world.repeats(), 0);
}

#[test]
fn files_go_to_another_region_when_none_of_the_first_takes_anything_and_back() {
    let mut world = World::new(of_lanes(&["a", "b", "away-a", "away-b"]), 40);
    world.write(5);
    world.pass(5);
    let before = world.files();
    assert_eq!(before[2..], [0, 0], "what is on standby carries nothing");
    (world.modes[0], world.modes[1]) = (Mode::Fails, Mode::Fails);
    world.write(5);
    world.pass(250);
    assert_eq!(world.files(), before);
    world.pass(70);
    let away = world.files();
    assert_eq!(away[..2], [0, 0]);
    assert!(away[2] > 0 && away[3] > 0, "{away:?}");
    assert_eq!(world.repeats(), 0);
    world.modes = vec![Mode::Takes; 4];
    for _ in 0..30 {
        world.write(1);
        world.pass(5);
    }
    assert_eq!(world.files(), before);
    assert_eq!(world.repeats(), 0);
}

/// Those who share the one come to the other, too.
#[test]
fn a_delivery_stream_that_nobody_asked_begins_with_the_part_of_the_one_whose_files_it_takes_over() {
    let settings = of_lanes(&["a", "away-a"]);
    let mut world = World::new(settings.clone(), 4);
    assert_eq!(KnownPart::of(&settings.streams[0], 0, 0.995), None, "as good as all");
    let known = KnownPart::of(&settings.streams[0], 0, 0.125).expect("not all");
    world.engine.streams.begin_with(&[known], Instant::ZERO);
    world.modes[0] = Mode::Fails;
    world.write(5);
    world.pass(310);
    assert_eq!(world.files(), [0, 4], "handed on");
    let parts = world.engine.streams.known_parts();
    let part =
        |name: &str| parts.iter().find(|known| *known.delivery_stream == *name).map_or(1.0, KnownPart::part);
    assert!(part("a") < 0.2 && part("away-a") < 0.5, "{parts:?}");
}

#[test]
fn a_generation_goes_where_its_family_goes() {
    let settings = of_lanes(&["a", "b", "c", "d"]);
    let spreading = crate::rules::spread::Spreading::new(&settings.streams[0].spread);
    let lane = |name: &str| {
        let family = crate::rules::rotation::family::family_name(&path(name));
        spreading.home(crate::rules::spread::family(family.as_os_str().as_encoded_bytes()))
    };
    for number in 0..50 {
        let name = format!("app{number}.log");
        for generation in ["1", "2.gz", "old"] {
            assert_eq!(lane(&format!("{name}.{generation}")), lane(&name));
        }
        assert_eq!(lane(&format!("{name}-20261125")), lane(&name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    /// Whatever services do, and whatever is configured meanwhile.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice_that_no_service_took_unheard(
        deeds in prop::collection::vec((0_usize..4, 0_usize..6, 1_u64..50), 1..30),
        ordered: bool,
    ) {
        let names = ["a", "b", "c", "d"];
        let of = |lanes: &[&str]| {
            let mut settings = of_lanes(lanes);
            settings.streams[0].order = if ordered { Order::PerFile } else { Order::Free };
            settings
        };
        let mut world = World::new(of(&names[..3]), 8);
        for (place, deed, seconds) in deeds {
            match deed {
                0 | 1 => world.modes[place % 3] = Mode::Fails,
                2 | 3 => world.modes[place % 3] = Mode::Takes,
                4 => world.modes[place % 3] = Mode::Hangs,
                _ => world.reload(of(&names[..=place])),
            }
            world.write(3);
            world.pass(seconds);
        }
        world.modes.iter_mut().for_each(|mode| *mode = Mode::Takes);
        world.pass(300);
        prop_assert_eq!(world.repeats(), 0);
        prop_assert_eq!(world.status().streams[0].waiting, 0);
    }
}
