//! Floor 2: routes events to rules and queues effects; holds no rule itself.
//!
//! One owner of all state: no lock, no acknowledgement channel, no argument about order. Concurrency lives in the
//! shells; here one event is handled after the other. Without clock, I/O or chance of its own, the same events
//! give the same effects: the daemon is one driver, the simulation is the other.
//!
//! - `engine/port.rs`: what comes in and goes out
//! - `engine/follow.rs`: surveys and files: who is read
//! - `engine/descriptors.rs`: which files are open
//! - `engine/copies.rs`: what a rotator copied before it truncated
//! - `engine/unnamed.rs`: what was renamed away or removed
//! - `engine/intake.rs`: what was read becomes records
//! - `engine/deliver.rs`: records leave, outcomes come back, progress is saved
//! - `engine/tail.rs`, `life.rs`, `stream.rs`: an open file, an incarnation, a way out
//! - `engine/reload.rs`, `stored.rs`: another configuration; positions of files that are not open
//! - `engine/report.rs`, `status.rs`: what is told
//!
//! *Invariant (L6):* bytes read and not settled never exceed the memory budget; (L9): a lost hint costs time only.

mod copies;
mod deliver;
mod descriptors;
mod follow;
mod intake;
mod life;
pub mod port;
mod reload;
pub mod report;
mod shape;
mod status;
mod stored;
mod stream;
mod tail;
mod unnamed;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use crate::model::checkpoint::{Checkpoint, DeadLetter};
use crate::model::identity::{Identity, Incarnation};
use crate::model::record::Record;
use crate::model::settings::{OnDrain, Settings, SourceId, StreamId, Until};
use crate::model::time::Instant;
use crate::model::verdict::Retry;
use crate::rules::checkpoint::Pace;
use crate::rules::retry::InvalidBackoff;

pub use self::status::{FileState, FileStatus, Status, StreamStatus};

use self::copies::CutOffs;
use self::deliver::Saving;
use self::descriptors::Descriptors;
use self::follow::Surveys;
use self::life::Life;
use self::port::{Effect, Event, FileId, RequestId, Watching};
use self::report::{Counts, Report, SourceCounts, StreamCounts};
use self::stored::Stored;
use self::stream::Stream;
use self::tail::Tail;

/// What the state database held when the process began.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub checkpoints: Vec<Checkpoint>,
    /// A number that no incarnation has had.
    pub next_incarnation: u64,
    /// Whether nothing was ever saved: only then may a source start at the end of its files.
    pub first_start: bool,
    /// All data of all dead letters.
    pub dead_letter_bytes: u64,
}

/// Everything that is known and under way.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    rng: fastrand::Rng,
    effects: VecDeque<Effect>,
    surveys: Surveys,
    /// Whether everything that was there at the start has been opened.
    opened: bool,
    tails: BTreeMap<FileId, Tail>,
    descriptors: Descriptors,
    /// The tail of each file in each source, once it is being opened.
    by_file: HashMap<(SourceId, Identity), FileId>,
    /// The tails that hints under a name concern.
    by_path: HashMap<Arc<Path>, Vec<FileId>>,
    /// Files that cannot be opened, and why: told once.
    unreadable: BTreeMap<(SourceId, Arc<Path>), String>,
    /// Checkpoints that no file has claimed.
    stored: Stored,
    /// Those of `stored` that the database does not have yet.
    parting: BTreeSet<Incarnation>,
    /// Those of `stored` whose files were closed since the start, oldest first.
    closed: VecDeque<Incarnation>,
    /// Those of `stored` that were let go of with their source.
    parked: BTreeMap<Incarnation, SourceId>,
    /// Sources that are no longer configured.
    retired: BTreeSet<SourceId>,
    /// Tails that are to be let go of.
    leaving: BTreeSet<FileId>,
    lives: BTreeMap<Incarnation, Life>,
    /// Incarnations whose copies are looked for.
    cut_off: CutOffs,
    /// Something is to be looked after every second.
    needs_tick: bool,
    /// Tails that wait to be read, each once.
    read_turns: VecDeque<FileId>,
    /// Files of streams that have enough to send. One that was woken since is in here no longer, whatever stands here.
    deferred: BTreeMap<StreamId, Vec<FileId>>,
    /// Files whose lines are collected, by when they are to be read. The same holds of these.
    collecting: BTreeSet<(Instant, FileId)>,
    /// Files at whose end lines wait for more, by when that is long enough. The same holds of these.
    waiting: BTreeSet<(Instant, FileId)>,
    reads_under_way: usize,
    /// What the reads under way may bring, in bytes.
    reserved: u64,
    /// What the memory budget is charged for all incarnations, in bytes.
    buffered: u64,
    streams: Vec<Stream>,
    requests: HashMap<RequestId, Sent>,
    pace: Pace,
    /// Incarnations whose checkpoint is older than their frontier.
    changed: BTreeSet<Incarnation>,
    /// Those whose records wait until their fingerprints are durable.
    unnamed: BTreeSet<Incarnation>,
    /// Incarnations that are over and still in the database.
    forgotten: BTreeSet<Incarnation>,
    /// Refused records that are not durable yet; every save carries all of them.
    dead_letters: Vec<DeadLetter>,
    unsaved_dead_letter_bytes: u64,
    /// Data of the dead letters that are durable.
    dead_letter_bytes: u64,
    saving: Option<Saving>,
    last_commit: Instant,
    renewed_at: Instant,
    /// What the outcome in hand moved frontiers by, in bytes.
    settled_bytes: u64,
    not_saved: Option<String>,
    /// Set once the engine is to read everything to its end and be done.
    finishing: Option<Finishing>,
    counts: Counts,
    last_errors: Vec<Option<(Instant, Retry)>>,
    next_tail: u64,
    next_request: u64,
    next_incarnation: u64,
}

/// What is left to do before the engine is done.
#[derive(Clone, Copy, Debug)]
struct Finishing {
    partial_lines: OnDrain,
    /// Whether every name has been looked at since.
    surveyed: bool,
}

/// One request under way.
#[derive(Debug)]
struct Sent {
    stream: StreamId,
    operation: port::Operation,
    records: Vec<Record>,
    at: Instant,
}

impl Engine {
    /// An engine that knows what was saved, and whose backoff draws from `seed`.
    ///
    /// # Errors
    /// When a stream's retry delays make no backoff.
    pub fn try_new(
        settings: Settings,
        memory: Memory,
        seed: u64,
        now: Instant,
    ) -> Result<Self, InvalidBackoff> {
        let streams: Result<Vec<_>, _> = settings
            .streams
            .iter()
            .map(|stream| Stream::try_new(stream.clone(), settings.checkpoint, now))
            .collect();
        let finishing = match settings.until {
            Until::Drained => None,
            Until::EndOfFiles => {
                Some(Finishing { partial_lines: OnDrain::ShipPartialLines, surveyed: false })
            }
        };
        Ok(Self {
            rng: fastrand::Rng::with_seed(seed),
            effects: VecDeque::new(),
            surveys: Surveys::new(memory.first_start, &memory.checkpoints),
            opened: false,
            tails: BTreeMap::new(),
            descriptors: Descriptors::default(),
            by_file: HashMap::new(),
            by_path: HashMap::new(),
            unreadable: BTreeMap::new(),
            stored: Stored::new(memory.checkpoints),
            parting: BTreeSet::new(),
            closed: VecDeque::new(),
            parked: BTreeMap::new(),
            retired: BTreeSet::new(),
            leaving: BTreeSet::new(),
            lives: BTreeMap::new(),
            cut_off: CutOffs::default(),
            needs_tick: false,
            read_turns: VecDeque::new(),
            deferred: BTreeMap::new(),
            collecting: BTreeSet::new(),
            waiting: BTreeSet::new(),
            reads_under_way: 0,
            reserved: 0,
            buffered: 0,
            streams: streams?,
            requests: HashMap::new(),
            pace: Pace::new(settings.checkpoint),
            changed: BTreeSet::new(),
            unnamed: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            dead_letters: Vec::new(),
            unsaved_dead_letter_bytes: 0,
            dead_letter_bytes: memory.dead_letter_bytes,
            saving: None,
            last_commit: now,
            renewed_at: now,
            settled_bytes: 0,
            not_saved: None,
            finishing,
            counts: Counts {
                sources: vec![SourceCounts::default(); settings.sources.len()],
                streams: vec![StreamCounts::default(); settings.streams.len()],
                ..Counts::default()
            },
            last_errors: vec![None; settings.streams.len()],
            next_tail: 0,
            next_request: 0,
            next_incarnation: memory.next_incarnation,
            settings,
        })
    }

    /// Takes in one event; what it leads to waits in [`poll_effect`](Self::poll_effect).
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Hint(hint) => self.on_hint(hint),
            Event::Observed(observation) => self.on_observed(&observation, now),
            Event::Opened { tail, result } => self.on_opened(tail, result, now),
            Event::Bytes { tail, result, unix_time } => self.on_bytes(tail, result, unix_time, now),
            Event::PutDone { request, outcome } => self.on_put_done(request, outcome, now),
            Event::Saved(result) => self.on_saved(result, now),
            Event::Watching(watching) => self.on_watching(watching),
            Event::Descriptors(most) => self.on_descriptors(most),
            Event::Tick => {}
            Event::Reload(reload) => {
                if self.on_reload(*reload, now).is_err() {
                    self.counts.reloads_refused += 1;
                }
            }
            Event::ReloadRefused => self.counts.reloads_refused += 1,
            Event::Drain => self.on_drain(),
        }
        self.let_go_of_leaving(now);
        self.renew(now);
        self.follow(now);
        self.open_waiting(now);
        self.read(now);
        self.send(now);
        self.save(now);
    }

    /// The next thing to do, if any.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`handle`](Self::handle) again with a tick, should nothing happen before.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.follow_deadline(now)
            .into_iter()
            .chain(self.streams.iter().filter_map(|stream| stream.deadline))
            .chain(self.save_deadline(now))
            .chain(self.collecting.first().map(|(due, _)| *due))
            .chain(self.waiting.first().map(|(due, _)| *due))
            .chain(self.descriptor_deadline())
            .min()
    }

    /// Whether everything that was there is delivered and that is durable.
    pub fn is_done(&self) -> bool {
        self.finishing.is_some_and(|finishing| finishing.surveyed)
            && self.everything_is_read()
            && self.everything_is_settled()
            && !self.saves_wait()
    }

    fn report(&mut self, report: Report) {
        self.effects.push_back(Effect::Report(report));
    }

    fn on_watching(&mut self, watching: Watching) {
        self.surveys.watching = watching;
    }

    fn on_drain(&mut self) {
        if self.finishing.is_some() {
            return;
        }
        self.finishing = Some(Finishing { partial_lines: self.settings.on_drain, surveyed: false });
        self.surveys.wanted = true;
        let tails: Vec<_> = self.tails.keys().copied().collect();
        for tail in tails {
            self.wake(tail);
        }
    }

    fn everything_is_read(&self) -> bool {
        let is_stuck = |life: Incarnation| self.lives[&life].stuck > 0;
        self.tails.values().all(|tail| tail.finished || tail.incarnation().is_some_and(is_stuck))
    }

    fn everything_is_settled(&self) -> bool {
        self.requests.is_empty() && self.lives.values().all(Life::has_come_to_rest)
    }
}
