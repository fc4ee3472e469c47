//! What can be wrong with the state, told with the path and the exit code that it calls for.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::shell::denied::{self, Wanted};

/// Why the state could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the lock; `pid` is what it wrote into the lock file, when that can be read.
    #[error("{}: held by another standpipe{}", path.display(), by(*pid))]
    Held { path: PathBuf, pid: Option<u32> },
    /// A newer standpipe wrote the database, which has been left as it was.
    #[error("{}: schema version {found}, but this standpipe knows only {known}: use the newer one, or another state directory", path.display())]
    Newer { path: PathBuf, found: i32, known: i32 },
    /// Not a database of ours, or not any more. Only readers say so: a [`Store`](super::Store) moves it aside.
    #[error("{}: not a readable state database: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    /// Files were removed or replaced under the open database: what went into them is not durable.
    #[error("{}: removed or replaced while in use", path.display())]
    Gone { path: PathBuf },
    /// Another user may put files into the state directory, or take some away.
    #[error("{}: {why}, so that others may change what is kept there: `{remedy}`, or name another directory", path.display())]
    Exposed { path: PathBuf, why: String, remedy: String },
    /// A system call on the path failed.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// SQLite failed on the database, for a reason that is not its content.
    #[error("{}: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

impl StoreError {
    /// The exit code of a process that ends because of the error: 75 held, 78 newer, 74 anything else.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Held { .. } => 75,
            Self::Newer { .. } => 78,
            Self::Damaged { .. }
            | Self::Gone { .. }
            | Self::Exposed { .. }
            | Self::Io { .. }
            | Self::Sqlite { .. } => 74,
        }
    }

    /// Whether an fsync has failed: then pages may count as clean that never reached the disk.
    pub(super) fn is_failed_sync(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_extended_error_code(),
                Some(rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC)
            ),
            Self::Held { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::Gone { .. }
            | Self::Exposed { .. }
            | Self::Io { .. } => false,
        }
    }
}

/// Puts the path to an I/O error; to one that is for want of permission, who is denied what.
pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |source| {
        let denied = || denied::explain(path, Wanted::Write).map(|told| format!("{source}: {told}"));
        let told = (source.kind() == io::ErrorKind::PermissionDenied).then(denied).flatten();
        let source = told.map_or(source, |told| io::Error::new(io::ErrorKind::PermissionDenied, told));
        StoreError::Io { path: path.to_owned(), source }
    }
}

/// Puts the path to an SQLite error.
pub(super) fn sqlite_at(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
    move |source| StoreError::Sqlite { path: path.to_owned(), source }
}

/// Why a database could not be opened: the two answers to it differ.
#[derive(Debug)]
pub(super) enum Fault {
    /// The content of the database is at fault: the file is moved aside, and a fresh one takes its place.
    Content(String),
    /// The machine around the database is at fault: the file stays where it is, for it may be perfectly good.
    Other(StoreError),
}

/// Tells a damaged database from a machine in trouble.
///
/// Named is what the machine around the file can cause (permissions, a full disk, a locked or read-only file).
/// All the rest is blamed on the content: SQLite reports a flipped bit not only as `CORRUPT` or `NOTADB`, but
/// also as an unknown format, a missing column, or a value of the wrong type.
pub(super) fn judge(path: &Path) -> impl Fn(rusqlite::Error) -> Fault + '_ {
    move |error| match error.sqlite_error_code() {
        Some(
            ErrorCode::PermissionDenied
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::OperationInterrupted
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NoLargeFileSupport,
        ) => Fault::Other(sqlite_at(path)(error)),
        _ => Fault::Content(error.to_string()),
    }
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}
