//! Drives the service: clock, deliveries and errands.
//!
//! One task owns the service and every destination; requests reach it as errands through a bounded queue, so no
//! lock is needed and acceptance has one order. Knows the clock. Deliveries run on blocking threads, one at a
//! time for each delivery stream. Started by `Server`, asked by `http`.
#![expect(clippy::disallowed_methods, reason = "the driver is where the clock is read and waited for")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::buffer::{Chunk, Refused};
use super::destination::{Destination, DestinationError, Listing};
use super::ids::Run;
use super::journal::Journal;
use super::note::Note;
use super::request::Put;
use super::service::{Answer, Moment, Service};

/// Errands that wait for the driver at most; who brings one more waits.
const QUEUE: usize = 1_024;

/// Errands that are run between two looks at what is due.
const AT_ONCE: usize = 64;

/// How often a destination that stays unwritable is logged.
const REMINDER: Duration = Duration::from_secs(60);

type Work = Box<dyn FnOnce(&mut Service, Moment) + Send>;

enum Command {
    Run(Work),
    /// Takes records; answered when they are in the journal.
    Put(Put, oneshot::Sender<Answer>),
    /// Delivers; answered when everything that was accepted before is settled.
    Flush(oneshot::Sender<()>),
    /// Ends the driver; answered with the number of bytes that could not be delivered.
    Close(oneshot::Sender<u64>),
}

/// The driver is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

/// Where errands are brought to the driver.
#[derive(Clone, Debug)]
pub(super) struct Handle(mpsc::Sender<Command>);

impl Handle {
    /// Runs `work` on the service and brings back what it says.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Service, Moment) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |service: &mut Service, at: Moment| {
            // Whoever asked may have gone; what was done stays done.
            let _ = reply.send(work(service, at));
        });
        self.bring(Command::Run(work), answer).await
    }

    /// Brings records; the answer comes when what was accepted outlives this process.
    pub(super) async fn put(&self, put: Put) -> Result<Answer, Gone> {
        let (reply, answer) = oneshot::channel();
        self.bring(Command::Put(put, reply), answer).await
    }

    /// Returns when everything accepted so far is settled.
    pub(super) async fn flush(&self) -> Result<(), Gone> {
        let (reply, answer) = oneshot::channel();
        self.bring(Command::Flush(reply), answer).await
    }

    /// Lets nothing more in, delivers, and ends the driver; says how many bytes could not be delivered.
    pub(super) async fn close(&self) -> Result<u64, Gone> {
        let (reply, answer) = oneshot::channel();
        self.bring(Command::Close(reply), answer).await
    }

    async fn bring<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Result<T, Gone> {
        self.0.send(command).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}

/// The clock of one run of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { began: Instant::now() }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            now: self.began.elapsed(),
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }
}

/// A destination back from a delivery, and how that went.
struct Delivery {
    stream: String,
    destination: Destination,
    outcome: Result<PathBuf, DestinationError>,
}

/// An answer that is held back until its records are in the journal.
type Held = (Answer, oneshot::Sender<Answer>);

/// The journal back from being written, and how that went.
struct Written {
    journal: Journal,
    answers: Vec<Held>,
    outcome: Result<(), DestinationError>,
}

/// What goes into the journal next.
#[derive(Default)]
struct Unwritten {
    notes: Vec<Note>,
    /// The answers that wait for it.
    held: Vec<Held>,
    /// Whether the journal could not be written the last time.
    failed_last: bool,
}

/// The owner of the service, the destinations and the journal.
pub(super) struct Driver {
    service: Service,
    clock: Clock,
    dir: PathBuf,
    run: u32,
    listing: Listing,
    /// How long closing tries to deliver what a destination refuses.
    patience: Duration,
    errands: mpsc::Receiver<Command>,
    /// Those that no delivery is under way to.
    destinations: HashMap<String, Destination>,
    deliveries: JoinSet<Delivery>,
    /// `None` while it is being written.
    journal: Option<Journal>,
    journaled: JoinSet<Written>,
    unwritten: Unwritten,
    flushes: Vec<Flush>,
    /// When an unwritable destination was logged last, by delivery stream.
    reminded: HashMap<String, Duration>,
    closing: Option<Closing>,
}

/// Somebody waits for these chunks to be settled, each of a delivery stream.
struct Flush {
    chunks: Vec<(String, u64)>,
    reply: oneshot::Sender<()>,
}

struct Closing {
    until: Duration,
    /// None when every handle is gone, so that nobody waits.
    reply: Option<oneshot::Sender<u64>>,
}

impl Driver {
    /// A driver that delivers below `dir`, and the handle to reach it. `patience` is how long closing tries to
    /// deliver what a destination refuses.
    pub(super) fn new(
        service: Service,
        clock: Clock,
        dir: PathBuf,
        run: Run,
        listing: Listing,
        patience: Duration,
    ) -> (Self, Handle) {
        let journal = Journal::new(&dir, run);
        let (handle, errands) = mpsc::channel(QUEUE);
        let driver = Self {
            service,
            clock,
            dir,
            run: run.tag(),
            listing,
            patience,
            errands,
            destinations: HashMap::new(),
            deliveries: JoinSet::new(),
            journal: Some(journal),
            journaled: JoinSet::new(),
            unwritten: Unwritten::default(),
            flushes: Vec::new(),
            reminded: HashMap::new(),
            closing: None,
        };
        (driver, Handle(handle))
    }

    /// Runs until it is closed, or every handle is gone, and everything accepted is settled and noted as such.
    pub(super) async fn run(mut self) {
        let mut waiting = Vec::with_capacity(AT_ONCE);
        let mut reachable = true;
        while !self.is_done() {
            self.start_deliveries();
            self.start_writing();
            let wake = self.next_wake();
            tokio::select! {
                // A delivery that ended makes room; errands come before the timer because what they bring may
                // change it. Neither starves the timer: what is due is looked for after each of them.
                biased;
                Some(delivery) = self.deliveries.join_next() => {
                    self.note(delivery.expect("a delivery neither panics nor is cancelled"));
                }
                Some(written) = self.journaled.join_next() => {
                    self.note_written(written.expect("the journal neither panics nor is cancelled"));
                }
                count = self.errands.recv_many(&mut waiting, AT_ONCE), if reachable => {
                    reachable = count > 0;
                    for command in waiting.drain(..) {
                        self.run_errand(command);
                    }
                    if !reachable && self.closing.is_none() {
                        self.close(None);
                    }
                }
                () = sleep_for(wake) => {}
            }
            self.unwritten.notes.append(&mut self.service.take_notes());
            self.answer_flushes();
        }
        if let Some(Closing { reply: Some(reply), .. }) = self.closing {
            let _ = reply.send(self.service.held_bytes());
        }
    }

    fn is_done(&self) -> bool {
        let idle = self.service.is_empty() && self.journal.is_some() && self.unwritten.notes.is_empty();
        self.closing.as_ref().is_some_and(|closing| idle || self.clock.moment().now >= closing.until)
    }

    fn run_errand(&mut self, command: Command) {
        match command {
            Command::Run(work) => work(&mut self.service, self.clock.moment()),
            Command::Put(put, reply) => {
                let answer = self.service.put(put, self.clock.moment());
                self.unwritten.held.push((answer, reply));
            }
            Command::Flush(reply) => self.flushes.push(Flush { chunks: self.service.flush(), reply }),
            Command::Close(reply) => self.close(Some(reply)),
        }
    }

    fn close(&mut self, reply: Option<oneshot::Sender<u64>>) {
        self.service.close();
        self.closing = Some(Closing { until: self.clock.moment().now + self.patience, reply });
    }

    fn start_deliveries(&mut self) {
        let at = self.clock.moment();
        for (stream, chunk) in self.service.due(at.now) {
            let destination = self
                .destinations
                .remove(&stream)
                .unwrap_or_else(|| Destination::new(&self.dir, &stream, self.run, self.listing));
            self.deliveries.spawn_blocking(move || deliver(stream, destination, &chunk, at.unix_time));
        }
    }

    /// Brings the journal up to date, and then gives the answers that waited for it.
    ///
    /// Whatever comes in meanwhile is written together: the slower the disk, the larger the steps.
    fn start_writing(&mut self) {
        if self.unwritten.notes.is_empty() {
            // Nothing was accepted: nothing to wait for.
            answer(&mut self.unwritten.held);
            return;
        }
        if let Some(mut journal) = self.journal.take() {
            let notes = std::mem::take(&mut self.unwritten.notes);
            let answers = std::mem::take(&mut self.unwritten.held);
            self.journaled.spawn_blocking(move || {
                let outcome = journal.write(&notes);
                Written { journal, answers, outcome }
            });
        }
    }

    fn note_written(&mut self, written: Written) {
        let Written { journal, mut answers, outcome } = written;
        self.journal = Some(journal);
        // Accepted they are in any case, and delivered by this process: the service keeps them for 24 hours.
        answer(&mut answers);
        match outcome {
            Ok(()) => self.unwritten.failed_last = false,
            Err(error) if !self.unwritten.failed_last => {
                self.unwritten.failed_last = true;
                warn!(%error, "the journal cannot be written; killing this process may lose accepted records");
            }
            Err(_) => {}
        }
    }

    /// How long until something is due; `None` while nothing is.
    fn next_wake(&self) -> Option<Duration> {
        let until = self.closing.as_ref().map(|closing| closing.until);
        let at = self.service.deadline().into_iter().chain(until).min()?;
        Some(at.saturating_sub(self.clock.moment().now))
    }

    fn note(&mut self, delivery: Delivery) {
        let Delivery { stream, destination, outcome } = delivery;
        match outcome {
            Ok(path) => {
                self.service.delivered(&stream);
                if self.reminded.remove(&stream).is_some() {
                    info!(stream, path = %path.display(), "the destination can be written again");
                }
            }
            Err(error) => self.note_refused(&stream, &error),
        }
        self.destinations.insert(stream, destination);
    }

    fn note_refused(&mut self, stream: &str, error: &DestinationError) {
        let now = self.clock.moment().now;
        match self.service.refused(stream, now) {
            Refused::Dropped(chunk) => error!(
                stream,
                records = chunk.records,
                bytes = chunk.data.len(),
                %error,
                "records are gone: the destination could not be written for 24 hours"
            ),
            Refused::Kept => {
                let due = self.reminded.get(stream).is_none_or(|last| now.saturating_sub(*last) >= REMINDER);
                if due {
                    self.reminded.insert(stream.to_owned(), now);
                    warn!(stream, %error, "the destination cannot be written; it is tried again for 24 hours");
                }
            }
        }
    }

    fn answer_flushes(&mut self) {
        let service = &self.service;
        let settled = |flush: &mut Flush| flush.chunks.iter().all(|chunk| service.reached(chunk));
        for flush in self.flushes.extract_if(.., settled) {
            let _ = flush.reply.send(());
        }
    }
}

fn answer(held: &mut Vec<Held>) {
    for (answer, reply) in held.drain(..) {
        // Whoever asked may have gone; what was accepted stays accepted.
        let _ = reply.send(answer);
    }
}

/// One delivery, on a blocking thread.
fn deliver(stream: String, mut destination: Destination, chunk: &Chunk, unix_time: Duration) -> Delivery {
    let outcome = destination.deliver(&chunk.data, &chunk.labels, unix_time);
    Delivery { stream, destination, outcome }
}

async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
