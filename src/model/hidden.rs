//! What a look could not see into.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Paths that could not be looked at or into, and why says nothing of whether they are there.
///
/// Whoever writes into a log directory chooses how many there are: asking costs as much as the path is deep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden(BTreeSet<Arc<Path>>);

impl Hidden {
    /// What is missing at or below `path` may be there.
    pub fn insert(&mut self, path: &Path) {
        self.0.insert(Arc::from(path));
    }

    /// And what another look could not see into.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether what is missing at `path` may be there: nobody could look.
    pub fn holds(&self, path: &Path) -> bool {
        !self.0.is_empty() && path.ancestors().any(|above| self.0.contains(above))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_at_or_below_is_hidden_and_what_only_begins_alike_is_not() {
        let mut hidden = Hidden::default();
        assert!(hidden.is_empty() && !hidden.holds(Path::new("/")));
        hidden.insert(Path::new("/log/app"));
        for (path, expected) in [
            ("/log/app", true),
            ("/log/app/", true),
            ("/log/app/deep/a.log", true),
            ("/log/app.log", false),
            ("/log", false),
            ("/log/./app/a", true),
        ] {
            assert_eq!(hidden.holds(Path::new(path)), expected, "{path}");
        }
    }
}
