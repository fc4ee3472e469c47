//! How far symbolic links are followed.
//!
//! Knows where a link may lead. Does not go there.

use std::path::{Path, PathBuf};

/// Where a symbolic link may lead.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// Nowhere: the name itself is no link.
    NoLink,
    Anywhere,
    /// Into these directories.
    Into(&'a [PathBuf]),
}

impl<'a> Reach<'a> {
    /// `targets` bound where links lead that are followed; without any, nothing does.
    pub fn new(follow_symlinks: bool, targets: &'a [PathBuf]) -> Self {
        match (follow_symlinks, targets) {
            (false, _) => Self::NoLink,
            (true, []) => Self::Anywhere,
            (true, targets) => Self::Into(targets),
        }
    }

    pub(super) fn follows(self) -> bool {
        !matches!(self, Self::NoLink)
    }

    /// Whether what is called `path`, and `real` without links, may be read.
    pub(super) fn holds(self, path: &Path, real: &Path) -> bool {
        let Self::Into(targets) = self else { return true };
        path == real || targets.iter().any(|target| lies_in(real, target))
    }

    /// Whether a directory that is called `real` without links may be gone through: what is in it may be read, or something
    /// below it.
    pub(super) fn leads_through(self, real: &Path) -> bool {
        let Self::Into(targets) = self else { return true };
        targets.iter().any(|target| lies_in(real, target) || lies_in(target, real))
    }
}

/// Whether a path without links lies at or below a directory, as that is called or really is.
fn lies_in(real: &Path, directory: &Path) -> bool {
    real.starts_with(directory)
        || std::fs::canonicalize(directory).is_ok_and(|directory| real.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_into_the_directories_that_are_named_and_nowhere_else() {
        let targets = [PathBuf::from("/var/log/"), PathBuf::from("/srv/pods")];
        let reach = Reach::new(true, &targets);
        for (path, real, expected) in [
            ("/logs/a.log", "/logs/a.log", true),
            ("/logs/a.log", "/var/log/pods/a.log", true),
            ("/logs/a.log", "/srv/pods/a/0.log", true),
            ("/logs/a.log", "/var/logs/a.log", false),
            ("/logs/a.log", "/etc/shadow", false),
        ] {
            assert_eq!(reach.holds(Path::new(path), Path::new(real)), expected, "{path} {real}");
            assert!(Reach::new(true, &[]).holds(Path::new(path), Path::new(real)));
        }
        for (real, expected) in [("/srv", true), ("/srv/pods/a", true), ("/etc", false)] {
            assert_eq!(reach.leads_through(Path::new(real)), expected, "{real}");
        }
        assert!(!Reach::new(false, &targets).follows());
    }
}
