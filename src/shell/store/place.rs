//! The state directory: which files the database is, and how they are made, moved and made durable.
//!
//! Knows names, modes and fsyncs, and nothing of what the files hold.
//!
//! *Invariant:* no file here is opened through a symbolic link. The directory itself may be one: systemd's
//! `DynamicUser` makes it so.

#![expect(clippy::disallowed_methods, reason = "the state is files")]

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::{StoreError, io_at};

const DATABASE: &str = "standpipe.db";

/// What SQLite puts beside a database; a stale one beside a fresh database would be played into it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How much is rewritten at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// A state directory, with links in its own path resolved: SQLite's `NOFOLLOW` refuses a link anywhere in a path.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: PathBuf,
}

/// Device and inode of each file that a commit goes into, where there is one.
pub(super) type Files = [Option<(u64, u64)>; 2];

impl Place {
    pub(super) fn find(dir: &Path) -> Result<Self, StoreError> {
        let dir = fs::canonicalize(dir).map_err(io_at(dir))?;
        Ok(Self { dir })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// What lies under the database's name, if anything; a link is seen as a link.
    pub(super) fn metadata(&self) -> Result<Option<Metadata>, StoreError> {
        metadata(&self.database())
    }

    /// Something beside the database that is no regular file, and so would be refused or followed.
    pub(super) fn odd_file_beside(&self) -> Result<Option<PathBuf>, StoreError> {
        for suffix in BESIDE {
            let path = suffixed(&self.database(), suffix);
            if metadata(&path)?.is_some_and(|metadata| !metadata.is_file()) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Whether there has been a database, although there is none now: one was moved aside, or its log was left.
    ///
    /// This question is for a crash between moving a database aside and making a fresh one: that is no first start.
    pub(super) fn has_a_past(&self) -> Result<bool, StoreError> {
        for entry in fs::read_dir(&self.dir).map_err(io_at(&self.dir))? {
            let name = entry.map_err(io_at(&self.dir))?.file_name();
            let name = name.as_encoded_bytes();
            let Some(rest) = name.strip_prefix(DATABASE.as_bytes()) else {
                continue;
            };
            if rest.starts_with(b".corrupt-") || BESIDE.iter().any(|suffix| rest == suffix.as_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first bytes of the database, up to `len`; fewer where the file is shorter.
    ///
    /// Only while this process has no connection to it: closing any descriptor of a file drops the process's
    /// POSIX locks on it, SQLite's among them.
    pub(super) fn head(&self, len: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.database();
        let mut head = Vec::new();
        open(&path, OpenOptions::new().read(true))
            .and_then(|file| file.take(len).read_to_end(&mut head))
            .map_err(io_at(&path))?;
        Ok(head)
    }

    /// Renames the database, and what lies beside it, to `standpipe.db.corrupt-<now_seconds>…`; tells the new name
    /// of the first that there was.
    ///
    /// The new names still belong together, so that `sqlite3` can be tried on them. The database goes first: a
    /// crash in between leaves a log without a database, which is seen, and never a database without its log,
    /// which would look sound and not be. Nothing kept before is overwritten.
    pub(super) fn move_aside(&self, now_seconds: u64) -> Result<Option<PathBuf>, StoreError> {
        let mut stamp = now_seconds;
        let aside = loop {
            let name = self.dir.join(format!("{DATABASE}.corrupt-{stamp}"));
            let names = [""].iter().chain(&BESIDE).map(|suffix| suffixed(&name, suffix));
            let mut taken = false;
            for name in names {
                taken |= metadata(&name)?.is_some();
            }
            if !taken {
                break name;
            }
            stamp += 1;
        };
        let mut moved = None;
        for suffix in [""].iter().chain(&BESIDE) {
            let (from, to) = (suffixed(&self.database(), suffix), suffixed(&aside, suffix));
            match fs::rename(&from, &to) {
                Ok(()) => {
                    self.sync()?;
                    moved.get_or_insert(to);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io_at(&from)(error)),
            }
        }
        Ok(moved)
    }

    /// An empty file for a database to be made in, with mode 0600 whatever the umask.
    ///
    /// SQLite gives its log and shared memory the mode of the database.
    pub(super) fn blank(&self) -> Result<PathBuf, StoreError> {
        let path = self.dir.join(format!("{DATABASE}.new"));
        for suffix in [""].iter().chain(&BESIDE) {
            let left_over = suffixed(&path, suffix);
            match fs::remove_file(&left_over) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io_at(&left_over)(error)),
            }
        }
        open(&path, OpenOptions::new().write(true).create_new(true).mode(0o600))
            .and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600)))
            .map_err(io_at(&path))?;
        Ok(path)
    }

    /// Gives a finished database its name: it is there whole, or not at all.
    pub(super) fn adopt(&self, made: &Path) -> Result<(), StoreError> {
        // SQLite has synced its pages; the mode and the length are the file's own.
        open(made, OpenOptions::new().read(true)).and_then(|file| file.sync_all()).map_err(io_at(made))?;
        fs::rename(made, self.database()).map_err(io_at(made))?;
        self.sync()
    }

    /// Makes the file system write again what a failed fsync may have left unwritten.
    ///
    /// After a failed fsync the kernel counts the pages as clean, and a later fsync that succeeds proves nothing
    /// of them: a log with such a hole would end there after a power loss, with all later commits behind it. So
    /// every byte is written over itself, which makes its page dirty again, and is synced through a descriptor
    /// that has seen no failure. The content is what every reader sees already. Only while this process has no
    /// connection to it (see [`head`](Self::head)).
    pub(super) fn write_again(&self) -> Result<(), StoreError> {
        for path in self.regular_files()? {
            write_over_itself(&path).map_err(io_at(&path))?;
        }
        self.sync()
    }

    /// Finds out whether every byte can be read, whatever it says. The same condition as for [`head`](Self::head).
    pub(super) fn read_through(&self) -> Result<(), StoreError> {
        for path in self.regular_files()? {
            open(&path, OpenOptions::new().read(true))
                .and_then(|file| for_each_chunk(&file, |_, _| Ok(())))
                .map_err(io_at(&path))?;
        }
        Ok(())
    }

    /// Which files have the names of the database and its log now.
    pub(super) fn files(&self) -> Result<Files, StoreError> {
        let key = |path: &Path| Ok(metadata(path)?.map(|metadata| (metadata.dev(), metadata.ino())));
        Ok([key(&self.database())?, key(&suffixed(&self.database(), "-wal"))?])
    }

    /// The database and its log, as far as they are there.
    fn regular_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = Vec::new();
        for path in [self.database(), suffixed(&self.database(), "-wal")] {
            if metadata(&path)?.is_some_and(|metadata| metadata.is_file()) {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// Makes names durable: a rename or a new file is only in the directory once the directory is synced.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        sync_dir(&self.dir).map_err(io_at(&self.dir))
    }
}

/// Makes a directory, and those above it, with mode 0700: whole lines of logs may end up in it.
pub(super) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = match dir.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Ok(()),
    };
    make_dir(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        // Another process was faster; anything but a directory is found out when it is used.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_at(dir)(error)),
    }
    // The directory's own name lives in the one above.
    sync_dir(dir).map_err(io_at(dir))?;
    sync_dir(above).map_err(io_at(above))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn metadata(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at(path)(error)),
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed()).open(path)
}

fn write_over_itself(path: &Path) -> io::Result<()> {
    let file = open(path, OpenOptions::new().read(true).write(true))?;
    for_each_chunk(&file, |chunk, at| file.write_all_at(chunk, at))?;
    file.sync_all()
}

/// Reads a file from its beginning to its end, a piece at a time with its place.
fn for_each_chunk(file: &File, mut each: impl FnMut(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    loop {
        match file.read_at(&mut chunk, at) {
            Ok(0) => return Ok(()),
            Ok(len) => {
                each(&chunk[..len], at)?;
                at += len as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
