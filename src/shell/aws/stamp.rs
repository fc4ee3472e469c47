//! Whether a file is still the one that was read.
//!
//! Knows metadata only. Blocks: called on threads that may.

#![expect(clippy::disallowed_methods, reason = "files belong to the shells")]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one content of a file from the next: inode, size and the time of the last change; `None` when it is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    /// The stamp of the file that is at `path` now.
    pub(super) fn of(path: &Path) -> Self {
        let of = |stat: std::fs::Metadata| (stat.ino(), stat.size(), stat.ctime(), stat.ctime_nsec());
        Self(std::fs::metadata(path).ok().map(of))
    }
}

/// The stamps of several files.
pub(super) fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    paths.iter().map(|path| Stamp::of(path)).collect()
}
