//! The work that the engine has asked for: where it runs, and what it brings back.
//!
//! Requests are tasks of the runtime. Whatever blocks runs on threads: the state on one of its own, files in their
//! source's lane, the watch on one at a time. Knows how an effect is carried out. Does not know what follows from a
//! result: the driver tells the engine. Used by the driver.
//!
//! *Invariant:* each piece of work brings back one [`Done`], or none because it hangs; nobody ever waits for a thread
//! that may hang, also not at the end.

#![expect(clippy::disallowed_methods, reason = "what hangs is known by the time that it takes")]

mod reading;
mod ways;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use tokio::task::{JoinError, JoinSet};

use crate::engine::port::{
    FileFault, FileId, Likeness, Observation, Opened, Put, RequestId, Survey, Watching,
};
use crate::model::checkpoint::Save;
use crate::model::settings::{ByLane, LaneId, SourceId};
use crate::model::verdict::{Outcome, Retry};
use crate::shell::files::problems::{Problem, Problems};
use crate::shell::files::{self, SourceFiles};
use crate::shell::firehose::{Destination, Identity};
use crate::shell::watch::{Directories, Watch};

use super::lanes::{FileLane, Lanes};
use super::state::{Ended, Order, State};
use super::surveys::{Seen, SurveyedSource, ToWatch};
use super::time::unix_time;

use reading::OpenFile;
pub(super) use reading::OpenedFile;
pub(super) use reading::ReadDone;

/// After how long the update of the watch counts as hanging. It takes milliseconds where nothing hangs.
const WATCH_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that is under way, and what it borrows.
#[derive(Debug)]
pub(super) struct Tasks {
    running: JoinSet<Landed>,
    /// What was read at once.
    at_hand: VecDeque<Done>,
    lanes: Lanes<Work>,
    /// By [`SourceId`].
    sources: Vec<Arc<SourceFiles>>,
    destinations: ByLane<Destination>,
    /// Those that are being reached anew.
    connecting: HashSet<LaneId>,
    /// Open files; a read borrows its file.
    open: HashMap<FileId, OpenFile>,
    seen: Seen,
    /// `None` while it is being brought up to date.
    watch: Option<Watch>,
    /// When the update under way began; `None` also once it is known to hang.
    watch_began: Option<Clock>,
    /// Directories that wait for the watch to come back.
    to_watch: Option<ToWatch>,
    /// How many directories the kernel is asked to watch at the most.
    max_watches: usize,
    state: State,
}

/// Blocking work on files.
struct Work(Box<dyn FnOnce() -> Done + Send>);

impl std::fmt::Debug for Work {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Work")
    }
}

/// A piece of work that came back, and the lane that it leaves.
#[derive(Debug)]
struct Landed {
    lane: Option<FileLane>,
    done: Done,
}

/// What a piece of work brings back.
#[derive(Debug)]
pub(super) enum Done {
    Surveyed(SourceId, Box<SurveyedSource>),
    Watched(Box<Watch>, Watching),
    Opened(FileId, Result<(OpenedFile, Opened), FileFault>),
    /// What was read, and when the file was last written, where its end was reached.
    Bytes(FileId, ReadDone),
    Compared(FileId, Result<Likeness, FileFault>),
    /// Nobody waits for it.
    Closed,
    Put(LaneId, RequestId, Outcome),
    Connected(LaneId, Box<Destination>),
    Identified(LaneId, Result<Identity, Retry>),
    Stored(Ended),
}

impl Tasks {
    pub(super) fn new(
        sources: Vec<SourceFiles>,
        destinations: ByLane<Destination>,
        state: State,
        (watch, max_watches): (Watch, usize),
    ) -> Self {
        Self {
            running: JoinSet::new(),
            at_hand: VecDeque::new(),
            lanes: Lanes::new(sources.len()),
            sources: sources.into_iter().map(Arc::new).collect(),
            destinations,
            connecting: HashSet::new(),
            open: HashMap::new(),
            seen: Seen::default(),
            watch: Some(watch),
            watch_began: None,
            to_watch: None,
            max_watches,
            state,
        }
    }

    /// The next result. Nothing is lost when it is dropped while it waits.
    pub(super) async fn next(&mut self) -> Done {
        tokio::select! {
            // A commit's answer frees memory, and is seldom there. What was read at once can be had at any time.
            biased;
            ended = self.state.answer() => Done::Stored(ended),
            Some(landed) = self.running.join_next() => self.land(landed),
            Some(done) = async { self.at_hand.pop_front() } => done,
        }
    }

    /// A result that is there already.
    pub(super) fn try_next(&mut self) -> Option<Done> {
        match self.running.try_join_next() {
            Some(landed) => Some(self.land(landed)),
            None => self.at_hand.pop_front(),
        }
    }

    fn land(&mut self, landed: Result<Landed, JoinError>) -> Done {
        let Landed { lane, done } = match landed {
            Ok(landed) => landed,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => unreachable!("no task is cancelled while the daemon runs: {error}"),
        };
        if let Some(lane) = lane
            && let Some(next) = self.lanes.leave(lane)
        {
            self.begin(lane, next);
        }
        done
    }

    /// Does blocking work in the source's lane.
    fn block(&mut self, source: SourceId, work: impl FnOnce() -> Done + Send + 'static) {
        let lane = self.lanes.of(source);
        if let Some(work) = self.lanes.enter(lane, Work(Box::new(work))) {
            self.begin(lane, work);
        }
    }

    fn begin(&mut self, lane: FileLane, work: Work) {
        self.running.spawn_blocking(move || Landed { lane: Some(lane), done: (work.0)() });
    }

    fn spawn(&mut self, task: impl Future<Output = Done> + Send + 'static) {
        self.running.spawn(async move { Landed { lane: None, done: task.await } });
    }

    /// Surveys one source, in its own lane.
    pub(super) fn survey(&mut self, request: Survey) {
        let Survey { source, also, held, renamed } = request;
        // What is compressed was made by who rotates, and is theirs to remove.
        let held = self.plain(&held);
        let files = Arc::clone(&self.sources[source.0]);
        let mut listings = self.seen.take_listings(source);
        self.block(source, move || {
            let beside = files::Beside { also: &also, renamed: &renamed };
            let mut surveyed = files::survey_again(&files, source, beside, (unix_time(), &mut listings));
            surveyed.observation.held = files::look_at_held(&held);
            let directories = Directories::look_at(std::mem::take(&mut surveyed.directories));
            Done::Surveyed(source, Box::new(SurveyedSource { surveyed, directories, listings }))
        });
    }

    /// Takes what one source's survey found. Returns the problems that are new, how many more there are that are
    /// only counted, and the answer for the engine.
    pub(super) fn surveyed(
        &mut self,
        source: SourceId,
        found: SurveyedSource,
    ) -> ((Vec<Problem>, u64), Observation) {
        let SurveyedSource { surveyed, directories, listings } = found;
        self.seen.keep_listings(source, listings);
        let news = self.seen.replace(source, directories, surveyed.problems);
        self.to_watch = Some(self.seen.to_watch());
        self.update_watch();
        (news, surveyed.observation)
    }

    /// The names that match and are not read.
    pub(super) fn problems(&self) -> Problems {
        self.seen.problems()
    }

    /// Takes the watch back that was brought up to date.
    pub(super) fn watched(&mut self, watch: Watch) {
        self.watch = Some(watch);
        self.watch_began = None;
        self.update_watch();
    }

    fn update_watch(&mut self) {
        // Neither is taken without the other: a watch that is dropped watches nothing.
        if self.to_watch.is_none() {
            return;
        }
        let Some(mut watch) = self.watch.take() else { return };
        let to_watch = self.to_watch.take().expect("just seen");
        let max_watches = self.max_watches;
        self.watch_began = Some(Clock::now());
        self.running.spawn_blocking(move || {
            let watching = watch.update(&Directories::union(&to_watch), max_watches);
            Landed { lane: None, done: Done::Watched(Box::new(watch), watching) }
        });
    }

    /// When the update of the watch counts as hanging.
    pub(super) fn watch_deadline(&self) -> Option<Clock> {
        self.watch_began.map(|began| began + WATCH_PATIENCE)
    }

    /// Whether the update of the watch has come to count as hanging; says so once.
    pub(super) fn watch_hangs(&mut self, now: Clock) -> bool {
        self.watch_began.take_if(|began| *began + WATCH_PATIENCE <= now).is_some()
    }

    pub(super) fn put(&mut self, request: Put) {
        let destination = self.destinations[request.lane].clone();
        self.spawn(async move {
            let outcome = destination.put(request.operation, request.records, request.longer).await;
            Done::Put(request.lane, request.request, outcome)
        });
    }

    pub(super) fn save(&mut self, save: Save) {
        self.order(Order::Commit(save));
    }

    /// Has the state's thread do something.
    pub(super) fn order(&mut self, order: Order) {
        self.state.order(order);
    }

    pub(super) fn destinations(&self) -> &ByLane<Destination> {
        &self.destinations
    }

    /// Goes on with another configuration, in which sources and streams keep their places.
    pub(super) fn reconfigure(
        &mut self,
        sources: Vec<SourceFiles>,
        destinations: ByLane<Destination>,
        max_watches: usize,
    ) {
        self.max_watches = max_watches;
        self.lanes.resize(sources.len());
        self.sources = sources.into_iter().map(Arc::new).collect();
        self.destinations = destinations;
    }

    /// Leaves everything that is under way behind, and closes the store. Dropping the future leaves that behind, too.
    pub(super) async fn leave(self) {
        let Self { mut running, open, state, .. } = self;
        running.abort_all();
        // Closing may hang as reading may: it is nobody's to wait for.
        running.spawn_blocking(move || {
            drop(open);
            Landed { lane: None, done: Done::Closed }
        });
        state.close().await;
    }
}
