//! What the service manager is told: ready, reloading, stopping, a line of status, and that the loop turns.
//!
//! Knows sd_notify's messages, which go nowhere when nobody asked for them (`$NOTIFY_SOCKET`). Knows nothing of what
//! they tell of. The daemon feeds the watchdog from its loop and from nowhere else: a loop that is stuck is killed.

#![expect(clippy::disallowed_methods, reason = "a watchdog is fed by the clock")]

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::warn;

use crate::model::text::{cut, plain};

/// How often the line of status is brought up to date, at most.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// The most of the line of status that is told, in bytes: one datagram holds much more, and a person reads less.
const STATUS_BYTES: usize = 2048;

/// Tells that the daemon reads its configuration again. [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Tells that the daemon has started, or has read its configuration again.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells that the daemon is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager cannot be told how things stand");
    }
}

/// Signs of life, as often as the service manager wants them.
#[derive(Debug)]
pub struct Heartbeat {
    /// Half of the time after which it would kill the process; `None` when it does not watch.
    every: Option<Duration>,
    next: Instant,
    /// Whether anybody reads the status.
    is_heard: bool,
    status_at: Option<Instant>,
    status: String,
}

impl Heartbeat {
    /// Begins to give signs of life as often as `$WATCHDOG_USEC` asks for, to whom `$NOTIFY_SOCKET` names.
    pub fn start() -> Self {
        Self {
            every: sd_notify::watchdog_enabled().map(|kill_after| kill_after / 2),
            next: Instant::now(),
            is_heard: std::env::var_os("NOTIFY_SOCKET").is_some(),
            status_at: None,
            status: String::new(),
        }
    }

    /// Notes that the daemon's loop has turned, and tells the service manager when that is due.
    pub fn beat(&mut self, now: Instant) {
        if let Some(every) = self.every.filter(|_| now >= self.next) {
            self.next = now + every;
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// When the daemon's loop has to turn again at the latest; `None` when nobody watches it.
    pub fn deadline(&self) -> Option<Instant> {
        self.every.map(|_| self.next)
    }

    /// Whether a line of status is due.
    pub fn wants_status(&mut self, now: Instant) -> bool {
        let is_due = self.is_heard && self.status_at.is_none_or(|at| now.duration_since(at) >= STATUS_EVERY);
        if is_due {
            self.status_at = Some(now);
        }
        is_due
    }

    /// Tells the line of status to the service manager, when it is another than the last one.
    pub fn status(&mut self, status: &str) {
        // Each line of a message is one of its own, and part of this comes from the service.
        let status = plain(status);
        let status = cut(&status, STATUS_BYTES);
        if status != self.status {
            tell(&[NotifyState::Status(&status)]);
            self.status = status.into_owned();
        }
    }
}
