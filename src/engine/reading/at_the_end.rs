//! Sources that start at the end: where a file that was there at the first start is read from.
//!
//! Knows the last bytes of a file. Does not know which files were there.
//!
//! *Invariant:* reading starts behind a line end, or at the beginning of the file.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::Engine;
use crate::engine::files::file::Task;
use crate::engine::port::{FileId, Read};
use crate::engine::report::{Report, Start};
use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Incarnation, Window};
use crate::model::offset::Offset;
use crate::model::time::Instant;
use crate::rules::history::{Head, History};

/// How far back from the end of a file its last line end is looked for, in bytes: as long as a line may be at most.
const MAX_FIND_END_BYTES: u64 = 64 * 1024 * 1024;

impl Engine {
    /// The first start of a source that starts at the end: right after the last newline.
    pub(super) fn on_end_found(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        read: Read,
        bytes: &Bytes,
        now: Instant,
    ) {
        let newline = memchr::memrchr(b'\n', bytes);
        let searched = read.len as u64;
        if newline.is_none()
            && bytes.len() == read.len
            && read.at > Offset::ZERO
            && searched < MAX_FIND_END_BYTES
        {
            let (end, within) = (read.at.plus(searched), (searched * 4).min(MAX_FIND_END_BYTES));
            self.files.known_mut(id).task = Task::FindEnd { incarnation, end, within };
            return self.queue_read(id);
        }
        // A file without any line end so far is one long line: it is read from its beginning.
        let keep = match newline {
            Some(newline) => newline + 1,
            None if read.at == Offset::ZERO => 0,
            None => bytes.len(),
        };
        let position = read.at.plus(keep as u64);
        let before = bytes.slice(..keep);
        let mut history = History::resumed(position, Window::at_end_of(&before), None);
        history.recall(before);
        history.settle(position);
        // No more of the beginning than lies before the position: what comes behind may still change.
        let head = self.files.known_mut(id).compared.take().head;
        let vouched = usize::try_from(position.bytes()).unwrap_or(usize::MAX).min(head.len());
        let head = Head::of(&head[..vouched]);
        let stored = self.lives.stored_checkpoint(incarnation).cloned();
        let stored =
            stored.map(|stored| Checkpoint { offset: position, skipped_bytes: position.bytes(), ..stored });
        self.begin_life(id, incarnation, history, head, stored.as_ref(), now);
        let file = self.files.known(id);
        let (source, path) = (file.source, Arc::clone(&file.path));
        self.report(Report::Following { source, path, at: position, why: Start::End });
        self.queue_read(id);
    }
}
