//! Many engines on one clock, each with files that never end.

use std::collections::BTreeMap;
use std::time::Duration;

use standpipe::engine::port::{Effect, Event, FileId, Put};
use standpipe::engine::{Engine, Memory};
use standpipe::model::checkpoint::{Checkpoint, KnownPart};
use standpipe::model::identity::{Incarnation, RESERVED_AT_ONCE};
use standpipe::model::time::Instant;
use standpipe::model::verdict::Outcome;

use super::content::{Content, Ledger, line_of};
use super::machine::number_of;
use super::plan::{Plan, QUIET};
use super::service::Service;

/// What is to happen to one daemon.
#[derive(Debug)]
pub enum Todo {
    Start,
    /// The process ends, however far it is.
    End,
    /// To be ignored if the deadline has changed since.
    Wake(u64),
    /// A request of a process arrives.
    Arrive(Put, Instant),
    Tell(Event),
    /// The quiet tenant writes a line into each of its files.
    Write,
}

pub struct Daemon {
    engine: Option<Engine>,
    /// The numbers of the files that the process has open.
    pub open: BTreeMap<FileId, u64>,
    /// The number of its process: what comes for an earlier one is ignored.
    process: u64,
    /// The number of the deadline that counts.
    deadline: u64,
    /// What outlives a process.
    pub saved: BTreeMap<Incarnation, Checkpoint>,
    pub next_incarnation: u64,
    pub has_saved: bool,
    pub parts: Vec<KnownPart>,
    ledger: Ledger,
    /// Records that each service took.
    accepted: Vec<u64>,
    /// Whether a service was ever asked.
    has_asked: Vec<bool>,
    /// How often it said that batches would help.
    pub advised: u64,
}

pub struct Fleet {
    pub plan: Plan,
    rng: fastrand::Rng,
    pub now: Instant,
    queue: BTreeMap<(Instant, u64), (usize, u64, Todo)>,
    queued: u64,
    pub daemons: Vec<Daemon>,
    pub content: Content,
    /// How long each line of a quiet tenant took from when it was written to the service.
    pub quiet_took: Vec<Duration>,
    pub services: Vec<Service>,
}

impl Fleet {
    pub fn new(plan: Plan) -> Self {
        let daemon = || Daemon {
            engine: None,
            open: BTreeMap::new(),
            process: 0,
            deadline: 0,
            saved: BTreeMap::new(),
            next_incarnation: 0,
            has_saved: false,
            parts: Vec::new(),
            ledger: Ledger::default(),
            accepted: vec![0; plan.services()],
            has_asked: vec![false; plan.services()],
            advised: 0,
        };
        let mut fleet = Self {
            content: Content::new(plan.line_bytes),
            plan,
            rng: fastrand::Rng::with_seed(plan.seed),
            now: Instant::ZERO,
            queue: BTreeMap::new(),
            queued: 0,
            daemons: std::iter::repeat_with(daemon).take(plan.daemons).collect(),
            quiet_took: Vec::new(),
            services: std::iter::repeat_with(Service::default).take(plan.services()).collect(),
        };
        for daemon in 0..plan.daemons {
            fleet.create(daemon);
        }
        for daemon in 0..plan.daemons {
            let start = if plan.late && daemon % 2 == 1 { 20_000 } else { fleet.rng.u64(0..500) };
            fleet.later(Duration::from_millis(start), daemon, Todo::Tell(Event::Tick));
            if plan.quiet_files > 0 {
                fleet.later(fleet.written_at(daemon, 0), daemon, Todo::Write);
            }
        }
        fleet
    }

    /// Records of each daemon that each service took.
    pub fn accepted(&self) -> Vec<Vec<u64>> {
        self.daemons.iter().map(|daemon| daemon.accepted.clone()).collect()
    }

    /// From here on it is noted who asks which service.
    pub fn forget_asked(&mut self) {
        self.daemons.iter_mut().for_each(|daemon| daemon.has_asked.fill(false));
        self.services.iter_mut().for_each(Service::forget);
    }

    /// Whether a daemon asked a service.
    pub fn has_asked(&self, daemon: usize, service: usize) -> bool {
        self.daemons[daemon].has_asked[service]
    }

    /// Lines that came more than once.
    pub fn repeated(&self) -> u64 {
        self.daemons.iter().map(|daemon| daemon.ledger.repeated).sum()
    }

    pub fn advised(&self) -> u64 {
        self.daemons.iter().map(|daemon| daemon.advised).sum()
    }

    /// Lines that a position has passed, and no service has; and files of which nothing was taken.
    pub fn lost(&self) -> (usize, usize) {
        let line_bytes = self.plan.line_bytes as u64;
        let lines = |from: u64, to: u64| {
            let line = |bytes: u64| usize::try_from(bytes / line_bytes).expect("small");
            line(from)..line(to)
        };
        let of_file = |daemon: &Daemon, saved: &Checkpoint| {
            let before = (0, saved.offset.bytes());
            let beyond = saved.settled.ranges();
            let beyond = beyond.iter().map(|range| (range.start().bytes(), range.end().bytes()));
            let passed = std::iter::once(before).chain(beyond);
            passed
                .map(|(from, to)| daemon.ledger.missing(number_of(&saved.path), lines(from, to)))
                .sum::<usize>()
        };
        let of_daemon =
            |daemon: &Daemon| daemon.saved.values().map(|saved| of_file(daemon, saved)).sum::<usize>();
        let files = usize::try_from(self.plan.files + self.plan.quiet_files).expect("few");
        let untouched = self.daemons.iter().map(|daemon| files - daemon.ledger.files());
        (self.daemons.iter().map(of_daemon).sum(), untouched.sum())
    }

    /// The process of a daemon ends after `delay`: killed, or told to end a while before; and starts again.
    pub fn restart(&mut self, daemon: usize, delay: Duration, is_killed: bool) {
        let second = Duration::from_secs(1);
        if !is_killed {
            self.later(delay.saturating_sub(second), daemon, Todo::Tell(Event::Drain));
            self.later(delay - second / 10, daemon, Todo::Tell(Event::Leave));
        }
        self.later(delay, daemon, Todo::End);
        self.later(delay + second, daemon, Todo::Start);
    }

    pub fn run_until(&mut self, end: Duration) {
        while let Some(next) = self.queue.first_entry()
            && next.key().0 <= Instant::at(end)
        {
            let ((at, _), (daemon, process, todo)) = next.remove_entry();
            self.now = at;
            match todo {
                Todo::Start => {
                    self.create(daemon);
                    self.tell(daemon, Event::Tick);
                }
                Todo::Arrive(put, sent) => self.arrive(daemon, process, &put, sent),
                Todo::Write => self.write(daemon),
                _ if process != self.daemons[daemon].process => {}
                Todo::End => self.daemons[daemon].engine = None,
                Todo::Wake(number) if number == self.daemons[daemon].deadline => {
                    self.tell(daemon, Event::Tick);
                }
                Todo::Wake(_) => {}
                Todo::Tell(event) => self.tell(daemon, event),
            }
        }
        self.now = Instant::at(end);
    }

    pub fn later(&mut self, delay: Duration, daemon: usize, todo: Todo) {
        self.queued += 1;
        let process = self.daemons[daemon].process;
        self.queue.insert((self.now + delay, self.queued), (daemon, process, todo));
    }

    /// A process of a daemon, from what was saved.
    fn create(&mut self, number: usize) {
        let (seed, settings) = (self.rng.u64(..), self.plan.settings(number));
        let daemon = &mut self.daemons[number];
        let next_incarnation = daemon.next_incarnation;
        daemon.next_incarnation += RESERVED_AT_ONCE;
        let memory = Memory {
            checkpoints: daemon.saved.values().cloned().collect(),
            next_incarnation,
            reserved: daemon.next_incarnation,
            first_start: !daemon.has_saved,
            parts: daemon.parts.clone(),
            ..Memory::default()
        };
        daemon.process += 1;
        let engine = Engine::try_new(settings, memory, seed, self.now);
        daemon.engine = Some(engine.expect("the delays are in order"));
    }

    fn arrive(&mut self, daemon: usize, process: u64, put: &Put, sent: Instant) {
        let service = self.plan.service(put.lane.stream, put.lane.place);
        let answers = self.services[service].answer(put, self.now);
        self.daemons[daemon].has_asked[service] = true;
        for (record, _) in put.records.iter().zip(&answers).filter(|(_, (is_taken, _))| *is_taken) {
            let (file, line) = line_of(record);
            self.daemons[daemon].accepted[service] += 1;
            if self.daemons[daemon].ledger.accept(file, line) && file >= QUIET {
                let written = Instant::at(self.written_at(daemon, line as u64));
                self.quiet_took.push(self.now.since(written));
            }
        }
        let back = self.way();
        let took = (self.now + back).since(sent);
        let verdicts = answers.into_iter().map(|(_, verdict)| verdict).collect();
        if process == self.daemons[daemon].process {
            let event = Event::PutDone { request: put.request, outcome: Outcome { verdicts, took } };
            self.later(back, daemon, Todo::Tell(event));
        }
    }

    /// How long a request or an answer is on its way.
    fn way(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(5_000..15_000))
    }

    pub fn tell(&mut self, daemon: usize, event: Event) {
        let now = self.now;
        let Some(engine) = &mut self.daemons[daemon].engine else { return };
        engine.handle(event, now);
        while let Some(effect) = self.daemons[daemon].engine.as_mut().and_then(Engine::poll_effect) {
            if let Effect::Put(put) = effect {
                let way = self.way();
                self.later(way, daemon, Todo::Arrive(put, now));
            } else if let Some(event) = self.carry_out(daemon, effect) {
                self.later(Duration::from_micros(100), daemon, Todo::Tell(event));
            }
        }
        let state = &mut self.daemons[daemon];
        state.deadline += 1;
        if let Some(at) = state.engine.as_ref().and_then(|engine| engine.next_deadline(now)) {
            let number = state.deadline;
            self.later(at.since(now), daemon, Todo::Wake(number));
        }
    }
}
