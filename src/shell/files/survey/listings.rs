//! Listings of directories that are good for the next survey, too.
//!
//! A directory whose status has not changed holds the names that it held. So the files in it are looked at as ever, and its
//! names are neither read nor made anew. Knows directories. Does not know what is wanted of them.
//!
//! *Invariant:* a listing is used again only where nothing can have changed since: on file systems that this machine alone
//! changes, and where the last change was told well before the listing, so that a later one is told otherwise.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::model::identity::Identity;
use crate::shell::files::directory::{Directory, Entry};

/// How long before a listing the last change of a directory must be: clocks of file systems tick every few milliseconds.
const SETTLED: Duration = Duration::from_secs(2);

/// How long a listing is used: whatever else is wrong is found after that.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// What directories held when they were listed last.
#[derive(Debug, Default)]
pub struct Listings(HashMap<PathBuf, Listing>);

#[derive(Debug)]
struct Listing {
    identity: Identity,
    /// When the directory's status changed last, since 1970.
    changed: Duration,
    /// When it was listed, since 1970.
    at: Duration,
    entries: Arc<[Entry]>,
    /// Whether a survey has asked for it since the last [`end_round`](Listings::end_round).
    is_used: bool,
}

impl Listings {
    /// What is in an open directory that is called `path`, at this time since 1970.
    pub(super) fn list(
        &mut self,
        path: &Path,
        open: &Directory,
        now: Duration,
    ) -> Result<Arc<[Entry]>, Errno> {
        if let Some(known) = self.0.get_mut(path).filter(|known| known.holds(open, now)) {
            known.is_used = true;
            return Ok(Arc::clone(&known.entries));
        }
        let entries = open.list(path)?;
        match open.look.changed.filter(|changed| *changed + SETTLED < now && open.is_changed_here_alone()) {
            Some(changed) => {
                let identity = open.look.identity;
                let listing =
                    Listing { identity, changed, at: now, entries: Arc::clone(&entries), is_used: true };
                self.0.insert(path.to_owned(), listing);
            }
            None => drop(self.0.remove(path)),
        }
        Ok(entries)
    }

    /// A survey is over: what it did not ask for is forgotten.
    pub(super) fn end_round(&mut self) {
        self.0.retain(|_, listing| std::mem::take(&mut listing.is_used));
    }
}

impl Listing {
    fn holds(&self, open: &Directory, now: Duration) -> bool {
        let is_fresh = now.checked_sub(self.at).is_some_and(|age| age < MAX_AGE);
        is_fresh && self.identity == open.look.identity && Some(self.changed) == open.look.changed
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the directories that are listed")]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;
    use crate::shell::files::Links;

    fn names(listings: &mut Listings, path: &Path, now: Duration) -> (Vec<String>, Arc<[Entry]>) {
        let entries = listings.list(path, &Directory::open(path, Links::Keep).unwrap(), now).unwrap();
        (entries.iter().map(|entry| entry.name().to_string_lossy().into_owned()).collect(), entries)
    }

    #[test]
    fn a_listing_is_good_until_the_directory_changes_or_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let here_alone = Directory::open(dir.path(), Links::Keep).unwrap().is_changed_here_alone();
        let mut listings = Listings::default();
        fs::write(dir.path().join("a.log"), "").unwrap();
        let written = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let later = |seconds| written + Duration::from_secs(seconds);
        let (_, at_once) = names(&mut listings, dir.path(), later(1));
        let (_, first) = names(&mut listings, dir.path(), later(4));
        assert!(!Arc::ptr_eq(&at_once, &first), "what changed a moment ago may change in the same moment");
        let (_, again) = names(&mut listings, dir.path(), later(300));
        assert_eq!(Arc::ptr_eq(&first, &again), here_alone);
        let (_, old) = names(&mut listings, dir.path(), later(700));
        assert!(!Arc::ptr_eq(&first, &old));
        fs::write(dir.path().join("b.log"), "").unwrap();
        assert_eq!(names(&mut listings, dir.path(), later(704)).0, ["a.log", "b.log"]);
        fs::remove_file(dir.path().join("a.log")).unwrap();
        assert_eq!(names(&mut listings, dir.path(), later(708)).0, ["b.log"]);
    }

    #[test]
    fn what_a_survey_does_not_ask_for_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut listings = Listings::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(9);
        names(&mut listings, dir.path(), now);
        listings.end_round();
        listings.end_round();
        assert!(listings.0.is_empty());
    }
}
