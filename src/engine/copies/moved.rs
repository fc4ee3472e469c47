//! Files that were moved to another file system: copied there, and then removed.
//!
//! The original may have been in any directory, and in another program's a file may say the same. But whoever moves a file
//! keeps when it was written last, and no program writes a file before it makes it. So such a file is compared with those
//! whose names its own may come from, wherever they are, and goes on with one only if that is gone and said all the same.
//!
//! *Invariant (L14):* as for copies; a file that was written where it is goes on with nothing from another directory.

use std::collections::BTreeSet;
use std::path::Path;

use crate::engine::Engine;
use crate::engine::port::FileId;
use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::rules::rotation::{is_younger, originals};

impl Engine {
    /// The latest incarnation in another directory that begins like `bytes`, which a file begins with that was moved, if it
    /// was.
    pub(super) fn moved_from(&self, id: FileId, bytes: &[u8]) -> Option<Incarnation> {
        let file = self.files.known(id);
        if !file.kind.is_moved {
            return None;
        }
        let (stream, path) = (self.stream_name(file.stream), file.real_path());
        let from = originals(path);
        let names: BTreeSet<_> =
            from.iter().map(|name| &**name).chain([&**path]).filter_map(Path::file_name).collect();
        let mut known = self.lives.known_as(stream, names);
        let alike = known.find(|known| {
            known.identity != file.identity
                && known.position > Offset::ZERO
                && !known.fingerprint.is_empty()
                && known.fingerprint.matches(bytes)
                && is_younger(file.identity, known.identity)
                && known.path.parent() != path.parent()
                && self.families.may_be_of(stream, [known.path], file.kind.owner)
                && (self.lives.file_of(known.incarnation).is_some()
                    || self.lives.is_stored(known.incarnation))
        });
        alike.map(|known| known.incarnation)
    }
}
