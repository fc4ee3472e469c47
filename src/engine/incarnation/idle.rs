//! What an incarnation is without while nothing of it waits.
//!
//! Of a hundred thousand files all but a few are idle: what only a busy one needs takes no memory of them.

use std::collections::VecDeque;

use super::across::Led;
use super::beyond::Beyond;
use super::{Arrivals, IncarnationState, Outgoing};
use crate::model::seldom::Sayable;
use crate::rules::arrivals::ArrivalTimes;

impl IncarnationState {
    /// Everything that was read is settled: nothing lies beyond the frontier.
    pub(super) fn rest(&mut self) {
        if let Some(outgoing) = self.outgoing.get_mut() {
            outgoing.beyond = Beyond::NONE;
        }
        self.outgoing.settle();
    }
}

impl Sayable for Outgoing {
    fn nothing() -> &'static Self {
        static NOTHING: Outgoing = Outgoing {
            ready: VecDeque::new(),
            returned: 0,
            extra_bytes: 0,
            outstanding: 0,
            blocked: Vec::new(),
            in_turn: false,
            is_withheld: false,
            beyond: Beyond::NONE,
            led: Led::NONE,
        };
        &NOTHING
    }

    fn is_nothing(&self) -> bool {
        let Self { ready, returned, extra_bytes, outstanding, blocked, in_turn, is_withheld, beyond, led } =
            self;
        ready.is_empty()
            && blocked.is_empty()
            && (*returned, *extra_bytes, *outstanding) == (0, 0, 0)
            && !in_turn
            && !is_withheld
            && *beyond == Beyond::NONE
            && *led == Led::NONE
    }
}

impl Sayable for Arrivals {
    fn nothing() -> &'static Self {
        static NOTHING: Arrivals = Arrivals { seen: ArrivalTimes::NONE, read: ArrivalTimes::NONE };
        &NOTHING
    }

    fn is_nothing(&self) -> bool {
        self.seen.is_empty() && self.read.is_empty()
    }
}
