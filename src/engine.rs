//! Floor 2: routes events to rules and queues effects.
//!
//! One owner of all state: no lock, no acknowledgement channel, no argument about order. Concurrency lives in the
//! shells; here one event is handled after the other. Without clock, I/O or chance of its own, the same events
//! give the same effects: the daemon is one driver, the simulation is the other.
//!
//! The parts have private fields and do not know each other; what one needs of another passes through the handlers here.
//!
//! | part | knows |
//! |---|---|
//! | `files.rs` | followed files: what each is doing, and what wakes it |
//! | `families.rs`, `seams.rs` | since when names are looked at, what was found beside them, and which file follows which |
//! | `lives.rs`, `incarnation.rs` | incarnations: what each is, and how far it is read and settled |
//! | `surveys.rs` | when to look at which source |
//! | `descriptors.rs` | how many files may be open, and how many openings are under way on each device |
//! | `intake.rs` | how many reads are under way on each device, and the memory budget |
//! | `shaping.rs` | how a chunk becomes records: a value |
//! | `streams.rs`, `lane.rs` | requests, queues and quotas of the delivery streams |
//! | `saves.rs` | what is to be durable |
//! | `startup.rs` | whether what was there at the start is open |
//! | `numbers.rs` | which numbers incarnations get |
//!
//! | handlers | take in |
//! |---|---|
//! | `taking.rs`, `names.rs`, `beside.rs` | surveys and hints |
//! | `generations.rs`, `archives.rs` | generations that were missed, and those that are compressed |
//! | `opening.rs` | files that were opened |
//! | `copies.rs` | what a rotator copied before it truncated |
//! | `unnamed.rs` | time, for files that no source shows |
//! | `unwanted.rs` | files that are not to be begun |
//! | `reading.rs` | what was read |
//! | `delivery.rs` | outcomes of requests and of saves |
//! | `routing.rs` | files whose delivery stream is not open |
//! | `reload.rs`, `leaving.rs` | another configuration, and the files that it leaves out |
//! | `handing.rs` | delivery streams that are held for long, and recover |
//! | `moving.rs` | positions that a person moves |
//! | `draining.rs` | that everything is to be read to its end, and be done |
//!
//! `port.rs`: what comes in and goes out. `report.rs`, `status.rs`: what is told. `preview.rs`: shaping, alone.

mod archives;
mod audit;
mod beside;
mod by_path;
mod copies;
mod delivery;
mod descriptors;
mod draining;
mod families;
mod few;
mod files;
mod generations;
mod handing;
mod incarnation;
mod intake;
mod lane;
mod leaving;
mod lives;
mod moving;
mod names;
mod numbers;
mod opening;
mod parting;
pub mod port;
pub mod preview;
mod reading;
mod reload;
pub mod remaking;
pub mod report;
mod routing;
#[cfg(test)]
mod samples;
mod saves;
mod seams;
mod shaping;
mod startup;
mod status;
mod streams;
mod surveys;
mod taking;
mod unnamed;
mod unwanted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::checkpoint::{Checkpoint, DeadLetter, FirstLook, KnownPart};
use crate::model::settings::{OnDrain, Settings, StreamId, Until};
use crate::model::time::Instant;
use crate::rules::dead_letters::Room;
use crate::rules::pattern::SourceNames;
use crate::rules::retry::InvalidBackoff;

pub use self::status::{
    Detail, FileState, FileStatus, FileSums, Followed, LaneStatus, Status, StreamStatus, StuckRecord,
};

use self::descriptors::Descriptors;
use self::families::Families;
use self::files::Files;
use self::intake::Intake;
use self::leaving::Leaving;
use self::lives::Lives;
use self::numbers::Numbers;
use self::port::{Effect, Event};
use self::report::{Counts, Report, SourceCounts, StreamCounts};
use self::saves::Saves;
use self::startup::Startup;
pub use self::streams::Gathering;
use self::streams::Streams;
use self::surveys::Surveys;
use self::unwanted::Unwanted;

/// What the state database held when the process began.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub checkpoints: Vec<Checkpoint>,
    /// When each source was looked at for the first time.
    pub looks: Vec<FirstLook>,
    /// A number that no incarnation has had.
    pub next_incarnation: u64,
    /// The first number that a start after a crash may give to another incarnation.
    pub reserved: u64,
    /// Whether nothing was ever saved: only then may a source start at the end of its files.
    pub first_start: bool,
    /// What the dead letters of each stream take on disk, in bytes.
    pub dead_letter_bytes: BTreeMap<Arc<str>, u64>,
    /// The names that each source reads, in the order of the settings; where none are told, no name is left out.
    pub names: Vec<SourceNames>,
    /// Which parts of rates were had lately.
    pub parts: Vec<KnownPart>,
}

/// Everything that is known and under way.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    effects: VecDeque<Effect>,
    counts: Counts,
    surveys: Surveys,
    files: Files,
    families: Families,
    descriptors: Descriptors,
    lives: Lives,
    intake: Intake,
    streams: Streams,
    saves: Saves,
    unwanted: Unwanted,
    leaving: Leaving,
    startup: Startup,
    /// Set once the engine is to read everything to its end and be done: what becomes of last lines.
    finishing: Option<OnDrain>,
}

/// The streams that have parts of the room for dead letters.
fn stream_names(settings: &Settings) -> impl Iterator<Item = Arc<str>> {
    settings.streams.iter().map(|stream| Arc::clone(&stream.name))
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
        let mut streams = Streams::try_new(&settings.streams, settings.checkpoint, seed, now)?;
        streams.begin_with(&memory.parts, now);
        let look_beside = match memory.checkpoints.is_empty() {
            true => BTreeSet::new(),
            false => (0..settings.streams.len()).map(StreamId).collect(),
        };
        let mut surveys = Surveys::new(settings.sources.len(), memory.first_start, look_beside);
        let finishing = match settings.until {
            Until::Drained => None,
            Until::EndOfFiles => {
                surveys.finish();
                streams.drain();
                Some(OnDrain::ShipPartialLines)
            }
        };
        Ok(Self {
            effects: VecDeque::new(),
            counts: Counts {
                sources: vec![SourceCounts::default(); settings.sources.len()],
                streams: vec![StreamCounts::default(); settings.streams.len()],
                ..Counts::default()
            },
            surveys,
            files: Files::default(),
            families: Families::of_memory(&memory.checkpoints, memory.looks),
            descriptors: Descriptors::default(),
            lives: Lives::new(memory.checkpoints, Numbers::new(memory.next_incarnation, memory.reserved)),
            intake: Intake::new(settings.memory, settings.streams.len()),
            streams,
            saves: Saves::new(
                settings.checkpoint,
                settings.checkpoints_at_once,
                Room::new(stream_names(&settings), memory.dead_letter_bytes),
                now,
            ),
            unwanted: Unwanted::default(),
            leaving: Leaving::new(memory.names),
            startup: Startup::Finding,
            finishing,
            settings,
        })
    }

    /// Takes in one event; what it leads to waits in [`poll_effect`](Self::poll_effect).
    pub fn handle(&mut self, event: Event, now: Instant) {
        let files = self.files_with(&event);
        if files == usize::MAX {
            self.take_in(files, now);
        }
        self.hear(event, now);
        self.read_all(files);
        self.take_in(files, now);
        self.go_on_with_all(now);
    }

    fn hear(&mut self, event: Event, now: Instant) {
        match event {
            Event::Hint(hint) => self.on_hint(hint),
            Event::Observed(observation) => self.on_observed(observation),
            Event::Opened { file, result } => self.on_opened(file, result, now),
            Event::Bytes { file, result, unix_time, modified, room, begins } => {
                self.on_bytes(file, result, (unix_time, modified, room, begins), now);
            }
            Event::Compared { file, result } => self.on_likeness(file, result, now),
            Event::PutDone { request, outcome } => self.on_put_done(request, outcome, now),
            Event::Saved(result) => self.on_saved(result, now),
            Event::DeadLettersDeleted(bytes) => self.on_dead_letters_deleted(&bytes, now),
            Event::Watching(watching) => self.surveys.set_watching(watching),
            Event::Descriptors(limit) => self.descriptors.set_limit(limit),
            Event::Tick => {}
            Event::Reload(reload) => {
                if self.on_reload(*reload, now).is_err() {
                    self.counts.reloads_refused += 1;
                }
            }
            Event::ReloadRefused => {
                self.counts.reloads_refused += 1;
                self.take_up_awaiting(now);
            }
            Event::Replay(letters) => {
                let ends = self.streams.add_letters(letters, now);
                self.tell_letters(ends);
            }
            Event::StopReplay => {
                let ends = self.streams.stop_letters();
                self.tell_letters(ends);
            }
            Event::Move(asked) => self.on_move(*asked),
            Event::Drain => self.on_drain(),
            Event::Leave => self.on_leave(),
        }
    }

    /// Does what is due, and what may be done now.
    fn go_on_with_all(&mut self, now: Instant) {
        self.ask_for_streams();
        self.let_go_of_leaving(now);
        self.carry_out_moves(now);
        self.renew(now);
        self.survey(now);
        self.note_late(now);
        if self.surveys.tick_is_due(now) {
            self.look_after(now);
        }
        self.hand_on(now);
        self.open_waiting(now);
        self.read(now);
        self.send(now);
        self.save(now);
        self.go_unsaved(now);
        // What is found by the looks that are being taken in was there, too.
        if !self.surveys.takings().any() {
            self.startup.advance(&self.surveys, &self.files);
        }
    }

    /// The next thing to do, if any.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`handle`](Self::handle) again with a tick, should nothing happen before.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let needs_tick = self.files.needs_tick() || self.lives.seeks();
        let deadlines = [
            self.surveys.takings().deadline(now),
            self.files.are_all_wanted().then(|| taking::next_part(now)),
            self.surveys.deadline(needs_tick, now),
            self.streams.deadline(),
            self.saves.deadline(now),
            self.files.deadline(),
            self.families.seams().deadline(),
            // Files that wait for a save are opened by its answer.
            self.descriptors
                .deadline(self.files.any_to_open())
                .filter(|due| *due > now || !self.saves.awaits_any_look()),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// How lines wait for others to share their request.
    pub fn gathering(&self, now: Instant) -> Gathering {
        self.streams.gathering(now)
    }

    /// Whether everything that was there is delivered and that is durable.
    pub fn is_done(&self) -> bool {
        self.surveys.all_finished()
            && !self.awaits_streams()
            && !self.saves.any_wait()
            && self.everything_is_read_and_settled()
    }

    /// Whether a drain has come to its end but for what waits for streams that take nothing under this configuration.
    pub fn is_left_with_stopped_streams(&self) -> bool {
        let is_stopped = |stream| self.streams.is_stopped(stream);
        self.finishing.is_some()
            && self.streams.any_stopped()
            && self.surveys.all_finished()
            && !self.streams.any_under_way()
            && !self.saves.any_wait()
            && self.files.iter().all(|(id, file)| is_stopped(file.stream) || self.is_read(id))
            && self.lives.states().all(|state| state.has_come_to_rest() || is_stopped(state.stream()))
    }

    /// What is sent for a dead letter now.
    ///
    /// # Errors
    /// Where nothing is made of what was put aside.
    pub fn records_of(&self, letter: &DeadLetter) -> Result<Vec<Bytes>, remaking::NotMade> {
        remaking::records_of(&self.settings, self.surveys.retired(), letter)
    }

    /// What the engine works by, with everything that was ever configured in its place.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Panics when a law does not hold between two events. The simulation asks after each.
    ///
    /// # Panics
    /// L11: a file is in a queue that its state does not name, or is at rest with bytes that were seen and not read.
    /// L12: a file in a stream has two lives.
    pub fn check_laws(&self) {
        self.files.check();
        self.lives.check(|file| self.files.read_into(file));
        self.check_rest();
    }

    /// L11: of a file at rest everything that was seen is read, but for a last line that is not complete.
    fn check_rest(&self) {
        for (id, file) in self.files.iter() {
            if file.state() != files::State::AtEnd {
                continue;
            }
            let Some(state) = file.incarnation().and_then(|incarnation| self.lives.state(incarnation)) else {
                panic!("L11: {id:?} is at rest and read into nothing: {file:?}");
            };
            let read = state.position().bytes() + file.end.partial.incomplete_bytes as u64;
            assert!(
                state.seen_bytes() <= read,
                "L11: {id:?} is at rest at {read}, and {} bytes were seen: {file:?}",
                state.seen_bytes()
            );
        }
    }

    fn report(&mut self, report: Report) {
        self.effects.push_back(Effect::Report(report));
    }

    /// The name of a delivery stream in the configuration.
    fn stream_name(&self, stream: StreamId) -> &Arc<str> {
        &self.settings.streams[stream.0].name
    }
}
