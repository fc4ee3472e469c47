//! The store on a thread of its own: a commit never waits for a thread that hangs in a dead file system.
//!
//! Knows one order at a time and its answer. Does not know what is saved. The command line opens it, the driver gives
//! it every save of the engine, and what commands want of the dead letters: page by page, so that a save waits for one
//! page at the most.
//!
//! *Invariant:* nobody waits for the thread without a time limit of their own: a state directory that hangs keeps
//! nobody from leaving.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::model::checkpoint::Save;
use crate::shell::store::{DeadLetterId, Freed, LettersPage, Loaded, PurgedPage, Store, StoreError, Wanted};

/// What the thread is to do.
#[derive(Debug)]
pub(super) enum Order {
    Commit(Save),
    /// Delete a page of dead letters.
    Purge(Wanted),
    /// Read a page of dead letters.
    Letters(Wanted),
    /// Delete these dead letters.
    Delete(Vec<DeadLetterId>),
}

/// What the thread has done.
#[derive(Debug)]
pub(super) enum Ended {
    Committed(Result<(), StoreError>),
    Purged(Result<PurgedPage, StoreError>),
    Letters(Result<LettersPage, StoreError>),
    Deleted(Result<Freed, StoreError>),
}

/// The state directory, open for this process.
#[derive(Debug)]
pub struct State {
    orders: mpsc::Sender<Order>,
    answers: mpsc::Receiver<Ended>,
    /// Whether the thread has an order.
    is_busy: bool,
    /// Orders that wait for the one that the thread has: one commit at the most, before all others.
    waiting: VecDeque<Order>,
    /// `None` once its panic was passed on.
    thread: Option<JoinHandle<()>>,
}

impl State {
    /// Opens the state directory `dir` on a thread of its own, and returns what was stored there.
    ///
    /// Dropping the future leaves the thread behind, which then closes what it has opened.
    ///
    /// # Errors
    /// Those of [`Store::open`], and [`OpenError::Thread`] when the machine gives no thread.
    pub async fn open(dir: PathBuf) -> Result<(Self, Loaded), OpenError> {
        let (orders, taken) = mpsc::channel(1);
        let (answer, answers) = mpsc::channel(1);
        let (opened, loaded) = oneshot::channel();
        let serve = move || match Store::open(&dir) {
            Ok((mut store, mut loaded)) => {
                loaded.reserved = store.reserve();
                // Whoever asked may have left.
                if opened.send(Ok(loaded)).is_ok() {
                    serve_all(store, taken, &answer);
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        let thread = Builder::new().name("state".to_owned()).spawn(serve).map_err(OpenError::Thread)?;
        match loaded.await {
            Ok(Ok(loaded)) => {
                let (is_busy, waiting) = (false, VecDeque::new());
                Ok((Self { orders, answers, is_busy, waiting, thread: Some(thread) }, loaded))
            }
            Ok(Err(error)) => Err(OpenError::Store(error)),
            Err(_) => pass_on_panic(thread),
        }
    }

    /// Has something done; the answer comes from [`State::answer`]. A commit goes before everything that waits.
    pub(super) fn order(&mut self, order: Order) {
        match order {
            Order::Commit(_) => self.waiting.push_front(order),
            Order::Purge(_) | Order::Letters(_) | Order::Delete(_) => self.waiting.push_back(order),
        }
        self.begin_next();
    }

    fn begin_next(&mut self) {
        if self.is_busy {
            return;
        }
        if let Some(order) = self.waiting.pop_front() {
            self.orders
                .try_send(order)
                .expect("one order is under way, and the thread lives as long as this");
            self.is_busy = true;
        }
    }

    /// Waits for the end of the order under way, for ever when there is none. Nothing is lost when it is dropped.
    pub(super) async fn answer(&mut self) -> Ended {
        match self.answers.recv().await {
            Some(ended) => {
                self.is_busy = false;
                self.begin_next();
                ended
            }
            None => pass_on_panic(self.thread.take().expect("a panic is passed on once")),
        }
    }

    /// Does what was ordered, closes the store and waits until that is done.
    ///
    /// Dropping the future leaves the thread behind. That costs nothing: what was answered is durable, and the next
    /// start finds it though the store was never closed.
    pub(super) async fn close(mut self) {
        while self.is_busy {
            drop(self.answer().await);
        }
        let Self { orders, mut answers, .. } = self;
        drop(orders);
        while answers.recv().await.is_some() {}
    }
}

/// Does whatever is ordered until nobody can order any more, and closes the store.
fn serve_all(mut store: Store, mut orders: mpsc::Receiver<Order>, answer: &mpsc::Sender<Ended>) {
    while let Some(order) = orders.blocking_recv() {
        let ended = match order {
            Order::Commit(save) => Ended::Committed(store.commit(&save)),
            Order::Purge(wanted) => Ended::Purged(store.purge(&wanted)),
            Order::Letters(wanted) => Ended::Letters(store.dead_letters(&wanted)),
            Order::Delete(ids) => Ended::Deleted(store.delete_dead_letters(&ids)),
        };
        // Whoever ordered it may have left.
        let _ = answer.blocking_send(ended);
    }
}

/// Ends the caller as the thread has ended: it leaves without an answer only by a panic.
fn pass_on_panic(thread: JoinHandle<()>) -> ! {
    match thread.join() {
        Ok(()) => unreachable!("the thread of the state answers before it ends"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(StoreError),
    #[error("no thread for the state: {0}")]
    Thread(io::Error),
}
