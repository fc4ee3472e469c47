//! Files that are written to without growing: a program may have rewritten them, as long as before.
//!
//! Neither size nor the end of such a file need tell. When it was written last does, and then all that was read of it is
//! read again. A name that only a touch made younger costs one look at the content, and nothing else.
//!
//! *Invariant:* what is read again as another content was looked at, and is another, or is small and was written anew.

use std::time::Duration;

use bytes::Bytes;

use crate::engine::Engine;
use crate::engine::files::State;
use crate::engine::files::file::Task;
use crate::engine::files::first_bytes::FirstBytes;
use crate::engine::port::{FileId, Read};
use crate::model::content::Digest;
use crate::model::identity::{Incarnation, Seen};
use crate::model::offset::Offset;
use crate::model::settings::Format;
use crate::model::time::Instant;

use super::Chunk;

/// How long a file may be that is shipped again when it was written anew with the very same bytes, in bytes: the output of
/// a job that says the same each time. A longer one has rather been touched in place.
const MAX_SAME_BYTES: u64 = 64 * 1024;

/// How long such a file must stay as it is: while a line is being appended, the kernel tells the time of that before the
/// size.
const PATIENCE: Duration = Duration::from_millis(300);

/// After so long between two reads, a file may have been cut off and grown again.
const UNREAD_PATIENCE: Duration = Duration::from_secs(1);

impl Engine {
    /// A read reached the end of a file that was last written at `modified`, and that was `seen` before.
    pub(super) fn note_modified(
        &mut self,
        id: FileId,
        (incarnation, seen): (Incarnation, Seen),
        modified: Option<Duration>,
        now: Instant,
    ) {
        let Some(file) = self.files.get(id).filter(|file| file.task == Task::Follow(incarnation)) else {
            return;
        };
        // Where not all was taken in that was there, the file was not read to its end.
        let modified = modified.filter(|_| file.state() == State::AtEnd);
        let file = self.files.known_mut(id);
        let grew = file.times.quiet_since == now;
        let before = std::mem::replace(&mut file.end.modified, modified);
        let is_hinted = std::mem::take(&mut file.end.is_hinted);
        if grew {
            file.end.forget_doubt();
        }
        let is_written = before.zip(modified).is_some_and(|(before, modified)| before != modified);
        let is_over = file.end.partial.doubted_since.is_some_and(|since| now.since(since) >= PATIENCE);
        if is_over && !is_written && modified.is_some() {
            return self.begin_again(id, now);
        }
        if grew || !is_written || self.is_a_generation(id) || self.finishing.is_some() {
            return;
        }
        let state = self.lives.on_its_way(incarnation);
        if state.position() == Offset::ZERO && self.files.known(id).end.extent.read_end_bytes == 0 {
            return self.seek_unseen(id, Some(seen), now);
        }
        if state.position() == Offset::ZERO || state.history().provable_bytes().is_none() {
            return;
        }
        let file = self.files.known_mut(id);
        file.end.is_hinted = is_hinted;
        file.compared.digest = Digest::beginning();
        file.task = Task::Recheck(incarnation);
        self.queue_read(id);
    }

    /// The bytes before the position of a file that a look showed shorter, or before the end of what an earlier process
    /// settled.
    pub(super) fn on_confirmed(&mut self, id: FileId, incarnation: Incarnation, bytes: &[u8], now: Instant) {
        self.files.known_mut(id).task = Task::Follow(incarnation);
        let state = self.lives.on_its_way_mut(incarnation);
        if state.to_confirm().is_some() {
            // What comes before the position is asked by the next read.
            return match state.confirm(bytes) {
                true => self.queue_read(id),
                false => self.begin_again(id, now),
            };
        }
        let history = state.history();
        if bytes.len() == history.overlap() && history.continues(bytes) {
            self.queue_read(id);
        } else {
            self.begin_again(id, now);
        }
    }

    /// Part of what was read before of a file is there again.
    pub(super) fn on_rechecked(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        read: Read,
        bytes: &Bytes,
        now: Instant,
    ) {
        let history = self.lives.on_its_way(incarnation).history();
        let end = history.provable_bytes().unwrap_or_default();
        let expected = history.digest();
        let digest = &mut self.files.known_mut(id).compared.digest;
        if bytes.len() < read.len {
            return self.begin_again(id, now);
        }
        if digest.to() < end {
            let _ = digest.push(bytes);
        }
        if digest.to() < end {
            return self.queue_read(id);
        }
        let is_same = expected == Some(*digest);
        let is_small = self.lives.on_its_way(incarnation).position().bytes() <= MAX_SAME_BYTES;
        let file = self.files.known_mut(id);
        let is_hinted = std::mem::take(&mut file.end.is_hinted);
        file.compared.take();
        file.task = Task::Follow(incarnation);
        if !is_same {
            return self.begin_again(id, now);
        }
        if is_hinted && is_small {
            let since = *file.end.partial.doubted_since.get_or_insert(now);
            self.files.wait_for_more(id, (since + PATIENCE).max(now));
        }
        self.queue_read(id);
    }

    /// Whether a file of which nothing was taken in yet had more in it than there is now, or something else: it was truncated,
    /// and what was in it may be in a copy.
    pub(super) fn was_emptied(&self, id: FileId, incarnation: Incarnation, chunk: &Chunk<'_>) -> bool {
        let end = &self.files.known(id).end;
        // What lies behind the end of a drain is in it, too.
        let content = chunk.brought as u64;
        let has_less = || end.extent.had_more_than(content, content + chunk.room, chunk.modified);
        self.lives.on_its_way(incarnation).position() == Offset::ZERO
            && (chunk.reached_end() && has_less() || end.partial.first_bytes.was_replaced_by(chunk.bytes))
    }

    /// Nothing of a file was taken in but, if anything, the first lines of it just now: what it begins with is kept as long
    /// as no position says so.
    pub(super) fn note_first_bytes(&mut self, id: FileId, incarnation: Incarnation, bytes: &[u8]) {
        let first = match self.lives.on_its_way(incarnation).position() {
            Offset::ZERO => FirstBytes::of(bytes),
            _ => FirstBytes::default(),
        };
        self.files.known_mut(id).end.note_first_bytes(first);
    }

    /// Whether these are the first bytes of a file that was not read for a while: it was empty, or was written between its
    /// first look and this read, or there was no memory to read it. It may have been written to and cut off meanwhile, more than
    /// once; not so a file that tells of its last write what it told when it was found, and that nobody saw before.
    pub(super) fn waited_unread(&self, id: FileId, incarnation: Incarnation, chunk: &Chunk<'_>) -> bool {
        let (end, state) = (&self.files.known(id).end, self.lives.on_its_way(incarnation));
        let unix_time = |nanos: i64| Duration::from_nanos(u64::try_from(nanos).unwrap_or_default());
        let (since, found) = (state.whose().seen.last_nanos, self.files.known(id).times.found_nanos);
        let is_as_found = since >= found && end.extent.is_as_found(chunk.modified, unix_time(found));
        state.position() == Offset::ZERO
            && end.extent.read_end_bytes == 0
            && !chunk.bytes.is_empty()
            && (end.extent.was_empty()
                || end.extent.was_written_unread(chunk.modified)
                || chunk.unix_time.saturating_sub(unix_time(since)) > UNREAD_PATIENCE && !is_as_found)
    }

    /// Whether the first bytes of the file, and those before the position, are those of last time.
    pub(super) fn is_same_content(&self, id: FileId, incarnation: Incarnation, chunk: &Chunk<'_>) -> bool {
        let state = self.lives.on_its_way(incarnation);
        let (bytes, before, overlap) = (chunk.bytes, chunk.before, state.history().overlap());
        if !chunk.begins
            || bytes.len() < before
            || !state.history().continues(&bytes[before - overlap..before])
        {
            return false;
        }
        // At the beginning no window says so, but the lines that this incarnation named may have been others.
        let names = self.settings.sources[self.files.known(id).source.0].format != Format::Raw;
        !names || state.position() != Offset::ZERO || state.head().fingerprint().matches(bytes)
    }
}
