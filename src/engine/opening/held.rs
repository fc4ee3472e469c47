//! Open files that became others under their names without anybody renaming them.
//!
//! overlayfs shows a file of a lower layer as itself until somebody writes to it; then it copies the file up, and shows the
//! copy, with another birth time and perhaps another inode. A descriptor that was opened before reads on in the copy (since
//! Linux 4.19), and `statx` says of it what it says of the name. Nothing else tells such a file from a new one of the same
//! name, so the descriptor is asked before a second life begins.
//!
//! *Invariant (L12, L14):* an incarnation goes on under another identity only when the kernel says of its own descriptor
//! that it has that identity.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::files::file::Name;
use crate::engine::parting::Parting;
use crate::engine::port::FileId;
use crate::engine::report::{Report, Start};
use crate::model::identity::Identity;
use crate::model::time::Instant;

impl Engine {
    /// Open files of the same stream that had the name of a file that is to be opened for the first time.
    pub(super) fn held_at_name_of(&self, id: FileId) -> Vec<FileId> {
        let file = self.files.known(id);
        let named = self.files.at(&file.path).iter().copied();
        named.filter(|held| self.may_go_on_as(id, *held)).collect()
    }

    /// Whether an open file may go on as one that was to be opened for the first time.
    pub(super) fn may_go_on_as(&self, id: FileId, held: FileId) -> bool {
        let file = self.files.known(id);
        held != id
            && file.incarnation().is_none()
            && !file.kind.only_as_copy
            && !file.kind.decompressed
            && self.files.get(held).is_some_and(|held| {
                let is_read = held.is_open() && held.incarnation().is_some();
                is_read && held.stream == file.stream && !held.kind.decompressed
            })
    }

    /// The file that was opened is one that is open: that goes on as it is called and known now, and what was opened beside
    /// it is closed.
    pub(super) fn go_on_as(&mut self, id: FileId, held: FileId, identity: Identity, now: Instant) {
        let file = self.files.known(id);
        let (source, name) = (file.source, file.name);
        let (path, target) = (Arc::clone(&file.path), file.target.clone());
        let (found, stream) = (file.identity, file.stream);
        self.part(id, Parting::Handed, now);
        self.forget_marks(found, stream, now);
        if self.files.of(self.files.known(held).stream, identity).is_some() {
            return;
        }
        self.files.identify(held, identity);
        self.hand_to(held, source);
        self.rename(held, (Arc::clone(&path), target), name, now);
        let Some(incarnation) = self.files.read_into(held) else { return };
        self.lives.identify(incarnation, identity);
        self.saves.note_changed(incarnation, 0, now);
        if name == Name::Matched {
            self.files.find_name(held);
        }
        let at = self.lives.on_its_way(incarnation).position();
        self.report(Report::Following { source, path, at, why: Start::Checkpoint });
        self.queue_read(held);
    }
}
