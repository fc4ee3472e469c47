//! The end of a run: what was acknowledged is saved, and whatever hangs is left behind.
//!
//! Knows how long the state is waited for. Does not know why the run ends. Used by the driver.

use std::time::Duration;

use tracing::warn;

use crate::engine::port::{Effect, Event};
use crate::engine::{Detail, Status};
use crate::model::time::Instant;
use crate::shell::files::problems::Problems;

use super::Daemon;
use super::progress::Progress;
use super::tasks::Done;
use super::time::until;

/// How long the daemon waits for the state when its time is over: for the commit under way, for the one that holds
/// what was acknowledged last (which is due at once, however long `checkpoint.interval` is), and for the
/// database to be closed.
const LAST_SAVE: Duration = Duration::from_secs(2);

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Whether everything was delivered, and if not, why it ended.
    pub how: ExitReason,
    /// The engine's status at the end.
    pub status: Status,
    /// Files that a source names or matches and that could not be read.
    pub problems: Problems,
    /// How long the run took.
    pub took: Duration,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Everything that was there is delivered and that is durable.
    Done,
    /// The time that the command line gives was over; what was not delivered comes after the next start.
    TimedOut,
    /// The daemon was asked to stop, and the time for that was over; what was not delivered comes after the next start.
    CutShort,
    /// What was not delivered waits for streams that take nothing under this configuration, and comes after the next start.
    Stopped,
}

impl ExitReason {
    /// Why a run ends that is late: at its `time_limit`, or because it was asked to stop before.
    pub(super) fn late(time_limit: Option<Instant>, now: Instant) -> Self {
        if time_limit.is_some_and(|at| at <= now) { Self::TimedOut } else { Self::CutShort }
    }
}

impl Daemon {
    /// Ends the run: whatever hangs is left behind.
    pub(super) async fn leave(
        mut self,
        how: ExitReason,
        mut progress: Progress<impl FnMut(&Status)>,
    ) -> RunSummary {
        let until = tokio::time::Instant::now() + LAST_SAVE;
        let is_late = matches!(how, ExitReason::TimedOut | ExitReason::CutShort);
        if is_late {
            self.tell(Event::Leave);
        }
        if is_late && tokio::time::timeout_at(until, self.save_last()).await.is_err() {
            warn!("the state does not answer: what was acknowledged last is sent again after the next start");
        }
        let now = self.now();
        let status = self.engine.status(now);
        progress.finish(&status);
        let problems = self.tasks.problems();
        // What the service has is deleted with the last that is done.
        self.delete_accepted();
        // What is not closed in time is none the worse for it: a start after a crash finds the same.
        let _ = tokio::time::timeout_at(until, self.tasks.leave()).await;
        RunSummary { how, status, problems, took: now.since(Instant::ZERO) }
    }

    /// Saves what was acknowledged so far. Of what else the engine asks for, nothing is done any more.
    async fn save_last(&mut self) {
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                match effect {
                    Effect::Save(_) | Effect::Report(_) | Effect::Moved { .. } | Effect::Replayed { .. } => {
                        self.carry_out(effect);
                    }
                    Effect::Survey(_)
                    | Effect::Open(_)
                    | Effect::Read(_)
                    | Effect::Compare(_)
                    | Effect::Close(_)
                    | Effect::Want(_)
                    | Effect::Put(_) => {}
                }
            }
            let now = self.now();
            if self.engine.status_in(Detail::Sums, now).unsaved_since.is_none() {
                return;
            }
            let deadline = self.engine.next_deadline(now);
            tokio::select! {
                biased;
                done = self.tasks.next() => {
                    if matches!(done, Done::Stored(_) | Done::Put(..)) {
                        self.take(done);
                    }
                }
                () = until(self.began, deadline) => self.tell(Event::Tick),
            }
        }
    }
}
