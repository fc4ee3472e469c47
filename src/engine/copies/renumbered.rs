//! Files of a file system that was mounted again under another device number, and that keeps no birth times (NFS, FUSE).
//!
//! Of such a file the inode alone is left of its identity, and inodes are used again. A file that lies where a stored one
//! lay, has its inode and begins like it is compared with all that was read of that, as a copy is.
//!
//! *Invariant (L14):* the stored position is inherited only by content that is the same from its first byte to there.

use crate::engine::Engine;
use crate::engine::lives::Afterwards;
use crate::engine::port::FileId;
use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::time::Instant;
use crate::rules::rotation::may_be_renumbered;

impl Engine {
    /// A stored incarnation of which a file that begins with `bytes` may be the file, under another device number: copies of
    /// it are looked for from now on, and the file may be the first.
    pub(super) fn seek_renumbered(&mut self, id: FileId, bytes: &[u8], now: Instant) -> Option<Incarnation> {
        let file = self.files.known(id);
        let (source, stream_name, directory) =
            (file.source, self.stream_name(file.stream), file.real_path().parent());
        let stored = self.lives.stored_by_inode(file.identity.inode, stream_name).filter(|stored| {
            may_be_renumbered(stored.identity, file.identity)
                && stored.real_path().parent() == directory
                && stored.offset > Offset::ZERO
                // Without a digest nothing tells of what lies before the last bytes.
                && stored.digest().is_some()
                && !stored.fingerprint.is_empty()
                && stored.fingerprint.matches(bytes)
                && self.files.of(file.stream, stored.identity).is_none()
                && self.families.may_be_of(stream_name, [stored.real_path()], file.kind.owner)
        });
        let of = stored.max_by_key(|stored| (stored.offset, stored.incarnation))?.incarnation;
        if !self.lives.is_sought(of) {
            self.search_copies(of, source, 0, Afterwards::Kept, now);
        }
        Some(of)
    }
}
