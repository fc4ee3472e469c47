//! One daemon for one state directory.
//!
//! The lock is `flock` on `state_dir/lock`: the kernel lets go of it when the process ends, however it ends, so
//! that a `kill -9` leaves nothing to clean up. The number in the file is for the message only.
//!
//! *Invariant:* while a [`Lock`] lives, no other open file description holds the lock of the file it names.

#![expect(clippy::disallowed_methods, reason = "the lock is a file")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::{StoreError, io_at};

/// The held lock of a state directory.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock, or says at once who holds it.
    ///
    /// Nothing is written yet: the state may turn out to be a newer version's, which is left as it is.
    pub(super) fn acquire(dir: &Path) -> Result<Self, StoreError> {
        let mut path = dir.join("lock");
        loop {
            let file = open(&path).map_err(io_at(&path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Held { pid: pid_in(file), path });
                }
                Err(TryLockError::Error(error)) => return Err(io_at(&path)(error)),
            }
            let lock = Self { path, file };
            // Between the open and the lock the file may have lost its name: then the lock keeps nobody out.
            if lock.is_in_place() {
                return Ok(lock);
            }
            path = lock.path;
        }
    }

    /// Writes this process's number into the file, for the message that another one will show.
    ///
    /// A full disk must not keep the daemon from shipping, so that a failure is only a warning. Not synced:
    /// after a power loss nobody holds the lock.
    pub(super) fn sign(&mut self) {
        let written = self
            .file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| writeln!(self.file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "the lock does not name its holder");
        }
    }

    /// Whether the name still leads to the locked file; if not, another process can lock what is there now.
    pub(super) fn is_in_place(&self) -> bool {
        match (self.file.metadata(), fs::symlink_metadata(&self.path)) {
            (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

/// Opens the lock file, made if need be with mode 0600 whatever the umask, and never through a link.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Not blocking: a FIFO in its place must not hang the start.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.permissions().mode() & 0o777 != 0o600 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn pid_in(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
