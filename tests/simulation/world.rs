//! The engine's second driver: a fake disk, fake services, lost hints, and crashes between any two steps.
//!
//! Everything is drawn from one seed. Each effect is carried out after a delay and answered after another, so that
//! what the engine learns may be old; what is under way at a crash happens or does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use standpipe::engine::port::{Effect, Event, FileId, Hint, RequestId};
use standpipe::engine::{Engine, FileState, Status};
use standpipe::model::checkpoint::{Checkpoint, FirstLook};
use standpipe::model::identity::Incarnation;
use standpipe::model::settings::{ByLane, LaneId, Packing, Settings, SourceId};
use standpipe::model::time::Instant;

use super::actions::{Action, Deed};
use super::audit::Covered;
use super::climate::{Climate, Draw, Kind, Layout, ONE_READ_BYTES};
use super::disk::{Disk, FileIndex};
use super::link::Link;
use super::oracle::Oracle;
use super::reached::Reached;
use super::service::Service;
use super::writers::Shape;

/// What is still to happen, by when.
#[derive(Debug)]
pub enum Todo {
    /// The next action.
    Act,
    /// What an action set going, and ends later.
    Then(Deed),
    /// Nothing: a moment that is waited for.
    Wait,
    /// What the daemon asked for, carried out for the process of that number.
    Do(u64, Effect),
    /// What it learns.
    Tell(u64, Event),
    /// The link is looked at, if nothing has changed on it since.
    Carried(u64),
    /// The time of a request is over.
    GiveUp(u64, RequestId),
}

#[derive(Debug)]
pub struct World {
    pub kind: Kind,
    pub rng: fastrand::Rng,
    pub now: Instant,
    pub queue: BTreeMap<(Instant, u64), Todo>,
    queued: u64,
    /// Everything that was done, in order.
    pub actions: Vec<Action>,
    /// What is to be done instead of what would be drawn.
    pub script: Option<std::vec::IntoIter<Action>>,
    pub settings: Settings,
    pub layout: Layout,
    /// Sources that the configuration leaves out.
    pub left_out: BTreeSet<usize>,
    /// Of the first configuration.
    pub packing: Packing,
    pub shape: Shape,
    pub climate: Climate,
    pub disk: Disk,
    /// One for each lane, in the order of the streams.
    pub services: Vec<Service>,
    /// Between the daemon and its services, if they are far.
    pub link: Option<Link>,
    pub oracle: Oracle,
    pub reached: Reached,
    /// What is durable.
    pub saved: BTreeMap<Incarnation, Checkpoint>,
    /// When sources were looked at for the first time, as far as that is durable.
    pub looks: Vec<FirstLook>,
    /// What the RecordIds stand for that are durable.
    pub record_ids: BTreeMap<Incarnation, Covered>,
    pub next_incarnation: u64,
    pub first_start: bool,
    /// `None` while the daemon is down.
    pub engine: Option<Engine>,
    pub process: u64,
    pub open: BTreeMap<FileId, FileIndex>,
    /// Where reading ended in the file that is let go of next: the rest was declared lost.
    pub given_up: Option<u64>,
    /// How many files may be open.
    pub descriptors: usize,
    /// Files that are followed and not open.
    pub closed: BTreeMap<FileId, FileIndex>,
    /// How far the daemon has taken in each file's present content.
    pub read_to: BTreeMap<FileIndex, u64>,
    /// What the daemon was told of each file's present content: its largest size.
    pub seen_to: BTreeMap<FileIndex, u64>,
    /// How far files were seen to reach that were cut off since, in bytes, until they are read again: what comes instead looks like
    /// the same.
    pub counted_to: BTreeMap<FileIndex, u64>,
    /// What was seen of files and cut off before a byte was read, and how far they reached, in bytes, until they are seen again.
    pub gone_unread: BTreeMap<FileIndex, (u64, u64)>,
    /// When each file was told to be truncated last, and each source was to be looked at.
    pub truncation_told: BTreeMap<FileIndex, Instant>,
    pub look_asked: BTreeMap<SourceId, Instant>,
    /// What the read under way of each tail brings: the end of it, and of which file as it was then.
    pub served: BTreeMap<FileId, (FileIndex, u64, u64)>,
    /// How often each file was truncated.
    pub generation: BTreeMap<FileIndex, u64>,
    /// The requests under way, and how many lines each has.
    pub puts_under_way: BTreeMap<u64, u64>,
    pub saves_under_way: u64,
    /// Lines acknowledged since the last save that succeeded was asked for, and of them those of the save under way.
    pub unsaved_lines: (u64, u64),
    pub used_inodes: BTreeSet<u64>,
    /// Effects that are not answered while there is trouble.
    pub withheld: Vec<(u64, Effect)>,
    /// Names whose file was, or is to be, renamed in the middle of a message.
    pub cutting: BTreeSet<std::path::PathBuf>,
    /// What is the matter with the disk.
    pub ailments: super::effects::Ailments,
    /// Streams that paths name, and that are open.
    pub opened: BTreeSet<std::sync::Arc<str>>,
    /// Bytes that the daemon declared lost.
    pub declared_bytes: u64,
    spins: u64,
    pub traced: bool,
    /// Every event and effect, when that was asked for.
    pub trace: String,
}

impl World {
    pub fn new(kind: Kind, seed: u64, traced: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let draw = Draw::new(kind, seed, &mut rng);
        let mut world = Self::drawn(kind, draw, rng, traced);
        world.begin();
        world
    }

    fn drawn(kind: Kind, draw: Draw, rng: fastrand::Rng, traced: bool) -> Self {
        let Draw { climate, layout, faults, settings, shape, has_births, descriptors } = draw;
        let lanes = ByLane::of(&settings.streams, |lane| lane).into_values();
        let services = lanes.zip(faults).map(|(lane, faults)| {
            Service::new(lane.stream.0, faults, settings.streams[lane.stream.0].quota_of(lane.place))
        });
        let services = services.collect();
        Self {
            kind,
            rng,
            now: Instant::ZERO,
            queue: BTreeMap::new(),
            queued: 0,
            actions: Vec::new(),
            script: None,
            layout,
            left_out: BTreeSet::new(),
            packing: settings.streams[0].packing,
            oracle: Oracle::expecting(shape.pieces(), climate.withdrawn.clone()),
            shape,
            link: climate.bytes_per_second.map(Link::new),
            climate,
            disk: Disk::new(has_births),
            services,
            settings,
            reached: Reached::default(),
            saved: BTreeMap::new(),
            looks: Vec::new(),
            record_ids: BTreeMap::new(),
            next_incarnation: 0,
            first_start: true,
            engine: None,
            process: 0,
            open: BTreeMap::new(),
            given_up: None,
            descriptors,
            closed: BTreeMap::new(),
            read_to: BTreeMap::new(),
            seen_to: BTreeMap::new(),
            counted_to: BTreeMap::new(),
            gone_unread: BTreeMap::new(),
            truncation_told: BTreeMap::new(),
            look_asked: BTreeMap::new(),
            served: BTreeMap::new(),
            generation: BTreeMap::new(),
            puts_under_way: BTreeMap::new(),
            saves_under_way: 0,
            unsaved_lines: (0, 0),
            used_inodes: BTreeSet::new(),
            withheld: Vec::new(),
            cutting: BTreeSet::new(),
            ailments: super::effects::Ailments::default(),
            opened: BTreeSet::new(),
            declared_bytes: 0,
            spins: 0,
            traced,
            trace: String::new(),
        }
    }

    pub fn is_wide(&self) -> bool {
        matches!(self.kind, Kind::Wide(_))
    }

    /// Which of the services a lane leads to.
    pub fn service_of(&self, lane: LaneId) -> usize {
        let before = self.settings.streams[..lane.stream.0].iter().map(|stream| stream.spread.lanes.len());
        before.sum::<usize>() + lane.place
    }

    pub fn status(&mut self) -> Option<Status> {
        let now = self.now;
        self.engine.as_mut().map(|engine| engine.status(now))
    }

    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        // An engine that waits for answers alone has no deadline.
        if self.is_wide() {
            self.later(time, Todo::Wait);
        }
        self.run_until(|world| world.now >= until, u64::MAX);
    }

    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool, max_steps: u64) {
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
                self.disk.unix_time = self.unix_time();
                self.spins = 0;
                let (_, todo) = self.queue.pop_first().expect("looked at above");
                self.happen(todo);
            }
            (_, Some(deadline)) => {
                self.spins = if deadline <= self.now { self.spins + 1 } else { 0 };
                assert!(self.spins < 100, "the engine asks for a tick that changes nothing");
                self.now = self.now.max(deadline);
                self.disk.unix_time = self.unix_time();
                self.tell(Event::Tick);
            }
            (Some(_) | None, None) => panic!("I15: nothing will ever happen again"),
        }
    }

    pub fn later(&mut self, delay: Duration, todo: Todo) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), todo);
    }

    pub fn delay(&mut self) -> Duration {
        self.climate.max_delay.mul_f64(self.rng.f64())
    }

    fn happen(&mut self, todo: Todo) {
        match todo {
            Todo::Act => self.act(),
            Todo::Then(deed) => self.perform(&deed),
            Todo::Wait => {}
            Todo::Carried(turn) => self.look_at_link(turn),
            Todo::GiveUp(process, request) => self.give_up(process, request),
            Todo::Do(process, effect) => self.carry_out(process, effect),
            Todo::Tell(process, event) => {
                if process == self.process {
                    self.deliver(event);
                }
            }
        }
    }

    /// What was asked for is answered, to the process that asked.
    fn deliver(&mut self, event: Event) {
        match &event {
            Event::PutDone { request, outcome } => {
                let lines = self.puts_under_way.remove(&request.0).unwrap_or(0);
                let failed = outcome.verdicts.iter().filter(|verdict| !super::effects::is_final(verdict));
                self.unsaved_lines.0 += lines.saturating_sub(failed.count() as u64);
            }
            Event::Saved(result) => {
                self.saves_under_way -= 1;
                if result.is_ok() {
                    self.unsaved_lines.0 -= self.unsaved_lines.1;
                }
                self.unsaved_lines.1 = 0;
            }
            Event::Bytes { file: tail, result: Ok(_), .. } => return self.tell_bytes(*tail, event),
            Event::Observed(observation) => self.note_seen(observation),
            _ => {}
        }
        self.tell(event);
    }

    /// What was read counts as taken in unless the daemon found that it was not what it had read before.
    fn tell_bytes(&mut self, tail: FileId, event: Event) {
        let (file, generation, end) = self.served.remove(&tail).expect("bytes were served");
        let truncations = self.reached.truncations_seen;
        self.tell(event);
        let is_present = generation == self.generation.get(&file).copied().unwrap_or(0);
        if is_present || truncations != self.reached.truncations_seen {
            self.counted_to.remove(&file);
        }
        if is_present && truncations == self.reached.truncations_seen {
            let taken_in = self.taken_in(file);
            let known = self.read_to.entry(file).or_default();
            *known = (*known).max(end.min(taken_in));
            // What is there counts for what the file holds from now on.
            self.gone_unread.remove(&file);
            self.see(file, end);
        }
    }

    /// How far every stream that a file is for has taken it in.
    pub fn taken_in(&mut self, file: FileIndex) -> u64 {
        let identity = self.disk.files[file].identity;
        let due = self.disk.files[file].due.count_ones() as usize;
        let Some(status) = self.status() else { return 0 };
        let of_file = status.files.listed.iter().filter(|status| status.identity == identity);
        let read = of_file.filter(|status| status.state != FileState::Truncated);
        let mut read: Vec<_> = read.map(|status| status.read.bytes()).collect();
        read.sort_unstable();
        read.reverse();
        read.get(due.saturating_sub(1)).copied().unwrap_or(0)
    }

    pub fn tell(&mut self, event: Event) {
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
        let unsettled: u64 = status.files.listed.iter().map(|file| file.unsettled_bytes).sum();
        let (held, budget) = (status.buffered_bytes, self.settings.memory.buffer);
        assert!(unsettled <= budget, "L6: {unsettled} bytes unsettled");
        // Records that go again are copied before what they were read with is let go of.
        assert!(held <= budget + unsettled, "L6: {held} bytes are held, {unsettled} of them not settled");
        self.reached.memory_full += u64::from(unsettled + ONE_READ_BYTES > budget);
        for effect in effects {
            if self.traced {
                writeln!(self.trace, "  {effect:?}").expect("a string takes everything");
            }
            self.ask(effect);
        }
    }

    pub fn hint(&mut self, hint: Hint) {
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
