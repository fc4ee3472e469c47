//! Files by their names.
//!
//! Knows which names each has, and had last. Does not know what is done with them.
//!
//! *Invariant:* each file is under the name by which it is followed, under its real path, and, if it was renamed, among the
//! former names under the real path that it had before.

use std::path::Path;
use std::sync::Arc;

use super::file::FollowedFile;
use crate::engine::by_path::ByPath;
use crate::engine::few::Few;
use crate::engine::port::FileId;

type Index = ByPath<Few<FileId>>;

/// Files by the names that they have, and by those that they had.
#[derive(Debug, Default)]
pub(super) struct ByName {
    paths: Index,
    /// Files that were renamed, by the real path that they had before.
    former: Index,
}

impl ByName {
    pub(super) fn at(&self, path: &Path) -> &[FileId] {
        self.paths.get(path).map_or(&[], Few::as_slice)
    }

    pub(super) fn formerly_at(&self, path: &Path) -> &[FileId] {
        self.former.get(path).map_or(&[], Few::as_slice)
    }

    pub(super) fn add(&mut self, id: FileId, file: &FollowedFile) {
        for name in std::iter::once(&file.path).chain(&file.target) {
            self.paths.get_or_insert(Arc::clone(name), Few::default()).push(id);
        }
        if let Some(former) = &file.kind.former {
            self.former.get_or_insert(Arc::clone(former), Few::default()).push(id);
        }
    }

    pub(super) fn remove(&mut self, id: FileId, file: &FollowedFile) {
        for name in std::iter::once(&file.path).chain(&file.target) {
            forget(&mut self.paths, name, id);
        }
        if let Some(former) = &file.kind.former {
            forget(&mut self.former, former, id);
        }
    }

    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.paths.iter().map(|(path, _)| path)
    }
}

fn forget(index: &mut Index, name: &Arc<Path>, id: FileId) {
    if index.get_mut(name).is_some_and(|ids| ids.remove(id)) {
        index.remove(name);
    }
}
