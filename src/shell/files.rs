//! The log files: which there are, how they begin, what they hold.
//!
//! Knows names, kinds of files and how to open one without being led astray. Does not know which file is which life of
//! what, nor from where to read: that is the engine's to say.
//! All of it blocks, so the daemon calls it on blocking threads; but for `at_once`, which says what does not.
//!
//! *Invariant:* only regular files are read, and whoever can write into a log directory can make this module
//! neither block nor read what lies elsewhere: see `files/open.rs`.

pub mod at_once;
mod compressed;
mod dangling;
mod directory;
mod generations;
mod held;
mod limit;
mod look;
mod open;
mod places;
pub mod problems;
mod reach;
mod reserved;
mod survey;
mod way;

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::Stat;
use rustix::io::Errno;

use crate::engine::port::FileFault;
use crate::model::identity::Fingerprint;
use crate::model::offset::Offset;
use crate::rules::pattern::{Exclude, Pattern, SourceNames};
use crate::shell::denied::{self, Wanted};

pub use compressed::{Compressed, decompressed, open_compressed};
pub use held::look_at_held;
pub use limit::{max_connections, max_open_files, raise_limit};
pub(super) use look::{Links, Look};
pub use open::{is_still, open};
pub use reach::Reach;
pub use reserved::read_content;
pub use survey::{Beside, Listings, Surveyed, survey_again, survey_source};

/// Which files one source reads.
#[derive(Clone, Debug, Default)]
pub struct SourceFiles {
    /// The patterns of names; a file is the source's when one of them matches and no exclusion does.
    pub patterns: Vec<Pattern>,
    /// Exclusions: names that are not read although a pattern matches.
    pub exclude: Exclude,
    /// Further names that rotators give to files of the source.
    pub rotated: Vec<Pattern>,
    /// Whether a name that is a symbolic link counts as the file it leads to.
    pub follow_symlinks: bool,
    /// Where such links may lead, and links on the way; anywhere where none is named.
    pub link_targets: Vec<PathBuf>,
    /// Where the daemon keeps its state, of which nothing is read; empty where it keeps none.
    pub state_dir: PathBuf,
}

impl SourceFiles {
    /// How far links are followed.
    pub fn reach(&self) -> Reach<'_> {
        Reach::new(self.follow_symlinks, &self.link_targets)
    }

    /// The names that the source reads, by its patterns.
    pub fn names(&self) -> SourceNames {
        SourceNames::new(self.patterns.clone(), self.exclude.clone())
    }
}

/// Why a name is not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    #[error("a symbolic link, and follow_symlinks is off")]
    Link,
    #[error("a symbolic link that leads nowhere")]
    Dangling,
    #[error("a symbolic link to {}, which lies in none of link_targets", .0.display())]
    Elsewhere(PathBuf),
    #[error("too many symbolic links, or a loop of them")]
    Loop,
    #[error(
        "a directory on the way is a symbolic link whose owner is neither root, nor this user, nor the owner of \
         what it leads to; follow_symlinks = true allows it"
    )]
    ForeignLink,
    /// With its kind, article included.
    #[error("not a regular file but {0}")]
    NotRegular(&'static str),
    /// With who is denied what, where that can be told.
    #[error("permission denied{0}")]
    Denied(String),
    #[error("the state directory, of which nothing is shipped")]
    StateDirectory,
    /// With the file system's name.
    #[error("in a file system that holds no logs ({0})")]
    OfTheKernel(&'static str),
    #[error("directories nested more than {0} deep")]
    TooDeep(usize),
    /// What the kernel said instead.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// What a failed system call on a name means, other than that there is no such file.
    fn of(fault: Errno) -> Self {
        match fault {
            Errno::ACCESS | Errno::PERM => Self::Denied(String::new()),
            Errno::LOOP => Self::Loop,
            // Opening a socket, or a device without a driver.
            Errno::NXIO => Self::NotRegular("a socket or a device"),
            other => Self::Failed(io::Error::from(other).to_string()),
        }
    }

    /// The refusal of what has this path.
    fn at(self, path: &Path) -> Self {
        match self {
            Self::Denied(why) if why.is_empty() => {
                Self::Denied(denied::explain(path, Wanted::Read).map_or(why, |told| format!(": {told}")))
            }
            other => other,
        }
    }
}

/// The most that is read at a time, in bytes: more than a full read of the daemon asks for, what it begins before the position
/// included.
const SCRATCH_BYTES: usize = 320 * 1024;

/// What each thread keeps for reading into, in bytes: most files have no more to say, and there may be hundreds of threads.
const SMALL_READ_BYTES: usize = 16 * 1024;

/// How much is kept for longer reads, by all threads together: more of them at once make their own.
const MAX_KEPT: usize = 4;

thread_local! {
    static SMALL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Memory for reading into that no thread reads into now.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// When a file was last written, since 1970, if it ends at `end`: whatever was appended since it was read would be behind
/// that.
pub fn modified_at_end(file: &File, end: Offset) -> Option<Duration> {
    modified_at(&rustix::fs::fstat(file).ok()?, end)
}

/// When a file was last written that looks like this, if it ends at `end`.
fn modified_at(stat: &Stat, end: Offset) -> Option<Duration> {
    let (seconds, nanos) = (u64::try_from(stat.st_mtime).ok()?, u32::try_from(stat.st_mtime_nsec).ok()?);
    (u64::try_from(stat.st_size) == Ok(end.bytes())).then(|| Duration::new(seconds, nanos))
}

/// Reads `len` bytes at `at`; fewer only at the end of the file.
///
/// Reads into memory that is kept and copies out, so that a small append costs a small allocation, however much was asked
/// for: the bytes may wait long for their acknowledgement, and must not hold more memory than they are. A positional read
/// leaves the descriptor's own position alone, so that one descriptor serves every thread.
///
/// # Errors
/// [`FileFault::Unreadable`] with the kernel's reason (EIO, ESTALE): never taken for the end of the file. It names
/// the offset and not the path, which a descriptor does not know.
pub fn read(file: &File, at: Offset, len: usize) -> Result<Bytes, FileFault> {
    SMALL.with_borrow_mut(|small| {
        small.resize(SMALL_READ_BYTES, 0);
        let piece = len.min(SMALL_READ_BYTES);
        let got = fill(file, at, &mut small[..piece])?;
        if got < piece || piece == len {
            return Ok(Bytes::copy_from_slice(&small[..got]));
        }
        let mut scratch = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let all = read_on(file, (at, len), &small[..got], &mut scratch);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.push(scratch);
        }
        all
    })
}

/// Reads on behind the `first` bytes of what is asked for.
fn read_on(
    file: &File,
    (at, len): (Offset, usize),
    first: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<Bytes, FileFault> {
    scratch.resize(SCRATCH_BYTES, 0);
    scratch[..first.len()].copy_from_slice(first);
    let piece = len.min(SCRATCH_BYTES);
    let got = first.len() + fill(file, at.plus(first.len() as u64), &mut scratch[first.len()..piece])?;
    if got < piece || piece == len {
        return Ok(Bytes::copy_from_slice(&scratch[..got]));
    }

    let mut all = Vec::from(&scratch[..got]);
    while all.len() < len {
        let piece = (len - all.len()).min(SCRATCH_BYTES);
        let got = fill(file, at.plus(all.len() as u64), &mut scratch[..piece])?;
        all.extend_from_slice(&scratch[..got]);
        if got < piece {
            break;
        }
    }
    all.shrink_to_fit();
    Ok(Bytes::from(all))
}

/// Whether a file begins so, as far as that can be read.
pub fn begins(file: &File, begins: Fingerprint) -> bool {
    begins.is_empty()
        || read(file, Offset::ZERO, begins.len().into()).map_or(true, |head| begins.matches(&head))
}

/// Reads at `at` until `into` is full or the file ends; says how many bytes that were.
fn fill(file: &File, at: Offset, into: &mut [u8]) -> Result<usize, FileFault> {
    fill_by(|into, at| file.read_at(into, at), at, into)
}

fn fill_by(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    at: Offset,
    into: &mut [u8],
) -> Result<usize, FileFault> {
    let mut got = 0;
    while got < into.len() {
        let here = at.plus(got as u64);
        match read_at(&mut into[got..], here.bytes()) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(FileFault::Unreadable(format!("read at offset {here}: {fault}"))),
        }
    }
    Ok(got)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files that are read")]
mod tests {
    use super::*;

    fn file_of(content: &[u8]) -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        std::fs::write(&path, content).unwrap();
        let file = File::open(path).unwrap();
        (dir, file)
    }

    #[test]
    fn a_read_stops_at_what_was_asked_for_and_at_the_end_of_the_file() {
        let (_dir, file) = file_of(b"one\ntwo\n");
        let read = |at, len| read(&file, Offset::new(at), len).unwrap();
        assert_eq!(read(0, 4), "one\n");
        assert_eq!(read(4, 100), "two\n");
        assert_eq!(read(8, 100), "");
        assert_eq!(read(800, 100), "");
        assert_eq!(read(0, 0), "");
    }

    #[test]
    fn a_read_longer_than_the_scratch_memory_comes_in_one_piece() {
        let content: Vec<u8> = (0..SCRATCH_BYTES * 2 + 77).map(|at| (at % 251) as u8).collect();
        let (_dir, file) = file_of(&content);
        for len in [
            SCRATCH_BYTES - 1,
            SCRATCH_BYTES,
            SCRATCH_BYTES + 1,
            SCRATCH_BYTES * 2,
            content.len(),
            content.len() * 2,
        ] {
            let expected = &content[3..content.len().min(3 + len)];
            assert!(read(&file, Offset::new(3), len).unwrap() == expected, "{len} bytes");
        }
    }

    #[test]
    fn a_small_append_holds_no_more_memory_than_it_is_long() {
        let (_dir, file) = file_of(b"short\n");
        let bytes = read(&file, Offset::ZERO, SCRATCH_BYTES).unwrap();
        let held = bytes.try_into_mut().expect("nobody else holds it").capacity();
        assert_eq!(held, 6);
    }

    /// S20: the kernel may give less than was asked for, or be interrupted.
    #[test]
    fn reads_that_give_less_or_are_interrupted_are_gone_on_with() {
        let content = b"one\ntwo\nthree\n";
        let calls = std::cell::Cell::new(0);
        let read_at = |into: &mut [u8], at: u64| {
            calls.set(calls.get() + 1);
            if calls.get() % 3 == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = &content[content.len().min(at as usize)..];
            let given = left.len().min(into.len()).min(2);
            into[..given].copy_from_slice(&left[..given]);
            Ok(given)
        };
        let mut into = [0; 11];
        assert_eq!(fill_by(read_at, Offset::new(2), &mut into).unwrap(), 11);
        assert_eq!(into, content[2..13]);
        assert_eq!(fill_by(read_at, Offset::new(8), &mut into).unwrap(), 6, "the end of the file");
    }

    #[test]
    fn a_read_that_fails_is_no_end_of_file() {
        let directory = File::open(tempfile::tempdir().unwrap().path()).unwrap();
        let fault = read(&directory, Offset::new(7), 10).unwrap_err();
        assert_eq!(fault, FileFault::Unreadable("read at offset 7: Is a directory (os error 21)".into()));
    }
}
