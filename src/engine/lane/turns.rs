//! Whose turn it is in a lane, and whether those that have it wait for others.
//!
//! *Invariant:* what is sent again, what fills a request and what a held stream is asked with do not wait.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::incarnation::IncarnationState;
use crate::model::identity::Incarnation;
use crate::model::settings::Order;
use crate::model::time::Instant;
use crate::rules::batch::{Limits, Size};
use crate::rules::linger::Linger;

use super::{Lane, Ready};

/// Incarnations with records ready, each once.
#[derive(Debug)]
pub(super) struct Turns {
    waiting: VecDeque<Incarnation>,
    pub(super) linger: Linger,
}

impl Turns {
    /// Nobody waits yet; each record will wait for so long for others.
    pub(super) fn new(patience: Duration) -> Self {
        Self { waiting: VecDeque::new(), linger: Linger::new(patience) }
    }

    /// `state` has records ready: it waits behind the others, unless it does already.
    pub(super) fn enter(&mut self, state: &mut IncarnationState) {
        let Some(record) = state.next_ready() else { return };
        // What was read longer ago than is known has waited long enough.
        let since = state.read_at(record).unwrap_or_default();
        if state.enter_turn() {
            self.waiting.push_back(state.incarnation());
            self.linger.note(since);
        }
    }

    /// An incarnation has nothing ready any more.
    pub(super) fn forget(&mut self, incarnation: Incarnation) {
        self.waiting.retain(|waiting| *waiting != incarnation);
        if self.waiting.is_empty() {
            self.linger.clear();
        }
    }

    /// The incarnation whose turn it is.
    pub(super) fn next(&mut self) -> Option<Incarnation> {
        let next = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.linger.clear();
        }
        next
    }
}

impl Lane {
    /// Until when those whose turn it is wait for others to share their request, if they do.
    pub(super) fn linger_until(&self, lives: &mut impl Ready, now: Instant) -> Option<Instant> {
        let until = self.turns.linger.until(now)?;
        let leaves = self.circuit.open().is_some() || self.again.due(now) > 0 || self.fill_a_request(lives);
        (!leaves).then_some(until)
    }

    /// For how long records wait for others, and until when those do that are ready.
    pub(in crate::engine) fn patience(&self, now: Instant) -> (Duration, Option<Instant>) {
        (self.turns.linger.patience(), self.turns.linger.until(now))
    }

    /// Whether the next request would hold no record more than those that are ready.
    fn fill_a_request(&self, lives: &mut impl Ready) -> bool {
        let (records, bytes) = self.largest_request();
        let mut size = Size::empty(Limits::batch(records, bytes));
        for incarnation in &self.turns.waiting {
            let state = lives.ready(*incarnation);
            let a_turn = match self.settings.order {
                Order::Free => usize::MAX,
                Order::PerFile => 1,
            };
            let fit = state.all_ready().take(a_turn).all(|record| size.add(record.data.len()));
            if !fit || size.is_full() {
                return true;
            }
        }
        false
    }
}
