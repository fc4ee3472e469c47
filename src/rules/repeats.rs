//! What is told again and again: at once the first time, or the first times, and then once a minute with a count.
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
pub struct Repeats<K> {
    /// How many of a minute are told by themselves.
    at_once: u64,
    keys: BTreeMap<K, Throttled>,
}

#[derive(Clone, Copy, Debug)]
struct Throttled {
    at: Instant,
    told: u64,
    /// Events since.
    untold: u64,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self::at_once(1)
    }
}

impl<K> Repeats<K> {
    /// So many of a minute are told by themselves.
    pub const fn at_once(at_once: u64) -> Self {
        Self { at_once, keys: BTreeMap::new() }
    }
}

impl<K: Clone + Ord> Repeats<K> {
    /// An event happened. Returns whether it is to be told now; else it is counted.
    pub fn is_new(&mut self, key: K, now: Instant) -> bool {
        let throttled = self.keys.entry(key).or_insert(Throttled { at: now, told: 0, untold: 0 });
        if throttled.told < self.at_once {
            throttled.told += 1;
            return true;
        }
        throttled.untold += 1;
        false
    }

    /// So many events happened that nobody can tell one by one.
    pub fn count(&mut self, key: K, events: u64, now: Instant) {
        if events > 0 {
            self.keys.entry(key).or_insert(Throttled { at: now, told: 0, untold: 0 }).untold += events;
        }
    }

    /// The keys of which a minute is over, each with how many of its events were not told; those without are new again.
    pub fn due(&mut self, now: Instant) -> Vec<(K, u64)> {
        let over: Vec<K> = self
            .keys
            .iter()
            .filter(|(_, told)| now.since(told.at) >= EVERY)
            .map(|(key, _)| key.clone())
            .collect();
        let mut due = Vec::new();
        for key in over {
            let told = self.keys.get_mut(&key).expect("just found");
            match std::mem::take(&mut told.untold) {
                0 => {
                    self.keys.remove(&key);
                }
                untold => {
                    told.at = now;
                    told.told = self.at_once;
                    due.push((key, untold));
                }
            }
        }
        due
    }

    /// When to ask [`Repeats::due`] again.
    pub fn deadline(&self) -> Option<Instant> {
        self.keys.values().map(|told| told.at + EVERY).min()
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
    fn some_of_a_minute_are_told_by_themselves_and_all_others_counted() {
        let mut repeats = Repeats::at_once(2);
        let told: Vec<_> = (0..4).map(|second| repeats.is_new("a", at(second))).collect();
        assert_eq!(told, [true, true, false, false]);
        repeats.count("a", 40_000, at(5));
        repeats.count("b", 0, at(5));
        assert_eq!(repeats.due(at(60)), [("a", 40_002)]);
        assert!(!repeats.is_new("a", at(61)), "it goes on");
        assert_eq!(repeats.due(at(120)), [("a", 1)]);
        assert_eq!(repeats.due(at(180)), []);
        assert!(repeats.is_new("a", at(181)), "after a quiet minute");
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
