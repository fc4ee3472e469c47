//! How much room dead letters have in the state database: a part for each stream, and the rest for whoever comes.
//!
//! Half of the room is divided evenly: each stream may always fill its part, so that a stream whose records are refused
//! by the thousand stops no other. The other half is common. Letters of streams that are no longer configured take their
//! room from the common half.
//!
//! Knows what letters take on disk, by stream. Does not know files, nor where letters are kept.
//!
//! *Invariant:* what is free of a stream's part is never given to another stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::checkpoint::DeadLetter;

/// What all dead letters together may take on disk, in bytes: above that the files that produce more stop.
pub const MAX_DEAD_LETTER_BYTES: u64 = 256 * 1024 * 1024;

/// The most of a message of the service that is kept, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// What SQLite's row of one letter takes beside texts and data, in bytes: header, numbers, and the place in its page.
const ROW_BYTES: u64 = 64;

/// SQLite's default page size, in bytes; of a page that a large row fills alone, four bytes lead to the next page.
const PAGE_BYTES: u64 = 4096;

/// A database with less free than this, in bytes, is not worth the work of making it smaller.
const MIN_FREE_BYTES: u64 = 1024 * 1024;

/// The most that is copied to make a database smaller, in bytes: commits wait meanwhile, for a fraction of a second.
const MAX_COPIED_BYTES: u64 = 16 * 1024 * 1024;

/// What a letter with so many bytes of data and texts takes on disk, in bytes: small letters share pages, and what is
/// larger than half a page has its pages to itself.
pub fn disk_bytes(content: u64) -> u64 {
    let row = content + ROW_BYTES;
    if row > PAGE_BYTES / 2 { row.div_ceil(PAGE_BYTES - 4) * PAGE_BYTES } else { row }
}

/// What a letter takes on disk, in bytes.
pub fn disk_bytes_of(letter: &DeadLetter) -> u64 {
    let DeadLetter { stream, source, path, target, offset: _, code, message, data, unmade } = letter;
    let paths = path.as_os_str().len() + target.as_ref().map_or(0, |target| target.as_os_str().len());
    let unmade = unmade.as_ref().map_or(0, |unmade| unmade.to_string().len());
    let texts = stream.len() + source.len() + paths + code.len() + message.len() + unmade;
    disk_bytes((texts + data.len()) as u64)
}

/// A text of the service as it is kept: at most [`MAX_MESSAGE_BYTES`], cut between characters.
pub fn cut_message(text: &Arc<str>) -> Arc<str> {
    if text.len() <= MAX_MESSAGE_BYTES {
        return Arc::clone(text);
    }
    text[..text.floor_char_boundary(MAX_MESSAGE_BYTES)].into()
}

/// Whether a database of so many bytes, `free` of them unused, is to be copied into a smaller one.
pub fn is_worth_shrinking(bytes: u64, free: u64) -> bool {
    free >= MIN_FREE_BYTES && bytes.saturating_sub(free) <= MAX_COPIED_BYTES
}

/// What dead letters take, and what is left for each stream.
#[derive(Clone, Debug)]
pub struct Room {
    max: u64,
    streams: BTreeSet<Arc<str>>,
    /// By stream, in bytes on disk; also of streams that are not configured.
    taken: BTreeMap<Arc<str>, u64>,
}

impl Room {
    /// A room of [`MAX_DEAD_LETTER_BYTES`] for these streams, of which so much is taken.
    pub fn new(streams: impl IntoIterator<Item = Arc<str>>, taken: BTreeMap<Arc<str>, u64>) -> Self {
        Self { max: MAX_DEAD_LETTER_BYTES, streams: streams.into_iter().collect(), taken }
    }

    /// Other streams have parts from now on. What is taken stays, though it may be more than is allowed.
    pub fn change(&mut self, streams: impl IntoIterator<Item = Arc<str>>) {
        self.streams = streams.into_iter().collect();
    }

    /// Whether a letter of this stream that takes so many bytes on disk has room.
    pub fn fits(&self, stream: &str, bytes: u64) -> bool {
        let before = self.taken.get(stream).copied().unwrap_or_default();
        let more = self.beyond(stream, before + bytes) - self.beyond(stream, before);
        let common: u64 = self.taken.iter().map(|(stream, taken)| self.beyond(stream, *taken)).sum();
        let parts = self.part() * self.streams.len() as u64;
        more == 0 || common + more <= self.max - parts
    }

    /// A letter of this stream is kept.
    pub fn take(&mut self, stream: &Arc<str>, bytes: u64) {
        *self.taken.entry(Arc::clone(stream)).or_default() += bytes;
    }

    /// Letters of this stream are deleted.
    pub fn free(&mut self, stream: &str, bytes: u64) {
        if let Some(taken) = self.taken.get_mut(stream) {
            *taken = taken.saturating_sub(bytes);
        }
        self.taken.retain(|_, taken| *taken > 0);
    }

    /// What all letters take on disk, in bytes.
    pub fn taken(&self) -> u64 {
        self.taken.values().sum()
    }

    /// What each configured stream may always take, in bytes.
    fn part(&self) -> u64 {
        self.max / 2 / (self.streams.len().max(1) as u64)
    }

    /// What a stream that takes so much in all takes of the common half.
    fn beyond(&self, stream: &str, taken: u64) -> u64 {
        let part = if self.streams.contains(stream) { self.part() } else { 0 };
        taken.saturating_sub(part)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(stream: usize) -> Arc<str> {
        format!("stream-{stream}").into()
    }

    fn room(max: u64, streams: usize) -> Room {
        Room { max, ..Room::new((0..streams).map(name), BTreeMap::new()) }
    }

    fn fill(room: &mut Room, stream: usize) -> u64 {
        let mut filled = 0;
        while room.fits(&name(stream), 1) {
            room.take(&name(stream), 1);
            filled += 1;
        }
        filled
    }

    #[test]
    fn a_letter_takes_its_row_or_whole_pages() {
        for (content, expected) in [
            (0, 64),
            (100, 164),
            (1984, 2048),
            (1985, 4096),
            (4028, 4096),
            (4029, 8192),
            (1 << 20, 1_052_672),
        ] {
            assert_eq!(disk_bytes(content), expected, "{content}");
        }
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let long: Arc<str> = format!("{}é", "x".repeat(MAX_MESSAGE_BYTES - 1)).into();
        assert_eq!(cut_message(&long).len(), MAX_MESSAGE_BYTES - 1);
        let fits: Arc<str> = format!("{}é", "x".repeat(MAX_MESSAGE_BYTES - 2)).into();
        assert_eq!(cut_message(&fits), fits);
    }

    #[test]
    fn a_database_is_made_smaller_where_much_is_free_and_little_is_to_be_copied() {
        const MIB: u64 = 1 << 20;
        for (bytes, free, expected) in [
            (10 * MIB, MIB - 1, false),
            (10 * MIB, MIB, true),
            (256 * MIB, 255 * MIB, true),
            (256 * MIB, 240 * MIB, true),
            (256 * MIB, 200 * MIB, false),
        ] {
            assert_eq!(is_worth_shrinking(bytes, free), expected, "{free} of {bytes}");
        }
    }

    #[test]
    fn one_stream_alone_may_fill_all_of_it() {
        assert_eq!(fill(&mut room(100, 1), 0), 100);
        let whole = Room::new([name(0)], BTreeMap::from([(name(0), MAX_DEAD_LETTER_BYTES - 10)]));
        assert!(whole.fits("stream-0", 10) && !whole.fits("stream-0", 11));
    }

    #[test]
    fn a_stream_that_fills_all_it_can_leaves_the_others_their_parts() {
        let mut room = room(100, 5);
        assert_eq!(fill(&mut room, 0), 60, "its part and the common half");
        for other in 1..5 {
            assert_eq!(fill(&mut room, other), 10);
        }
        room.free("stream-0", 5);
        assert_eq!(fill(&mut room, 3), 5, "what is free of the common half is for whoever comes");
        assert_eq!(room.taken(), 100);
    }

    #[test]
    fn letters_of_a_stream_that_is_gone_take_the_common_half() {
        let mut room = room(100, 2);
        assert_eq!(fill(&mut room, 9), 50);
        assert_eq!([fill(&mut room, 0), fill(&mut room, 1)], [25, 25]);
        room.change((0..10).map(name));
        assert_eq!(
            fill(&mut room, 2),
            5,
            "a stream that is new has its part, though others take more than theirs"
        );
    }

    proptest! {
        #[test]
        fn all_together_stay_within_the_room_and_each_stream_keeps_its_part(
            streams in 1usize..6,
            steps in prop::collection::vec((0usize..8, 1u64..40, prop::bool::ANY), 0..200),
        ) {
            let mut room = room(200, streams);
            for (stream, bytes, frees) in steps {
                let stream = name(stream);
                if frees {
                    room.free(&stream, bytes);
                } else if room.fits(&stream, bytes) {
                    room.take(&stream, bytes);
                }
                prop_assert!(room.taken() <= 200);
                for stream in (0..streams).map(name) {
                    let free = room.part().saturating_sub(room.taken.get(&stream).copied().unwrap_or_default());
                    prop_assert!(room.fits(&stream, free));
                }
            }
        }
    }
}
