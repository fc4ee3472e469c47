//! The directories of a survey: each opened where it is looked at, and listed once.
//!
//! Knows which links a source follows. Does not know patterns.

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Round, Source};
use crate::shell::files::directory::{Directory, Entry};
use crate::shell::files::way::Fault;
use crate::shell::files::{Links, Refusal};

impl Round {
    /// Opens a directory of a source; notes why it cannot be, unless it is not there.
    pub(super) fn open(&mut self, source: Source<'_>, path: &Path) -> Option<Directory> {
        let links = if source.files.follow_symlinks { Links::Follow } else { Links::Keep };
        match Directory::open(path, links) {
            Ok(directory) => return Some(directory),
            Err(Fault::Kernel(Errno::NOENT | Errno::NOTDIR)) => {}
            Err(Fault::Kernel(fault)) => self.refuse(source, path, Refusal::of(fault)),
            Err(Fault::Refused(refusal)) => self.refuse(source, path, refusal),
        }
        None
    }

    /// The names in a directory of a source; none, and a problem, when it cannot be listed.
    pub(super) fn list(&mut self, source: Source<'_>, path: &Path, open: &Directory) -> Arc<[Entry]> {
        self.entries(path, open).unwrap_or_else(|fault| {
            if !matches!(fault, Errno::NOENT | Errno::NOTDIR) {
                self.refuse(source, path, Refusal::of(fault));
            }
            Arc::default()
        })
    }

    pub(super) fn entries(&mut self, path: &Path, open: &Directory) -> Result<Arc<[Entry]>, Errno> {
        if let Some(known) = self.listed.get(path) {
            return known.clone();
        }
        let entries = self.listings.list(path, open, self.unix_time);
        self.listed.insert(path.to_owned(), entries.clone());
        entries
    }
}
