//! The names in a directory, and as much about each as the directory itself says.
//!
//! Called by the survey; what a name leads to is for [`Look`](super::Look) to say.
#![expect(clippy::disallowed_methods, reason = "reads directories")]

use std::ffi::OsString;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::FileType;
use rustix::io::Errno;

/// One name in a directory.
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) kind: EntryKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Directory,
    Link,
    Other,
}

impl EntryKind {
    pub(super) fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// Lists a directory: sorted, so that two surveys of the same tree walk the same way.
pub(super) fn of(directory: &Path) -> Result<Rc<[Entry]>, Errno> {
    let errno = |fault: std::io::Error| Errno::from_io_error(&fault).unwrap_or(Errno::IO);
    let mut entries: Vec<Entry> = std::fs::read_dir(directory)
        .map_err(errno)?
        .map(|entry| {
            let entry = entry.map_err(errno)?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_dir() => EntryKind::Directory,
                Ok(kind) if kind.is_symlink() => EntryKind::Link,
                // Gone meanwhile, or a file of any kind: the look at it will tell.
                Ok(_) | Err(_) => EntryKind::Other,
            };
            Ok(Entry { name: entry.file_name(), kind })
        })
        .collect::<Result<_, _>>()?;
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(Rc::from(entries))
}
