//! Floor 4: the driver. Owns the engine, turns its effects into calls of the shells and their results into events.
//!
//! Knows both sides and decides nothing: what to do is the engine's, how it is done the shells'. Blocking work
//! (files, the state database, inotify's watches) runs on blocking threads, requests as tasks; all are awaited.
//!
//! *Invariant:* every task is owned and its result becomes exactly one event; a panic in one ends the process.

#![expect(clippy::disallowed_methods, reason = "the driver is where the engine's time comes from")]

mod log;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::future::Future;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::engine::port::{Effect, Event, FileFault, FileId, Hint, Opened, Reload, RequestId, Watching};
use crate::engine::{Engine, Memory, Status};
use crate::model::settings::{Settings, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::{Outcome, Verdict};
use crate::rules::reload::merge;
use crate::rules::retry::InvalidBackoff;
use crate::shell::files::{self, Compressed, Problem, SourceFiles, Surveyed};
use crate::shell::firehose::{Destination, Identity};
use crate::shell::http::snapshot::{About, Snapshot, StreamAbout};
use crate::shell::http::{self, Question};
use crate::shell::store::{Store, StoreError};
use crate::shell::systemd::{self, Heartbeat};
use crate::shell::watch::{self, Watch};
use log::Log;

/// How often a progress listener is told, at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How old a snapshot may be that is given out again: many who ask cost no more than one.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(100);

/// Everything that the daemon drives.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    began: Clock,
    sources: Arc<Vec<SourceFiles>>,
    destinations: Vec<Destination>,
    /// The streams that are being reached anew.
    connecting: HashSet<StreamId>,
    about: Arc<About>,
    questions: mpsc::Receiver<Question>,
    /// The last snapshot that was given out.
    snapshot: Option<Arc<Snapshot>>,
    /// Open files; a read borrows its file.
    open: HashMap<FileId, Readable>,
    /// `None` while a commit is under way.
    store: Option<Box<Store>>,
    /// `None` while it is being brought up to date.
    watch: Option<Watch>,
    /// Directories that wait for the watch to come back.
    to_watch: Option<Vec<PathBuf>>,
    hints: watch::Hints,
    tasks: JoinSet<Done>,
    heartbeat: Heartbeat,
    /// What surveys could not use: told on change.
    problems: Vec<Problem>,
    log: Log,
}

/// An open file.
#[derive(Clone, Debug)]
enum Readable {
    Plain(Arc<File>),
    Compressed(Arc<Compressed>),
}

/// What a task brings back.
enum Done {
    Surveyed(Surveyed),
    Watched(Watch, Watching),
    Opened(FileId, Result<(Readable, Opened), FileFault>),
    Bytes(FileId, Result<bytes::Bytes, FileFault>),
    Put(StreamId, RequestId, Outcome),
    Connected(StreamId, Destination),
    Identified(StreamId, Result<Identity, String>),
    Saved(Box<Store>, Result<(), StoreError>),
}

/// What somebody who has changed the configuration asks for.
#[derive(Clone, Debug)]
pub enum Change {
    To(Box<Changed>),
    /// It cannot be used: everything stays as it is.
    Unusable,
}

/// Another configuration, with what it takes to carry it out.
#[derive(Clone, Debug)]
pub struct Changed {
    pub config: Config,
    /// In the order of the configuration.
    pub sources: Vec<SourceFiles>,
    /// In the order of the configuration.
    pub destinations: Vec<Destination>,
}

/// How a run summary.
#[derive(Clone, Debug)]
pub struct RunSummary {
    pub how: ExitReason,
    pub status: Status,
    /// Files that a source names or matches and that could not be read.
    pub problems: Vec<Problem>,
    pub took: Duration,
}

/// Why a run summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Everything that was there is delivered and that is durable.
    Done,
    /// The time for shutting down was over; what was not delivered comes after the next start.
    TimedOut,
}

impl Daemon {
    /// # Errors
    /// When a stream's retry delays make no backoff.
    pub fn try_new(
        config: &Config,
        sources: Vec<SourceFiles>,
        destinations: Vec<Destination>,
        store: Store,
        memory: Memory,
        questions: mpsc::Receiver<Question>,
    ) -> Result<Self, InvalidBackoff> {
        let (watch, hints) = watch::start();
        let seed = fastrand::u64(..);
        debug!(seed, "backoff draws from this seed");
        Ok(Self {
            engine: Engine::try_new(fitted(config.settings.clone()), memory, seed, Instant::ZERO)?,
            began: Clock::now(),
            sources: Arc::new(sources),
            destinations,
            connecting: HashSet::new(),
            about: Arc::new(about(config)),
            questions,
            snapshot: None,
            open: HashMap::new(),
            store: Some(Box::new(store)),
            watch: Some(watch),
            to_watch: None,
            hints,
            tasks: JoinSet::new(),
            heartbeat: Heartbeat::start(),
            problems: Vec::new(),
            log: Log::default(),
        })
    }

    /// Runs until the engine is done: by itself, or because `stop` resolved. After that it has `patience` left, or
    /// what the last of the `changes` says.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        mut changes: mpsc::Receiver<Change>,
        mut patience: Duration,
        mut progress: Option<impl FnMut(&Status)>,
    ) -> RunSummary {
        let mut stop = std::pin::pin!(stop);
        let mut give_up_at = None;
        let mut told = None;
        self.tell_descriptors();
        self.identify();
        systemd::ready();
        let how = loop {
            self.launch();
            let now = self.now();
            self.show_life();
            if self.engine.is_done() {
                break ExitReason::Done;
            }
            if give_up_at.is_some_and(|at| at <= now) {
                break ExitReason::TimedOut;
            }
            // A status of many files is not for nothing.
            if let Some(progress) =
                progress.as_mut().filter(|_| told.is_none_or(|at| at + PROGRESS_EVERY <= now))
            {
                told = Some(now);
                progress(&self.engine.status(now));
            }
            self.log.tell_repeats(&self.about, now);
            let own = [give_up_at, self.next_beat(), self.log.deadline()].into_iter().flatten();
            let deadline = self.engine.next_deadline(now).into_iter().chain(own).min();
            let stopping = give_up_at.is_some();
            // Stopping and questions come first, that a busy daemon hears them; then results, which free what hints
            // would fill.
            tokio::select! {
                biased;
                () = &mut stop, if !stopping => {
                    info!(patience = ?patience, "stopping: reading what is there and delivering it");
                    systemd::stopping();
                    give_up_at = Some(self.now() + patience);
                    self.tell(Event::Drain);
                }
                Some(change) = changes.recv(), if !stopping => {
                    if let Change::To(changed) = &change {
                        patience = changed.config.shutdown_timeout;
                    }
                    self.change(change);
                }
                Some(question) = self.questions.recv() => {
                    self.answer(question);
                    // However much is asked, results have their turn.
                    if let Some(done) = self.tasks.try_join_next() {
                        self.take_joined(done);
                    }
                }
                Some(done) = self.tasks.join_next() => self.take_joined(done),
                hints = self.hints.next() => {
                    for hint in hints {
                        if hint == Hint::Everything {
                            warn!("inotify's queue overflowed: looking at every file");
                        }
                        self.tell(Event::Hint(hint));
                    }
                }
                () = until(self.began, deadline) => self.tell(Event::Tick),
            }
        };
        let now = self.now();
        let status = self.engine.status(now);
        if let Some(progress) = &mut progress {
            progress(&status);
        }
        self.tasks.shutdown().await;
        RunSummary { how, status, problems: self.problems, took: now.since(Instant::ZERO) }
    }

    fn now(&self) -> Instant {
        Instant::at(self.began.elapsed())
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        self.engine.handle(event, now);
    }

    /// The loop has turned: the service manager learns it, and how things stand.
    fn show_life(&mut self) {
        let now = Clock::now();
        self.heartbeat.beat(now);
        if self.heartbeat.wants_status(now) {
            let status = http::in_one_line(&self.snapshot());
            self.heartbeat.status(&status);
        }
    }

    fn next_beat(&self) -> Option<Instant> {
        self.heartbeat.deadline().map(|at| Instant::at(at.saturating_duration_since(self.began)))
    }

    /// Connections and files share the descriptors.
    fn tell_descriptors(&mut self) {
        let streams = &self.engine.settings().streams;
        let connections: u64 = streams.iter().map(|stream| u64::from(stream.max_in_flight.get())).sum();
        // An idle connection may stay open for a while beside its successor; the embedded stream has the other ends.
        self.tell(Event::Descriptors(files::max_open_files(2 * connections)));
    }

    /// Takes another configuration. Sources and streams keep their places; the engine is told which went.
    fn change(&mut self, change: Change) {
        let Change::To(changed) = change else {
            return self.tell(Event::ReloadRefused);
        };
        let Changed { config, sources, destinations } = *changed;
        let merged = merge(self.engine.settings(), &fitted(config.settings.clone()));
        let new_about = about(&config);
        let no_files = SourceFiles { patterns: Vec::new(), exclude: Vec::new(), follow_symlinks: false };
        let of_source = |new: &Option<usize>| new.map_or(&no_files, |new| &sources[new]).clone();
        self.sources = Arc::new(merged.sources.iter().map(of_source).collect());
        let of_stream = |(place, new): (usize, &Option<usize>)| match new {
            Some(new) => (destinations[*new].clone(), new_about.streams[*new].clone()),
            None => (self.destinations[place].clone(), self.about.streams[place].clone()),
        };
        let (destinations, streams) = merged.streams.iter().enumerate().map(of_stream).unzip();
        self.destinations = destinations;
        let names = merged.settings.sources.iter().map(|source| Arc::clone(&source.name));
        self.about = Arc::new(About { sources: names.collect(), streams, ..new_about });
        let retired = merged.retired();
        info!(sources = merged.sources.len() - retired.len(), "another configuration is in effect");
        self.tell(Event::Reload(Box::new(Reload { settings: merged.settings, retired })));
        self.tell_descriptors();
    }

    /// Starts what the engine wants done.
    fn launch(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Survey(request) => {
                    let sources = Arc::clone(&self.sources);
                    let with_file = |id: &FileId| match self.open.get(id)? {
                        Readable::Plain(file) => Some((*id, Arc::clone(file))),
                        // What is compressed was made by who rotates, and is theirs to remove.
                        Readable::Compressed(_) => None,
                    };
                    let held: Vec<_> = request.held.iter().filter_map(with_file).collect();
                    self.tasks.spawn_blocking(move || {
                        let mut surveyed = files::survey(&sources, &request);
                        surveyed.observation.held = files::look_at_held(&held);
                        Done::Surveyed(surveyed)
                    });
                }
                Effect::Open(open) => {
                    let follow = self.sources[open.source.0].follow_symlinks;
                    self.tasks.spawn_blocking(move || {
                        let result = if open.decompressed {
                            files::open_compressed(&open.path, follow)
                                .map(|(file, opened)| (Readable::Compressed(Arc::new(file)), opened))
                        } else {
                            files::open(&open.path, follow)
                                .map(|(file, opened)| (Readable::Plain(Arc::new(file)), opened))
                        };
                        Done::Opened(open.tail, result)
                    });
                }
                Effect::Read(read) => {
                    let file = self.open[&read.tail].clone();
                    self.tasks.spawn_blocking(move || {
                        let result = match file {
                            Readable::Plain(file) => files::read(&file, read.at, read.len),
                            Readable::Compressed(file) => file.read(read.at, read.len),
                        };
                        Done::Bytes(read.tail, result)
                    });
                }
                Effect::Close(tail) => {
                    self.open.remove(&tail);
                }
                Effect::Put(put) => {
                    let destination = self.destinations[put.stream.0].clone();
                    self.tasks.spawn(async move {
                        let outcome = destination.put(put.operation, put.records).await;
                        Done::Put(put.stream, put.request, outcome)
                    });
                }
                Effect::Save(save) => {
                    let mut store = self.store.take().expect("one save is under way at a time");
                    self.tasks.spawn_blocking(move || {
                        let result = store.commit(&save);
                        Done::Saved(store, result)
                    });
                }
                Effect::Report(report) => {
                    let now = self.now();
                    self.log.tell(&report, &self.about, now);
                }
            }
        }
    }

    fn answer(&mut self, question: Question) {
        // Whoever asked may be gone.
        match question {
            Question::Alive(asker) => {
                let _ = asker.send(());
            }
            Question::Snapshot(asker) => {
                let _ = asker.send(self.snapshot());
            }
        }
    }

    /// How everything stands now, or stood a moment ago.
    fn snapshot(&mut self) -> Arc<Snapshot> {
        let now = self.now();
        let fresh = |snapshot: &&Arc<Snapshot>| now.since(snapshot.status.at) < SNAPSHOT_EVERY;
        if let Some(snapshot) = self.snapshot.as_ref().filter(fresh) {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(Snapshot {
            about: Arc::clone(&self.about),
            status: self.engine.status(now),
            problems: self.problems.clone(),
        });
        self.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }

    fn take_joined(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(done) => self.take(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => unreachable!("no task is cancelled while the daemon runs: {error}"),
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Surveyed(surveyed) => {
                self.compare_problems(surveyed.problems);
                self.to_watch = Some(surveyed.directories);
                self.update_watch();
                self.tell(Event::Observed(surveyed.observation));
            }
            Done::Watched(watch, watching) => {
                self.watch = Some(watch);
                self.tell(Event::Watching(watching));
                self.update_watch();
            }
            Done::Opened(tail, result) => {
                let result = result.map(|(file, opened)| {
                    self.open.insert(tail, file);
                    opened
                });
                self.tell(Event::Opened { tail, result });
            }
            Done::Bytes(tail, result) => self.tell(Event::Bytes { tail, result, unix_time: unix_time() }),
            Done::Put(stream, request, outcome) => {
                if outcome.verdicts.iter().any(Verdict::is_for_setup) {
                    self.connect_again(stream);
                }
                self.tell(Event::PutDone { request, outcome });
            }
            // Where nobody is found, the first request says so, and what to do.
            Done::Identified(_, Err(_)) => {}
            Done::Identified(stream, Ok(identity)) => {
                info!(
                    stream = self.stream(stream),
                    access_key = identity.access_key_id,
                    region = identity.region.as_deref(),
                    "requests are signed"
                );
            }
            Done::Connected(stream, destination) => {
                self.connecting.remove(&stream);
                // Another configuration may have come meanwhile.
                if destination.is_same_way_as(&self.destinations[stream.0]) {
                    self.destinations[stream.0] = destination;
                }
            }
            Done::Saved(store, result) => {
                self.store = Some(store);
                self.tell(Event::Saved(result.map_err(|error| error.to_string())));
            }
        }
    }

    /// Finds out by whom the streams' requests are signed.
    fn identify(&mut self) {
        for (place, destination) in self.destinations.iter().enumerate() {
            let destination = destination.clone();
            self.tasks.spawn(async move {
                let identity = destination.identity().await;
                Done::Identified(StreamId(place), identity)
            });
        }
    }

    /// Reads region and credentials again, for the next try.
    fn connect_again(&mut self, stream: StreamId) {
        if self.connecting.insert(stream) {
            let destination = self.destinations[stream.0].clone();
            self.tasks.spawn(async move { Done::Connected(stream, destination.connect_again().await) });
        }
    }

    fn update_watch(&mut self) {
        // Neither is taken without the other: a watch that is dropped watches nothing.
        if self.to_watch.is_none() {
            return;
        }
        let Some(mut watch) = self.watch.take() else { return };
        let directories = self.to_watch.take().expect("just seen");
        self.tasks.spawn_blocking(move || {
            let watching = watch.update(&directories);
            Done::Watched(watch, watching)
        });
    }

    /// Tells of each problem once, when it appears.
    fn compare_problems(&mut self, problems: Vec<Problem>) {
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            log::problem(problem, &self.about);
        }
        self.problems = problems;
    }

    fn stream(&self, stream: StreamId) -> &str {
        &self.about.streams[stream.0].name
    }
}

/// The wall clock, for records that tell when their lines were read; before 1970 it is 1970.
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// With no more requests at once than descriptors are there for.
fn fitted(mut settings: Settings) -> Settings {
    let most = files::max_connections();
    let asked: u64 = settings.streams.iter().map(|stream| u64::from(stream.max_in_flight.get())).sum();
    if asked > most {
        warn!(
            asked,
            most,
            "max_in_flight is more than there are descriptors for: fewer requests are made at once; raise the limit on \
             open files (LimitNOFILE in a unit, ulimit -n in a shell)"
        );
        for stream in &mut settings.streams {
            let part = u64::from(stream.max_in_flight.get()) * most / asked;
            let part = u32::try_from(part).expect("less than was asked for");
            stream.max_in_flight = NonZeroU32::new(part).unwrap_or(NonZeroU32::MIN);
        }
    }
    settings
}

fn about(config: &Config) -> About {
    let streams = config.streams.iter().zip(&config.settings.streams);
    About {
        sources: config.sources.iter().map(|source| Arc::clone(&source.name)).collect(),
        streams: streams
            .map(|(stream, settings)| StreamAbout {
                name: Arc::clone(&stream.name),
                delivery_stream: stream.delivery_stream.clone(),
                quota: settings.quota,
            })
            .collect(),
        max_lag: config.health.max_lag,
    }
}

/// Waits until `deadline`, or for ever.
async fn until(began: Clock, deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until((began + at.since(Instant::ZERO)).into()).await,
        None => std::future::pending().await,
    }
}
