//! Accepted records on disk, from before they are acknowledged until they are delivered.
//!
//! So that killing the process loses nothing that was acknowledged: what it left behind is delivered at the next
//! start. Knows files and frames. Deliberately knows nothing of buffers or answers. It is not synced, so it
//! outlives the process and not the machine's power. Blocks: called by `driver` on a blocking thread, and once
//! by `Server` before it listens.
//!
//! One file holds one chunk, `DIR/<stream>/.journal2-<run>-<chunk>`, as frames: a length of eight bytes, and so many
//! bytes: the number of the first record, how many there are, the length of each (eight bytes, four, and four for
//! each), and their data. All numbers little end first. Only whole frames were acknowledged. A file is locked as long as its process
//! lives, so that another one that is started on the same directory leaves it alone.
#![expect(clippy::disallowed_methods, reason = "the journal is files")]

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::destination::{self, Destination, DestinationError, Listing, at, names};
use super::ids::{Kept, Labels, RecordId, Run};
use super::note::{ChunkId, Note};

const PREFIX: &str = ".journal2-";
const LENGTH_BYTES: usize = size_of::<u64>();
const NUMBER_BYTES: usize = size_of::<u64>();
const COUNT_BYTES: usize = size_of::<u32>();

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
                Note::Keep(chunk, kept) => self.keep(chunk, kept),
                Note::Forget(chunk) => self.forget(chunk),
            };
            if noted.is_err() {
                outcome = noted;
            }
        }
        outcome
    }

    fn keep(&mut self, chunk: &ChunkId, kept: &Kept) -> Result<(), DestinationError> {
        let path = self.path(chunk);
        if !self.open.contains_key(chunk) {
            self.open.insert(chunk.clone(), (create(&path)?, 0));
        }
        let (file, len) = self.open.get_mut(chunk).expect("it was put there");
        append(file, len, kept).map_err(at(&path))
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
    destination::create(parent)?;
    let file = File::create_new(path).map_err(at(path))?;
    // Nobody else can have it yet: its name is of this run.
    file.try_lock().map_err(|error| at(path)(error.into()))?;
    Ok(file)
}

/// Appends one frame behind the whole ones, whose length is `len`.
fn append(file: &mut File, len: &mut u64, kept: &Kept) -> io::Result<()> {
    let lengths = &kept.labels.lengths;
    let length = (NUMBER_BYTES + COUNT_BYTES + lengths.len() * COUNT_BYTES + kept.data.len()) as u64;
    let count = u32::try_from(lengths.len()).expect("a request has few records");
    let mut head = length.to_le_bytes().to_vec();
    head.extend(kept.labels.first.number.to_le_bytes());
    head.extend(count.to_le_bytes());
    head.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
    let written = file.write_all(&head).and_then(|()| file.write_all(&kept.data));
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
pub(super) fn recover(
    dir: &Path,
    run: Run,
    listing: Listing,
    unix_time: Duration,
) -> Result<u64, DestinationError> {
    let mut bytes = 0;
    for stream in names(dir)?.iter().filter_map(|name| name.to_str()) {
        let directory = dir.join(stream);
        let mut left: Vec<_> = names(&directory)?
            .into_iter()
            .filter(|name| name.to_str().is_some_and(|name| name.starts_with(PREFIX)))
            .collect();
        // By run, whose number begins with its time, then by chunk.
        left.sort_unstable();
        let mut destination = Destination::new(dir, stream, run.tag(), listing);
        for name in left {
            bytes += recover_one(&directory.join(name), &mut destination, unix_time)?;
        }
    }
    Ok(bytes)
}

fn recover_one(
    path: &Path,
    destination: &mut Destination,
    unix_time: Duration,
) -> Result<u64, DestinationError> {
    let file = File::open(path).map_err(at(path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(0),
        Err(TryLockError::Error(error)) => return Err(at(path)(error)),
    }
    let run = run_in(path).unwrap_or(Run(0));
    let (data, labels) = whole_frames(run, &fs::read(path).map_err(at(path))?);
    if !labels.is_empty() {
        destination.deliver(&data, &labels, unix_time)?;
    }
    fs::remove_file(path).map_err(at(path))?;
    Ok(data.len() as u64)
}

/// The run that a journal's name tells.
fn run_in(path: &Path) -> Option<Run> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    u128::from_str_radix(name.split('-').next()?, 16).ok().map(Run)
}

/// The records of all whole frames; a last one that breaks off was never acknowledged.
fn whole_frames(run: Run, mut journal: &[u8]) -> (Vec<u8>, Vec<Labels>) {
    let (mut data, mut labels) = (Vec::with_capacity(journal.len()), Vec::new());
    while let Some((frame, rest)) = split_frame(journal)
        && let Some((label, bytes)) = read_frame(run, frame)
    {
        data.extend_from_slice(bytes);
        labels.push(label);
        journal = rest;
    }
    (data, labels)
}

fn split_frame(journal: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = journal.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

fn read_frame(run: Run, frame: &[u8]) -> Option<(Labels, &[u8])> {
    let (number, rest) = frame.split_first_chunk::<NUMBER_BYTES>()?;
    let (count, rest) = rest.split_first_chunk::<COUNT_BYTES>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (lengths, data) = rest.split_at_checked(count.checked_mul(COUNT_BYTES)?)?;
    let (lengths, _) = lengths.as_chunks::<COUNT_BYTES>();
    let lengths: Vec<u32> = lengths.iter().map(|length| u32::from_le_bytes(*length)).collect();
    let total: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    let first = RecordId { run, number: u64::from_le_bytes(*number) };
    (total == data.len() as u64).then_some((Labels { first, lengths }, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u64) -> ChunkId {
        ChunkId { stream: "app".to_owned(), number }
    }

    fn keep(number: u64, data: &'static str) -> Note {
        Note::Keep(chunk(number), Kept::of(number, &[data]))
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

        assert_eq!(recover(dir.path(), Run(3), Listing::None, Duration::ZERO).unwrap(), 4);
        assert_eq!(delivered(dir.path()), b"abcd");
        assert_eq!(recover(dir.path(), Run(4), Listing::None, Duration::ZERO).unwrap(), 0, "once");
        assert_eq!(delivered(dir.path()), b"abcd");
    }

    #[test]
    fn what_was_settled_is_not_delivered_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path(), Run(1));
        journal.write(&[keep(0, "a"), keep(1, "b"), Note::Forget(chunk(0))]).unwrap();
        drop(journal);
        recover(dir.path(), Run(2), Listing::None, Duration::ZERO).unwrap();
        assert_eq!(delivered(dir.path()), b"b");
    }

    #[test]
    fn the_journal_of_a_living_process_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path(), Run(1));
        journal.write(&[keep(0, "a")]).unwrap();
        assert_eq!(recover(dir.path(), Run(2), Listing::None, Duration::ZERO).unwrap(), 0);
        journal.write(&[keep(0, "b")]).unwrap();
        drop(journal);
        assert_eq!(recover(dir.path(), Run(2), Listing::None, Duration::ZERO).unwrap(), 2);
    }

    #[test]
    fn a_frame_that_breaks_off_was_never_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path(), Run(1));
        journal.write(&[keep(0, "whole"), keep(0, "half")]).unwrap();
        let path = journal.path(&chunk(0));
        let bytes = fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            let (data, labels) = whole_frames(Run(1), &bytes[..cut]);
            let whole: &[u8] = if cut < 8 + 16 + 5 { b"" } else { b"whole" };
            assert_eq!((&data[..], labels.len()), (whole, whole.len() / 5), "cut at {cut}");
        }
        let (data, labels) = whole_frames(Run(1), &bytes);
        assert_eq!((&data[..], labels.len()), (&b"wholehalf"[..], 2));
        assert_eq!(run_in(&path), Some(Run(1)));
        assert_eq!(whole_frames(Run(1), &[0xff; 20]), (Vec::new(), Vec::new()), "nonsense");
    }

    #[test]
    fn a_journal_that_cannot_be_written_says_where_and_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("blocked"), "a file where a directory has to be").unwrap();
        let blocked = ChunkId { stream: "blocked".to_owned(), number: 0 };
        let mut journal = Journal::new(dir.path(), Run(1));
        let notes = [Note::Keep(blocked.clone(), Kept::of(0, &["x"])), keep(0, "a"), Note::Forget(blocked)];
        let error = journal.write(&notes).unwrap_err();
        assert!(error.path.starts_with(dir.path().join("blocked")), "{error}");
        drop(journal);
        recover(dir.path(), Run(2), Listing::None, Duration::ZERO).unwrap();
        assert_eq!(delivered(dir.path()), b"a");
    }
}
