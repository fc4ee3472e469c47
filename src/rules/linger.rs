//! How long a record waits for others to share its request.
//!
//! A request costs the same whether one record is in it or many. Where a request can hold many, the first record that is
//! ready waits a little for the next ones.
//!
//! Knows since when records are ready. Does not know how many there are, nor why a request may have to leave sooner: one
//! that is full, or that takes records along that are sent again.
//!
//! *Invariant:* no record waits for longer than it was told to from when it was ready; in a drain none waits.

use std::time::Duration;

use crate::model::time::Instant;

/// How long those wait that are ready in one stream.
#[derive(Clone, Copy, Debug)]
pub struct Linger {
    patience: Duration,
    /// When the first of the records became ready that wait.
    since: Option<Instant>,
    is_over: bool,
}

impl Linger {
    /// No record is ready yet; each will wait for so long.
    pub fn new(patience: Duration) -> Self {
        Self { patience, since: None, is_over: false }
    }

    /// Each record waits for so long from now on, those that are ready among them.
    pub fn change(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// A drain has begun: nothing waits for what does not come any more.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// How long a record waits.
    pub fn patience(&self) -> Duration {
        if self.is_over { Duration::ZERO } else { self.patience }
    }

    /// A record waits that became ready at `since`.
    pub fn note(&mut self, since: Instant) {
        self.since = Some(self.since.map_or(since, |first| first.min(since)));
    }

    /// No record waits any more.
    pub fn clear(&mut self) {
        self.since = None;
    }

    /// Until when those that are ready wait for others, if they still do.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let until = self.since.filter(|_| !self.is_over)? + self.patience;
        (now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::at(Duration::from_millis(millis))
    }

    #[test]
    fn records_wait_for_so_long_from_when_the_first_of_them_was_ready() {
        let none = &[][..];
        let table = [
            // patience, ready at, now, until
            (5, none, 0, None),
            (5, &[10], 10, Some(15)),
            (5, &[10], 14, Some(15)),
            (5, &[10], 15, None),
            (5, &[10], 99, None),
            (5, &[10, 14], 14, Some(15)),
            (5, &[14, 10], 14, Some(15)),
            (0, &[10], 10, None),
            (1000, &[10], 1009, Some(1010)),
        ];
        for (patience, ready, now, until) in table {
            let mut linger = Linger::new(Duration::from_millis(patience));
            ready.iter().for_each(|at| linger.note(ms(*at)));
            assert_eq!(linger.until(ms(now)), until.map(ms), "{patience} ms, {ready:?} at {now}");
        }
    }

    #[test]
    fn who_comes_after_all_have_left_waits_anew() {
        let mut linger = Linger::new(Duration::from_millis(5));
        linger.note(ms(10));
        linger.clear();
        assert_eq!(linger.until(ms(12)), None);
        linger.note(ms(12));
        assert_eq!(linger.until(ms(16)), Some(ms(17)));
    }

    #[test]
    fn another_patience_holds_for_those_that_are_ready_and_a_drain_ends_it() {
        let mut linger = Linger::new(Duration::from_millis(5));
        linger.note(ms(10));
        linger.change(Duration::from_millis(20));
        assert_eq!(linger.until(ms(16)), Some(ms(30)));
        linger.change(Duration::ZERO);
        assert_eq!(linger.until(ms(16)), None);
        linger.change(Duration::from_millis(20));
        assert_eq!(linger.patience(), Duration::from_millis(20));
        linger.end();
        assert_eq!(linger.until(ms(16)), None);
        assert_eq!(linger.patience(), Duration::ZERO);
    }
}
