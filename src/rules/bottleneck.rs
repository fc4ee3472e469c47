//! Whether lines wait for the quota of requests alone, so that batches would carry them.
//!
//! `PutRecord` spends one request on each record. When that quota is what lines wait for, and records and bytes have
//! room, the operator has a choice to make; one who is not told sees only that lines are late.
//!
//! Knows moments at which it was so. Does not know the quotas.
//!
//! *Invariant:* said only of what lasts, and at most once in ten minutes.

use std::time::Duration;

use crate::model::time::Instant;

/// A burst that is over by then needs no advice.
const LASTS: Duration = Duration::from_secs(10);

/// So long without it, and it is over.
const OVER: Duration = Duration::from_secs(5);

/// How often it is worth a line in the log.
const SAID_EVERY: Duration = Duration::from_secs(600);

/// How long it has been so.
#[derive(Clone, Debug, Default)]
pub struct Bottleneck {
    /// From when to when.
    seen: Option<(Instant, Instant)>,
    said: Option<Instant>,
}

impl Bottleneck {
    /// Lines wait for requests alone now. Returns whether that is to be said.
    pub fn saw(&mut self, now: Instant) -> bool {
        let since = self.seen.filter(|(_, last)| now.since(*last) < OVER).map_or(now, |(since, _)| since);
        self.seen = Some((since, now));
        let due = self.said.is_none_or(|said| now.since(said) >= SAID_EVERY);
        let say = due && self.lasts(now);
        if say {
            self.said = Some(now);
        }
        say
    }

    /// Whether it is so, and not just for a moment.
    pub fn lasts(&self, now: Instant) -> bool {
        self.seen.is_some_and(|(since, last)| now.since(last) < OVER && last.since(since) >= LASTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    #[test]
    fn what_lasts_is_said_once_in_ten_minutes() {
        let mut bottleneck = Bottleneck::default();
        let said: Vec<_> = (1..1500).filter(|second| bottleneck.saw(at(*second))).collect();
        assert_eq!(said, [11, 611, 1211]);
    }

    #[test]
    fn bursts_are_not_worth_a_word_and_an_end_is_noticed() {
        let mut bottleneck = Bottleneck::default();
        for minute in 0..60 {
            assert!((0..9).all(|second| !bottleneck.saw(at(minute * 60 + second))));
        }
        let said = (4000..4020).filter(|second| bottleneck.saw(at(*second))).count();
        assert_eq!(said, 1);
        assert!(bottleneck.lasts(at(4021)));
        assert!(!bottleneck.lasts(at(4030)));
    }
}
