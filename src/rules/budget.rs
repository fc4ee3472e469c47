//! Who may hold how much of what was read: a part for each stream, and the rest for whoever comes.
//!
//! Half of the memory budget is divided evenly: each stream may always hold its part, so that one whose service is down
//! never keeps another from being read. The other half is common. Of a single file never more than its own bound is
//! held.
//!
//! Knows bytes held by stream. Does not know files or records.
//!
//! *Invariant (L6):* all streams together hold at most the budget, and what is free of a stream's part is never given to
//! another.

use crate::model::settings::{MemorySettings, StreamId};

/// How much is worth a read for requests of its own, in bytes: a full one of lines of 130 bytes. With 256 KiB, one file cost a
/// tenth more.
const WORTH_READING_BYTES: u64 = 64 * 1024;

/// How the memory budget is used.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: MemorySettings,
    streams: Vec<Held>,
    /// What the streams hold beyond their parts, together, in bytes.
    common: u64,
    /// What is held for no stream's reading, in bytes: it takes its room from the common half.
    other: u64,
}

/// What one stream holds, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Read and not settled.
    buffered: u64,
    /// What reads under way may bring.
    reserved: u64,
}

impl Held {
    fn total(self) -> u64 {
        self.buffered + self.reserved
    }
}

impl Budget {
    /// Nothing is held, for so many streams.
    pub fn new(settings: MemorySettings, streams: usize) -> Self {
        Self { settings, streams: vec![Held::default(); streams], common: 0, other: 0 }
    }

    /// Another budget, or more streams. What is held stays, though it may be more than is allowed from now on.
    pub fn change(&mut self, settings: MemorySettings, streams: usize) {
        self.settings = settings;
        self.streams.resize_with(streams.max(self.streams.len()), Held::default);
        let part = self.part();
        self.common = self.streams.iter().map(|held| held.total().saturating_sub(part)).sum();
    }

    /// What each stream may always hold, in bytes.
    fn part(&self) -> u64 {
        self.settings.buffer / 2 / (self.streams.len().max(1) as u64)
    }

    /// How much room is worth a read while answers will make more, in bytes. Where a stream may hold little, it is a quarter of
    /// that, so that a file is read while most of it is under way.
    pub fn worth_reading(&self) -> u64 {
        WORTH_READING_BYTES.min(self.part().min(self.settings.buffer_per_file) / 4)
    }

    /// What is held, in bytes, without what reads under way may bring.
    pub fn buffered(&self) -> u64 {
        self.streams.iter().map(|held| held.buffered).sum()
    }

    /// Whether a read of `len` bytes may begin for this stream, of a file of which `of_file` bytes are held.
    ///
    /// A read is always allowed into what is free of the stream's part, and else into what is free of the common half.
    pub fn admits(&self, stream: StreamId, of_file: u64, len: u64) -> bool {
        self.fits_into_file(of_file, len) && self.fits(stream, len)
    }

    /// Whether one file may hold so many bytes more.
    pub fn fits_into_file(&self, of_file: u64, len: u64) -> bool {
        of_file + len <= self.settings.buffer_per_file
    }

    /// How many bytes more this stream may hold now, of a file of which `of_file` bytes are held.
    pub fn room(&self, stream: StreamId, of_file: u64) -> u64 {
        let part = self.part();
        let parts = part * self.streams.len() as u64;
        let own = part.saturating_sub(self.streams[stream.0].total());
        let common = (self.settings.buffer - parts).saturating_sub(self.common + self.other);
        (own + common).min(self.settings.buffer_per_file.saturating_sub(of_file))
    }

    fn fits(&self, stream: StreamId, len: u64) -> bool {
        let part = self.part();
        let parts = part * self.streams.len() as u64;
        let held = self.streams[stream.0].total();
        let more = (held + len).saturating_sub(part) - held.saturating_sub(part);
        more == 0 || self.common + self.other + more <= self.settings.buffer - parts
    }

    /// So much is held beside what was read for streams, in bytes.
    pub fn note_other(&mut self, bytes: u64) {
        self.other = bytes;
    }

    /// A read of `len` bytes begins.
    pub fn reserve(&mut self, stream: StreamId, len: u64) {
        self.update(stream, |held| held.reserved += len);
    }

    /// A read of `len` bytes has ended: what came of it is charged with [`charge`](Self::charge).
    pub fn release(&mut self, stream: StreamId, len: u64) {
        self.update(stream, |held| held.reserved -= len);
    }

    /// A stream's incarnation held `before` bytes and holds `after` now.
    pub fn charge(&mut self, stream: StreamId, (before, after): (u64, u64)) {
        self.update(stream, |held| held.buffered = held.buffered + after - before);
    }

    fn update(&mut self, stream: StreamId, change: impl FnOnce(&mut Held)) {
        let part = self.part();
        let held = &mut self.streams[stream.0];
        let before = held.total().saturating_sub(part);
        change(held);
        self.common = self.common + held.total().saturating_sub(part) - before;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(buffer: u64, streams: usize) -> Budget {
        Budget::new(MemorySettings { buffer, buffer_per_file: buffer }, streams)
    }

    #[test]
    fn what_is_worth_a_read_is_a_part_of_what_a_stream_may_always_hold() {
        let settings = |buffer_per_file| MemorySettings { buffer: 64 << 20, buffer_per_file };
        for (streams, buffer_per_file, worth) in
            [(1, 8 << 20, 64 << 10), (128, 8 << 20, 64 << 10), (1024, 8 << 20, 8 << 10), (1, 4096, 1024)]
        {
            assert_eq!(Budget::new(settings(buffer_per_file), streams).worth_reading(), worth);
        }
    }

    #[test]
    fn one_stream_alone_may_hold_all_of_it() {
        let mut budget = budget(100, 1);
        budget.charge(StreamId(0), (0, 90));
        assert!(budget.admits(StreamId(0), 0, 10) && !budget.admits(StreamId(0), 0, 11));
    }

    #[test]
    fn a_stream_that_takes_all_it_can_leaves_the_others_their_parts() {
        let mut budget = budget(100, 5);
        while budget.admits(StreamId(0), 0, 1) {
            budget.charge(StreamId(0), (0, 1));
        }
        assert_eq!(budget.buffered(), 60, "its part and the common half");
        for other in 1..5 {
            assert!(budget.admits(StreamId(other), 0, 10) && !budget.admits(StreamId(other), 0, 11));
        }
    }

    #[test]
    fn a_file_has_its_own_bound() {
        let settings = MemorySettings { buffer: 100, buffer_per_file: 20 };
        let budget = Budget::new(settings, 1);
        assert!(budget.admits(StreamId(0), 15, 5) && !budget.admits(StreamId(0), 15, 6));
    }

    #[test]
    fn more_streams_make_smaller_parts() {
        let mut budget = budget(100, 1);
        budget.charge(StreamId(0), (0, 50));
        budget.change(MemorySettings { buffer: 100, buffer_per_file: 100 }, 2);
        assert!(budget.admits(StreamId(1), 0, 50) && !budget.admits(StreamId(1), 0, 51));
        assert!(budget.admits(StreamId(0), 0, 25) && !budget.admits(StreamId(0), 0, 26));
    }

    proptest! {
        /// L6 and L15: whatever is admitted, the budget holds, and every stream may still fill its part.
        #[test]
        fn l6_all_together_stay_within_the_budget_and_each_stream_keeps_its_part(
            streams in 1usize..6,
            steps in prop::collection::vec((0usize..6, 1u64..40, prop::bool::ANY), 0..200),
        ) {
            let mut budget = budget(200, streams);
            let mut held = vec![0; streams];
            for (stream, len, frees) in steps {
                let stream = stream % streams;
                let id = StreamId(stream);
                if frees {
                    let len = len.min(held[stream]);
                    budget.charge(id, (len, 0));
                    held[stream] -= len;
                } else if budget.admits(id, 0, len) {
                    budget.reserve(id, len);
                    budget.release(id, len);
                    budget.charge(id, (0, len));
                    held[stream] += len;
                }
                prop_assert!(held.iter().sum::<u64>() <= 200);
                let room = budget.room(id, 0);
                prop_assert!(budget.admits(id, 0, room) && !budget.admits(id, 0, room + 1));
                let part = 100 / streams as u64;
                for (stream, held) in held.iter().enumerate() {
                    let free = part.saturating_sub(*held);
                    prop_assert!(free == 0 || budget.admits(StreamId(stream), 0, free));
                }
            }
        }
    }
}
