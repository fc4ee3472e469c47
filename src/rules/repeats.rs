//! What is told again and again: at once the first time, and then once a minute with a count.
//!
//! Knows keys and times. Does not know what is told; who asks writes the lines.
//!
//! *Invariant:* every event is told by itself or counted in a later line.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::time::Instant;

/// How often one key is told, at most.
const EVERY: Duration = Duration::from_secs(60);

/// Keys that were told within the last minute.
#[derive(Clone, Debug)]
pub struct Repeats<K>(BTreeMap<K, Throttled>);

#[derive(Clone, Copy, Debug)]
struct Throttled {
    at: Instant,
    /// Events since.
    untold: u64,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Clone + Ord> Repeats<K> {
    /// An event happened. Returns whether it is to be told now; else it is counted.
    pub fn is_new(&mut self, key: K, now: Instant) -> bool {
        match self.0.get_mut(&key) {
            Some(told) => {
                told.untold += 1;
                false
            }
            None => {
                self.0.insert(key, Throttled { at: now, untold: 0 });
                true
            }
        }
    }

    /// The keys of which a minute is over, each with how many of its events were not told; those without are new again.
    pub fn due(&mut self, now: Instant) -> Vec<(K, u64)> {
        let over: Vec<K> = self
            .0
            .iter()
            .filter(|(_, told)| now.since(told.at) >= EVERY)
            .map(|(key, _)| key.clone())
            .collect();
        let mut due = Vec::new();
        for key in over {
            let told = self.0.get_mut(&key).expect("just found");
            match std::mem::take(&mut told.untold) {
                0 => {
                    self.0.remove(&key);
                }
                untold => {
                    told.at = now;
                    due.push((key, untold));
                }
            }
        }
        due
    }

    /// When to ask [`Repeats::due`] again.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().map(|told| told.at + EVERY).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_a_minute_with_their_count() {
        let mut repeats = Repeats::default();
        assert!(repeats.is_new("a", at(0)));
        for second in 0..60 {
            assert!(!repeats.is_new("a", at(second)));
            assert_eq!(repeats.due(at(second)), []);
        }
        assert!(repeats.is_new("b", at(30)), "each key by itself");
        assert_eq!(repeats.deadline(), Some(at(60)));
        assert_eq!(repeats.due(at(60)), [("a", 60)]);
        assert!(!repeats.is_new("a", at(61)));
        assert_eq!(repeats.due(at(120)), [("a", 1)]);
    }

    #[test]
    fn what_was_quiet_for_a_minute_is_new_again() {
        let mut repeats = Repeats::default();
        assert!(repeats.is_new("a", at(0)));
        assert_eq!(repeats.due(at(60)), []);
        assert_eq!(repeats.deadline(), None);
        assert!(repeats.is_new("a", at(61)));
    }
}
