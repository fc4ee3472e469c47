//! Generations that were read to their end and are overwritten where they lie, as `shred` does before it removes a file.
//!
//! What is written over such a file is noise, and no line of anybody. A copy that a rotator makes in the place of an older
//! generation is text, and is read as another content.
//!
//! *Invariant:* bytes are passed over only in a file that a rotator has renamed, of which everything that was seen is read,
//! and whose content is gone.

use std::path::PathBuf;

use crate::engine::Engine;
use crate::engine::files::file::Name;
use crate::engine::port::FileId;
use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation};
use crate::model::settings::StreamId;
use crate::model::time::Instant;
use crate::rules::noise::is_noise;
use crate::rules::rotation::originals;

use super::Chunk;

/// How much a file grows at most that is filled up to the end of its last block, in bytes, and of what its length is a
/// multiple then.
const BLOCK_BYTES: u64 = 4096;
const SECTOR_BYTES: u64 = 512;

impl Engine {
    /// Whether a file is one that a rotator made of another: nobody writes such a file anew, but somebody may shred it.
    pub(super) fn is_a_generation(&self, id: FileId) -> bool {
        let file = self.files.known(id);
        let names = originals(file.real_path());
        let has_current =
            |name: &PathBuf| !self.files.at(name).is_empty() || self.lives.stored_at(name).next().is_some();
        file.name == Name::Lost
            // Whoever shreds a file gives it other names before it goes.
            || self.families.is_stranger(file.source, file.identity)
            || (file.kind.former.is_some() && !names.is_empty())
            || names.iter().any(has_current)
    }

    /// Whether what was read in the place of other content is noise, over a generation of which nothing is left to read.
    pub(in crate::engine) fn is_overwritten(
        &self,
        id: FileId,
        incarnation: Incarnation,
        bytes: &[u8],
    ) -> bool {
        let (file, state) = (self.files.known(id), self.lives.on_its_way(incarnation));
        let position = state.position().bytes();
        // `shred` fills the last block, too.
        let is_rounded =
            state.unread_bytes() < BLOCK_BYTES && state.seen_bytes().is_multiple_of(SECTOR_BYTES);
        position > 0
            && (state.unread_bytes() == 0 || is_rounded)
            && file.end.extent.read_end_bytes <= position
            && is_noise(bytes)
            && self.is_a_generation(id)
    }

    /// A checkpoint of a generation that an earlier process read to its end, and that is overwritten since with what begins
    /// with `head`.
    pub(in crate::engine) fn overwritten_since(
        &self,
        id: FileId,
        (file, stream): (Identity, StreamId),
        head: &[u8],
    ) -> Option<&Checkpoint> {
        let is_possible = is_noise(head) && self.is_a_generation(id);
        let mut stored = self.lives.stored_of(file, self.stream_name(stream)).filter(|_| is_possible);
        stored.find(|stored| stored.offset.bytes() > 0 && stored.unread_bytes() == 0)
    }

    /// The content that was read is no longer in the file.
    pub(super) fn on_other_content(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        chunk: &Chunk<'_>,
        now: Instant,
    ) {
        if self.is_overwritten(id, incarnation, chunk.bytes) {
            self.pass_over(id, incarnation, chunk, now);
        } else {
            self.begin_again(id, now);
        }
    }

    /// What is in the file is not looked at: it stays as far as it was read, and goes on should its content come back.
    fn pass_over(&mut self, id: FileId, incarnation: Incarnation, chunk: &Chunk<'_>, now: Instant) {
        self.lives.on_its_way_mut(incarnation).forget_seen();
        self.note_extent(incarnation, now);
        let file = self.files.known(id);
        let (source, identity) = (file.source, file.identity);
        // It is not opened again for what looks like late lines.
        self.families.note_stranger(source, identity);
        let end = &mut self.files.known_mut(id).end;
        if let Some(modified) = chunk.modified {
            end.extent.read_to_end(modified);
        }
        end.note_partial(0, 0, 0);
        end.finished |= end.began_finishing;
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::port::{Event, Hint};
    use crate::engine::samples::disk::{World, lines, told};
    use crate::engine::samples::path;

    /// What `shred` writes over so many bytes, up to the end of the last block.
    fn noise(over: usize) -> Vec<u8> {
        (0..over.next_multiple_of(4_096)).map(|place| (place * 167 % 251) as u8).collect()
    }

    #[test]
    fn a_generation_that_is_shredded_ships_nothing_and_declares_nothing() {
        for (matches_all, is_closed, is_restarted) in [
            (true, false, false),
            (false, false, false),
            (false, true, false),
            (true, false, true),
            (false, false, true),
        ] {
            let case = format!("matched {matches_all}, closed {is_closed}, restarted {is_restarted}");
            let mut world = World::new(matches_all);
            let content = lines("line", 0..500);
            world.make("app.log", &content);
            world.pass(6);
            world.rename("app.log", "app.log.1");
            world.make("app.log", &lines("next", 0..9));
            world.pass(if is_closed { 30 } else { 3 });
            drop(world.take());
            world.write_silently("app.log.1", &noise(content.len()));
            if is_restarted {
                world.restart();
            }
            world.tell(Event::Hint(Hint::Grown(path("app.log.1"))));
            world.pass(30);
            world.rename("app.log.1", "0000000");
            world.pass(6);
            assert_eq!((world.take_bytes(), &world.lost[..]), (Vec::new(), &[][..]), "{case}");
            world.remove("0000000");
            world.pass(100);
            assert_eq!((world.take_bytes(), &world.lost[..]), (Vec::new(), &[][..]), "{case}");
        }
    }

    /// The bytes before the position say the same: only the beginning says that the file is written anew.
    #[test]
    fn a_file_that_is_written_anew_past_the_position_is_another_though_its_lines_end_alike() {
        let lines = |word: &str, count: usize| -> Vec<u8> {
            let line = |number| format!("{word} {number:04} {}\n", "t".repeat(300));
            (0..count).map(line).collect::<String>().into_bytes()
        };
        let mut world = World::new(false);
        world.make("app.log", &lines("old", 20));
        world.pass(6);
        drop(world.take());
        world.write("app.log", &lines("new", 30));
        world.pass(10);
        assert_eq!(world.take(), told(&lines("new", 30)));
        assert!(world.lost.is_empty(), "{:?}", world.lost);
    }

    #[test]
    fn what_is_added_to_a_generation_or_copied_over_it_is_read() {
        for is_copied in [false, true] {
            let mut world = World::new(true);
            let content = lines("line", 0..500);
            world.make("app.log", &content);
            world.pass(6);
            world.rename("app.log", "app.log.1");
            world.make("app.log", &lines("next", 0..9));
            world.pass(6);
            drop(world.take());
            let late = if is_copied { lines("another", 0..800) } else { lines("line", 0..510) };
            world.write("app.log.1", &late);
            world.pass(10);
            let expected = if is_copied { told(&late) } else { told(&lines("line", 500..510)) };
            assert_eq!(world.take(), expected, "copied: {is_copied}");
        }
    }
}
