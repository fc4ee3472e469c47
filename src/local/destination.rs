//! The destination of one delivery stream: files below a directory.
//!
//! Knows how a file gets there whole and durable, and what it is called. Deliberately knows nothing of buffers,
//! retries or the clock: the time is handed in. Blocks: called by `driver` on a blocking thread only.
//!
//! *Invariant:* a file that can be seen under its name is complete and durable, and its name sorts behind every
//! file of this delivery stream that was delivered before it, also when the clock was set back.
#![expect(clippy::disallowed_methods, reason = "the destination is the file system")]

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::calendar;
use super::ids::Labels;
use super::manifest::Manifest;

/// Characters of a [`calendar::stamp`].
const STAMP_WIDTH: usize = 26;

/// What the file system refused, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub(super) struct DestinationError {
    /// The file or directory that could not be used.
    pub path: PathBuf,
    pub source: io::Error,
}

/// Says where an I/O error came from.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> DestinationError {
    move |source| DestinationError { path: path.to_owned(), source }
}

/// What a file is called after, apart from the run: ordered as the deliveries are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    stamp: String,
    /// Tells files of one stamp apart; more than one has it only when the clock did not move on.
    counter: u32,
}

/// One delivery stream's directory.
#[derive(Debug)]
pub(super) struct Destination {
    root: PathBuf,
    stream: String,
    /// Tells the files of this process from those of another that writes into the same directory.
    run: u32,
    last: Option<Mark>,
    /// The directory that was made durable last, with every one above it.
    durable: Option<PathBuf>,
    manifest: Option<Manifest>,
}

/// Whether it is written down which record lies where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    None,
    Manifest,
}

impl Destination {
    /// The destination of `stream` below `dir`. Nothing is touched before the first delivery.
    pub(super) fn new(dir: &Path, stream: &str, run: u32, listing: Listing) -> Self {
        let root = dir.join(stream);
        let manifest = (listing == Listing::Manifest).then(|| Manifest::new(&root));
        Self { root, stream: stream.to_owned(), run, last: None, durable: None, manifest }
    }

    /// Writes one file of the records that `labels` name, and returns when it is durable; says where it is.
    ///
    /// `unix_time` names it. After an error nothing is left under a visible name, and all of it is to be
    /// delivered again: an fsync that failed once proves nothing when repeated on the same file.
    pub(super) fn deliver(
        &mut self,
        data: &[u8],
        labels: &[Labels],
        unix_time: Duration,
    ) -> Result<PathBuf, DestinationError> {
        let mark = self.next_mark(calendar::stamp(unix_time))?;
        let mut directory = self.root.clone();
        // Year, month, day, hour.
        directory.extend(mark.stamp.splitn(5, '-').take(4));
        let name = format!("{}-{}-{:09}{:08x}", self.stream, mark.stamp, mark.counter, self.run);
        let path = directory.join(&name);
        let temporary = directory.join(format!(".{name}"));

        self.make_durable(&directory)?;
        if let Err(source) = write_and_sync(&temporary, data) {
            // It is of no use to anybody; when it cannot be removed either, the next error will say so.
            let _ = fs::remove_file(&temporary);
            return Err(DestinationError { path: temporary, source });
        }
        fs::rename(&temporary, &path).map_err(at(&path))?;
        // From here on the name is taken, even if the directory cannot be synced.
        self.last = Some(mark);
        if let Err(error) = sync_directory(&directory) {
            // Its name may not outlive a crash; it is delivered again, and would be there twice.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        if let Some(manifest) = &mut self.manifest {
            let below = self.root.parent().unwrap_or(&self.root);
            let object = path.strip_prefix(below).unwrap_or(&path).to_string_lossy();
            if let Err(source) = manifest.note(&object, labels) {
                let _ = fs::remove_file(&path);
                return Err(DestinationError { path: manifest.path().to_owned(), source });
            }
        }
        Ok(path)
    }

    /// The mark for a file delivered at `stamp`: behind the last one in any case.
    fn next_mark(&mut self, stamp: String) -> Result<Mark, DestinationError> {
        if self.last.is_none() {
            self.last = self.newest_on_disk()?;
        }
        Ok(match &self.last {
            Some(last) if stamp <= last.stamp => {
                Mark { stamp: last.stamp.clone(), counter: last.counter + 1 }
            }
            _ => Mark { stamp, counter: 0 },
        })
    }

    /// The newest file's mark; `None` when there is no file.
    fn newest_on_disk(&self) -> Result<Option<Mark>, DestinationError> {
        self.newest_below(&self.root, 4)
    }

    /// Goes down the greatest name first: year, month, day, hour. An empty directory sends it to the next.
    fn newest_below(&self, path: &Path, levels: u32) -> Result<Option<Mark>, DestinationError> {
        let mut names = names(path)?;
        if levels == 0 {
            return Ok(names.iter().filter_map(|name| self.mark_in(name.to_str()?)).max());
        }
        names.sort_unstable();
        for name in names.iter().rev() {
            if let Some(mark) = self.newest_below(&path.join(name), levels - 1)? {
                return Ok(Some(mark));
            }
        }
        Ok(None)
    }

    fn mark_in(&self, name: &str) -> Option<Mark> {
        let rest = name.strip_prefix(&self.stream)?.strip_prefix('-')?;
        let (stamp, rest) = rest.split_at_checked(STAMP_WIDTH)?;
        let counter = rest.strip_prefix('-')?.get(..9)?.parse().ok()?;
        Some(Mark { stamp: stamp.to_owned(), counter })
    }

    /// Makes `directory` and every one above it exist after a power loss too; once for each hour.
    fn make_durable(&mut self, directory: &Path) -> Result<(), DestinationError> {
        if self.durable.as_deref() == Some(directory) && directory.is_dir() {
            return Ok(());
        }
        create(directory)?;
        // A new directory is an entry of the one above it: year, month, day, hour, stream, and their root.
        for above in directory.ancestors().skip(1).take(5) {
            sync_directory(above)?;
        }
        self.durable = Some(directory.to_owned());
        Ok(())
    }
}

/// Makes a directory with all above it that are missing. Records are for nobody but the user whose process this is: what
/// is made has mode 0700, what is there already keeps its own. Blocks.
pub(super) fn create(dir: &Path) -> Result<(), DestinationError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))
}

/// Names in a directory; none when it does not exist, or is none.
pub(super) fn names(path: &Path) -> Result<Vec<OsString>, DestinationError> {
    match fs::read_dir(path) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()
            .map_err(at(path)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(at(path)(error)),
    }
}

fn write_and_sync(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(data)?;
    // Before the rename: else the name may outlive a crash and the content not.
    file.sync_all()
}

fn sync_directory(path: &Path) -> Result<(), DestinationError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::new(1_793_880_000, 5_000);

    fn relative(path: &Path, below: &Path) -> String {
        path.strip_prefix(below).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_file_lies_under_its_stream_and_hour() {
        let dir = tempfile::tempdir().unwrap();
        let mut destination = Destination::new(dir.path(), "app", 0xbeef, Listing::None);
        let path = destination.deliver(b"one\ntwo\n", &[], NOON).unwrap();
        assert_eq!(
            relative(&path, dir.path()),
            "app/2026/11/05/12/app-2026-11-05-12-00-00-000005-0000000000000beef",
        );
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(names(path.parent().unwrap()).unwrap().len(), 1, "no temporary file is left");
    }

    #[test]
    fn names_sort_as_delivered_although_the_clock_stands_or_is_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut destination = Destination::new(dir.path(), "a-b", 9, Listing::None);
        let mut paths = Vec::new();
        for at in [NOON, NOON, NOON - Duration::from_secs(7_200), NOON + Duration::from_secs(3_600)] {
            paths.push(destination.deliver(b"x", &[], at).unwrap());
        }
        // Another run, with a smaller number of its own and a clock before the last file's.
        let mut destination = Destination::new(dir.path(), "a-b", 1, Listing::None);
        paths.push(destination.deliver(b"x", &[], NOON).unwrap());
        paths.push(destination.deliver(b"x", &[], NOON + Duration::from_secs(7_200)).unwrap());
        assert!(paths.is_sorted(), "{paths:#?}");
        assert_eq!(paths.iter().collect::<std::collections::BTreeSet<_>>().len(), paths.len());
    }

    #[test]
    fn files_of_others_do_not_count_as_deliveries() {
        let dir = tempfile::tempdir().unwrap();
        let hour = dir.path().join("app/2026/11/05/12");
        fs::create_dir_all(&hour).unwrap();
        fs::write(hour.join("README"), "").unwrap();
        fs::write(hour.join(".app-9999-12-31-23-59-59-999999-000000000beefbeef"), "").unwrap();
        let mut destination = Destination::new(dir.path(), "app", 1, Listing::None);
        assert_eq!(destination.newest_on_disk().unwrap(), None);
        assert!(destination.deliver(b"x", &[], NOON).is_ok());
    }

    #[test]
    fn an_unwritable_destination_is_an_error_with_its_path_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("app");
        fs::write(&blocked, "a file where a directory has to be").unwrap();
        let mut destination = Destination::new(dir.path(), "app", 1, Listing::None);
        let error = destination.deliver(b"x", &[], NOON).unwrap_err();
        assert!(error.path.starts_with(&blocked), "{error}");

        fs::remove_file(&blocked).unwrap();
        assert!(destination.deliver(b"x", &[], NOON).is_ok(), "it can be written again");
    }

    #[test]
    fn a_directory_that_was_removed_meanwhile_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut destination = Destination::new(dir.path(), "app", 1, Listing::None);
        destination.deliver(b"x", &[], NOON).unwrap();
        fs::remove_dir_all(dir.path().join("app")).unwrap();
        assert!(destination.deliver(b"y", &[], NOON).unwrap().exists());
    }
}
