//! The names that one source reads.

use std::path::Path;

use super::{Exclude, Pattern};

/// The names that one source reads: those that a pattern matches and no exclusion does. By default there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceNames {
    patterns: Vec<Pattern>,
    exclude: Exclude,
}

impl SourceNames {
    /// The names that one of `patterns` matches and `exclude` does not.
    pub fn new(patterns: Vec<Pattern>, exclude: Exclude) -> Self {
        Self { patterns, exclude }
    }

    /// Whether a file is read that has the name `path`, which is absolute.
    pub fn takes(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(path)) && !self.exclude.matches(path)
    }
}
