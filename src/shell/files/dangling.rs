//! Where a link leads that leads nowhere now: a rotator has renamed its file, and the next one is not there yet.
//!
//! Knows names of links. What is there is the survey's to say.

use std::path::{Path, PathBuf};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// The path without links that is missing at the end of a link, of which the directory is there; `None` where that is not there
/// either.
pub(super) fn missing(link: &Path) -> Option<PathBuf> {
    let mut path = link.to_owned();
    for _ in 0..MAX_LINKS {
        let directory = std::fs::canonicalize(path.parent()?).ok()?;
        path = directory.join(path.file_name()?);
        match std::fs::read_link(&path) {
            Ok(target) => path = directory.join(target),
            Err(_) => return Some(path),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_leads_to_a_name_in_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let place = std::fs::canonicalize(dir.path()).unwrap();
        let link = |name: &str, target: &str| symlink(target, place.join(name)).unwrap();
        rustix::fs::mkdir(place.join("pods"), rustix::fs::Mode::RWXU).unwrap();
        link("a", "pods/0.log");
        link("b", "a");
        link("into", "pods");
        link("c", "into/1.log");
        link("d", "none/0.log");
        link("round", "round");
        let found = |name: &str| missing(&place.join(name));
        assert_eq!(found("a"), Some(place.join("pods/0.log")));
        assert_eq!(found("b"), Some(place.join("pods/0.log")));
        assert_eq!(found("c"), Some(place.join("pods/1.log")));
        assert_eq!((found("d"), found("round")), (None, None));
    }
}
