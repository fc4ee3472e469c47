//! The store on a thread of its own: a commit never waits for a thread that hangs in a dead file system.
//!
//! Knows one order at a time and its answer. Does not know what is saved. The command line opens it, the driver gives
//! it every save of the engine.
//!
//! *Invariant:* nobody waits for the thread without a time limit of their own: a state directory that hangs keeps
//! nobody from leaving.

use std::io;
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::model::checkpoint::Save;
use crate::shell::store::{Loaded, Store, StoreError};

/// The state directory, open for this process.
#[derive(Debug)]
pub struct State {
    orders: mpsc::Sender<Save>,
    answers: mpsc::Receiver<Result<(), StoreError>>,
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
                    commit_all(store, taken, &answer);
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        let thread = Builder::new().name("state".to_owned()).spawn(serve).map_err(OpenError::Thread)?;
        match loaded.await {
            Ok(Ok(loaded)) => Ok((Self { orders, answers, thread: Some(thread) }, loaded)),
            Ok(Err(error)) => Err(OpenError::Store(error)),
            Err(_) => pass_on_panic(thread),
        }
    }

    /// Begins to make `save` durable; the answer comes from [`State::answer`].
    pub(super) fn commit(&self, save: Save) {
        self.orders
            .try_send(save)
            .expect("one save is under way at a time, and the thread lives as long as this");
    }

    /// Waits for the end of the commit under way, for ever when there is none. Nothing is lost when it is dropped.
    pub(super) async fn answer(&mut self) -> Result<(), StoreError> {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => pass_on_panic(self.thread.take().expect("a panic is passed on once")),
        }
    }

    /// Closes the store and waits until that is done.
    ///
    /// Dropping the future leaves the thread behind. That costs nothing: what was answered is durable, and the next
    /// start finds it though the store was never closed.
    pub(super) async fn close(self) {
        let Self { orders, mut answers, .. } = self;
        drop(orders);
        while answers.recv().await.is_some() {}
    }
}

/// Commits whatever is ordered until nobody can order any more, and closes the store.
fn commit_all(
    mut store: Store,
    mut orders: mpsc::Receiver<Save>,
    answer: &mpsc::Sender<Result<(), StoreError>>,
) {
    while let Some(save) = orders.blocking_recv() {
        // Whoever ordered it may have left.
        let _ = answer.blocking_send(store.commit(&save));
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
