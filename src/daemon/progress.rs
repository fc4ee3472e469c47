//! Somebody who wants to see how far one pass over the files is.
//!
//! Knows how often a status is worth making. Used by the driver.

use std::time::Duration;

use crate::engine::{Engine, Status};
use crate::model::time::Instant;

/// How often a progress listener is told, at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// A listener, if there is one: the status of many files costs something.
pub(super) struct Progress<F> {
    tell: Option<F>,
    told: Option<Instant>,
}

impl<F: FnMut(&Status)> Progress<F> {
    pub(super) fn new(tell: Option<F>) -> Self {
        Self { tell, told: None }
    }

    pub(super) fn show(&mut self, engine: &mut Engine, now: Instant) {
        if let Some(tell) = &mut self.tell
            && self.told.is_none_or(|at| at + PROGRESS_EVERY <= now)
        {
            self.told = Some(now);
            tell(&engine.status(now));
        }
    }

    pub(super) fn finish(&mut self, status: &Status) {
        if let Some(tell) = &mut self.tell {
            tell(status);
        }
    }
}
