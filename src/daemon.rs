//! Floor 4: the driver. Owns the engine, turns its effects into calls of the shells and their results into events.
//!
//! Knows both sides: what to do is the engine's to say, how it is done the shells'. `tasks` has the work under way, in
//! the `lanes` of its sources; `state` the thread of the state; `surveys` what was found; `log` the wording.
//!
//! *Invariant:* every result becomes at most one event, in the order of arrival; a panic anywhere ends the process. The
//! loop waits for no blocking work, and the end for none but the state's, for a second or two.

#![expect(clippy::disallowed_methods, reason = "the driver is where the engine's time comes from")]

mod changes;
mod control;
mod hints;
mod lanes;
mod leaving;
mod log;
mod progress;
mod replays;
mod state;
mod surveys;
mod tasks;
mod time;
mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::engine::port::{Effect, Event, Hint, WantedStreams, Watching};
use crate::engine::{Detail, Engine, Memory, Status};
use crate::model::settings::{ByLane, LaneId};
use crate::model::time::Instant;
use crate::model::verdict::Verdict;
use crate::rules::retry::InvalidBackoff;
use crate::shell::control::Order;
use crate::shell::files::{self, SourceFiles};
use crate::shell::firehose::{Destination, Identity};
use crate::shell::http::events::Events;
use crate::shell::http::snapshot::{About, Counted, Snapshot, Written};
use crate::shell::http::{self, Question};
use crate::shell::systemd::{self, Heartbeat};
use crate::shell::watch;

use self::time::{unix_time, until};
pub use changes::{Change, Changed};
pub use lanes::MAX_THREADS;
pub use leaving::{ExitReason, RunSummary};
pub use state::{OpenError, State};

use control::Control;
use state::Ended;

use changes::{about, fitted};
use hints::Hints;
use log::Log;
use progress::Progress;
use replays::Replays;
use tasks::{Done, ReadDone, Tasks};
use turns::Turns;

/// How old a snapshot may be that is given out again: many who ask cost no more than one.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(100);

/// How many results are taken before the loop turns: each turn asks everybody who may have something to say.
const TAKEN_TOGETHER: usize = 16;

/// How long that may take, but for the last of them.
const TAKEN_FOR: Duration = Duration::from_millis(5);

/// Everything that the daemon drives.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    began: Clock,
    about: Arc<About>,
    questions: mpsc::Receiver<Question>,
    control: Control,
    replays: Replays,
    /// Where streams are asked for that files are found for.
    wants: Option<mpsc::UnboundedSender<WantedStreams>>,
    /// The last snapshot that was given out.
    snapshot: Option<Arc<Snapshot>>,
    hints: Hints,
    tasks: Tasks,
    heartbeat: Heartbeat,
    log: Log,
    events: Arc<Events>,
}

impl Daemon {
    /// A daemon that goes on from `memory`, answers what comes through `questions`, and does what comes as `orders`.
    ///
    /// # Errors
    /// When a stream's retry delays make no backoff.
    pub fn try_new(
        config: &Config,
        sources: Vec<SourceFiles>,
        destinations: ByLane<Destination>,
        state: State,
        memory: Memory,
        (questions, orders): (mpsc::Receiver<Question>, mpsc::Receiver<Order>),
    ) -> Result<Self, InvalidBackoff> {
        let (watch, hints) = watch::start();
        let seed = fastrand::u64(..);
        debug!(seed, "backoff draws from this seed");
        Ok(Self {
            engine: Engine::try_new(fitted(config.settings.clone()), memory, seed, Instant::ZERO)?,
            began: Clock::now(),
            about: Arc::new(about(config, unix_time())),
            questions,
            control: Control::new(orders),
            replays: Replays::default(),
            wants: None,
            snapshot: None,
            hints: Hints::new(hints),
            tasks: Tasks::new(sources, destinations, state, (watch, config.max_watches)),
            heartbeat: Heartbeat::start(),
            log: Log::default(),
            events: Arc::default(),
        })
    }

    /// Runs until the engine is done: by itself, or because `stop` resolved. After that it has `patience` left, or
    /// what the last of the `changes` says, and then leaves whatever hangs; so it does at the `deadline` in any case.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        (mut changes, wants): (mpsc::Receiver<Change>, mpsc::UnboundedSender<WantedStreams>),
        (mut patience, deadline): (Duration, Option<Clock>),
        progress: Option<impl FnMut(&Status)>,
    ) -> RunSummary {
        self.wants = Some(wants);
        let mut stop = std::pin::pin!(stop);
        let mut give_up_at = deadline.map(|at| Instant::at(at.saturating_duration_since(self.began)));
        let (mut stopping, time_limit, mut turns) = (false, give_up_at, Turns::begin());
        let mut progress = Progress::new(progress);
        self.tell_descriptors();
        self.tasks.identify(|_| true);
        systemd::ready();
        let how = loop {
            turns.next().await;
            self.launch();
            let now = self.show_life();
            if self.engine.is_done() {
                break ExitReason::Done;
            }
            if self.engine.is_left_with_stopped_streams() {
                break ExitReason::Stopped;
            }
            if give_up_at.is_some_and(|at| at <= now) {
                break ExitReason::late(time_limit, now);
            }
            progress.show(&mut self.engine, now);
            self.log.tell_repeats(&self.about, now);
            self.doubt_watch();
            self.hints.leave(self.engine.gathering(now), self.began, now);
            let deadline = self.deadline(now, give_up_at);
            // Stopping and questions come first, that a busy daemon hears them; then results, which free what hints
            // would fill.
            tokio::select! {
                biased;
                () = &mut stop, if !stopping => {
                    info!(seconds = patience.as_secs_f64(), "stopping: reading what is there and delivering it");
                    systemd::stopping();
                    stopping = true;
                    let end = self.now() + patience;
                    give_up_at = Some(give_up_at.map_or(end, |at| end.min(at)));
                    self.tell(Event::Drain);
                }
                Some(change) = changes.recv(), if !stopping => {
                    if let Change::To(changed) = &change {
                        patience = changed.config.shutdown_timeout;
                    }
                    self.change(change);
                }
                Some(question) = self.questions.recv() => self.answer(question),
                Some(order) = self.control.next() => self.obey(order),
                done = self.tasks.next() => self.take_with_others(done),
                hints = self.hints.next() => self.tell_hints(hints),
                () = until(self.began, deadline) => self.tell(Event::Tick),
            }
        };
        self.leave(how, progress).await
    }

    /// When the loop has to turn again though nothing happens.
    fn deadline(&self, now: Instant, give_up_at: Option<Instant>) -> Option<Instant> {
        let since_began = |at: Clock| Instant::at(at.saturating_duration_since(self.began));
        let beat = self.heartbeat.deadline().map(since_began);
        let watch = self.tasks.watch_deadline().map(since_began);
        let replays = self.replays.deadline().map(since_began);
        let own = [give_up_at, beat, watch, replays, self.log.deadline()].into_iter().flatten();
        self.engine.next_deadline(now).into_iter().chain(own).min()
    }

    /// Relies on no hints while the watch hangs: a directory that is watched from then on makes none.
    fn doubt_watch(&mut self) {
        if self.tasks.watch_hangs(Clock::now()) {
            warn!(
                "the kernel does not answer a request to watch a directory: files are looked at every second instead"
            );
            self.tell(Event::Watching(Watching::Partial));
        }
    }

    fn tell_hints(&mut self, hints: Vec<Hint>) {
        self.hints.taken(self.now());
        for hint in hints {
            if hint == Hint::Everything {
                warn!("inotify's queue overflowed: looking at every file");
            }
            self.tell(Event::Hint(hint));
        }
    }

    fn now(&self) -> Instant {
        Instant::at(self.began.elapsed())
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        self.engine.handle(event, now);
    }

    /// The loop has turned: the service manager learns it, and how things stand. Returns when that was.
    fn show_life(&mut self) -> Instant {
        let now = Clock::now();
        self.heartbeat.beat(now);
        if self.heartbeat.wants_status(now) {
            let status = http::in_one_line(&self.snapshot(Detail::Sums));
            self.heartbeat.status(&status);
        }
        self.now()
    }

    /// Connections and files share the descriptors.
    fn tell_descriptors(&mut self) {
        let streams = &self.engine.settings().streams;
        let connections: u64 = streams.iter().map(changes::requests_at_once).sum();
        // An idle connection may stay open for a while beside its successor; the embedded stream has the other ends.
        self.tell(Event::Descriptors(files::max_open_files(2 * connections)));
    }

    /// Starts what the engine wants done.
    fn launch(&mut self) {
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                self.carry_out(effect);
            }
            if !self.tend_replays() {
                break;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Survey(request) => self.tasks.survey(request),
            Effect::Open(request) => self.tasks.open(request),
            Effect::Read(request) => self.tasks.read(request),
            Effect::Compare(request) => self.tasks.compare(request),
            Effect::Close(file) => self.tasks.close(file),
            Effect::Put(request) => self.tasks.put(request),
            Effect::Save(save) => self.tasks.save(save),
            Effect::Replayed { letter, end } => self.replayed(letter, end),
            Effect::Moved { number, result } => self.moved(number, result),
            // Whoever opens streams may be gone, when everything ends.
            Effect::Want(wanted) => drop(self.wants.as_ref().map(|wants| wants.send(wanted))),
            Effect::Report(report) => {
                let now = self.now();
                self.log.tell(&report, &self.about, now);
                Arc::make_mut(&mut self.events).note(&report, now);
            }
        }
    }

    /// Answers a question, and takes one result: however much is asked, results have their turn.
    fn answer(&mut self, question: Question) {
        // Whoever asked may be gone.
        match question {
            Question::Alive(asker) => {
                let _ = asker.send(());
            }
            Question::Snapshot(detail, asker) => {
                let _ = asker.send(self.snapshot(detail));
            }
            Question::Counted(asker) => {
                // What nobody will be given any more is not kept for the next who asks: it may be large.
                let now = self.now();
                self.snapshot.take_if(|snapshot| now.since(snapshot.status.at) >= SNAPSHOT_EVERY);
                let (counts, factors) = self.engine.counted();
                let (about, counts) = (Arc::clone(&self.about), counts.clone());
                let _ = asker.send(Counted { about, at: self.now(), counts, factors });
            }
        }
        if let Some(done) = self.tasks.try_next() {
            self.take(done);
        }
    }

    /// How everything stands now, or stood a moment ago; with each file where that is asked for.
    fn snapshot(&mut self, detail: Detail) -> Arc<Snapshot> {
        let now = self.now();
        let fresh = |snapshot: &&Arc<Snapshot>| {
            now.since(snapshot.status.at) < SNAPSHOT_EVERY && snapshot.status.files.detail >= detail
        };
        if let Some(snapshot) = self.snapshot.as_ref().filter(fresh) {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(Snapshot {
            about: Arc::clone(&self.about),
            status: self.engine.status_in(detail, now),
            problems: self.tasks.problems(),
            missing: self.tasks.destinations().map(Destination::missing),
            regions: self.tasks.destinations().map(Destination::region),
            events: Arc::clone(&self.events),
            written: Written::default(),
        });
        self.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Takes a result in, and some of those that are there as well.
    fn take_with_others(&mut self, done: Done) {
        let began = Clock::now();
        self.take(done);
        for _ in 1..TAKEN_TOGETHER {
            self.launch();
            if began.elapsed() > TAKEN_FOR {
                break;
            }
            let Some(done) = self.tasks.try_next() else { break };
            self.take(done);
        }
    }

    /// Takes a result in, and tells the engine.
    fn take(&mut self, done: Done) {
        match done {
            Done::Surveyed(source, found) => {
                let (news, observation) = self.tasks.surveyed(source, *found);
                let now = self.now();
                self.log.problems(source, news, &self.about, now);
                self.tell(Event::Observed(observation));
            }
            Done::Watched(watch, watching) => {
                self.tell(Event::Watching(watching));
                self.tasks.watched(*watch);
            }
            Done::Opened(file, result) => {
                let result = result.map(|(open, opened)| {
                    self.tasks.opened(file, open);
                    opened
                });
                self.tell(Event::Opened { file, result });
            }
            Done::Bytes(file, ReadDone { result, modified, room, begins }) => {
                self.tell(Event::Bytes { file, result, unix_time: unix_time(), modified, room, begins });
            }
            Done::Compared(file, result) => self.tell(Event::Compared { file, result }),
            Done::Closed => {}
            Done::Put(lane, request, outcome) => {
                if outcome.verdicts.iter().any(Verdict::is_for_setup) {
                    self.tasks.connect_again(lane);
                }
                self.tell(Event::PutDone { request, outcome });
            }
            Done::Identified(lane, Err(why)) => {
                self.log.unsigned(lane.stream, &why, &self.about);
                self.tasks.identify_later(lane);
            }
            Done::Identified(lane, Ok(identity)) => self.tell_identity(lane, &identity),
            Done::Connected(lane, destination) => self.tasks.connected(lane, *destination),
            Done::Stored(Ended::Committed(result)) => {
                self.tell(Event::Saved(result.map_err(|error| error.to_string())));
            }
            Done::Stored(Ended::Purged(result)) => self.purged(result),
            Done::Stored(Ended::Letters(result)) => self.take_letters(result),
            Done::Stored(Ended::Deleted(result)) => self.deleted(result),
        }
    }

    fn tell_identity(&self, lane: LaneId, identity: &Identity) {
        info!(
            stream = &*self.about.streams[lane.stream.0].name,
            delivery_stream = self.about.delivery_stream_beside_others(lane),
            access_key = identity.access_key_id,
            region = identity.region,
            endpoint = crate::model::text::origin(&identity.endpoint),
            "requests are signed"
        );
    }
}
