//! Accepted records on disk, from before they are acknowledged until they are delivered.
//!
//! So that killing the process loses nothing that was acknowledged: what it left behind is delivered at the next
//! start. Knows files and frames. Deliberately knows nothing of buffers or answers. It is not synced, so it
//! outlives the process and not the machine's power. Blocks: called by `driver` on a blocking thread, and once
//! by `Server` before it listens.
//!
//! One file holds one chunk, `DIR/<stream>/.journal-<run>-<chunk>`, as frames: a length of eight bytes, little
//! end first, and so many bytes. Only whole frames were acknowledged. A file is locked as long as its process
//! lives, so that another one that is started on the same directory leaves it alone.
#![expect(clippy::disallowed_methods, reason = "the journal is files")]

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::destination::{Destination, DestinationError, at, names};
use super::stream::Run;

const PREFIX: &str = ".journal-";
const LENGTH_BYTES: usize = size_of::<u64>();

/// One chunk of one delivery stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChunkId {
    pub stream: String,
    pub number: u64,
}

/// What is to be noted, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// These bytes were accepted into the chunk.
    Keep(ChunkId, Bytes),
    /// The chunk is settled.
    Forget(ChunkId),
}

/// The journal of one run.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    run: Run,
    /// The chunks that are not settled, each with the length of its whole frames.
    open: HashMap<ChunkId, (File, u64)>,
}

impl Journal {
    pub(super) fn new(dir: &Path, run: Run) -> Self {
        Self { dir: dir.to_owned(), run, open: HashMap::new() }
    }

    /// Notes all of `notes`. An error is that of the last note that failed; the others are noted all the same.
    pub(super) fn write(&mut self, notes: &[Note]) -> Result<(), DestinationError> {
        let mut outcome = Ok(());
        for note in notes {
            let noted = match note {
                Note::Keep(chunk, data) => self.keep(chunk, data),
                Note::Forget(chunk) => self.forget(chunk),
            };
            if noted.is_err() {
                outcome = noted;
            }
        }
        outcome
    }

    fn keep(&mut self, chunk: &ChunkId, data: &[u8]) -> Result<(), DestinationError> {
        let path = self.path(chunk);
        if !self.open.contains_key(chunk) {
            self.open.insert(chunk.clone(), (create(&path)?, 0));
        }
        let (file, len) = self.open.get_mut(chunk).expect("it was put there");
        append(file, len, data).map_err(at(&path))
    }

    fn forget(&mut self, chunk: &ChunkId) -> Result<(), DestinationError> {
        // It is not there when it could not be created.
        if self.open.remove(chunk).is_none() {
            return Ok(());
        }
        let path = self.path(chunk);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }

    fn path(&self, chunk: &ChunkId) -> PathBuf {
        let name = format!("{PREFIX}{:032x}-{:016x}", self.run.0, chunk.number);
        self.dir.join(&chunk.stream).join(name)
    }
}

fn create(path: &Path) -> Result<File, DestinationError> {
    let parent = path.parent().expect("a journal lies in its delivery stream's directory");
    fs::create_dir_all(parent).map_err(at(parent))?;
    let file = File::create_new(path).map_err(at(path))?;
    // Nobody else can have it yet: its name is of this run.
    file.try_lock().map_err(|error| at(path)(error.into()))?;
    Ok(file)
}

/// Appends one frame behind the whole ones, whose length is `len`.
fn append(file: &mut File, len: &mut u64, data: &[u8]) -> io::Result<()> {
    let length = data.len() as u64;
    let written = file.write_all(&length.to_le_bytes()).and_then(|()| file.write_all(data));
    if written.is_err() {
        // Half a frame would hide every one behind it. If this fails too, there is no more that can be done.
        let _ = file.set_len(*len);
        let _ = io::Seek::seek(file, io::SeekFrom::Start(*len));
        return written;
    }
    *len += LENGTH_BYTES as u64 + length;
    Ok(())
}

/// Delivers what killed processes left behind below `dir`, oldest first; says how many bytes.
///
/// A process that was killed between a delivery and its note leaves a chunk that is delivered twice.
pub(super) fn recover(dir: &Path, run: u32, since_1970: Duration) -> Result<u64, DestinationError> {
    let mut bytes = 0;
    for stream in names(dir)?.iter().filter_map(|name| name.to_str()) {
        let directory = dir.join(stream);
        let mut left: Vec<_> = names(&directory)?
            .into_iter()
            .filter(|name| name.to_str().is_some_and(|name| name.starts_with(PREFIX)))
            .collect();
        // By run, whose number begins with its time, then by chunk.
        left.sort_unstable();
        let mut destination = Destination::new(dir, stream, run);
        for name in left {
            bytes += recover_one(&directory.join(name), &mut destination, since_1970)?;
        }
    }
    Ok(bytes)
}

fn recover_one(
    path: &Path,
    destination: &mut Destination,
    since_1970: Duration,
) -> Result<u64, DestinationError> {
    let file = File::open(path).map_err(at(path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(0),
        Err(TryLockError::Error(error)) => return Err(at(path)(error)),
    }
    let data = whole_frames(&fs::read(path).map_err(at(path))?);
    if !data.is_empty() {
        destination.deliver(&data, since_1970)?;
    }
    fs::remove_file(path).map_err(at(path))?;
    Ok(data.len() as u64)
}

/// The bytes of all whole frames; a last one that breaks off was never acknowledged.
fn whole_frames(mut journal: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(journal.len());
    while let Some((length, rest)) = journal.split_first_chunk::<LENGTH_BYTES>() {
        let frame = usize::try_from(u64::from_le_bytes(*length)).ok();
        let Some((frame, rest)) = frame.and_then(|frame| rest.split_at_checked(frame)) else {
            break;
        };
        data.extend_from_slice(frame);
        journal = rest;
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u64) -> ChunkId {
        ChunkId { stream: "app".to_owned(), number }
    }

    fn keep(number: u64, data: &'static str) -> Note {
        Note::Keep(chunk(number), Bytes::from(data))
    }

    /// What lies below the hour directories, in order.
    fn delivered(dir: &Path) -> Vec<u8> {
        let mut paths: Vec<_> = match fs::read_dir(dir.join("app/1970/01/01/00")) {
            Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
            Err(_) => Vec::new(),
        };
        paths.sort();
        paths.iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }

    #[test]
    fn what_a_killed_process_accepted_is_delivered_by_the_next_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Journal::new(dir.path(), Run(1));
        first.write(&[keep(0, "a"), keep(1, "c"), keep(0, "b")]).unwrap();
        drop(first);
        let mut second = Journal::new(dir.path(), Run(2));
        second.write(&[keep(0, "d")]).unwrap();
        drop(second);

        assert_eq!(recover(dir.path(), 3, Duration::ZERO).unwrap(), 4);
        assert_eq!(delivered(dir.path()), b"abcd");
        assert_eq!(recover(dir.path(), 4, Duration::ZERO).unwrap(), 0, "once");
        assert_eq!(delivered(dir.path()), b"abcd");
    }

    #[test]
    fn what_was_settled_is_not_delivered_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path(), Run(1));
        journal.write(&[keep(0, "a"), keep(1, "b"), Note::Forget(chunk(0))]).unwrap();
        drop(journal);
        recover(dir.path(), 2, Duration::ZERO).unwrap();
        assert_eq!(delivered(dir.path()), b"b");
    }

    #[test]
    fn the_journal_of_a_living_process_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path(), Run(1));
        journal.write(&[keep(0, "a")]).unwrap();
        assert_eq!(recover(dir.path(), 2, Duration::ZERO).unwrap(), 0);
        journal.write(&[keep(0, "b")]).unwrap();
        drop(journal);
        assert_eq!(recover(dir.path(), 2, Duration::ZERO).unwrap(), 2);
    }

    #[test]
    fn a_frame_that_breaks_off_was_never_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path(), Run(1));
        journal.write(&[keep(0, "whole"), keep(0, "half")]).unwrap();
        let path = journal.path(&chunk(0));
        let bytes = fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            let whole: &[u8] = if cut < 8 + 5 { b"" } else { b"whole" };
            assert_eq!(whole_frames(&bytes[..cut]), whole, "cut at {cut}");
        }
        assert_eq!(whole_frames(&bytes), b"wholehalf");
        assert_eq!(whole_frames(&[0xff; 20]), b"", "nonsense");
    }

    #[test]
    fn a_journal_that_cannot_be_written_says_where_and_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("blocked"), "a file where a directory has to be").unwrap();
        let blocked = ChunkId { stream: "blocked".to_owned(), number: 0 };
        let mut journal = Journal::new(dir.path(), Run(1));
        let notes = [Note::Keep(blocked.clone(), Bytes::from("x")), keep(0, "a"), Note::Forget(blocked)];
        let error = journal.write(&notes).unwrap_err();
        assert!(error.path.starts_with(dir.path().join("blocked")), "{error}");
        drop(journal);
        recover(dir.path(), 2, Duration::ZERO).unwrap();
        assert_eq!(delivered(dir.path()), b"a");
    }
}
