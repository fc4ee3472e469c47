//! What lines of all lanes together wait for: others, with which they share requests.
//!
//! Knows for how long each lane lets records wait. Does not know what is done with that: whoever reads for them may take
//! its time.

use std::time::Duration;

use crate::model::time::Instant;

use super::Streams;

/// How lines wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathering {
    /// There is a lane in which they do not.
    Unwanted,
    /// In every lane they do, for so long at least, and not in every lane there are some now.
    Welcome { patience: Duration },
    /// There are some in every lane, and the first of them wait until then: what is read before then leaves no later.
    Awaited { until: Instant, patience: Duration },
}

impl Streams {
    /// How lines wait for others in all lanes.
    pub(in crate::engine) fn gathering(&self, now: Instant) -> Gathering {
        let lanes = || self.lanes.values().map(|lane| lane.patience(now));
        let patience = lanes().map(|(patience, _)| patience).min().unwrap_or_default();
        let until = lanes().map(|(_, until)| until).min().flatten();
        match until {
            _ if patience.is_zero() => Gathering::Unwanted,
            None => Gathering::Welcome { patience },
            Some(until) => Gathering::Awaited { until, patience },
        }
    }
}
