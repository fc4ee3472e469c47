//! The engine's second driver: a fake disk, a fake service, lost hints, and crashes between any two steps.
//!
//! Everything is drawn from one seed. Each effect is carried out after a delay and answered after another, so that
//! what the engine learns may be old; what is under way at a crash happens or does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use standpipe::engine::port::{
    Effect, Event, FileId, Held, Hint, Observation, Open, Put, Read, Reload, Survey, Watching,
};
use standpipe::engine::report::{Loss, Report};
use standpipe::engine::{Engine, FileState, FileStatus, Memory};
use standpipe::model::checkpoint::{Checkpoint, Save};
use standpipe::model::identity::{Identity, Incarnation};
use standpipe::model::limits::RECORD_BYTES;
use standpipe::model::settings::{
    Adaptive, Api, CheckpointSettings, Encryption, Envelope, Format, MemorySettings, Multiline, Newline,
    OnDrain, Order, Oversize, Packing, QuotaSettings, RetrySettings, Runtime, Settings, SourceSettings,
    StartAt, StartPattern, StreamId, StreamSettings, Until,
};
use standpipe::model::time::Instant;
use standpipe::rules::reload::merge;

use super::disk::{Disk, FileIndex, LineNumber};
use super::oracle::{self, Oracle, Pieces};
use super::service::{Faults, POISON, Service};

/// What the engine asks for in one read of short lines.
const ONE_READ_BYTES: u64 = 256 * 1024 + 256;

/// Room for one read and little more: a few thousand lines that wait fill it.
/// What the engine asks for at once, where a stream has enough, but for what it looks at again.
const A_SIP_BYTES: usize = 32 * 1024;

const SMALL_BUDGET_BYTES: u64 = ONE_READ_BYTES + 8 * 1024;

/// No trouble at all.
const CALM: Climate = Climate {
    names: 1,
    rotate: 0.0,
    truncate: 0.0,
    remove: 0.0,
    crash: 0.0,
    lose_hint: 0.0,
    overflow: 0.0,
    poison: 0.0,
    fail_save: 0.0,
    reload: 0.0,
    hide: 0.0,
    copy_truncate: 0.0,
    max_delay: Duration::from_millis(20),
};

static NONE: BTreeSet<LineNumber> = BTreeSet::new();

/// Fewer than there are files, in some seeds.
const FEW_DESCRIPTORS: usize = 4;

/// The worst cases that the seeds must have reached, or the run does not count.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    pub crashes: u64,
    pub crashes_with_records_in_flight: u64,
    pub crashes_during_a_save: u64,
    pub rotations: u64,
    pub truncations: u64,
    pub truncations_seen: u64,
    pub recycled_inodes: u64,
    pub removed_with_unread_lines: u64,
    pub renamed_while_down: u64,
    pub lost_hints: u64,
    pub overflows: u64,
    pub throttled: u64,
    pub partial_failures: u64,
    pub accepted_then_lost: u64,
    pub refused: u64,
    pub accepted_records_of_many_lines: u64,
    pub refused_records_of_many_lines: u64,
    pub held: u64,
    pub failed_saves: u64,
    pub unread_bytes_lost: u64,
    pub reloads: u64,
    pub sources_removed: u64,
    pub sources_back_with_records_under_way: u64,
    pub memory_full: u64,
    /// A file was read a little at a time, because its stream had enough to send.
    pub sips: u64,
    pub closed_for_others: u64,
    pub hidden: u64,
    pub copies: u64,
    pub copies_inherited: u64,
    pub closed_and_renamed: u64,
    pub mixed_channels: u64,
}

impl Reached {
    pub fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.crashes_with_records_in_flight += other.crashes_with_records_in_flight;
        self.crashes_during_a_save += other.crashes_during_a_save;
        self.rotations += other.rotations;
        self.truncations += other.truncations;
        self.truncations_seen += other.truncations_seen;
        self.recycled_inodes += other.recycled_inodes;
        self.removed_with_unread_lines += other.removed_with_unread_lines;
        self.renamed_while_down += other.renamed_while_down;
        self.lost_hints += other.lost_hints;
        self.overflows += other.overflows;
        self.throttled += other.throttled;
        self.partial_failures += other.partial_failures;
        self.accepted_then_lost += other.accepted_then_lost;
        self.refused += other.refused;
        self.accepted_records_of_many_lines += other.accepted_records_of_many_lines;
        self.refused_records_of_many_lines += other.refused_records_of_many_lines;
        self.held += other.held;
        self.failed_saves += other.failed_saves;
        self.unread_bytes_lost += other.unread_bytes_lost;
        self.reloads += other.reloads;
        self.sources_removed += other.sources_removed;
        self.sources_back_with_records_under_way += other.sources_back_with_records_under_way;
        self.memory_full += other.memory_full;
        self.sips += other.sips;
        self.closed_for_others += other.closed_for_others;
        self.hidden += other.hidden;
        self.copies += other.copies;
        self.copies_inherited += other.copies_inherited;
        self.closed_and_renamed += other.closed_and_renamed;
        self.mixed_channels += other.mixed_channels;
    }

    /// Every worst case was reached.
    pub fn check(&self) {
        let counts = [
            ("crashes", self.crashes),
            ("crashes_with_records_in_flight", self.crashes_with_records_in_flight),
            ("crashes_during_a_save", self.crashes_during_a_save),
            ("rotations", self.rotations),
            ("truncations", self.truncations),
            ("truncations_seen", self.truncations_seen),
            ("recycled_inodes", self.recycled_inodes),
            ("removed_with_unread_lines", self.removed_with_unread_lines),
            ("renamed_while_down", self.renamed_while_down),
            ("lost_hints", self.lost_hints),
            ("overflows", self.overflows),
            ("throttled", self.throttled),
            ("partial_failures", self.partial_failures),
            ("accepted_then_lost", self.accepted_then_lost),
            ("refused", self.refused),
            ("held", self.held),
            ("failed_saves", self.failed_saves),
            ("unread_bytes_lost", self.unread_bytes_lost),
            ("reloads", self.reloads),
            ("sources_removed", self.sources_removed),
            ("sources_back_with_records_under_way", self.sources_back_with_records_under_way),
            ("memory_full", self.memory_full),
            ("sips", self.sips),
            ("closed_for_others", self.closed_for_others),
            ("hidden", self.hidden),
            ("copies", self.copies),
            ("copies_inherited", self.copies_inherited),
            ("closed_and_renamed", self.closed_and_renamed),
        ];
        for (what, count) in counts {
            assert!(count > 0, "the seeds never reached: {what}");
        }
    }
}

/// What is still to happen, by when.
#[derive(Debug)]
enum Todo {
    /// Something writes, rotates or kills.
    Act,
    /// What the daemon asked for, carried out for the process of that number.
    Do(u64, Effect),
    /// What it learns.
    Tell(u64, Event),
}

/// Which trouble this seed brings.
#[derive(Clone, Copy, Debug)]
struct Climate {
    names: usize,
    rotate: f64,
    truncate: f64,
    remove: f64,
    crash: f64,
    lose_hint: f64,
    overflow: f64,
    poison: f64,
    fail_save: f64,
    reload: f64,
    /// How often the directory cannot be looked into.
    hide: f64,
    copy_truncate: f64,
    max_delay: Duration,
}

/// What stands around lines, and what is made of them; by default nothing.
#[derive(Clone, Debug)]
struct Shape {
    runtime: Option<Runtime>,
    multiline: Option<Multiline>,
    oversize: Oversize,
    longest: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { runtime: None, multiline: None, oversize: Oversize::Split, longest: RECORD_BYTES }
    }
}

impl Shape {
    fn apply(&self, settings: &mut Settings) {
        let source = &mut settings.sources[0];
        source.runtime = self.runtime;
        source.multiline = self.multiline.clone();
        source.oversize = self.oversize;
        source.max_message_bytes = self.longest;
    }

    fn is_plain(&self) -> bool {
        self.runtime.is_none() && self.multiline.is_none() && self.longest == RECORD_BYTES
    }

    fn pieces(&self) -> Pieces {
        match self.oversize {
            _ if self.longest == RECORD_BYTES => Pieces::None,
            Oversize::Split | Oversize::DeadLetter => Pieces::All,
            Oversize::Truncate => Pieces::First,
        }
    }

    /// A line as the runtime writes it, in parts.
    fn parts(&self, text: &[u8], channel: &str, rng: &mut fastrand::Rng) -> Vec<Vec<u8>> {
        let Some(runtime) = self.runtime else { return vec![text.to_vec()] };
        let line = &text[..text.len() - 1];
        let mut rest = line;
        let mut parts = Vec::new();
        loop {
            // Long enough to be known in a record by itself, and so is what is left.
            let len = if rest.len() <= self.longest && rng.bool() { rest.len() } else { rng.usize(60..300) };
            let len = if rest.len() < len + 60 { rest.len() } else { len };
            let (now, later) = rest.split_at(len);
            let is_last = later.is_empty();
            let now = std::str::from_utf8(now).expect("the lines here are texts");
            let time = "2026-11-24T08:15:42.5Z";
            parts.push(match runtime {
                Runtime::Cri => {
                    let tag = if is_last { "F" } else { "P" };
                    format!("{time} {channel} {tag} {now}\n").into_bytes()
                }
                Runtime::Docker => {
                    let newline = if is_last { "\n" } else { "" };
                    let log = serde_json::to_string(&format!("{now}{newline}")).expect("JSON");
                    format!("{{\"log\":{log},\"stream\":\"{channel}\",\"time\":\"{time}\"}}\n").into_bytes()
                }
            });
            if is_last {
                return parts;
            }
            rest = later;
        }
    }
}

pub struct World {
    rng: fastrand::Rng,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Todo>,
    queued: u64,
    settings: Settings,
    /// Whether the source is in the configuration.
    configured: bool,
    /// Of the first configuration.
    packing: Packing,
    shape: Shape,
    climate: Climate,
    disk: Disk,
    service: Service,
    oracle: Oracle,
    pub reached: Reached,
    /// What is durable.
    saved: BTreeMap<Incarnation, Checkpoint>,
    next_incarnation: u64,
    first_start: bool,
    /// `None` while the daemon is down.
    engine: Option<Engine>,
    process: u64,
    open: BTreeMap<FileId, FileIndex>,
    /// Where reading ended in the file that is let go of next: the rest was declared lost.
    given_up: Option<u64>,
    /// How many files may be open.
    descriptors: usize,
    /// Files that are followed and not open.
    closed: BTreeMap<FileId, FileIndex>,
    /// How far the daemon has taken in each file's present content.
    read_to: BTreeMap<FileIndex, u64>,
    /// What the read under way of each tail brings: the end of it, and of which file as it was then.
    served: BTreeMap<FileId, (FileIndex, u64, u64)>,
    /// How often each file was truncated.
    generation: BTreeMap<FileIndex, u64>,
    puts_under_way: BTreeSet<u64>,
    saves_under_way: u64,
    used_inodes: BTreeSet<u64>,
    spins: u64,
    traced: bool,
    /// Every event and effect, when that was asked for.
    pub trace: String,
}

impl World {
    pub fn new(seed: u64, traced: bool) -> Self {
        Self::with(seed, Packing::Off, Format::Raw, Shape::default(), traced)
    }

    /// The same world, where lines are unwrapped, joined, grouped, cut, and whatever else a source may ask for.
    pub fn shaped(seed: u64, traced: bool) -> Self {
        // Not in step with the climates.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let choose = |step: u64, of: u64| (mixed / step) % of;
        let runtime = [Some(Runtime::Cri), None, Some(Runtime::Docker)][choose(1, 3) as usize];
        let multiline = (choose(3, 2) == 0).then(|| Multiline {
            start: StartPattern::try_new("^[0-9]").expect("a regular expression"),
            max_lines: [500, 3][choose(96, 2) as usize],
            timeout: Duration::from_secs(2),
        });
        let envelope = Envelope { host: "host".into(), fields: Vec::new(), merge: false };
        let format = if choose(6, 2) == 0 { Format::Raw } else { Format::Json(envelope) };
        let oversize = [Oversize::Split, Oversize::Truncate, Oversize::DeadLetter][choose(12, 3) as usize];
        let longest = [RECORD_BYTES, 700, 5_000][choose(36, 3) as usize];
        let packing = match choose(5, 2) {
            0 => Packing::Off,
            _ => Packing::On { bytes: 5_000, delay: Duration::from_millis(seed % 900) },
        };
        let shape = Shape { runtime, multiline, oversize, longest };
        Self::with(seed, packing, format, shape, traced)
    }

    /// The same world, where every line has an envelope; in every other seed they share records.
    pub fn enveloped(seed: u64, traced: bool) -> Self {
        let envelope = Envelope { host: "host".into(), fields: Vec::new(), merge: seed.is_multiple_of(3) };
        let packing = match seed % 2 {
            0 => Packing::Off,
            _ => Packing::On { bytes: 5_000, delay: Duration::from_millis(seed) },
        };
        Self::with(seed, packing, Format::Json(envelope), Shape::default(), traced)
    }

    /// The same world, where lines share records.
    pub fn packed(seed: u64, traced: bool) -> Self {
        let bytes = match seed % 4 {
            0 => 30,
            1 => 700,
            2 => 20_000,
            _ => RECORD_BYTES,
        };
        let packing = Packing::On { bytes, delay: Duration::from_millis(1 + 37 * (seed % 50)) };
        Self::with(seed, packing, Format::Raw, Shape::default(), traced)
    }

    fn with(seed: u64, packing: Packing, format: Format, shape: Shape, traced: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let maybe = |rng: &mut fastrand::Rng, most: f64| if rng.bool() { rng.f64() * most } else { 0.0 };
        let faults = Faults {
            throttle: maybe(&mut rng, 0.5),
            server: maybe(&mut rng, 0.5),
            setup: maybe(&mut rng, 0.02),
            partial: maybe(&mut rng, 0.3),
            accept_then_lose: maybe(&mut rng, 0.2),
            nonsense: maybe(&mut rng, 0.2),
        };
        let climate = Climate {
            names: rng.usize(1..6),
            rotate: maybe(&mut rng, 0.05),
            truncate: maybe(&mut rng, 0.03),
            remove: maybe(&mut rng, 0.02),
            crash: maybe(&mut rng, 0.02),
            lose_hint: maybe(&mut rng, 1.0),
            overflow: maybe(&mut rng, 0.05),
            poison: maybe(&mut rng, 0.02),
            fail_save: maybe(&mut rng, 0.5),
            max_delay: Duration::from_millis(rng.u64(1..400)),
            // Every fourth seed, so that the others do what they always did.
            hide: if seed % 3 == 2 { 0.2 } else { 0.0 },
            copy_truncate: if seed % 5 == 4 { 0.05 } else { 0.0 },
            reload: if seed % 4 == 2 { 0.02 } else { 0.0 },
        };
        let mut settings = settings(&mut rng);
        settings.streams[0].packing = packing;
        settings.sources[0].format = format;
        shape.apply(&mut settings);
        if seed % 4 == 1 {
            settings.memory =
                MemorySettings { buffer: SMALL_BUDGET_BYTES, buffer_per_file: SMALL_BUDGET_BYTES };
        }
        let quota = settings.streams[0].quota;
        let has_births = rng.u8(0..4) > 0;
        let mut world = Self {
            now: Instant::ZERO,
            configured: true,
            packing,
            queue: BTreeMap::new(),
            queued: 0,
            climate,
            disk: Disk::new(has_births),
            service: Service::new(faults, quota),
            oracle: Oracle::expecting(shape.pieces()),
            shape,
            reached: Reached::default(),
            saved: BTreeMap::new(),
            next_incarnation: 0,
            first_start: true,
            engine: None,
            process: 0,
            open: BTreeMap::new(),
            given_up: None,
            descriptors: usize::MAX,
            closed: BTreeMap::new(),
            read_to: BTreeMap::new(),
            served: BTreeMap::new(),
            generation: BTreeMap::new(),
            puts_under_way: BTreeSet::new(),
            saves_under_way: 0,
            used_inodes: BTreeSet::new(),
            spins: 0,
            traced,
            trace: String::new(),
            settings,
            rng,
        };
        if seed % 4 == 3 {
            world.climate.names = 12;
            world.descriptors = FEW_DESCRIPTORS;
        }
        world.create("/log/0.log");
        world.start();
        world
    }

    /// Lets the world be as bad as it is for `actions` actions, then good, and checks that nothing is missing.
    pub fn run(&mut self, actions: u64) {
        for _ in 0..actions {
            let pause = match self.rng.u8(0..10) {
                0 => Duration::from_millis(self.rng.u64(0..15_000)),
                _ => Duration::from_millis(self.rng.u64(0..50)),
            };
            self.later(pause, Todo::Act);
            self.run_until(|world| !world.queue.values().any(|todo| matches!(todo, Todo::Act)), u64::MAX);
        }
        self.service.faults = Faults::default();
        self.climate = Climate {
            fail_save: 0.0,
            lose_hint: 0.0,
            overflow: 0.0,
            crash: 0.0,
            hide: 0.0,
            reload: 0.0,
            ..self.climate
        };
        if self.engine.is_none() {
            self.start();
        }
        if !self.configured {
            self.reload(true);
        }
        self.disk.complete_all();
        let patience = self.now + Duration::from_secs(7_200);
        self.run_until(|world| world.everything_is_delivered() || world.now > patience, u64::MAX);
        if self.now > patience {
            self.explain();
        }
        self.oracle.check_complete();
        if self.reached.crashes == 0 && self.oracle.excuses_for_repeats == 0 {
            assert_eq!(self.oracle.repeats, 0, "I9: repeated without need");
        }
        let Reached { crashes, copies_inherited, sources_removed, .. } = self.reached;
        if self.shape.runtime.is_none() || crashes + copies_inherited + sources_removed == 0 {
            // Whether a joined line was too long is known only to those who read its beginning.
            assert_eq!(self.oracle.rests, 0, "the rest of a line was to be left out");
        }
        self.stop_and_start();
    }

    fn explain(&mut self) {
        for (path, file) in &self.disk.names {
            let file = &self.disk.files[*file];
            let left: Vec<_> =
                file.lines.iter().filter(|(_, number)| !self.oracle.is_settled(*number)).take(3).collect();
            let size = file.content.len();
            eprintln!("{} {:?} {size} bytes, undelivered: {left:?}", path.display(), file.identity);
        }
        eprintln!("open: {:?}", self.open);
        let now = self.now;
        eprintln!("{:#?}", self.engine.as_mut().map(|engine| engine.status(now)));
        panic!("I15: not quiet after two hours");
    }

    /// I17: after a clean stop with a healthy service, the next start repeats nothing.
    fn stop_and_start(&mut self) {
        self.tell(Event::Drain);
        self.run_until(|world| world.engine.as_ref().is_some_and(Engine::is_done), 100_000);
        let repeats = self.oracle.repeats;
        self.down();
        self.start();
        let until = self.now + Duration::from_secs(60);
        self.run_until(|world| world.now >= until, 100_000);
        assert_eq!(self.oracle.repeats, repeats, "I17: a clean stop and start repeated lines");
        self.oracle.check_complete();
    }

    /// A file is removed while the service is down, with more in it than is read ahead; `then` makes the daemon give
    /// it up. What is lost is declared, and all that was read is delivered once the service is back.
    pub fn gives_up_what_is_removed(&mut self, then: impl Fn(&mut Self)) {
        self.climate = CALM;
        self.service.faults = Faults { server: 1.0, ..Faults::default() };
        let name = Path::new("/log/0.log");
        while self.disk.files[self.disk.names[name]].content.len() < 3 * self.settings.memory.buffer as usize
        {
            self.append(name);
        }
        self.disk.complete_all();
        self.pass(Duration::from_secs(60));
        self.remove(name);
        self.pass(Duration::from_secs(60));
        assert_eq!(self.open.len(), 1, "it is held");
        then(self);
        assert_eq!(self.open.len(), 0, "it is given up");
        let counts = &self.engine.as_mut().expect("it runs").status(self.now).counts.sources[0];
        let declared: u64 = counts.abandoned_bytes.values().sum();
        assert!(declared > 0 && self.oracle.excused() > 0, "what is lost is declared");
        self.service.faults = Faults::default();
        self.pass(Duration::from_secs(600));
        self.oracle.check_complete();
        let delivered = self.oracle.written() - self.oracle.excused();
        assert!(delivered > 0, "what was read is delivered");
    }

    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.run_until(|world| world.now >= until, u64::MAX);
    }

    pub fn open_files(&self) -> usize {
        self.open.len()
    }

    pub fn fill_the_disk(&mut self) {
        self.disk.is_nearly_full = true;
    }

    pub fn lines(&self) -> (usize, usize) {
        (self.oracle.written(), self.oracle.excused())
    }

    fn everything_is_delivered(&self) -> bool {
        self.disk.names.values().chain(self.open.values()).all(|file| {
            let lines = &self.disk.files[*file].lines;
            lines.iter().all(|(_, number)| self.oracle.is_settled(*number) || self.oracle.is_excused(*number))
        }) && !self.oracle.has_fragile()
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool, max_steps: u64) {
        let mut steps = 0;
        while !done(self) {
            steps += 1;
            assert!(steps < max_steps, "I15: not quiet after {steps} steps at {:?}", self.now);
            self.step();
        }
    }

    /// The next thing that happens.
    fn step(&mut self) {
        let deadline = self.engine.as_ref().and_then(|engine| engine.next_deadline(self.now));
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        match (next, deadline) {
            (Some(next), deadline) if deadline.is_none_or(|deadline| next <= deadline) => {
                self.now = self.now.max(next);
                self.spins = 0;
                let (_, todo) = self.queue.pop_first().expect("looked at above");
                self.happen(todo);
            }
            (_, Some(deadline)) => {
                self.spins = if deadline <= self.now { self.spins + 1 } else { 0 };
                assert!(self.spins < 100, "the engine asks for a tick that changes nothing");
                self.now = self.now.max(deadline);
                self.tell(Event::Tick);
            }
            (Some(_) | None, None) => panic!("I15: nothing will ever happen again"),
        }
    }

    fn later(&mut self, delay: Duration, todo: Todo) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), todo);
    }

    fn delay(&mut self) -> Duration {
        self.climate.max_delay.mul_f64(self.rng.f64())
    }

    fn happen(&mut self, todo: Todo) {
        match todo {
            Todo::Act => self.act(),
            Todo::Do(process, effect) => self.carry_out(process, effect),
            Todo::Tell(process, event) => {
                if process == self.process {
                    match &event {
                        Event::PutDone { request, .. } => drop(self.puts_under_way.remove(&request.0)),
                        Event::Saved(_) => self.saves_under_way -= 1,
                        Event::Bytes { file, .. } => return self.tell_bytes(*file, event),
                        _ => {}
                    }
                    self.tell(event);
                }
            }
        }
    }

    /// What was read counts as taken in unless the daemon found that it was not what it had read before.
    fn tell_bytes(&mut self, tail: FileId, event: Event) {
        let (file, generation, end) = self.served.remove(&tail).expect("bytes were served");
        let truncations = self.reached.truncations_seen;
        self.tell(event);
        let is_present = generation == self.generation.get(&file).copied().unwrap_or(0);
        if is_present && truncations == self.reached.truncations_seen {
            let identity = self.disk.files[file].identity;
            let now = self.now;
            let status = self.engine.as_mut().map(|engine| engine.status(now));
            let of_file =
                |status: &&FileStatus| status.identity == identity && status.state != FileState::Truncated;
            let files = status.iter().flat_map(|status| &status.files).filter(of_file);
            let taken_in = files.map(|status| status.read.bytes()).max().unwrap_or(0);
            let known = self.read_to.entry(file).or_default();
            *known = (*known).max(end.min(taken_in));
        }
    }

    fn tell(&mut self, event: Event) {
        let Some(engine) = &mut self.engine else { return };
        if self.traced {
            writeln!(self.trace, "{:?} {event:?}", self.now).expect("a string takes everything");
        }
        engine.handle(event, self.now);
        engine.check_laws();
        let mut effects = Vec::new();
        while let Some(effect) = engine.poll_effect() {
            effects.push(effect);
        }
        let status = engine.status(self.now);
        let unsettled: u64 = status.files.iter().map(|file| file.read.since(file.acknowledged)).sum();
        let budget = self.settings.memory.buffer;
        assert!(unsettled <= budget, "L6: {unsettled} bytes unsettled");
        self.reached.memory_full += u64::from(unsettled + ONE_READ_BYTES > budget);
        for effect in effects {
            if self.traced {
                writeln!(self.trace, "  {effect:?}").expect("a string takes everything");
            }
            self.ask(effect);
        }
    }

    /// The engine wants something done.
    fn ask(&mut self, effect: Effect) {
        match &effect {
            Effect::Put(put) => {
                self.service.check(put, self.now);
                self.puts_under_way.insert(put.request.0);
            }
            Effect::Save(_) => self.saves_under_way += 1,
            Effect::Close(tail) => return self.close(*tail),
            Effect::Report(report) => return self.note(report),
            Effect::Survey(_) | Effect::Open(_) | Effect::Read(_) => {}
        }
        let delay = self.delay();
        self.later(delay, Todo::Do(self.process, effect));
    }

    fn note(&mut self, report: &Report) {
        match report {
            Report::Held { .. } => self.reached.held += 1,
            Report::Truncated { .. } => self.reached.truncations_seen += 1,
            Report::Abandoned { from, why: Loss::HeldTooLong | Loss::DiskFull, .. } => {
                self.given_up = Some(from.bytes());
            }
            Report::Copied { .. } => self.reached.copies_inherited += 1,
            Report::Abandoned { bytes, .. } => self.reached.unread_bytes_lost += bytes,
            _ => {}
        }
    }

    /// What was asked for happens; for a process that is gone, only what was already on its way outside.
    fn carry_out(&mut self, process: u64, effect: Effect) {
        let alive = process == self.process && self.engine.is_some();
        let event = match effect {
            Effect::Put(put) => self.put(&put),
            Effect::Save(save) => self.save(save),
            _ if !alive => return,
            Effect::Survey(request) => self.survey(&request),
            Effect::Open(open) => self.open(&open),
            Effect::Read(read) => {
                self.reached.sips += u64::from((A_SIP_BYTES..2 * A_SIP_BYTES).contains(&read.len));
                self.read(read)
            }
            Effect::Close(_) | Effect::Report(_) => unreachable!("done at once"),
        };
        let delay = self.delay();
        self.later(delay, Todo::Tell(process, event));
    }

    fn survey(&mut self, request: &Survey) -> Event {
        if self.rng.f64() < self.climate.hide {
            self.reached.hidden += 1;
            let hidden = vec![Arc::from(Path::new("/log"))];
            let (source, files, held) = (request.source, Vec::new(), Vec::new());
            return Event::Observed(Observation { source, files, hidden, held });
        }
        let mut observation = self.disk.survey(request);
        observation.held = self.held(request);
        if !self.configured {
            observation.files.iter_mut().for_each(|file| file.is_matched = false);
            observation.files.retain(|_| !request.also.is_empty());
        }
        Event::Observed(observation)
    }

    fn held(&self, request: &Survey) -> Vec<Held> {
        let held = |tail: &FileId| {
            let file = *self.open.get(tail)?;
            Some(Held {
                file: *tail,
                size: self.disk.files[file].content.len() as u64,
                is_removed: !self.disk.names.values().any(|named| *named == file),
                is_disk_nearly_full: self.disk.is_nearly_full,
            })
        };
        request.held.iter().filter_map(held).collect()
    }

    /// Another configuration: other settings for the stream, with or without the source.
    fn reload(&mut self, configured: bool) {
        let Some(old) = self.engine.as_ref().map(|engine| engine.settings().clone()) else { return };
        self.reached.reloads += 1;
        self.reached.sources_removed += u64::from(self.configured && !configured);
        self.reached.sources_back_with_records_under_way +=
            u64::from(!self.configured && configured && !self.puts_under_way.is_empty());
        self.configured = configured;
        let mut new = settings(&mut self.rng);
        let packing = self.packing;
        new.sources[0].format = self.settings.sources[0].format.clone();
        self.shape.apply(&mut new);
        // Lines that share records do so in every other configuration.
        new.streams[0].packing =
            if packing != Packing::Off && self.rng.bool() { Packing::Off } else { packing };
        // A budget below what is already in memory would be exceeded for a while.
        new.memory = self.settings.memory;
        self.service.change(new.streams[0].quota);
        self.settings = new.clone();
        if !configured {
            new.sources.clear();
        }
        let merged = merge(&old, &new);
        let retired = merged.retired();
        self.tell(Event::Reload(Box::new(Reload { settings: merged.settings, retired })));
    }

    fn open(&mut self, open: &Open) -> Event {
        let result = self.disk.open(&open.path).map(|(file, opened)| {
            self.open.insert(open.file, file);
            self.closed.remove(&open.file);
            opened
        });
        assert!(self.open.len() <= self.descriptors, "more files are open than may be");
        Event::Opened { file: open.file, result }
    }

    fn read(&mut self, read: Read) -> Event {
        let file = self.open[&read.file];
        let bytes = self.disk.read(file, read.at.bytes(), read.len);
        let end = read.at.bytes() + bytes.len() as u64;
        let generation = self.generation.get(&file).copied().unwrap_or(0);
        self.served.insert(read.file, (file, generation, end));
        Event::Bytes { file: read.file, result: Ok(bytes.into()), unix_time: self.now.since(Instant::ZERO) }
    }

    fn put(&mut self, put: &Put) -> Event {
        let lines = put.records.iter().flat_map(|data| data.split_inclusive(|byte| *byte == b'\n'));
        for generation in lines.filter_map(oracle::generation) {
            // A crash now must not give the number to another.
            assert!(generation < self.next_incarnation, "incarnation {generation} is named, and not durable");
        }
        let outcome = self.service.answer(put, &mut self.rng, &mut self.oracle, &mut self.reached);
        Event::PutDone { request: put.request, outcome }
    }

    fn save(&mut self, save: Save) -> Event {
        if self.rng.f64() < self.climate.fail_save {
            self.reached.failed_saves += 1;
            return Event::Saved(Err("simulated".into()));
        }
        for letter in &save.dead_letters {
            self.oracle.dead_letter(&letter.data);
        }
        for incarnation in &save.forgotten {
            self.saved.remove(incarnation);
        }
        for checkpoint in save.checkpoints {
            self.check_checkpoint(&checkpoint);
            self.next_incarnation = self.next_incarnation.max(checkpoint.incarnation.0 + 1);
            self.saved.insert(checkpoint.incarnation, checkpoint);
        }
        self.first_start = false;
        Event::Saved(Ok(()))
    }

    /// L1 for a checkpoint that is durable from now on.
    fn check_checkpoint(&self, checkpoint: &Checkpoint) {
        let same = |file: &&super::disk::File| file.identity == checkpoint.identity;
        for file in self.disk.files.iter().filter(same) {
            if checkpoint.fingerprint.is_empty() || !checkpoint.fingerprint.matches(&file.content) {
                continue;
            }
            for (end, number) in &file.lines {
                assert!(
                    *end > checkpoint.offset.bytes() || self.oracle.is_settled(*number),
                    "L1: {checkpoint:?} is beyond line {number}, which is not settled"
                );
            }
        }
    }

    /// I11: the daemon lets go of a file.
    fn close(&mut self, tail: FileId) {
        let file = self.open.remove(&tail).expect("a file is closed once");
        if !self.configured && !self.disk.names.iter().any(|(path, named)| *named == file && is_matched(path))
        {
            // Let go of unread, as it was asked for.
            self.excuse(file);
        }
        if self.descriptors < usize::MAX {
            // A file may be closed when it was at its end a moment ago: what came since, and went with it, was not there
            // when anybody looked.
            let read_to = self.read_to.get(&file).copied().unwrap_or(0);
            let is_named = self.disk.names.values().any(|named| *named == file);
            let unseen = self.disk.files[file].lines.iter().filter(|(end, _)| !is_named && *end > read_to);
            for (_, number) in unseen {
                if !self.oracle.is_settled(*number) {
                    self.oracle.bytes_gone(*number, false);
                }
            }
        }
        let given_up = self.given_up.take();
        let is_given_up = given_up.is_some();
        if let Some(from) = given_up {
            for (end, number) in &self.disk.files[file].lines {
                if !self.oracle.is_settled(*number) {
                    self.oracle.bytes_gone(*number, *end <= from);
                }
            }
        }
        let is_named = self.disk.names.values().any(|named| *named == file);
        if self.descriptors < usize::MAX && is_named {
            self.reached.closed_for_others += 1;
            self.closed.insert(tail, file);
        }
        if !is_named && !self.open.values().any(|open| *open == file) {
            for (_, number) in self.disk.files[file].lines.iter().filter(|_| self.configured) {
                let is_rejected = self.oracle.is_rejected(*number);
                assert!(
                    is_rejected
                        || self.oracle.is_settled(*number)
                        || self.oracle.is_excused(*number)
                        || (is_given_up && self.oracle.is_fragile(*number)),
                    "I11: closed with line {number} undelivered"
                );
            }
            // What was refused and is not durable yet exists only in the daemon's memory now.
            self.bytes_gone(file);
            self.disk.release(file);
        }
    }

    fn start(&mut self) {
        self.process += 1;
        self.service.next_sender();
        self.configured = true;
        let memory = Memory {
            checkpoints: self.saved.values().cloned().collect(),
            next_incarnation: self.next_incarnation,
            first_start: self.first_start,
            dead_letter_bytes: 0,
        };
        let seed = self.rng.u64(..);
        let engine = Engine::try_new(self.settings.clone(), memory, seed, self.now);
        self.engine = Some(engine.expect("the delays are in order"));
        self.tell(Event::Descriptors(self.descriptors));
        let watching = if self.rng.bool() { Watching::Full } else { Watching::Partial };
        self.tell(Event::Watching(watching));
    }

    /// The process ends, and with it all that it held.
    fn down(&mut self) {
        self.engine = None;
        self.process += 1;
        self.puts_under_way.clear();
        self.saves_under_way = 0;
        let open = std::mem::take(&mut self.open);
        let files: BTreeSet<_> = open.into_values().collect();
        for file in files {
            if !self.disk.names.values().any(|named| *named == file) {
                self.bytes_gone(file);
                self.disk.release(file);
            }
        }
        self.oracle.crashed();
        self.closed.clear();
        self.read_to.clear();
        self.served.clear();
        let unmatched: Vec<_> = self
            .disk
            .names
            .iter()
            .filter(|(path, file)| !is_matched(path) && !self.is_saved(**file))
            .map(|(_, file)| *file)
            .collect();
        for file in unmatched {
            self.excuse(file);
        }
    }

    fn is_saved(&self, file: FileIndex) -> bool {
        let identity: Identity = self.disk.files[file].identity;
        let content = &self.disk.files[file].content;
        self.saved.values().filter(|saved| saved.identity == identity).any(|saved| {
            // Without a birth time, an inode that was recycled looks like the file that had it before.
            let before = usize::try_from(saved.offset.bytes()).ok().and_then(|offset| content.get(..offset));
            identity.birth_nanos.is_some()
                || (!saved.fingerprint.is_empty()
                    && saved.fingerprint.matches(content)
                    && before.is_some_and(|before| saved.window.matches(before)))
        })
    }

    /// The daemon cannot know of this file.
    fn excuse(&mut self, file: FileIndex) {
        for (_, number) in &self.disk.files[file].lines {
            if !self.oracle.is_settled(*number) {
                self.oracle.bytes_gone(*number, false);
            }
        }
    }

    /// The file's content is gone for all who have not read it.
    fn bytes_gone(&mut self, file: FileIndex) {
        self.bytes_gone_but_for(file, &NONE);
    }

    fn bytes_gone_but_for(&mut self, file: FileIndex, elsewhere: &BTreeSet<LineNumber>) {
        let read_to = self.read_to.get(&file).copied().unwrap_or(0);
        for (end, number) in &self.disk.files[file].lines {
            if !elsewhere.contains(number) && !self.oracle.is_settled(*number) {
                self.oracle.bytes_gone(*number, *end <= read_to);
            }
        }
    }

    /// One thing that writers, rotators, people or fate do.
    fn act(&mut self) {
        let climate = self.climate;
        let dice = self.rng.f64();
        let name = PathBuf::from(format!("/log/{}.log", self.rng.usize(0..climate.names)));
        let thresholds = [
            climate.rotate,
            climate.truncate,
            climate.remove,
            climate.crash,
            climate.reload,
            climate.copy_truncate,
        ];
        let mut sum = 0.0;
        let kind = thresholds.iter().position(|chance| {
            sum += chance;
            dice < sum
        });
        match kind {
            Some(0) if self.disk.names.contains_key(&name) => self.rotate(&name),
            Some(1) if self.disk.names.contains_key(&name) => self.truncate(&name),
            Some(2) if self.disk.names.contains_key(&name) => self.remove(&name),
            Some(3) => self.crash_or_start(),
            Some(4) => {
                let configured = !self.configured || self.rng.bool();
                self.reload(configured);
            }
            Some(5) if self.disk.names.contains_key(&name) => self.copy_and_truncate(&name),
            _ if self.engine.is_none() && self.rng.u8(0..8) == 0 => self.start(),
            _ => self.append(&name),
        }
    }

    fn create(&mut self, name: &str) -> FileIndex {
        let file = self.disk.create(Path::new(name));
        if !self.used_inodes.insert(self.disk.files[file].identity.inode) {
            self.reached.recycled_inodes += 1;
        }
        self.hint(Hint::Names);
        file
    }

    fn append(&mut self, name: &Path) {
        let file = match self.disk.names.get(name) {
            Some(file) => *file,
            None => self.create(name.to_str().expect("simulated names are text")),
        };
        for _ in 0..self.rng.usize(1..40) {
            let kind = if self.rng.f64() < self.climate.poison { POISON } else { "line" };
            let padding = match self.rng.u8(0..60) {
                0 => self.rng.usize(0..60_000),
                _ => self.rng.usize(0..200),
            };
            if !self.shape.is_plain() {
                self.append_shaped(file, kind, padding);
                continue;
            }
            let (number, text) = self.oracle.write(kind, padding);
            let whole = self.rng.u8(0..10) > 0;
            self.disk.append(file, number, &text, whole);
        }
        self.hint(Hint::Grown(Arc::from(name)));
    }

    /// A line as it stands in a file of this shape; now and then one of the other channel among its parts.
    fn append_shaped(&mut self, file: FileIndex, kind: &str, padding: usize) {
        let write = |world: &mut Self, padding| {
            let goes_on = world.shape.multiline.is_some() && world.rng.bool();
            world.oracle.write_cells(kind, padding, goes_on, world.shape.longest)
        };
        let (number, text) = write(self, padding);
        let parts = self.shape.parts(&text, "stdout", &mut self.rng);
        if parts.len() == 1 || self.rng.u8(0..4) == 0 {
            let whole = self.rng.u8(0..10) > 0;
            return self.disk.append(file, number, &parts.concat(), whole);
        }
        let (other, text) = write(self, 100);
        let mut others = self.shape.parts(&text, "stderr", &mut self.rng).into_iter().peekable();
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 && self.rng.bool() && others.peek().is_some() {
                bytes.extend(others.next().expect("just seen"));
                ends.extend(others.peek().is_none().then_some((bytes.len(), other)));
            }
            bytes.extend(part);
            ends.extend((index == last).then_some((bytes.len(), number)));
        }
        while let Some(part) = others.next() {
            bytes.extend(part);
            ends.extend(others.peek().is_none().then_some((bytes.len(), other)));
        }
        self.disk.append_mixed(file, &bytes, &ends);
        self.reached.mixed_channels += 1;
    }

    fn rotate(&mut self, name: &Path) {
        self.reached.rotations += 1;
        let file = self.disk.names[name];
        self.disk.complete(file);
        let old = name.with_extension("log.1");
        if self.disk.names.contains_key(&old) {
            self.remove(&old);
        }
        self.disk.rename(name, &old);
        let is_open = self.open.values().any(|open| *open == file);
        if self.engine.is_none() {
            self.reached.renamed_while_down += u64::from(self.is_saved(file));
        }
        let is_closed = self.closed.values().any(|closed| *closed == file);
        self.reached.closed_and_renamed += u64::from(is_closed);
        let is_known = is_open || is_closed || (self.engine.is_none() && self.is_saved(file));
        if !is_known {
            self.excuse(file);
        }
        self.hint(Hint::Names);
        if self.rng.bool() {
            self.create(name.to_str().expect("simulated names are text"));
        }
    }

    /// As logrotate's copytruncate does it.
    fn copy_and_truncate(&mut self, name: &Path) {
        self.reached.copies += 1;
        let file = self.disk.names[name];
        self.disk.complete(file);
        let is_matched = self.rng.bool();
        let copy = if is_matched {
            name.with_file_name(format!("{}-1.log", name.file_stem().expect("named").display()))
        } else {
            name.with_extension("log.1")
        };
        if self.disk.names.contains_key(&copy) {
            self.remove(&copy);
        }
        self.disk.copy(file, &copy);
        self.hint(Hint::Names);
        let identity = self.disk.files[file].identity;
        let now = self.now;
        let status = self.engine.as_mut().map(|engine| engine.status(now));
        let is_read = status.is_some_and(|status| {
            let of_file =
                |status: &&FileStatus| status.identity == identity && status.state != FileState::Truncated;
            status.files.iter().filter(of_file).any(|status| status.read.bytes() > 0)
        });
        // Of this content, not of what was there before a truncation that the daemon does not know of.
        let is_read = is_read && self.read_to.get(&file).is_some_and(|read| *read > 0);
        let copied: BTreeSet<_> = self.disk.files[file].lines.iter().map(|(_, number)| *number).collect();
        if self.rng.u8(0..5) == 0 {
            self.append(name);
        }
        // What it comes to when the daemon cannot look, or is late: the copy is shipped as a file of its own.
        self.oracle.excuses_for_repeats += 1;
        self.truncate_but_for(name, if is_matched || is_read { &copied } else { &NONE });
    }

    fn truncate(&mut self, name: &Path) {
        self.truncate_but_for(name, &NONE);
    }

    /// `elsewhere`: lines that are also in another file, where the daemon is to find them.
    fn truncate_but_for(&mut self, name: &Path, elsewhere: &BTreeSet<LineNumber>) {
        self.reached.truncations += 1;
        let file = self.disk.names[name];
        self.bytes_gone_but_for(file, elsewhere);
        for number in self.disk.truncate(file) {
            if !elsewhere.contains(&number)
                && !self.oracle.is_settled(number)
                && !self.oracle.is_fragile(number)
            {
                self.oracle.bytes_gone(number, false);
            }
        }
        self.read_to.remove(&file);
        *self.generation.entry(file).or_default() += 1;
        self.hint(Hint::Grown(Arc::from(name)));
        if self.rng.bool() {
            self.append(name);
        }
    }

    fn remove(&mut self, name: &Path) {
        let file = self.disk.names[name];
        self.disk.complete(file);
        self.disk.unlink(name);
        if self.open.values().any(|open| *open == file) {
            let lines = &self.disk.files[file].lines;
            let unread = lines.iter().any(|(_, number)| !self.oracle.is_settled(*number));
            self.reached.removed_with_unread_lines += u64::from(unread);
        } else {
            self.bytes_gone(file);
            self.disk.release(file);
        }
        self.hint(Hint::Names);
    }

    fn crash_or_start(&mut self) {
        if self.engine.is_none() {
            return self.start();
        }
        self.reached.crashes += 1;
        self.reached.crashes_with_records_in_flight += u64::from(!self.puts_under_way.is_empty());
        self.reached.crashes_during_a_save += u64::from(self.saves_under_way > 0);
        self.down();
        if self.rng.bool() {
            self.start();
        }
    }

    fn hint(&mut self, hint: Hint) {
        if self.rng.f64() < self.climate.lose_hint {
            self.reached.lost_hints += 1;
        } else {
            let delay = self.delay();
            self.later(delay, Todo::Tell(self.process, Event::Hint(hint)));
        }
        if self.rng.f64() < self.climate.overflow {
            self.reached.overflows += 1;
            let delay = self.delay();
            self.later(delay, Todo::Tell(self.process, Event::Hint(Hint::Everything)));
        }
    }
}

/// A seed that is replayed shows all that led to its failure.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.trace);
        }
    }
}

fn is_matched(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

pub fn settings(rng: &mut fastrand::Rng) -> Settings {
    let some = |n: u32| NonZeroU32::new(n).expect("above zero");
    let quota = QuotaSettings {
        requests_per_second: some(rng.u32(20..3000)),
        records_per_second: some(rng.u32(40..6000)),
        bytes_per_second: rng.u64(200..6000) * 1024,
        share: 0.5 + rng.f64() / 2.0,
        adaptive: if rng.bool() { Adaptive::On } else { Adaptive::Off },
    };
    Settings {
        sources: vec![SourceSettings {
            name: "source".into(),
            stream: StreamId(0),
            start_at: StartAt::Beginning,
            newline: Newline::Append,
            format: Format::Raw,
            max_message_bytes: RECORD_BYTES,
            oversize: Oversize::Split,
            runtime: None,
            multiline: None,
            close_removed_after: Duration::from_secs(10),
        }],
        streams: vec![StreamSettings {
            name: "stream".into(),
            api: [Api::PutRecord, Api::Auto, Api::PutRecordBatch][rng.usize(0..3)],
            packing: Packing::Off,
            max_in_flight: some(rng.u32(1..65)),
            order: if rng.bool() { Order::Free } else { Order::PerFile },
            quota,
            retry: RetrySettings { initial: Duration::from_millis(100), max: Duration::from_secs(30) },
            encryption: Encryption::Optional,
        }],
        checkpoint: CheckpointSettings {
            interval: Duration::from_millis(rng.u64(10..3000)),
            max_bytes: rng.u64(1_000..1_000_000),
        },
        memory: MemorySettings { buffer: 4 << 20, buffer_per_file: 2 << 20 },
        until: Until::Drained,
        on_drain: OnDrain::KeepPartialLines,
    }
}
