//! What was accepted and is not delivered yet.
//!
//! Collects a delivery stream's records into chunks, by size and age, and says which chunk is to be delivered
//! when; one at a time, so that the destination holds the records in order of acceptance. Keeps what the
//! destination refuses for 24 hours. Knows no clock and no file: called by `stream`.
//!
//! *Invariant:* every accepted byte is in exactly one place: the open chunk, a sealed chunk, or settled
//! (delivered, or dropped after 24 hours).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::ids::{Kept, Labels};
use super::limits::RETENTION;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// When records are delivered: as soon as either is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffering {
    /// Age of the oldest record at which a chunk is delivered.
    pub interval: Duration,
    /// Bytes at which a chunk is delivered. A chunk is larger by at most one request.
    pub size: u64,
}

/// Some records to be delivered together: one file at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Counted from 0 in this buffer's life.
    pub number: u64,
    /// The records' bytes, concatenated.
    pub data: Bytes,
    /// The records' IDs, in the order of the data.
    pub labels: Vec<Labels>,
    pub records: u64,
    /// When the oldest record was accepted, since the server began.
    pub accepted_at: Duration,
}

/// What becomes of a chunk that the destination refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The chunk is tried again.
    Kept,
    /// The chunk waited for 24 hours, and is gone.
    Dropped(Chunk),
}

/// One delivery stream's buffer.
#[derive(Debug)]
pub(super) struct Buffer {
    rule: Buffering,
    open: Vec<u8>,
    open_labels: Vec<Labels>,
    open_records: u64,
    /// When the first record of the open chunk was accepted.
    opened_at: Duration,
    /// Oldest first.
    sealed: VecDeque<Chunk>,
    /// The first sealed chunk is being delivered.
    under_way: bool,
    /// Attempts that failed since the last success or flush.
    failures: u32,
    retry_at: Duration,
    held_bytes: u64,
    /// How many chunks were ever sealed, and how many of them are settled.
    sealed_count: u64,
    settled_count: u64,
}

impl Buffer {
    pub(super) fn new(rule: Buffering) -> Self {
        Self {
            rule,
            open: Vec::new(),
            open_labels: Vec::new(),
            open_records: 0,
            opened_at: Duration::ZERO,
            sealed: VecDeque::new(),
            under_way: false,
            failures: 0,
            retry_at: Duration::ZERO,
            held_bytes: 0,
            sealed_count: 0,
            settled_count: 0,
        }
    }

    /// Takes accepted records; says which chunk they are in.
    pub(super) fn push(&mut self, kept: &Kept, now: Duration) -> u64 {
        let number = self.sealed_count;
        if self.open_records == 0 {
            self.opened_at = now;
        }
        self.open.extend_from_slice(&kept.data);
        self.open_labels.push(kept.labels.clone());
        self.open_records += kept.labels.lengths.len() as u64;
        self.held_bytes += kept.data.len() as u64;
        if self.open.len() as u64 >= self.rule.size {
            self.seal();
        }
        number
    }

    /// Makes everything accepted so far due at once, also after failures; says up to which chunk that reaches.
    pub(super) fn flush(&mut self) -> u64 {
        self.seal();
        self.failures = 0;
        self.retry_at = Duration::ZERO;
        self.sealed_count
    }

    /// Closes the open chunk, so that it is delivered next.
    fn seal(&mut self) {
        if self.open_records > 0 {
            self.sealed.push_back(Chunk {
                number: self.sealed_count,
                data: Bytes::from(std::mem::take(&mut self.open)),
                labels: std::mem::take(&mut self.open_labels),
                records: std::mem::take(&mut self.open_records),
                accepted_at: self.opened_at,
            });
            self.sealed_count += 1;
        }
    }

    /// The chunk to deliver now, if any. Answered by [`Buffer::delivered`] or [`Buffer::refused`].
    pub(super) fn next(&mut self, now: Duration) -> Option<Chunk> {
        if self.deadline().is_none_or(|due| due > now) {
            return None;
        }
        if self.sealed.is_empty() {
            self.seal();
        }
        self.under_way = true;
        self.sealed.front().cloned()
    }

    /// When to ask [`Buffer::next`] again; `None` while a delivery is under way or nothing waits.
    pub(super) fn deadline(&self) -> Option<Duration> {
        if self.under_way {
            None
        } else if !self.sealed.is_empty() {
            Some(self.retry_at)
        } else if self.open_records > 0 {
            Some(self.opened_at + self.rule.interval)
        } else {
            None
        }
    }

    /// The chunk under way is durable at the destination.
    pub(super) fn delivered(&mut self) -> Chunk {
        self.failures = 0;
        self.retry_at = Duration::ZERO;
        self.settle()
    }

    /// The destination refused the chunk under way.
    pub(super) fn refused(&mut self, now: Duration) -> Refused {
        assert!(self.under_way, "a chunk is refused only while it is under way");
        self.retry_at = now + pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        let oldest = self.sealed.front().expect("the chunk under way is the first sealed one");
        if now.saturating_sub(oldest.accepted_at) >= RETENTION {
            return Refused::Dropped(self.settle());
        }
        self.under_way = false;
        Refused::Kept
    }

    fn settle(&mut self) -> Chunk {
        assert!(self.under_way, "a chunk is settled only while it is under way");
        let chunk = self.sealed.pop_front().expect("the chunk under way is the first sealed one");
        self.under_way = false;
        self.settled_count += 1;
        self.held_bytes -= chunk.data.len() as u64;
        chunk
    }

    /// The bytes of all records that are accepted and not settled.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Whether everything accepted is settled.
    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open_records == 0
    }

    /// How many chunks are settled, of those that [`Buffer::flush`] counts.
    pub(super) fn settled_count(&self) -> u64 {
        self.settled_count
    }
}

/// How long to wait after `failures` failures before this one: doubled each time.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2u32.saturating_pow(failures)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Buffering = Buffering { interval: Duration::from_secs(1), size: 10 };

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn records_are_buffered_before_they_are_delivered() {
        let mut buffer = Buffer::new(RULE);
        buffer.push(&Kept::of(0, &["abc"]), ms(100));
        buffer.push(&Kept::of(0, &["def"]), ms(600));
        assert_eq!(buffer.next(ms(1_099)), None);
        assert_eq!(buffer.deadline(), Some(ms(1_100)));

        let chunk = buffer.next(ms(1_100)).expect("the oldest record is one interval old");
        assert_eq!((&chunk.data[..], chunk.records), (&b"abcdef"[..], 2));
        assert_eq!(buffer.delivered(), chunk);
        assert!(buffer.is_empty());
        assert_eq!(buffer.deadline(), None);
    }

    #[test]
    fn a_full_buffer_is_delivered_at_once() {
        let mut buffer = Buffer::new(RULE);
        assert_eq!(buffer.push(&Kept::of(0, &["0123456789"]), ms(100)), 0);
        assert_eq!(buffer.push(&Kept::of(0, &["x"]), ms(100)), 1, "the next chunk");
        assert_eq!(buffer.next(ms(100)).expect("it is full").data, &b"0123456789"[..]);
    }

    #[test]
    fn one_chunk_is_under_way_at_a_time() {
        let mut buffer = Buffer::new(RULE);
        buffer.push(&Kept::of(0, &["0123456789"]), ms(0));
        buffer.push(&Kept::of(0, &["9876543210"]), ms(0));
        assert!(buffer.next(ms(0)).is_some());
        assert_eq!(buffer.next(ms(5_000)), None);
        assert_eq!(buffer.held_bytes(), 20);
        buffer.delivered();
        assert_eq!(buffer.next(ms(5_000)).expect("the second").data, &b"9876543210"[..]);
        assert_eq!(buffer.held_bytes(), 10);
    }

    #[test]
    fn a_record_without_bytes_is_delivered_too() {
        let mut buffer = Buffer::new(RULE);
        buffer.push(&Kept::of(0, &[""]), ms(0));
        assert!(!buffer.is_empty());
        assert_eq!(buffer.next(ms(1_000)).expect("it is due").records, 1);
    }

    #[test]
    fn the_pause_doubles_up_to_30_seconds() {
        assert_eq!(pause(0), ms(100));
        assert_eq!(pause(3), ms(800));
        assert_eq!(pause(9), ms(30_000));
        assert_eq!(pause(u32::MAX), ms(30_000));
    }

    #[test]
    fn records_are_stored_for_24_hours_while_the_destination_is_unreachable() {
        let mut buffer = Buffer::new(RULE);
        let accepted_at = ms(7);
        buffer.push(&Kept::of(0, &["patient!!!"]), accepted_at);
        let mut now = accepted_at;
        loop {
            now = buffer.deadline().expect("it waits").max(now);
            assert!(buffer.next(now).is_some());
            match buffer.refused(now) {
                Refused::Kept => assert!(now < accepted_at + RETENTION, "kept for 24 hours, not longer"),
                Refused::Dropped(chunk) => {
                    assert_eq!(chunk.data, &b"patient!!!"[..]);
                    break;
                }
            }
        }
        assert!(now >= accepted_at + RETENTION && now <= accepted_at + RETENTION + MAX_PAUSE);
        assert!(buffer.is_empty());
        assert_eq!(buffer.held_bytes(), 0);
    }

    #[test]
    fn a_destination_that_comes_back_gets_everything_in_order() {
        let mut buffer = Buffer::new(RULE);
        buffer.push(&Kept::of(0, &["first 0123"]), ms(0));
        assert!(buffer.next(ms(0)).is_some());
        assert_eq!(buffer.refused(ms(0)), Refused::Kept);
        buffer.push(&Kept::of(0, &["second 012"]), ms(50));
        assert_eq!(buffer.next(ms(99)), None, "the pause is not over");
        assert_eq!(buffer.next(ms(100)).expect("it is").data, &b"first 0123"[..]);
        buffer.delivered();
        assert_eq!(buffer.next(ms(100)).expect("no pause after a success").data, &b"second 012"[..]);
    }

    #[test]
    fn a_flush_says_how_far_it_reaches() {
        let mut buffer = Buffer::new(RULE);
        assert_eq!(buffer.flush(), 0);
        buffer.push(&Kept::of(0, &["a"]), ms(0));
        assert_eq!(buffer.flush(), 1);
        assert_eq!(buffer.settled_count(), 0);
        assert!(buffer.next(ms(0)).is_some(), "flushed means due");
        buffer.delivered();
        assert_eq!(buffer.settled_count(), 1);
    }

    #[test]
    fn a_flush_does_not_wait_for_the_pause_after_a_failure() {
        let mut buffer = Buffer::new(RULE);
        buffer.push(&Kept::of(0, &["0123456789"]), ms(0));
        for _ in 0..9 {
            let due = buffer.deadline().unwrap();
            assert!(buffer.next(due).is_some());
            buffer.refused(due);
        }
        assert!(buffer.deadline().unwrap() > ms(30_000));
        buffer.flush();
        assert!(buffer.next(ms(0)).is_some());
    }
}
