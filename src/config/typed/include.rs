//! `include`, as typed, and what came of it.
//!
//! Knows how an entry is written. Does not know which files there are.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::rules::pattern::{Exclude, ExcludeGlob};

/// What begins a glob.
const GLOB_CHARACTERS: [char; 4] = ['*', '?', '[', '{'];

/// A hash of all that a configuration was read from: names and texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents(pub(in crate::config) u64);

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(hash) = self;
        write!(f, "{hash:016x}")
    }
}

/// What was included.
#[derive(Clone, Debug, Default, Eq)]
pub struct Included {
    /// In the order in which they were read.
    pub files: Vec<PathBuf>,
    /// Entries of `include` that match no file.
    pub unmatched: Vec<String>,
    /// What all of it was read from, the configuration's own file as well.
    pub contents: Contents,
}

/// Two texts may say the same: contents are no part of what is configured.
impl PartialEq for Included {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files && self.unmatched == other.unmatched
    }
}

/// One entry of `include`: a directory, and which names in it.
#[derive(Clone, Debug)]
pub(in crate::config) struct IncludeGlob {
    text: String,
    /// As written: relative to the directory of the file that includes, if it is not absolute.
    dir: PathBuf,
    names: Exclude,
    /// Whether names are meant that begin with a dot, such as those of an editor's locks.
    is_of_hidden: bool,
}

impl IncludeGlob {
    pub(in crate::config) fn parse(text: &str) -> Result<Self, String> {
        let (dir, name) = match text.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((dir, name)) => (dir, name),
            None => ("", text),
        };
        if text.is_empty() {
            return Err("is empty; write a path, or a glob such as \"conf.d/*.toml\"".to_owned());
        }
        if name.is_empty() {
            return Err(format!("`{text}` is a directory; write `{text}*.toml` for the files in it"));
        }
        if dir.contains(GLOB_CHARACTERS) {
            return Err(format!("`{text}` has a glob in its directory; write out all but the files' names"));
        }
        let names = ExcludeGlob::parse(name).map_err(|fault| fault.to_string())?;
        let is_of_hidden = name.starts_with('.');
        Ok(Self { text: text.to_owned(), dir: dir.into(), names: Exclude::new(vec![names]), is_of_hidden })
    }

    /// The entry as it is written.
    pub(in crate::config) fn text(&self) -> &str {
        &self.text
    }

    /// The directory of the files, relative to that of the file that includes them if it is not absolute.
    pub(in crate::config) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether a file of that directory is meant.
    pub(in crate::config) fn takes(&self, path: &Path) -> bool {
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        (self.is_of_hidden || !is_hidden) && self.names.matches(path)
    }
}
