//! Where a survey is on its way through a pattern.
//!
//! Knows directories and what is asked for in them. Does not look at files.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Source;
use crate::rules::pattern::{Mark, Stage};

/// A directory on the way through a pattern. Not everything in it is excluded.
pub(super) struct Place<'s> {
    pub(super) path: PathBuf,
    /// The directory itself, where `path` leads to it through links.
    pub(super) real: PathBuf,
    /// Whether `path` is `real`.
    is_real: bool,
    /// What the pattern asks for here.
    pub(super) stage: Stage<'s>,
    /// What the source leaves out here.
    pub(super) excluded: Stage<'s>,
}

impl<'s> Place<'s> {
    pub(super) fn new((path, real): (PathBuf, PathBuf), stage: Stage<'s>, excluded: Stage<'s>) -> Self {
        let is_real = path == real;
        Self { path, real, is_real, stage, excluded }
    }

    /// What the directory is called without links, where that is something else.
    pub(super) fn within(&self) -> Option<&Path> {
        (!self.is_real).then_some(&self.real)
    }

    /// Whether a file of this name is the source's.
    pub(super) fn takes(&self, name: &OsStr) -> bool {
        self.stage.takes(name) && !self.excluded.takes(name)
    }
}

/// The way through one pattern.
pub(super) struct Walk<'s> {
    pub(super) source: Source<'s>,
    pub(super) near: Vec<Place<'s>>,
    /// Directories behind links: entered last, so that a directory is known by its own name rather than a link's.
    pub(super) linked: Vec<Place<'s>>,
    /// Where the walk has been: device, inode and place in the pattern. A directory is entered once for each, so
    /// that no web of links can make the walk long.
    pub(super) been: HashSet<(u64, u64, Mark)>,
    /// Last names of files that are kept elsewhere and that the pattern may take.
    pub(super) kept: Vec<OsString>,
}
